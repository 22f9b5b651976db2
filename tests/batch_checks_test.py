"""Tests for hybridseg.batch_checks."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from hybridseg import batch_checks
from hybridseg import types


def _examples(ids, **other):
  num = len(ids)
  examples = types.Examples(
      image=np.full((num, 2, 2, 1), 200, np.uint8),
      label=np.full((num, 2, 2), 255, np.uint8),
      instance_id=np.array(ids, np.int32), kind=np.full(num, 9, np.int32),
      present=np.uint8([[0, 1, 255]] * num))
  return examples._replace(**other)


class CheckBatchTest(parameterized.TestCase):

  def _check(self, strong, weak):
    batch_checks.check_batch(
        types.HybridBatch(strong, weak), num_classes=3, num_weak=10)

  def test_a_sound_batch_passes(self):
    strong = _examples(
        [-1, -1], image=np.full((2, 2, 2, 1), 0.5, np.float32),
        label=np.int32([[[0, 1], [2, 255]]] * 2), kind=None, present=None)
    self._check(strong, _examples([0, 9, -1, -1]))

  @parameterized.parameters(
      (dict(image=np.full((2, 1), 255.0)), 'image holds 255.0: want 0 to 1'),
      (dict(image=np.full((2, 1), np.nan)), 'image holds nan: want 0 to 1'),
      (dict(image=np.full((2, 1), 999, np.uint16)), 'image is uint16'),
      (dict(label=np.full((2, 1), -1, np.int8)), 'label is int8'),
      (dict(label=np.full((2, 1), 1.0)), 'label is float64'),
      (dict(label=np.full((2, 1), 3, np.uint8)),
       'label holds 3: want 0 to 2 or 255'),
      (dict(kind=np.int32([0, 12])), 'kind holds 12: want 0 to 11'),
      (dict(kind=np.int32([-1, 0])), 'kind holds -1: want 0 to 11'),
      (dict(present=np.uint8([[2]])), 'present holds 2: want 0 to 1 or 255'))
  def test_refuses_a_value_that_means_something_else(self, other, message):
    for part in ('strong', 'weak'):
      examples = {'strong': _examples([-1, -1]), 'weak': _examples([3, 4])}
      examples[part] = examples[part]._replace(**other)
      with self.assertRaisesRegex(ValueError, f'^{part}.{message}'):
        self._check(**examples)

  @parameterized.parameters(
      ([3, 10], 'instance_id holds 10: want 0 to 9 or -1'),
      ([-2, 1], 'instance_id holds -2'), ([4, 4], 'holds an instance twice'))
  def test_refuses_ids(self, ids, message):
    with self.assertRaisesRegex(ValueError, message):
      self._check(_examples([-1]), _examples(ids))


if __name__ == '__main__':
  absltest.main()
