"""Tests of hybridseg.class_losses, and of indicators per class."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
import optax

from hybridseg import class_losses
from hybridseg import indicators
from hybridseg import losses
from hybridseg import parallel
from hybridseg import train_step as train_step_lib
from hybridseg import types
from hybridseg import weighting as weighting_lib
from tests import tiny_step

_PAIRS = {
    'balanced_cross_entropy': (
        class_losses.balanced_cross_entropy,
        losses.balanced_cross_entropy_loss),
    'cross_entropy': (class_losses.cross_entropy, losses.cross_entropy_loss),
    'cross_entropy_dice': (
        class_losses.cross_entropy_dice, losses.cross_entropy_dice_loss),
    'soft_dice': (class_losses.soft_dice, losses.soft_dice_loss),
}


def _data(num_classes, seed=0, size=(4, 5, 6)):
  """Returns logits, one-hot labels, and labelled pixels."""
  rng = np.random.default_rng(seed)
  logits = jnp.asarray(
      rng.normal(size=(*size, num_classes)), jnp.float32)
  label = rng.integers(num_classes, size=size, dtype=np.uint8)
  label[rng.random(size) < 0.3] = types.UNLABELLED
  label[0][label[0] == 1] = 0  # Without class 1.
  label[1] = types.UNLABELLED
  return logits, *losses.one_hot_labels(jnp.asarray(label), num_classes)


class ClassLossesTest(parameterized.TestCase):

  def test_cross_entropy_by_hand(self):
    # Three pixels with the probabilities 1/2, 1/8, 3/8: background, class 2,
    # and one that does not count.
    logits = jnp.log(jnp.full((1, 3, 3), jnp.array([4.0, 1.0, 3.0])))
    labels = jnp.eye(3)[jnp.array([[0, 2, 1]])]
    where = jnp.array([[True, True, False]])
    # Background is shared as 1 to 3.
    background, lesion = np.log(2), np.log(8 / 3)
    np.testing.assert_allclose(
        class_losses.cross_entropy(logits, labels, where=where),
        [[background / 8, (3 * background / 4 + lesion) / 2]], rtol=1e-6)

  def test_soft_dice_by_hand(self):
    logits = jnp.log(jnp.full((1, 2, 3), jnp.array([4.0, 1.0, 3.0])))
    labels = jnp.eye(3)[jnp.array([[0, 2]])]
    background, organ, lesion = 1 - 1 / 2, 1.0, 1 - 0.75 / 1.75
    np.testing.assert_allclose(
        class_losses.soft_dice(logits, labels, epsilon=0.0),
        [[(organ + background / 2) / 3, (lesion + background / 2) / 3]],
        rtol=1e-6)

  @parameterized.product(name=sorted(_PAIRS), num_classes=(2, 4))
  def test_parts_add_up_to_the_loss_and_to_its_gradient(
      self, name, num_classes):
    @jax.jit
    def parts_and_grads(logits, labels, where):
      fns = [lambda x, fn=fn: fn(x, labels, where=where) for fn in _PAIRS[name]]
      return [(fn(logits), jax.grad(lambda x, fn=fn: jnp.sum(fn(x)))(logits))
              for fn in fns]

    (parts, grad), (loss, grad_of_loss) = parts_and_grads(*_data(num_classes))
    self.assertEqual(parts.shape, (4, num_classes - 1))
    np.testing.assert_allclose(parts.sum(-1), loss, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(grad, grad_of_loss, rtol=1e-4, atol=1e-7)
    if name != 'soft_dice':
      self.assertGreater(np.abs(parts[0]).min(), 0)
    np.testing.assert_array_equal(parts[1], 0)  # Nothing is labelled.

  @parameterized.parameters(*sorted(_PAIRS))
  def test_exchanged_classes_exchange_the_parts(self, name):
    by_class, _ = _PAIRS[name]
    logits, labels, where = _data(3)
    order = np.array([0, 2, 1])
    np.testing.assert_allclose(
        by_class(logits[..., order], labels[..., order], where=where),
        by_class(logits, labels, where=where)[:, ::-1], rtol=1e-5)

  @parameterized.parameters(*sorted(_PAIRS))
  def test_what_does_not_count_may_be_nan(self, name):
    by_class, _ = _PAIRS[name]
    logits, labels, where = _data(3)
    spoilt = jnp.where(where[..., None], logits, jnp.nan)
    fn = lambda x: by_class(x, labels, where=where)
    np.testing.assert_array_equal(fn(spoilt), fn(logits))
    grad = jax.jit(jax.grad(lambda x: jnp.sum(fn(x))))(spoilt)
    self.assertTrue(np.isfinite(grad).all())

  def test_a_missing_object_counts_against_its_class(self):
    # The network sees class 2 where the annotation says background.
    logits = jnp.full((1, 9, 3), jnp.array([0.0, -2.0, 4.0]))
    labels = jnp.eye(3)[jnp.zeros((1, 9), int)]
    one, two = class_losses.cross_entropy(logits, labels)[0]
    self.assertGreater(two, 100 * one)


def _softmax(x):
  exp = np.exp(x - x.max(-1, keepdims=True))
  return exp / exp.sum(-1, keepdims=True)


class GradientsTest(parameterized.TestCase):

  def test_finite_differences_of_the_lookahead(self):
    """In float64, by hand, for a linear network and the cross entropy."""
    rng = np.random.default_rng(1)
    theta, step = rng.normal(size=(3, 3)), 0.5
    x, y = rng.normal(size=(4, 7, 3)), rng.normal(size=(4, 7, 3))
    weak, strong = (np.eye(3)[rng.integers(3, size=(4, 7))] for _ in range(2))
    weights = rng.uniform(0.2, 0.8, size=(4, 2))

    def by_hand(w):
      """Returns strong(theta - step * grad (1 / B) sum_kc w_kc weak_kc)."""
      probs = _softmax(x @ theta)
      shares = weak[..., 1:] + weak[..., :1] * _softmax((x @ theta)[..., 1:])
      pixel = np.einsum('bpc,bc->bp', shares, w) / (4 * 7)
      grad = np.einsum('bpi,bpk,bp->ik', x, probs - weak, pixel)
      ahead = _softmax(y @ (theta - step * grad))
      return -np.mean(np.log((ahead * strong).sum(-1)))

    wanted = np.zeros((4, 2))
    for place in np.ndindex(4, 2):
      shift = np.zeros((4, 2))
      shift[place] = 1e-4
      wanted[place] = (
          by_hand(weights + shift) - by_hand(weights - shift)) / 2e-4
    f32 = jnp.float32
    # The library averages over all losses it is given, 4 * 2 of them.
    weak_fn = lambda p: 2 * class_losses.cross_entropy(
        f32(x) @ p, f32(weak)).ravel()
    strong_fn = lambda p: jnp.mean(
        losses.cross_entropy_loss(f32(y) @ p, f32(strong)))
    for method in ('grad', 'forward'):
      found = weighting_lib.lookahead_weight_grads(
          weak_fn, strong_fn, f32(theta), f32(weights).ravel(), step_size=step,
          method=method)
      np.testing.assert_allclose(
          found.reshape(4, 2), wanted, rtol=1e-3, atol=1e-7)


_BY_CLASS = tiny_step.SUPERVISION._replace(
    weak_loss_fn=class_losses.cross_entropy,
    alignment_loss_fn=losses.prior_free(class_losses.cross_entropy))


@functools.cache
def _step(weighting, supervision, num_classes, co_reg):
  """Returns a step, which each process traces once."""
  return jax.jit(train_step_lib.make_train_step(
      tiny_step.apply_tiny, optax.sgd(tiny_step.LEARNING_RATE),
      num_classes=num_classes, features_fn=tiny_step.features_tiny,
      augment_fn=tiny_step.no_augmentation, supervision=supervision,
      weighting=weighting, co_reg=co_reg))


def _batch(seed):
  return tiny_step.random_batch(seed, num_strong=4, num_weak=8, size=(4, 4))


def _run(weighting, supervision, *, num_classes=3, batch_fn=_batch,
         params_fn=lambda params: params, co_reg=tiny_step.CO_REG):
  """Returns the state and the metrics after two steps."""
  state = tiny_step.init_state(
      weighting=weighting, num_classes=num_classes, co_reg=co_reg)
  state = state._replace(params=params_fn(state.params))
  step = _step(weighting, supervision, num_classes, co_reg)
  for i in range(2):
    state, metrics = step(state, batch_fn(i), jax.random.key(3))
  return state, metrics


def _relabelled(values):
  """Returns a function that gives batches whose classes have new values."""
  new = np.append(values, [types.UNLABELLED]).astype(np.uint8)
  swap = lambda e: e._replace(label=new[np.minimum(e.label, 3)])
  return lambda seed: types.HybridBatch(*map(swap, _batch(seed)))


def _with_outputs(order):
  """Returns a function that takes outputs of the last layer in an order."""
  return lambda params: tuple(
      {**p, 'head': {k: v[..., order] for k, v in p['head'].items()}}
      for p in params)


def _weighting(name='dii', **options):
  return train_step_lib.Weighting(
      name=name, learning_rate=0.1, without_common_harm=True, **options)


class StepTest(parameterized.TestCase):

  def test_one_foreground_class_equals_one_indicator(self):
    kwargs = dict(num_classes=2, batch_fn=_relabelled([0, 1, 1]),
                  params_fn=_with_outputs(np.array([0, 1])),
                  co_reg=train_step_lib.CoRegularization(scale=0.0))
    one, metrics = _run(_weighting(), tiny_step.SUPERVISION, **kwargs)
    by_class, metrics_by_class = _run(
        _weighting(per_class=True), _BY_CLASS, **kwargs)
    self.assertEqual(by_class.indicators.weights.shape, (12, 1))
    self.assertGreater(np.ptp(one.indicators.weights), 0.05)
    np.testing.assert_allclose(
        by_class.indicators.weights[:, 0], one.indicators.weights, rtol=1e-4)
    np.testing.assert_array_equal(
        by_class.indicators.num_updates[:, 0], one.indicators.num_updates)
    for a, b in zip(jax.tree.leaves(by_class.params),
                    jax.tree.leaves(one.params), strict=True):
      np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(
        metrics_by_class['weak_loss'], metrics['weak_loss'], rtol=1e-5)

  def test_method_grad_equals_forward(self):
    forward, _ = _run(_weighting(per_class=True), _BY_CLASS)
    grad, _ = _run(_weighting(per_class=True, method='grad'), _BY_CLASS)
    self.assertGreater(np.ptp(forward.indicators.weights, -1).max(), 0.05)
    np.testing.assert_allclose(
        grad.indicators.weights, forward.indicators.weights, rtol=1e-3)

  def test_exchanged_classes_exchange_the_indicators(self):
    order = np.array([0, 2, 1])
    found, _ = _run(_weighting(per_class=True), _BY_CLASS)
    other, _ = _run(
        _weighting(per_class=True), _BY_CLASS, batch_fn=_relabelled(order),
        params_fn=_with_outputs(order))
    np.testing.assert_allclose(
        other.indicators.weights[:, ::-1], found.indicators.weights, rtol=1e-3)

  def test_four_devices_equal_one(self):
    weighting = _weighting(per_class=True)
    mapping = parallel.make_mapping('pmap')
    self.assertEqual(jax.device_count(), 4)
    step = mapping.step(train_step_lib.make_train_step(
        tiny_step.apply_tiny, optax.sgd(tiny_step.LEARNING_RATE), num_classes=3,
        features_fn=tiny_step.features_tiny,
        augment_fn=tiny_step.no_augmentation, supervision=_BY_CLASS,
        weighting=weighting, co_reg=tiny_step.CO_REG,
        axis_name=mapping.axis_name))
    state = mapping.replicate(
        tiny_step.init_state(weighting=weighting, num_classes=3))
    key = mapping.replicate(jax.random.key(3))
    for i in range(2):
      state, _ = step(state, mapping.place_batch(_batch(i)), key)
    one, _ = _run(weighting, _BY_CLASS)
    np.testing.assert_allclose(
        parallel.to_host(state).indicators.weights, one.indicators.weights,
        rtol=1e-4, atol=1e-6)

  @parameterized.parameters(
      (dict(name='uniform'), {}, 'has no indicators: use per_class=False'),
      (dict(method='per_instance'), dict(alignment_loss_fn=None), "'forward'"),
      ({}, dict(by_kind=True), 'by kind are not divided among classes'))
  def test_refuses(self, weighting, supervision, message):
    with self.assertRaisesRegex(ValueError, message):
      _step(_weighting(**weighting)._replace(per_class=True),
            _BY_CLASS._replace(**supervision), 3, tiny_step.CO_REG)

  def test_refuses_losses_of_instances(self):
    with self.assertRaisesRegex(ValueError, r'per_class wants losses \(8, 2\)'):
      _run(_weighting(per_class=True), tiny_step.SUPERVISION)
    with self.assertRaisesRegex(ValueError, 'needs num_classes'):
      tiny_step.init_state(weighting=_weighting(per_class=True))


class IndicatorsTest(absltest.TestCase):

  def test_by_hand(self):
    state = indicators.init_indicators(3, value=0.5, num_classes=3)
    ids = jnp.array([2, -1, 0, 2])
    slopes = jnp.array([[1.0, -1.0], [9.0, 9.0], [jnp.nan, 2.0], [1.0, 0.0]])
    state = indicators.update_indicators(
        state, ids, slopes, learning_rate=0.1)
    np.testing.assert_allclose(
        state.weights, [[0.5, 0.3], [0.5, 0.5], [0.3, 0.6]], rtol=1e-6)
    np.testing.assert_array_equal(
        state.num_updates, [[0, 1], [0, 0], [1, 1]])
    np.testing.assert_allclose(
        indicators.gather_indicators(state, ids),
        [[0.3, 0.6], [1, 1], [0.5, 0.3], [0.3, 0.6]], rtol=1e-6)
    means = indicators.of_instances(state)
    np.testing.assert_allclose(means.weights, [0.4, 0.5, 0.45], rtol=1e-6)
    np.testing.assert_array_equal(means.num_updates, [1, 0, 1])
    self.assertIs(indicators.of_instances(means), means)
    with self.assertRaisesRegex(ValueError, r'slopes \[B, 2\], got'):
      indicators.update_indicators(
          state, ids, slopes[:, 0], learning_rate=0.1)


if __name__ == '__main__':
  absltest.main()
