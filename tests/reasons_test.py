"""Tests for experiments.auditing.reasons, which name an annotation's fault."""

from absl.testing import absltest
from absl.testing import parameterized
from data_prep import manifest as manifest_lib
from experiments.auditing import reasons
from hybridseg import types
import numpy as np

from tests import audited

_Kind = types.AnnotationKind


class ReasonsTest(parameterized.TestCase):

  @parameterized.named_parameters(
      ('missing_object', [], 'missing_object'),
      ('one_of_two', [(1, 2, 2, 6)], 'missing_object',
       [(1, 2, 2, 6), (1, 20, 20, 6)]),
      ('wrong_place', [(1, 24, 24, 8)], 'wrong_place'),
      ('shifted', [(1, 14, 14, 8)], 'shifted'),
      ('too_small', [(1, 12, 12, 4)], 'too_small'),
      ('too_large', [(1, 4, 4, 20)], 'too_large'),
      ('wrong_class', [(2, 10, 10, 8)], 'wrong_class'),
      ('nothing_wrong', [audited.SEEN], 'unclear'),
      ('nothing_seen', [audited.SEEN], 'unclear', []),
      ('speck_seen', [], 'unclear', [(1, 3, 3, 1)]),
  )
  def test_golden(self, drawn, wanted, seen=(audited.SEEN,)):
    for kind in (_Kind.POLYGON, _Kind.BOX):
      reason = reasons.explain(
          audited.probs(audited.square(*seen)), kind, audited.square(*drawn),
          audited.NO_TAG)
      self.assertEqual(reason.name, wanted, kind)
      self.assertNotEmpty(reason.words)

  def test_what_one_network_sees_blames_nobody(self):
    probs = audited.probs(audited.square(audited.SEEN))
    probs[1] = audited.probs(audited.square())[1]
    reason = reasons.explain(probs, _Kind.BOX, audited.square(), audited.NO_TAG)
    self.assertEqual(reason.name, 'unclear')

  @parameterized.named_parameters(
      ('far', [(1, 28, 28, 2)], 'wrong_place'),
      ('near', [(1, 19, 12, 2)], 'shifted'),
      ('inside', [(1, 12, 12, 2)], 'unclear'),
      ('nothing', [(0, 0, 0, 2)], 'missing_object'),
      ('class', [(2, 12, 12, 2)], 'wrong_class'),
      ('background', [(1, 12, 12, 2), (0, 15, 15, 3)], 'too_small'),
  )
  def test_marks(self, drawn, wanted):
    label = audited.square(*drawn, background=types.UNLABELLED)
    for kind in (_Kind.POINTS, _Kind.SCRIBBLE):
      reason = reasons.explain(
          audited.probs(audited.square(audited.SEEN)), kind, label,
          audited.NO_TAG)
      self.assertEqual(reason.name, wanted)

  @parameterized.parameters(
      ((1, 0), 'unclear'), ((0, 0), 'missing_object'), ((0, 1), 'wrong_class'),
      ((1, 1), 'unclear'))
  def test_tags(self, tag, wanted):
    label = audited.square(background=types.UNLABELLED)
    reason = reasons.explain(
        audited.probs(audited.square(audited.SEEN)), _Kind.TAG, label,
        np.array([255, *tag]))
    self.assertEqual(reason.name, wanted)

  def test_every_planted_fault_has_its_reason(self):
    self.assertEqual({*reasons.OF_FAULT}, {*manifest_lib.FAULTS} - {''})
    self.assertContainsSubset(
        reasons.OF_FAULT.values(), reasons.REASONS)


if __name__ == '__main__':
  absltest.main()
