"""Explains to users why their set cannot be split, and what they can do.

The errors of `splits` state general rules. This module finds the cause in the
user's data, and a flag or another remedy that removes it.
"""

import collections
from collections.abc import Sequence
from typing import Any

from data_prep import manifest as manifest_lib
from data_prep import row_names
from data_prep.shared import grammar
from data_prep.splits import splits

_WHO = '--subjects=FILE or --subject_pattern names others'


class RefusedError(ValueError):
  """Raised if a set cannot be split.

  Attributes:
    problem: describes the cause, and what the user can do about it.
  """

  def __init__(self, what: str, found: str, fix: str):
    super().__init__(f'{what}; {fix}')
    self.problem = manifest_lib.Problem(what, found, fix)


def check_before(rows: Sequence[manifest_lib.Row], draw: Any) -> None:
  """Refuses a set that cannot be split, whatever the seed.

  Args:
    rows: rows of a manifest; `split` is empty if the source names no split.
    draw: the options for drawing splits, a `dividing.Draw`.

  Raises:
    RefusedError: if the set cannot be split; the error holds the cause.
  """
  shares = [float(share) for share in draw.fractions]
  if draw.num_folds is None and (
      min(shares) < 0 or abs(sum(shares) - 1) > 1e-6):
    raise RefusedError(
        '--split_fractions: expected three shares that sum to 1',
        ','.join(f'{share:g}' for share in shares), 'such as 0.7,0.1,0.2')
  if not any(map(manifest_lib.is_exact, rows)):
    raise _no_exact_mask(rows)
  _check_evaluation(rows)
  if draw.num_folds is None:
    _check_subjects(rows)
  if draw.by == 'site':
    missing = [row.id for row in rows if not row.site]
    if missing:
      raise RefusedError(
          f'--split_by=site, but {len(missing)} of '
          f'{grammar.counted(len(rows), "picture")} '
          f'{grammar.verb(len(missing), "have")} no site', repr(missing[0]),
          '--subjects=FILE with a column site, or --split_by=subject')
  is_one = draw.num_folds is None and shares.count(0.0) == 2
  names = {row.subject for row in rows}
  if not is_one and len(rows) > 1 and len(names) == 1 and names != {''}:
    raise RefusedError(
        f'all {len(rows)} pictures are of one subject, which no split may cut',
        repr(next(iter(names))),
        f"{_WHO}; '(.+)' makes each picture its own")


def _check_subjects(rows):
  """Refuses subjects that the source puts into two splits."""
  places = collections.defaultdict(set)
  for row in rows:
    if row.subject and row.split:
      places[row.subject].add(row.split)
  wrong = [name for name, given in places.items() if len(given) > 1]
  if wrong:
    some = ' and '.join(sorted(places[wrong[0]]))
    raise RefusedError(
        f'{grammar.counted(len(wrong), "subject", "are")} in two splits of the '
        f'source, {some}', row_names.shown(wrong),
        f'{_WHO}; else keep each in one, by folders or --splits=FILE')


def explain(
    rows: Sequence[manifest_lib.Row], draw: Any, error: ValueError
) -> RefusedError:
  """Returns a refusal that explains an error of `splits`.

  Args:
    rows: the rows that could not be split.
    draw: the options for drawing splits, a `dividing.Draw`.
    error: the error that `splits` raised.
  """
  try:
    groups = splits.group_rows(rows, draw.by)
  except ValueError:
    return _unexplained(error)
  for group in groups:
    found = _two_splits(group, draw)
    if found is not None:
      return found
  exact = [g for g in groups if any(map(manifest_lib.is_exact, g))]
  if draw.num_folds is not None:
    needed, what = draw.num_folds, f'{draw.num_folds} folds'
    fix = f'--num_folds={len(exact)} at most'
    if len(exact) < 2:
      fix = 'without --num_folds'
  else:
    parts = [s for s, share in zip(
        manifest_lib.SPLITS, draw.fractions, strict=True) if share > 0]
    needed, what = len(parts), ' and '.join(
        filter(None, (', '.join(parts[:-1]), parts[-1])))
    fix = '--split_fractions=0.8,0,0.2'
  number = grammar.counted(len(exact), draw.by)
  if len(exact) < needed:
    if draw.by == 'site':
      fix = f'--split_by=subject, or {fix}'
    elif len(exact) < sum(map(manifest_lib.is_exact, rows)):
      fix = f'{_WHO}; or {fix}'
    else:
      fix = f'give more exact masks; or {fix}'
    return RefusedError(
        f'{what} {grammar.verb(needed, "need")} '
        f'{grammar.counted(needed, draw.by)} with exact masks, and there '
        f'{grammar.verb(len(exact), "are")} only {len(exact)}',
        row_names.shown(g[0].subject or g[0].id for g in exact), fix)
  if isinstance(error, splits.TooFewGroupsError) or draw.num_folds is not None:
    given = sum(any(row.split for row in group) for group in exact)
    if given:
      return RefusedError(
          f'the source gives splits to {given} of {number} with exact masks, '
          f'and too few are left to draw {what}', '',
          'put all or none into folders of splits, or list them: --splits=FILE')
    if draw.keep_copies_together:
      return RefusedError(
          f'of {number} with exact masks, so many pictures are nearly '
          f'the same that {what} cannot be kept apart', '',
          'look at them; --near_copies=notice if they may be in two splits')
  return _unexplained(error)


def check_after(rows: Sequence[manifest_lib.Row], draw: Any) -> None:
  """Refuses drawn splits in which train has no exact mask.

  Args:
    rows: the rows, with the splits that were drawn.
    draw: the options for drawing splits, a `dividing.Draw`.

  Raises:
    RefusedError: if train needs an exact mask and has none.
  """
  exact = [row for row in rows if manifest_lib.is_exact(row)]
  if draw.fractions[0] and not any(row.split == 'train' for row in exact):
    number = len(splits.group_rows(exact, draw.by))
    raise RefusedError(
        'train, val and test need exact masks, and only '
        f'{grammar.counted(number, draw.by, "have")} some',
        row_names.shown(row.id for row in exact),
        'give more exact masks; or --split_fractions=0.8,0,0.2')


def choice(error: ValueError, budget: Any) -> RefusedError:
  """Returns a refusal that explains an error in choosing strong pictures.

  Args:
    error: the error that `strong_choice` raised.
    budget: the budget of the choice, a `strong_choice.Budget`.
  """
  if budget.fraction == 0:
    return RefusedError(
        'no strong training instance: --strong_fraction=0 keeps no exact mask',
        '', 'give a share above 0')
  fix = ('--strong_fraction' if budget.minutes is None else '--strong_minutes')
  return RefusedError(
      f'the strong pictures cannot be chosen: {str(error).rstrip(".")}', '',
      f'change {fix}')


def _no_exact_mask(rows):
  """Returns the refusal of a set without any exact mask."""
  counts = collections.Counter(
      row.annotation['kind'] for row in rows if row.annotation)
  if not counts:
    return RefusedError(
        f'none of {grammar.counted(len(rows), "picture")} is annotated; val '
        'and test need exact masks', '', 'put masks beside them, such as '
        'masks/NAME.png for images/NAME.png; or name the --format')
  return RefusedError(
      'no picture has an exact mask; val and test need some', _text(counts),
      _exact_fix(counts, rows))


def _check_evaluation(rows):
  """Refuses rows in val and test whose annotations cannot be evaluated."""
  wrong = [row for row in rows if row.split in ('val', 'test')
           and row.annotation and not manifest_lib.is_exact(row)]
  if wrong:
    counts = collections.Counter(row.annotation['kind'] for row in wrong)
    names = row_names.shown((row.id for row in wrong), longest=16)
    raise RefusedError(
        f'{grammar.counted(len(wrong), "picture")} that the source puts into '
        f'val or test {grammar.verb(len(wrong), "have")} no exact mask '
        f'({names})', _text(counts), _evaluation_fix(counts, wrong))


def _evaluation_fix(counts, rows):
  if counts['polygon']:
    return '--polygons_are=mask if they are exact, else --leave_out=@FILE'
  if any(map(_is_drawn, rows)):
    return ('--masks_are=mask if they hold no other shape, else '
            '--leave_out=@FILE')
  return 'give exact masks, or --leave_out=@FILE'


def _exact_fix(counts, rows):
  if counts['polygon']:
    return '--polygons_are=mask if they are exact, else give exact masks'
  if any(map(_is_drawn, rows)):
    return ('--masks_are=mask makes masks exact, except beside other shapes '
            '(--classes can leave those out)')
  # A mask file counts as coarse because of its folder, because of a flag, or
  # because too many of its pixels are unlabelled.
  if counts['coarse_mask']:
    return ('masks are weak if they lie in coarse_masks/, by --masks_are, or '
            'if over a tenth is unlabelled: add others')
  if counts['scribble']:  # No flag can label pixels that nobody has labelled.
    return ('label every pixel of some pictures; masks that are unlabelled in '
            'part count as scribbles')
  return 'give them exact masks, such as masks/NAME.png for images/NAME.png'


def _is_drawn(row):
  """Returns whether a row's annotation is a coarse mask stored as run lengths.

  Such masks are drawn in annotation tools; others are picture files.
  """
  annotation = row.annotation or {}
  return annotation.get('kind') == 'coarse_mask' and 'rles' in annotation


def _text(counts):
  return ', '.join(f'{n} {kind}' for kind, n in counts.most_common())


def _two_splits(group, draw):
  """Returns the refusal of a group that the source puts into two splits.

  Returns None if the group is in at most one split, or if the set is divided
  into folds.
  """
  given = {row.split: row for row in group if row.split}
  if draw.num_folds is not None or len(given) < 2:
    return None
  first, second = list(given.values())[:2]
  name = getattr(first, draw.by) or first.subject or first.id
  return RefusedError(
      f'a {draw.by} is in {first.split} and in {second.split}', repr(name),
      f'{_WHO}, if they are several; else keep one in one folder')


def _unexplained(error):
  return RefusedError(
      f'the set cannot be split: {str(error).rstrip(".")}', '',
      'see --split_fractions, --splits, --subjects')
