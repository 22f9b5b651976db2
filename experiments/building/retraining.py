"""Initializes the indicators of a run from the scores of an earlier audit.

Each instance starts with the indicator 1 - score. Without these scores, the
indicators of a run expose faulty annotations only late, once its networks have
learnt something. The audit has scored all annotations before the run starts,
and from better evidence. `experiments/results/retraining.md` shows how much
this helps.
"""

import csv
import json
import os
import sys

from data_prep.shared import cells
from data_prep.shared import grammar
from hybridseg import train_step as train_step_lib
from hybridseg import weight_rules
import jax.numpy as jnp
import ml_collections
import numpy as np

from experiments import binary
from experiments import csv_files
from experiments.building import input_pipeline


def check(name: str, path: str) -> None:
  """Checks that the weighting rule can use `weighting.initial_from`.

  Args:
    name: name of the rule.
    path: `initial_from`. The file is not read.

  Raises:
    ValueError: if the path is not '', but the rule has no indicators.
  """
  if path and name not in weight_rules.persistent():
    raise ValueError(
        f'weighting.initial_from={path} is for indicators, and {name!r} has '
        f'none: use {" or ".join(weight_rules.persistent())}.')


def only_where_used(weighting: ml_collections.ConfigDict) -> None:
  """Clears the keys of the section `weighting` that are for indicators, if its
  rule has none: `initial_from`, `per_class` and `pin_kept`.

  One command that trains several methods can then set the flags for all of
  them.
  """
  if weighting.name not in weight_rules.persistent():
    weighting.initial_from = ''
    weighting.per_class = False
    weighting.pin_kept = False


def read(
    path: str, dataset: input_pipeline.Dataset, *, otherwise: float
) -> np.ndarray | None:
  """Reads the first indicators of a run from the table of an audit.

  Args:
    path: '' or the path of the audit.csv of any run on the same weak images.
    dataset: set of the run.
    otherwise: indicator of images that the audit did not score.

  Returns:
    The indicator of each instance, float32 [N]; None if the path is ''.

  Raises:
    binary.UserError: if the file cannot be read, is not the table of an audit,
      or lists images that are not in the set.
  """
  if not path:
    return None
  where = f'weighting.initial_from={path}'
  try:
    columns = csv_files.read_columns(path, ('id', 'score'))
    if columns is not None:
      scores = dict(zip(columns['id'].tolist(), columns['score'].astype(
          float).tolist(), strict=True))
    else:
      with open(path, newline='', encoding='utf-8') as file:
        scores = {row['id']: float(row['score'])
                  for row in map(cells.undo_row, csv.DictReader(file))}
  except OSError as e:
    raise binary.UserError(f'{where} cannot be read: {e.strerror}.') from e
  except (KeyError, TypeError, ValueError, csv.Error) as e:
    raise binary.UserError(
        f'{where} is not the table of an audit with columns id and score: give '
        'the audit.csv that experiments.audit wrote.') from e
  records = dataset.splits['train_weak']
  ids = input_pipeline.column(records, 'id').astype(str).tolist()
  if learnt_from(path) == 'val':
    print(f'Note: {where} was learnt from masks of the validation split: val '
          'Dice and the best checkpoint of this run are not independent of '
          'them.', file=sys.stderr)
  for name, score in scores.items():
    if not 0 <= score <= 1:
      raise binary.UserError(f'{where}: the score of {name} is {score}, not in '
                             '[0, 1].')
  strange = sorted(scores.keys() - set(ids))
  if strange or not scores:
    raise binary.UserError(
        f'{where} is of another set: {len(strange)} of its '
        f'{grammar.counted(len(scores), "image")} '
        f'{grammar.verb(len(strange), "are")} no weak image of {dataset.name}'
        f'{": " + ", ".join(strange[:3]) if strange else ""}.')
  default = 1 - otherwise
  return np.float32([1 - scores.get(name, default) for name in ids])


def learnt_from(path: str) -> str:
  """Returns which exact masks an audit learnt from: 'strong', 'val' or ''.

  The answer is read from the file audit.json next to audit.csv; without that
  file, it is ''. Audits of older versions did not record the answer. Since they
  also learnt from the validation split, the answer for them is 'val'.

  Args:
    path: path of audit.csv.
  """
  beside = os.path.join(os.path.dirname(path), 'audit.json')
  try:
    with open(beside, encoding='utf-8') as file:
      return json.load(file).get('learn_from', 'val')
  except (OSError, ValueError, AttributeError):
    return ''


def start_from(
    state: train_step_lib.TrainState, indicators: np.ndarray | None
) -> train_step_lib.TrainState:
  """Replaces the first indicators in the state of a new run.

  Args:
    state: state from `parts.Network.init_fn`.
    indicators: indicators from `read`, float [N]; with None, the state is
      returned as it is.
  """
  if indicators is None:
    return state
  weights = state.indicators.weights
  if weights.ndim > 1:  # All classes of an instance start from its score.
    indicators = np.repeat(indicators[:, None], weights.shape[1], axis=1)
  return state._replace(indicators=state.indicators._replace(
      weights=jnp.asarray(indicators)))
