r"""Compares the speed of our surface metrics with that of other packages.

Needs packages that the project does not use otherwise; a throw-away
environment is enough:

  python -m venv /tmp/compare
  /tmp/compare/bin/pip install scipy medpy surface-distance monai edt
  /tmp/compare/bin/python -m tests.long.surface_speed

All tools score the same pairs of masks and take turns in one process. Most
pairs are blobs: an ellipsoid with bumps, and the same one with a few more
bumps. Each tool computes HD95, ASSD and NSD at a tolerance of 2 mm if it has
them; the table says what each leaves out. Two recipes stand for what people
write themselves: borders by erosion and one distance transform per mask, of
scipy or of edt, on the whole array. Prints medians of wall time. MONAI and edt
use two threads; the others, and ours, use one. The results are in
experiments/results/surface_metrics.md.
"""

import time

import edt
from hybridseg import surface_metrics
from medpy.metric import binary as medpy
from monai import metrics as monai
import numpy as np
from scipy import ndimage
import surface_distance
import torch

from tests import mask_pairs

_ROUNDS = 5
_THREADS = 2
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
_NAMES = ('ours', 'medpy (HD95, ASSD)', 'surface-distance', 'MONAI',
          'scipy (HD95, ASSD)', 'edt (HD95, ASSD)')


def _by_transform(transform):
  """Returns a function that computes HD95 and ASSD by distance transforms."""
  def score(masks, spacing):
    borders = [mask & ~ndimage.binary_erosion(mask) for mask in masks]
    a, b = borders
    distances = np.concatenate([
        transform(~b, spacing)[a], transform(~a, spacing)[b]])
    return np.percentile(distances, 95), distances.mean()
  return score


def _tools(masks, spacing):
  """Returns functions that score one pair, in the order of `_NAMES`."""
  # MONAI expects a batch of one-hot masks; include_background=True scores them.
  tensors = [torch.from_numpy(mask)[None, None].float() for mask in masks]
  prediction, reference = tensors
  options = {'spacing': list(spacing), 'include_background': True}

  def surface_distance_package():
    distances = surface_distance.compute_surface_distances(*masks, spacing)
    return (
        surface_distance.compute_robust_hausdorff(distances, 95),
        surface_distance.compute_average_surface_distance(distances),
        surface_distance.compute_surface_dice_at_tolerance(
            distances, _TOLERANCE_MM))

  def monai_package():
    return (
        monai.compute_hausdorff_distance(
            prediction, reference, percentile=95, **options),
        monai.compute_average_surface_distance(
            prediction, reference, symmetric=True, **options),
        monai.compute_surface_dice(
            prediction, reference, class_thresholds=[_TOLERANCE_MM],
            use_subvoxels=True, **options))

  def scipy_transform(mask, spacing):
    return ndimage.distance_transform_edt(mask, sampling=spacing)

  def edt_transform(mask, spacing):
    return edt.edt(mask, anisotropy=spacing, parallel=_THREADS)

  return (
      lambda: surface_metrics.surface_scores(
          *masks, spacing=spacing, tolerance=_TOLERANCE_MM),
      lambda: (medpy.hd95(*masks, spacing), medpy.assd(*masks, spacing)),
      surface_distance_package,
      monai_package,
      lambda: _by_transform(scipy_transform)(masks, spacing),
      lambda: _by_transform(edt_transform)(masks, spacing),
  )


def _time_ms(fn):
  start = time.perf_counter()
  fn()
  return 1e3 * (time.perf_counter() - start)


def main():
  torch.set_num_threads(_THREADS)
  rng = np.random.default_rng(0)
  print(f'| masks | array | spacing, mm | {", ms | ".join(_NAMES)}, ms '
        '| the next fastest / ours |\n' + '|---' * (len(_NAMES) + 4) + '|')
  for kind, shape, spacing in _CASES:
    tools = _tools(_MASKS[kind](rng, shape), spacing)
    # The first call in a process also computes the areas of surface elements.
    # Its time must not count.
    for tool in tools:
      tool()
    times = [[_time_ms(tool) for tool in tools] for _ in range(_ROUNDS)]
    medians = np.median(times, axis=0)
    print(
        f'| {kind} | {" x ".join(map(str, shape))} | '
        f'{" x ".join(map(str, spacing))} | '
        + ' | '.join(f'{ms:.1f}' for ms in medians)
        + f' | **{medians[1:].min() / medians[0]:.1f}** |', flush=True)


if __name__ == '__main__':
  main()
