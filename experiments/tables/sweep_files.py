"""Writes the tables of a sweep: table.csv, table.md and table.png.

They hold the results of finished cells; cells that were not run are blank.

table.csv has one line per cell. table.md and table.png compare the methods on
each set: test Dice (mean over the seeds of the mean over the cases), its SD
over the seeds, its 95 % interval over seeds and subjects, and the paired
difference to the reference method with interval and p-value. A class that is in
neither the prediction nor the reference mask of a case is left out of test
Dice, but counts as 1 in the difference. If there is such a class, a line below
the table states the paired Dice: the means that include this class. The
statistics are those of `experiments.tables.sweep_statistics`.
"""

from collections.abc import Iterator, Sequence
import contextlib
import functools
import math
import os
import secrets
import shutil
from typing import IO, NamedTuple

from data_prep.shared import grammar
from data_prep.shared import system_errors
from hybridseg import metrics as metrics_lib
from matplotlib import figure
import numpy as np

from experiments import binary
from experiments import csv_files
from experiments.tables import cases as cases_lib
from experiments.tables import grid
from experiments.tables import paired
from experiments.tables import right_empty
from experiments.tables import sweep_sets
from experiments.tables import sweep_statistics

_HEADER = ('method', 'strong_fraction', 'weak', 'fault_fraction', 'seed',
           'test_dice', 'test_iou', 'indicator_auroc', 'step', 'seconds',
           'workdir')


class Line(NamedTuple):
  """The results of one method on one set.

  Attributes:
    method: name of the method.
    num_seeds: number of seeds with which the table trains the method.
    described: statistics of test Dice over the finished seeds; None if no seed
      is finished.
    paired_mean: mean Dice over the same seeds, in which right empties (see
      `right_empty`) count as 1.
    difference: difference to the reference method; None for the reference
      itself, and if no seed is finished for both methods.
    auroc: AUROC with which the indicators find planted faults, mean over the
      seeds; None if no faults are known, or no indicator has moved.
  """

  method: str
  num_seeds: int
  described: sweep_statistics.Description | None = None
  paired_mean: float | None = None
  difference: sweep_statistics.Difference | None = None
  auroc: float | None = None


class Table(NamedTuple):
  """The results of a sweep.

  Attributes:
    lines: maps the properties of each set to its lines, one per method.
    reference: the method that all others are compared with.
    num_done: number of finished cells (runs).
    num_cells: number of all cells.
    num_cases: number of test cases of each cell.
    num_subjects: number of subjects of these cases.
  """

  lines: dict[sweep_sets.Setting, list[Line]]
  reference: str
  num_done: int
  num_cells: int
  num_cases: int
  num_subjects: int


def write(
    cells: Sequence[grid.Cell], workdir: str, *, reference: str
) -> None:
  """Writes table.csv, table.md and table.png, if any cell is done.

  Args:
    cells: all cells of the table.
    workdir: folder of the table.
    reference: the method that all others are compared with.

  Raises:
    binary.UserError: if a result is damaged, if cells were tested on different
      cases, or if the folder cannot be written.
  """
  states = [grid.read_state(cell) for cell in cells]
  if all(state.results is None for state in states):
    return
  table = make_table(cells, states, reference=reference)
  try:
    with folder_for_tables(workdir) as own:
      path = functools.partial(os.path.join, own)
      csv_files.write_csv(path('table.csv'), _HEADER, [
          _csv_row(cell, state, workdir)
          for cell, state in zip(cells, states, strict=True)])
      with open(path('table.md'), 'w', encoding='utf-8') as f:
        f.write(to_markdown(table))
      with open(path('table.png'), 'wb') as f:
        plot(table.lines, f)
  except OSError as e:
    raise binary.UserError(
        f'The table: {system_errors.in_words(e, workdir)}') from e


@contextlib.contextmanager
def folder_for_tables(workdir: str) -> Iterator[str]:
  """Makes a folder of this process, whose files then replace older tables.

  A process that was suspended may still write tables while another one already
  does. A process must therefore not use, or remove, what it has not made. The
  folder of one that is killed while it writes stays in WORKDIR/claims.

  Args:
    workdir: folder of the table.

  Yields:
    The new folder.
  """
  own = os.path.join(workdir, 'claims', f'.tables-{secrets.token_hex(6)}')
  os.makedirs(own)
  try:
    yield own
    for name in sorted(os.listdir(own)):
      os.replace(os.path.join(own, name), os.path.join(workdir, name))
  finally:
    shutil.rmtree(own, ignore_errors=True)


def _csv_row(cell, state, workdir):
  setting = cell.setting
  row = [cell.method, setting.strong_fraction, setting.weak,
         setting.fault_fraction, cell.seed]
  if state.results is None:
    return [*row, *[''] * (len(_HEADER) - len(row))]
  test = state.results['test']
  auroc = state.results['indicators'].get('auroc')
  number = lambda value: '' if value is None else f'{value:.6f}'
  return [*row, number(test['dice']), number(test['iou']),
          number(auroc), state.step,
          state.seconds or '', os.path.relpath(cell.folder, workdir)]


def make_table(
    cells: Sequence[grid.Cell],
    states: Sequence[grid.State],
    *,
    reference: str,
) -> Table:
  """Compares the methods on each set.

  Args:
    cells: all cells of the table.
    states: progress of each cell; at least one is done.
    reference: the method that all others are compared with.

  Raises:
    binary.UserError: if a table of cases is damaged, or if cells were tested
      on different cases.
  """
  done = [i for i, state in enumerate(states) if state.results is not None]
  aligned = _align([cells[i] for i in done])
  alone = metrics_lib.mean_of_counted(aligned.scores, axis=-1)
  alone = dict(zip(done, alone, strict=True))
  scores = dict(zip(done, _paired_scores(aligned), strict=True))
  lines = {}
  for setting in dict.fromkeys(cell.setting for cell in cells):
    rows = {}  # Maps each method to the positions of its cells.
    for i, cell in enumerate(cells):
      if cell.setting == setting:
        rows.setdefault(cell.method, []).append(i)
    finished = {m: [i for i in row if i in scores] for m, row in rows.items()}
    by_method = {
        m: np.stack([scores[i] for i in row])
        for m, row in finished.items() if row}
    differences = sweep_statistics.compare(
        by_method,
        {m: [cells[i].seed for i in finished[m]] for m in by_method},
        aligned.groups, reference=reference)
    lines[setting] = [
        Line(m, len(row)) if m not in by_method else Line(
            m, len(row),
            sweep_statistics.describe(
                np.stack([alone[i] for i in finished[m]]), aligned.groups),
            float(np.mean(metrics_lib.mean_of_counted(by_method[m], axis=1))),
            differences.get(m), _auroc([states[i] for i in finished[m]]))
        for m, row in rows.items()]
  return Table(lines, reference, len(done), len(cells), len(aligned.ids),
               len(np.unique(aligned.groups)))


def _align(cells):
  """Reads scores of finished cells; raises an error if their cases differ."""
  aligned = cases_lib.align([
      cases_lib.read_cases(
          os.path.join(cell.folder, 'cases_test.csv'), name=cell.words,
          metric='dice')
      for cell in cells])
  for name, left_out in zip(
      aligned.names, aligned.num_left_out, strict=True):
    if left_out:
      raise binary.UserError(
          f'{name} was tested on {grammar.counted(left_out, "case")} that '
          'another cell lacks: their results cannot be compared. Remove the '
          'cells that are wrong.')
  return aligned


def _paired_scores(aligned):
  found = right_empty.pair(aligned, metric='dice')
  if found.unscored.any():
    r, n = np.argwhere(found.unscored.any(axis=-1))[0]
    raise binary.UserError(
        f'{aligned.names[r]}: case {aligned.ids[n]!r} has no Dice where '
        'another cell has one: cases_test.csv is damaged. Remove this cell.')
  return right_empty.case_scores(found)


def _auroc(states):
  found = [s.results['indicators'].get('auroc') for s in states]
  found = [a for a in found if a is not None]
  return float(np.mean(found)) if found else None


def to_markdown(table: Table) -> str:
  """Returns the text of table.md."""
  reference = table.reference
  text = [f'{table.num_done} of {grammar.counted(table.num_cells, "cell")} '
          f'{grammar.verb(table.num_done, "are")} done; what was not run is '
          f'blank. {grammar.counted(table.num_cases, "test case")} of '
          f'{grammar.counted(table.num_subjects, "subject")}.{_limits(table)}']
  for setting, rows in table.lines.items():
    text += [
        f'\n## {setting.words}\n',
        f'| method | seeds | test Dice | SD | 95 % interval | minus {reference}'
        ' | 95 % interval | p | p by case | AUROC |',
        '|---|---|---|---|---|---|---|---|---|---|',
        *(f'| {" | ".join(_shown(row))} |' for row in rows),
        *_paired_means(rows)]
  text.append(
      '\nTest Dice: mean over seeds and cases. SD: over the seeds. Intervals: '
      'bootstrap over seeds and subjects (subjects are the same for all seeds '
      'of a resample); with few seeds they are too short. '
      f'Minus {reference}: paired by seed and case; a class that is rightly in '
      'neither mask, which test Dice leaves out, counts as 1 here. '
      'p: permutation by subject of the cases averaged over the seeds; p by '
      'case: Wilcoxon signed ranks of these cases, too sure where a subject '
      'has several. Both adjusted for the comparisons of one set (Holm). A '
      'method is better or worse only where p <= 0.05 and the interval '
      'excludes 0; else the cells cannot tell. AUROC: of the indicators '
      'against the planted faults. The strong images and the weak labels of a '
      'set are drawn once: what another draw would change is in no interval.')
  return '\n'.join(text) + '\n'


def _limits(table):
  """Returns a sentence if there are too few subjects for a verdict, or ''."""
  number = max(sum(line.difference is not None for line in rows)
               for rows in table.lines.values())
  smallest = number * paired.least_p(table.num_subjects)
  if smallest <= 0.05:
    return ''
  return (f' With {grammar.counted(table.num_subjects, "subject")} and '
          f'{grammar.counted(number, "comparison")}, no p below '
          f'{min(smallest, 1):.2g} is possible.')


def _shown(line):
  """Returns the ten cells of a method's row in table.md, as strings."""
  found, change = line.described, line.difference
  if found is None:
    return [line.method, *[''] * 9]
  return [
      line.method,
      f'{len(found.by_seed)} of {line.num_seeds}',
      f'{found.mean:.4f}',
      '' if math.isnan(found.sd) else f'{found.sd:.4f}',
      '{:.4f} to {:.4f}'.format(*found.interval),
      *([''] * 4 if change is None else (
          f'{change.mean:+.4f}{_of_seeds(line)}',
          '{:+.4f} to {:+.4f}'.format(*change.interval),
          f'{change.p_holm:.2g}', f'{change.p_cases_holm:.2g}')),
      '' if line.auroc is None else f'{line.auroc:.3f}']


def _paired_means(rows):
  """Returns a list with the line that states the paired Dice of each method.

  The list is empty if paired Dice and test Dice are the same.
  """
  done = [row for row in rows if row.described is not None]
  if all(math.isclose(row.paired_mean, row.described.mean) for row in done):
    return []
  means = (f'{row.method} {row.paired_mean:.4f}' for row in done)
  return [f'\nPaired Dice: {", ".join(means)}.']


def _of_seeds(line):
  """Returns the number of seeds behind a difference, as text.

  The text is '' if these are all finished seeds of the method.
  """
  number = line.difference.num_seeds
  if number == len(line.described.by_seed):
    return ''
  return f' ({grammar.counted(number, "seed")})'


def plot(
    lines: dict[sweep_sets.Setting, list[Line]], file: IO[bytes]
) -> None:
  """Plots the mean Dice, its interval and the Dice of each seed by method.

  Args:
    lines: maps the properties of each set to its lines; each set gets one
      panel.
    file: file to write, as PNG.
  """
  columns = min(len(lines), 4)
  rows = math.ceil(len(lines) / columns)
  methods = [line.method for line in next(iter(lines.values()))]
  fig = figure.Figure(
      figsize=(1.5 + 3 * columns, rows * (1 + 0.3 * len(methods))),
      layout='constrained')
  axes = fig.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
  for ax, (setting, panel) in zip(axes.flat, lines.items(), strict=False):
    for y, line in enumerate(panel):
      if line.described is not None:
        low, high = line.described.interval
        ax.plot([low, high], [y, y], color='C0')
        ax.plot(line.described.by_seed, [y] * len(line.described.by_seed), '.',
                color='grey')
        ax.plot(line.described.mean, y, 'o', color='C0')
    ax.set_title(setting.words, fontsize=9)
    ax.set_yticks(range(len(methods)), methods)
    ax.set_ylim(len(methods) - 0.5, -0.5)
    ax.set_xlabel('test Dice, 95 % interval; grey: seeds', fontsize=8)
    ax.grid(alpha=0.3)
  for ax in axes.flat[len(lines):]:
    ax.set_axis_off()
  fig.savefig(file, dpi=110, format='png', metadata={'Software': None})
