"""Tests what stored mask values mean: ignore labels, scribbles, --classes."""

import json

from absl.testing import absltest
from absl.testing import parameterized
from data_prep import formats
from data_prep.drawing import rasterize
from data_prep.formats import assembling
from data_prep.formats import declared_names
from data_prep.formats import mask_values
from data_prep.formats import registry
import nibabel
import numpy as np
from PIL import Image

from tests import source_case

_SIZE = (10, 20)


class DecideTest(parameterized.TestCase):
  """Tests of values that are given as counts, without files."""

  def _decide(self, *counted, declared=declared_names.Declared(), **options):
    self.report = assembling.Report(formats.Options(**options))
    mapping, self.highest = mask_values.decide(
        list(counted), self.report, declared)
    self.problems = [str(p) for p in self.report.problems]
    return mapping

  def test_largest_value_of_scribbles(self):
    exact = 'mask', {0: 80, 1: 10, 2: 10}
    found = self._decide(exact, ('scribble', {0: 3, 1: 2, 3: 95}),
                         ('scribble', {2: 1, 3: 99}))
    self.assertEqual(found, {'scribble': {'0': 0, '1': 1, '2': 2, '3': 255}})
    self.assertEqual((self.problems, self.highest), ([], 2))
    self.assertIn('3, the largest value of the scribbles',
                  self.report.notices[0])

  def test_no_exact_mask_knows_the_classes(self):
    counted = ('scribble', {0: 3, 1: 2, 2: 95}), ('scribble', {1: 3, 2: 97})
    self._decide(*counted)
    self.assertIn('value 2 of the scribbles covers most of each',
                  self.problems[0])
    self.assertIn('--mask_values=0:0,1:1,2:255', self.problems[0])
    found = self._decide(*counted, classes=('background', 'a'))
    self.assertEqual((found['scribble']['2'], self.problems), (255, []))
    self._decide(*counted, mask_values={'0': 0, '1': 1, '2': 255})
    self.assertEqual(self.problems, [])

  def test_255_of_scribbles_is_a_class_where_it_is_one_in_masks(self):
    counted = ('mask', {0: 80, 255: 20}), ('scribble', {0: 95, 128: 3, 255: 2})
    self._decide(*counted)
    self.assertLen(self.problems, 1)
    self.assertIn('--scribble_values=0:255,128:0,255:1', self.problems[0])
    values = {'0': 255, '128': 0, '255': 1}
    found = self._decide(*counted, scribble_values=values)
    self.assertEqual((self.problems, found['scribble']), ([], values))

  def test_what_is_asked_about_is_asked_once(self):
    self._decide(('scribble', {0: 3, 1: 2, 9: 95}))
    self.assertLen(self.problems, 1)
    self.assertIn('--mask_values=0:0,1:1,9:255', self.problems[0])

  def test_zero_of_scribbles_is_asked_about(self):
    counted = ('mask', {0: 80, 1: 20}), ('scribble', {0: 95, 1: 3, 2: 2})
    self._decide(*counted)
    self.assertLen(self.problems, 1)
    self.assertIn('value 0 of the scribbles covers most of each and value 2 of '
                  'the scribbles is in no exact mask', self.problems[0])
    # --mask_values would also change the 0 of the exact masks. There are as
    # many other values as classes, so they stand for the classes in order.
    self.assertIn('--scribble_values=0:255,1:0,2:1', self.problems[0])
    self.assertLessEqual(len(self.problems[0]), 200)
    found = self._decide(*counted, scribble_values={
        '0': 255, '1': 0, '2': 1})
    self.assertEqual((list(found), self.problems), (['scribble'], []))
    self.assertEmpty(self.report.notices)

  def test_values_of_scribbles_that_are_right_already(self):
    counted = ('mask', {0: 80, 1: 10, 2: 10}), ('scribble', {0: 9, 1: 1, 2: 1})
    self._decide(*counted)
    self.assertIn('--scribble_values=0:255,1:1,2:2', self.problems[0])

  @parameterized.parameters(
      ({'0': 255, '1': 1, '2': 2}, {}, [
          'no scribble marks background, class 0',
          'class 2 occurs in scribbles and in no exact mask']),
      ({'0': 255, '1': 1, '2': 1}, {}, ['no scribble marks background']),
      ({'0': 255, '1': 0, '2': 2}, {'classes': ('background', 'a', 'b')}, [
          'class 2 (b) occurs in scribbles and in no exact mask']))
  def test_scribbles_that_lack_a_class_are_mentioned(
      self, values, options, expected):
    self._decide(('mask', {0: 80, 1: 20}), ('scribble', {0: 95, 1: 3, 2: 2}),
                 scribble_values=values, **options)
    self.assertEqual(self.problems, [])
    notices = self.report.notices
    self.assertLen(notices, len(expected))
    for text in expected:
      self.assertTrue(any(text in n for n in notices), notices)

  def test_scribbles_alone_without_background(self):
    self._decide(('scribble', {1: 3, 2: 2, 255: 95}))
    self.assertIn('no scribble marks background', self.report.notices[0])

  def test_a_value_of_coarse_masks_only(self):
    counted = ('mask', {0: 80, 1: 20}), ('coarse_mask', {0: 60, 1: 20, 2: 20})
    self._decide(*counted)
    self.assertIn('value 2 of the coarse_masks is in no exact mask',
                  self.problems[0])
    self._decide(*counted, classes=('background', 'a', 'b'))
    self.assertEqual(self.problems, [])

  def test_scribbles_where_masks_lie(self):
    counted = ('mask', {0: 3, 1: 2, 4: 95}), ('mask', {0: 5, 1: 1, 4: 94})
    self._decide(*counted)
    self.assertIn('value 4, the largest, covers most of each mask',
                  self.problems[0])
    self.assertIn('--mask_values=0:0,1:1,4:255, and --masks_are=scribble',
                  self.problems[0])
    self._decide(*counted, mask_values={'0': 0, '1': 1, '4': 255})
    self.assertEqual(self.problems, [])
    self._decide(('mask', {0: 10, 1: 90}), ('mask', {0: 8, 1: 92}))
    self.assertEqual(self.problems, [])

  def test_unlabelled_is_known_already(self):
    self.assertEqual(self._decide(
        ('mask', {0: 80, 1: 20}), ('scribble', {0: 4, 1: 3, 255: 93})), {})
    self.assertEqual(self.problems, [])

  def test_classes_and_255(self):
    found = self._decide(('mask', {0: 80, 1: 15, 255: 5}), ('mask', {2: 100}))
    self.assertEqual(
        found, {'mask': {'0': 0, '1': 1, '2': 2, '255': 255}})
    self.assertEqual(self.highest, 2)

  @parameterized.parameters(
      ([0, 50], '0:0,50:1'), ([0, 37, 38, 39], '0:0,37:1,38:2,39:3'),
      ([37, 38], '0:0,37:1,38:2'), ([0, 4], '0:0,4:1'))
  def test_most_numbers_are_unused(self, values, pairs):
    counted = 'mask', dict.fromkeys(values, 10)
    self._decide(counted)
    self.assertLen(self.problems, 1)
    self.assertIn('found 0, ', self.problems[0])
    # Otherwise, the list would look as if it were cut off.
    self.assertFalse(self.problems[0].endswith('...'))
    self.assertIn(f'--mask_values={pairs},', self.problems[0])
    self.assertLessEqual(len(self.problems[0]), 200)
    self._decide(counted, mask_values={str(v): v for v in values})
    self.assertEqual(self.problems, [])
    names = ('background', *map(str, range(1, 51)))
    self._decide(counted, classes=names)
    self._decide(counted, declared=declared_names.Declared(names))
    self.assertEqual(self.problems, [])

  def test_unused_numbers_between_many_values(self):
    self._decide(('mask', dict.fromkeys(range(0, 64, 3), 10)))
    self.assertLen(self.problems, 1)
    self.assertLessEqual(len(self.problems[0]), 200)

  @parameterized.parameters(
      ([0],), ([0, 1],), ([1],), ([0, 2],), ([0, 3],), ([0, 1, 3, 4],),
      ([0, 1, 2, 4, 255],), ([0, 255],), ([3, 4],), ([255],))
  def test_a_class_is_missing(self, values):
    self._decide(('mask', dict.fromkeys(values, 10)))
    self.assertEqual(self.problems, [])

  def test_dropped_classes_are_counted(self):
    declared = declared_names.Declared(
        ('background', 'b'), {'0': 0, '1': 0, '2': 1}, (), frozenset([1]))
    self._decide(('mask', {0: 5, 1: 7}), ('mask', {0: 5, 2: 7}),
                 declared=declared)
    self.assertIn('7 pixels of 1 mask become background: of classes that '
                  '--classes leaves out', self.report.notices)


class ReadTest(source_case.SourceCase):

  def _picture(self, name):
    path = self.source / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(
        256, size=(*_SIZE, 3), dtype=np.uint8)).save(path)

  def _mask(self, name, *columns):
    """Writes a mask from pairs (value, number of columns)."""
    row = np.concatenate([np.full(n, v, np.uint8) for v, n in columns])
    path = self.source / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.tile(row, (_SIZE[0], 1))).save(path)

  def test_unlabelled_pixels_make_masks_weak(self):
    masks = {'border': [(0, 10), (1, 8), (2, 2)], 'part': [(1, 12), (2, 8)],
             'most': [(1, 8), (2, 12)], 'none': [(2, 20)]}
    for name, columns in masks.items():
      self._picture(f'images/{name}.png')
      self._mask(f'labels/{name}.png', *columns)
    (self.source / 'dataset.json').write_text(json.dumps(
        {'labels': {'background': 0, 'organ': 1, 'ignore': 2}}))
    imported = registry.read(
        'folder', self.source, self.output, formats.Options())
    self.assertEqual(imported.problems, [])
    self.assertEqual(imported.classes, ('background', 'organ'))
    rows = {r.id: r for r in imported.rows}
    self.assertEqual(
        {k: r.annotation and r.annotation['kind'] for k, r in rows.items()},
        {'border': 'mask', 'part': 'coarse_mask', 'most': 'scribble',
         'none': None})
    self.assertEqual(rows['none'].role, 'unlabelled')
    label = rasterize.rasterize(
        rows['border'].annotation, size=_SIZE, root=self.source)
    np.testing.assert_array_equal(
        label[0], [0] * 10 + [1] * 8 + [255] * 2)

  def test_volumes_with_an_ignore_label(self):
    labels = np.full((8, 9, 3), 2, np.uint8)
    # Slice 0 is partly unlabelled, slice 1 not at all, and slice 2 completely.
    labels[:, :4, 0] = 1
    labels[..., 2] = 0
    for name, array in (
        ('imagesTr/c_0000', np.arange(216).reshape(8, 9, 3).astype(np.int16)),
        ('labelsTr/c', labels)):
      path = self.source / f'{name}.nii.gz'
      path.parent.mkdir(exist_ok=True)
      nibabel.save(
          nibabel.Nifti1Image(array, np.diag([1.0, 1.0, 3.0, 1.0])), path)
    (self.source / 'dataset.json').write_text(json.dumps({
        'channel_names': {'0': 'MRI'},
        'labels': {'background': 0, 'organ': 1, 'ignore': 2}}))
    imported = registry.read(
        'nifti', self.source, self.output, formats.Options())
    self.assertEqual(imported.problems, [])
    self.assertEqual(imported.classes, ('background', 'organ'))
    self.assertEqual(
        [r.annotation and r.annotation['kind'] for r in imported.rows],
        ['scribble', None, 'mask'])
    label = rasterize.rasterize(
        imported.rows[0].annotation, size=(8, 9), root=self.output)
    np.testing.assert_array_equal(label[0], [1] * 4 + [255] * 5)

  def test_scribbles_of_volumes(self):
    truth = np.zeros((8, 9, 2), np.uint8)
    truth[2:5] = 1
    scribble = np.full_like(truth, 2)
    scribble[3, 4:6] = 1
    scribble[7, 4:6] = 0
    image = np.arange(144).reshape(8, 9, 2).astype(np.int16)
    for name, array in (
        ('images/a', image), ('images/b', image + 3), ('labels/a', truth),
        ('scribbles/b', scribble)):
      path = self.source / f'{name}.nii.gz'
      path.parent.mkdir(exist_ok=True)
      nibabel.save(
          nibabel.Nifti1Image(array, np.diag([1.0, 1.0, 3.0, 1.0])), path)
    imported = registry.read(
        'nifti', self.source, self.output, formats.Options())
    self.assertEqual(imported.problems, [])
    self.assertEqual(imported.classes, ('background', 'foreground'))
    label = rasterize.rasterize(
        imported.rows[2].annotation, size=(8, 9), root=self.output)
    self.assertEqual(np.unique(label).tolist(), [0, 1, 255])


if __name__ == '__main__':
  absltest.main()
