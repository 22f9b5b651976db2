"""Tests for data_prep.shared.scratch."""

import errno
import os
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from data_prep.shared import pixels
from data_prep.shared import scratch


def _resident():
  """Returns the resident memory of this process; 0 if it is not known."""
  try:
    with open('/proc/self/statm', encoding='ascii') as file:
      return int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')
  except OSError:
    return 0


class ScratchTest(parameterized.TestCase):

  def test_bytes_come_back(self):
    file = scratch.Scratch()
    self.assertEqual([file.add(b'abc'), file.add(b''), file.add(b'de')],
                     [0, 3, 3])
    self.assertEqual(file.read(3, 2), b'de')
    self.assertEqual(file.read(1, 2), b'bc')

  def test_threads_do_not_overwrite_each_other(self):
    file = scratch.Scratch()
    contents = [bytes([i]) * (1 + i % 7) for i in range(200)]
    places = pixels.map_in_threads(file.add, contents)
    self.assertEqual([file.read(p, len(c)) for p, c in zip(
        places, contents, strict=True)], contents)

  def test_the_file_has_no_name(self):
    with tempfile.TemporaryDirectory() as folder:
      file = scratch.Scratch(folder)
      file.add(b'abc')
      self.assertEmpty(os.listdir(folder))

  @parameterized.parameters(AttributeError, OSError(errno.EINVAL, ''))
  def test_a_disk_that_cannot_reserve_is_filled(self, error):
    with tempfile.TemporaryFile() as file, mock.patch.object(
        os, 'posix_fallocate', side_effect=error):
      scratch._reserve(file, 2**20 + 10)
      self.assertEqual(os.fstat(file.fileno()).st_size, 2**20 + 10)
      self.assertGreater(os.fstat(file.fileno()).st_blocks * 512, 2**20)

  def test_an_array_has_no_name_and_is_zero(self):
    with tempfile.TemporaryDirectory() as folder:
      array = scratch.make_array((2, 3), np.uint16, folder)
      array[1, 2] = 7
      self.assertEqual(array.tolist(), [[0, 0, 0], [0, 0, 7]])
      self.assertEmpty(os.listdir(folder))

  @parameterized.parameters('C', 'F')
  def test_released_pages_leave_memory_and_keep_their_values(self, order):
    array = scratch.make_array((64, 2**17), np.float32, order=order)
    self.assertEqual(array.flags.f_contiguous, order == 'F')
    array[...] = 3
    before = _resident()
    scratch.release(array[1:].T)  # A view releases the whole array.
    if before:
      self.assertLess(_resident(), before - 30 * 2**20)
    self.assertTrue((array == 3).all())
    scratch.release(np.zeros(3))  # An array in memory stays.


if __name__ == '__main__':
  absltest.main()
