"""Tests for data_prep.shared.scratch."""

import os
import tempfile

from absl.testing import absltest

from data_prep.shared import pixels
from data_prep.shared import scratch


class ScratchTest(absltest.TestCase):

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


if __name__ == '__main__':
  absltest.main()
