"""Tests for hybridseg.volume_inference."""

from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import jax.numpy as jnp
import numpy as np

from hybridseg import inference
from hybridseg import volume_inference


def _volume(*size, channels=1):
  return np.random.default_rng(0).normal(
      size=(*size, channels)).astype(np.float32)


def _by_position(windows):
  """Predicts numbers that depend on the position within the window."""
  ramp = np.arange(48, dtype=np.float32).reshape(4, 4, 3, 1) / 48
  return windows * ramp + windows.mean(axis=(1, 2, 3), keepdims=True)


def _pattern(*size):
  number = np.arange(np.prod(size)).reshape(*size, 1)
  return (number % 17 / 16).astype(np.float32)


class SlidingWindowVolumeTest(parameterized.TestCase):

  def test_equals_monai(self):
    # The numbers below are from monai.inferers.sliding_window_inference of
    # MONAI 1.6.1 with mode 'gaussian', sigma_scale 0.125, overlap 0.5 and
    # padding_mode 'replicate'.
    found = volume_inference.sliding_window_volume(
        _by_position, _pattern(7, 6, 5), window=(4, 4, 3))[..., 0]
    np.testing.assert_allclose(
        found[3, 2], [0.871933, 0.914997, 0.494353, 0.514978, 0.544521],
        atol=1e-5)
    np.testing.assert_allclose(
        found[:, 5, 4],
        [0.657552, 0.72526, 0.621094, 0.50434, 1.004557, 0.994141, 0.816406],
        atol=1e-5)
    np.testing.assert_allclose(
        found.sum(dtype=np.float64), 155.305454, rtol=1e-6)
    thin = volume_inference.sliding_window_volume(
        _by_position, _pattern(7, 6, 5)[:3], window=(4, 4, 3))[..., 0]
    np.testing.assert_allclose(
        thin[:, 5, 4], [0.675781, 0.74349, 0.686198], atol=1e-5)

  def test_two_windows_by_hand(self):
    # Along D, the windows 0..1 and 1..2 share slice 1, where both windows have
    # the same weight. The slice is therefore the mean of 1 and 2.
    calls = iter([1.0, 2.0])
    found = volume_inference.sliding_window_volume(
        lambda windows: np.full(windows.shape, next(calls)), _volume(3, 1, 1),
        window=(2, 1, 1))
    np.testing.assert_allclose(found[:, 0, 0, 0], [1, 1.5, 2])

  @parameterized.product(
      size=((9, 5, 6), (3, 8, 4), (2, 2, 2)), overlap=(0.0, 0.5, 0.7))
  def test_windows_of_a_pixelwise_function_merge_to_the_whole(
      self, size, overlap):
    volume = _volume(*size, channels=2)
    found = volume_inference.sliding_window_volume(
        lambda windows: 2 * windows, volume, window=(4, 3, 5), overlap=overlap,
        batch_size=3)
    self.assertEqual((found.shape, found.dtype), (volume.shape, np.float32))
    np.testing.assert_allclose(found, 2 * volume, rtol=1e-5, atol=1e-6)

  def test_batch_size_changes_nothing(self):
    one, many = (
        volume_inference.sliding_window_volume(
            _by_position, _pattern(9, 7, 8), window=(4, 4, 3), batch_size=b)
        for b in (1, 7))
    np.testing.assert_array_equal(one, many)

  def test_slabs_follow_each_other_and_read_only_what_they_need(self):
    pattern, read = _pattern(11, 6, 5), []

    class Lazy:
      shape = pattern.shape

      def __getitem__(self, index):
        read.append(index[0].start)
        return pattern[index]

    whole = volume_inference.sliding_window_volume(
        _by_position, pattern, window=(4, 4, 3))
    stop, most_read = 0, []
    for start, slab in volume_inference.sliding_slabs(
        _by_position, Lazy(), window=(4, 4, 3)):
      self.assertEqual(start, stop)
      self.assertLessEqual(len(slab), 4)
      np.testing.assert_array_equal(slab, whole[start : start + len(slab)])
      stop += len(slab)
      most_read.append(max(read))
    self.assertEqual(stop, 11)
    # A slab is yielded as soon as all further windows begin below it. One batch
    # of windows is read in advance.
    self.assertEqual(most_read, [2, 4, 6, 7, 7])

  def test_thick_slabs_are_yielded_in_pieces(self):
    volume = _volume(7, 4, 3)
    whole = volume_inference.sliding_window_volume(
        _by_position, volume, window=(4, 4, 3))
    with mock.patch.object(volume_inference, '_PIECE_NUMBERS', 30):
      pieces = list(volume_inference.sliding_slabs(
          _by_position, volume, window=(4, 4, 3)))
    self.assertEqual([(start, len(slab)) for start, slab in pieces],
                     [(0, 2), (2, 1), (3, 2), (5, 2)])
    np.testing.assert_array_equal(
        np.concatenate([slab for _, slab in pieces]), whole)

  @parameterized.parameters(
      ((7, 6, 5), 0.5, 3 * 2 * 3), ((2, 4, 3), 0.5, 1), ((9, 4, 3), 0.0, 3))
  def test_count_windows(self, size, overlap, number):
    calls = []
    volume_inference.sliding_window_volume(
        lambda x: calls.append(1) or x, _volume(*size), window=(4, 4, 3),
        overlap=overlap)
    self.assertLen(calls, number)
    self.assertEqual(volume_inference.count_windows(
        size, (4, 4, 3), overlap=overlap), number)

  def test_networks_and_mirrored_views(self):
    # The network is not symmetric: the logit of a voxel is `scale` times the
    # intensity of the previous voxel along D.
    apply_fn = lambda scale, x: jnp.concatenate(
        [scale * jnp.roll(x, 1, axis=1), jnp.zeros_like(x)], axis=-1)
    self.assertLen(set(inference.ALL_VOLUME_FLIPS), 8)
    step = inference.make_predict_step(
        apply_fn, flips=inference.ALL_VOLUME_FLIPS)
    predict_fn = lambda windows: step([1.0, 3.0], windows).probabilities
    volume = _volume(4, 3, 2)
    found, mirrored = (
        volume_inference.sliding_window_volume(
            predict_fn, x, window=(4, 3, 2)) for x in (volume, volume[::-1]))
    np.testing.assert_allclose(mirrored[::-1], found, rtol=1e-5)
    up, down = (np.roll(volume, s, axis=0)[..., 0] for s in (1, -1))
    sigmoid = lambda x: 1 / (1 + np.exp(-x))
    np.testing.assert_allclose(
        found[..., 0], np.mean([sigmoid(s * x) for s in (1, 3)
                                for x in (up, down)], axis=0), rtol=1e-5)

  @parameterized.parameters(
      (dict(overlap=1.0), 'overlap is 1.0'),
      (dict(window=(4, 4)), 'three positive numbers'),
      (dict(window=(0, 4, 4)), 'three positive numbers'),
      (dict(batch_size=0), 'batch_size=0'),
      (dict(volume=np.zeros((4, 4, 4))), r'\(4, 4, 4\): it must be \[D, H'),
      (dict(volume=np.zeros((4, 0, 4, 1))), r'\(4, 0, 4, 1\): it must be'))
  def test_refuses(self, changed, message):
    args = dict(volume=_volume(4, 4, 4), window=(2, 2, 2)) | changed
    with self.assertRaisesRegex(ValueError, message):
      volume_inference.sliding_window_volume(
          lambda windows: windows, args.pop('volume'), **args)


if __name__ == '__main__':
  absltest.main()
