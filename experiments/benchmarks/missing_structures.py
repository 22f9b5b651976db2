"""Does leaving a structure out ever pay? Counts how often, over random cases.

python -m experiments.benchmarks.missing_structures --num_cases=10000

Each case has a reference of three structures and a prediction of them, good or
poor. One predicted structure that overlaps its reference is deleted: no metric
of that case, and so no reported mean, may get better. Then both are padded with
unlabelled pixels: no metric may change.
"""

from absl import app
from absl import flags
import numpy as np

from experiments.evaluation import scoring

_NUM_CASES = flags.DEFINE_integer('num_cases', 10000, 'Number of cases.')
_SEED = flags.DEFINE_integer('seed', 0, 'Seed of the cases.')

_LOWER_IS_BETTER = ('volume_error', 'hd95', 'assd')
_NUM_CLASSES = 4


def random_case(
    rng: np.random.Generator, *, in_3d: bool
) -> tuple[np.ndarray, np.ndarray]:
  """Returns reference and prediction, int [H, W] or [A, B, C]."""
  shape = tuple(rng.integers(5, 9, size=3) if in_3d else
                rng.integers(8, 24, size=2))
  grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing='ij'), axis=-1)
  reference, prediction = (np.zeros(shape, np.int64) for _ in range(2))
  for c in range(1, _NUM_CLASSES):
    centre = rng.uniform(0, shape)
    radius = rng.uniform(0.5, max(shape) / 3)
    if rng.random() < 0.8:
      reference[np.linalg.norm(grid - centre, axis=-1) < radius] = c
    centre += rng.normal(scale=rng.choice([0.5, 3.0]), size=len(shape))
    radius *= rng.choice([0.3, 1.0, 3.0])
    prediction[np.linalg.norm(grid - centre, axis=-1) < radius] = c
  return reference, prediction


def check(*, num_cases: int, seed: int, in_3d: bool) -> int:
  """Tries cases; returns how many structures were deleted.

  Raises:
    AssertionError: if a metric of a case, a mean over classes, or a mean over
      all cases got better by a deletion, or changed by padding.
  """
  rng = np.random.default_rng([seed, in_3d])
  before, after = [], []
  while len(before) < num_cases:
    reference, prediction = random_case(rng, in_3d=in_3d)
    overlapping = [c for c in range(1, _NUM_CLASSES)
                   if np.any((prediction == c) & (reference == c))]
    if not overlapping:
      continue
    structure = rng.choice(overlapping)
    spacing = tuple(rng.uniform(0.5, 3, size=reference.ndim))
    score = lambda p, t, spacing=spacing: scoring.score_case(
        p, t, num_classes=_NUM_CLASSES, spacing=spacing, tolerance=1.0)
    full = score(prediction, reference)
    pruned = score(np.where(prediction == structure, 0, prediction), reference)
    pad = [tuple(rng.integers(0, 3, size=2)) for _ in reference.shape]
    padded = score(np.pad(prediction, pad, mode='edge'),
                   np.pad(reference, pad, constant_values=255))
    for name, values in full.items():
      np.testing.assert_array_equal(values, padded[name], name)
    before.append(full)
    after.append(pruned)
  for name in before[0]:
    sign = -1 if name in _LOWER_IS_BETTER else 1
    full, pruned = (
        sign * scoring.case_means(np.stack([row[name] for row in rows]))
        for rows in (before, after))
    worse = pruned <= full + 1e-9
    assert worse.all(), f'{name} improved in {np.sum(~worse)} cases.'
    assert pruned.mean() <= full.mean(), name
  return len(before)


def main(argv):
  del argv
  for in_3d in (False, True):
    number = check(
        num_cases=_NUM_CASES.value // 2, seed=_SEED.value, in_3d=in_3d)
    print(f'{3 if in_3d else 2}-D: {number} structures deleted, no metric '
          'improved; padded, no metric changed')


if __name__ == '__main__':
  app.run(main)
