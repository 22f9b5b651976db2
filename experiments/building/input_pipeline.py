"""Reads prepared records (TFDS ArrayRecord) into batches, with Grain."""

import collections
from collections.abc import Iterator, Sequence
from concurrent import futures
import os
from typing import Any, NamedTuple

from data_prep.records import preparation as preparation_lib
from data_prep.shared import grammar
from data_prep.volumes import planning
import grain
from hybridseg import batch_checks
from hybridseg import types
import numpy as np

from experiments import binary
from experiments.building import index_shuffle
from experiments.building import split_records

# Splits up to these sizes are decoded at the start and kept in memory; larger
# ones are read from disk, record by record.
_MAX_IN_MEMORY_BYTES = 4 << 30
_MAX_IN_MEMORY = 100_000
# Larger splits are shuffled by `index_shuffle`, which mixes them better.
_MOST_OF_GRAIN = 1_000_000
_SPLITS = ('train_strong', 'train_weak', 'val', 'test')
# Maps each value of `input.weak_labels` to the feature of a record that holds
# the label map from which a weak image is learnt.
_LABELS = {'annotation': 'label', 'truth': 'truth'}


class Dataset(NamedTuple):
  """A prepared set.

  Attributes:
    name: name of the set.
    classes: class names; index 0 is the background.
    image_shape: height, width and number of channels of every image.
    splits: maps each split (`train_strong`, `train_weak`, `val` and `test`) to
      its records, a random-access sequence of dictionaries.
    fingerprint: sha256 of the manifest from which the records were built.
    preparation: settings with which images were turned into records.
    corrections: sha256 of the corrected labels that replaced weak annotations,
      see `experiments.building.corrections`; '' if none were replaced.
    plan: plan of a set of whole volumes, see `experiments.building.volume_set`;
      None for pictures and slices. With a plan, `image_shape` is the shape of a
      patch, [X, Y, Z, 1].
  """

  name: str
  classes: tuple[str, ...]
  image_shape: tuple[int, ...]
  splits: dict[str, Sequence[dict[str, Any]]]
  fingerprint: str
  preparation: preparation_lib.Preparation = preparation_lib.Preparation()
  corrections: str = ''
  plan: planning.Plan | None = None


def load_dataset(data_dir: str) -> Dataset:
  """Opens the prepared set in a folder that `data_prep.prepare` has written.

  Args:
    data_dir: the folder, `--output` of `data_prep.prepare`.

  Returns:
    The set. Each split that is small enough is decoded into memory.

  Raises:
    binary.UserError: if the folder has no records, if a split is missing, or if
      the records are damaged or were written by an older version.
  """
  import tensorflow_datasets as tfds  # Slow to import, and only needed here.

  folder = os.path.join(data_dir, 'records')
  if os.path.exists(os.path.join(data_dir, planning.FILE)):
    raise binary.UserError(
        f'{data_dir} holds whole volumes: train with a config such as '
        'experiments/configs/volumes.py, or prepare slices, without --volumes.')
  if not os.path.isdir(folder):
    raise binary.UserError(
        f'No records at {folder}: run `python -m data_prep.prepare '
        f'--output={data_dir} --dataset=NAME` first (see docs/own_data.md).'
    )
  builder = tfds.builder_from_directory(folder)
  metadata = builder.info.metadata
  missing = sorted(set(_SPLITS) - set(builder.info.splits))
  if missing:
    raise binary.UserError(
        f'{folder} has no {", ".join(missing)}: add such images to the '
        'manifest and prepare it again.'
    )
  if 'present' not in builder.info.features:
    raise binary.UserError(
        f'{folder} was written by an older version: prepare it again with '
        '--overwrite.')
  splits = {}
  for name, info in builder.info.splits.items():
    source = split_records.Checked(builder.as_data_source, name, data_dir)
    in_memory = (info.num_bytes <= _MAX_IN_MEMORY_BYTES
                 and info.num_examples <= _MAX_IN_MEMORY)
    splits[name] = [*source] if in_memory else source
  return Dataset(
      name=metadata['name'],
      classes=tuple(metadata['classes']),
      image_shape=tuple(builder.info.features['image'].shape),
      splits=splits,
      fingerprint=metadata['manifest_sha256'],
      preparation=preparation_lib.read(data_dir),
  )


class TrainBatches:
  """The endless sequence of training batches, as NumPy arrays.

  The batch of a step is a pure function of (seed, step), so that a resumed run
  needs no other record of its position. Each pass over a split is shuffled
  anew, and an instance appears at most once in a batch.
  """

  def __init__(self, splits, orders, weak_labels):
    self._splits, self._orders = splits, orders
    self._labels = {'strong': 'label', 'weak': _LABELS[weak_labels]}

  def rows(self, step: int) -> dict[str, np.ndarray]:
    """Returns the row numbers of the records in a step's batch.

    'strong' holds rows of the split train_strong, 'weak' of train_weak.
    """
    return {role: order[step] for role, order in self._orders.items()}

  def __getitem__(self, step: int) -> types.HybridBatch:
    return types.HybridBatch(**{
        role: _examples(
            self._splits[f'train_{role}'], rows.tolist(), self._labels[role])
        for role, rows in self.rows(step).items()})


def train_batches(
    dataset: Dataset,
    *,
    strong_batch_size: int,
    weak_batch_size: int,
    seed: int,
    weak_labels: str = 'annotation',
) -> TrainBatches:
  """Returns the training batches of a set.

  Args:
    dataset: set from `load_dataset`.
    strong_batch_size: strong images per step, over all devices.
    weak_batch_size: weak images per step, over all devices.
    seed: seed of the order of the images.
    weak_labels: labels of the weak images: 'annotation', or 'truth' for their
      exact masks, which only full supervision may see.

  Raises:
    binary.UserError: if a batch is larger than its split, if `weak_labels` is
      'truth' but the exact mask of a weak image is not known, or if the first
      batch holds values that no training can use.
  """
  if label_of(weak_labels) == 'truth':
    for record in dataset.splits['train_weak']:
      if (record['truth'] == types.UNLABELLED).all():
        refuse_unknown_truth(dataset, record)
  batches = TrainBatches(
      dataset.splits,
      orders(dataset, strong_batch_size, weak_batch_size, seed), weak_labels)
  check_first(dataset, batches)
  return batches


def label_of(weak_labels: str) -> str:
  """Returns the feature of a record that `input.weak_labels` names.

  Raises:
    binary.UserError: if there is no such value.
  """
  if weak_labels not in _LABELS:
    raise binary.UserError(
        f'input.weak_labels is {weak_labels!r}; known: {sorted(_LABELS)}.')
  return _LABELS[weak_labels]


def orders(
    dataset: Dataset, strong_batch_size: int, weak_batch_size: int, seed: int
) -> dict[str, Sequence[np.ndarray]]:
  """Returns the rows of all batches by role, see `TrainBatches.rows`.

  Raises:
    binary.UserError: if a batch is larger than its split.
  """
  return {
      'strong': _order(dataset, 'strong', strong_batch_size, 2 * seed),
      'weak': _order(dataset, 'weak', weak_batch_size, 2 * seed + 1)}


def check_first(dataset: Dataset, batches: Any) -> None:
  """Refuses a set whose first batch holds values that no training can use.

  The first batch is enough to detect a fault that all records share.

  Raises:
    binary.UserError: if it holds such values.
  """
  try:
    batch_checks.check_batch(
        batches[0], num_classes=len(dataset.classes),
        num_weak=len(dataset.splits['train_weak']))
  except ValueError as e:
    raise binary.UserError(
        f'The records of {dataset.name} cannot be trained on ({e!s:.90}): '
        'prepare the set again, with --overwrite.') from e


def _order(dataset, role, batch_size, seed):
  """Returns the endless sequence of shuffled rows of a training split."""
  number = len(dataset.splits.get(f'train_{role}', ()))
  if not 0 < batch_size <= number:
    raise binary.UserError(
        f'input.{role}_batch_size is {batch_size}, but {dataset.name} has '
        f'{grammar.counted(number, f"{role} training instance")}: '
        f'{_batch_fix(role, number)}.')
  if number > _MOST_OF_GRAIN:
    return index_shuffle.Batches(number, batch_size, seed)
  return grain.MapDataset.range(number).shuffle(seed=seed).batch(
      batch_size, drop_remainder=True).repeat()


def _batch_fix(role, number):
  """Returns the advice for an error message about a batch that is too large.

  Args:
    role: 'strong' or 'weak'.
    number: number of records in that split.
  """
  multiple = 2 if role == 'weak' else 1  # CutMix mixes weak images in pairs.
  largest = number - number % multiple
  if not largest:
    return f'prepare a set with {multiple} or more'
  return f'set --config.input.{role}_batch_size={largest}, or less'


def read_from(
    batches: Sequence[Any], first: int, last: int, num_workers: int
) -> Iterator[Any]:
  """Yields the batches of the steps `first` to `last` - 1 in order.

  Args:
    batches: sequence from `train_batches`. A batch depends only on its step, so
      that the batches are the same with any number of threads.
    first: first step.
    last: one past the last step.
    num_workers: number of threads that read ahead; with 0, each batch is read
      when it is needed.
  """
  if not num_workers:
    yield from (batches[i] for i in range(first, last))
    return
  with futures.ThreadPoolExecutor(num_workers) as pool:
    ahead = collections.deque()
    try:
      for i in range(first, last):
        while len(ahead) < 2 * num_workers and i + len(ahead) < last:
          ahead.append(pool.submit(batches.__getitem__, i + len(ahead)))
        yield ahead.popleft().result()
    finally:  # This also runs if the caller stops before the last batch.
      for item in ahead:
        item.cancel()


def refuse_unknown_truth(dataset: Dataset, record: Any) -> None:
  """Refuses full supervision, since the exact mask of a record is unknown.

  Raises:
    binary.UserError: always.
  """
  raise binary.UserError(
      "input.weak_labels is 'truth', but the exact mask of the training "
      f'image {str(column([record], "id")[0])!r} of {dataset.name} is not '
      'known: train another method, or add its mask to the manifest.')


def _examples(records, rows, label):
  """Returns rows of a split as examples with the label maps `label`."""
  found = [records[row] for row in rows]
  return types.Examples(
      image=np.stack([r['image'] for r in found]),
      label=np.stack([r[label] for r in found]),
      instance_id=np.array([r['instance_id'] for r in found], np.int32),
      kind=np.array([r['kind'] for r in found], np.int32),
      present=np.stack([r['present'] for r in found]))


def eval_batches(
    records: Sequence[dict[str, Any]],
    batch_size: int,
    *,
    label: str = 'truth',
) -> Iterator[types.Examples]:
  """Yields all records of a split in order, in batches of equal size.

  The last batch is filled up with copies of its last image. Every pixel of the
  copies' label maps is `types.UNLABELLED`, so that the copies do not count in
  any metric.

  Args:
    records: records of the split.
    batch_size: images per batch.
    label: feature of the records that holds the label maps.
  """
  for start in range(0, len(records), batch_size):
    rows = [records[min(i, len(records) - 1)]
            for i in range(start, start + batch_size)]
    labels = np.stack([r[label] for r in rows])
    labels[len(records) - start:] = types.UNLABELLED
    yield types.Examples(
        image=np.stack([r['image'] for r in rows]), label=labels,
        instance_id=np.full((batch_size,), -1, np.int32))


def indicator_batches(
    records: Sequence[dict[str, Any]], batch_size: int, *, weak_labels: str
) -> Iterator[types.Examples]:
  """Yields every weak image with its training label, in batches of equal size.

  The last batch is filled up with the first images of the split, which get the
  instance id -1 there. These images count in the common harm of the batch, but
  do not move an indicator.

  Args:
    records: records of the split train_weak.
    batch_size: images per batch.
    weak_labels: see `train_batches`.
  """
  for start in range(0, len(records), batch_size):
    rows = np.arange(start, start + batch_size)
    examples = _examples(
        records, (rows % len(records)).tolist(), _LABELS[weak_labels])
    examples.instance_id[rows >= len(records)] = -1
    yield examples


class Rows(Sequence):
  """Some records of a split, which are read when they are needed."""

  def __init__(self, records: Sequence[dict[str, Any]], rows: np.ndarray):
    self._records, self._rows = records, rows

  def __len__(self):
    return len(self._rows)

  def __getitem__(self, index):
    return self._records[int(self._rows[index])]

  def column(self, name: str) -> np.ndarray:
    return column(self._records, name)[self._rows]


def column(records: Sequence[dict[str, Any]], name: str) -> np.ndarray:
  """Returns a feature of all records as an array, with bytes as strings."""
  if isinstance(records, (Rows, split_records.Checked)):
    values = records.column(name)
  else:
    values = [r[name] for r in records]
  return np.array([v.decode() if isinstance(v, bytes) else v for v in values])
