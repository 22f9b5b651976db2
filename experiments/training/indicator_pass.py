"""A pass over all weak images that moves their indicators, where a run asks."""

from typing import Any

from hybridseg import train_step as train_step_lib
from hybridseg import types
import jax
import ml_collections

from experiments.building import input_pipeline
from experiments.building import parts as parts_lib


def is_due(config: ml_collections.ConfigDict, step: int) -> bool:
  """Returns whether a pass follows after so many updates of the networks."""
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
    config: of the run.
    dataset: its set.
    training: its parts.
    state: placed; donated.
    strong: the strong batch whose gradient steers, of the host.
    key: placed; not used by the step, which augments nothing.
  """
  for weak in input_pipeline.indicator_batches(
      dataset.splits['train_weak'], config.input.weak_batch_size,
      weak_labels=config.input.weak_labels):
    batch = training.network.mapping.place_batch(
        types.HybridBatch(strong, weak))
    state, _ = training.indicator_fn(state, batch, key)
  return state
