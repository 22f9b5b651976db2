"""Tests for data_prep.drawing.rle: the plain loops give the same results."""

from absl.testing import absltest
from data_prep.drawing import rle
import numpy as np


def _encode(runs):
  """Returns the string form of run lengths, as pycocotools writes it."""
  text = []
  for i, run in enumerate(runs):
    value = run - runs[i - 2] if i > 2 else run
    more = True
    while more:
      group = value & 31
      value >>= 5
      more = value != (-1 if group & 16 else 0)
      text.append(chr(48 + group + 32 * more))
  return ''.join(text)


def _decode(text):
  """Returns the run lengths of a string, as pycocotools reads it."""
  runs, value, shift = [], 0, 0
  for character in text:
    group = ord(character) - 48
    if not 0 <= group < 64 or shift > 30:
      raise ValueError('counts are not run lengths')
    value |= (group & 31) << shift
    shift += 5
    if group & 32:
      continue
    if group & 16:
      value -= 1 << shift
    runs.append(value + runs[-2] if len(runs) > 2 else value)
    value, shift = 0, 0
  if shift:
    raise ValueError('counts end within a run')
  return runs


def _result(function, *args):
  """Returns what a function returns, or the text of its ValueError."""
  try:
    return [*map(int, function(*args))]
  except ValueError as error:
    return str(error)


class RunLengthsTest(absltest.TestCase):

  def test_by_hand(self):
    mask = np.array([[1, 0], [1, 0], [0, 1]], bool)
    self.assertEqual(rle.runs_of(mask.ravel(order='F')), [0, 2, 3, 1])
    # The fourth run is stored as 1 - 2: -1 is the group 31, and 48 + 31 is 'O'.
    self.assertEqual(rle.encode_rle(mask), {'size': [3, 2], 'counts': '023O'})

  def test_masks_of_all_kinds(self):
    rng = np.random.default_rng(0)
    for case in range(150):
      size = rng.integers(1, [40, 900])
      mask = rng.random(size) < rng.choice([0, 0.001, 0.1, 0.5, 0.99, 1])
      text = rle.encode_rle(mask)['counts']
      runs = rle.runs_of(mask.ravel(order='F'))
      self.assertEqual(text, _encode(runs), case)
      self.assertEqual(_decode(text), runs, case)
      found = rle.decode_rle({'size': [*map(int, size)], 'counts': text})
      np.testing.assert_array_equal(found, mask, str(case))
    self.assertEqual(rle.runs_of(np.zeros(0, bool)), [0])

  def test_any_text(self):
    rng = np.random.default_rng(1)
    # pylint: disable=protected-access
    for case in range(1500):
      length = rng.integers(0, 12)
      low, high = [(48, 112), (46, 114), (80, 112)][case % 3]
      text = ''.join(map(chr, rng.integers(low, high, length)))
      if case % 50 == 0:
        text += '\u2019'
      self.assertEqual(
          _result(rle._parse, text), _result(_decode, text), repr(text))

  def test_long_runs(self):
    for runs in ([0, 2**28], [2**28 - 1, 1], [1, 2**27, 2**27 - 1]):
      text = _encode(runs)
      self.assertEqual(_result(rle._parse, text), runs)  # pylint: disable=protected-access

  def test_refused(self):
    for counts in ([1, -1, 6], [6.0], [True] * 6, '6x', 'O', '124', None, {}):
      with self.assertRaises(ValueError, msg=repr(counts)):
        rle.decode_rle({'size': [2, 3], 'counts': counts})
    with self.assertRaisesRegex(ValueError, 'counts hold 5 pixels, not 2 x 3'):
      rle.decode_rle({'size': [2, 3], 'counts': [5]})


if __name__ == '__main__':
  absltest.main()
