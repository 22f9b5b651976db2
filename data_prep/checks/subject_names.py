"""Finds subjects whose names differ only in a short ending.

Folders such as p01_a and p01_b often hold two videos or two eyes of one
patient. The images of a patient must all be in one split.
"""

from collections.abc import Sequence
import re

from data_prep import manifest as manifest_lib

_ENDING = re.compile(r'^(.*\d.*)[_-]\w{1,2}$')
_SHOWN = 40


def find_notice(rows: Sequence[manifest_lib.Row]) -> str:
  """Returns a notice about subjects who may be the same person, or ''.

  An ending is one or two letters or digits after a '_' or '-'. Subjects may be
  the same person if their names without the endings are equal and still contain
  a digit. The names case_1 and case_2 therefore count as two people. The notice
  is returned only if there are at least two such groups of subjects.

  Args:
    rows: rows of a manifest, with the subjects that the source names.
  """
  # Take only subjects whose names begin an id, since the suggested pattern
  # looks for them there.
  names = {row.subject for row in rows
           if row.subject and row.id.startswith(f'{row.subject}/')}
  parts = {}
  for name in sorted(names):
    found = _ENDING.match(name)
    if found:
      parts.setdefault(found[1], []).append(name)
  several = [some for some in parts.values() if len(some) > 1]
  if len(several) < 2:
    return ''
  one, other = (name[:_SHOWN] for name in several[0][:2])
  return (f"{one} and {other} may be one subject, and {len(several) - 1} more "
          "likewise: --subject_pattern='^([^/]+)[_-]' if they are")
