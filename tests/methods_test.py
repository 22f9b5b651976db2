"""Tests every method of `experiments.configs.common` with the train step."""

import functools
import importlib
import itertools
import pathlib
import pkgutil
import re

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from data_prep.sets import named_sets
from experiments import binary
from experiments import configs
from experiments.auditing import observer
from experiments.building import input_pipeline
from experiments.building import pieces
from experiments.building import volume_patches
from experiments.building import volume_set
from experiments.configs import common
from experiments.saving import checkpoints
from experiments.saving import run_folder
from tests import long_only
from tests import tiny
from tests import tiny_volumes

# The configs of all named sets of pictures. That of a user's own set is the
# base of all others.
_CONFIGS = {
    name: module for name, module in (
        (info.name, importlib.import_module(f'{configs.__name__}.{info.name}'))
        for info in pkgutil.iter_modules(configs.__path__))
    if hasattr(module, 'get_config') and name != 'custom'
    and 'foreground_share' not in module.get_config().input}

# Tracing takes seconds, so steps that are the same are traced once.
_LIKE_PHANTOM = ('endoscene',)
_FAMILIES = (
    'full_supervision', 'uniform', 'dii_dcr', 'mean_teacher', 'meta_weight_net',
    'l2rw')


def _config(method, name='phantom', **changes):
  config = _CONFIGS[name].get_config(method)
  config = config.copy_and_resolve_references().unlock()
  config.update(dict(
      model=dict(options=dict(features=(2,))), mapping='jit',
      input=dict(data_dir=tiny.data_dir())))
  config.update(changes)
  return config


@functools.cache
def _dataset():
  return input_pipeline.load_dataset(tiny.data_dir())


def _batches(config, dataset):
  return input_pipeline.train_batches(
      dataset, strong_batch_size=config.input.strong_batch_size,
      weak_batch_size=config.input.weak_batch_size, seed=config.seed,
      weak_labels=config.input.weak_labels)


def _with_truths(truth_fn):
  """Returns the set with other exact masks for its weak images."""
  dataset = _dataset()
  weak = [dict(r, truth=truth_fn(r)) for r in dataset.splits['train_weak']]
  return dataset._replace(splits=dict(dataset.splits, train_weak=weak))


class MethodsTest(parameterized.TestCase):

  def test_every_named_set_has_a_config(self):
    self.assertContainsSubset(named_sets.SETS, _CONFIGS)
    for name in named_sets.WHOLE:
      config = importlib.import_module(f'{configs.__name__}.{name}')
      self.assertIsNotNone(config.get_config('full_supervision'))

  @parameterized.parameters(*common.METHODS)
  def test_differs_from_the_phantom_in_the_data_only(self, method):
    phantom = _config(method).to_dict()
    for name in _LIKE_PHANTOM:
      self.assertEqual(_config(method, name).to_dict(), phantom)

  # Every method on the phantom; on each other set, whose classes and kinds of
  # annotations differ, one method of each family.
  @parameterized.parameters(
      *itertools.product(common.METHODS, ['phantom']),
      *itertools.product(long_only.first_of(_FAMILIES, 3), sorted(
          _CONFIGS.keys() - {'phantom', *_LIKE_PHANTOM})))
  def test_fits_every_config(self, method, name):
    config = _config(method, name)
    parts = tiny.build_training(config, _dataset())
    state = jax.eval_shape(parts.network.init_fn)
    new, metrics = jax.eval_shape(
        parts.step_fn, state, _batches(config, _dataset())[0],
        jax.random.key(0))
    self.assertEqual(jax.tree.map(np.shape, new), jax.tree.map(np.shape, state))
    self.assertIn('strong_loss', metrics)

  @parameterized.parameters(*_FAMILIES, 'dii_dcr_refine')
  def test_fits_whole_volumes(self, method):
    config = tiny_volumes.debug_config(f'{method},debug', mapping='jit')
    if config.supervision.refine or tuple(config.model.cached_copies):
      with self.assertRaisesRegex(binary.UserError, 'not for whole volumes'):
        pieces.unpack(config)
      return
    dataset = volume_set.load(config.input.data_dir)
    data = volume_set.with_batch_sizes(pieces.unpack(config).data, dataset)
    parts = tiny.build_training(config, dataset)
    state = jax.eval_shape(parts.network.init_fn)
    batch = volume_patches.PatchBatches(dataset, data, seed=0)[0]
    new, _ = jax.eval_shape(parts.step_fn, state, batch, jax.random.key(0))
    self.assertEqual(jax.tree.map(np.shape, new), jax.tree.map(np.shape, state))

  @parameterized.parameters('dii_dcr', 'mean_teacher', 'meta_weight_net')
  def test_strict_promotion_and_64_bits(self, method):
    # JAX_NUMPY_DTYPE_PROMOTION=strict and JAX_ENABLE_X64=1: the same state.
    config = _config(method)
    with jax.numpy_dtype_promotion('strict'), jax.enable_x64(True):
      parts = tiny.build_training(config, _dataset())
      state = jax.eval_shape(parts.network.init_fn)
      new, _ = jax.eval_shape(
          parts.step_fn, state, _batches(config, _dataset())[0],
          jax.random.key(0))
    of = lambda tree: jax.tree.map(lambda x: (x.shape, x.dtype), tree)
    self.assertEqual(of(new), of(state))
    self.assertEqual(of(state), of(jax.eval_shape(
        tiny.build_training(config, _dataset()).network.init_fn)))

  def test_docs_list_them(self):
    page = pathlib.Path(__file__).parent.parent / 'docs/methods.md'
    rows = re.findall(
        r'^\| (`.+?) \|', page.read_text('utf-8').split('\n## ')[0], re.M)
    names = re.findall(r'`(\w+)`', ' '.join(rows))
    self.assertCountEqual(names, common.METHODS)


class WeakThenStrongTest(parameterized.TestCase):

  def test_one_after_the_other(self):
    config = _config(
        'weak_then_strong', train_steps=10, optimizer=dict(warmup_steps=0))
    parts = tiny.build_training(config, _dataset())
    batch = _batches(config, _dataset())[0]
    others = {
        role: batch._replace(**{role: getattr(batch, role)._replace(
            label=1 - getattr(batch, role).label)}) for role in batch._fields}
    for step, learnt in (4, 'weak'), (5, 'strong'):
      for role, other in others.items():
        states = []
        for b in batch, other:
          # Make a new state, because the step donates its buffers.
          state = parts.network.init_fn()._replace(step=jnp.int32(step))
          states.append(parts.step_fn(state, b, jax.random.key(0))[0])
        one, two = (checkpoints.state_sha256(s.params) for s in states)
        self.assertEqual(one != two, role == learnt, (step, role))

  @parameterized.parameters(
      dict(weak_first_share=1.0), dict(weak_first_share=-0.5),
      dict(weak_scale=0.0), dict(strong_scale=0.0))
  def test_refuses(self, **changes):
    config = _config('weak_then_strong', supervision=changes)
    with self.assertRaisesRegex(binary.UserError, 'weak_first_share is'):
      tiny.build_training(config, _dataset())


class TruthTest(parameterized.TestCase):

  @parameterized.parameters(*common.METHODS)
  def test_one_method_alone_sees_it(self, method):
    config = _config(method)
    other = _with_truths(lambda r: 1 - r['truth'])
    plain, changed = (
        _batches(config, d)[0] for d in (_dataset(), other))
    np.testing.assert_array_equal(plain.weak.image, changed.weak.image)
    labels = [r['label'] for r in _dataset().splits['train_weak']]
    if method == 'full_supervision':
      np.testing.assert_array_equal(plain.weak.label, 1 - changed.weak.label)
    else:
      for x in plain.weak, changed.weak:
        np.testing.assert_array_equal(
            x.label, [labels[i] for i in x.instance_id])

  @parameterized.parameters(*(
      m for m in common.METHODS if m not in ('full_supervision', 'uniform')))
  def test_no_other_method_can_ask_for_it(self, method):
    config = _config(method, input=dict(weak_labels='truth'))
    with self.assertRaisesRegex(binary.UserError, 'full_supervision'):
      tiny.build_training(config, _dataset())

  def test_every_mask_must_be_known(self):
    dataset = _with_truths(lambda r: np.full_like(
        r['truth'], 255 if r['instance_id'] == 3 else 0))
    with self.assertRaisesRegex(
        binary.UserError, "'train_0.*' of phantom is not known") as caught:
      _batches(_config('full_supervision'), dataset)
    self.assertNotIn('\n', str(caught.exception))
    _batches(_config('uniform'), dataset)

  def test_unknown_choice(self):
    config = _config('uniform', input=dict(weak_labels='masks'))
    with self.assertRaisesRegex(binary.UserError, "'masks'; known"):
      _batches(config, _dataset())

  def test_its_runs_are_no_audit(self):
    workdir = tiny.temp_dir(self)
    run_folder.open_run(workdir, _config('full_supervision'), _dataset())
    with self.assertRaisesRegex(binary.UserError, 'another method'):
      observer.open_run(workdir)


if __name__ == '__main__':
  absltest.main()
