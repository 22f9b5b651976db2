"""Tests of numbers and lists in lines."""

import shlex

from absl import flags
from absl.testing import absltest
from data_prep.shared import grammar


class GrammarTest(absltest.TestCase):

  def test_counted(self):
    self.assertEqual([grammar.counted(n, 'picture') for n in (0, 1, 2)],
                     ['0 pictures', '1 picture', '2 pictures'])
    self.assertEqual([grammar.counted(n, 'class') for n in (1, 2)],
                     ['1 class', '2 classes'])

  def test_counted_with_a_verb(self):
    self.assertEqual(
        [grammar.counted(n, 'mask', 'are') for n in (0, 1, 2)],
        ['0 masks are', '1 mask is', '2 masks are'])

  def test_flag(self):
    self.assertEqual(grammar.flag('classes', ['a', 'b c']), "--classes='a,b c'")
    self.assertEqual(grammar.flag('classes', ['a', 'b']), '--classes=a,b')
    names = ['background', 'liver, "left"', "it's"]
    text, = shlex.split(grammar.flag('classes', names))
    self.assertEqual(flags.ListParser().parse(text[len('--classes='):]), names)

  def test_verb(self):
    self.assertEqual([grammar.verb(n, 'are') for n in (0, 1, 2)],
                     ['are', 'is', 'are'])
    self.assertEqual([grammar.verb(1, v) for v in ('have', 'lie', 'do')],
                     ['has', 'lies', 'does'])


if __name__ == '__main__':
  absltest.main()
