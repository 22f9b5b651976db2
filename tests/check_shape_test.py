"""Tests that what is computed for many edges at once equals plain forms."""

from absl.testing import absltest
from data_prep import manifest as manifest_lib
from data_prep.checks import check_shape
from data_prep.drawing import covering
from data_prep.drawing import shape_numbers
from data_prep.formats import entries
from data_prep.formats import rings
import numpy as np

_GRID = 128


def _plain_share(vertices):
  """Returns the share of `crossed_share`, one level after another."""
  low, high = vertices.min(0), vertices.max(0)
  a = (vertices - low) / (high - low) * _GRID
  b = np.roll(a, -1, axis=0)
  winding = np.zeros((_GRID, _GRID), int)
  centres = np.arange(_GRID) + 0.5
  for (x0, y0), (x1, y1) in zip(a, b, strict=True):
    for row, level in enumerate(centres):
      if (y0 <= level) != (y1 <= level):
        (xs, ys), (xe, ye) = sorted([(x0, y0), (x1, y1)], key=lambda p: p[1])
        crossing = xs + (level - ys) * (xe - xs) / (ye - ys)
        winding[row, centres < crossing] += 1 if y0 <= level else -1
  inside = (winding != 0).sum()
  once = max((winding == 1).sum(), (winding == -1).sum())
  return 1 - once / inside if inside else 0.0


def _edges_touch(p, q, r, s):
  """Returns whether two edges touch, by the sides on which their ends lie."""
  side = lambda a, b, c: np.sign(
      (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))
  boxes_meet = all(
      max(min(p[k], q[k]), min(r[k], s[k]))
      <= min(max(p[k], q[k]), max(r[k], s[k])) for k in (0, 1))
  return boxes_meet and side(p, q, r) * side(p, q, s) <= 0 and (
      side(r, s, p) * side(r, s, q) <= 0)


def _plain_is_simple(v):
  """Returns what `_is_simple` does, one pair of edges after another."""
  n = len(v)
  return not any(
      _edges_touch(v[i], v[(i + 1) % n], v[j], v[(j + 1) % n])
      for i in range(n) for j in range(i + 2, n - (i == 0)))


def _outlines(rng, number):
  """Yields outlines: any, with equal points, stars, and edges of pixels."""
  for case in range(number):
    count = int(rng.integers(3, 14))
    if case % 5 == 0:
      yield rng.uniform(-5, 30, (count, 2))
    elif case % 5 == 1:
      yield rng.integers(0, 5, (count, 2)).astype(float)
    elif case % 5 == 2:
      angles = np.sort(rng.uniform(0, 2 * np.pi, count))
      yield rng.uniform(3, 30, (count, 1)) * np.stack(
          [np.cos(angles), np.sin(angles)], -1)
    elif case % 5 == 3:
      parts = rings.outlines(rng.random((6, 7)) < 0.7)
      yield np.array(parts[0][0], float)
    else:
      parts = rings.outlines(rng.random((5, 5)) < 0.8)
      yield np.array(rings.join(max(parts, key=len)), float)


class CrossedShareTest(absltest.TestCase):

  def test_equals_a_plain_loop(self):
    rng, crossed = np.random.default_rng(0), 0
    for v in _outlines(rng, 40):
      if np.ptp(v, axis=0).min() > 0:
        self.assertEqual(check_shape.crossed_share(v), _plain_share(v), v)
        crossed += check_shape.crossed_share(v) > 0
    self.assertGreater(crossed, 10)

  def test_edges_that_touch(self):
    rng, simple = np.random.default_rng(1), 0
    for v in _outlines(rng, 250):
      found = check_shape._is_simple(v)  # pylint: disable=protected-access
      self.assertEqual(found, _plain_is_simple(v), v)
      simple += found
    self.assertBetween(simple, 30, 220)

  def test_many_corners(self):
    comb = np.ones((5, 121), bool)
    comb[1:, 1::2] = False
    ring = np.array(rings.outlines(comb)[0][0], float)
    self.assertLen(ring, 244)
    self.assertEqual(check_shape.crossed_share(ring), 0)
    ring[[100, 140]] = ring[[140, 100]]
    share = check_shape.crossed_share(ring)
    self.assertEqual(share, _plain_share(ring))
    self.assertGreater(share, 0)


class FillTest(absltest.TestCase):

  def test_equals_a_plain_loop(self):
    rng, size = np.random.default_rng(3), (24, 26)
    for v in _outlines(rng, 60):
      expected = np.zeros(size, bool)
      for (x0, y0), (x1, y1) in zip(v, np.roll(v, -1, axis=0), strict=True):
        for row in range(size[0]):
          if (y0 <= row + 0.5) != (y1 <= row + 0.5):
            (xs, ys), (xe, ye) = sorted(
                [(x0, y0), (x1, y1)], key=lambda p: p[1])
            crossing = xs + (row + 0.5 - ys) * (xe - xs) / (ye - ys)
            expected[row] ^= np.arange(size[1]) + 0.5 < crossing
      np.testing.assert_array_equal(covering.fill_polygon(v, size), expected)


class PlainPointsTest(absltest.TestCase):

  def test_large_integers_are_refused(self):
    with self.assertRaisesRegex(ValueError, '^10{39} is not a finite number'):
      entries.points([[10**400, 1]])

  def test_equals_one_by_one(self):
    rng = np.random.default_rng(4)
    odd = [True, '1.5', None, [1], float('nan'), float('inf'), 1e9, 10**400,
           -0.0, 2.0, 10**18, '7']
    for case in range(200):
      values = [[int(x), float(y)] for x, y in rng.integers(0, 9, (20, 2))]
      values += rng.uniform(0, 9, (5, 2)).tolist()
      if case % 2:
        values[rng.integers(25)][rng.integers(2)] = odd[case // 2 % 12]
      if case % 10 == 4:
        values[3].append(5)
      if case % 10 == 6:
        values[3] = tuple(values[3])
      numbers = [v for p in values for v in p]
      plain = shape_numbers.plain_points(values)
      if plain is not None:
        self.assertTrue(all(map(manifest_lib.is_number, numbers)))
        np.testing.assert_array_equal(plain, np.array(values, float))
      result = []
      for i in range(0, 25, 5):  # So few are read one by one.
        try:
          result += entries.points(values[i : i + 5])
        except ValueError as error:
          result = str(error)
          break
      try:
        found = entries.points(values)
      except ValueError as error:
        found = str(error)
      self.assertEqual(repr(found), repr(result))


if __name__ == '__main__':
  absltest.main()
