"""Describes the code and the machine of a session, without private details.

The description contains everything that may affect the numbers of a run. Since
people pass on the folders of their runs, it contains the name and the paths of
the machine only on request.
"""

from collections.abc import Mapping
import hashlib
import importlib.metadata
import os
import pathlib
import platform
import re
import subprocess
import sys
from typing import Any

import hybridseg
import jax

from experiments import launcher
from experiments.saving import switches

_PACKAGES = (
    'jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'grain',
    'tensorflow-datasets', 'numpy',
)
# The parts of the repository that a run uses. Changes elsewhere do not matter.
_CODE = (':/hybridseg', ':/data_prep', ':/experiments', ':/setup.py',
         ':/pyproject.toml')
_VERSION = re.compile(r'[0-9][0-9A-Za-z.!+]*')
_COMMIT = re.compile(r'[0-9a-f]{7,64}')
_ADDRESS = r'\w+://[^\s,;\'"]*'
_PATH = r'(?<![\w.~/\\-])(?:~[\w.-]*|[A-Za-z]:)?[/\\][^\s,;:\'"=\[\](){}]*'
_FOUND = re.compile(f'({_ADDRESS})|{_PATH}')
_HOST_FLAG = 'coordinator'


def diff() -> str:
  """Returns the uncommitted changes of the code, as the text of a git diff.

  Returns '' if the code lies outside this project's own repository. If it was
  copied or installed into another repository, the commits and changes there
  belong to another project.
  """
  return (_git('diff', 'HEAD', '--', *_CODE) or '') if _is_own() else ''


def describe(
    fingerprint: str, changes: str, *, record_machine: bool = False
) -> dict[str, Any]:
  """Returns the entry of this session in run.json.

  Args:
    fingerprint: fingerprint of the set.
    changes: diff of the code, from `diff`.
    record_machine: whether to add the machine's name and the working folder,
      and to keep absolute paths. Otherwise, only the last part of a path is
      kept.
  """
  devices = jax.devices()
  facts = {
      'argv': sys.argv,
      'commit': _git('rev-parse', 'HEAD') if _is_own() else None,
      'dirty_sha256': (
          hashlib.sha256(changes.encode()).hexdigest() if changes else ''),
      'dataset_fingerprint': fingerprint,
      'num_devices': len(devices),
      'num_processes': jax.process_count(),
      'device_kind': devices[0].device_kind,
      'processor': _processor(),
      'cpu_isa': launcher.cpu_isa(),
      'num_cpus': os.cpu_count(),
      'nproc': os.environ.get('NPROC'),
      'xla_flags': os.environ.get('XLA_FLAGS', ''),
      'switches': switches.read(),
      'python': platform.python_version(),
      'versions': {name: _version(name) for name in _PACKAGES},
  }
  if record_machine:
    return facts | {'host': platform.node(), 'folder': os.getcwd()}
  return without_paths(facts | {'argv': _without_hosts(facts['argv'])})


def install_line(session: Mapping[str, Any], *, extras: str = 'run') -> str:
  """Returns the shell command that installs the versions of a session.

  Users paste this command into a shell, and the folder may come from somebody
  else. The command therefore only contains text that has the form of a version
  or a commit.

  Args:
    session: entry of a session in run.json, from any version of hybridseg.
    extras: extras of setup.py to install, separated by commas.
  """
  line = f"pip install -e '.[{extras}]'"
  versions = session.get('versions') or {}
  for name in _PACKAGES:
    if _VERSION.fullmatch(versions.get(name) or ''):
      line += f' {name}=={versions[name]}'
  if _VERSION.fullmatch(session.get('python') or ''):
    line += f'  # Python {session["python"]}'
  commit = session.get('commit') or ''
  if _COMMIT.fullmatch(commit):
    line = f'git checkout {commit} && {line}'
  return line


def without_paths(value: Any) -> Any:
  """Shortens the absolute paths in a string to their last part.

  '--workdir=/home/jane/runs/a' becomes '--workdir=.../a'. Addresses such as
  gs://bucket/a are kept, since they are not folders of the machine.

  Args:
    value: a string, or nested lists and dictionaries of strings.
  """
  if isinstance(value, dict):
    return {k: without_paths(v) for k, v in value.items()}
  if isinstance(value, (list, tuple)):
    return [without_paths(v) for v in value]
  if not isinstance(value, str):
    return value
  # If the whole value is a path, it may contain spaces.
  name, sign, rest = value.partition('=')
  if not re.search(r'[\s/\\]', name) and sign and _is_path(rest):
    return f'{name}={_last(rest)}'
  if _is_path(value):
    return _last(value)
  return _FOUND.sub(lambda m: m[1] or _last(m[0]), value)


def _is_path(text):
  """Returns whether a string is one absolute path, which may hold spaces."""
  return bool(re.match(r'(~|[A-Za-z]:)?[/\\]', text)) and not re.search(
      r'[,;:=\'"]|\s-', text[2:])


def _last(path):
  last = re.split(r'[/\\]', path.rstrip('/\\'))[-1]
  return '...' if last.startswith('~') else f'.../{last}'


def _without_hosts(argv):
  """Removes the address of the coordinator from a command line."""
  found, is_host = [], False
  for arg in argv:
    name, sign, _ = arg.partition('=')
    is_flag = arg.startswith('-') and name.lstrip('-') == _HOST_FLAG
    found.append(f'{name}=...' if is_flag and sign else
                 '...' if is_host else arg)
    is_host = is_flag and not sign
  return found


def _is_own():
  """Returns whether this file lies in the git repository of this project."""
  root = _git('rev-parse', '--show-toplevel')
  if not root:
    return False
  return pathlib.Path(root, 'hybridseg', '__init__.py').resolve() == (
      pathlib.Path(hybridseg.__file__).resolve())


def _processor():
  """Returns the model name of the processor, or its type if that is unknown."""
  try:
    with open('/proc/cpuinfo', encoding='utf-8') as f:
      names = [x.split(':')[1].strip() for x in f if x.startswith('model name')]
  except OSError:
    names = []
  return names[0] if names else platform.processor() or platform.machine()


def _version(package):
  try:
    return importlib.metadata.version(package)
  except importlib.metadata.PackageNotFoundError:
    return None


def _git(*args):
  here = os.path.dirname(os.path.abspath(__file__))
  # Within a git hook or alias, environment variables such as GIT_DIR are set.
  # They would point git to another repository.
  clean = {k: v for k, v in os.environ.items() if not k.startswith('GIT_')}
  try:
    out = subprocess.run(
        ('git', *args), cwd=here, capture_output=True, text=True, check=True,
        env=clean)
  except (OSError, ValueError, subprocess.CalledProcessError):
    return None
  return out.stdout.strip()
