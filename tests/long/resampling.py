r"""Compares resampling with nnU-Net's and with SimpleITK's on random volumes.

Needs packages that the project does not use otherwise; a throw-away
environment is enough:

  python -m venv /tmp/compare
  /tmp/compare/bin/pip install nnunetv2==2.8.1 SimpleITK==2.5.7 nibabel
  /tmp/compare/bin/python -m tests.long.resampling

Prints one line per comparison: the largest difference of an image as a share of
its range, and how many voxels of a label differ and why. The results are in
experiments/results/volumes.md.
"""

import sys

from data_prep.volumes import planning
from data_prep.volumes import resampling
import numpy as np
from scipy import ndimage

_CASES = 50
_TIE = 1e-5


def _random_case(rng):
  """Returns a smooth image, its labels, and old and new spacings."""
  shape = tuple(rng.integers(5, 28, 3))
  image = ndimage.gaussian_filter(rng.normal(size=shape), 1)
  image = (image / image.std()).astype(np.float32)
  labels = np.digitize(
      ndimage.gaussian_filter(rng.normal(size=shape), 1.5),
      [-0.03, 0.03, 0.06]).astype(np.uint8)
  spacings = rng.choice([0.5, 0.7, 1, 1.25, 2, 3, 5, 8], (2, 3))
  if rng.random() < 0.4:  # Many real sets are isotropic.
    spacings[:] = spacings[:, :1]
  return image, labels, *map(tuple, spacings)


def _shares(labels, shape, coarse):
  """Returns the linear share of each class, float64 [*shape, K]."""
  return np.stack([resampling.resample_image(
      (labels == k).astype(np.float32), shape, order=1, coarse=coarse)
                   for k in range(labels.max() + 1)], -1)


def _tied(shares):
  """Returns where the two largest shares of classes are equal."""
  top = np.sort(shares, -1)[..., -2:]
  return top[..., 1] - top[..., 0] < _TIE if shares.shape[-1] > 1 else (
      np.zeros(shares.shape[:-1], bool))


def _clip_slices(array, image, axis):
  """Clips each slice of a result to the range of its old slice."""
  others = tuple(i for i in range(3) if i != axis)
  index = resampling.nearest_index(image.shape[axis], array.shape[axis])
  low, high = (np.take(f(axis=others, keepdims=True), index, axis)
               for f in (image.min, image.max))
  return np.clip(array, low, high)


def _compare_nnunet(cases):
  from nnunetv2.preprocessing.resampling import default_resampling
  worst = apart_worst = sliced_worst = clipped = differ = tied = 0
  apart = total = 0
  for image, labels, old, new in cases:
    shape = resampling.new_shape(image.shape, old, new)
    assert shape == tuple(default_resampling.compute_new_shape(
        image.shape, old, new)), shape
    coarse = resampling.coarse_axis(old, new)
    run = lambda array, **more: (  # Runs at once.
        default_resampling.resample_data_or_seg_to_shape(
            array[None], shape, old, new, order_z=0,  # noqa: B023
            force_separate_z=None, **more)[0])
    theirs = run(image.astype(np.float64), is_seg=False, order=3)
    ours = resampling.resample_image(
        image, shape, coarse=coarse, limits=(image.min(), image.max()))
    gap = np.abs(ours - theirs) / np.ptp(image)
    if coarse is None:
      worst = max(worst, gap.max())
    else:
      apart_worst = max(apart_worst, gap.max())
      again = _clip_slices(ours, image, coarse)
      sliced_worst = max(
          sliced_worst, (np.abs(again - theirs) / np.ptp(image)).max())
      clipped += (gap > 1e-5).sum()
      apart += gap.size
    theirs = run(labels, is_seg=True, order=1)
    ours = resampling.resample_labels(labels, shape, coarse=coarse)
    unequal = ours != theirs
    differ += unequal.sum()
    tied += (unequal & _tied(_shares(labels, shape, coarse))).sum()
    total += ours.size
  print(f'nnU-Net, image, no axis apart: largest difference {worst:.1e}')
  print(f'nnU-Net, image, an axis apart: largest difference {apart_worst:.1e}, '
        f'{clipped} of {apart} voxels differ by more than 1e-5; with each '
        f'slice clipped to its own range, {sliced_worst:.1e}')
  print(f'nnU-Net, labels: {differ} of {total} voxels differ, {tied} of them '
        'at equal shares')


def _itk(image, shape, old, new, interpolator):
  """Resamples with SimpleITK to a grid that fills the same box."""
  import SimpleITK as sitk
  source = sitk.GetImageFromArray(np.transpose(image))
  source.SetSpacing([float(v) for v in old])
  new = [n * a / m for n, a, m in zip(image.shape, old, shape, strict=True)]
  origin = [b / 2 - a / 2 for a, b in zip(old, new, strict=True)]
  found = sitk.Resample(
      source, [int(n) for n in shape], sitk.Transform(),
      getattr(sitk, interpolator), origin, new, source.GetDirection(), 0.0,
      source.GetPixelID(), True)  # Extrapolates by the nearest voxel.
  return np.transpose(sitk.GetArrayFromImage(found))


def _compare_itk(cases):
  linear = cubic = inner = 0
  counts = dict.fromkeys(('nearest', 'labels'), (0, 0, 0))
  for image, labels, old, new in cases:
    shape = resampling.new_shape(image.shape, old, new)
    span = np.ptp(image)
    gap = np.abs(_itk(image, shape, old, new, 'sitkLinear')
                 - resampling.resample_image(image, shape, order=1)) / span
    linear = max(linear, gap.max())
    gap = np.abs(_itk(image, shape, old, new, 'sitkBSpline')
                 - resampling.resample_image(image, shape)) / span
    cubic = max(cubic, gap.max())
    at = [(np.arange(m) + 0.5) * n / m - 0.5 for n, m in zip(
        image.shape, shape, strict=True)]
    inside = [(8 <= a) & (a <= n - 9) for a, n in zip(
        at, image.shape, strict=True)]
    inner = max(inner, gap[np.ix_(*inside)].max(initial=0))
    share = _shares(labels, shape, None)
    borders = np.zeros(shape, bool)  # Centres on the border of two voxels.
    for axis, a in enumerate(at):
      is_border = np.abs(a % 1 - 0.5) < 1e-6
      borders |= is_border.reshape([-1 if i == axis else 1 for i in range(3)])
    for name, interpolator, order, ties in (
        ('nearest', 'sitkNearestNeighbor', 0, borders),
        ('labels', 'sitkLabelLinear', 1, _tied(share))):
      theirs = _itk(labels, shape, old, new, interpolator)
      ours = resampling.resample_labels(labels, shape) if order else (
          resampling.resample_image(labels, shape, order=0).astype(np.uint8))
      unequal = ours != theirs
      counts[name] = tuple(np.add(counts[name], (
          unequal.sum(), (unequal & ties).sum(), unequal.size)))
  print(f'SimpleITK, linear: largest difference {linear:.1e}')
  print(f'SimpleITK, cubic: largest difference {cubic:.1e}; {inner:.1e} at 8 '
        'or more voxels from the border')
  for name, (differ, tied, total) in counts.items():
    print(f'SimpleITK, {name}: {differ} of {total} voxels differ, {tied} of '
          'them at ties')


def _compare_levels(rng):
  from nnunetv2.experiment_planning.experiment_planners import network_topology
  differ = 0
  for _ in range(1000):
    size, spacing = rng.integers(1, 300, 3).tolist(), rng.uniform(0.3, 8, 3)
    _, strides, kernels, patch, _ = network_topology.get_pool_and_conv_props(
        spacing, size, 4, 999999)
    differ += planning.find_levels(size, spacing) != (
        tuple(map(tuple, strides[1:])), tuple(map(tuple, kernels)),
        tuple(map(int, patch)))
  print(f'nnU-Net, strides, kernels and size of the patch: {differ} of 1000 '
        'differ')


def main() -> int:
  rng = np.random.default_rng(0)
  cases = [_random_case(rng) for _ in range(_CASES)]
  apart = sum(resampling.coarse_axis(*case[2:]) is not None for case in cases)
  print(f'{_CASES} cases, {apart} of them with an axis apart')
  _compare_nnunet(cases)
  _compare_itk(cases)
  _compare_levels(rng)
  return 0


if __name__ == '__main__':
  sys.exit(main())
