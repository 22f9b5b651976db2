"""Words for the keys of results, for the readers of reports."""

from typing import Any

from experiments.evaluation import metric_table

_KEYS = {
    'co_reg_loss': 'co-regularization loss',
    'num_faulty': 'with a planted fault', 'num_weak': 'weak annotations'}
_WORDS = {
    'assd': 'ASSD', 'auroc': 'AUROC', 'dice': 'Dice', 'hd95': 'HD95',
    'iou': 'IoU', 'nsd': 'NSD', 'val': 'validation'}


def words(key: Any) -> str:
  """Returns a key as text for a reader: 'num_cases' is 'cases'."""
  key = str(key)
  if key in _KEYS:
    return _KEYS[key]
  return ' '.join(
      _WORDS.get(word, word)
      for word in key.removeprefix('num_').replace('_', ' ').split(' '))


def case_words(name: str) -> str:
  """Returns the name of a case's value as text for a reader.

  'dice_polyp' is 'Dice of polyp'.

  Args:
    name: METRIC_CLASS, see `scoring.named_scores`, or a key.
  """
  for metric in metric_table.TABLE:
    if name.startswith(f'{metric}_'):
      of_class = name.removeprefix(f'{metric}_')
      return f'{words(metric)} of {of_class.replace("_", " ")}'
  return words(name)
