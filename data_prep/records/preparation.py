"""Stores how a set's pictures were read, so that new ones are read likewise.

The file `preparation.json` lies next to the records. With it, prediction reads
a new file as `prepare` read the set: with the same window of intensities, and
the same orientation and slicing axis of volumes. The image size is not in this
file, since the records themselves store it.
"""

import collections
import json
import os
import pathlib
from typing import Any, NamedTuple

import nibabel
import numpy as np

from data_prep.formats import nifti

FILE = 'preparation.json'


class Preparation(NamedTuple):
  """How the pictures of a set were read.

  Attributes:
    intensity_range: the intensities that were mapped to 0 and 255 in files of
      more than 8 bits; None means percentiles of each file.
    orientation: directions in which the axes of the volumes point, such as
      'LPS'. It is None if the set had no volumes; a new volume is then read as
      it is stored.
    axis: axis along which volumes were sliced; None means the axis with the
      largest spacing.
  """

  intensity_range: tuple[float, float] | None = None
  orientation: str | None = None
  axis: int | None = None


def write(
    folder: pathlib.Path, *, intensity_range: tuple[float, float] | None
) -> None:
  """Writes the preparation of a set to `preparation.json`.

  The orientation and the axis come from the set's index of volumes, if it has
  one. If the volumes differ, the most frequent pair of orientation and axis is
  written.

  Args:
    folder: folder of the manifest and of the index of volumes.
    intensity_range: the window of intensities that the user gave, or None.
  """
  orientation = axis = None
  index = folder / nifti.INDEX
  if index.exists():
    entries = json.loads(index.read_text(encoding='utf-8')).values()
    counts = collections.Counter(
        (orientation_of(np.array(e['affine'])), e['axis']) for e in entries)
    orientation, axis = counts.most_common(1)[0][0]
  (folder / FILE).write_text(json.dumps(
      Preparation(intensity_range, orientation, axis)._asdict(), indent=1),
      encoding='utf-8')


def read(folder: str | os.PathLike[str]) -> Preparation:
  """Reads the preparation of a set; old sets without one get the defaults."""
  path = pathlib.Path(folder) / FILE
  if not path.exists():
    return Preparation()
  return from_json(json.loads(path.read_text(encoding='utf-8')))


def from_json(value: dict[str, Any]) -> Preparation:
  """Returns a preparation from the JSON object that `write` writes."""
  limits = value['intensity_range']
  return Preparation(
      tuple(limits) if limits else None, value['orientation'], value['axis'])


def orientation_of(affine: np.ndarray) -> str:
  """Returns the anatomical directions nearest to a volume's axes, as in 'LPS'.

  Args:
    affine: the volume's NIfTI affine, float [4, 4].
  """
  return ''.join(nibabel.aff2axcodes(affine))
