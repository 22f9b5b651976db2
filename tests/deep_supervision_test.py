"""Tests of hybridseg.deep_supervision, alone and in the training step."""

from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from hybridseg import deep_supervision
from hybridseg import losses
from hybridseg import models
from hybridseg import train_step as train_step_lib
from tests import tiny_step as tiny

_FEATURES = (1, 2, 3, 4)


def _init(key):
  """Returns the tiny network with a second, coarser output."""
  params = tiny.init_tiny(key)
  return params | {'head_1': jax.tree.map(lambda x: 0.5 * x, params['head'])}


def _coarser(params, images):
  logits, features = tiny.features_tiny(params, images)
  head = params['head_1']
  bias = head['bias'].reshape(1, 1, 1, -1)
  coarse = features[:, ::2, ::2] @ head['kernel'][0, 0] + bias
  return logits, features, (coarse,)


def _step(rule, coarser_fn, *, scale=0.0):
  weighting = train_step_lib.Weighting(name=rule, learning_rate=0.2)
  co_reg = train_step_lib.CoRegularization(scale=scale)
  optimizer = optax.sgd(0.1)
  step = jax.jit(train_step_lib.make_train_step(
      tiny.apply_tiny, optimizer, num_classes=tiny.NUM_CLASSES,
      features_fn=tiny.features_tiny, augment_fn=tiny.no_augmentation,
      supervision=tiny.SUPERVISION, weighting=weighting, co_reg=co_reg,
      coarser_fn=coarser_fn))
  state = train_step_lib.init_state(
      _init, optimizer, jax.random.key(0), num_weak=tiny.NUM_WEAK,
      indicator_value=0.5, weighting=weighting, co_reg=co_reg)
  return state, *step(state, tiny.random_batch(0), jax.random.key(1))


class DeepSupervisionTest(parameterized.TestCase):

  def test_weights_halve_and_sum_to_one(self):
    self.assertEqual(deep_supervision.output_weights(1), (1,))
    self.assertEqual(
        deep_supervision.output_weights(3), (4 / 7, 2 / 7, 1 / 7))

  def test_loss_by_hand(self):
    # Each loss is the sum of the logits where a pixel of class 1 is labelled.
    loss = lambda logits, labels, where, images: jnp.sum(
        logits[..., 1] * labels[..., 1] * where + images[..., 0], (1, 2))
    labels = np.zeros((1, 4, 4, 2))
    labels[0, 3, 1, 1] = labels[0, 0, 0, 1] = 1
    where = np.ones((1, 4, 4), bool)
    where[0, 0, 0] = False
    images = np.zeros((1, 4, 4, 1))
    images[0, 1, 3] = 100
    fine = np.arange(32.0).reshape(1, 4, 4, 2)  # 27 at pixel (3, 1).
    coarse = np.arange(8.0).reshape(1, 2, 2, 2)  # 5 at (1, 0), which is (3, 1).
    found = deep_supervision.combined_losses(
        loss, (fine, coarse), labels, where, images)
    np.testing.assert_allclose(
        found, [2 / 3 * (27 + 100) + 1 / 3 * (5 + 100)], rtol=1e-6)

  def test_a_step_by_hand(self):
    state, new, metrics = _step('uniform', _coarser)
    batch = tiny.random_batch(0)

    def total(params):
      result = 0
      for examples, loss_fn, scale in (
          (batch.strong, losses.cross_entropy_dice_loss, 1.0),
          (batch.weak, losses.cross_entropy_loss, 0.7)):
        labels, where = losses.one_hot_labels(
            examples.label, tiny.NUM_CLASSES)
        logits, _, (coarse,) = _coarser(params, examples.image / 255.0)
        values = 2 / 3 * loss_fn(logits, labels, where=where) + (
            1 / 3 * loss_fn(coarse, labels[:, 1::2, 1::2],
                            where=where[:, 1::2, 1::2]))
        result += scale * jnp.mean(values)
      return result

    value_and_grad = jax.jit(jax.value_and_grad(total))
    values = []
    for before, after in zip(state.params, new.params, strict=True):
      value, grads = value_and_grad(before)
      values.append(value)
      self.assertGreater(np.abs(grads['head_1']['kernel']).max(), 1e-3)
      chex.assert_trees_all_close(
          after, jax.tree.map(lambda p, g: p - 0.1 * g, before, grads),
          rtol=1e-4, atol=1e-6)
    self.assertAlmostEqual(
        float(metrics['strong_loss'] + 0.7 * metrics['weak_loss']),
        float(sum(values) / 2), places=4)

  def test_the_finest_output_decides_the_indicators(self):
    _, deep, _ = _step('dii_last_layer', _coarser, scale=0.5)
    _, plain, _ = _step('dii_last_layer', None, scale=0.5)
    self.assertGreater(np.ptp(plain.indicators.weights), 0.05)
    chex.assert_trees_all_close(
        deep.indicators.weights, plain.indicators.weights, rtol=1e-4)
    # Without deep supervision, nothing moves the coarser output.
    self.assertFalse(np.array_equal(
        deep.params[0]['head_1']['bias'], plain.params[0]['head_1']['bias']))

  def test_rules_that_see_all_layers_are_refused(self):
    for rule in ('dii', 'l2rw'):
      with self.assertRaisesRegex(ValueError, '^Deep supervision leaves the'):
        _step(rule, _coarser)


class NetworksTest(parameterized.TestCase):

  @parameterized.parameters(
      ('unet', (8, 8, 16)), ('residual_unet', (8, 16)))
  def test_coarser_outputs(self, name, size):
    build = lambda deep: models.build(name, num_classes=3, options=dict(
        features=_FEATURES, deep_supervision=deep))
    images = jnp.zeros((2, *size, 1))
    plain, deep = build(False), build(True)
    shapes = [jax.eval_shape(m.init, jax.random.key(0), images)['params']
              for m in (plain, deep)]
    self.assertEqual(set(shapes[1]) - set(shapes[0]), {'head_1'})
    self.assertEqual(shapes[1]['head_1']['kernel'].shape[-2:], (2, 3))
    found = jax.eval_shape(
        lambda p: deep.apply({'params': p}, images, return_coarser=True),
        shapes[1])
    logits, features, (coarse,) = found
    self.assertEqual(logits.shape, (2, *size, 3))
    self.assertEqual(features.shape, (2, *size, 1))
    self.assertEqual(coarse.shape, (2, *(n // 2 for n in size), 3))
    self.assertEqual(jax.eval_shape(
        lambda p: plain.apply({'params': p}, images, return_coarser=True),
        shapes[0])[2], ())

  def test_wrong_options(self):
    with self.assertRaisesRegex(ValueError, 'use True or False'):
      models.build('unet', num_classes=2, options=dict(deep_supervision=1))
    few = models.build('unet', num_classes=2, options=dict(
        features=(1, 1, 1), deep_supervision=True))
    with self.assertRaisesRegex(
        ValueError, 'deep_supervision needs 4 levels, and features has 3'):
      jax.eval_shape(few.init, jax.random.key(0), jnp.zeros((1, 8, 8, 1)))


if __name__ == '__main__':
  absltest.main()
