"""Reads and writes LabelMe JSON, one file per picture.

See https://github.com/wkentaro/labelme. LabelMe's shapes are read as follows: a
circle becomes an ellipse with two equal radii, a turned rectangle a polygon,
and a line or line strip a stroke or, with `--lines_are=line`, a line. A mask is
a PNG within a rectangle that includes its last row and column. Polygons,
rectangles and points stay what they are. If a file has no shapes, the `flags`
that are set are read as tags of the picture. A file belongs to the picture of
its own name or, if there is none, to `imagePath`; a picture inside the file is
not read.
"""

import base64
import io
import json
import math
import os
import pathlib

import numpy as np
from PIL import Image

from data_prep import formats
from data_prep import manifest as manifest_lib
from data_prep.drawing import rle
from data_prep.formats import assembling
from data_prep.formats import drawn
from data_prep.formats import entries
from data_prep.formats import placing
from data_prep.formats import sources
from data_prep.shared import confined
from data_prep.shared import pixels

HOLDS = ('mask', 'coarse_mask', 'polygon', 'box', 'line', 'scribble', 'points',
         'tag')

_STROKES = ('line', 'linestrip')
# The names for turned rectangles in LabelMe 6 and in X-AnyLabeling.
_TURNED = ('oriented_rectangle', 'rotation')


def detect(source: pathlib.Path) -> bool:
  """Returns whether a JSON file below `source` looks like LabelMe."""
  return any(b'"shapes"' in pixels.head(source / name)
             for name in _files(source)[:20])


def read(
    source: pathlib.Path, output: pathlib.Path, report: assembling.Report
) -> formats.Imported:
  """Reads all LabelMe files below `source`, see `data_prep.formats`."""
  items = report.read_each(
      _files(source), lambda name, here: _read_file(source / name, here))
  return assembling.assemble(source, output, [*items.values()], [], report)


def write(manifest: manifest_lib.Manifest, output: pathlib.Path) -> None:
  """Writes each picture, and its shapes to SPLIT/ID.json next to it."""
  folder_of = lambda row: row.split or 'images'
  for placed in placing.place_pictures(manifest, output, folder_of):
    shapes = placing.to_shapes(manifest, placed)
    content = {
        'version': '5.5.0',
        'flags': {s.label: True for s in shapes if s.kind == 'tag'},
        'shapes': [_write_shape(s) for s in shapes if s.kind != 'tag'],
        'imagePath': os.path.basename(placed.picture),
        'imageData': None,
        'imageHeight': placed.size[0], 'imageWidth': placed.size[1]}
    file = confined.new_file(
        output, f'{folder_of(placed.row)}/{placed.row.id}.json')
    file.write_text(json.dumps(content, indent=1), encoding='utf-8')


def _files(source):
  return sources.list_files(source, ('.json',))


def _read_file(path, report):
  content = sources.read_json(path)
  if not isinstance(content, dict) or not isinstance(
      content.get('shapes'), list):
    raise pixels.WrongFile(
        'expected an object with a list "shapes"', pixels.tail(report.file),
        'export it with LabelMe')
  try:
    name = entries.text(content.get('imagePath') or f'{path.stem}.png')
    size = None  # Version 3 of LabelMe does not store the size.
    if content.get('imageHeight') is not None:
      size = entries.listed_size(
          content['imageHeight'], content['imageWidth'])
  except (ValueError, KeyError) as error:
    raise pixels.WrongFile(
        'imagePath, imageHeight or imageWidth cannot be read', str(error)[:60],
        'export it with LabelMe') from error
  shapes = []
  for i, entry in enumerate(content['shapes']):
    try:
      shapes += _read_shape(entry, size, report)
    except (ValueError, KeyError, TypeError, IndexError) as error:
      report.wrong_shape(
          f'a shape cannot be read: {entries.cause_of(error)}',
          field=f'shapes[{i}]')
      shapes.append(_unreadable(entry))
  flags = content.get('flags')
  if not content['shapes'] and isinstance(flags, dict):
    shapes = [drawn.Shape('tag', name) for name, on in flags.items()
              if on is True and name]
  return assembling.Item(name, shapes, report.file, size, by_stem=True)


def _unreadable(entry):
  """Returns a shape of kind 'unreadable', with an entry's label and place."""
  if not isinstance(entry, dict):
    return drawn.unreadable('')
  try:
    label = entries.text(entry.get('label'))
  except ValueError:
    label = ''
  known = entry.get('shape_type') in ('polygon', 'rectangle', 'mask', *_TURNED)
  return drawn.unreadable(label, entry.get('points') if known else None)


def _read_shape(entry, size, report):
  label = entries.text(entry['label'])
  kind = entry.get('shape_type') or 'polygon'
  if not isinstance(kind, str):
    raise ValueError(f'shape_type {kind!r:.40}')
  shape = lambda form, value: drawn.Shape(form, label, value)
  points = entries.points(entry['points'])
  if kind == 'polygon':
    return [shape('polygon', points)]
  if kind in _TURNED:
    if len(points) != 4:
      raise ValueError('a turned rectangle needs its 4 corners')
    return [shape('polygon', points)]
  if kind == 'rectangle':
    xs, ys = ({p[i] for p in points} for i in (0, 1))
    if len(points) not in (2, 4):
      raise ValueError('a rectangle is not given by 2 or 4 corners')
    if len(points) == 4 and (len(xs), len(ys)) != (2, 2):
      return [shape('polygon', points)]  # The rectangle is turned.
    return [shape('box', [min(xs), min(ys), max(xs), max(ys)])]
  if kind == 'circle':
    if len(points) != 2:
      raise ValueError('a circle needs its centre and a point on it')
    (cx, cy), (x, y) = points
    radius = round(math.hypot(x - cx, y - cy), 6)
    return [shape('ellipse', [cx, cy, radius, radius, 0])]
  if kind in _STROKES:
    width = entries.number(entry['width']) if 'width' in entry else None
    return [drawn.Shape('stroke', label, points, width)]
  if kind in ('point', 'points'):
    return [shape('point', point) for point in points]
  if kind == 'mask':
    return [shape('rle', _read_mask(entry, points, size, report))]
  raise ValueError(
      f'shape_type {kind!r:.40} is none of polygon, rectangle, circle, '
      'oriented_rectangle, point, line, linestrip, mask')


def _read_mask(entry, points, size, report):
  """Pastes the PNG of an entry into the picture; returns its run lengths."""
  if not isinstance(entry.get('mask'), str) or not points:
    raise ValueError('a mask needs its PNG in base64 and its corner')
  if size is None:
    raise ValueError('a mask needs imageHeight and imageWidth')
  x0, y0 = (int(v) for v in points[0])
  try:
    content = io.BytesIO(base64.b64decode(entry['mask'], validate=True))
    with Image.open(content, formats=('PNG',)) as image:
      if image.width > 2 * size[1] or image.height > 2 * size[0]:
        raise ValueError('it is larger than the picture')
      part = np.asarray(image.convert('L')) > 0
  except Exception as error:  # Pillow raises many kinds of error here.
    raise ValueError(f'mask: {str(error)[:60]}') from error
  return drawn.paste(part, (x0, y0), size, report)


def _write_shape(shape):
  entry = {'label': shape.label, 'group_id': None, 'flags': {}}
  value = shape.value
  if shape.kind == 'polygon':
    return entry | {'shape_type': 'polygon', 'points': value}
  if shape.kind == 'box':
    return entry | {
        'shape_type': 'rectangle', 'points': [value[:2], value[2:]]}
  if shape.width is not None:
    # A stroke of one point becomes a line strip of one point. LabelMe keeps
    # `width`, which is a field of our own.
    return entry | {
        'shape_type': 'linestrip', 'points': value, 'width': shape.width}
  if shape.kind == 'point':
    return entry | {'shape_type': 'point', 'points': [value]}
  mask = rle.decode_rle(value)
  x0, y0, x1, y1 = drawn.box_around(shape) or (0, 0, 1, 1)
  content = io.BytesIO()
  Image.fromarray(mask[y0:y1, x0:x1]).save(content, 'PNG')
  return entry | {
      'shape_type': 'mask', 'points': [[x0, y0], [x1 - 1, y1 - 1]],
      'mask': base64.b64encode(content.getvalue()).decode()}
