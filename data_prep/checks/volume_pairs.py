"""Finds volumes that may be two scans of one patient.

A patient must not be in two splits, but names such as 001 and 002 do not show
that both scans are of one patient. Two scans of one session have exactly the
same grid. Scans of two patients hardly ever share a grid, unless all volumes
were resampled to a common one. In that case, the scans of one patient can be
recognized only by slices that look alike.
"""

from collections.abc import Sequence
import itertools
import pathlib

import numpy as np

from data_prep import manifest as manifest_lib
from data_prep import row_names
from data_prep.checks import duplicates
from data_prep.drawing import rasterize

# Two volumes may be of one patient if the mean likeness of their slices is
# above the first value, or above the second one if no other patient is likely
# to have the same grid.
_ALIKE = 0.92
_SIMILAR = 0.75
_NUM_SLICES = 5  # Slices of each volume that are compared.
_FEW = 3  # Largest number of volumes that are expected from one session.
_MANY = 50  # If more volumes share a grid, comparing all pairs takes too long.


def find_notice(
    rows: Sequence[manifest_lib.Row], folder: pathlib.Path, root: pathlib.Path
) -> str:
  """Returns a notice about volumes that may be of one patient, or ''.

  Args:
    rows: rows of a manifest.
    folder: folder that holds the index of volumes, if the set has volumes.
    root: folder that the paths of the rows are relative to.
  """
  by_id = {row.id: row for row in rows}
  grids, number = {}, 0
  for case, entry in row_names.read_index(folder).items():
    some = [by_id[i] for i in entry['ids'] if i in by_id]
    if some:
      number += 1
      grid = (*entry['shape'], *np.round(np.ravel(entry['affine']), 3).tolist())
      grids.setdefault(grid, {})[case] = some
  pairs = []
  for grid, cases in grids.items():
    if not 1 < len(cases) <= _MANY:
      continue
    is_own = len(cases) <= _FEW and len(cases) < number and _is_odd(grid[3:])
    some_of = {case: _slices(some, root) for case, some in cases.items()}
    for one, other in itertools.combinations(cases, 2):
      if (cases[one][0].subject or one) == (cases[other][0].subject or other):
        continue
      likeness = _likeness(some_of[one], some_of[other])
      if likeness > _ALIKE or (is_own and likeness > _SIMILAR):
        pairs.append((one, other))
  if not pairs:
    return ''
  what = 'volumes lie' if len(pairs) == 1 else (
      f'{len(pairs)} pairs of volumes lie')
  return (f'{what} on one grid and look alike, {row_names.shown(pairs[0])}: if '
          'they are of one patient, say so by --subjects=FILE')


def _is_odd(affine):
  """Returns whether a grid was probably set by a scanner, not by resampling.

  Such a grid is oblique, or its origin is not at multiples of 0.5.
  """
  affine = np.reshape(affine, (-1, 4))[:3]
  direction = affine[:, :3]
  is_oblique = np.count_nonzero(np.abs(direction) > 1e-3) > 3
  halves = 2 * affine[:, 3]
  return bool(is_oblique or (np.abs(halves - np.round(halves)) > 5e-3).any())


def _slices(rows, root):
  """Returns some slices of a volume, as `duplicates.spans` returns them.

  Returns None if one of the slices cannot be read.
  """
  places = np.linspace(0, len(rows) - 1, _NUM_SLICES + 2)[1:-1]
  numbers, index = np.unique(np.round(places).astype(int), return_inverse=True)
  try:
    images = [rasterize.read_image(root / rows[n].image) for n in numbers]
  except Exception:  # The check of the rows reports the error.
    return None
  return duplicates.spans(
      [duplicates.thumbnail(image) for image in images])[index]


def _likeness(one, other):
  """Returns the mean likeness of the slices of two volumes.

  Slices without any detail count as 0, and so do volumes that cannot be read.
  """
  if one is None or other is None:
    return 0.0
  return float(np.mean(duplicates.likeness(one, other)))
