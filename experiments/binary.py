"""How every binary starts and fails: one clear line and exit code 2."""

from collections.abc import Callable, Sequence
import difflib
import re
import sys

from absl import app
from absl import flags


class UserError(Exception):
  """Bad input; its message is one line: what, where, what to do."""


def _nearest_key(message: str) -> str:
  """Shortens the message of an unknown config key."""
  return ' '.join(message.split())


def _parse_flags(argv: Sequence[str]) -> list[str]:
  """Parses flags; an unknown or bad one becomes a `UserError`."""
  try:
    return flags.FLAGS(list(argv))
  except flags.UnrecognizedFlagError as e:
    known = [name for name in flags.FLAGS]
    near = difflib.get_close_matches(e.flagname, known, n=1)
    hint = f': did you mean --{near[0]}?' if near else '; see --help.'
    raise UserError(f'Unknown flag --{e.flagname}{hint}') from e
  except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as e:
    # ml_collections reports unknown config keys as the errors of a dict.
    text = str(e.args[0]) if e.args else str(e)
    raise UserError(_nearest_key(re.sub(r'^flag ', 'Flag ', text))) from e
  except OSError as e:
    raise UserError(f'Cannot read the config file: {e}.') from e


def run(main: Callable[[], None]) -> None:
  """Parses the flags and calls `main`; a `UserError` exits with code 2."""

  def guarded(argv):
    try:
      if len(argv) > 1:
        raise UserError(f'Unexpected arguments: {" ".join(argv[1:])}')
      main()
    except UserError as e:
      _exit(e)

  def parse(argv):
    try:
      return _parse_flags(argv)
    except UserError as e:
      return _exit(e)

  app.run(guarded, flags_parser=parse)


def _exit(error: UserError):
  print(f'Error: {error}', file=sys.stderr)
  sys.exit(2)
