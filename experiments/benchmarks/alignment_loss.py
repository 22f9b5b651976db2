r"""Which loss and which layers tell faulty weak labels from good ones?

python -m experiments.benchmarks.alignment_loss --data_dir=data/endoscene

Trains two networks on strong and weak labels with uniform weights. At some
steps it takes the alignments <grad strong, grad weak_k> of all weak instances
with the mean gradient of all strong images, for several losses of the weak
labels, with and without the class prior, over all layers and the last one, and
prints the AUROC against the planted faults (0.5 is chance).
"""

import functools

from absl import flags
from absl import logging
from hybridseg import augmentation
from hybridseg import losses
from hybridseg import metrics
from hybridseg import models
from hybridseg import train_step as train_step_lib
import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments import binary
from experiments.building import input_pipeline

_DATA_DIR = flags.DEFINE_string('data_dir', None, 'Prepared set with faults.')
_STEPS = flags.DEFINE_list('steps', ['0', '50', '150', '300'], 'When to look.')
_SEED = flags.DEFINE_integer('seed', 0, 'Of networks and data order.')

_LOSSES = {
    'cross entropy': losses.cross_entropy_loss,
    'balanced cross entropy': losses.balanced_cross_entropy_loss,
    'soft Dice': losses.soft_dice_loss,
    'cross entropy + Dice': losses.cross_entropy_dice_loss,
}
_STRONG_LOSS = losses.cross_entropy_dice_loss
_CHUNK = 16


def _chunks(records):
  """Yields images, one-hot labels and masks; the rest of a chunk is left."""
  for i in range(0, len(records) - _CHUNK + 1, _CHUNK):
    rows = [records[j] for j in range(i, i + _CHUNK)]
    yield tuple(np.stack([r[n] for r in rows]) for n in ('image', 'label'))


def _make_scores(apply_fn, num_classes):
  """Returns `(params, strong chunks, weak chunk) -> {setting: [B]}` parts."""

  def logits_and_labels(params, images, label_map):
    logits = apply_fn(params, augmentation.to_float(images))
    return logits, *losses.one_hot_labels(label_map, num_classes)

  @jax.jit
  def strong_grads(params, images, label_map):
    def loss(p):
      logits, labels, where = logits_and_labels(p, images, label_map)
      return jnp.mean(_STRONG_LOSS(logits, labels, where=where))

    return jax.grad(loss)(params)

  @jax.jit
  def scores(params, direction, images, label_map):
    _, labels, where = logits_and_labels(params, images, label_map)
    last = jax.tree.map(jnp.zeros_like, direction) | {'head': direction['head']}
    out = {}
    for layers, tangent in (('all', direction), ('last', last)):
      logits, slope = jax.jvp(
          lambda p: apply_fn(p, augmentation.to_float(images)),
          (params,), (tangent,))
      for name, loss in _LOSSES.items():
        for prior in (True, False):
          fn = functools.partial(
              loss if prior else losses.prior_free(loss),
              labels=labels, where=where)
          out[layers, name, prior] = jax.jvp(fn, (logits,), (slope,))[1]
    for name, loss in _LOSSES.items():
      out['loss', name, True] = -loss(logits, labels, where=where)
    return out

  return strong_grads, scores


def _aurocs(params, dataset, strong_grads, scores):
  """Returns the AUROC of every setting for one network."""
  grads = [
      strong_grads(params, *c) for c in _chunks(dataset.splits['train_strong'])
  ]
  direction = jax.tree.map(lambda *g: sum(g) / len(g), *grads)
  weak = dataset.splits['train_weak']
  parts = [jax.device_get(scores(params, direction, *c)) for c in _chunks(weak)]
  faulty = input_pipeline.column(weak, 'fault') != ''
  out = {}
  for setting in parts[0]:
    values = np.concatenate([part[setting] for part in parts])
    out[setting] = metrics.auroc(-values, faulty[: len(values)])
  return out


def main():
  logging.set_verbosity(logging.WARNING)
  steps = [int(s) for s in _STEPS.value]
  dataset = input_pipeline.load_dataset(_DATA_DIR.value)
  num_classes = len(dataset.classes)
  model = models.build(
      'unet', num_classes=num_classes, options={'features': (8, 16, 32)})
  apply_fn = lambda params, images: model.apply({'params': params}, images)
  optimizer = optax.chain(
      optax.clip_by_global_norm(1.0), optax.adamw(2e-3, weight_decay=1e-4))
  step_fn = train_step_lib.make_train_step(
      apply_fn, optimizer, num_classes=num_classes,
      augment_fn=functools.partial(
          augmentation.augment, options=augmentation.AugmentationOptions()),
      supervision=train_step_lib.Supervision(
          _STRONG_LOSS, _STRONG_LOSS, _STRONG_LOSS))
  step_fn = jax.jit(step_fn, donate_argnums=0)
  key = jax.random.key(_SEED.value)
  images = jnp.zeros((1, *dataset.image_shape))
  state = train_step_lib.init_state(
      lambda key: model.init(key, images)['params'], optimizer, key,
      num_weak=len(dataset.splits['train_weak']))
  batches = input_pipeline.train_batches(
      dataset, strong_batch_size=8, weak_batch_size=8, seed=_SEED.value)
  parts = _make_scores(apply_fn, num_classes)
  table = {}
  for step in range(max(steps) + 1):
    if step in steps:
      found = [_aurocs(p, dataset, *parts) for p in state.params]
      table[step] = {n: np.mean([f[n] for f in found]) for n in found[0]}
      print(f'looked at step {step}', flush=True)
    state, _ = step_fn(state, batches[step], key)
  _print_table(table, dataset)


def _print_table(table, dataset):
  print(f'\n{dataset.name}, {dataset.image_shape}, seed {_SEED.value}, '
        'mean of two networks\n')
  print('| layers | loss of the weak label | class prior | '
        + ' | '.join(f'step {s}' for s in table) + ' |')
  print('|---' * (3 + len(table)) + '|')
  for layers, name, prior in next(iter(table.values())):
    cells = [f'{row[layers, name, prior]:.2f}' for row in table.values()]
    kind = 'none: ranking by the loss itself' if layers == 'loss' else layers
    print(f'| {kind} | {name} | {"kept" if prior else "removed"} | '
          + ' | '.join(cells) + ' |')


if __name__ == '__main__':
  flags.mark_flags_as_required(['data_dir'])
  binary.run(main)
