"""Tests for hybridseg.alignment_maps."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from hybridseg import alignment_maps
from hybridseg import linearization
from hybridseg import losses
from hybridseg import models
from hybridseg import types
from hybridseg import weighting

_LOSSES = {
    'cross_entropy': losses.cross_entropy_loss,
    'soft_dice': losses.soft_dice_loss,
    'prior_free': losses.prior_free(losses.cross_entropy_dice_loss),
}


@functools.cache
def _problem(dtype=np.float32, size=8):
  """Returns apply_fn, params, images, labels, where and a direction."""
  rng = np.random.default_rng(0)
  model = models.build(
      'unet', num_classes=3, options={'features': (4, 8)})
  images = jnp.asarray(rng.random((3, size, size, 1)), dtype)
  label_map = rng.integers(3, size=(3, size, size))
  label_map[rng.random(label_map.shape) < 0.3] = types.UNLABELLED
  labels, where = losses.one_hot_labels(jnp.asarray(label_map), 3)
  params = jax.jit(model.init)(jax.random.key(1), images)['params']
  params = jax.tree.map(lambda x: x.astype(dtype), params)
  direction = jax.tree.map(
      lambda x: jnp.asarray(rng.normal(size=x.shape), dtype), params)
  apply_fn = lambda p, x, **options: model.apply({'params': p}, x, **options)
  return apply_fn, params, images, labels, where, direction


class AlignmentMapsTest(parameterized.TestCase):

  def test_hand_computed(self):
    # With two pixels of two classes, loss = 2 f_00 + f_11^2 / 2.
    logits = jnp.array([[[1.0, 5.0], [7.0, 3.0]]])
    slopes = jnp.array([[[10.0, 100.0], [1000.0, -2.0]]])
    found = alignment_maps.alignment_maps(
        lambda f: 2 * f[:, 0, 0] + f[:, 1, 1] ** 2 / 2, logits, slopes)
    np.testing.assert_allclose(found, [[20, -6]])

  @parameterized.parameters(*_LOSSES)
  def test_last_layer_sums_to_the_alignment(self, name):
    apply_fn, params, images, labels, where, direction = _problem()
    loss_fn = functools.partial(_LOSSES[name], labels=labels, where=where)
    logits, features = apply_fn(params, images, return_features=True)
    maps = alignment_maps.alignment_maps(
        loss_fn, logits,
        weighting.last_layer_slopes(features, direction['head']))
    self.assertEqual(maps.shape, where.shape)
    np.testing.assert_allclose(
        jnp.sum(maps, (1, 2)),
        weighting.last_layer_alignments(
            loss_fn, logits, features, direction['head']),
        rtol=1e-5, atol=1e-6)

  @parameterized.parameters(*_LOSSES)
  def test_all_layers_sum_to_the_alignment(self, name):
    apply_fn, params, images, labels, where, direction = _problem()
    loss_fn = functools.partial(_LOSSES[name], labels=labels, where=where)
    maps = alignment_maps.alignment_maps(
        loss_fn, *jax.jvp(
            lambda p: apply_fn(p, images), (params,), (direction,)))
    linear = linearization.linearize_losses(
        lambda p: loss_fn(apply_fn(p, images)), params)
    wanted = linear.directional(direction)
    np.testing.assert_allclose(
        # The sums are computed in another order.
        jnp.sum(maps, (1, 2)), wanted, rtol=1e-4,
        atol=1e-5 * float(jnp.abs(maps).sum()))

  @parameterized.parameters(*_LOSSES)
  def test_finite_differences_in_float64(self, name):
    with jax.enable_x64(True):
      rng = np.random.default_rng(0)
      logits, slopes = jnp.asarray(rng.normal(size=(2, 2, 4, 5, 3)))
      labels, where = losses.one_hot_labels(
          jnp.asarray(rng.integers(3, size=(2, 4, 5))), 3)
      loss_fn = lambda f: _LOSSES[name](f, labels, where=where)
      maps = alignment_maps.alignment_maps(loss_fn, logits, slopes)
      pixel = jnp.zeros(logits.shape).at[:, 1, 2].set(slopes[:, 1, 2])
      step = 1e-5
      wanted = (loss_fn(logits + step * pixel) - loss_fn(logits - step * pixel)
                ) / (2 * step)
      # By design, the slope of this loss is not the derivative of its value.
      if name == 'prior_free':
        grads = jax.grad(lambda f: jnp.sum(loss_fn(f)))(logits)
        wanted = jnp.sum(grads * pixel, (1, 2, 3))
      np.testing.assert_allclose(maps[:, 1, 2], wanted, rtol=1e-7, atol=1e-10)

  @parameterized.parameters(*_LOSSES)
  def test_pixels_that_do_not_count_are_0_whatever_they_hold(self, name):
    rng = np.random.default_rng(0)
    logits, slopes = jnp.asarray(rng.normal(size=(2, 2, 4, 5, 3)), jnp.float32)
    label_map = rng.integers(3, size=(2, 4, 5))
    label_map[0, :2] = label_map[1] = types.UNLABELLED
    labels, where = losses.one_hot_labels(jnp.asarray(label_map), 3)
    hole = ~where[..., None]
    maps = alignment_maps.alignment_maps(
        lambda f: _LOSSES[name](f, labels, where=where),
        jnp.where(hole, jnp.nan, logits), jnp.where(hole, jnp.nan, slopes))
    np.testing.assert_array_equal(maps[~where], 0)
    self.assertTrue(jnp.isfinite(maps).all())
    self.assertGreater(jnp.abs(maps[0, 2:]).min(), 0)

  @parameterized.parameters(*_LOSSES)
  def test_other_instances_do_not_matter(self, name):
    rng = np.random.default_rng(0)
    logits, slopes = jnp.asarray(rng.normal(size=(2, 3, 4, 5, 3)), jnp.float32)
    labels, where = losses.one_hot_labels(
        jnp.asarray(rng.integers(3, size=(3, 4, 5))), 3)
    of = lambda rows: alignment_maps.alignment_maps(
        lambda f: _LOSSES[name](f, labels[rows], where=where[rows]),
        logits[rows], slopes[rows])
    whole = of(slice(None))
    for k in range(3):
      np.testing.assert_allclose(
          of(slice(k, k + 1))[0], whole[k], rtol=1e-5, atol=1e-7)

  def test_an_annotation_on_the_spot_helps_there_and_harms_elsewhere(self):
    # The strong gradient asks for class 1 at the left pixel and class 0 at the
    # right one.
    # The gradient itself, not its negative.
    slopes = jnp.array([[[1.0, -1.0], [-1.0, 1.0]]])
    of = lambda label_map: alignment_maps.alignment_maps(
        lambda f: losses.cross_entropy_loss(
            f, *losses.one_hot_labels(jnp.array([label_map]), 2)[:1]),
        jnp.zeros((1, 2, 2)), slopes)[0]
    self.assertTrue((of([1, 0]) > 0).all())
    self.assertTrue((of([0, 1]) < 0).all())

  def test_refuses_other_shapes(self):
    with self.assertRaisesRegex(ValueError, r'\(1, 2, 3\).*\(1, 2, 2\)'):
      alignment_maps.alignment_maps(
          jnp.sum, jnp.zeros((1, 2, 3)), jnp.zeros((1, 2, 2)))


if __name__ == '__main__':
  absltest.main()
