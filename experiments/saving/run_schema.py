"""Checks the JSON files in the folder of a run.

People pass on folders of runs, repair them by hand, or mistake some other
folder for one. Before a file is used, it is therefore checked against the
schema of what a run writes. The first mismatch raises an error of one line.
"""

from collections.abc import Callable
import hashlib
import json
import math
from typing import Any, NamedTuple

from experiments import binary
from experiments.configs import common
from experiments.configs import versions
from experiments.configs import volumes

_MOST = 2**31 - 1


class Is(NamedTuple):
  """A schema for a single value.

  It has a description for error messages, and a function that returns whether a
  value fits.
  """

  words: str
  fits: Callable[[Any], bool]


def _is_number(x):
  return type(x) in (int, float) and math.isfinite(x) and abs(x) < 1e38


def _is_plain(x):
  """Returns whether a value has a type that an option of a network may have."""
  if isinstance(x, list):
    return len(x) <= 64 and all(map(_is_plain, x))
  return isinstance(x, (bool, str)) or _is_number(x) and abs(x) <= _MOST


TEXT = Is('text', lambda x: isinstance(x, str))
BOOL = Is('true or false', lambda x: isinstance(x, bool))
NUMBER = Is('a number', _is_number)
COUNT = Is('a whole number from 0 to 2147483647',
            lambda x: type(x) is int and 0 <= x <= _MOST)
_POSITIVE = Is('a whole number from 1 to 2147483647',
               lambda x: type(x) is int and 1 <= x <= _MOST)
_PLAIN = Is('a number, text or a list of these', _is_plain)
_TERM = Is('a pair of a number and the name of a loss', lambda x: (
    isinstance(x, list) and len(x) == 2 and _is_number(x[0])
    and isinstance(x[1], str)))
_DIGITS = Is('a whole number as text', lambda x: (
    isinstance(x, str) and x.isascii() and x.isdecimal() and len(x) < 5
    and int(x) > 0))


class Maybe(NamedTuple):
  """A schema for an optional value, which may be null or missing."""

  schema: Any


class Each(NamedTuple):
  """A schema for a dictionary with any keys; all its values fit one schema."""

  schema: Any


SESSION = {
    'dataset_fingerprint': TEXT,
    'argv': Maybe([TEXT]),
    'commit': Maybe(TEXT),
    'corrections': Maybe(TEXT),
    'cpu_isa': Maybe(TEXT),
    'device_kind': Maybe(TEXT),
    'dirty_sha256': Maybe(TEXT),
    'nproc': Maybe(_DIGITS),
    'num_cpus': Maybe(COUNT),
    'num_devices': Maybe(COUNT),
    'num_processes': Maybe(COUNT),
    'processor': Maybe(TEXT),
    'python': Maybe(TEXT),
    'switches': Maybe(Each(TEXT)),
    'versions': Maybe(Each(Maybe(TEXT))),
    'warm_start': Maybe(TEXT),
    'xla_flags': Maybe(TEXT),
}
RUN = {
    'sessions': [SESSION],
    'run_ids': Maybe([TEXT]),
    'dataset_sha256': Maybe(TEXT),
    'bit_equality': Maybe([
        {'from_step': COUNT, 'hybridseg': TEXT, 'config_version': COUNT,
         'why': TEXT}]),
}
# The height or width of an image; larger images are refused anyway.
_SIDE = Is('a whole number from 1 to 8192',
            lambda x: type(x) is int and 1 <= x <= 8192)
DATASET = {
    'name': TEXT,
    'classes': [TEXT],
    'image_shape': [_SIDE],
    'num_records': dict.fromkeys(
        ('train_strong', 'train_weak', 'val', 'test'), COUNT),
    'fingerprint': TEXT,
    'preparation': {
        'intensity_range': Maybe([NUMBER]),
        'orientation': Maybe(Is('three letters such as LPS', lambda x: (
            isinstance(x, str) and len(x) == 3 and set(x) <= set('LRAPIS')))),
        'axis': Maybe(Is(
            '0, 1 or 2', lambda x: type(x) is int and 0 <= x < 3)),
    },
}
# The schema of metrics.json. It covers only the values that its readers need.
RESULTS = {
    'step': COUNT,
    'test': {'dice': Maybe(NUMBER)},
    'indicators': {'auroc': Maybe(NUMBER)},
}
FINAL_STATE = {'step': COUNT, 'state_sha256': TEXT}


def read(path: str, schema: Any = None) -> Any:
  """Reads a JSON file and checks it against a schema, if one is given.

  Raises:
    binary.UserError: if the file is not JSON, or does not fit the schema.
    OSError: if the file cannot be read.
  """
  with open(path, encoding='utf-8') as f:
    try:
      value = json.load(f)
    # Text that is not UTF-8 raises a ValueError as well.
    except (ValueError, RecursionError) as e:
      raise binary.UserError(
          f'{path} is damaged ({_cut(e, 80)}): restore it, or use another '
          '--workdir.') from e
  if schema is not None:
    check(value, schema, path)
  return value


def check(value: Any, schema: Any, path: str) -> None:
  """Compares a value with a schema.

  Args:
    value: content of a JSON file.
    schema: an `Is` for a single value; a dictionary that maps each required key
      to its schema; a list that contains the schema of its items; or one of
      these within a `Maybe` or an `Each`.
    path: path of the file, for messages.

  Raises:
    binary.UserError: at the first value that does not fit.
  """
  found = _mismatch(value, schema, '')
  if found:
    raise binary.UserError(
        f'{path} is not as a run writes it: {found}. Restore it.')


def _mismatch(value, schema, name):
  """Describes the first place where a value does not fit; '' if it fits.

  Args:
    value: the value.
    schema: its schema, see `check`.
    name: dotted name of the value within its file.
  """
  if isinstance(schema, Maybe):
    return '' if value is None else _mismatch(value, schema.schema, name)
  shown = name or 'its content'
  if isinstance(schema, (dict, Each)):
    if not isinstance(value, dict):
      return f'{shown} is {_cut(json.dumps(value), 40)}, no dictionary'
    schemas = schema
    if isinstance(schema, Each):
      schemas = dict.fromkeys(value, schema.schema)
    for key, inner in schemas.items():
      where = f'{name}.{_cut(key, 40)}' if name else _cut(key, 40)
      if key not in value and not isinstance(inner, Maybe):
        return f'it lacks {where}'
      found = _mismatch(value.get(key), inner, where)
      if found:
        return found
    return ''
  if isinstance(schema, list):
    if not isinstance(value, list):
      return f'{shown} is {_cut(json.dumps(value), 40)}, no list'
    return next(filter(None, (
        _mismatch(x, schema[0], f'{name}[{i}]')
        for i, x in enumerate(value))), '')
  if not schema.fits(value):
    return f'{shown} is {_cut(json.dumps(value), 40)}, not {schema.words}'
  return ''


def check_dataset(facts: Any, path: str) -> None:
  """Checks the content of dataset.json.

  Raises:
    binary.UserError: if no run would write this content.
  """
  check(facts, DATASET, path)
  limits = facts['preparation']['intensity_range']
  for what, fits in (
      ('2 to 255 classes', 2 <= len(facts['classes']) <= 255),
      ('an image_shape of height, width and 1 to 16 channels',
       len(facts['image_shape']) == (3 if facts.get('plan') is None else 4)
       and facts['image_shape'][-1] <= 16),
      ('an intensity_range from low to high',
       not limits or len(limits) == 2 and limits[0] < limits[1])):
    if not fits:
      raise binary.UserError(
          f'{path} is not as a run writes it: expected {what}. Restore it.')


def digest(facts: Any) -> str:
  """Returns a sha256 of a JSON value; the order of its keys does not matter."""
  text = json.dumps(facts, sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()


def read_config(path: str) -> dict[str, Any]:
  """Reads config.json and upgrades it to today's version.

  Raises:
    binary.UserError: if the file is not the config of a run.
    OSError: if the file cannot be read.
  """
  return upgraded(read(path), path)


def upgraded(config: Any, path: str) -> dict[str, Any]:
  """Upgrades a stored config of any version to today's version and checks it.

  Args:
    config: config as JSON.
    path: path of its file, for messages.

  Raises:
    binary.UserError: if it is not the config of a run.
  """
  try:
    check(config, {}, path)
    config = versions.upgrade(config)
  except ValueError as e:
    raise binary.UserError(
        f'{path} cannot be used: {e}. Update hybridseg, or restore the '
        'file.') from e
  # Configs of whole volumes have keys of their own.
  of_volumes = 'foreground_share' in (config.get('input') or {})
  template = json.loads((volumes if of_volumes else common).get_base(
      '').to_json())
  schema = _schema_of(template, '')
  check(config, schema, path)
  unknown = _unknown(config, schema, '')
  if unknown:
    raise binary.UserError(
        f'{path} is not as a run writes it: {unknown} is no key of a config. '
        'Restore it.')
  return config


def _schema_of(value, name):
  """Derives the schema of a config from its default values.

  Args:
    value: the default config, or a part of it.
    name: dotted name of that part.
  """
  if name == 'supervision.loss_by_kind':
    return Each([_TERM])
  if name == 'model.options':
    return Each(_PLAIN)
  if isinstance(value, dict):
    return {k: _schema_of(v, f'{name}.{k}' if name else k)
            for k, v in value.items()}
  if name.endswith(('batch_size', 'train_steps', 'every_steps')):
    return COUNT if value == 0 else _POSITIVE
  if isinstance(value, list):
    if value and isinstance(value[0], bool):
      return [BOOL]
    return [TEXT if name == 'compare.methods' else COUNT]
  return {bool: BOOL, int: COUNT, float: NUMBER, str: TEXT}[type(value)]


def _unknown(value, schema, name):
  """Returns the dotted name of a config's first unknown key, or ''."""
  if not isinstance(schema, dict):
    return ''
  for key, inner in value.items():
    where = f'{name}.{_cut(key, 40)}' if name else _cut(key, 40)
    if key not in schema:
      return where
    found = _unknown(inner, schema[key], where)
    if found:
      return found
  return ''


def _cut(value, length):
  """Formats a value as one line of at most `length` characters."""
  text = ' '.join(str(value).split())
  text = text if text.isprintable() else ascii(text)
  return text if len(text) <= length else f'{text[:length]}...'
