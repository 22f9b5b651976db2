"""Parses commands as their binaries would: a child process for each.

Flags belong to a process and are defined once. The commands come as JSON, lists
of arguments after `python -m`; what is wrong with them goes out, one line each.
"""

import importlib
import json
import os
import sys

from experiments import binary

# Loaded once for all, heavy and without flags.
from experiments.auditing import ranking  # noqa: F401
from experiments.exporting import artefacts  # noqa: F401
from experiments.training import trainer  # noqa: F401
import tensorflow_datasets  # noqa: F401


def _parse(args):
  sys.argv = list(args)  # Flags of a config read it.
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
      except BaseException as e:  # Whatever it is, the command is wrong.
        print(f'{" ".join(args)}: {type(e).__name__}: {e}', flush=True)
      os._exit(0)
    _, status = os.waitpid(child, 0)
    if status:
      print(f'{" ".join(args)}: ended with status {status}', flush=True)


if __name__ == '__main__':
  main()
