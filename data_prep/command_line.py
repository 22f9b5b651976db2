"""What the binaries share: every error is a line on stderr and exit code 2."""

from collections.abc import Callable
import sys

from absl import flags
from absl import logging

from data_prep import pixels


class Refused(Exception):
  """The input cannot be used; `args` are the lines to print."""


def run(argv: list[str], body: Callable[[], None]) -> int:
  """Runs the body of a binary; returns its exit code."""
  logging.set_verbosity(logging.WARNING)  # TFDS tells what it loads.
  try:
    if len(argv) > 1:
      raise Refused(f'unexpected argument {argv[1]!r}; flags start with --')
    with pixels.strict_pillow():
      body()
  except Refused as refused:
    for line in refused.args:
      print(line, file=sys.stderr)
    return 2
  except OSError as error:
    print(one_line(error), file=sys.stderr)
    return 2
  return 0


def parse_flags(argv: list[str]) -> list[str]:
  """Parses flags as absl does, but tells an error in one line, exit code 2."""
  try:
    return flags.FLAGS(argv)
  except flags.Error as error:
    print(f'{one_line(error)} (see --help)', file=sys.stderr)
    sys.exit(2)


def one_line(error: object) -> str:
  """Returns an error in one line of at most 185 characters."""
  return ' '.join(str(error).split())[:185]
