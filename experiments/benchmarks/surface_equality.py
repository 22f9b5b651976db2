r"""Compares our surface metrics with those of medpy and surface-distance.

pip install medpy surface-distance
python -m experiments.benchmarks.surface_equality --num_pairs=10000 --seed=0

Scores random pairs of masks with our code and with the packages. For each kind
of pair, prints how many scores differ by more than 1e-9 (relative for
distances, absolute for NSD) and the largest difference.

NSD may differ in one case: a distance equals the tolerance exactly, but
surface-distance rounds it to a larger value. Such a pair is counted separately
if both agree after the tolerance of surface-distance is increased by 1e-9. If a
mask is empty, the scores must follow our own rule. The areas of all surface
elements are also compared, at 100 random spacings. The exit code is 1 if
anything else differs.
"""

import collections
import math
import sys

from absl import flags
from hybridseg import surface_metrics
import numpy as np

from experiments import binary
from experiments.benchmarks import mask_pairs

_NUM_PAIRS = flags.DEFINE_integer(
    'num_pairs', 10000, 'Pairs to draw, over all kinds.', lower_bound=1)
_SEED = flags.DEFINE_integer('seed', 0, 'Of the pairs.')

_CLOSE = 1e-9


def _their_nsd(surface_distance, pair, tolerance):
  distances = surface_distance.compute_surface_distances(
      pair.reference, pair.prediction, pair.spacing)
  return surface_distance.compute_surface_dice_at_tolerance(
      distances, tolerance)


def _differences(pair, scores, medpy, surface_distance):
  """Compares the scores of one pair of masks.

  Returns:
    The differences in HD95, ASSD and NSD, and whether NSD differs only because
    a distance equals the tolerance.
  """
  masks = pair.prediction, pair.reference
  # Identical masks have distance 0, so 1e-300 avoids a division by 0.
  relative = lambda a, b: abs(a - b) / max(a, b, 1e-300)
  nsd = abs(scores.nsd - _their_nsd(surface_distance, pair, pair.tolerance))
  tie = nsd > _CLOSE and abs(scores.nsd - _their_nsd(
      surface_distance, pair, pair.tolerance * (1 + 1e-9))) <= _CLOSE
  return (
      relative(scores.hd95, medpy.hd95(*masks, pair.spacing)),
      relative(scores.assd, medpy.assd(*masks, pair.spacing)),
      0.0 if tie else nsd,
      tie,
  )


def _follows_rule(pair, scores):
  """Returns whether the scores of a pair with an empty mask follow our rule."""
  if not pair.prediction.any() and not pair.reference.any():
    return all(map(math.isnan, scores))
  shape = np.array(pair.prediction.shape)
  farthest = math.hypot(*((shape - 1) * pair.spacing))
  return np.allclose(scores, (farthest, farthest, 0), rtol=1e-12, atol=0)


def _differing_codes(tables, rng):
  """Compares the areas of surface elements at random spacings.

  Returns:
    The number of codes whose areas differ, in 2-D and in 3-D. A code states
    which corners of a grid cell are inside a mask.
  """
  counts = []
  for ndim, theirs_fn in (
      (2, tables.create_table_neighbour_code_to_contour_length),
      (3, tables.create_table_neighbour_code_to_surface_area)):
    differ = np.zeros(2**2**ndim, bool)
    for spacing in np.exp(rng.normal(size=(100, ndim))):
      ours = surface_metrics._element_areas(spacing)
      differ |= ~np.isclose(ours, theirs_fn(spacing), rtol=_CLOSE, atol=0)
    counts.append(int(differ.sum()))
  return counts


def main():
  medpy, surface_distance = mask_pairs.packages()
  rng = np.random.default_rng(_SEED.value)
  differences = collections.defaultdict(list)
  rule = collections.Counter()
  for i in range(_NUM_PAIRS.value):
    kind = mask_pairs.KINDS[i % len(mask_pairs.KINDS)]
    pair = mask_pairs.random_pair(rng, kind=kind)
    scores = surface_metrics.surface_scores(
        pair.prediction, pair.reference, spacing=pair.spacing,
        tolerance=pair.tolerance)
    if pair.prediction.any() and pair.reference.any():
      differences[kind].append(
          _differences(pair, scores, medpy, surface_distance))
    else:
      rule[_follows_rule(pair, scores)] += 1
  print('| pairs | compared | HD95 differs | ASSD | NSD | largest, HD95 | ASSD '
        '| NSD | ties |\n|---|---|---|---|---|---|---|---|---|')
  differences['all'] = [x for rows in differences.values() for x in rows]
  for kind, rows in differences.items():
    rows = np.array(rows, float).reshape(-1, 4)
    differ = np.sum(rows[:, :3] > _CLOSE, axis=0)
    largest = rows[:, :3].max(axis=0, initial=0)
    print(f'| {kind} | {len(rows)} | {" | ".join(map(str, differ))} | '
          f'{" | ".join(f"{x:.1e}" for x in largest)} | '
          f'{int(rows[:, 3].sum())} |')
  print(f'\nEmpty masks: {rule.total()} pairs, {rule[False]} against the rule.')
  codes = _differing_codes(surface_distance.lookup_tables, rng)
  print(f'Areas differ: {codes[0]} of 16 in 2-D, {codes[1]} of 256 in 3-D.')
  # After the loop, `differ` covers all kinds of pairs.
  if differ.any() or rule[False] or any(codes):
    sys.exit(1)


if __name__ == '__main__':
  binary.run(main)
