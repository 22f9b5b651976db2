"""Tests that a rule that is added to hybridseg.weight_rules works in the step.

The formulas of the existing rules are tested in train_step_test.
"""

import functools
from typing import NamedTuple
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np

from experiments.saving import checkpoints
from hybridseg import indicator_step
from hybridseg import method_parts
from hybridseg import train_step as train_step_lib
from hybridseg import weight_rules
from tests import tiny
from tests import tiny_step


class RunningLoss(NamedTuple):
  """State of a toy rule: the mean of the losses of past batches."""

  mean: jax.Array
  num_batches: jax.Array


def _weigh_by_running_loss(weighting, state, batch, *, axis_name):
  """Returns w_k = mean / (mean + loss_k); the mean includes this batch."""
  del axis_name
  share = weighting.learning_rate
  own = RunningLoss(
      (1 - share) * state.own.mean + share * jnp.mean(batch.losses),
      state.own.num_batches + 1)
  weights = own.mean / (own.mean + batch.losses)
  return method_parts.Weighed(weights, state._replace(own=own))


_TOY = method_parts.WeightingRule(
    _weigh_by_running_loss,
    init=lambda key, num_weak: RunningLoss(
        1 + jax.random.uniform(key), jnp.zeros((), jnp.int32)),
    needs_alignments=False)
_WEIGHTING = train_step_lib.Weighting(name='toy', learning_rate=0.25)


@functools.cache
def _jitted_step():
  return jax.jit(tiny_step.make_step(_WEIGHTING))


class OwnRuleTest(absltest.TestCase):
  """Adds a rule with a state to the table of rules."""

  def setUp(self):
    super().setUp()
    self.enterContext(mock.patch.dict(weight_rules.RULES, toy=_TOY))
    self.state = tiny_step.init_state(weighting=_WEIGHTING)
    self.step = _jitted_step()

  def test_its_state_is_carried_and_its_weights_are_used(self):
    mean = float(self.state.weight_net.mean)
    self.assertBetween(mean, 1, 2)
    state = self.state
    for i in range(2):
      state, metrics = self.step(
          state, tiny_step.random_batch(i), jax.random.key(7))
      mean = 0.75 * mean + 0.25 * float(metrics['weak_loss'])
      self.assertAlmostEqual(float(state.weight_net.mean), mean, places=5)
      self.assertEqual(state.weight_net.num_batches, i + 1)
      self.assertBetween(metrics['mean_weight'], 0.1, 0.9)
      # The rule uses no alignments, so none can be reported as non-finite.
      self.assertNotIn('alignment', metrics['nonfinite']['terms'])
    batch, key = tiny_step.random_batch(0), jax.random.key(7)
    one, other = (
        self.step(self.state._replace(weight_net=own), batch, key)[0]
        .params[0]['conv']
        for own in (self.state.weight_net, state.weight_net._replace(
            mean=jnp.float32(100))))
    self.assertGreater(np.abs(one - other).max(), 1e-3)

  def test_a_bad_step_leaves_its_state(self):
    bad = self.state._replace(params=jax.tree.map(
        lambda x: x * np.nan, self.state.params))
    new, metrics = self.step(
        bad, tiny_step.random_batch(0), jax.random.key(7))
    self.assertEqual((metrics['skipped'], new.num_skipped), (1, 1))
    chex.assert_trees_all_equal(new.weight_net, self.state.weight_net)
    # A state of the rule that becomes infinite by itself is noticed as well.
    bad = self.state._replace(
        weight_net=self.state.weight_net._replace(mean=jnp.float32(np.inf)))
    new, metrics = self.step(
        bad, tiny_step.random_batch(0), jax.random.key(7))
    self.assertTrue(metrics['nonfinite']['terms']['update'])
    chex.assert_trees_all_equal(new.params, self.state.params)

  def test_a_checkpoint_holds_its_state(self):
    state = jax.device_get(self.step(
        self.state, tiny_step.random_batch(0), jax.random.key(7))[0])
    store = checkpoints.Checkpoints(tiny.temp_dir(self), run_id='run')
    store.save(1, state, {}, list)
    store.wait()
    restored = store.restore(self.state)
    chex.assert_trees_all_equal(restored.state.weight_net, state.weight_net)
    self.assertEqual(
        checkpoints.state_sha256(restored.state),
        checkpoints.state_sha256(state))

  def test_a_state_of_another_rule_is_refused(self):
    with self.assertRaisesRegex(ValueError, "nothing of weighting 'toy'"):
      self.step(tiny_step.init_state(), tiny_step.random_batch(0),
                jax.random.key(7))

  def test_alignments_must_be_announced(self):
    weight_rules.RULES['toy'] = weight_rules.RULES['l2rw']._replace(
        needs_alignments=False)
    with self.assertRaisesRegex(ValueError, 'needs_alignments=True'):
      jax.eval_shape(
          tiny_step.make_step(_WEIGHTING), self.state,
          tiny_step.random_batch(0), jax.random.key(7))

  def test_no_indicators(self):
    with self.assertRaisesRegex(
        ValueError, "'toy' has no indicators to move; known: .'dii',"):
      indicator_step.make_indicator_step(
          tiny_step.apply_tiny, num_classes=tiny_step.NUM_CLASSES,
          supervision=tiny_step.SUPERVISION, weighting=_WEIGHTING)

  def test_it_needs_no_weak_labels_but_may_trust_by_their_loss(self):
    step = tiny_step.make_step(
        _WEIGHTING, supervision=tiny_step.SUPERVISION._replace(weak_scale=0.0))
    new, metrics = jax.eval_shape(
        step, self.state, tiny_step.random_batch(0), jax.random.key(7))
    chex.assert_trees_all_equal_shapes_and_dtypes(new, self.state)
    terms = metrics['nonfinite']['terms']
    self.assertContainsSubset({'strong_grad_0', 'co_reg_grad_0'}, terms)
    self.assertNotIn('weak_grad_0', terms)
    self.assertIn('weak_loss', metrics)


class TableTest(parameterized.TestCase):

  def test_fields(self):
    self.assertEqual(weight_rules.persistent(), ('dii', 'dii_last_layer'))
    has = lambda field: {
        name for name, rule in weight_rules.RULES.items()
        if getattr(rule, field)}
    self.assertEqual(has('needs_alignments'), set(weight_rules.RULES) - {
        'uniform'})
    self.assertEqual(has('needs_features'), {'dii_last_layer'})
    self.assertEqual(has('init'), {'meta_weight_net'})

  def test_unknown(self):
    for call in (weight_rules.find,
                 lambda name: tiny_step.init_state(
                     weighting=train_step_lib.Weighting(name=name))):
      with self.assertRaisesRegex(ValueError, "weighting 'ddi'; known.*'dii'"):
        call('ddi')

  def test_checkpoints_know_the_state_by_these_names(self):
    # New fields that may be empty are allowed; renamed fields would make old
    # checkpoints unreadable.
    self.assertEqual(train_step_lib.TrainState._fields, (
        'step', 'params', 'opt_states', 'indicators', 'num_skipped',
        'num_skipped_in_a_row', 'teachers', 'weight_net'))


if __name__ == '__main__':
  absltest.main()
