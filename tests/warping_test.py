"""Tests for hybridseg.warping."""

from absl.testing import absltest
from absl.testing import parameterized
from hybridseg import types
from hybridseg import warping
import jax.numpy as jnp
import numpy as np


class WarpingTest(parameterized.TestCase):

  @parameterized.parameters(((4, 5),), ((3, 4, 5),))
  def test_its_own_positions_give_the_input(self, size):
    rng = np.random.default_rng(0)
    image = rng.random((*size, 2), np.float32)
    label = rng.integers(0, 3, size, np.uint8)
    source = jnp.meshgrid(
        *(jnp.arange(n, dtype=jnp.float32) for n in size), indexing='ij')
    np.testing.assert_array_equal(warping.warp_image(image, source), image)
    np.testing.assert_array_equal(
        warping.warp_label(jnp.asarray(label), source), label)

  @parameterized.parameters(2, 3)
  def test_between_and_outside(self, num_axes):
    # The image rises by 10 per pixel along its first axis, from 0 to 20.
    size = (3,) * num_axes
    image = np.broadcast_to(
        np.arange(0, 30, 10, dtype=np.float32).reshape(
            -1, *[1] * num_axes), (*size, 1))
    position = jnp.array([0.25, 1.5, -2.0, 9.0])
    source = [position] + [jnp.ones(4)] * (num_axes - 1)
    np.testing.assert_allclose(
        warping.warp_image(image, source)[:, 0], [2.5, 15, 0, 20])
    label = jnp.asarray(image[..., 0].astype(np.uint8))
    out = types.UNLABELLED
    np.testing.assert_array_equal(
        warping.warp_label(label, source), [0, 20, out, out])

  @parameterized.parameters(0, 1, 2)
  def test_blur_is_a_normalised_gaussian_along_one_axis(self, axis):
    image = np.zeros((11, 11, 11), np.float32)
    image[5, 5, 5] = 1.0
    line = np.moveaxis(np.asarray(warping.blur(
        image, jnp.float32(1.0), axis=axis)), axis, 0)[:, 5, 5]
    expected = np.exp(-0.5 * np.arange(-5.0, 6.0) ** 2)
    expected[[0, 10]] = 0  # Four pixels on each side are read.
    np.testing.assert_allclose(line, expected / expected.sum(), rtol=1e-5)


if __name__ == '__main__':
  absltest.main()
