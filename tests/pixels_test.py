"""Tests for data_prep.shared.pixels and the messages of its errors."""

import io
import pickle
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
from data_prep.shared import pixels
from PIL import Image


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


class WholePngTest(parameterized.TestCase):

  def _is_whole(self, content):
    with tempfile.TemporaryFile() as file:
      file.write(content)
      file.seek(5)
      found = pixels._is_whole_png(file)
      self.assertEqual(file.tell(), 5)
    return found

  @parameterized.parameters(8, 12, 20, 29, 41, 50, -17)
  def test_damage_is_seen(self, place):
    file = io.BytesIO()
    Image.effect_noise((20, 20), 50).save(file, 'PNG')
    content = file.getvalue()
    self.assertTrue(self._is_whole(content))
    self.assertTrue(self._is_whole(content + b'more'))
    damaged = bytearray(content)
    damaged[place] ^= 4
    self.assertFalse(self._is_whole(bytes(damaged)))

  @parameterized.parameters(8, 15, 40, 100, -12, -5)
  def test_an_end_that_is_missing_is_seen(self, place):
    file = io.BytesIO()
    Image.effect_noise((20, 20), 50).save(file, 'PNG')
    self.assertFalse(self._is_whole(file.getvalue()[:place]))


class EachInThreadsTest(absltest.TestCase):

  def test_the_order_is_kept_and_few_items_are_taken(self):
    taken = []

    def items():
      for i in range(10**6):
        taken.append(i)
        yield i

    for i, found in enumerate(pixels.each_in_threads(str, items())):
      self.assertEqual(found, str(i))
      if i == 2000:
        break
    self.assertLess(len(taken), 10**5)
    self.assertEqual(pixels.map_in_threads(str, range(5)), [*'01234'])

  def test_errors_are_raised(self):
    with self.assertRaises(ZeroDivisionError):
      pixels.map_in_threads(lambda x: 1 // x, [1, 0, 1])


if __name__ == '__main__':
  absltest.main()
