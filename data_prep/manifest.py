r"""Reads and writes the manifest, the one table of a set: one line per image.

The first line of a manifest is its header, every other line is one image:

  {"manifest_version": 1, "name": "polyps", "root": ".",
   "classes": ["background", "polyp"]}
  {"id": "a", "image": "images/a.png", "subject": "s1", "site": "",
   "annotator": "", "spacing_mm": null, "split": "train", "role": "weak",
   "annotation": {"kind": "box", "boxes": [[4, 4, 9, 9]], "labels": [1]},
   "evaluation": {"truth": null, "quality": null, "fault": ""}}

(The header and the row are wrapped here; in the file, each is one line.) `root`
is the folder that image and annotation paths are relative to. It is absolute,
or relative to the folder of the manifest. `evaluation` is optional and is never
shown to a training method.

The fields of an annotation depend on its kind. Coordinates are (x, y) in pixels
of the image, where the pixel in column j and row i covers [j, j + 1) x [i, i +
1):

  mask, coarse_mask, scribble: `path`, and optionally `values`, which maps a
    stored pixel value to a class or to 255 = unlabelled ({"0": 0, "255": 1}).
  mask, coarse_mask without a file: `rles` [{"size": [h, w], "counts": ...}],
    run lengths as COCO writes them.
  line: `lines` [[[x, y], ...], ...], open, and their `width` in pixels.
  scribble without a file: `strokes` [[[x, y], ...], ...], where class 0 marks
    background, and their `width` in pixels.
  box: `boxes` [[x0, y0, x1, y1], ...], x1 and y1 exclusive.
  polygon: `polygons` [[[x, y], ...], ...].
  points: `points` [[x, y], ...], where class 0 marks background.
  extreme_points: `extreme_points` [[[x, y] x 4], ...], in any order.
  ellipse: `ellipses` [[cx, cy, rx, ry, angle_deg], ...].
  tag: only `labels`: all foreground classes that the image shows.

Annotations without a file have `labels`, one class per shape. In a mask, coarse
mask, box, polygon, line, extreme points or ellipse, the label 255 means that
the classes inside the shape are unknown. All other shapes are drawn on top of
such a shape. In an exact mask, at most a tenth of the pixels may be unknown. An
annotation without shapes is valid: the annotator saw no object. An image of
role unlabelled has no annotation.

`reviews` is optional, too: what people decided about the annotation, see
`shared.reviews`.
"""

from collections.abc import Iterable
import json
import os
import pathlib
from typing import Any, NamedTuple

from data_prep.shared import reviews
from data_prep.shared import sharing
from data_prep.shared import whole_file

VERSION = 1
SPLITS = ('train', 'val', 'test')
ROLES = ('strong', 'weak', 'unlabelled')
FAULTS = ('', 'shifted', 'shrunken', 'wrong_place', 'missing')
LIMIT = 1e9  # Numbers of shapes are smaller in magnitude.

_NOT_WRITTEN = (('evaluation', None), ('reviews', ()))
_MAX_LINE = 200
_MAX_FOUND = 48


class Header(NamedTuple):
  """First line of a manifest.

  Attributes:
    name: name of the set.
    classes: class names, background first.
    root: folder that all paths are relative to. The root is absolute, or
      relative to the manifest's folder.
  """

  name: str
  classes: tuple[str, ...]
  root: str = '.'


class Row(NamedTuple):
  """One image and its annotation.

  Attributes:
    id: unique name of the image.
    image: path of the image, relative to the root.
    split: one of `SPLITS`.
    role: one of `ROLES`.
    annotation: what the annotator drew, see the top of this module; None if
      the image is unlabelled.
    subject: patient or video, all of whose images are in one split; empty if
      the image is a subject of its own.
    site: where the image was recorded, or empty.
    annotator: who drew the annotation, or empty.
    spacing_mm: millimetres per pixel (y, x), or None if unknown.
    evaluation: fields that only the evaluation may see (`truth`, `quality`,
      `fault`).
    line: line number in the file, from 1; 0 if the row does not come from one.
    reviews: decisions of people about the annotation, see `shared.reviews`.
  """

  id: str
  image: str
  split: str
  role: str
  annotation: dict[str, Any] | None
  subject: str = ''
  site: str = ''
  annotator: str = ''
  spacing_mm: tuple[float, float] | None = None
  evaluation: dict[str, Any] | None = None
  line: int = 0
  reviews: tuple[dict[str, Any], ...] = ()

  def __repr__(self) -> str:
    """Returns the text that fingerprints hash.

    Without reviews, it is the text of a row before that field existed, so that
    the fingerprints of older records remain valid.
    """
    fields = self._asdict()
    if not self.reviews:
      del fields['reviews']
    text = ', '.join(f'{name}={value!r}' for name, value in fields.items())
    return f'Row({text})'


class Problem(NamedTuple):
  """One fault of a set, printed as one line of at most 200 characters.

  Attributes:
    what: what is wrong, including what was expected.
    found: the offending value, as text; empty if nothing was found.
    fix: what to do.
    line: line number in the manifest; 0 for a problem of the whole set.
    id: id of the image, or empty.
    field: field of the row, or empty.
    file: the faulty file if it is not the manifest; otherwise empty.
  """

  what: str
  found: str
  fix: str
  line: int = 0
  id: str = ''
  field: str = ''
  file: str = ''

  def __str__(self) -> str:
    where = []
    if self.file:
      where.append(_clip_path(self.file))
    if self.line:
      where.append(f'line {self.line}')
    where = where or ['manifest']
    if self.id:
      where.append(f'id {_clip(self.id)}')
    if self.field:
      where.append(_clip(self.field))
    found = f', found {_clip(self.found)}' if self.found else ''
    text = f'{", ".join(where)}: {self.what}{found}; {self.fix}'
    text = ' '.join(text.split())
    return text if len(text) <= _MAX_LINE else text[: _MAX_LINE - 3] + '...'


class Manifest(NamedTuple):
  """A manifest in memory.

  Attributes:
    header: first line of the file.
    rows: the images, in the order of the file.
    folder: folder of the file, from which a relative root starts.
    problems: problems of the lines that could not be parsed; these lines are
      not in `rows`.
  """

  header: Header
  rows: tuple[Row, ...]
  folder: pathlib.Path
  problems: tuple[Problem, ...] = ()

  @property
  def root(self) -> pathlib.Path:
    """Folder that all paths of the rows are relative to."""
    return self.folder / self.header.root


def read_manifest(path: str | os.PathLike[str]) -> Manifest:
  """Reads a manifest; lines that cannot be parsed become problems, not errors.

  Args:
    path: the JSONL file.

  Returns:
    The manifest, not yet checked: see `check.check_manifest`.

  Raises:
    OSError: if the file cannot be read.
  """
  path = pathlib.Path(path)
  with open(
      path, encoding='utf-8-sig', errors='replace', newline='\n') as file:
    header, rows, problems = _parse_lines(file)
  return Manifest(header, tuple(rows), path.resolve().parent, tuple(problems))


def _parse_lines(file):
  """Returns the header, the rows and the problems of some lines."""
  header, rows, problems, shared = None, [], [], {}
  for number, text in enumerate(file, start=1):
    text = text.removesuffix('\n')
    if not text.strip():
      continue
    try:
      fields = json.loads(text, object_hook=sharing.with_one_name_each)
    except (ValueError, RecursionError) as error:
      reason = getattr(error, 'msg', 'nested too deeply')
      problems.append(Problem(
          f'not JSON ({reason})', repr(text), 'write one JSON object per line',
          number))
      header = header or Header('', ())
      continue
    if header is None:
      header, wrong = _parse_header(fields, number)
      problems += wrong
    else:
      row, wrong = _parse_row(fields, number, shared)
      problems += wrong
      if not wrong:
        rows.append(row)
  if header is None:
    problems.append(Problem(
        'the manifest is empty', '', 'write a header line, then one per image'))
  return header or Header('', ()), rows, problems


def write_manifest(
    path: str | os.PathLike[str], header: Header, rows: list[Row]
) -> Manifest:
  """Writes a manifest; until it is complete, readers see the old file.

  Args:
    path: the JSONL file; its folder must exist.
    header: the header, which becomes the first line.
    rows: the images, one line each; `line` is not stored.

  Returns:
    The manifest as read back from the file.
  """
  write_rows(path, header, rows)
  return read_manifest(path)


def write_rows(
    path: str | os.PathLike[str], header: Header, rows: Iterable[Row]
) -> None:
  """Writes a manifest as `write_manifest` does, without reading it back."""
  with whole_file.open_whole(path, encoding='utf-8') as file:
    file.write(json.dumps({
        'manifest_version': VERSION, **header._asdict()}, sort_keys=True))
    for row in rows:
      fields = {name: value for name, value in row._asdict().items()
                if (name, value) not in _NOT_WRITTEN and name != 'line'}
      file.write('\n' + json.dumps(fields, sort_keys=True))
    file.write('\n')


def is_exact(row: Row) -> bool:
  """Returns whether an image has an exact mask."""
  return row.annotation is not None and row.annotation.get('kind') == 'mask'


def is_number(value: Any) -> bool:
  """Returns whether `value` is a JSON number of less than 1e9 in magnitude."""
  return (
      isinstance(value, (int, float))
      and not isinstance(value, bool)
      and abs(value) < LIMIT  # This is False for NaN, too.
  )


def _clip(text: str) -> str:
  """Returns one line of at most `_MAX_FOUND` characters."""
  text = ' '.join(text.split())
  return text if len(text) <= _MAX_FOUND else text[: _MAX_FOUND - 3] + '...'


def _clip_path(text: str) -> str:
  """Shortens a path to `_MAX_FOUND` characters by cutting its start."""
  text = ' '.join(text.split())
  return text if len(text) <= _MAX_FOUND else '...' + text[3 - _MAX_FOUND :]


def _is_spacing(value: Any) -> bool:
  return value is None or (
      isinstance(value, list)
      and len(value) == 2
      and all(is_number(v) and v > 0 for v in value)
  )


_is_text = lambda value: isinstance(value, str)
_is_name = lambda value: isinstance(value, str) and value != ''
_is_object = lambda value: value is None or isinstance(value, dict)

# Maps a field to (test, what is expected, whether it is required). `split` and
# `role` may hold any string here, since `checks` refuses values that are not
# allowed.
_ROW_FIELDS = {
    'id': (_is_name, 'a text that is not empty', True),
    'image': (_is_name, 'a path', True),
    'split': (_is_text, f'one of {", ".join(SPLITS)}', True),
    'role': (_is_text, f'one of {", ".join(ROLES)}', True),
    'annotation': (_is_object, 'an object such as {"kind": "box", ...}', True),
    'subject': (_is_text, 'a text', False),
    'site': (_is_text, 'a text', False),
    'annotator': (_is_text, 'a text', False),
    'spacing_mm': (_is_spacing, 'null or [y, x] in mm, both above 0', False),
    'evaluation': (_is_object, 'an object or null', False),
    'reviews': (reviews.are_valid, 'a list of decisions of reviews', False),
}


def _is_classes(value: Any) -> bool:
  return (
      isinstance(value, list)
      and 2 <= len(value) <= 255
      and all(_is_name(v) for v in value)
      and len(set(value)) == len(value)
  )


_HEADER_FIELDS = {
    'manifest_version': (
        lambda v: v == VERSION and not isinstance(v, bool), str(VERSION), True),
    'name': (_is_name, 'a text that is not empty', True),
    'classes': (_is_classes, '2 to 255 names, background first', True),
    'root': (_is_text, 'a folder', False),
}


def _parse(fields, table, line):
  """Compares a JSON object with a table of fields; returns the problems."""
  if not isinstance(fields, dict):
    return [Problem(
        'expected a JSON object', json.dumps(fields),
        'write one object per line', line)]
  row_id = fields.get('id')
  row_id = row_id if isinstance(row_id, str) else ''
  problems = []
  for name, (test, expected, required) in table.items():
    if name not in fields:
      if required and not (
          name == 'annotation' and fields.get('role') == 'unlabelled'):
        problems.append(Problem(
            f'field {name!r} is missing, expected {expected}', '', 'add it',
            line, row_id))
    elif not test(fields[name]):
      problems.append(Problem(
          f'expected {expected}', json.dumps(fields[name]), 'correct it', line,
          row_id, name))
  for name in fields:
    if name not in table:
      problems.append(Problem(
          'unknown field', '', f'use one of {", ".join(table)}', line, row_id,
          name))
  return problems


def _parse_header(fields, line):
  """Returns a header and its problems; the header is empty if there are any."""
  problems = _parse(fields, _HEADER_FIELDS, line)
  if isinstance(fields, dict) and 'manifest_version' not in fields:
    problems = [Problem(
        'the first line is not a header', json.dumps(fields),
        'start with {"manifest_version": 1, "name": ..., "classes": [...]}',
        line)]
  if problems:
    return Header('', ()), problems
  return Header(
      fields['name'], tuple(fields['classes']), fields.get('root', '.')), []


def _parse_row(fields, line, shared):
  """Returns a row and its problems; the row is None if there are any."""
  problems = _parse(fields, _ROW_FIELDS, line)
  if problems:
    return None, problems
  fields = {'annotation': None, **fields, 'line': line}
  if fields.get('spacing_mm') is not None:
    fields['spacing_mm'] = tuple(float(v) for v in fields['spacing_mm'])
  fields['reviews'] = tuple(fields.get('reviews', ()))
  sharing.share(fields, shared)
  return Row(**fields), []
