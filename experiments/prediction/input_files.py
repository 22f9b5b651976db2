"""Finds the files to predict."""

import pathlib
import sys
from typing import NamedTuple

from data_prep.formats import dicom_objects
from data_prep.formats import sources
from data_prep.shared import pixels

from experiments import binary
from experiments.prediction import pictures


class Inputs(NamedTuple):
  """The files to predict.

  Attributes:
    folder: folder that contains the files.
    names: paths of the files below this folder.
  """

  folder: pixels.Folder
  names: tuple[str, ...]


def find_inputs(path: str) -> Inputs:
  """Finds the files to predict.

  Args:
    path: a file, or a folder that is searched for images and volumes.

  Raises:
    binary.UserError: if there is no file to predict.
  """
  if not path:
    raise binary.UserError('--input is empty: give a file or a folder.')
  path = pathlib.Path(path)
  if path.is_file():
    return Inputs(_open_folder(path.parent), (path.name,))
  if not path.is_dir():
    raise binary.UserError(f'--input={path}: no such file or folder.')
  try:
    names = sources.list_files(path, pictures.SUFFIXES)
    others = len(sources.list_files(path, ('',))) - len(names)
  except OSError as e:
    raise binary.UserError(
        f'--input: {e.filename} cannot be listed: {e.strerror}.') from e
  if not names:
    raise binary.UserError(
        f'--input={path} holds no picture and no volume: expected '
        f'{", ".join(pictures.SUFFIXES)}.')
  if others:
    print(f'notice: {others} other files are left alone', file=sys.stderr)
  found = dicom_objects.find(path, tuple(names))
  if found.others:
    text = dicom_objects.describe(found.others)
    if not found.pictures:
      raise binary.UserError(f'--input={path} holds no picture: {text}.')
    print(f'notice: {text}', file=sys.stderr)
  return Inputs(_open_folder(path), found.pictures)


def _open_folder(path):
  """Opens the user's folder for reading.

  Links in the folder may lead out of it, since the user has made them.
  """
  return pixels.open_folder(path)._replace(real_root='/')
