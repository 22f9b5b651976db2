"""Writes whole volumes to chunks, turned, resampled and mapped to levels."""

import os
from typing import Any, NamedTuple

from hybridseg import types
import numpy as np

from data_prep.records import chunks
from data_prep.shared import volume_type
from data_prep.volumes import levels as levels_lib
from data_prep.volumes import orientation
from data_prep.volumes import planning
from data_prep.volumes import resampling

# Folders of a set: its chunks, and the exact labels of val and test on the
# grids of their files, with which runs are evaluated.
CHUNKS = 'chunks'
REFERENCES = 'references'

class Annotated(NamedTuple):
  """A volume with its annotation, on the grid of its file.

  Attributes:
    id: unique name of the volume.
    volume: the image; its voxels may be lazy.
    statistics: its statistics.
    kind: kind of the annotation, or 'none'.
    label: classes, uint8 of the shape of the volume, 255 = unlabelled; None
      without annotation.
    truth: exact classes, for evaluation only; None if `label` holds them or if
      they are unknown.
    more: what else the index holds.
  """

  id: str
  volume: volume_type.Volume
  statistics: levels_lib.Statistics
  kind: str
  label: np.ndarray | None
  truth: np.ndarray | None
  more: dict[str, Any]


def write(
    folder: str | os.PathLike[str],
    file: str,
    item: Annotated,
    plan: planning.Plan,
) -> chunks.Volume:
  """Writes one volume as a plan says, slab by slab.

  The index keeps the geometry of the file (`stored_shape`, `stored_affine`), so
  that predictions can return to it.

  Args:
    folder: the folder of chunks.
    file: name of the file to write.
    item: the volume.
    plan: the plan of the set.
  """
  stored = item.volume
  turn = orientation.find_turn(stored.affine, plan.frame)
  turned = orientation.turn_volume(stored, turn)
  old = turned.voxels.shape
  shape = resampling.new_shape(old, turned.spacing_mm, plan.spacing_mm)
  coarse = resampling.coarse_axis(turned.spacing_mm, plan.spacing_mm)
  map_ = lambda array: levels_lib.to_levels(
      array, plan.intensities, item.statistics)
  mapped = volume_type.Lazy(
      old, np.float32, lambda block: map_(turned.voxels[block]))
  limits = map_(np.array([item.statistics.low, item.statistics.high]))

  def image(start, stop):
    return levels_lib.round_levels(resampling.resample_image(
        mapped, shape, coarse=coarse, slab=(start, stop),
        limits=tuple(limits.tolist())))

  def of(label, kind):
    label = orientation.turn_voxels(label, turn)
    if types.AnnotationKind[kind.upper()] in types.SPARSE_KINDS:
      moved = resampling.resample_sparse(label, shape)
      return lambda start, stop: moved[..., start:stop]
    return lambda start, stop: resampling.resample_labels(
        label, shape, coarse=coarse, slab=(start, stop))

  fields = {'image': image}
  if item.label is not None:
    fields['label'] = of(item.label, item.kind)
  if item.truth is not None:
    fields['truth'] = of(item.truth, 'mask')
  more = item.more | {
      'kind': item.kind, 'statistics': list(item.statistics),
      'affine': resampling.new_affine(turned.affine, old, shape).tolist(),
      'stored_shape': list(stored.voxels.shape),
      'stored_affine': np.asarray(stored.affine).tolist()}
  return chunks.write_volume(
      folder, file, fields, volume_id=item.id, shape=shape,
      chunk_size=plan.chunk_size, more=more)


def write_reference(
    folder: str | os.PathLike[str],
    file: str,
    item: Annotated,
    plan: planning.Plan,
) -> chunks.Volume:
  """Writes the exact label of a volume as field `truth`, on the file's grid.

  Args:
    folder: the folder of references.
    file: name of the file to write.
    item: the volume.
    plan: the plan of the set.
  """
  exact = item.label if item.truth is None else item.truth
  return chunks.write_volume(
      folder, file, {'truth': lambda start, stop: exact[:, :, start:stop]},
      volume_id=item.id, shape=exact.shape, chunk_size=plan.chunk_size)


def restore(
    probs: np.ndarray, volume: chunks.Volume, plan: planning.Plan
) -> np.ndarray:
  """Returns a prediction of a written volume on the grid of its file.

  Args:
    probs: probabilities on the grid of the records, float [*volume.shape, K].
    volume: the volume as the index lists it.
    plan: the plan with which it was written.

  Returns:
    Classes, uint8 of the stored shape, in the stored order of the axes.
  """
  affine = np.array(volume.more['stored_affine'])
  turn = orientation.find_turn(affine, plan.frame)
  axes = list(turn.axes)
  shape = tuple(volume.more['stored_shape'][axis] for axis in axes)
  spacing = np.linalg.norm(affine[:3, :3], axis=0)[axes]
  found = resampling.restore_labels(
      probs, shape,
      coarse=resampling.coarse_axis(spacing.tolist(), plan.spacing_mm))
  return orientation.turn_voxels(found, orientation.inverse(turn))
