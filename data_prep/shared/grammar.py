"""Puts numbers into sentences for users: 1 picture is, 2 pictures are."""

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
