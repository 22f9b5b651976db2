"""Keeps the indicators of annotations that a review has kept at 1.

With `weighting.pin_kept`, weak annotations that a person has found right have
no indicator that moves. In the training batches, their images get the instance
id -1, for which the library takes the indicator 1.
"""

from collections.abc import Sequence
import os

from data_prep import manifest as manifest_lib
from data_prep.records import fingerprints
from hybridseg import train_step as train_step_lib
from hybridseg import weight_rules
import jax.numpy as jnp
import numpy as np

from experiments import binary
from experiments.building import input_pipeline


def check(rule: str, pin_kept: bool) -> None:
  """Checks that a weighting rule can use `weighting.pin_kept`.

  Raises:
    ValueError: if the rule has no indicators.
  """
  if pin_kept and rule not in weight_rules.persistent():
    raise ValueError(
        f'weighting.pin_kept is for indicators, and {rule!r} has none: use '
        f'{" or ".join(weight_rules.persistent())}.')


def find(dataset: input_pipeline.Dataset, data_dir: str) -> np.ndarray:
  """Returns which weak instances a review has kept, bool [N].

  Args:
    dataset: set of the run.
    data_dir: folder of the set, whose manifest holds the decisions.

  Raises:
    binary.UserError: if the manifest is missing or of another set.
  """
  path = os.path.join(data_dir, 'manifest.jsonl')
  try:
    manifest = manifest_lib.read_manifest(path)
  except OSError as e:
    raise binary.UserError(
        f'weighting.pin_kept needs the decisions of a review, and {path} '
        f'cannot be read: {e.strerror}.') from e
  if fingerprints.of_manifest(manifest) != dataset.fingerprint:
    raise binary.UserError(
        f'weighting.pin_kept: {path} is not the manifest of the records '
        'beside it: prepare the set again.')
  kept = {row.id for row in manifest.rows
          if row.reviews and row.reviews[-1]['decision'] == 'keep'}
  ids = input_pipeline.column(dataset.splits['train_weak'], 'id')
  return np.array([name in kept for name in ids.astype(str).tolist()], bool)


def without_indicators(
    dataset: input_pipeline.Dataset, kept: np.ndarray
) -> input_pipeline.Dataset:
  """Returns a set whose kept annotations have the instance id -1.

  Args:
    dataset: set of the run, which is not changed.
    kept: value of `find`.
  """
  records = _WithoutIndicators(dataset.splits['train_weak'], kept)
  return dataset._replace(splits=dataset.splits | {'train_weak': records})


class _WithoutIndicators(Sequence):
  """The records of a split, which may be on the disk."""

  def __init__(self, records, kept):
    self._records, self._kept = records, kept

  def __len__(self):
    return len(self._records)

  def __getitem__(self, index):
    record = self._records[index]
    if self._kept[index]:
      record = record | {'instance_id': np.int32(-1)}
    return record


def start_from(
    state: train_step_lib.TrainState, kept: np.ndarray | None
) -> train_step_lib.TrainState:
  """Returns the state of a new run in which kept annotations count in full.

  Nothing ever moves these indicators, which only the tables show.

  Args:
    state: state from `parts.Network.init_fn`.
    kept: value of `find`; with None, the state is returned as it is.
  """
  if kept is None:
    return state
  weights = np.array(state.indicators.weights)
  weights[kept] = 1
  return state._replace(indicators=state.indicators._replace(
      weights=jnp.asarray(weights)))
