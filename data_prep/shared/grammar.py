"""Numbers in the sentences that users read: 1 picture is, 2 pictures are."""

_SINGULAR = {'are': 'is', 'have': 'has', 'do': 'does', 'go': 'goes',
             'were': 'was'}


def counted(number: int, noun: str, does: str = '') -> str:
  """Returns how many there are: '1 picture', '2 pictures', '2 classes'.

  Args:
    number: of them.
    noun: one of them; several have an s, or es after an s or x.
    does: what several do, such as 'have', to go on with: '1 picture has'.
  """
  ending = '' if number == 1 else 'es' if noun.endswith(('s', 'x')) else 's'
  return f'{number} {noun}{ending}' + (f' {verb(number, does)}' if does else '')


def verb(number: int, plural: str) -> str:
  """Returns what so many do: 'are' becomes 'is', and 'lie' 'lies', of 1."""
  return plural if number != 1 else _SINGULAR.get(plural, f'{plural}s')
