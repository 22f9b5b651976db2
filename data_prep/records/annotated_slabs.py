"""Finds the annotated slabs of a weak volume, for the index of its set."""

from typing import NamedTuple

from hybridseg import types
import numpy as np

from data_prep.records import volume_records
from data_prep.shared import geometry
from data_prep.volumes import orientation
from data_prep.volumes import planning
from data_prep.volumes import resampling
from data_prep.volumes import slabs


class Slab(NamedTuple):
  """A stack of slices that is an instance, see `volumes.slabs`.

  Attributes:
    axis: axis of the records along which the slices are counted.
    start: first slice of the records.
    stop: one past the last slice of the records.
    first: first slice of the file, along `stored_axis` of the file.
    last: last slice of the file.
    stored_axis: axis of the file.
    fault: the planted fault of the volume if an annotated slice of the slab
      shows it: if what the annotator saw of it differs from the exact labels.
      Without an annotated slice, that of the volume.
    quality: as that of the volume, in the slab; None if it is unknown.
  """

  axis: int
  start: int
  stop: int
  first: int
  last: int
  stored_axis: int
  fault: str
  quality: float | None


def find(
    item: volume_records.Annotated,
    plan: planning.Plan,
    *,
    max_slices: int,
    spoilt: np.ndarray | None = None,
) -> list[Slab]:
  """Returns the slabs of a volume, in the order of the slices of the records.

  Args:
    item: the volume with its annotation.
    plan: the plan of the set.
    max_slices: see `slabs.divide`.
    spoilt: where what the annotator saw differs from the exact labels, bool of
      the shape of the volume; None if that is unknown.
  """
  turn = orientation.find_turn(item.volume.affine, plan.frame)
  turned = orientation.turn_volume(item.volume, turn)
  old = turned.voxels.shape
  of_frame = lambda x: None if x is None else orientation.turn_voxels(x, turn)
  label, truth, spoilt = map(of_frame, (item.label, item.truth, spoilt))
  if label is None:
    label = np.full(old, types.UNLABELLED, np.uint8)
  is_labelled = label != types.UNLABELLED
  axis = slabs.find_axis(is_labelled, turned.spacing_mm)
  is_annotated = slabs.along(is_labelled, axis)
  shows_fault = np.full(old[axis], True)
  if spoilt is not None:
    shows_fault = slabs.along(spoilt, axis)
  length = resampling.new_shape(old, turned.spacing_mm, plan.spacing_mm)[axis]
  number = 0 if truth is None else 1 + int(
      truth[truth != types.UNLABELLED].max(initial=0))
  found, first, start = [], 0, 0
  for last, stop in slabs.move(
      slabs.divide(is_annotated, max_slices=max_slices),
      resampling.nearest_index(old[axis], length)):
    part = np.s_[first:last]
    known = is_annotated[part]
    fault, quality = item.more['fault'], item.more['quality']
    if known.any():
      if not (known & shows_fault[part]).any():
        fault = ''
      if quality is not None:
        block = (slice(None),) * axis + (part,)
        quality = geometry.quality(label[block], truth[block], number)
    ends = first, last - 1
    if turn.flips[axis]:
      ends = tuple(old[axis] - 1 - end for end in ends[::-1])
    found.append(Slab(
        axis, start, stop, *ends, turn.axes[axis], fault, quality))
    first, start = last, stop
  return found
