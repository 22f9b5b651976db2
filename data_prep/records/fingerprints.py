"""Computes hashes of a set's manifest and files, to detect changes."""

from collections.abc import Sequence
import hashlib
import pathlib
from typing import Any

from data_prep import manifest as manifest_lib
from data_prep.drawing import kept as kept_lib


def of_manifest(
    manifest: manifest_lib.Manifest, *, as_written: bool = False
) -> str:
  """Returns the SHA-256 of a manifest's header and of the content of its rows.

  Args:
    manifest: the set's manifest.
    as_written: whether to hash the keys of each JSON object in the order in
      which the file holds them, instead of sorting them. Records of earlier
      versions store this hash.
  """
  digest = hashlib.sha256(repr(manifest.header).encode())
  for row in manifest.rows:
    row = row._replace(line=0) if as_written else content(row)
    digest.update(f'\n{row!r}'.encode())
  return digest.hexdigest()


def content(row: manifest_lib.Row) -> manifest_lib.Row:
  """Returns a row without its line number, and with sorted JSON keys."""
  return row._replace(
      line=0, annotation=_sorted_keys(row.annotation),
      evaluation=_sorted_keys(row.evaluation),
      reviews=_sorted_keys(row.reviews))


def _sorted_keys(value: Any) -> Any:
  if isinstance(value, dict):
    return {key: _sorted_keys(value[key]) for key in sorted(value)}
  if isinstance(value, (list, tuple)):
    return type(value)(map(_sorted_keys, value))
  return value


def of_files(
    rows: Sequence[manifest_lib.Row],
    root: pathlib.Path,
    kept: kept_lib.Kept | None = None,
) -> str:
  """Returns the SHA-256 of the contents of all images and masks.

  The hash therefore also changes if somebody corrects a mask.

  Args:
    rows: rows of a manifest.
    root: folder that the paths in the rows are relative to.
    kept: the pictures that the check has kept; others are read from disk.

  Raises:
    OSError: if an image or a mask cannot be read.
  """
  digest = hashlib.sha256()
  for row in rows:
    truth = (row.evaluation or {}).get('truth')
    paths = [row.image]
    paths += [a['path'] for a in (row.annotation, truth) if a and 'path' in a]
    for path in paths:
      found = None if kept is None else kept.digest(path)
      if found is None:
        with open(root / path, 'rb') as file:
          found = hashlib.file_digest(file, 'sha256').digest()
      digest.update(found)
  return digest.hexdigest()
