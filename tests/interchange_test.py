"""Tests reading real files of QuPath and Label Studio, where there are any.

They lie in the folder interchange/ below HYBRIDSEG_REAL_DATA. Their pictures
are not there; empty ones of the listed sizes take their places.
"""

import collections
import json
import os
import pathlib
import shutil

from absl.testing import absltest
from data_prep import formats
from data_prep.formats import registry
from data_prep.sets import own_set
from PIL import Image

from tests import source_case


def _folder(name):
  folder = os.environ.get('HYBRIDSEG_REAL_DATA')
  path = pathlib.Path(folder or '', 'interchange', name)
  if not folder or not path.is_dir():
    raise absltest.SkipTest('no real files of annotation tools')
  return path


class InterchangeTest(source_case.SourceCase):

  def _copy(self, path, picture, size):
    shutil.copy(path, self.source / path.name)
    Image.new('L', size).save(self.source / picture)

  def _read(self, name, **options):
    self.assertEqual(registry.detect_format(self.source), name)
    imported = registry.read(
        name, self.source, self.output, formats.Options(**options))
    self.assertEqual(imported.problems, [])
    return imported

  def test_qupath_with_points_of_no_class(self):
    self._copy(_folder('geojson') / 'TD_01_verysmall_mIF.geojson',
               'TD_01_verysmall_mIF.png', (1000, 1000))
    imported = self._read('geojson')
    self.assertEqual(imported.classes, ('background', 'class_1', 'class_2'))
    row, = imported.rows
    # The three points are for calibration.
    self.assertEqual(collections.Counter(row.annotation['labels']),
                     {1: 3, 2: 3, 255: 3})

  def test_qupath_with_names_alone(self):
    self._copy(_folder('geojson') / 'qupath05.geojson', 'qupath05.png',
               (9900, 6700))
    imported = self._read('geojson')
    self.assertEqual(imported.classes, ('background', 'I', 'UT'))
    self.assertEqual(imported.rows[0].annotation['labels'], [2, 1, 1])

  def test_label_studio(self):
    folder = _folder('label_studio')
    for name, expected in (
        # A box, a polygon, two points, and the rest, which is unlabelled.
        ('coco/data.json', {('0', '', 'coarse_mask', 5)}),
        ('yolo/data.json', {('0@1', '1', 'box', 2), ('0@2', '2', 'box', 2),
                            ('1', '1', 'box', 2)}),
        ('yolo/data_obb.json', {('0', '1', 'polygon', 23),
                                ('1', '1', 'polygon', 1),
                                ('2', '1', 'polygon', 1)}),
        ('yolo/data_polygons.json', {('0', '1', 'polygon', 1)})):
      with self.subTest(name):
        source = self.source / name.replace('/', '_')
        source.mkdir()
        tasks = json.loads((folder / name).read_text())
        for number, task in enumerate(tasks):
          task['data'] = {'image': f'{number}.png'}
          region = task['annotations'][0]['result'][0]
          Image.new('L', (region['original_width'], region['original_height'])
                    ).save(source / f'{number}.png')
        (source / 'data.json').write_text(json.dumps(tasks))
        imported = registry.read(
            'label_studio', source, self.output, formats.Options())
        self.assertEqual(imported.problems, [])
        self.assertEqual({
            (r.id, r.annotator, r.annotation['kind'],
             len(r.annotation['labels'])) for r in imported.rows}, expected)

  def test_darwin_is_named(self):
    shutil.copy(_folder('darwin') / '103S.json', self.source)
    self.assertIn("103S.json looks like Darwin's", registry.refusal(
        self.source))
    Image.new('L', (30, 20)).save(self.source / '103S.png')
    own = own_set.read(
        self.output, source=self.source, format_name=None,
        options=formats.Options(), subjects=None, name='x')
    self.assertIn("looks like Darwin's", str(own.problems[0]))


if __name__ == '__main__':
  absltest.main()
