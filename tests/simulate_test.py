"""Tests for data_prep.simulate."""

import collections

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from data_prep import manifest
from data_prep import rasterize
from data_prep import simulate


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
      kind=simulate.KINDS, fault=('', *simulate.FAULTS))
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

  @parameterized.parameters(*simulate.KINDS)
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
    if fault in ('shifted', 'shrunken', 'wrong_place'):
      self.assertNotEqual(draw(3), draw(4))

  @parameterized.product(kind=simulate.KINDS, fault=('', *simulate.FAULTS))
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
