"""Writes audit.html of a run on whole volumes, with a slider over slices."""

from collections.abc import Mapping, Sequence
import os
from typing import Any

from data_prep.shared import grammar
from data_prep.shared import html_page
import numpy as np

from experiments.building import volume_set
from experiments.prediction import pictures
from experiments.reports import blocks
from experiments.reports import sections
from experiments.reports import strips
from experiments.reports import wording

_NOTE = (
    'Left: the image. Right: the weak label is filled, and the prediction of '
    'the networks is outlined. Slices are counted from 0, as in the file. '
    'Arrow keys, Page Up, Page Down, Home and End move the slider.')
_MAX_LINES = 1000  # Lines of the table of all annotations.


def draw(
    record: volume_set.Record,
    predicted: np.ndarray,
    *,
    axis: int,
    worst: Sequence[int],
    numbers: Sequence[int],
    num_volumes: int,
) -> strips.Strip:
  """Draws the slices of a volume for `write`.

  Args:
    record: the volume.
    predicted: predicted classes, uint8 [X, Y, Z].
    axis: axis of the record along which the slices are counted.
    worst: slices that differ most, the worst one first.
    numbers: number in the file of each slice of the record.
    num_volumes: number of volumes that the page shows.
  """
  chosen = strips.choose(len(numbers), worst)
  turn = lambda x: np.rot90(np.moveaxis(x, axis, 0)[chosen], axes=(1, 2))
  affine = np.array(record.volume.more['affine'])
  spacing = np.delete(np.linalg.norm(affine[:3, :3], axis=0), axis)
  return strips.draw(
      strips.Volume(
          pictures.grey(turn(record['image'][..., 0])), turn(record['label']),
          turn(predicted), [numbers[k] for k in chosen],
          [chosen.index(k) for k in worst], tuple(spacing[::-1].tolist())),
      num_volumes=num_volumes)


def write(
    path: str | os.PathLike[str],
    *,
    name: str,
    classes: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
    shown: Mapping[str, strips.Strip],
    summary: Mapping[str, Any],
) -> None:
  """Writes the page.

  Args:
    path: HTML file to write.
    name: name of the set.
    classes: names of the classes, background first.
    rows: lines of audit.csv, the most suspect first.
    shown: strips of the first volumes, by id.
    summary: content of audit.json.

  Raises:
    OSError: if the file cannot be written.
  """
  first = [row for row in rows if row['id'] in shown]
  texts = [{k: str(row[k]) for k in (
      'rank', 'score', 'indicator', 'kind', 'annotator', 'fault')}
           for row in first]
  cases = [blocks.Case(row['id'], {
      k: _number(row[k]) if k in ('rank', 'score', 'indicator') else str(row[k])
      for k in row if k != 'id'}, {}) for row in rows[:_MAX_LINES]]
  facts = {'annotations': summary['num_annotations']} | {
      f'AUROC of planted faults, {wording.words(kind)}': auroc
      for kind, auroc in summary['auroc_by_kind'].items()}
  number = grammar.counted(len(rows), 'weak annotation')
  html_page.write(path, blocks.page(
      f'{name}: audit of {number}', [sections.legend(classes)], [
          sections.section('Summary', blocks.tables(facts)),
          sections.section('First suspects', strips.section(
              [row['id'] for row in first], texts,
              [shown[row['id']] for row in first]), note=_NOTE),
          sections.section('All annotations', blocks.cases_list(
              cases, label='volume', sorted_by='rank', num_cases=len(rows),
              more='audit.csv lists all.'))]))


def _number(value):
  """Returns a cell of the table as a number; nan if it is empty."""
  return float(value) if value != '' else float('nan')
