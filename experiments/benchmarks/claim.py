r"""Compares methods with full supervision, block by block.

python -m experiments.benchmarks.claim \
    --cells=experiments/results/claim/cells --output=experiments/results/claim

The question is whether methods with few exact masks are as good as training on
all exact masks. Differences are computed for each block, a video sequence.

The cells are the files that `experiments.benchmarks.method_cells` writes with
--parts=published, one for each trained run. They can come from any machine.
OUTPUT gets the table (table.md), the differences of all blocks (forest.png) and
the Dice over the number of steps (steps.png). The protocol, with the reason for
each number here, is experiments/results/claim_protocol.md.
"""

from collections.abc import Iterator, Sequence
import os
import pathlib
import sys
from typing import Any, NamedTuple

from absl import flags
from data_prep.shared import whole_file
from matplotlib import figure
import numpy as np

from experiments import binary
from experiments.reports import plots
from experiments.saving import run_schema
from experiments.tables import sweep_statistics

AS_GOOD, NON_INFERIOR = -0.01, -0.03  # Differences of Dice.
_LEVEL = 0.95  # Of each of the two one-sided bounds.
_FEWEST_RUNS = 3
_REFERENCE = 'full_supervision'

_CELLS = flags.DEFINE_list('cells', None, 'Folders of cells.')
_OUTPUT = flags.DEFINE_string('output', None, 'Folder of the table and plots.')
_STEPS = flags.DEFINE_integer('train_steps', 600, 'Of the compared runs.')
_REFERENCE_STEPS = flags.DEFINE_integer(
    'reference_steps', None, 'Of the fully supervised runs, if it differs.')
_PART = flags.DEFINE_string(
    'part', 'published', 'Held-out part: a fold of the training subjects, or '
    'the published val and test splits.')


class Paired(NamedTuple):
  """The differences of a method to the reference.

  Attributes:
    runs: seed and draw of each of the R runs that both methods have.
    blocks: names of the B held-out blocks (video sequences).
    num_frames: number of frames of each block that count, int [B].
    dice: mean Dice of the method in each block, float [R, B].
    differences: `dice` minus the Dice of the reference, float [R, B].
  """

  runs: tuple[tuple[int, int], ...]
  blocks: tuple[str, ...]
  num_frames: np.ndarray
  dice: np.ndarray
  differences: np.ndarray


class Reading(NamedTuple):
  """The evaluation of a method's differences to full supervision.

  Attributes:
    by_block: mean difference, in which all blocks have the same weight.
    by_frame: mean difference, in which all frames have the same weight.
    low: one-sided 95 % lower bound of `by_block`.
    high: one-sided 95 % upper bound of `by_block`.
    verdict: 'as good', 'non-inferior', 'worse' or 'cannot tell'.
  """

  by_block: float
  by_frame: float
  low: float
  high: float
  verdict: str


def read_cells(folders: Sequence[str]) -> list[dict[str, Any]]:
  """Returns all cells in some folders, ordered by file name.

  Args:
    folders: folders of the JSON files of `method_cells`.

  Raises:
    binary.UserError: if a folder holds no cell, or two files hold the same one.
  """
  cells, files = [], {}
  for folder in folders:
    paths = sorted(pathlib.Path(folder).glob('**/*.json'))
    if not paths:
      raise binary.UserError(
          f'--cells: {folder} holds no cell; write some with '
          'experiments.benchmarks.method_cells.')
    for path in paths:
      cell = run_schema.read(str(path))
      key = tuple(cell[name] for name in (
          'method', 'part', 'train_steps', 'seed', 'draw'))
      if key in files:
        raise binary.UserError(
            f'{path} and {files[key]} hold the same cell: remove one.')
      files[key] = path
      cells.append(cell)
  return cells


def pair(
    cells: Sequence[dict[str, Any]], method: str, *, reference: str = _REFERENCE
) -> Paired | None:
  """Pairs the runs of a method with those of the reference by seed and draw.

  Args:
    cells: the cells. All cells of a method have the same number of steps.
    method: name of the method.
    reference: name of the method that it is compared with.

  Returns:
    The differences, or None if the two methods have no run in common.

  Raises:
    binary.UserError: if two runs were tested on different frames.
  """
  own, other = (
      {(cell['seed'], cell['draw']): cell['blocks']
       for cell in cells if cell['method'] == name}
      for name in (method, reference))
  runs = sorted(own.keys() & other.keys())
  if not runs:
    return None
  blocks = sorted(other[runs[0]])
  counts = lambda run: {block: run[block][0] for block in sorted(run)}
  for run in runs:
    for found in (own[run], other[run]):
      if counts(found) != counts(other[runs[0]]):
        raise binary.UserError(
            f'{method}, seed {run[0]}, draw {run[1]}: its frames differ from '
            f'those of {reference}, seed {runs[0][0]}, draw {runs[0][1]}.')
  dice = lambda of: np.array([[of[run][b][1] for b in blocks] for run in runs])
  return Paired(
      tuple(runs), tuple(blocks),
      np.array([other[runs[0]][block][0] for block in blocks]),
      dice(own), dice(own) - dice(other))


def bounds(
    differences: np.ndarray, *, num_resamples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
  """Returns the one-sided 95 % bounds of the mean over runs and blocks.

  They are the ends of a 90 % interval of `sweep_statistics.bootstrap_interval`,
  in which each block is one subject with one case.

  Args:
    differences: float [R, B].
    num_resamples: number of resamples.
    seed: seed of the resampling.

  Returns:
    Lower and upper bound. The mean lies above the lower bound in 95 % of all
    experiments, and below the upper bound in 95 % of them.
  """
  return sweep_statistics.bootstrap_interval(
      differences, np.arange(differences.shape[1]), level=2 * _LEVEL - 1,
      num_resamples=num_resamples, seed=seed)


def coverage(
    differences: np.ndarray, *, num_experiments: int = 500, seed: int = 0
) -> float:
  """Returns how often the lower bound is right in simulated experiments.

  Each simulated difference is the sum of a block's mean difference, which is
  drawn from those of the real blocks, and of two normal effects: one of the
  run, and one of the run in this block. Their variances are estimated from
  `differences`. The true mean of a simulated experiment is therefore known.

  Args:
    differences: float [R, B], for at least two runs.
    num_experiments: number of simulated experiments.
    seed: seed of the simulation.

  Returns:
    Share of the experiments whose true mean lies above the lower bound; it
    should be 0.95.
  """
  num_runs, num_blocks = differences.shape
  rng = np.random.default_rng(seed)
  block = differences.mean(axis=0)
  run = differences.mean(axis=1)
  rest = differences - block - run[:, None] + differences.mean()
  rest_variance = (rest ** 2).sum() / ((num_runs - 1) * (num_blocks - 1))
  run_variance = max(0.0, run.var(ddof=1) - rest_variance / num_blocks)
  right = 0
  for _ in range(num_experiments):
    values = rng.choice(block, num_blocks)
    values = values + rng.normal(0, run_variance ** 0.5, (num_runs, 1))
    values += rng.normal(0, rest_variance ** 0.5, values.shape)
    low, _ = bounds(values, num_resamples=1000, seed=int(rng.integers(2**32)))
    right += low <= block.mean()
  return right / num_experiments


def judge(low: float, high: float, num_runs: int) -> str:
  """Returns the verdict on a method: one of those in `Reading`.

  Args:
    low: lower bound of the difference to full supervision, in Dice.
    high: upper bound.
    num_runs: number of runs. With fewer than three, the bounds say little about
      other seeds, so that the verdict is 'cannot tell'.
  """
  if num_runs < _FEWEST_RUNS:
    return 'cannot tell'
  if low > AS_GOOD:
    return 'as good'
  if low > NON_INFERIOR:
    return 'non-inferior'
  return 'worse' if high < NON_INFERIOR else 'cannot tell'


def read(paired: Paired) -> Reading:
  """Returns the mean differences, their bounds and the verdict."""
  low, high = bounds(paired.differences)
  by_run = np.average(paired.differences, axis=1, weights=paired.num_frames)
  return Reading(
      float(paired.differences.mean()), float(by_run.mean()), low, high,
      judge(low, high, len(paired.runs)))


def choose(
    cells: Sequence[dict[str, Any]], *, part: str, steps: int,
    reference_steps: int
) -> list[dict[str, Any]]:
  """Returns the cells of one part that have the wanted numbers of steps.

  Args:
    cells: all cells.
    part: the part that was held out.
    steps: number of steps of all methods but the reference.
    reference_steps: number of steps of the reference.
  """
  wanted = lambda method: reference_steps if method == _REFERENCE else steps
  return [cell for cell in cells if cell['part'] == part and
          cell['train_steps'] == wanted(cell['method'])]


def _methods(cells) -> Iterator[str]:
  """Yields the methods, the best first and the reference last."""
  scores = {}
  for cell in cells:
    scores.setdefault(cell['method'], []).append(cell['dice'])
  yield from sorted(
      scores, key=lambda m: (m == _REFERENCE, -float(np.mean(scores[m]))))


def to_markdown(cells: Sequence[dict[str, Any]]) -> str:
  """Returns the table of the comparison, with one line for each method.

  Args:
    cells: cells from `choose`.
  """
  lines = [
      '| method | runs | Dice by frame | by block | difference by block '
      '| 90 % interval | by frame | smallest visible | coverage | verdict '
      '| minutes |',
      '|---' * 11 + '|']
  for method in _methods(cells):
    own = [cell for cell in cells if cell['method'] == method]
    minutes = np.median([cell['seconds'] for cell in own]) / 60
    paired = pair(cells, method)
    start = f'| `{method}` | {len(own)} | {_dice([c["dice"] for c in own])} '
    if paired is None:
      lines.append(f'{start}| | | | | | | no common run | {minutes:.0f} |')
      continue
    start += f'| {_dice(paired.dice.mean(axis=1))} '
    if method == _REFERENCE:
      lines.append(f'{start}| | | | | | reference | {minutes:.0f} |')
      continue
    found = read(paired)
    known = len(paired.runs) >= 2
    cover = f'{coverage(paired.differences):.2f}' if known else ''
    lines.append(
        f'{start}| {found.by_block:+.3f} | {found.low:+.3f} to '
        f'{found.high:+.3f} | {found.by_frame:+.3f} '
        f'| {found.by_block - found.low:.3f} | {cover} | {found.verdict} '
        f'| {minutes:.0f} |')
  return '\n'.join(lines) + '\n'


def _dice(values):
  text = f'{np.mean(values):.3f}'
  return text if len(values) < 2 else f'{text} ± {np.std(values, ddof=1):.3f}'


def plot_forest(cells: Sequence[dict[str, Any]], path: str) -> None:
  """Plots each method's differences to full supervision as a forest plot.

  A line shows one block, or the mean over all blocks with its bounds.

  Args:
    cells: cells from `choose`.
    path: PNG file to write.
  """
  found = [(m, pair(cells, m)) for m in _methods(cells) if m != _REFERENCE]
  found = [(method, paired) for method, paired in found if paired is not None]
  if not found:
    return
  fig = figure.Figure(figsize=(2.2 * len(found) + 2, 5.5), layout='constrained')
  axes = fig.subplots(1, len(found), sharey=True, sharex=True, squeeze=False)[0]
  for ax, (method, paired) in zip(axes, found, strict=True):
    rows = np.arange(len(paired.blocks))
    ax.plot(paired.differences.T, rows, '.', color='0.6', markersize=4)
    ax.scatter(
        paired.differences.mean(axis=0), rows, s=2 * paired.num_frames,
        color='tab:blue', zorder=3)
    reading = read(paired)
    ax.errorbar(
        reading.by_block, -1.5, color='black', fmt='D', capsize=4,
        xerr=[[reading.by_block - reading.low],
              [reading.high - reading.by_block]])
    for x, style in ((0, '-'), (AS_GOOD, ':'), (NON_INFERIOR, '--')):
      ax.axvline(x, color='tab:red', linestyle=style, linewidth=0.8)
    ax.set_title(f'{method}\n{reading.verdict}', fontsize=9)
    ax.grid(alpha=0.3)
  axes[0].set_yticks(
      [-1.5, *range(len(found[0][1].blocks))],
      ['mean of all blocks', *found[0][1].blocks], fontsize=8)
  fig.supxlabel('Dice of the method - Dice of full supervision')
  plots.save(fig, path, dpi=110)


def plot_steps(cells: Sequence[dict[str, Any]], path: str, part: str) -> None:
  """Draws the mean Dice of each method over the number of training steps.

  Args:
    cells: cells of all numbers of steps.
    path: PNG file to write.
    part: the part that was held out.
  """
  cells = [cell for cell in cells if cell['part'] == part]
  fig = figure.Figure(figsize=(7, 4.5), layout='constrained')
  ax = fig.subplots()
  for method in _methods(cells):
    by_steps = {}
    for cell in cells:
      if cell['method'] == method:
        by_steps.setdefault(cell['train_steps'], []).append(cell['dice'])
    steps = sorted(by_steps)
    ax.plot(steps, [np.mean(by_steps[s]) for s in steps], '.-', label=method)
  ax.set(xlabel='training steps', ylabel='mean Dice of the held-out frames')
  ax.grid(alpha=0.3)
  ax.legend(fontsize=8, frameon=False)
  plots.save(fig, path, dpi=110)


def main():
  cells = read_cells(_CELLS.value)
  chosen = choose(
      cells, part=_PART.value, steps=_STEPS.value,
      reference_steps=_REFERENCE_STEPS.value or _STEPS.value)
  if not any(cell['method'] == _REFERENCE for cell in chosen):
    raise binary.UserError(
        f'--cells: no run of {_REFERENCE} with part {_PART.value} and '
        f'{_REFERENCE_STEPS.value or _STEPS.value} steps.')
  os.makedirs(_OUTPUT.value, exist_ok=True)
  table = to_markdown(chosen)
  with whole_file.open_whole(
      os.path.join(_OUTPUT.value, 'table.md'), 'w', encoding='utf-8') as file:
    file.write(table)
  plot_forest(chosen, os.path.join(_OUTPUT.value, 'forest.png'))
  plot_steps(
      cells, os.path.join(_OUTPUT.value, 'steps.png'), _PART.value)
  sys.stdout.write(table)


if __name__ == '__main__':
  flags.mark_flags_as_required(['cells', 'output'])
  binary.run(main)
