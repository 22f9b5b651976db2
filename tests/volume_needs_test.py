"""Tests of experiments.prediction.volume_needs."""

import contextlib
import io
import time
from unittest import mock

from absl.testing import absltest

from experiments.prediction import predictor as predictor_lib
from experiments.prediction import volume_needs

_GIB = 2**30


class StatementTest(absltest.TestCase):

  def _run(self, *, flops, seconds, shape=(300, 400, 600), batch=2):
    """Returns the lines that are printed.

    Args:
      flops: cost of a batch.
      seconds: time of a batch.
      shape: voxels of the volume.
      batch: windows of a batch.
    """
    predictor = mock.Mock(
        batch_size=batch, cost_fn=lambda shape: predictor_lib.Cost(
            flops, _GIB), dataset=mock.Mock(
                classes=('background', 'organ'),
                plan=mock.Mock(patch_size=(100, 100, 100))))
    clock = iter(seconds * k for k in range(1000))
    out = io.StringIO()
    with contextlib.redirect_stdout(out), mock.patch.object(
        volume_needs, '_matrix_speed', lambda: 1e11), mock.patch.object(
            volume_needs, '_resident', lambda: _GIB), mock.patch.object(
                time, 'perf_counter', lambda: next(clock)):
      state = volume_needs.Statement(
          predictor, 'a.nii', shape, overlap=0.5, file_bytes=_GIB,
          result_bytes=[72 * 10**6])
      for number in range(batch, 8, batch):
        state(number)
    return out.getvalue().splitlines()

  def test_by_hand(self):
    # 5 * 7 * 11 = 385 windows are 193 batches of 1e12 operations at 0.3e11 a
    # second: 6433 s, beside 72e6 voxels at 7e-7 s. Then batches take 20 s. On
    # the disk lie 72e6 * 3 * 4 bytes of results. In memory are 72e6 * 2 bytes
    # of levels, the mask, sums of 300 * 400 * 100 * 4 numbers, a batch of 2e6
    # voxels with 10 numbers each, the program, and what the process has.
    lines = self._run(flops=1e12, seconds=20)
    self.assertEqual(lines[:2], [
        'a.nii: 300 x 400 x 600 voxels in 385 windows; up to 2.8 GiB of '
        'memory, 1.8 GiB of disk, about 108m04s',
        'a.nii: about 65m10s by the first batch'])
    memory = (2 * _GIB + 3 * 72e6 + 4 * 4 * 12e6 + 2**27 + 4 * 10 * 2e6
              + 2**28)
    self.assertAlmostEqual(memory / _GIB, 2.8, delta=0.05)
    self.assertAlmostEqual((12 * 72e6 + _GIB) / _GIB, 1.8, delta=0.05)

  def test_a_short_prediction_states_nothing(self):
    self.assertEqual(
        self._run(flops=1e9, seconds=0.1, shape=(100, 100, 200)), [])

  def test_a_prediction_that_turns_out_to_be_long(self):
    line, = self._run(flops=1e6, seconds=9.0, shape=(100, 100, 300), batch=1)
    self.assertIn('5 windows; up to 2.', line)
    self.assertTrue(line.endswith('about 0m47s'), line)


if __name__ == '__main__':
  absltest.main()
