"""Lists all metrics of a case, with the properties that other modules need.

To add a metric, add a row here and a function: in `hybridseg.metrics` if it
follows from pixel counts, else in `hybridseg.surface_metrics`.
"""

from collections.abc import Callable
import types
from typing import NamedTuple

import hybridseg
import numpy as np


class Metric(NamedTuple):
  """The properties of a metric.

  Attributes:
    title: name of the metric in reports.
    from_counts: function from the counts of `metrics.confusion_counts`, int
      [..., K, 3], to scores, float [..., K]; None for the metrics of
      `surface_metrics.SurfaceScores`.
    higher_is_better: whether higher scores are better. If so, the best score is
      1, otherwise it is 0.
    is_distance: whether the metric is a distance, which has a unit and no
      largest value.
    has_tolerance: whether the metric depends on a tolerance, which is a
      distance.
  """

  title: str
  from_counts: Callable[[np.ndarray], np.ndarray] | None = None
  higher_is_better: bool = True
  is_distance: bool = False
  has_tolerance: bool = False

  def label(self, unit: str, tolerance: float) -> str:
    """Returns the title with the unit or the tolerance, if the metric has one.

    Args:
      unit: unit of distances.
      tolerance: tolerance in this unit.
    """
    if self.is_distance:
      return f'{self.title} ({unit})'
    if self.has_tolerance:
      return f'{self.title} at {tolerance:g} {unit}'
    return self.title


# Tables list the metrics in this order, in columns named METRIC_CLASS. To keep
# these names unique, no metric's name followed by an underscore may be the
# start of another one's name. Each function is wrapped in a lambda, which looks
# it up only when it is called: --help needs the names of the metrics, but must
# not import JAX.
TABLE = types.MappingProxyType({
    'dice': Metric('Dice', lambda x: hybridseg.metrics.dice_from_counts(x)),
    'iou': Metric('IoU', lambda x: hybridseg.metrics.iou_from_counts(x)),
    'precision': Metric(
        'precision', lambda x: hybridseg.metrics.precision_from_counts(x)),
    'recall': Metric(
        'recall', lambda x: hybridseg.metrics.recall_from_counts(x)),
    'volume_error': Metric(
        'volume error', lambda x: hybridseg.metrics.volume_error_from_counts(x),
        higher_is_better=False),
    'hd95': Metric('HD95', higher_is_better=False, is_distance=True),
    'assd': Metric('ASSD', higher_is_better=False, is_distance=True),
    'nsd': Metric('NSD', has_tolerance=True),
})
