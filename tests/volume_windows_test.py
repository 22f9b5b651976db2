"""Tests of experiments.prediction.volume_windows."""

from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
from hybridseg import inference
import numpy as np

from experiments.prediction import volume_windows


def _run(windows):
  """Networks of one voxel, whose disagreement is a third of the intensity."""
  return inference.Prediction(
      np.concatenate([windows, 1 - windows], -1), windows[..., 0] / 3)


class PredictTest(parameterized.TestCase):

  @parameterized.product(
      shape=((9, 12, 7), (3, 12, 7), (9, 2, 2)), in_memory=(2**28, 0))
  def test_each_voxel_has_its_prediction(self, shape, in_memory):
    levels = np.random.default_rng(0).integers(
        0, 65536, shape, dtype=np.uint16)
    with mock.patch.object(volume_windows, 'IN_MEMORY', in_memory):
      found = volume_windows.predict(
          _run, volume_windows.reader(levels), shape, window=(4, 4, 4),
          batch_size=3)
    self.assertEqual(isinstance(found, np.memmap), not in_memory)
    image = levels / 65535
    np.testing.assert_allclose(
        found, np.stack([image, 1 - image, image / 3], -1), atol=1e-6)

  def test_outside_of_a_volume_is_the_lowest_level(self):
    read = volume_windows.reader(np.full((2, 2, 2), 65535, np.uint16))
    block = read((-1, 0, 1), (4, 2, 2))[..., 0]
    np.testing.assert_array_equal(block.sum((1, 2)), [0, 2, 2, 0])
    np.testing.assert_array_equal(block.sum((0, 1)), [4, 0])
    self.assertEqual(block.dtype, np.float32)


if __name__ == '__main__':
  absltest.main()
