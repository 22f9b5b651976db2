r"""Measures how often the results of compare and plan_budget are right.

python -m experiments.benchmarks.planning --num_pairs=1000 --num_sweeps=300

For compare, it draws pairs of results whose true difference is 0. For
plan_budget, it draws results of sweeps from a known learning curve. It counts
how often the 95 % intervals contain the true value, and how often each answer
is given. Prints the tables of experiments/results/planning.md.
"""

from collections.abc import Sequence
import time

from absl import flags
from hybridseg import metrics as metrics_lib
import numpy as np

from experiments import binary
from experiments.tables import budget
from experiments.tables import learning_curve
from experiments.tables import mixed_runs
from experiments.tables import paired

_NUM_PAIRS = flags.DEFINE_integer(
    'num_pairs', 1000, 'Of each row of the first table.', lower_bound=1)
_NUM_SWEEPS = flags.DEFINE_integer(
    'num_sweeps', 300, 'Of each row of the second table.', lower_bound=1)
_SEED = flags.DEFINE_integer('seed', 0, 'Of all draws.', lower_bound=0)

_NUM_RESAMPLES = 500
_NUM_FITS = 200

_KINDS = ('mask', 'box')
_MINUTES = {'mask': 10.0, 'box': 0.5}
_BUDGET = 400.0
_HAVE = {'mask': 20.0, 'box': 100.0}
# Maps the name of each design to the runs of its sweep. Each run is a pair of
# its number of masks and its number of boxes.
_DESIGNS = {
    '3 x 3 mixes': [(m, b) for m in (10, 20, 40) for b in (0, 200, 400)],
    '4 + 2 mixes': [(10, 0), (20, 0), (40, 0), (60, 0), (10, 200), (20, 400)],
    'boxes = 120 - masks': [(m, 120 - m) for m in (8, 16, 32, 48, 64, 96)],
}

# Each sweep: name of the design, number of seeds, worth of a box in masks,
# standard deviation of Dice, parameter b of the learning curve, and the number
# of boxes at which their benefit saturates, 0 for never.
_SWEEPS = (
    ('3 x 3 mixes', 1, 0.1, 0.01, 1, 0),
    ('3 x 3 mixes', 2, 0.1, 0.01, 1, 0),
    ('3 x 3 mixes', 3, 0.1, 0.02, 1, 0),
    ('3 x 3 mixes', 2, 0.05, 0.02, 1, 0),
    ('3 x 3 mixes', 2, 0.01, 0.01, 1, 0),
    ('3 x 3 mixes', 2, 0, 0.01, 1, 0),
    ('4 + 2 mixes', 1, 0.1, 0.01, 1, 0),
    ('4 + 2 mixes', 3, 0.1, 0.01, 1, 0),
    ('boxes = 120 - masks', 3, 0.1, 0.01, 1, 0),
    ('3 x 3 mixes', 2, 0.1, 0.02, 0, 0),
    ('3 x 3 mixes', 3, 0.1, 0.01, 1, 200),
    ('3 x 3 mixes', 3, 0.1, 0.003, 1, 200),
)


def _print_table(title: Sequence[str], rows: Sequence[Sequence[str]]):
  for row in (title, ('---',) * len(title), *rows):
    print('| ' + ' | '.join(row) + ' |')
  print()


def _simulate_pair(rng, num_subjects, shared):
  """Draws the difference between two methods for 4 cases of each subject.

  The differences have a skewed distribution of mean 0.

  Args:
    rng: random number generator.
    num_subjects: number of subjects.
    shared: share of the variance that all cases of a subject have in common.

  Returns:
    The differences, and the subject of each.
  """
  groups = np.repeat(np.arange(num_subjects), 4)
  skewed = lambda size: rng.exponential(size=size) - 1
  noise = (1 - shared) ** 0.5 * skewed(len(groups))
  return noise + shared ** 0.5 * skewed(num_subjects)[groups], groups


def _compare_row(num_subjects, shared, rng):
  inside = {'cases': 0, 'subjects': 0}
  found = better = 0
  for _ in range(_NUM_PAIRS.value):
    values, groups = _simulate_pair(rng, num_subjects, shared)
    intervals = {
        'cases': metrics_lib.bootstrap_interval(
            values, num_resamples=_NUM_RESAMPLES),
        'subjects': metrics_lib.bootstrap_interval(
            values, groups=groups, num_resamples=_NUM_RESAMPLES)}
    for name, (low, high) in intervals.items():
      inside[name] += low <= 0 <= high
    p = paired.sign_flip_p_value(values, groups, num_flips=_NUM_RESAMPLES)
    low, high = intervals['subjects']
    found += p <= 0.05
    better += p <= 0.05 and not low <= 0 <= high
  share = lambda n: f'{n / _NUM_PAIRS.value:.3f}'
  return (f'{num_subjects}', f'{shared:g}', share(inside['cases']),
          share(inside['subjects']), share(found), share(better))


def _truth(counts, worth, gap, most):
  """Returns the true Dice for given numbers of masks and boxes.

  If `most` is not 0, n boxes help as much as most * (1 - exp(-n / most)) boxes
  would help without saturation.
  """
  counts = np.array(counts, np.float64)
  if most:
    counts[:, 1] = most * -np.expm1(-counts[:, 1] / most)
  return learning_curve.predict(np.array([0.9, gap, 0.5, worth]), counts)


def _simulate_sweep(rng, design, num_seeds, worth, spread, gap, most):
  counts = np.repeat(np.array(design, np.float64), num_seeds, axis=0)
  dice = _truth(counts, worth, gap, most)
  return mixed_runs.Sweep(
      _KINDS, counts, dice + spread * rng.normal(size=len(dice)),
      np.tile(np.arange(num_seeds), len(design)))


def _plan_row(name, num_seeds, worth, spread, gap, most, rng):
  warned = answered = holds_worth = holds_gain = ranked = wrong = 0
  for _ in range(_NUM_SWEEPS.value):
    sweep = _simulate_sweep(
        rng, _DESIGNS[name], num_seeds, worth, spread, gap, most)
    report = budget.plan(
        sweep, minutes=_MINUTES, budget=_BUDGET, num_fits=_NUM_FITS, have=_HAVE)
    if 'candidates' not in report:
      continue
    answered += 1
    low, high = report['curve']['worths']['box']['interval_95']
    holds_worth += low - 1e-6 <= worth <= high + 1e-6
    table = report['candidates']
    now, *truth = _truth(
        [[_HAVE[k] for k in _KINDS]]
        + [[_HAVE[k] + row['mix'][k] for k in _KINDS] for row in table],
        worth, gap, most)
    low, high = table[0]['gain_interval_95']
    holds_gain += low <= truth[0] - now <= high
    warned += any('lie off the curve' in line for line in report['warnings'])
    ranked += report['verdict'] == 'ranked'
    # Count the answer as wrong if it calls a mix worse than the best one
    # although that mix is, in truth, at least as good.
    wrong += any(
        row['behind_best_interval_95'][0] > 0 and dice >= truth[0] - 1e-9
        for row, dice in zip(table, truth, strict=True))
  share = lambda n: f'{n / answered:.3f}' if answered else '-'
  return (
      name, f'{num_seeds}', f'{worth:g}', f'{spread:g}', f'{gap:g}',
      f'{most:g}' if most else 'no',
      f'{1 - answered / _NUM_SWEEPS.value:.3f}', share(holds_worth),
      share(holds_gain), share(ranked), share(wrong), share(warned))


def main():
  start = time.perf_counter()
  rng = np.random.default_rng(_SEED.value)
  print('Two results without a difference, 4 cases per subject.\n')
  _print_table(
      ('subjects', 'share of variance between subjects',
       '95 % interval holds 0: drawing cases', 'drawing subjects',
       'p <= 0.05', 'called better'),
      [_compare_row(n, shared, rng)
       for n in (6, 10, 20, 40, 100) for shared in (0.0, 0.5)])
  print('Sweeps on a known curve, masks of 10 and boxes of 0.5 minutes.\n')
  _print_table(
      ('design', 'seeds', 'worth of a box', 'sd of Dice', 'b',
       'boxes saturate at', 'no ranking at all', 'interval holds the worth',
       'holds the gain', 'ranked', 'ranked wrongly', 'warned of lack of fit'),
      [_plan_row(*row, rng) for row in _SWEEPS])
  print(f'{_NUM_PAIRS.value} pairs and {_NUM_SWEEPS.value} sweeps a row, seed '
        f'{_SEED.value}, {time.perf_counter() - start:.0f} s')


if __name__ == '__main__':
  binary.run(main)
