"""Tests for data_prep.checks.check_copies: which pictures are the same."""

import pathlib
import tempfile
from unittest import mock

from absl.testing import absltest
import numpy as np
from PIL import Image

from data_prep import manifest as manifest_lib
from data_prep.checks import check
from data_prep.checks import check_annotation
from data_prep.checks import check_copies
from data_prep.checks import duplicates
from data_prep.checks import pivots


class FindCopiesTest(absltest.TestCase):

  def test_pictures_of_one_thumbnail_are_compared(self):
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    pixels = np.random.default_rng(0).integers(
        256, size=(64, 64), dtype=np.uint8)
    # Swapping two pixels keeps the means of 2 x 2 pixels.
    swapped = pixels.copy()
    swapped[0, :2] = pixels[0, 1::-1]
    self.assertFalse(np.array_equal(pixels, swapped))
    for name, content in (
        ('a.png', pixels), ('b.png', swapped), ('c.bmp', pixels),
        ('d.png', swapped), ('e.png', 255 - pixels)):
      Image.fromarray(content).save(folder / name)
    names = ('a.png', 'b.png', 'c.bmp', 'd.png', 'a.png', 'e.png')
    manifest = manifest_lib.write_manifest(
        folder / 'manifest.jsonl', manifest_lib.Header('n', ('x', 'y')), [
            manifest_lib.Row(str(i), name, 'train', 'unlabelled', None)
            for i, name in enumerate(names)])
    facts = check.inspect_manifest(manifest).facts
    self.assertLen({seen.digest for seen in facts}, 2)
    found = check_copies.find_copies(manifest.rows, facts, folder)
    self.assertEqual(found.tolist(), [0, 1, 0, 1, 0, 5])

  def test_a_picture_of_many_rows_is_noted_once(self):
    rows = [manifest_lib.Row(str(i), 'a.png', split, 'unlabelled', None, line=i)
            for i, split in enumerate(('train', 'val', *['train'] * 3), 2)]
    log = check_annotation.Log([], [])
    check_copies.check_copies(rows, np.zeros(5, int), log)
    self.assertEqual([problem.line for problem in log.problems], [3])
    note, = log.notices
    self.assertEqual((note.line, note.what), (
        4, 'same picture as line 2, and so are 2 more lines'))
    log = check_annotation.Log([], [])
    check_copies.check_copies(rows[:3], np.array([0, 1, 0]), log)
    self.assertEqual(log.notices[0].what, 'same picture as line 2')


class NearCopiesTest(absltest.TestCase):

  def test_rows_of_equal_pictures_are_told_as_if_all_were_compared(self):
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    rng = np.random.default_rng(0)
    for i in range(3):
      small = Image.fromarray(rng.integers(0, 256, (9, 9), np.uint8))
      large = np.asarray(small.resize((64, 64), Image.Resampling.BICUBIC))
      noise = rng.integers(-3, 4, large.shape)
      Image.fromarray(large).save(folder / f'{i}a.png')
      Image.fromarray((large.astype(int) + noise).clip(0, 255).astype(
          np.uint8)).save(folder / f'{i}b.png')
    rows = [manifest_lib.Row(
        str(i), f'{rng.integers(3)}{"ab"[rng.integers(2)]}.png',
        ('train', 'val', 'test')[rng.integers(3)], 'unlabelled', None,
        subject=('', 'p', 'q')[rng.integers(3)]) for i in range(60)]
    manifest = manifest_lib.write_manifest(
        folder / 'manifest.jsonl', manifest_lib.Header('n', ('x', 'y')), rows)
    found = check.inspect_manifest(manifest)
    rows, facts = manifest.rows, found.facts
    copies = check_copies.find_copies(rows, facts, folder)
    self.assertLess(len(set(copies.tolist())), len(rows))
    # The definition: of all pairs, each later row with the most alike one.
    pairs = duplicates.near_pairs(
        check_copies._Thumbnails(facts, found.thumbnails),
        [row.split for row in rows])
    told = {}
    for i, j, _ in sorted(pairs, key=lambda pair: -pair.likeness):
      if copies[i] != copies[j] and not (
          rows[i].subject and rows[i].subject == rows[j].subject):
        told.setdefault(rows[i].line, rows[j].line)
    self.assertGreater(len(told), 20)
    self.assertEqual(
        {p.line: int(p.what.split('line ')[1].split(',')[0])
         for p in found.problems if p.what.startswith('nearly')}, told)
    # A search by pivots says so, and what a draw has missed is no problem.
    with mock.patch.object(pivots, 'EXHAUSTIVE', 0):
      drawn = check.inspect_manifest(
          manifest, drawn={row.id for row in rows})
    lines = lambda some: {
        p.line for p in some if p.what.startswith('nearly')}
    self.assertEqual(lines(drawn.notices), set(told))
    self.assertEmpty(lines(drawn.problems))
    self.assertIn('about 1 in 100 may not be found',
                  [p.fix for p in drawn.notices])


if __name__ == '__main__':
  absltest.main()
