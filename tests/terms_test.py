"""Tests for hybridseg.terms, and for the modules that compute the terms."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from hybridseg import augmentation
from hybridseg import losses
from hybridseg import mixing
from hybridseg import terms
from hybridseg import train_step as train_step_lib
from tests import tiny_step as tiny


class TermTest(absltest.TestCase):

  def test_the_gradients_of_a_sum_each_with_its_factor(self):
    term = lambda grads, factor: terms.Term(
        'x', jnp.zeros(()), grads, jnp.zeros(2, bool), factor)
    pair = lambda *values: tuple({'a': jnp.float32([v])} for v in values)
    total = terms.total_grads([
        term(pair(1, 2), 0.5), term(None, 3.0), term(pair(10, 20), 2.0)])
    # The sums are 0.5 * 1 + 2 * 10 and 0.5 * 2 + 2 * 20. A term without
    # gradients, whose loss is only reported, adds nothing.
    chex.assert_trees_all_equal(total, pair(20.5, 41))

  def test_strong_term(self):
    # The loss of instance i is p * x_i. The network with p = 1 has the losses 1
    # and 3, and the one with p = 2 has 2 and 6: their means are 2 and 4, and
    # the gradient of either mean is 2.
    fn = terms.strong_fn(
        lambda p, x: p * x, lambda logits, labels, where: logits,
        jnp.float32([1, 3]), None, None)
    make = functools.partial(
        terms.strong_term, fn, (jnp.float32(1), jnp.float32(2)), factor=0.5,
        axis_name=None)
    term = make(has_grads=True)
    self.assertEqual(
        (term.name, term.loss, term.grads, term.factor),
        ('strong', 3, (2, 2), 0.5))
    np.testing.assert_array_equal(term.is_bad, [False, False])
    self.assertEqual(make(has_grads=False).grads, (0, 0))
    self.assertEqual(make(has_grads=False).loss, 3)


class TaughtTest(parameterized.TestCase):

  @parameterized.parameters(
      ('indicator', 0.25, 0.25), ('complement', 0.25, 0.75), ('one', 0.25, 1.0),
      ('complement', 1.5, 0.0))
  def test_trust_in_pseudo_labels(self, name, weight, expected):
    trust = train_step_lib.TRUSTS[name](jnp.full((2,), weight))
    np.testing.assert_allclose(trust, [expected] * 2)

  def test_full_trust_in_weak_labels_leaves_no_pseudo_labels(self):
    state, batch = tiny.init_state(), tiny.random_batch(0)
    key = jax.random.key(7)
    states = [
        jax.jit(tiny.make_step(train_step_lib.Weighting(), co_reg=co_reg))(
            state, batch, key)[0]
        for co_reg in (
            train_step_lib.CoRegularization(scale=1.0, trust='complement'),
            train_step_lib.CoRegularization())
    ]
    chex.assert_trees_all_close(*states, rtol=1e-6)

  @parameterized.parameters('other', 'self')
  def test_without_mixing_each_learns_what_is_said_of_the_image(self, teacher):
    state, batch = tiny.init_state(), tiny.random_batch(0)
    step = jax.jit(tiny.make_step(
        train_step_lib.Weighting(),
        supervision=tiny.SUPERVISION._replace(weak_scale=0.0),
        co_reg=train_step_lib.CoRegularization(
            scale=0.5, trust='one', mixing='none', teacher=teacher)))
    new, _ = step(state, batch, jax.random.key(7))
    # Neither the weak labels nor the random key may influence the step.
    other, _ = step(
        state, batch._replace(weak=batch.weak._replace(
            label=tiny.random_batch(1).weak.label)), jax.random.key(8))
    chex.assert_trees_all_equal(new, other)
    strong_only, _ = jax.jit(tiny.make_step(
        train_step_lib.Weighting(),
        supervision=tiny.SUPERVISION._replace(weak_scale=0.0),
        co_reg=train_step_lib.CoRegularization()))(
            state, batch, jax.random.key(7))
    images = augmentation.to_float(batch.weak.image)
    for this in range(2):
      that = this if teacher == 'self' else 1 - this
      pseudo = jnp.argmax(tiny.apply_tiny(state.params[that], images), -1)
      grads = jax.grad(lambda p, t=pseudo: jnp.mean(
          optax.softmax_cross_entropy_with_integer_labels(
              tiny.apply_tiny(p, images), t)))(state.params[this])
      chex.assert_trees_all_close(
          new.params[this], jax.tree.map(
              lambda p, g: p - 0.5 * tiny.LEARNING_RATE * g,
              strong_only.params[this], grads), rtol=1e-5, atol=1e-6)

  def test_refuses_unknown_mixing(self):
    with self.assertRaisesRegex(ValueError, "mixing 'mixup'; known"):
      tiny.make_step(train_step_lib.Weighting(),
                co_reg=train_step_lib.CoRegularization(mixing='mixup'))

  def test_refuses_unknown_trust(self):
    with self.assertRaisesRegex(ValueError, "trust 'ones'; known"):
      tiny.make_step(train_step_lib.Weighting(),
                co_reg=train_step_lib.CoRegularization(trust='ones'))


class MeanTeacherTest(absltest.TestCase):

  _PARTS = train_step_lib.CoRegularization(
      scale=0.5, trust='one', teacher='mean', decay=0.9)

  def _step(self, **parts):
    return tiny.make_step(
        train_step_lib.Weighting(),
        supervision=tiny.SUPERVISION._replace(weak_scale=0.0),
        co_reg=self._PARTS._replace(**parts))

  def _state(self):
    """Returns a state whose teachers differ from its networks."""
    state = train_step_lib.init_state(
        tiny.init_tiny, optax.sgd(tiny.LEARNING_RATE), jax.random.key(0),
        num_weak=tiny.NUM_WEAK, co_reg=self._PARTS)
    chex.assert_trees_all_equal(state.teachers, state.params)
    return state._replace(teachers=tiny.init_state(seed=1).params)

  def test_equals_the_formulas(self):
    state, batch, key = self._state(), tiny.random_batch(0), jax.random.key(7)
    new, _ = jax.jit(self._step())(state, batch, key)
    strong_only, _ = jax.jit(self._step(scale=0.0))(
        state._replace(teachers=None), batch, key)
    images = augmentation.to_float(batch.weak.image)
    mix_key = jax.random.split(jax.random.fold_in(key, 0), 3)[2]
    mix = functools.partial(mixing.mix_pairs, mixing.cutmix_masks(
        train_step_lib.instance_keys(mix_key, 4), (8, 8)))
    for i, teacher in enumerate(state.teachers):
      grads = jax.grad(lambda p, t=teacher: jnp.mean(jnp.sum(jnp.square(
          jax.nn.softmax(tiny.apply_tiny(p, mix(images)))
          - jax.nn.softmax(mix(tiny.apply_tiny(t, images)))), -1)))(
              state.params[i])
      chex.assert_trees_all_close(
          new.params[i], jax.tree.map(
              lambda p, g: p - 0.5 * tiny.LEARNING_RATE * g,
              strong_only.params[i], grads), rtol=1e-5, atol=1e-6)
      # After the first step, the teacher is the mean of its old parameters and
      # the network's new ones.
      chex.assert_trees_all_close(
          new.teachers[i], jax.tree.map(
              lambda t, p: (t + p) / 2, teacher, new.params[i]), rtol=1e-6)

  def test_the_means_predict(self):
    state = self._state()
    self.assertIs(train_step_lib.eval_params(state), state.teachers)
    other = tiny.init_state()
    self.assertIs(train_step_lib.eval_params(other), other.params)

  def test_swapping_the_networks_swaps_the_means(self):
    swap = lambda s: s._replace(
        params=s.params[::-1], opt_states=s.opt_states[::-1],
        teachers=s.teachers[::-1])
    state, step = self._state(), jax.jit(self._step())
    swapped = swap(state)
    for i in range(2):
      state, swapped = (
          step(s, tiny.random_batch(i), jax.random.key(7))[0]
          for s in (state, swapped))
    # The results may differ in the last digit, because the compiler fuses the
    # operations of the two networks differently.
    chex.assert_trees_all_close(swap(swapped), state, rtol=1e-6, atol=1e-6)

  def test_a_bad_update_leaves_the_means(self):
    state = self._state()
    step = jax.jit(self._step())
    bad_params = jax.tree.map(lambda x: x * np.nan, state.params[1])
    bad_mean = jax.tree.map(lambda x: x * np.inf, state.teachers[1])
    for bad in (state._replace(params=(state.params[0], bad_params)),
                state._replace(teachers=(state.teachers[0], bad_mean))):
      new, metrics = step(bad, tiny.random_batch(0), jax.random.key(7))
      self.assertEqual(metrics['skipped'], 1)
      chex.assert_trees_all_equal(new.params, bad.params)
      chex.assert_trees_all_equal(new.teachers, bad.teachers)
    self.assertTrue(metrics['nonfinite']['terms']['update'])
    self.assertTrue(metrics['nonfinite']['weak'].all())

  def test_shards_equal_single(self):
    batch, key = tiny.random_batch(0), jax.random.key(7)
    single, expected = jax.jit(self._step())(self._state(), batch, key)
    step = train_step_lib.make_train_step(
        tiny.apply_tiny, optax.sgd(tiny.LEARNING_RATE),
        num_classes=tiny.NUM_CLASSES, augment_fn=tiny.no_augmentation,
        supervision=tiny.SUPERVISION._replace(weak_scale=0.0),
        co_reg=self._PARTS, axis_name='batch')
    halves = jax.tree.map(lambda x: x.reshape(2, 2, *x.shape[1:]), batch)
    sharded, metrics = jax.jit(jax.vmap(
        step, in_axes=(None, 0, None), axis_name='batch'))(
            self._state(), halves, key)
    for shard in range(2):
      chex.assert_trees_all_close(
          jax.tree.map(lambda x, i=shard: x[i], sharded), single, rtol=1e-5,
          atol=1e-6)
    np.testing.assert_allclose(
        metrics['co_reg_loss'], [expected['co_reg_loss']] * 2, rtol=1e-5)

  def test_a_state_without_means_is_refused(self):
    with self.assertRaisesRegex(ValueError, 'holds no mean teachers'):
      self._step()(tiny.init_state(), tiny.random_batch(0), jax.random.key(7))

  def test_unknown_teacher(self):
    with self.assertRaisesRegex(ValueError, "teacher 'ema'; known"):
      self._step(teacher='ema')


class WeakHeadTest(parameterized.TestCase):

  def _step(self, **changes):
    parts = dict(
        weighting=train_step_lib.Weighting(),
        co_reg=train_step_lib.CoRegularization(),
        supervision=tiny.SUPERVISION._replace(weak_head=True)) | changes
    return tiny.make_step(**parts)

  def _state(self):
    """Returns a state whose weak heads differ from the strong heads."""
    state = tiny.init_state(weak_head=True)
    weak_heads = [p['head'] for p in tiny.init_state(seed=1).params]
    return state._replace(params=tuple(
        {**p, 'weak_head': h}
        for p, h in zip(state.params, weak_heads, strict=True)))

  def test_equals_the_formulas(self):
    state, batch = self._state(), tiny.random_batch(0)
    new, _ = jax.jit(self._step())(state, batch, jax.random.key(7))

    def term(loss_fn, params, examples):
      images = augmentation.to_float(examples.image)
      labels, where = losses.one_hot_labels(examples.label, tiny.NUM_CLASSES)
      logits = tiny.apply_tiny(params, images)
      return jnp.mean(loss_fn(logits, labels, where=where))

    def objective(params):
      by_weak_head = {'conv': params['conv'], 'head': params['weak_head']}
      strong = term(tiny.SUPERVISION.strong_loss_fn, params, batch.strong)
      weak = term(tiny.SUPERVISION.weak_loss_fn, by_weak_head, batch.weak)
      return strong + tiny.SUPERVISION.weak_scale * weak

    for before, after in zip(state.params, new.params, strict=True):
      chex.assert_trees_all_close(
          after, jax.tree.map(
              lambda p, g: p - tiny.LEARNING_RATE * g, before,
              jax.grad(objective)(before)), rtol=1e-5, atol=1e-6)

  def test_each_head_learns_its_own_labels_and_both_move_what_they_share(self):
    state, batch, key = self._state(), tiny.random_batch(0), jax.random.key(7)
    step = jax.jit(self._step())
    new, _ = step(state, batch, key)
    for role, own, others in (
        ('strong', 'head', 'weak_head'), ('weak', 'weak_head', 'head')):
      other, _ = step(state, batch._replace(
          **{role: getattr(tiny.random_batch(1), role)}), key)
      for one, two in zip(new.params, other.params, strict=True):
        chex.assert_trees_all_equal(one[others], two[others])
        for name in own, 'conv':
          with self.assertRaises(AssertionError):
            chex.assert_trees_all_close(one[name], two[name])

  def test_starts_as_a_copy_and_does_not_predict(self):
    state, plain = tiny.init_state(weak_head=True), tiny.init_state()
    for params in state.params:
      chex.assert_trees_all_equal(params['weak_head'], params['head'])
    chex.assert_trees_all_equal(
        train_step_lib.eval_params(state), plain.params)

  @parameterized.parameters(
      dict(weighting=train_step_lib.Weighting(name='dii')),
      dict(co_reg=tiny.CO_REG),
      dict(supervision=tiny.SUPERVISION._replace(
          weak_head=True, strong_scale=0.0)))
  def test_refuses(self, **changes):
    with self.assertRaisesRegex(ValueError, 'A weak_head keeps weak labels'):
      self._step(**changes)

  def test_needs_features(self):
    with self.assertRaisesRegex(ValueError, 'weak_head needs a features_fn'):
      train_step_lib.make_train_step(
          tiny.apply_tiny, optax.sgd(0.1), num_classes=tiny.NUM_CLASSES,
          augment_fn=tiny.no_augmentation,
          supervision=tiny.SUPERVISION._replace(weak_head=True))


if __name__ == '__main__':
  absltest.main()
