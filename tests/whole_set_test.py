"""Tests of data_prep.sets.whole_set and records.volume_records."""

import csv
import hashlib
import json
import pathlib
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
from data_prep.formats import volumes
from data_prep.records import chunks
from data_prep.records import volume_records
from data_prep.volumes import planning
import nibabel
import numpy as np

from tests import prepare_binary

_SHAPE = (10, 12, 14)


def _label(k=0):
  label = np.zeros(_SHAPE, np.uint8)
  label[2:6, 3:9, 3:10] = 1
  label[3:5, 4:6, 5 : 7 + k % 3] = 2
  return label


def _image(k=0):
  rng = np.random.default_rng(k)
  image = 100 + 50.0 * _label(k) + rng.normal(size=_SHAPE)
  image[0] = 0  # Outside of the body.
  return ((1 + k) * image).astype(np.float32)


class WholeSetTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(
        self.enter_context(tempfile.TemporaryDirectory()))
    self.source = self.folder / 'source'

  def _save(self, name, array, affine=None):
    path = self.source / name
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.eye(4) if affine is None else affine
    nibabel.save(nibabel.Nifti1Image(array, affine), path)

  def _save_cases(self, number=6):
    for k in range(number):
      self._save(f'images/c{k}.nii.gz', _image(k))
      self._save(f'labels/c{k}.nii.gz', _label(k))

  def _prepare(self, *more, output='out'):
    return prepare_binary.run(
        '--volumes', f'--source={self.source}',
        f'--output={self.folder / output}', *more)

  def _reader(self, output='out'):
    return chunks.Reader(self.folder / output / 'chunks')

  def _read(self, reader, name, field):
    return reader.read_patch(
        name, (0, 0, 0), reader.volumes[name].shape, field)

  def test_volumes_of_the_target_spacing_stay_exact(self):
    self._save_cases()
    code, out, err = self._prepare()
    self.assertEqual((code, err), (0, []))
    self.assertIn('intensities are read as mr', out)
    self.assertIn('patch 10 x 12 x 14, batch 2, 2 levels', out)
    reader = self._reader()
    self.assertEqual(list(reader.volumes), [f'c{k}' for k in range(6)])
    self.assertEqual(
        reader.more, {'name': 'source',
                      'classes': ['background', 'class_1', 'class_2']})
    for k, (name, volume) in enumerate(reader.volumes.items()):
      np.testing.assert_array_equal(
          self._read(reader, name, 'label'), _label(k))
      body = _image(k)[_image(k) != 0]
      np.testing.assert_allclose(
          self._read(reader, name, 'image') / 65535 * 15 - 5,
          np.clip((_image(k) - body.mean()) / body.std(), -5, 10), atol=5e-4)
      self.assertEqual(volume.fields, ('image', 'label'))
      self.assertEqual(volume.more['role'], 'strong')
      self.assertEqual(volume.more['kind'], 'mask')
    with open(self.folder / 'out/splits.csv', encoding='utf-8') as file:
      found = {row['id']: row['split'] for row in csv.DictReader(file)}
    self.assertEqual(
        found, {n: v.more['split'] for n, v in reader.volumes.items()})

  def test_the_same_bytes(self):
    self._save_cases()
    options = ('--simulate=slices,box', '--fault_fraction=0.5')
    sums = []
    for output in ('a', 'b'):
      self.assertEqual(self._prepare(*options, output=output)[0], 0)
      sums.append({
          str(p.relative_to(self.folder / output)): hashlib.sha256(
              p.read_bytes()).hexdigest()
          for p in (self.folder / output).rglob('*') if p.is_file()})
    self.assertEqual(*sums)
    self.assertLen(sums[0], 6 + 3 + 6 + 1)

  def test_another_orientation_and_spacing(self):
    """The records are in RAS; their affine and that of the file are kept."""
    self._save_cases(5)
    affine = np.array([  # Axes: I, L, A; voxels of 2 x 1 x 1 mm.
        [0, -1.0, 0, 9], [0, 0, 1, 0], [-2, 0, 0, 26], [0, 0, 0, 1]])
    turned = np.transpose(_label()[:, :, 1::2], (2, 0, 1))[::-1, ::-1]
    self._save('images/t.nii.gz', turned.astype(np.float32), affine)
    self._save('labels/t.nii.gz', turned, affine)
    code, out, err = self._prepare('--split_fractions=1,0,0')
    self.assertEqual((code, err), (0, []))
    self.assertIn('spacings of 1 x 1 x 1 to 1 x 1 x 2 mm are resampled', out)
    volume = self._reader().volumes['t']
    self.assertEqual(volume.shape, _SHAPE)
    found = self._read(self._reader(), 't', 'label')
    self.assertGreater((found == _label()).mean(), 0.97)
    self.assertEqual(volume.more['stored_affine'], affine.tolist())
    self.assertEqual(volume.more['stored_shape'], list(turned.shape))
    np.testing.assert_allclose(
        np.diag(volume.more['affine']), [1, 1, 1, 1])
    plan, _ = planning.read_plan(self.folder / 'out/plan.json')
    back = volume_records.restore(
        np.eye(3, dtype=np.float32)[found], affine, plan,
        np.empty(turned.shape, np.uint8))
    self.assertGreater((back == turned).mean(), 0.99)

  def test_simulated_slices(self):
    self._save_cases(10)
    code, out, _ = self._prepare(
        '--simulate=slices', '--strong_fraction=0.3', '--fault_fraction=0.4',
        '--split_fractions=0.8,0.1,0.1')
    self.assertEqual(code, 0)
    self.assertIn('train: 8 volumes of 8 subjects (2 strong, 6 weak)', out)
    reader = self._reader()
    weak = [v for v in reader.volumes.values() if v.more['role'] == 'weak']
    self.assertEqual(sum(v.more['fault'] != '' for v in weak), 2)
    for volume in weak:
      k = int(volume.id[1:])
      self.assertEqual(volume.more['kind'], 'slices')
      self.assertEqual(volume.fields, ('image', 'label', 'truth'))
      truth = self._read(reader, volume.id, 'truth')
      np.testing.assert_array_equal(truth, _label(k))
      label = self._read(reader, volume.id, 'label')
      known = label != 255
      self.assertBetween(known.mean(), 1 / 14, 3 / 14)
      if not volume.more['fault']:
        np.testing.assert_array_equal(label[known], truth[known])
        self.assertEqual(volume.more['quality'], 1)

  def test_extreme_points_survive_a_coarser_grid(self):
    self._save_cases(10)
    code, _, err = self._prepare(
        '--simulate=extreme_points', '--strong_fraction=0.3',
        '--split_fractions=0.8,0.1,0.1', '--spacing_mm=2,2,2')
    self.assertEqual((code, err), (0, []))
    reader = self._reader()
    weak = [v for v in reader.volumes.values() if v.more['role'] == 'weak']
    self.assertLen(weak, 6)
    for volume in weak:
      label = self._read(reader, volume.id, 'label')
      self.assertTrue((label == 1).any() and (label == 2).any())
      outside = np.ones(label.shape, bool)
      outside[1:3, 1:5, 1:5] = False  # The voxels of both boxes.
      np.testing.assert_array_equal(
          np.unique(label[outside]), [0], str(volume.id))
      self.assertFalse((label[1:3, 2:4, 2:4] == 0).any())
      self.assertNotIn('present', volume.more)

  def test_drawn_slices_are_weak(self):
    self._save_cases()
    label = np.full(_SHAPE, 255, np.uint8)
    label[..., 5] = _label()[..., 5]
    label[..., 2] = _label()[..., 2]
    self._save('images/w.nii.gz', _image())
    self._save('labels/w.nii.gz', label)
    code, out, err = self._prepare('--instances=slabs')
    self.assertEqual((code, err), (0, []))
    self.assertIn('2 slabs of weak volumes are instances', out)
    slabs = self._reader().volumes['w'].more['slabs']
    self.assertEqual(
        [(s['start'], s['stop'], s['first'], s['last']) for s in slabs],
        [(0, 4, 0, 3), (4, _SHAPE[2], 4, _SHAPE[2] - 1)])
    code, _, err = self._prepare('--overwrite', '--instances=volumes')
    self.assertEqual((code, err), (0, []))
    self.assertNotIn('slabs', self._reader().volumes['w'].more)
    volume = self._reader().volumes['w']
    self.assertEqual(
        (volume.more['kind'], volume.more['role'], volume.more['split']),
        ('slices', 'weak', 'train'))
    np.testing.assert_array_equal(
        self._read(self._reader(), 'w', 'label'), label)

  def test_subjects_stay_together(self):
    self._save_cases(8)
    path = self.folder / 'subjects.csv'
    path.write_text('id,subject\n' + ''.join(
        f'c{k},s{k // 2}\n' for k in range(8)))
    self.assertEqual(self._prepare(f'--subjects={path}')[0], 0)
    splits = {}
    for volume in self._reader().volumes.values():
      splits.setdefault(volume.more['subject'], set()).add(
          volume.more['split'])
    self.assertLen(splits, 4)
    self.assertEqual({len(s) for s in splits.values()}, {1})

  def test_an_edited_plan(self):
    self._save_cases()
    self.assertEqual(self._prepare()[0], 0)
    path = self.folder / 'out/plan.json'
    fields = json.loads(path.read_text()) | {
        'spacing_mm': [2, 2, 2], 'chunk_size': [3, 3, 3]}
    edited = self.folder / 'edited.json'
    edited.write_text(json.dumps(fields))
    code, _, err = self._prepare(f'--plan={edited}', output='coarse')
    self.assertEqual((code, err), (0, []))
    reader = self._reader('coarse')
    self.assertEqual(reader.chunk_size, (3, 3, 3))
    self.assertEqual(reader.volumes['c0'].shape, (5, 6, 7))
    edited.write_text(json.dumps(fields | {'batch_size': 0}))
    code, _, err = self._prepare(f'--plan={edited}', output='wrong')
    self.assertEqual(code, 2)
    self.assertEqual(err, [
        'edited.json, batch_size: expected a whole number above 0, found 0; '
        'correct it'])

  def test_no_file_is_read_into_memory(self):
    self._save_cases()
    with mock.patch.object(volumes, 'MAX_BYTES', 1000):
      self.assertEqual(self._prepare()[0], 0)
    np.testing.assert_array_equal(
        self._read(self._reader(), 'c1', 'label'), _label(1))

  def test_check_writes_nothing(self):
    self._save_cases()
    code, out, _ = prepare_binary.run(
        '--volumes', f'--source={self.source}', '--check')
    self.assertEqual(code, 0)
    self.assertIn('plan: spacing 1 x 1 x 1 mm', out)
    self.assertEqual([p.name for p in self.folder.iterdir()], ['source'])

  def test_overwrite(self):
    self._save_cases()
    self.assertEqual(self._prepare()[0], 0)
    code, _, err = self._prepare()
    self.assertEqual(code, 2)
    self.assertIn('holds a set of volumes; give --overwrite', err[0])
    self.assertEqual(self._prepare('--overwrite', '--spacing_mm=2,2,2')[0], 0)
    self.assertEqual(self._reader().volumes['c0'].shape, (5, 6, 7))

  @parameterized.named_parameters(
      ('four_axes', dict(image=np.ones((4, 4, 4, 2), np.float32)),
       'expected three axes'),
      ('shear', dict(affine=np.array([
          [1.0, 0, 0, 0], [0, 1, 0.3, 0], [0, 0, 1, 0], [0, 0, 0, 1]])),
       'the axes of the volume are not at right angles'),
      ('one_value', dict(image=np.ones(_SHAPE, np.float32)),
       'all voxels of the image have one value'),
      ('another_grid', dict(affine_of_label=np.diag([1, 1, 2.0, 1])),
       'the spacing of the labels is not that of their image'),
      ('missing_slices', dict(label=_label()[..., :-3]),
       'the size of the labels is not that of their image'),
      ('fractions', dict(label=_label() / np.float32(2)), 'labels hold fract'))
  def test_bad_inputs_are_one_line(self, change, expected):
    self._save_cases(3)
    affine = change.get('affine')
    self._save('images/x.nii.gz', change.get('image', _image()), affine)
    self._save('labels/x.nii.gz', change.get('label', _label()),
               change.get('affine_of_label', affine))
    code, _, err = self._prepare()
    self.assertEqual(code, 2)
    self.assertLen(err, 1)
    self.assertIn(expected, err[0])
    self.assertIn('x.nii.gz', err[0])
    self.assertLessEqual(len(err[0]), 200)
    self.assertEqual([p.name for p in self.folder.iterdir()], ['source'])

  def test_oblique_and_single_slices_are_notices(self):
    self._save_cases()
    cos, sin = np.cos(0.3), np.sin(0.3)
    oblique = np.array([
        [cos, -sin, 0, 0], [sin, cos, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    self._save('images/o.nii.gz', _image()[..., 5:6], oblique)
    self._save('labels/o.nii.gz', _label()[..., 5:6], oblique)
    code, out, err = self._prepare()
    self.assertEqual((code, err), (0, []))
    self.assertIn('more than 5 degrees oblique', out)
    self.assertIn('volumes of a single slice', out)
    self.assertEqual(self._reader().volumes['o'].shape, (10, 12, 1))

  @parameterized.parameters(
      (('--image_size=96',), '--image_size is not for --volumes'),
      (('--simulate=point',), "unknown ['point']; known: slices, box, "
       'scribble, extreme_points, points, coarse_mask, tag, none'),
      (('--spacing_mm=1,1',), '--spacing_mm: expected 3 numbers'),
      (('--spacing_mm=1,1,0',), 'expected three numbers above 0'),
      (('--plan=nowhere.json',), '--plan=nowhere.json: no such file'),
      (('--novolumes', '--modality=ct'), '--modality is for --volumes'),
      (('--novolumes', '--instances=slabs'), '--instances is for --volumes'),
      (('--slab_slices=3',), '--slab_slices is for --instances=slabs: give'))
  def test_flags(self, flags, expected):
    self._save_cases(1)
    code, _, err = self._prepare(*flags)
    self.assertEqual(code, 2)
    self.assertIn(expected, err[-1])


if __name__ == '__main__':
  absltest.main()
