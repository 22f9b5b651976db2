"""Tests of what --leave_out may leave out, its files, and left_out.csv."""

import csv
import html
import json
import pathlib
import re

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from PIL import Image

from data_prep import formats
from data_prep import manifest as manifest_lib
from data_prep import row_names
from data_prep.sets import leaving_out
from data_prep.sets import own_set
from tests import prepare_binary
from tests import small_set
from tests import source_case


def read_csv(path):
  with open(path, encoding='utf-8', newline='') as file:
    return list(csv.DictReader(file))


class LeaveOutTest(source_case.SourceCase):

  def setUp(self):
    super().setUp()
    self.set = self.output / 'set'

  def _prepare(self, *argv, source=None):
    return prepare_binary.run(
        f'--source={source or self.source}', '--simulate=box',
        '--image_size=8', *argv)

  def _ids(self):
    return {r.id for r in manifest_lib.read_manifest(
        self.set / 'manifest.jsonl').rows}

  def _damage(self):
    (self.source / 'images/p01/03.png').write_bytes(b'broken')
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(
        self.source / 'masks/p02/04.png')

  def test_defective(self):
    small_set.write_set(self.source)
    self._damage()
    code, _, lines = self._prepare('--check')
    self.assertEqual(code, 2)
    self.assertLen(lines, 2)
    for line in lines:
      self.assertEndsWith(line, ', or --leave_out=defective')
    code, out, lines = self._prepare(
        '--leave_out=defective', f'--output={self.set}')
    self.assertEqual((code, lines), (0, []))
    self.assertIn('left out: 2 pictures (p01/03, p02/04)', out)
    # The pictures are missing on purpose, so no notice mentions them.
    self.assertNotIn('not in the set', out)
    self.assertLen(self._ids(), 22)
    found = read_csv(self.set / 'left_out.csv')
    self.assertEqual([list(e.values())[:3] for e in found], [
        ['p01/03', 'picture', 'image'],
        ['p02/04', 'picture', 'annotation.path']])
    self.assertIn('image cannot be read', found[0]['reason'])
    self.assertIn('another size than its image', found[1]['reason'])
    page = (self.set / 'summary.html').read_text(encoding='utf-8')
    self.assertIn('<h2>Left out</h2>', page)
    # Every printed notice is also on the page.
    printed = re.findall('^notice: (.*)$', out, re.M)
    self.assertNotEmpty(printed)
    for line in printed:
      self.assertIn(f'<li>{html.escape(line)}</li>', page)
    self.assertIn('<td>p02/04</td>', page)

  def test_splits_are_those_of_the_set_without_them(self):
    small_set.write_set(self.source)
    self._damage()
    self.assertEqual(self._prepare(
        '--leave_out=defective', f'--output={self.set}')[0], 0)
    without = manifest_lib.read_manifest(self.set / 'manifest.jsonl').rows
    for kind in ('images', 'masks'):
      for name in ('p01/03.png', 'p02/04.png'):
        (self.source / kind / name).unlink()
    other = self.output / 'other'
    self.assertEqual(self._prepare(f'--output={other}')[0], 0)
    # The rows are equal, because the paths are relative to the same source.
    self.assertEqual(
        manifest_lib.read_manifest(other / 'manifest.jsonl').rows, without)
    self.assertFalse((other / 'left_out.csv').exists())

  def test_a_file_of_names_and_the_former_list(self):
    small_set.write_set(self.source)
    names = self.output / 'names.txt'
    # The file lists an id, a path, the end of a path, a stem and a patient.
    names.write_text('p00/01\nimages/p03/06.png\n\np04/08.png\n21\np11\n')
    code, out, lines = self._prepare(
        f'--leave_out=@{names}', f'--output={self.set}')
    self.assertEqual((code, lines), (0, []))
    left = {'p00/01', 'p03/06', 'p04/08', 'p10/21', 'p11/22', 'p11/23'}
    self.assertIn('left out: 6 pictures (p00/01, p03/06, p04/08, ...)', out)
    kept = self._ids()
    self.assertLen(kept, 18)
    self.assertEmpty(kept & left)
    self.set.rename(self.output / 'old')
    former = self.output / 'old/left_out.csv'
    former.write_text(former.read_text() + 'p05/10,shape,polygons[2],thin\n')
    # Several flags add up. A picture whose shape was left out is still used.
    code, out, _ = self._prepare(
        f'--leave_out=@{former},shapes', '--leave_out=defective',
        f'--output={self.set}')
    self.assertEqual(code, 0, out)
    self.assertEqual(self._ids(), kept)

  @parameterized.parameters(
      ('p03/6\n', "'p03/6': no such picture, case or subject; the nearest is"),
      ('p00/00\nq\nr\n', "'q' and 1 more: no such picture"),
      ('\n', 'holds no id'),
      (b'\xff\xfe', 'not UTF-8'),
      ('id,why\n"a', 'not CSV'),
      ('\n'.join(f'p{i:02d}' for i in range(12)),
       'nothing is left: 24 left out'))
  def test_a_file_that_cannot_be_used(self, content, words):
    small_set.write_set(self.source)
    path = self.output / 'names'
    path.write_bytes(
        content if isinstance(content, bytes) else content.encode())
    code, _, lines = self._prepare(f'--leave_out=@{path}', '--check')
    self.assertEqual(code, 2)
    self.assertLen(lines, 1, lines)
    self.assertIn(words, lines[0])

  def test_flags(self):
    small_set.write_set(self.source, num_images=2)
    for argv, words in (
        (['--leave_out=broken'], "unknown 'broken'; use shapes, defective or"),
        (['--leave_out=@nowhere'], '--leave_out=@nowhere: No such file')):
      code, _, lines = self._prepare(*argv, '--check')
      self.assertEqual((code, len(lines)), (2, 1))
      self.assertIn(words, lines[0])

  def test_everything_is_defective(self):
    small_set.write_set(self.source)
    for path in self.source.rglob('images/*/*.png'):
      path.write_bytes(b'broken')
    code, _, lines = self._prepare('--check', '--leave_out=defective')
    self.assertEqual(code, 2)
    self.assertLen(lines, 1)
    self.assertIn('nothing is left: 24 left out, the first, ', lines[0])
    self.assertIn('cannot be read', lines[0])
    # One cause gives one line.
    code, _, lines = self._prepare('--check')
    self.assertEqual((code, len(lines)), (2, 1))
    self.assertStartsWith(lines[0], '24 times: image cannot be read')
    self.assertEndsWith(
        lines[0], ', or --leave_out=defective: images/p00/00.png, '
        'images/p00/01.png, images/p01/02.png, ...')

  def test_manifest(self):
    small_set.write_set(self.source)
    self.assertEqual(self._prepare(f'--output={self.set}')[0], 0)
    self._damage()
    given = f'--manifest={self.set}/manifest.jsonl'
    names = self.output / 'names.csv'
    names.write_text('id\np05/11\n')
    other = self.output / 'other'
    code, out, lines = prepare_binary.run(
        given, f'--output={other}', f'--leave_out=defective,@{names}',
        '--image_size=8')
    self.assertEqual((code, lines), (0, []))
    self.assertIn('left out: 3 pictures (p05/11, p01/03, p02/04)', out)
    splits = {r.id: r.split for r in manifest_lib.read_manifest(
        self.set / 'manifest.jsonl').rows}
    rows = manifest_lib.read_manifest(other / 'manifest.jsonl').rows
    self.assertLen(rows, 21)
    self.assertEqual({r.id: r.split for r in rows},
                     {r.id: splits[r.id] for r in rows})
    code, _, lines = prepare_binary.run(given, '--check')
    self.assertEqual((code, len(lines)), (2, 2))
    code, _, lines = prepare_binary.run(given, '--check', '--leave_out=shapes')
    self.assertEqual((code, len(lines)), (2, 1))
    self.assertIn('--leave_out=shapes is not for --manifest', lines[0])

  def test_a_former_file_of_splits(self):
    small_set.write_set(self.source)
    self.assertEqual(self._prepare(f'--output={self.set}')[0], 0)
    self._damage()
    args = (f'--splits={self.set}/splits.csv', '--check')
    code, _, lines = self._prepare(*args, '--leave_out=defective')
    self.assertEqual((code, lines), (0, []))

  def test_what_a_reader_refuses_of_one_picture(self):
    small_set.write_set(self.source)
    # The listed size differs from that of the picture, which the reader
    # reports.
    (self.source / 'annotations.json').write_text(json.dumps({
        'images': [{'id': i, 'file_name': f'images/p{i // 2:02d}/{i:02d}.png',
                    'height': 24 + 9 * (i == 5), 'width': 32}
                   for i in range(24)],
        'categories': [{'id': 1, 'name': 'polyp'}],
        'annotations': [{
            'id': i, 'image_id': i, 'category_id': 1, 'iscrowd': 0,
            'segmentation': [[3, 3, 20, 3, 20, 20, 3, 20]],
            'bbox': [3, 3, 17, 17]} for i in range(24)]}))
    args = ('--polygons_are=mask', '--check')
    code, _, lines = self._prepare(*args)
    self.assertEqual((code, len(lines)), (2, 1))
    self.assertEndsWith(lines[0], ', or --leave_out=defective')
    code, out, lines = self._prepare(*args, '--leave_out=defective')
    self.assertEqual((code, lines), (0, []))
    self.assertIn('left out: 1 picture (', out)


class NamesTest(parameterized.TestCase):

  def _names(self, with_subjects=True):
    rows = [manifest_lib.Row(i, f'/data/{image}', '', '', None, subject)
            for i, image, subject in (
                ('v_z000', 'images/v_z000.png', 'v'),
                ('v_z001', 'images/v_z001.png', 'v'),
                ('a/1', 'images/a/1.png', 'a'), ('b/1', 'images/b/1.png', ''),
                ('b/2', 'images/b/2.tif', ''))]
    return row_names.RowNames(
        rows, {'v': ['v_z000', 'v_z001'], 'v.nii.gz': ['v_z000', 'v_z001']},
        with_subjects=with_subjects)

  @parameterized.parameters(
      ('v', ['v_z000', 'v_z001']), ('v.nii.gz', ['v_z000', 'v_z001']),
      ('v_z001', ['v_z001']), ('v_z001.png', ['v_z001']), ('a', ['a/1']),
      ('a/1.png', ['a/1']), ('./images/a/1.png', ['a/1']),
      ('images\\b\\1.png', ['b/1']), ('2', ['b/2']), ('2.tif', ['b/2']),
      ('images/b/2', ['b/2']), ('/data/images/b/2.tif', ['b/2']),
      ('3', []), ('mages/b/2.tif', []), ('b', []))
  def test_find(self, name, expected):
    self.assertEqual(self._names().find(name), expected)

  def test_unclear(self):
    for name in ('1.png', '1'):
      with self.assertRaisesRegex(
          row_names.UnclearNameError, '2 pictures are called so, such as a/1 '
          'and b/1: give their ids'):
        self._names().find(name)

  def test_no_subjects(self):
    self.assertEqual(self._names(with_subjects=False).find('a'), [])

  def test_a_listed_name_is_the_readers_file(self):
    for name in ('p3', 'ct.nii.gz', 'p3/ct.nii.gz', 'ct', 'images/p3/ct.nii.gz',
                 'row'):
      self.assertIn(
          name, row_names.names_of_file('images/p3/ct.nii.gz', 'row'))
    self.assertIn('c', row_names.names_of_file('imagesTr/c_0000.nii.gz'))

  def test_a_refused_file_of_that_name_is_left_out(self):
    own = own_set.Own(manifest_lib.Header('a', ('a', 'b')), [], [], {}, [], [],
                      [formats.LeftOut('file', 'images/p3.nii.gz', 'broken')])
    self.assertEqual(leaving_out.find_listed(
        [], {'@p3'}, folder=pathlib.Path(), already=own.left_out), [])
    self.assertEqual(leaving_out.lines(own.left_out * 2), [
        'left out: 2 files (images/p3.nii.gz)'])


if __name__ == '__main__':
  absltest.main()
