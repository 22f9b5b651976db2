"""Lets equal parts of many rows be one object, to save memory."""

import json
import sys
from typing import Any

_FEW_VALUES = ('split', 'role', 'site', 'annotator')


def share(fields: dict[str, Any], known: dict[str, Any]) -> None:
  """Replaces parts of a row's fields by equal ones of earlier rows.

  These are texts that many rows have in common, and the `values` of masks.

  Args:
    fields: the fields of a row of a manifest, which are changed.
    known: the `values` of earlier rows by their JSON, to which those of this
      row are added.
  """
  for name in _FEW_VALUES:
    if name in fields:
      fields[name] = sys.intern(fields[name])
  annotation = fields['annotation'] or {}
  if isinstance(annotation.get('kind'), str):
    annotation['kind'] = sys.intern(annotation['kind'])
  if 'values' in annotation:
    key = json.dumps(annotation['values'])  # A dict calls 1 and True equal.
    annotation['values'] = known.setdefault(key, annotation['values'])
