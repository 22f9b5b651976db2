"""Reads the decisions that a static page has offered as a file."""

import json
from typing import Any

from data_prep.shared import pixels
from data_prep.shared import review_journal

from experiments import binary


def read(path: str, header: review_journal.Header) -> list[Any]:
  """Returns the decisions of a file, which are not yet checked.

  Args:
    path: the file.
    header: run and set of the review.

  Raises:
    binary.UserError: if it is not such a file, or belongs to another set.
  """
  try:
    with open(path, encoding='utf-8') as file:
      content = json.load(file)
  except (OSError, ValueError, RecursionError) as e:
    reason = getattr(e, 'strerror', None) or 'not JSON'
    raise binary.UserError(
        f'--import={pixels.tail(path)} cannot be read ({reason}): give the '
        'file that the static page offers as a download.') from e
  if not isinstance(content, dict) or content.get('review_decisions') != 1 or (
      not isinstance(content.get('decisions'), list)):
    raise binary.UserError(
        f'--import={pixels.tail(path)} holds no decisions of a review: give '
        'the file that the static page offers as a download.')
  if content.get('manifest_sha256') != header.manifest_sha256:
    raise binary.UserError(
        f'--import={pixels.tail(path)} is about another set than '
        f'{header.data_dir}, or the set has changed since.')
  return content['decisions']


def ids(sent: list[Any]) -> list[str]:
  """Returns the ids that decisions are about, each once."""
  found = (x.get('id') for x in sent if isinstance(x, dict))
  return list(dict.fromkeys(i for i in found if isinstance(i, str)))
