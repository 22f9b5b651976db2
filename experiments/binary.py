"""Runs the main function of a binary, and reports errors as single lines."""

from collections.abc import Callable, Mapping, Sequence
import re
import sys

from absl import app
from absl import flags
from data_prep.shared import early_help
from data_prep.shared import system_errors
from hybridseg import parallel
import jax
from ml_collections import config_flags

from experiments import program_cache


class UserError(Exception):
  """Raised on bad input; one line says what is wrong, where, and what to do."""


class Incomplete(Exception):
  """Raised if some inputs could not be used; its message is one line."""


class Lost(Exception):
  """Raised if another process of a job has ended; its message is one line."""


class Stopped(Exception):
  """Raised if work was stopped and can be resumed; its message is one line."""


def run(main: Callable[[], None]) -> None:
  """Parses the flags and calls `main`.

  The exit code of the process is 2 after a `UserError`, or after a file that
  cannot be read or written; 3 after `Lost`; 4 after `Incomplete`; 0 after
  `Stopped`; and 130 after Ctrl-C. If nobody reads the output any more (`... |
  head -1`), the process ends without a message. If several processes train
  together, any other error is printed as one line, and the exit code is 3.
  """

  def guarded(argv):
    try:
      if len(argv) > 1:
        raise UserError(f'Unexpected arguments: {" ".join(argv[1:])}')
      program_cache.turn_on()
      main()
    except Stopped as e:
      print(e, flush=True)
    except UserError as e:
      _exit(e)
    except KeyboardInterrupt:
      print('Interrupted.', file=sys.stderr)
      sys.exit(130)
    except Incomplete as e:
      print(f'Incomplete: {e}', file=sys.stderr)
      sys.exit(4)
    except Lost as e:
      print(f'Error: {_capital(str(e))}. Start the same command on all hosts '
            'again.', file=sys.stderr)
      sys.exit(3)
    except Exception as e:
      if parallel.num_processes() == 1 and isinstance(e, BrokenPipeError):
        raise
      if parallel.num_processes() == 1 and isinstance(e, OSError):
        _exit(UserError(system_errors.in_words(e)))
      if parallel.num_processes() == 1:
        raise
      # This process must end at once: if one of several processes has ended or
      # failed, the others cannot continue.
      print(f'Error: {_lost(e)}', file=sys.stderr)
      parallel.exit_now(3)

  def parse(argv):
    try:
      return _parse_flags(argv)
    except UserError as e:
      return _exit(e)

  # Binaries have called this before their slow imports; benchmarks have not.
  early_help.answer('__main__')
  with system_errors.quiet_without_reader():
    app.run(guarded, flags_parser=parse)


def _exit(error: UserError):
  # Names in the message may contain line breaks.
  print('Error: ' + ' '.join(str(error).splitlines()), file=sys.stderr)
  if parallel.num_processes() > 1:
    parallel.exit_now(2)  # A normal exit would wait for the other processes.
  sys.exit(2)


def _capital(text):
  return text[:1].upper() + text[1:]


def _lost(error):
  line = (str(error).strip().splitlines() or [''])[0][:200]
  if not isinstance(error, jax.errors.JaxRuntimeError):
    return f'{type(error).__name__}: {line}'
  return (f'Lost another process ({line}): start the same command on all hosts '
          'again, it resumes from the newest checkpoint.')


def _parse_flags(argv: Sequence[str]) -> list[str]:
  """Parses the flags, and turns every error in them into a `UserError`."""
  try:
    rest = flags.FLAGS(list(argv))
    if 'config' in flags.FLAGS:
      # Reading an attribute raises an error if --config was not given.
      getattr(flags.FLAGS.config, 'lock', None)
    return rest
  except BrokenPipeError:  # --help printed its text, but nobody reads it.
    raise
  # For a wrong config key, value or file, ml_collections raises built-in errors
  # such as KeyError, TypeError or OSError.
  except (
      flags.Error, AttributeError, KeyError, OSError, TypeError, ValueError
  ) as e:
    raise UserError(_one_line(e, argv)) from e


def _one_line(error: Exception, argv: Sequence[str]) -> str:
  """Returns a parsing error as one line that tells the user what to change."""
  text = str(error.args[0]) if error.args else str(error)
  if isinstance(error, flags.UnrecognizedFlagError):
    return f'{text} See --help.' if '?' not in text else text
  if isinstance(error, OSError):
    name = re.search(r"No such file or directory: '([^']*)'", text)
    return f'--config: no such file: {name[1] if name else text}.'
  key = re.search(r'Did you mean "([^"]*)" instead of "([^"]*)"', text)
  if key:
    return f'Unknown config key {key[2]!r}: did you mean {key[1]!r}?'
  if isinstance(error, (AttributeError, KeyError)):
    name = text.splitlines()[0].strip('"\'')
    places = _places(argv, name)
    hint = f': did you mean {places[0]!r}?' if places else '.'
    return f'Unknown config key {name!r}{hint}'
  # The traceback comes from the config file and ends with the error.
  if 'Traceback' in text:
    return f'--config: {text.strip().splitlines()[-1]}'
  text = text.replace('flag --', 'Flag --', 1)
  if 'must have a value other than None' in text:
    return f'{text.split("=None")[0]} is required. See --help.'
  return ' '.join(text.split())


def _places(argv: Sequence[str], name: str) -> list[str]:
  """Returns the full names of the config keys that end with a name."""

  def search(tree, path):
    for key, value in tree.items():
      if key == name:
        yield f'{path}{key}'
      if isinstance(value, Mapping):
        yield from search(value, f'{path}{key}.')

  # The flags could not be parsed, so the config is read without its changes.
  args = [argv[0], *(x for x in argv if re.match('--?config=', x))]
  values = flags.FlagValues()
  try:
    config_flags.DEFINE_config_file(
        'config', flag_values=values, sys_argv=args)
    values(args)
    return sorted(search(values.config.to_dict(), ''), key=len)
  except (
      flags.Error, AttributeError, KeyError, OSError, TypeError, ValueError):
    return []
