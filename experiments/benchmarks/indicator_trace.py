"""Records the gradients of a training run, to compute indicators from them.

`indicator_rules` replays many rules on such a trace, each within a second.
"""

import functools
import os
from typing import NamedTuple

from data_prep.shared import whole_file
from hybridseg import augmentation
from hybridseg import losses
from hybridseg import train_step as train_step_lib
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from experiments import binary
from experiments.building import input_pipeline
from experiments.building import parts as parts_lib

_WEAK_LOSS = losses.cross_entropy_dice_loss
# The number of steps between two computations of the gradients of all exact
# masks.
_EVERY = 4


class Trace(NamedTuple):
  """The recorded gradients of a training of T steps with n networks.

  Each step sees B weak images; the set has S exact masks, N weak images and K
  classes. All gradients are with respect to the last layer, [F + 1, K]: the
  kernel for F features, and the bias as the last row.

  Attributes:
    ids: instance ids of the weak images of each step, int [T, B].
    weak: gradient of the alignment loss of each weak image, [T, n, B, K, F + 1,
      K]. The first axis K splits the gradient into the contributions of the
      pixels that the annotation assigns to each class.
    weak_with_prior: gradient of the training loss of each weak image,
      [T, n, B, F + 1, K].
    strong: gradient of the mean strong loss of the batch, [T, n, F + 1, K].
    each_strong: gradient of the strong loss of every exact mask,
      [T, n, S, F + 1, K]. It is computed on new augmentations every `_EVERY`
      steps, and repeated in between.
    all_layers: alignments over all layers, with the alignment loss and with the
      training loss, [T, n, 2, B].
    dice_loss: soft Dice loss of each weak label, [T, n, B].
    indicators: indicators that the training itself had after its last step,
      [N].
  """

  ids: np.ndarray
  weak: np.ndarray
  weak_with_prior: np.ndarray
  strong: np.ndarray
  each_strong: np.ndarray
  all_layers: np.ndarray
  dice_loss: np.ndarray
  indicators: np.ndarray


def folds(num_strong: int) -> np.ndarray:
  """Returns which of the two networks learns each exact mask, int [num_strong].

  This is used with `cross_fitted`, where only one network learns each mask.
  """
  return np.arange(num_strong) % 2


def load_or_record(
    path: str,
    config: ml_collections.ConfigDict,
    dataset: input_pipeline.Dataset,
    *,
    cross_fitted: bool = False,
) -> Trace:
  """Reads the trace of a training from a file, or records and writes it.

  Args:
    path: path of an .npz file.
    config: see `record`.
    dataset: see `record`.
    cross_fitted: see `record`.

  Raises:
    binary.UserError: if the file holds a trace of another config.
  """
  told = config.to_json()
  if os.path.exists(path):
    with np.load(path) as arrays:
      if str(arrays['config']) != told:
        raise binary.UserError(
            f'{path} was recorded with another config: use another --workdir.')
      return Trace(**{name: arrays[name] for name in Trace._fields})
  trace = record(config, dataset, cross_fitted=cross_fitted)
  with whole_file.open_whole(path, 'wb') as f:
    np.savez(f, config=told, **trace._asdict())
  return trace


def record(
    config: ml_collections.ConfigDict,
    dataset: input_pipeline.Dataset,
    *,
    cross_fitted: bool = False,
) -> Trace:
  """Trains a run in memory, and records its gradients before every step.

  Args:
    config: config of the run, with mapping 'jit'.
    dataset: set of the run, with planted faults.
    cross_fitted: whether each network only learns the exact masks of its own
      fold, see `folds`.
  """
  training = parts_lib.build_training(config, dataset)
  parts = training.network
  observe, observe_strong = _make_observers(
      parts, config, len(dataset.classes))
  sets = [dataset]
  if cross_fitted:
    sets = [_of_fold(dataset, n) for n in range(2)]
  batches = [
      input_pipeline.train_batches(
          s, strong_batch_size=config.input.strong_batch_size,
          weak_batch_size=config.input.weak_batch_size, seed=config.seed)
      for s in sets]
  (each_strong,) = input_pipeline.eval_batches(
      dataset.splits['train_strong'], len(dataset.splits['train_strong']),
      label='label')
  state = parts.mapping.replicate(parts.init_fn())
  key = parts.mapping.replicate(jax.random.key(config.seed))
  rows = []
  for step in range(config.train_steps):
    now = [b[step] for b in batches]
    if step % _EVERY == 0:
      each = jax.device_get(observe_strong(state, each_strong, key))
    row = jax.device_get(observe(state, now, key))
    rows.append(row | {'each_strong': each})
    states = []
    for batch in now:
      # A step donates the buffers of its state, so give it a copy.
      copy = jax.tree.map(jnp.array, state)
      states.append(
          training.step_fn(copy, parts.mapping.place_batch(batch), key))
    state = states[0][0]
    if cross_fitted:
      both = [s for s, _ in states]
      state = state._replace(
          params=tuple(s.params[n] for n, s in enumerate(both)),
          opt_states=tuple(s.opt_states[n] for n, s in enumerate(both)))
  return Trace(
      **{name: np.stack([row[name] for row in rows]) for name in rows[0]},
      indicators=np.asarray(state.indicators.weights))


def _of_fold(dataset, n):
  records = dataset.splits['train_strong']
  own = [r for r, fold in zip(records, folds(len(records)), strict=True)
         if fold == n]
  return dataset._replace(splits=dataset.splits | {'train_strong': own})


def _make_observers(parts, config, num_classes):
  """Returns two functions that compute the values of a trace from a state.

  The first computes all values that belong to the batches of a step, the second
  the gradients of all exact masks.
  """
  augment = functools.partial(
      augmentation.augment,
      options=augmentation.AugmentationOptions(**config.augmentation))

  def prepare(key, examples):
    keys = train_step_lib.instance_keys(key, examples.label.shape[0])
    examples = augment(keys, examples)
    return examples.image, *losses.one_hot_labels(examples.label, num_classes)

  def head_grads(loss_fn, logits, features, labels, where):
    """Returns the gradient of each instance's loss, [B, K, F + 1, K].

    The first axis K splits the gradient by the labelled class of the pixels.
    """
    slopes = jax.grad(
        lambda x: jnp.sum(loss_fn(x, labels, where=where)))(logits)
    ones = jnp.ones((*features.shape[:-1], 1))
    features = jnp.concatenate([features, ones], axis=-1)
    return jnp.einsum('bhwc,bhwf,bhwk->bcfk', labels, features, slopes)

  def of_network(params, strong, weak):
    def strong_loss(p):
      logits = parts.apply_fn(p, strong[0])
      return jnp.mean(parts.strong_loss_fn(logits, strong[1], where=strong[2]))

    direction = jax.grad(strong_loss)(params)
    (logits, features), (slopes, _) = jax.jvp(
        lambda p: parts.apply_fn(p, weak[0], return_features=True), (params,),
        (direction,))
    annotation = dict(labels=weak[1], where=weak[2])
    weak_grads = functools.partial(
        head_grads, logits=logits, features=features, **annotation)
    alignments = [
        jax.jvp(functools.partial(fn, **annotation), (logits,), (slopes,))[1]
        for fn in (parts.alignment_loss_fn, _WEAK_LOSS)]
    kernel = direction['head']['kernel']
    return {
        'weak': weak_grads(parts.alignment_loss_fn),
        'weak_with_prior': weak_grads(_WEAK_LOSS).sum(1),
        'strong': jnp.concatenate(
            [kernel.reshape(kernel.shape[-2:]), direction['head']['bias'][None]]
        ),
        'all_layers': jnp.stack(alignments),
        'dice_loss': losses.soft_dice_loss(logits, **annotation),
    }

  def keys_at(state, key):
    """Returns the random keys of the training step.

    With these keys, the images are augmented as in the training step.
    """
    return jax.random.split(jax.random.fold_in(key, state.step), 3)

  @jax.jit
  def observe(state, batches, key):
    strong_key, weak_key, _ = keys_at(state, key)
    weak = prepare(weak_key, batches[0].weak)
    strong = [prepare(strong_key, b.strong) for b in batches]
    found = [of_network(p, strong[n % len(strong)], weak)
             for n, p in enumerate(state.params)]
    return jax.tree.map(lambda *x: jnp.stack(x), *found) | {
        'ids': batches[0].weak.instance_id}

  @jax.jit
  def observe_strong(state, examples, key):
    images, *annotation = prepare(keys_at(state, key)[2], examples)
    return jnp.stack([
        head_grads(
            parts.strong_loss_fn,
            *parts.apply_fn(p, images, return_features=True), *annotation
        ).sum(1) for p in state.params])

  return observe, observe_strong
