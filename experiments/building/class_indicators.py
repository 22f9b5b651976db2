"""Shows indicators of classes where a reader expects those of instances.

With `weighting.per_class`, a run has indicators [N, K - 1] instead of [N].
"""

from collections.abc import Sequence

import numpy as np


def columns(
    weights: np.ndarray, classes: Sequence[str]
) -> dict[str, np.ndarray]:
  """Returns the indicators of each foreground class by column, float [N] each.

  Args:
    weights: indicators of all weak instances; if they are not of classes, float
      [N], there are no columns.
    classes: names of the classes, background first.
  """
  if np.ndim(weights) == 1:
    return {}
  return {f'indicator_{name}': column for name, column in zip(
      classes[1:], np.transpose(weights), strict=True)}


def of_instances(weights: np.ndarray) -> np.ndarray:
  """Returns one indicator per instance, float [N].

  Args:
    weights: indicators of all weak instances, float [N]; of those of classes,
      float [N, K - 1], the mean over the classes is taken.
  """
  return weights if np.ndim(weights) == 1 else np.mean(weights, axis=-1)
