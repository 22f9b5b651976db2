"""Runs `data_prep.prepare` in the process of a test."""

import contextlib
import io

from absl.testing import flagsaver
# Defines flags when TFDS first reads; flagsaver would drop them again.
from array_record.python import array_record_data_source  # noqa: F401

from data_prep import command_line
from data_prep import prepare


def run(*argv):
  """Runs the binary in this process; returns (code, stdout, stderr lines)."""
  out, err = io.StringIO(), io.StringIO()
  with flagsaver.flagsaver():
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
      try:
        code = prepare.main(
            command_line.parse_flags(['prepare', *argv]))
      except SystemExit as done:
        code = done.code
  return code, out.getvalue(), err.getvalue().splitlines()
