"""Tests for hybridseg.surface_metrics."""

import itertools
import math

from absl.testing import absltest
from absl.testing import parameterized
from hybridseg import surface_metrics
import numpy as np

from tests import mask_pairs

_NUM_PAIRS = 40  # Per kind of masks.


def _line(length, *, start=0):
  """Returns a mask of 3 x 16 pixels with a horizontal line of `length` pixels.
  """
  mask = np.zeros((3, 16), bool)
  mask[1, start:start + length] = True
  return mask


def _border(mask):
  """Returns the border voxels, int [N, ndim], found by a loop over voxels."""
  voxels = set(map(tuple, np.argwhere(mask).tolist()))
  steps = [s * np.eye(mask.ndim, dtype=int)[i]
           for i in range(mask.ndim) for s in (-1, 1)]
  return np.array([
      v for v in voxels
      if any(tuple((v + step).tolist()) not in voxels for step in steps)])


def _to_nearest(points, others, spacing):
  offsets = (points[:, None] - others[None]) * np.asarray(spacing)
  return np.sqrt(np.sum(offsets**2, axis=-1)).min(axis=1)


def _by_brute_force(pair):
  """Returns HD95 and ASSD from all pairs of border voxels."""
  a, b = _border(pair.prediction), _border(pair.reference)
  distances = np.concatenate(
      [_to_nearest(a, b, pair.spacing), _to_nearest(b, a, pair.spacing)])
  return np.percentile(distances, 95), distances.mean()


def _cells(mask):
  """Yields the cells of 2 x 2 (x 2) voxels through which a surface runs.

  Each item is a pair: the cell's first corner, and its voxels of the mask.
  """
  padded = np.pad(mask, 1)
  for corner in itertools.product(*(range(n - 1) for n in padded.shape)):
    voxels = padded[tuple(slice(i, i + 2) for i in corner)]
    if voxels.any() and not voxels.all():
      yield corner, voxels


def _contour_length(voxels, spacing):
  """Returns the length of the contour in a cell of 2 x 2 pixels."""
  if voxels.sum() == 2 and not (voxels == voxels[::-1, ::-1]).all():
    along = 1 if voxels[0, 0] == voxels[0, 1] else 0
    return spacing[along]
  diagonals = 2 if voxels.sum() == 2 else 1
  return diagonals * math.hypot(*spacing) / 2


def _nsd_by_brute_force(pair):
  """Returns NSD of a 2-D pair from all pairs of contour elements."""
  elements = []
  for mask in (pair.prediction, pair.reference):
    corners, cells = zip(*_cells(mask), strict=True)
    elements.append((np.array(corners), np.array(
        [_contour_length(voxels, pair.spacing) for voxels in cells])))
  near = total = 0
  for (corners, lengths), (others, _) in itertools.permutations(elements):
    distances = _to_nearest(corners, others, pair.spacing)
    near += lengths[distances <= pair.tolerance * (1 + 1e-9)].sum()
    total += lengths.sum()
  return near / total


def _pairs(kind, num_pairs=_NUM_PAIRS):
  """Yields random pairs in which both masks have a voxel."""
  rng = np.random.default_rng(mask_pairs.KINDS.index(kind))
  for _ in range(num_pairs):
    pair = mask_pairs.random_pair(rng, kind=kind, size=24)
    if pair.prediction.any() and pair.reference.any():
      yield pair


def _scores(pair, **changes):
  pair = pair._replace(**changes)
  return surface_metrics.surface_scores(
      pair.prediction, pair.reference, spacing=pair.spacing,
      tolerance=pair.tolerance)


class GoldenTest(parameterized.TestCase):

  @parameterized.parameters((None, 5.0), ((1, 1), 5.0), ((2, 0.5), 40**0.5))
  def test_two_pixels(self, spacing, distance):
    a, b = np.zeros((2, 6, 6), bool)
    a[0, 0] = b[3, 4] = True
    scores = surface_metrics.surface_scores(
        a, b, spacing=spacing, tolerance=distance - 0.1)
    self.assertAlmostEqual(scores.hd95, distance)
    self.assertAlmostEqual(scores.assd, distance)
    # The contour of a pixel has four corners. Three of them are within the
    # tolerance of the other pixel's contour.
    self.assertAlmostEqual(scores.nsd, 0.75)

  def test_all_distances_are_pooled(self):
    # The distances from the longer line are 0 (seven times), 1, 2 and 3; those
    # from the shorter line are 0 (seven times). In these 17 distances, the rank
    # 0.95 * 16 = 15.2 lies between 2 and 3. Distances that are not pooled would
    # give other results: the larger of two directed percentiles, as in MONAI,
    # is 2.55, and the mean of the two directed means is 0.3.
    a, b = _line(10), _line(7)
    self.assertAlmostEqual(surface_metrics.hd95(a, b), 2.2)
    self.assertAlmostEqual(surface_metrics.assd(a, b), 6 / 17)
    self.assertAlmostEqual(surface_metrics.hd95(a, b, spacing=(9, 0.5)), 1.1)

  @parameterized.parameters(
      # The contours have 9 and 6 elements of length 1 both above and below, and
      # 4 corners of length sqrt(1/2) each. Columns 8, 9 and 10 are at distances
      # 1, 2 and 3 from the shorter line.
      (0, 4 + 2**0.5), (0.99, 4 + 2**0.5), (1, 2 + 2**0.5), (2, 2**0.5), (3, 0))
  def test_nsd_in_2d(self, tolerance, far):
    value = surface_metrics.nsd(_line(10), _line(7), tolerance=tolerance)
    self.assertAlmostEqual(value, 1 - far / (30 + 4 * 2**0.5))

  def test_nsd_in_2d_with_spacing(self):
    # The elements above and below are 0.5 long. A corner has half the length of
    # a voxel's diagonal.
    corner = math.hypot(2, 0.5) / 2
    value = surface_metrics.nsd(
        _line(10), _line(7), tolerance=1, spacing=(2, 0.5))
    self.assertAlmostEqual(value, 1 - 2 * corner / (15 + 8 * corner))

  @parameterized.parameters(((1, 1, 1),), ((3, 0.7, 1.4),))
  def test_nsd_in_3d(self, spacing):
    # The surface of one voxel is an octahedron of 8 corner elements. That of
    # two voxels has 8 corner elements with 4 rectangles in between; 4 of its
    # corner elements are not part of the octahedron.
    one, two = np.zeros((2, 3, 3, 3), bool)
    one[1, 1, 1] = two[1, 1, 1:] = True
    x, y, z = spacing
    corner = math.hypot(y * z, x * z, x * y) / 8
    rectangle = z * math.hypot(x, y) / 2
    value = surface_metrics.nsd(one, two, tolerance=0, spacing=spacing)
    self.assertAlmostEqual(
        value, 1 - 4 * corner / (16 * corner + 4 * rectangle))

  @parameterized.named_parameters(
      ('corner', '000', 3**0.5 / 8),  # A triangle of edges sqrt(1/2).
      ('edge', '000 001', 2**0.5 / 2),  # The surface is a rectangle.
      ('face', '000 001 010 011', 1),
      ('opposite', '000 111', 3**0.5 / 4),
      ('diagonal_of_a_face', '000 011', 3**0.5 / 4),  # Two triangles.
      # A right triangle of legs 1, and a trapezoid of three such triangles.
      ('bend', '000 001 010', 1 / 2 + 3 * 3**0.5 / 8),
      ('all_but_a_bend', '111 110 101 100 011', 1 / 2 + 3 * 3**0.5 / 8),
      ('claw', '000 001 010 100', 3 * 3**0.5 / 4),  # A hexagon.
      ('chain', '000 001 011 111', 2**0.5 / 2 + 3**0.5 / 2),
  )
  def test_area_within_a_cell(self, corners, area):
    order = list(itertools.product('10', repeat=3))
    code = sum(1 << order.index(tuple(corner)) for corner in corners.split())
    areas = surface_metrics._element_areas(np.ones(3))
    self.assertAlmostEqual(areas[code], area)

  def test_rounding_decides_nothing(self):
    self.assertGreater(3 * 0.1, 0.3)
    value = surface_metrics.nsd(
        _line(10), _line(7), tolerance=0.3, spacing=(0.1, 0.1))
    self.assertEqual(value, 1)


class RandomTest(parameterized.TestCase):

  @parameterized.parameters(*(k for k in mask_pairs.KINDS if k != 'empty'))
  def test_distances_equal_brute_force(self, kind):
    for pair in _pairs(kind):
      scores = _scores(pair)
      np.testing.assert_allclose(
          (scores.hd95, scores.assd), _by_brute_force(pair), rtol=1e-9)

  @parameterized.parameters('blobs', 'noise', 'touching the border')
  def test_nsd_equals_brute_force(self, kind):
    found = 0
    for pair in _pairs(kind):
      if pair.prediction.ndim == 2:
        found += 1
        self.assertAlmostEqual(_scores(pair).nsd, _nsd_by_brute_force(pair))
    self.assertGreater(found, 5)

  @parameterized.parameters(*(k for k in mask_pairs.KINDS if k != 'empty'))
  def test_symmetries(self, kind):
    for pair in _pairs(kind, 15):
      scores, masks = _scores(pair), (pair.prediction, pair.reference)
      swapped = pair._replace(
          prediction=pair.reference, reference=pair.prediction)
      flipped = pair._replace(
          prediction=np.flip(masks[0]), reference=np.flip(masks[1]))
      turned = pair._replace(
          prediction=masks[0].T, reference=masks[1].T,
          spacing=pair.spacing[::-1])
      padded = pair._replace(
          prediction=np.pad(masks[0], 3), reference=np.pad(masks[1], 3))
      for other in (swapped, flipped, turned, padded):
        np.testing.assert_allclose(
            _scores(other), scores, rtol=1e-9, atol=1e-12)

  @parameterized.parameters('blobs', 'noise')
  def test_spacing_is_the_unit(self, kind):
    for pair in _pairs(kind, 15):
      hd95, assd, nsd = _scores(pair)
      scaled = _scores(
          pair, spacing=tuple(0.3 * s for s in pair.spacing),
          tolerance=0.3 * pair.tolerance)
      np.testing.assert_allclose(
          scaled, (0.3 * hd95, 0.3 * assd, nsd), rtol=1e-9, atol=1e-12)

  def test_both_ways_to_the_nearest_agree(self):
    for pair in _pairs('blobs'):
      scores = _scores(pair)
      # Force the search tree first, and then the distance transform.
      for limit in (0, math.inf):
        with absltest.mock.patch.object(
            surface_metrics, '_VOXELS_PER_POINT', limit):
          np.testing.assert_allclose(
              _scores(pair), scores, rtol=1e-9, atol=1e-12)

  def test_one_metric_is_the_same(self):
    for pair in _pairs('boxes'):
      masks = pair.prediction, pair.reference
      self.assertEqual(
          _scores(pair),
          (surface_metrics.hd95(*masks, spacing=pair.spacing),
           surface_metrics.assd(*masks, spacing=pair.spacing),
           surface_metrics.nsd(
               *masks, spacing=pair.spacing, tolerance=pair.tolerance)))

  def test_identical_masks_are_perfect(self):
    for pair in _pairs('identical'):
      self.assertEqual(_scores(pair, tolerance=0.0), (0, 0, 1))


class EmptyMaskTest(parameterized.TestCase):

  @parameterized.parameters(((4, 5),), ((2, 4, 5),), ((0, 5),))
  def test_both_empty_do_not_count(self, shape):
    empty = np.zeros(shape, bool)
    scores = surface_metrics.surface_scores(empty, empty, tolerance=1)
    np.testing.assert_array_equal(scores, [np.nan] * 3)

  @parameterized.parameters((None, 26**0.5), (7.5, 7.5))
  def test_one_empty_is_the_worst(self, missing, expected):
    one, empty = np.ones((2, 6), bool), np.zeros((2, 6), bool)
    for masks in ((one, empty), (empty, one)):
      scores = surface_metrics.surface_scores(
          *masks, tolerance=1, missing=missing)
      np.testing.assert_allclose(scores, (expected, expected, 0))

  @parameterized.parameters(*(k for k in mask_pairs.KINDS if k != 'empty'))
  def test_predicting_nothing_never_helps(self, kind):
    for pair in _pairs(kind):
      found = _scores(pair)
      missed = _scores(pair, prediction=np.zeros_like(pair.reference))
      # Both distances may be equal but for rounding, for example if the masks
      # are opposite corners of the array.
      self.assertGreaterEqual(missed.hd95, found.hd95 * (1 - 1e-12))
      self.assertGreaterEqual(missed.assd, found.assd * (1 - 1e-12))
      self.assertLessEqual(missed.nsd, found.nsd)


class BadInputTest(parameterized.TestCase):

  @parameterized.named_parameters(
      ('shapes', dict(reference=np.ones((4, 5), bool)), r'\(4, 5\)'),
      ('one_axis', dict(prediction=np.ones(4, bool),
                        reference=np.ones(4, bool)), '2 or 3 axes'),
      ('labels', dict(prediction=np.ones((4, 4), np.uint8)), 'uint8'),
      ('few_spacings', dict(spacing=(1,)), '2 positive numbers'),
      ('zero_spacing', dict(spacing=(1, 0)), '2 positive numbers'),
      ('nan_spacing', dict(spacing=(1, math.nan)), '2 positive numbers'),
      ('one_number', dict(spacing=1.5), '2 positive numbers'),
      ('tolerance', dict(tolerance=-1), 'tolerance'),
      ('nan_tolerance', dict(tolerance=math.nan), 'tolerance'),
      ('missing', dict(missing=-1), 'missing'),
      ('nan_missing', dict(missing=math.nan), 'missing'),
  )
  def test_is_refused_in_one_line(self, changes, text):
    arguments = dict(
        prediction=np.ones((4, 4), bool), reference=np.ones((4, 4), bool),
        tolerance=1) | changes
    with self.assertRaisesRegex(ValueError, text) as context:
      surface_metrics.surface_scores(**arguments)
    self.assertNotIn('\n', str(context.exception))


if __name__ == '__main__':
  absltest.main()
