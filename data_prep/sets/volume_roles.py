"""Chooses splits, roles and simulated labels of volumes that stay whole."""

from collections.abc import Sequence
import pathlib

import numpy as np

from data_prep import command_line
from data_prep import manifest as manifest_lib
from data_prep.checks import check_report
from data_prep.drawing import volume_annotations
from data_prep.formats import assembling
from data_prep.sets import own_set
from data_prep.shared import grammar
from data_prep.splits import dividing
from data_prep.splits import split_refusals
from data_prep.splits import splits_file
from data_prep.splits import strong_choice
from data_prep.splits import subjects_file


def divide(
    rows: list[manifest_lib.Row],
    plan: own_set.Plan,
    subjects: str | None,
    report: assembling.Report,
) -> tuple[
    list[manifest_lib.Row], dict[str, int] | None,
    dict[str, volume_annotations.Plan]]:
  """Gives volumes their subjects, splits and roles.

  Args:
    rows: rows of the volumes, one each.
    plan: options for choosing splits, roles and weak labels.
    subjects: file that names subjects, or None.
    report: receives notices.

  Returns:
    The rows in the same order; the fold of each id, or None; and what is
    simulated for the volumes that do not keep their labels, by id.

  Raises:
    command_line.Refused: if the set cannot be divided.
  """
  notices, folds = [], None
  if subjects is not None:
    entries, problems = subjects_file.read_subjects(subjects)
    if not problems:
      rows, problems = subjects_file.apply_subjects(
          rows, entries, file=subjects, cases={})
    refuse(problems)
  root = pathlib.Path()
  if plan.splits_file is not None:
    entries, problems = splits_file.read_splits(plan.splits_file)
    if not problems:
      rows, problems = splits_file.apply_splits(rows, entries, by=plan.draw.by)
    refuse(problems)
  else:
    draw = plan.draw._replace(keep_copies_together=False)
    try:
      rows, folds = dividing.draw_splits(
          dividing.take_back(rows, draw, notices), root, draw, notices)
    except split_refusals.RefusedError as error:
      refuse([error.problem])
  refuse([manifest_lib.Problem(
      f'{row.split} needs exact labels', row.annotation and row.annotation[
          'kind'] or 'no annotation', 'move the volume to train: --splits',
      id=row.id) for row in rows
           if row.split != 'train' and not manifest_lib.is_exact(row)])
  for notice in notices:
    report.note(notice)
  rows, simulated = _choose_roles(rows, plan, root)
  return rows, folds, simulated


def _choose_roles(rows, plan, root):
  """Returns the rows with roles, and the plans of simulated labels by id."""
  natural = lambda row: 'unlabelled' if row.annotation is None else (
      'strong' if manifest_lib.is_exact(row) else 'weak')
  if plan.splits_file is not None:
    rows = [row._replace(role=row.role or natural(row)) for row in rows]
  else:
    rows = [row._replace(role=natural(row)) for row in rows]
    exact = [r for r in rows if r.split == 'train' and r.role == 'strong']
    if plan.budget is not None and exact:
      try:
        strong = strong_choice.choose_strong(
            rows, budget=plan.budget, seed=plan.seed,
            presence=dividing.find_presence(exact, root))
      except ValueError as error:
        raise command_line.Refused(command_line.one_line(error)) from error
      weak = {row.id for row in exact} - strong
      rows = [r._replace(role='weak') if r.id in weak else r for r in rows]
  drawn = sorted(
      row.id for row in rows if row.split == 'train'
      and row.role == 'weak' and manifest_lib.is_exact(row))
  kinds = [kind for kind in plan.simulate if kind != 'none']
  if not kinds:
    return [row._replace(role='unlabelled') if row.id in set(drawn) else row
            for row in rows], {}
  plans = volume_annotations.plan_faults(
      len(drawn), np.random.default_rng([plan.seed, 3]),
      fault_fraction=plan.fault_fraction, kinds=kinds)
  return rows, dict(zip(drawn, plans, strict=True))


def refuse(problems: Sequence[manifest_lib.Problem]) -> None:
  """Refuses the set if there are problems; those of one cause share a line."""
  lines = check_report.report(check_report.Findings(
      list(problems), [], [], pictures={1: 'the set'}))
  if lines:
    raise command_line.Refused(*lines)


def counts(rows: Sequence[manifest_lib.Row]) -> list[str]:
  """Returns a line about the volumes of each split."""
  lines = []
  for split in manifest_lib.SPLITS:
    of = [row for row in rows if row.split == split]
    roles = [f'{sum(r.role == role for r in of)} {role}'
             for role in manifest_lib.ROLES if any(r.role == role for r in of)]
    number = len({r.subject or r.id for r in of})
    lines.append(f'{split}: {grammar.counted(len(of), "volume")} of '
                 f'{grammar.counted(number, "subject")}'
                 + (f' ({", ".join(roles)})' if roles else ''))
  return lines
