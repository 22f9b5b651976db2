"""Reads tables of scores per case, and pairs the cases of several tables."""

from collections.abc import Sequence
import math
import os
from typing import NamedTuple

import numpy as np

from experiments import binary
from experiments import csv_files
from experiments.evaluation import metric_table
from experiments.saving import run_schema

# What a table shows about a class that has no score in a case. EMPTY: as far as
# the table shows, the class is in neither the prediction nor the reference.
# NOT_EMPTY: the class must be in at least one of them. UNKNOWN: the table does
# not show which of the two is true.
EMPTY, NOT_EMPTY, UNKNOWN = 0, 1, 2
_OVERLAPS = ('dice', 'iou')

# Settings of an evaluation; scores are comparable only if they are the same.
_SETTINGS = ('resolution', 'distance_unit', 'nsd_tolerance')


class Cases(NamedTuple):
  """The scores of one result in one metric, as read from its table.

  Attributes:
    name: name of the result.
    path: path of the table.
    subjects: maps the id of each case to its subject, or to '' if the case is
      its own subject.
    classes: names of the K foreground classes.
    scores: maps the id of each case to its scores, float64 [K]; nan where a
      class has no score and is not counted.
    unproven: maps the id of each case to what is known about its nan scores,
      int [K]: EMPTY, NOT_EMPTY or UNKNOWN.
  """

  name: str
  path: str
  subjects: dict[str, str]
  classes: tuple[str, ...]
  scores: dict[str, np.ndarray]
  unproven: dict[str, np.ndarray]


class Aligned(NamedTuple):
  """The scores of R results on the N cases that all of them have.

  Attributes:
    names: names of the R results.
    ids: ids of the cases, sorted.
    subjects: subjects of the cases; '' where a case is its own subject.
    groups: index of each case's subject, int [N].
    classes: names of the K foreground classes that all results have.
    scores: scores of all results, float64 [R, N, K].
    num_left_out: for each result, how many of its cases are left out because
      another result lacks them.
    classes_left_out: for each result, the names of its classes that are left
      out because another result lacks them.
    unproven: what is known about the nan scores, int [R, N, K]: EMPTY,
      NOT_EMPTY or UNKNOWN; None if all of them may be empty classes.
  """

  names: tuple[str, ...]
  ids: tuple[str, ...]
  subjects: tuple[str, ...]
  groups: np.ndarray
  classes: tuple[str, ...]
  scores: np.ndarray
  num_left_out: tuple[int, ...]
  classes_left_out: tuple[tuple[str, ...], ...]
  unproven: np.ndarray | None = None


def find_files(results: Sequence[str], split: str) -> list[str]:
  """Returns the path of each result's table of scores per case.

  These are the tables of `experiments.evaluate` if every result has one.
  Otherwise they are the tables that training wrote, whose scores were computed
  at the size of the records.

  Args:
    results: for each result, a table itself or a folder that holds one.
    split: 'val' or 'test'.

  Raises:
    binary.UserError: if a result does not exist or has no table.
  """
  for result in results:
    if not os.path.exists(result):
      raise binary.UserError(
          f'--results: no such file or folder: {result!r}.')
  found = []
  for names in ((f'evaluation_{split}.csv', 'evaluation.csv'),
                (f'cases_{split}.csv',)):
    found = [_find(result, names) for result in results]
    if None not in found:
      return found
  result = results[found.index(None)]
  raise binary.UserError(
      f'--results: {result!r} has no cases_{split}.csv: run `python -m '
      f'experiments.evaluate --workdir={result} --split={split}` first.')


def _find(result, names):
  paths = [result] + [os.path.join(result, name) for name in names]
  return next((p for p in paths if os.path.isfile(p)), None)


def differences(paths: Sequence[str]) -> list[str]:
  """Returns a warning for each setting in which the evaluations differ.

  The settings are read from the JSON file next to each table, if it exists.

  Args:
    paths: paths of the tables.
  """
  settings = []
  for path in paths:
    try:
      results = run_schema.read(f'{path.removesuffix(".csv")}.json')
    except OSError:
      results = {}
    if not isinstance(results, dict):
      results = {}
    settings.append({name: results.get(name) for name in _SETTINGS})
  lines = []
  for name in _SETTINGS:
    values = [s[name] for s in settings]
    if any(v != values[0] for v in values):
      shown = ', '.join('unknown' if v is None else str(v) for v in values)
      lines.append(f'The results differ in their {name.replace("_", " ")} '
                   f'({shown}): evaluate all in the same way.')
  return lines


def choose_names(results: Sequence[str]) -> list[str]:
  """Returns a short name for each result: the last parts of its path.

  All names have the same number of parts, the smallest number that tells all
  different paths apart: runs/a/seed0 and runs/b/seed0 become a/seed0 and
  b/seed0. If a path occurs again, its name ends in (2), (3) and so on.
  """
  parts = [
      os.path.normpath(r).removesuffix('.csv').split(os.sep) for r in results]
  number = len(set(map(tuple, parts)))
  depth = 1
  while len({tuple(p[-depth:]) for p in parts}) < number:
    depth += 1
  names = ['/'.join(p[-depth:]) for p in parts]
  return [
      f'{name} ({names[:i].count(name) + 1})' if name in names[:i] else name
      for i, name in enumerate(names)]


def read_cases(path: str, *, name: str, metric: str) -> Cases:
  """Reads one metric of a table that `scoring.write_cases` has written.

  Args:
    path: CSV file with the columns `id`, `subject`, and METRIC_CLASS for each
      class. An empty cell, or nan, means that the class is not counted in this
      case. Other columns are ignored.
    name: name of the result.
    metric: a key of `metric_table.TABLE`.

  Raises:
    binary.UserError: if the file cannot be read or is not such a table; the
      message names file, line and column.
  """
  header, rows = csv_files.read_csv(path, required=('id', 'subject'))
  prefix = f'{metric}_'
  columns = {
      i: c[len(prefix):] for i, c in enumerate(header) if c.startswith(prefix)}
  if not columns:
    there = [
        m for m in metric_table.TABLE
        if any(c.startswith(f'{m}_') for c in header)]
    raise binary.UserError(
        f'{path} has no column {prefix}CLASS; metrics in it: '
        f'{", ".join(there) or "none"}. Choose another --metric, or evaluate '
        'again.')
  id_column, subject_column = header.index('id'), header.index('subject')
  subjects, scores, unproven = {}, {}, {}
  witnesses = [_witnesses(header, c, metric) for c in columns.values()]
  for where, row in rows:
    case = row[id_column]
    if case in scores:
      raise binary.UserError(
          f'{where}, id: {case!r} is there twice; leave one.')
    subjects[case] = row[subject_column]
    scores[case] = np.array(
        [_number(row[i], f'{where}, {header[i]!r}')
         for i in columns])
    unproven[case] = np.array([
        _judge_blank(row, found, metric) if np.isnan(score) else EMPTY
        for score, found in zip(scores[case], witnesses, strict=True)])
  return Cases(
      name, path, subjects, tuple(columns.values()), scores, unproven)


def _witnesses(header, class_name, metric):
  """Returns the column numbers of the other overlap metrics of a class."""
  return [header.index(f'{m}_{class_name}') for m in _OVERLAPS
          if m != metric and f'{m}_{class_name}' in header]


def _judge_blank(row, witnesses, metric):
  """Returns whether an empty cell is EMPTY, NOT_EMPTY or UNKNOWN.

  This follows from the other overlap metrics of the same class in the row.

  Args:
    row: cells of the row.
    witnesses: column numbers of these metrics, from `_witnesses`.
    metric: metric of the empty cell.
  """
  if any(row[i] and row[i].strip().lower() != 'nan' for i in witnesses):
    return NOT_EMPTY
  is_distance = metric_table.TABLE[metric].is_distance
  return UNKNOWN if is_distance and not witnesses else EMPTY


def _number(text, where):
  if not text:
    return np.nan
  try:
    value = float(text)
  except ValueError:
    value = math.inf
  if math.isinf(value):
    raise binary.UserError(
        f'{where}: expected a number, or nothing where a class is not counted; '
        f'found {text!r}.')
  return value


def align(results: Sequence[Cases]) -> Aligned:
  """Pairs the cases of several results by id, and their classes by name.

  Args:
    results: one result or more.

  Raises:
    binary.UserError: if no case or no class is common to all results, or if a
      case has two subjects.
  """
  ids = sorted(set.intersection(*(set(r.scores) for r in results)))
  classes = [
      c for c in results[0].classes if all(c in r.classes for r in results)]
  for what, common in (('id of a case', ids), ('class', classes)):
    if not common:
      raise binary.UserError(
          f'No {what} is in all of {", ".join(r.path for r in results)}: are '
          'they results on the same split of the same set?')
  subjects = [_subject(results, i) for i in ids]
  by_class = lambda rows: np.array([
      [rows(r)[i][[r.classes.index(c) for c in classes]] for i in ids]
      for r in results])
  return Aligned(
      names=tuple(r.name for r in results),
      ids=tuple(ids),
      subjects=tuple(subjects),
      groups=_group_numbers(subjects, ids),
      classes=tuple(classes),
      scores=by_class(lambda r: r.scores),
      num_left_out=tuple(len(r.scores) - len(ids) for r in results),
      classes_left_out=tuple(
          tuple(c for c in r.classes if c not in classes) for r in results),
      unproven=by_class(lambda r: r.unproven),
  )


def _group_numbers(subjects, ids):
  """Numbers the subjects, int [N]; a case without one is its own subject."""
  # A subject named 'x' and a case 'x' without a subject are different groups.
  keys = [(s, '') if s else ('', i) for s, i in zip(subjects, ids, strict=True)]
  numbers = {key: n for n, key in enumerate(sorted(set(keys)))}
  return np.array([numbers[key] for key in keys])


def _subject(results, case):
  found = sorted({r.subjects[case] for r in results} - {''})
  if len(found) > 1:
    raise binary.UserError(
        f'Case {case!r} is of subject {found[0]!r} in one result and of '
        f'{found[1]!r} in another: are they of the same set?')
  return found[0] if found else ''
