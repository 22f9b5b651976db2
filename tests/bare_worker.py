"""Runs commands one after another, each in a child of a warm process.

The commands are given in JSON as lists of arguments after `python -m`. The
worker stops at the first command that fails, and prints its output.
"""

import json
import os
import runpy
import sys
import tempfile
import traceback


def _run(args, output):
  for stream in 1, 2:
    os.dup2(output.fileno(), stream)
  sys.argv = list(args)
  try:
    runpy.run_module(args[0], run_name='__main__', alter_sys=True)
  except SystemExit as e:
    code = e.code if isinstance(e.code, int) else int(e.code is not None)
  except BaseException:  # Print any error, as a user would see it.
    traceback.print_exc()
    code = 1
  else:
    code = 0
  sys.stdout.flush()
  sys.stderr.flush()
  os._exit(code)


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
        _run(args, output)
      _, status = os.waitpid(child, 0)
      output.seek(0)
      if status:
        code = os.waitstatus_to_exitcode(status)
        print(f'{" ".join(args)}: ended with {code}\n'
              f'{output.read().decode(errors="replace")[-4000:]}')
        sys.exit(1)


if __name__ == '__main__':
  main()
