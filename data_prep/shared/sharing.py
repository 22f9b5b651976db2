"""Lets equal parts of many rows be one object, to save memory."""

import json
import sys
from typing import Any

_FEW_VALUES = ('split', 'role', 'site', 'annotator')


def with_one_name_each(fields: dict[str, Any]) -> dict[str, Any]:
  """Returns a JSON object whose keys are those of all other objects.

  `json.loads` makes the keys of each text anew, which takes 160 bytes for each
  annotation with a file.

  Args:
    fields: an object, as `object_hook` of `json.loads` receives it.
  """
  return {sys.intern(name): value for name, value in fields.items()}


def share(fields: dict[str, Any], known: dict[str, Any]) -> None:
  """Replaces parts of a row's fields by equal ones of earlier rows.

  These are texts that many rows have in common, the `values` of masks, and the
  subject if it is that of the row before.

  Args:
    fields: the fields of a row of a manifest, which are changed.
    known: what earlier rows had, to which what this row has is added: the
      `values` by their JSON, and the last 'subject'.
  """
  subject = fields.get('subject', '')
  if subject == known.get('subject'):
    fields['subject'] = known['subject']
  elif subject:
    known['subject'] = subject
  for name in _FEW_VALUES:
    if name in fields:
      fields[name] = sys.intern(fields[name])
  annotation = fields['annotation'] or {}
  if isinstance(annotation.get('kind'), str):
    annotation['kind'] = sys.intern(annotation['kind'])
  if 'values' in annotation:
    key = json.dumps(annotation['values'])  # A dict calls 1 and True equal.
    annotation['values'] = known.setdefault(key, annotation['values'])
