"""Finds subjects who may be one: their names differ only in a short ending.

Folders p01_a and p01_b often hold two films or two eyes of one patient, who
must not be in two splits.
"""

from collections.abc import Sequence
import re

from data_prep import manifest as manifest_lib

_ENDING = re.compile(r'^(.*\d.*)[_-]\w{1,2}$')
_SHOWN = 40


def find_notice(rows: Sequence[manifest_lib.Row]) -> str:
  """Returns a line that names two subjects who may be one, or ''.

  The ending is one or two letters or digits behind a '_' or '-'. A notice needs
  at least two groups of subjects that share a name without their endings. That
  shared name must hold a digit, since case_1 and case_2 are two cases.

  Args:
    rows: rows of a manifest, with the subjects that the source names.
  """
  # The suggested pattern finds its subject at the start of an id.
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
