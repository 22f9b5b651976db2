"""Makes sweeps whose runs lie on a known curve, to test the budget planner."""

import itertools

import numpy as np

from experiments.tables import learning_curve
from experiments.tables import mixed_runs

KINDS = ('mask', 'box', 'scribble')
THETA_2 = np.array([0.9, 1.0, 0.5, 0.1])
MIXES_2 = np.array([*itertools.product((10, 20, 40), (0, 200, 400))], float)
THETA_3 = np.array([0.9, 1.0, 0.5, 0.1, 0.03])
MIXES_3 = np.array(
    [*itertools.product((5, 20, 80), (0, 100, 400), (0, 200))], float)


def make(
    theta: np.ndarray,
    mixes: np.ndarray,
    *,
    spread: float,
    num_seeds: int = 1,
    seed: int = 0,
) -> mixed_runs.Sweep:
  """Returns a sweep whose runs lie on the curve `theta`, plus normal noise."""
  counts = np.repeat(mixes, num_seeds, axis=0)
  noise = np.random.default_rng(seed).normal(size=len(counts))
  return mixed_runs.Sweep(
      KINDS[:mixes.shape[1]], counts,
      learning_curve.predict(theta, counts) + spread * noise,
      np.tile(np.arange(num_seeds), len(mixes)))
