"""Reads names of classes from the header extension of a NIfTI file.

Connectome Workbench (Caret), NiftyNet's viewers and TotalSegmentator write such
names as XML, under various extension codes:

  <CaretExtension> ... <LabelTable><Label Key="1" ...>liver</Label> ...

Extensions that hold anything else, or are damaged, are treated as if they named
no classes.
"""

from collections.abc import Iterable

from defusedxml import ElementTree as safe_xml

from data_prep.formats import entries

_MAX_BYTES = 2**22  # Largest size of one table of names.
_MAX_VALUE = 2**16


def read(content: bytes, start: int, end: int, order: str) -> dict[int, str]:
  """Returns the name of each label value in a file; {} if there are none.

  Args:
    content: all bytes of the file.
    start: offset of the end of the header, where the flag for extensions is.
    end: offset of the first voxel.
    order: byte order of numbers, 'little' or 'big'.
  """
  if content[start : start + 1] in (b'', b'\0'):
    return {}
  place = start + 4
  while place + 16 <= end:
    size = int.from_bytes(content[place : place + 4], order, signed=True)
    if not 16 <= size <= end - place:
      return {}
    if size <= _MAX_BYTES:
      names = _parse(content[place + 8 : place + size])
      if names:
        return names
    place += size
  return {}


def _parse(text):
  if b'<LabelTable' not in text:
    return {}
  try:
    root = safe_xml.fromstring(
        text.rstrip(b'\0 \t\r\n').decode('utf-8-sig'), forbid_dtd=True)
    names = {}
    for label in next(root.iter('LabelTable')).iter('Label'):
      value = int(label.get('Key'))
      if 0 < value < _MAX_VALUE:  # 0 is the background, whatever its name.
        names[value] = entries.text(''.join(label.itertext()))
    return names
  except Exception:  # An extension may hold anything and cause any error.
    return {}


def unite(tables: Iterable[dict[int, str]]) -> dict[int, str]:
  """Unites the names of values from several files, and makes them unique.

  Args:
    tables: for each file, the name of each value.

  Returns:
    The name of each value; {} if two files name the same value differently,
    since nobody knows which name is right.
  """
  names = {}
  for table in tables:
    for value, name in table.items():
      if names.setdefault(value, name) != name:
        return {}
  seen = [n.lower() for n in names.values()]
  return {v: f'{n}_{v}' if seen.count(n.lower()) > 1 else n
          for v, n in sorted(names.items())}
