"""Draws plots as inline SVG: lines, stacked histograms, scatter, heat maps.

The plots follow the page's dark or light colours. A series differs from its
neighbours by colour and by dashes, markers or hatching. The colours are those
of Okabe and Ito (2008), lighter on a dark page. A screen reader reads the title
and the most important numbers.
"""

from collections.abc import Mapping, Sequence
import math

import numpy as np

from data_prep.shared import html_page

_WIDTH, _HEIGHT = 400, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 14, 12, 40
_NUM_STYLES = 6
_DASHES = ('', '6 3', '2 2', '8 3 2 3', '10 4', '4 2 1 2')
_MAX_MARKERS = 12  # On one plotted line.
_MAX_POINTS = 2000  # In a scatter plot; more points add nothing visible.
_MAX_COLUMNS = 512  # In a heat map, which has at most as many rows.
# Colours from dark blue to yellow, as in cividis, which colour-blind readers
# see in the same order.
_HEAT = np.array([
    [0, 32, 77], [61, 78, 107], [124, 123, 120], [187, 174, 108],
    [255, 234, 70]])

STYLE = """
:root { --c0: #0072b2; --c1: #d55e00; --c2: #00795a; --c3: #a3457f;
  --c4: #8a6100; --c5: #555; }
@media (prefers-color-scheme: dark) { :root { --c0: #56b4e9; --c1: #ff8f45;
  --c2: #2fc99a; --c3: #e79ac6; --c4: #f0d64a; --c5: #bbb; } }
.plots { display: flex; flex-wrap: wrap; gap: 1.2rem 1.6rem; }
.plot { width: 24rem; max-width: 100%; margin: 0 0 1rem; }
.fill .plot { flex: 1 1 20rem; }
.plot figcaption { font-weight: 600; }
.plot svg { width: 100%; height: auto; display: block; }
.plot svg text { fill: currentColor; font-size: 12px; }
.plot .axis { stroke: currentColor; opacity: .6; fill: none; }
.plot .grid { stroke: currentColor; opacity: .15; fill: none; }
.plot .line { fill: none; stroke: var(--c); stroke-width: 1.8; }
.plot .mark, .plot .bar { fill: var(--c); }
.plot .dots { opacity: .7; }
.c0 { --c: var(--c0); } .c1 { --c: var(--c1); } .c2 { --c: var(--c2); }
.c3 { --c: var(--c3); } .c4 { --c: var(--c4); } .c5 { --c: var(--c5); }
.plot ul { list-style: none; display: flex; flex-wrap: wrap; gap: 0 1rem;
  margin: .2rem 0 0; padding: 0; }
.plot ul svg { width: 28px; height: 12px; display: inline-block;
  vertical-align: middle; margin-right: .3rem; }
"""
_HATCH_PATHS = (
    '', 'M0 2H6', 'M2 0V6', 'M0 6L6 0', 'M0 0L6 6', 'M0 2H6M2 0V6')
# The patterns that a page must contain once if it shows histograms of several
# groups.
HATCHES = (
    '<svg width="0" height="0" aria-hidden="true" style="position: absolute">'
    '<defs>' + ''.join(
        f'<pattern id="hatch{i}" width="6" height="6" '
        'patternUnits="userSpaceOnUse">'
        f'<path d="{path}" style="stroke: Canvas; stroke-width: 1.6; '
        'fill: none"/></pattern>'
        for i, path in enumerate(_HATCH_PATHS) if path)
    + '</defs></svg>')


def lines(
    title: str,
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    x_label: str,
    y_range: tuple[float, float] | None = None,
) -> str:
  """Draws series as lines, which are interrupted where a value is NaN.

  Args:
    title: title of the plot.
    series: maps the label of each series to its x and y.
    x_label: label of the x axis.
    y_range: limits of the y axis; None fits them to the values.

  Returns:
    A <figure>; '' if no value is finite.
  """
  series = {n: _finite(*xy, keep_gaps=True) for n, xy in series.items()}
  series = {n: xy for n, xy in series.items() if np.isfinite(xy[1]).any()}
  if not series:
    return ''
  axes = _Axes(_range(x for x, _ in series.values()),
               y_range or _range(y for _, y in series.values()))
  parts, says = [], []
  for i, (label, (x, y)) in enumerate(series.items()):
    parts.append(_line(i, axes.x(x), axes.y(y)))
    known = y[np.isfinite(y)]
    says.append(f'{label}: {known[0]:.3g} first, {known[-1]:.3g} last, '
                f'{known.min():.3g} to {known.max():.3g}')
  return _figure(title, says, axes.draw(x_label) + ''.join(parts),
                 {label: _line_key(i) for i, label in enumerate(series)})


def histogram(
    title: str,
    groups: Mapping[str, Sequence[float]],
    *,
    x_label: str,
    y_label: str,
    x_range: tuple[float, float] | None = None,
    num_bins: int = 20,
) -> str:
  """Draws a histogram of the finite values, in which the groups are stacked.

  With several groups, the page must contain `HATCHES`.
  """
  groups = {n: np.asarray(v, float) for n, v in groups.items()}
  groups = {n: v[np.isfinite(v)] for n, v in groups.items()}
  groups = {n: v for n, v in groups.items() if v.size}
  if not groups:
    return ''
  edges = np.linspace(*(x_range or _range(groups.values())), num_bins + 1)
  counts = [np.histogram(v, bins=edges)[0] for v in groups.values()]
  axes = _Axes((edges[0], edges[-1]), (0, max(sum(counts))))
  parts, base = [], np.zeros(num_bins)
  for i, count in enumerate(counts):
    parts.append(_bars(i, axes, edges, base, base + count, len(groups) > 1))
    base = base + count
  says = [f'{label or y_label}: {v.size}, mean {v.mean():.3g}, '
          f'{v.min():.3g} to {v.max():.3g}' for label, v in groups.items()]
  return _figure(title, says, axes.draw(x_label, y_label) + ''.join(parts),
                 {n: _box_key(i) for i, n in enumerate(groups)})


def scatter(
    title: str,
    groups: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    x_label: str,
    y_label: str,
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
) -> str:
  """Draws groups of points; `groups` maps each label to x and y.

  If there are more than `_MAX_POINTS` points, only every n-th one is drawn.
  """
  groups = {n: _finite(*xy) for n, xy in groups.items()}
  groups = {n: xy for n, xy in groups.items() if xy[0].size}
  if not groups:
    return ''
  axes = _Axes(x_range or _range(x for x, _ in groups.values()),
               y_range or _range(y for _, y in groups.values()))
  total = sum(x.size for x, _ in groups.values())
  step = math.ceil(total / _MAX_POINTS)
  parts = [
      f'<path class="mark dots c{i % _NUM_STYLES}" d="'
      + _marks(i, axes.x(x[::step]), axes.y(y[::step])) + '"/>'
      for i, (x, y) in enumerate(groups.values())]
  says = [f'{label or y_label}: {x.size} points, mean {x.mean():.3g} across, '
          f'{y.mean():.3g} up' for label, (x, y) in groups.items()]
  if step > 1:
    says.append(f'1 of {step} points is drawn')
  return _figure(title, says, axes.draw(x_label, y_label) + ''.join(parts),
                 {n: _mark_key(i) for i, n in enumerate(groups)})


def heat_map(
    title: str,
    values: np.ndarray,
    *,
    x_label: str,
    y_label: str,
    x_range: tuple[float, float],
    y_range: tuple[float, float],
) -> str:
  """Draws values in [0, 1], an array [R, C] whose row 0 is at the bottom.

  Colours go from dark blue, 0, to yellow, 1. If there are many rows or columns,
  neighbours are averaged.
  """
  values = np.asarray(values, float)
  if not values.size:
    return ''
  axes = _Axes(x_range, y_range)
  split = lambda v, axis: np.stack([
      part.mean(axis) for part in np.array_split(
          v, min(v.shape[axis], _MAX_COLUMNS), axis=axis)], axis)
  small = split(split(values, 1), 0)[::-1]
  pixels = np.stack([
      np.interp(small, np.linspace(0, 1, len(_HEAT)), c) for c in _HEAT.T], -1)
  source = html_page.data_uri(html_page.image_bytes(
      pixels.round().astype(np.uint8), 'PNG'), 'PNG')
  x, y = axes.x(np.array(x_range)), axes.y(np.array(y_range))
  image = (
      f'<image href="{source}" x="{x[0]:.1f}" y="{y[1]:.1f}" '
      f'width="{x[1] - x[0]:.1f}" height="{y[0] - y[1]:.1f}" '
      'preserveAspectRatio="none" style="image-rendering: pixelated"/>')
  says = [f'{small.shape[1]} columns, mean of the first '
          f'{values[:, 0].mean():.3g}, of the last {values[:, -1].mean():.3g}']
  keys = {f'{v:g}': _heat_key(v) for v in (0.0, 0.25, 0.5, 0.75, 1.0)}
  return _figure(title, says, image + axes.draw(x_label, y_label), keys)


def side_by_side(*figures: str, fill: bool = False) -> str:
  """Puts figures side by side.

  Args:
    *figures: the figures; one that is '' takes no space.
    fill: whether they grow until they fill the width of the page.
  """
  return html_page.side_by_side(
      *figures, css_class='plots fill' if fill else 'plots')


class _Axes:
  """Maps values to positions on the canvas."""

  def __init__(self, x_range, y_range):
    self._x_range, self._y_range = _widen(x_range), _widen(y_range)

  def x(self, values):
    low, high = self._x_range
    return _LEFT + (values - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)

  def y(self, values):
    low, high = self._y_range
    tall = _HEIGHT - _TOP - _BOTTOM
    return _TOP + (1 - (values - low) / (high - low)) * tall

  def draw(self, x_label, y_label=''):
    """Returns the grid, the axes, their ticks and their labels as SVG."""
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    parts = [f'<path class="axis" d="M{_LEFT} {_TOP}V{bottom}H{right}"/>']
    for value in _ticks(*self._x_range):
      x = self.x(value)
      parts.append(
          f'<path class="axis" d="M{x:.1f} {bottom}v4"/>'
          f'<text x="{x:.1f}" y="{bottom + 17}" text-anchor="middle">'
          f'{_number(value)}</text>')
    for value in _ticks(*self._y_range):
      y = self.y(value)
      parts.append(
          f'<path class="grid" d="M{_LEFT} {y:.1f}H{right}"/>'
          f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">'
          f'{_number(value)}</text>')
    parts.append(
        f'<text x="{(_LEFT + right) / 2}" y="{_HEIGHT - 5}" '
        f'text-anchor="middle">{html_page.escape(x_label)}</text>')
    if y_label:
      middle = (_TOP + bottom) / 2
      parts.append(
          f'<text transform="translate(11 {middle}) rotate(-90)" '
          f'text-anchor="middle">{html_page.escape(y_label)}</text>')
    return ''.join(parts)


def _figure(title, says, drawing, keys):
  """Returns the <figure> of a plot, with a legend if any series has a label."""
  items = ''.join(f'<li>{key}{html_page.name(label)}</li>'
                  for label, key in keys.items())
  items = f'<ul>{items}</ul>' if any(keys) else ''
  return (
      f'<figure class="plot"><figcaption>{html_page.escape(title)}</figcaption>'
      f'<svg role="img" viewBox="0 0 {_WIDTH} {_HEIGHT}">'
      f'<title>{html_page.escape(title)}</title>'
      f'<desc>{html_page.escape("; ".join(says))}</desc>'
      f'{drawing}</svg>{items}</figure>')


def _line(i, x, y):
  """Returns series `i` as an SVG line with markers; a NaN interrupts it."""
  path, pen = [], 'M'
  for a, b in zip(x, y, strict=True):
    if math.isfinite(b):
      path.append(f'{pen}{a:.1f} {b:.1f}')
      pen = 'L'
    else:
      pen = 'M'
  step = math.ceil(len(x) / _MAX_MARKERS)
  dash = _DASHES[i % _NUM_STYLES]
  dash = f' stroke-dasharray="{dash}"' if dash else ''
  known = np.isfinite(y[::step])
  return (
      f'<g class="c{i % _NUM_STYLES}"><path class="line"{dash} '
      f'd="{"".join(path)}"/><path class="mark" '
      f'd="{_marks(i, x[::step][known], y[::step][known])}"/></g>')


def _marks(i, x, y):
  """Returns the SVG path of markers, whose shape depends on the series `i`."""
  shape = (
      'm-3 0a3 3 0 1 0 6 0a3 3 0 1 0-6 0z', 'm-2.7-2.7h5.4v5.4h-5.4z',
      'm0-3.6l3.5 6h-7z', 'm0-3.8l3.4 3.8l-3.4 3.8l-3.4-3.8z',
      'm-1-3.5h2v2.5h2.5v2h-2.5v2.5h-2v-2.5h-2.5v-2h2.5z',
      'm0 3.6l3.5-6h-7z')[i % _NUM_STYLES]
  return ''.join(
      f'M{a:.1f} {b:.1f}{shape}' for a, b in zip(x, y, strict=True))


def _bars(i, axes, edges, low, high, hatched):
  path = ''.join(
      f'M{a + 0.5:.1f} {b:.1f}V{t:.1f}H{c - 0.5:.1f}V{b:.1f}z'
      for a, c, b, t in zip(
          axes.x(edges[:-1]), axes.x(edges[1:]), axes.y(low), axes.y(high),
          strict=True) if b > t)
  drawn = f'<path class="bar c{i % _NUM_STYLES}" d="{path}"/>'
  if hatched and i % _NUM_STYLES:
    drawn += f'<path style="{_hatch(i)}" d="{path}"/>'
  return drawn


def _hatch(i):
  return f'fill: url(#hatch{i % _NUM_STYLES})'


def _key(drawing):
  return f'<svg viewBox="0 0 28 12" aria-hidden="true">{drawing}</svg>'


def _line_key(i):
  return _key(_line(i, np.array([2.0, 14.0, 26.0]), np.full(3, 6.0)))


def _mark_key(i):
  return _key(f'<path class="mark c{i % _NUM_STYLES}" d="'
              + _marks(i, [14.0], [6.0]) + '"/>')


def _box_key(i):
  box = 'd="M0 0H28V12H0z"'
  hatch = f'<path style="{_hatch(i)}" {box}/>' if i % _NUM_STYLES else ''
  return _key(f'<path class="bar c{i % _NUM_STYLES}" {box}/>{hatch}')


def _heat_key(value):
  rgb = tuple(int(np.interp(value, np.linspace(0, 1, len(_HEAT)), c))
              for c in _HEAT.T)
  return _key(f'<path fill="rgb{rgb}" d="M0 0H28V12H0z"/>')


def _finite(x, y, keep_gaps=False):
  x = np.array([np.nan if v is None else v for v in x], float)
  y = np.array([np.nan if v is None else v for v in y], float)
  keep = np.isfinite(x) & (keep_gaps | np.isfinite(y))
  return x[keep], y[keep]


def _range(arrays):
  values = np.concatenate([np.ravel(a) for a in arrays])
  values = values[np.isfinite(values)]
  return float(values.min()), float(values.max())


def _widen(limits):
  low, high = map(float, limits)
  if high > low:
    return low, high
  return low - 0.5 * (abs(low) or 1), high + 0.5 * (abs(high) or 1)


def _ticks(low, high):
  """Returns 3 to 7 round numbers between `low` and `high`."""
  step = 10 ** math.floor(math.log10((high - low) / 3))
  step = next(m * step for m in (1, 2, 5, 10)
              if (high - low) / (m * step) <= 6)
  first = math.ceil(low / step - 1e-9)
  return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _number(value):
  return f'{value:.6g}' if abs(value) > 1e-12 else '0'
