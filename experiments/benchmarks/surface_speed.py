r"""Compares the speed of our surface metrics with two other packages.

pip install medpy surface-distance
python -m experiments.benchmarks.surface_speed --rounds=5

All tools score the same pairs of masks and take turns in one process. Most
pairs are blobs: an ellipsoid with bumps, and the same one with a few more
bumps. Prints medians of CPU time, which other work on the machine disturbs
least. Our `surface_scores` computes HD95, ASSD and NSD at once. It is compared
with medpy alone, which computes HD95 and ASSD, and with medpy and
surface-distance together; the latter computes NSD at a tolerance of 2 mm.
"""

import time

from absl import flags
from hybridseg import surface_metrics
import numpy as np

from experiments import binary
from experiments.benchmarks import mask_pairs

_ROUNDS = flags.DEFINE_integer('rounds', 5, 'Of each tool.', lower_bound=1)
_SEED = flags.DEFINE_integer('seed', 0, 'Of the bumps.')

_TOLERANCE_MM = 2.0
_MASKS = {
    'blobs': mask_pairs.blobs,
    # The next two are the worst cases for a search tree. In noise, nearly all
    # voxels are on the surface; in the other pair, all distances are long.
    'noise': lambda rng, shape: rng.random((2, *shape)) < 0.5,
    'far inside': lambda rng, shape: [
        mask_pairs.blobs(rng, shape, radius=radius)[0] for radius in (0.3, 0.9)
    ],
}
_CASES = (
    ('blobs', (256, 256), (1.0, 1.0)),
    ('blobs', (512, 512), (1.0, 1.0)),
    ('blobs', (10, 256, 216), (10.0, 1.4, 1.4)),
    ('blobs', (160, 256, 256), (1.0, 1.0, 1.0)),
    ('noise', (256, 256), (1.0, 1.0)),
    ('noise', (64, 64, 64), (1.0, 1.0, 1.0)),
    ('far inside', (128, 128, 128), (1.0, 1.0, 1.0)),
)


def _tools(masks, spacing):
  """Returns functions that score one pair: ours, medpy and surface-distance."""
  medpy, surface_distance = mask_pairs.packages()
  return (
      lambda: surface_metrics.surface_scores(
          *masks, spacing=spacing, tolerance=_TOLERANCE_MM),
      lambda: (medpy.hd95(*masks, spacing), medpy.assd(*masks, spacing)),
      lambda: surface_distance.compute_surface_dice_at_tolerance(
          surface_distance.compute_surface_distances(*masks, spacing),
          _TOLERANCE_MM),
  )


def _time_ms(fn):
  start = time.process_time()
  fn()
  return 1e3 * (time.process_time() - start)


def main():
  mask_pairs.packages()  # Raises an error now if a package is missing.
  rng = np.random.default_rng(_SEED.value)
  print('| masks | array | spacing, mm | ours, all three, ms '
        '| medpy, HD95 + ASSD, ms | ratio | surface-distance, NSD, ms '
        '| ratio of both together |\n|---|---|---|---|---|---|---|---|')
  for kind, shape, spacing in _CASES:
    tools = _tools(_MASKS[kind](rng, shape), spacing)
    # The first call in a process also computes the areas of surface elements.
    # Its time must not count.
    tools[0]()
    times = [[_time_ms(tool) for tool in tools] for _ in range(_ROUNDS.value)]
    ours, medpy, theirs = np.median(times, axis=0)
    print(
        f'| {kind} | {" x ".join(map(str, shape))} | '
        f'{" x ".join(map(str, spacing))} | {ours:.2f} | {medpy:.1f} | '
        f'**{medpy / ours:.1f}** | {theirs:.1f} | '
        f'{(medpy + theirs) / ours:.1f} |', flush=True)


if __name__ == '__main__':
  binary.run(main)
