"""Puts the pictures of a manifest into a set that is being written.

The writers of all formats use it, and give each picture that has an annotation
its shapes.
"""

from collections.abc import Callable, Iterator
import os
import pathlib
import shutil
from typing import NamedTuple

from hybridseg import types
import numpy as np
from PIL import Image

from data_prep import manifest as manifest_lib
from data_prep.drawing import annotation_kinds
from data_prep.drawing import rasterize
from data_prep.drawing import rle
from data_prep.formats import class_names
from data_prep.formats import drawn
from data_prep.shared import confined
from data_prep.shared import pixels

UNLABELLED = class_names.IGNORED


class Placed(NamedTuple):
  """An annotated picture of a set that is being written.

  Attributes:
    number: number of its row in the manifest, from 0.
    row: its row.
    picture: path of the picture below the output.
    size: height and width of the picture.
  """

  number: int
  row: manifest_lib.Row
  picture: str
  size: tuple[int, int]


def place_pictures(
    manifest: manifest_lib.Manifest,
    output: pathlib.Path,
    folder_of: Callable[[manifest_lib.Row], str] = lambda row: 'images',
) -> Iterator[Placed]:
  """Puts pictures at FOLDER/ID below `output`; yields the annotated ones.

  The suffix of a picture is kept. The new file is a hard link, or a copy if
  the picture lies on another disk.

  Args:
    manifest: the manifest.
    output: the folder that is being filled.
    folder_of: function that returns the folder for a row's picture.

  Raises:
    pixels.WrongFile: if a picture lies outside the root, or the new file
      would lie outside `output` or replace another file.
  """
  folder = pixels.open_folder(manifest.root)
  for number, row in enumerate(manifest.rows):
    pixels.check_file(row.image, 'image', folder)
    path = (manifest.root / row.image).resolve()
    name = f'{folder_of(row)}/{row.id}{path.suffix}'
    target = confined.new_file(output, name)
    try:
      os.link(path, target)
    except OSError:
      shutil.copyfile(path, target)
    if row.annotation is not None:
      yield Placed(number, row, name, picture_size(manifest.root / row.image))


def to_shapes(
    manifest: manifest_lib.Manifest, placed: Placed
) -> list[drawn.Shape]:
  """Returns the shapes of an annotation; a mask file becomes run lengths.

  Unlabelled shapes get the label `UNLABELLED`, which readers recognise.
  """
  annotation, classes = placed.row.annotation, manifest.header.classes
  kind = annotation_kinds.TABLE[annotation['kind']]
  if rasterize.has_file(annotation):
    label = draw(manifest, placed)
    names = dict(enumerate(classes)) | {types.UNLABELLED: UNLABELLED}
    return [drawn.Shape('rle', names[v], rle.encode_rle(label == v))
            for v in np.unique(label).tolist() if v and v in names]
  names = [UNLABELLED if v == types.UNLABELLED else classes[v]
           for v in annotation['labels']]
  if kind.field is None:
    return [drawn.Shape(kind.shape, name) for name in names]
  return [drawn.Shape(kind.shape, name, value, annotation.get('width'))
          for name, value in zip(names, annotation[kind.field], strict=True)]


def draw(manifest: manifest_lib.Manifest, placed: Placed) -> np.ndarray:
  """Returns the label map of an annotated picture, uint8 [H, W]."""
  return rasterize.rasterize(
      placed.row.annotation, size=placed.size, root=manifest.root)


def picture_size(path: pathlib.Path) -> tuple[int, int]:
  """Returns the height and width of a picture, read from its header."""
  with Image.open(path) as image:
    return image.height, image.width
