"""Finds the files to predict."""

from collections.abc import Sequence
import os
import pathlib
import sys
from typing import NamedTuple

from data_prep.formats import dicom_objects
from data_prep.formats import dicom_volumes
from data_prep.formats import sources
from data_prep.formats import volume_files
from data_prep.shared import grammar
from data_prep.shared import pixels

from experiments import binary
from experiments.prediction import pictures


class Series(NamedTuple):
  """A DICOM series.

  Attributes:
    index: the index that holds it.
    name: its name in the index.
    files: paths of its files.
  """

  index: dicom_volumes.Index
  name: str
  files: tuple[str, ...]


class Inputs(NamedTuple):
  """The files to predict.

  Attributes:
    folder: folder that contains the files.
    names: paths of the files below this folder, and names of DICOM series.
    series: the series by their names, see `group_series`.
    wrong: DICOM files that cannot be used, by their names.
  """

  folder: pixels.Folder
  names: tuple[str, ...]
  series: dict[str, Series] = {}
  wrong: dict[str, pixels.WrongFile] = {}

  def is_volume(self, name: str) -> bool:
    """Returns whether a name stands for a volume."""
    return name in self.series or volume_files.is_volume(name)

  def stamp(self, name: str) -> tuple[str, str]:
    """Returns size and time of a file, or of all files of a series."""
    files = self.series[name].files if name in self.series else (name,)
    status = [os.stat(self.folder.root / file) for file in files]
    return (str(sum(s.st_size for s in status)),
            str(max(s.st_mtime_ns for s in status)))


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
    every = set(sources.list_files(path, ('',)))
  except OSError as e:
    raise binary.UserError(
        f'--input: {e.filename} cannot be listed: {e.strerror}.') from e
  if not names:
    raise binary.UserError(
        f'--input={path} holds no picture and no volume: expected '
        f'{", ".join(pictures.SUFFIXES)}.')
  drawn = [name for name in names if volume_files.is_segmentation(path / name)]
  if drawn:
    _note(f'{grammar.counted(len(drawn), "segmentation", "are")} left alone, '
          f'such as {pixels.tail(drawn[0])}')
    names = [name for name in names if name not in drawn]
  parts = {f'{name.rpartition("/")[0]}/{file}'.lstrip('/') for name in names
           for file in volume_files.data_files(path / name)}
  others = len(every - parts - set(names) - set(drawn))
  if others:
    _note(f'{others} other files are left alone')
  found = dicom_objects.find(path, tuple(names))
  if found.others:
    text = dicom_objects.describe(found.others)
    if not found.pictures:
      raise binary.UserError(f'--input={path} holds no picture: {text}.')
    _note(text)
  return Inputs(_open_folder(path), found.pictures)


def _note(text):
  print(f'notice: {text}', file=sys.stderr)


class _Report:
  """Receives what `dicom_volumes` reports.

  Attributes:
    wrong: files that cannot be used.
  """

  def __init__(self):
    self.wrong: dict[str, pixels.WrongFile] = {}

  def wrong_file(self, wrong: pixels.WrongFile, *, file: str) -> None:
    self.wrong[file] = wrong

  def note_unread(self, paths: Sequence[str], noun: str, reason: str) -> None:
    _note(f'{grammar.counted(len(paths), noun, "are")} not read, such as '
          f'{pixels.tail(min(paths))}: {reason}')

  def note(self, text: str) -> None:
    _note(text)


def group_series(inputs: Inputs) -> Inputs:
  """Replaces DICOM files by the series that they form, which are volumes.

  A series has the name of its folder, see `dicom_volumes.Index`.

  Args:
    inputs: from `find_inputs`.

  Raises:
    binary.UserError: if the only input is one slice of a series.
  """
  is_dicom = lambda name: name.lower().endswith(dicom_volumes.SUFFIXES) or not (
      name.lower().endswith(pictures.SUFFIXES))
  files = [name for name in inputs.names if is_dicom(name)]
  if not files:
    return inputs
  report = _Report()
  index = dicom_volumes.Index(inputs.folder.root, report, files)
  series = {}
  for key, stack in index.stacks.items():
    series[index.names_of[key].id] = Series(index, key, tuple(
        sorted({plane.path for plane in stack.planes})))
  if len(inputs.names) == 1 and series and all(
      stack.shape[2] == 1 for stack in index.stacks.values()):
    raise binary.UserError(
        f'--input: {files[0]} is one slice, but the networks were trained on '
        'whole volumes: give the folder of its series.')
  names = [name for name in inputs.names if not is_dicom(name)]
  return inputs._replace(
      names=tuple(sorted([*names, *series, *report.wrong])), series=series,
      wrong=report.wrong)


def _open_folder(path):
  """Opens the user's folder for reading.

  Links in the folder may lead out of it, since the user has made them.
  """
  return pixels.open_folder(path)._replace(real_root='/')
