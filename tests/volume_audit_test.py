"""Tests of experiments.auditing.volume_audit."""

import csv
import json
import pathlib
from unittest import mock

from absl.testing import absltest
from data_prep.formats import nrrd
from data_prep.formats import volume_cases
from data_prep.records import set_cases
from data_prep.shared import volume_type
from hybridseg import types
import numpy as np

from experiments import binary
from experiments.auditing import files
from experiments.auditing import volume_audit
from experiments.building import volume_set
from experiments.prediction import predictor
from experiments.reports import strips
from tests import html_pages
from tests import tiny
from tests import tiny_volumes


class VolumeAuditTest(absltest.TestCase):

  def _audit(self, data_dir=None):
    """Audits the tiny set with networks that predict nearly all voxels well."""
    data_dir = data_dir or tiny_volumes.data_dir()
    workdir = tiny.temp_dir(self)
    config = tiny_volumes.debug_config()
    loaded = mock.Mock(
        dataset=volume_set.load(data_dir), batch_size=2,
        data_dir=data_dir, run_fn=tiny_volumes.run_exactly)
    with (mock.patch.object(
        volume_audit.run_folder, 'read_config', return_value=config),
          mock.patch.object(predictor, 'load', return_value=loaded)):
      self.assertTrue(volume_audit.is_of_volumes(workdir))
      return workdir, volume_audit.audit(workdir)

  def test_faults_come_first_and_their_slices_are_named(self):
    with mock.patch.object(strips, 'NUM_SHOWN', 3):
      _, found = self._audit()
    self.assertEqual([f.strip is not None for f in found], 3 * [1] + 5 * [0])
    self.assertEqual(
        [f.score for f in found], sorted(f.score for f in found)[::-1])
    for finding in found:
      record = finding.record
      if record['kind'] == types.AnnotationKind.SLICES:
        wrong = (record['label'] != record['truth']) & (
            record['label'] != types.UNLABELLED)
        if not record['fault']:
          self.assertLess(finding.score, 0.1)
        elif wrong.any():
          self.assertGreater(finding.score, 0.1)
        axis, _ = record.plane
        self.assertEqual((axis, finding.axis), (2, 2))
        # Every fifth volume has two slices for each one of the records.
        is_fine = int(record['id'][1:]) % 5 == 4
        places = np.flatnonzero(wrong.any((0, 1)))
        if not record['fault'] or not len(places):
          continue
        if is_fine:
          places = 2 * places + 1
        self.assertContainsSubset(finding.slices[:1], places.tolist())

  def test_slabs_are_ranked_by_themselves(self):
    with mock.patch.object(strips, 'NUM_SHOWN', 2):
      workdir, found = self._audit(tiny_volumes.data_dir(3))
    by_volume = {}
    for finding in found:
      record, slab = finding.record, finding.record.slab
      by_volume.setdefault(record.volume.id, []).append(finding)
      self.assertTrue(all(
          slab.first <= k <= slab.last for k in finding.slices))
      if not record['fault']:
        self.assertLess(finding.score, 0.35)  # Boxes are rough.
      elif record['kind'] == types.AnnotationKind.SLICES:
        self.assertGreater(finding.score, 0.1)
    # Volumes with good slabs and slabs that show their fault.
    mixed = [fs for fs in by_volume.values()
             if len({f.record['fault'] for f in fs}) == 2]
    self.assertNotEmpty(mixed)
    for findings in mixed:
      good, bad = (
          [f.score for f in findings if (f.record['fault'] != '') == is_bad]
          for is_bad in (False, True))
      self.assertLess(max(good), min(bad))
    dataset = volume_set.load(tiny_volumes.data_dir(3))
    summary = volume_audit.write(workdir, workdir, dataset, found)
    self.assertEqual(summary['num_annotations'], len(found))
    with open(f'{workdir}/audit.csv', encoding='utf-8') as file:
      rows = list(csv.DictReader(file))
    for row, finding in zip(rows, found, strict=True):
      self.assertEqual(row['id'], '{volume}:{first_slice}-{last_slice}'.format(
          **row))
      self.assertEqual(row['fault'], finding.record['fault'])

  def test_the_most_suspect_are_exported(self):
    workdir, found = self._audit()
    ids = [f.record['id'] for f in found[:2]]
    output = pathlib.Path(workdir) / 'suspects_nrrd'
    self.assertIn('2 suspects as nrrd', files.export_volumes(
        tiny_volumes.data_dir(), ids, 'nrrd', output))
    for name in ids:
      case, = set_cases.read(tiny_volumes.data_dir(), ids=[name]).cases
      (kind, label), = case.read_labels().items()
      drawn = nrrd.draw(
          output / volume_cases.folder_of(kind) / f'{name}.seg.nrrd',
          volume_type.Volume(np.zeros(case.shape), case.affine),
          {'unlabelled': 255, 'class_1': 1, 'class_2': 2})
      np.testing.assert_array_equal(drawn.label, label)
      self.assertTrue((output / f'images/{name}.nii').exists())
    with self.assertRaisesRegex(
        binary.Incomplete, 'Nothing exported: dicom_seg needs DICOM series'):
      files.export_volumes(
          tiny_volumes.data_dir(), ids, 'dicom_seg', output / 'x')

  def test_tables(self):
    workdir, found = self._audit()
    (pathlib.Path(workdir) / 'indicators.csv').write_text(
        f'id,indicator\n{found[0].record["id"]},0.25\n', 'utf-8')
    dataset = volume_set.load(tiny_volumes.data_dir())
    summary = volume_audit.write(workdir, workdir, dataset, found)
    with open(f'{workdir}/audit.csv', encoding='utf-8') as file:
      rows = list(csv.DictReader(file))
    self.assertEqual([row['id'] for row in rows],
                     [f.record['id'] for f in found])
    self.assertEqual(
        [row['indicator'] for row in rows], ['0.25'] + 7 * [''])
    for row, finding in zip(rows, found, strict=True):
      number = finding.record.volume.more['stored_shape'][2]
      self.assertEqual(
          (row['volume'], row['first_slice'], row['last_slice']),
          (row['id'], '0', str(number - 1)))
    self.assertEqual(rows[0]['slices'], ' '.join(map(str, found[0].slices)))
    with open(f'{workdir}/audit.json', encoding='utf-8') as file:
      self.assertEqual(json.load(file), summary)
    self.assertEqual(summary['num_annotations'], 8)
    self._check_page(pathlib.Path(workdir, 'audit.html'), found)

  def _check_page(self, path, found):
    text = path.read_text('utf-8')
    page = html_pages.assert_sound(self, text)
    self.assertLess(len(text), 1e6)
    sliders = [i for i in page.all('input') if i['type'] == 'range']
    self.assertLen(sliders, 8)
    for finding, slider in zip(found, sliders, strict=True):
      # Each slice of the record has a place, even if it is two of the file.
      numbers = [int(n) for n in slider['data-numbers'].split()]
      self.assertLen(numbers, finding.record.volume.shape[2])
      self.assertEqual(slider['max'], str(len(numbers) - 1))
      if finding.slices:
        self.assertEqual(
            numbers[int(slider['value'])], finding.slices[0])
    self.assertEqual(text.count('class="strip"'), 8)


if __name__ == '__main__':
  absltest.main()
