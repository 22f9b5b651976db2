"""Tests for experiments.training.spent."""

from unittest import mock

from absl.testing import absltest

from experiments.saving import run_log
from experiments.training import spent


class ClockTest(absltest.TestCase):

  def _clock(self, *times):
    """Returns a `spent` clock that will read the given times one by one.

    Each time is a pair (seconds, seconds spent compiling).
    """
    now, compiled = zip(*times, strict=True)
    self.enter_context(mock.patch.object(
        spent.time, 'monotonic', side_effect=now))
    self.enter_context(mock.patch.object(
        run_log, 'compilation_seconds', side_effect=compiled))
    return spent.Clock()

  def test_each_second_counts_in_one_part(self):
    clock = self._clock(
        (10, 0), (12, 0.5), (17, 1.5), (18, 1.5), (20, 1.5), (21, 1.5))
    # Seconds pass from each call of the clock to the next: 2 (0.5 of them
    # compiling), 5 (1 of them compiling), 1, 2 and 1.
    clock.begin('steps')
    with clock.within('validation'):
      pass
    clock.begin('report')
    seconds = clock.seconds()
    self.assertEqual(
        {part: s for part, s in seconds.items() if s},
        dict(start=1.5, compile=1.5, steps=6, validation=1, report=1))
    self.assertEqual(tuple(seconds), spent.PARTS)
    self.assertEqual(sum(seconds.values()), 11)

  def test_goes_back_after_an_error(self):
    clock = self._clock((0, 0), (1, 0), (3, 0), (7, 0))
    with self.assertRaises(ValueError):
      with clock.within('checkpoints'):
        raise ValueError
    seconds = clock.seconds()
    self.assertEqual((seconds['start'], seconds['checkpoints']), (5, 2))


if __name__ == '__main__':
  absltest.main()
