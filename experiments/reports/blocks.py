"""Makes the HTML blocks of a report: lists of cases, pictures and tables.

This module is independent of runs: its callers name, paint and sort what it
shows.
"""

from collections.abc import Mapping, Sequence
import itertools
import math
import numbers
from typing import Any, NamedTuple

from data_prep.drawing import rasterize
from data_prep.shared import grammar
from data_prep.shared import html_page
from data_prep.shared import html_plots
import numpy as np

from experiments.reports import script
from experiments.reports import wording

# Pictures whose longer side is at most this many pixels are enlarged, because
# browsers would blur them.
_TINY = 32
_MIN_SIDE = 32  # Pictures are not shrunk below this many pixels.
_QUALITY = 75  # Quality of WebP, from 0 to 100.
_INTERVAL = '_interval_95'  # End of the key of an interval, in results.


class Picture(NamedTuple):
  """An encoded picture: its data URI, and its width and height in pixels."""

  uri: str
  width: int
  height: int


class Case(NamedTuple):
  """One line of a list of cases.

  Attributes:
    id: heading of the line.
    values: maps the name of each column to a string or a number; nan if there
      is none.
    pictures: maps each caption to a picture.
  """

  id: str
  values: Mapping[str, float | str]
  pictures: Mapping[str, Picture]


class Section(NamedTuple):
  """A part of a page.

  Attributes:
    title: title as plain text.
    body: content as HTML.
    is_printed: whether it is printed. If no section of a page is, all are.
  """

  title: str
  body: str
  is_printed: bool = False


class Limits(NamedTuple):
  """The limits of a picture: its longer side in pixels, its size in bytes."""

  side: int
  num_bytes: int


def limits(num_pictures: int, *, total_bytes: int, max_side: int) -> Limits:
  """Returns the limits of each picture of a page.

  Args:
    num_pictures: number of pictures on the page.
    total_bytes: bytes that all of them may take in the HTML file, where base64
      turns 3 bytes into 4.
    max_side: largest side of a picture, in pixels.
  """
  num_bytes = total_bytes * 3 // 4 // max(num_pictures, 1)
  # A painted photograph takes about 0.13 bytes per pixel at `_QUALITY`.
  side = min(max_side, max(64, int(math.sqrt(num_bytes / 0.13)) // 8 * 8))
  return Limits(side, num_bytes)


def fit(size: Sequence[int], side: int) -> tuple[int, int]:
  """Returns the height and width of a picture after shrinking it.

  Args:
    size: height and width of the picture, and possibly its channels.
    side: largest length of its longer side afterwards, in pixels.
  """
  scale = min(1.0, side / max(size[0], size[1]))
  return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def encode(pixels: np.ndarray, limit: Limits) -> Picture:
  """Encodes a picture as WebP within its limits.

  Tiny pictures are enlarged first, so that browsers show sharp pixels.

  Args:
    pixels: picture, uint8 [H, W, 3].
    limit: largest side and number of bytes.
  """
  if max(pixels.shape[:2]) <= _TINY:
    # Enlarge by a whole number, which keeps the pixels sharp.
    times = 96 // max(pixels.shape[:2])
    pixels = pixels.repeat(times, axis=0).repeat(times, axis=1)
    content = html_page.image_bytes(
        pixels, 'WEBP', lossless=True, method=1, quality=20)
    if len(content) <= limit.num_bytes:
      return _picture(content, pixels.shape)
  side = limit.side
  while True:
    small = rasterize.resize_image(pixels, size=fit(pixels.shape, side))
    content = html_page.image_bytes(small, 'WEBP', quality=_QUALITY, method=2)
    if len(content) <= limit.num_bytes or side <= _MIN_SIDE:
      return _picture(content, small.shape)
    side = max(_MIN_SIDE, side * 3 // 4)


def _picture(content, shape):
  return Picture(html_page.data_uri(content, 'WEBP'), shape[1], shape[0])


def page(
    title: str, intro: Sequence[str], sections: Sequence[Section]
) -> str:
  """Returns the HTML of a report, with a table of contents.

  Args:
    title: title as plain text.
    intro: paragraphs below the title, as HTML.
    sections: sections of the report; those with an empty body are left out.
  """
  sections = [s for s in sections if s.body]
  contents = ''.join(
      f'<li><a href="#part-{i}">{html_page.escape(s.title)}</a></li>'
      for i, s in enumerate(sections))
  body = [html_plots.HATCHES, f'<h1>{html_page.name(title)}</h1>', *intro,
          f'<nav aria-label="Contents"><ul>{contents}</ul></nav>', '<main>']
  prints_all = not any(s.is_printed for s in sections)
  for i, section in enumerate(sections):
    css_class = '' if section.is_printed or prints_all else ' class="screen"'
    body += [f'<section{css_class} aria-labelledby="part-{i}">'
             f'<h2 id="part-{i}" tabindex="-1">'
             f'{html_page.escape(section.title)}</h2>',
             section.body, '</section>']
  return html_page.page(
      title, [*body, '</main>', script.VIEWER],
      style=html_plots.STYLE + script.STYLE, script=script.SCRIPT)


def cases_list(
    cases: Sequence[Case],
    *,
    label: str,
    sorted_by: str = '',
    num_cases: int | None = None,
    more: str = '',
) -> str:
  """Returns a table of cases that a reader can sort and filter, as HTML.

  A click on the pictures of a case enlarges them.

  Args:
    cases: cases in their initial order.
    label: what each line shows, such as 'case', for screen readers.
    sorted_by: the column by which the cases are sorted at first, in ascending
      order; '' if they are not sorted.
    num_cases: total number of cases, if there are more than those listed.
    more: sentence that states where to find the other cases.
  """
  if not cases:
    return ''
  rest = (num_cases or 0) - len(cases)
  names = list(dict.fromkeys(n for case in cases for n in case.values))
  columns = {n: _Column([c.values.get(n) for c in cases]) for n in names}
  columns = {n: column for n, column in columns.items() if column.says}
  has_pictures = any(case.pictures for case in cases)
  thumbs = _thumbs if has_pictures else lambda case: ''
  heads = [_head(label, '', 'text'), '<th>pictures</th>' * has_pictures] + [
      _head(wording.case_words(n), n == sorted_by, column.type)
      for n, column in columns.items()]
  rows = [
      f'<tr><th scope="row">{html_page.name(case.id)}</th>{thumbs(case)}'
      + ''.join(column.cell(i) for column in columns.values()) + '</tr>'
      for i, case in enumerate(cases)]
  note = (f'<p>{rest} more {grammar.verb(rest, "are")} not shown. '
          f'{html_page.escape(more)}</p>')
  label = html_page.escape(label)
  keys = (' On the pictures, arrow keys, Home and End move, and Enter enlarges.'
          if has_pictures else '')
  return (
      '<div class="cases"><div class="tools" hidden><label>Filter <input '
      'type="search" autocomplete="off"></label> <output></output> '
      f'<span class="dim">Click a head to sort.{keys}</span></div>'
      f'<div class="scroll" role="region" aria-label="{label}" tabindex="0">'
      f'<table><thead><tr>{"".join(heads)}</tr></thead>'
      f'<tbody>{"".join(rows)}</tbody></table></div>'
      f'{note if rest > 0 else ""}</div>')


def _head(text, is_sorted, kind):
  order = 'ascending' if is_sorted else 'none'
  return (f'<th scope="col" aria-sort="{order}" data-type="{kind}"><button '
          f'type="button" disabled>{html_page.escape(text)}</button></th>')


def _thumbs(case):
  if not case.pictures:
    return '<td></td>'
  images = ''.join(
      f'<span>{_img(caption, picture, lazy=True)}'
      f'{html_page.escape(caption)}</span>'
      for caption, picture in case.pictures.items())
  return (f'<td class="thumbs"><button type="button" class="open" disabled '
          f'aria-label="Enlarge {html_page.escape(case.id)}">{images}'
          '</button></td>')


def _img(caption, picture, *, lazy=False):
  loading = ' loading="lazy"' if lazy else ''
  return (f'<img alt="{html_page.escape(caption)}"{loading} decoding="async" '
          f'width="{picture.width}" height="{picture.height}" '
          f'src="{picture.uri}">')


class _Column:
  """One column of a table: numbers in a common format, or strings."""

  def __init__(self, values):
    self._values = values
    is_text = any(isinstance(v, str) for v in values)
    self.type = 'text' if is_text else 'number'
    self.says = any(map(_text, values))
    known = [abs(float(v)) for v in values
             if isinstance(v, numbers.Real) and math.isfinite(v)]
    self._format = '.3f'
    if all(v.is_integer() for v in known):
      self._format = '.0f'
    elif max(known) < 0.01 or max(known) >= 1e4:
      self._format = '.3g'

  def cell(self, i):
    value = self._values[i]
    if self.type == 'text':
      return f'<td class="text">{html_page.name(_text(value))}</td>'
    value = float('nan') if value is None else float(value)
    if math.isfinite(value):
      return f'<td data-v="{value:.7g}">{value:{self._format}}</td>'
    shown = {math.inf: ('Infinity', '\u221e'), -math.inf: (
        '-Infinity', '-\u221e')}.get(value, ('NaN', '\u2013'))
    return f'<td data-v="{shown[0]}">{shown[1]}</td>'


def gallery(cases: Sequence[Case]) -> str:
  """Returns HTML that shows cases one after another, with large pictures."""
  groups = []
  for case in cases:
    figures = ''.join(
        f'<figure>{_img(caption, picture)}<figcaption>'
        f'{html_page.escape(caption)}</figcaption></figure>'
        for caption, picture in case.pictures.items())
    values = ', '.join(
        f'{html_page.escape(wording.case_words(n))} {html_page.name(_text(v))}'
        for n, v in case.values.items() if _text(v))
    groups.append(
        f'<div class="group" style="--n: {len(case.pictures)}">'
        f'<h3>{html_page.name(case.id)}</h3><p>{values}</p>{figures}</div>')
  return f'<div class="pictures">{"".join(groups)}</div>' if groups else ''


def tables(tree: Mapping[str, Any]) -> str:
  """Returns the HTML tables that show a tree of numbers.

  The plain values of a dict become a table of keys and values. A dict that
  holds only dicts becomes one table, with a line for each inner dict. A pair of
  numbers is shown as an interval, in one cell with the mean that it belongs to:
  the interval of KEY is KEY_interval_95.

  Args:
    tree: nested dicts of numbers, strings and pairs of numbers.
  """
  return html_page.side_by_side(*_tables(_with_intervals(tree), ''))


def _with_intervals(tree):
  """Returns a tree in which each mean and its interval are one value."""
  joined = {}
  for key, value in tree.items():
    if key.endswith(_INTERVAL) and key.removesuffix(_INTERVAL) in tree:
      continue  # It stands beside its mean.
    interval = tree.get(f'{key}{_INTERVAL}')
    if isinstance(value, Mapping):
      if value.keys() == {'mean', _INTERVAL.strip('_')}:
        value, interval = value.values()
      else:
        value = _with_intervals(value)
    if interval is not None:
      value = f'{_text(value)} ({_text(interval)})'
    joined[key] = value
  return joined


def _tables(tree, caption):
  plain = {k: v for k, v in tree.items() if not isinstance(v, Mapping)}
  parts = []
  if plain:
    rows = [[wording.words(k), _text(v)] for k, v in plain.items()]
    parts.append(html_page.table(caption, ['', ''], rows))
  for key, child in tree.items():
    title = ': '.join(filter(None, [caption, wording.words(key)]))
    if not isinstance(child, Mapping) or not child:
      continue
    if all(isinstance(v, Mapping) for v in child.values()):
      parts.append(lines_table(title, [
          {'': k} | dict(_leaves(v, ' ')) for k, v in child.items()]))
    else:
      parts += _tables(child, title)
  return parts


def lines_table(caption: str, lines: Sequence[Mapping[str, Any]]) -> str:
  """Returns an HTML table, which is transposed if it is too wide.

  Args:
    caption: caption of the table.
    lines: rows of the table, dicts with the same keys; the keys are the column
      headings.
  """
  if not lines:
    return ''
  keys = list(dict.fromkeys(itertools.chain.from_iterable(lines)))
  rows = [[_text(line.get(k)) for k in keys] for line in lines]
  head = [wording.words(k) for k in keys]
  if len(keys) > max(8, len(lines)):
    head, *rows = zip(head, *rows, strict=True)
  return html_page.table(caption, head, rows)


def _leaves(tree, separator, prefix=''):
  for key, value in tree.items():
    if isinstance(value, Mapping):
      yield from _leaves(value, separator, f'{prefix}{key}{separator}')
    else:
      yield f'{prefix}{key}', value


def details(title: str, values: Mapping[str, Any]) -> str:
  """Returns a table of keys and values that a reader can unfold, as HTML.

  Args:
    title: title that is always visible.
    values: values by key, which may be nested.
  """
  lines = [[k, _text(v, pair=', ')] for k, v in _leaves(values, '.')]
  if not lines:
    return ''
  table = html_page.side_by_side(html_page.table('', ['', ''], lines))
  return (f'<details><summary>{html_page.escape(title)}</summary>{table}'
          '</details>')


def _text(value, *, pair=' to '):
  """Returns a value as text for a reader; '' for None and nan."""
  if value is None:
    return ''
  if isinstance(value, (bool, np.bool_, str)):
    return str(value)
  if isinstance(value, numbers.Integral):
    return f'{value:d}'
  if isinstance(value, numbers.Real):
    return '' if math.isnan(value) else f'{value:.4g}'
  if isinstance(value, (list, tuple, np.ndarray)):
    is_pair = len(value) == 2 and all(
        isinstance(v, numbers.Real) for v in value)
    return (pair if is_pair else ', ').join(_text(v) for v in value)
  return str(value)
