"""Draws the splits of a source, or keeps those that its folders name.

If the source puts all pictures into one split, that split is ignored and all
splits are drawn. If the source has train but no val or no test, the missing
split is drawn from train.
"""

import collections
from collections.abc import Callable, Sequence
import functools
import pathlib
from typing import NamedTuple

import numpy as np

from data_prep import manifest as manifest_lib
from data_prep.checks import duplicates
from data_prep.drawing import rasterize
from data_prep.shared import grammar
from data_prep.shared import pixels
from data_prep.splits import split_refusals
from data_prep.splits import splits


class Draw(NamedTuple):
  """The options for drawing splits.

  Attributes:
    seed: seed of the draw.
    fractions: shares of the exactly annotated images that train, val and test
      get.
    by: 'subject' or 'site'; no subject, or no site, is divided between splits.
    num_folds: number of folds for a cross-validation, used instead of
      `fractions`; None for no folds.
    fold: number of the fold that becomes test; the next fold becomes val, and
      all others become train.
    keep_copies_together: whether near copies must be in one split.
  """

  seed: int = 0
  fractions: tuple[float, float, float] = (0.7, 0.1, 0.2)
  by: str = 'subject'
  num_folds: int | None = None
  fold: int = 0
  keep_copies_together: bool = True


def draw_splits(
    rows: Sequence[manifest_lib.Row],
    root: pathlib.Path,
    draw: Draw,
    notices: list[str],
) -> tuple[list[manifest_lib.Row], dict[str, int] | None]:
  """Gives each row a split.

  A group of images of one subject (or site) stays together. If there are folds,
  or if too few groups consist of exactly annotated images only, a group in val
  or test may therefore also hold images without an exact mask.

  Args:
    rows: rows of a manifest; `split` is empty if the source names no split.
    root: folder that the paths in the rows are relative to.
    draw: options for drawing splits.
    notices: list to which messages about the decisions are added.

  Returns:
    The rows with their splits, and the fold of each id, or None if there are no
    folds.

  Raises:
    split_refusals.RefusedError: if the set cannot be split; the error holds the
      cause.
  """
  rows = list(rows)
  try:
    split_refusals.check_before(rows, draw)
    if draw.num_folds is not None:
      return _draw_folds(rows, root, draw, notices)
    # The caller has called `take_back` before, but may have left out images
    # since then, so that all remaining ones may now be in one split.
    rows = take_back(rows, draw, notices)
    if not all(row.split for row in rows):
      units, deal = _units(rows, root, draw, notices)
      try:
        found = deal(units, fractions=draw.fractions, by=draw.by)
      except splits.TooFewGroupsError:
        found = deal_in_part(
            units, functools.partial(deal, fractions=draw.fractions), draw.by)
      del units, deal  # A million rows with new subjects take 200 MB.
      rows = [r._replace(split=found[r.id]) for r in rows]
      split_refusals.check_after(rows, draw)
      return rows, None
    return _draw_missing(rows, root, draw, notices), None
  except split_refusals.RefusedError:
    raise
  except ValueError as error:
    raise split_refusals.explain(rows, draw, error) from error


def take_back(
    rows: Sequence[manifest_lib.Row], draw: Draw, notices: list[str]
) -> list[manifest_lib.Row]:
  """Removes the splits of the rows if a source puts all pictures into one.

  The splits are kept if the fractions of `draw` ask for that one split only.

  Args:
    rows: rows of a manifest; `split` is empty if the source names no split.
    draw: options for drawing splits.
    notices: list to which a message about the decision is added.

  Returns:
    The rows, with or without their splits.
  """
  given = {row.split for row in rows} - {''}
  exact = [row for row in rows if manifest_lib.is_exact(row)]
  drawn = [s for s, share in zip(
      manifest_lib.SPLITS, draw.fractions, strict=True) if share > 0]
  if len(given) != 1 or given == set(drawn) or (
      {row.split for row in exact} - given):
    return list(rows)
  only = next(iter(given))
  if only not in manifest_lib.SPLITS:
    return list(rows)
  if draw.num_folds is None:
    alone = ','.join(str(int(s == only)) for s in manifest_lib.SPLITS)
    notices.append(
        f'every picture is in {only} in the source, so '
        f'{", ".join(drawn)} are drawn instead; '
        f'--split_fractions={alone} keeps all in {only}')
  return [row._replace(split='') for row in rows]


def _draw_missing(rows, root, draw, notices):
  """Draws val and test from train, each if the source has no pictures in it."""
  shares = dict(zip(manifest_lib.SPLITS, draw.fractions, strict=True))
  given = collections.Counter(row.split for row in rows)
  missing = [s for s in ('val', 'test') if shares[s] > 0 and not given[s]]
  if not missing or not given['train'] or not shares['train']:
    return rows
  fractions = np.array([
      shares[s] * (s == 'train' or s in missing) for s in manifest_lib.SPLITS])
  units, deal = _units(
      [r for r in rows if r.split == 'train'], root, draw, notices)
  deal = functools.partial(deal, fractions=tuple(fractions / fractions.sum()))
  units = [unit._replace(split='') for unit in units]
  names = ' and '.join(missing)
  try:
    try:
      found = deal(units, by=draw.by)
    except splits.TooFewGroupsError:
      found = deal_in_part(units, deal, draw.by)
  except ValueError:
    notices.append(f'the source has no {names}, and train has too few '
                   f'{draw.by}s with exact masks to draw it from')
    return rows
  rows = [r._replace(split=found.get(r.id, r.split)) for r in rows]
  counts = collections.Counter(found.values())
  number = sum(counts[s] for s in missing)
  notices.append(
      f'the source has no {names}: '
      + ' and '.join(grammar.counted(counts[s], 'picture') for s in missing)
      + f' of train {grammar.verb(number, "become")} {names}, by {draw.by}')
  return rows


def _draw_folds(rows, root, draw, notices):
  """Returns the rows with splits that are made from folds, and the folds."""
  units, _ = _units(rows, root, draw, notices)
  folds = splits.k_folds(
      units, num_folds=draw.num_folds, by=draw.by, seed=draw.seed,
      presence=find_presence(rows, root))
  used = {0: 'test', 1: 'val'}
  place = lambda fold: used.get((fold - draw.fold) % draw.num_folds, 'train')
  return [r._replace(split=place(folds[r.id])) for r in rows], folds


def _units(rows, root, draw, notices):
  """Prepares rows for drawing their splits.

  Returns:
    The rows, in which near copies have the same subject if they must stay
    together; and `splits.assign_splits` with its arguments `seed` and
    `presence` set.
  """
  if draw.keep_copies_together:
    rows, number = join_copies(rows, root)
    if number:
      notices.append(f'{number} pictures are nearly the same as another: both '
                     'go to one split')
  return rows, functools.partial(
      splits.assign_splits, seed=draw.seed, presence=find_presence(rows, root))


def find_presence(
    rows: Sequence[manifest_lib.Row], root: pathlib.Path
) -> dict[str, frozenset[int]]:
  """Returns the foreground classes that each image shows, by id.

  They are read from the mask file if the annotation has one, and otherwise from
  the labels of its shapes.
  """

  def find(row):
    annotation = row.annotation or {}
    labels = annotation.get('labels', ())
    if annotation and rasterize.has_file(annotation):
      try:
        values = annotation.get('values')
        labels = np.unique(rasterize.apply_values(
            rasterize.read_mask(root / annotation['path'], values), values))
      except Exception:  # The check reports what is wrong with the file.
        labels = ()
    return _shared(frozenset(int(v) for v in labels if 0 < v < 255))

  found = pixels.each_in_threads(find, rows)
  return dict(zip((r.id for r in rows), found, strict=True))


@functools.lru_cache(maxsize=1024)
def _shared(classes):
  """Returns one object for all equal sets, so that each takes memory once."""
  return classes


def join_copies(
    rows: Sequence[manifest_lib.Row], root: pathlib.Path
) -> tuple[list[manifest_lib.Row], int]:
  """Gives pictures that are nearly the same a common subject.

  If a picture of one subject is nearly the same as a picture of another, all
  pictures of both subjects get one subject.

  Returns:
    The rows with the new subjects, and the number of pictures that have a near
    copy.
  """

  def thumbnail(row):
    try:
      return duplicates.thumbnail(rasterize.read_image(root / row.image))
    except Exception:  # The check reports what is wrong with the file.
      return b''

  thumbnails = duplicates.Thumbnails()
  for content in pixels.each_in_threads(thumbnail, rows):
    thumbnails.add(content)
  pairs = duplicates.all_pairs(thumbnails)
  del thumbnails
  component = splits.connect(
      [[row.subject for row in rows]], [pair[:2] for pair in pairs])
  # Messages show the name of a group, so it begins with its first subject.
  names = {}
  for row, c in zip(rows, component, strict=True):
    if c not in names:
      names[c] = f'{row.subject or row.id} ({c})'
  joined = [row._replace(subject=names[c])
            for row, c in zip(rows, component, strict=True)]
  return joined, len({k for pair in pairs for k in pair[:2]})


def deal_in_part(
    rows: Sequence[manifest_lib.Row],
    deal: Callable[..., dict[str, str]],
    by: str,
) -> dict[str, str]:
  """Assigns groups to splits if too few of them have only exact masks.

  The split of a group is drawn as if it consisted of its exactly annotated
  images; its other images get the same split. A group in val or test may
  therefore hold images that cannot be evaluated. Groups without any exact mask
  go to train.

  Args:
    rows: rows of a manifest.
    deal: `splits.assign_splits`, with all arguments except the rows and `by`.
    by: 'subject' or 'site'; no subject, or no site, is divided between splits.

  Returns:
    The split of each image by id.
  """
  group_of, exact = {}, []
  for i, group in enumerate(splits.group_rows(rows, by)):
    given = next((r.split for r in group if r.split), '')
    group_of |= {row.id: str(i) for row in group}
    exact += [row._replace(subject=str(i), split=given) for row in group
              if manifest_lib.is_exact(row)]
  found = deal(exact, by='subject')
  place = {group_of[row_id]: split for row_id, split in found.items()}
  return {r.id: place.get(group_of[r.id], 'train') for r in rows}
