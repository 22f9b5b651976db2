"""A pass over all weak images that moves their indicators."""

from collections.abc import Callable
from typing import Any

from hybridseg import train_step as train_step_lib
from hybridseg import types
import jax
import ml_collections

from experiments.building import input_pipeline
from experiments.building import parts as parts_lib


def make(
    config: ml_collections.ConfigDict,
    dataset: input_pipeline.Dataset,
    training: parts_lib.Training,
) -> Callable[..., Any]:
  """Returns a function that moves the indicators of all weak images.

  Args:
    config: config of the run. Most methods move the indicators within the
      training step; then the function returns the state as it is.
    dataset: set of the run.
    training: parts of the run.

  Returns:
    A function to call after each step. It takes the state, placed on the
    devices and donated; the number of updates done; the strong batch whose
    gradient steers, on the host; and a random key, placed on the devices. It
    returns the state.
  """
  weighting, options = config.weighting, config.input

  def is_due(step):
    return (weighting.instances == 'all' and step >= weighting.start_step
            and step % weighting.every_steps == 0)

  def move_indicators(
      state: train_step_lib.TrainState, step: int, strong: types.Examples,
      key: jax.Array,
  ) -> Any:
    if not is_due(step):
      return state
    for weak in input_pipeline.indicator_batches(
        dataset.splits['train_weak'], options.weak_batch_size,
        weak_labels=options.weak_labels):
      batch = training.network.mapping.place_batch(
          types.HybridBatch(strong, weak))
      # The step augments nothing, so it does not use the key.
      state, _ = training.indicator_fn(state, batch, key)
    return state

  return move_indicators
