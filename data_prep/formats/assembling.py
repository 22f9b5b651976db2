"""From shapes, as foreign files list them, to rows of a manifest, and back.

A picture that a source lists without a shape was looked at: there is no object.
A picture that it does not list is unlabelled. A row holds one kind; where an
annotator mixed several on one picture:

  run lengths and polygons: all become run lengths;
  a box and any of them or an ellipse: all become boxes;
  strokes and points: points become strokes of one point;
  points or strokes beside boxes or outlines, and tags beside all: left out.
"""

import collections
from collections.abc import Callable
import os
import pathlib
import shutil
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from data_prep import check_shape
from data_prep import formats
from data_prep import manifest as manifest_lib
from data_prep import pixels
from data_prep import rasterize
from data_prep import rle
from data_prep.formats import dicom_objects
from data_prep.formats import intensities
from data_prep.formats import sources

BACKGROUND = ('background', '_background_', '__background__', 'bg')

_OUTLINES = ('rle', 'polygon', 'ellipse')
_SPARSE = ('stroke', 'point', 'extreme_points')


class Shape(NamedTuple):
  """One shape on one picture.

  Attributes:
    kind: 'rle', 'polygon', 'box', 'ellipse', 'stroke', 'point',
      'extreme_points' or 'tag'.
    label: class name.
    value: the shape as a manifest lists it; None of a tag.
    width: of a stroke, in pixels; None if the file does not say.
  """

  kind: str
  label: str
  value: Any = None
  width: float | None = None


class Item(NamedTuple):
  """One picture as a foreign file lists it.

  Attributes:
    picture: as the file calls it.
    shapes: what was drawn.
    file: where it is listed, relative to the source.
    size: height and width as listed, or None.
    split: as listed, or ''.
    more: further fields of the row (subject, site, annotator).
  """

  picture: str
  shapes: list[Shape]
  file: str = ''
  size: tuple[int, int] | None = None
  split: str = ''
  more: dict[str, str] = {}


class Report:
  """Problems, notices, and what is left out; a notice is counted, not repeated.

  Attributes:
    problems: what refuses the set.
    left_out: what is not used because the user allows it.
  """

  def __init__(self, leave_out: frozenset[str] = frozenset()):
    self.problems = []
    self.left_out = []
    self._leave_out = leave_out
    self._notices = collections.Counter()

  def wrong(self, what, found='', fix='correct it', *, file='', row_id='',
            field=''):
    self.problems.append(manifest_lib.Problem(
        what, found, fix, id=row_id, field=field, file=file))

  def wrong_file(self, wrong: pixels.WrongFile, *, file='', row_id=''):
    """Refuses a file that cannot be used, or leaves it out if that is allowed.

    The caller drops what depends on the file in either case.
    """
    what, found, fix = wrong.args
    if 'defective' in self._leave_out:
      self.left_out.append(formats.LeftOut('file', file or row_id, _reason(
          what, found)))
    else:
      self.wrong(what, found, f'{fix}, or --leave_out=defective', file=file,
                 row_id=row_id)

  def wrong_shape(
      self, what, found='', fix='redraw it', *, file='', row_id='', field=''):
    """Refuses a shape that cannot be drawn, or leaves it out.

    The caller adds a `Shape` of kind 'unreadable' in its place, so that the
    part of the picture that it covers is unlabelled and not background.
    """
    if 'shapes' in self._leave_out:
      self.left_out.append(formats.LeftOut(
          'shape', file or row_id, _reason(what, found), field))
    else:
      self.wrong(what, found, f'{fix}, or --leave_out=shapes', file=file,
                 row_id=row_id, field=field)

  def note(self, text):
    self._notices[text] += 1

  @property
  def notices(self) -> list[str]:
    return [f'{text} ({n} times)' if n > 1 else text
            for text, n in sorted(self._notices.items())]


def _reason(what, found):
  return f'{what}: {found}' if found else what


def assemble(
    source: pathlib.Path,
    output: pathlib.Path,
    items: list[Item],
    names: list[str],
    *,
    options: formats.Options,
    report: Report,
    mask_of: Callable[..., dict[str, Any] | None] | None = None,
) -> formats.Imported:
  """Turns what a source lists into rows.

  Args:
    source: folder that the pictures lie below.
    output: folder that pictures are written to that a manifest cannot name.
    items: the listed pictures.
    names: foreground classes, as the source lists them; [] takes those seen, by
      name.
    options: what the user says.
    report: gets the problems.
    mask_of: maps path and id of a picture, and a writer of pictures, to an
      annotation that counts more than its shapes, or None.
  """
  classes = find_classes(items, names, options, report)
  pictures = sources.list_pictures(source)
  writer = intensities.Writer(source, output, options)
  listed, by_path = [], {}
  for item in items:
    path = pictures.find(item.picture, near=item.file, split=item.split)
    if path is None:
      report.wrong(
          'a listed picture is not there, or not the only one of that name',
          repr(item.picture), 'put it below the source', file=item.file)
    elif path in by_path:
      report.wrong('a picture is listed twice', repr(item.picture),
                   'join both', file=item.file)
    else:
      by_path[path] = item
      listed.append(path)
  kept = dicom_objects.keep_pictures(source, pictures.paths, report)
  free = [p for p in kept if p not in by_path]
  names_of = sources.make_names(listed + free)
  usual = usual_kind(items)
  rows = []
  for path in sorted(listed + free, key=names_of.get):
    row_id, item = names_of[path].id, by_path.get(path)
    image, size, found = writer.place(path, row_id, report)
    row = manifest_lib.Row(
        row_id, image, (item.split if item else '') or sources.split_of(path),
        '' if item else 'unlabelled', None,
        **subject_and_more(names_of[path], found, options))
    if item is not None:
      if size and item.size and size != item.size:
        report.wrong(
            f'the picture is not as large as listed, {item.size[0]} x '
            f'{item.size[1]}', f'{size[0]} x {size[1]}',
            'export again from these pictures', file=item.file, row_id=row_id)
      annotation = to_annotation(
          item.shapes, size or item.size, classes, usual, options, report,
          file=item.file)
      row = row._replace(annotation=annotation, **{
          k: v for k, v in item.more.items() if v})
    try:
      mask = mask_of and mask_of(path, row_id, writer)
      if mask:
        row = row._replace(role='', annotation=mask)
    except pixels.WrongFile as wrong:
      report.wrong_file(wrong, file=path, row_id=row_id)
    rows.append(row)
  free = [row for row in rows if row.role == 'unlabelled']
  if free:
    report.note(f'{len(free)} pictures are not listed: they are unlabelled')
  rows, _, root = writer.finish(rows, {})
  return formats.Imported(
      classes, rows, report.problems, report.notices, root, {},
      tuple(report.left_out))


def subject_and_more(
    name: sources.Name, found: dict[str, Any], options: formats.Options
) -> dict[str, Any]:
  """Returns the subject of a row, and what its picture says of it.

  A pattern of the user is right, then what the file says, then its folder.
  """
  subject = sources.subject_of(name, options.subject_pattern)
  if options.subject_pattern is not None:
    return found | {'subject': subject}
  return {'subject': subject} | found


def find_classes(items, names, options, report) -> tuple[str, ...]:
  """Returns the class names, and names labels that are not among them."""
  seen = {s.label: item.file for item in items for s in item.shapes}
  if options.classes is not None:
    classes = options.classes
  else:
    names = names or sorted(seen)
    classes = ('background', *(
        n for n in names if n.lower() not in BACKGROUND))
  for label, file in sorted(seen.items()):
    if label not in classes and label.lower() not in BACKGROUND:
      report.wrong(f'a label is none of the classes {", ".join(classes)}',
                   repr(label), 'add it to the classes or correct it',
                   file=file)
  if len(classes) < 2:
    if not report.problems:
      report.wrong(
          'no class is known', '', 'name them: --classes=background,...')
    classes = ('background', 'foreground')
  return tuple(classes)


def to_annotation(
    shapes: list[Shape],
    size: tuple[int, int] | None,
    classes: tuple[str, ...],
    usual: str,
    options: formats.Options,
    report: Report,
    *,
    file: str,
) -> dict[str, Any]:
  """Returns the annotation of one picture, see the module.

  Args:
    shapes: that were drawn.
    size: height and width of the picture; None if it could not be read.
    classes: names, background first.
    usual: kind of a picture without shapes.
    options: what the user says.
    report: gets the problems.
    file: where the shapes are listed.
  """
  index = {name: i for i, name in enumerate(classes)}
  index |= {s.label: 0 for s in shapes if s.label.lower() in BACKGROUND}
  shapes = [s for s in shapes if s.label in index]
  shapes = _reconcile(shapes, size, report)
  kind = shapes[0].kind if shapes else usual
  if kind not in _SPARSE:
    shapes = [s for s in shapes if index[s.label]]
  labels = [index[s.label] for s in shapes]
  values = [s.value for s in shapes]
  if kind == 'polygon' and options.polygons_are == 'mask' and size is not None:
    for value in values:
      corners = np.array(value, float)
      if np.ptp(corners, axis=0).min() >= 1 and (
          check_shape.crossed_share(corners) > check_shape.CROSSED):
        report.wrong('outline crosses itself, its inside is ambiguous',
                     repr(value), 'redraw it, or --polygons_are=polygon',
                     file=file)
    values = [_polygon_rle(v, size) for v in values]
    return {'kind': 'mask', 'rles': values, 'labels': labels}
  if kind == 'rle':
    return {'kind': options.masks_are, 'rles': values, 'labels': labels}
  if kind == 'stroke':
    widths = {s.width for s in shapes if s.width is not None}
    if len(widths) > 1:
      report.note('strokes of several widths on one picture: the widest is '
                  'taken for all')
    return {'kind': 'scribble', 'strokes': values, 'labels': labels,
            'width': max(widths, default=options.stroke_width)}
  if kind == 'tag':
    return {'kind': 'tag', 'labels': sorted(set(labels))}
  if kind == 'point' and options.points_are == 'extreme_points':
    grouped = [values[i : i + 4] for i in range(0, len(values), 4)]
    if len(values) % 4 or any(
        len(set(labels[i : i + 4])) > 1 for i in range(0, len(labels), 4)):
      report.wrong('extreme points come in fours of one class',
                   f'{len(values)} points', 'add the missing one')
      grouped, labels = [], []
    return {'kind': 'extreme_points', 'extreme_points': grouped,
            'labels': labels[::4]}
  kind = {'point': 'points'}.get(kind, kind)
  return {'kind': kind, rasterize.SHAPE_FIELDS[kind]: values, 'labels': labels}


def to_shapes(
    annotation: dict[str, Any],
    classes: tuple[str, ...],
    *,
    size: tuple[int, int],
    root: pathlib.Path,
) -> list[Shape]:
  """Returns an annotation as shapes; a mask file becomes run lengths."""
  kind = annotation['kind']
  if rasterize.has_file(annotation):
    label = rasterize.rasterize(annotation, size=size, root=root)
    return [Shape('rle', classes[v], rle.encode_rle(label == v))
            for v in np.unique(label).tolist() if 0 < v < len(classes)]
  names = [classes[v] for v in annotation['labels']]
  if kind == 'tag':
    return [Shape('tag', name) for name in names]
  form = {'mask': 'rle', 'coarse_mask': 'rle', 'scribble': 'stroke',
          'points': 'point'}.get(kind, kind)
  return [Shape(form, name, value, annotation.get('width'))
          for name, value in zip(
              names, annotation[rasterize.SHAPE_FIELDS[kind]], strict=True)]


def checked_rle(value: Any, size: tuple[int, int] | None) -> dict[str, Any]:
  """Returns run lengths of a picture of `size`, if it is known.

  Raises:
    ValueError: if they are none, in one line.
  """
  mask = rle.decode_rle(value)
  if size is not None and mask.shape != tuple(size):
    raise ValueError(
        f'run lengths of {mask.shape[0]} x {mask.shape[1]} on a picture of '
        f'{size[0]} x {size[1]}')
  return {'size': list(mask.shape), 'counts': value['counts']}


def place_picture(
    manifest: manifest_lib.Manifest,
    row: manifest_lib.Row,
    output: pathlib.Path,
    *,
    folder: str = 'images',
) -> str:
  """Puts the picture of a row at FOLDER/ID below `output`; returns that path.

  It is a hard link, or a copy where the disk is another.
  """
  path = (manifest.root / row.image).resolve()
  name = f'{folder}/{row.id}{path.suffix}'
  target = output / name
  target.parent.mkdir(parents=True, exist_ok=True)
  try:
    os.link(path, target)
  except OSError:
    shutil.copyfile(path, target)
  return name


def picture_size(path: pathlib.Path) -> tuple[int, int]:
  """Returns height and width of a picture, from its header."""
  with Image.open(path) as image:
    return image.height, image.width


def usual_kind(items: list[Item]) -> str:
  """Returns the kind of most shapes, for pictures that have none."""
  count = collections.Counter(s.kind for item in items for s in item.shapes)
  return max(sorted(count), key=count.get) if count else 'box'


def _polygon_rle(value, size):
  return rle.encode_rle(rasterize.fill_polygon(np.array(value, float), size))


def _reconcile(shapes, size, report):
  """Returns shapes of one kind, see the module."""
  kinds = {s.kind for s in shapes}
  if len(kinds) > 1 and 'tag' in kinds:
    report.note('tags beside shapes are left out')
    shapes = [s for s in shapes if s.kind != 'tag']
  kinds = {s.kind for s in shapes}
  if kinds & {*_OUTLINES, 'box'} and kinds & set(_SPARSE):
    report.note('points and strokes beside boxes or outlines are left out')
    shapes = [s for s in shapes if s.kind not in _SPARSE]
  kinds = {s.kind for s in shapes}
  if len(kinds) <= 1:
    return shapes
  if kinds <= set(_SPARSE):
    report.note('points beside strokes become strokes')
    return [s._replace(kind='stroke', value=_as_stroke(s)) for s in shapes]
  if kinds <= {'rle', 'polygon'} and size is not None:
    return [s._replace(kind='rle', value=_polygon_rle(s.value, size))
            if s.kind == 'polygon' else s for s in shapes]
  report.note('boxes beside outlines: the outlines become boxes')
  boxes = [s._replace(kind='box', value=box_around(s)) for s in shapes]
  return [s for s in boxes if s.value is not None]


def _as_stroke(shape):
  return [shape.value] if shape.kind == 'point' else shape.value


def box_around(shape: Shape) -> list[float] | None:
  """Returns [x0, y0, x1, y1] around a shape, None of an empty one."""
  if shape.kind == 'box':
    return shape.value
  if shape.kind == 'rle':
    mask = rle.decode_rle(shape.value)
    if not mask.any():
      return None
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return [int(columns[0]), int(rows[0]),
            int(columns[-1]) + 1, int(rows[-1]) + 1]
  if shape.kind == 'ellipse':
    cx, cy, rx, ry, angle = shape.value
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    dx, dy = np.hypot(rx * cos, ry * sin), np.hypot(rx * sin, ry * cos)
    return [float(v) for v in (cx - dx, cy - dy, cx + dx, cy + dy)]
  corners = np.array(shape.value)
  return [*corners.min(0).tolist(), *corners.max(0).tolist()]
