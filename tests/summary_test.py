"""Tests for data_prep.sets.summary, which writes an HTML page about a set."""

import base64
import html.parser
import io
import os
import pathlib
import re
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from PIL import Image

from data_prep import formats
from data_prep import manifest as manifest_lib
from data_prep.checks import check
from data_prep.sets import phantom
from data_prep.sets import summary

_MASK = {'kind': 'mask', 'path': 'm.png'}
_KINDS = (
    {'kind': 'coarse_mask', 'path': 'm.png'},
    {'kind': 'scribble', 'strokes': [[[2, 3], [9, 9]], [[14, 2]]],
     'labels': [1, 0], 'width': 1.5},
    {'kind': 'box', 'boxes': [[2, 3, 12, 11]], 'labels': [1]},
    {'kind': 'polygon', 'polygons': [[[1, 1], [9, 2], [5, 12]]],
     'labels': [2]},
    {'kind': 'points', 'points': [[4, 5], [20, 1]], 'labels': [1, 0]},
    {'kind': 'extreme_points', 'labels': [1],
     'extreme_points': [[[2, 6], [6, 3], [12, 7], [5, 11]]]},
    {'kind': 'ellipse', 'ellipses': [[8, 8, 5, 3, 30]], 'labels': [1]},
    {'kind': 'tag', 'labels': [1, 2]},
)


class _Page(html.parser.HTMLParser):
  """Parses a page: collects its tags, sources and text.

  It fails if a tag is closed in the wrong order.

  Attributes:
    tags: names of all tags that are opened.
    text: pieces of text.
    sources: values of the attributes that load something.
    open: names of the tags that are not closed yet.
  """

  def __init__(self, text):
    super().__init__()
    self.tags, self.text, self.sources, self.open = [], [], [], []
    self.feed(text)

  def handle_starttag(self, tag, attrs):
    self.tags.append(tag)
    self.sources += [v for k, v in attrs if k in ('src', 'href', 'srcset')]
    if tag not in ('meta', 'img', 'br', 'rect'):
      self.open.append(tag)

  def handle_endtag(self, tag):
    if tag != 'rect':
      assert self.open.pop() == tag, tag

  def handle_data(self, data):
    self.text.append(data)


def _row(name, split='train', role='weak', annotation=None, **fields):
  return manifest_lib.Row(
      name, f'{name}.png', split, role, annotation, **fields)


def _mixed_rows():
  """Returns rows of all kinds and roles, some with HTML tags in their names."""
  truth = {'truth': _MASK, 'quality': 0.5, 'fault': 'shifted'}
  rows = [
      _row(f'k{i}', annotation=annotation, evaluation=truth, site=f'site {i}',
           annotator='<script>', spacing_mm=(0.1 * (i + 1), 0.5))
      for i, annotation in enumerate(_KINDS)]
  rows += [_row(f's{i}', split, 'strong', _MASK)
           for i, split in enumerate(('train', 'train', 'val', 'test'))]
  return [*rows, _row('<b>ü<b>', role='unlabelled')]


class SummaryTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

  def mixed_set(self):
    """Writes the pictures and the manifest of `_mixed_rows`."""
    rng = np.random.default_rng(0)
    mask = np.zeros((20, 24), np.uint8)
    mask[3:11, 2:12], mask[12:18, 14:22] = 1, 2
    Image.fromarray(mask).save(self.folder / 'm.png')
    rows = _mixed_rows()
    for row in rows:
      pixels = rng.integers(0, 255, (20, 24, 3), np.uint8)
      Image.fromarray(pixels).save(self.folder / row.image)
    return manifest_lib.write_manifest(
        self.folder / 'manifest.jsonl',
        manifest_lib.Header('tiny & "odd"', ('background', 'polyp', '<i>tool')),
        rows)

  def write(self, manifest, **kwargs):
    findings = check.inspect_manifest(manifest)
    self.assertEqual(findings.problems, [])
    path = self.folder / 'summary.html'
    summary.write_summary(path, manifest, findings, **kwargs)
    return path.read_text(encoding='utf-8')

  def test_page_of_all_kinds(self):
    text = self.write(self.mixed_set(), image_size=32)
    page = _Page(text)
    self.assertEqual(page.open, [])
    words = ' '.join(page.text)
    for kind in _KINDS:
      self.assertIn('train weak, ' + kind['kind'].replace('_', ' '), words)
    for expected in (
        'tiny & "odd"', '13 images of 13 subjects', '<b>ü<b>', '<script>',
        'tag: polyp, <i>tool', 'IoU 0.50, shifted', 'train unlabelled',
        'test strong, mask', '20 x 24', 'Spacing y in mm',
        'Spacing x in mm: 0.5 in all images', '5 of 13 images is not known',
        'the weak mask is identical to its truth'):
      self.assertIn(expected, words)
    # Names from the manifest are escaped, so they cannot become tags.
    for tag in ('script', 'i'):
      self.assertNotIn(tag, page.tags)
    self.assertEqual(page.tags.count('b'), 13)  # One in each caption.

  def test_needs_no_network_and_is_small(self):
    text = self.write(self.mixed_set(), image_size=512)
    page = _Page(text)
    self.assertLen(page.sources, 13)
    for source in page.sources:
      self.assertStartsWith(source, 'data:image/png;base64,')
      content = base64.b64decode(source.split(',')[1])
      with Image.open(io.BytesIO(content)) as picture:
        self.assertEqual(picture.size, (432, 432))
    self.assertNotIn('url(', text)
    self.assertNotRegex(text, 'https?:')
    self.assertIn('color-scheme: light dark', text)
    self.assertIn('.plot .bar { fill: var', text)  # Visible on black.
    self.assertLess(len(text), 5e6)

  def test_counts_and_shares(self):
    text = self.write(self.mixed_set(), image_size=16)
    cells = lambda line: re.findall(r'<t[hd]>([^<]*)', line)
    lines = [cells(x) for x in re.findall(r'<tr>(.*?)</tr>', text)]
    self.assertIn(['train', '2', '8', '1', '11', '11'], lines)
    self.assertIn(['val', '1', '0', '0', '1', '1'], lines)
    self.assertIn(['mask', '2', '1', '1'], lines)
    self.assertIn(['none', '1', '0', '0'], lines)
    # The classes cover 80 and 48 of the 480 pixels of the mask.
    self.assertIn(
        ['val strong', '73.3 %', '16.7 %', '10.0 %', '0.0 %'], lines)
    # Of the 8 weak images, all but the one with a polygon show a polyp. Those
    # with a mask, a polygon or a tag show a tool.
    self.assertIn(['train weak', '7 (87.5 %)', '3 (37.5 %)'], lines)
    self.assertIn(['site 3', '1'], lines)
    self.assertIn(['not named', '5'], lines)

  def test_phantom(self):
    manifest = phantom.write(
        self.folder, image_size=16, seed=0, strong_fraction=0.1,
        fault_fraction=0.3)
    for number in (0, 9):
      with mock.patch.object(summary, '_NUM_PICTURES', number):
        text = self.write(manifest, image_size=16)
        self.assertEqual(text.count('<figure>'), number)
        self.assertEqual(text, self.write(manifest, image_size=16))

  def test_nothing_odd(self):
    manifest = self.mixed_set()
    findings = check.inspect_manifest(manifest)._replace(notices=[])
    path = self.folder / 'summary.html'
    summary.write_summary(path, manifest, findings, image_size=16)
    self.assertIn('None: nothing about this set is odd.', path.read_text())
    # Notices that were printed while the set was read are also on the page.
    summary.write_summary(
        path, manifest, findings, image_size=16,
        notices=['notice: 1 .txt file is not read: <b>.txt'])
    self.assertIn('<li>1 .txt file is not read: &lt;b&gt;.txt</li>',
                  path.read_text())
    self.assertNotIn('None:', path.read_text())

  def test_left_out_and_unlabelled_are_named(self):
    words = lambda text: ' '.join(_Page(text).text)
    text = self.write(self.mixed_set(), image_size=16, left_out=[
        formats.LeftOut('picture', 'a', 'image is empty', 'image')])
    # Cells with words are aligned to the left.
    self.assertIn('<table class="words"><caption>1 picture</caption>', text)
    self.assertIn('.words td { text-align: left; }', text)
    self.assertIn('1 unlabelled image <b>ü<b>', words(text))
    some = [formats.LeftOut('shape', 'x', 'cut', 'box')] * 22
    text = words(self.write(self.mixed_set(), image_size=16, left_out=some))
    self.assertIn('22 shapes', text)
    self.assertIn('2 more: see left_out.csv', text)

  def test_missing_file(self):
    manifest = self.mixed_set()
    findings = check.inspect_manifest(manifest)
    os.remove(self.folder / 'k0.png')
    with self.assertRaises(OSError):
      summary.write_summary(
          self.folder / 'summary.html', manifest, findings, image_size=16)
    self.assertFalse((self.folder / 'summary.html').exists())


class ChooseRowsTest(absltest.TestCase):

  def test_evenly_over_groups(self):
    rows = [_row(f'a{i}', 'train', 'strong', _MASK) for i in range(50)]
    rows += [_row(f'b{i}', annotation=_KINDS[2]) for i in range(50)]
    rows += [_row(f'c{i}', role='unlabelled') for i in range(3)]
    rows += [_row('d', 'val', 'strong', _MASK)]
    chosen = summary.choose_rows(rows, number=12, seed=0)
    self.assertEqual(
        [rows[i].id[0] for i in chosen], list('aaaabbbbcccd'))
    self.assertLen(set(chosen), 12)
    self.assertEqual(chosen, summary.choose_rows(rows, number=12, seed=0))
    self.assertNotEqual(chosen, summary.choose_rows(rows, number=12, seed=1))

  def test_fewer_rows_than_asked_for(self):
    rows = [_row('d', 'val', 'strong', _MASK)]
    self.assertEqual(summary.choose_rows(rows, number=5, seed=0), [0])


class DrawOverlayTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    Image.fromarray(np.full((8, 8), 100, np.uint8)).save(self.root / 'x.png')
    mask = np.zeros((8, 8), np.uint8)
    mask[2:6, 2:6] = 1
    Image.fromarray(mask).save(self.root / 'm.png')

  def draw(self, annotation, role='weak', **evaluation):
    """Returns the overlay of an annotation, reduced to the image's size."""
    row = _row('x', role=role, annotation=annotation, evaluation=evaluation)
    overlay = summary.draw_overlay(row, root=self.root, image_size=8)
    self.assertEqual(overlay.shape, (216, 216, 3))
    return overlay[::27, ::27]

  def test_dense(self):
    # The box is a blend of the grey image and the class colour:
    # 0.55 * 100 + 0.45 * (26, 255, 89). All other pixels are unchanged.
    pixels = self.draw(
        {'kind': 'box', 'boxes': [[1, 1, 3, 4]], 'labels': [1]})
    expected = np.full((8, 8, 3), 100)
    expected[1:4, 1:3] = 66, 169, 95
    np.testing.assert_array_equal(pixels, expected)

  def test_sparse(self):
    # Strokes of class 1 have the full colour of the class, and strokes of the
    # background are black. All other pixels remain grey.
    pixels = self.draw({
        'kind': 'scribble', 'strokes': [[[0, 1.5], [8, 1.5]],
                                        [[0, 6.5], [8, 6.5]]],
        'labels': [1, 0], 'width': 1})
    np.testing.assert_array_equal(pixels[1], [[26, 255, 89]] * 8)
    np.testing.assert_array_equal(pixels[6], [[0, 0, 0]] * 8)
    np.testing.assert_array_equal(pixels[4], [[100, 100, 100]] * 8)

  def test_truth_outline_of_weak_rows_only(self):
    box = {'kind': 'box', 'boxes': [], 'labels': []}
    row = _row('x', annotation=box, evaluation={'truth': _MASK})
    draw = lambda row: summary.draw_overlay(
        row, root=self.root, image_size=8)
    white = (draw(row) == 255).all(-1)
    # The outline is drawn one pixel outside of the square's sides.
    self.assertTrue(white[100, 53] and white[100, 161] and white[53, 100])
    self.assertLess(white.mean(), 0.02)
    strong = row._replace(role='strong', annotation=_MASK)
    self.assertFalse((draw(strong) == 255).all(-1).any())

  def test_tag_and_unlabelled_are_bare(self):
    tag = self.draw({'kind': 'tag', 'labels': [1]})
    bare = self.draw(None, role='unlabelled')
    np.testing.assert_array_equal(tag, np.full((8, 8, 3), 100))
    np.testing.assert_array_equal(bare, tag)


if __name__ == '__main__':
  absltest.main()
