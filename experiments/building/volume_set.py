"""Opens sets of whole volumes.

`prepare --volumes` writes such a set. A volume is one record, and a weak volume
is one instance; with `--instances=slabs`, each of its slabs is a record and an
instance. Voxels are only read when they are asked for.
"""

from collections.abc import Sequence
import functools
import hashlib
import json
import os
from typing import Any

from data_prep.records import annotated_slabs
from data_prep.records import chunks
from data_prep.records import volume_records
from data_prep.volumes import levels as levels_lib
from data_prep.volumes import planning
from hybridseg import types
import numpy as np

from experiments import binary
from experiments.building import input_pipeline
from experiments.building import pieces

_NETWORKS = ('unet', 'residual_unet')


class Record:
  """A volume as a record of the trainer.

  `record[name]` returns what the records of slices hold under the same name:
  id, subject, instance_id, kind, present, fault, quality; and image, float32
  [X, Y, Z, 1] in [0, 1], label and truth, uint8 [X, Y, Z], which are read anew
  each time. The record of a slab holds the whole volume, but its label is
  unlabelled outside of the slab, and its id ends with the first and the last
  slice of the file: 'case_7:16-23'.

  Attributes:
    volume: the volume as the index of the chunks lists it.
    slab: the slab; None if the record is of the whole volume.
  """

  def __init__(
      self,
      reader: chunks.Reader,
      references: chunks.Reader,
      volume: chunks.Volume,
      *,
      instance_id: int,
      num_classes: int,
      slab: annotated_slabs.Slab | None = None,
  ):
    """Stores where the volume is; reads no voxels.

    Args:
      reader: reader of the set.
      references: reader of the exact labels on the grids of the files.
      volume: the volume.
      instance_id: its row in the indicator table; -1 for none.
      num_classes: number of classes.
      slab: the slab of the volume that is the instance, or None.
    """
    self._reader, self._references = reader, references
    self.volume, self.slab = volume, slab
    more = volume.more
    name, fault, quality = volume.id, more['fault'], more['quality']
    if slab is not None:
      name = f'{name}:{slab.first}-{slab.last}'
      fault, quality = slab.fault, slab.quality
    self._facts = {
        'id': name,
        'subject': more['subject'] or volume.id,
        'instance_id': np.int32(instance_id),
        'kind': np.int32(types.AnnotationKind[more['kind'].upper()]),
        'present': _present(more, num_classes),
        'fault': fault,
        'quality': np.float32(np.nan if quality is None else quality)}

  def __getitem__(self, name: str) -> Any:
    if name in self._facts:
      return self._facts[name]
    return self.read(name, (0, 0, 0), self.volume.shape)

  def read(
      self, name: str, start: Sequence[int], size: Sequence[int]
  ) -> np.ndarray:
    """Reads a patch of image, label or truth.

    Outside of the volume, the image has its lowest level, and label and truth
    are `types.UNLABELLED`, as they are where nothing is known. So is the label
    outside of the slab.

    Args:
      name: 'image', 'label' or 'truth'.
      start: first voxel along each axis; may be negative.
      size: number of voxels along each axis.

    Raises:
      binary.UserError: if the set is damaged.
    """
    if name == 'truth' and not self.has_truth:
      return np.full(size, types.UNLABELLED, np.uint8)
    if name == 'truth' and 'truth' not in self.volume.fields:
      name = 'label'
    if name == 'label' and name not in self.volume.fields:
      return np.full(size, types.UNLABELLED, np.uint8)
    patch = _read(
        lambda: self._reader.read_patch(self.volume.id, start, size, name))
    if name == 'label' and self.slab is not None:
      places = np.arange(size[self.slab.axis]) + start[self.slab.axis]
      is_outside = (places < self.slab.start) | (places >= self.slab.stop)
      np.moveaxis(patch, self.slab.axis, 0)[is_outside] = types.UNLABELLED
    if name != 'image':
      return patch
    return patch[..., None].astype(np.float32) / np.float32(levels_lib.TOP)

  def present_in(
      self, start: Sequence[int], size: Sequence[int]
  ) -> np.ndarray:
    """Returns what a tag says of the classes in a patch, uint8 [K].

    A class that the tag of the volume leaves out is absent (0). A class that it
    names is present (1) if the patch holds the whole volume, else unknown, as
    are all classes without a tag (`types.UNLABELLED`).
    """
    present = self._facts['present']
    if all(s <= 0 and n <= s + m for s, m, n in zip(
        start, size, self.volume.shape, strict=True)):
      return present
    return np.where(present == 1, np.uint8(types.UNLABELLED), present)

  @property
  def has_truth(self) -> bool:
    """Whether the exact label of the volume is known."""
    return 'truth' in self.volume.fields or (
        self._facts['kind'] == types.AnnotationKind.MASK)

  def locations(self) -> np.ndarray:
    """Returns classes and positions of labelled objects, int32 [N, 4]."""
    found = _read(lambda: self._reader.locations(self.volume.id))
    if self.slab is None:
      return found
    places = found[:, 1 + self.slab.axis]
    return found[(places >= self.slab.start) & (places < self.slab.stop)]

  def reference(self) -> np.ndarray:
    """Returns the exact label on the grid of the volume's file, uint8."""
    name = self.volume.id
    return _read(lambda: self._references.read_patch(
        name, (0, 0, 0), self._references.volumes[name].shape, 'truth'))

  @property
  def stored_spacing_mm(self) -> tuple[float, float, float]:
    """The distance between voxels along the axes of the file."""
    affine = np.array(self.volume.more['stored_affine'])
    return tuple(np.linalg.norm(affine[:3, :3], axis=0).tolist())

  @functools.cached_property
  def plane(self) -> tuple[int, int]:
    """Axis and number of the slice that shows most of the annotated objects.

    The axis is the one along which the voxels of the records lie farthest
    apart, the last one of equals; that of the slab, if there is one. Where no
    object is annotated, those of the exact label count.
    """
    affine = np.array(self.volume.more['affine'])
    spacing = np.round(np.linalg.norm(affine[:3, :3], axis=0), 3)
    axis = max(range(3), key=lambda i: (spacing[i], i))
    start, stop = 0, self.volume.shape[axis]
    if self.slab is not None:
      axis, start, stop = self.slab[:3]
    others = tuple(i for i in range(3) if i != axis)
    for name in ('label', 'truth'):
      label = self[name]
      area = ((label > 0) & (label != types.UNLABELLED)).sum(others)
      area[:start] = area[stop:] = 0
      if area.any():
        # A box has equally many voxels in all of its slices: take the middle.
        largest = np.flatnonzero(area == area.max())
        return axis, int(largest[len(largest) // 2])
    return axis, (start + stop) // 2


def _present(more, num_classes):
  """Returns which classes a tag names, uint8 [K], 255 = unknown."""
  present = np.full(num_classes, types.UNLABELLED, np.uint8)
  if 'present' in more:
    present[1:] = np.isin(np.arange(1, num_classes), more['present'])
  return present


def _read(read_fn):
  """Calls a function that reads chunks; refuses a damaged set."""
  try:
    return read_fn()
  except (KeyError, OSError, ValueError) as e:
    raise binary.UserError(f'{e!s:.190}') from e


def _open(data_dir, name):
  """Opens one of the folders of a set."""
  folder = os.path.join(data_dir, name)
  if not os.path.isdir(folder):
    raise binary.UserError(
        f'{data_dir} lacks the folder {name}: prepare the set again, with '
        '--overwrite.')
  return _read(lambda: chunks.Reader(folder))


def load(data_dir: str) -> input_pipeline.Dataset:
  """Opens the set of whole volumes in a folder.

  Args:
    data_dir: the folder, `--output` of `data_prep.prepare --volumes`.

  Raises:
    binary.UserError: if the folder holds no such set, or if a split is missing.
  """
  file = os.path.join(data_dir, planning.FILE)
  if not os.path.exists(file):
    raise binary.UserError(
        f'No whole volumes at {data_dir}: run `python -m data_prep.prepare '
        '--volumes --source=FOLDER --output=...` first, or use the config '
        'custom.py for slices.')
  plan, problems = planning.read_plan(file)
  if problems:
    raise binary.UserError(f'{data_dir}: {problems[0]}'[:200])
  reader, references = (
      _open(data_dir, name)
      for name in (volume_records.CHUNKS, volume_records.REFERENCES))
  classes = tuple(reader.more['classes'])
  parts = {name: [] for name in ('train_strong', 'train_weak', 'val', 'test')}
  for volume in reader.volumes.values():
    split, role = volume.more['split'], volume.more['role']
    if split == 'train':
      split = 'train_strong' if role == 'strong' else 'train_weak'
    parts[split].append(volume)
  missing = [name for name, volumes in parts.items() if not volumes]
  if missing:
    raise binary.UserError(
        f'{data_dir} has no volumes of {", ".join(missing)}: prepare it again '
        'with --simulate, --strong_fraction or --splits.')
  splits = {
      name: [Record(
          reader, references, volume, num_classes=len(classes), slab=slab,
          instance_id=i if name == 'train_weak' else -1)
             for i, (volume, slab) in enumerate(
                 (volume, slab) for volume in volumes
                 for slab in _slabs(volume))]
      for name, volumes in parts.items()}
  # Sets without slabs have the fingerprint that they have always had.
  facts = [plan, reader.more, [
      (v.id, v.sha256, v.more['split'], v.more['role'], v.more['subject'],
       v.more['kind'], *v.more.get(chunks.SLABS, ()))
      for v in reader.volumes.values()]]
  return input_pipeline.Dataset(
      name=reader.more['name'], classes=classes,
      image_shape=(*plan.patch_size, 1), splits=splits,
      fingerprint=hashlib.sha256(json.dumps(facts).encode()).hexdigest(),
      plan=plan)


def _slabs(volume):
  """Returns the slabs of a volume, or None as the only one."""
  return [annotated_slabs.Slab(**slab) for slab in volume.more.get(
      chunks.SLABS, ())] or [None]


def with_batch_sizes(
    data: pieces.Data, dataset: input_pipeline.Dataset
) -> pieces.Data:
  """Replaces batch sizes of 0 by those of the plan.

  A batch is never larger than its split, and the weak one is even.

  Args:
    data: which volumes the run reads.
    dataset: set from `load`.
  """
  planned, splits = dataset.plan.batch_size, dataset.splits
  weak = max(2, min(planned + planned % 2, len(splits['train_weak']) // 2 * 2))
  return data._replace(
      strong_batch_size=data.strong_batch_size or min(
          planned, len(splits['train_strong'])),
      weak_batch_size=data.weak_batch_size or weak,
      eval_batch_size=data.eval_batch_size or planned)


def network_options(
    model: pieces.Model, plan: planning.Plan
) -> dict[str, Any]:
  """Returns the options of a network for volumes, completed by the plan.

  Raises:
    ValueError: if the network takes no volumes.
  """
  if model.name not in _NETWORKS:
    raise ValueError(
        f'model.name {model.name!r} takes no volumes; use one of {_NETWORKS}.')
  stated = {name: value for name, value in model.options.items() if value}
  number = len(stated.get('features', plan.features))
  return {'features': plan.features, 'strides': plan.strides[:number - 1],
          'kernels': plan.kernels[:number]} | stated
