"""Upgrades stored configs of older versions to today's keys.

The config of a run is stored in its folder, while the keys in `common` change
with the code. Whoever adds, renames or removes a key must raise `VERSION` and
add a function to `_STEPS` that upgrades older configs. That function gives a
new key the value with which today's code behaves as the older code did.
"""

import copy
from typing import Any

VERSION = 5

# Keys that were added before configs had a version, with the values that switch
# them off. A run whose config lacks a key was trained without its feature.
_ADDED_IN_1 = {
    'max_skipped_in_a_row': 20,
    'mapping': 'pmap',
    'input.num_workers': 0,
    'input.corrected_labels': '',
    'input.weak_labels': 'annotation',
    'augmentation.saturation': 0.0,
    'augmentation.hue_deg': 0.0,
    'augmentation.blur': 0.0,
    'model.weights': '',
    'model.encoder_rate': 1.0,
    'supervision.loss_by_kind': {},
    'supervision.strong_scale': 1.0,
    'supervision.weak_first_share': 0.0,
    'supervision.weak_head': False,
    'supervision.refine': False,
    'model.cached_copies': [],
    'weighting.initial_from': '',
    'weighting.instances': 'batch',
}


def _from_1(config):
  """Upgrades a config of version 1 in place.

  Adds the keys that such a config may lack, and deletes a key that is not used
  any more.
  """
  for name, value in _ADDED_IN_1.items():
    *sections, key = name.split('.')
    part = config
    for section in sections:
      part = part.get(section)
    if isinstance(part, dict):
      part.setdefault(key, copy.copy(value))
  if config.get('student_augmentation') == {}:
    del config['student_augmentation']


def _from_2(config):
  """Adds deep supervision, switched off, to the networks of whole volumes."""
  if 'foreground_share' in config.get('input', {}):
    config['model']['options'].setdefault('deep_supervision', False)


def _from_3(config):
  """Adds indicators per class, switched off."""
  if isinstance(config.get('weighting'), dict):
    config['weighting'].setdefault('per_class', False)


def _from_4(config):
  """Adds the start from an earlier run and what a review kept, switched off."""
  config.setdefault('warm_start', '')
  if isinstance(config.get('weighting'), dict):
    config['weighting'].setdefault('pin_kept', False)


_STEPS = {1: _from_1, 2: _from_2, 3: _from_3, 4: _from_4}


def version_of(config: dict[str, Any]) -> int:
  """Returns the version of a stored config; 1 if it has none.

  Raises:
    ValueError: if the version is invalid or newer than `VERSION`.
  """
  version = config.get('version', 1)
  if type(version) is not int or version < 1:
    raise ValueError(f'version is {version!r:.40}, not a whole number from 1')
  if version > VERSION:
    raise ValueError(
        f'it has version {version!r:.40}, of a newer hybridseg, and this one '
        f'reads up to {VERSION}')
  return version


def upgrade(config: dict[str, Any]) -> dict[str, Any]:
  """Returns a stored config in the form in which today's code would store it.

  Args:
    config: config as JSON, of any version; it is not changed.

  Returns:
    A new dictionary of version `VERSION`. The caller must check its values.

  Raises:
    ValueError: if its version is invalid or newer than `VERSION`.
  """
  version = version_of(config)
  config = copy.deepcopy(config)
  for step in range(version, VERSION):
    _STEPS[step](config)
  return config | {'version': VERSION}
