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
    source: pathlib.Path,
    output: pathlib.Path,
    *,
    options: formats.Options,
) -> formats.Imported:
  """Reads the CSV file of `source`, see the module."""
  report = assembling.Report(options.leave_out)
  path = _file(source)
  if path is None:
    report.wrong('there is no CSV file with a column image, or several',
                 source.name, 'keep one; separate columns by commas')
    return formats.Imported(
        ('background', 'foreground'), [], report.problems, [], str(source), {})
  try:
    text = sources.read_text(path)
    names = _header(text.split('\n', 1)[0])
    lines = list(csv.DictReader(
        text.splitlines()[1:], names, delimiter=_delimiter(text), restkey='',
        strict=True))
  except pixels.WrongFile as wrong:
    report.wrong(wrong.what, wrong.found, wrong.fix, file=path.name)
    names, lines = [], []
  except csv.Error as error:
    report.wrong('not CSV', str(error)[:60], 'separate by commas',
                 file=path.name)
    names, lines = [], []
  for name in names:
    if name not in COLUMNS:
      report.wrong('unknown column', repr(name),
                   f'use {", ".join(COLUMNS)}', file=path.name)
  by_image = {}
  for number, line in enumerate(lines, start=2):
    if line.get('image'):
      by_image.setdefault(line['image'], []).append((number, line))
    else:
      report.wrong(f'line {number} names no image', '', 'fill the column',
                   file=path.name)
  shapes = {image: _shapes(group, path.name, report)
            for image, group in by_image.items()}
  split_of = lambda image: by_image[image][0][1].get('split') or ''
  items = [assembling.Item(image, s, path.name, split=split_of(image))
           for image, s in shapes.items()]
  values, highest = mask_values.map_values(
      [(k, path.parent / line[k]) for line in lines for k in _FILES
       if line.get(k)], options, report)
  if any(shapes.values()) or options.classes:
    classes = class_names.find_classes(items, [], options, report)
  else:
    classes = declared_names.numbered_classes(highest)
  usual = annotations.usual_kinds(((i.split, i.shapes) for i in items), classes)
  writer = intensities.Writer(path.parent, output, options)
  names_of = sources.make_names(list(by_image))
  shape_options = annotations.settle_roles(items, options, report)
  rows, weak = [], {}
  for image, group in sorted(by_image.items(), key=lambda e: names_of[e[0]]):
    first = group[0][1]
    row_id = first.get('id') or names_of[image].id
    placed, size, found = writer.place(image, row_id, report)
    annotation = None
    files = {}
    for number, line in group:
      for kind in _FILES:
        if line.get(kind) and files.setdefault(kind, line[kind]) != line[kind]:
          report.wrong(f'line {number} names another {kind} of its image',
                       line[kind], 'join them in one file', file=path.name,
                       row_id=row_id)
    found_all = [{'kind': k, 'path': v} | (
        {'values': values[k]} if k in values else {})
                 for k, v in files.items()]
    if shapes[image] or (not files and any(shapes.values())
                         and first.get('role') != 'unlabelled'):
      found_all.append(annotations.to_annotation(
          shapes[image], size, classes, usual[split_of(image)],
          shape_options, report,
          file=path.name, row_id=row_id))
    found_all = [a for a in found_all if a is not None]
    if found_all:
      annotation = found_all[0]
    if len(found_all) > 1:
      if annotation['kind'] == 'mask':
        weak[row_id] = found_all[1]
      report.note('images with several kinds of labels: of the weak ones, one '
                  'is kept')
    more = {k: first[k] for k in _TEXTS if first.get(k)}
    if first.get('spacing_y') and first.get('spacing_x'):
      try:
        more['spacing_mm'] = (float(sources.number(first['spacing_y'])),
                              float(sources.number(first['spacing_x'])))
      except ValueError as error:
        report.wrong('a spacing cannot be read', str(error), file=path.name,
                     row_id=row_id)
    fields = {'split': '', 'role': '' if annotation else 'unlabelled'}
    fields |= assembling.subject_and_more(
        names_of[image]._replace(id=row_id), found, options)
    rows.append(manifest_lib.Row(
        row_id, placed, annotation=annotation, **(fields | more)))
  sources.note_unused(path.parent, {
      posixpath.normpath(line[k].replace('\\', '/')) for _, line in (
          entry for group in by_image.values() for entry in group)
      for k in ('image', *_FILES) if line.get(k)} | {path.name}, report)
  rows, weak, root = writer.finish(rows, weak)
  return formats.Imported(
      classes, rows, report.problems, report.notices, root, weak,
      tuple(report.left_out))


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


def _shapes(group, shown, report):
  """Returns the shapes in the lines of one image."""
  shapes = []
  for number, line in group:
    label = (line.get('label') or '').strip()
    kinds = [kind for kind in _SHAPES if line.get(kind)]
    try:
      shapes += [_shape(kind, line) for kind in kinds]
    except ValueError as error:
      report.wrong_shape(f'line {number} cannot be read: {error}',
                         fix='correct it', file=shown)
      shapes.append(drawn.unreadable(label))
    if label and not kinds and not any(
        line.get(k) for k in (*_FILES, 'tags')):
      report.note(f'{shown}: lines with a label and no shape')
      shapes.append(drawn.unreadable(label))
    try:
      shapes += [drawn.Shape('tag', sources.text(name))
                 for name in (line.get('tags') or '').split(';')
                 if name.strip()]
    except ValueError as error:
      report.wrong(f'line {number} cannot be read', str(error), file=shown)
  return shapes


def _shape(kind, line):
  values = [sources.number(v) for v in line[kind].split()]
  label = sources.text(line.get('label') or '')
  if kind == 'polygon':
    if len(values) < 6 or len(values) % 2:
      raise ValueError('a polygon needs x and y of at least 3 points')
    values = [list(p) for p in zip(values[::2], values[1::2], strict=True)]
  elif len(values) != (
      length := annotation_kinds.OF_SHAPE[kind].num_values):
    raise ValueError(f'a {kind} needs {length} numbers, not {len(values)}')
  return drawn.Shape(kind, label, values)
