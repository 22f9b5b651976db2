"""Reads a CSV file in which each line holds a picture and one of its shapes.

Values are separated by commas, semicolons or tabs. The column `image` is
required, and at least one column of masks, shapes, tags, splits, roles or
subjects. Paths are relative to the file. The columns are

  image, id, subject, site, annotator, split, role
  spacing_y, spacing_x: in mm
  mask, coarse_mask, scribble: path
  box: x0 y0 x1 y1; polygon: x y x y ...; point: x y; ellipse: cx cy rx ry deg
  label: class name of the shape on this line
  tags: class names, separated by ;

Lines of one image belong together. Columns that do not apply to a line are
empty. An image without any mask or shape holds no object if another image in
the file has a shape; otherwise it is unlabelled. An image with a label but no
shape is unlabelled, since nobody knows where the object is. If an image has
both a mask and shapes, the shapes become its weak annotation.
"""

import csv
import pathlib
import posixpath

from data_prep import formats
from data_prep import manifest as manifest_lib
from data_prep.drawing import annotation_kinds
from data_prep.formats import annotations
from data_prep.formats import assembling
from data_prep.formats import class_names
from data_prep.formats import declared_names
from data_prep.formats import drawn
from data_prep.formats import entries
from data_prep.formats import intensities
from data_prep.formats import mask_values
from data_prep.formats import sources
from data_prep.shared import pixels

HOLDS = ()

_MAX_HEADER = 2**16
_TEXTS = ('subject', 'site', 'annotator', 'split', 'role')
_FILES = annotation_kinds.FILES
_SHAPES = ('box', 'polygon', 'point', 'ellipse')
COLUMNS = ('image', 'id', *_TEXTS, 'spacing_y', 'spacing_x', *_FILES, *_SHAPES,
           'label', 'tags')


def detect(source: pathlib.Path) -> bool:
  """Returns whether `source` holds one CSV file with the required columns."""
  return _file(source) is not None


def read(
    source: pathlib.Path, output: pathlib.Path, report: assembling.Report
) -> formats.Imported:
  """Reads the CSV file of `source`, see the module."""
  options = report.options
  path = _file(source)
  if path is None:
    report.wrong('there is no CSV file with a column image, or several',
                 source.name, 'keep one; separate columns by commas')
    return formats.Imported(
        ('background', 'foreground'), [], report.problems, [], str(source), {})
  here = report.at(file=path.name)
  lines, groups = _read_lines(path, here), {}
  for number, line in enumerate(lines, start=2):
    if line.get('image'):
      groups.setdefault(line['image'], []).append((number, line))
    else:
      here.wrong(f'line {number} names no image', '', 'fill the column')
  shapes = {image: _shapes(group, here) for image, group in groups.items()}
  items = [assembling.Item(
      image, s, path.name, split=groups[image][0][1].get('split') or '')
           for image, s in shapes.items()]
  values, highest = mask_values.map_values(
      [(k, path.parent / line[k]) for line in lines for k in _FILES
       if line.get(k)], report)
  has_shapes = any(shapes.values())
  if has_shapes or options.classes:
    classes = class_names.find_classes(items, [], report)
  else:
    classes = declared_names.numbered_classes(highest)
  usual = annotations.usual_kinds(((i.split, i.shapes) for i in items), classes)
  writer = intensities.Writer(path.parent, output, options)
  names_of = sources.make_names(list(groups))
  here = annotations.settle_roles(items, here)
  rows, weak = [], {}
  for item in sorted(items, key=lambda i: names_of[i.picture]):
    image, group = item.picture, groups[item.picture]
    first = group[0][1]
    row_id = first.get('id') or names_of[image].id
    placed, size, found = writer.place(image, row_id, report)
    own = here.at(row_id=row_id)
    labels = _masks(group, values, own)
    if item.shapes or (
        not labels and has_shapes and first.get('role') != 'unlabelled'):
      labels.append(annotations.to_annotation(
          item.shapes, size, classes, usual[item.split], own))
    annotation, *others = [*filter(None, labels)] or [None]
    if others:
      if annotation['kind'] == 'mask':
        weak[row_id] = others[0]
      report.note('images with several kinds of labels: of the weak ones, one '
                  'is kept')
    fields = {'split': '', 'role': '' if annotation else 'unlabelled'}
    fields |= assembling.subject_and_more(
        names_of[image]._replace(id=row_id), found, options)
    fields |= {k: first[k] for k in _TEXTS if first.get(k)}
    rows.append(manifest_lib.Row(
        row_id, placed, annotation=annotation, **fields | _spacing(first, own)))
  report.used.update([path.name], (
      posixpath.normpath(line[k].replace('\\', '/')) for group in
      groups.values() for _, line in group for k in ('image', *_FILES)
      if line.get(k)))
  return writer.finish(rows, weak, classes, report)


def _read_lines(path, report):
  """Returns the cells of each line by column; reports unknown columns."""
  try:
    text = sources.read_text(path)
    names = _header(text.split('\n', 1)[0])
    lines = list(csv.DictReader(
        text.splitlines()[1:], names, delimiter=_delimiter(text), restkey='',
        strict=True))
  except pixels.WrongFile as wrong:
    report.wrong(wrong.what, wrong.found, wrong.fix)
    return []
  except csv.Error as error:
    report.wrong('not CSV', str(error)[:60], 'separate by commas')
    return []
  for name in names:
    if name not in COLUMNS:
      report.wrong('unknown column', repr(name), f'use {", ".join(COLUMNS)}')
  return lines


def _masks(group, values, report):
  """Returns the annotations in files that the lines of an image name.

  Args:
    group: number and cells of each line of the image.
    values: class of each stored value, by kind.
    report: the report for this image.
  """
  files = {}
  for number, line in group:
    for kind in _FILES:
      if line.get(kind) and files.setdefault(kind, line[kind]) != line[kind]:
        report.wrong(f'line {number} names another {kind} of its image',
                     line[kind], 'join them in one file')
  return [{'kind': kind, 'path': path} | (
      {'values': values[kind]} if kind in values else {})
          for kind, path in files.items()]


def _spacing(line, report):
  """Returns the field `spacing_mm` of a row, if a line holds both numbers."""
  if line.get('spacing_y') and line.get('spacing_x'):
    try:
      return {'spacing_mm': tuple(
          float(entries.number(line[f'spacing_{axis}'])) for axis in 'yx')}
    except ValueError as error:
      report.wrong('a spacing cannot be read', str(error))
  return {}


def _file(source):
  """Returns the CSV file with the required columns, see the module.

  The result is None if there is no such file, or if there are several.
  """
  paths = [source] if source.is_file() else sorted(
      p for p in source.iterdir() if p.suffix.lower() == '.csv')
  found = []
  for path in paths:
    try:
      with open(path, encoding='utf-8-sig', errors='replace') as file:
        names = set(_header(file.readline(_MAX_HEADER)))
    except OSError:
      continue
    if path.suffix.lower() == '.csv' and 'image' in names and (
        names & {*_FILES, *_SHAPES, 'tags', 'split', 'role', 'subject'}):
      found.append(path)
  return found[0] if len(found) == 1 else None


def _delimiter(text):
  first = text.split('\n', 1)[0]
  return max(',;\t', key=first.count)


def _header(line):
  """Returns the names of the columns in lower case, without spaces."""
  cells = next(csv.reader([line], delimiter=_delimiter(line)), [])
  return [cell.strip().lower() for cell in cells]


def _shapes(group, report):
  """Returns the shapes in the lines of one image."""
  shapes = []
  for number, line in group:
    label = (line.get('label') or '').strip()
    kinds = [kind for kind in _SHAPES if line.get(kind)]
    try:
      shapes += [_shape(kind, line) for kind in kinds]
    except ValueError as error:
      report.wrong_shape(f'line {number} cannot be read: {error}',
                         fix='correct it')
      shapes.append(drawn.unreadable(label))
    if label and not kinds and not any(
        line.get(k) for k in (*_FILES, 'tags')):
      report.note(f'{report.file}: lines with a label and no shape')
      shapes.append(drawn.unreadable(label))
    try:
      shapes += [drawn.Shape('tag', entries.text(name))
                 for name in (line.get('tags') or '').split(';')
                 if name.strip()]
    except ValueError as error:
      report.wrong(f'line {number} cannot be read', str(error))
  return shapes


def _shape(kind, line):
  values = [entries.number(v) for v in line[kind].split()]
  label = entries.text(line.get('label') or '')
  if kind == 'polygon':
    values = entries.outline(values)
  elif len(values) != (
      length := annotation_kinds.OF_SHAPE[kind].num_values):
    raise ValueError(f'a {kind} needs {length} numbers, not {len(values)}')
  return drawn.Shape(kind, label, values)
