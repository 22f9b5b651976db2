"""`--help` of a binary: before anything slow is imported, and exit code 0.

A binary is read downwards: its text, its flags, the line

  early_help.answer(__name__)

then the imports of what it works with, then `main`. Above that line stands
nothing that imports JAX, TensorFlow Datasets, grain, orbax or matplotlib.
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

  Returns if it asks for none, or if the caller is imported and not run.

  Args:
    module_name: `__name__` of the binary, whose flags are all defined.
  """
  if module_name != '__main__' or _ASK.isdisjoint(sys.argv):
    return
  app.define_help_flags()
  with system_errors.quiet_without_reader():
    try:
      flags.FLAGS(sys.argv)
    except SystemExit:  # Of absl, with exit code 1.
      sys.exit(0)
    except BrokenPipeError:
      raise
    except Exception:  # Said when the binary starts, whatever it is.
      pass
