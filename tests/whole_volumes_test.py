"""Tests of experiments.prediction.whole_volumes."""

import contextlib
import io
import pathlib
import shutil
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
from data_prep.formats import nrrd_file
from data_prep.formats import volume_files as volumes_lib
import nibabel
import numpy as np
from PIL import Image

from experiments import binary
from experiments.building import volume_set
from experiments.prediction import file_by_file
from experiments.prediction import input_files
from experiments.prediction import pictures
from experiments.prediction import predictor
from experiments.prediction import results_table
from experiments.prediction import volume_windows
from tests import dicom_files
from tests import tiny
from tests import tiny_volumes
from tests import volume_files


class PredictFilesTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(tiny.temp_dir(self))
    (self.folder / 'in').mkdir()
    dataset = volume_set.load(tiny_volumes.data_dir())
    self.predictor = mock.Mock(
        spec=predictor.Predictor, dataset=dataset,
        run_fn=tiny_volumes.run_exactly, batch_size=2, digest='0',
        network='mean', flip=False, step=3,
        cost_fn=lambda shape: predictor.Cost(0.0, 0))

  def _predict(self, extras=(), **options):
    return file_by_file.predict_files(
        self.predictor, input_files.group_series(
            input_files.find_inputs(str(self.folder / 'in'))),
        str(self.folder / 'out'), extras=extras, tiling=pictures.Tiling(
            self.predictor.dataset.plan.patch_size, 1), **options)

  def _copy(self, k):
    name = f'v{k:02d}.nii'
    shutil.copy(tiny_volumes.source_dir() / 'images' / name, self.folder / 'in')

  def _read(self, path):
    return nibabel.load(self.folder / path)

  def test_results_have_the_grid_of_the_file(self):
    """Of volumes that are stored as the records, turned, and finer."""
    for k in 1, 3, 4:
      self._copy(k)
    self.assertEqual(
        self._predict(['probabilities', 'uncertainty', 'overlays']), 0)
    for k in 1, 3, 4:
      image = self._read(f'in/v{k:02d}.nii')
      exact = np.asarray(nibabel.load(
          tiny_volumes.source_dir() / f'labels/v{k:02d}.nii').dataobj)
      found = {name: self._read(f'out/{name}/v{k:02d}.nii.gz')
               for name in ('masks', 'probabilities', 'uncertainty')}
      for result in found.values():
        np.testing.assert_array_equal(result.affine, image.affine)
      mask = np.asarray(found['masks'].dataobj)
      self.assertEqual(mask.dtype, np.uint8)
      if k == 4:  # Resampled to the records and back.
        self.assertGreater((mask == exact).mean(), 0.95)
        continue
      np.testing.assert_array_equal(mask, exact)
      np.testing.assert_allclose(
          np.asarray(found['probabilities'].dataobj), np.eye(3)[exact],
          atol=1e-6)
      np.testing.assert_allclose(
          np.asarray(found['uncertainty'].dataobj), exact > 0, atol=1e-6)
      with Image.open(self.folder / f'out/overlays/v{k:02d}.png') as picture:
        self.assertEqual(picture.size, (10, 12))

  @parameterized.parameters('v01.nrrd', 'v01.mha', 'v01')
  def test_other_formats_give_the_same_mask(self, name):
    """NRRD, MetaImage, and a DICOM series, whose values are rounded."""
    image = nibabel.load(tiny_volumes.source_dir() / 'images/v01.nii')
    array = np.rint(np.asarray(image.dataobj)).astype('<i2')
    label, affine = tiny_volumes.label_of(1), np.diag([1.0, 1, 2, 1])
    if name.endswith('.nrrd'):  # Axes to the left and the back are -1.
      files = {name: volume_files.nrrd(
          array, directions='(-1,0,0) (0,-1,0) (0,0,2)')}
      result = 'v01.seg.nrrd'
    elif name.endswith('.mha'):
      files = {name: volume_files.metaimage(
          array, matrix='-1 0 0 0 -1 0 0 0 1')}
      result = 'v01.mha'
    else:  # Columns run to the left, and rows to the back.
      series = dicom_files.series(array[::-1, ::-1].T)
      files = {f'{name}/{file}': series[file] for file in series}
      result, label = 'v01.nii.gz', label[::-1, ::-1]
      affine = np.array(
          [[-1, 0, 0, -10], [0, -1, 0, -20], [0, 0, 2, -30], [0, 0, 0, 1.0]])
    for path, content in files.items():
      (self.folder / 'in' / path).parent.mkdir(exist_ok=True)
      (self.folder / 'in' / path).write_bytes(content)
    self.assertEqual(self._predict(['uncertainty']), 0)
    mask = volumes_lib.read(self.folder / 'out/masks' / result)
    np.testing.assert_array_equal(mask.voxels, label)
    np.testing.assert_allclose(mask.affine, affine)
    row, = results_table.read(self.folder / 'out/predictions.csv')
    self.assertEqual((row['file'], row['shape']), (name, '10 x 12 x 9'))
    # The same command finds that nothing is left to do.
    with contextlib.redirect_stdout(io.StringIO()) as out:
      self._predict(['uncertainty'])
    self.assertIn('1 of 1 file is done already', out.getvalue())

  def test_segmentations_of_any_format(self):
    """Beside NIfTI and DICOM, they have the grid and the names of the classes.
    """
    self._copy(3)
    series = dicom_files.series(np.arange(60, dtype='<i2').reshape(4, 5, 3))
    (self.folder / 'in/ct').mkdir()
    for file, content in series.items():
      (self.folder / 'in/ct' / file).write_bytes(content)
    self.assertEqual(self._predict(segmentations=True), 0)
    self.assertEqual(sorted(p.name for p in (self.folder / 'out/masks').iterdir(
    )), ['ct.seg.nrrd', 'v03.seg.nrrd'])
    path = self.folder / 'out/masks/v03.seg.nrrd'
    mask = volumes_lib.read(path)
    np.testing.assert_array_equal(mask.voxels, tiny_volumes.label_of(3)[::-1])
    np.testing.assert_allclose(mask.affine, self._read('in/v03.nii').affine)
    segments = nrrd_file.segments_of(nrrd_file.read_header(path))
    self.assertEqual(
        [s.name for s in segments], [*self.predictor.dataset.classes[1:]])
    with self.assertRaisesRegex(
        binary.UserError, r'other settings \(segmentations\)'):
      self._predict()

  def test_segmentations_need_a_volume(self):
    Image.new('L', (4, 4)).save(self.folder / 'in/a.png')
    with self.assertRaisesRegex(
        binary.UserError, '^--segmentations are of volumes, but --input holds'):
      self._predict(segmentations=True)
    self.assertFalse((self.folder / 'out').exists())

  def test_a_stop_does_not_wait_for_the_end_of_a_volume(self):
    for k in 1, 3:
      self._copy(k)
    calls = []

    def should_stop(number):
      calls.append(number)
      return len(calls) == calls.count(0) + 3  # In the second volume.

    with self.assertRaisesRegex(binary.Stopped, '^Stopped after 1 of 2 files'):
      self._predict(should_stop=should_stop)
    self.assertEqual(calls[-3:], [1, 1, 1])
    out = self.folder / 'out'
    self.assertEqual([p.name for p in (out / 'masks').iterdir()],
                     ['v01.nii.gz'])
    self._predict()
    np.testing.assert_array_equal(
        self._read('out/masks/v03.nii.gz').dataobj,
        tiny_volumes.label_of(3)[::-1])
    self.assertEqual(
        sorted(p.name for p in out.iterdir()),
        ['lock', 'masks', 'predictions.csv', 'settings.json'])

  def test_from_the_disk(self):
    self._copy(3)
    with mock.patch.object(volume_windows, 'IN_MEMORY', 0):
      self._predict(['probabilities'])
    mask = np.asarray(self._read('out/masks/v03.nii.gz').dataobj)
    np.testing.assert_array_equal(mask, tiny_volumes.label_of(3)[::-1])
    self.assertEqual(
        sorted(p.name for p in (self.folder / 'out').iterdir()),
        ['lock', 'masks', 'predictions.csv', 'probabilities', 'settings.json'])

  def test_files_that_cannot_be_used(self):
    self._copy(1)
    folder = self.folder / 'in'
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(folder / 'picture.png')
    flat = nibabel.Nifti1Image(np.ones((4, 4, 4), np.float32), np.eye(4))
    nibabel.save(flat, folder / 'flat.nii')
    (folder / 'cut.nii').write_bytes(
        (folder / 'v01.nii').read_bytes()[:-100])
    self.assertEqual(self._predict(), 3)
    rows = {row['file']: row for row in results_table.read(
        self.folder / 'out/predictions.csv')}
    self.assertEqual(
        {name: row['state'] for name, row in rows.items()},
        {'v01.nii': 'done', 'picture.png': 'failed', 'flat.nii': 'failed',
         'cut.nii': 'failed'})
    for name, words in (
        ('picture.png', 'the networks were trained on whole volumes'),
        ('flat.nii', 'all voxels of the image have one value'),
        ('cut.nii', 'export it again')):
      self.assertIn(words, rows[name]['problem'])
      self.assertLess(len(rows[name]['problem']), 200)


if __name__ == '__main__':
  absltest.main()
