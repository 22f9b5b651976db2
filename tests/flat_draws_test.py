"""Tests for experiments.building.flat_draws."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from experiments.building import flat_draws


class FlatDrawsTest(parameterized.TestCase):

  @parameterized.parameters(
      ((),), ((5,),), ((3, 3, 3, 8),), ((2, 0, 3),), ((1, 7, 1),))
  def test_draws_the_bits_of_the_plain_key(self, shape):
    key = jax.random.key(3)
    for plain, flat in (
        (key, flat_draws.flat_key(key)),
        (jax.random.fold_in(key, 7),
         jax.random.fold_in(flat_draws.flat_key(key), 7)),
        (jax.random.split(key)[1],
         jax.random.split(flat_draws.flat_key(key))[1])):
      for draw in (jax.random.normal, jax.random.bits, jax.random.uniform):
        np.testing.assert_array_equal(draw(plain, shape), draw(flat, shape))

  def test_draws_the_same_under_vmap_and_jit(self):
    keys = jax.random.split(jax.random.key(0), 4)
    draw = jax.jit(jax.vmap(lambda key: jax.random.normal(key, (3, 2))))
    np.testing.assert_array_equal(
        draw(keys), draw(jax.jit(flat_draws.flat_key)(keys)))

  def test_draws_vectors(self):
    key = flat_draws.flat_key(jax.random.key(0))
    text = jax.jit(lambda k: jax.random.bits(k, (3, 3, 3, 8))).lower(
        key).as_text()
    self.assertIn('tensor<216xui32>', text)
    self.assertNotIn('stablehlo.xor %0 : tensor<3x3x3x8xui32>', text)

  def test_leaves_other_generators_alone(self):
    key = jax.random.key(0, impl='rbg')
    self.assertIs(flat_draws.flat_key(key), key)
    self.assertEqual(jnp.shape(flat_draws.flat_key(jax.random.key(0))), ())


if __name__ == '__main__':
  absltest.main()
