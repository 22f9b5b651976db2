r"""Do splits of random sets ever cut through a subject or a site?

python -m data_prep.benchmarks.split_leaks --num_sets=10000
"""

import sys
import time

from absl import app
from absl import flags
import numpy as np

from data_prep import manifest
from data_prep import splits

_NUM_SETS = flags.DEFINE_integer('num_sets', 10000, 'Random sets.')
_SEED = flags.DEFINE_integer('seed', 0, 'Of the first set.')


def random_set(
    rng: np.random.Generator,
) -> tuple[list[manifest.Row], dict[str, frozenset[int]]]:
  """Returns rows of random subjects and sites, and the classes of each."""
  num_subjects = rng.integers(6, 40)
  rows, presence = [], {}
  for i in range(num_subjects + rng.integers(0, 80)):
    subject = rng.integers(num_subjects)
    row_id = f'i{i:03d}'
    kind = 'mask' if rng.uniform() < 0.98 else 'box'
    rows.append(manifest.Row(
        row_id, f'{row_id}.png', '', '', {'kind': kind},
        subject=f's{subject}' if rng.uniform() < 0.8 else '',
        site=f'site{subject % 7}'))
    presence[row_id] = frozenset(
        v for v in range(1, 4) if rng.uniform() < 0.6 / v)
  return rows, presence


def count_cut(
    rows: list[manifest.Row], places: dict[str, str | int], field: str
) -> int:
  """Returns how many subjects or sites are in more than one place."""
  found = {}
  for row in rows:
    if getattr(row, field):
      found.setdefault(getattr(row, field), set()).add(places[row.id])
  return sum(len(v) > 1 for v in found.values())


def main(argv: list[str]) -> None:
  """Runs the benchmark; exit code 1 if anything was cut."""
  if len(argv) > 1:
    raise app.UsageError(f'Unexpected argument {argv[1]!r}.')
  start = time.monotonic()
  count = dict.fromkeys(
      ('sets', 'refused', 'images', 'subjects cut', 'sites cut',
       'subjects cut by folds', 'not split'), 0)
  for seed in range(_SEED.value, _SEED.value + _NUM_SETS.value):
    rows, presence = random_set(np.random.default_rng(seed))
    by = ('subject', 'site')[seed % 2]
    count['sets'] += 1
    count['images'] += len(rows)
    folds = splits.k_folds(rows, num_folds=3, seed=seed, presence=presence)
    count['subjects cut by folds'] += count_cut(rows, folds, 'subject')
    try:
      places = splits.assign_splits(rows, by=by, seed=seed, presence=presence)
    except ValueError:  # Too few groups.
      count['refused'] += 1
      continue
    count['not split'] += len({r.id for r in rows} - set(places))
    count['subjects cut'] += count_cut(rows, places, 'subject')
    if by == 'site':
      count['sites cut'] += count_cut(rows, places, 'site')
  for name, number in count.items():
    print(f'| {name} | {number} |')
  print(f'{time.monotonic() - start:.0f} s')
  if count['subjects cut'] or count['sites cut'] or count['not split'] or (
      count['subjects cut by folds']):
    sys.exit(1)


if __name__ == '__main__':
  app.run(main)
