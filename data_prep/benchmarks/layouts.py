"""What the public layouts are made of, see `public_layouts`."""

import json
import pathlib
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from data_prep.benchmarks import seed_sets

SIZE = (32, 40)
FIELD_OF_VIEW = ((1, 1, 30, 38),)
OTHER_OPINION = ((9, 9, 3, 3),)


class Layout(NamedTuple):
  """A set in memory, and what is right.

  Attributes:
    files: by path a picture, uint8 [H, W] or [H, W, 3]; a volume, [A, B, C] or
      [A, B, C, T] of a path that ends in .nii or .nii.gz; bytes; or what
      becomes a text: a string, or anything that becomes JSON.
    images: number of pictures or slices that are read.
    exact: how many of them have an exact mask.
    subjects: number of subjects; a picture without one counts as its own.
    shown: id of one picture, and the number of its pixels by class.
    given: number of pictures by split, as far as the folders say it.
    classes: their names, background first.
    flag: the one flag that it takes, '' for none; without it the set is
      refused, and the first line names the flag.
    said: words of notices that must not be missing.
    refused: words of the first line, for a set that cannot be read.
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
  """Returns a picture that looks like no other, uint8 [32, 40, 3]."""
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
  """Returns a box of 8 x (10 + number % 20) pixels as (y, x, height, width)."""
  return 4 + number % 5, 6, 8, 10 + number % 20


def blob(number: int) -> np.ndarray:
  """Returns the mask of `box`, of 0 and 255."""
  return mask(box(number))


def rgb(label: np.ndarray) -> np.ndarray:
  """Returns a mask with three equal channels."""
  return np.repeat(label[..., None], 3, -1)


def volume(seed: int, *more: int) -> np.ndarray:
  """Returns intensities of a volume, int16 [40, 32, 3, ...]."""
  rng = np.random.default_rng([7, seed])
  blocks = rng.integers(-200, 400, size=(5, 4, 3, *more), dtype=np.int16)
  return blocks.repeat(8, 0).repeat(8, 1)


def labels(seed: int, classes: int = 1, *, depth: int = 3) -> np.ndarray:
  """Returns labels of a volume, uint8 [40, 32, 3].

  In slice k, class c has 4 x (3 + k + seed % 8) pixels.
  """
  result = np.zeros((40, 32, depth), np.uint8)
  for k in range(depth):
    for c in range(1, classes + 1):
      result[4 : 7 + k + seed % 8, 5 * c : 5 * c + 4, k] = c
  return result
