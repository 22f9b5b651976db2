"""Plans which annotations to add within a budget of annotation time.

The plan also states how certain it is. It never proposes more than twice what
the runs of the sweep have tried, neither in the number of one kind nor in total
minutes, because a fitted curve is not reliable far from its points.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy import optimize

from experiments.tables import learning_curve
from experiments.tables import mixed_runs

# A plan may use up to this multiple of the largest number of annotations, and
# of the most minutes, in any run of the sweep.
_MOST_BEYOND = 2.0
_TINY = 1e-9  # Minutes added to a budget, because sums of floats are not exact.


class Problem(NamedTuple):
  """What annotations cost, how many exist, and how many may be added.

  Attributes:
    minutes: minutes that one annotation of each kind takes, float64 [K].
    have: number of existing annotations of each kind, float64 [K].
    room: largest number of further annotations of each kind that a plan may
      propose, float64 [K].
    budget: minutes to spend.
  """

  minutes: np.ndarray
  have: np.ndarray
  room: np.ndarray
  budget: float


def largest_mix(sweep: mixed_runs.Sweep, minutes: np.ndarray) -> np.ndarray:
  """Returns the mix of the sweep that took the most minutes, float64 [K]."""
  return sweep.counts[np.argmax(sweep.counts @ minutes)]


def make_problem(
    sweep: mixed_runs.Sweep,
    *,
    minutes: np.ndarray,
    have: np.ndarray,
    budget: float,
) -> Problem:
  """Returns the planning problem, limited to what the sweep has tried.

  Existing and proposed annotations of a kind together are at most twice the
  largest number of that kind in a run of the sweep.

  Args:
    sweep: finished runs, on K kinds of annotations.
    minutes: minutes that one annotation of each kind takes, float [K].
    have: number of existing annotations of each kind, float [K].
    budget: minutes to spend.
  """
  room = np.floor(_MOST_BEYOND * sweep.counts.max(axis=0) - have)
  return Problem(minutes, have, np.maximum(room, 0), budget)


def best_mix(worths: np.ndarray, problem: Problem) -> np.ndarray:
  """Returns the numbers of new annotations that promise the highest Dice, [K].

  On the fitted curve, Dice depends only on sum_k r_k n_k. The best mix
  maximises this sum within the budget: a knapsack problem in whole numbers.

  Args:
    worths: worth r_k of each kind, float [K]; the mask has 1.
    problem: costs and limits of the annotations.
  """
  most = np.minimum(
      problem.room, np.floor(problem.budget / problem.minutes + _TINY))
  solved = optimize.milp(
      -worths, integrality=np.ones(len(worths)),
      bounds=optimize.Bounds(0, most),
      constraints=optimize.LinearConstraint(
          problem.minutes[None], ub=problem.budget + _TINY),
      options={'mip_rel_gap': 0.0})
  return np.round(solved.x)


def single_kind(kind: int, problem: Problem) -> np.ndarray:
  """Returns a mix of one kind alone, as large as the problem allows, [K]."""
  mix = np.zeros_like(problem.have)
  mix[kind] = min(
      problem.room[kind],
      np.floor(problem.budget / problem.minutes[kind] + _TINY))
  return mix


def more_of_the_same(problem: Problem) -> np.ndarray:
  """Returns new annotations in the proportions of the existing ones, [K].

  Their number is the largest that the budget and the limits allow.
  """
  spent = problem.have @ problem.minutes
  share = problem.budget / spent if spent else 0.0
  return np.minimum(problem.room, np.floor(problem.have * share + _TINY))


def candidates(
    worths: np.ndarray, kinds: tuple[str, ...], problem: Problem
) -> dict[str, np.ndarray]:
  """Returns the mixes of new annotations to compare, by name.

  The first is the best mix, if the budget buys any. Then follow each kind alone
  and more of the existing mix. Empty mixes are left out; equal mixes share one
  entry with a joint name.

  Args:
    worths: worth r_k of each kind, float [K].
    kinds: names of the K kinds.
    problem: costs and limits of the annotations.
  """
  mixes = {'best mix': best_mix(worths, problem)}
  for k, kind in enumerate(kinds):
    mixes[f'{kind} only'] = single_kind(k, problem)
  mixes['more of the same'] = more_of_the_same(problem)
  different = {}
  for name, mix in mixes.items():
    if not mix.any():
      continue
    same = [n for n, m in different.items() if np.array_equal(m, mix)]
    if same:
      different[f'{same[0]} = {name}'] = different.pop(same[0])
    else:
      different[name] = mix
  # A renamed entry moves to the end of the dict: put the best mix first again.
  return dict(sorted(
      different.items(), key=lambda item: not item[0].startswith('best mix')))


def spending_objections(
    sweep: mixed_runs.Sweep, problem: Problem
) -> tuple[list[str], list[str]]:
  """Finds where a plan would go beyond what the sweep has tried.

  Returns:
    Two lists of sentences: the reasons to refuse a plan, and warnings about a
    plan that is allowed. Both are empty if the sweep has tried as much as the
    plan needs.
  """
  tried = float((sweep.counts @ problem.minutes).max())
  wanted = float(problem.have @ problem.minutes + problem.budget)
  words = (f'{wanted:g} minutes in all (there: {wanted - problem.budget:g}), '
           f'but the largest run of the sweep took {tried:g}')
  refused = []
  if wanted > _MOST_BEYOND * tried:
    refused.append(f'{words}: beyond {_MOST_BEYOND:g} times, nothing is '
                   'predicted. Lower the budget, or train larger runs.')
  for kind, number, most in zip(
      sweep.kinds, problem.have, sweep.counts.max(axis=0), strict=True):
    if number > _MOST_BEYOND * most:
      refused.append(
          f'{number:g} {kind} are there, but no run has more than {most:g}.')
  warned = [f'{words}: this is extrapolated.'] if wanted > tried else []
  for kind, room, minutes in zip(
      sweep.kinds, problem.room, problem.minutes, strict=True):
    if room * minutes < problem.budget - minutes:
      warned.append(
          f'At most {room:g} more of {kind} are proposed: with those that are '
          f'there, {_MOST_BEYOND:g} times as many as any run had.')
  return refused, [] if refused else warned


def score(
    mixes: dict[str, np.ndarray],
    problem: Problem,
    theta: np.ndarray,
    fits: np.ndarray,
) -> list[dict[str, Any]]:
  """Predicts the Dice of each mix, with intervals over bootstrap fits.

  Args:
    mixes: annotations to add, by name. Each mix is compared with the first.
    problem: existing annotations, and costs.
    theta: parameters of the fitted curve, float [P].
    fits: parameters of F bootstrap fits (`learning_curve.bootstrap`), float
      [F, P].

  Returns:
    A dict for each mix: its annotations and minutes; its predicted Dice, its
    gain over the existing annotations, and how far its Dice lies below that of
    the first mix, each with an interval; and the share of the fits in which it
    is the best mix ('wins').
  """
  rows = problem.have + np.array([np.zeros_like(problem.have), *mixes.values()])
  dice = learning_curve.predict(theta, rows)
  drawn = learning_curve.predict(fits, rows)
  wins = np.argmax(drawn[:, 1:], axis=1)
  table = []
  for i, (name, mix) in enumerate(mixes.items(), start=1):
    table.append({
        'name': name,
        'mix': mix,
        'minutes': float(mix @ problem.minutes),
        'dice': float(dice[i]),
        'dice_interval_95': learning_curve.interval(drawn[:, i]),
        'gain': float(dice[i] - dice[0]),
        'gain_interval_95': learning_curve.interval(drawn[:, i] - drawn[:, 0]),
        'behind_best': float(dice[1] - dice[i]),
        'behind_best_interval_95': learning_curve.interval(
            drawn[:, 1] - drawn[:, i]),
        'wins': float(np.mean(wins == i - 1)),
    })
  return table


def judge(table: list[dict[str, Any]]) -> tuple[str, list[str]]:
  """Judges whether the sweep shows that the first mix of a table is the best.

  Args:
    table: a dict for each mix, from `score`.

  Returns:
    'ranked' or 'cannot tell', and sentences that explain this verdict.
  """
  best, others = table[0], table[1:]
  low, high = best['gain_interval_95']
  gain = f'{best["gain"]:+.3f} ({low:+.3f} to {high:+.3f})'
  if low <= 0:
    return 'cannot tell', [
        f'The data cannot tell whether any mix helps: gain {gain}.']
  beaten = [r for r in others if r['behind_best_interval_95'][0] > 0]
  undecided = [r for r in others if r['behind_best_interval_95'][0] <= 0]
  names = lambda rows: ', '.join(f'"{r["name"]}"' for r in rows)
  if others and not beaten:
    return 'cannot tell', [
        f'The data cannot tell which mix is best: {names(table)} overlap. '
        f'"{best["name"]}" is predicted to gain {gain}.']
  words = [f'"{best["name"]}" is predicted to gain {gain}.']
  if beaten:
    words.append(f'It is better than {names(beaten)}.')
  if undecided:
    words.append(f'The data cannot tell it from {names(undecided)}.')
  return 'ranked', words


def plan(
    sweep: mixed_runs.Sweep,
    *,
    minutes: dict[str, float],
    budget: float,
    have: dict[str, float] | None = None,
    num_fits: int = 500,
    seed: int = 0,
) -> dict[str, Any]:
  """Fits the learning curve, and compares mixes of annotations to add.

  Args:
    sweep: finished runs.
    minutes: minutes that one annotation takes, for each kind of the sweep.
    budget: minutes to spend.
    have: number of existing annotations by kind; None stands for the mix of the
      sweep that took the most minutes.
    num_fits: number of bootstrap fits.
    seed: seed of the bootstrap.

  Returns:
    The report, a tree of plain numbers and sentences for JSON. `verdict` is
    'ranked' or 'cannot tell', and `reasons` explains it.
  """
  sweep, absent = _drop_absent(sweep, have or {})
  costs = np.array([minutes[k] for k in sweep.kinds])
  mix = largest_mix(sweep, costs) if have is None else np.array(
      [have.get(k, 0.0) for k in sweep.kinds])
  problem = make_problem(sweep, minutes=costs, have=mix, budget=budget)
  refused, warned = spending_objections(sweep, problem)
  report = {
      'num_runs': len(sweep.dice),
      'num_mixes': len(np.unique(sweep.counts, axis=0)),
      'minutes': _by_kind(sweep, costs),
      'budget': budget,
      'have': _by_kind(sweep, mix),
      'verdict': 'cannot tell',
      'reasons': learning_curve.design_objections(sweep) + refused,
      'warnings': warned + [
          f'No run has {kind}: what it is worth is unknown, and it is not '
          'proposed.' for kind in absent],
  }
  if not report['reasons']:
    report['warnings'] += learning_curve.harm_warnings(sweep)
    theta = learning_curve.fit(sweep.counts, sweep.dice)
    report['reasons'] = learning_curve.fit_objections(sweep, theta)
  if not report['reasons']:
    fits = learning_curve.bootstrap(
        sweep.counts, sweep.dice, theta, num_fits=num_fits, seed=seed)
    report['curve'] = learning_curve.describe(sweep, theta, fits)
    report['warnings'] += learning_curve.warnings(sweep, theta, fits)
    report |= _rank(sweep, problem, theta, fits)
  return report


def _rank(sweep, problem, theta, fits):
  """Compares mixes by the fitted curve, for the report of `plan`."""
  mixes = candidates(learning_curve.worths(theta), sweep.kinds, problem)
  if not mixes:
    return {'reasons': ['The budget buys no annotation of a kind that the '
                        'sweep has room for.']}
  table = score(mixes, problem, theta, fits)
  verdict, reasons = judge(table)
  return {
      'verdict': verdict,
      'reasons': reasons,
      'candidates': [r | {'mix': _by_kind(sweep, r['mix'])} for r in table],
  }


def _by_kind(sweep, values):
  return dict(zip(sweep.kinds, values.tolist(), strict=True))


def _drop_absent(sweep, have):
  """Removes the kinds of which neither the runs nor the user have annotations.

  The kind 'mask' is always kept.

  Returns:
    The sweep without these kinds, and the kinds that were removed.
  """
  used = [k for k, kind in enumerate(sweep.kinds)
          if not k or sweep.counts[:, k].any() or have.get(kind)]
  absent = [kind for k, kind in enumerate(sweep.kinds) if k not in used]
  return sweep._replace(
      kinds=tuple(sweep.kinds[k] for k in used),
      counts=sweep.counts[:, used]), absent
