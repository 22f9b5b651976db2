"""Tests of data_prep.duplicates."""

import io

from absl.testing import absltest
from data_prep import duplicates
import numpy as np
from PIL import Image


def _picture(seed, size=(96, 80)):
  small = np.random.default_rng(seed).integers(256, size=(12, 12, 3))
  picture = Image.fromarray(small.astype(np.uint8))
  return np.asarray(picture.resize(size, Image.Resampling.BICUBIC))


class DuplicatesTest(absltest.TestCase):

  def test_finds_changed_copies_across_groups_only(self):
    images = [_picture(i) for i in range(40)]
    content = io.BytesIO()
    Image.fromarray(images[3]).save(content, 'JPEG', quality=40)
    images += [
        np.asarray(Image.open(content)),
        np.asarray(Image.fromarray(images[7]).resize((48, 40))),
        np.clip(images[9] * 0.8 + 20, 0, 255).astype(np.uint8),
        images[5]]  # Of one group with its copy.
    groups = ['train'] * 30 + ['val'] * 10 + ['test'] * 3 + ['train']
    thumbnails = [duplicates.thumbnail(i) for i in images]
    pairs = duplicates.near_pairs(thumbnails, groups)
    self.assertEqual([p[:2] for p in pairs], [(40, 3), (41, 7), (42, 9)])

  def test_blocks_do_not_matter(self):
    thumbnails = [duplicates.thumbnail(_picture(i % 7)) for i in range(20)]
    groups = ['train' if i < 10 else 'test' for i in range(20)]
    whole = duplicates.near_pairs(thumbnails, groups)
    self.assertNotEmpty(whole)
    duplicates._BLOCK, block = 3, duplicates._BLOCK
    try:
      self.assertEqual(
          [p[:2] for p in duplicates.near_pairs(thumbnails, groups)],
          [p[:2] for p in whole])
    finally:
      duplicates._BLOCK = block

  def test_flat_pictures_and_unread_ones_are_like_none(self):
    flat = duplicates.thumbnail(np.full((20, 20, 1), 9, np.uint8))
    self.assertEqual(
        duplicates.near_pairs([flat, flat, b'', b''], ['a', 'b', 'a', 'b']), [])


if __name__ == '__main__':
  absltest.main()
