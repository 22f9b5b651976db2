"""Tests for hybridseg.models.deeplab."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from hybridseg import losses
from hybridseg import models
from hybridseg import weighting
from hybridseg.models import layers
from tests import jaxprs
from tests import long_only
from tests import networks


def _deeplab(**options):
  return models.build('deeplab_v3_plus', num_classes=3, options=dict(
      depth=18, features=8) | options)


class DeepLabV3PlusTest(parameterized.TestCase):

  @parameterized.product(
      size=long_only.first_of(((33, 50), (16, 16))), depth=(18, 50),
      output_stride=(8, 16),
      dtype=('float32', 'bfloat16'), norm=('group', 'frozen_batch'))
  def test_shapes_and_dtypes_of_any_size(self, size, **options):
    model = _deeplab(**options)
    logits, features, params = networks.init_shapes(
        self, model, (2, *size, 1))
    self.assertEqual(logits.shape, (2, *size, 3))
    self.assertEqual(features.shape, (2, *size, 8))
    self.assertContainsSubset({'backbone', 'head'}, params)

  @parameterized.parameters(
      (dict(output_stride=32), (1, 8, 8, 1), r'output_stride=32.*\[8, 16\]'),
      ({}, (1, 8, 8, 8, 1), r'\(1, 8, 8, 8, 1\).*\[B, H, W, C\]'),
      (dict(depth=101), (1, 8, 8, 1), 'depth=101'),
  )
  def test_refuses(self, options, shape, message):
    with self.assertRaisesRegex(ValueError, message):
      networks.random_params(_deeplab(**options), shape)

  @parameterized.parameters('group', 'frozen_batch')
  def test_an_instance_does_not_touch_another(self, norm):
    networks.check_independent(self, _deeplab(norm=norm), (2, 16, 24, 3))

  def test_the_head_commutes_with_the_interpolation(self):
    model = _deeplab()
    images = jax.random.uniform(jax.random.key(0), (2, 18, 24, 1))
    labels = jax.nn.one_hot(jnp.arange(2 * 18 * 24) % 3, 3).reshape(
        2, 18, 24, 3)
    params = networks.random_params(model, images.shape)
    head = params['head']

    def instance_losses(head):
      logits = model.apply({'params': params | {'head': head}}, images)
      return losses.cross_entropy_loss(logits, labels)

    @jax.jit
    def run():
      logits, features = model.apply(
          {'params': params}, images, return_features=True)
      values, by_hand = jax.jvp(instance_losses, (head,), (head,))
      alignments = weighting.last_layer_alignments(
          lambda x: losses.cross_entropy_loss(x, labels), logits, features,
          head)
      return logits, features, values, by_hand, alignments

    logits, features, values, by_hand, alignments = run()
    np.testing.assert_allclose(
        features @ head['kernel'][0, 0] + head['bias'].reshape(1, 1, 1, -1),
        logits, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        values, losses.cross_entropy_loss(logits, labels), rtol=1e-5)
    np.testing.assert_allclose(alignments, by_hand, rtol=1e-4, atol=1e-6)

  def test_resize_is_between_centres(self):
    x = jnp.array([0.0, 4.0]).reshape(1, 1, 2, 1)
    np.testing.assert_allclose(
        layers.resize_bilinear(x, (2, 4)).reshape(2, 4), [[0, 1, 3, 4]] * 2,
        atol=1e-6)
    x = jax.random.normal(jax.random.key(0), (2, 5, 9, 3))
    np.testing.assert_allclose(
        layers.resize_bilinear(x, (18, 33)),
        jax.image.resize(x, (2, 18, 33, 3), 'bilinear'), atol=1e-5)

  def test_no_transposed_convolution(self):
    model = _deeplab()
    images = jnp.zeros((1, 16, 16, 1))
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    jaxpr = jax.make_jaxpr(model.apply)(variables, images).jaxpr
    convs = [eqn.params for eqn in jaxprs.equations(jaxpr)
             if eqn.primitive.name == 'conv_general_dilated']
    self.assertEqual({x['lhs_dilation'] for x in convs}, {(1, 1)})
    # The dilations are those of the pyramid, and of the last stage. The first
    # convolution of that stage, which would otherwise have a stride, has none.
    self.assertEqual(
        sorted({x['rhs_dilation'][0] for x in convs}), [1, 2, 6, 12, 18])


if __name__ == '__main__':
  absltest.main()
