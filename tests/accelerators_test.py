"""Tests, on a CPU, the programs that GPUs and TPUs would run.

By default, recent GPUs compute a float32 product with 10 bits of the mantissa
(TF32), and TPUs with 7 bits (bfloat16). The products of this library that
decide the order of the indicators ask for all bits. The products of a network
have the precision that JAX is set to.
"""

import re

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import optax

from hybridseg import linearization
from hybridseg import losses
from hybridseg import meta_weight_net
from hybridseg import parallel
from hybridseg import train_step as train_step_lib
from hybridseg import weighting as weighting_lib
from hybridseg.models import depthwise
from tests import tiny_step as tiny

_PLATFORMS = ('cuda', 'tpu')


def _module(fn, *args):
  """Returns the StableHLO of a function, for both platforms."""
  return jax.export.export(
      jax.jit(fn), platforms=_PLATFORMS)(*args).mlir_module()


def _lines(module, name):
  """Returns the lines of an operation; each platform has lines of its own."""
  return [x for x in module.splitlines() if re.search(rf'o\.{name}\b', x)]


def _per_instance(params, x):
  linear = linearization.linearize_per_instance(
      lambda p, x: jnp.sum(jnp.tanh(p['a'] * x)) + p['b'], params, x)
  return linear.directional(params), linear.weighted_grads(x[:, 0])


_PRODUCTS = {
    'per_instance': (
        _per_instance, {'a': np.ones(5, np.float32), 'b': np.float32(1)},
        np.ones((3, 5), np.float32)),
    'last_layer': (
        lambda x, kernel: weighting_lib.last_layer_alignments(
            lambda z: jnp.sum(z**2, (1, 2, 3)), x @ kernel, x,
            {'kernel': kernel, 'bias': kernel[0]}),
        np.ones((2, 3, 3, 4), np.float32), np.ones((4, 2), np.float32)),
    'meta_weight_net': (
        lambda x: meta_weight_net.weigh(
            meta_weight_net.init_weight_net(jax.random.key(0)), x, x,
            learning_rate=0.1)[0],
        np.ones(3, np.float32)),
}


class LoweringTest(parameterized.TestCase):

  @parameterized.parameters(*_PRODUCTS)
  def test_own_products_have_all_bits(self, name):
    products = _lines(_module(*_PRODUCTS[name]), 'dot_general')
    in_full = ['precision = [HIGHEST, HIGHEST]' in x for x in products]
    # The one product without full precision is that of the test's own network.
    self.assertEqual(
        in_full.count(False), (name == 'last_layer') * len(_PLATFORMS))
    self.assertGreaterEqual(in_full.count(True), len(_PLATFORMS))

  @parameterized.product(
      kind=('jit', 'pmap'), name=('dii', 'dii_last_layer'))
  def test_whole_step(self, kind, name):
    weighting = train_step_lib.Weighting(
        name, every_steps=2,
        method='per_instance' if name == 'dii' else 'forward')
    co_reg = train_step_lib.CoRegularization(scale=0.5, ramp_up_steps=4)
    mapping = parallel.make_mapping(kind)
    optimizer = optax.adam(1e-3)
    step = mapping.step(train_step_lib.make_train_step(
        tiny.apply_tiny, optimizer, num_classes=tiny.NUM_CLASSES,
        features_fn=tiny.features_tiny, augment_fn=tiny.no_augmentation,
        supervision=tiny.SUPERVISION._replace(alignment_loss_fn=None),
        weighting=weighting, co_reg=co_reg, axis_name=mapping.axis_name))
    args = (
        mapping.replicate(tiny.init_state(
            optimizer=optimizer, weighting=weighting, co_reg=co_reg)),
        mapping.place_batch(tiny.random_batch(0, num_strong=4, num_weak=8)),
        mapping.replicate(jax.random.key(1)))
    module = _module(lambda *args: step(*args), *args)
    self.assertNotEmpty(_lines(module, 'convolution'))

  @parameterized.product(stride=(1, 2), of_each=(False, True))
  def test_depthwise_convolution(self, stride, of_each):
    # A GPU or TPU runs XLA's grouped convolution for the output and for the
    # gradient of the kernel, and also for the other gradients if each instance
    # has its own gradients. A CPU runs none.
    fn = lambda x, kernel: jnp.sum(jnp.sin(depthwise.depthwise_conv(
        x, kernel, stride=stride)))
    x = np.ones((2, 6, 6, 3), np.float32)
    kernel = np.ones((3, 3, 3), np.float32)
    together = jax.value_and_grad(fn, argnums=(0, 1))
    of_one = jax.vmap(lambda x, k: together(x[None], k), (0, None))
    grad_fn = of_one if of_each else together
    self.assertLen(_lines(_module(grad_fn, x, kernel), 'convolution'),
                   3 + (3 if of_each else 1))
    on_cpu = jax.export.export(jax.jit(grad_fn), platforms=('cpu',))(x, kernel)
    self.assertEmpty(_lines(on_cpu.mlir_module(), 'convolution'))


def _rounded_network(bits):
  """Returns a network whose products, also in its gradients, keep few bits."""
  short = lambda x: x if bits is None else jax.lax.reduce_precision(x, 8, bits)

  def apply_fn(params, x):
    for i, kernel in enumerate(params):
      x = jax.lax.conv_general_dilated(
          short(x), short(kernel), (1, 1), 'SAME',
          dimension_numbers=('NHWC', 'HWIO', 'NHWC'))
      if i + 1 < len(params):
        x = jax.nn.relu(x - jnp.mean(x, axis=(1, 2), keepdims=True))
    return x

  return apply_fn


class RoundingTest(parameterized.TestCase):

  def _alignments(self, bits, method):
    rng = np.random.default_rng(0)
    draw = lambda *shape: rng.normal(size=shape).astype(np.float32)
    params = [draw(3, 3, 1, 8) / 3, draw(3, 3, 8, 8) / 8, draw(1, 1, 8, 2) / 3]
    # The images show squares. A third of the weak labels is shifted away from
    # its square.
    label = np.zeros((48, 10, 10), np.int64)
    for i, (row, column) in enumerate(rng.integers(1, 5, size=(48, 2))):
      label[i, row : row + 4, column : column + 4] = 1
    image = (0.5 * label + 0.3 * draw(*label.shape))[..., None]
    label[16:27] = np.roll(label[16:27], 4, axis=1)
    labels = np.eye(2, dtype=np.float32)[label]
    strong, weak = [x[:16] for x in (image, labels)], [
        x[16:] for x in (image, labels)]
    apply_fn = _rounded_network(bits)
    loss = lambda p, x, y: losses.cross_entropy_loss(
        apply_fn(p, x.astype(np.float32)), y)

    @jax.jit
    def alignments(params):
      direction = jax.grad(lambda p: jnp.mean(loss(p, *strong)))(params)
      if method == 'forward':
        linear = linearization.linearize_losses(
            lambda p: loss(p, *weak), params)
      else:
        linear = linearization.linearize_per_instance(
            lambda p, e: loss(p, *(x[None] for x in e))[0], params, tuple(weak))
      return linear.directional(direction)

    return np.asarray(alignments(params))

  @parameterized.product(
      # Bits of the mantissa (of TF32 and bfloat16), and the largest median
      # shift of the alignments, in standard deviations. A single alignment may
      # move by up to 0.04, if the input of a ReLU changes its sign.
      bits_and_shift=((10, 1e-3), (7, 0.02)),
      method=('forward', 'per_instance'))
  def test_order_of_the_indicators(self, bits_and_shift, method):
    bits, most = bits_and_shift
    exact = self._alignments(None, method)
    found = self._alignments(bits, method)
    shift = np.median(np.abs(found - exact)) / np.std(exact)
    self.assertBetween(shift, most / 10, most)
    # The order of the alignments is kept, except that neighbours may swap ranks
    # on another processor.
    ranks = [np.argsort(np.argsort(x)) for x in (exact, found)]
    self.assertGreater(np.corrcoef(*ranks)[0, 1], 0.995)


if __name__ == '__main__':
  absltest.main()
