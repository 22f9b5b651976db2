"""Tests of data_prep.records.set_cases, and of the export of whole volumes."""

import contextlib
import io
import json
import pathlib

from absl.testing import absltest
from absl.testing import flagsaver
from absl.testing import parameterized
from data_prep import command_line
from data_prep import formats
from data_prep.records import set_cases
from data_prep.sets import own_set
from data_prep.sets import whole_set
from data_prep.shared import pixels
from data_prep.splits import dividing
import nibabel
import numpy as np

from tests import binaries
from tests import prepare_binary
from tests import source_case
from tests.long import volume_round_trips

_export = binaries.load('data_prep.export')
_AFFINE = np.array([
    [0, -1.0, 0, 9], [0, 0, 1, 0], [-2, 0, 0, 26], [0, 0, 0, 1]])


def _run(*argv):
  """Runs the binary; returns its exit code, stdout, and stderr."""
  out, err = io.StringIO(), io.StringIO()
  with binaries.with_flags(_export), flagsaver.flagsaver():
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
      code = _export.main(command_line.parse_flags(['export', *argv]))
  return code, out.getvalue(), err.getvalue()


class SetCasesTest(source_case.SourceCase):

  def setUp(self):
    super().setUp()
    rng = np.random.default_rng(0)
    self.labels = {}
    for k in range(6):
      label = np.zeros((6, 7, 8), np.uint8)
      label[1:4, 2:5, 2:6] = 1
      label[2, 3, 3 : 4 + k % 3] = 2
      image = (100 + 50 * label + rng.normal(size=label.shape)).astype('f4')
      if k == 5:  # Only some slices are drawn.
        label[:, :, 3:] = 255
      self.labels[f'v{k}'] = label
      for name, array in ('images', image), ('labels', label):
        (self.source / name).mkdir(exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(array, _AFFINE),
                     self.source / name / f'v{k}.nii.gz')

  def _prepare(self, *more, roles=('strong',) * 5):
    splits = self.output / 'splits.csv'
    splits.write_text('id,subject,split,role,fold\n' + ''.join(
        f'v{k},v{k},{split},{role},\n' for k, (split, role) in enumerate(zip(
            ('test', 'val', *['train'] * 4), (*roles, 'weak'), strict=True))),
                      'utf-8')
    code, _, err = prepare_binary.run(
        '--volumes', f'--source={self.source}', f'--output={self.output}/set',
        '--classes=background,liver,duct', '--spacing_mm=1,1,1',
        f'--splits={splits}', *more)
    self.assertEqual((code, err), (0, []))

  def _export(self, *more):
    return _run(f'--volumes={self.output}/set', f'--output={self.output}/x',
                *more)

  @parameterized.parameters('nrrd', 'nifti')
  def test_labels_as_they_were(self, name):
    self._prepare()
    code, out, err = self._export(f'--format={name}')
    self.assertEqual((code, err), (0, ''))
    self.assertIn(f'x: 6 volumes as {name}', out)
    self.assertIn(f'notice: {name} does not hold splits', out)
    self.assertIn('--classes=background,liver,duct', out)
    back = volume_round_trips.read(name, self.output / 'x', formats.Options(
        classes=('background', 'liver', 'duct')))
    self.assertEqual(list(back.cases), list(self.labels))
    for key, label in self.labels.items():
      np.testing.assert_array_equal(back.labels[key]['mask'], label)
      np.testing.assert_allclose(back.cases[key].affine, _AFFINE)
    self.assertEqual(
        (self.output / 'x/images/v0.nii.gz').resolve(),
        (self.source / 'images/v0.nii.gz').resolve())

  def test_simulated_boxes(self):
    self._prepare('--simulate=box', roles=(*['strong'] * 3, 'weak', 'weak'))
    code, out, _ = self._export('--format=nrrd', '--splits=train')
    self.assertEqual(code, 0)
    self.assertIn('4 volumes as nrrd', out)
    self.assertIn('what comes back as a coarse mask: box', out)
    found = set_cases.read(self.output / 'set', splits=['train'])
    boxes = [case for case in found.cases if 'box' in case.read_labels()]
    self.assertLen(boxes, 2)
    for case in boxes:
      label = case.read_labels()['box']
      places = np.argwhere(label == 1)
      inside = tuple(slice(a, b + 1) for a, b in zip(
          places.min(0), places.max(0), strict=True))
      self.assertTrue((label[inside] != 0).all())
      self.assertTrue((self.output / f'x/coarse_masks/{case.id}.seg.nrrd'
                       ).exists())

  def test_chosen_ids(self):
    self._prepare()
    found = set_cases.read(self.output / 'set', ids=['v3', 'v0', 'no'])
    self.assertEqual([case.id for case in found.cases], ['v3', 'v0'])
    self.assertEqual([more['split'] for more in found.more], ['train', 'test'])

  def test_a_set_that_keeps_its_source(self):
    output = self.output / 'set'
    with contextlib.redirect_stdout(io.StringIO()):
      whole_set.prepare(
          str(self.source), str(output), options=formats.Options(),
          plan=own_set.Plan(draw=dividing.Draw(fractions=(1, 0, 0))),
          wanted=whole_set.Wanted(keep_source=True), overwrite=False)
    for case in set_cases.read(output).cases:
      self.assertTrue(pathlib.Path(case.files[0]).is_relative_to(output))
      self.assertTrue(pathlib.Path(case.files[0]).exists())

  def test_refusals(self):
    code, _, err = self._export('--format=nrrd')
    self.assertEqual(code, 2)
    self.assertIn('there is no set of whole volumes', err)
    self._prepare()
    for flags, words in (
        (['--format=cvat'], 'holds pictures; use one of nrrd, nifti, dicom'),
        (['--format=nrrd', '--masks=x'], '--masks is not for --volumes'),
        (['--format=dicom_seg'], 'dicom_seg needs DICOM series'),
        (['--format=nrrd', '--splits='], 'no volume is in them'),
        (['--format=nrrd', '--manifest=x'], 'give --manifest or --volumes')):
      code, _, err = self._export(*flags)
      self.assertEqual((code, err.count('\n')), (2, 1), err)
      self.assertIn(words, err)
      self.assertFalse((self.output / 'x').exists())

  def test_an_older_set(self):
    self._prepare()
    path = self.output / 'set/chunks/index.json'
    index = json.loads(path.read_text('utf-8'))
    del index['sha256'], index['volumes'][0]['more']['files']
    path.write_text(json.dumps(index), 'utf-8')
    with self.assertRaisesRegex(pixels.WrongFile, 'prepare the set again'):
      set_cases.read(self.output / 'set')


if __name__ == '__main__':
  absltest.main()
