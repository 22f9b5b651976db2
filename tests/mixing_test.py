"""Tests for hybridseg.mixing."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from hybridseg import mixing

_MANY = 256


def _many_masks(size, **kwargs):
  masks = jax.jit(lambda key: mixing.cutmix_masks(
      jax.random.split(key, _MANY), size, **kwargs))(jax.random.key(0))
  return np.asarray(masks)


class CutmixMasksTest(parameterized.TestCase):

  @parameterized.parameters((0.1, 0.5), (0.25, 0.25), (0.02, 0.9))
  def test_area_within_bounds(self, min_area, max_area):
    size = (64, 48)
    masks = _many_masks(size, min_area=min_area, max_area=max_area)
    area = masks.mean(axis=(1, 2))
    # Each side is rounded to whole pixels, by less than one pixel; a clipped
    # side (area > 1/2 of an image with ratio 2) may only shrink.
    rounding = 1 / size[0] + 1 / size[1] + 1 / (size[0] * size[1])
    self.assertGreater(area.min(), min_area - rounding)
    self.assertLess(area.max(), max_area + rounding)
    if max_area > min_area:
      self.assertGreater(area.std(), 0.2 * (max_area - min_area))

  def test_pairs_share_a_rectangle(self):
    masks = _many_masks((16, 16))
    np.testing.assert_array_equal(masks[::2], masks[1::2])
    self.assertGreater(len({m.tobytes() for m in masks[::2]}), _MANY // 4)
    for mask in masks[::2]:
      rows, columns = mask.any(axis=1), mask.any(axis=0)
      np.testing.assert_array_equal(mask, rows[:, None] & columns[None])
      # One run of True: at most two changes.
      for side in (rows, columns):
        self.assertLessEqual(np.abs(np.diff(side.astype(int))).sum(), 2)

  def test_every_row_and_column_is_reached(self):
    reached = _many_masks((16, 16)).any(axis=0)
    self.assertTrue(reached.any(axis=0).all())
    self.assertTrue(reached.any(axis=1).all())

  def test_depends_on_the_first_key_of_a_pair_only(self):
    keys = jax.random.split(jax.random.key(1), 6)
    draw = jax.jit(mixing.cutmix_masks, static_argnums=1)
    np.testing.assert_array_equal(
        draw(keys[2:4], (8, 8)), draw(keys, (8, 8))[2:4])

  def test_refuses_an_odd_batch(self):
    with self.assertRaisesRegex(ValueError, '3.*even'):
      mixing.cutmix_masks(jax.random.split(jax.random.key(0), 3), (8, 8))


class CutmixBoxesTest(parameterized.TestCase):

  @parameterized.parameters((0.1, 0.3), (0.2, 0.2))
  def test_one_box_of_the_stated_share_for_each_pair(self, low, high):
    masks = _many_masks((32, 24, 28), min_area=low, max_area=high)
    np.testing.assert_array_equal(masks[::2], masks[1::2])
    shares = masks.mean(axis=(1, 2, 3))
    # Each of three sides is rounded to whole voxels, by less than one voxel.
    self.assertGreater(shares.min(), low - 0.08)
    self.assertLess(shares.max(), high + 0.08)
    self.assertAlmostEqual(shares.mean(), (low + high) / 2, delta=0.015)
    for mask in masks[:16:2]:
      sides = [mask.any(axis=axes) for axes in ((1, 2), (0, 2), (0, 1))]
      np.testing.assert_array_equal(
          mask, np.einsum('d,h,w->dhw', *sides).astype(bool))
      for side in sides:  # One run of True: at most two changes.
        self.assertLessEqual(np.abs(np.diff(side.astype(int))).sum(), 2)

  def test_the_whole_volume(self):
    np.testing.assert_array_equal(
        _many_masks((2, 1, 1), min_area=8.0, max_area=8.0), True)

  def test_boxes_lie_anywhere_and_have_all_shapes(self):
    masks = _many_masks((8, 8, 8))
    for axes in ((0, 2, 3), (0, 1, 3), (0, 1, 2)):
      self.assertTrue(masks.any(axis=axes).all())
    height, depth = (
        masks.any(axis=axes).sum(-1) for axes in ((1, 3), (2, 3)))
    self.assertTrue((height > depth).any() and (height < depth).any())

  def test_mix_volumes_hand_computed(self):
    masks = jnp.array([[[[True, False]]]] * 2)
    images = jnp.array([[[[[1], [2]]]], [[[[3], [4]]]]])
    np.testing.assert_array_equal(
        mixing.mix_pairs(masks, images), [[[[[3], [2]]]], [[[[1], [4]]]]])
    np.testing.assert_array_equal(
        mixing.mix_pairs(masks, jnp.array([0.25, 1.0])),
        [[[[1.0, 0.25]]], [[[0.25, 1.0]]]])

  def test_the_2d_masks_stay_as_they_were(self):
    # Tables were made with them. The corners as of commit 8c47831.
    masks = jax.jit(mixing.cutmix_masks, static_argnums=1)(
        jax.random.split(jax.random.key(3), 4), (16, 12))
    corners = [[int(x) for x in (*np.argwhere(m)[0], *np.argwhere(m)[-1])]
               for m in masks[::2]]
    self.assertEqual(corners, [[3, 0, 11, 7], [6, 2, 15, 6]])


class MixPairsTest(absltest.TestCase):

  def test_no_masks_leave_images_as_they_are(self):
    keys, x = jax.random.split(jax.random.key(0), 4), jnp.arange(24.0)
    x = x.reshape(4, 2, 3)
    masks = mixing.no_masks(keys, (2, 3))
    self.assertEqual((masks.shape, masks.dtype), (x.shape, jnp.bool_))
    np.testing.assert_array_equal(mixing.mix_pairs(masks, x), x)

  def test_swap_hand_computed(self):
    np.testing.assert_array_equal(
        mixing.swap_pairs(jnp.arange(4)), [1, 0, 3, 2])
    np.testing.assert_array_equal(
        mixing.swap_pairs(jnp.arange(8).reshape(4, 2)),
        [[2, 3], [0, 1], [6, 7], [4, 5]])

  def test_swap_is_its_own_inverse(self):
    x = jax.random.normal(jax.random.key(0), (6, 2, 3))
    np.testing.assert_array_equal(mixing.swap_pairs(mixing.swap_pairs(x)), x)

  def test_mix_hand_computed(self):
    masks = jnp.array([[[True, False]], [[True, False]]])
    images = jnp.array([[[[1], [2]]], [[[3], [4]]]])
    np.testing.assert_array_equal(
        mixing.mix_pairs(masks, images), [[[[3], [2]]], [[[1], [4]]]])

  def test_one_value_per_instance(self):
    masks = jnp.array([[[True, False]], [[True, False]]])
    np.testing.assert_array_equal(
        mixing.mix_pairs(masks, jnp.array([0.25, 1.0])),
        [[[1.0, 0.25]], [[0.25, 1.0]]])

  def test_empty_and_full_masks(self):
    x = jax.random.normal(jax.random.key(0), (4, 2, 2, 3))
    masks = jnp.zeros((4, 2, 2), bool)
    np.testing.assert_array_equal(mixing.mix_pairs(masks, x), x)
    np.testing.assert_array_equal(
        mixing.mix_pairs(~masks, x), mixing.swap_pairs(x))

  def test_mixing_twice_restores(self):
    keys = jax.random.split(jax.random.key(0), 4)
    masks = mixing.cutmix_masks(keys, (8, 8))
    x = jax.random.normal(jax.random.key(1), (4, 8, 8, 3))
    np.testing.assert_array_equal(
        mixing.mix_pairs(masks, mixing.mix_pairs(masks, x)), x)


if __name__ == '__main__':
  absltest.main()
