"""Tests of data_prep.formats.label_table: class names in NIfTI headers."""

from absl.testing import absltest
from absl.testing import parameterized
from data_prep import formats
from data_prep.formats import label_table
from data_prep.formats import registry
from data_prep.formats import volumes
import nibabel
import numpy as np
from PIL import Image

from tests import source_case

_SHAPE = (8, 9, 2)


def _xml(names, start='<?xml version="1.0" encoding="UTF-8"?> '):
  labels = ''.join(
      f'<Label Key="{value}" Red="1" Green="0" Blue="0" Alpha="1">'
      f'<![CDATA[{name}]]></Label>\n' for value, name in names.items())
  return (f'{start}<CaretExtension><Date><![CDATA[2013]]></Date>'
          f'<VolumeInformation Index="0"><LabelTable>\n{labels}</LabelTable>'
          '</VolumeInformation></CaretExtension>\n   ').encode()


def _volume(array, *contents, form=nibabel.Nifti1Image, code=0):
  image = form(array, np.diag([1.0, 1, 3, 1]))
  image.header.extensions.extend(
      nibabel.nifti1.Nifti1Extension(code, c) for c in contents)
  return image.to_bytes()


def _labels():
  labels = np.zeros(_SHAPE, np.uint8)
  labels[2:4, 2:6], labels[5:7, 2:6], labels[0, 0] = 3, 7, 1
  return labels


class LabelTableTest(source_case.SourceCase):

  def _names(self, content):
    self.write('v.nii', content)
    return volumes.read_nifti(self.source / 'v.nii').names

  @parameterized.named_parameters(
      ('as_totalsegmentator', _volume(_labels(), _xml(
          {1: 'spleen', 3: 'kidney_right'}))),
      ('as_workbench', _volume(_labels(), _xml(
          {0: '???', 1: 'spleen', 3: 'kidney_right'}), code=30)),
      ('behind_another', _volume(_labels(), b'a comment', _xml(
          {1: 'spleen', 3: 'kidney_right'}))),
      ('big_endian_2', _volume(_labels().astype('>i2'), _xml(
          {1: 'spleen', 3: 'kidney_right'}), form=nibabel.Nifti2Image)))
  def test_names(self, content):
    self.assertEqual(self._names(content), {1: 'spleen', 3: 'kidney_right'})

  @parameterized.named_parameters(
      ('none', _volume(_labels())),
      ('comment', _volume(_labels(), b'<LabelTable in words')),
      ('no_number', _volume(_labels(), _xml({'a': 'b'}))),
      ('control_characters', _volume(_labels(), _xml({1: 'a\nb'}))),
      ('entities', _volume(_labels(), _xml(
          {1: 'b'}, '<!DOCTYPE a [<!ENTITY b "c">]>'))),
      ('size_beyond', _volume(_labels(), _xml({1: 'b'})).replace(
          _volume(_labels(), _xml({1: 'b'}))[352:356], b'\xff\xff\xff\x7f', 1)),
      ('size_negative', _volume(_labels(), _xml({1: 'b'})).replace(
          _volume(_labels(), _xml({1: 'b'}))[352:356], b'\xff\xff\xff\xff', 1)))
  def test_whatever_else_names_nothing(self, content):
    self.assertEqual(self._names(content), {})

  def test_unite(self):
    self.assertEqual(label_table.unite([{2: 'b'}, {}, {1: 'a', 2: 'b'}]),
                     {1: 'a', 2: 'b'})
    self.assertEqual(label_table.unite([{1: 'a'}, {1: 'b'}]), {})
    self.assertEqual(label_table.unite([{1: 'a', 2: 'A', 3: 'b'}]),
                     {1: 'a_1', 2: 'A_2', 3: 'b'})

  def _read(self, names, labels=None, dataset=None, **options):
    for folder, content in (
        ('images', _volume(np.arange(144, dtype=np.int16).reshape(_SHAPE))),
        ('labels', _volume(
            _labels() if labels is None else labels, _xml(names)))):
      self.write(f'{folder}/v.nii', content)
    if dataset:
      self.write('dataset.json', {'labels': dataset})
    imported = registry.read(
        'nifti', self.source, self.source, formats.Options(**options))
    self.assertEqual(imported.problems, [])
    label = np.asarray(Image.open(
        self.source / imported.rows[0].annotation['path']))
    return imported, label

  def test_classes_are_those_that_occur(self):
    names = {i: f'organ {i}' for i in range(1, 118)}
    imported, label = self._read(names)
    self.assertEqual(
        imported.classes, ('background', 'organ 1', 'organ 3', 'organ 7'))
    expected = np.select([_labels() == v for v in (1, 3, 7)], [1, 2, 3])
    np.testing.assert_array_equal(label, expected[..., 0])
    self.assertIn('3 classes are named by the headers of the labels; 114 that '
                  'occur nowhere are left out', imported.notices)

  def test_a_value_without_a_name(self):
    imported, _ = self._read({1: 'a', 3: 'b'})
    self.assertEqual(imported.classes, ('background', 'a', 'b', 'class_7'))

  def test_ignore_is_unlabelled(self):
    imported, label = self._read({1: 'ignore', 3: 'b', 7: 'c'})
    self.assertEqual(imported.classes, ('background', 'b', 'c'))
    expected = np.select([_labels() == v for v in (1, 3, 7)], [255, 1, 2])
    np.testing.assert_array_equal(label, expected[..., 0])

  def test_classes_choose_by_name(self):
    _, label = self._read(
        {1: 'a', 3: 'b', 7: 'c'}, classes=('background', 'c', 'a'))
    expected = np.select([_labels() == v for v in (1, 3, 7)], [2, 0, 1])
    np.testing.assert_array_equal(label, expected[..., 0])

  @parameterized.named_parameters(
      ('dataset_json', {'dataset': {'background': 0, **{
          f'x{i}': i for i in range(1, 8)}}}),
      ('classes', {'classes': ('background', *(
          f'x{i}' for i in range(1, 8)))}))
  def test_other_names_count_more(self, options):
    imported, label = self._read({1: 'a', 3: 'b', 7: 'c'}, **options)
    self.assertEqual(imported.classes, (
        'background', *(f'x{i}' for i in range(1, 8))))
    np.testing.assert_array_equal(label, _labels()[..., 0])


if __name__ == '__main__':
  absltest.main()
