"""Turns a user's own files into a manifest.

Without `plan.simulate`, an image with an exact mask is strong, an image with
any other annotation is weak, and an image without annotation is unlabelled.
With `plan.simulate`, some training images keep their masks. The others get a
simulated weak label of the given kinds, or none, and their masks are kept for
evaluation only. If an image that becomes weak also has a weak label drawn by a
person, it gets that label.
"""

import collections
from collections.abc import Sequence
import os
import pathlib
import re
from typing import Any, NamedTuple

from hybridseg import types
import numpy as np

from data_prep import formats
from data_prep import manifest as manifest_lib
from data_prep import row_names
from data_prep.checks import subject_names
from data_prep.checks import volume_pairs
from data_prep.drawing import rasterize
from data_prep.drawing import simulate
from data_prep.formats import folder_names
from data_prep.formats import registry
from data_prep.sets import leaving_out
from data_prep.shared import grammar
from data_prep.splits import dividing
from data_prep.splits import split_refusals
from data_prep.splits import splits_file
from data_prep.splits import strong_choice
from data_prep.splits import subjects_file

SPLITS_FILE = 'splits.csv'

_MAX_CLASSES = 255  # Classes are numbered from 0, and 255 means unlabelled.
_SLICE = re.compile(r'_[xyz]\d{3,}$')  # Matches the end of a slice's id.


class Plan(NamedTuple):
  """The options for choosing splits, roles and weak labels.

  Attributes:
    seed: seed for choosing strong images and simulating labels.
    draw: options for drawing splits.
    splits_file: path of a file that names all splits and roles; None draws
      them.
    budget: budget that limits how many training images keep their exact masks;
      None keeps all.
    simulate: kinds of the weak labels that the other training images get;
      'none' stands for no label.
    fault_fraction: share of the simulated labels that get a planted fault.
  """

  seed: int = 0
  draw: dividing.Draw = dividing.Draw()
  splits_file: str | None = None
  budget: strong_choice.Budget | None = None
  simulate: Sequence[str] = ()
  fault_fraction: float = 0.0


class Divided(NamedTuple):
  """A set with splits and roles.

  Attributes:
    manifest: the manifest as written. Its problems include those of the import
      and of the splits.
    notices: lines that tell the user what was decided.
    left_out: entries of pictures in val or test that cannot be evaluated.
  """

  manifest: manifest_lib.Manifest
  notices: list[str]
  left_out: list[formats.LeftOut]


class Own(NamedTuple):
  """The content of a source, before splits and roles are chosen.

  Attributes:
    header: header of the source's manifest.
    rows: rows of the images to use; `split` and `role` may be empty.
    all_rows: rows of all images, including those that are left out.
    weak: weak annotations of images that also have exact masks, by id.
    problems: problems of the import.
    notices: lines that tell the user what was decided.
    left_out: entries of the files, pictures and shapes that the user allows to
      be left out.
  """

  header: manifest_lib.Header
  rows: list[manifest_lib.Row]
  all_rows: list[manifest_lib.Row]
  weak: dict[str, dict[str, Any]]
  problems: list[manifest_lib.Problem]
  notices: list[str]
  left_out: list[formats.LeftOut]


def read(
    output: str | os.PathLike[str],
    *,
    source: str | os.PathLike[str],
    format_name: str | None,
    options: formats.Options,
    subjects: str | None,
    name: str,
) -> Own:
  """Imports the files of a source.

  Pictures stay where they are, except those that must be converted, which are
  written below `output`.

  Args:
    output: folder of the set, which must exist.
    source: folder or file to import.
    format_name: one of `registry.FORMATS`; None detects the format.
    options: options for reading the files.
    subjects: path of a file that names the subject of each picture, see
      `subjects_file`; None for no file.
    name: name of the set.

  Raises:
    ValueError: if the source has no known format or holds nothing usable; the
      message is one line.
  """
  source, output = pathlib.Path(source), pathlib.Path(output)
  if source.is_file() and source.suffix.lower() != '.csv':
    raise ValueError(
        f'{source} is a file; give the folder that holds it and its pictures')
  format_name = format_name or registry.detect_format(source)
  if format_name is None:
    raise ValueError(registry.refusal(source))
  imported = registry.read(format_name, source, output, options)
  if not imported.rows and not imported.problems and not imported.left_out:
    why = ''.join(f'; {notice[:80]}' for notice in imported.notices[:1])
    raise ValueError(f'{source} holds no image that {format_name} reads{why}')
  left_out = list(imported.left_out)
  listed = leaving_out.find_listed(
      imported.rows, options.leave_out, folder=output, already=left_out,
      refused=imported.problems)
  rows, problems, defective = leaving_out.drop(
      imported.rows, imported.problems, options.leave_out,
      [*left_out, *listed])
  left_out += [*listed, *defective]
  leaving_out.refuse_nothing_left(len(rows) + len(problems), left_out)
  notices = [f'read as {format_name}: {grammar.counted(len(rows), "image")}',
             *imported.notices]
  _check_classes(imported.classes)
  if subjects is not None:
    gone = {n for thing in (*left_out, *imported.problems)
            for n in leaving_out.names_of(thing)}
    entries, wrong = subjects_file.read_subjects(subjects)
    if not wrong:
      rows, wrong = subjects_file.apply_subjects(
          rows, entries, file=subjects, cases=row_names.read_cases(output),
          gone=gone)
    problems += wrong
  else:
    problems += _check_subjects(rows, options, notices)
    notices += filter(None, [volume_pairs.find_notice(
        rows, output, output / imported.root)])
  header = manifest_lib.Header(name, tuple(imported.classes), imported.root)
  return Own(header, rows, imported.rows, imported.weak, problems, notices,
             left_out)


def divide(
    own: Own,
    output: str | os.PathLike[str],
    *,
    plan: Plan,
    without: frozenset[str] = frozenset(),
) -> Divided:
  """Chooses splits and roles, and writes manifest.jsonl and splits.csv.

  Args:
    own: the result of `read`.
    output: the folder that was given to `read`.
    plan: options for choosing splits, roles and weak labels.
    without: ids of images to leave out.

  Raises:
    ValueError: if no image is left; the message is one line.
  """
  output = pathlib.Path(output)
  rows = [row for row in own.rows if row.id not in without]
  notices, problems, folds = [], list(own.problems), None
  root = output / own.header.root
  if plan.splits_file is not None:
    entries, wrong = splits_file.read_splits(plan.splits_file)
    if not wrong:
      gone = without.union(*map(leaving_out.names_of, own.left_out))
      entries = [e for e in entries if not {
          e.id, _SLICE.sub('', e.id)} & gone]
      rows, wrong = splits_file.apply_splits(rows, entries, by=plan.draw.by)
    problems += wrong
  else:
    rows = dividing.take_back(rows, plan.draw, notices)
  rows, left_out = _leave_out(rows, _find_unseen, notices)
  try:
    if plan.splits_file is None and not problems:
      rows, folds = dividing.draw_splits(rows, root, plan.draw, notices)
      what = f'without exact mask but of a {plan.draw.by} that has some'
      rows, more = _leave_out(
          rows, lambda row: '' if manifest_lib.is_exact(row) else what, notices)
      left_out += more
    if not problems:
      rows, wrong = _choose_roles(rows, own.weak, root, plan)
      problems += wrong
  except split_refusals.RefusedError as error:
    problems.append(error.problem)
    # Remove the splits, so that the check does not report their problems again.
    rows = [r._replace(split='') for r in rows]
  # Fill in missing splits and roles, so that the check can still read the files
  # and report their problems, too.
  rows = [r._replace(split=r.split or 'train', role=r.role or _natural_role(r))
          for r in rows]
  manifest = manifest_lib.write_manifest(
      output / 'manifest.jsonl', own.header, rows)
  if not problems:
    splits_file.write_splits(output / SPLITS_FILE, rows, folds)
  return Divided(
      manifest._replace(problems=(*manifest.problems, *problems)), notices,
      left_out)


def _check_classes(classes):
  """Refuses repeated class names, and more classes than a mask can hold."""
  if len(classes) > _MAX_CLASSES:
    raise ValueError(
        f'the source has {len(classes)} classes, and a mask holds at most '
        f'{_MAX_CLASSES}, with the background; name those to keep: '
        f'--classes=background,{classes[1][:30]},...')
  twice = [name for name, n in collections.Counter(classes).items() if n > 1]
  if twice:
    raise ValueError(
        f'the source has two classes named {twice[0][:60]!r}; rename one, or '
        'name them all: --classes=background,...')


def _check_subjects(rows, options, notices):
  """Notes where subjects come from, and checks --subject_pattern.

  Args:
    rows: rows of a manifest.
    options: options for reading the files, with the pattern.
    notices: list to which lines about the subjects are added.
  """
  missing = [r.id for r in rows if not r.subject]
  if options.subject_pattern is None:
    names = {r.subject for r in rows} - {''}
    if names:
      notices.append(f'{grammar.counted(len(names), "subject")}, named by the '
                     'source; --subject_pattern or --subjects names others')
      notices += filter(None, [subject_names.find_notice(rows)])
    else:
      kinds = {r.id.split('/')[0] for r in rows if '/' in r.id}
      kinds = sorted(k for k in kinds if not folder_names.split_word(k))
      if kinds:
        notices.append(
            f'{grammar.counted(len(kinds), "folder")}, such as '
            f'{kinds[0][:40]}, {grammar.verb(len(kinds), "sort")} pictures and '
            f'{grammar.verb(len(kinds), "name")} no subjects; if they are '
            "subjects, --subject_pattern='^([^/]+)'")
    return []
  if not missing:
    return []
  if len(missing) < len(rows):
    notices.append(
        f'--subject_pattern matches {len(rows) - len(missing)} of {len(rows)} '
        f'ids, not {missing[0]!r}: the others are subjects of their own')
    return []
  return [manifest_lib.Problem(
      f'--subject_pattern matches none of {grammar.counted(len(rows), "id")}',
      repr(missing[0]),
      'correct it')]


def _leave_out(rows, find_reason, notices):
  """Leaves out images of val or test that cannot be evaluated.

  Args:
    rows: rows of a manifest.
    find_reason: function that takes a row and returns why its image cannot be
      evaluated, or '' if it can.
    notices: list to which lines about the images that are left out are added.

  Returns:
    The other rows, and the entries of the images that are left out.
  """
  groups, left_out = collections.defaultdict(list), []
  for row in rows:
    reason = row.split not in ('', 'train') and find_reason(row)
    if reason:
      groups[reason].append(row.id)
      left_out.append(formats.LeftOut(
          'picture', row.id, f'picture of {row.split} {reason}', 'annotation'))
  notices += [
      f'{grammar.counted(len(ids), "picture")} of val or test {reason} '
      f'{grammar.verb(len(ids), "are")} left out: {row_names.shown(ids)}'
      for reason, ids in groups.items()]
  gone = {entry.name for entry in left_out}
  return [row for row in rows if row.id not in gone], left_out


def _find_unseen(row):
  """Returns why an image cannot be evaluated, or '' if it can.

  Weak annotations are handled by `split_refusals`.
  """
  if row.annotation is None:
    return 'without annotation'
  if not manifest_lib.is_exact(row) and (
      types.UNLABELLED in row.annotation.get('labels', ())):
    return 'of which a part is unlabelled'
  return ''


def _natural_role(row):
  """Returns the role that a row's annotation suggests."""
  if row.annotation is None:
    return 'unlabelled'
  return 'strong' if manifest_lib.is_exact(row) else 'weak'


def _choose_roles(rows, weak, root, plan):
  """Returns rows with roles and weak labels, and the problems of the roles."""
  given = {r.id: r.role for r in rows}
  rows = [r._replace(role=r.role or _natural_role(r)) for r in rows]
  exact = [
      r for r in rows if r.split == 'train' and manifest_lib.is_exact(r)]
  kinds = list(plan.simulate)
  if plan.splits_file is not None:
    # The splits file decides which images keep their masks.
    strong = {r.id for r in exact if r.role == 'strong'}
  elif plan.budget is None or not exact:
    return rows, []
  else:
    try:
      strong = strong_choice.choose_strong(
          rows, budget=plan.budget, seed=plan.seed,
          presence=dividing.find_presence(exact, root),
          weak_kind=kinds[0] if kinds else 'none')
    except ValueError as error:
      raise split_refusals.choice(error, plan.budget) from error
    given = {}
  others = [r for r in exact if r.id not in strong]
  drawn = [r for r in others if r.id not in weak]
  plans = simulate.plan_faults(
      len(drawn), np.random.default_rng([plan.seed, 3]),
      fault_fraction=plan.fault_fraction, kinds=kinds) if kinds else []
  plans = {r.id: p for r, p in zip(drawn, plans, strict=False)}
  plans = {k: p for k, p in plans.items()
           if p['kind'] != 'none' and given.get(k) != 'unlabelled'}
  problems = [manifest_lib.Problem(
      'its role is weak, but all that is known of it is an exact mask', '',
      'simulate a weak label (--simulate), or make it strong or unlabelled',
      id=row.id, file=str(plan.splits_file))
              for row in drawn
              if given.get(row.id) == 'weak' and row.id not in plans]
  others = {r.id for r in others}
  return [_weaken(r, weak, plans, root, plan.seed) if r.id in others else r
          for r in rows], problems


def _weaken(row, weak, plans, root, seed):
  """Replaces the mask of a row by a weak label, or removes the mask.

  Args:
    row: row with an exact mask.
    weak: maps ids of rows to weak annotations that a person drew.
    plans: maps ids of rows to the plans of their simulated labels, see
      `simulate.plan_faults`.
    root: folder that the paths in the row are relative to.
    seed: seed of the simulated labels.
  """
  evaluation = {'truth': row.annotation, 'quality': None, 'fault': ''}
  if row.id in weak:
    return row._replace(
        role='weak', annotation=weak[row.id], evaluation=evaluation)
  plan = plans.get(row.id)
  if plan is None:
    return row._replace(
        role='unlabelled', annotation=None, evaluation=evaluation)
  try:
    image = rasterize.read_image(root / row.image)
    truth = rasterize.rasterize(
        row.annotation, size=image.shape[:2], root=root)
  except Exception:  # The check reports what is wrong with the files.
    return row._replace(role='strong')
  # Seed with the id, so that the label does not depend on other images.
  rng = np.random.default_rng([seed, 4, *row.id.encode()])
  return simulate.weak_row(row, truth, rng, plan=plan)
