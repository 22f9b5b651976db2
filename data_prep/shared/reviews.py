"""The field `reviews` of a manifest's row: what people decided about it.

The oldest decision comes first:

  [{"time": "2026-11-28T22:30:01Z", "who": "anna", "decision": "mask",
    "source": "drawn", "replaced": {"role": "weak", "annotator": "",
    "annotation": {...}, "evaluation": {"quality": null, "fault": ""}}}]

The decision is "keep", "drop" or "mask", see `review_journal`. `source` tells
where a mask comes from. `replaced` holds the fields of the row as they were
before a drop or a mask. Its `evaluation`, null if there was none, lacks the
truth, which the row itself keeps.
"""

from typing import Any

_FIELDS = {
    'keep': {'time': str, 'who': str, 'decision': str},
    'drop': {'time': str, 'who': str, 'decision': str, 'replaced': dict},
    'mask': {'time': str, 'who': str, 'decision': str, 'replaced': dict,
             'source': str},
}


def are_valid(value: Any) -> bool:
  """Returns whether a JSON value is a valid field `reviews`."""
  return isinstance(value, list) and all(map(_is_valid, value))


def _is_valid(entry):
  if not isinstance(entry, dict):
    return False
  decision = entry.get('decision')
  if not isinstance(decision, str) or decision not in _FIELDS:
    return False
  fields = _FIELDS[decision]
  return entry.keys() == fields.keys() and all(
      isinstance(entry[name], kind) for name, kind in fields.items())
