"""Runs binaries in processes that do not import the libraries anew.

To import JAX, Orbax, SciPy and the like takes seconds, for each process that a
test starts. Here, one process imports them, and is forked for each run. Nothing
of hybridseg is imported before the fork, so that a run defines its flags and
ends as the same `python -m` does. The environment is that of the first run.
"""

from collections.abc import Sequence
import json
import os
import pathlib
import runpy
import subprocess
import sys
import tempfile
import traceback
from typing import NoReturn

_ROOT = pathlib.Path(__file__).parent.parent
_LIBRARIES = (
    'flax.linen', 'grain', 'jax', 'matplotlib.figure', 'ml_collections',
    'nibabel', 'optax', 'orbax.checkpoint', 'PIL.Image', 'scipy.ndimage',
    'scipy.sparse.csgraph', 'scipy.special', 'scipy.stats')
_servers: list[subprocess.Popen] = []


def run(module: str, *args: str) -> subprocess.CompletedProcess:
  """Returns the end of `python -m module args` in the root of the project."""
  if not _servers:
    _servers.append(subprocess.Popen(
        [sys.executable, '-m', 'tests.forked'], cwd=_ROOT, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE))
  server = _servers[0]
  with tempfile.TemporaryDirectory() as folder:
    outputs = [pathlib.Path(folder, name) for name in ('stdout', 'stderr')]
    print(json.dumps([module, args, list(map(str, outputs))]),
          file=server.stdin, flush=True)
    code = int(server.stdout.readline())
    return subprocess.CompletedProcess(
        (module, *args), code, *(path.read_text() for path in outputs))


def end_as_main(module: str, *args: str, outputs: Sequence[int]) -> NoReturn:
  """Ends this process as `python -m module args` would.

  Args:
    module: name of the module.
    *args: its arguments.
    outputs: file descriptors that become the standard output and error.
  """
  for stream, descriptor in enumerate(outputs, start=1):
    os.dup2(descriptor, stream)
  sys.argv = [module, *args]
  code = 0
  try:
    runpy.run_module(module, run_name='__main__', alter_sys=True)
  except SystemExit as end:
    code = end.code if isinstance(end.code, int) else int(end.code is not None)
    if isinstance(end.code, str):
      print(end.code, file=sys.stderr)
  except BaseException:  # Print any error, as a user would see it.
    traceback.print_exc()
    code = 1
  sys.stdout.flush()
  sys.stderr.flush()
  os._exit(code)


def _serve():
  for library in _LIBRARIES:
    __import__(library)
  for line in sys.stdin:
    process = os.fork()
    if not process:
      module, args, paths = json.loads(line)
      outputs = [os.open(path, os.O_WRONLY | os.O_CREAT) for path in paths]
      end_as_main(module, *args, outputs=outputs)
    print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)


if __name__ == '__main__':
  _serve()
