"""Tests for U-Nets whose strides and kernels differ from axis to axis."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from hybridseg import models
from tests import networks


def _build(name, **options):
  return models.build(name, num_classes=2, options=options)


def _apply(model, params, images):
  return jax.jit(model.apply)({'params': params}, images)


class PlansTest(parameterized.TestCase):

  @parameterized.parameters('unet', 'residual_unet')
  def test_the_plan_of_the_default_changes_nothing(self, name):
    plain = _build(name, features=(2, 4))
    planned = _build(
        name, features=(2, 4), strides=[[2, 2, 2]], kernels=[[3, 3, 3]] * 2)
    params = networks.random_params(plain, (1, 4, 2, 2, 1))
    jax.tree.map(
        np.testing.assert_array_equal, params,
        networks.random_params(planned, (1, 4, 2, 2, 1)))
    if name == 'unet':  # Both networks run `down_and_up`.
      images = jax.random.normal(jax.random.key(0), (1, 4, 2, 2, 1))
      np.testing.assert_array_equal(
          _apply(plain, params, images), _apply(planned, params, images))

  def test_slices_are_not_coupled_by_plans_within_a_slice(self):
    flat = _build('unet', features=(2, 4))
    model = _build(
        'unet', features=(2, 4), strides=[[1, 2, 2]], kernels=[[1, 3, 3]] * 2)
    params = networks.random_params(model, (1, 3, 4, 6, 1))
    # The kernels are those of the 2-D network with an added axis of size 1.
    squeezed = jax.tree.map(lambda x: x[0] if x.ndim == 5 else x, params)
    images = jax.random.normal(jax.random.key(0), (1, 4, 6, 1))
    # All slices of the volume are equal. GroupNorm takes its statistics over
    # all slices, so different slices would change each other's results.
    volume = jnp.repeat(images[:, None], 3, axis=1)
    logits, expected = (
        _apply(model, params, volume), _apply(flat, squeezed, images))
    for i in range(3):
      np.testing.assert_allclose(logits[:, i], expected, rtol=1e-4, atol=1e-5)

  @parameterized.parameters('unet', 'residual_unet')
  def test_a_plan_for_thick_slices(self, name):
    model = _build(
        name, features=(2, 4, 8), strides=[[1, 2, 2], [2, 2, 2]],
        kernels=[[1, 3, 3], [3, 3, 3], [3, 3, 5]])
    logits, features, params = networks.init_shapes(
        self, model, (1, 2, 4, 8, 1))
    self.assertEqual(logits.shape, (1, 2, 4, 8, 2))
    self.assertEqual(features.shape, (1, 2, 4, 8, 2))
    kernels = {x.shape[:3] for x in jax.tree.leaves(params) if x.ndim == 5}
    self.assertContainsSubset({(1, 3, 3), (3, 3, 3), (3, 3, 5)}, kernels)

  @parameterized.parameters(
      (dict(strides=[[1, 2, 2], [2, 2, 2]]), (1, 3, 4, 6, 1),
       '3 x 4 x 6.*multiples of 2 x 4 x 4 pixels'),
      (dict(strides=[[1, 2, 2], [2, 2, 2]]), (1, 4, 8, 1),
       'strides is .*: this network needs 2 lists of 2 numbers'),
      (dict(strides=[[1, 2, 2]]), (1, 4, 4, 4, 1),
       'strides is .*: this network needs 2 lists of 3 numbers'),
      (dict(kernels=[[1, 3, 3]] * 2), (1, 4, 4, 4, 1),
       'kernels is .*: this network needs 3 lists of 3 numbers'))
  def test_refuses_what_does_not_fit(self, options, shape, message):
    model = _build('unet', features=(2, 4, 8), **options)
    with self.assertRaisesRegex(ValueError, message):
      networks.random_params(model, shape)


if __name__ == '__main__':
  absltest.main()
