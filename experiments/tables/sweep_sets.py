"""Prepares the sets that the runs of a sweep are trained on.

There is one set for each combination of strong fraction, kinds of weak labels
and share of faults. A set is prepared when a run first needs it, and its folder
appears only when it is complete. All sets must have the same test split, which
is checked.
"""

from collections.abc import Callable
import contextlib
import functools
import hashlib
import itertools
import os
import pathlib
import secrets
import shutil
from typing import Any, NamedTuple

from data_prep.sets import named_sets
from data_prep.shared import system_errors
import ml_collections
import numpy as np

from experiments import binary
from experiments.building import input_pipeline
from experiments.saving import run_folder
from experiments.saving import run_schema
from experiments.tables import claims

# Seed with which the strong images are chosen and the weak labels are drawn.
_SEED = 0


class Setting(NamedTuple):
  """The properties of a set.

  Attributes:
    dataset: a key of `named_sets.SETS`.
    image_size: height and width of the records, in pixels.
    strong_fraction: share of the training images with exact masks.
    weak: kinds of the weak labels, joined by '+'.
    fault_fraction: share of the weak labels with a planted fault.
  """

  dataset: str
  image_size: int
  strong_fraction: float
  weak: str
  fault_fraction: float

  @property
  def name(self) -> str:
    return (f'{self.dataset}_{self.image_size}px_'
            f'strong{100 * self.strong_fraction:g}_{self.weak}_'
            f'faults{100 * self.fault_fraction:g}')

  @property
  def words(self) -> str:
    return (f'{100 * self.strong_fraction:g} % strong, {self.weak}, '
            f'{100 * self.fault_fraction:g} % faulty')


def check_axis(
    config: ml_collections.ConfigDict,
    name: str,
    is_good: Callable[[Any], bool],
    expected: str,
) -> None:
  """Checks that a key of a table's config has distinct, valid values.

  Args:
    config: config of a table.
    name: the key, such as 'seeds', whose value must be a tuple.
    is_good: returns whether a value is valid.
    expected: description of valid values, for messages.

  Raises:
    binary.UserError: if there is no value, or if one is invalid or repeated.
  """
  values = config[name]
  if not isinstance(values, tuple) or not values:
    raise binary.UserError(f'config.{name}: {values!r}; give {expected}, as a '
                           'tuple of at least one.')
  for value in values:
    if not is_good(value):
      raise binary.UserError(
          f'config.{name}: {value!r} is none of them; expected {expected}.')
  if len(set(values)) < len(values):
    raise binary.UserError(f'config.{name}: {values!r} has one of them twice.')


def make_settings(config: ml_collections.ConfigDict) -> list[Setting]:
  """Returns the properties of each set of a table.

  Args:
    config: config of the table.

  Raises:
    binary.UserError: if the config names a set, kind or share that is invalid.
  """
  dataset = config.dataset
  known = named_sets.SETS
  if dataset not in known:
    raise binary.UserError(
        f'config.dataset: unknown {dataset!r}; known: {", ".join(known)}.')
  if not 8 <= config.image_size <= 4096:
    raise binary.UserError(
        f'config.image_size: {config.image_size}; give 8 to 4096.')
  kinds = known[dataset].KINDS
  is_number = lambda x: isinstance(x, (int, float)) and not isinstance(x, bool)
  check_axis(config, 'strong_fractions', lambda x: is_number(x) and 0 < x < 1,
             'shares above 0 and below 1')
  check_axis(config, 'weak_kinds', functools.partial(_are_kinds, kinds),
             f'kinds ({", ".join(kinds)}), several joined by +')
  most = int(named_sets.has_use_for(dataset, 'fault_fraction'))
  check_axis(config, 'fault_fractions',
             lambda x: is_number(x) and 0 <= x <= most,
             f'shares from 0 to {most}')
  return [
      Setting(dataset, config.image_size, *point) for point in
      itertools.product(config.strong_fractions, config.weak_kinds,
                        config.fault_fractions)]


def _are_kinds(known, text):
  names = str(text).split('+')
  return len(set(names)) == len(names) and set(names) <= set(known)


def folder(workdir: str, setting: Setting) -> str:
  """Returns the folder of a prepared set of the table.

  Args:
    workdir: folder of the table.
    setting: properties of the set.
  """
  return os.path.join(workdir, 'data', setting.name)


def check_source(dataset: str, source: str) -> None:
  """Checks that `source` is the folder of the original dataset.

  Raises:
    binary.UserError: if the folder is missing or of another dataset, or if one
      is given although the dataset is generated.
  """
  listing = named_sets.SETS[dataset].LISTING
  if not listing:
    if source:
      raise binary.UserError(f'--source: {dataset} needs none; leave it out.')
  elif not os.path.isfile(os.path.join(source, listing)):
    raise binary.UserError(
        f'--source={source}: give the folder of {dataset} that holds '
        f'{listing}, images and masks.')


def prepare(workdir: str, setting: Setting, source: str) -> None:
  """Prepares a set unless it exists, and checks its test split.

  If another process prepares the set, this one waits.

  Args:
    workdir: folder of the table.
    setting: properties of the set.
    source: folder of the original dataset; '' if the dataset is generated.

  Raises:
    binary.UserError: if the set cannot be prepared, or its test split differs
      from that of the other sets of the table.
  """
  output = pathlib.Path(folder(workdir, setting))
  if not output.exists():
    check_source(setting.dataset, source)
  while not output.exists():
    claim = claims.Claimant().wait(
        os.path.join(workdir, 'claims', 'data', setting.name),
        f'prepares {setting.name}', until=output.exists)
    if claim is not None:
      with claim, contextlib.suppress(claims.Lost):
        _prepare(output, setting, source, claim)
  _check_test_split(output)


def _prepare(output, setting, source, claim):
  """Prepares a set in a folder of this process, and moves it to `output`.

  Raises:
    claims.Lost: if another process has taken over, which removes the folder.
    binary.UserError: if the set cannot be prepared.
  """
  # Killed processes may have left incomplete folders.
  for path in output.parent.glob(f'.{output.name}.*unfinished'):
    claim.check()  # If it is lost, the folder may be in use.
    shutil.rmtree(path, ignore_errors=True)
  unfinished = output.with_name(
      f'.{output.name}.{secrets.token_hex(6)}.unfinished')
  try:
    unfinished.mkdir(parents=True)
    # The answer is fresh, since a network file system forgets what it knows of
    # a folder when something is made there.
    if output.exists():
      return
    _write(unfinished, setting, source)
    claim.check()
    os.rename(unfinished, output)
  except (OSError, LookupError, TypeError, ValueError) as e:
    claim.check()
    if system_errors.is_full(e) or isinstance(e, BrokenPipeError):
      raise binary.UserError(system_errors.in_words(e, output)) from e
    raise binary.UserError(
        f'The set {setting.name} cannot be prepared from {source!r} '
        f'({" ".join(str(e).split())[:80]}): see data_prep/'
        f'{setting.dataset}.py.') from e
  finally:
    shutil.rmtree(unfinished, ignore_errors=True)


def _write(output, setting, source):
  # These imports are slow, and --list does not need them.
  from data_prep.records import builder
  from data_prep.records import preparation

  manifest = named_sets.write(
      setting.dataset, output, source=source, image_size=setting.image_size,
      kinds=setting.weak.split('+'), seed=_SEED,
      strong_fraction=setting.strong_fraction,
      fault_fraction=setting.fault_fraction)
  preparation.write(output, intensity_range=None)
  builder.build(
      manifest, output=output / 'records', image_size=setting.image_size)
  run_folder.write_json(
      os.path.join(output, 'test_split.json'), _describe_test_split(output))


def _describe_test_split(output):
  """Returns the size and a digest of the test split, which all sets must share.

  The digest covers the ids, images and exact masks.
  """
  records = input_pipeline.load_dataset(str(output)).splits['test']
  digest = hashlib.sha256()
  for record in records:
    digest.update(record['id'])
    for name in 'image', 'truth':
      digest.update(np.ascontiguousarray(record[name]).tobytes())
  return {'num_images': len(records), 'sha256': digest.hexdigest()}


def _check_test_split(output):
  """Raises an error if another set of the table has a different test split."""
  size = output.name.split('_strong')[0]  # The dataset and the image size.
  own = run_schema.read(os.path.join(output, 'test_split.json'))
  for path in sorted(output.parent.glob(f'{size}_*/test_split.json')):
    if run_schema.read(path) != own:
      raise binary.UserError(
          f'{output} and {path.parent} have different test splits: their '
          'results cannot be compared. Has the source changed? Use another '
          '--workdir.')
