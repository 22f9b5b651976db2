"""Parses the flags of commands as their binaries would, and prints errors.

Each command is parsed in a child process, because absl defines the flags of a
binary once per process. stdin holds a JSON list of commands, each of which is
the list of its arguments after `python -m`. One line is printed for each wrong
command.
"""

import importlib
import json
import os
import sys

from experiments import binary

# These modules are slow to import and define no flags. Importing them here,
# before the fork, spares every child process the time.
from experiments.auditing import ranking  # noqa: F401
from experiments.exporting import artefacts  # noqa: F401
from experiments.training import trainer  # noqa: F401
import tensorflow_datasets  # noqa: F401


def _parse(args):
  sys.argv = list(args)  # Flags of configs read it.
  importlib.import_module(args[0])
  rest = binary._parse_flags(args)  # pylint: disable=protected-access
  if len(rest) > 1:
    raise binary.UserError(f'Unexpected arguments: {rest[1:]}')


def main():
  for args in json.load(sys.stdin):
    child = os.fork()
    if not child:
      try:
        _parse(args)
      except BaseException as e:  # Any exception means a wrong command.
        print(f'{" ".join(args)}: {type(e).__name__}: {e}', flush=True)
      os._exit(0)
    _, status = os.waitpid(child, 0)
    if status:
      print(f'{" ".join(args)}: ended with status {status}', flush=True)


if __name__ == '__main__':
  main()
