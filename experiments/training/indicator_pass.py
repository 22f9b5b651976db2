"""A pass over all weak images that moves their indicators."""

from typing import Any

from hybridseg import train_step as train_step_lib
from hybridseg import types
import jax
import ml_collections

from experiments.building import input_pipeline
from experiments.building import parts as parts_lib


def is_due(config: ml_collections.ConfigDict, step: int) -> bool:
  """Returns whether a pass follows after `step` updates of the networks."""
  weighting = config.weighting
  return (weighting.instances == 'all' and step >= weighting.start_step
          and step % weighting.every_steps == 0)


def run(
    config: ml_collections.ConfigDict,
    dataset: input_pipeline.Dataset,
    training: parts_lib.Training,
    state: train_step_lib.TrainState,
    strong: types.Examples,
    key: jax.Array,
) -> Any:
  """Returns the state with the indicators of all weak images moved.

  Args:
    config: config of the run.
    dataset: set of the run.
    training: parts of the run.
    state: state, placed on the devices; it is donated.
    strong: strong batch whose gradient steers, on the host.
    key: random key, placed on the devices; the step does not use it, because it
      augments nothing.
  """
  for weak in input_pipeline.indicator_batches(
      dataset.splits['train_weak'], config.input.weak_batch_size,
      weak_labels=config.input.weak_labels):
    batch = training.network.mapping.place_batch(
        types.HybridBatch(strong, weak))
    state, _ = training.indicator_fn(state, batch, key)
  return state
