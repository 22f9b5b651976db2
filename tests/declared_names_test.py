"""Tests how stored values get names: dataset.json, ignore labels, --classes."""

import json

from absl.testing import absltest
from absl.testing import parameterized
from data_prep import formats
from data_prep.formats import assembling
from data_prep.formats import declared_names

from tests import source_case


class NamesTest(parameterized.TestCase):

  @parameterized.parameters(
      'ignore', 'Ignore_Label', 'unlabeled', 'Unlabelled', 'VOID',
      'not annotated', 'unannotated', "don't care", 'DontCare', 'undefined')
  def test_ignored(self, name):
    self.assertTrue(declared_names.is_ignored_name(name))

  @parameterized.parameters('background', 'organ', 'avoid', 'ignored_node')
  def test_not_ignored(self, name):
    self.assertFalse(declared_names.is_ignored_name(name))


class DatasetJsonTest(source_case.SourceCase):

  def _declared(self, labels, classes=None, **more):
    (self.source / 'dataset.json').write_text(json.dumps(
        {'labels': labels} | more))
    self.report = assembling.Report(formats.Options(classes=classes))
    return declared_names.read(self.source, (), self.report)

  @parameterized.parameters(
      ({'background': 0, 'organ': 1, 'ignore': 2},),
      ({'0': 'background', '1': 'organ', '2': 'Unlabelled'},),
      ({'background': 0, 'organ': [1], 'ignore': [2]},))
  def test_ignored(self, labels):
    declared = self._declared(labels)
    self.assertEqual(declared.classes, ('background', 'organ'))
    self.assertEqual(
        declared.values, {'0': 0, '1': 1, '2': 255, '255': 255})
    self.assertIn('is read as unlabelled', self.report.notices[0])

  def test_255_is_ignored(self):
    declared = self._declared({'background': 0, 'organ': 1, 'ignore': 255})
    self.assertEqual(declared.values, {'0': 0, '1': 1, '255': 255})

  def test_plain(self):
    declared = self._declared(
        {'background': 0, 'b': 2, 'a': 1}, channel_names={'0': 'CT'})
    self.assertEqual(declared, declared_names.Declared(
        ('background', 'a', 'b'), None, ('CT',)))

  def test_regions(self):
    declared = self._declared(
        {'background': 0, 'whole': [1, 2], 'core': [2], 'ignore': 3})
    self.assertEqual(
        declared.classes, ('background', 'whole without core', 'core'))
    self.assertEqual(declared.values['3'], 255)

  @parameterized.parameters(
      ({'whole_tumor': [1, 2, 3], 'tumor_core': [2, 3], 'enhancing_tumor': 3},
       'whole_tumor without tumor_core',
       'tumor_core without enhancing_tumor', 'enhancing_tumor'),
      ({'kidney': [1, 2, 3], 'masses': [2, 3], 'tumor': 2},
       'kidney without masses', 'tumor', 'masses without tumor'),
      ({'whole': [1, 2, 3], 'a': 2, 'b': [3]}, 'whole without a and b', 'a',
       'b'),
      ({'left': [1, 2], 'right': [2, 3]}, 'left without right',
       'left and right', 'right without left'),
      ({'w' * 40: [1, 2], 'c' * 40: 2}, f'{"w" * 40} at value 1', 'c' * 40),
  )
  def test_each_value_of_a_region_has_a_true_name(self, labels, *names):
    declared = self._declared({'background': 0} | labels)
    self.assertEqual(declared.classes, ('background', *names))
    self.assertLessEqual(max(map(len, names)), 60)
    self.assertIn(f'1 is {names[0]}'[:70], self.report.notices[0])
    self.assertIn('--classes names them otherwise', self.report.notices[0])

  def test_unusable_names_do_not_hide_what_is_ignored(self):
    declared = self._declared(
        {'background': 0, 'a': [1, 2], 'b': [1, 2], 'ignore': 3})
    self.assertIsNone(declared.classes)
    self.assertEqual(
        declared.values, {'0': 0, '1': 1, '2': 2, '3': 255, '255': 255})

  def test_classes_choose(self):
    labels = {'background': 0, 'a': 1, 'b': 2, 'c': 3, 'ignore': 4}
    declared = self._declared(labels, ('background', 'c', 'a'))
    self.assertEqual(declared.classes, ('background', 'c', 'a'))
    self.assertEqual(declared.values, {
        '0': 0, '1': 2, '2': 0, '3': 1, '4': 255, '255': 255})
    self.assertIn('classes of dataset.json that are not in --classes become '
                  'background: b', self.report.notices)
    self._declared(labels, ('background', 'a', 'x'))
    self.assertIn('found x', str(self.report.problems[0]))

  def test_classes_rename(self):
    labels = {'background': 0, 'liver': 1, 'kidney': 2}
    declared = self._declared(labels, ('Grund', 'Leber', 'Niere'))
    self.assertEqual(declared.classes, ('Grund', 'Leber', 'Niere'))
    self.assertIsNone(declared.values)

  def test_ignore_in_classes(self):
    self.report = assembling.Report(formats.Options(
        classes=('background', 'ignore', 'a')))
    declared = declared_names.read(self.source, (), self.report)
    self.assertEqual(declared.classes, ('background', 'a'))
    self.assertEqual(
        declared.values, {'0': 0, '1': 255, '2': 1, '255': 255})


if __name__ == '__main__':
  absltest.main()
