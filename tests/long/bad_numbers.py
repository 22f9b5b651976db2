r"""Tests that nan and infinite numbers never get into the training state.

python -m tests.long.bad_numbers --num_injections=1000
python -m tests.long.bad_numbers --num_injections=120 --target=volumes

Runs training steps of two small U-Nets on random pictures or volumes. Each step
gets a bad number, nan, inf or -inf, at a random place, which is called a door
here. The doors are:

- in one network, for a strong or a weak instance: a pixel, a logit, the loss,
  or the derivative of the loss;
- the loss or the derivative from which alignments are computed;
- a stored indicator.

After each injection, the state must be finite and equal, bit for bit, to the
state of a second run that leaves out the skipped updates. After one more update
without an injection, both must still hold. The step does not use some of the
bad numbers, such as the logit of an unlabelled pixel, or an alignment if the
indicators do not move. In that case, the update is not skipped, and must equal
the update from the same batch without the bad number.
"""

import collections
import functools
import itertools
import time

from absl import flags
from hybridseg import augmentation
from hybridseg import losses
from hybridseg import models
from hybridseg import train_step as train_step_lib
from hybridseg import types
from hybridseg import volume_augmentation
import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments import binary
from tests.long import poison
from tests.long import tiny_runs

_NUM_INJECTIONS = flags.DEFINE_integer(
    'num_injections', 1000, 'Bad numbers, over all variants.', lower_bound=1)
_SEED = flags.DEFINE_integer('seed', 0, 'Of data and bad numbers.')

_NUM_CLASSES, _BATCH_SIZE, _NUM_WEAK = 3, 4, 32
_NETWORKS = 2
# Size and network of each target.
_SIZES = {'pictures': (16, 16), 'volumes': (4, 8, 8)}
_OPTIONS = {
    'pictures': {'features': (4, 8)},
    'volumes': {'features': (4, 8), 'strides': ((1, 2, 2),),
                'kernels': ((1, 3, 3), (3, 3, 3))}}
# Name -> weighting, and whether alignments are computed from a loss other than
# the training loss.
_VARIANTS = {
    'uniform': (dict(name='uniform'), False),
    'dii, tangent pass': (dict(name='dii'), True),
    'dii, every third step': (dict(name='dii', every_steps=3), True),
    'dii, per instance': (dict(name='dii', method='per_instance'), False),
    'dii, last layer': (dict(name='dii_last_layer'), True),
    'l2rw, tangent pass': (dict(name='l2rw'), True),
}
_DOORS = ('pixel', 'logit', 'slope', 'loss')
_ALIGNMENT_DOORS = ('alignment loss', 'alignment slope')


# Bad numbers enter through additional channels of the images, one for each door
# and network. Bad losses enter through marked pixels, see `poison`: some of the
# unlabelled pixels, which would not count anyway, are marked.
_CHANNELS = {
    ('pixel', 0): 1, ('pixel', 1): 1, ('logit', 0): 2, ('logit', 1): 3,
    ('slope', 0): 4, ('slope', 1): 5,
}
_MARKS = {'loss': 1, 'alignment loss': 4, 'alignment slope': 7}


def _size():
  return _SIZES[tiny_runs.TARGET.value]


def _apply(model, params, images, *, return_features=False):
  """Runs the U-Net and adds the injected numbers at the network's doors.

  `params['network']` is the number of the network, 0 or 1.
  """
  door = lambda name: jnp.where(
      params['network'] == 0, images[..., _CHANNELS[name, 0]],
      images[..., _CHANNELS[name, 1]])[..., None]
  # Add the bad pixel here, after augmentation, which would clip it.
  logits, features = model.apply(
      {'params': params}, images[..., :1] + door('pixel'),
      return_features=True)
  logits = poison.with_slope(logits, door('slope')) + door('logit')
  return (logits, features) if return_features else logits


def _augment(keys, examples):
  """Augments the image itself, and leaves the additional channels unchanged."""
  plain = examples._replace(image=examples.image[..., :1])
  still = dict(rotation_deg=0.0, log2_scale=0.0, shift=0.0)
  if tiny_runs.TARGET.value == 'volumes':
    plain = volume_augmentation.augment_volumes(
        keys, plain, spacing=(2.0, 1.0, 1.0),
        options=volume_augmentation.VolumeAugmentationOptions(
            **still, flip=(False, False, False)))
  else:
    plain = augmentation.augment(
        keys, plain, options=augmentation.AugmentationOptions(
            **still, flip=False))
  image = jnp.concatenate([plain.image, examples.image[..., 1:]], axis=-1)
  return plain._replace(image=image)


def _loss(logits, labels, *, where):
  values = losses.cross_entropy_dice_loss(
      logits, labels, where=where & ~poison.marked(labels, where))
  return values + poison.value(labels, where, _MARKS['loss'])


def _alignment_loss(logits, labels, *, where):
  values = losses.prior_free(losses.cross_entropy_loss)(
      logits, labels, where=where & ~poison.marked(labels, where))
  values = values + poison.value(labels, where, _MARKS['alignment loss'])
  slope = poison.value(labels, where, _MARKS['alignment slope'])
  return poison.with_slope(values, slope)


def _batch(rng):
  """Returns a batch of random images and labels without any bad number."""

  def examples(ids):
    shape = (_BATCH_SIZE, *_size())
    image = np.zeros(shape + (6,), np.float32)
    image[..., 0] = rng.random(shape)
    label = rng.integers(_NUM_CLASSES, size=shape, dtype=np.uint8)
    label[rng.random(shape) < 0.1] = types.UNLABELLED
    # This leaves enough unlabelled pixels to mark.
    label[:, 0] = types.UNLABELLED
    return types.Examples(image, label, ids.astype(np.int32))

  return types.HybridBatch(
      strong=examples(np.full(_BATCH_SIZE, -1)),
      weak=examples(rng.permutation(_NUM_WEAK)[:_BATCH_SIZE]))


def _inject(rng, batch, state, own_loss):
  """Injects a bad number at a random door.

  Args:
    rng: random number generator.
    batch: batch without bad numbers; it may be changed.
    state: state before the step.
    own_loss: whether alignments are computed from a loss other than the
      training loss.

  Returns:
    The name of the door, the batch, and the state with which to do the step.
  """
  doors = [*itertools.product(('strong', 'weak'), _DOORS)]
  doors += [('weak', d) for d in _ALIGNMENT_DOORS] if own_loss else []
  doors += [('stored', 'indicator')]
  part, door = doors[rng.integers(len(doors))]
  value = int(rng.integers(len(poison.VALUES)))
  if part == 'stored':
    row = rng.integers(_NUM_WEAK)
    table = state.indicators.weights.at[row].set(poison.VALUES[value])
    state = state._replace(
        indicators=state.indicators._replace(weights=table))
    return f'{part} {door}', batch, state
  examples, row = getattr(batch, part), rng.integers(_BATCH_SIZE)
  if door in _MARKS:
    unlabelled = np.flatnonzero(examples.label[row] == types.UNLABELLED)
    places = rng.choice(unlabelled, _MARKS[door] + value, replace=False)
    examples.label[row].flat[places] = poison.NO_CLASS
  else:
    place = rng.integers(_size())
    network = int(rng.integers(_NETWORKS))
    examples.image[row, *place, _CHANNELS[door, network]] = poison.VALUES[value]
  return f'{part} {door}', batch, state


def _make_step(model, optimizer, weighting, own_loss):
  apply_fn = functools.partial(_apply, model)
  return jax.jit(train_step_lib.make_train_step(
      apply_fn,
      optimizer,
      num_classes=_NUM_CLASSES,
      features_fn=functools.partial(apply_fn, return_features=True),
      augment_fn=_augment,
      supervision=train_step_lib.Supervision(
          _loss, _loss, _alignment_loss if own_loss else None),
      weighting=train_step_lib.Weighting(**weighting),
      co_reg=train_step_lib.CoRegularization(scale=0.5, ramp_up_steps=10),
  ))


def _init_state(model, optimizer):
  network = itertools.count()
  images = jnp.zeros((1, *_size(), 1))
  return train_step_lib.init_state(
      lambda key: model.init(key, images)['params']
      | {'network': jnp.float32(next(network))},
      optimizer, jax.random.key(_SEED.value), num_weak=_NUM_WEAK,
      indicator_value=0.5)


def _is_finite(state):
  return all(
      np.isfinite(x).all() for x in jax.tree.leaves(jax.device_get(state)))


def _is_same(state, other):
  """Returns whether two states are equal, bit by bit.

  The counters of skipped updates are not compared.
  """
  bits = lambda s: [
      np.asarray(x).tobytes()
      for x in jax.tree.leaves(jax.device_get(
          s._replace(num_skipped=0, num_skipped_in_a_row=0)))]
  return bits(state) == bits(other)


def _run(step, state, num_injections, own_loss, rng):
  """Runs steps with injected bad numbers, and checks the state after each step.

  Returns:
    A dictionary from the name of each door to the counts of its outcomes.
  """
  key = jax.random.key(_SEED.value + 1)
  other = state  # The state of a second run, without bad numbers.
  table = collections.defaultdict(collections.Counter)
  for _ in range(num_injections):
    clean = _batch(rng)
    copy = jax.tree.map(np.copy, clean)
    door, batch, given = _inject(rng, copy, state, own_loss)
    new, metrics = step(given, batch, key)
    count = table[door]
    count['injected'] += 1
    if metrics['skipped']:
      count['skipped'] += 1
      # A skipped update returns its input unchanged, even with a bad indicator.
      same = _is_same(new, given._replace(step=given.step + 1))
      same &= int(new.num_skipped) == int(state.num_skipped) + 1
      state = new._replace(indicators=state.indicators)
      other = other._replace(step=other.step + 1)
    else:
      # The step did not use the bad number, so its update must equal the update
      # from the clean batch.
      count['without effect'] += 1
      other, _ = step(other, clean, key)
      same = _is_same(new, other)
      state = new
    count['non-finite'] += not _is_finite(state)
    # Do one more update in both runs, without a bad number.
    clean = _batch(rng)
    before = state
    state, metrics = step(state, clean, key)
    other, _ = step(other, clean, key)
    same &= _is_same(state, other) and not metrics['skipped']
    same &= not _is_same(state, before._replace(step=state.step))
    count['equal'] += bool(same)
    count['non-finite'] += not _is_finite(state)
  return table


def main():
  start = time.perf_counter()
  rng = np.random.default_rng(_SEED.value)
  model = models.build(
      'unet', num_classes=_NUM_CLASSES,
      options=_OPTIONS[tiny_runs.TARGET.value])
  optimizer = optax.chain(
      optax.clip_by_global_norm(1.0), optax.adamw(1e-3, weight_decay=1e-4))
  total = collections.defaultdict(collections.Counter)
  rows = []
  shares = np.array_split(np.arange(_NUM_INJECTIONS.value), len(_VARIANTS))
  for (name, (weighting, own_loss)), share in zip(
      _VARIANTS.items(), shares, strict=True):
    table = _run(
        _make_step(model, optimizer, weighting, own_loss),
        _init_state(model, optimizer), len(share), own_loss, rng)
    for door, count in table.items():
      total[door] += count
    rows.append((name, sum(table.values(), collections.Counter())))
    print(f'done: {name}', flush=True)
  print(
      f'\n{jax.devices()[0].device_kind}, jax {jax.__version__}, two U-Nets '
      f'(4, 8), {_BATCH_SIZE} strong + {_BATCH_SIZE} weak at '
      f'{" x ".join(map(str, _size()))},'
      f' seed {_SEED.value}, {time.perf_counter() - start:.0f} s\n')
  _print_table('door', sorted(total.items()))
  print()
  _print_table('weighting', rows)
  everything = sum((count for _, count in rows), collections.Counter())
  bad = everything['injected'] - everything['equal'] + everything['non-finite']
  print(
      f'\n{"FAIL" if bad else "PASS"}: {everything["injected"]} injected, '
      f'{everything["skipped"]} skipped, {everything["without effect"]} where '
      f'nothing reads, {everything["non-finite"]} non-finite states, '
      f'{everything["equal"]} equal.')
  if bad:
    raise SystemExit(1)


def _print_table(title, rows):
  columns = ('injected', 'skipped', 'without effect', 'non-finite', 'equal')
  print(f'| {title} | ' + ' | '.join(columns) + ' |')
  print('|---' * (1 + len(columns)) + '|')
  for name, count in rows:
    print(f'| {name} | ' + ' | '.join(str(count[c]) for c in columns) + ' |')


if __name__ == '__main__':
  binary.run(main)
