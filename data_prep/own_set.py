"""Anyone's files -> a manifest: import, split, choose roles, simulate.

Without `plan.simulate`, an exact mask is strong and everything else is weak, or
unlabelled if there is nothing. With it, a part of the training images keeps its
mask and the others get a weak label of these kinds, or none; their mask is kept
for evaluation only. An image that has both a mask and a human weak label gets
that one instead of a simulated one.
"""

from collections.abc import Callable, Sequence
import functools
import os
import pathlib
from typing import NamedTuple

import numpy as np
from scipy import sparse

from data_prep import duplicates
from data_prep import formats
from data_prep import manifest as manifest_lib
from data_prep import pixels
from data_prep import rasterize
from data_prep import simulate
from data_prep import splits
from data_prep import splits_file
from data_prep import strong_choice
from data_prep.formats import registry

SPLITS_FILE = 'splits.csv'


class Plan(NamedTuple):
  """What becomes of the images of a source.

  Attributes:
    seed: seed of every draw.
    splits_file: which then says it all; None draws splits and roles.
    fractions: of the exactly annotated images, for train, val and test.
    split_by: 'subject' or 'site'.
    num_folds: None, or into how many folds to cut; then `fractions` is not
      used.
    fold: the fold that is test; the next one is val, all others train.
    budget: how many training images keep their mask; None keeps all.
    simulate: kinds of the weak labels of the others, 'none' for no label.
    fault_fraction: share of the simulated labels that get a planted fault.
    keep_copies_together: whether nearly the same pictures are in one split,
      if splits are drawn: see `duplicates`.
  """

  seed: int = 0
  splits_file: str | None = None
  fractions: tuple[float, float, float] = (0.7, 0.1, 0.2)
  split_by: str = 'subject'
  num_folds: int | None = None
  fold: int = 0
  budget: strong_choice.Budget | None = None
  simulate: Sequence[str] = ()
  fault_fraction: float = 0.0
  keep_copies_together: bool = True


def write(
    output: str | os.PathLike[str],
    *,
    source: str | os.PathLike[str],
    format_name: str | None,
    options: formats.Options,
    plan: Plan,
    name: str,
) -> tuple[manifest_lib.Manifest, list[str]]:
  """Writes manifest.jsonl and splits.csv below `output`.

  Pictures stay where they are, but for those that have to be converted, which
  are written below `output`.

  Args:
    output: folder that exists.
    source: folder or file to import.
    format_name: one of `registry.FORMATS`; None finds it out.
    options: what the user says about the files.
    plan: what becomes of the images.
    name: name of the set.

  Returns:
    The manifest, whose `problems` hold those of the import and the splits, too,
    and notices.

  Raises:
    ValueError: in one line, if the source has no known format or cannot be
      split.
  """
  source, output = pathlib.Path(source), pathlib.Path(output)
  if source.is_file() and source.suffix.lower() != '.csv':
    raise ValueError(
        f'{source} is a file; give the folder that holds it and its pictures')
  format_name = format_name or registry.detect_format(source)
  if format_name is None:
    raise ValueError(
        f'{source} holds nothing of a known format '
        f'({", ".join(registry.FORMATS)})')
  imported = registry.FORMATS[format_name].read(source, output, options=options)
  notices = [f'read as {format_name}: {len(imported.rows)} images',
             *imported.notices]
  problems = list(imported.problems)
  header = manifest_lib.Header(name, tuple(imported.classes), imported.root)
  rows, folds = list(imported.rows), None
  if not rows and not problems:
    raise ValueError(f'{source} holds no image that {format_name} reads')
  root = output / imported.root
  problems += _check_subjects(rows, options, notices)
  if plan.splits_file is not None:
    entries, wrong = splits_file.read_splits(plan.splits_file)
    if not wrong:
      rows, wrong = splits_file.apply_splits(rows, entries, by=plan.split_by)
    problems += wrong
  else:
    rows = _without_lone_split(rows, notices)
  rows = _without_unseen(rows, notices)
  try:
    if plan.splits_file is None and not problems:
      rows, folds = _split(rows, root, plan, notices)
    if not problems:
      rows, wrong = _choose_roles(rows, imported.weak, root, plan)
      problems += wrong
  except ValueError as error:
    problems.append(manifest_lib.Problem(
        f'the set cannot be split: {error}', '', 'see the notices, and '
        '--split_fractions, --splits, --subject_pattern'))
  # Problems must not keep the check from reading the files.
  rows = [r._replace(split=r.split or 'train', role=r.role or _natural_role(r))
          for r in rows]
  manifest = manifest_lib.write_manifest(
      output / 'manifest.jsonl', header, rows)
  if not problems:
    splits_file.write_splits(output / SPLITS_FILE, rows, folds)
  return manifest._replace(
      problems=(*manifest.problems, *problems)), notices


def _check_subjects(rows, options, notices):
  """Notes where subjects come from; finds a pattern that does not fit."""
  missing = [r.id for r in rows if not r.subject]
  if options.subject_pattern is None:
    names = {r.subject for r in rows} - {''}
    if names:
      notices.append(f'{len(names)} subjects, as the source names them; '
                     '--subject_pattern finds others in the ids')
    return []
  if not missing:
    return []
  if len(missing) < len(rows):
    notices.append(
        f'--subject_pattern matches {len(rows) - len(missing)} of {len(rows)} '
        f'ids, not {missing[0]!r}: the others are subjects of their own')
    return []
  return [manifest_lib.Problem(
      f'--subject_pattern matches none of {len(rows)} ids', repr(missing[0]),
      'correct it')]


def _without_lone_split(rows, notices):
  """Takes away a split that holds every picture: it divides nothing."""
  splits = {row.split for row in rows}
  if len(splits) > 1 or splits <= {''}:
    return rows
  notices.append(f'every picture is in {splits.pop()}, as the source names it: '
                 'that divides nothing, so train, val and test are drawn')
  return [row._replace(split='') for row in rows]


def _without_unseen(rows, notices):
  """Leaves out what is in val or test and cannot be evaluated."""
  kept = [r for r in rows if r.split in ('', 'train') or r.annotation]
  if len(kept) < len(rows):
    notices.append(f'{len(rows) - len(kept)} pictures of val or test without '
                   'annotation are left out')
  return kept


def find_presence(
    rows: Sequence[manifest_lib.Row], root: pathlib.Path
) -> dict[str, frozenset[int]]:
  """Returns the classes that each id shows; reads its mask, if it has one."""

  def find(row):
    annotation = row.annotation or {}
    labels = annotation.get('labels', ())
    if annotation and rasterize.has_file(annotation):
      try:
        values = annotation.get('values')
        labels = np.unique(rasterize.apply_values(
            rasterize.read_mask(root / annotation['path'], values), values))
      except Exception:  # The check names what is wrong with it.
        labels = ()
    return frozenset(int(v) for v in labels if 0 < v < 255)

  found = pixels.map_in_threads(find, rows)
  return dict(zip([r.id for r in rows], found, strict=True))


def join_copies(
    rows: Sequence[manifest_lib.Row], root: pathlib.Path
) -> tuple[list[manifest_lib.Row], int]:
  """Returns rows whose subjects join pictures that are nearly the same.

  Subjects of which two pictures are nearly the same become one. Also returns
  how many pictures that concerns.
  """

  def thumbnail(row):
    try:
      return duplicates.thumbnail(rasterize.read_image(root / row.image))
    except Exception:  # The check names what is wrong with it.
      return b''

  thumbnails = pixels.map_in_threads(thumbnail, rows)
  pairs = duplicates.all_pairs(thumbnails)
  number, place = len(rows), {}
  edges = [(i, j) for i, j, _ in pairs]
  edges += [(i, place.setdefault(row.subject, i))
            for i, row in enumerate(rows) if row.subject]
  starts, ends = np.array(edges or [(0, 0)]).T
  graph = sparse.coo_matrix(
      (np.ones(len(starts)), (starts, ends)), shape=(number, number))
  _, component = sparse.csgraph.connected_components(graph, directed=False)
  # Named by the first: problems name them.
  first = {}
  for row, c in zip(rows, component.tolist(), strict=True):
    first.setdefault(c, row.subject or row.id)
  joined = [row._replace(subject=f'{first[c]} ({c})')
            for row, c in zip(rows, component.tolist(), strict=True)]
  return joined, len({k for pair in pairs for k in pair[:2]})


def _natural_role(row):
  if row.annotation is None:
    return 'unlabelled'
  return 'strong' if row.annotation['kind'] == 'mask' else 'weak'


def _split(rows, root, plan, notices):
  """Returns the rows with splits, and folds, if there are any."""
  if plan.num_folds is None and all(row.split for row in rows):
    return rows, None
  presence = find_presence(rows, root)
  units = rows
  if plan.keep_copies_together:
    units, number = join_copies(rows, root)
    if number:
      notices.append(f'{number} pictures are nearly the same as another: both '
                     'go to one split')
  if plan.num_folds is None:
    deal = functools.partial(
        splits.assign_splits, fractions=plan.fractions, seed=plan.seed,
        presence=presence)
    try:
      found = deal(units, by=plan.split_by)
    except splits.TooFewGroupsError:
      found = deal_in_part(units, deal, plan.split_by)
    rows = [r._replace(split=found[r.id]) for r in rows]
    return _without_inexact(rows, plan, notices), None
  folds = splits.k_folds(
      units, num_folds=plan.num_folds, by=plan.split_by, seed=plan.seed,
      presence=presence)
  used = {0: 'test', 1: 'val'}
  place = lambda fold: used.get((fold - plan.fold) % plan.num_folds, 'train')
  rows = [r._replace(split=place(folds[r.id])) for r in rows]
  return _without_inexact(rows, plan, notices), folds


def deal_in_part(
    rows: Sequence[manifest_lib.Row],
    deal: Callable[..., dict[str, str]],
    by: str,
) -> dict[str, str]:
  """Deals the exact images of each group; its others follow them.

  So a group may be in val or test of which only a part can be evaluated.

  Args:
    rows: of a manifest.
    deal: `splits.assign_splits` of rows, by subject or site.
    by: what is never cut.

  Returns:
    Split by id.
  """
  group_of, exact = {}, []
  for i, group in enumerate(splits.group_rows(rows, by)):
    given = next((r.split for r in group if r.split), '')
    group_of |= {row.id: str(i) for row in group}
    exact += [row._replace(subject=str(i), split=given) for row in group
              if _natural_role(row) == 'strong']
  found = deal(exact, by='subject')
  place = {group_of[row_id]: split for row_id, split in found.items()}
  return {r.id: place.get(group_of[r.id], 'train') for r in rows}


def _without_inexact(rows, plan, notices):
  kept = [r for r in rows
          if r.split == 'train' or _natural_role(r) == 'strong']
  if len(kept) < len(rows):
    notices.append(
        f'{len(rows) - len(kept)} images without exact mask are left out: '
        f'their {plan.split_by} is in val or test')
  return kept


def _choose_roles(rows, weak, root, plan):
  """Returns rows with roles and weak labels, and problems."""
  given = {r.id: r.role for r in rows}
  rows = [r._replace(role=r.role or _natural_role(r)) for r in rows]
  exact = [r for r in rows if r.split == 'train'
           and _natural_role(r) == 'strong']
  kinds = list(plan.simulate)
  if plan.splits_file is not None:
    # The file says which masks are kept, and that nothing remains of others.
    strong = {r.id for r in exact if r.role == 'strong'}
  elif plan.budget is None or not exact:
    return rows, []
  else:
    strong = strong_choice.choose_strong(
        rows, budget=plan.budget, seed=plan.seed,
        presence=find_presence(exact, root),
        weak_kind=kinds[0] if kinds else 'none')
    given = {}
  others = [r for r in exact if r.id not in strong]
  drawn = [r for r in others if r.id not in weak]
  plans = simulate.plan_faults(
      len(drawn), np.random.default_rng([plan.seed, 3]),
      fault_fraction=plan.fault_fraction, kinds=kinds) if kinds else []
  plans = {r.id: p for r, p in zip(drawn, plans, strict=False)}
  problems = []
  for row in drawn:
    if given.get(row.id) == 'unlabelled':
      plans.pop(row.id, None)
    elif given.get(row.id) == 'weak' and plans.get(
        row.id, {'kind': 'none'})['kind'] == 'none':
      problems.append(manifest_lib.Problem(
          'its role is weak, but all that is known of it is an exact mask', '',
          'simulate a weak label (--simulate), or make it strong or unlabelled',
          id=row.id, file=str(plan.splits_file)))
  others = {r.id for r in others}
  return [_weaken(r, weak, plans, root, plan.seed) if r.id in others else r
          for r in rows], problems


def _weaken(row, weak, plans, root, seed):
  """Returns a strong row with a weak label, or none, in place of its mask."""
  evaluation = {'truth': row.annotation, 'quality': None, 'fault': ''}
  if row.id in weak:
    return row._replace(
        role='weak', annotation=weak[row.id], evaluation=evaluation)
  plan = plans.get(row.id)
  if plan is None or plan['kind'] == 'none':
    return row._replace(
        role='unlabelled', annotation=None, evaluation=evaluation)
  try:
    image = rasterize.read_image(root / row.image)
    truth = rasterize.rasterize(
        row.annotation, size=image.shape[:2], root=root)
  except Exception:  # The check names what is wrong with either.
    return row._replace(role='strong')
  # Seeded by the image, so that no label depends on the other images.
  rng = np.random.default_rng([seed, 4, *row.id.encode()])
  return simulate.weak_row(row, truth, rng, plan=plan)
