"""Tests for experiments.auditing.signs, numbers that indicate a fault."""

from absl.testing import absltest
from absl.testing import parameterized
from experiments.auditing import signs as signs_lib
from hybridseg import types
import numpy as np

from tests import audited

_Kind = types.AnnotationKind


class DisagreementTest(parameterized.TestCase):

  def _of(self, kind, drawn, present=audited.NO_TAG, seen=(audited.SEEN,)):
    label = drawn if isinstance(drawn, np.ndarray) else audited.square(*drawn)
    return signs_lib.disagreement(
        audited.probs(audited.square(*seen), sure=1.0)[0], kind, label, present)

  def test_by_hand(self):
    # 64 pixels are predicted, and the annotation draws 32 of them and no other
    # pixel, so the disagreement is 1 - (2 * 32 + 1) / (64 + 32 + 1).
    half = audited.square(audited.SEEN)
    half[14:] = 0
    self.assertAlmostEqual(self._of(_Kind.POLYGON, half), 1 - 65 / 97)
    # A box is compared by its projections: all 8 of 8 columns are drawn, and 4
    # of 8 rows.
    self.assertAlmostEqual(self._of(_Kind.BOX, half), (0 + 1 - 9 / 13) / 2)
    # For class 1, one of two marks lies on the predicted object. Class 2 is
    # neither predicted nor marked.
    marks = audited.square((1, 10, 10, 1), (1, 30, 30, 1),
                    background=types.UNLABELLED)
    self.assertAlmostEqual(self._of(_Kind.POINTS, marks), (0.5 + 0) / 2)
    # The mark of the background is right, but class 1 is predicted and has no
    # mark.
    marks = audited.square((0, 30, 30, 1), background=types.UNLABELLED)
    self.assertAlmostEqual(self._of(_Kind.POINTS, marks), (0 + 1 + 0) / 3)
    nothing = audited.square(background=types.UNLABELLED)
    self.assertAlmostEqual(
        self._of(_Kind.TAG, nothing, np.array([255, 1, 1])), 0.5)
    self.assertAlmostEqual(self._of(_Kind.POLYGON, nothing), 0)

  @parameterized.parameters(_Kind.POLYGON, _Kind.BOX, _Kind.COARSE_MASK)
  def test_the_worse_the_annotation_the_larger(self, kind):
    moved = [self._of(kind, [(1, 10 + s, 10, 8)]) for s in range(0, 9)]
    self.assertTrue(np.all(np.diff(moved) > 0), moved)
    shrunk = [self._of(kind, [(1, 10, 10, 8 - s)]) for s in range(0, 8)]
    self.assertTrue(np.all(np.diff(shrunk) > 0), shrunk)
    self.assertAlmostEqual(moved[0], 0)
    self.assertGreater(self._of(kind, []), 0.8)


class SignsTest(parameterized.TestCase):

  def _of(self, kind, drawn, seen=(audited.SEEN,), background=0):
    found = signs_lib.signs(
        audited.probs(audited.square(*seen), sure=1.0)[0], kind,
        audited.square(*drawn, background=background), audited.NO_TAG)
    return dict(zip(signs_lib.NAMES, found, strict=True))

  def test_drawn_as_seen(self):
    found = self._of(_Kind.POLYGON, [audited.SEEN])
    never, always = np.log(0.01 / 1.01), np.log(1.01 / 0.01)
    size = np.log((64 + 1) / audited.SIDE**2)
    for name, wanted in {
        'disagreement': 0, 'inside': 1, 'ring': 0, 'rank': 1,
        'odds_inside': 0.2 * always, 'odds_ring': 0.2 * never,
        'size_drawn': 0.2 * size, 'size_seen': 0.2 * size}.items():
      self.assertAlmostEqual(found[name], wanted, msg=name)

  def test_shrunken(self):
    # The annotation covers 4 x 4 of the 8 x 8 predicted pixels, so all of the
    # ring of 1.5 pixels around it is predicted as the object. Of the 1008
    # pixels that are not drawn, 48 have the same probability as the drawn ones;
    # such ties count as half.
    found = self._of(_Kind.POLYGON, [(1, 12, 12, 4)])
    self.assertEqual(found['inside'], 1)
    self.assertEqual(found['ring'], 1)
    self.assertAlmostEqual(found['rank'], 1 - 48 / 1008 / 2)

  def test_misplaced(self):
    found = self._of(_Kind.POLYGON, [(1, 22, 22, 8)])
    self.assertEqual(found['inside'], 0)
    self.assertEqual(found['ring'], 0)
    self.assertAlmostEqual(found['rank'], (1 - 64 / 960) / 2)

  def test_missing(self):
    found = self._of(_Kind.POLYGON, [])
    self.assertEqual(found['inside'], 0)
    self.assertEqual(found['rank'], 0.5)
    self.assertLess(found['size_drawn'], found['size_seen'])

  def test_what_is_not_labelled_is_seen_around_marks_alone(self):
    marks = [(0, 2, 2, 3), (1, 13, 13, 2)]
    for kind, wanted in ((_Kind.POINTS, 1), (_Kind.COARSE_MASK, 0)):
      found = self._of(kind, marks, background=types.UNLABELLED)
      self.assertEqual(found['ring'], wanted)
      self.assertEqual(found['rank'], 1)

  @parameterized.parameters(*_Kind)
  def test_any_kind_and_any_map_is_finite(self, kind):
    for drawn in ([], [(1, 0, 0, audited.SIDE)], [(2, 3, 3, 1)]):
      for background in (0, types.UNLABELLED):
        for seen in ([], [audited.SEEN]):
          found = self._of(kind, drawn, seen, background)
          self.assertTrue(np.isfinite([*found.values()]).all())


if __name__ == '__main__':
  absltest.main()
