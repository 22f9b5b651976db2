"""Tests for prediction.file_by_file and predictor, on a tiny run."""

import contextlib
import csv
import io
import os
import pathlib
import shutil

from absl.testing import absltest
from absl.testing import parameterized
from data_prep.records import preparation as preparation_lib
from data_prep.shared import cells
from hybridseg import inference
import nibabel
import numpy as np
from PIL import Image

from experiments import binary
from experiments.prediction import file_by_file
from experiments.prediction import input_files
from experiments.prediction import pictures
from experiments.prediction import predictor as predictor_lib
from experiments.saving import run_folder
from experiments.saving import run_schema
from tests import oriented
from tests import tiny

_HOSTILE = (
    "-rf.png", '<script>alert(1)</script>.png', 'a "quoted", name.png',
    "it's; $(touch x) `y`.png", '\u05d0\u202eüñ 图.png', '=1+1.png',
    'a/b/c.png', '%2e%2e.png')


def _picture(seed=0, size=(20, 30)):
  rng = np.random.default_rng(seed)
  return rng.integers(0, 256, size=size, dtype=np.uint8)


class PredictionTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self._dir = pathlib.Path(tiny.temp_dir(self))
    (self._dir / 'in').mkdir()
    self._output = self._dir / 'out'
    self._predictor = predictor_lib.load(tiny.run_dir())

  def _save(self, name, array=None):
    path = self._dir / 'in' / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(_picture() if array is None else array).save(path)

  def _predict(self, extras=(), should_stop=lambda number: False, **tiling):
    height, width, channels = self._predictor.dataset.image_shape
    with (contextlib.redirect_stdout(io.StringIO()),
          contextlib.redirect_stderr(io.StringIO())):
      return file_by_file.predict_files(
          self._predictor, input_files.find_inputs(self._dir / 'in'),
          str(self._output),
          tiling=pictures.Tiling((height, width), channels, **tiling),
          extras=extras, should_stop=should_stop)

  def _rows(self):
    with open(self._output / 'predictions.csv', newline='',
              encoding='utf-8') as f:
      rows = list(map(cells.undo_row, csv.DictReader(f)))
    return {row['file']: row for row in rows}

  def test_mask_is_the_largest_of_the_resized_probabilities(self):
    picture = _picture(size=(33, 50))
    self._save('a.png', picture)
    self.assertEqual(self._predict(extras=('probabilities', 'uncertainty')), 0)
    mask = np.asarray(Image.open(self._output / 'masks/a.png'))
    probs = np.load(self._output / 'probabilities/a.npy')
    self.assertEqual(probs.shape, (33, 50, 2))
    np.testing.assert_allclose(probs.sum(-1), 1, atol=1e-5)
    np.testing.assert_array_equal(mask, probs.argmax(-1))
    self.assertEqual(mask.shape, (33, 50))
    row = self._rows()['a.png']
    self.assertEqual(int(row['pixels_background']), int((mask == 0).sum()))
    uncertainty = np.asarray(Image.open(self._output / 'uncertainty/a.png'))
    self.assertAlmostEqual(
        uncertainty.mean() / 255, float(row['uncertainty']), delta=0.01)

  def test_a_batch_changes_nothing(self):
    # This is more than one batch, and the last batch is not full.
    for i in range(11):
      self._save(f'{i:02d}.png', _picture(i, size=(16 + i, 20)))
    self._predict(extras=('probabilities',))
    together = np.load(self._output / 'probabilities/10.npy')
    for i in range(10):
      os.remove(self._dir / 'in' / f'{i:02d}.png')
    self._output = self._dir / 'alone'
    self._predict(extras=('probabilities',))
    np.testing.assert_array_equal(
        np.load(self._output / 'probabilities/10.npy'), together)

  def test_hostile_names(self):
    for name in _HOSTILE:
      self._save(name)
    self.assertEqual(self._predict(extras=('overlays',)), 0)
    rows = self._rows()
    self.assertCountEqual(rows, _HOSTILE)
    for name in _HOSTILE:
      for kind in 'masks', 'overlays':
        self.assertTrue((self._output / kind / name).is_file(), name)
    self.assertEqual(sorted(os.listdir(self._dir)), ['in', 'out'])

  def test_broken_files_are_told_and_the_others_done(self):
    self._save('good.png')
    (self._dir / 'link.png').symlink_to(self._dir / 'in/good.png')
    (self._dir / 'in/linked.png').symlink_to(self._dir / 'link.png')
    preparation = self._predictor.dataset.preparation._replace(
        orientation='LPS', axis=2)
    self._predictor = self._predictor._replace(
        dataset=self._predictor.dataset._replace(preparation=preparation))
    (self._dir / 'in/empty.png').write_bytes(b'')
    (self._dir / 'in/text.jpg').write_text('no picture')
    (self._dir / 'in/cut.nii.gz').write_bytes(b'\x1f\x8b\x08\x00')
    (self._dir / 'in/notes.txt').write_text('left alone')
    (self._dir / 'in' / os.fsdecode(b'bad\xff.png')).write_bytes(b'x')
    self.assertEqual(self._predict(), 4)
    rows = self._rows()
    self.assertEqual(rows['good.png']['state'], 'done')
    failed = {n: r['problem'] for n, r in rows.items()
              if r['state'] == 'failed'}
    self.assertLen(failed, 4)
    self.assertIn('empty, 0 bytes', failed['empty.png'])
    self.assertCountEqual(
        os.listdir(self._output / 'masks'), ['good.png', 'linked.png'])

  def test_lines_follow_the_order_of_the_files(self):
    names = [f'{i:02d}.png' for i in range(21)]
    for i, name in enumerate(names):
      if i in (0, 3, 4, 18, 20):
        (self._dir / 'in' / name).write_bytes(b'no picture')
      else:
        self._save(name)
    self.assertEqual(self._predict(), 5)
    self.assertEqual([*self._rows()], names)

  def test_a_picture_without_a_finite_value_is_not_predicted(self):
    self._save('good.png')
    np.save(self._dir / 'in/nan.npy', np.full((20, 30), np.nan))
    np.save(self._dir / 'in/some.npy', np.where(np.eye(20), np.nan, 1.0))
    self.assertEqual(self._predict(), 1)
    rows = self._rows()
    self.assertIn(
        'no value of the image is a finite', rows['nan.npy']['problem'])
    self.assertEqual(rows['some.npy']['state'], 'done')

  def test_names_are_printed_in_one_line(self):
    self._save('good.png')
    (self._dir / 'in/a\n\x1b[31mb.png').write_text('no picture')
    with contextlib.redirect_stderr(io.StringIO()) as err, (
        contextlib.redirect_stdout(io.StringIO())):
      file_by_file.predict_files(
          self._predictor, input_files.find_inputs(self._dir / 'in'),
          str(self._output), tiling=pictures.Tiling((16, 16), 3))
    self.assertRegex(err.getvalue(), r"^'a\\n\\x1b\[31mb.png': [^\n]*\n$")

  def test_nothing_but_broken_files(self):
    (self._dir / 'in/text.jpg').write_text('no picture')
    with self.assertRaisesRegex(binary.UserError, 'None of 1 file could'):
      self._predict()

  def test_the_same_command_goes_on(self):
    for name in 'abc':
      self._save(f'{name}.png')
    self._predict()
    before = {n: os.stat(self._output / f'masks/{n}.png').st_mtime_ns
              for n in 'abc'}
    os.remove(self._output / 'masks/b.png')
    self._save('c.png', _picture(1))  # The picture has changed since the run.
    table = self._output / 'predictions.csv'
    with open(table, 'a', encoding='utf-8') as f:
      # As if the process was killed in the middle of a line.
      f.write('d.png,do')
    self._save('d.png')
    self.assertEqual(self._predict(), 0)
    after = {n: os.stat(self._output / f'masks/{n}.png').st_mtime_ns
             for n in 'abcd'}
    self.assertEqual(after['a'], before['a'])
    self.assertGreater(after['c'], before['c'])
    self.assertCountEqual(self._rows(), [f'{n}.png' for n in 'abcd'])

  def test_stops_when_asked_and_goes_on(self):
    for i in range(12):
      self._save(f'{i:02d}.png')
    with self.assertRaisesRegex(binary.Stopped, 'after 3 of 12'):
      self._predict(should_stop=lambda number: number >= 3)
    self.assertLen(self._rows(), 3)
    self.assertEqual(self._predict(), 0)
    self.assertLen(self._rows(), 12)
    self.assertLen(os.listdir(self._output / 'masks'), 12)

  def test_other_settings_and_other_files_are_refused(self):
    self._save('a.png')
    self._predict()
    with self.assertRaisesRegex(binary.UserError, r'other settings \(tiling'):
      self._predict(windowed=True)
    with self.assertRaisesRegex(binary.UserError, 'extras'):
      self._predict(extras=('overlays',))
    self._output = self._dir / 'other'
    self._output.mkdir()
    (self._output / 'file').touch()
    with self.assertRaisesRegex(binary.UserError, 'holds other files'):
      self._predict()
    self._save('b.png')
    self._output = self._dir / 'in/out'
    with self.assertRaisesRegex(binary.UserError, 'lies below the input'):
      self._predict()
    self.assertFalse(self._output.exists())

  def test_names_that_differ_in_their_suffix_alone(self):
    self.assertEqual(
        pictures.stems(
            ['a.png', 'a.JPG', 'b.nii.gz', 'B.nii', 'c.x.png']),
        {'a.png': 'a.png', 'a.JPG': 'a.JPG', 'b.nii.gz': 'b.nii.gz',
         'B.nii': 'B.nii', 'c.x.png': 'c.x'})

  def test_nothing_to_predict(self):
    with self.assertRaisesRegex(binary.UserError, 'holds no picture'):
      input_files.find_inputs(str(self._dir / 'in'))
    with self.assertRaisesRegex(binary.UserError, 'no such file'):
      input_files.find_inputs(str(self._dir / 'nowhere'))

  def test_window_of_the_training_size_is_the_whole(self):
    picture = _picture(size=(tiny.IMAGE_SIZE, tiny.IMAGE_SIZE))
    self._save('a.png', picture)
    self._predict(extras=('probabilities',))
    whole = np.load(self._output / 'probabilities/a.npy')
    self._output = self._dir / 'windows'
    self._predict(extras=('probabilities',), windowed=True)
    np.testing.assert_array_equal(
        np.load(self._output / 'probabilities/a.npy'), whole)

  def test_a_volume_is_its_slices(self):
    rng = np.random.default_rng(0)
    voxels = rng.integers(0, 256, size=(16, 16, 3)).astype(np.uint8)
    affine = np.diag([1, 1, 3, 1])
    nibabel.Nifti1Image(voxels, affine).to_filename(
        self._dir / 'in/v.nii.gz')
    preparation = self._predictor.dataset.preparation._replace(
        intensity_range=(0, 255))
    with self.assertRaisesRegex(binary.UserError, '--volume_axes=PLS'):
      self._predict()
    preparation = preparation._replace(orientation=pictures.STORED)
    self._predictor = self._predictor._replace(
        dataset=self._predictor.dataset._replace(preparation=preparation))
    for k in range(3):
      self._save(f's{k}.png', voxels[..., k])
    self._predict(extras=('uncertainty', 'overlays'))
    mask = nibabel.load(self._output / 'masks/v.nii.gz')
    self.assertEqual(mask.shape, (16, 16, 3))
    for k in range(3):
      np.testing.assert_array_equal(
          np.asarray(mask.dataobj)[..., k],
          np.asarray(Image.open(self._output / f'masks/s{k}.png')))
    self.assertTrue((self._output / 'overlays/v.png').is_file())
    self.assertEqual(self._rows()['v.nii.gz']['spacing_mm'], '1 x 1 x 3')


  def test_all_48_orientations_give_one_mask_and_keep_their_geometry(self):
    rng = np.random.default_rng(0)
    voxels = rng.integers(-500, 900, size=(9, 7, 4)).astype(np.int16)
    affine = np.diag([1.5, 2.0, 4.0, 1.0])
    image = nibabel.Nifti1Image(voxels, affine)
    self._predictor = self._predictor._replace(
        dataset=self._predictor.dataset._replace(
            preparation=preparation_lib.Preparation(None, 'LPS', 2)))
    for axes in oriented.ORIENTATIONS:
      stored = oriented.stored_as(voxels, affine, axes)
      stored.to_filename(self._dir / f'in/{axes}.nii.gz')
    self.assertEqual(self._predict(extras=('probabilities',)), 0)
    masks = []
    for axes in oriented.ORIENTATIONS:
      stored = nibabel.load(self._dir / f'in/{axes}.nii.gz')
      for kind in 'masks', 'probabilities':
        found = nibabel.load(self._output / f'{kind}/{axes}.nii.gz')
        self.assertEqual(found.shape[:3], stored.shape)
        np.testing.assert_allclose(found.affine, stored.affine, atol=1e-5)
        back = nibabel.orientations.ornt_transform(
            nibabel.io_orientation(found.affine),
            nibabel.io_orientation(image.affine))
        found = nibabel.apply_orientation(np.asarray(found.dataobj), back)
        if axes == oriented.ORIENTATIONS[0]:
          masks.append(found)
        np.testing.assert_array_equal(
            found, masks[kind == 'probabilities'], axes)
    self.assertGreater(masks[1].std(), 0)


class PredictorTest(absltest.TestCase):

  def test_networks_and_their_mean(self):
    image = np.broadcast_to(
        _picture(size=(16, 16))[..., None], (16, 16, 1))
    channels = predictor_lib.load(tiny.run_dir()).dataset.image_shape[-1]
    image = np.repeat(image, channels, axis=-1)
    outputs = {}
    for network in predictor_lib.NETWORKS:
      predictor = predictor_lib.load(tiny.run_dir(), network=network)
      (outputs[network],) = predictor_lib.predict_tiles(predictor, [image])
    np.testing.assert_allclose(
        (outputs['0'].probabilities + outputs['1'].probabilities) / 2,
        outputs['mean'].probabilities, atol=1e-6)
    np.testing.assert_array_equal(outputs['0'].disagreement, 0)
    self.assertGreater(outputs['mean'].disagreement.max(), 0)
    np.testing.assert_allclose(
        outputs['mean'].disagreement,
        inference.disagreement(
            [outputs[n].probabilities for n in '01']), atol=1e-6)

  def test_records_are_not_needed(self):
    workdir = os.path.join(tiny.temp_dir(self), 'run')
    shutil.copytree(tiny.run_dir(), workdir)
    path = os.path.join(workdir, 'config.json')
    config = run_schema.read(path)
    config['input']['data_dir'] = '/nowhere'
    run_folder.write_json(path, config)
    moved = predictor_lib.load(workdir)
    self.assertEqual(
        moved.digest, predictor_lib.load(tiny.run_dir()).digest)
    # A run that is older than dataset.json finds its set through the records.
    os.remove(os.path.join(workdir, 'dataset.json'))
    with self.assertRaisesRegex(binary.UserError, 'has no dataset.json'):
      predictor_lib.load(workdir)
    config['input']['data_dir'] = tiny.data_dir()
    run_folder.write_json(path, config)
    self.assertEqual(predictor_lib.load(workdir).digest, moved.digest)

  def test_no_checkpoint(self):
    workdir = os.path.join(tiny.temp_dir(self), 'run')
    shutil.copytree(tiny.run_dir(), workdir)
    shutil.rmtree(os.path.join(workdir, 'checkpoints'))
    with self.assertRaisesRegex(binary.UserError, 'No checkpoint in'):
      predictor_lib.load(workdir)


if __name__ == '__main__':
  absltest.main()
