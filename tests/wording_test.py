"""Tests of experiments.reports.wording."""

from absl.testing import absltest
from absl.testing import parameterized

from experiments.evaluation import metric_table
from experiments.reports import wording


class WordingTest(parameterized.TestCase):

  @parameterized.parameters(
      ('dice_left_ventricle', 'Dice of left ventricle'),
      ('volume_error_polyp', 'volume error of polyp'),
      ('precision_val', 'precision of val'),
      ('uncertainty', 'uncertainty'))
  def test_value_of_a_case(self, name, expected):
    self.assertEqual(wording.case_words(name), expected)

  @parameterized.parameters(*metric_table.TABLE)
  def test_each_metric_is_of_its_class(self, metric):
    self.assertEndsWith(wording.case_words(f'{metric}_dice'), ' of dice')


if __name__ == '__main__':
  absltest.main()
