"""Draws pairs of masks, to compare implementations of the surface metrics."""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

_SPACINGS = (0.1, 0.5, 0.7, 1.0, 1.4, 3.0, 10.0)


class Pair(NamedTuple):
  """Two masks, bool arrays of the same shape, with a spacing and a tolerance.

  The spacing and the tolerance are in mm.
  """

  kind: str
  prediction: np.ndarray
  reference: np.ndarray
  spacing: tuple[float, ...]
  tolerance: float


def _bumps(rng, shape):
  """Returns smooth noise of about unit size.

  It is interpolated linearly between random values at every 16th voxel.
  """
  knots = rng.normal(size=[n // 16 + 2 for n in shape])
  zoom = [(n + 1) / k for n, k in zip(shape, knots.shape, strict=True)]
  return ndimage.zoom(knots, zoom, order=1)[tuple(slice(n) for n in shape)]


def blobs(
    rng: np.random.Generator, shape: tuple[int, ...], *, radius: float = 0.5
) -> tuple[np.ndarray, np.ndarray]:
  """Returns a mask of a bumpy ellipsoid, and a slightly changed copy of it.

  Args:
    rng: random number generator of the bumps.
    shape: shape of the masks.
    radius: semi-axes of the ellipsoid, as a share of half of the mask's length
      along each axis.
  """
  axes = np.meshgrid(
      *(np.linspace(-1, 1, n) for n in shape), indexing='ij', sparse=True)
  field = np.sqrt(sum(x**2 for x in axes)) + 0.08 * _bumps(rng, shape)
  return field < radius, field + 0.04 * _bumps(rng, shape) < radius


def _placed(rng, shape, size):
  """Returns a mask of a randomly placed box with sides of at most `size`."""
  mask = np.zeros(shape, bool)
  sides = [int(rng.integers(1, min(size, n) + 1)) for n in shape]
  starts = [int(rng.integers(0, n - s + 1))
            for n, s in zip(shape, sides, strict=True)]
  mask[tuple(slice(a, a + s) for a, s in zip(starts, sides, strict=True))] = 1
  return mask


def _empty(rng, shape):
  masks = [np.zeros(shape, bool), _placed(rng, shape, 4)]
  order = rng.permutation(2)
  return (masks[0],) * 2 if rng.random() < 0.3 else [masks[i] for i in order]


def _border(rng, shape):
  masks = [_placed(rng, shape, 9) for _ in range(2)]
  for mask in masks:
    mask[(slice(None),) * int(rng.integers(len(shape))) + (
        int(rng.choice([0, -1])),)] = True
  return masks


def _nested(rng, shape):
  outer = _placed(rng, shape, 12)
  return ndimage.binary_erosion(outer) | _one_voxel_of(rng, outer), outer


def _one_voxel_of(rng, mask):
  one = np.zeros_like(mask)
  one[tuple(rng.choice(np.argwhere(mask)))] = True
  return one


def _far(rng, shape):
  first, last = np.zeros(shape, bool), np.zeros(shape, bool)
  first[tuple(slice(0, max(1, n // 4)) for n in shape)] = True
  last[tuple(slice(n - max(1, n // 5), None) for n in shape)] = True
  return first, last


_KINDS = {
    'blobs': lambda rng, shape: blobs(rng, shape, radius=rng.uniform(0.3, 1.2)),
    'noise': lambda rng, shape: rng.random((2, *shape)) < rng.uniform(0.01, 1),
    'boxes': lambda rng, shape: [_placed(rng, shape, 12) for _ in range(2)],
    'touching the border': _border,
    'one voxel': lambda rng, shape: [_placed(rng, shape, 1) for _ in range(2)],
    'identical': lambda rng, shape: (_placed(rng, shape, 12),) * 2,
    'nested': _nested,
    'far apart': _far,
    'empty': _empty,
}
KINDS = tuple(_KINDS)


def random_pair(rng: np.random.Generator, *, kind: str, size: int = 48) -> Pair:
  """Draws a random pair of masks in 2-D or 3-D.

  In most pairs, the spacings of the axes differ. Half of the tolerances are a
  multiple of a spacing, so that many distances equal the tolerance exactly.

  Args:
    rng: random number generator.
    kind: one of `KINDS`; masks of blobs and noise may be empty by chance.
    size: largest length of an axis in 2-D; in 3-D, an axis has at most a third
      of this length.
  """
  ndim = int(rng.integers(2, 4))
  shape = tuple(rng.integers(1, size // (2 * ndim - 3) + 1, size=ndim).tolist())
  spacing = tuple(rng.choice(_SPACINGS, size=ndim).tolist())
  if rng.random() < 0.3:
    spacing = spacing[:1] * ndim
  tolerance = float(rng.choice(spacing) * rng.integers(0, 4))
  if rng.random() < 0.5:
    tolerance = float(rng.uniform(0, 3 * max(spacing)))
  return Pair(kind, *_KINDS[kind](rng, shape), spacing, tolerance)
