"""Writes whole volumes to chunks, turned, resampled and mapped to levels."""

import os
from typing import Any, NamedTuple

from hybridseg import types
import numpy as np

from data_prep.records import chunks
from data_prep.shared import pixels
from data_prep.shared import volume_type
from data_prep.volumes import levels as levels_lib
from data_prep.volumes import orientation
from data_prep.volumes import planning
from data_prep.volumes import resampling

# Folders of a set: its chunks, and labels on the grids of the files. These are
# the exact labels of val and test, with which runs are evaluated, and the
# annotations of train, which are exported for annotation tools.
CHUNKS = 'chunks'
REFERENCES = 'references'

_MAX_SHEAR_DEG = 1.0

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


def check(
    volume: volume_type.Volume, statistics: levels_lib.Statistics, shown: str
) -> None:
  """Refuses a volume of which no grid or no contrast can be made.

  Args:
    volume: the volume.
    statistics: its statistics.
    shown: name of the file, for messages.

  Raises:
    pixels.WrongFile: if the volume cannot be used.
  """
  shear = orientation.shear_deg(volume.affine)
  if shear > _MAX_SHEAR_DEG:
    raise pixels.WrongFile(
        'the axes of the volume are not at right angles',
        f'{shown}: {shear:.0f} degrees off',
        'resample it, as for a tilted gantry')
  if statistics.low == statistics.high:
    raise pixels.WrongFile(
        'all voxels of the image have one value' if statistics.is_finite else
        'all voxels of the image have one value or are not finite',
        f'{shown}: {statistics.low:g}', 'replace the file')


def image_of(
    volume: volume_type.Volume,
    statistics: levels_lib.Statistics,
    plan: planning.Plan,
) -> tuple[planning.Triple, chunks.Slab]:
  """Returns the levels of a volume on the grid of the records.

  Args:
    volume: the volume; its voxels may be lazy.
    statistics: its statistics.
    plan: the plan of the set.

  Returns:
    The shape of the grid, and a function that takes the first and last but one
    voxel of a slab along the last axis, and returns its levels, uint16.
  """
  turned = orientation.turn_volume(
      volume, orientation.find_turn(volume.affine, plan.frame))
  old = turned.voxels.shape
  shape = resampling.new_shape(old, turned.spacing_mm, plan.spacing_mm)
  coarse = resampling.coarse_axis(turned.spacing_mm, plan.spacing_mm)
  map_ = lambda array: levels_lib.to_levels(
      array, plan.intensities, statistics)
  mapped = volume_type.Lazy(
      old, np.float32, lambda block: map_(turned.voxels[block]))
  limits = map_(np.array([statistics.low, statistics.high]))

  def image(start, stop):
    return levels_lib.round_levels(resampling.resample_image(
        mapped, shape, coarse=coarse, slab=(start, stop),
        limits=tuple(limits.tolist())))

  return shape, image


def label_of(
    label: np.ndarray,
    kind: str,
    affine: np.ndarray,
    shape: planning.Triple,
    plan: planning.Plan,
) -> chunks.Slab:
  """Returns a label on the grid of the records.

  Args:
    label: classes on the grid of the file, uint8, 255 = unlabelled.
    kind: kind of the annotation.
    affine: the affine of the file.
    shape: shape of the grid of the records.
    plan: the plan of the set.

  Returns:
    A function as that of `image_of`, which returns classes, uint8.
  """
  turn, coarse = _way_back(affine, plan)
  label = orientation.turn_voxels(label, turn)
  if types.AnnotationKind[kind.upper()] in types.SPARSE_KINDS:
    moved = resampling.resample_sparse(label, shape)
    return lambda start, stop: moved[..., start:stop]
  dense = lambda label: lambda start, stop: resampling.resample_labels(
      label, shape, coarse=coarse, slab=(start, stop))
  if kind != 'extreme_points':
    return dense(label)
  # The points are moved, so that none is lost; the boxes are dense.
  is_point = (label > 0) & (label != types.UNLABELLED)
  moved = resampling.resample_sparse(
      np.where(is_point, label, types.UNLABELLED), shape)
  boxes = dense(np.where(is_point, types.UNLABELLED, label))
  return lambda start, stop: np.where(
      moved[..., start:stop] != types.UNLABELLED, moved[..., start:stop],
      boxes(start, stop))


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
  turned = orientation.turn_volume(
      stored, orientation.find_turn(stored.affine, plan.frame))
  shape, image = image_of(stored, item.statistics, plan)
  of = lambda label, kind: label_of(label, kind, stored.affine, shape, plan)
  fields = {'image': image}
  if item.label is not None:
    fields['label'] = of(item.label, item.kind)
  if item.truth is not None:
    fields['truth'] = of(item.truth, 'mask')
  more = item.more | {
      'kind': item.kind, 'statistics': list(item.statistics[:4]),
      'affine': resampling.new_affine(
          turned.affine, turned.voxels.shape, shape).tolist(),
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
  """Writes a label of a volume on the grid of its file.

  It is the annotation in field `label` for a volume of train, and the exact
  label in field `truth` for others.

  Args:
    folder: the folder of references.
    file: name of the file to write.
    item: the volume.
    plan: the plan of the set.
  """
  field, label = 'label', item.label
  if item.more['split'] != 'train':
    field, label = 'truth', item.label if item.truth is None else item.truth
  return chunks.write_volume(
      folder, file, {field: lambda start, stop: label[:, :, start:stop]},
      volume_id=item.id, shape=label.shape, chunk_size=plan.chunk_size)


def restore(
    probs: np.ndarray,
    affine: np.ndarray,
    plan: planning.Plan,
    out: np.ndarray,
) -> np.ndarray:
  """Writes a prediction of a volume on the grid of its file, slab by slab.

  Args:
    probs: probabilities on the grid of the records, float [X, Y, Z, K]; they
      may lie on the disk.
    affine: the affine of the file.
    plan: the plan of the set.
    out: array for the classes, uint8 of the stored shape, in the stored order
      of the axes; it may lie on the disk.

  Returns:
    `out`.
  """
  turn, coarse = _way_back(affine, plan)
  resampling.restore_labels(
      probs, orientation.turn_voxels(out, turn), coarse=coarse)
  return out


def restore_map(
    values: np.ndarray,
    affine: np.ndarray,
    plan: planning.Plan,
    out: np.ndarray,
) -> np.ndarray:
  """Writes numbers on the grid of the records on that of a file, linearly.

  Args:
    values: float [X, Y, Z].
    affine: as for `restore`.
    plan: as for `restore`.
    out: array for the numbers, float32, else as for `restore`.

  Returns:
    `out`.
  """
  turn, coarse = _way_back(affine, plan)
  resampling.restore_map(
      values, orientation.turn_voxels(out, turn), coarse=coarse)
  return out


def _way_back(affine, plan):
  """Returns the turn to the frame, and the coarse axis of a file."""
  affine = np.asarray(affine)
  turn = orientation.find_turn(affine, plan.frame)
  spacing = np.linalg.norm(affine[:3, :3], axis=0)[list(turn.axes)]
  return turn, resampling.coarse_axis(spacing.tolist(), plan.spacing_mm)
