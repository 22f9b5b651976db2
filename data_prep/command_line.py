"""Runs a binary, and turns its errors into lines on stderr and exit code 2."""

from collections.abc import Callable, Sequence
import gc
import pathlib
import sys

from absl import app
from absl import flags
from absl import logging

from data_prep.shared import pixels
from data_prep.shared import system_errors


class Refused(Exception):
  """Raised if the input of a binary cannot be used.

  Attributes:
    lines: the lines to print.
  """

  def __init__(self, *lines: str):
    super().__init__(*lines)
    self.lines = lines


def run(argv: list[str], body: Callable[[], None]) -> int:
  """Runs the body of a binary; returns its exit code."""
  logging.set_verbosity(logging.WARNING)  # TFDS logs every set that it loads.
  try:
    if len(argv) > 1:
      raise Refused(f'unexpected argument {argv[1]!r}; flags start with --')
    with pixels.strict_pillow():
      body()
  except Refused as refused:
    for line in refused.lines:
      print(line, file=sys.stderr)
    return 2
  except pixels.WrongFile as wrong:
    print(one_line(wrong), file=sys.stderr)
    return 2
  except BrokenPipeError:
    raise
  except OSError as error:
    # Only errors that our own code raises have no number, such as "another
    # process prepares this set".
    known = error.errno is not None
    print(system_errors.in_words(error) if known else one_line(error),
          file=sys.stderr)
    return 2
  return 0


def check_output(output: pathlib.Path, own: Sequence[str]) -> None:
  """Refuses an --output that the binary has not written.

  Args:
    output: the folder.
    own: names of files and folders that the binary always writes there.

  Raises:
    Refused: if `output` is a file or holds other files.
  """
  if not output.exists():
    return
  if not output.is_dir():
    raise Refused(f'--output={output} is a file; give a folder')
  if any(output.iterdir()) and not all((output / n).exists() for n in own):
    raise Refused(f'--output={output} holds other files; give a new folder')


def start(main: Callable[[list[str]], int]) -> None:
  """Parses the flags, calls `main` and ends the process with its exit code."""
  gc.freeze()  # Objects made by the imports stay alive, so do not check them.
  with system_errors.quiet_without_reader():
    app.run(main, flags_parser=parse_flags)


def parse_flags(argv: list[str]) -> list[str]:
  """Parses flags like absl, but a wrong flag gives one line and exit code 2."""
  try:
    return flags.FLAGS(argv)
  except flags.Error as error:
    print(f'{one_line(error)} (see --help)', file=sys.stderr)
    sys.exit(2)


def one_line(error: object) -> str:
  """Returns the text of an error as one line of at most 185 characters."""
  return ' '.join(str(error).split())[:185]
