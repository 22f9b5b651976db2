"""Divides images into splits and folds.

The images of a group stay together, so that no subject (and no site, on
request) is in two splits. All draws are seeded and do not depend on the order
of the rows. `splits_file` stores the result.
"""

from collections.abc import Mapping, Sequence, Set

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from data_prep import manifest
from data_prep.shared import grammar

# Folds balance exact masks as if they were one more class with this name.
_EXACT = ('exact mask',)
# Tolerance for comparing numbers of images, since sums of fractions are not
# exact.
_TINY = 1e-9


class TooFewGroupsError(ValueError):
  """Raised if there are fewer groups with exact masks than splits to fill."""


def assign_splits(
    rows: Sequence[manifest.Row],
    *,
    fractions: tuple[float, float, float] = (0.7, 0.1, 0.2),
    by: str = 'subject',
    seed: int,
    presence: Mapping[str, Set],
) -> dict[str, str]:
  """Assigns each group of images to train, val or test.

  A group consists of all images of a subject or, if `by` is 'site', of all
  images that share a site or a subject. If a row of a group already has a
  split, the whole group gets that split. A group that holds a row without an
  exact mask goes to train. The other groups are assigned one after the other:
  those of the rarest class first, and among these the largest. Among the splits
  that still lack at least as many images as the group has, the group goes to

    argmax_s sum_c count[c] * need[s, c] / left[c]^2.

  Here c = 0 stands for all images, and every other c for the images that show
  one class: count is their number in the group, need the number that split s
  still lacks, and left the number in all groups that are not assigned yet.
  Classes with few images left thus weigh most. If no split lacks that many
  images, the group goes to the split that lacks most images. This is the method
  of Sechidis et al., "On the Stratification of Multi-Label Data", 2011
  (https://doi.org/10.1007/978-3-642-23808-6_10), but it assigns groups instead
  of images, and considers all classes of a group at once.

  `fractions` are shares of the images with exact masks only, so that many weak
  images do not leave train without a strong one. If no row had a split before,
  the size of each split differs from its fraction by at most the largest group,
  unless this or another split holds a single group.

  Args:
    rows: rows of a manifest, in any order.
    fractions: shares of train, val and test, which sum to 1.
    by: 'subject' or 'site'.
    seed: seed of the draw, not negative.
    presence: classes that each image shows, by id; images without an entry show
      none.

  Returns:
    The split of each image by id, sorted by id.

  Raises:
    ValueError: if an argument is wrong, a site is empty, an id occurs twice, a
      group is already in two splits or is in val or test without exact masks,
      or there are too few groups. The message is one line.
  """
  shares = np.asarray(fractions, np.float64)
  if (shares.shape != (3,) or not (shares >= 0).all()
      or abs(shares.sum() - 1) > 1e-6):
    raise ValueError(
        f'Expected three fractions >= 0 that sum to 1, got {fractions}.')
  groups = group_rows(rows, by)
  chosen = np.array([_known_split(g) for g in groups], np.int64)
  counts = _count(
      groups, presence, {row.id for row in rows if manifest.is_exact(row)})
  free = chosen < 0
  have = np.stack([counts[chosen == s].sum(0) for s in range(3)])
  lacking = [s for s in np.flatnonzero(shares) if not (chosen == s).any()]
  if free.sum() < len(lacking):
    names = ', '.join(manifest.SPLITS[s] for s in lacking)
    needed = np.count_nonzero(shares)
    if len(groups) < needed:
      raise TooFewGroupsError(
          f'{needed} splits need a group (by {by}) each, but there '
          f'{grammar.verb(len(groups), "are")} only '
          f'{grammar.counted(len(groups), "group")}.')
    raise TooFewGroupsError(
        f'{names}: {grammar.counted(len(lacking), "group")} (by {by}) '
        f'{grammar.verb(len(lacking), "are")} needed, one for each, but only '
        f'{free.sum()} of {len(groups)} can be given: in no split yet '
        'and every image with an exact mask.')
  # Train needs a strong image, even if it already has groups with weak ones.
  if shares[0] and not have[0, 0] and 0 not in lacking:
    if free.sum() > len(lacking):
      lacking.append(0)
  chosen[free] = _deal(
      counts[free], _share_out(counts.sum(0), have, shares),
      np.random.default_rng([seed, 0]), lacking=lacking, open_=shares > 0)
  return _by_id(groups, [manifest.SPLITS[s] for s in chosen])


def k_folds(
    rows: Sequence[manifest.Row],
    *,
    num_folds: int,
    by: str = 'subject',
    seed: int,
    presence: Mapping[str, Set],
) -> dict[str, int]:
  """Assigns each group of images to one of `num_folds` folds.

  This works as in `assign_splits` with equal shares. Exact masks are balanced
  like one more class, and each fold gets at least one. If a fold is held out
  for evaluation, leave out its images without exact masks, as they cannot be
  evaluated. Splits that rows already have are ignored, so pass only the rows
  that are to be divided.

  Args:
    rows: rows of a manifest, in any order.
    num_folds: number of folds, at least 2.
    by: 'subject' or 'site'.
    seed: seed of the draw, not negative.
    presence: classes that each image shows, by id; images without an entry show
      none.

  Returns:
    The fold of each image by id, counted from 0 and sorted by id.

  Raises:
    ValueError: if an argument is wrong, a site is empty, an id occurs twice, or
      there are fewer groups with an exact mask than folds. The message is one
      line.
  """
  if num_folds < 2:
    raise ValueError(f'Expected at least 2 folds, got {num_folds=}.')
  groups = group_rows(rows, by)
  exact = np.array([any(map(manifest.is_exact, g)) for g in groups], bool)
  if exact.sum() < num_folds:
    raise ValueError(
        f'{num_folds} folds need as many groups (by {by}) with an exact mask, '
        f'but only {exact.sum()} of {grammar.counted(len(groups), "group")} '
        f'{grammar.verb(int(exact.sum()), "have")} one.')
  shown = {
      row.id: {*presence.get(row.id, ()), *([_EXACT] * manifest.is_exact(row))}
      for row in rows}
  counts = _count(groups, shown, shown)
  need = np.tile(counts.sum(0) / num_folds, (num_folds, 1))
  folds = _deal(
      counts, need, np.random.default_rng([seed, 1]), lacking=range(num_folds),
      open_=np.ones(num_folds, bool), late=~exact)
  return _by_id(groups, folds.tolist())


def group_rows(
    rows: Sequence[manifest.Row], by: str
) -> list[list[manifest.Row]]:
  """Groups the rows that must stay together; groups are sorted by id.

  Args:
    rows: rows of a manifest, in any order.
    by: 'subject' puts rows of the same subject into one group; 'site' does that
      for rows of the same subject or the same site.

  Raises:
    ValueError: if a site is empty or an id occurs twice; the message is one
      line.
  """
  if by not in ('subject', 'site'):
    raise ValueError(f'Unknown {by=}; use subject or site.')
  rows = sorted(rows, key=lambda r: r.id)
  seen = set()
  for row in rows:
    if row.id in seen:
      raise ValueError(f'Duplicate id {row.id!r}.')
    seen.add(row.id)
    if by == 'site' and not row.site:
      raise ValueError(
          f'Id {row.id!r} has no site: give it one, or split by subject.')
  groups = {}
  columns = [[row.subject for row in rows]]
  if by == 'site':
    columns.append([row.site for row in rows])
  for row, group in zip(rows, connect(columns), strict=True):
    groups.setdefault(group, []).append(row)
  return list(groups.values())


def connect(
    columns: Sequence[Sequence[str]], pairs: Sequence[tuple[int, int]] = ()
) -> list[int]:
  """Returns the number of each item's group.

  Args:
    columns: lists with a name of each item, such as its subject. Two items with
      the same name in one list are in one group; '' is no name.
    pairs: indices of two items each that are in one group.
  """
  number = len(columns[0])
  joined = np.array(pairs, np.int32).reshape(-1, 2)
  starts, ends = [joined[:, 0]], [joined[:, 1]]
  for column in columns:
    first = {}
    starts.append(np.arange(number, dtype=np.int32))
    ends.append(np.fromiter(
        (first.setdefault(name, i) if name else i
         for i, name in enumerate(column)), np.int32, number))
  starts, ends = np.concatenate(starts), np.concatenate(ends)
  graph = sparse.coo_matrix(
      (np.ones(len(starts), bool), (starts, ends)), shape=(number, number))
  return csgraph.connected_components(graph, directed=False)[1].tolist()


def _by_id(groups, values):
  """Maps the id of each row to the value of its group, sorted by id."""
  found = {row.id: value for group, value in zip(groups, values, strict=True)
           for row in group}
  return {row_id: found[row_id] for row_id in sorted(found)}


def _known_split(group):
  """Returns the index of the split that a group must go to.

  The index is -1 if the split of the group can be drawn.
  """
  given = None
  for row in group:
    if row.split and row.split not in manifest.SPLITS:
      raise ValueError(
          f'Id {row.id!r} has unknown split {row.split!r}; known: '
          f'{", ".join(manifest.SPLITS)}.')
    given = given or (row if row.split else None)
    if row.split and row.split != given.split:
      raise ValueError(
          'One group is in two splits: ' + ' and '.join(
              f'id {r.id!r} (subject {r.subject!r}, site {r.site!r}) in '
              f'{r.split}' for r in (given, row)) + '.')
  inexact = next((row for row in group if not manifest.is_exact(row)), None)
  if given is None:
    return -1 if inexact is None else 0
  if inexact is not None and given.split != 'train':
    raise ValueError(
        f'Id {inexact.id!r} (subject {inexact.subject!r}) has no exact mask, '
        f'but id {given.id!r} of its group is in {given.split}.')
  return manifest.SPLITS.index(given.split)


def _count(groups, presence, counted):
  """Counts, for each group, all images and the images of each class.

  Args:
    groups: G groups of rows.
    presence: classes that each image shows, by id.
    counted: ids of the images to count.

  Returns:
    For each group, the number of images and, for each of K classes, the number
    of images that show the class, float64 [G, 1 + K].
  """
  classes = sorted({c for group in groups for row in group
                    if row.id in counted for c in presence.get(row.id, ())},
                   key=repr)
  columns = {c: i for i, c in enumerate(classes, start=1)}
  counts = np.zeros((len(groups), 1 + len(classes)))
  for count, group in zip(counts, groups, strict=True):
    for row in group:
      if row.id in counted:
        count[[0, *(columns[c] for c in presence.get(row.id, ()))]] += 1
  return counts


def _share_out(total, have, shares):
  """Returns how many images each of S splits still lacks, float64 [S, 1 + K].

  If a split already has more than its share, the other splits get less, in
  proportion to their shares.

  Args:
    total: number of images, and of the images of each of K classes, [1 + K].
    have: the same numbers for the images already in each split, [S, 1 + K].
    shares: share of the images that each split should get, [S].
  """
  need = np.zeros_like(have)
  for c in range(have.shape[1]):
    open_ = shares > 0
    while open_.any():
      want = shares * (total[c] - have[~open_, c].sum()) / shares[open_].sum()
      over = open_ & (have[:, c] > want + _TINY)
      if not over.any():
        need[open_, c] = np.maximum(want - have[:, c], 0)[open_]
        break
      open_ &= ~over
  return need


def _deal(counts, need, rng, *, lacking, open_, late=None):
  """Deals G groups to S bins (splits or folds), as `assign_splits` describes.

  Args:
    counts: for each group, the number of images, and the number of images that
      show each of K classes, [G, 1 + K].
    need: the numbers of images that each bin lacks, [S, 1 + K].
    rng: source of a random order among groups that are otherwise equal.
    lacking: bins that must get a group that is not late.
    open_: bins that may get a group, bool [S].
    late: groups that are dealt after all others, bool [G]; None if there are
      none.

  Returns:
    The bin of each group, int64 [G].
  """
  late = np.zeros(len(counts), bool) if late is None else late
  need = need.copy()
  remaining = counts.sum(0)
  rarity = np.min(
      np.where(counts > 0, remaining, np.inf)[:, 1:], axis=1, initial=np.inf)
  order = np.lexsort((rng.random(len(counts)), -counts[:, 0], rarity, late))
  lacking = set(lacking)
  left = np.count_nonzero(~late)
  bins = np.full(len(counts), -1)
  for g in order:
    images = np.where(open_, need[:, 0], -np.inf)
    if not late[g] and left <= len(lacking):
      allowed = np.isin(np.arange(len(need)), [*lacking])
    else:
      allowed = images >= counts[g, 0] - _TINY
      if not allowed.any():
        allowed = images >= images.max()
    left -= not late[g]
    weight = counts[g] / np.maximum(remaining, 1) ** 2
    bins[g] = np.argmax(np.where(allowed, need @ weight, -np.inf))
    need[bins[g]] -= counts[g]
    remaining -= counts[g]
    lacking.discard(int(bins[g]))
  return bins
