"""Tests --subjects, and the notice about volumes that may show one patient."""

import pathlib

from absl.testing import absltest
from absl.testing import parameterized
import nibabel
import numpy as np
from scipy import ndimage

from data_prep import formats
from data_prep import manifest as manifest_lib
from data_prep import row_names
from data_prep.sets import own_set
from data_prep.splits import subjects_file
from tests import small_set
from tests import prepare_binary
from tests import source_case


def _rows(*ids):
  return [manifest_lib.Row(i, f'images/{i}.png', '', '', None, 'old', 'x', 'y')
          for i in ids]


class SubjectsFileTest(source_case.SourceCase):

  def _apply(self, text, rows=None, cases=None, gone=()):
    path = self.source / 'subjects.csv'
    path.write_text(text, encoding='utf-8')
    entries, problems = subjects_file.read_subjects(str(path))
    rows = rows or _rows('a', 'b')
    if not problems:
      rows, problems = subjects_file.apply_subjects(
          rows, entries, file='subjects.csv', cases=cases or {}, gone=gone)
    return rows, [str(p) for p in problems]

  def test_what_it_says(self):
    rows, problems = self._apply(
        '\ufeffid,subject,site,annotator\na.png,anna,s1,\n\nb,,,ben\n')
    self.assertEqual(problems, [])
    self.assertEqual([r[5:8] for r in rows], [
        # An empty cell leaves the row's value unchanged.
        ('anna', 's1', 'y'), ('', 'x', 'ben')])

  def test_other_orders_and_separators(self):
    for text in ('Subject,ID\ns,a\ns,b\n', 'id;subject\na;s\nb;s\n',
                 'id, subject\na, s\nb, s\na, s\n'):
      rows, problems = self._apply(text)
      self.assertEqual(problems, [])
      self.assertEqual([r.subject for r in rows], ['s', 's'])
      self.assertEqual([r.site for r in rows], ['x', 'x'])

  def test_volumes(self):
    cases = {'v': ['v_z000', 'v_z001'], 'v.nii.gz': ['v_z000', 'v_z001']}
    rows, problems = self._apply(
        'id,subject\nv.nii.gz,s\na,t\ngone,t\n',
        _rows('v_z000', 'v_z001', 'a'), cases, gone={'gone'})
    self.assertEqual(problems, [])
    self.assertEqual([r.subject for r in rows], ['s', 's', 't'])

  @parameterized.parameters(
      ('', 'line 1: expected the columns id, subject'),
      ('a,s\nb,s\n', 'line 1: expected the columns id, subject'),
      ('id,subject,sex\na,s,f\n', 'line 1: expected the columns'),
      ('id,subject\na,s\nb\n', 'line 3: expected 2 cells, found 1'),
      ('id,subject\na,"s\nb,s\n', 'not CSV'),
      ('id,subject\na,s\n,s\n', 'line 3: the id is empty'),
      ('id,subject\na,s\n', 'id b: no line names the picture'),
      ('id,subject\na,s\nb,s\nbb,s\n',
       "line 4: no picture or volume has this id, found 'bb'; correct it or "
       "remove the line; the nearest is 'b'"),
      ('id,subject\na,s\nb,s\na.png,t\n',
       'line 4: line 2 gives other values for this picture'))
  def test_refused(self, text, words):
    _, problems = self._apply(text)
    self.assertLen(problems, 1, problems)
    self.assertIn(words, problems[0])

  def test_unclear(self):
    rows = [manifest_lib.Row(i, f'{i}.png', '', '', None)
            for i in ('p/a', 'q/a')]
    _, problems = self._apply('id,subject\np/a,s\nq/a,s\na,s\n', rows)
    self.assertLen(problems, 1)
    self.assertIn('2 pictures are called so, such as p/a and q/a', problems[0])

  def test_no_split_parts_them(self):
    small_set.write_set(self.source, num_images=24, per_subject=1)
    path = self.output / 'who.csv'
    # Consecutive pictures belong to different subjects, so grouping by names
    # instead of by the file would give another result.
    path.write_text('id,subject,site\n' + ''.join(
        f'{i:02d}.png,s{i % 6},clinic{i % 3}\n' for i in range(24)))
    args = (f'--source={self.source}', '--simulate=box', '--image_size=8',
            f'--subjects={path}')
    output = self.output / 'set'
    code, out, lines = prepare_binary.run(
        *args, '--split_by=site', f'--output={output}')
    self.assertEqual((code, lines), (0, []), out)
    rows = manifest_lib.read_manifest(output / 'manifest.jsonl').rows
    self.assertLen({(r.subject, r.site, r.split) for r in rows}, 6)
    self.assertLen({(r.site, r.split) for r in rows}, 3)
    for argv, words in (
        ([*args, '--subject_pattern=(.)'], 'not both'),
        ([*args[:-1], '--subjects=/no.csv'], '--subjects=/no.csv: no such')):
      code, _, lines = prepare_binary.run(*argv, '--check')
      self.assertEqual((code, len(lines)), (2, 1))
      self.assertIn(words, lines[0])
    # A problem of many pictures is reported in one line.
    path.write_text('id,subject\n00.png,s\n')
    code, _, lines = prepare_binary.run(*args, '--check')
    self.assertEqual((code, len(lines)), (2, 1))
    self.assertStartsWith(lines[0], '23 times: no line names the picture')


class VolumePairsTest(source_case.SourceCase):

  def _write(self, number, head, affine):
    """Writes volume `number`: a scan of a head plus noise of this scan.

    Args:
      number: number of the volume, which seeds the noise.
      head: number of the head; scans of one head are alike but for the noise.
      affine: affine of the volume, float [4, 4].
    """
    rng = np.random.default_rng(head)
    voxels = ndimage.gaussian_filter(rng.normal(size=(24, 24, 9)), 1.5)
    voxels = 4000 * voxels + np.random.default_rng(99 + number).normal(
        scale=20, size=voxels.shape)
    label = np.zeros(voxels.shape, np.uint8)
    label[8:12, 6:15] = 1
    for kind, array in (('images', voxels.astype(np.int16)),
                        ('labels', label)):
      path = self.source / kind / f'{number:03d}.nii.gz'
      path.parent.mkdir(exist_ok=True)
      nibabel.save(nibabel.Nifti1Image(array, affine), path)

  def _affine(self, head, shift=13.37):
    affine = np.diag([1.0, 1.0, 3.0, 1.0])
    affine[:3, 3] = [-90 + shift * head, -120, 7.25 * head]
    return affine

  def _run(self, subjects=None):
    own = own_set.read(
        self.output, source=self.source, format_name=None, name='a',
        options=formats.Options(), subjects=subjects)
    self.assertEqual(own.problems, [])
    return [x for x in own.notices if 'one grid' in x]

  def test_two_scans_of_one_head(self):
    for number in range(6):
      head = max(number, 1)  # 000 and 001 are scans of one head.
      self._write(number, head, self._affine(head))
    self.assertEqual(self._run(), [
        'volumes lie on one grid and look alike, 000, 001: if they are '
        'of one patient, say so by --subjects=FILE'])
    path = self.output / 'who.csv'
    path.write_text('id,subject\n' + ''.join(
        f'{i:03d},s{max(i, 1)}\n' for i in range(6)))
    self.assertEqual(self._run(str(path)), [])

  def test_heads_on_one_grid(self):
    for number in range(6):
      self._write(number, number, self._affine(1))
    self.assertEqual(self._run(), [])
    self._write(6, 5, self._affine(1))
    self.assertLen(self._run(), 1)

  def test_pairs_by_chance_of_the_grid(self):
    for number in range(6):
      self._write(number, number, self._affine(number // 2))
    self.assertEqual(self._run(), [])

  def test_a_volume_is_left_out_by_its_name(self):
    for number in range(6):
      self._write(number, number, self._affine(number))
    path = self.output / 'names.txt'
    path.write_text('001\n003.nii.gz\n')
    (self.source / 'labels/003.nii.gz').write_bytes(b'broken')
    code, out, lines = prepare_binary.run(
        f'--source={self.source}', '--simulate=box', '--check',
        f'--leave_out=@{path}')
    self.assertEqual((code, lines), (0, []), out)
    self.assertIn('left out: 1 file (labels/003.nii.gz)', out)
    self.assertIn('left out: 9 pictures (001_z000, 001_z001, 001_z002, ...)',
                  out)

  def test_cases_of_a_folder_without_volumes(self):
    self.assertEqual(row_names.read_cases(pathlib.Path(self.source)), {})


if __name__ == '__main__':
  absltest.main()
