"""Answers `--help` before a binary's slow imports, with exit code 0.

A binary consists of its docstring, its flags, the line

  early_help.answer(__name__)

then its other imports, and `main`. Nothing above that line may import JAX,
TensorFlow Datasets, grain, orbax or matplotlib.
"""

import sys

from absl import app
from absl import flags

from data_prep.shared import system_errors

_ASK = frozenset(
    dash + name for dash in ('-', '--')
    for name in ('help', 'helpshort', 'helpfull', 'helpxml', '?'))


def answer(module_name: str) -> None:
  """Prints the help that the command line asks for, and ends the process.

  It does nothing if the command line does not ask for help, or if the binary is
  imported rather than run.

  Args:
    module_name: `__name__` of the binary, which must have defined all its flags
      before the call.
  """
  if module_name != '__main__' or _ASK.isdisjoint(sys.argv):
    return
  app.define_help_flags()
  with system_errors.quiet_without_reader():
    try:
      flags.FLAGS(sys.argv)
    except SystemExit:  # absl has printed the help and exits with code 1.
      sys.exit(0)
    except BrokenPipeError:
      raise
    except Exception:  # The binary reports wrong flags itself when it starts.
      pass
