"""Sections of a report: lists of painted cases, and plots of indicators.

This module knows what a run holds, but not which report it serves.
"""

import collections
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from data_prep.drawing import rasterize
from data_prep.shared import html_page
from data_prep.shared import html_plots
import numpy as np
from PIL import Image

from experiments import painting
from experiments.reports import blocks
from experiments.reports import plots

# Bytes that the pictures of a page may take; everything else is small.
LIST_BYTES = 9_000_000
SHORT_LIST_BYTES = 2_500_000
_GALLERY_BYTES = 1_200_000
_LIST_SIDE, _GALLERY_SIDE = 160, 256  # Longest sides of pictures, in pixels.
_MAX_CASES = 1000  # Per list: the pictures of more would not fit on a page.
NUM_GALLERY = 6  # Cases per gallery.
_MAX_GROUPS = 6  # Groups that one plot distinguishes.


class Item(NamedTuple):
  """A case that is still to be painted; it shares its arrays with the caller.

  Attributes:
    id: id of the case.
    values: text or number for each column.
    image: image, uint8 [H, W, C].
    layers: what to paint over the image, by caption: a label map, uint8
      [H, W], or a map in [-1, 1], float [H, W].
  """

  id: str
  values: Mapping[str, float | str]
  image: np.ndarray
  layers: Mapping[str, np.ndarray]


def _draw(items, *, total_bytes, max_side):
  """Paints and encodes items so that together they fit in `total_bytes`."""
  items = items[:_MAX_CASES]
  limit = blocks.limits(
      sum(1 + len(item.layers) for item in items), total_bytes=total_bytes,
      max_side=max_side)
  return [blocks.Case(item.id, item.values, _pictures(item, limit))
          for item in items]


def _pictures(item, limit):
  # Shrink before painting: edges stay sharp, and huge images are cheap.
  size = blocks.fit(item.image.shape, limit.side)
  image = rasterize.resize_image(item.image, size=size)
  layers = {'image': np.zeros(size, np.uint8)}
  layers |= {n: _shrink(layer, size) for n, layer in item.layers.items()}
  paint = lambda layer: (
      painting.overlay if layer.dtype == np.uint8 else painting.paint_map)(
          image, layer)
  return {
      name: blocks.encode((255 * paint(layer)).astype(np.uint8), limit)
      for name, layer in layers.items()}


def _shrink(layer, size):
  if np.issubdtype(layer.dtype, np.integer):
    return rasterize.resize_label(layer.astype(np.uint8), size=size)
  values = np.clip(np.nan_to_num(layer), -1, 1).astype(np.float32)
  return np.asarray(Image.fromarray(values).resize(
      size[::-1], Image.Resampling.BOX))


def cases_list(
    items: Sequence[Item],
    *,
    label: str,
    sorted_by: str,
    total_bytes: int,
    more: str = '',
) -> str:
  """Paints and lists items; see `blocks.cases_list`."""
  return blocks.cases_list(
      _draw(items, total_bytes=total_bytes, max_side=_LIST_SIDE),
      label=label, sorted_by=sorted_by, num_cases=len(items), more=more)


def gallery(items: Sequence[Item]) -> str:
  """Paints a few items as large pictures."""
  return blocks.gallery(_draw(
      items, total_bytes=_GALLERY_BYTES, max_side=_GALLERY_SIDE))


def section(title: str, body: str, *, note: str = '') -> blocks.Section:
  """Returns a section with a plain note above its HTML, if both exist."""
  note = f'<p class="dim">{html_page.escape(note)}</p>' if body and note else ''
  return blocks.Section(title, note + body)


def details(values: Mapping[str, Mapping[str, Any]]) -> blocks.Section:
  """Returns the last section, with all that a reader may want to look up."""
  return section('Config and versions', ''.join(
      blocks.details(name, tree) for name, tree in values.items()))


def legend(classes: Sequence[str]) -> str:
  """Returns a paragraph that explains the colours of the classes."""
  return f'<p>Classes: {html_page.legend(classes)}. Grey: unlabelled.</p>'


def lines_tables(tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
  """Returns tables side by side; `tables` maps names to lines of equal keys."""
  return html_page.side_by_side(*(
      blocks.lines_table(name, lines) for name, lines in tables.items()))


def curves(lines: Sequence[Mapping[str, Any]]) -> str:
  """Plots the learning curves of the lines of log.jsonl."""
  return html_plots.side_by_side(*(
      html_plots.lines(title, series, x_label='step', y_range=None
                       if title == 'Training loss' else (0, 1))
      for title, series in plots.curves(lines).items()))


def indicator_plots(
    steps: np.ndarray,
    history: np.ndarray,
    kinds: Sequence[str],
    faults: Sequence[str],
) -> list[str]:
  """Plots indicators by group and over time.

  Args:
    steps: steps of the evaluations, int [T].
    history: indicators at these steps, float [T, N].
    kinds: kinds of the annotations, [N].
    faults: planted faults, [N], '' for none; [] if none is known.
  """
  if not len(steps) or not len(kinds):
    return []
  hist = lambda title, names: html_plots.histogram(
      title, {n: history[-1][rows] for n, rows in _groups(names).items()},
      x_label='indicator', y_label='instances', x_range=(0, 1))
  figures = [hist('Final indicators by kind', [blocks.words(k) for k in kinds])]
  if any(faults):
    figures.append(hist('Final indicators by planted fault', _named(faults)))
  if len(steps) > 1:
    figures += [
        html_plots.lines(
            'Mean indicator by kind',
            {n: (steps, history[:, rows].mean(axis=1))
             for n, rows in _groups([blocks.words(k) for k in kinds]).items()},
            x_label='step', y_range=(0, 1)),
        _history_map(np.asarray(steps), np.asarray(history))]
  return figures


def _history_map(steps, history):
  # Each evaluation is as wide as the range of steps that it represents.
  grid = np.linspace(steps[0], steps[-1], min(4 * len(steps), 200))
  nearest = np.abs(steps[:, None] - grid).argmin(axis=0)
  order = np.argsort(history[-1], kind='stable')
  return html_plots.heat_map(
      'Indicators over time, each row an instance',
      history[nearest][:, order].T, x_label='step',
      y_label='instances, by final indicator', x_range=(steps[0], steps[-1]),
      y_range=(0, len(order)))


def quality_plot(
    values: np.ndarray, quality: np.ndarray, faults: Sequence[str]
) -> str:
  """Plots indicators [N] over quality [N], which is nan where unknown."""
  quality = quality.astype(float)
  return html_plots.scatter(
      'Final indicators by quality',
      {n: (quality[rows], values[rows])
       for n, rows in _groups(_named(faults)).items()},
      x_label='IoU of the weak label to the truth', y_label='indicator',
      x_range=(0, 1), y_range=(0, 1))


def _named(faults):
  return [blocks.words(fault) or 'no planted fault' for fault in faults]


def _groups(names):
  """Returns the rows of each name, largest group first.

  If there are many names, the smaller groups are merged as 'other'.
  """
  shown = [n for n, _ in collections.Counter(names).most_common()]
  if len(shown) > _MAX_GROUPS:
    kept = shown[:_MAX_GROUPS - 1]
    names, shown = [n if n in kept else 'other' for n in names], [
        *kept, 'other']
  names = np.array(names, object)
  return {n: np.flatnonzero(names == n) for n in shown}
