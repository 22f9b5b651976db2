"""Draws patches of whole volumes for training."""

from collections.abc import Sequence

from hybridseg import types
import numpy as np

from experiments.building import input_pipeline
from experiments.building import pieces
from experiments.building import volume_set


class PatchBatches:
  """The endless sequence of training batches of patches, as NumPy arrays.

  As in `input_pipeline.TrainBatches`, the batch of a step is a pure function of
  (seed, step), and an instance appears at most once in a batch.

  An instance that is a slab is drawn as a patch of its volume, in which only
  the slab is labelled. The weak loss of the patch, its alignment and its
  indicator are thus those of this slab alone, and its neighbours are learnt in
  patches of their own.
  """

  def __init__(
      self,
      dataset: input_pipeline.Dataset,
      data: pieces.Data,
      *,
      seed: int,
  ):
    """Checks the first batch.

    Args:
      dataset: set from `volume_set.load`.
      data: batch sizes, labels, and `foreground_share`, the share of the
        patches that are drawn around a labelled voxel of an object.
      seed: seed of all draws.

    Raises:
      binary.UserError: see `input_pipeline.train_batches`.
    """
    self._dataset, self._seed = dataset, seed
    self._share = data.foreground_share
    weak = input_pipeline.label_of(data.weak_labels)
    if weak == 'truth':
      for record in dataset.splits['train_weak']:
        if not record.has_truth:
          input_pipeline.refuse_unknown_truth(dataset, record)
    self._labels = {'strong': 'label', 'weak': weak}
    self._orders = input_pipeline.orders(
        dataset, data.strong_batch_size, data.weak_batch_size, seed)
    input_pipeline.check_first(dataset, self)

  def rows(self, step: int) -> dict[str, np.ndarray]:
    """Returns the row numbers of the records in a step's batch."""
    return {role: order[step] for role, order in self._orders.items()}

  def __getitem__(self, step: int) -> types.HybridBatch:
    return types.HybridBatch(**{
        role: self._examples(role, rows.tolist(), step)
        for role, rows in self.rows(step).items()})

  def _examples(self, role, rows, step):
    records = self._dataset.splits[f'train_{role}']
    size = self._dataset.plan.patch_size
    images, labels, present = [], [], []
    for place, row in enumerate(rows):
      rng = np.random.default_rng(
          [self._seed, step, role == 'weak', place])
      start = draw_start(rng, records[row], size, share=self._share)
      images.append(records[row].read('image', start, size))
      labels.append(records[row].read(self._labels[role], start, size))
      present.append(records[row].present_in(start, size))
    column = lambda name: np.stack([records[row][name] for row in rows])
    return types.Examples(
        image=np.stack(images), label=np.stack(labels),
        instance_id=column('instance_id'), kind=column('kind'),
        present=np.stack(present))


def first_start(length: Sequence[int], size: Sequence[int]) -> np.ndarray:
  """Returns the first voxel at which patches of a volume may start, int [3].

  Args:
    length: number of voxels of the volume along each axis.
    size: number of voxels of a patch.
  """
  return -(np.maximum(np.subtract(size, length), 0) // 2)


def draw_start(
    rng: np.random.Generator,
    record: volume_set.Record,
    size: Sequence[int],
    *,
    share: float,
) -> list[int]:
  """Draws the first voxel of a patch.

  The patch lies within the volume. Along an axis on which the volume is
  smaller, the volume lies in the middle of the patch. If the record is of a
  slab, a slice of the slab lies in the middle of the patch, unless the patch
  would leave the volume.

  Args:
    rng: random generator.
    record: the volume.
    size: number of voxels of the patch along each axis.
    share: probability with which the patch holds an object, if its label has
      any: a class is drawn uniformly, then one of its voxels, which lies in the
      middle of the patch unless the patch would leave the volume.
  """
  length, size = np.array(record.volume.shape), np.array(size)
  first = first_start(length, size)
  last = first + np.maximum(length - size, 0)
  start = rng.integers(first, last + 1)
  if record.slab is not None:
    axis, *ends = record.slab[:3]
    start[axis] = np.clip(
        rng.integers(*ends) - size[axis] // 2, first[axis], last[axis])
  if rng.random() < share:
    places = record.locations()
    if len(places):
      places = places[places[:, 0] == rng.choice(np.unique(places[:, 0])), 1:]
      start = np.clip(rng.choice(places) - size // 2, first, last)
  return start.tolist()
