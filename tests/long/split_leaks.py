r"""Tests with random sets that no split or fold divides a subject or site.

python -m tests.long.split_leaks --num_sets=10000

The program prints a line for each check, and its exit code is 1 if a check
fails. The images that must stay together are found without `splits.group_rows`,
since that function is under test. 10,000 sets take about 90 s.
"""

import collections
from collections.abc import Iterator
import re
import sys
from typing import NamedTuple

from absl import app
from absl import flags
import numpy as np

from data_prep import manifest
from data_prep.splits import splits

_NUM_SETS = flags.DEFINE_integer('num_sets', 10_000, 'Random sets.', 1)
_SEED = flags.DEFINE_integer('set_seed', 0, 'Seed of the sets.', 0)

_MASK = {'kind': 'mask', 'path': 'm.png'}
_BOX = {'kind': 'box', 'boxes': [], 'labels': []}
_FRACTIONS = ((0.7, 0.1, 0.2), (0.6, 0.2, 0.2), (0.8, 0.0, 0.2),
              (0.34, 0.33, 0.33), (1.0, 0.0, 0.0), (0.98, 0.01, 0.01))


class RandomSet(NamedTuple):
  """A random set, and the arguments for dividing it into splits and folds.

  Attributes:
    rows: rows of the images, in random order.
    presence: classes that each image shows, by id.
    fractions: shares of train, val and test.
    by: 'subject' or 'site'.
    num_folds: number of folds.
    seed: seed for drawing splits and folds.
  """

  rows: list[manifest.Row]
  presence: dict[str, frozenset[int]]
  fractions: tuple[float, float, float]
  by: str
  num_folds: int
  seed: int


def random_set(rng: np.random.Generator) -> RandomSet:
  """Draws a random set and random arguments for dividing it."""
  size = int(rng.choice([rng.integers(8), rng.integers(8, 80)], p=[0.1, 0.9]))
  by = str(rng.choice(['subject', 'site']))
  num_subjects = int(rng.integers(1, 2 * size + 2))
  num_sites = int(rng.integers(1, size // 2 + 5))
  # In half of the sets, a few subjects have most of the images.
  weights = rng.random(num_subjects) ** float(rng.choice([0.0, 6.0])) + 1e-6
  subjects = rng.choice(num_subjects, size, p=weights / weights.sum())
  no_subject = rng.random(size) < rng.choice([0.0, 0.2, 1.0])
  # Mostly, all images of a subject are from one site. Move a few images to
  # another site, so that their subject links both sites.
  sites = rng.integers(num_sites, size=num_subjects)[subjects]
  moved = rng.random(size) < rng.choice([0.0, 0.02])
  sites = np.where(moved, rng.integers(num_sites, size=size), sites)
  inexact = rng.random(size) < rng.choice([0.0, 0.0, 0.1, 0.5])
  no_site = by == 'subject' and rng.random() < 0.5
  rates = rng.random(int(rng.integers(5))) ** 3
  rows, presence = [], {}
  for i in range(size):
    row_id = f'i{i}'
    rows.append(manifest.Row(
        row_id, 'i.png', '', 'strong', _BOX if inexact[i] else _MASK,
        subject='' if no_subject[i] else f's{subjects[i]}',
        # Some sites have the same name as a subject. This must not link their
        # images.
        site='' if no_site else f's{sites[i]}'))
    presence[row_id] = frozenset(
        [0, *(1 + np.flatnonzero(rng.random(len(rates)) < rates)).tolist()])
  rows = _give_splits(rows, by, rng)
  return RandomSet(
      [rows[i] for i in rng.permutation(size)], presence,
      _FRACTIONS[rng.integers(len(_FRACTIONS))], by, int(rng.integers(2, 6)),
      int(rng.integers(1000)))


def check_set(drawn: RandomSet) -> dict[str, bool]:
  """Returns, for each check that applies to a set, whether the set passed."""
  groups = _components(drawn.rows, drawn.by)
  return {**_check_splits(drawn, groups), **_check_folds(drawn, groups)}


def check_sets(num_sets: int, *, seed: int) -> dict[str, tuple[int, int]]:
  """Applies all checks to random sets.

  Returns:
    For each check, the number of sets to which it applies and the number of
    sets that failed it.
  """
  seen, failed = collections.Counter(), collections.Counter()
  for i in range(num_sets):
    checks = check_set(random_set(np.random.default_rng([seed, i])))
    seen.update(checks.keys())
    failed.update(name for name, good in checks.items() if not good)
  return {name: (seen[name], failed[name]) for name in seen}


def _give_splits(rows, by, rng):
  """Gives some groups a split by setting it in some or all of their rows.

  In a few sets, one row is put into a split that may be wrong for it.
  """
  rate = rng.choice([0.0, 0.0, 0.1, 1.0])
  split_of = {}
  for group in _components(rows, by):
    exact = all(rows[i].annotation is _MASK for i in group)
    split = str(rng.choice(manifest.SPLITS if exact else ['train']))
    if rng.random() < rate:
      split_of.update(
          (i, split) for i in group[: int(rng.integers(1, len(group) + 1))])
  # Putting this row into test may be an error; `_check_splits` finds out.
  if rows and rng.random() < 0.05:
    split_of[int(rng.integers(len(rows)))] = 'test'
  return [row._replace(split=split_of.get(i, '')) for i, row in enumerate(rows)]


def _components(rows, by):
  """Returns groups of rows that must stay together, as lists of indices.

  Such rows are linked by common subjects or, if `by` is 'site', common sites.
  """
  near = collections.defaultdict(list)
  names = lambda row: [
      n for n in (('subject', row.subject), ('site', row.site))
      if n[1] and (n[0] == 'subject' or by == 'site')]
  for i, row in enumerate(rows):
    for name in names(row):
      near[name].append(i)
  groups, done = [], set()
  for start in range(len(rows)):
    if start in done:
      continue
    group, todo = [], [start]
    done.add(start)
    while todo:
      group.append(todo.pop())
      for name in names(rows[group[-1]]):
        more = [j for j in near.pop(name, ()) if j not in done]
        done.update(more)
        todo += more
    groups.append(sorted(group))
  return groups


def _check_splits(drawn, groups):
  """Returns, for each check of splits, whether the set's splits passed it."""
  rows, by = drawn.rows, drawn.by
  assign = lambda rows: splits.assign_splits(
      rows, fractions=drawn.fractions, by=by, seed=drawn.seed,
      presence=drawn.presence)
  given = [{rows[i].split for i in g} - {''} for g in groups]
  exact = [all(rows[i].annotation is _MASK for i in g) for g in groups]
  torn = any(len(g) > 1 for g in given)
  unfit = any(g & {'val', 'test'} and not e
              for g, e in zip(given, exact, strict=True))
  taken = set().union(*given)
  if any(not g and not e for g, e in zip(given, exact, strict=True)):
    taken.add('train')
  free = [g for g, known, e in zip(groups, given, exact, strict=True)
          if not known and e]
  wanted = {s for s, f in zip(
      manifest.SPLITS, drawn.fractions, strict=True) if f}
  must_refuse = torn or unfit or len(free) < len(wanted - taken)
  try:
    found = assign(rows)
  except ValueError as error:
    good = must_refuse and _is_plain(error)
    return {'splits: a refused set has too few groups, or a torn one': good}
  again = assign(_shuffled(rows, drawn.seed))
  split_of = [found.get(row.id) for row in rows]
  checks = {
      'splits: no set is dealt that had to be refused': not must_refuse,
      'splits: every image once': sorted(found) == sorted(
          row.id for row in rows) and set(split_of) <= set(manifest.SPLITS),
      'splits: no subject in two': not _is_shared(rows, split_of, 'subject'),
      'splits: no group in two': all(
          len({split_of[i] for i in g}) == 1 for g in groups),
      'splits: given ones are kept': all(
          row.split in ('', s) for row, s in zip(rows, split_of, strict=True)),
      'splits: val and test have exact masks': all(
          s == 'train' or row.annotation is _MASK
          for row, s in zip(rows, split_of, strict=True)),
      'splits: each has an image': wanted <= set(split_of),
      'splits: none in a share of 0': all(
          split_of[g[0]] in wanted for g in free),
      'splits: the order of the rows does not matter': list(
          again.items()) == list(found.items()),
      'splits: the same again': assign(rows) == found,
  }
  if by == 'site':
    checks['splits: no site in two'] = not _is_shared(rows, split_of, 'site')
  if len(free) == len(groups):
    checks['splits: within one group of the fractions'] = _are_near(
        [split_of[g[0]] for g in groups], [len(g) for g in groups],
        dict(zip(manifest.SPLITS, drawn.fractions, strict=True)))
  return checks


def _check_folds(drawn, groups):
  """Returns, for each check of folds, whether the set's folds passed it."""
  rows, num_folds = drawn.rows, drawn.num_folds
  deal = lambda rows: splits.k_folds(
      rows, num_folds=num_folds, by=drawn.by, seed=drawn.seed,
      presence=drawn.presence)
  exact = [any(rows[i].annotation is _MASK for i in g) for g in groups]
  must_refuse = sum(exact) < num_folds
  try:
    found = deal(rows)
  except ValueError as error:
    return {'folds: a refused set has too few groups':
            must_refuse and _is_plain(error)}
  fold_of = [found.get(row.id) for row in rows]
  masks = {f for f, row in zip(fold_of, rows, strict=True)
           if row.annotation is _MASK}
  checks = {
      'folds: no set is dealt that had to be refused': not must_refuse,
      'folds: every image once': sorted(found) == sorted(
          row.id for row in rows) and set(fold_of) == set(range(num_folds)),
      'folds: no subject in two': not _is_shared(rows, fold_of, 'subject'),
      'folds: no group in two': all(
          len({fold_of[i] for i in g}) == 1 for g in groups),
      'folds: each has an exact mask': masks == set(range(num_folds)),
      'folds: the order of the rows does not matter': list(
          deal(_shuffled(rows, drawn.seed)).items()) == list(found.items()),
      'folds: within one group of equal': _are_near(
          [fold_of[g[0]] for g in groups], [len(g) for g in groups],
          dict.fromkeys(range(num_folds), 1 / num_folds), exact),
  }
  if drawn.by == 'site':
    checks['folds: no site in two'] = not _is_shared(rows, fold_of, 'site')
  return checks


def _is_plain(error):
  """Returns whether the message of an error is one short line."""
  text = str(error)
  return '\n' not in text and len(text) < 250 and bool(re.search(r'\w', text))


def _is_shared(rows, values, field):
  """Returns whether rows of the same subject or site differ in their values.

  Args:
    rows: rows of a set.
    values: split or fold of each row.
    field: 'subject' or 'site'.
  """
  seen = {}
  return any(
      seen.setdefault(getattr(row, field), value) != value
      for row, value in zip(rows, values, strict=True) if getattr(row, field))


def _shuffled(rows, seed):
  return [rows[i] for i in np.random.default_rng(seed).permutation(len(rows))]


def _are_near(bins, sizes, shares, exact=None):
  """Returns whether the size of each bin is close enough to its share.

  A bin is a split or a fold. Its size may exceed its share by at most the size
  of the largest group. It may fall short by the same size, or by as many times
  that size as there are bins with a single group with exact masks: such a bin
  had to get its group, whatever the size of the group.

  Args:
    bins: bin of each group.
    sizes: number of images of each group.
    shares: share of the images that each bin should get.
    exact: whether each group has exact masks; None if all have.
  """
  exact = [True] * len(bins) if exact is None else exact
  largest, total = max(sizes), sum(sizes)
  singles = sum(
      sum(b == name and e for b, e in zip(bins, exact, strict=True)) == 1
      for name in shares)
  for name, share in shares.items():
    more = sum(
        s for b, s in zip(bins, sizes, strict=True) if b == name
    ) - share * total
    if not -largest * max(1, singles) - 1e-6 <= more <= largest + 1e-6:
      return False
  return True


def _table(results: dict[str, tuple[int, int]]) -> Iterator[str]:
  """Yields the lines of a table with the results of all checks."""
  width = max(map(len, results))
  yield f'{"check":{width}}  {"sets":>6}  {"failed":>6}'
  for name, (seen, failed) in sorted(results.items()):
    yield f'{name:{width}}  {seen:6}  {failed:6}'


def main(argv):
  if len(argv) > 1:
    raise app.UsageError(f'Unexpected arguments: {argv[1:]}')
  results = check_sets(_NUM_SETS.value, seed=_SEED.value)
  print(*_table(results), sep='\n')
  sys.exit(any(failed for _, failed in results.values()))


if __name__ == '__main__':
  app.run(main)
