"""Loads the two networks of a run, and applies them to tiles of images."""

from collections.abc import Callable, Iterable, Iterator
import functools
import itertools
import sys
from typing import Any, NamedTuple

from hybridseg import augmentation
from hybridseg import inference
from hybridseg import train_step as train_step_lib
import jax
import numpy as np

from experiments import binary
from experiments.building import input_pipeline
from experiments.building import parts as parts_lib
from experiments.building import pieces
from experiments.saving import checkpoints as checkpoints_lib
from experiments.saving import run_folder
from experiments.saving import run_log

# Maps each value of --network to the indices of the networks that predict.
NETWORKS = {'mean': (0, 1), '0': (0,), '1': (1,)}


class Cost(NamedTuple):
  """What one call of the compiled networks costs.

  Attributes:
    flops: floating-point operations, on all devices.
    num_bytes: memory of the program on all devices, with its results.
  """

  flops: float
  num_bytes: int


class Predictor(NamedTuple):
  """One or both networks of a run, with all that is needed to apply them.

  Attributes:
    predict_fn: pure function that maps parameters of the networks and images,
      uint8 [B, H, W, C], to an `inference.Prediction`. It is not jitted.
    run_fn: the same function with the parameters of the run, so that it takes
      only images; compiled and mapped over the devices.
    cost_fn: maps a shape [B, ..., C] of images to the cost of `run_fn`, which
      is compiled for it. Images of volumes are float32, others uint8.
    params: parameters of each network, as NumPy arrays.
    batch_size: batch size B, over all devices of this process.
    dataset: set of the run, without its records.
    data_dir: folder of the set's records, which need not exist any more.
    model: the network and its options.
    schedule: seed and length of the run.
    step: step of the checkpoint.
    network: the networks that predict, a key of `NETWORKS`.
    flip: whether to average over four flips of each image, or eight of each
      volume.
    digest: SHA-256 of the parameters.
  """

  predict_fn: Callable[..., inference.Prediction]
  run_fn: Callable[[np.ndarray], inference.Prediction]
  cost_fn: Callable[[tuple[int, ...]], Cost]
  params: tuple[Any, ...]
  batch_size: int
  dataset: input_pipeline.Dataset
  data_dir: str
  model: pieces.Model
  schedule: pieces.Schedule
  step: int
  network: str
  flip: bool
  digest: str


def load(
    workdir: str,
    *,
    checkpoint: str = 'latest',
    network: str = 'mean',
    flip: bool = False,
    whole_volumes: bool = False,
) -> Predictor:
  """Loads the networks of a run, whose records need not exist any more.

  Args:
    workdir: folder of the run.
    checkpoint: 'latest', or 'best' on the validation split.
    network: the networks that predict, a key of `NETWORKS`.
    flip: whether to average over four flips of each image, or eight of each
      volume.
    whole_volumes: whether the caller can use a run on whole volumes.

  Raises:
    binary.UserError: if there is no run or no intact checkpoint, or if the run
      was trained on whole volumes but the caller cannot use it.
  """
  data, model, method, schedule = pieces.unpack(
      run_folder.read_config(workdir))
  dataset = run_folder.read_dataset(workdir, data.data_dir)
  if dataset.plan is not None and not whole_volumes:
    raise binary.UserError(
        f'{workdir} was trained on whole volumes, which this command does not '
        'read yet: use experiments.predict or experiments.evaluate.')
  built = parts_lib.build_network(dataset, model, method, schedule)
  restored = restore(workdir, dataset, built, checkpoint)
  params = tuple(
      train_step_lib.eval_params(restored.state)[i] for i in NETWORKS[network])
  flips, batch_size = inference.ALL_FLIPS, data.eval_batch_size
  if dataset.plan is not None:
    flips = inference.ALL_VOLUME_FLIPS
    batch_size = batch_size or dataset.plan.batch_size
  flips = flips if flip else inference.NO_FLIPS
  predict_fn = inference.make_predict_step(
      built.apply_fn, image_fn=augmentation.to_float, flips=flips)
  placed = built.mapping.replicate(params)
  run_fn = built.mapping.eval(predict_fn)
  return Predictor(
      predict_fn=predict_fn,
      run_fn=functools.partial(run_fn, placed),
      cost_fn=lambda shape: _cost(
          run_fn.lower(placed, jax.ShapeDtypeStruct(
              shape, np.uint8 if dataset.plan is None else np.float32)),
          built.mapping.num_local_devices),
      params=params,
      batch_size=_batch_size(batch_size, built.mapping),
      dataset=dataset,
      data_dir=data.data_dir,
      model=model,
      schedule=schedule,
      step=restored.step,
      network=network,
      flip=flip,
      digest=checkpoints_lib.state_sha256(params),
  )


def _cost(lowered, num_devices):
  """Compiles a program, and returns its cost on all devices."""
  compiled = lowered.compile()  # JAX keeps the result for the first call.
  memory = compiled.memory_analysis()
  return Cost(
      num_devices * float(compiled.cost_analysis().get('flops', 0.0)),
      num_devices * (memory.temp_size_in_bytes + memory.output_size_in_bytes))


def _batch_size(wanted, mapping):
  """Returns the batch size, rounded up to a multiple of the device count."""
  num_devices = mapping.num_local_devices
  return -(-max(1, wanted) // num_devices) * num_devices


def restore(
    workdir: str,
    dataset: input_pipeline.Dataset,
    built: parts_lib.Network,
    checkpoint: str = 'latest',
) -> checkpoints_lib.Checkpoint:
  """Restores the newest intact checkpoint of a run, or its best one.

  If the run is not finished, a notice says so.

  Args:
    workdir: folder of the run.
    dataset: set of the run.
    built: networks of the run.
    checkpoint: 'latest', or 'best' on the validation split.

  Raises:
    binary.UserError: if there is no intact checkpoint, or if the best one is
      not known.
  """
  config = run_folder.read_config(workdir)
  store = run_folder.open_checkpoints(workdir, config, dataset.fingerprint)
  like = jax.eval_shape(built.init_fn)
  restored = store.restore(like)
  if restored is None:
    raise binary.UserError(
        f'No checkpoint in {workdir}: train first (experiments.train).')
  if restored.step < config.train_steps:
    print(f'notice: {workdir} is not finished: it is at step {restored.step} '
          f'of {config.train_steps}', file=sys.stderr)
  if checkpoint == 'best':
    best = run_log.known_best(restored.session)
    if best is None:
      raise binary.UserError(
          f'{workdir} has no best checkpoint: no evaluation up to step '
          f'{restored.step} gave a validation Dice. Use --checkpoint=latest.')
    if best['step'] != restored.step:
      restored = store.restore(like, step=best['step'])
  return restored


def predict_tiles(
    predictor: Predictor, tiles: Iterable[np.ndarray]
) -> Iterator[inference.Prediction]:
  """Predicts tiles in full batches, and yields their predictions in order.

  Args:
    predictor: networks from `load`.
    tiles: images of the size of the records, uint8 [H, W, C]. Two batches of
      them are read ahead, so that the devices work on one while the caller uses
      the predictions of the other.
  """
  tiles, running = iter(tiles), None
  while batch := list(itertools.islice(tiles, predictor.batch_size)):
    filled = batch + [batch[-1]] * (predictor.batch_size - len(batch))
    started = predictor.run_fn(np.stack(filled)), len(batch)
    if running is not None:
      yield from _fetch(*running)
    running = started
  if running is not None:
    yield from _fetch(*running)


def _fetch(outputs, number):
  """Waits for a batch, and yields the predictions of its first `number`."""
  outputs = jax.device_get(outputs)
  for row in range(number):
    yield inference.Prediction(*(x[row] for x in outputs))
