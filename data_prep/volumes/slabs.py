"""Divides the slices of a volume into annotated slabs.

An annotator of a volume works slice by slice, and may do well in one part of
the volume and badly in another one. A slab is a stack of consecutive slices
that is trusted by itself. One rule divides all kinds of annotations, from the
slices that have any labelled voxel:

1. Consecutive annotated slices form a run. Between two runs, nothing is
   annotated: this is the case of single drawn slices, and of scribbles and
   points in some slices.
2. A run of more than `max_slices` slices is cut into parts of equal thickness,
   which differ by one slice at most: dense masks, boxes, extreme points.
3. Slices without annotation belong to the nearest part; of an odd number
   between two parts, the middle one belongs to the later part.

A volume without any labelled voxel, such as one with only a tag, is one slab.
"""

from collections.abc import Sequence

import numpy as np

MAX_SLICES = 8  # One of eight slices of simulated annotations is drawn.


def find_axis(is_labelled: np.ndarray, spacing_mm: Sequence[float]) -> int:
  """Returns the axis along which the annotator went through the slices.

  It is the axis along which the smallest share of the slices is annotated; of
  equals, the one along which they lie farthest apart, the last one of these.

  Args:
    is_labelled: which voxels are labelled, bool [X, Y, Z].
    spacing_mm: distance of the voxels along each axis.
  """
  share = [along(is_labelled, axis).mean() for axis in range(3)]
  spacing = np.round(spacing_mm, 3)
  return min(range(3), key=lambda i: (share[i], -spacing[i], -i))


def along(mask: np.ndarray, axis: int) -> np.ndarray:
  """Returns which slices along an axis hold a voxel of a mask, bool [N]."""
  return mask.any(tuple(i for i in range(3) if i != axis))


def divide(is_annotated: np.ndarray, *, max_slices: int) -> list[int]:
  """Divides slices into slabs as the module says.

  Args:
    is_annotated: which slices are annotated, bool [N].
    max_slices: largest number of annotated slices of a slab.

  Returns:
    One past the last slice of each slab, in increasing order; the last one is
    N.
  """
  edges = np.flatnonzero(np.diff(
      np.concatenate([[0], is_annotated, [0]]).astype(int)))
  parts = []  # First slice of each part, and one past its last one.
  for start, stop in edges.reshape(-1, 2):
    number = -(-(stop - start) // max_slices)
    cuts = start + np.arange(number + 1) * (stop - start) // number
    parts += [*zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True)]
  stops = [(stop + start) // 2 for (_, stop), (start, _) in zip(
      parts[:-1], parts[1:], strict=True)]
  return [*stops, len(is_annotated)]


def move(stops: Sequence[int], places: np.ndarray) -> list[tuple[int, int]]:
  """Moves slabs to another number of slices.

  A slab of which no slice is left is united with the next one, the last one
  with the one before.

  Args:
    stops: slabs of the old slices, from `divide`.
    places: old slice of each new slice, int [M], in increasing order.

  Returns:
    For each slab that is left, one past its last old and its last new slice.
  """
  moved = []
  for stop in stops:
    new = int(np.searchsorted(places, stop))
    if new > (moved[-1][1] if moved else 0):
      moved.append((stop, new))
    elif stop == stops[-1]:
      moved[-1] = (stop, new)
  return moved
