"""Tests for hybridseg.inference."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from hybridseg import inference

# A "network" of two classes, whose logits are the scaled image and 0.
_APPLY = lambda scale, images: jnp.concatenate(
    [scale * images, jnp.zeros_like(images)], axis=-1)


def _image(height, width, channels=1, seed=0):
  return np.random.default_rng(seed).normal(
      size=(height, width, channels)).astype(np.float32)


class PredictStepTest(parameterized.TestCase):

  def test_by_hand(self):
    # Softmax of (x, 0) is 1 / (1 + exp(-x)).
    images = jnp.full((1, 2, 2, 1), np.log(3))
    predict = inference.make_predict_step(_APPLY)
    found = predict([1.0, -1.0], images)  # The networks predict 3/4 and 1/4.
    np.testing.assert_allclose(found.probabilities, 0.5, rtol=1e-6)
    np.testing.assert_allclose(found.disagreement, 0.5, rtol=1e-6)
    one = predict([1.0], images)
    np.testing.assert_allclose(one.probabilities[..., 0], 0.75, rtol=1e-6)
    np.testing.assert_array_equal(one.disagreement, 0)

  def test_swapped_networks_agree(self):
    predict = inference.make_predict_step(_APPLY)
    images = jnp.asarray(_image(4, 5)[None])
    for a, b in zip(
        predict([1.0, 2.0], images), predict([2.0, 1.0], images), strict=True):
      np.testing.assert_array_equal(a, b)

  def test_flips_of_a_network_that_looks_at_single_pixels_change_nothing(self):
    images = jnp.asarray(_image(4, 5)[None])
    plain = inference.make_predict_step(_APPLY)([1.0, 2.0], images)
    flipped = inference.make_predict_step(
        _APPLY, flips=inference.ALL_FLIPS)([1.0, 2.0], images)
    np.testing.assert_allclose(
        flipped.probabilities, plain.probabilities, rtol=1e-6)

  def test_flips_make_the_prediction_equivariant(self):
    # The network is not symmetric: each pixel gets the logit of its left
    # neighbour.
    shifted = lambda p, x: _APPLY(p, jnp.roll(x, 1, axis=2))
    predict = inference.make_predict_step(shifted, flips=inference.ALL_FLIPS)
    images = jnp.asarray(_image(4, 6)[None])
    found = predict([1.0], images).probabilities
    mirrored = predict([1.0], images[:, :, ::-1]).probabilities
    np.testing.assert_allclose(mirrored[:, :, ::-1], found, rtol=1e-6)
    plain = inference.make_predict_step(shifted)
    self.assertGreater(np.abs(
        plain([1.0], images[:, :, ::-1]).probabilities[:, :, ::-1]
        - plain([1.0], images).probabilities).max(), 1e-3)

  def test_no_flip_at_all_is_refused(self):
    with self.assertRaisesRegex(ValueError, 'flips is empty'):
      inference.make_predict_step(_APPLY, flips=())

  def test_half_precision_is_computed_in_single(self):
    # In bfloat16, 0.5 and 0.501 are the same number, so the two classes would
    # have equal probabilities.
    logits = [jnp.asarray([[0.0, x]], jnp.bfloat16) for x in (0.004, 1.0)]
    apply_fn = lambda p, x: p + x
    zero = jnp.zeros((1, 2), jnp.bfloat16)
    mean = inference.mean_probabilities(apply_fn, logits[:1], zero)
    self.assertEqual(mean.dtype, jnp.float32)
    np.testing.assert_allclose(mean, [[0.499, 0.501]], rtol=1e-5)
    apart = inference.disagreement(
        # The probabilities of class 1 are 0.5 and 0.73.
        [jax.nn.softmax(x) for x in logits])
    self.assertEqual(apart.dtype, jnp.float32)
    np.testing.assert_allclose(apart, 0.23, atol=0.003)

  def test_disagreement_is_one_where_all_are_sure_of_different_classes(self):
    sure = jax.nn.one_hot(jnp.arange(3), 3)
    np.testing.assert_allclose(inference.disagreement(list(sure)), 1, rtol=1e-6)
    self.assertEqual(float(inference.disagreement([sure[0], sure[0]])), 0)


class WindowsTest(parameterized.TestCase):

  @parameterized.parameters(
      (10, 10, 0.5, [0]), (7, 10, 0.5, [0]), (20, 10, 0.0, [0, 10]),
      (20, 10, 0.5, [0, 5, 10]), (21, 10, 0.5, [0, 4, 7, 11]),
      (3, 1, 0.0, [0, 1, 2]))
  def test_starts_by_hand(self, length, window, overlap, expected):
    self.assertEqual(
        inference.window_starts(length, window, overlap), expected)

  def test_starts_overlap_as_asked_and_cover_all(self):
    rng = np.random.default_rng(0)
    for _ in range(300):
      length, window = rng.integers(1, 200, size=2)
      overlap = rng.uniform(0, 0.9)
      starts = inference.window_starts(length, window, overlap)
      self.assertEqual(starts[0], 0)
      self.assertGreaterEqual(starts[-1] + window, length)
      step = max(1, int(window * (1 - overlap)))
      self.assertLessEqual(max(np.diff(starts), default=0), step)

  @parameterized.parameters(dict(overlap=1.0), dict(overlap=-0.1))
  def test_bad_overlap(self, overlap):
    with self.assertRaisesRegex(ValueError, 'overlap is'):
      inference.window_starts(10, 5, overlap)

  @parameterized.parameters(((8, 8),), ((5, 8),), ((8, 3),), ((1, 1),))
  def test_an_input_that_fits_is_predicted_as_a_whole_bit_for_bit(self, size):
    image = _image(*size)
    # Binary numbers cannot hold a third exactly, so a weighted mean would
    # differ.
    predict = lambda tiles: tiles / np.float32(3)
    padded = np.pad(
        image, ((0, 8 - size[0]), (0, 8 - size[1]), (0, 0)), mode='edge')
    whole = predict(padded[None])[0][: size[0], : size[1]]
    found = inference.sliding_window(predict, image, window=(8, 8))
    np.testing.assert_array_equal(found, whole)

  @parameterized.product(
      size=((9, 30), (31, 17), (8, 9)), overlap=(0.0, 0.3, 0.75))
  def test_windows_of_a_pixelwise_function_merge_to_the_whole(
      self, size, overlap):
    image = _image(*size, 2)
    found = inference.sliding_window(
        lambda tiles: 2 * tiles, image, window=(8, 8), overlap=overlap,
        batch_size=3)
    self.assertEqual(found.shape, image.shape)
    np.testing.assert_allclose(found, 2 * image, rtol=1e-5, atol=1e-6)

  def test_batch_size_changes_nothing(self):
    image = _image(20, 21)
    mean = lambda tiles: tiles - tiles.mean(axis=(1, 2, 3), keepdims=True)
    one, many = (
        inference.sliding_window(mean, image, window=(8, 8), batch_size=b)
        for b in (1, 50))
    np.testing.assert_array_equal(one, many)

  def test_the_middle_of_a_window_counts_most(self):
    tiles = [np.zeros((8, 8)), np.ones((8, 8))]
    merged = inference.merge_tiles(tiles, (8, 12), overlap=0.5)
    row = merged[4]
    np.testing.assert_array_equal(row[:4], 0)
    np.testing.assert_array_equal(row[8:], 1)
    self.assertLess(row[4], 0.2)
    self.assertGreater(row[7], 0.8)

  def test_volumes_are_refused(self):
    with self.assertRaisesRegex(
        ValueError, r'\(4, 8, 8, 1\): it must be .*sliding_window_volume'):
      inference.sliding_window(
          lambda tiles: tiles, np.zeros((4, 8, 8, 1)), window=(4, 4))

  def test_tiles_must_fit_the_size(self):
    with self.assertRaisesRegex(ValueError, 'Expected 2 tiles, got 1'):
      inference.merge_tiles([np.zeros((8, 8))], (8, 12))


if __name__ == '__main__':
  absltest.main()
