"""Defines folder layouts of data sets, with tiny pictures and masks in them."""

import json
import pathlib
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from tests.damage import seed_sets


SIZE = (32, 40)
FIELD_OF_VIEW = ((1, 1, 30, 38),)
OTHER_OPINION = ((9, 9, 3, 3),)


class Layout(NamedTuple):
  """The files of a set, and what the import of the set must find.

  Attributes:
    files: maps a path to its content: a picture, uint8 [H, W] or [H, W, 3]; a
      volume, [A, B, C] or [A, B, C, T], if the path contains .nii; bytes; a
      string; or any other value, which is written as JSON.
    images: number of pictures or slices that must be read.
    exact: number of these pictures or slices that have an exact mask.
    subjects: number of subjects; a picture without a subject counts as one.
    shown: id of one picture, and the number of its pixels by class.
    given: number of pictures by split, for the splits that the folders name.
    classes: names of the classes, background first.
    flag: the flag that the set needs, or '' if it needs none. Without the flag,
      the set must be refused with a message whose first line names the flag.
    said: words that must occur in notices.
    refused: words that the first line of the message must contain if the set
      cannot be read; '' if it can.
  """

  files: dict[str, Any]
  images: int = 0
  exact: int = 0
  subjects: int = 0
  shown: tuple[str, dict[int, int]] = ('', {})
  given: dict[str, int] = {}
  classes: tuple[str, ...] = ('background', 'foreground')
  flag: str = ''
  said: tuple[str, ...] = ()
  refused: str = ''


def write(layout: Layout, folder: pathlib.Path) -> None:
  """Writes the files of a layout below `folder`."""
  for name, content in layout.files.items():
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, np.ndarray) and '.nii' in name:
      content = seed_sets.nifti(content, zipped=name.endswith('.gz'))
    elif isinstance(content, np.ndarray):
      content = seed_sets.encode(
          content, Image.registered_extensions()[path.suffix.lower()])
    elif not isinstance(content, bytes):
      content = (content if isinstance(content, str)
                 else json.dumps(content)).encode()
    path.write_bytes(content)


def picture(seed: int) -> np.ndarray:
  """Returns a picture unlike those of other seeds, uint8 [32, 40, 3]."""
  rng = np.random.default_rng(seed)
  blocks = rng.integers(256, size=(4, 5, 3), dtype=np.uint8)
  return np.kron(blocks, np.ones((8, 8, 1), np.uint8))


def mask(*boxes: tuple[int, int, int, int], value: int = 255) -> np.ndarray:
  """Returns a mask of boxes (y, x, height, width), uint8 [32, 40]."""
  result = np.zeros(SIZE, np.uint8)
  for y, x, height, width in boxes:
    result[y : y + height, x : x + width] = value
  return result


def box(number: int) -> tuple[int, int, int, int]:
  """Returns a box of 8 x (10 + number % 20) pixels: (y, x, height, width)."""
  return 4 + number % 5, 6, 8, 10 + number % 20


def blob(number: int) -> np.ndarray:
  """Returns the mask of the box `box(number)`, uint8 [32, 40] of 0 and 255."""
  return mask(box(number))


def rgb(label: np.ndarray) -> np.ndarray:
  """Returns a mask as a colour picture with three equal channels."""
  return np.repeat(label[..., None], 3, -1)


def volume(seed: int, *more: int) -> np.ndarray:
  """Returns the intensities of a volume, int16 [40, 32, 3, *more]."""
  rng = np.random.default_rng([7, seed])
  blocks = rng.integers(-200, 400, size=(5, 4, 3, *more), dtype=np.int16)
  return blocks.repeat(8, 0).repeat(8, 1)


def labels(seed: int, classes: int = 1, *, depth: int = 3) -> np.ndarray:
  """Returns the labels of a volume, uint8 [40, 32, depth].

  In slice k, each class has 4 x (3 + k + seed % 8) pixels.

  Args:
    seed: number that determines the size of the classes.
    classes: number of foreground classes.
    depth: number of slices.
  """
  result = np.zeros((40, 32, depth), np.uint8)
  for k in range(depth):
    for c in range(1, classes + 1):
      result[4 : 7 + k + seed % 8, 5 * c : 5 * c + 4, k] = c
  return result
