"""Runs `data_prep.prepare` in the process of a test."""

import contextlib
import io

from absl.testing import flagsaver
# This module defines flags. If TFDS imported it later, inside `flagsaver`, the
# flags would be removed again.
from array_record.python import array_record_data_source  # noqa: F401

from data_prep import command_line
from data_prep import prepare


def run(*argv):
  """Runs the binary in this process.

  Returns:
    The exit code, stdout, and the lines of stderr.
  """
  out, err = io.StringIO(), io.StringIO()
  with flagsaver.flagsaver():
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
      try:
        code = prepare.main(
            command_line.parse_flags(['prepare', *argv]))
      except SystemExit as done:
        code = done.code
  return code, out.getvalue(), err.getvalue().splitlines()
