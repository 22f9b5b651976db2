"""Reads projects, JSON and CSV exports of the VGG Image Annotator, VIA 1 and 2.

See https://www.robots.ox.ac.uk/~vgg/software/via. A rectangle is a box; circles
and ellipses are ellipses, whose angle is in radians; a polyline is a stroke or,
with `--lines_are=line`, a line. Polygons and points stay what they are. The
class is the only attribute of the regions or, of several, the one that has a
value in `--classes` or is named label, class, category, type or name. Several
values of it that are checked make
several shapes. The options of the attribute give the order of the classes. The
attributes of pictures are not read.
"""

import csv
import json
import math
import pathlib
from typing import Any
import urllib.parse

from data_prep import formats
from data_prep.formats import assembling
from data_prep.formats import drawn
from data_prep.formats import entries
from data_prep.formats import known_tools
from data_prep.formats import sources
from data_prep.shared import pixels

HOLDS = ()

_NAMES = ('label', 'class', 'category', 'type', 'name')
_NO_PICTURE = ('caption', 'public_domain', 'image_url')  # VIA's own attributes.
_EXPORT = 'export it from VIA 2 as JSON'


def detect(source: pathlib.Path) -> bool:
  """Returns whether a file below `source` looks like VIA."""
  return bool(_files(source))


def read(
    source: pathlib.Path, output: pathlib.Path, report: assembling.Report
) -> formats.Imported:
  """Reads all files of VIA below `source`, see `data_prep.formats`."""
  found = report.read_each(
      _files(source), lambda name, here: _read_file(source / name, here))
  regions = [r for pictures, _ in found.values() for p in pictures
             for r in p['regions'] if isinstance(r, dict)]
  key = _find_key(regions, report)
  items, names = [], {}
  for name, (pictures, options) in found.items():
    names |= dict.fromkeys(options.get(key, ()))
    items += [_read_picture(p, key, report.at(file=name)) for p in pictures]
  labels = {s.label for i in items for s in i.shapes if s.label}
  return assembling.assemble(
      source, output, items, [*names] if labels <= {*names} else [], report)


def _files(source):
  return [name for name in sources.list_files(source, ('.json', '.csv'))
          if (known_tools.is_via_csv if name.lower().endswith('.csv')
              else known_tools.is_via)(
                  pixels.head(source / name, known_tools.HEAD))]


def _read_file(path, report):
  """Returns the pictures of a file, and the options of each attribute."""
  if path.suffix.lower() == '.csv':
    return _read_csv(path), {}
  content, options = sources.read_json(path), {}
  if isinstance(content, dict) and '_via_img_metadata' in content:
    try:
      attributes = content['_via_attributes']['region']
      options = {k: [entries.text(name) for name in v['options']]
                 for k, v in attributes.items() if 'options' in v}
    except (KeyError, TypeError, ValueError, AttributeError):
      pass  # The options only give the order of the classes.
    content = content['_via_img_metadata']
  if not isinstance(content, dict):
    raise pixels.WrongFile(
        'expected an object with a picture per key', pixels.tail(report.file),
        _EXPORT)
  pictures = []
  for entry in content.values():
    try:
      regions = entry['regions']
      regions = [*regions.values()] if isinstance(regions, dict) else regions
      if not isinstance(regions, list):
        raise ValueError('regions are not a list')
      pictures.append({'name': _name_of(entry['filename']), 'regions': regions})
      attributes = entry.get('file_attributes') or {}
      if any(v for k, v in attributes.items() if k not in _NO_PICTURE):
        report.note('VIA: attributes of pictures are not read')
    except (KeyError, TypeError, ValueError, AttributeError) as error:
      report.wrong('a picture cannot be read: ' + (
          entries.cause_of(error) if isinstance(error, (KeyError, ValueError))
          else 'a field is of a wrong type'))
  return pictures, options


def _name_of(value):
  """Returns the name of a picture, whose file name may be an address."""
  name = entries.text(value)
  if '://' in name:
    name = urllib.parse.unquote(urllib.parse.urlsplit(name).path)
  return name


def _read_csv(path):
  """Returns the pictures of a CSV file, with one line for each region."""
  pictures = {}
  try:
    lines = csv.DictReader(sources.read_text(path).splitlines())
    for line in lines:
      name = _name_of(line['filename'])
      regions = pictures.setdefault(name, {'name': name, 'regions': []})
      shape = _parsed(line['region_shape_attributes'])
      if shape != {}:
        regions['regions'].append({
            'shape_attributes': shape,
            'region_attributes': _parsed(line['region_attributes'])})
  except (csv.Error, KeyError, ValueError) as error:
    raise pixels.WrongFile(
        f'line {lines.line_num} of the CSV file cannot be read',
        str(error)[:40], _EXPORT) from error
  return [*pictures.values()]


def _parsed(text):
  """Returns the JSON in a cell; None if it is damaged."""
  try:
    return json.loads(text)
  except (TypeError, ValueError, RecursionError):
    return None


def _find_key(regions, report):
  """Returns the attribute of the regions that is their class; '' if none is."""
  values = {}
  for region in regions:
    attributes = region.get('region_attributes')
    for key, value in (attributes if isinstance(attributes, dict) else {}
                       ).items():
      if value not in ('', {}, None):
        values.setdefault(key, set()).update(
            value if isinstance(value, dict) else [str(value)])
  wanted = {*(report.options.classes or ())}
  chosen = [k for k, some in values.items() if some & wanted]
  named = [k for name in _NAMES for k in values if k.lower() == name]
  for keys in ([*values], chosen, named):
    if len(keys) == 1 or keys and keys is named:
      return keys[0]
  if values:
    report.wrong('regions have several attributes, and none is named label',
                 ', '.join(values)[:60],
                 "name the class's attribute label, or its values in --classes")
  return ''


def _read_picture(picture, key, report):
  """Returns the item of a picture."""
  shapes = []
  for number, region in enumerate(picture['regions']):
    labels, value = [''], {}
    try:
      labels = _labels_of(region, key)
      value = region['shape_attributes']
      if not isinstance(value, dict):
        raise ValueError('it has no shape')
      kind, found = _read_shape(value)
      shapes += [drawn.Shape(kind, label, found) for label in labels]
    except (KeyError, TypeError, ValueError, AttributeError,
            OverflowError) as error:
      report.wrong_shape(
          'a region cannot be read: ' + (
              entries.cause_of(error) if isinstance(
                  error, (KeyError, ValueError))
              else 'a field is of a wrong type'),
          row_id=picture['name'], field=f'regions[{number}]')
      shapes.append(_unreadable(labels[0], value))
  return assembling.Item(picture['name'], shapes, report.file)


def _labels_of(region, key):
  """Returns the labels of a region; [''] if it has none."""
  value = (region.get('region_attributes') or {}).get(key, '')
  if isinstance(value, dict):  # Values to check: {"a": true, "b": false}.
    value = [k for k, is_on in value.items() if is_on]
  else:
    value = [value] if value != '' else []
  return [entries.text(v) for v in value] or ['']


def _unreadable(label, value):
  """Returns a shape of kind 'unreadable', with the place of a polygon."""
  try:
    return drawn.unreadable(label, _points(value))
  except (KeyError, TypeError, ValueError):
    return drawn.unreadable(label)


def _points(value):
  xs, ys = value['all_points_x'], value['all_points_y']
  if not isinstance(xs, list) or not isinstance(ys, list) or (
      len(xs) != len(ys)):
    raise ValueError('all_points_x and all_points_y are not of one length')
  return entries.points([*zip(xs, ys, strict=True)])


def _read_shape(value: dict[str, Any]) -> tuple[str, Any]:
  """Returns the kind and the value of the shape of a region."""
  kind = value['name']
  numbers = lambda *keys: [entries.number(value[k]) for k in keys]
  if kind == 'rect':
    x, y, width, height = numbers('x', 'y', 'width', 'height')
    return 'box', [x, y, x + width, y + height]
  if kind == 'circle':
    cx, cy, radius = numbers('cx', 'cy', 'r')
    return 'ellipse', [cx, cy, radius, radius, 0]
  if kind == 'ellipse':
    angle_deg = math.degrees(entries.number(value.get('theta', 0)))
    return 'ellipse', [*numbers('cx', 'cy', 'rx', 'ry'), angle_deg]
  if kind == 'point':
    return 'point', numbers('cx', 'cy')
  if kind not in ('polygon', 'polyline'):
    raise ValueError(f'name {kind!r:.20} is no shape of VIA')
  points = _points(value)
  if kind == 'polyline':
    return 'stroke', points
  # VIA 1 repeats the first point at the end.
  closed = len(points) > 3 and points[0] == points[-1]
  return 'polygon', points[:-1] if closed else points
