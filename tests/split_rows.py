"""Makes rows for tests of splits."""

from data_prep import manifest
from data_prep.splits import splits
from data_prep.splits import strong_choice

MASK = {'kind': 'mask', 'path': 'm.png'}
BOX = {'kind': 'box', 'boxes': [], 'labels': []}


def row(row_id, subject='', **fields):
  """Returns a row with an exact mask."""
  return manifest.Row(row_id, 'i.png', **{
      'split': '', 'role': 'strong', 'annotation': MASK, 'subject': subject,
      **fields})


def rows_of(sizes, **fields):
  """Returns rows of one subject per size, which has that many images."""
  return [row(f's{i}_{j}', f's{i}', **fields)
          for i, size in enumerate(sizes) for j in range(size)]


def assign(rows, presence=None, seed=0, **kwargs):
  """Returns the result of `splits.assign_splits` with the usual arguments."""
  return splits.assign_splits(
      rows, seed=seed, presence=presence or {}, **kwargs)


def choose(rows, presence=None, seed=0, **kwargs):
  """Returns the result of `strong_choice.choose_strong`.

  Keyword arguments that are fields of `strong_choice.Budget` make the budget.
  """
  budget = strong_choice.Budget(**{
      k: kwargs.pop(k) for k in strong_choice.Budget._fields if k in kwargs})
  return strong_choice.choose_strong(
      rows, budget=budget, seed=seed, presence=presence or {}, **kwargs)
