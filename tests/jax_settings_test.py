"""Tests the library under strict settings of JAX, which some users choose."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
from hybridseg import augmentation
from hybridseg import indicators
from hybridseg import losses
from hybridseg import train_state
from hybridseg import train_step
import jax
import numpy as np
import optax

from tests import library_table

_arrays = functools.cache(library_table.arrays)


class TableTest(absltest.TestCase):

  def test_names_every_public_function(self):
    called = {name.split(' ')[0] for name in library_table.CALLS} - {'models'}
    self.assertEmpty(called & library_table.NOT_TRACED)
    self.assertEqual(
        called | library_table.NOT_TRACED, library_table.public_functions())


class SettingsTest(parameterized.TestCase):

  @parameterized.parameters(*library_table.CALLS)
  def test_no_implicit_promotion_and_no_transfer(self, name):
    # Tracing suffices to detect an implicit promotion, or a number that tracing
    # transfers to the device.
    arrays = _arrays()
    with jax.numpy_dtype_promotion('strict'), jax.transfer_guard('disallow'):
      jax.eval_shape(library_table.CALLS[name], arrays)

  def test_slopes_without_a_transfer(self):
    # `parallel_test` tests the training step in this way.
    call = library_table.CALLS['weighting.lookahead_weight_grads adam']
    arrays = _arrays()
    with jax.transfer_guard('disallow'):
      slopes = jax.jit(call)(arrays)
    np.testing.assert_allclose(slopes, call(arrays), rtol=1e-5)

  def test_states_are_made_without_a_transfer(self):
    # This is called outside of jit, with the guard set before the first
    # program.
    init = jax.jit(library_table.init_fn)
    key = jax.random.key(0)
    with jax.transfer_guard('disallow'):
      state = train_state.init_state(init, optax.sgd(0.1), key, num_weak=3)
      other = indicators.init_indicators(3, value=0.5)
    np.testing.assert_array_equal(state.indicators.weights, np.ones(3))
    np.testing.assert_array_equal(other.weights, np.full(3, 0.5))
    self.assertFalse(any(x.weak_type for x in jax.tree.leaves((state, other))))


class DisableJitTest(absltest.TestCase):

  def test_same_step(self):
    # Mapped steps also run without jit, but take minutes.
    optimizer = optax.sgd(0.1)
    step = train_step.make_train_step(
        library_table.apply_fn, optimizer,
        num_classes=library_table.NUM_CLASSES,
        augment_fn=lambda _, x: x._replace(
            image=augmentation.to_float(x.image)),
        supervision=train_step.Supervision(
            losses.cross_entropy_loss, losses.cross_entropy_loss),
        weighting=train_step.Weighting('dii'))
    state = train_state.init_state(
        library_table.init_fn, optimizer, jax.random.key(0),
        num_weak=library_table.NUM_WEAK)
    args = state, _arrays()['batch'], jax.random.key(1)
    with jax.disable_jit():
      plain = step(*args)
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6),
        plain, jax.jit(step)(*args))


if __name__ == '__main__':
  absltest.main()
