"""Decides what may change when a run is resumed, and what then still repeats.

The numbers of a run are a function of its config, as long as the config stays
the same. A few keys may change nevertheless: how often something is logged,
evaluated or saved, how long the run is, and how it is spread over devices.
"""

import hashlib
import json
from typing import Any, NamedTuple

import hybridseg
import ml_collections

from experiments import binary
from experiments.building import parts
from experiments.configs import versions

# Key -> whether the run differs from an uninterrupted one after its change.
MAY_CHANGE = {
    'train_steps': True,
    'mapping': True,
    'log_every_steps': False,
    'eval_every_steps': False,
    'checkpoint_every_steps': False,
    'input.num_workers': False,
    'input.eval_batch_size': False,
}
# Keys that were added during version 1; they are off in runs made before.
_LATER_IN_1 = (
    ('weighting', 'initial_from'), ('input', 'corrected_labels'),
    ('supervision', 'refine'))
# Keys that may always differ. A set may have moved: compare its fingerprint.
_ANYWHERE = ('input.data_dir', 'version')


class Change(NamedTuple):
  """A key of a config whose value has changed."""

  name: str
  old: Any
  new: Any

  @property
  def words(self) -> str:
    return f'{self.name} was {self.old!r}, is {self.new!r}'


def run_id(config: dict[str, Any], fingerprint: str) -> str:
  """Returns a hash of the config and the set that identifies a run.

  Keys that may change when a run is resumed are not part of it.

  Args:
    config: config as JSON, of the version in which it is stored: after an
      upgrade, the same run would have another hash.
    fingerprint: fingerprint of the set.
  """
  wanted = json.loads(json.dumps(config))
  if versions.version_of(wanted) == 1:
    # Version 1 hashed all keys, since none could change, but not the keys that
    # were added later, as long as they are off.
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
  # The contents of the records count, not their path.
  wanted['input'].pop('data_dir', None)
  text = json.dumps([wanted, fingerprint], sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()


def changes(saved: dict[str, Any], wanted: dict[str, Any]) -> list[Change]:
  """Returns the keys in which two configs of today's version differ, sorted."""
  saved, wanted = flatten(saved), flatten(wanted)
  return [
      Change(name, saved.get(name), wanted.get(name))
      for name in sorted((saved.keys() | wanted.keys()) - {*_ANYWHERE})
      if saved.get(name) != wanted.get(name)]


def check_same(found: list[Change], workdir: str) -> None:
  """Refuses a folder that holds a run with another config.

  Raises:
    binary.UserError: if there is any change.
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
  """Refuses changes with which a run cannot be resumed.

  Args:
    found: changes from `changes`.
    saved: config in the folder.
    step: step of the newest checkpoint, 0 if there is none.
    workdir: folder of the run.

  Raises:
    binary.UserError: if there is such a change.
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
    saved: ml_collections.ConfigDict, config: ml_collections.ConfigDict,
    step: int,
) -> str:
  """Returns a line on how the learning rate changes with the run's length.

  Args:
    saved: config in the folder.
    config: config with which the run is resumed.
    step: step at which it is resumed.
  """
  before, after = (
      float(parts.learning_rates(c)(step)) for c in (saved, config))
  return (f'train_steps was {saved.train_steps}, is {config.train_steps}: at '
          f'step {step} the learning rate goes from {before:.3g} to '
          f'{after:.3g}, from where a cosine takes it to 0.')


def bit_equality(
    before: list[dict[str, Any]] | None, found: list[Change], step: int
) -> list[dict[str, Any]]:
  """Returns the pieces of a run that repeat bit for bit.

  Each entry is a piece with its first step, the version that repeats it bit for
  bit from that step on, and the reason why it begins there.

  Args:
    before: pieces of the earlier sessions; None if the run did not record them.
    found: changes of this session.
    step: step at which this session resumes; 0 starts anew.
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
  """Returns the leaves of nested dictionaries by their dotted names."""
  if not isinstance(tree, dict):
    return {prefix: tree}
  flat = {}
  for name, value in tree.items():
    flat.update(flatten(value, f'{prefix}.{name}' if prefix else name))
  return flat
