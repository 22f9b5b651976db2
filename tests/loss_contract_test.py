"""Tests what all losses have in common; new losses are found by their name."""

import functools
import importlib
import inspect
import pkgutil

from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
import jax.numpy as jnp
from jax import test_util
import numpy as np

import hybridseg
from hybridseg import losses
from hybridseg import regularizers

_K = 3


def _public_functions():
  """Yields the public functions of all modules of the library."""
  for info in pkgutil.iter_modules(hybridseg.__path__, 'hybridseg.'):
    module = importlib.import_module(info.name)
    for name, fn in vars(module).items():
      if (inspect.isfunction(fn) and fn.__module__ == module.__name__
          and not name.startswith('_')):
        yield name, fn


def _parameters(fn):
  return list(inspect.signature(fn).parameters)


# A public function whose first parameter is `logits` and whose name has one of
# these endings is a loss. It returns one value per instance, [B].
_FOUND = {
    name: fn for name, fn in _public_functions()
    if name.endswith(('_loss', '_losses')) and _parameters(fn)[0] == 'logits'}
# How to call a loss, by its second parameter: what it compares the logits with.
_CALLS = {
    'labels': lambda fn, x, data, where: fn(x, data[0], where=where),
    'where': lambda fn, x, data, where: fn(x, where=where),
    'images': lambda fn, x, data, where: fn(x, data[1], where=where),
    'present': lambda fn, x, data, where: fn(x, data[2], where=where),
    # These losses have a weight per pixel instead of a mask.
    'teacher_logits': lambda fn, x, data, where: fn(
        x, data[0], pixel_weights=None if where is None else jnp.where(
            where, 1.0, 0.0)),
}
_LOSSES = _FOUND | {
    # A larger neighbourhood would only take longer.
    'gated_crf_loss': functools.partial(regularizers.gated_crf_loss, radius=1),
    'prior_free cross_entropy': losses.prior_free(losses.cross_entropy_loss),
    'prior_free soft_dice': losses.prior_free(losses.soft_dice_loss),
}


def _compares_with(name):
  return 'labels' if name not in _FOUND else _parameters(_FOUND[name])[1]


_MASKED = [n for n in _LOSSES if _compares_with(n) != 'teacher_logits']

def _eager(name, logits, data, where):
  return _CALLS[_compares_with(name)](_LOSSES[name], logits, data, where)


_call = functools.partial(jax.jit, static_argnums=0)(_eager)


@functools.partial(jax.jit, static_argnums=0)
def _sum_and_grads(name, logits, data, where):
  return jax.value_and_grad(
      lambda x: _call(name, x, data, where).sum())(logits)


def _random(shape=(4, 5, 6), seed=0):
  """Returns logits and (labels, images, present) of a batch."""
  rng = np.random.default_rng(seed)
  label_map = rng.integers(_K, size=shape)
  labels = np.eye(_K, dtype=np.float32)[label_map]
  logits = rng.normal(size=shape + (_K,)).astype(np.float32)
  images = rng.random(shape + (2,)).astype(np.float32)
  present = np.uint8([[255, 1, 0], [255, 0, 255], [255] * 3, [0, 1, 1]])
  return logits, (labels, images, present[: shape[0]])


def _softmax(logits):
  return np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)


def _change_of_volume(change, size, depth):
  """Returns the mean over neighbours, of which those across slices add 0."""
  _, height, width = size
  pairs = depth * (height * (width - 1) + width * (height - 1))
  return change * pairs / (pairs + (depth - 1) * height * width)


def _projections_of_volume(logits, labels, depth, epsilon=1e-5):
  """Returns what the projection onto the axis across the slices adds."""
  most = _softmax(logits).max((1, 2))[:, 1:]
  box = labels.max((1, 2))[:, 1:]
  dice = 1 - (2 * depth * most * box + epsilon) / (
      depth * (most**2 + box**2) + epsilon)
  plain = _call('projection_loss', logits, (labels,), None)
  return (2 * plain + (dice * box).sum(-1) / box.sum(-1)) / 3


def _tightness_of_volume(logits, labels, depth):
  """Returns the mean over all lines and planes, each of which holds `held`."""
  inside = _softmax(logits) * labels
  hinges, crossed = [], []
  for held, count in zip(
      *([depth * x.sum(2), depth * x.sum(1),
         np.repeat(x.sum((1, 2))[:, None], depth, 1)]
        for x in (inside, labels)), strict=True):
    hinges.append(np.maximum(1 - held, 0)[..., 1:] ** 2)
    crossed.append(count[..., 1:] > 0)
  hinges, crossed = (np.concatenate(x, 1) for x in (hinges, crossed))
  return (hinges * crossed).sum((1, 2)) / crossed.sum((1, 2))


def _gated_crf_of_volume(logits, images, depth):
  """Returns the mean over all pairs of voxels that are 1 apart at most."""
  size = (depth, *logits.shape[1:3])
  places = np.stack(np.indices(size), -1).reshape(-1, 3)
  apart = np.abs(places[:, None] - places)
  near = apart.max(-1) == 1
  flat = lambda x: np.repeat(x[:, None], depth, 1).reshape(
      len(x), len(places), -1)
  q, image = flat(_softmax(logits)), flat(images)
  colour = ((image[:, :, None] - image[:, None]) ** 2).sum(-1)
  kernel = np.exp(-(apart**2).sum(-1) / 18 - colour / 0.02)
  values = kernel * (1 - np.einsum('bpc,bqc->bpq', q, q))
  return (values * near).sum((1, 2)) / near.sum()


def _dice_of_volume(logits, labels, depth):
  # The pixel that is added to both sums weighs less in a volume.
  return losses.soft_dice_loss(logits, labels, epsilon=1 / depth)


# The value of a volume of `depth` equal slices, from one slice. All losses that
# are missing here are means over pixels: the volume has the value of the slice.
_OF_EQUAL_SLICES = {
    'box_loss': lambda x, data, depth: (
        _call('outside_cross_entropy_loss', x, data, None)
        + _projections_of_volume(x, data[0], depth)),
    'cross_entropy_dice_loss': lambda x, data, depth: (
        _call('cross_entropy_loss', x, data, None)
        + _dice_of_volume(x, data[0], depth)),
    'gated_crf_loss': lambda x, data, depth: _gated_crf_of_volume(
        x, data[1], depth),
    'mumford_shah_loss': lambda x, data, depth: _call(
        'mumford_shah_loss', x, data, None) + 0.1 * (
            _change_of_volume(change := _call(
                'total_variation_loss', x, data, None), x.shape[:-1], depth)
            - change),
    'prior_free soft_dice': lambda x, data, depth: _dice_of_volume(
        x, data[0], depth),
    'projection_loss': lambda x, data, depth: _projections_of_volume(
        x, data[0], depth),
    'soft_dice_loss': lambda x, data, depth: _dice_of_volume(
        x, data[0], depth),
    'tightness_loss': lambda x, data, depth: _tightness_of_volume(
        x, data[0], depth),
    'total_variation_loss': lambda x, data, depth: _change_of_volume(
        _call('total_variation_loss', x, data, None), x.shape[:-1], depth),
}


# They return a part for each class, [B, K - 1]: see class_losses_test.
_OF_CLASSES = frozenset({
    'balanced_cross_entropy', 'cross_entropy', 'cross_entropy_dice',
    'soft_dice', 'soft_dice_of_classes'})


class LossContractTest(parameterized.TestCase):

  def test_every_loss_is_here(self):
    self.assertContainsSubset(
        {'cross_entropy_loss', 'box_loss', 'tag_loss', 'entropy_loss',
         'gated_crf_loss', 'cross_pseudo_losses'}, _FOUND)
    for name, fn in _FOUND.items():
      self.assertIn(
          _parameters(fn)[1], _CALLS, f'{name}: a way to call it is missing.')
    # A loss with an unusual name would be missed above.
    of_labels = {name for name, fn in _public_functions()
                 if _parameters(fn)[:2] == ['logits', 'labels']}
    self.assertEqual(
        of_labels - _FOUND.keys() - _OF_CLASSES, {'check_labels'})

  @parameterized.parameters(*_LOSSES)
  def test_one_value_for_each_instance_alone(self, name):
    logits, data = _random()
    where = np.random.default_rng(1).random(logits.shape[:-1]) < 0.8
    together = _call(name, logits, data, where)
    chex.assert_shape(together, (4,))
    chex.assert_type(together, jnp.float32)
    self.assertTrue(np.all(together >= 0))
    rows = jax.tree.map(lambda x: x[:, None], (logits, data, where))
    one_by_one = jax.vmap(functools.partial(_call, name))(*rows)
    np.testing.assert_allclose(
        one_by_one[:, 0], together, rtol=1e-5, atol=1e-6)

  @parameterized.parameters(*_MASKED)
  def test_where_deletes_pixels(self, name):
    logits, data = _random()
    where = np.zeros(logits.shape[:-1], bool)
    where[:, :3, 1:5] = True
    crop = lambda x: x[:, :3, 1:5] if x.ndim == 4 else x
    expected, expected_grads = _sum_and_grads(
        name, crop(logits), jax.tree.map(crop, data),
        np.ones((4, 3, 4), bool))
    data[0][~where] = 0  # `one_hot_labels` sets unlabelled pixels to 0.
    for bad in np.nan, np.inf, -np.inf:
      logits[~where] = bad
      value, grads = _sum_and_grads(name, logits, data, where)
      np.testing.assert_allclose(value, expected, rtol=1e-5)
      np.testing.assert_allclose(
          crop(grads), expected_grads, rtol=1e-4, atol=1e-6)
      np.testing.assert_array_equal(grads[~where], 0)

  @parameterized.product(name=tuple(_LOSSES), case=('none', 'one', 'all'))
  def test_finite_where_saturated_empty_or_full(self, name, case):
    logits, (labels, images, present) = _random()
    where = {'none': np.zeros_like, 'all': np.ones_like, 'one': np.zeros_like}[
        case](labels[..., 0], bool)
    where[:, 2, 3] |= case == 'one'
    # Give all pixels one class, which may be right or wrong.
    for value in range(_K):
      labels = np.zeros_like(labels)
      labels[..., value] = 1
      for x in (np.zeros_like(logits), 1e4 * logits,
                1e4 * labels, -1e4 * labels):
        data = labels, np.zeros_like(images), present
        loss, grads = _sum_and_grads(name, x, data, where)
        self.assertTrue(np.isfinite(loss))
        self.assertTrue(np.isfinite(grads).all())
        if case == 'none':
          self.assertEqual(loss, 0)
          np.testing.assert_array_equal(grads, 0)

  @parameterized.parameters(
      *(n for n in _LOSSES if not n.startswith('prior_free')))
  def test_gradients(self, name):
    logits, data = _random((2, 3, 4))
    test_util.check_grads(
        lambda x: _call(name, x, data, None), (jnp.asarray(logits),), order=1,
        modes=('fwd', 'rev'), atol=1e-2, rtol=1e-2, eps=1e-3)

  @parameterized.parameters(*_LOSSES)
  def test_slices_of_a_volume(self, name):
    # A cube, so that the turned volumes are compiled only once.
    logits, data = _random((2, 4, 4, 4))
    volume = _call(name, logits, data, None)
    chex.assert_shape(volume, (2,))
    # No axis of a volume is special: these turns give all permutations.
    for axes in ((1, 3), (2, 1)):
      turn = lambda x, axes=axes: np.moveaxis(x, *axes) if x.ndim == 5 else x
      np.testing.assert_allclose(
          _call(name, turn(logits), jax.tree.map(turn, data), None), volume,
          rtol=1e-5, atol=1e-6)
    self.assertTrue(np.all(np.isfinite(volume)))
    # Without a mask, all pixels count.
    np.testing.assert_allclose(
        _call(name, logits, data, np.ones((2, 4, 4, 4), bool)), volume,
        rtol=1e-6)

  @parameterized.parameters(*_LOSSES)
  def test_a_volume_of_equal_slices(self, name):
    logits, data = _random((2, 4, 5))
    repeat = lambda x: np.repeat(x[:, None], 3, 1) if x.ndim == 4 else x
    volume, grads = _sum_and_grads(
        name, repeat(logits), jax.tree.map(repeat, data), None)
    of_slice = lambda x, data, unused_depth: _call(name, x, data, None)
    expected = _OF_EQUAL_SLICES.get(name, of_slice)(logits, data, 3)
    np.testing.assert_allclose(volume, np.sum(expected), rtol=1e-5)
    self.assertTrue(np.isfinite(grads).all())
    self.assertGreater(np.abs(grads).max(), 0)

  @parameterized.parameters(*_LOSSES)
  def test_shapes_are_checked(self, name):
    logits, data = _random((2, 4, 5))
    where = np.ones((2, 4, 5), bool)
    with self.assertRaisesRegex(ValueError, r'\(2, 4, 4\).*\(2, 4, 5'):
      _eager(name, logits, data, where[..., :4])
    labels, images, present = data
    fewer = labels[..., :2], images[:, 1:], present[:, :2]
    if _compares_with(name) in ('images', 'present'):
      with self.assertRaisesRegex(ValueError, 'shape'):
        _eager(name, logits, fewer, where)
    elif _compares_with(name) != 'where':
      with self.assertRaisesRegex(
          ValueError, r'\(2, 4, 5, 3\).*\(2, 4, 5, 2\)'):
        _eager(name, logits, fewer, where)


if __name__ == '__main__':
  absltest.main()
