"""Tests for experiments.auditing.expected_gain."""

import csv
import os

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from data_prep.drawing import annotation_kinds
from experiments import binary
from experiments.auditing import expected_gain
from tests import tiny


def _suspects(scores, *, disagreements=1.0, kinds='box', sites='',
              subjects=None, minutes=1.0):
  number = len(scores)
  column = lambda x: np.array(
      [x] * number if isinstance(x, (str, float)) else x)
  return expected_gain.Suspects(
      ids=np.array([f'i{n}' for n in range(number)]),
      scores=np.array(scores, float), disagreements=column(disagreements),
      kinds=column(kinds), sites=column(sites),
      subjects=column([str(n) for n in range(number)]
                      if subjects is None else subjects),
      minutes=column(minutes))


class ExpectedGainTest(parameterized.TestCase):

  def order(self, suspects, name='gain', **options):
    return expected_gain.order(suspects, name, **options).tolist()

  def test_gain_per_minute_by_hand(self):
    suspects = _suspects([0.8, 0.4, 0.9], disagreements=[0.5, 1.0, 0.1],
                         minutes=[4.0, 0.2, 0.15])
    np.testing.assert_allclose(
        expected_gain.gains(suspects), [0.1, 2.0, 0.6])
    self.assertEqual(self.order(suspects), [1, 2, 0])
    self.assertEqual(self.order(suspects, 'suspicion'), [2, 0, 1])

  def test_a_subject_counts_less_each_time(self):
    # 0.9 / 2 < 0.5, then 0.8 / 2 = 0.4 > 0.3, and 0.45 / 2 < 0.3.
    suspects = _suspects(
        [0.9, 0.8, 0.5, 0.3, 0.45], subjects=['a', 'a', 'b', 'c', 'b'])
    self.assertEqual(self.order(suspects), [0, 2, 1, 3, 4])

  def test_sites_and_kinds_count_by_their_share(self):
    suspects = _suspects([0.9, 0.8, 0.5, 0.41], sites=['a', 'a', 'b', 'b'])
    # After the first, all chosen are of site a: 0.8 / 2 < 0.41 < 0.5. Then
    # half are of each site: 0.8 * 0.75 > 0.41 * 0.75.
    self.assertEqual(self.order(suspects), [0, 2, 1, 3])
    kinds = suspects._replace(sites=suspects.kinds, kinds=suspects.sites)
    self.assertEqual(self.order(kinds), [0, 2, 1, 3])
    same = _suspects([0.9, 0.8, 0.5, 0.41], sites='a')
    self.assertEqual(self.order(same), [0, 1, 2, 3])

  def test_equal_gains_keep_their_order(self):
    self.assertEqual(self.order(_suspects([0.5] * 6)), [0, 1, 2, 3, 4, 5])
    self.assertEqual(self.order(_suspects([])), [])

  @parameterized.parameters(*expected_gain.ORDERS)
  def test_budget(self, name):
    rng = np.random.default_rng(0)
    suspects = _suspects(
        rng.random(40), minutes=rng.choice([0.25, 4.0], 40),
        disagreements=rng.random(40))
    everything = self.order(suspects, name)
    self.assertCountEqual(everything, range(40))
    chosen = self.order(suspects, name, budget=10.0)
    self.assertLessEqual(suspects.minutes[chosen].sum(), 10.0)
    self.assertLen(set(chosen), len(chosen))
    # Nothing that is left out would still fit.
    left = sorted(set(range(40)) - set(chosen))
    self.assertGreater(
        suspects.minutes[left].min(), 10.0 - suspects.minutes[chosen].sum())
    self.assertEqual(self.order(suspects, name, budget=0.1), [])

  def test_what_does_not_fit_is_passed_over(self):
    suspects = _suspects([0.9, 0.8, 0.7], minutes=[1.0, 3.0, 1.0])
    self.assertEqual(self.order(suspects, 'suspicion', budget=2.0), [0, 2])

  def test_random_order_depends_on_the_seed_alone(self):
    suspects = _suspects(np.linspace(0, 1, 30))
    first = self.order(suspects, 'random')
    self.assertEqual(first, self.order(
        suspects._replace(scores=suspects.scores[::-1]), 'random'))
    self.assertNotEqual(first, self.order(suspects, 'random', seed=1))

  def test_minutes(self):
    np.testing.assert_array_equal(
        expected_gain.minutes_of(
            ['box', 'mask', 'box', 'tag'],
            expected_gain.parse(['mask:10', ' box:0.5'])),
        [0.5, 10, 0.5, annotation_kinds.TABLE['tag'].minutes])

  @parameterized.parameters(
      'box', 'box:', 'box:0', 'box:-1', 'box:nan', 'box:inf', 'cube:1',
      'mask:1')
  def test_refuses_minutes(self, pair):
    with self.assertRaisesRegex(binary.UserError, '--minutes_by_kind: '):
      expected_gain.parse(['mask:2', pair])

  def test_table(self):
    path = os.path.join(tiny.temp_dir(self), 'next.csv')
    suspects = _suspects([0.25, 0.5], minutes=[0.2, 0.5], sites=['=x', 'y'])
    expected_gain.write(path, suspects, np.array([1, 0]))
    with open(path, newline='', encoding='utf-8') as file:
      header, *rows = csv.reader(file)
    self.assertEqual(header, list(expected_gain.HEADER))
    self.assertEqual(rows[0][:6], ['1', 'i1', '0.5', '0.5', '1', '0.5000'])
    self.assertEqual(rows[1][:6], ['2', 'i0', '0.2', '0.7', '1.25', '0.2500'])
    self.assertEqual(rows[0][8], 'y')
    self.assertNotEqual(rows[1][8], '=x')  # No spreadsheet may compute it.


if __name__ == '__main__':
  absltest.main()
