"""Several binaries in one process: the flags of one at a time.

Binaries may use a flag's name for different things, and absl knows each name
once.
"""

import contextlib
import importlib
import sys
from types import ModuleType

from absl import flags

_flags_of = {}


def load(name: str) -> ModuleType:
  """Imports a binary; its flags are there within `with_flags` only."""
  if name not in _flags_of:
    # Those that were taken off before have no module any more.
    others = _take_off(
        [n for n in flags.FLAGS if not flags.FLAGS.find_module_defining_flag(
            n, '').startswith('absl.')])
    known = set(flags.FLAGS)
    module = importlib.import_module(name)
    _flags_of[name] = _take_off(set(flags.FLAGS) - known)
    _put_on(others)
  else:
    module = importlib.import_module(name)
  return module


@contextlib.contextmanager
def with_flags(module: ModuleType):
  """Gives a binary its flags, and takes them off again."""
  own = _flags_of[module.__name__]
  others = _take_off([name for name in own if name in flags.FLAGS])
  _put_on(own)
  if not flags.FLAGS.is_parsed():  # Under pytest.
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
