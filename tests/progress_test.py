"""Tests for data_prep.shared.progress, which prints a progress line."""

import io
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
from data_prep.shared import progress


class ProgressTest(parameterized.TestCase):

  def _lines(self, times, calls, **options):
    """Returns the lines that a progress of 10 files prints.

    Args:
      times: times in seconds of the start and of each call.
      calls: number of finished files at each call.
      **options: options of `progress.Progress`.
    """
    file = io.StringIO()
    with mock.patch.object(progress.time, 'monotonic', side_effect=times):
      told = progress.Progress(10, 'files', file=file, **options)
      for done in calls:
        told(done)
    return file.getvalue().splitlines()

  def test_a_line_every_few_seconds(self):
    # 4 files in 8 s are 0.5 files/s, so the remaining 6 files take 12 s.
    self.assertEqual(
        self._lines([0, 1, 8, 9], [1, 4, 5]),
        ['4 of 10 files  0.5 files/s  0m12s left'])

  def test_what_was_done_before_is_no_speed(self):
    self.assertEqual(
        self._lines([0, 6], [5], before=2, what='pass: '),
        ['pass: 5 of 10 files  0.5 files/s  0m10s left'])

  def test_nothing_is_known_before_the_first(self):
    self.assertEqual(self._lines([0, 6], [0]), ['0 of 10 files  0.0 files/s'])

  @parameterized.parameters((False, []), (
      True, ['10 of 10 files  5.0 files/s  0m00s left']))
  def test_the_last_one(self, to_the_end, lines):
    self.assertEqual(self._lines([0, 2], [10], to_the_end=to_the_end), lines)

  @parameterized.parameters((0, '0m00s'), (59.6, '1m00s'), (125, '2m05s'))
  def test_minutes(self, seconds, text):
    self.assertEqual(progress.minutes(seconds), text)


if __name__ == '__main__':
  absltest.main()
