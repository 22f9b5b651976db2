"""The metrics of a case, one row each: what every other module asks about.

A new metric is a row here and its function, in `hybridseg.metrics` if counts of
pixels decide, else in `hybridseg.surface_metrics`.
"""

from collections.abc import Callable
import types
from typing import NamedTuple

import hybridseg
import numpy as np


class Metric(NamedTuple):
  """What is known of a metric.

  Attributes:
    title: for people.
    from_counts: of `metrics.confusion_counts`, int [..., K, 3], to scores,
      float [..., K]; None for those of `surface_metrics.SurfaceScores`.
    higher_is_better: whether more of it is better; the best score is then 1,
      else 0.
    is_distance: whether it has a unit, and no worst score that it could show.
    has_tolerance: whether it depends on a tolerance, which is a distance.
  """

  title: str
  from_counts: Callable[[np.ndarray], np.ndarray] | None = None
  higher_is_better: bool = True
  is_distance: bool = False
  has_tolerance: bool = False

  def label(self, unit: str, tolerance: float) -> str:
    """Returns the title with what a reader of numbers must know.

    Args:
      unit: of distances.
      tolerance: in this unit.
    """
    if self.is_distance:
      return f'{self.title} ({unit})'
    if self.has_tolerance:
      return f'{self.title} at {tolerance:g} {unit}'
    return self.title


# In the order of tables. A column of a table is METRIC_CLASS: no name here may
# be the start of another one and an underscore. The functions are looked up
# when they are called: --help needs the names of the metrics, and no JAX.
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
