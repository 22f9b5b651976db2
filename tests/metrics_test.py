"""Tests for hybridseg.metrics."""

from unittest import mock
import warnings

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from hybridseg import metrics
from hybridseg import types


class ConfusionCountsTest(parameterized.TestCase):

  def test_hand_computed(self):
    counts = metrics.confusion_counts(
        jnp.array([[0, 1, 1, 0], [2, 2, 2, 2]], jnp.uint8),
        jnp.array([[0, 1, 0, 1], [2, 2, 0, 1]], jnp.uint8),
        num_classes=3)
    # [TP, FP, FN] per class.
    np.testing.assert_array_equal(counts, [
        [[1, 1, 1], [1, 1, 1], [0, 0, 0]],
        [[0, 0, 1], [0, 0, 1], [2, 2, 0]],
    ])
    self.assertEqual(counts.dtype, jnp.int32)

  def test_bools_count_and_wide_numbers_do_not_become_other_classes(self):
    yes, no = np.ones((1, 3), bool), np.zeros((1, 3), bool)
    np.testing.assert_array_equal(
        metrics.confusion_counts(yes, yes, num_classes=2),
        [[[0, 0, 0], [3, 0, 0]]])
    wide = np.full((1, 3), 2**32)
    np.testing.assert_array_equal(
        metrics.confusion_counts(no, wide, num_classes=2),
        [[[0, 3, 0], [0, 0, 0]]])

  def test_what_is_no_class_counts_as_it_does_among_more_classes(self):
    # [0, 0, 1, 7] predicted where [0, 5, 6, 1] is true.
    predictions = np.array([[0, 0, 1, 7]], np.uint8)
    truth = np.array([[0, 5, 6, 1]], np.uint8)
    counts = metrics.confusion_counts(predictions, truth, num_classes=2)
    np.testing.assert_array_equal(counts, [[[1, 1, 0], [0, 1, 1]]])
    np.testing.assert_array_equal(counts, metrics.confusion_counts(
        predictions, truth, num_classes=8)[:, :2])
    # A class below 0 is none of the known classes, either.
    np.testing.assert_array_equal(counts, metrics.confusion_counts(
        predictions, truth.astype(np.int16) - [0, 9, 9, 0], num_classes=2))

  def test_exact_beyond_what_a_float32_counts(self):
    # 2^24 + 1 pixels, of which all but one are right.
    zeros = jnp.zeros((1, 2**24 + 1), jnp.uint8)
    counts = jax.jit(metrics.confusion_counts, static_argnames='num_classes')(
        zeros.at[0, 0].set(1), zeros, num_classes=2)
    np.testing.assert_array_equal(counts, [[[2**24, 0, 1], [0, 1, 0]]])

  def test_refuses_more_pixels_than_an_int32_counts(self):
    case = jax.ShapeDtypeStruct((1, 2048, 1024, 1024), jnp.uint8)
    count = lambda p, y: metrics.confusion_counts(p, y, num_classes=2)
    with self.assertRaisesRegex(ValueError, '2147483648 pixels.*2147483647'):
      jax.eval_shape(count, case, case)

  def test_refuses_a_map_that_cannot_hold_255(self):
    truth = np.array([[0, 1]])
    count = lambda p, y: metrics.confusion_counts(p, y, num_classes=2)
    with self.assertRaisesRegex(ValueError, 'label_map is int8, in which 255'):
      count(truth, truth.astype(np.int8))
    with self.assertRaisesRegex(ValueError, 'predictions is float'):
      count(truth + 0.5, truth)
    np.testing.assert_array_equal(
        count(truth.astype(np.int8), truth), [[[1, 0, 0], [1, 0, 0]]])

  def test_unlabelled_pixels_do_not_count(self):
    label = jnp.array([[1, types.UNLABELLED, types.UNLABELLED]], jnp.uint8)
    counts = metrics.confusion_counts(
        jnp.array([[1, 1, 0]], jnp.uint8), label, num_classes=2)
    np.testing.assert_array_equal(counts, [[[0, 0, 0], [1, 0, 0]]])

  @parameterized.parameters((((3, 5),)), (((2, 4, 4),)), (((1, 2, 3, 4),)))
  def test_equals_numpy(self, shape):
    rng = np.random.default_rng(0)
    predictions = rng.integers(3, size=shape, dtype=np.uint8)
    labels = rng.integers(3, size=shape, dtype=np.uint8)
    labels[rng.random(shape) < 0.3] = types.UNLABELLED
    counts = jax.jit(metrics.confusion_counts, static_argnames='num_classes')(
        predictions, labels, num_classes=3)
    for case, (p, y) in enumerate(zip(predictions, labels, strict=True)):
      p, y = p[y != types.UNLABELLED], y[y != types.UNLABELLED]
      expected = [
          [np.sum((p == c) & (y == c)), np.sum((p == c) & (y != c)),
           np.sum((p != c) & (y == c))] for c in range(3)]
      np.testing.assert_array_equal(counts[case], expected)

  @parameterized.parameters((4, 5), (5, 4))
  def test_refuses_another_shape(self, first, second):
    with self.assertRaisesRegex(
        ValueError, rf'\(1, {first}\).*\(1, {second}\)'):
      metrics.confusion_counts(
          jnp.zeros((1, first), int), jnp.zeros((1, second), int),
          num_classes=2)


class RatiosTest(absltest.TestCase):

  def test_hand_computed_and_nan_policy(self):
    counts = np.array([
        [2, 1, 1],  # Dice 4 / 6, IoU 2 / 4.
        [0, 0, 0],  # The class is in neither map, so it does not count.
        [0, 3, 0],  # The class is predicted where there is none.
        [0, 0, 3],  # The class is missed.
        [5, 0, 0],
        [1, 0, 0],  # One pixel.
    ], np.float32)
    with warnings.catch_warnings():
      warnings.simplefilter('error')
      dice = metrics.dice_from_counts(counts)
      iou = metrics.iou_from_counts(counts)
    np.testing.assert_allclose(dice, [2 / 3, np.nan, 0, 0, 1, 1])
    np.testing.assert_allclose(iou, [1 / 2, np.nan, 0, 0, 1, 1])

  def test_iou_follows_from_dice(self):
    counts = np.random.default_rng(0).integers(1, 50, (4, 3, 3))
    dice, iou = (
        f(counts) for f in (metrics.dice_from_counts, metrics.iou_from_counts))
    self.assertEqual(dice.shape, (4, 3))
    np.testing.assert_allclose(iou, dice / (2 - dice), rtol=1e-12)

  def test_takes_device_arrays(self):
    counts = metrics.confusion_counts(
        jnp.array([[1, 1]]), jnp.array([[1, 0]]), num_classes=2)
    np.testing.assert_allclose(
        metrics.dice_from_counts(counts), [[0, 2 / 3]], rtol=1e-12)


class EmptyRuleTest(absltest.TestCase):
  """What is missed or invented has the worst value; what is absent, none."""

  # The classes are found in part, missed, invented and absent.
  _COUNTS = np.array([[3, 1, 2], [0, 0, 5], [0, 4, 0], [0, 0, 0]], float)

  def test_by_hand(self):
    for fn, expected in (
        (metrics.dice_from_counts, (6 / 9, 0, 0, np.nan)),
        (metrics.iou_from_counts, (3 / 6, 0, 0, np.nan)),
        (metrics.precision_from_counts, (3 / 4, 0, 0, np.nan)),
        (metrics.recall_from_counts, (3 / 5, 0, 0, np.nan)),
        (metrics.volume_error_from_counts, (1 / 9, 1, 1, np.nan)),
    ):
      np.testing.assert_allclose(
          fn(self._COUNTS), expected, err_msg=fn.__name__)

  def test_whatever_stands_before_the_classes(self):
    counts = np.random.default_rng(0).integers(1, 50, (2, 5, 4, 3))
    for fn in (metrics.dice_from_counts, metrics.iou_from_counts,
               metrics.precision_from_counts, metrics.recall_from_counts,
               metrics.volume_error_from_counts):
      np.testing.assert_array_equal(
          fn(counts), [[fn(c) for c in row] for row in counts], fn.__name__)

  def test_volume_error_is_symmetric_and_bounded(self):
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 50, size=(1000, 3)).astype(float)
    error = metrics.volume_error_from_counts(counts)
    known = ~np.isnan(error)
    self.assertBetween(error[known].min(), 0, 1)
    self.assertBetween(error[known].max(), 0, 1)
    np.testing.assert_array_equal(
        error, metrics.volume_error_from_counts(counts[:, [0, 2, 1]]))


class CalibrationTest(absltest.TestCase):

  def test_by_hand(self):
    # Two of confidence .8, two of .6, one of each right; one unknown.
    probs = np.array([[.2, .8], [.8, .2], [.4, .6], [.6, .4], [0, 1]])
    label = np.array([1, 1, 0, 0, 255])
    counts = metrics.calibration_counts(probs, label, num_bins=10)
    np.testing.assert_allclose(counts[7], [2, 1.6, 1])
    np.testing.assert_allclose(counts[5], [2, 1.2, 1])
    self.assertEqual(counts[:, 0].sum(), 4)
    self.assertAlmostEqual(
        metrics.expected_calibration_error(counts), (0.6 + 0.2) / 4)

  def test_sure_and_right_is_calibrated(self):
    counts = metrics.calibration_counts(np.eye(3), np.arange(3))
    self.assertEqual(counts.shape, (15, 3))  # As in the paper.
    self.assertEqual(metrics.expected_calibration_error(counts), 0)

  def test_a_softmax_rounded_above_1_is_in_the_last_bin(self):
    probs = np.array([[np.nextafter(np.float32(1), np.float32(2)), 0]])
    counts = metrics.calibration_counts(probs, np.array([0]), num_bins=10)
    self.assertEqual(counts[9, 0], 1)

  def test_of_many_classes_the_first_bin(self):
    counts = metrics.calibration_counts(
        np.full((1, 20), 0.05), np.array([0]), num_bins=10)
    np.testing.assert_allclose(counts[0], [1, 0.05, 1])

  def test_sums_of_cases_are_the_counts_of_all(self):
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.ones(3), size=(4, 50)).astype(np.float32)
    label = rng.integers(0, 3, size=(4, 50))
    np.testing.assert_allclose(
        metrics.calibration_counts(probs, label),
        sum(metrics.calibration_counts(p, l)
            for p, l in zip(probs, label, strict=True)))

  def test_nothing_known_is_nan(self):
    counts = metrics.calibration_counts(
        np.ones((2, 1)), np.full(2, types.UNLABELLED))
    self.assertTrue(np.isnan(metrics.expected_calibration_error(counts)))


class MeanOfCountedTest(absltest.TestCase):

  def test_by_hand(self):
    values = np.array([[1, np.nan, 3], [np.nan] * 3])
    np.testing.assert_array_equal(
        metrics.mean_of_counted(values, axis=1), [2, np.nan])
    np.testing.assert_array_equal(
        metrics.mean_of_counted(values, axis=0), [1, np.nan, 3])


class AurocTest(parameterized.TestCase):

  @parameterized.parameters(
      ([1, 2, 3, 4], [0, 0, 1, 1], 1.0),
      ([4, 3, 2, 1], [0, 0, 1, 1], 0.0),
      ([1, 3, 2, 4], [0, 0, 1, 1], 3 / 4),
      ([1, 1, 1, 1], [0, 1, 0, 1], 1 / 2),
      # Pairs (1, 1) tie, (1, 2) right, (2, 1) wrong, (2, 2) tie.
      ([1, 2, 1, 2], [0, 0, 1, 1], 1 / 2),
      ([1, 2, 2, 3], [0, 0, 1, 1], 7 / 8),
  )
  def test_hand_computed(self, scores, positive, expected):
    self.assertAlmostEqual(metrics.auroc(scores, positive), expected)

  def test_equals_all_pairs(self):
    rng = np.random.default_rng(0)
    scores, positive = rng.integers(8, size=50), rng.random(50) < 0.4
    a, b = scores[positive][:, None], scores[~positive][None]
    self.assertAlmostEqual(
        metrics.auroc(scores, positive), np.mean((a > b) + 0.5 * (a == b)))

  @parameterized.parameters(0, 1)
  def test_one_kind_only_is_nan(self, kind):
    with warnings.catch_warnings():
      warnings.simplefilter('error')
      self.assertTrue(np.isnan(metrics.auroc([1.0, 2.0], [kind, kind])))


class BootstrapIntervalTest(absltest.TestCase):

  def test_constant_values_have_no_spread(self):
    self.assertEqual(metrics.bootstrap_interval([0.5] * 4), (0.5, 0.5))

  def test_two_values(self):
    # Means of two picks from {0, 1}: 0, 1/2, 1 with chances 1/4, 1/2, 1/4, so
    # both tails of 2.5 % lie at the ends and those of 30 % at 1/2.
    self.assertEqual(metrics.bootstrap_interval([0, 1]), (0.0, 1.0))
    self.assertEqual(
        metrics.bootstrap_interval([0, 1], level=0.4), (0.5, 0.5))

  def test_close_to_the_normal_interval(self):
    values = np.random.default_rng(0).normal(size=400)
    low, high = metrics.bootstrap_interval(values)
    half = 1.96 * values.std() / np.sqrt(values.size)
    # 2000 resamples place an end to about a tenth of the half-width.
    np.testing.assert_allclose(
        [low, high], values.mean() + half * np.array([-1, 1]), atol=0.1 * half)

  def test_nan_cases_are_left_out(self):
    values = np.array([0.2, 0.4, 0.9])
    self.assertEqual(
        metrics.bootstrap_interval(np.insert(values, 1, np.nan)),
        metrics.bootstrap_interval(values))
    self.assertTrue(np.isnan(metrics.bootstrap_interval([np.nan])).all())

  def test_groups_are_drawn_together(self):
    # Two patients have ten equal slices each. They must count as two cases, not
    # as twenty.
    values, groups = np.repeat([0.0, 1.0], 10), np.repeat(['a', 'b'], 10)
    self.assertEqual(
        metrics.bootstrap_interval(values, groups=groups), (0, 1))
    low, high = metrics.bootstrap_interval(values)
    self.assertGreater(low, 0.2)
    self.assertLess(high, 0.8)

  def test_groups_of_one_are_cases(self):
    values = np.random.default_rng(0).normal(size=30)
    self.assertEqual(
        metrics.bootstrap_interval(values, groups=np.arange(30)),
        metrics.bootstrap_interval(values))

  def test_one_resample_has_one_mean(self):
    low, high = metrics.bootstrap_interval(np.arange(9), num_resamples=1)
    self.assertEqual(low, high)

  def test_little_memory_draws_the_same(self):
    values = np.random.default_rng(0).random(6)
    interval = lambda: metrics.bootstrap_interval(values, num_resamples=100)
    whole = interval()
    with mock.patch.object(metrics, '_MAX_PICKS', 6 * 30):  # 30, 30, 30, 10.
      self.assertEqual(interval(), whole)

  def test_seeded(self):
    values = np.random.default_rng(0).random(5)
    interval = lambda seed: metrics.bootstrap_interval(
        values, num_resamples=50, seed=seed)
    self.assertEqual(interval(0), interval(0))
    self.assertNotEqual(interval(0), interval(1))


if __name__ == '__main__':
  absltest.main()
