"""Divides the training subjects of a set into folds, and reads their results.

The published val and test splits must not decide which method is chosen.
"""

from collections.abc import Sequence
import csv
import itertools
import os
import statistics
from typing import Any

from data_prep import manifest as manifest_lib
import jax


def deal(rows: Sequence[manifest_lib.Row], num_folds: int) -> dict[str, int]:
  """Divides subjects into folds with similar numbers of images.

  Each subject, from the largest to the smallest, joins the smallest fold.

  Args:
    rows: images to train on.
    num_folds: number of folds.

  Returns:
    Fold of each subject.
  """
  numbers = {}
  for row in rows:
    numbers[row.subject] = numbers.get(row.subject, 0) + 1
  sizes, folds = [0] * num_folds, {}
  for subject in sorted(numbers, key=lambda s: (-numbers[s], s)):
    folds[subject] = sizes.index(min(sizes))
    sizes[folds[subject]] += numbers[subject]
  return folds


def fold_rows(
    rows: Sequence[manifest_lib.Row], folds: dict[str, int], fold: int
) -> list[manifest_lib.Row]:
  """Returns the rows of the set in which one fold is held out.

  Images of the held-out fold get their exact masks. Its subjects are assigned
  to val and test in turn, since a set has both splits.

  Args:
    rows: images to train on.
    folds: fold of each subject.
    fold: the fold to hold out.
  """
  held_out = sorted(subject for subject in folds if folds[subject] == fold)
  found = []
  for row in rows:
    split = 'train'
    if row.subject in held_out:
      split = ('val', 'test')[held_out.index(row.subject) % 2]
      if row.role != 'strong':
        truth = (row.evaluation or {}).get('truth')
        row = row._replace(role='strong', annotation=truth, evaluation=None)
    found.append(row._replace(split=split))
  return found


def sound_rows(
    rows: Sequence[manifest_lib.Row]
) -> list[manifest_lib.Row]:
  """Returns the rows but those whose annotation has a planted fault."""
  return [row for row in rows if not (row.evaluation or {}).get('fault')]


def read_held_out(workdir: str) -> dict[str, list[float]]:
  """Returns the Dice of each held-out image that counts, by subject.

  Args:
    workdir: folder of a finished run. The Dice of an image is the mean over the
      classes in the image or its prediction.
  """
  found = {}
  for split in ('val', 'test'):
    with open(os.path.join(workdir, f'cases_{split}.csv'), newline='',
              encoding='utf-8') as file:
      for row in csv.DictReader(file):
        dice = [float(cell) for name, cell in row.items()
                if name.startswith('dice_') and cell]
        if dice:
          found.setdefault(row['subject'], []).append(statistics.mean(dice))
  return found


def cell_of(workdir: str, results: dict[str, Any]) -> dict[str, Any]:
  """Returns what a cell says of a finished run on its held-out images.

  Args:
    workdir: folder of the run.
    results: what `trainer.train_and_evaluate` has returned.
  """
  held_out = read_held_out(workdir)
  return {
      'dice': statistics.mean(itertools.chain(*held_out.values())),
      'auroc': results['indicators'].get('auroc'),
      'state_sha256': results['state_sha256'],
      'device': jax.devices()[0].device_kind, 'jax': jax.__version__,
      'blocks': {subject: [len(dice), round(statistics.mean(dice), 6)]
                 for subject, dice in held_out.items()}}
