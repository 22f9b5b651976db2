"""Tests for data_prep.checks.subject_names."""

import re

from absl.testing import absltest
from absl.testing import parameterized

from data_prep import manifest as manifest_lib
from data_prep.checks import subject_names


def _rows(*names):
  return [manifest_lib.Row(f'{name}/a', 'a.png', '', '', None, subject=name)
          for name in names]


class FindNoticeTest(parameterized.TestCase):

  @parameterized.parameters(
      (('p01_a', 'p01_b', 'p02_a', 'p02_b'), 'p01_a and p01_b', 1),
      (('eye7-L', 'eye7-R', 'eye8-L', 'eye8-R', 'x'), 'eye7-L and eye7-R', 1),
      (('p1_01', 'p1_02', 'p2_01', 'p2_02', 'p3_01', 'p3_02'),
       'p1_01 and p1_02', 2))
  def test_parts_of_a_subject(self, names, first, more):
    notice = subject_names.find_notice(_rows(*names))
    self.assertStartsWith(notice, f'{first} may be one subject, and {more} ')
    self.assertLessEqual(len(notice), 190)
    pattern = re.search("'(.*)'", notice)[1]
    self.assertEqual(
        {re.search(pattern, f'{name}/a')[1] for name in names if '_' in name
         or '-' in name},
        {re.split('[_-]', name)[0] for name in names if name != 'x'})

  @parameterized.parameters(
      (('case_1', 'case_2', 'case_3'),),
      (('p01_a', 'p02_a', 'p03_a'),),
      (('2020_01', '2020_02'),),
      (('p01_scan', 'p01_film', 'p02_scan', 'p02_film'),),
      ((),))
  def test_other_names_are_left_alone(self, names):
    self.assertEqual(subject_names.find_notice(_rows(*names)), '')

  def test_subjects_that_no_id_starts_with(self):
    rows = [row._replace(id=f'picture_{i}') for i, row in enumerate(
        _rows('p01_a', 'p01_b', 'p02_a', 'p02_b'))]
    self.assertEqual(subject_names.find_notice(rows), '')


if __name__ == '__main__':
  absltest.main()
