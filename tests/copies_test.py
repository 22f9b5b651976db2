"""Tests for data_prep.checks.check_copies: which pictures are the same."""

import pathlib
import tempfile

from absl.testing import absltest
import numpy as np
from PIL import Image

from data_prep import manifest as manifest_lib
from data_prep.checks import check
from data_prep.checks import check_copies


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
    self.assertEqual(found, {2: 0, 3: 1, 4: 0})


if __name__ == '__main__':
  absltest.main()
