"""Runs commands one after another, each in a child of a warm process.

The commands are given in JSON as lists of arguments after `python -m`. The
worker stops at the first command that fails, and prints its output.
"""

import json
import os
import sys
import tempfile

from tests import forked


def main():
  commands = json.load(sys.stdin)
  # TFDS is slow to import and defines no flags. The binaries of every extra
  # need it.
  import tensorflow_datasets  # noqa: F401
  if any(args[0].startswith('experiments.') for args in commands):
    from experiments.training import trainer  # noqa: F401
  for args in commands:
    with tempfile.TemporaryFile() as output:
      child = os.fork()
      if not child:
        forked.end_as_main(*args, outputs=(output.fileno(),) * 2)
      _, status = os.waitpid(child, 0)
      output.seek(0)
      if status:
        code = os.waitstatus_to_exitcode(status)
        print(f'{" ".join(args)}: ended with {code}\n'
              f'{output.read().decode(errors="replace")[-4000:]}')
        sys.exit(1)


if __name__ == '__main__':
  main()
