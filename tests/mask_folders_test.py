"""Tests for experiments.evaluation.mask_folders and the evaluate binary."""

import contextlib
import io
import pathlib

from absl.testing import absltest
from absl.testing import parameterized
import nibabel
import numpy as np
from PIL import Image

from experiments import binary
from experiments.evaluation import mask_folders
from tests import tiny

_BINARY = mask_folders.Options(
    reference_values={'0': 0, '255': 1}, prediction_values={'0': 0, '255': 1})


class FolderEvaluationTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self._dir = pathlib.Path(tiny.temp_dir(self))
    for name in 'p', 'r':
      (self._dir / name).mkdir()

  def _save(self, name, label, affine=None):
    path = self._dir / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if name.endswith('.nii.gz'):
      nibabel.Nifti1Image(label, affine).to_filename(path)
    else:
      Image.fromarray(label).save(path)

  def _evaluate(self, options=mask_folders.Options(), **kwargs):
    with contextlib.redirect_stderr(io.StringIO()) as err:
      found = mask_folders.evaluate_folders(
          str(self._dir / 'p'), str(self._dir / 'r'), options, **kwargs)
    self._said = err.getvalue()
    return found

  def test_pictures_by_hand(self):
    reference = np.zeros((4, 6), np.uint8)
    reference[1:3, 1:5] = 1
    self._save('r/sub/a.png', reference)
    self._save('p/sub/a.tif', np.roll(reference, 1, axis=1))
    self._save('p/extra.png', reference)
    found = self._evaluate(mask_folders.Options(spacing_mm=(3.0, 2.0)))
    self.assertEqual(found.ids, ['sub/a'])
    self.assertAlmostEqual(found.results['dice'], 2 * 6 / 16)
    self.assertEqual(found.results['distance_unit'], 'mm')
    self.assertEqual(found.results['hd95'], 2.0)
    self.assertEqual(found.classes, ('background', 'class_1'))
    self.assertIn("1 prediction ('extra') has no reference", self._said)

  def test_volumes_in_mm(self):
    reference = np.zeros((6, 6, 4), np.uint8)
    reference[1:4, 1:4, 1:3] = 2
    affine = np.diag([1, 1, 5.0, 1])
    self._save('r/v.nii.gz', reference, affine)
    self._save('p/v.nii.gz', np.roll(reference, 1, axis=2), affine)
    shown = []
    found = self._evaluate(
        mask_folders.Options(classes=('background', 'a', 'b')),
        on_case=shown.append)
    self.assertEqual(found.results['per_class']['b']['hd95'], 5.0)
    self.assertEqual(found.results['per_class']['a']['num_cases_counted'], 0)
    self.assertEqual(shown[0].truth.shape, (6, 6))
    self.assertTrue(shown[0].truth.any())

  def test_a_missing_prediction_is_refused_or_counts_as_empty(self):
    reference = np.ones((4, 4), np.uint8)
    for name in 'r/a.png', 'r/b.png', 'p/a.png':
      self._save(name, reference)
    with self.assertRaisesRegex(binary.UserError, r"1 \('b'\) of 2 references"):
      self._evaluate()
    found = self._evaluate(mask_folders.Options(missing_is_empty=True))
    self.assertEqual(found.results['dice'], 0.5)
    self.assertEqual(found.results['num_missing_predictions'], 1)
    self.assertAlmostEqual(found.results['hd95'], np.hypot(3, 3) / 2)

  def test_masks_of_0_and_255_are_not_guessed_at(self):
    mask = np.zeros((4, 4), np.uint8)
    mask[1:3] = 255
    self._save('r/a.png', mask)
    self._save('p/a.png', np.zeros((4, 4), np.uint8))
    with self.assertRaisesRegex(binary.UserError, '0 and 255 alone'):
      self._evaluate()
    self._save('p/a.png', mask)
    with self.assertRaisesRegex(binary.UserError, 'prediction holds 255'):
      self._evaluate()
    self.assertEqual(self._evaluate(_BINARY).results['dice'], 1)

  def test_all_problems_in_one_pass(self):
    for i, (p, r) in enumerate((
        (np.zeros((4, 4)), np.zeros((4, 5))), (np.zeros((4, 4)), None),
        (np.full((4, 4), 7), np.zeros((4, 4))))):
      self._save(f'p/{i}.png', p.astype(np.uint8))
      if r is None:
        (self._dir / f'r/{i}.png').write_bytes(b'broken')
      else:
        self._save(f'r/{i}.png', r.astype(np.uint8))
    with self.assertRaises(binary.UserError) as caught:
      self._evaluate(mask_folders.Options(classes=('background', 'a')))
    lines = str(caught.exception).splitlines()
    self.assertLen(lines, 3)
    self.assertIn('0: prediction and reference differ in size', lines[0])
    self.assertIn('1: reference cannot be read', lines[1])
    self.assertIn('class 7 occurs', lines[2])

  def test_predictions_of_another_order_are_turned(self):
    reference = np.zeros((4, 5, 3), np.uint8)
    reference[1:3, 1:2, 0] = 1
    affine = np.diag([1.0, 1, 2, 1])
    self._save('r/a.nii.gz', reference, affine)
    turn = [[1, 1], [0, -1], [2, 1]]
    turned = nibabel.Nifti1Image(reference, affine).as_reoriented(turn)
    self._save('p/a.nii.gz', np.asarray(turned.dataobj), turned.affine)
    found = self._evaluate()
    self.assertEqual(found.results['dice'], 1.0)
    self.assertIn("1 prediction ('a') is stored flipped", self._said)

  def test_odd_but_valid_volumes(self):
    reference = np.zeros((4, 5, 3), np.float64)
    reference[1:3, 1:2] = 7
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.uint8)
    reference[0, 0] = 1  # In the file, this value is 0.988.
    image = nibabel.Nifti1Image(reference, np.eye(4), header)
    image.to_filename(self._dir / 'r/a.nii.gz')
    image = nibabel.Nifti1Image(reference.astype(np.uint8), np.eye(4))
    image.header.extensions.append(
        nibabel.nifti1.Nifti1Extension(0, b'x' * 4000))
    content = bytearray(image.to_bytes())
    content[112:116] = np.float32(np.nan).tobytes()  # This changes scl_slope.
    (self._dir / 'p/a.nii').write_bytes(content)
    self.assertEqual(self._evaluate().results['dice'], 1.0)
    self.assertIn('read unscaled', self._said)

  def test_another_place_in_space_is_refused(self):
    label = np.ones((4, 4, 3), np.uint8)
    self._save('r/a.nii.gz', label, np.eye(4))
    self._save('p/a.nii.gz', label, np.diag([1, 1, 2, 1]))
    with self.assertRaisesRegex(
        binary.UserError, 'spacing of the prediction is not that of its'):
      self._evaluate()

  @parameterized.parameters('p', 'r')
  def test_no_such_folder(self, which):
    (self._dir / which).rmdir()
    self._save(f'{"r" if which == "p" else "p"}/a.png',
               np.zeros((4, 4), np.uint8))
    with self.assertRaisesRegex(binary.UserError, 'no such folder'):
      self._evaluate()

  def test_channels_of_nnunet_are_no_part_of_a_name(self):
    label = np.zeros((4, 4, 2), np.uint8)
    label[1:3] = 1
    self._save('r/case_1.nii.gz', label, np.eye(4))
    self._save('p/case_1_0000.nii.gz', label, np.eye(4))
    self.assertEqual(self._evaluate().results['dice'], 1)

  def test_two_files_of_one_name(self):
    label = np.zeros((4, 4), np.uint8)
    for name in 'r/a.png', 'r/a.tif', 'p/a.png':
      self._save(name, label)
    with self.assertRaisesRegex(binary.UserError, 'in their suffix alone'):
      self._evaluate()


if __name__ == '__main__':
  absltest.main()
