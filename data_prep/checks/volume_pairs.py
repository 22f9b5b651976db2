"""Finds volumes that may be two scans of one patient.

Names such as 001 and 002 do not show that both scans are of one head, which
must not be in two splits. Two scans of one session share their grid to the last
digit. Those of two patients hardly ever do, unless all were resampled to one
grid; then only slices that look alike give them away.
"""

from collections.abc import Sequence
import itertools
import pathlib

import numpy as np

from data_prep import manifest as manifest_lib
from data_prep import row_names
from data_prep.checks import duplicates
from data_prep.drawing import rasterize

_ALIKE = 0.92  # Mean likeness of slices on a grid that many may share.
_SIMILAR = 0.75  # The same, on a grid that no other volume has.
_NUM_SLICES = 5
_FEW = 3  # Most volumes that one session yields.
_MANY = 50  # More volumes on one grid take long, and prove nothing.


def find_notice(
    rows: Sequence[manifest_lib.Row], folder: pathlib.Path, root: pathlib.Path
) -> str:
  """Returns a line that names volumes that may be of one patient, or ''.

  Args:
    rows: rows of a manifest.
    folder: folder that holds the index of volumes, if there are any.
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
    thumbnails = {case: _thumbnails(some, root) for case, some in cases.items()}
    for one, other in itertools.combinations(cases, 2):
      subjects = {cases[c][0].subject or c for c in (one, other)}
      likeness = _likeness(thumbnails[one], thumbnails[other])
      if len(subjects) > 1 and (likeness > _ALIKE or (
          is_own and likeness > _SIMILAR)):
        pairs.append((one, other))
  if not pairs:
    return ''
  what = 'volumes lie' if len(pairs) == 1 else (
      f'{len(pairs)} pairs of volumes lie')
  return (f'{what} on one grid and look alike, {row_names.shown(pairs[0])}: if '
          'they are of one patient, say so by --subjects=FILE')


def _is_odd(affine):
  """Returns whether a grid is placed as only a scanner would place it."""
  affine = np.reshape(affine, (-1, 4))[:3]
  direction = affine[:, :3]
  is_oblique = np.count_nonzero(np.abs(direction) > 1e-3) > 3
  halves = 2 * affine[:, 3]
  return bool(is_oblique or (np.abs(halves - np.round(halves)) > 5e-3).any())


def _thumbnails(rows, root):
  """Returns the thumbnails of some slices; None if one cannot be read."""
  places = np.linspace(0, len(rows) - 1, _NUM_SLICES + 2)[1:-1]
  try:
    images = [
        rasterize.read_image(root / rows[round(p)].image) for p in places]
  except Exception:  # The check itself reports what is wrong with a file.
    return None
  return [duplicates.thumbnail(image) for image in images]


def _likeness(one, other):
  """Returns the mean likeness; slices without content count as 0."""
  if one is None or other is None:
    return 0.0
  return float(np.mean(duplicates.likeness(one, other)))
