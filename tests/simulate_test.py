"""Tests for data_prep.simulate."""

import collections
import hashlib
import json
import pathlib
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
from hybridseg import types
import numpy as np
from PIL import Image
from scipy import ndimage

from data_prep import check
from data_prep import manifest
from data_prep import rasterize
from data_prep import rle
from data_prep import simulate

_NEW_KINDS = simulate.KINDS[len(simulate.DEFAULT_KINDS):]
_UNLABELLED = types.UNLABELLED


def _disc(size, cy, cx, radius, value=1):
  y, x = np.mgrid[:size, :size] + 0.5
  return np.where((y - cy) ** 2 + (x - cx) ** 2 <= radius**2, value, 0).astype(
      np.uint8)


def _scenes(count):
  """Returns label maps with one or two discs of two classes."""
  rng = np.random.default_rng(7)
  scenes = []
  for _ in range(count):
    cy, cx = rng.uniform(14, 30, 2)
    truth = _disc(64, cy, cx, rng.uniform(5, 10))
    if rng.uniform() < 0.5:
      truth = np.maximum(truth, _disc(64, cy + 22, cx + 22, 6, value=2))
    scenes.append(truth)
  return scenes


def _random_maps(count, size=32):
  """Returns odd label maps of classes 0 .. 3 and unlabelled pixels."""
  rng = np.random.default_rng(11)
  y, x = np.mgrid[:size, :size]
  maps = []
  for i in range(count):
    label = np.zeros((size, size), np.uint8)
    for _ in range(rng.integers(1, 6)):
      (cy, cx), (ry, rx) = rng.uniform(0, size, 2), rng.uniform(0.6, 9, 2)
      inside = ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 <= 1
      label[inside] = rng.integers(1, 4)
    if i % 10 == 1:
      label[:] = 0
    elif i % 10 == 2:
      label[:] = 1 + i % 3
    elif i % 10 == 3:
      label[:] = 0
      label[tuple(rng.integers(0, size, 2))] = 2
    elif i % 10 == 4:
      label[rng.uniform(size=label.shape) < 0.1] = _UNLABELLED
    elif i % 10 == 5:
      label[0], label[:, -1] = 1, 2
    elif i % 10 == 6:
      label = (np.eye(size, dtype=np.uint8) * 3)[::-1]
    maps.append(label)
  return maps


def _on_line(stroke):
  """Returns the (row, column) of pixels that a polyline runs through."""
  points = [np.array(stroke[:1])]
  for a, b in zip(stroke[:-1], stroke[1:], strict=True):
    steps = int(np.ceil(4 * np.hypot(b[0] - a[0], b[1] - a[1]))) + 1
    points.append(np.linspace(a, b, steps))
  # A diagonal runs through the corner between pixels: any side of it will do.
  x, y = (np.concatenate(points) - 1e-9).T
  return y.astype(int), x.astype(int)


class ShapesTest(parameterized.TestCase):

  def test_tight_box_by_hand(self):
    mask = np.zeros((5, 7), bool)
    mask[1:3, 2:6] = True
    self.assertEqual(simulate.tight_box(mask), [2.0, 1.0, 6.0, 3.0])

  def test_loose_box_by_hand(self):
    mask = np.zeros((20, 20), bool)
    mask[8:12, 1:11] = True
    # 20 % of 10 columns and of 4 rows, cut at the left border.
    np.testing.assert_allclose(
        simulate.loose_box(mask, margin=0.2), [0, 7.2, 13, 12.8])

  def test_many_vertices_give_the_object_back(self):
    truth = _disc(64, 30, 34, 20)
    polygon = simulate.coarse_polygon(
        truth > 0, np.random.default_rng(0), num_vertices=32, jitter=0.0)
    label = simulate.draw(
        {'kind': 'polygon', 'polygons': [polygon], 'labels': [1]}, (64, 64))
    self.assertGreater(simulate.quality(label, truth, 2), 0.93)

  @parameterized.parameters(4, 6, 12)
  def test_vertices_lie_on_the_outline(self, num_vertices):
    polygon = np.array(simulate.coarse_polygon(
        _disc(64, 32, 32, 15) > 0, np.random.default_rng(1),
        num_vertices=num_vertices, jitter=0.0))
    self.assertEqual(polygon.shape, (num_vertices, 2))
    distance = np.hypot(*(polygon - 32).T)
    self.assertBetween(distance.min(), 13.5, 16.5)
    self.assertBetween(distance.max(), 13.5, 16.5)

  def test_components_of_every_class(self):
    label = np.array([[1, 0, 1], [0, 0, 0], [2, 2, 255]], np.uint8)
    found = [(v, int(m.sum())) for v, m in simulate.components(label)]
    self.assertEqual(found, [(1, 1), (1, 1), (2, 2)])

  def test_diagonal_neighbours_are_one_object(self):
    self.assertLen(simulate.components(np.eye(4, dtype=np.uint8)), 1)


class NewShapesTest(parameterized.TestCase):

  @parameterized.parameters(
      (32, 30, 20, 8, 0), (32, 30, 20, 8, 30), (30, 34, 9, 5, 115),
      (31.5, 31.5, 10, 10, 0), (30, 30, 14, 4, 170))
  def test_ellipse_gives_an_ellipse_back(self, cx, cy, rx, ry, angle_deg):
    ellipse = [cx, cy, rx, ry, angle_deg]
    truth = simulate.draw(
        {'kind': 'ellipse', 'ellipses': [ellipse], 'labels': [1]}, (64, 64))
    found = simulate.fitted_ellipse(truth > 0, scale=1.0)
    label = simulate.draw(
        {'kind': 'ellipse', 'ellipses': [found], 'labels': [1]}, (64, 64))
    self.assertGreater(simulate.quality(label, truth, 2), 0.95)
    np.testing.assert_allclose(found[:4], ellipse[:4], atol=0.25)
    if rx != ry:
      self.assertLess(abs((found[4] - angle_deg + 90) % 180 - 90), 3)

  def test_ellipse_of_one_pixel_by_hand(self):
    mask = np.zeros((4, 4), bool)
    mask[1, 2] = True
    # 2 * sqrt(1 / 12), times the scale.
    np.testing.assert_allclose(
        simulate.fitted_ellipse(mask, scale=1.5),
        [2.5, 1.5, 0.75**0.5, 0.75**0.5, 0])

  @parameterized.parameters('interior_scribble', 'border_scribble')
  def test_strokes_stay_inside(self, name):
    for i, truth in enumerate(_random_maps(40)):
      for _, mask in simulate.components(truth):
        stroke = getattr(simulate, name)(mask, np.random.default_rng(i))
        rows, columns = _on_line(stroke)
        self.assertTrue(mask[rows, columns].all())

  def test_interior_scribble_follows_the_middle(self):
    mask = np.zeros((40, 60), bool)
    mask[10:21, 5:55] = True
    stroke = simulate.interior_scribble(mask, np.random.default_rng(0))
    rows, columns = _on_line(stroke)
    self.assertGreater(np.ptp(columns), 25)
    self.assertLess(np.mean(np.abs(rows - 15)), 2.5)
    part = simulate.interior_scribble(
        mask, np.random.default_rng(0), length=0.5)
    self.assertLess(np.ptp(_on_line(part)[1]), 0.7 * np.ptp(columns))

  def test_interior_scribble_of_a_large_object(self):
    truth = _disc(400, 200, 200, 150) - _disc(400, 200, 230, 90)
    stroke = simulate.interior_scribble(truth > 0, np.random.default_rng(0))
    self.assertTrue(truth[_on_line(stroke)].all())

  def test_border_scribble_goes_round(self):
    truth = _disc(64, 32, 32, 15) > 0
    stroke = simulate.border_scribble(truth, np.random.default_rng(0))
    self.assertEqual(stroke[0], stroke[-1])
    seen = np.zeros_like(truth)
    seen[_on_line(stroke)] = True
    border = truth & ~ndimage.binary_erosion(truth)
    self.assertGreater((seen & border).sum(), 0.9 * border.sum())
    self.assertFalse(seen[ndimage.binary_erosion(truth, iterations=3)].any())

  def test_background_scribble_stays_off(self):
    for i, truth in enumerate(_random_maps(40)):
      stroke = simulate.background_scribble(truth, np.random.default_rng(i))
      self.assertEqual(bool(stroke), bool((truth == 0).any()))
      if stroke:
        self.assertTrue((truth[_on_line(stroke)] == 0).all())

  @parameterized.parameters(1, 3, 500)
  def test_interior_points(self, num_points):
    mask = _disc(32, 15.5, 15.5, 8) > 0
    points = np.array(simulate.interior_points(
        mask, np.random.default_rng(0), num_points=num_points))
    self.assertLen(points, min(num_points, mask.sum()))
    self.assertLen(np.unique(points, axis=0), len(points))
    np.testing.assert_array_equal(points[0], [15.5, 15.5])
    columns, rows = points.astype(int).T
    self.assertTrue(mask[rows, columns].all())
    depth = ndimage.distance_transform_edt(mask)[rows, columns]
    self.assertTrue((np.diff(depth) <= 0).all())
    if num_points == 3:
      self.assertGreaterEqual(depth[-1], depth[0] / 2)

  def test_extreme_points_touch_the_tight_box(self):
    for i, truth in enumerate(_random_maps(40)):
      for _, mask in simulate.components(truth):
        points = simulate.extreme_points(
            mask, np.random.default_rng(i), jitter=0.0)
        x0, y0, x1, y1 = simulate.tight_box(mask)
        self.assertEqual(
            [points[0][0], points[1][1], points[2][0], points[3][1]],
            [x0 + 0.5, y0 + 0.5, x1 - 0.5, y1 - 0.5])
        for x, y in points:
          self.assertTrue(mask[int(y), int(x)])

  def test_extreme_points_jitter(self):
    mask = _disc(64, 32, 32, 15) > 0
    draw = lambda jitter: np.array(simulate.extreme_points(
        mask, np.random.default_rng(0), jitter=jitter))
    self.assertBetween(np.abs(draw(0.05) - draw(0.0)).mean(), 0.3, 4.0)

  def test_low_resolution_by_hand(self):
    label = np.array([
        [1, 1, 0, 255, 2],
        [1, 0, 0, 255, 0],
        [2, 2, 255, 255, 1]], np.uint8)
    np.testing.assert_array_equal(
        simulate.low_resolution(label, block=2),
        [[1, 1, 0, 0, 0], [1, 1, 0, 0, 0], [2, 2, 255, 255, 1]])

  def test_low_resolution_of_one_pixel_is_the_identity(self):
    for label in _random_maps(20):
      np.testing.assert_array_equal(
          simulate.low_resolution(label, block=1), label)


class QualityTest(parameterized.TestCase):

  @parameterized.parameters(
      ([[1, 1, 0]], [[1, 0, 0]], 2, 0.5),
      ([[0, 0, 0]], [[0, 0, 0]], 2, 1.0),
      ([[1, 0, 0]], [[0, 0, 0]], 2, 0.0),
      ([[0, 0, 0]], [[1, 0, 0]], 2, 0.0),
      # Class 1: 1 / 2, class 2: 1 / 1.
      ([[1, 1, 2]], [[1, 0, 2]], 3, 0.75),
      ([[1, 255, 0]], [[1, 1, 0]], 2, 1.0),
  )
  def test_by_hand(self, label, truth, num_classes, expected):
    to_array = lambda x: np.array(x, np.uint8)
    self.assertEqual(
        simulate.quality(to_array(label), to_array(truth), num_classes),
        expected)


class SimulateWeakTest(parameterized.TestCase):

  @parameterized.product(
      kind=simulate.DEFAULT_KINDS, fault=('', *simulate.FAULTS))
  def test_quality_is_that_of_the_fault(self, kind, fault):
    low, high = {'': (0.5, 1.0), 'shifted': (0.0, 0.35),
                 'shrunken': (0.08, 0.33), 'wrong_place': (0.0, 0.0),
                 'missing': (0.0, 0.0)}[fault]
    scores = []
    for i, truth in enumerate(_scenes(12)):
      annotation = simulate.simulate_weak(
          truth, np.random.default_rng(i), kind=kind, quality_level=i / 11,
          fault=fault)
      self.assertEqual(annotation['kind'], kind)
      shapes = annotation[rasterize.SHAPE_FIELDS[kind]]
      self.assertLen(annotation['labels'], len(shapes))
      self.assertEqual(
          len(shapes),
          0 if fault == 'missing' else len(simulate.components(truth)))
      label = simulate.draw(annotation, truth.shape)
      if fault != 'missing':
        self.assertGreater((label > 0).sum(), 0)
      scores.append(simulate.quality(label, truth, 3))
    self.assertGreaterEqual(min(scores), low)
    self.assertLessEqual(max(scores), high)

  @parameterized.parameters(*simulate.DEFAULT_KINDS, 'ellipse', 'coarse_mask')
  def test_quality_level_grades(self, kind):
    means = []
    for level in (0.0, 1.0):
      scores = []
      for i, truth in enumerate(_scenes(10)):
        annotation = simulate.simulate_weak(
            truth, np.random.default_rng(i), kind=kind, quality_level=level)
        scores.append(simulate.quality(
            simulate.draw(annotation, truth.shape), truth, 3))
      means.append(np.mean(scores))
    self.assertGreater(means[1], means[0] + 0.05)

  @parameterized.product(kind=simulate.KINDS, fault=('', *simulate.FAULTS))
  def test_same_seed_same_label(self, kind, fault):
    draw = lambda seed: simulate.simulate_weak(
        _scenes(1)[0], np.random.default_rng(seed), kind=kind,
        quality_level=0.5, fault=fault)
    self.assertEqual(draw(3), draw(3))
    if fault in ('shifted', 'shrunken', 'wrong_place') and kind != 'tag':
      self.assertNotEqual(draw(3), draw(4))

  @parameterized.product(
      kind=simulate.DEFAULT_KINDS, fault=('', *simulate.FAULTS))
  def test_extreme_objects(self, kind, fault):
    line, dot, full = (np.zeros((16, 16), np.uint8) for _ in range(3))
    line[3], dot[0, 15], full[:] = 1, 1, 1
    for truth in (line, dot, full):
      annotation = simulate.simulate_weak(
          truth, np.random.default_rng(0), kind=kind, quality_level=0.0,
          fault=fault)
      label = simulate.draw(annotation, truth.shape)
      self.assertContainsSubset(np.unique(label), [0, 1])
      for shape in annotation[rasterize.SHAPE_FIELDS[kind]]:
        self.assertBetween(np.min(shape), -0.01, 16.01)
        self.assertBetween(np.max(shape), -0.01, 16.01)

  def test_no_object(self):
    empty = np.zeros((8, 8), np.uint8)
    for fault in ('', *simulate.FAULTS):
      self.assertEqual(
          simulate.simulate_weak(
              empty, np.random.default_rng(0), kind='box', quality_level=1.0,
              fault=fault),
          {'kind': 'box', 'boxes': [], 'labels': []})

  @parameterized.parameters(
      ({'kind': 'blob'}, "Unknown kind='blob'"),
      ({'fault': 'blob'}, "Unknown fault='blob'"))
  def test_unknown(self, options, words):
    options = {'kind': 'box', 'quality_level': 1.0, **options}
    with self.assertRaisesRegex(ValueError, words):
      simulate.simulate_weak(
          np.zeros((8, 8), np.uint8), np.random.default_rng(0), **options)


  def test_boxes_and_polygons_stay_as_they_were(self):
    # Taken from the code that knew no other kind: sets on disk depend on it.
    digest = hashlib.sha256()
    for i, truth in enumerate(_scenes(6)):
      for kind in ('box', 'polygon'):
        for fault in ('', *simulate.FAULTS):
          rng = np.random.default_rng(i)
          annotation = simulate.simulate_weak(
              truth, rng, kind=kind, quality_level=i / 5, fault=fault)
          digest.update(json.dumps([annotation, rng.random()]).encode())
    plans = simulate.plan_faults(
        40, np.random.default_rng(0), fault_fraction=0.5)
    digest.update(json.dumps(plans).encode())
    self.assertEqual(digest.hexdigest()[:16], '91377bade6461896')


class NewKindsTest(parameterized.TestCase):

  @parameterized.parameters(*simulate.KINDS)
  def test_odd_maps(self, kind):
    faults = ('', *simulate.FAULTS)
    # Old kinds are slow to draw again, and have tests of their own.
    count = 200 if kind in _NEW_KINDS else 50
    for i, truth in enumerate(_random_maps(count, size=20)):
      draw = lambda truth=truth, i=i: simulate.simulate_weak(
          truth, np.random.default_rng(i), kind=kind, quality_level=i / count,
          fault=faults[i // 10 % 5], num_classes=4)
      annotation = draw()
      if i < 20:
        self.assertEqual(annotation, draw())
      self.assertEqual(annotation['kind'], kind)
      if kind != 'tag':
        self.assertLen(
            annotation['labels'], len(annotation[rasterize.SHAPE_FIELDS[kind]]))
      label = simulate.draw(annotation, truth.shape)
      self.assertContainsSubset(
          np.unique(label), [0, 1, 2, 3, _UNLABELLED])
      if not simulate.components(truth) or faults[i // 10 % 5] == 'missing':
        self.assertContainsSubset(annotation['labels'], [0])
      elif kind != 'tag':
        self.assertGreater(max(annotation['labels']), 0)

  def test_check_passes_every_kind(self):
    folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (32, 32), np.uint8)).save(
        folder / 'i.png')
    rows = []
    for i, truth in enumerate(_random_maps(20)):
      truth = np.where(truth == _UNLABELLED, 0, truth)
      classes = [1, 2, 3]
      mask = {'kind': 'mask', 'labels': classes,
              'rles': [rle.encode_rle(truth == c) for c in classes]}
      strong = manifest.Row(f's{i}', 'i.png', 'train', 'strong', mask)
      rows.append(strong)
      for j, kind in enumerate(simulate.KINDS):
        plan = {'kind': kind, 'quality_level': i / 19,
                'fault': ('', *simulate.FAULTS)[(i + j) % 5]}
        weak = simulate.weak_row(
            strong, truth, np.random.default_rng(i), plan=plan, num_classes=4)
        rows.append(weak._replace(id=f'w{i}_{kind}'))
    header = manifest.Header('tiny', ('background', 'a', 'b', 'c'))
    written = manifest.write_manifest(folder / 'm.jsonl', header, rows)
    self.assertEqual(check.check_manifest(written), [])
    self.assertLen(written.rows, len(rows))
    self.assertEqual(written.rows[1].annotation, rows[1].annotation)

  @parameterized.product(
      kind=_NEW_KINDS[:-1], fault=('', *simulate.FAULTS))
  def test_faults(self, kind, fault):
    low, high = {'': (0.5, 1.0), 'shifted': (0.0, 0.45),
                 'shrunken': (0.05, 0.45), 'wrong_place': (0.0, 0.1),
                 'missing': (0.0, 0.0)}[fault]
    for i, truth in enumerate(_scenes(12)):
      annotation = simulate.simulate_weak(
          truth, np.random.default_rng(i), kind=kind, quality_level=i / 11,
          fault=fault)
      label = simulate.draw(annotation, truth.shape)
      if kind in ('ellipse', 'coarse_mask'):
        self.assertBetween(simulate.quality(label, truth, 3), low, high)
      on_truth = truth[(label > 0) & (label != _UNLABELLED)]
      if fault == 'missing':
        self.assertEmpty(on_truth)
      elif fault == 'wrong_place':  # Discs and ellipses reach a little over.
        self.assertLess((on_truth > 0).mean(), 0.35)
      elif fault in ('', 'shrunken'):
        self.assertGreater((on_truth > 0).mean(), 0.5)

  def test_shrunken_area(self):
    label = np.zeros((64, 64), np.uint8)
    label[4:8, 2:60], label[12:60, 10] = 1, 2  # Bars of 4 and of 1 pixels.
    label |= _disc(64, 40, 40, 12, value=3)
    for seed in range(10):
      annotation = simulate.simulate_weak(
          label, np.random.default_rng(seed), kind='coarse_mask',
          quality_level=1.0, fault='shrunken')
      drawn = simulate.draw(annotation, label.shape)
      for value in (1, 2, 3):
        self.assertBetween(
            (drawn == value).sum() / (label == value).sum(), 0.08, 0.33)

  @parameterized.parameters(0.0, 1.0)
  def test_strokes_and_points_lie_on_their_class(self, level):
    for i, truth in enumerate(_random_maps(60)):
      draw = lambda kind, truth=truth, i=i: simulate.simulate_weak(
          truth, np.random.default_rng(i), kind=kind, quality_level=level)
      scribble, points = draw('scribble'), draw('points')
      for stroke, value in zip(
          scribble['strokes'], scribble['labels'], strict=True):
        self.assertTrue((truth[_on_line(stroke)] == value).all())
      if scribble['strokes']:
        label = simulate.draw(scribble, truth.shape)
        self.assertTrue(
            ((label == truth) | (label == _UNLABELLED)).all())
      for (x, y), value in zip(
          points['points'], points['labels'], strict=True):
        self.assertEqual(truth[int(y), int(x)], value)
      counts = collections.Counter(v > 0 for v in points['labels'])
      if (truth == 0).sum() > 200 and counts[True]:
        self.assertEqual(counts[True], counts[False])

  def test_background_is_drawn_without_an_object(self):
    empty = np.zeros((32, 32), np.uint8)
    for kind in ('scribble', 'points'):
      annotation = simulate.simulate_weak(
          empty, np.random.default_rng(0), kind=kind, quality_level=1.0)
      self.assertEqual(set(annotation['labels']), {0})

  def test_careful_is_more(self):
    truth = _disc(64, 30, 34, 20)
    draw = lambda kind, level: simulate.simulate_weak(
        truth, np.random.default_rng(0), kind=kind, quality_level=level)
    self.assertLen(draw('points', 0.0)['points'], 2)
    self.assertLen(draw('points', 1.0)['points'], 6)
    known = lambda level: (
        simulate.draw(draw('scribble', level), truth.shape) != _UNLABELLED)
    self.assertLess(known(0.0).sum(), 0.7 * known(1.0).sum())

  @parameterized.parameters(
      ([1], '', None, [1]), ([2, 1], '', None, [1, 2]), ([], '', 4, []),
      ([1], 'missing', 4, []), ([1], 'shifted', 2, []),
      ([1], 'shifted', 3, [2]), ([2], 'shrunken', None, [1]),
      ([1, 3], 'wrong_place', 4, ([1, 2], [2, 3])),
      ([], 'shifted', 4, []))
  def test_tag(self, present, fault, num_classes, expected):
    truth = np.array([[0, *present, _UNLABELLED]], np.uint8)
    annotation = simulate.simulate_weak(
        truth, np.random.default_rng(0), kind='tag', quality_level=0.5,
        fault=fault, num_classes=num_classes)
    if isinstance(expected, tuple):
      self.assertIn(annotation['labels'], expected)
    else:
      self.assertEqual(annotation, {'kind': 'tag', 'labels': expected})


def _sizes(label):
  return [int(mask.sum()) for _, mask in simulate.components(label)]


def _two_objects():
  label = _disc(64, 18, 20, 9) + _disc(64, 44, 40, 7, value=2)
  label[:, -3:] = _UNLABELLED
  return label


class NoiseTest(parameterized.TestCase):

  @parameterized.product(
      noise=[*simulate.NOISE], strength=[0.1, 1.0])
  def test_odd_maps(self, noise, strength):
    for i, label in enumerate(_random_maps(40)):
      before = label.copy()
      draw = lambda label=label, i=i: simulate.add_noise(
          label, np.random.default_rng(i), noise=noise, num_classes=4,
          strength=strength)
      noisy = draw()
      np.testing.assert_array_equal(noisy, draw())
      np.testing.assert_array_equal(label, before)
      self.assertEqual((noisy.dtype, noisy.shape), (np.uint8, label.shape))
      np.testing.assert_array_equal(
          noisy == _UNLABELLED, label == _UNLABELLED)
      self.assertContainsSubset(
          np.unique(noisy), [0, 1, 2, 3, _UNLABELLED])
      if not simulate.components(label) and noise != 'hallucinate_object':
        np.testing.assert_array_equal(noisy, label)

  def _noisy(self, noise, strength, seed=0):
    return simulate.add_noise(
        _two_objects(), np.random.default_rng(seed), noise=noise,
        num_classes=3, strength=strength)

  @parameterized.parameters(('dilate', 1), ('erode', -1))
  def test_area(self, noise, sign):
    before = np.array(_sizes(_two_objects()))
    little, much = (
        np.array(_sizes(self._noisy(noise, s))) for s in (0.2, 1.0))
    self.assertTrue((sign * (little - before) > 0).all())
    self.assertTrue((sign * (much - little) > 0).all())
    self.assertGreater(much.min(), 20)
    # Radii grow or shrink by a quarter to a half.
    low, high = sorted(((1 + sign * 0.2) ** 2, (1 + sign * 0.6) ** 2))
    self.assertTrue(((much / before > low) & (much / before < high)).all())

  def test_dilate_keeps_the_neighbours(self):
    label = np.zeros((16, 16), np.uint8)
    label[4:10, 2:8], label[4:10, 8:14] = 1, 2
    noisy = simulate.add_noise(
        label, np.random.default_rng(0), noise='dilate', num_classes=3,
        strength=1.0)
    np.testing.assert_array_equal(noisy[label > 0], label[label > 0])

  def test_erode_keeps_thin_objects(self):
    label = np.zeros((8, 8), np.uint8)
    label[3], label[6, 6] = 1, 2
    np.testing.assert_array_equal(
        simulate.add_noise(
            label, np.random.default_rng(0), noise='erode', num_classes=3,
            strength=1.0), label)

  def test_shift(self):
    for seed in range(10):
      truth = _two_objects()
      little, much = (self._noisy('shift', s, seed) for s in (0.1, 1.0))
      self.assertEqual(_sizes(much), _sizes(truth))
      self.assertBetween(simulate.quality(much, truth, 3), 0.2, 0.75)
      self.assertBetween(
          simulate.quality(little, truth, 3),
          simulate.quality(much, truth, 3) + 0.1, 0.99)
      steps = [
          np.argwhere(much == v).mean(0) - np.argwhere(truth == v).mean(0)
          for v in (1, 2)]
      # One direction.
      self.assertGreater(
          steps[0] @ steps[1] / np.prod([np.hypot(*s) for s in steps]), 0.95)

  def test_rotate(self):
    label = np.zeros((64, 64), np.uint8)
    label[28:36, 12:52] = 1
    turn = lambda strength: simulate.add_noise(
        label, np.random.default_rng(0), noise='rotate', num_classes=2,
        strength=strength)
    angles_deg = []
    for strength in (0.2, 1.0):
      noisy = turn(strength)
      self.assertBetween(noisy.sum() / label.sum(), 0.95, 1.05)
      np.testing.assert_allclose(
          np.argwhere(noisy).mean(0), np.argwhere(label).mean(0), atol=0.3)
      angle_deg = simulate.fitted_ellipse(noisy > 0, scale=1.0)[4]
      angles_deg.append(min(angle_deg, 180 - angle_deg))
    self.assertBetween(angles_deg[0], 8.5, 18.5)
    self.assertBetween(angles_deg[1], 44, 90)

  def test_miss_and_hallucinate_one_object(self):
    for i, label in enumerate(_random_maps(100)):
      objects = simulate.components(label)
      options = dict(num_classes=4, strength=0.5)
      missed = simulate.add_noise(
          label, np.random.default_rng(i), noise='miss_object', **options)
      self.assertLen(
          simulate.components(missed), max(len(objects) - 1, 0))
      more = simulate.add_noise(
          label, np.random.default_rng(i), noise='hallucinate_object',
          **options)
      np.testing.assert_array_equal(more[label != 0], label[label != 0])
      room = ~ndimage.binary_dilation(label != 0, np.ones((3, 3)))
      self.assertLen(
          simulate.components(more), len(objects) + bool(room.any()))

  def test_hallucinated_discs_grow_with_strength(self):
    empty = np.zeros((64, 64), np.uint8)
    areas = [
        (simulate.add_noise(
            empty, np.random.default_rng(0), noise='hallucinate_object',
            num_classes=2, strength=s) == 1).sum() for s in (0.3, 1.0)]
    np.testing.assert_allclose(
        areas, [np.pi * 3.2**2, np.pi * (64 / 6) ** 2], rtol=0.2)

  def test_swap_classes(self):
    for i, label in enumerate(_random_maps(60)):
      swap = lambda num_classes, label=label, i=i: simulate.add_noise(
          label, np.random.default_rng(i), noise='swap_classes',
          num_classes=num_classes, strength=0.5)
      np.testing.assert_array_equal(swap(2), label)
      noisy = swap(4)
      np.testing.assert_array_equal(noisy == 0, label == 0)
      changed = noisy != label
      objects = simulate.components(label)
      self.assertEqual(
          sum(np.array_equal(changed, mask) for _, mask in objects),
          bool(objects))

  @parameterized.parameters(
      ({'noise': 'blob'}, "Unknown noise='blob'; known: .*'dilate'.*'rotate'"),
      ({'strength': 0.0}, 'strength=0.0 is not in'),
      ({'strength': 1.1}, 'strength=1.1 is not in'))
  def test_wrong_options(self, options, words):
    options = {'noise': 'shift', 'num_classes': 2, 'strength': 0.5, **options}
    with self.assertRaisesRegex(ValueError, words):
      simulate.add_noise(
          np.zeros((8, 8), np.uint8), np.random.default_rng(0), **options)

  def test_any_kind_of_a_noisy_map(self):
    for kind in simulate.KINDS:
      annotation = simulate.simulate_weak(
          self._noisy('swap_classes', 1.0), np.random.default_rng(0),
          kind=kind, quality_level=1.0)
      self.assertNotEmpty(annotation['labels'])


class PlanTest(parameterized.TestCase):

  @parameterized.parameters((40, 0.3), (41, 0.5), (10, 0.0), (9, 1.0), (0, 0.3))
  def test_shares(self, num_weak, fault_fraction):
    plans = simulate.plan_faults(
        num_weak, np.random.default_rng(0), fault_fraction=fault_fraction)
    self.assertLen(plans, num_weak)
    faults = collections.Counter(p['fault'] for p in plans if p['fault'])
    self.assertEqual(faults.total(), round(fault_fraction * num_weak))
    counts = [faults[f] for f in simulate.FAULTS]
    self.assertLessEqual(max(counts) - min(counts), 1)
    kinds = collections.Counter(p['kind'] for p in plans)
    self.assertLessEqual(abs(kinds['box'] - kinds['polygon']), 5)

  def test_kinds_by_default_and_by_choice(self):
    plan = lambda **kwargs: simulate.plan_faults(
        40, np.random.default_rng(0), fault_fraction=0.3, **kwargs)
    self.assertEqual({p['kind'] for p in plan()}, {'box', 'polygon'})
    self.assertEqual(
        {p['kind'] for p in plan(kinds=simulate.KINDS)}, {*simulate.KINDS})

  @parameterized.parameters(*_NEW_KINDS)
  def test_weak_row_of_every_kind(self, kind):
    mask = {'kind': 'mask', 'path': 'm.png'}
    strong = manifest.Row('a', 'i.png', 'train', 'strong', mask)
    weak = simulate.weak_row(
        strong, _disc(64, 32, 32, 14), np.random.default_rng(0),
        plan={'kind': kind, 'quality_level': 1.0, 'fault': ''})
    self.assertEqual(weak.annotation['kind'], kind)
    # The discs of exact extreme points reach over the outline.
    self.assertGreater(
        weak.evaluation['quality'], 0.6 if kind == 'extreme_points' else 0.85)

  def test_weak_row(self):
    mask = {'kind': 'mask', 'path': 'm.png'}
    strong = manifest.Row('a', 'i.png', 'train', 'strong', mask)
    plan = {'kind': 'box', 'quality_level': 1.0, 'fault': 'missing'}
    truth = _disc(32, 16, 16, 6)
    weak = simulate.weak_row(
        strong, truth, np.random.default_rng(0), plan=plan)
    self.assertEqual(weak.role, 'weak')
    self.assertEqual(
        weak.evaluation, {'truth': mask, 'quality': 0.0, 'fault': 'missing'})
    # Without an object there is nothing to miss.
    weak = simulate.weak_row(
        strong, truth * 0, np.random.default_rng(0), plan=plan)
    self.assertEqual(
        weak.evaluation, {'truth': mask, 'quality': 1.0, 'fault': ''})


if __name__ == '__main__':
  absltest.main()
