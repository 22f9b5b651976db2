"""Tests for hybridseg.models."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from hybridseg import models


def _unet(num_classes=3, **options):
  return models.build(
      'unet', num_classes=num_classes,
      options={'features': (2, 4)} | options)


class BuildTest(absltest.TestCase):

  def test_unknown_name_lists_the_known(self):
    with self.assertRaisesRegex(ValueError, "'vnet'.*'unet'"):
      models.build('vnet', num_classes=2)

  def test_options_reach_the_network(self):
    model = _unet(num_classes=5, features=(3, 6, 9))
    self.assertEqual(model.num_classes, 5)
    self.assertEqual(tuple(model.features), (3, 6, 9))


class UNetTest(parameterized.TestCase):

  @parameterized.product(
      size=((4, 4), (8, 12)), channels=(1, 3), dtype=('float32', 'bfloat16'))
  def test_shapes_and_dtypes(self, size, channels, dtype):
    model = _unet(num_classes=5, dtype=jnp.dtype(dtype))
    images = jnp.zeros((2,) + size + (channels,), jnp.float32)
    logits, params = jax.eval_shape(
        model.init_with_output, jax.random.key(0), images)
    self.assertEqual(logits.shape, (2,) + size + (5,))
    self.assertEqual(logits.dtype, jnp.float32)
    for leaf in jax.tree.leaves(params):
      self.assertEqual(leaf.dtype, jnp.float32)

  @parameterized.parameters(
      ((2, 4), (8, 9), 2), ((2, 4, 8), (10, 8), 4), ((2, 2, 2, 2), (8, 4), 8))
  def test_refuses_sizes_that_do_not_halve(self, features, size, multiple):
    with self.assertRaisesRegex(
        ValueError, f'{size[0]} x {size[1]}.*multiples of {multiple}'):
      jax.eval_shape(
          _unet(features=features).init, jax.random.key(0),
          jnp.zeros((1,) + size + (1,)))

  def test_an_instance_does_not_touch_another(self):
    model = _unet()
    images = jax.random.normal(jax.random.key(0), (2, 8, 8, 1))
    params = jax.jit(model.init)(jax.random.key(1), images)
    apply = jax.jit(model.apply)
    logits = apply(params, images)
    changed = apply(params, images.at[1].multiply(-100.0))
    np.testing.assert_array_equal(changed[0], logits[0])
    self.assertGreater(np.abs(changed[1] - logits[1]).max(), 0.1)

  def test_features_are_what_the_head_reads(self):
    model = _unet()
    images = jax.random.normal(jax.random.key(0), (2, 8, 8, 1))

    def run(key):
      params = model.init(key, images)
      logits, features = model.apply(params, images, return_features=True)
      head = params['params']['head']
      bias = head['bias'].reshape(1, 1, 1, -1)
      return (logits, features @ head['kernel'][0, 0] + bias,
              model.apply(params, images))

    logits, by_hand, plain = jax.jit(run)(jax.random.key(1))
    np.testing.assert_allclose(by_hand, logits, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(plain, logits, rtol=1e-5, atol=1e-6)

  def test_no_transposed_convolution_and_no_state(self):
    model = _unet(features=(2, 4, 8))
    images = jnp.zeros((1, 8, 8, 1))
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    # Batch statistics would couple the instances.
    self.assertEqual(set(variables), {'params'})
    # The last layer by the name that the last-layer weighting looks for.
    self.assertIn('head', variables['params'])
    jaxpr = jax.make_jaxpr(model.apply)(variables, images).jaxpr
    dilations = [
        eqn.params['lhs_dilation'] for eqn in _equations(jaxpr)
        if eqn.primitive.name == 'conv_general_dilated']
    # Per level two, per up-sampling one more, and the head.
    self.assertLen(dilations, 2 * 5 + 2 + 1)
    self.assertEqual(set(dilations), {(1, 1)})


def _equations(jaxpr):
  for eqn in jaxpr.eqns:
    yield eqn
    for value in eqn.params.values():
      if hasattr(value, 'jaxpr'):
        yield from _equations(value.jaxpr)


if __name__ == '__main__':
  absltest.main()
