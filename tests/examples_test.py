"""Tests that docs/examples keep their claims, and agree across libraries."""

import contextlib
import importlib
import io
import pathlib
import sys

from absl.testing import absltest
from absl.testing import parameterized
import equinox as eqx
from flax import nnx
import haiku as hk
import hybridseg
import jax
import jax.numpy as jnp
import numpy as np
import optax

from tests import long_only

_FOLDER = pathlib.Path(__file__).parent.parent / 'docs' / 'examples'
_NAMES = sorted(path.stem for path in _FOLDER.glob('*.py'))
_SEEDS = long_only.first_of((0, 1, 2))


def _load(name):
  sys.path.insert(0, str(_FOLDER))
  try:
    return importlib.import_module(name)
  finally:
    sys.path.remove(str(_FOLDER))


def _run(name, seed=0):
  """Returns the result of an example's `main`, which must also print something.
  """
  with contextlib.redirect_stdout(io.StringIO()) as printed:
    results = _load(name).main(seed)
  assert printed.getvalue().strip(), name
  return results


class FormTest(parameterized.TestCase):

  @parameterized.parameters(*_NAMES)
  def test_short_and_explained(self, name):
    text = (_FOLDER / f'{name}.py').read_text(encoding='utf-8')
    self.assertLess(sum(bool(line.strip()) for line in text.splitlines()), 60)
    self.assertLess(max(map(len, text.splitlines())), 81)
    self.assertTrue(_load(name).__doc__)
    self.assertEndsWith(text, "\n\nif __name__ == '__main__':\n  main()\n")


class NoisyLabelsTest(parameterized.TestCase):

  @parameterized.product(
      name=('learning_to_reweight', 'dii', 'meta_weight_net'), seed=_SEEDS)
  def test_weighted_beats_uniform_on_clean_examples(self, name, seed):
    results = _run(name, seed)
    self.assertGreater(results['weighted'], results['uniform'] + 0.05)
    # This method keeps no weight from one batch to the next.
    if name == 'learning_to_reweight':
      self.assertLess(results['weight'], 0.6 * results['share'])
    else:
      # Weights that depend on the loss alone detect less: 0.70 to 0.90 was
      # measured.
      least = 0.65 if name == 'meta_weight_net' else 0.75
      self.assertGreater(results['auroc'], least)

  @parameterized.parameters(
      'plain_pytree', 'flax_nnx', 'haiku_model', 'equinox_model')
  def test_what_is_wrong_ends_with_less_weight(self, name):
    self.assertGreater(_run(name)['auroc'], 0.8)


class TransformationsTest(absltest.TestCase):

  def test_same_numbers_each_way(self):
    self.assertLen(jax.devices(), 4)
    differences = _run('transformations')
    self.assertLen(differences, 6)
    for name, difference in differences.items():
      self.assertLess(difference, 1e-5, name)


def _plain_step(weak_fn, strong_fn, params, weights):
  """Returns weights after their step, and the gradient, by `jax.grad` alone."""

  def lookahead(w):
    grads = jax.grad(lambda p: jnp.mean(w * weak_fn(p)))(params)
    return strong_fn(jax.tree.map(lambda p, g: p - 0.1 * g, params, grads))

  slopes = jax.grad(lookahead)(weights)
  weights = jnp.clip(
      weights - 0.1 * slopes / jnp.sqrt(jnp.mean(slopes**2)), 0, 1)
  return weights, jax.grad(
      lambda p: strong_fn(p) + jnp.mean(weights * weak_fn(p)))(params)


class StepsTest(parameterized.TestCase):
  """Tests that two steps on four devices equal `_plain_step` on one device."""

  def setUp(self):
    super().setUp()
    self.assertLen(jax.devices(), 4)

  def _assert_close(self, found, expected):
    for x, y in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
      np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)

  def _data(self, example):
    noisy, clean = (
        example.make_data(jax.random.key(i), n) for i, n in ((1, 640), (2, 64)))
    # Keep the data on the host, where indexing rows compiles nothing.
    return *jax.device_get((noisy, clean)), np.arange(640)[::5].reshape(2, 64)

  @parameterized.parameters(
      'auto_sharded_jit', 'batch_norm', 'dropout', 'microbatches',
      'scan_and_donation')
  def test_finds_what_is_wrong(self, name):
    results = _run(name)
    self.assertGreater(results['auroc'], 0.8)
    self.assertGreater(results.get('accuracy', 1), 0.8)
    # With 8 parts, the step needs less than a quarter of the memory.
    self.assertLess(results.get('share', 0), 0.25)

  def test_auto_sharded_jit(self):
    example = _load('auto_sharded_jit')
    weak, exact = (
        example.make_discs(jax.random.key(i), n) for i, n in ((1, 64), (2, 16)))
    weak = [x[:32] for x in jax.device_get(weak)]
    params = example.init(jax.random.key(0))
    # The last layer starts at zero, which would make the gradient of the layer
    # below it zero.
    params[1] = jax.random.normal(jax.random.key(3), params[1].shape)
    state = hybridseg.init_indicators(40, value=0.5)
    found, state = example.train_step(
        *jax.device_put((params, state), example.EVERYWHERE),
        *jax.device_put((exact, weak, jnp.arange(32)), example.ROWS))
    weights, grads = jax.jit(lambda params: _plain_step(
        lambda p: example.losses_fn(p, *weak),
        lambda p: jnp.mean(example.losses_fn(p, *exact)), params,
        jnp.full(32, 0.5)))(params)
    # Check that every weight has moved, since a mistake may affect only some of
    # the devices.
    self.assertGreater(jnp.min(jnp.abs(weights - 0.5)), 1e-4)
    self._assert_close(
        (found, state.weights[:32]),
        (jax.tree.map(lambda p, g: p - 0.5 * g, params, grads), weights))

  def test_microbatches(self):
    example = _load('microbatches')
    (x, y), clean, ids = self._data(example)
    params = example.init(jax.random.key(0))
    carry = params, hybridseg.init_indicators(640)
    weights, train_step = np.ones(640, np.float32), example.make_train_step(8)

    @jax.jit
    def plain_step(params, x, y, weights):
      weights, grads = _plain_step(
          lambda p: example.losses_fn(p, x, y),
          lambda p: jnp.mean(example.losses_fn(p, *clean)), params, weights)
      return weights, jax.tree.map(lambda p, g: p - 0.1 * g, params, grads)

    for rows in ids:
      carry = train_step(*carry, clean, (x[rows], y[rows]), rows)
      moved, params = plain_step(params, x[rows], y[rows], weights[rows])
      weights[rows] = moved
    self._assert_close((carry[0], carry[1].weights), (params, weights))

  def test_batch_norm(self):
    example = _load('batch_norm')
    (x, y), clean, ids = self._data(example)
    graphdef, params, stats = nnx.split(
        example.Classifier(nnx.Rngs(0), 'batch'), nnx.Param, nnx.BatchStat)
    train_step = example.make_train_step(graphdef)
    carry = params, stats, hybridseg.init_indicators(640)
    graphdef, *_ = nnx.split(nnx.eval_shape(
        lambda: example.Classifier(nnx.Rngs(0), None)), nnx.Param, ...)
    weights = np.ones(640, np.float32)

    @jax.jit
    def plain_step(params, stats, noisy, weights):
      call = lambda p, data: example.losses_fn(graphdef, p, stats, *data)
      weights, grads = _plain_step(
          lambda p: call(p, noisy)[0], lambda p: jnp.mean(call(p, clean)[0]),
          params, weights)
      return weights, jax.tree.map(
          lambda p, g: p - 0.3 * g, params, grads), call(params, noisy)[1]

    for rows in ids:
      noisy = x[rows], y[rows]
      carry = train_step(*carry, clean, noisy, rows)
      moved, params, stats = plain_step(params, stats, noisy, weights[rows])
      weights[rows] = moved
    self._assert_close(
        (*carry[:2], carry[2].weights), (params, stats, weights))

  def test_dropout(self):
    example = _load('dropout')
    (x, y), clean, ids = self._data(example)
    params, static = eqx.partition(
        example.Classifier(jax.random.key(0)), eqx.is_inexact_array)
    carry = params, hybridseg.init_indicators(640)
    train_step = example.make_train_step(static)
    weights = np.ones(640, np.float32)

    def losses_fn(p, x, y, key):
      keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(64))
      return optax.softmax_cross_entropy_with_integer_labels(
          jax.vmap(eqx.combine(p, static))(x, keys), y)

    @jax.jit
    def plain_step(params, noisy, weights, key):
      keys = jax.random.split(key)
      weights, grads = _plain_step(
          lambda p: losses_fn(p, *noisy, keys[0]),
          lambda p: jnp.mean(losses_fn(p, *clean, keys[1])), params, weights)
      return weights, jax.tree.map(lambda p, g: p - 0.3 * g, params, grads)

    for key, rows in zip(jax.random.split(jax.random.key(4)), ids, strict=True):
      noisy = x[rows], y[rows]
      carry = train_step(*carry, clean, noisy, rows, key)
      moved, params = plain_step(params, noisy, weights[rows], key)
      weights[rows] = moved
    self._assert_close((carry[0], carry[1].weights), (params, weights))

  def test_scan_and_donation(self):
    example = _load('scan_and_donation')
    (x, y), clean, ids = self._data(example)
    params, opt_state, _ = example.init(jax.random.key(0))
    weights, donated = np.ones(640, np.float32), example.init(jax.random.key(0))
    epoch = example.make_epoch(jax.device_put((x, y)), clean)
    (found, _, state), losses = epoch(donated, ids)
    self.assertLen(losses, 2)
    self.assertTrue(all(a.is_deleted() for a in jax.tree.leaves(donated)))

    @jax.jit
    def plain_step(params, opt_state, x, y, weights):
      weights, grads = _plain_step(
          lambda p: example.losses_fn(p, x, y),
          lambda p: jnp.mean(example.losses_fn(p, *clean)), params, weights)
      updates, opt_state = example.optimizer.update(grads, opt_state)
      return weights, optax.apply_updates(params, updates), opt_state

    for rows in ids:
      moved, params, opt_state = plain_step(
          params, opt_state, x[rows], y[rows], weights[rows])
      weights[rows] = moved
    self._assert_close((found, state.weights), (params, weights))


def _slopes(losses_fn, params, weak, strong, method='forward'):
  return jax.jit(lambda params, weak, strong: hybridseg.lookahead_weight_grads(
      lambda p: losses_fn(p, *weak),
      lambda p: jnp.mean(losses_fn(p, *strong)), params,
      jnp.linspace(0, 1, len(weak[0])), step_size=0.1, method=method))(
          params, weak, strong)


def _segmentation(library):
  """Returns losses and parameters of an example's segmentation network.

  The parameters are the same for all libraries.
  """
  rng = np.random.default_rng(0)
  hidden, output = (
      {'w': jnp.asarray(rng.normal(size=shape), jnp.float32),
       'b': jnp.asarray(rng.normal(size=shape[-1]), jnp.float32)}
      for shape in ((3, 3, 1, 8), (1, 1, 8, 2)))
  example = _load(library)
  if library == 'haiku_model':
    return example.losses_fn, {'hidden': hidden, 'output': output}
  if library == 'flax_nnx':
    graphdef, params = nnx.split(example.Segmenter(nnx.Rngs(0)), nnx.Param)
    values = iter([hidden['b'], hidden['w'], output['b'], output['w']])
    # The leaves are sorted by name: bias, then kernel.
    return (lambda p, *data: example.losses_fn(graphdef, p, *data)), (
        jax.tree.map(lambda p: next(values).reshape(p.shape), params))
  params, static = eqx.partition(
      example.Segmenter(jax.random.key(0)), eqx.is_inexact_array)
  values = iter([
      hidden['w'].transpose(3, 2, 0, 1), hidden['b'],
      output['w'].transpose(3, 2, 0, 1), output['b']])
  return (lambda p, *data: example.losses_fn(static, p, *data)), (
      jax.tree.map(lambda p: next(values).reshape(p.shape), params))


def _classification(library):
  """Returns losses and parameters of one linear layer.

  The parameters are the same for all libraries.
  """
  w = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)), jnp.float32)
  cross_entropy = optax.softmax_cross_entropy_with_integer_labels
  if library == 'haiku_model':
    layer = hk.without_apply_rng(hk.transform(lambda x: hk.Linear(3)(x)))
    params = layer.init(jax.random.key(0), jnp.zeros((1, 4)))
    params['linear']['w'] = w
    return lambda p, x, y: cross_entropy(layer.apply(p, x), y), params
  if library == 'flax_nnx':
    layer = nnx.Linear(4, 3, rngs=nnx.Rngs(0))
    layer.kernel[...] = w
    graphdef, params = nnx.split(layer)
    return (
        lambda p, x, y: cross_entropy(nnx.merge(graphdef, p)(x), y)), params
  layer = eqx.nn.Linear(4, 3, key=jax.random.key(0))
  layer = eqx.tree_at(
      lambda m: (m.weight, m.bias), layer, (w.T, jnp.zeros(3)))
  return lambda p, x, y: cross_entropy(jax.vmap(p)(x), y), layer


class SameWeightsTest(parameterized.TestCase):

  @parameterized.parameters(*long_only.first_of(
      ((_segmentation,), (_classification,))))
  def test_of_every_library_and_method(self, make):
    if make is _segmentation:
      make_data = _load('haiku_model').make_discs
    else:
      make_data = lambda key, num: (
          jax.random.normal(key, (num, 4)), jnp.arange(num) % 3)
    weak, strong = make_data(jax.random.key(0), 6), make_data(
        jax.random.key(1), 4)
    expected = _slopes(*make('haiku_model'), weak, strong, method='grad')
    self.assertGreater(np.abs(expected).min(), 1e-7)
    for library in ('haiku_model', 'flax_nnx', 'equinox_model'):
      for method in hybridseg.weighting.METHODS:
        np.testing.assert_allclose(
            _slopes(*make(library), weak, strong, method=method), expected,
            rtol=1e-4, atol=1e-5 * np.abs(expected).max())


if __name__ == '__main__':
  absltest.main()
