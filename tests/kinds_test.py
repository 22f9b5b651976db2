"""Tests for the training step on weak sets of several annotation kinds."""

from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np

from hybridseg import losses
from hybridseg import train_step as train_step_lib
from hybridseg import types
from tests import long_only
from tests import tiny_step as tiny

_KIND = types.AnnotationKind
_KEY = jax.random.key(7)
_WEIGHTINGS = {
    'uniform': dict(name='uniform'),
    'dii': dict(name='dii'),
    'dii_last_layer': dict(name='dii_last_layer'),
    'dii_grad': dict(name='dii', method='grad'),
    'dii_per_instance': dict(name='dii', method='per_instance'),
    'l2rw': dict(name='l2rw'),
}
_KINDS = (_KIND.SCRIBBLE, _KIND.BOX, _KIND.SCRIBBLE, _KIND.TAG)
_PRESENT = np.uint8([[255, 1, 0], [255, 1, 1], [255, 0, 1], [255, 1, 1]])


def _batch(kinds=_KINDS):
  batch = tiny.random_batch(3, num_weak=4)
  return batch._replace(weak=batch.weak._replace(
      kind=np.array(kinds, np.int32), present=_PRESENT))


def _loss(logits, labels, *, where, kind, present, images):
  """Returns the loss of scribbles that have a tag of class 1, and otherwise 0.
  """
  chex.assert_equal_shape_prefix([images, logits], 3)
  chex.assert_equal_shape([present, labels[:, 0, 0]])
  counts = (kind == _KIND.SCRIBBLE) & (present[:, 1] == 1)
  return jnp.where(
      counts, losses.cross_entropy_loss(logits, labels, where=where), 0)


def _step(weighting, **kwargs):
  return jax.jit(tiny.make_step(
      train_step_lib.Weighting(**weighting, learning_rate=0.2), **kwargs))


class KindsTest(parameterized.TestCase):

  @parameterized.parameters(*long_only.first_of(tuple(_WEIGHTINGS), 3))
  def test_a_loss_by_kind_sees_the_annotation_of_its_instance(self, name):
    batch = _batch()
    new, metrics = _step(
        _WEIGHTINGS[name], supervision=train_step_lib.Supervision(
            losses.cross_entropy_loss, _loss, by_kind=True),
    )(tiny.init_state(), batch, _KEY)
    # Expect the same as if only the first instance had labelled pixels.
    batch.weak.label[1:] = types.UNLABELLED
    expected, expected_metrics = _step(
        _WEIGHTINGS[name], supervision=train_step_lib.Supervision(
            losses.cross_entropy_loss, losses.cross_entropy_loss),
    )(tiny.init_state(), batch, _KEY)
    chex.assert_trees_all_close(new, expected, rtol=1e-5, atol=1e-6)
    chex.assert_trees_all_close(metrics, expected_metrics, rtol=1e-5)
    self.assertGreater(metrics['weak_loss'], 0.01)

  def test_unlabelled_images_keep_their_indicator(self):
    kinds = (_KIND.NONE, _KIND.BOX, _KIND.BOX, _KIND.NONE)
    state, batch = tiny.init_state(), _batch(kinds)
    new, _ = _step(dict(name='dii'))(state, batch, _KEY)
    moved = np.not_equal(
        new.indicators.weights, state.indicators.weights)[
            batch.weak.instance_id]
    np.testing.assert_array_equal(moved, [False, True, True, False])

  @parameterized.parameters('indicator', 'complement')
  def test_pseudo_labels_of_unlabelled_images_count_in_full(self, trust):
    def run(trust, kinds):
      step = _step(
          dict(name='uniform'), supervision=tiny.SUPERVISION._replace(
              weak_scale=0.0),
          co_reg=train_step_lib.CoRegularization(scale=1.0, trust=trust))
      # Uniform weights are 1, and their complement gives pseudo labels no
      # trust.
      return step(tiny.init_state(), _batch(kinds), _KEY)[0].params

    full = run('one', _KINDS)
    chex.assert_trees_all_close(run(trust, [_KIND.NONE] * 4), full, rtol=1e-6)
    none = run('complement', _KINDS)
    self.assertGreater(np.abs(full[0]['conv'] - none[0]['conv']).max(), 1e-4)


if __name__ == '__main__':
  absltest.main()
