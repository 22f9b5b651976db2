"""Tests of data_prep.checks.duplicates."""

import io
import types

from absl.testing import absltest
from absl.testing import parameterized
from data_prep.checks import check_copies
from data_prep.checks import duplicates
from data_prep.checks import neighbours
import numpy as np
from PIL import Image


def _moved(image, *, shift=0.0, zoom=1.0, degrees=0.0):
  """Shifts by shares of the sides, zooms and turns; new borders are black."""
  picture = Image.fromarray(image).rotate(
      degrees, Image.Resampling.BILINEAR)
  width, height = picture.size
  return np.asarray(picture.transform(
      picture.size, Image.Transform.AFFINE,
      (1 / zoom, 0, (1 - 1 / zoom) * width / 2 - shift * width,
       0, 1 / zoom, (1 - 1 / zoom) * height / 2 + shift * height),
      Image.Resampling.BILINEAR))


def _picture(seed, size=(96, 80)):
  small = np.random.default_rng(seed).integers(256, size=(12, 12, 3))
  picture = Image.fromarray(small.astype(np.uint8))
  return np.asarray(picture.resize(size, Image.Resampling.BICUBIC))


class DuplicatesTest(parameterized.TestCase):

  def test_finds_changed_copies_across_groups_only(self):
    images = [_picture(i) for i in range(40)]
    content = io.BytesIO()
    Image.fromarray(images[3]).save(content, 'JPEG', quality=40)
    images += [
        np.asarray(Image.open(content)),
        np.asarray(Image.fromarray(images[7]).resize((48, 40))),
        np.clip(images[9] * 0.8 + 20, 0, 255).astype(np.uint8),
        images[5]]  # It is in the same group as its copy.
    groups = ['train'] * 30 + ['val'] * 10 + ['test'] * 3 + ['train']
    thumbnails = [duplicates.thumbnail(i) for i in images]
    pairs = duplicates.near_pairs(thumbnails, groups)
    self.assertEqual([p[:2] for p in pairs], [(40, 3), (41, 7), (42, 9)])

  @parameterized.named_parameters(
      ('shifted_by_1_percent', lambda x: _moved(x, shift=0.01)),
      ('shifted_by_2_percent', lambda x: _moved(x, shift=-0.02)),
      ('zoomed', lambda x: _moved(x, zoom=1.02)),
      ('turned_by_3_degrees', lambda x: _moved(x, degrees=3)),
      ('mirrored', lambda x: x[:, ::-1]),
      ('upside_down', lambda x: x[::-1]),
      ('turned_by_90_degrees', np.rot90),
      ('turned_by_270_degrees', lambda x: np.rot90(x, 3)),
      ('transposed', lambda x: np.swapaxes(x, 0, 1)),
      ('inverted', lambda x: 255 - x),
      ('all_of_it', lambda x: np.rot90(
          _moved(255 - x[:, ::-1], shift=0.01, zoom=1.01, degrees=-1))),
  )
  def test_finds_copies(self, change):
    images = [_picture(i) for i in range(60)]
    copies = [np.ascontiguousarray(change(x)) for x in images[:20]]
    thumbnails = [duplicates.thumbnail(x) for x in images + copies]
    pairs = duplicates.near_pairs(
        thumbnails, ['train'] * 60 + ['test'] * 20)
    self.assertEqual([p[:2] for p in pairs], [(60 + i, i) for i in range(20)])

  def test_views_are_those_of_the_picture(self):
    # The views are computed from the picture's cosine transform, by changes of
    # sign and a transposition, and are exact up to rounding.
    image = _picture(0, size=(32, 32))
    other = duplicates._plain([duplicates.thumbnail(image)])
    views = duplicates._views(other)[0]
    for n, view in enumerate((
        image, image[::-1], image[:, ::-1], image[::-1, ::-1])):
      for turned in (False, True):
        seen = np.swapaxes(view, 0, 1) if turned else view
        wanted = duplicates._plain([
            duplicates.thumbnail(np.ascontiguousarray(seen))])
        found = [np.abs(x - wanted).max() for x in views]
        self.assertLess(min(found), 1e-3, (n, turned))
        self.assertLess(sum(x < 0.01 for x in found), 2)

  def test_spans_are_orthonormal(self):
    spans = duplicates.spans(
        [duplicates.thumbnail(_picture(i)) for i in range(3)])
    np.testing.assert_allclose(
        spans @ spans.transpose(0, 2, 1), [np.eye(5)] * 3, atol=1e-4)

  def test_each_pair_once(self):
    thumbnails = [duplicates.thumbnail(_picture(i % 4)) for i in range(8)]
    duplicates._BLOCK, block = 3, duplicates._BLOCK
    try:
      pairs = duplicates.all_pairs(thumbnails)
    finally:
      duplicates._BLOCK = block
    self.assertEqual([p[:2] for p in pairs], [(i + 4, i) for i in range(4)])

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

  def test_neighbours(self):
    names = ['a/frame_9.png', 'a/frame_10.png', 'b/frame_11.png', 'x1.jpg',
             'x2.jpg', 'y3.jpg', 'train/z007.png', 'test/z8.png',
             'left_5_eye.png', 'left_6_eye.png', 'left_7_ear.png', 'none', '']
    groups = ['train', 'test', 'val', 'train', 'train', 'test', 'train',
              'test', 'val', 'train', 'test', 'train', 'test']
    self.assertEqual(
        neighbours.find(names, groups), [(0, 1), (6, 7), (8, 9)])
    # Numbers that begin anew in each folder do not come from one film.
    self.assertEmpty(neighbours.find(
        ['train/1.png', 'train/2.png', 'test/1.png', 'test/2.png'],
        ['train', 'train', 'test', 'test']))

  def test_neighbours_are_one_notice(self):
    rows = [types.SimpleNamespace(
        image=f'images/frame_{i:03d}.png', split='train' if i < 3 else 'test',
        subject=subject, line=i + 2, id=str(i))
            for i, subject in enumerate(('', '', '', 'p', 'p'))]
    rows[0].split = 'val'
    log = types.SimpleNamespace(notices=[])
    check_copies.note_neighbours(rows, log, can_choose=False)
    self.assertEqual([*map(str, log.notices)], [
        'line 2, id 0, image: 2 pairs of consecutive names are in two splits, '
        "found frame_000.png in val and frame_001.png in train; if they are "
        'frames of one video, keep it in one split'])
    # If all subjects are known, they state what belongs together, so there is
    # no notice.
    for row, subject in zip(rows, 'abcde', strict=True):
      row.subject = subject
    log.notices.clear()
    check_copies.note_neighbours(rows, log, can_choose=False)
    self.assertEmpty(log.notices)


if __name__ == '__main__':
  absltest.main()
