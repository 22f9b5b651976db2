"""How pictures became records: what a prediction has to do again.

`preparation.json` lies beside the records. Prediction reads a new file as
`prepare` read the set: same window of intensities, same orientation and cut of
volumes. The sizes of records are in the records themselves.
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
  """See the module.

  Attributes:
    intensity_range: intensities that became 0 and 255 in files of more than 8
      bits; None takes percentiles of each file.
    orientation: where the axes of the volumes point, such as 'LPS'; None if
      there were none: then a volume is taken as it is stored.
    axis: along which they were cut; None is the one of the largest spacing.
  """

  intensity_range: tuple[float, float] | None = None
  orientation: str | None = None
  axis: int | None = None


def write(
    folder: pathlib.Path, *, intensity_range: tuple[float, float] | None
) -> None:
  """Writes the file, from what is known and from the index of volumes.

  Of several orientations or cuts, the most frequent one is written.

  Args:
    folder: of the manifest, to which the volumes, if any, were written.
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
  """Reads it; the default where an older `prepare` has not written one."""
  path = pathlib.Path(folder) / FILE
  if not path.exists():
    return Preparation()
  return from_json(json.loads(path.read_text(encoding='utf-8')))


def from_json(value: dict[str, Any]) -> Preparation:
  """Returns what `_asdict` wrote as JSON."""
  limits = value['intensity_range']
  return Preparation(
      tuple(limits) if limits else None, value['orientation'], value['axis'])


def orientation_of(affine: np.ndarray) -> str:
  """Returns where the axes point, such as 'LPS', to the nearest right angle."""
  return ''.join(nibabel.aff2axcodes(affine))
