"""Decides which keys of the config may change when a run is resumed.

Two runs with the same config give the same numbers. While a run is stopped, a
few keys of its config may nevertheless be changed: how often the run logs,
evaluates and saves, how many steps it takes, and how the steps are spread over
the devices.
`bit_equality` records which part of a run can still be repeated exactly.
"""

import hashlib
import json
from typing import Any, NamedTuple

import hybridseg
import ml_collections

from experiments import binary
from experiments.building import pieces
from experiments.configs import versions

# Maps each key that may change to whether the change makes the numbers of the
# resumed run differ from those of an uninterrupted run.
MAY_CHANGE = {
    'train_steps': True,
    'mapping': True,
    'log_every_steps': False,
    'eval_every_steps': False,
    'checkpoint_every_steps': False,
    'input.num_workers': False,
    'input.eval_batch_size': False,
}
# Keys that were added to configs of version 1. Runs from before the addition of
# a key were trained without its feature.
_LATER_IN_1 = (
    ('weighting', 'initial_from'), ('input', 'corrected_labels'),
    ('supervision', 'refine'))
# Keys that are never compared. The folder of a set may have moved, so the set's
# fingerprint is compared instead.
_ANYWHERE = ('input.data_dir', 'version')


class Change(NamedTuple):
  """A change of a config's key: the key's name, and its old and new value."""

  name: str
  old: Any
  new: Any

  @property
  def words(self) -> str:
    return f'{self.name} was {self.old!r}, is {self.new!r}'


def run_id(config: dict[str, Any], fingerprint: str) -> str:
  """Returns an id of a run, which is a hash of its config and its set.

  Keys that may change when a run is resumed do not contribute to the hash.

  Args:
    config: config as JSON, as it is stored in the folder. Do not upgrade it to
      today's version, because that would change the hash.
    fingerprint: fingerprint of the set.
  """
  wanted = json.loads(json.dumps(config))
  if versions.version_of(wanted) == 1:
    # Version 1 hashed all keys, since none could change. Keys that were added
    # later are left out while they are off, so that older ids remain valid.
    for section, key in _LATER_IN_1:
      if not wanted.get(section, {}).get(key, True):
        del wanted[section][key]
  else:
    for name in MAY_CHANGE:
      *sections, key = name.split('.')
      part = wanted
      for section in sections:
        part = part[section]
      part.pop(key)
  # A run is identified by the content of its records, not by their path.
  wanted['input'].pop('data_dir', None)
  text = json.dumps([wanted, fingerprint], sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()


def changes(saved: dict[str, Any], wanted: dict[str, Any]) -> list[Change]:
  """Returns the differences between two configs, sorted by key.

  Args:
    saved: config in the folder as JSON, upgraded to today's version.
    wanted: config with which the run is resumed, as JSON.
  """
  saved, wanted = flatten(saved), flatten(wanted)
  return [
      Change(name, saved.get(name), wanted.get(name))
      for name in sorted((saved.keys() | wanted.keys()) - {*_ANYWHERE})
      if saved.get(name) != wanted.get(name)]


def check_same(found: list[Change], workdir: str) -> None:
  """Refuses a folder that holds a run with another config.

  Raises:
    binary.UserError: if any key of the config has changed.
  """
  if found:
    old, new = (f'{x!r:.40}' for x in found[0][1:])
    raise binary.UserError(
        f'{workdir} holds a run with another config: {found[0].name} is {old} '
        f'there, {new} here. Use another --workdir, or the same config to '
        'resume.')


def check_resumable(
    found: list[Change], saved: dict[str, Any], step: int, workdir: str
) -> None:
  """Refuses changes of the config with which a run cannot be resumed.

  Args:
    found: changes from `changes`.
    saved: config in the folder.
    step: step of the newest checkpoint, 0 if there is none.
    workdir: folder of the run.

  Raises:
    binary.UserError: if one of the changes is not allowed.
  """
  check_same([c for c in found if c.name not in MAY_CHANGE], workdir)
  for change in found:
    if change.name != 'train_steps':
      continue
    if saved['supervision']['weak_first_share'] and step:
      raise binary.UserError(
          f'{workdir} cannot go on: {change.words}, and '
          'supervision.weak_first_share is a share of it. Use another '
          '--workdir.')
    if change.new < step:
      raise binary.UserError(
          f'{workdir} cannot go on: {change.words}, and it is at step {step} '
          f'already. Use {step} or more.')


def joint(
    change: Change, optimizer: ml_collections.ConfigDict, step: int
) -> str:
  """Describes the jump of the learning rate after the run's length was changed.

  The schedule depends on the total number of steps. If this number is changed,
  the learning rate jumps at the step at which the run is resumed.

  Args:
    change: change of `train_steps`.
    optimizer: the section `optimizer` of the config, which cannot change.
    step: step at which the run is resumed.
  """
  before, after = (
      float(pieces.learning_rates(optimizer, n)(step))
      for n in (change.old, change.new))
  return (f'{change.words}: at step {step} the learning rate goes from '
          f'{before:.3g} to {after:.3g}, from where a cosine takes it to 0.')


def bit_equality(
    before: list[dict[str, Any]] | None, found: list[Change], step: int
) -> list[dict[str, Any]]:
  """Divides a run into pieces, each of which can be repeated bit for bit.

  Args:
    before: pieces from the earlier sessions of the run; None if they were not
      recorded.
    found: changes of the config in this session.
    step: step at which this session resumes the run; 0 if it starts the run.

  Returns:
    A dictionary for each piece: its first step, the reason why a new piece
    begins there, and the versions of hybridseg and of the config with which the
    piece can be repeated.
  """
  here = {'hybridseg': hybridseg.__version__,
          'config_version': versions.VERSION}
  if not step:
    return [{'from_step': 0, 'why': 'start'} | here]
  if before is None:
    before = [{'from_step': 0, 'hybridseg': 'unknown', 'config_version': 1,
               'why': 'start'}]
  reasons = [c.words for c in found if MAY_CHANGE[c.name]]
  if any(before[-1][name] != value for name, value in here.items()):
    reasons.append('resumed by another version')
  if not reasons:
    return before
  return [*before, {'from_step': step, 'why': '; '.join(reasons)} | here]


def flatten(tree: Any, prefix: str = '') -> dict[str, Any]:
  """Flattens nested dictionaries into one; its keys are dotted names."""
  if not isinstance(tree, dict):
    return {prefix: tree}
  flat = {}
  for name, value in tree.items():
    flat.update(flatten(value, f'{prefix}.{name}' if prefix else name))
  return flat
