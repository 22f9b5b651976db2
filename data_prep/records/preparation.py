"""Stores how pictures became records, so that prediction can do the same.

`preparation.json` lies beside the records. With it, prediction reads a new file
as `prepare` read the set: with the same window of intensities, and the same
orientation and slicing axis of volumes. The size of records is in the records
themselves.
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
    intensity_range: intensities that became 0 and 255 in files of more than 8
      bits; None takes percentiles of each file.
    orientation: where the axes of the volumes point, such as 'LPS'; None if
      there were no volumes: then a volume is read as it is stored.
    axis: axis along which volumes were sliced; None takes the one of the
      largest spacing.
  """

  intensity_range: tuple[float, float] | None = None
  orientation: str | None = None
  axis: int | None = None


def write(
    folder: pathlib.Path, *, intensity_range: tuple[float, float] | None
) -> None:
  """Writes the preparation of a set, using its index of volumes.

  If there are several orientations or axes, the most frequent pair is written.

  Args:
    folder: folder of the manifest and of the volumes, if there are any.
    intensity_range: as the user gave it.
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
  """Reads the preparation of a set; older sets without one get the default."""
  path = pathlib.Path(folder) / FILE
  if not path.exists():
    return Preparation()
  return from_json(json.loads(path.read_text(encoding='utf-8')))


def from_json(value: dict[str, Any]) -> Preparation:
  """Returns a preparation from the JSON form of its `_asdict`."""
  limits = value['intensity_range']
  return Preparation(
      tuple(limits) if limits else None, value['orientation'], value['axis'])


def orientation_of(affine: np.ndarray) -> str:
  """Returns the nearest directions of a volume's axes, such as 'LPS'."""
  return ''.join(nibabel.aff2axcodes(affine))
