"""Makes the tables of `review_gain`: faults found and Dice, by order.

Faults found need no training. They are counted for three ways to work:

  list: each listed annotation is drawn again, for the minutes of its kind, as
    `experiments.audit --minutes` assumes.
  page: in the order of the list, each annotation is looked at, for the minutes
    of a tag. A good one is kept; a faulty one is drawn again as its own kind.
  exact: as `page`, but a faulty one gets an exact mask.

Differences of Dice are paired by held-out block. Their intervals come from a
bootstrap of the blocks of all seeds. They do not show how much a training with
other random numbers would differ.
"""

from collections.abc import Sequence
import pathlib
from typing import Any

from data_prep.drawing import annotation_kinds
import numpy as np

from experiments import binary
from experiments.auditing import expected_gain
from experiments.saving import run_schema
from experiments.tables import sweep_statistics

# Maps the name of an order to one of `expected_gain.ORDERS`, and to the field
# of `expected_gain.Suspects` that it takes for the scores.
ORDERS = {
    'audit': ('suspicion', 'score'), 'expected_gain': ('gain', 'score'),
    'random': ('random', 'score'),
    'disagreement': ('suspicion', 'disagreement'),
    'loss': ('suspicion', 'loss')}
MINUTES = (15, 30, 60, 120)
NONE = 'none'  # The order of the control, which corrects nothing.
WAYS = ('list', 'page', 'exact')
_NUM_RANDOM = 50  # Random orders whose mean number of faults is shown.
_NUM_RESAMPLES = 2000
_MOST = 240  # Minutes up to which an order is followed.


def suspects_of(
    table: dict[str, Sequence[Any]], scores: str = 'score'
) -> expected_gain.Suspects:
  """Returns the annotations of a ranking cell.

  Args:
    table: columns of its annotations, N values each.
    scores: the column that takes the place of the scores.
  """
  return expected_gain.Suspects(
      *(np.array(table[name]) for name in ('id', scores, 'disagreement', 'kind',
                                           'site', 'subject')),
      minutes=expected_gain.minutes_of(table['kind']))


def choose(
    table: dict[str, Sequence[Any]], order: str, minutes: float, seed: int
) -> np.ndarray:
  """Returns the positions of the annotations to draw again, in their order.

  Args:
    table: columns of the annotations of a ranking cell.
    order: a key of `ORDERS`.
    minutes: minutes to spend.
    seed: seed of the random order.
  """
  name, scores = ORDERS[order]
  return expected_gain.order(
      suspects_of(table, scores), name, budget=minutes, seed=seed)


def count_faults(
    table: dict[str, Sequence[Any]], order: str, way: str,
    minutes: Sequence[float], seed: int = 0,
) -> np.ndarray:
  """Returns how many planted faults are corrected in some minutes, int [M].

  Args:
    table: columns of the annotations of a ranking cell.
    order: a key of `ORDERS`.
    way: one of `WAYS`.
    minutes: numbers of minutes, M of them.
    seed: seed of the random order.
  """
  faulty = np.array(table['fault']) != ''
  if way == 'list':
    return np.array([
        faulty[choose(table, order, m, seed)].sum()
        for m in minutes])
  places = choose(table, order, np.inf, seed)
  kinds = annotation_kinds.TABLE
  drawing = (np.full(len(faulty), kinds['mask'].minutes) if way == 'exact'
             else expected_gain.minutes_of(table['kind']))
  spent = np.cumsum(kinds['tag'].minutes + np.where(faulty, drawing, 0)[places])
  found = np.cumsum(faulty[places])
  ends = np.searchsorted(spent, np.asarray(minutes) + 1e-9, side='right')
  return np.where(ends, found[ends - 1], 0)


def _mean_faults(table, order, way, minutes):
  """Returns the number of faults; of `random`, the mean over many orders."""
  seeds = range(_NUM_RANDOM if order == 'random' else 1)
  return np.mean(
      [count_faults(table, order, way, minutes, s) for s in seeds], axis=0)


def first_minute(minutes: np.ndarray, values: np.ndarray, goal: float) -> float:
  """Returns when a curve first reaches a goal, inf if it does not.

  Args:
    minutes: increasing minutes, float [M].
    values: value of the curve at each, linear in between, float [M].
    goal: the value to reach.
  """
  reached = np.flatnonzero(values >= goal)
  if not reached.size:
    return float('inf')
  last = int(reached[0])
  if last == 0:
    return float(minutes[0])
  share = (goal - values[last - 1]) / (values[last] - values[last - 1])
  return float(minutes[last - 1] + share * (minutes[last] - minutes[last - 1]))


def faults_to_markdown(rankings: dict[str, dict[str, Any]]) -> str:
  """Returns the tables of faults found, one for each way to work.

  Args:
    rankings: content of each ranking cell, by name.
  """
  grid = np.arange(0, _MOST + 1, 2)
  lines = []
  for way in WAYS:
    lines += [
        f'Way to work: {way}', '',
        '| order | ' + ' | '.join(f'{m} min' for m in MINUTES)
        + ' | minutes for as many as random finds in 60, ratio to random |',
        '|---' * (len(MINUTES) + 2) + '|']
    curves = {order: {
        seed: _mean_faults(cell['annotations'], order, way, grid)
        for seed, cell in rankings.items()} for order in ORDERS}
    for order, by_seed in curves.items():
      at = [[c[np.searchsorted(grid, m + 1, side='right') - 1]
             for c in by_seed.values()]
            for m in MINUTES]
      ratios = []
      for seed, curve in by_seed.items():
        goal = np.interp(60, grid, curves['random'][seed])
        ratios.append(first_minute(grid, curve, goal) / 60)
      lines.append(f'| {order} | ' + ' | '.join(
          ', '.join(f'{x:.0f}' for x in cell) for cell in at) + ' | '
          + ', '.join(f'{x:.2f}' for x in ratios) + ' |')
    lines.append('')
  return '\n'.join(lines)


def _blocks(cells, order, minutes, seeds):
  """Returns the Dice of each held-out block of some seeds, float [B]."""
  found = [sorted(cells[order, minutes, s]['blocks'].items()) for s in seeds]
  return np.array([dice for blocks in found for _, (_, dice) in blocks])


def _interval(differences):
  low, high = sweep_statistics.bootstrap_interval(
      differences[None], np.arange(len(differences)),
      num_resamples=_NUM_RESAMPLES)
  return f'{differences.mean():+.3f} ({low:+.3f} to {high:+.3f})'


def dice_to_markdown(cells: Sequence[dict[str, Any]]) -> str:
  """Returns the table of Dice by order and minutes.

  Args:
    cells: content of the cells that were trained on from a base run.
  """
  known = {(c['order'], c['minutes'], c['seed']): c for c in cells}
  lines = [
      '| order | minutes | seeds | drawn again | faults corrected '
      '| Dice by block | minus the control | minus random |', '|---' * 8 + '|']
  for order, minutes in sorted(
      {key[:2] for key in known}, key=lambda k: (k[1], k[0])):
    own = {s for o, m, s in known if (o, m) == (order, minutes)}
    seeds = sorted(own)
    numbers = [', '.join(str(known[order, minutes, s][name]) for s in seeds)
               for name in ('num_drawn', 'num_faults_corrected')]
    line = (f'| {order} | {minutes} | {", ".join(map(str, seeds))} | '
            f'{numbers[0]} | {numbers[1]} | '
            f'{_blocks(known, order, minutes, seeds).mean():.3f} ')
    for other, at in ((NONE, 0), ('random', minutes)):
      both = [s for s in seeds if (other, at, s) in known]
      same = (order, minutes) == (other, at)
      line += '| ' + (_interval(
          _blocks(known, order, minutes, both)
          - _blocks(known, other, at, both)) if both and not same else '') + ' '
    lines.append(line + '|')
  return '\n'.join(lines) + '\n'


def minutes_ratio(
    cells: Sequence[dict[str, Any]], order: str, goal_minutes: int, *,
    seed: int = 0
) -> tuple[float, float, float] | None:
  """Returns the minutes that an order needs for the Dice of random, as a ratio.

  The curves are linear between the measured minutes. In a resample of blocks, a
  goal that the order does not reach counts as infinite minutes.

  Args:
    cells: content of the cells that were trained on from a base run.
    order: a key of `ORDERS`.
    goal_minutes: the minutes of the random order whose Dice is the goal.
    seed: seed of the resampling.

  Returns:
    The ratio and its 95 % interval; None if no seed has all minutes of both
    orders.
  """
  known = {(c['order'], c['minutes'], c['seed']): c for c in cells}
  at = [0, *MINUTES]
  name = lambda o, m: NONE if not m else o
  seeds = [s for s in sorted({k[2] for k in known}) if all(
      (name(o, m), m, s) in known for o in (order, 'random') for m in at)]
  if not seeds:
    return None
  ours, random = (
      np.array([_blocks(known, name(o, m), m, seeds) for m in at])
      for o in (order, 'random'))
  minutes, goal = np.array(at, float), at.index(goal_minutes)

  def ratio(columns):
    curve = ours[:, columns].mean(1)
    return first_minute(
        minutes, curve, random[goal, columns].mean()) / goal_minutes

  rng = np.random.default_rng(seed)
  number = ours.shape[1]
  drawn = [ratio(rng.integers(number, size=number))
           for _ in range(_NUM_RESAMPLES)]
  low, high = np.quantile(drawn, [0.025, 0.975], method='nearest')
  return ratio(np.arange(number)), float(low), float(high)


def read(folder: str) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
  """Returns the ranking cells by name, and the other cells of a folder."""
  rankings, cells = {}, []
  for path in sorted(pathlib.Path(folder).glob('*.json')):
    cell = run_schema.read(str(path))
    if 'annotations' in cell:
      rankings[path.stem.removeprefix('ranking-')] = cell
    else:
      cells.append(cell)
  return rankings, cells


def to_markdown(folder: str) -> str:
  """Returns all tables of a folder of cells.

  Raises:
    binary.UserError: if it has no ranking cell.
  """
  rankings, cells = read(folder)
  if not rankings:
    raise binary.UserError(
        f'--cells: {folder} holds no ranking cell; write some without '
        '--tables_only.')
  warm = [c for c in cells if not c['from_scratch']]
  text = faults_to_markdown(rankings) + '\n' + dice_to_markdown(warm)
  for order in ORDERS:
    found = minutes_ratio(warm, order, 60)
    if found is not None and order != 'random':
      text += (f'\n{order}: minutes for the Dice of random at 60, as a ratio: '
               f'{found[0]:.2f} ({found[1]:.2f} to {found[2]:.2f})\n')
  return text
