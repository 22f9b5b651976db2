"""Starts a run from the networks and the indicators of an earlier one.

It is meant for training again after a review has changed some annotations of
the set: with `warm_start`, both networks start from the last parameters of the
earlier run. Each weak image whose annotation is the same starts from its last
indicator there; the others start from `weighting.initial_indicator`. Everything
else is new, also the optimizer, the steps and the schedule of the learning
rate.

A run that is resumed needs no earlier run any more, because its checkpoints
hold its whole state.
"""

import hashlib
from typing import Any, NamedTuple

from data_prep.shared import grammar
from hybridseg import train_step as train_step_lib
from hybridseg import weight_rules
import jax
import jax.numpy as jnp
import numpy as np

from experiments import binary
from experiments.building import corrections
from experiments.building import input_pipeline
from experiments.building import parts as parts_lib
from experiments.building import pieces
from experiments.saving import checkpoints as checkpoints_lib
from experiments.saving import run_folder


class Start(NamedTuple):
  """What a run takes over from an earlier one.

  Attributes:
    params: parameters of both networks, as NumPy arrays.
    teachers: their moving averages; None if one of the runs has none.
    indicators: the first indicator of each weak instance, float32 [N], or
      [N, K - 1] for indicators of classes; None if one of the runs has none.
    notice: line that tells the user what was taken over.
  """

  params: tuple[Any, Any]
  teachers: tuple[Any, Any] | None
  indicators: np.ndarray | None
  notice: str

  @property
  def digest(self) -> str:
    """SHA-256 of what is taken over, which run.json keeps."""
    return checkpoints_lib.state_sha256(
        (self.params, self.teachers, self.indicators))


class _Earlier(NamedTuple):
  """An earlier run: its pieces, a description of its set, and its state."""

  pieces: pieces.Pieces
  dataset: input_pipeline.Dataset
  checkpoint: checkpoints_lib.Checkpoint


def read(
    run: str,
    dataset: input_pipeline.Dataset,
    model: pieces.Model,
    method: pieces.Method,
    network: parts_lib.Network,
) -> Start | None:
  """Reads what a new run takes over from the newest checkpoint of another run.

  Args:
    run: folder of the earlier run; '' for none.
    dataset: set of the new run.
    model: network of the new run.
    method: how the new run learns.
    network: the built networks of the new run.

  Returns:
    What the new run takes over; None if `run` is ''.

  Raises:
    binary.UserError: if there is no such run, if its networks, classes or
      images are others, or if the annotations that it learnt from are gone.
  """
  if not run:
    return None
  earlier = _open(run)
  like = jax.eval_shape(network.init_fn)
  _check(run, earlier, dataset, model, like)
  state = earlier.checkpoint.state
  notice = f'Starting from {run} at step {earlier.checkpoint.step}: networks'
  indicators = None
  names = method.weighting.name, earlier.pieces.method.weighting.name
  if {*names} <= {*weight_rules.persistent()}:
    if like.indicators.weights.ndim != state.indicators.weights.ndim:
      raise binary.UserError(
          f'warm_start={run}: weighting.per_class is another one there: use '
          'the same value.')
    indicators, number = _indicators(
        run, earlier, dataset, otherwise=method.initial_indicator)
    rest = len(indicators) - number
    notice += (f' and indicators of {grammar.counted(number, "weak image")}; '
               f'{grammar.counted(rest, "weak image")} with new annotations')
  teachers = None if like.teachers is None else state.teachers
  return Start(state.params, teachers, indicators, f'{notice}.')


def _open(run):
  """Returns the earlier run with its newest checkpoint."""
  config = run_folder.read_config(run)
  unpacked = pieces.unpack(config)
  dataset = run_folder.read_dataset(run, unpacked.data.data_dir)
  built = parts_lib.build_network(dataset, *unpacked[1:])
  restored = run_folder.open_checkpoints(
      run, config, dataset.fingerprint).restore(jax.eval_shape(built.init_fn))
  if restored is None:
    raise binary.UserError(
        f'warm_start={run}: it has no checkpoint: train it first.')
  return _Earlier(unpacked, dataset, restored)


def _check(run, earlier, dataset, model, like):
  """Refuses an earlier run whose networks or images are others.

  Args:
    run: folder of the earlier run.
    earlier: the earlier run.
    dataset: set of the new run.
    model: network of the new run.
    like: shapes of the state of the new run.
  """
  where = f'warm_start={run}'
  if dataset.plan is not None or earlier.dataset.plan is not None:
    raise binary.UserError(f'{where} is not for whole volumes yet: leave it '
                           'out.')
  if dataset.classes != earlier.dataset.classes:
    raise binary.UserError(
        f'{where}: its classes are {", ".join(earlier.dataset.classes):.60}, '
        f'those of {dataset.name} are {", ".join(dataset.classes):.60}: they '
        'must be the same, in the same order.')
  shapes = [' x '.join(map(str, d.image_shape)) for d in (
      earlier.dataset, dataset)]
  if shapes[0] != shapes[1]:
    raise binary.UserError(
        f'{where}: its images are {shapes[0]}, those of {dataset.name} are '
        f'{shapes[1]}: prepare the set with the size of the earlier one.')
  if model.name != earlier.pieces.model.name:
    raise binary.UserError(
        f'{where}: its network is {earlier.pieces.model.name}, that of this '
        f'run is {model.name}: use the same one.')
  there, here = (checkpoints_lib.structure(params) for params in (
      earlier.checkpoint.state.params, like.params))
  for path in sorted(there.keys() | here.keys()):
    if there.get(path) != here.get(path):
      raise binary.UserError(
          f'{where}: its network is another one: {path:.60} is '
          f'{checkpoints_lib.describe(there.get(path))} there, '
          f'{checkpoints_lib.describe(here.get(path))} here: use its '
          'model.options.')


def _indicators(run, earlier, dataset, *, otherwise):
  """Returns the first indicators, and how many are from the earlier run."""
  try:
    before = corrections.load(earlier.pieces.data, run)
    if before.fingerprint != earlier.dataset.fingerprint:
      raise binary.UserError('the set has changed')
  except binary.UserError as e:
    raise binary.UserError(
        f'warm_start={run}: the annotations that it learnt from are needed to '
        f'tell which ones are new, but {earlier.pieces.data.data_dir} cannot '
        f'be used: {e!s:.80}') from e
  weights = np.asarray(earlier.checkpoint.state.indicators.weights)
  known = dict(zip(_annotations(before), weights, strict=True))
  first = np.full(weights.shape[1:], otherwise, weights.dtype)
  own = _annotations(dataset)
  indicators = [known.get(key, first) for key in own]
  shape = (len(own), *weights.shape[1:])
  return (np.reshape(indicators, shape).astype(weights.dtype),
          sum(key in known for key in own))


def _annotations(dataset):
  """Returns the id and a hash of the annotation of each weak image."""
  found = []
  for record in dataset.splits['train_weak']:
    content = b''.join(np.ascontiguousarray(record[name]).tobytes()
                       for name in ('kind', 'present', 'label'))
    name = str(input_pipeline.column([record], 'id')[0])
    found.append((name, hashlib.sha256(content).digest()))
  return found


def start_from(
    state: train_step_lib.TrainState, start: Start | None
) -> train_step_lib.TrainState:
  """Returns the state of a new run that starts from an earlier one.

  Args:
    state: state from `parts.Network.init_fn`.
    start: value of `read`; with None, the state is returned as it is.
  """
  if start is None:
    return state
  # A training step donates the state's buffers, which is an error if a buffer
  # appears in the state twice: the teachers need their own.
  copy = lambda tree: jax.tree.map(
      lambda x: jax.device_put(np.array(x)), tree)
  indicators = state.indicators
  if start.indicators is not None:
    indicators = indicators._replace(weights=jnp.asarray(start.indicators))
  return state._replace(
      params=copy(start.params), indicators=indicators,
      teachers=None if state.teachers is None else copy(
          start.params if start.teachers is None else start.teachers))
