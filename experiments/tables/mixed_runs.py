"""Reads the runs of a sweep over mixes of annotations.

They are read from a CSV table or from the folders of the runs.
"""

from collections.abc import Sequence
import glob
import math
import os
from typing import NamedTuple

from hybridseg import types
import numpy as np

from experiments import binary
from experiments import csv_files
from experiments.building import input_pipeline
from experiments.saving import run_folder
from experiments.saving import run_schema

# The mask comes first: the worth of all other kinds is measured in masks. Only
# whole volumes have drawn slices.
KINDS = tuple(
    k.name.lower() for k in types.AnnotationKind
    if k not in (types.AnnotationKind.NONE, types.AnnotationKind.SLICES))


class Sweep(NamedTuple):
  """N finished runs, sorted so that the order of the input does not matter.

  Attributes:
    kinds: names of the K kinds, the mask first.
    counts: number of training annotations of each kind in each run, float64
      [N, K].
    dice: test Dice of each run, float64 [N].
    seeds: seed of each run, int [N]. Runs of the same mix must have different
      seeds, so that no run counts twice.
  """

  kinds: tuple[str, ...]
  counts: np.ndarray
  dice: np.ndarray
  seeds: np.ndarray


class Run(NamedTuple):
  """One finished run of a sweep.

  Attributes:
    where: where the run was read (file and line, or folder), for messages.
    counts: number of training annotations by kind.
    seed: seed of the run.
    dice: test Dice of the run, in [0, 1].
  """

  where: str
  counts: dict[str, int]
  seed: int
  dice: float


def make_sweep(runs: Sequence[Run]) -> Sweep:
  """Sorts runs and returns them as arrays.

  Raises:
    binary.UserError: if there is no run, if two runs have the same annotations
      and seed, or if no run gives its number of masks.
  """
  if not runs:
    raise binary.UserError('The sweep has no finished run.')
  kinds = tuple(k for k in KINDS if any(k in r.counts for r in runs))
  if KINDS[0] not in kinds:
    raise binary.UserError(
        f'{runs[0].where}: no number of {KINDS[0]}, in which all kinds are '
        'measured.')
  keys = {}
  for run in runs:
    key = (*(run.counts.get(k, 0) for k in kinds), run.seed)
    if key in keys:
      raise binary.UserError(
          f'{run.where}: the same annotations and seed as {keys[key].where}. A '
          'copy is no repeat: leave it out, or give its true seed.')
    keys[key] = run
  order = sorted(keys)
  return Sweep(
      kinds,
      np.array([key[:-1] for key in order], np.float64),
      np.array([keys[key].dice for key in order]),
      np.array([key[-1] for key in order]),
  )


def read_table(path: str) -> list[Run]:
  """Reads the runs of a sweep from a CSV file.

  Args:
    path: file with one line per run. Its columns are `mask`, any other kinds of
      `KINDS`, `seed` and `dice`. The column of a kind holds its number of
      annotations.

  Raises:
    binary.UserError: if the file is not such a table; the message names file,
      line and column.
  """
  known = (*KINDS, 'seed', 'dice')
  header, rows = csv_files.read_csv(path, required=(KINDS[0], 'seed', 'dice'))
  for name in header:
    if name not in known:
      raise binary.UserError(
          f'{path}, line 1: unknown column {name!r}; known: '
          f'{", ".join(known)}.')
  return [_parse(where, dict(zip(header, row, strict=True)))
          for where, row in rows]


def _parse(where, cells):
  dice = parse_number(cells.pop('dice'), f'{where}, dice', most=1)
  seed = parse_number(cells.pop('seed'), f'{where}, seed', whole=True)
  counts = {
      kind: parse_number(text, f'{where}, {kind}', whole=True)
      for kind, text in cells.items()}
  return Run(where, counts, seed, dice)


def parse_number(
    text: str, where: str, *, most: float = 1e9, whole: bool = False
) -> float:
  """Parses a number from 0 to `most`.

  Raises:
    binary.UserError: if `text` is not such a number.
  """
  try:
    value = float(text)
  except ValueError:
    value = math.nan
  if not 0 <= value <= most or (whole and value != int(value)):
    raise binary.UserError(
        f'{where}: expected a {"whole " if whole else ""}number from 0 to '
        f'{most:g}, found {text!r}.')
  return int(value) if whole else value


def parse_kinds(
    pairs: Sequence[str], flag: str, *, known: Sequence[str], whole: bool
) -> dict[str, float]:
  """Parses the KIND:NUMBER pairs of a flag.

  Args:
    pairs: pairs such as ['mask:10', 'box:0.5'].
    flag: name of the flag, for messages.
    known: kinds that are allowed.
    whole: whether only whole numbers are allowed.

  Returns:
    The number of each kind that the flag names.

  Raises:
    binary.UserError: if an entry is not such a pair, or if a kind is unknown or
      occurs twice.
  """
  values = {}
  for pair in pairs:
    kind, _, text = pair.strip().partition(':')
    if kind not in known or kind in values:
      raise binary.UserError(
          f'--{flag}: {kind!r} is not a kind of the sweep, or is there twice; '
          'expected '
          f'KIND:NUMBER of {", ".join(known)}.')
    values[kind] = parse_number(text, f'--{flag}, {kind}', whole=whole)
  return values


def find_runs(patterns: Sequence[str]) -> list[str]:
  """Returns the folders of finished runs that the patterns match, sorted.

  Args:
    patterns: folders or glob patterns.

  Raises:
    binary.UserError: if a pattern matches no finished run.
  """
  found = set()
  for pattern in patterns:
    folders = [
        f for f in glob.glob(pattern, recursive=True)
        if os.path.exists(os.path.join(f, 'metrics.json'))
        and os.path.exists(os.path.join(f, 'config.json'))]
    if not folders:
      raise binary.UserError(
          f'--runs: no finished run (metrics.json, config.json) at '
          f'{pattern!r}.')
    found.update(map(os.path.normpath, folders))
  return sorted(found)


def read_runs(folders: Sequence[str]) -> list[Run]:
  """Reads the seed, test Dice and numbers of annotations of finished runs.

  Args:
    folders: folders of the runs. The records of each must still be where its
      config says.

  Raises:
    binary.UserError: if a file of a run is missing or damaged, if its records
      have changed, or if the runs were not all tested on the same images.
  """
  sets = {}  # Read each set once: sets are large, and runs often share them.
  runs = [_read_run(folder, sets) for folder in folders]
  tests = {folder: _test_ids(folder) for folder in folders}
  for folder, ids in tests.items():
    if ids != tests[folders[0]]:
      raise binary.UserError(
          f'{folder} and {folders[0]} were tested on different images: give '
          'runs of one test split.')
  return runs


def _test_ids(folder):
  path = os.path.join(folder, 'cases_test.csv')
  header, rows = csv_files.read_csv(path, required=('id',))
  return {row[header.index('id')] for _, row in rows}


def _read_run(folder, sets):
  config = run_folder.read_config(folder)
  path = os.path.join(folder, 'metrics.json')
  try:
    # `parse_number` checks below that this is a number in [0, 1].
    dice = run_schema.read(path, {'test': {}})['test'].get('dice')
  except OSError as e:
    raise binary.UserError(
        f'{folder} is not a finished run: {path} cannot be read '
        f'({e.strerror}).') from e
  data_dir, seed = config.input.data_dir, config.seed
  weak_scale = config.supervision.weak_scale
  if data_dir not in sets:
    dataset = input_pipeline.load_dataset(data_dir)
    sets[data_dir] = (dataset.fingerprint, _count_kinds(dataset))
  fingerprint, (strong, weak) = sets[data_dir]
  sessions = run_folder.read_sessions(folder)
  if any(s['dataset_fingerprint'] != fingerprint for s in sessions):
    raise binary.UserError(
        f'{folder}: the records under {data_dir} have changed since it was '
        'trained; prepare them as they were, or leave it out.')
  counts = strong | (weak if weak_scale else {})
  return Run(
      folder, counts, int(seed),
      parse_number(str(dice), f'{path}, test.dice', most=1))


def _count_kinds(dataset):
  """Counts the training images of each kind of annotation.

  Returns:
    Two dicts that map each kind to its number of images: one for the strong
    images, one for the weak images.
  """
  weak = input_pipeline.column(dataset.splits['train_weak'], 'kind')
  numbers = {kind: int(np.sum(weak == types.AnnotationKind[kind.upper()]))
             for kind in KINDS}
  return ({KINDS[0]: len(dataset.splits['train_strong'])},
          {kind: n for kind, n in numbers.items() if n})
