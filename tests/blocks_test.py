"""Tests of the parts of HTML pages: html_page, html_plots and blocks."""

import base64
import io
import math
import os
import re

from absl.testing import absltest
from absl.testing import parameterized
from data_prep.shared import html_page
from data_prep.shared import html_plots
import numpy as np
from PIL import Image

from experiments.reports import blocks
from tests import html_pages
from tests import synthetic_reports
from tests import tiny

_PICTURE = blocks.Picture('data:image/webp;base64,AA==', 4, 3)


def _decode(uri):
  content = base64.b64decode(uri.split(',')[1])
  with Image.open(io.BytesIO(content)) as image:
    return np.asarray(image.convert('RGB'))


def _page(*bodies):
  return blocks.page('t', [], [
      blocks.Section(f'part {i}', body) for i, body in enumerate(bodies)])


class HtmlPageTest(parameterized.TestCase):

  @parameterized.parameters(
      ('<b> & "x" \'y\'', '&lt;b&gt; &amp; &quot;x&quot; &#x27;y&#x27;'),
      ('a\x00b\x1bc\udc80', 'a\ufffdb\ufffdc\ufffd'),
      ('a\tb\nc', 'a\tb\nc'),
      (3, '3'),
  )
  def test_escape(self, value, expected):
    self.assertEqual(html_page.escape(value), expected)
    self.assertEqual(html_page.name(value), f'<bdi>{expected}</bdi>')

  def test_page_without_script_runs_none(self):
    text = html_page.page(synthetic_reports.NAMES[0], ['<p>x</p>'])
    page = html_pages.assert_sound(self, text)
    self.assertEmpty(page.all('script'))
    self.assertIn("script-src 'none'", text)

  def test_write_replaces_as_a_whole(self):
    path = os.path.join(tiny.temp_dir(self), 'page.html')
    html_page.write(path, 'old')
    html_page.write(path, 'new \u03c0')
    self.assertEqual(os.listdir(os.path.dirname(path)), ['page.html'])
    with open(path, encoding='utf-8') as f:
      self.assertEqual(f.read(), 'new \u03c0')

  def test_colours_repeat(self):
    self.assertEqual(html_page.colour(1), html_page.COLOURS[0])
    self.assertEqual(html_page.colour(7), html_page.COLOURS[0])


class HtmlPlotsTest(parameterized.TestCase):

  def test_line_lies_where_its_numbers_say(self):
    figure = html_plots.lines(
        't', {'a': ([0, 10], [0, 1])}, x_label='step')
    # The canvas has 400 x 240 units, and margins of 50, 14, 12 and 40.
    self.assertIn('d="M50.0 200.0L386.0 12.0"', figure)
    self.assertIn('a: 0 first, 1 last, 0 to 1', figure)

  def test_gap_breaks_the_line(self):
    figure = html_plots.lines(
        't', {'a': ([0, 1, 2, 3], [0, None, 1, 1])}, x_label='step')
    line = re.search('class="line" d="([^"]*)"', figure)[1]
    self.assertEqual(line.count('M'), 2)
    self.assertEqual(line.count('L'), 1)

  def test_series_differ_by_more_than_colour(self):
    figure = html_plots.lines(
        't', {n: ([0, 1], [0, 1]) for n in 'abcdef'}, x_label='step')
    dashes = re.findall('class="line"( stroke-dasharray="[^"]*")?', figure)
    self.assertLen(set(dashes), 6)
    figure = html_plots.histogram(
        't', {n: [0, 1] for n in 'abcdef'}, x_label='', y_label='')
    # One of the six groups has no hatching.
    self.assertLen(set(re.findall(r'url\(#hatch\d\)', figure)), 5)

  def test_stacked_bars_add_up(self):
    figure = html_plots.histogram(
        't', {'a': [0.1, 0.1, np.nan], 'b': [0.1, 0.9]}, x_label='x',
        y_label='n', x_range=(0, 1), num_bins=2)
    bars = re.findall('class="bar c(.)" d="([^"]*)"', figure)[:2]
    ends = lambda path: [
        tuple(map(float, p)) for p in re.findall(r' ([\d.]+)V([\d.]+)H', path)]
    (a,), (b, c) = (ends(path) for _, path in bars)
    self.assertEqual([k for k, _ in bars], ['0', '1'])
    # In the first bin, a bar of 2 values lies below a bar of 1; the second bin
    # has one bar of 1. The canvas is 188 units high.
    self.assertEqual(a, (200, 74.7))
    self.assertEqual(b, (74.7, 12))
    self.assertEqual(c, (200, 137.3))

  def test_heat_map_is_the_matrix_upside_down(self):
    values = np.array([[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]])
    figure = html_plots.heat_map(
        't', values, x_label='', y_label='', x_range=(0, 2), y_range=(0, 3))
    pixels = _decode(re.search('href="([^"]*)"', figure)[1])
    self.assertEqual(pixels.shape, (3, 2, 3))
    np.testing.assert_array_equal(pixels[0], [[255, 234, 70], [0, 32, 77]])
    np.testing.assert_array_equal(pixels[2], [[0, 32, 77], [255, 234, 70]])

  def test_large_plots_stay_small(self):
    rng = np.random.default_rng(0)
    many = rng.uniform(size=(2, 50_000))
    self.assertLess(len(html_plots.scatter(
        't', {'a': many}, x_label='', y_label='')), 2e5)
    figure = html_plots.heat_map(
        't', rng.uniform(size=(3000, 700)), x_label='', y_label='',
        x_range=(0, 1), y_range=(0, 1))
    pixels = _decode(re.search('href="([^"]*)"', figure)[1])
    self.assertEqual(pixels.shape, (512, 512, 3))

  @parameterized.parameters(
      ((0, 1), [0, 0.2, 0.4, 0.6, 0.8, 1]), ((3, 3), [2, 3, 4]),
      ((0, 400), [0, 100, 200, 300, 400]), ((-2e-5, 1e-5), [-2e-5, -1e-5, 0,
                                                           1e-5]),
  )
  def test_ticks_are_round(self, limits, expected):
    ticks = html_plots._ticks(*html_plots._widen(limits))  # pylint: disable=protected-access
    np.testing.assert_allclose(ticks, expected, atol=1e-12)

  def test_nothing_to_draw(self):
    nan = [math.nan]
    self.assertEqual(html_plots.lines('t', {'a': ([1], nan)}, x_label=''), '')
    self.assertEqual(html_plots.histogram(
        't', {'a': nan}, x_label='', y_label=''), '')
    self.assertEqual(html_plots.scatter(
        't', {'a': (nan, [1])}, x_label='', y_label=''), '')
    self.assertEqual(html_plots.heat_map(
        't', np.zeros((0, 3)), x_label='', y_label='', x_range=(0, 1),
        y_range=(0, 1)), '')

  def test_hostile_labels(self):
    groups = {name: [0, 1] for name in synthetic_reports.NAMES}
    text = _page(html_plots.side_by_side(*(
        html_plots.histogram(
            name, groups, x_label=name, y_label=name)
        for name in synthetic_reports.NAMES)))
    page = html_pages.assert_sound(self, text)
    self.assertLen(page.all('script'), 1)


class HtmlReportTest(parameterized.TestCase):

  def test_encode_keeps_the_limit_and_enlarges_tiny_ones(self):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (300, 150, 3), np.uint8)
    for num_bytes in (20_000, 4000, 1500):
      picture = blocks.encode(noise, blocks.Limits(128, num_bytes))
      self.assertLessEqual(len(picture.uri), num_bytes * 4 / 3 + 30)
      pixels = _decode(picture.uri)
      self.assertEqual(pixels.shape, (picture.height, picture.width, 3))
      self.assertLessEqual(picture.height, 128)
      self.assertAlmostEqual(picture.height / picture.width, 2, delta=0.1)
    tiny_one = rng.integers(0, 255, (16, 8, 3), np.uint8)
    picture = blocks.encode(tiny_one, blocks.Limits(128, 4000))
    np.testing.assert_array_equal(
        _decode(picture.uri), tiny_one.repeat(6, 0).repeat(6, 1))

  def test_limits_share_the_bytes(self):
    few = blocks.limits(10, total_bytes=4_000_000, max_side=160)
    many = blocks.limits(4000, total_bytes=4_000_000, max_side=160)
    self.assertEqual(few, (160, 300_000))
    self.assertEqual(many, (72, 750))

  @parameterized.parameters(
      ((100, 50), 200, (100, 50)), ((100, 50), 50, (50, 25)),
      ((1, 4000), 100, (1, 100)))
  def test_fit(self, size, side, expected):
    self.assertEqual(blocks.fit(size, side), expected)

  def test_list(self):
    pictures = {'image': _PICTURE, 'truth': _PICTURE}
    cases = [
        blocks.Case('a', {'n': 3, 'x': 0.5, 'who': 'me', 'no': ''},
                    pictures),
        blocks.Case('b', {'n': 4, 'x': math.inf, 'who': ''}, pictures),
        blocks.Case('c', {'n': 5, 'x': math.nan}, {})]
    text = _page(blocks.cases_list(
        cases, label='case', sorted_by='x', num_cases=9, more='More <there>.'))
    page = html_pages.assert_sound(self, text)
    heads = page.all('th')[:5]
    self.assertEqual([h.get('data-type') for h in heads],
                     ['text', None, 'number', 'number', 'text'])
    self.assertEqual([h.get('aria-sort') for h in heads],
                     ['none', None, 'none', 'ascending', 'none'])
    for expected in (
        '<td data-v="3">3</td><td data-v="0.5">0.500</td>',
        '<td data-v="Infinity">\u221e</td>', '<td data-v="NaN">\u2013</td>',
        '6 more are not shown. More &lt;there&gt;.'):
      self.assertIn(expected, text)
    self.assertLen(page.all('img'), 4)
    # Without JavaScript, controls that would do nothing must be disabled.
    buttons = [b for b in page.all('button') if 'id' not in b]
    self.assertLen(buttons, 6)
    self.assertTrue(all('disabled' in b for b in buttons))
    self.assertIn('<div class="tools" hidden>', text)

  def test_empty_list_and_sections_leave_no_trace(self):
    text = _page('', blocks.cases_list([], label='case'),
                 blocks.gallery([]), blocks.tables({}), '<p>x</p>')
    self.assertNotIn('<table', text)
    self.assertEqual(text.count('<section'), 1)

  def test_tables_of_nested_numbers(self):
    text = blocks.tables({
        'step': 4, 'dice': 0.12345678, 'interval_95': [0.1, 0.2], 'nan':
        math.nan, 'test': {'num_cases': 3, 'per_class': {
            'polyp': {'dice': {'mean': 0.5, 'interval': (0.25, 0.75)}},
            'tool': {'dice': {'mean': 1.0}}}}})
    captions = re.findall('<caption>([^<]*)', text)
    self.assertEqual(captions, ['', 'test', 'test: per class'])
    rows = [re.findall('<t[hd]>([^<]*)', row)
            for row in re.findall('<tr>(.*?)</tr>', text)]
    self.assertIn(['Dice', '0.1235'], rows)
    self.assertIn(['interval 95', '0.1 to 0.2'], rows)
    self.assertIn(['nan', ''], rows)
    self.assertEqual(rows[-3:], [
        ['', 'Dice mean', 'Dice interval'], ['polyp', '0.5', '0.25 to 0.75'],
        ['tool', '1', '']])

  def test_a_mean_and_its_interval_share_a_cell(self):
    text = blocks.tables({'val': {
        'num_cases_counted': 3, 'dice': 0.5, 'dice_interval_95': [0.25, 0.75],
        'iou': 0.4, 'iou_interval_95': None, 'per_class': {
            'x': {'hd95_mm': {'mean': 2.5, 'interval_95': [2.0, 3.0]}}}}})
    rows = [re.findall('<t[hd]>([^<]*)', row)
            for row in re.findall('<tr>(.*?)</tr>', text)]
    self.assertEqual(rows, [
        ['', ''], ['cases counted', '3'], ['Dice', '0.5 (0.25 to 0.75)'],
        ['IoU', '0.4'], ['', 'HD95 mm'], ['x', '2.5 (2 to 3)']])

  def test_a_wide_table_is_turned(self):
    lines = [{'': name} | {f'm{i}': i for i in range(12)} for name in 'ab']
    text = blocks.lines_table('t', lines)
    self.assertEqual(text.count('<tr>'), 13)
    self.assertIn('<tr><th></th><th>a</th><th>b</th></tr>', text)

  def test_details_name_keys_as_flags_do(self):
    text = blocks.details(
        'Config', {'input': {'sizes': (16, 32)}, 'name': '<b>'})
    self.assertIn('<th>input.sizes</th><td>16, 32</td>', text)
    self.assertIn('<td>&lt;b&gt;</td>', text)


if __name__ == '__main__':
  absltest.main()
