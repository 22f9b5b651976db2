"""Tests for hybridseg.volume_augmentation."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from hybridseg import augmentation
from hybridseg import types
from hybridseg import volume_augmentation
from hybridseg import warping

_OFF = volume_augmentation.VolumeAugmentationOptions(
    flip=(False,) * 3, rotation_deg=0.0, log2_scale=0.0, shift=0.0,
    brightness=0.0, contrast=0.0, log2_gamma=0.0, noise=0.0)
_MOVES = _OFF._replace(
    flip=(True,) * 3, rotation_deg=20.0, log2_scale=0.25, shift=0.05)
_EVEN = (1.0, 1.0, 1.0)


def _examples(num, size=(4, 6, 5)):
  """Returns volumes of random intensities, which are also their labels."""
  rng = np.random.default_rng(0)
  image = rng.integers(200, size=(num, *size), dtype=np.uint8)
  return types.Examples(
      jnp.asarray(image[..., None]), jnp.asarray(image),
      jnp.arange(num, dtype=jnp.int32))


@functools.partial(jax.jit, static_argnames=('options', 'spacing'))
def _augment(keys, examples, options, spacing=_EVEN):
  return volume_augmentation.augment_volumes(
      keys, examples, options=options, spacing=spacing)


def _keys(num, seed=0):
  return jax.random.split(jax.random.key(seed), num)


@jax.jit
def _warped(matrix, volume, offset=(0.0, 0.0, 0.0)):
  """Returns a volume as an image and as labels, both moved by an affine map."""
  source = volume_augmentation._source_coordinates(
      matrix, jnp.asarray(offset), volume.shape)
  image = warping.warp_image(
      jnp.asarray(volume, jnp.float32)[..., None], source)[..., 0]
  return image, warping.warp_label(jnp.asarray(volume), source)


@functools.partial(
    jax.jit, static_argnames=('options', 'spacing', 'is_fine'))
def _affine(key, options, spacing, is_fine):
  return volume_augmentation._random_affine(
      key, (8, 8, 8), options, np.array(spacing), np.array(is_fine))


class GeometryTest(parameterized.TestCase):

  def test_everything_off_gives_the_input_back(self):
    examples = _examples(2)
    out = _augment(_keys(2), examples, _OFF, (5.0, 0.7, 0.9))
    np.testing.assert_array_equal(
        out.image, augmentation.to_float(examples.image))
    np.testing.assert_array_equal(out.label, examples.label)
    self.assertEqual(out.image.dtype, jnp.float32)
    self.assertEqual(out.label.dtype, jnp.uint8)
    np.testing.assert_array_equal(out.instance_id, examples.instance_id)

  @parameterized.parameters(0, 1, 2)
  def test_a_quarter_turn_about_an_axis_is_that_of_numpy(self, axis):
    volume = np.random.default_rng(0).integers(99, size=(4, 4, 4), dtype='u1')
    angles = np.zeros(3, np.float32)
    angles[axis] = np.pi / 2
    image, label = _warped(
        volume_augmentation._rotation(jnp.asarray(angles)), volume)
    plane = (axis + 1) % 3, (axis + 2) % 3
    # An output voxel reads the input a quarter turn ahead, so the content of
    # the volume turns backwards.
    expected = np.rot90(volume, -1, plane)
    np.testing.assert_allclose(image, expected, atol=1e-3)
    np.testing.assert_array_equal(label, expected)

  def test_flips_are_those_of_numpy_and_only_along_their_axes(self):
    examples = _examples(1)
    label = np.asarray(examples.label[0])
    options = _OFF._replace(flip=(True, False, True))
    examples = jax.tree.map(lambda x: jnp.repeat(x, 24, axis=0), examples)
    out = _augment(_keys(24), examples, options)
    found = {x.tobytes() for x in np.asarray(out.label)}
    self.assertEqual(found, {
        np.ascontiguousarray(np.flip(label, axes)).tobytes()
        for axes in ((), (0,), (2,), (0, 2))})
    np.testing.assert_array_equal(
        out.image[..., 0], augmentation.to_float(out.label))

  def test_a_shift_by_hand(self):
    volume = np.uint8([[[10, 20, 30]]])
    image, label = _warped(jnp.eye(3), volume, (0.0, 0.0, 0.75))
    np.testing.assert_allclose(image, [[[17.5, 27.5, 30]]])
    np.testing.assert_array_equal(label, [[[20, 30, types.UNLABELLED]]])

  def test_trilinear_by_hand(self):
    volume = np.arange(8, dtype=np.uint8).reshape(2, 2, 2)
    # The first voxel is read at (0.25, 0.5, 0.75). The eighth one is read
    # outside the volume, and gets the nearest value.
    image, _ = _warped(jnp.eye(3), volume, (0.25, 0.5, 0.75))
    np.testing.assert_allclose(image[0, 0, 0], 0.25 * 4 + 0.5 * 2 + 0.75)
    np.testing.assert_allclose(image[1, 1, 1], 7)

  @parameterized.parameters((_EVEN,), ((2.0, 1.0, 1.5),))
  def test_volumes_are_turned_and_zoomed_in_mm(self, spacing):
    options = _MOVES._replace(rotation_deg=180.0)
    matrix, offset = _affine(
        jax.random.key(0), options, spacing, is_fine=(True,) * 3)
    in_mm = np.diag(spacing) @ matrix @ np.diag(1 / np.array(spacing))
    scale = np.cbrt(np.abs(np.linalg.det(in_mm)))
    np.testing.assert_allclose(
        in_mm @ in_mm.T, scale**2 * np.eye(3), atol=1e-5)
    self.assertBetween(abs(np.log2(scale)), 0.01, 0.25)
    self.assertGreater(np.abs(in_mm - np.diag(np.diag(in_mm))).max(), 0.1)
    self.assertBetween(np.abs(offset).max(), 0.01, 0.4)

  @parameterized.parameters(
      ((5.0, 1.0, 1.0), 1.5, (0,)), ((1.0, 1.0, 3.5), 1.5, (2,)),
      ((3.0, 1.0, 1.0), 1.5, ()), ((1.0, 4.0, 4.0), 1.5, (1, 2)))
  def test_nothing_crosses_slices_that_are_far_apart(
      self, spacing, bound, apart):
    options = _MOVES._replace(flip=(False,) * 3, log2_scale=bound)
    matrix, offset = _affine(
        jax.random.key(1), options, spacing,
        is_fine=tuple(s <= 3 for s in spacing))
    for axis in apart:
      np.testing.assert_array_equal(matrix[axis], np.eye(3)[axis])
      np.testing.assert_array_equal(matrix[:, axis], np.eye(3)[axis])
      self.assertEqual(offset[axis], 0)
    self.assertEqual(int(np.sum(np.asarray(offset) == 0)), len(apart))
    if len(apart) < 2:
      self.assertGreater(np.abs(matrix - np.eye(3)).max(), 0.05)

  def test_slices_that_are_far_apart_hold_no_mixture(self):
    # Each slice has one intensity, which a rotation within the slice keeps.
    label = jnp.broadcast_to(
        jnp.arange(4, dtype=jnp.uint8).reshape(1, 4, 1, 1), (2, 4, 8, 8))
    examples = _examples(2)._replace(image=label[..., None], label=label)
    out = _augment(_keys(2), examples, _MOVES, (5.0, 1.0, 1.0))
    levels = np.unique(np.round(np.asarray(out.image) * 255, 4))
    np.testing.assert_array_equal(levels, [0, 1, 2, 3])
    self.assertGreater(int(np.sum(out.label == types.UNLABELLED)), 10)

  def test_image_and_label_move_together(self):
    coarse = np.random.default_rng(0).integers(2, size=(4, 3, 3, 3))
    label = jnp.asarray(np.kron(coarse, np.ones((1, 4, 4, 4))), jnp.uint8)
    examples = types.Examples(
        255 * label[..., None], label, jnp.arange(4, dtype=jnp.int32))
    out = _augment(_keys(4), examples, _MOVES, (1.5, 1.0, 1.0))
    image, moved = np.asarray(out.image[..., 0]), np.asarray(out.label)
    inside = moved != types.UNLABELLED
    white, black = image > 0.999, image < 0.001
    np.testing.assert_array_equal(moved[white & inside], 1)
    np.testing.assert_array_equal(moved[black & inside], 0)
    self.assertGreater(np.mean((white | black)[inside]), 0.2)
    self.assertGreater(np.mean(((image > 0.5) == moved)[inside]), 0.9)
    self.assertGreater(np.mean(moved != label), 0.2)
    # The result of an instance depends on its own key, not on the batch.
    part = _augment(
        _keys(4)[2:], jax.tree.map(lambda x: x[2:], examples), _MOVES,
        (1.5, 1.0, 1.0))
    np.testing.assert_array_equal(part.label, out.label[2:])
    np.testing.assert_allclose(part.image, out.image[2:], atol=1e-6)

  def test_refuses_what_is_no_volume(self):
    volumes = _examples(2)
    slices = jax.tree.map(lambda x: x[:, 0] if x.ndim > 1 else x, volumes)
    with self.assertRaisesRegex(ValueError, r'\(2, 6, 5, 1\).*not volumes'):
      _augment(_keys(2), slices, _OFF)
    with self.assertRaisesRegex(ValueError, 'not pictures.*augment_volumes'):
      augmentation.augment(
          _keys(2), volumes, options=augmentation.AugmentationOptions())
    for spacing in ((1.0, 1.0), (0.0, 1.0, 1.0), (float('nan'), 1.0, 1.0)):
      with self.assertRaisesRegex(ValueError, 'three positive numbers'):
        _augment(_keys(2), volumes, _OFF, spacing)


class PhotometryTest(parameterized.TestCase):

  @parameterized.parameters(
      'brightness', 'contrast', 'log2_gamma', 'noise', 'blur',
      'log2_low_resolution')
  def test_each_option_has_an_effect(self, name):
    image = augmentation.to_float(_examples(1).image[0])
    change = jax.jit(functools.partial(
        volume_augmentation._photometric,
        options=_OFF._replace(**{name: 1.0}), spacing=np.ones(3),
        is_fine=np.ones(3, bool)))
    out = change(jax.random.key(0), image)
    self.assertGreater(float(np.abs(out - image).mean()), 1e-3)
    self.assertBetween(float(out.min()), 0, 1)
    self.assertBetween(float(out.max()), 0, 1)

  def test_coarser_voxels_by_hand(self):
    row = jnp.arange(6.0).reshape(1, 1, 6, 1) ** 2
    coarsen = jax.jit(lambda f: volume_augmentation._coarsen(row, f, 2))
    found = coarsen(3.0)
    # Coarse voxels of 3 pixels have their centres at 1 and 4, where the row is
    # 1 and 16. The values between these are interpolated.
    np.testing.assert_allclose(
        found[0, 0, 1:5, 0], [1, 6, 11, 16], rtol=1e-5)
    np.testing.assert_array_equal(coarsen(1.0), row)

  def test_blur_and_resolution_spare_slices_that_are_far_apart(self):
    image = jnp.zeros((5, 9, 9, 1)).at[2, 4, 4].set(1.0)
    options = _OFF._replace(blur=1.0, log2_low_resolution=1.0)
    spacing = np.array([10.0, 1.0, 1.0])
    out = jax.jit(lambda key: volume_augmentation._photometric(
        key, image, options, spacing, spacing <= 3))(jax.random.key(0))
    np.testing.assert_allclose(out[jnp.array([0, 1, 3, 4])], 0, atol=1e-6)
    self.assertGreater(int((out[2] > 1e-3).sum()), 3)


if __name__ == '__main__':
  absltest.main()
