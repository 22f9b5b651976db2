"""Tests for hybridseg.augmentation."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from hybridseg import augmentation
from hybridseg import types

_OFF = augmentation.AugmentationOptions(
    flip=False, rotation_deg=0.0, log2_scale=0.0, shift=0.0, brightness=0.0,
    contrast=0.0, log2_gamma=0.0, noise=0.0)
_GEOMETRY = augmentation.AugmentationOptions(
    brightness=0.0, contrast=0.0, log2_gamma=0.0, noise=0.0)
_PHOTOMETRY = augmentation.AugmentationOptions(
    flip=False, rotation_deg=0.0, log2_scale=0.0, shift=0.0)
# Black becomes about 1e-4, which the gamma correction adds as its lower bound.
_FLOOR = 2e-4


def _examples(num, size=(16, 12)):
  """Returns examples whose images are white where the label is 1, else black.
  """
  rng = np.random.default_rng(0)
  coarse = rng.integers(2, size=(num, size[0] // 4, size[1] // 4))
  label = np.kron(coarse, np.ones((1, 4, 4), int)).astype(np.uint8)
  return types.Examples(
      image=jnp.asarray(255 * label[..., None]), label=jnp.asarray(label),
      instance_id=jnp.arange(num, dtype=jnp.int32))


@functools.partial(jax.jit, static_argnames='options')
def _augment(keys, examples, options):
  return augmentation.augment(keys, examples, options=options)


def _keys(num, seed=0):
  return jax.random.split(jax.random.key(seed), num)


class ToFloatTest(parameterized.TestCase):

  def test_hand_computed(self):
    np.testing.assert_array_equal(
        augmentation.to_float(np.uint8([0, 51, 255])), np.float32([0, 0.2, 1]))

  @parameterized.parameters('float16', 'bfloat16', 'float32', 'float64')
  def test_floats_are_scaled_already(self, dtype):
    # Floats must not be divided by 255 a second time.
    found = augmentation.to_float(np.array([0.25, 1.0]).astype(
        jnp.dtype(dtype)))
    self.assertEqual(found.dtype, jnp.float32)
    np.testing.assert_array_equal(found, [0.25, 1])

  @parameterized.parameters('uint16', 'int8', 'int32', 'bool')
  def test_refuses_an_unknown_range(self, dtype):
    with self.assertRaisesRegex(ValueError, f'Images are {dtype}, whose range'):
      augmentation.to_float(np.ones(3, dtype))


class AugmentTest(parameterized.TestCase):

  def test_everything_off_changes_nothing(self):
    examples = _examples(4)
    out = _augment(_keys(4), examples, _OFF)
    np.testing.assert_allclose(
        out.image, examples.image / 255.0, atol=_FLOOR)
    np.testing.assert_array_equal(out.label, examples.label)
    np.testing.assert_array_equal(out.instance_id, examples.instance_id)

  def test_dtypes_and_range(self):
    examples = _examples(4)
    out = _augment(_keys(4), examples, augmentation.AugmentationOptions())
    self.assertEqual(out.image.dtype, jnp.float32)
    self.assertEqual(out.label.dtype, jnp.uint8)
    self.assertEqual(out.image.shape, examples.image.shape)
    self.assertBetween(float(out.image.min()), 0, 1)
    self.assertBetween(float(out.image.max()), 0, 1)
    self.assertContainsSubset(
        np.unique(out.label), [0, 1, types.UNLABELLED])

  def test_image_and_label_share_one_geometry(self):
    out = _augment(_keys(16), _examples(16), _GEOMETRY)
    image, label = np.asarray(out.image[..., 0]), np.asarray(out.label)
    inside = label != types.UNLABELLED
    # Where all four pixels used for the bilinear value have the same class, the
    # nearest pixel has that class, too.
    white, black = image > 0.999, image < 0.001
    np.testing.assert_array_equal(label[white & inside], 1)
    np.testing.assert_array_equal(label[black & inside], 0)
    self.assertGreater(np.mean((white | black)[inside]), 0.3)
    # Elsewhere, image and label still agree mostly. This would fail if the two
    # were moved differently.
    self.assertGreater(np.mean(((image > 0.5) == label)[inside]), 0.9)
    # The augmentation has moved something.
    self.assertGreater(np.mean(label != _examples(16).label), 0.2)

  def test_flips_hand_computed(self):
    examples = types.Examples(
        image=jnp.tile(jnp.arange(6, dtype=jnp.uint8).reshape(1, 2, 3, 1),
                       (32, 1, 1, 1)),
        label=jnp.tile(jnp.arange(6, dtype=jnp.uint8).reshape(1, 2, 3),
                       (32, 1, 1)),
        instance_id=jnp.arange(32))
    out = _augment(_keys(32), examples, _OFF._replace(flip=True))
    labels = {tuple(label.reshape(-1).tolist()) for label in out.label}
    self.assertEqual(labels, {
        (0, 1, 2, 3, 4, 5), (2, 1, 0, 5, 4, 3), (3, 4, 5, 0, 1, 2),
        (5, 4, 3, 2, 1, 0)})
    np.testing.assert_allclose(
        out.image[..., 0], out.label / 255.0, atol=_FLOOR)

  def test_outside_is_unlabelled(self):
    label = jnp.ones((32, 10, 10), jnp.uint8)
    examples = types.Examples(
        image=255 * label[..., None], label=label,
        instance_id=jnp.arange(32))
    out = _augment(_keys(32), examples, _OFF._replace(shift=0.5))
    out_label = np.asarray(out.label)
    self.assertEqual(set(np.unique(out_label)), {1, types.UNLABELLED})
    for one in out_label:
      # After a shift, whole rows and columns have no source, so they are
      # unlabelled.
      known = one == 1
      np.testing.assert_array_equal(
          known, known.any(1)[:, None] & known.any(0)[None])
      self.assertGreaterEqual(known.sum(), 25)
    self.assertGreater(np.mean(out_label == types.UNLABELLED), 0.2)
    # The image, in contrast, repeats the pixels at its edge.
    np.testing.assert_allclose(out.image, jnp.ones_like(out.image), atol=1e-6)

  def test_unlabelled_stays_unlabelled(self):
    label = jnp.full((4, 8, 8), types.UNLABELLED, jnp.uint8)
    examples = _examples(4, (8, 8))._replace(label=label)
    out = _augment(_keys(4), examples, _GEOMETRY)
    np.testing.assert_array_equal(out.label, label)

  def test_photometry_does_not_touch_labels(self):
    examples = _examples(4)
    out = _augment(_keys(4), examples, _PHOTOMETRY)
    np.testing.assert_array_equal(out.label, examples.label)
    self.assertGreater(
        np.abs(out.image - examples.image / 255.0).mean(), 0.01)
    both = _augment(_keys(4), examples, augmentation.AugmentationOptions())
    geometry = _augment(_keys(4), examples, _GEOMETRY)
    np.testing.assert_array_equal(both.label, geometry.label)

  @parameterized.parameters('brightness', 'contrast', 'log2_gamma', 'noise')
  def test_each_photometric_option_has_an_effect(self, name):
    image = jnp.tile(
        jnp.array([100, 150], jnp.uint8).reshape(1, 1, 2, 1), (4, 4, 4, 1))
    examples = types.Examples(
        image=image, label=jnp.zeros(image.shape[:3], jnp.uint8),
        instance_id=jnp.arange(4))
    out = augmentation.augment(
        _keys(4), examples, options=_OFF._replace(**{name: 0.2}))
    change = np.abs(out.image - image / 255.0)
    self.assertGreater(change.mean(), 1e-3)
    # Contrast and brightness move by at most 0.2 of intensities below 1, gamma
    # by 0.4 * (1 - 2^-0.2), noise by a few standard deviations.
    self.assertLess(change.max(), 0.8)

  def _changed(self, image, **options):
    """Returns images scaled to [0, 1], and the same images after augmentation.

    The argument `image` is uint8 [B, H, W, C].
    """
    examples = types.Examples(
        image=jnp.asarray(image), label=jnp.zeros(image.shape[:3], jnp.uint8),
        instance_id=jnp.arange(len(image)))
    out = _augment(_keys(len(image)), examples, _OFF._replace(**options))
    return image / 255.0, np.asarray(out.image)

  def test_saturation_scales_the_colours_of_an_image_alike(self):
    # Stay far from 0 and 1, where colours would be clipped.
    image = np.random.default_rng(0).integers(110, 146, (4, 3, 3, 3), np.uint8)
    old, new = self._changed(image, saturation=0.5)
    colour = lambda x: x - x.mean(-1, keepdims=True)
    np.testing.assert_allclose(new.mean(-1), old.mean(-1), atol=1e-6)
    gain = (colour(new) * colour(old)).sum((1, 2, 3)) / (
        colour(old) ** 2).sum((1, 2, 3))
    np.testing.assert_allclose(
        colour(new), gain.reshape(-1, 1, 1, 1) * colour(old), atol=1e-6)
    self.assertBetween(np.abs(gain - 1).max(), 0.1, 0.5)

  def test_hue_turns_about_grey(self):
    image = np.full((4, 1, 1, 3), [140, 128, 116], np.uint8)
    old, new = self._changed(image, hue_deg=40.0)
    np.testing.assert_allclose(new.mean(-1), old.mean(-1), atol=1e-6)
    # The colour (1, 0, -1) is turned to cos(a) (1, 0, -1) + sin(a) (-1, 2, -1)
    # / sqrt(3).
    turned = (new - old.mean(-1, keepdims=True))[:, 0, 0] * 255 / 12
    angle = np.arcsin(turned[:, 1] * np.sqrt(3) / 2)
    np.testing.assert_allclose(turned[:, 0], np.cos(angle) - np.sin(
        angle) / np.sqrt(3), atol=1e-4)
    self.assertBetween(np.rad2deg(np.abs(angle)).max(), 10, 40)

  def test_colours_of_other_than_three_channels_stay(self):
    image = np.random.default_rng(0).integers(9, 250, (2, 3, 3, 4), np.uint8)
    old, new = self._changed(image, hue_deg=40.0, saturation=0.5)
    np.testing.assert_allclose(new, old, atol=1e-6)

  def test_blur_spreads_a_point_as_a_gaussian_does(self):
    image = np.zeros((4, 13, 13, 1), np.uint8)
    image[:, 6, 6] = 255
    _, new = self._changed(image, blur=1.0)
    row = new[:, 6, :, 0] - 1e-4  # Subtract the floor.
    np.testing.assert_allclose(new.sum((1, 2, 3)) - 169e-4, 1, atol=2e-2)
    np.testing.assert_allclose(new[..., 0], new[..., 0].swapaxes(1, 2),
                               atol=1e-6)
    widest = row[np.argmin(row[:, 6])]
    # The weight of the Gaussian at distance 1, exp(-1 / (2 s^2)), is the fourth
    # root of its weight at distance 2.
    self.assertAlmostEqual(
        widest[8] / widest[6], (widest[7] / widest[6]) ** 4, delta=2e-3)
    constant = np.full((2, 5, 5, 3), 77, np.uint8)
    np.testing.assert_allclose(
        *self._changed(constant, blur=2.0), atol=1e-6)

  def test_one_key_decides_for_one_instance(self):
    examples, keys = _examples(4), _keys(4)
    out = _augment(keys, examples, _GEOMETRY)
    again = _augment(keys, examples, _GEOMETRY)
    np.testing.assert_array_equal(out.image, again.image)
    last = jax.tree.map(lambda x: x[2:], examples)
    part = _augment(keys[2:], last, _GEOMETRY)
    np.testing.assert_array_equal(part.label, out.label[2:])
    np.testing.assert_allclose(part.image, out.image[2:], atol=1e-6)
    other = _augment(_keys(4, seed=1), examples, _GEOMETRY)
    self.assertGreater(np.mean(out.label != other.label), 0.1)


if __name__ == '__main__':
  absltest.main()
