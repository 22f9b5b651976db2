"""Fits Dice as a curve of the number of annotations, and tests the fit.

  effective = 1 + n_mask + sum_k r_k n_k
  dice      = a - b * effective ** -c

The power law with an asymptote is the usual shape of learning curves: Hestness
et al., "Deep Learning Scaling is Predictable, Empirically", 2017
(https://arxiv.org/abs/1712.00409); Viering and Loog, "The Shape of Learning
Curves", 2021 (https://arxiv.org/abs/2103.10948). Here n_k is the number of
annotations of kind k. Their worth r_k in [0, 1] is the number of exact masks
that one of them replaces. The curve assumes that this number is the same in all
mixes: kinds neither help nor hinder each other. A test for lack of fit shows
whether the runs of a sweep contradict this.

The P parameters are (a, b, c, r_2, ..., r_K); kind 1 of K is the exact mask.
"""

import functools
from typing import Any

import numpy as np
from scipy import optimize
from scipy import stats

from data_prep.shared import grammar
from experiments.tables import mixed_runs

LEVEL = 0.95
_NUM_SHAPE = 3  # A vector of parameters starts with a, b and c.
_NUM_STEPS = 60  # Iterations of each bootstrap fit.
_LOW, _HIGH = (0.0, 0.0, 0.05), (1.0, 10.0, 2.0)  # Bounds of a, b and c.
# A combination of parameters counts as undetermined if its relative singular
# value is below this: it hardly affects the predicted Dice of any run.
_SINGULAR = 1e-3
_BAD_FIT = 0.01  # Up to this p-value, warn that the curve does not fit.
_HARM = 0.01  # Up to this p-value, warn that a kind lowers Dice.
_TINY = 1e-12  # Sums of squares of Dice below this are rounding errors.
_VAGUE = 0.5  # A longer interval of a worth causes a warning.


def effective(theta: np.ndarray, counts: np.ndarray) -> np.ndarray:
  """Returns the number of effective annotations of each run, float [..., N].

  Args:
    theta: parameters, float [..., P].
    counts: number of annotations of each kind, [N, K].
  """
  theta = np.asarray(theta)
  weak = np.einsum('...k,nk->...n', theta[..., _NUM_SHAPE:], counts[:, 1:])
  return 1 + counts[:, 0] + weak


def predict(theta: np.ndarray, counts: np.ndarray) -> np.ndarray:
  """Returns the Dice that the curve predicts for each run, float [..., N].

  Args:
    theta: parameters, float [..., P].
    counts: number of annotations of each kind, [N, K].
  """
  a, b, c = np.moveaxis(np.asarray(theta)[..., :_NUM_SHAPE, None], -2, 0)
  return a - b * effective(theta, counts) ** -c


def jacobian(theta: np.ndarray, counts: np.ndarray) -> np.ndarray:
  """Returns the Jacobian of `predict` in the parameters, float [..., N, P].

  The arguments are those of `predict`.
  """
  _, b, c = np.moveaxis(np.asarray(theta)[..., :_NUM_SHAPE, None], -2, 0)
  size = effective(theta, counts)
  power = size ** -c
  shape = np.stack(
      [np.ones_like(size), -power, b * power * np.log(size)], axis=-1)
  slope = b * c * power / size
  return np.concatenate([shape, slope[..., None] * counts[:, 1:]], axis=-1)


def worths(theta: np.ndarray) -> np.ndarray:
  """Returns the worth r_k of each kind, float [K]; that of the mask is 1."""
  return np.concatenate([[1.0], theta[_NUM_SHAPE:]])


def num_parameters(num_kinds: int) -> int:
  """Returns the number of parameters P of a curve with `num_kinds` kinds."""
  return _NUM_SHAPE + num_kinds - 1


def _bounds(num_kinds):
  """Returns the lower and upper bounds of the parameters, two arrays [P]."""
  return (np.array([*_LOW, *[0.0] * (num_kinds - 1)]),
          np.array([*_HIGH, *[1.0] * (num_kinds - 1)]))


def fit(counts: np.ndarray, dice: np.ndarray) -> np.ndarray:
  """Fits the parameters to N runs by least squares, and returns them.

  The bounds are a in [0, 1], b in [0, 10], c in [0.05, 2] and r_k in [0, 1].
  The fit starts from several points; the best solution is returned, float [P].

  Args:
    counts: number of annotations of each kind in each run, float [N, K].
    dice: Dice of each run, float [N].
  """
  num_kinds = counts.shape[1]
  starts = [
      [min(1.0, dice.max() + 0.05), 0.5, c, *[worth] * (num_kinds - 1)]
      for c in (0.3, 1.0) for worth in (0.02, 0.5)]
  solutions = [
      optimize.least_squares(
          lambda theta: predict(theta, counts) - dice, start,
          bounds=_bounds(num_kinds), x_scale='jac',
          jac=functools.partial(jacobian, counts=counts))
      for start in starts]
  return min(solutions, key=lambda s: s.cost).x


def refit(
    counts: np.ndarray, dice: np.ndarray, start: np.ndarray
) -> np.ndarray:
  """Fits the curve to F bootstrap samples of a sweep at once.

  Takes Levenberg-Marquardt steps, clipped to the bounds of `fit`. A parameter
  at a bound stays there while a descent step would leave the bounds. This is
  about a hundred times faster than fitting the samples one after another.

  Args:
    counts: number of annotations of each kind in each run, float [N, K].
    dice: Dice of each run in each sample, float [F, N].
    start: parameters near the solutions, float [P].

  Returns:
    The parameters for each sample, float [F, P].
  """
  low, high = _bounds(counts.shape[1])
  theta = np.tile(start, (len(dice), 1))
  cost = lambda t: np.sum((predict(t, counts) - dice) ** 2, axis=1)
  damping, best = np.full((len(dice), 1), 1e-3), cost(theta)
  eye = np.eye(len(start))
  for _ in range(_NUM_STEPS):
    slopes = jacobian(theta, counts)
    uphill = np.einsum('fnp,fn->fp', slopes, predict(theta, counts) - dice)
    free = ~((theta <= low) & (uphill > 0) | (theta >= high) & (uphill < 0))
    slopes = slopes * free[:, None]
    bend = np.einsum('fnp,fnq->fpq', slopes, slopes)
    size = np.maximum(np.einsum('fpp->fp', bend), 1e-12)
    step = np.linalg.solve(
        bend + (damping * size)[..., None] * eye, -(uphill * free)[..., None])
    tried = np.clip(theta + step[..., 0], low, high)
    found = cost(tried)
    better = (found < best)[:, None]
    theta = np.where(better, tried, theta)
    best = np.minimum(best, found)
    damping = np.clip(np.where(better, damping / 5, damping * 4), 1e-9, 1e9)
  return theta


def bootstrap(
    counts: np.ndarray,
    dice: np.ndarray,
    theta: np.ndarray,
    *,
    num_fits: int,
    seed: int = 0,
) -> np.ndarray:
  """Fits the curve to bootstrap samples, in which the runs' noise is redrawn.

  The mixes of the runs are kept. Each sample adds residuals, drawn at random
  from those of the runs, to the Dice on the curve (Efron and Tibshirani, 1993,
  chapter 9). The variance of the residuals is multiplied by N / (N - P), since
  the curve was fitted to the same runs. It is also divided by a random draw of
  chi^2 / (N - P), since few runs determine the variance only roughly; in the
  same way, a t interval is wider than a normal one. The noise of the runs
  is assumed to be independent and equally large for all mixes.

  Args:
    counts: number of annotations of each kind in each run, float [N, K], N > P.
    dice: Dice of each run, float [N].
    theta: parameters fitted to these runs, float [P].
    num_fits: number of samples.
    seed: seed of the random draws.

  Returns:
    The parameters for each sample, float [num_fits, P].
  """
  rng = np.random.default_rng(seed)
  fitted = predict(theta, counts)
  number, free = len(dice), len(dice) - len(theta)
  residuals = (dice - fitted) * (number / free) ** 0.5
  residuals = residuals - residuals.mean()
  scale = (free / rng.chisquare(free, size=(num_fits, 1))) ** 0.5
  drawn = fitted + scale * rng.choice(residuals, (num_fits, number))
  return refit(counts, drawn, theta)


def interval(values: np.ndarray) -> list[float]:
  """Returns the lower and upper end of the 95 % interval of F values."""
  tail = (1 - LEVEL) / 2
  return np.quantile(values, [tail, 1 - tail]).tolist()


def design_objections(sweep: mixed_runs.Sweep) -> list[str]:
  """Returns the reasons why no curve can be fitted to the mixes of a sweep.

  Args:
    sweep: finished runs; each kind occurs in at least one of them.

  Returns:
    One sentence per reason; [] if a curve can be fitted.
  """
  counts, kinds = sweep.counts, sweep.kinds
  wanted = num_parameters(len(kinds))
  num_mixes = len(np.unique(counts, axis=0))
  objections = []
  if num_mixes < wanted or len(counts) <= wanted:
    objections.append(
        f'Too few for {wanted} parameters, which take {wanted} mixes and '
        f'{wanted + 1} runs: {grammar.counted(len(counts), "run")} of '
        f'{grammar.counted(num_mixes, "mix")}.')
  constant = [k for k, n in zip(kinds, counts.T, strict=True) if np.ptp(n) == 0]
  for kind in constant:
    objections.append(
        f'Every run has the same number of {kind}: what one is worth '
        'stays unknown. Add runs with fewer or more.')
  if not constant:
    mixed = _dependent(counts)
    if mixed.any():
      objections.append(
          f'{_join(kinds, mixed)} always come in the same proportion: which of '
          'them helps stays unknown. Add runs that change one alone.')
  return objections


def fit_objections(sweep: mixed_runs.Sweep, theta: np.ndarray) -> list[str]:
  """Returns the reasons why mixes must not be ranked by a fitted curve.

  Args:
    sweep: finished runs that passed `design_objections`.
    theta: parameters fitted to them, float [P].

  Returns:
    One sentence per reason; [] if mixes may be ranked.
  """
  p = effect_p_value(sweep, theta)
  if not p <= 1 - LEVEL:
    return ['No curve that rises with the annotations explains Dice better '
            f'than a constant does (F test, p = {p:.2g}).']
  # Remove the part of each worth's effect that a, b and c can produce as well.
  slopes = jacobian(theta, sweep.counts)
  slopes = slopes / np.maximum(np.linalg.norm(slopes, axis=0), 1e-300)
  shape, _ = np.linalg.qr(slopes[:, :_NUM_SHAPE])
  weak = slopes[:, _NUM_SHAPE:]
  mixed = _dependent(weak - shape @ (shape.T @ weak), normalize=False)
  if mixed.any():
    return [f'The worth of {_join(sweep.kinds[1:], mixed)} does not follow '
            'from the shape of the curve. Add runs that change one kind alone.']
  return []


def _dependent(columns, *, normalize=True):
  """Returns which columns are nearly linearly dependent, bool [K].

  Args:
    columns: matrix of K columns.
    normalize: whether to scale the columns to unit length first.
  """
  if not columns.shape[1]:
    return np.zeros(0, bool)
  if normalize:
    columns = columns / np.linalg.norm(columns, axis=0)
  _, sizes, directions = np.linalg.svd(columns)
  sizes = np.pad(sizes, (0, len(directions) - len(sizes)))
  return np.any(np.abs(directions[sizes < _SINGULAR]) > 0.1, axis=0)


def _join(kinds, chosen):
  return ' and '.join(k for k, c in zip(kinds, chosen, strict=True) if c)


def effect_p_value(sweep: mixed_runs.Sweep, theta: np.ndarray) -> float:
  """Returns the p-value of an F test of the curve against a constant Dice.

  It is small if the curve explains the Dice of the runs better than a constant.
  """
  rest = np.sum((sweep.dice - predict(theta, sweep.counts)) ** 2)
  total = np.sum((sweep.dice - sweep.dice.mean()) ** 2)
  return _f_test(
      total - rest, len(theta) - 1, rest, len(sweep.dice) - len(theta))


def lack_of_fit_p_value(sweep: mixed_runs.Sweep, theta: np.ndarray) -> float:
  """Returns the p-value of an F test of the curve against a mean per mix.

  It is small if runs of the same mix agree with each other but not with the
  curve. It is nan if no mix has several runs, or if there are not more mixes
  than parameters.
  """
  _, index = np.unique(sweep.counts, axis=0, return_inverse=True)
  index = index.ravel()
  means = np.bincount(index, sweep.dice) / np.bincount(index)
  pure = np.sum((sweep.dice - means[index]) ** 2)
  rest = np.sum((sweep.dice - predict(theta, sweep.counts)) ** 2)
  return _f_test(
      rest - pure, len(means) - len(theta), pure, len(sweep.dice) - len(means))


def harm_p_values(sweep: mixed_runs.Sweep) -> np.ndarray:
  """Tests for each kind whether more annotations of it go with a lower Dice.

  Since the curve itself cannot fall, the test is a one-sided t test of the
  coefficient of log(1 + n_k) in a linear regression of Dice.

  Returns:
    The p-value of each kind, float [K]; nan with K + 1 runs or fewer.
  """
  columns = np.column_stack(
      [np.ones(len(sweep.dice)), np.log1p(sweep.counts)])
  free = len(columns) - columns.shape[1]
  if free < 1:
    return np.full(len(sweep.kinds), np.nan)
  slopes, *_ = np.linalg.lstsq(columns, sweep.dice)
  rest = np.sum((sweep.dice - columns @ slopes) ** 2) / free
  spread = np.sqrt(rest * np.diag(np.linalg.pinv(columns.T @ columns)))
  return stats.t.cdf(slopes / np.maximum(spread, 1e-300), free)[1:]


def harm_warnings(sweep: mixed_runs.Sweep) -> list[str]:
  """Returns one sentence for each kind that seems to lower Dice."""
  return [
      f'Runs with more {kind} score lower (p = {p:.2g}): as it is used in '
      'these runs, it does harm, and the curve counts it as worth 0.'
      for kind, p in zip(sweep.kinds, harm_p_values(sweep), strict=True)
      if p <= _HARM]


def describe(
    sweep: mixed_runs.Sweep, theta: np.ndarray, fits: np.ndarray
) -> dict[str, Any]:
  """Returns the fitted curve for JSON: parameters, intervals and tests.

  Args:
    sweep: finished runs.
    theta: parameters fitted to them, float [P].
    fits: parameters of F bootstrap fits, float [F, P].
  """
  names = [*'abc', *sweep.kinds[1:]]
  values = {
      name: {'value': float(theta[i]), 'interval_95': interval(fits[:, i])}
      for i, name in enumerate(names)}
  residuals = sweep.dice - predict(theta, sweep.counts)
  return {
      'formula': 'dice = a - b * (1 + mask + sum_k worth_k * n_k) ** -c',
      'shape': {name: values[name] for name in 'abc'},
      'worths': {kind: values[kind] for kind in sweep.kinds[1:]},
      'residual_sd': float(
          (np.sum(residuals ** 2) / (len(residuals) - len(theta))) ** 0.5),
      'p_effect': effect_p_value(sweep, theta),
      'p_lack_of_fit': _none(lack_of_fit_p_value(sweep, theta)),
  }


def warnings(
    sweep: mixed_runs.Sweep, theta: np.ndarray, fits: np.ndarray
) -> list[str]:
  """Returns one sentence for each reason to doubt a fitted curve.

  Args:
    sweep: finished runs.
    theta: parameters fitted to them, float [P].
    fits: parameters of F bootstrap fits, float [F, P].
  """
  lines = []
  p = lack_of_fit_p_value(sweep, theta)
  if p <= _BAD_FIT:
    lines.append(
        f'Mixes lie off the curve by more than their repeats differ (p = '
        f'{p:.2g}): kinds do not simply add up here, trust no small gain.')
  for i, kind in enumerate(sweep.kinds[1:], start=_NUM_SHAPE):
    low, high = interval(fits[:, i])
    if high - low > _VAGUE:
      lines.append(f'The worth of one {kind} is hardly known: {low:.2g} to '
                   f'{high:.2g} masks.')
  if len(np.unique(sweep.counts, axis=0)) == len(sweep.dice):
    lines.append('No mix was run with two seeds: whether the curve fits cannot '
                 'be tested.')
  return lines


def _none(value):
  return None if np.isnan(value) else value


def _f_test(explained, num_explained, rest, num_rest):
  if num_explained < 1 or num_rest < 1:
    return float('nan')
  if explained <= _TINY:  # The ratio would compare rounding errors.
    return 1.0
  if rest <= 0:
    return 0.0
  ratio = (explained / num_explained) / (rest / num_rest)
  return float(stats.f.sf(ratio, num_explained, num_rest))
