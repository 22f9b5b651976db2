"""Makes a folder that holds only what an extra of setup.py installs.

The folder has links to the installed files, so nothing is downloaded. With
`python -S` and the folder in PYTHONPATH, a program sees the same packages as
after `pip install -e '.[run]'` in a new environment. A package that the extra
forgets is missing there, even if the environment of the tests has it.
"""

import csv
import importlib.metadata
import os
import pathlib
import runpy
import sys
import types
from typing import Any
from unittest import mock

from packaging import requirements
from packaging import utils

ROOT = pathlib.Path(__file__).parent.parent


def make(folder: pathlib.Path, extra: str) -> list[str]:
  """Fills `folder` with links, and returns the names of the distributions."""
  installed = {
      utils.canonicalize_name(d.metadata['Name']): d
      for d in importlib.metadata.distributions()
  }
  names = _closure(installed, requirements_of(extra))
  # Tree of installed files; each entry says whether the extra needs it.
  owners = {}
  for name, distribution in installed.items():
    base = pathlib.Path(distribution.locate_file(''))
    record = distribution.read_text('RECORD') or ''
    for line in csv.reader(record.splitlines()):
      parts = pathlib.PurePath(line[0]).parts if line else ()
      if parts and parts[0] != '..' and not os.path.isabs(parts[0]):
        _note(owners, base, parts, name in names)
  _link(folder, owners)
  return sorted(names)


def environment(folder: pathlib.Path, **changes: str) -> dict[str, str]:
  """Returns an environment in which `python -S` sees the folder and this tree.
  """
  return os.environ | {'PYTHONPATH': f'{ROOT}{os.pathsep}{folder}'} | changes


def setup_arguments() -> dict[str, Any]:
  """Returns the arguments in this tree's setup.py, not the installed ones."""
  asked = {}
  stub = types.ModuleType('setuptools')
  stub.setup = asked.update
  stub.find_packages = lambda **unused: []
  with mock.patch.dict(sys.modules, setuptools=stub):
    runpy.run_path(str(ROOT / 'setup.py'))
  return asked


def requirements_of(*extras: str) -> list[str]:
  """Returns the requirements in setup.py with these extras."""
  asked = setup_arguments()
  return asked['install_requires'] + [
      text for extra in extras for text in asked['extras_require'][extra]]


def _closure(installed, asked):
  names, seen = set(), set()
  queue = [(text, '') for text in asked]
  while queue:
    text, extra = queue.pop()
    need = requirements.Requirement(text)
    if need.marker and not need.marker.evaluate({'extra': extra}):
      continue
    name = utils.canonicalize_name(need.name)
    names.add(name)
    for wanted in {'', *need.extras}:
      if (name, wanted) not in seen:
        seen.add((name, wanted))
        queue += [(line, wanted) for line in installed[name].requires or ()]
  return names


def _note(owners, base, parts, is_ours):
  """Adds a file to a tree.

  The tree maps a name to [place, whether all of it is needed, whether any of it
  is needed, the tree below].
  """
  for part in parts:
    base /= part
    entry = owners.setdefault(part, [base, True, False, {}])
    entry[1] &= is_ours
    entry[2] |= is_ours
    owners = entry[3]


def _link(folder, owners):
  """Links what is needed as a whole, and descends into what is needed in part.
  """
  for name, (place, all_ours, any_ours, below) in owners.items():
    if name == '__pycache__' or not any_ours:
      continue
    if all_ours or not below:
      (folder / name).symlink_to(place)
    else:
      (folder / name).mkdir()
      _link(folder / name, below)
