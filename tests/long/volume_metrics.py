r"""Compares the scores of volumes of unequal spacings with two other packages.

Needs packages that the project does not use otherwise; a throw-away
environment that holds the project is enough:

  python -m venv /tmp/compare
  /tmp/compare/bin/pip install -e . medpy surface-distance
  /tmp/compare/bin/python -m tests.long.volume_metrics

The volumes hold two classes and are scored as `experiments.evaluate` scores
them (`scoring.score_case`): Dice, and HD95, ASSD and NSD in mm. Each volume has
another shape, and one of `_SPACINGS_MM` in a random order of the axes. Prints
one row of a table per comparison; experiments/results/volumes.md holds it. Ends
with exit code 1 if a score that must be equal differs by more than 1e-9.
"""

import sys

from experiments.evaluation import scoring
from medpy.metric import binary as medpy
import numpy as np
import surface_distance

from tests import mask_pairs

_NUM_VOLUMES = 50
_SPACINGS_MM = (
    (0.5, 0.5, 5.0), (0.4, 0.4, 6.0), (0.7, 0.7, 3.0), (1.4, 1.4, 10.0),
    (0.9, 1.1, 2.3))
_TOLERANCES_MM = (0.5, 1.0, 2.0)
_CLASSES = (1, 2)
_LIMIT = 1e-9


def _volume(rng):
  """Returns a prediction, a reference, uint8 [X, Y, Z], and their spacing."""
  spacing = np.array(_SPACINGS_MM[rng.integers(len(_SPACINGS_MM))])
  sides_mm = rng.uniform(25, 60, 3)
  order = rng.permutation(3)
  shape = np.maximum(np.rint(sides_mm / spacing), 5).astype(int)[order]
  pair = [np.zeros(shape, np.uint8) for _ in range(2)]
  for value, (low, high) in zip(
      _CLASSES, ((0.6, 0.9), (0.2, 0.45)), strict=True):
    masks = mask_pairs.blobs(rng, tuple(shape), radius=rng.uniform(low, high))
    for label, mask in zip(pair, masks, strict=True):
      label[mask] = value
  return *pair, tuple(spacing[order].tolist())


def _medpy(masks, spacing):
  prediction, reference = masks
  return {'dice': medpy.dc(prediction, reference),
          'hd95': medpy.hd95(prediction, reference, spacing),
          'assd': medpy.assd(prediction, reference, spacing)}


def _surface_distance(masks, spacing, tolerance_mm):
  prediction, reference = masks
  found = surface_distance.compute_surface_distances(
      reference, prediction, spacing)
  # Of the two directions, as the metric is commonly symmetrised.
  means = surface_distance.compute_average_surface_distance(found)
  return {
      'dice': surface_distance.compute_dice_coefficient(reference, prediction),
      'nsd': surface_distance.compute_surface_dice_at_tolerance(
          found, tolerance_mm),
      'hd95': surface_distance.compute_robust_hausdorff(found, 95),
      'assd': float(np.mean(means))}


def _print_row(package, metric, pairs, must_agree):
  """Prints a row, and returns whether the scores agree as they must."""
  ours, theirs = np.array(pairs).T
  difference = np.abs(ours - theirs)
  number = int((difference > _LIMIT).sum())
  digits = '.1e' if must_agree else '.2f'
  print(f'| {package} | {metric} | {len(pairs)} | {number} | '
        f'{difference.max():{digits}} | {np.median(difference):{digits}} | '
        f'{ours.mean():.3f} | {theirs.mean():.3f} |')
  return not (must_agree and number)


def main():
  rng = np.random.default_rng(0)
  rows, num_empty = {}, 0
  for number in range(_NUM_VOLUMES):
    prediction, reference, spacing = _volume(rng)
    tolerance_mm = _TOLERANCES_MM[number % len(_TOLERANCES_MM)]
    scores = scoring.score_case(
        prediction, reference, num_classes=1 + len(_CLASSES), spacing=spacing,
        tolerance=tolerance_mm)
    for c in _CLASSES:
      masks = prediction == c, reference == c
      if not all(mask.any() for mask in masks):
        num_empty += 1
        continue
      for package, theirs in (
          ('medpy', _medpy(masks, spacing)),
          ('surface-distance', _surface_distance(
              masks, spacing, tolerance_mm))):
        for metric, value in theirs.items():
          rows.setdefault((package, metric), []).append(
              (scores[metric][c], value))
  head = ('package', 'metric', 'structures', 'differ', 'largest difference',
          'median', 'mean, ours', 'theirs')
  print(f'| {" | ".join(head)} |\n{"|---" * len(head)}|')
  by_area = {('surface-distance', 'hd95'), ('surface-distance', 'assd')}
  agree = [_print_row(*key, pairs, key not in by_area)
           for key, pairs in rows.items()]
  print(f'{num_empty} structures are empty in one of the two, and left out.')
  sys.exit(not all(agree))


if __name__ == '__main__':
  main()
