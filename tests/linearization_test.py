"""Tests for hybridseg.linearization."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from hybridseg import linearization


class LinearizeLossesTest(absltest.TestCase):

  def test_products_of_the_jacobian(self):
    # losses = (2 p_0, p_0 p_1) at (3, 5): J = [[2, 0], [5, 3]].
    linear = linearization.linearize_losses(
        lambda p: (jnp.stack([2 * p[0], p[0] * p[1]]), p[0]),
        jnp.array([3.0, 5.0]), has_aux=True)
    np.testing.assert_allclose(linear.losses, [6, 15])
    np.testing.assert_allclose(
        linear.directional(jnp.array([1.0, 2.0])), [2, 11])
    np.testing.assert_allclose(
        linear.weighted_grads(jnp.array([1.0, 2.0])), [12, 6])
    np.testing.assert_allclose(linear.aux, 3)

  def test_trees_and_no_aux(self):
    linear = linearization.linearize_losses(
        lambda p: {'a': p['x'] ** 2, 'b': 3 * p['x']}, {'x': jnp.array([2.0])})
    self.assertIsNone(linear.aux)
    slopes = linear.directional({'x': jnp.ones(1)})
    np.testing.assert_allclose(slopes['a'], [4])
    np.testing.assert_allclose(slopes['b'], [3])
    grads = linear.weighted_grads({'a': jnp.ones(1), 'b': 10 * jnp.ones(1)})
    np.testing.assert_allclose(grads['x'], [34])


def _convolve(x, kernel):
  return jax.lax.conv_general_dilated(
      x, kernel, (1, 1), 'SAME', dimension_numbers=('NHWC', 'HWIO', 'NHWC'))


class LinearizePerInstanceTest(parameterized.TestCase):

  # Split over instances; over instances and rows of images; over instances and
  # channels.
  @parameterized.parameters(
      ((4,), ('b',), ()), ((2, 2), ('b', 'm'), ()),
      ((2, 2), ('b',), (None, None, None, 'm')))
  def test_split_by_the_compiler_alone(self, devices, batch, kernels):
    # A split by the compiler must not make the slopes 0 in all shards but the
    # first.
    rng = np.random.default_rng(0)
    draw = lambda *shape: rng.normal(size=shape).astype(np.float32)
    params, direction = (
        {'a': draw(3, 3, 1, 4), 'b': draw(3, 3, 4, 2)} for _ in range(2))
    images, weights = draw(8, 6, 6, 1), draw(8)

    def products(params, direction, images, weights):
      def loss(params, image):
        logits = _convolve(
            jnp.tanh(_convolve(image[None], params['a'])), params['b'])
        return jnp.mean(jnp.square(logits)), logits[0]
      linear = linearization.linearize_per_instance(
          loss, params, images, has_aux=True)
      slopes = linear.directional(direction)
      return slopes, linear.weighted_grads(weights * slopes), linear.aux

    mesh = jax.make_mesh(devices, ('b', 'm')[: len(devices)], axis_types=(
        jax.sharding.AxisType.Auto,) * len(devices))
    place = lambda x, *axes: jax.device_put(x, jax.sharding.NamedSharding(
        mesh, jax.sharding.PartitionSpec(*axes)))
    split = (*(place(x, *kernels) for x in (params, direction)),
             place(images, *batch), place(weights, 'b'))
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6),
        jax.jit(products)(*split),
        jax.jit(products)(params, direction, images, weights))

  def test_nothing_is_looked_up_where_nothing_is_left_to_split(self):

    def step(x):
      linear = linearization.linearize_per_instance(
          lambda p, x: jnp.sum(p * x), jnp.ones(3), x)
      return linear.directional(jnp.ones(3))

    def look_ups(fn):
      jaxpr = jax.make_jaxpr(jax.jit(fn))(jnp.ones((4, 3)))
      return str(jaxpr).count('optimization_barrier')

    def mapped(axis_names):
      mesh = jax.make_mesh((2, 2), ('a', 'b'), axis_types=(
          jax.sharding.AxisType.Auto,) * 2)
      split = jax.sharding.PartitionSpec('a')
      return jax.shard_map(step, mesh=mesh, in_specs=split, out_specs=split,
                           axis_names=axis_names)

    self.assertEqual(look_ups(mapped({'a', 'b'})), 0)
    # The axis b is left to the compiler.
    self.assertGreater(look_ups(mapped({'a'})), 0)
    self.assertGreater(look_ups(step), 0)

  def test_products_of_the_jacobian(self):
    # losses_k = x_k p_0 p_1 at (3, 5), x = (2, 10): J = [[10, 6], [50, 30]].
    linear = linearization.linearize_per_instance(
        lambda p, x: (x * p[0] * p[1], {'x': x}),
        jnp.array([3.0, 5.0]), jnp.array([2.0, 10.0]), has_aux=True)
    np.testing.assert_allclose(linear.losses, [30, 150])
    np.testing.assert_allclose(
        linear.directional(jnp.array([1.0, 2.0])), [22, 110])
    np.testing.assert_allclose(
        linear.weighted_grads(jnp.array([1.0, 2.0])), [110, 66])
    np.testing.assert_allclose(linear.aux['x'], [2, 10])

  def test_trees_and_no_aux(self):
    linear = linearization.linearize_per_instance(
        lambda p, data: data['x'] * jnp.sum(p['m']) + p['c'],
        {'m': jnp.ones((2, 2)), 'c': jnp.zeros(())},
        {'x': jnp.array([1.0, 2.0, 3.0])})
    self.assertIsNone(linear.aux)
    np.testing.assert_allclose(linear.losses, [4, 8, 12])
    np.testing.assert_allclose(
        linear.directional({'m': jnp.ones((2, 2)), 'c': jnp.ones(())}),
        [5, 9, 13])
    grads = linear.weighted_grads(jnp.array([1.0, 0.0, 2.0]))
    np.testing.assert_allclose(grads['m'], np.full((2, 2), 7))
    np.testing.assert_allclose(grads['c'], 3)


if __name__ == '__main__':
  absltest.main()
