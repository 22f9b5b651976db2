"""Moves the indicators of all weak images in one pass over the images."""

from collections.abc import Callable
from typing import Any

from hybridseg import train_step as train_step_lib
from hybridseg import types
import jax

from experiments.building import input_pipeline
from experiments.building import parts as parts_lib
from experiments.building import pieces


def make(
    dataset: input_pipeline.Dataset,
    data: pieces.Data,
    weighting: train_step_lib.Weighting,
    training: parts_lib.Training,
) -> Callable[..., Any]:
  """Returns a function that moves the indicators of all weak images.

  Args:
    dataset: set of the run.
    data: which labels the weak images have, and how many are read at once.
    weighting: which indicators move, and at which steps.
    training: networks and mapped functions of the run.

  Returns:
    A function to call after each training step, which returns the new state. In
    most methods, the training step itself moves the indicators, and the
    function returns the state as it is. Its arguments are:

    - the state, placed on the devices; its buffers are donated.
    - the number of updates done.
    - a strong batch on the host; the indicator of a weak image rises if the
      image's gradient points in the direction of this batch's gradient.
    - a random key, placed on the devices.
  """

  def move_indicators(
      state: train_step_lib.TrainState, step: int, strong: types.Examples,
      key: jax.Array,
  ) -> Any:
    if (weighting.instances != 'all' or step < weighting.start_step
        or step % weighting.every_steps):
      return state
    for weak in input_pipeline.indicator_batches(
        dataset.splits['train_weak'], data.weak_batch_size,
        weak_labels=data.weak_labels):
      batch = training.network.mapping.place_batch(
          types.HybridBatch(strong, weak))
      # All batches can share the key, because this step augments no images and
      # draws no random numbers.
      state, _ = training.indicator_fn(state, batch, key)
    return state

  return move_indicators
