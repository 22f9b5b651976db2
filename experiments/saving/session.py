"""Describes a session of a run: its code and its machine, without secrets.

A run's folder is passed on. The description contains everything that decides a
result. It names the machine and the paths on it only on request.
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
# The parts of the repository that a run uses; a fork may contain more.
_CODE = (':/hybridseg', ':/data_prep', ':/experiments', ':/setup.py',
         ':/pyproject.toml')
_VERSION = re.compile(r'[0-9][0-9A-Za-z.!+]*')
_COMMIT = re.compile(r'[0-9a-f]{7,64}')
_ADDRESS = r'\w+://[^\s,;\'"]*'
_PATH = r'(?<![\w.~/\\-])(?:~[\w.-]*|[A-Za-z]:)?[/\\][^\s,;:\'"=\[\](){}]*'
_FOUND = re.compile(f'({_ADDRESS})|{_PATH}')
_HOST_FLAG = 'coordinator'


def diff() -> str:
  """Returns the diff of the code to its commit; '' if the commit is unknown.

  The diff is taken only in this project's own repository. If the code was
  copied or installed into another repository, its commits are somebody else's.
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
      and to keep absolute paths; else only their last part is kept.
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

  A run's folder is passed on, and users paste this command into a shell.
  Therefore only text that has the form of a version or a commit gets into it.

  Args:
    session: entry of run.json, written by any version of hybridseg.
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
  """Cuts absolute paths in a text, or a tree of texts, to their last part.

  '--workdir=/home/jane/runs/a' becomes '--workdir=.../a'. Addresses such as
  gs://bucket/a are kept, since they are not folders of the machine.
  """
  if isinstance(value, dict):
    return {k: without_paths(v) for k, v in value.items()}
  if isinstance(value, (list, tuple)):
    return [without_paths(v) for v in value]
  if not isinstance(value, str):
    return value
  # A path that is the whole value may contain spaces.
  name, sign, rest = value.partition('=')
  if not re.search(r'[\s/\\]', name) and sign and _is_path(rest):
    return f'{name}={_last(rest)}'
  if _is_path(value):
    return _last(value)
  return _FOUND.sub(lambda m: m[1] or _last(m[0]), value)


def _is_path(text):
  """Returns whether a text is one absolute path, which may contain spaces."""
  return bool(re.match(r'(~|[A-Za-z]:)?[/\\]', text)) and not re.search(
      r'[,;:=\'"]|\s-', text[2:])


def _last(path):
  last = re.split(r'[/\\]', path.rstrip('/\\'))[-1]
  return '...' if last.startswith('~') else f'.../{last}'


def _without_hosts(argv):
  """Returns a command line without the address of the coordinator."""
  found, is_host = [], False
  for arg in argv:
    name, sign, _ = arg.partition('=')
    is_flag = arg.startswith('-') and name.lstrip('-') == _HOST_FLAG
    found.append(f'{name}=...' if is_flag and sign else
                 '...' if is_host else arg)
    is_host = is_flag and not sign
  return found


def _is_own():
  """Returns whether the repository around this file is this project's."""
  root = _git('rev-parse', '--show-toplevel')
  if not root:
    return False
  return pathlib.Path(root, 'hybridseg', '__init__.py').resolve() == (
      pathlib.Path(hybridseg.__file__).resolve())


def _processor():
  """Returns the model name of the processor, if the system knows it."""
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
  # Hooks and aliases set variables that may point git to another repository.
  clean = {k: v for k, v in os.environ.items() if not k.startswith('GIT_')}
  try:
    out = subprocess.run(
        ('git', *args), cwd=here, capture_output=True, text=True, check=True,
        env=clean)
  except (OSError, ValueError, subprocess.CalledProcessError):
    return None
  return out.stdout.strip()
