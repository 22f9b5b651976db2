"""Distances between the surfaces of two masks: HD95, ASSD and surface Dice.

The module runs on the host, in NumPy and SciPy. Import it by name, since
`import hybridseg` does not load it. Distances have the unit of `spacing`, such
as mm, or are in pixels where it is None.

An empty mask has no surface. The value reported for an empty mask decides
whether a network gains by predicting nothing. Here, missing a structure never
improves a mean over cases:
- If both masks are empty, all three metrics are nan and the case does not
  count.
- If exactly one is empty, HD95 = ASSD = `missing` and NSD = 0. The default of
  `missing` is the largest distance within the array, |(shape - 1) * spacing|,
  which no other pair of masks exceeds. A smaller number of your own can be
  comparable across image sizes, but is no longer the worst value.

Other tools differ. MONAI's distances are inf if one mask is empty and nan if
both are; its mean leaves nans out. medpy raises RuntimeError. The validation of
SSL4MIS (val_2D.py, f5b9b38) gives a missed organ HD95 = 0, the best value.
"""

import functools
import itertools
import math
from typing import NamedTuple

import numpy as np
from scipy import ndimage
from scipy import spatial

# With fewer voxels per source, a distance transform replaces the search tree.
# The tree takes about 1 us per source, the transform 0.1 us per voxel. So the
# transform is faster only on noise, where nearly every voxel belongs to the
# surface.
_VOXELS_PER_POINT = 8
# Rounding must not decide whether 3 * 0.1 is within a tolerance of 0.3.
_SLACK = 1 + 1e-9


class SurfaceScores(NamedTuple):
  """Surface metrics of one structure in one case.

  Attributes:
    hd95: 95th percentile of the surface distances, in units of the spacing.
    assd: average symmetric surface distance, in units of the spacing.
    nsd: share of the two surfaces that lies within the tolerance of the
      respective other surface, in [0, 1].
  """

  hd95: float
  assd: float
  nsd: float


class _Pair(NamedTuple):
  """Two masks, cropped to their common box, padded with background, flattened.

  The padding makes shifts of the flat arrays safe: they wrap around into
  background.

  Attributes:
    masks: the two flat masks, bool [N] each.
    any: whether each mask has a voxel.
    shape: shape of the padded box, which has N voxels.
    spacing: distance of neighbouring voxels along each axis, float64 [ndim].
    missing: distance to report if exactly one mask is empty.
  """

  masks: tuple[np.ndarray, np.ndarray]
  any: tuple[bool, bool]
  shape: tuple[int, ...]
  spacing: np.ndarray
  missing: float

  @property
  def strides(self) -> list[int]:
    """Steps in a flat mask to the next voxel along each axis."""
    return [math.prod(self.shape[i + 1:]) for i in range(len(self.shape))]


def surface_scores(
    prediction: np.ndarray,
    reference: np.ndarray,
    *,
    spacing: tuple[float, ...] | None = None,
    tolerance: float,
    missing: float | None = None,
) -> SurfaceScores:
  """Returns `hd95`, `assd` and `nsd` of one pair of masks in one pass.

  Args:
    prediction: bool [H, W] or [D, H, W].
    reference: bool, of the same shape.
    spacing: distance of neighbouring voxels along each axis; None stands for 1.
    tolerance: distance up to which surfaces agree, in units of the spacing.
    missing: hd95 and assd if exactly one mask is empty; None stands for the
      largest distance in the array.

  Raises:
    ValueError: if a mask is not bool or has neither 2 nor 3 axes, if the shapes
      differ, or if `spacing`, `tolerance` or `missing` is out of range.
  """
  _check_tolerance(tolerance)
  pair = _crop(prediction, reference, spacing, missing)
  distances = _border_distances(pair)
  return SurfaceScores(
      _percentile_95(distances), float(distances.mean()), _nsd(pair, tolerance))


def hd95(
    prediction: np.ndarray,
    reference: np.ndarray,
    *,
    spacing: tuple[float, ...] | None = None,
    missing: float | None = None,
) -> float:
  """Returns the 95th percentile of the distances between two borders.

  A border voxel belongs to the mask and has a face neighbour that does not;
  outside of the array there is background. The distances from every border
  voxel of either mask to the nearest one of the other mask are pooled, and
  their percentile is interpolated linearly, as in `medpy.metric.binary.hd95`.
  MONAI takes the larger of two directed percentiles instead, and
  surface-distance weights the distances by surface area.

  Arguments and errors are those of `surface_scores`.
  """
  pair = _crop(prediction, reference, spacing, missing)
  return _percentile_95(_border_distances(pair))


def assd(
    prediction: np.ndarray,
    reference: np.ndarray,
    *,
    spacing: tuple[float, ...] | None = None,
    missing: float | None = None,
) -> float:
  """Returns the mean of the distances between two borders, see `hd95`.

  The distances of both masks are pooled, so that the larger surface counts
  more, as in `medpy.metric.binary.assd` of medpy 0.5.2. Older versions of medpy
  took the mean of the two directed means, which others call MASD.

  Arguments and errors are those of `surface_scores`.
  """
  pair = _crop(prediction, reference, spacing, missing)
  return float(_border_distances(pair).mean())


def nsd(
    prediction: np.ndarray,
    reference: np.ndarray,
    *,
    tolerance: float,
    spacing: tuple[float, ...] | None = None,
) -> float:
  """Returns the normalised surface distance, or surface Dice at a tolerance.

  NSD = (area of both surfaces within `tolerance` of the other surface) / (area
  of both surfaces), as defined by Nikolov et al., 2018
  (https://arxiv.org/abs/1809.04430) and their package surface-distance. A
  surface runs between voxels: it has an element in every block of 2x2(x2)
  voxels that is neither full nor empty. The area of an element is that of the
  marching-cubes polygons. Its distance is measured from its centre to the
  nearest centre of an element of the other surface. Deviation: a distance that
  exceeds the tolerance by a part in 1e9 or less still counts as within it, so
  that rounding does not decide.

  Arguments and errors are those of `surface_scores`.
  """
  _check_tolerance(tolerance)
  return _nsd(_crop(prediction, reference, spacing, None), tolerance)


def _check_tolerance(tolerance):
  if not 0 <= tolerance < np.inf:
    raise ValueError(f'tolerance must be 0 or more and finite, is {tolerance}.')


def _crop(prediction, reference, spacing, missing):
  """Checks the arguments and returns them as a `_Pair`."""
  masks = [np.asarray(prediction), np.asarray(reference)]
  shape = masks[0].shape
  if shape != masks[1].shape:
    raise ValueError(
        f'prediction has shape {shape}, reference {masks[1].shape}.')
  if len(shape) not in (2, 3):
    raise ValueError(f'masks must have 2 or 3 axes, have shape {shape}.')
  if any(mask.dtype != bool for mask in masks):
    raise ValueError(
        f'masks must be bool, are {masks[0].dtype} and {masks[1].dtype}: '
        'compare with one class first (labels == 1).')
  spacing = np.asarray((1,) * len(shape) if spacing is None else spacing, float)
  if spacing.shape != (len(shape),) or not np.all(
      (spacing > 0) & np.isfinite(spacing)):
    raise ValueError(
        f'spacing must be {len(shape)} positive numbers, is {spacing}.')
  if missing is None:
    missing = np.linalg.norm((np.array(shape) - 1) * spacing)
  elif not missing >= 0:
    raise ValueError(f'missing must be 0 or more, is {missing}.')
  box = _box(masks[0] | masks[1])
  padded = [_padded(mask[box]) for mask in masks]
  flat = tuple(mask.ravel() for mask in padded)
  return _Pair(
      flat, tuple(bool(mask.any()) for mask in flat), padded[0].shape, spacing,
      missing)


def _box(mask):
  """Returns the slices of the smallest box that holds all voxels of a mask."""
  box = ()
  for axis in range(mask.ndim):
    rest = tuple(i for i in range(mask.ndim) if i != axis)
    hits = np.flatnonzero(mask.any(axis=rest))
    side = slice(hits[0], hits[-1] + 1) if hits.size else slice(0, 0)
    box += (side,)
    # Crop now, so that the search along the next axis is shorter.
    mask = mask[(slice(None),) * axis + (side,)]
  return box


def _padded(mask):
  padded = np.zeros([n + 2 for n in mask.shape], bool)
  padded[(slice(1, -1),) * mask.ndim] = mask
  return padded


def _border(mask, pair):
  """Returns the voxels of a flat mask with a face neighbour outside of it."""
  inner = mask.copy()
  for stride in pair.strides:
    inner[stride:] &= mask[:-stride]
    inner[:-stride] &= mask[stride:]
  return mask ^ inner


def _distances(sources, targets, pair, *, bound=np.inf):
  """Returns the distance from each source to the nearest target.

  Args:
    sources: mask of the source voxels, flattened, bool [N].
    targets: mask of the target voxels, flattened, bool [N].
    pair: defines the shape, the spacing and the number of voxels.
    bound: distances beyond this one may be returned as inf.

  Returns:
    Flat indices of the M sources that are not targets themselves, int [M], and
    their distances, float [M].
  """
  found = np.flatnonzero(sources > targets)
  if pair.masks[0].size < _VOXELS_PER_POINT * found.size:
    distances = ndimage.distance_transform_edt(
        ~targets.reshape(pair.shape), sampling=pair.spacing)
    return found, distances.ravel()[found]
  points = lambda flat: pair.spacing * np.stack(
      np.unravel_index(flat, pair.shape), axis=-1)
  # For points on a grid, a balanced tree with tight boxes costs more than it
  # saves.
  tree = spatial.cKDTree(
      points(np.flatnonzero(targets)), leafsize=32, compact_nodes=False,
      balanced_tree=False)
  return found, tree.query(points(found), distance_upper_bound=bound)[0]


def _border_distances(pair):
  """Returns the distances between two borders that `hd95` pools, float [M]."""
  if not all(pair.any):
    return np.array([pair.missing if any(pair.any) else np.nan])
  a, b = (_border(mask, pair) for mask in pair.masks)
  return np.concatenate([
      _distances(a, b, pair)[1],
      _distances(b, a, pair)[1],
      np.zeros(2 * np.count_nonzero(a & b)),
  ])


def _percentile_95(distances):
  return float(np.percentile(distances, 95))


def _nsd(pair, tolerance):
  if not all(pair.any):
    return 0.0 if any(pair.any) else float('nan')
  areas = _element_areas(pair.spacing)
  codes = [_codes(mask, pair) for mask in pair.masks]
  a, b = surfaces = [(code > 0) & (code < len(areas) - 1) for code in codes]
  far = total = 0.0
  bound = tolerance * _SLACK
  for code, surface, other in zip(codes, surfaces, (b, a), strict=True):
    found, distances = _distances(surface, other, pair, bound=bound * _SLACK)
    far += areas[code[found[distances > bound]]].sum()
    total += areas[code[surface]].sum()
  return float(1 - far / total)


def _codes(mask, pair):
  """Encodes the 2x2(x2) block that starts at each voxel as bits, uint8 [N]."""
  codes = np.zeros(mask.shape, np.uint8)
  bits = mask.view(np.uint8)
  for n, stride in enumerate(reversed(pair.strides)):
    bits = (bits[:-stride] << 2**n) + bits[stride:]
  codes[:bits.size] = bits
  return codes


def _element_areas(spacing):
  """Returns the surface area (2-D: length) in a block, for each block code."""
  sides = np.prod(spacing) / spacing
  return np.linalg.norm(_elements(len(spacing)) * sides, axis=-1).sum(axis=-1)


@functools.cache
def _elements(ndim):
  """Derives the surface in a block of voxels, for each code of `_codes`.

  The voxels are the corners of a cube (2-D: a square). The surface cuts every
  edge between an inside and an outside corner at its middle. On each face, the
  cuts are joined such that the corners of the rarer kind (inside or outside)
  are separated from each other. The resulting segments form closed polygons,
  which `_triangles` splits.

  Returns:
    Absolute normals of the triangles (2-D: segments) of each code, float64
    [2 ** 2 ** ndim, 4, ndim]. The length of a normal is the area at unit
    spacing; unused rows are 0.
  """
  # Corner n belongs to bit n of a code.
  corners = list(itertools.product((1, 0), repeat=ndim))
  elements = np.zeros((2**len(corners), 4, ndim))
  for code in range(1, len(elements) - 1):
    inside = {c for n, c in enumerate(corners) if code >> n & 1}
    if len(inside) > len(corners) / 2:
      inside = set(corners) - inside
    following = {}
    for walk in _walks(ndim):
      following |= _segments(walk, inside)
    if ndim == 2:
      normals = [np.abs(np.subtract(*cuts))[::-1] / 2
                 for cuts in following.items()]
    else:
      normals = [n for loop in _loops(following) for n in _triangles(loop)]
    elements[code, :len(normals)] = normals
  return elements


def _walks(ndim):
  """Returns the corners of each face, in the same order seen from outside."""
  square = ((0, 0), (1, 0), (1, 1), (0, 1))
  if ndim == 2:
    return [square]
  return [
      [tuple(np.roll((side, *corner), axis)) for corner in square[::sense]]
      for axis in range(3) for side, sense in ((0, -1), (1, 1))]


def _segments(walk, inside):
  """Maps each cut at which a walk enters `inside` to the cut where it leaves.

  A walk visits the corners of one face in order. A cut is stored as the sum of
  the two corners of an edge, which is twice the middle of the edge.
  """
  segments = {}
  cut = lambda i, j: tuple(np.add(walk[i % 4], walk[j % 4]).tolist())
  for i in range(4):
    if walk[i - 1] not in inside and walk[i] in inside:
      j = i
      while walk[(j + 1) % 4] in inside:
        j += 1
      segments[cut(i - 1, i)] = cut(j, j + 1)
  return segments


def _loops(following):
  """Yields the cycles of a permutation; empties the dict that stores it."""
  while following:
    cut, after = following.popitem()
    loop = [cut]
    while after != cut:
      loop.append(after)
      after = following.pop(after)
    yield loop


def _triangles(loop):
  """Splits a polygon into the triangles with the largest total area.

  A polygon of five or six cuts is not flat, and its area depends on how it is
  split. The largest area at unit spacing agrees with surface-distance.
  """
  if len(loop) < 3:
    return []
  first, last = np.array(loop[0]), np.array(loop[-1])
  options = []
  for k in range(1, len(loop) - 1):
    normal = np.abs(np.cross(loop[k] - first, last - first)) / 8
    options.append(
        [normal, *_triangles(loop[:k + 1]), *_triangles(loop[k:])])
  return max(options, key=lambda n: np.linalg.norm(n, axis=-1).sum())
