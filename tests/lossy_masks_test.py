"""Tests that JPEG masks are refused with one line in every layout."""

from absl.testing import absltest
from absl.testing import parameterized
from data_prep import formats
from data_prep.formats import assembling
from data_prep.formats import mask_values
import numpy as np
from PIL import Image

from tests import source_case


class JpegTest(source_case.SourceCase):
  """Tests masks of 60 x 80 pixels with two squares of 24 x 20 pixels.

  The squares do not fit the blocks of 8 x 8 pixels that JPEG uses.
  """

  def _mask(self, name, first, second=0, **options):
    mask = np.zeros((60, 80), np.uint8)
    mask[10:34, 11:31], mask[20:44, 45:65] = first, second
    Image.fromarray(mask).save(self.source / name, **options)
    return 'mask', self.source / name

  def _problems(self, *found, **options):
    report = assembling.Report(formats.Options(**options))
    self.values = mask_values.map_values(list(found), report)
    return [str(p) for p in report.problems]

  def test_black_and_white(self):
    found = [self._mask('a.jpg', 255), self._mask('b.png', 255)]
    problem, = self._problems(*found)
    self.assertIn('1 mask is JPEG, whose compression changes class numbers',
                  problem)
    self.assertIn('a.jpg', problem)
    self.assertIn('--mask_threshold=128', problem)
    self.assertEqual(self._problems(*found, mask_threshold=128), [])

  def test_threshold_would_empty_the_other_masks(self):
    problem, = self._problems(
        self._mask('a.jpg', 255), self._mask('b.png', 1))
    self.assertIn('export as PNG', problem)

  def test_grey_levels(self):
    problem, = self._problems(self._mask('a.JPEG', 127, 254, quality=95))
    self.assertRegex(
        problem, r'export as PNG \(the pixels gather around '
        r'0, 12\d, 25\d\)')
    self.assertLessEqual(len(problem), 200)

  def test_class_numbers(self):
    # Compression turns class 1 into 0 to 2 or 3. The suffix does not matter.
    self._mask('a.jpg', 1, quality=90)
    (self.source / 'a.jpg').rename(self.source / 'a.png')
    problem, = self._problems(('mask', self.source / 'a.png'))
    self.assertIn('export as PNG (the pixels hold 0 to', problem)

  def test_nothing_and_clean_values(self):
    empty = self._mask('a.jfif', 0, format='JPEG')
    self.assertEqual(self._problems(empty, self._mask('b.png', 1, 2)), [])
    self.assertEqual(self.values, ({}, 2))
    self.assertEqual(self._problems(empty), [])
    Image.fromarray(np.full((16, 16), 255, np.uint8)).save(
        self.source / 'c.jpg')
    self.assertEqual(self._problems(empty, ('mask', self.source / 'c.jpg')), [])


class LayoutsTest(source_case.ShapesCase):

  def _jpeg(self, name, mask, **options):
    path = self.source / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask).save(path, format='JPEG', **options)

  def _square(self, value, right=0):
    mask = np.zeros(source_case.SIZE, np.uint8)
    mask[3:14, 5 + right:18 + right] = value
    return mask

  @parameterized.parameters('jpg', 'png')
  def test_files_of_structures(self, suffix):
    for name in 'ab':
      self.picture(f'images/{name}.png')
      for right, structure in enumerate(('liver', 'spleen')):
        self._jpeg(f'masks/{name}/{structure}.{suffix}',
                   self._square(255, 8 * right))
    problem = str(self.read('folder', problems=1).problems[0])
    self.assertIn('4 masks are JPEG, whose compression', problem)
    self.assertIn('--mask_threshold=128', problem)
    imported = self.read('folder', mask_threshold=128)
    self.assertEqual(self.counts(imported.rows[0]), {0: 369, 1: 88, 2: 143})

  def test_files_of_structures_of_small_values(self):
    for name in 'ab':
      self.picture(f'images/{name}.png')
      self.write(f'masks/{name}/liver.png', self._square(1))
      self._jpeg(f'masks/{name}/spleen.jpg', self._square(255, 8))
    problem = str(self.read('folder', problems=1).problems[0])
    self.assertIn('2 masks are JPEG', problem)
    # The masks of the liver hold values below 128.
    self.assertIn('export as PNG', problem)

  @parameterized.parameters('jpg', 'png')
  def test_voc(self, suffix):
    colours = np.array([(0, 0, 0), (128, 0, 0)], np.uint8)
    self.write('labelmap.txt', 'background:0,0,0::\na:128,0,0::\n')
    for name, mask in (('a', colours[self._square(1)]),
                       ('b', self._square(1)), ('c', self._square(0))):
      self.picture(f'JPEGImages/{name}.jpg')
      self._jpeg(f'SegmentationClass/{name}.{suffix}', mask, quality=60)
    problem, = self.read('voc', problems=1).problems
    self.assertIn('2 masks are JPEG, whose compression changes class numbers '
                  'and colours', str(problem))
    self.assertLessEqual(len(str(problem)), 200)

  def test_voc_of_jpeg_beside_png(self):
    self.write('labelmap.txt', 'background\na\n')
    self.picture('JPEGImages/a.jpg')
    self._jpeg('SegmentationClass/a.jpg', self._square(200))
    self.write('SegmentationClass/a.png', self._square(1))
    row, = self.read('voc').rows
    self.assertEqual(self.counts(row), {0: 457, 1: 143})


if __name__ == '__main__':
  absltest.main()
