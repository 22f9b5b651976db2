"""Tests of the lines that a user reads: one line per cause, with a fix."""

import json

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from PIL import Image

from data_prep import manifest as manifest_lib
from data_prep.checks import check_report
from tests import small_set
from tests import prepare_binary
from tests import source_case

_Problem = manifest_lib.Problem


def _report(*problems, **kwargs):
  return check_report.report(
      check_report.Findings([*problems], [], [], **kwargs))


class ReportTest(parameterized.TestCase):

  @parameterized.parameters(
      lambda i: f'gone {i}', lambda i: f"no 'p{i}'", lambda i: f'no "p{i}"',
      lambda i: f'no a/p{i}.png', lambda i: f"it's of 'p{i}', not 'q'",
      lambda i: f'{i} x 3, expected 0 .. {i}')
  def test_names_and_numbers_within_one_cause(self, what):
    lines = _report(*(_Problem(what(i), '', 'fix', id=f'i{i}')
                      for i in range(9)))
    self.assertEqual(lines, [f'9 times: {what(0)}; fix: i0, i1, i2, ...'])

  def test_lists_within_one_cause(self):
    values = lambda i: ','.join(f'{k}:{k}' for k in range(i + 1))
    lines = _report(*(_Problem('label', '', f'--mask_values={values(i)}',
                               id=f'i{i}') for i in range(1, 6)))
    self.assertLen(lines, 1)

  def test_notices(self):
    notices = [f"'c{i}' is no class: {i} shapes" for i in range(9)]
    self.assertEqual(check_report.join_notices(['a', *notices, 'b', 'c']), [
        'notice: a', "notice: 9 times, first: 'c0' is no class: 0 shapes",
        'notice: b', 'notice: c'])
    self.assertLen(check_report.join_notices(['x' * 300])[0], 200)

  def test_causes_that_differ(self):
    some = [_Problem('gone', '', 'fix', id=f'i{i}') for i in range(5)]
    lines = _report(*some, *(p._replace(fix='other') for p in some),
                    _Problem('no a', '', 'x'), _Problem('no b', '', 'x'))
    self.assertLen(lines, 4)

  def test_problems_of_one_file(self):
    lines = _report(*(_Problem('x', f'v{i}', 'y', file='a.json', id=f'i{i}')
                      for i in range(7)))
    self.assertEqual(lines, [
        '7 times: x, found v0; y: a.json (i0), a.json (i1), a.json (i2), ...'])

  def test_the_fix_is_kept(self):
    long = _Problem('w' * 90, 'f' * 90, 'give --flag=1 or do this by hand', 3,
                    'i' * 90, 'annotation.path')
    for lines in (_report(long), _report(*[long] * 9)):
      self.assertLen(lines, 1)
      self.assertLessEqual(len(lines[0]), 200)
      self.assertIn('give --flag=1 or do this by hand', lines[0])

  def test_leave_out_is_named_on_each_line(self):
    bad = [_Problem('broken', '', 'replace it', i + 2, f'i{i}', 'image')
           for i in range(3)]
    lines = _report(*bad, defects={p.id: [p] for p in bad})
    self.assertEqual([line.partition('; ')[2] for line in lines], [
        'replace it, or --leave_out=defective'] * 3)
    lines = _report(*bad)
    self.assertNotIn('--leave_out', ''.join(lines))

  def test_lines_become_pictures_only_where_they_are_of_the_manifest(self):
    pictures = {1: 'the set', 2: 'a.png', 3: 'b\n.png'}
    found = _report(
        _Problem('same as line 2', '', 'x', 3, 'b'),
        _Problem('not JSON (line 2)', '', 'y', file='c.json'),
        _Problem('of line 2', '', 'z', 2, 'a', file='splits.csv'),
        _Problem('names', '', 'v', 1), _Problem('none', '', 'w'),
        pictures=pictures)
    self.assertEqual(found, [
        'b\\n.png, id b: same as a.png; x', 'c.json: not JSON (line 2); y',
        'splits.csv, line 2, id a: of line 2; z', 'the set: names; v',
        'the set: none; w'])


class SourceReportTest(source_case.SourceCase):

  def _check(self, *argv):
    code, _, lines = prepare_binary.run(
        f'--source={self.source}', '--check', *argv)
    self.assertEqual(code, 2)
    for line in lines:
      self.assertNotRegex(line, r'\bline \d|manifest')
    return lines

  @parameterized.parameters(True, False)
  def test_rotation_tag(self, is_turned):
    small_set.write_set(self.source, num_images=12, per_subject=1)
    exif = Image.Exif()
    exif[0x0112] = 6
    for i in (3, 4):
      path = self.source / f'images/p{i:02d}/{i:02d}.png'
      Image.open(path).save(path, exif=exif)
      path = self.source / f'masks/p{i:02d}/{i:02d}.png'
      if is_turned:
        Image.open(path).transpose(Image.Transpose.ROTATE_270).save(path)
    fits = ('fits the turned picture: turn the pixels, remove the tag'
            if is_turned else 'fits the pixels as they are stored: remove the')
    for argv in ((), ('--simulate=box',), ('--simulate=none',)):
      lines = self._check(*argv)
      self.assertLen(lines, 2)  # There is one line for each picture.
      for line in lines:
        self.assertIn(fits, line)

  @parameterized.parameters(True, False)
  def test_rotation_tags_of_all_pictures_are_one_cause(self, is_turned):
    small_set.write_set(self.source, num_images=12, per_subject=1)
    exif = Image.Exif()
    exif[0x0112] = 6
    for path in self.source.rglob('images/*/*'):
      Image.open(path).save(path, exif=exif)
    for path in self.source.rglob('masks/*/*') if is_turned else ():
      Image.open(path).transpose(Image.Transpose.ROTATE_270).save(path)
    for argv in ((), ('--simulate=box',), ('--simulate=none',)):
      # The set also has no weak picture, which is a problem without --check.
      # But only the first cause is reported.
      code, _, lines = prepare_binary.run(
          f'--source={self.source}', f'--output={self.output}/a', *argv)
      self.assertEqual((code, len(lines)), (2, 1), lines)
      self.assertStartsWith(lines[0], '12 times: image has an EXIF rotation')

  def test_rotation_tag_of_a_listed_picture(self):
    # The picture is stored as 24 x 32, but was annotated after its rotation, so
    # the file lists the size 32 x 24.
    small_set.write_set(self.source, num_images=12, per_subject=1)
    exif = Image.Exif()
    exif[0x0112] = 8
    for path in self.source.rglob('masks/*/*'):
      path.unlink()
    (self.source / 'set.csv').unlink(missing_ok=True)
    for i in range(12):
      path = self.source / f'images/p{i:02d}/{i:02d}.png'
      height, width = (32, 24) if i == 2 else (24, 32)
      if i == 2:
        Image.open(path).save(path, exif=exif)
      path.with_suffix('.xml').write_text(
          f'<annotation><filename>{i:02d}.png</filename><size><width>{width}'
          f'</width><height>{height}</height></size><object><name>polyp</name>'
          '<bndbox><xmin>2</xmin><ymin>2</ymin><xmax>9</xmax><ymax>9</ymax>'
          '</bndbox></object></annotation>')
    lines = [line for line in self._check() if 'exact mask' not in line]
    self.assertLen(lines, 1, lines)
    self.assertIn('was annotated as that turns it', lines[0])
    self.assertIn('turn its pixels and remove the tag', lines[0])

  def test_what_stored_values_mean_is_asked_once(self):
    # Each mask has values that are no class. One question covers all of them,
    # instead of 24 questions.
    small_set.write_set(self.source)
    for path in self.source.rglob('masks/*/*'):
      mask = np.asarray(Image.open(path)).astype(int)
      mask[0] = np.arange(32) * 8
      Image.fromarray(mask.astype(np.uint8)).save(path)
    for argv in ((), ('--masks_are=coarse_mask',)):
      lines = [x for x in self._check(*argv) if 'val and test' not in x]
      self.assertLen(lines, 1, lines)
      self.assertIn('--mask_threshold', lines[0])

  def test_the_flag_that_mends_comes_first(self):
    lines = _report(
        _Problem('a', '', 'replace it, or --leave_out=defective', 2, 'i'),
        _Problem('b', '', 'correct it', 3, 'j'),
        _Problem('c', '', 'map it: --mask_values=0:0'))
    self.assertStartsWith(lines[0], 'manifest: c')
    self.assertStartsWith(lines[1], 'line 2')

  def test_hundreds_of_classes(self):
    small_set.write_set(self.source, num_images=12, per_subject=1)
    for i, path in enumerate(sorted(self.source.rglob('masks/*/*'))):
      mask = np.random.default_rng(i).integers(200, size=(24, 32))
      Image.fromarray(mask.astype(np.uint8)).save(path)
    lines = self._check()
    self.assertLen(lines, 1)
    self.assertIn('found up to 199; name them (--classes=...)', lines[0])
    names = [f'c{i}' for i in range(300)]
    lines = self._check(f'--classes={",".join(names)}')
    self.assertEqual(lines, [
        'the source has 300 classes, and a mask holds at most 255, with the '
        'background; name those to keep: --classes=background,c1,...'])
    code, out, lines = prepare_binary.run(
        f'--source={self.source}', '--check', '--simulate=box',
        f'--classes={",".join(names[:230])}')
    self.assertEqual((code, lines), (0, []))
    # There is not a line for each class.
    self.assertLess(len(out.splitlines()), 20)

  def test_consecutive_names(self):
    rng = np.random.default_rng(0)
    for i in range(12):
      part = 'train' if i < 8 else 'val' if i < 10 else 'test'
      self.write(f'images/{part}/frame_{i:03d}.png', rng.integers(
          256, size=(24, 32, 3), dtype=np.uint8))
      self.write(f'masks/{part}/frame_{i:03d}.png', np.pad(
          np.ones((9 + i, 8), np.uint8), ((2, 13 - i), (9, 15))))
    args = f'--source={self.source}', '--simulate=box', '--image_size=8'
    notice = (
        'notice: images/train/frame_007.png, image: 2 pairs of consecutive '
        'names are in two splits; if they are frames of one video, name it '
        'as their subject: --subject_pattern or --subjects=FILE\n')
    code, out, lines = prepare_binary.run(*args, f'--output={self.output}/a')
    self.assertEqual((code, lines), (0, []))
    self.assertIn(notice, out)
    # Whoever draws splits from single files separates neighbours by chance.
    for kind in ('images', 'masks'):
      for path in [*(self.source / kind).glob('*/*')]:
        path.rename(self.source / kind / path.name)
    code, out, lines = prepare_binary.run(*args, '--check')
    self.assertEqual((code, lines), (0, []))
    self.assertNotIn('consecutive', out)
    code, out, lines = prepare_binary.run(
        *args, '--check', f'--splits={self.output}/a/splits.csv')
    self.assertEqual((code, lines), (0, []))
    self.assertIn('consecutive', out)

  def test_polygons_only(self):
    small_set.write_set(self.source)
    for path in self.source.rglob('masks/*/*'):
      path.unlink()
    (self.source / 'annotations.json').write_text(json.dumps({
        'images': [{'id': i, 'file_name': f'p{i // 2:02d}/{i:02d}.png',
                    'height': 24, 'width': 32} for i in range(24)],
        'categories': [{'id': 1, 'name': 'polyp'}],
        'annotations': [{
            'id': i, 'image_id': i, 'category_id': 1, 'iscrowd': 0,
            'segmentation': [[3, 3, 20, 3, 20, 20, 3, 20]],
            'bbox': [3, 3, 17, 17]} for i in range(24)]}))
    self.assertEqual(self._check(), [
        'the set: no picture has an exact mask; val and test need some, found '
        '24 polygon; --polygons_are=mask if they are exact, else give exact '
        'masks'])
    code, out, lines = prepare_binary.run(
        f'--source={self.source}', '--check', '--polygons_are=mask')
    self.assertEqual((code, lines), (0, []))
    self.assertIn('notice: the set: no weak training instance', out)

  def test_masks_of_one_wrong_size(self):
    small_set.write_set(self.source)
    for path in self.source.rglob('masks/*/*'):
      Image.fromarray(np.zeros((9, 9), np.uint8)).save(path)
    self.assertEqual(self._check(), [
        '24 times: mask is of another size than its image, 24 x 32, found '
        '9 x 9; save both at one size, or --leave_out=defective: '
        'images/p00/00.png, images/p00/01.png, images/p01/02.png, ...'])


if __name__ == '__main__':
  absltest.main()
