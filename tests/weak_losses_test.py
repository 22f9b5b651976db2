"""Tests for weak_losses and regularizers, and what all losses share."""

import functools
import inspect

from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
import jax.numpy as jnp
from jax import test_util
import numpy as np

from hybridseg import losses
from hybridseg import regularizers
from hybridseg import weak_losses

_K = 3

_MODULES = (losses, weak_losses, regularizers)


def _losses(second):
  """Returns the public losses by what they compare the logits with."""
  found = {
      name: fn for module in _MODULES for name, fn in vars(module).items()
      if name.endswith('_loss') and not name.startswith('_')}
  takes = {name: list(inspect.signature(fn).parameters)[1]
           for name, fn in found.items()}
  return {name: fn for name, fn in found.items() if takes[name] == second}


# A new loss is in all tests of `ContractTest` by its name and arguments.
_OF_LABELS, _OF_PIXELS = _losses('labels'), _losses('where')
_OF_IMAGES, _OF_TAGS = _losses('images'), _losses('present')
# A larger neighbourhood only takes longer.
_OF_IMAGES['gated_crf_loss'] = functools.partial(
    regularizers.gated_crf_loss, radius=1)
_ALL = (*_OF_LABELS, *_OF_PIXELS, *_OF_IMAGES, *_OF_TAGS)


@functools.partial(jax.jit, static_argnums=0)
def _call(name, logits, data, where):
  labels, images, present = data
  if name in _OF_LABELS:
    return _OF_LABELS[name](logits, labels, where=where)
  if name in _OF_PIXELS:
    return _OF_PIXELS[name](logits, where=where)
  if name in _OF_IMAGES:
    return _OF_IMAGES[name](logits, images, where=where)
  return _OF_TAGS[name](logits, present, where=where)


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


def _logits(foreground):
  """Returns logits [1, ..., 2] with these probabilities of class 1."""
  p = np.clip(np.float32(foreground), 1e-7, 1 - 1e-7)[None]
  return np.stack([np.zeros_like(p), np.log(p / (1 - p))], axis=-1)


def _one_hot(label_map):
  return np.eye(2, dtype=np.float32)[np.array(label_map)][None]


class GoldenTest(parameterized.TestCase):

  def test_outside(self):
    # Outside are .1 and .5: (-log .9 - log .5) / 2.
    loss = weak_losses.outside_cross_entropy_loss(
        _logits([[0.1, 0.9], [0.5, 0.2]]), _one_hot([[0, 1], [0, 1]]))
    np.testing.assert_allclose(loss, [(0.105361 + 0.693147) / 2], rtol=1e-5)

  def test_tightness(self):
    # The box is the right 2 x 2 of 2 x 3. Rows hold .3 + .4 and 1 + .2; columns
    # .3 + 1 and .4 + .2: hinges .3^2, 0, 0, .4^2 over 4 lines.
    loss = weak_losses.tightness_loss(
        _logits([[0.9, 0.3, 0.4], [0.9, 1.0, 0.2]]),
        _one_hot([[0, 1, 1], [0, 1, 1]]))
    np.testing.assert_allclose(loss, [(0.09 + 0.16) / 4], rtol=1e-4)

  def test_tightness_of_bands(self):
    # Width 2: one band of rows holds 1.9 of 2, hinge (1 - .95)^2; the columns
    # make bands {0, 1} with .3 + 1 of min(2, 2), and {2} with .6 of min(2, 2).
    loss = weak_losses.tightness_loss(
        _logits([[0.9, 0.3, 0.4], [0.9, 1.0, 0.2]]),
        _one_hot([[0, 1, 1], [0, 1, 1]]), width=2)
    np.testing.assert_allclose(
        loss, [(0.05**2 + 0.35**2 + 0.7**2) / 3], rtol=1e-4)

  def test_projection(self):
    # Shadows on y: .9, .5 against 1, 1; on x: .5, .9, .2 against 0, 1, 1.
    loss = weak_losses.projection_loss(
        _logits([[0.1, 0.9, 0.1], [0.5, 0.3, 0.2]]),
        _one_hot([[0, 1, 1], [0, 1, 1]]), epsilon=0.0)
    on_y = 1 - 2 * 1.4 / (0.81 + 0.25 + 2)
    on_x = 1 - 2 * 1.1 / (0.25 + 0.81 + 0.04 + 2)
    np.testing.assert_allclose(loss, [(on_y + on_x) / 2], rtol=1e-4)

  def test_soft_edge(self):
    # Labels 0 0 1 blurred by 1: 0, 1/3, 1/2. All probabilities .2.
    loss = weak_losses.soft_edge_cross_entropy_loss(
        _logits([0.2, 0.2, 0.2]), _one_hot([0, 0, 1]), radius=1)
    mean = (0 + 1 / 3 + 1 / 2) / 3
    np.testing.assert_allclose(
        loss, [-mean * np.log(0.2) - (1 - mean) * np.log(0.8)], rtol=1e-5)

  def test_tag(self):
    # Odds exp(s) of .5 and .8 are 1 and 4: S = log((1 + 4) / 2) at r = 1.
    logits = _logits([0.5, 0.8])
    for present, expected in ((1, 1 + 1 / 2.5), (0, 1 + 2.5), (255, 1)):
      loss = weak_losses.tag_loss(
          logits, np.uint8([[255, present]]), sharpness=1.0)
      np.testing.assert_allclose(loss, [np.log(expected)], rtol=1e-5)

  def test_a_tag_of_another_value_is_nan_and_no_absent_class(self):
    logits = _logits([0.5, 0.8])
    loss = weak_losses.tag_loss(logits, np.uint8([[255, 2]]), sharpness=1.0)
    np.testing.assert_array_equal(loss, [np.nan])
    with self.assertRaisesRegex(ValueError, 'present is int8, in which 255'):
      weak_losses.tag_loss(logits, np.int8([[-1, 1]]))

  def test_sharp_tag_looks_at_the_maximum(self):
    loss = weak_losses.tag_loss(
        _logits([0.1, 0.8, 0.2]), np.uint8([[255, 1]]), sharpness=200.0)
    np.testing.assert_allclose(loss, [-np.log(0.8)], atol=2e-3)

  def test_entropy(self):
    loss = regularizers.entropy_loss(_logits([0.5, 1.0]))
    np.testing.assert_allclose(loss, [np.log(2) / 2], rtol=1e-4)

  def test_total_variation(self):
    # Right: .3, .1; down: .4, .2.
    loss = regularizers.total_variation_loss(_logits([[0.1, 0.4], [0.5, 0.6]]))
    np.testing.assert_allclose(loss, [(0.3 + 0.1 + 0.4 + 0.2) / 4], rtol=1e-4)

  def test_gated_crf(self):
    # Two pairs; unlike by .1 * .4 + .9 * .6 and .6 * .8 + .4 * .2.
    images = np.float32([0.0, 0.1, 0.4])[None, :, None]
    loss = regularizers.gated_crf_loss(
        _logits([0.1, 0.6, 0.2]), images, radius=1, sigma_xy=1.0,
        sigma_rgb=0.1)
    near, far = np.exp(-0.5 - 0.5), np.exp(-0.5 - 4.5)
    expected = near * (0.1 * 0.4 + 0.9 * 0.6) + far * (0.6 * 0.8 + 0.4 * 0.2)
    np.testing.assert_allclose(loss, [expected / 2], rtol=1e-4)

  def test_mumford_shah(self):
    # Class 1 holds .25 of 0 and .75 of 1: mu .75; class 0 the other way round.
    images = np.float32([0.0, 1.0])[None, :, None]
    loss = regularizers.mumford_shah_loss(
        _logits([0.25, 0.75]), images, tv_scale=0.1)
    spread = (0.25 * 0.75**2 + 0.75 * 0.25**2) * 2 / 2
    np.testing.assert_allclose(loss, [spread + 0.1 * 0.5], rtol=1e-4)

  def test_box_loss_is_0_where_the_object_touches_all_sides(self):
    cross = np.float32([[0, 0, 0, 0], [0, 0, 1, 0], [0, 1, 1, 1], [0, 0, 1, 0]])
    box = np.zeros((4, 4), int)
    box[1:, 1:] = 1
    for loss_fn in weak_losses.box_loss, weak_losses.tightness_loss:
      np.testing.assert_allclose(
          loss_fn(_logits(cross), _one_hot(box)), [0], atol=1e-5)
    smaller = np.where(np.arange(4)[:, None] < 3, cross, 0)
    self.assertGreater(
        weak_losses.box_loss(_logits(smaller), _one_hot(box))[0], 0.05)

  def test_shapes_and_options_are_checked(self):
    logits, (labels, images, present) = _random()
    for fn in _OF_LABELS.values():
      with self.assertRaisesRegex(ValueError, 'differs from'):
        fn(logits, labels[..., :2])
    for fn in _OF_IMAGES.values():
      with self.assertRaisesRegex(ValueError, 'differs from'):
        fn(logits, images[:, 1:])
    with self.assertRaisesRegex(ValueError, 'where.shape'):
      regularizers.entropy_loss(logits, where=np.ones((4, 5), bool))
    with self.assertRaisesRegex(ValueError, 'present.shape'):
      weak_losses.tag_loss(logits, present[:, :2])
    with self.assertRaisesRegex(ValueError, 'width=0'):
      weak_losses.tightness_loss(logits, labels, width=0)
    with self.assertRaisesRegex(ValueError, 'radius=-1'):
      weak_losses.soft_edge_cross_entropy_loss(logits, labels, radius=-1)


class ContractTest(parameterized.TestCase):
  """Of every loss there is."""

  def test_holds_for_all(self):
    names = {name for module in _MODULES for name in vars(module)
             if name.endswith('_loss')}
    self.assertCountEqual(names, _ALL)

  @parameterized.parameters(*_ALL)
  def test_one_value_for_each_instance_alone(self, name):
    logits, data = _random()
    where = np.random.default_rng(1).random(logits.shape[:-1]) < 0.8
    together = _call(name, logits, data, where)
    chex.assert_shape(together, (4,))
    chex.assert_type(together, jnp.float32)
    self.assertTrue(np.all(together >= 0))
    for i in range(4):
      row = jax.tree.map(lambda x, i=i: x[i : i + 1], (logits, data, where))
      np.testing.assert_allclose(
          _call(name, *row)[0], together[i], rtol=1e-5, atol=1e-6)

  @parameterized.parameters(*_ALL)
  def test_where_deletes_pixels(self, name):
    logits, data = _random()
    where = np.zeros(logits.shape[:-1], bool)
    where[:, :3, 1:5] = True
    logits[~where] = np.nan
    crop = lambda x: x[:, :3, 1:5] if x.ndim == 4 else x
    value, grads = _sum_and_grads(name, logits, data, where)
    expected, expected_grads = _sum_and_grads(
        name, crop(logits), jax.tree.map(crop, data),
        np.ones((4, 3, 4), bool))
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(
        crop(grads), expected_grads, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(grads[~where], 0)

  @parameterized.product(name=_ALL, case=('none', 'one', 'all'))
  def test_finite_where_saturated_empty_or_full(self, name, case):
    logits, (labels, images, present) = _random()
    where = {'none': np.zeros_like, 'all': np.ones_like, 'one': np.zeros_like}[
        case](labels[..., 0], bool)
    where[:, 2, 3] |= case == 'one'
    for value in range(_K):  # All pixels of one class, right or wrong.
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

  @parameterized.parameters(*_ALL)
  def test_gradients(self, name):
    logits, data = _random((2, 3, 4))
    test_util.check_grads(
        lambda x: _call(name, x, data, None), (jnp.asarray(logits),), order=1,
        modes=('fwd', 'rev'), atol=1e-2, rtol=1e-2, eps=1e-3)

  @parameterized.parameters(*_ALL)
  def test_slices_of_a_volume(self, name):
    logits, data = _random((2, 3, 4, 5))
    volume = _call(name, logits, data, None)
    chex.assert_shape(volume, (2,))
    # A volume turned over is the same volume.
    turn = lambda x: np.moveaxis(x, 1, 3) if x.ndim == 5 else x
    np.testing.assert_allclose(
        _call(name, turn(logits), jax.tree.map(turn, data), None), volume,
        rtol=1e-5, atol=1e-6)
    self.assertTrue(np.all(np.isfinite(volume)))


if __name__ == '__main__':
  absltest.main()
