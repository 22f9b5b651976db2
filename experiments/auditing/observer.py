"""Applies the networks of a finished run to the images of its set."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from data_prep.shared import progress
from hybridseg import alignment_maps
from hybridseg import augmentation
from hybridseg import indicators as indicators_lib
from hybridseg import losses
from hybridseg import train_step as train_step_lib
from hybridseg import types
from hybridseg import weighting
import jax
import jax.numpy as jnp
import numpy as np

from experiments import binary
from experiments.building import corrections
from experiments.building import input_pipeline
from experiments.building import parts as parts_lib
from experiments.building import pieces
from experiments.prediction import predictor
from experiments.saving import checkpoints as checkpoints_lib
from experiments.saving import indicator_history
from experiments.saving import run_folder


class Run(NamedTuple):
  """A finished run, opened for an audit.

  Attributes:
    dataset: set of the run, with its records.
    data_dir: folder of the set.
    last: newest checkpoint of the run, with one indicator per instance.
    history: indicators at each evaluation up to this checkpoint.
    observer: observer that applies the networks of the run.
    weights: the final indicators, float [N]; per class, float [N, K - 1].
  """

  dataset: input_pipeline.Dataset
  data_dir: str
  last: checkpoints_lib.Checkpoint
  history: indicator_history.History
  observer: 'Observer'
  weights: np.ndarray


class Picture(NamedTuple):
  """The maps of one weak instance that the report of an audit shows.

  Attributes:
    prediction: predicted classes, uint8 [H, W].
    alignment_map: alignment of each pixel, mean over the networks, float
      [H, W]; see `alignment_maps`.
  """

  prediction: np.ndarray
  alignment_map: np.ndarray


class Look(NamedTuple):
  """A record with the outputs of both networks.

  Attributes:
    record: the record.
    probs: class probabilities by network, float [2, H, W, K].
    alignment_maps: alignment of each pixel by network, float [2, H, W]; see
      `hybridseg.alignment_maps`. None if they were not asked for.
  """

  record: dict[str, Any]
  probs: np.ndarray
  alignment_maps: np.ndarray | None = None


class Observer:
  """Applies networks to records, with programs that are compiled only once.

  Attributes:
    batch_size: number of records per batch.
  """

  def __init__(
      self, network: parts_lib.Network, method: pieces.Method, *,
      num_classes: int, batch_size: int
  ):
    self.batch_size = batch_size

    def prepare(examples):
      return augmentation.to_float(examples.image), *losses.one_hot_labels(
          examples.label, num_classes)

    @jax.jit
    def head_grads(params, examples):
      images, labels, where = prepare(examples)

      def total(head):
        logits = network.apply_fn({**params, 'head': head}, images)
        values = method.supervision.strong_loss_fn(logits, labels, where=where)
        # Leave out images without any label, such as the padding of a batch.
        return jnp.sum(jnp.where(where.any((1, 2)), values, 0))

      return jax.grad(total)(params['head'])

    @jax.jit
    def predict(params, examples):
      images, *_ = prepare(examples)
      return jnp.stack([
          jax.nn.softmax(network.apply_fn(p, images)) for p in params], axis=1)

    @jax.jit
    def look(params, directions, examples):
      images, labels, where = prepare(examples)
      probs, maps = [], []
      for p, direction in zip(params, directions, strict=True):
        logits, features = network.apply_fn(p, images, return_features=True)
        probs.append(jax.nn.softmax(logits))
        maps.append(alignment_maps.alignment_maps(
            lambda f: method.alignment_loss_fn(f, labels, where=where), logits,
            weighting.last_layer_slopes(features, direction)))
      return jnp.stack(probs, axis=1), jnp.stack(maps, axis=1)

    self._head_grads, self._predict, self._look = head_grads, predict, look

  def strong_directions(
      self,
      params: Sequence[types.Params],
      records: Sequence[dict[str, Any]],
  ) -> list[Any]:
    """Returns each network's last-layer gradient of the mean strong loss.

    Args:
      params: parameters by network.
      records: strong training records.
    """
    total = [jax.tree.map(np.zeros_like, p['head']) for p in params]
    for examples in input_pipeline.eval_batches(
        records, self.batch_size, label='label'):
      for n, p in enumerate(params):
        total[n] = jax.tree.map(
            np.add, total[n], jax.device_get(self._head_grads(p, examples)))
    return [jax.tree.map(lambda x: x / len(records), t) for t in total]

  def look(
      self,
      params: Sequence[types.Params],
      records: Sequence[dict[str, Any]],
      *,
      label: str,
      what: str,
      directions: Sequence[Any] | None = None,
  ) -> Iterator[Look]:
    """Yields each record with the outputs of the networks.

    Args:
      params: parameters by network.
      records: records to which the networks are applied.
      label: feature of the records that holds the label map.
      what: description of the records, for the progress on stderr.
      directions: gradients from `strong_directions`; None leaves out the
        alignment maps.
    """
    told = progress.Progress(len(records), 'images', what=f'{what}: ')
    for i, examples in enumerate(input_pipeline.eval_batches(
        records, self.batch_size, label=label)):
      seen = (self._predict(params, examples),) if directions is None else (
          self._look(params, directions, examples))
      rows = zip(*jax.device_get(seen), strict=True)
      done = i * self.batch_size
      # The last batch is padded; `zip` drops the outputs for the padding.
      for number, row in zip(range(done, len(records)), rows, strict=False):
        yield Look(records[number], *row)
      told(min(done + self.batch_size, len(records)))


def check_method(workdir: str, weak_labels: str) -> None:
  """Refuses a run whose method never saw the weak annotations.

  Args:
    workdir: folder of the run.
    weak_labels: `input.weak_labels` of its config.

  Raises:
    binary.UserError: if it is a run of full supervision.
  """
  if weak_labels == 'truth':
    raise binary.UserError(
        f'{workdir} is a run of full supervision, which never saw the weak '
        'annotations: audit a run of another method.')


def check_set(
    workdir: str, dataset: input_pipeline.Dataset, data_dir: str
) -> None:
  """Refuses a set that is not the one that a run has learnt from.

  The indicators belong to the images by their position in the set.

  Args:
    workdir: folder of the run.
    dataset: the set as it is now.
    data_dir: folder of the set.

  Raises:
    binary.UserError: if the set has changed.
  """
  sessions = run_folder.read_sessions(workdir)
  if sessions and sessions[0]['dataset_fingerprint'] != dataset.fingerprint:
    raise binary.UserError(
        f'{workdir} holds a run on another set: the records under {data_dir} '
        'have changed since. Train again, or prepare the set as it was.')


def open_run(workdir: str) -> Run:
  """Opens a run with its records and checkpoints.

  Raises:
    binary.UserError: if the run, its records or its checkpoint are missing, if
      the set has changed since, or if the networks were trained on exact masks
      of the images to audit.
  """
  data, model, method, schedule = pieces.unpack(
      run_folder.read_config(workdir))
  check_method(workdir, data.weak_labels)
  dataset = corrections.load(data, workdir)
  check_set(workdir, dataset, data.data_dir)
  if dataset.plan is not None:
    raise binary.UserError(
        f'{workdir} was trained on whole volumes, which this command does not '
        'read yet: see its indicators.csv.')
  network = parts_lib.build_network(dataset, model, method, schedule)
  last = predictor.restore(workdir, dataset, network)
  observer = Observer(
      network, method, num_classes=len(dataset.classes),
      batch_size=max(1, data.eval_batch_size))
  history = indicator_history.read(workdir, last)
  indicators = last.state.indicators
  last = last._replace(state=last.state._replace(
      indicators=indicators_lib.of_instances(indicators)))
  return Run(dataset, data.data_dir, last, history, observer,
             np.asarray(indicators.weights))


def pictures(
    run: Run, records: Sequence[dict[str, Any]]
) -> list[Picture]:
  """Returns the predictions and alignment maps of weak records.

  They are computed with the newest checkpoint of the run.
  """
  params = train_step_lib.eval_params(run.last.state)
  directions = run.observer.strong_directions(
      params, run.dataset.splits['train_strong'])
  return [
      Picture(look.probs.mean(0).argmax(-1).astype(np.uint8),
              look.alignment_maps.mean(0))
      for look in run.observer.look(
          params, records, label='label', what='pictures',
          directions=directions)
  ]
