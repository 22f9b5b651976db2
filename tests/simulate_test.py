"""Tests for data_prep.drawing.simulate."""

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

from data_prep import manifest
from data_prep.checks import check
from data_prep.drawing import annotation_kinds
from data_prep.drawing import rle
from data_prep.drawing import simulate
from data_prep.shared import geometry
from tests import label_maps

_NEW_KINDS = tuple(
    kind for kind in simulate.KINDS if kind not in simulate.DEFAULT_KINDS)
_UNLABELLED = types.UNLABELLED


class SimulateWeakTest(parameterized.TestCase):

  @parameterized.product(
      kind=simulate.DEFAULT_KINDS, fault=('', *simulate.FAULTS))
  def test_quality_is_that_of_the_fault(self, kind, fault):
    low, high = {'': (0.5, 1.0), 'shifted': (0.0, 0.35),
                 'shrunken': (0.08, 0.33), 'wrong_place': (0.0, 0.0),
                 'missing': (0.0, 0.0)}[fault]
    scores = []
    for i, truth in enumerate(label_maps.scenes(12)):
      annotation = simulate.simulate_weak(
          truth, np.random.default_rng(i), kind=kind, quality_level=i / 11,
          fault=fault)
      self.assertEqual(annotation['kind'], kind)
      shapes = annotation[annotation_kinds.TABLE[kind].field]
      self.assertLen(annotation['labels'], len(shapes))
      self.assertEqual(
          len(shapes),
          0 if fault == 'missing' else len(geometry.components(truth)))
      label = simulate.draw(annotation, truth.shape)
      if fault != 'missing':
        self.assertGreater((label > 0).sum(), 0)
      scores.append(geometry.quality(label, truth, 3))
    self.assertGreaterEqual(min(scores), low)
    self.assertLessEqual(max(scores), high)

  @parameterized.parameters(*simulate.DEFAULT_KINDS, 'ellipse', 'coarse_mask')
  def test_quality_level_grades(self, kind):
    means = []
    for level in (0.0, 1.0):
      scores = []
      for i, truth in enumerate(label_maps.scenes(10)):
        annotation = simulate.simulate_weak(
            truth, np.random.default_rng(i), kind=kind, quality_level=level)
        scores.append(geometry.quality(
            simulate.draw(annotation, truth.shape), truth, 3))
      means.append(np.mean(scores))
    self.assertGreater(means[1], means[0] + 0.05)

  @parameterized.product(kind=simulate.KINDS, fault=('', *simulate.FAULTS))
  def test_same_seed_same_label(self, kind, fault):
    draw = lambda seed: simulate.simulate_weak(
        label_maps.scenes(1)[0], np.random.default_rng(seed), kind=kind,
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
      for shape in annotation[annotation_kinds.TABLE[kind].field]:
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
    # This digest must not change, since sets on disk depend on it.
    digest = hashlib.sha256()
    for i, truth in enumerate(label_maps.scenes(6)):
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
    # The older kinds are slow to draw and also have other tests.
    count = 200 if kind in _NEW_KINDS else 50
    for i, truth in enumerate(label_maps.random_maps(count, size=20)):
      draw = lambda truth=truth, i=i: simulate.simulate_weak(
          truth, np.random.default_rng(i), kind=kind, quality_level=i / count,
          fault=faults[i // 10 % 5], num_classes=4)
      annotation = draw()
      if i < 20:
        self.assertEqual(annotation, draw())
      self.assertEqual(annotation['kind'], kind)
      if kind != 'tag':
        field = annotation_kinds.TABLE[kind].field
        self.assertLen(annotation['labels'], len(annotation[field]))
      label = simulate.draw(annotation, truth.shape)
      self.assertContainsSubset(
          np.unique(label), [0, 1, 2, 3, _UNLABELLED])
      if not geometry.components(truth) or faults[i // 10 % 5] == 'missing':
        self.assertContainsSubset(annotation['labels'], [0])
      elif kind != 'tag':
        self.assertGreater(max(annotation['labels']), 0)

  def test_check_passes_every_kind(self):
    folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (32, 32), np.uint8)).save(
        folder / 'i.png')
    rows = []
    for i, truth in enumerate(label_maps.random_maps(20)):
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
    for i, truth in enumerate(label_maps.scenes(12)):
      annotation = simulate.simulate_weak(
          truth, np.random.default_rng(i), kind=kind, quality_level=i / 11,
          fault=fault)
      label = simulate.draw(annotation, truth.shape)
      if kind in ('ellipse', 'coarse_mask'):
        self.assertBetween(geometry.quality(label, truth, 3), low, high)
      on_truth = truth[(label > 0) & (label != _UNLABELLED)]
      if fault == 'missing':
        self.assertEmpty(on_truth)
      elif fault == 'wrong_place':  # Discs reach beyond the outline.
        self.assertLess((on_truth > 0).mean(), 0.35)
      elif fault in ('', 'shrunken'):
        self.assertGreater((on_truth > 0).mean(), 0.5)

  def test_shrunken_area(self):
    label = np.zeros((64, 64), np.uint8)
    label[4:8, 2:60], label[12:60, 10] = 1, 2  # Bars of 4 and of 1 pixels.
    label |= label_maps.disc(64, 40, 40, 12, value=3)
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
    for i, truth in enumerate(label_maps.random_maps(60)):
      draw = lambda kind, truth=truth, i=i: simulate.simulate_weak(
          truth, np.random.default_rng(i), kind=kind, quality_level=level)
      scribble, points = draw('scribble'), draw('points')
      for stroke, value in zip(
          scribble['strokes'], scribble['labels'], strict=True):
        self.assertTrue((truth[label_maps.on_line(stroke)] == value).all())
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
    truth = label_maps.disc(64, 30, 34, 20)
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
        strong, label_maps.disc(64, 32, 32, 14), np.random.default_rng(0),
        plan={'kind': kind, 'quality_level': 1.0, 'fault': ''})
    self.assertEqual(weak.annotation['kind'], kind)
    # Even exact extreme points have discs that reach beyond the outline, which
    # lowers the quality.
    self.assertGreater(
        weak.evaluation['quality'], 0.6 if kind == 'extreme_points' else 0.85)

  def test_weak_row(self):
    mask = {'kind': 'mask', 'path': 'm.png'}
    strong = manifest.Row('a', 'i.png', 'train', 'strong', mask)
    plan = {'kind': 'box', 'quality_level': 1.0, 'fault': 'missing'}
    truth = label_maps.disc(32, 16, 16, 6)
    weak = simulate.weak_row(
        strong, truth, np.random.default_rng(0), plan=plan)
    self.assertEqual(weak.role, 'weak')
    self.assertEqual(
        weak.evaluation, {'truth': mask, 'quality': 0.0, 'fault': 'missing'})
    # The fault 'missing' is impossible in an image without an object.
    weak = simulate.weak_row(
        strong, truth * 0, np.random.default_rng(0), plan=plan)
    self.assertEqual(
        weak.evaluation, {'truth': mask, 'quality': 1.0, 'fault': ''})


if __name__ == '__main__':
  absltest.main()
