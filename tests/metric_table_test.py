"""Tests for experiments.evaluation.metric_table."""

from absl.testing import absltest
from hybridseg import surface_metrics
import numpy as np

from experiments.evaluation import metric_table


class MetricTableTest(absltest.TestCase):

  def test_best_and_worst_are_what_a_row_says(self):
    # The columns are hits, invented pixels and missed pixels. The first row is
    # all right, the second all wrong.
    counts = np.array([[5, 0, 0], [0, 9, 5]])
    for name, metric in metric_table.TABLE.items():
      if metric.from_counts:
        best, worst = metric.from_counts(counts)
        self.assertEqual(best, float(metric.higher_is_better), name)
        self.assertEqual(best > worst, metric.higher_is_better, name)

  def test_every_surface_metric_is_here(self):
    self.assertEqual(
        {name for name, m in metric_table.TABLE.items() if not m.from_counts},
        set(surface_metrics.SurfaceScores._fields))

  def test_no_column_can_be_read_as_that_of_another(self):
    for a in metric_table.TABLE:
      for b in metric_table.TABLE:
        self.assertFalse(a != b and b.startswith(f'{a}_'))

  def test_labels_say_unit_and_tolerance(self):
    self.assertEqual(
        [metric_table.TABLE[n].label('mm', 2) for n in ('dice', 'hd95', 'nsd')],
        ['Dice', 'HD95 (mm)', 'NSD at 2 mm'])


if __name__ == '__main__':
  absltest.main()
