"""Makes the sections that several reports share.

These are lists of cases with painted images, and plots of indicators.
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
from experiments.reports import wording

# Bytes that the pictures of a list or gallery may take. The rest of a report is
# small.
LIST_BYTES = 9_000_000
SHORT_LIST_BYTES = 2_500_000
_GALLERY_BYTES = 1_200_000
_LIST_SIDE, _GALLERY_SIDE = 160, 256  # Longest sides of pictures, in pixels.
_MAX_CASES = 1000  # Limit per list: more pictures would take too many bytes.
NUM_GALLERY = 6  # Cases per gallery.
_MAX_ROWS = 10_000  # Rows of a map before it is drawn.
_MAX_GROUPS = 6  # Largest number of groups that one plot shows.


class Item(NamedTuple):
  """A case whose pictures are not painted yet.

  Attributes:
    id: id of the case.
    values: maps the name of each column to a string or a number.
    image: image, uint8 [H, W, C].
    layers: maps the caption of each picture to the map that is painted over the
      image: a label map, uint8 [H, W], or numbers in [-1, 1], float [H, W].
  """

  id: str
  values: Mapping[str, float | str]
  image: np.ndarray
  layers: Mapping[str, np.ndarray]


def _draw(items, *, total_bytes, max_side):
  """Paints and encodes cases, so that all pictures fit in `total_bytes`."""
  items = items[:_MAX_CASES]
  limit = blocks.limits(
      sum(1 + len(item.layers) for item in items), total_bytes=total_bytes,
      max_side=max_side)
  return [blocks.Case(item.id, item.values, _pictures(item, limit))
          for item in items]


def _pictures(item, limit):
  # Shrink before painting: edges of classes stay sharp, and painting a huge
  # image takes little time.
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
  """Returns the HTML list of cases with their painted pictures.

  Args:
    items: cases; at most 1,000 are listed.
    label: what each line shows, such as 'case', for screen readers.
    sorted_by: the column by which cases are sorted; '' if they are not.
    total_bytes: bytes that all pictures may take.
    more: sentence that states where to find the other cases.
  """
  return blocks.cases_list(
      _draw(items, total_bytes=total_bytes, max_side=_LIST_SIDE),
      label=label, sorted_by=sorted_by, num_cases=len(items), more=more)


def gallery(items: Sequence[Item]) -> str:
  """Returns the HTML that shows a few cases with large pictures."""
  return blocks.gallery(_draw(
      items, total_bytes=_GALLERY_BYTES, max_side=_GALLERY_SIDE))


def section(title: str, body: str, *, note: str = '') -> blocks.Section:
  """Returns a section of a report.

  Args:
    title: title as plain text.
    body: content as HTML; the section is left out of the report if it is ''.
    note: sentence above the content, as plain text.
  """
  note = f'<p class="dim">{html_page.escape(note)}</p>' if body and note else ''
  return blocks.Section(title, note + body)


def details(values: Mapping[str, Mapping[str, Any]]) -> blocks.Section:
  """Returns the last section of a report, with config and versions.

  Args:
    values: maps the title of each table that a reader can unfold to its keys
      and values.
  """
  return section('Config and versions', ''.join(
      blocks.details(name, tree) for name, tree in values.items()))


def legend(classes: Sequence[str]) -> str:
  """Returns a paragraph that explains the colours of the classes."""
  return f'<p>Classes: {html_page.legend(classes)}. Grey: unlabelled.</p>'


def lines_tables(tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
  """Returns HTML tables side by side.

  Args:
    tables: maps the name of each table to its rows, dicts with the same keys.
  """
  return html_page.side_by_side(*(
      blocks.lines_table(name, lines) for name, lines in tables.items()))


def curves(lines: Sequence[Mapping[str, Any]]) -> str:
  """Returns plots of the learning curves, as HTML, from lines of log.jsonl."""
  return html_plots.side_by_side(*(
      html_plots.lines(title, series, x_label='step', y_range=None
                       if title == 'Training loss' else (0, 1))
      for title, series in plots.curves(lines).items()))


def indicator_plots(
    steps: np.ndarray,
    history: Sequence[np.ndarray],
    rows: np.ndarray,
    kinds: Sequence[str],
    faults: Sequence[str],
) -> list[str]:
  """Plots the indicators by kind, by planted fault, and over time.

  Args:
    steps: steps at which the run was evaluated, int [T].
    history: indicators of all weak instances at these steps, T times float [M].
    rows: which of them the N instances have, int [N].
    kinds: kind of each instance, [N].
    faults: planted fault of each instance, [N], '' if none; [] if none is
      known.

  Returns:
    The plots, as HTML.
  """
  if not len(steps) or not len(kinds):
    return []
  final = history[-1][rows]
  hist = lambda title, names: html_plots.histogram(
      title, {n: final[of_name] for n, of_name in _groups(names).items()},
      x_label='indicator', y_label='instances', x_range=(0, 1))
  kinds = [wording.words(k) for k in kinds]
  figures = [hist('Final indicators by kind', kinds)]
  if any(faults):
    figures.append(hist('Final indicators by planted fault', _named(faults)))
  if len(steps) > 1:
    groups = _groups(kinds)
    means = [[indicators[rows[of_name]].mean() for of_name in groups.values()]
             for indicators in history]
    figures += [
        html_plots.lines(
            'Mean indicator by kind',
            {n: (steps, values) for n, values in zip(
                groups, np.transpose(means), strict=True)},
            x_label='step', y_range=(0, 1)),
        _history_map(
            np.asarray(steps), history, rows[np.argsort(final, kind='stable')])]
  return figures


def _history_map(steps, history, rows):
  """Draws indicators over time; `rows` is in the order of the final ones."""
  # Each column of the map shows the evaluation that is nearest to its step.
  grid = np.linspace(steps[0], steps[-1], min(4 * len(steps), 200))
  nearest = np.abs(steps[:, None] - grid).argmin(axis=0)
  # Neighbours are averaged at once, to hold few of the numbers in memory.
  starts = np.linspace(
      0, len(rows), min(len(rows), _MAX_ROWS), endpoint=False).astype(int)
  sizes = np.diff(starts, append=len(rows))
  columns = {i: np.add.reduceat(history[i][rows], starts) / sizes
             for i in set(nearest.tolist())}
  return html_plots.heat_map(
      'Indicators over time, each row an instance',
      np.transpose([columns[i] for i in nearest.tolist()]), x_label='step',
      y_label='instances, by final indicator', x_range=(steps[0], steps[-1]),
      y_range=(0, len(rows)))


def quality_plot(
    values: np.ndarray, quality: np.ndarray, faults: Sequence[str]
) -> str:
  """Plots the final indicators against the quality of the weak labels.

  Args:
    values: final indicators, float [N].
    quality: IoU of each weak label with its truth, [N]; nan if unknown.
    faults: planted fault of each instance, [N], '' if none.
  """
  quality = quality.astype(float)
  return html_plots.scatter(
      'Final indicators by quality',
      {n: (quality[rows], values[rows])
       for n, rows in _groups(_named(faults)).items()},
      x_label='IoU of the weak label to the truth', y_label='indicator',
      x_range=(0, 1), y_range=(0, 1))


def _named(faults):
  return [wording.words(fault) or 'no planted fault' for fault in faults]


def _groups(names):
  """Maps each name to the positions at which it occurs, most frequent first.

  If there are more than six names, the rarest ones are merged as 'other'.

  Args:
    names: name of each instance.
  """
  shown = [n for n, _ in collections.Counter(names).most_common()]
  if len(shown) > _MAX_GROUPS:
    kept = shown[:_MAX_GROUPS - 1]
    names, shown = [n if n in kept else 'other' for n in names], [
        *kept, 'other']
  names = np.array(names, object)
  return {n: np.flatnonzero(names == n) for n in shown}
