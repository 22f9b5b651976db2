"""Loads several binaries in one process, with the flags of one at a time.

Two binaries may use the same name for different flags, but absl accepts each
name only once.
"""

import collections
import contextlib
import importlib
import sys
from types import ModuleType

from absl import flags

_PACKAGES = ('data_prep', 'experiments', 'tests')
_flags_of = {}
# Flags that several binaries share, by the module that defines them.
_shared = collections.defaultdict(dict)


def load(name: str) -> ModuleType:
  """Imports a binary; its flags exist only within `with_flags`."""
  if name not in _flags_of:
    # Skip flags that were removed before: absl knows no module for them.
    others = _take_off(
        [n for n in flags.FLAGS if not flags.FLAGS.find_module_defining_flag(
            n, '').startswith('absl.')])
    known = set(flags.FLAGS)
    module = importlib.import_module(name)
    new = set(flags.FLAGS) - known
    definers = {n: flags.FLAGS.find_module_defining_flag(n) for n in new}
    own = _take_off(new)
    for flag, definer in definers.items():
      if definer not in (None, name):
        _shared[definer][flag] = own[flag]
    used = {value.__name__ for value in vars(module).values()
            if isinstance(value, ModuleType)}
    for definer, found in _shared.items():
      # Flags of other packages, such as grain, are needed wherever these are.
      if definer in used or definer.split('.')[0] not in _PACKAGES:
        own |= found
    _flags_of[name] = own
    _put_on(others)
  else:
    module = importlib.import_module(name)
  return module


@contextlib.contextmanager
def with_flags(module: ModuleType):
  """Defines the flags of a binary, and removes them again at the end."""
  own = _flags_of[module.__name__]
  others = _take_off([name for name in own if name in flags.FLAGS])
  _put_on(own)
  if not flags.FLAGS.is_parsed():  # This happens under pytest.
    flags.FLAGS(sys.argv[:1])
  try:
    yield
  finally:
    _take_off(own)
    _put_on(others)


def _take_off(names):
  taken = {name: flags.FLAGS[name] for name in names}
  for name in taken:
    delattr(flags.FLAGS, name)
  return taken


def _put_on(taken):
  for name, flag in taken.items():
    flags.FLAGS[name] = flag
