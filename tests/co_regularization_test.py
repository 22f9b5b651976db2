"""Tests for hybridseg.co_regularization."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from hybridseg import co_regularization

_LOG3 = np.log(3.0)


def _logits(seed, shape=(2, 3, 3, 4)):
  return jax.random.normal(jax.random.key(seed), shape)


class CrossPseudoLossesTest(parameterized.TestCase):

  def test_hand_computed(self):
    # The student predicts [1/4, 3/4] at both pixels; the teacher predicts class
    # 1, then class 0.
    student = jnp.tile(jnp.array([0.0, _LOG3]), (1, 2, 1))
    teacher = jnp.array([[[0.0, 1.0], [5.0, 1.0]]])
    ce = np.log(4.0 / 3.0), np.log(4.0)
    np.testing.assert_allclose(
        co_regularization.cross_pseudo_losses(student, teacher),
        [(ce[0] + ce[1]) / 2], rtol=1e-6)
    np.testing.assert_allclose(
        co_regularization.cross_pseudo_losses(
            student, teacher, pixel_weights=jnp.array([[0.5, 0.25]])),
        [(0.5 * ce[0] + 0.25 * ce[1]) / 2], rtol=1e-6)

  @parameterized.parameters(0.0, 0.5, 1.0)
  def test_weights_scale(self, weight):
    student, teacher = _logits(0), _logits(1)
    plain = co_regularization.cross_pseudo_losses(student, teacher)
    weighted = co_regularization.cross_pseudo_losses(
        student, teacher, pixel_weights=jnp.full(student.shape[:-1], weight))
    np.testing.assert_allclose(weighted, weight * plain, rtol=1e-6)

  @parameterized.parameters('cross_pseudo_losses', 'consistency_losses')
  def test_refuses_weights_that_are_not_one_per_pixel(self, name):
    # Weights of shape [3] would be broadcast along the last axis of [2, 3, 3].
    loss_fn = getattr(co_regularization, name)
    with self.assertRaisesRegex(ValueError, r'pixel_weights.shape=\(3,\)'):
      loss_fn(_logits(0), _logits(1), pixel_weights=jnp.ones(3))

  def test_no_gradient_reaches_the_teacher_or_the_weights(self):
    student, teacher = _logits(0), _logits(1)
    weights = jnp.full(student.shape[:-1], 0.5)
    to_student, to_teacher, to_weights = jax.grad(
        lambda s, t, w: jnp.sum(co_regularization.cross_pseudo_losses(
            s, t, pixel_weights=w)), argnums=(0, 1, 2),
    )(student, teacher, weights)
    self.assertGreater(np.abs(to_student).max(), 1e-3)
    np.testing.assert_array_equal(to_teacher, jnp.zeros_like(teacher))
    np.testing.assert_array_equal(to_weights, jnp.zeros_like(weights))

  def test_agreement_costs_nothing(self):
    sure = 100 * jax.nn.one_hot(jnp.array([[0, 1, 2]]), 3)
    np.testing.assert_allclose(
        co_regularization.cross_pseudo_losses(sure, sure), [0], atol=1e-6)

  def test_only_the_teachers_winner_counts(self):
    student, teacher = _logits(0), _logits(1)
    np.testing.assert_array_equal(
        co_regularization.cross_pseudo_losses(student, teacher),
        co_regularization.cross_pseudo_losses(student, 7 * teacher + 3))

  @parameterized.parameters(np.nan, np.inf, -np.inf)
  def test_a_teacher_that_is_not_finite_is_no_teacher(self, value):
    # The loss must be nan: the argmax of logits with nan or inf would otherwise
    # choose some class as the pseudo label.
    student, teacher = _logits(0), _logits(1).at[1, 2, 0, 3].set(value)
    values = co_regularization.cross_pseudo_losses(student, teacher)
    np.testing.assert_array_equal(np.isnan(values), [False, True])
    np.testing.assert_array_equal(
        values[0],
        co_regularization.cross_pseudo_losses(student, _logits(1))[0])

  def test_refuses_another_shape(self):
    with self.assertRaisesRegex(ValueError, r'\(2, 3, 3, 4\).*\(2, 3, 3, 5\)'):
      co_regularization.cross_pseudo_losses(
          _logits(0), _logits(0, (2, 3, 3, 5)))


class ConsistencyLossesTest(absltest.TestCase):

  def test_hand_computed(self):
    # The student predicts [1/4, 3/4] at both pixels; the teacher predicts [1/2,
    # 1/2], then the same as the student.
    student = jnp.tile(jnp.array([0.0, _LOG3]), (1, 2, 1))
    teacher = jnp.array([[[7.0, 7.0], [0.0, _LOG3]]])
    np.testing.assert_allclose(
        co_regularization.consistency_losses(student, teacher),
        [(2 / 16 + 0) / 2], rtol=1e-6)
    np.testing.assert_allclose(
        co_regularization.consistency_losses(
            student, teacher, pixel_weights=jnp.array([[0.5, 0.25]])),
        [0.5 * (2 / 16) / 2], rtol=1e-6)

  def test_gradient_by_finite_differences_and_none_to_the_teacher(self):
    student, teacher = _logits(0), _logits(1)
    loss = lambda s, t: jnp.sum(co_regularization.consistency_losses(s, t))
    to_student, to_teacher = jax.grad(loss, argnums=(0, 1))(student, teacher)
    np.testing.assert_array_equal(to_teacher, jnp.zeros_like(teacher))
    direction = _logits(2)
    ends = [loss(student + h * direction, teacher) for h in (0.01, -0.01)]
    # Compare with central differences in float32, with a step of 0.01.
    np.testing.assert_allclose(
        jnp.vdot(to_student, direction), (ends[0] - ends[1]) / 0.02, rtol=1e-3)

  def test_a_teacher_that_is_not_finite_is_no_teacher(self):
    teacher = _logits(1).at[1, 2, 0, 3].set(np.inf)
    values = co_regularization.consistency_losses(_logits(0), teacher)
    np.testing.assert_array_equal(np.isnan(values), [False, True])

  def test_refuses_another_shape(self):
    with self.assertRaisesRegex(ValueError, r'\(2, 3, 3, 4\).*\(2, 3, 3, 5\)'):
      co_regularization.consistency_losses(
          _logits(0), _logits(0, (2, 3, 3, 5)))


class UpdateTeachersTest(parameterized.TestCase):

  @parameterized.parameters((0, 1 / 2), (1, 2 / 3), (7, 8 / 9), (8, 0.9),
                            (1000, 0.9))
  def test_hand_computed(self, step, share):
    means = co_regularization.update_teachers(
        {'a': jnp.float32(1)}, {'a': jnp.float32(3)}, step=jnp.int32(step),
        decay=0.9)
    np.testing.assert_allclose(means['a'], 3 - 2 * share, rtol=1e-6)
    self.assertEqual(means['a'].dtype, jnp.float32)


  @parameterized.parameters('bfloat16', 'float16', 'float32', 'float64')
  def test_means_keep_their_dtype(self, dtype):
    # The expected values are computed by hand: half of 1 and of 3, and the
    # float32 mean of bfloat16 parameters.
    with jax.enable_x64(True):
      teachers = {'a': jnp.ones(2, dtype), 'b': jnp.ones((), jnp.float32)}
      params = {'a': jnp.full(2, 3, dtype), 'b': jnp.asarray(3, dtype)}
      means = jax.jit(lambda t, p: co_regularization.update_teachers(
          t, p, step=jnp.int32(0), decay=0.9))(teachers, params)
      self.assertEqual(means['a'].dtype, dtype)
      self.assertEqual(means['b'].dtype, jnp.float32)
      np.testing.assert_array_equal(means['a'].astype(float), [2, 2])
      self.assertEqual(means['b'], 2)


class TaughtValueAndGradsTest(absltest.TestCase):

  def test_hand_computed(self):
    # The logits are (0, p * image). There are two images of one pixel, log 3
    # each, which are swapped. One network has p = 1, the other p = -1.
    apply_fn = lambda p, x: jnp.concatenate([jnp.zeros_like(x), p * x], -1)
    params = jnp.float32(1), jnp.float32(-1)
    images = jnp.full((2, 1, 1, 1), _LOG3)
    logits = [apply_fn(p, images) for p in params]
    value, grads = co_regularization.taught_value_and_grads(
        apply_fn, params, images, logits[::-1], jnp.array([0.25, 0.75]),
        jnp.ones((2, 1, 1), bool),
        losses_fn=co_regularization.cross_pseudo_losses)
    # Each network gives the other's class the probability 1/4. The loss is thus
    # log 4 at a mean trust of 1/2.
    np.testing.assert_allclose(value, np.log(4) / 2, rtol=1e-6)
    # d CE / d p = +-(3/4) log 3.
    np.testing.assert_allclose(
        grads, [0.375 * _LOG3, -0.375 * _LOG3], rtol=1e-6)

  def test_trust_and_label_come_from_where_the_pixel_comes_from(self):
    apply_fn = lambda p, x: p * x
    params = jnp.float32(1), jnp.float32(2)
    images = _logits(0, (2, 1, 2, 3))
    masks = jnp.array([[[True, False]]] * 2)
    logits = [_logits(1, images.shape), _logits(2, images.shape)]
    value, _ = co_regularization.taught_value_and_grads(
        apply_fn, params, images, logits[::-1], jnp.array([0.2, 0.9]), masks,
        losses_fn=co_regularization.cross_pseudo_losses)
    mix = lambda x: jnp.stack([
        jnp.stack([x[1, :, 0], x[0, :, 1]], 1),
        jnp.stack([x[0, :, 0], x[1, :, 1]], 1)])
    trusts = jnp.array([[[0.9, 0.2]], [[0.2, 0.9]]])
    by_hand = [
        jnp.mean(co_regularization.cross_pseudo_losses(
            p * mix(images), mix(teacher), pixel_weights=trusts))
        for p, teacher in zip(params, logits[::-1], strict=True)]
    np.testing.assert_allclose(value, sum(by_hand) / 2, rtol=1e-6)


class RampUpTest(parameterized.TestCase):

  @parameterized.parameters(
      (0, np.exp(-5.0)),
      (50, np.exp(-1.25)),
      (80, np.exp(-0.2)),
      (100, 1.0),
      (1000, 1.0),
  )
  def test_hand_computed(self, step, expected):
    value = co_regularization.ramp_up(
        jnp.int32(step), scale=2.0, ramp_up_steps=100)
    # In float32, exp of a value near -5 has a relative error of about 1e-6.
    np.testing.assert_allclose(value, 2 * expected, rtol=2e-6)
    self.assertEqual(value.dtype, jnp.float32)

  def test_no_ramp(self):
    self.assertEqual(co_regularization.ramp_up(
        jnp.int32(0), scale=1.5, ramp_up_steps=0), 1.5)


if __name__ == '__main__':
  absltest.main()
