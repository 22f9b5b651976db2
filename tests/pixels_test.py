"""Tests of data_prep.shared.pixels: the error that names a file's fault."""

import pickle

from absl.testing import absltest
from data_prep.shared import pixels


class WrongFileTest(absltest.TestCase):

  def test_fields(self):
    wrong = pixels.WrongFile('no picture', 'a.txt', 'give a PNG')
    for error in (wrong, pickle.loads(pickle.dumps(wrong))):
      self.assertEqual(
          (error.what, error.found, error.fix),
          ('no picture', 'a.txt', 'give a PNG'))
      self.assertEqual(str(error), 'no picture; a.txt; give a PNG')

  def test_nothing_found(self):
    wrong = pixels.WrongFile('no picture', fix='give one')
    self.assertEqual(str(wrong), 'no picture; give one')
    self.assertEqual(str(pixels.WrongFile('no picture')), 'no picture')


if __name__ == '__main__':
  absltest.main()
