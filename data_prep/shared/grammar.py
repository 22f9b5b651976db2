"""Puts numbers and lists into lines for users: 1 picture is, 2 pictures are."""

from collections.abc import Sequence
import csv
import io
import shlex

_SINGULAR = {'are': 'is', 'have': 'has', 'do': 'does', 'go': 'goes',
             'were': 'was'}


def counted(number: int, noun: str, does: str = '') -> str:
  """Returns a number with its noun: '1 picture', '2 pictures', '2 classes'.

  Args:
    number: how many there are.
    noun: the singular; the plural adds an s, or es after an s or x.
    does: a verb to add, given in the plural: with 'have', '1 picture has'.
  """
  ending = '' if number == 1 else 'es' if noun.endswith(('s', 'x')) else 's'
  return f'{number} {noun}{ending}' + (f' {verb(number, does)}' if does else '')


def verb(number: int, plural: str) -> str:
  """Returns the form of a verb for a number: for 1, 'are' becomes 'is'."""
  return plural if number != 1 else _SINGULAR.get(plural, f'{plural}s')


def flag(name: str, values: Sequence[str]) -> str:
  """Returns a flag with a list of values, as a shell takes it.

  Args:
    name: name of the flag.
    values: the values; those with commas or quotes are quoted.
  """
  line = io.StringIO()
  csv.writer(line, lineterminator='').writerow(values)
  return f'--{name}={shlex.quote(line.getvalue())}'
