"""Reads and writes GeoJSON as QuPath does, one file per picture.

See https://qupath.readthedocs.io and RFC 7946. Coordinates are pixels of the
whole picture at full resolution. A polygon with holes becomes one outline, see
`rings`; each polygon of a MultiPolygon is a shape of its own. Lines are strokes
or, with `--lines_are=line`, lines. A polygon that QuPath marks as an ellipse is
the ellipse in its bounding box, as QuPath draws it. The class is the name in
`classification`; if no object of the set has one, it is `name`. Objects inside
others (`childObjects`) are read, too. TMA cores and the nuclei of cells are
not. A file belongs to the picture of its own name (a.geojson or a.png.geojson
to a.png).

Fields of our own, which QuPath drops: `image`, `height`, `width`, `subject`,
`site` and `annotator` of a file; `shape` (mask or box) and `width` of an
object. Without them, masks and boxes are read as polygons.
"""

import json
import os
import pathlib
from typing import Any

import numpy as np

from data_prep import formats
from data_prep import manifest as manifest_lib
from data_prep.drawing import covering
from data_prep.drawing import rle
from data_prep.formats import assembling
from data_prep.formats import drawn
from data_prep.formats import entries
from data_prep.formats import known_tools
from data_prep.formats import placing
from data_prep.formats import rings as rings_lib
from data_prep.formats import sources
from data_prep.shared import confined
from data_prep.shared import pixels

HOLDS = ('mask', 'coarse_mask', 'polygon', 'box', 'line', 'scribble', 'points',
         'extreme_points', 'tag')

FIELDS = ('subject', 'site', 'annotator')
_SKIPPED = ('root', 'PathRootObject', 'tmaCore', 'tma_core', 'TMACoreObject')
_MAX_DEPTH = 20


def detect(source: pathlib.Path) -> bool:
  """Returns whether a file below `source` looks like GeoJSON."""
  return bool(_files(source))


def read(
    source: pathlib.Path, output: pathlib.Path, report: assembling.Report
) -> formats.Imported:
  """Reads all GeoJSON files below `source`, see `data_prep.formats`."""
  contents = report.read_each(
      _files(source), lambda name, here: _read_features(source / name, here))
  classified = any(_class_of(f) for _, features in contents.values()
                   for f in features if isinstance(f, dict))
  named = [f for _, features in contents.values() for f in features
           if isinstance(f, dict) and _property(f, 'name')]
  if named and not classified:
    report.note('no object has a classification: their names are the classes')
  label_of = _class_of if classified else lambda f: _property(f, 'name') or ''
  items = []
  for name, (more, features) in contents.items():
    try:
      items.append(_read_item(name, more, features, label_of, report.at(
          file=name)))
    except (ValueError, KeyError) as error:
      report.wrong(f'a file cannot be read: {entries.cause_of(error)}',
                   file=name)
  return assembling.assemble(source, output, items, [], report)


def write(manifest: manifest_lib.Manifest, output: pathlib.Path) -> None:
  """Writes each picture, and its objects to SPLIT/ID.geojson next to it."""
  folder_of = lambda row: row.split or 'images'
  for placed in placing.place_pictures(manifest, output, folder_of):
    row = placed.row
    content = {
        'type': 'FeatureCollection', 'image': os.path.basename(placed.picture),
        'height': placed.size[0], 'width': placed.size[1],
        **{k: getattr(row, k) for k in FIELDS if getattr(row, k)},
        'features': [_write_shape(s) for s in placing.to_shapes(
            manifest, placed)]}
    file = confined.new_file(output, f'{folder_of(row)}/{row.id}.geojson')
    file.write_text(json.dumps(content), encoding='utf-8')


def _files(source):
  return [name for name in sources.list_files(source, ('.geojson', '.json'))
          if known_tools.is_geojson(
              pixels.head(source / name, known_tools.HEAD))]


def _read_features(path, report):
  """Returns the own fields of a file, and all its objects."""
  content = sources.read_json(path)
  more = content if isinstance(content, dict) else {}
  if more.get('type') == 'Feature':
    content, more = [more], {}
  features = more.get('features') if more else content
  if not isinstance(features, list):
    raise pixels.WrongFile('expected a list of features', pixels.tail(
        report.file), 'export it as GeoJSON')
  found = _with_children(features)
  planes = {(p.get('z', 0), p.get('t', 0)) for p in (
      f['geometry'].get('plane') for f in found if isinstance(f, dict)
      and isinstance(f.get('geometry'), dict)) if isinstance(p, dict)
            and all(isinstance(p.get(k, 0), (int, float)) for k in 'zt')}
  if len(planes) > 1:
    raise pixels.WrongFile(
        'its objects lie on several planes of a stack',
        f'{len(planes)} of z and t', 'export one file for each plane')
  if more.get('crs'):
    report.note('GeoJSON: files name a coordinate system, crs, as of a map: '
                'coordinates are read as pixels')
  return more, found


def _with_children(features, depth=0):
  """Returns objects, each followed by the objects inside it."""
  found = []
  for feature in features:
    found.append(feature)
    children = isinstance(feature, dict) and _property(feature, 'childObjects')
    if isinstance(children, list) and depth < _MAX_DEPTH:
      found += _with_children(children, depth + 1)
  return found


def _property(feature, key):
  properties = feature.get('properties')
  return properties.get(key) if isinstance(properties, dict) else None


def _class_of(feature):
  """Returns the class of an object; '' if it has none."""
  found = _property(feature, 'classification')
  if isinstance(found, dict):
    names = found.get('names')
    found = ': '.join(map(str, names)) if isinstance(
        names, list) else found.get('name')
  return found or ''


def _read_item(name, more, features, label_of, report):
  """Returns the item of a file."""
  stem = sources.stem(name.rsplit('/', 1)[-1])
  picture = more.get('image') or (stem if stem.lower().endswith(
      sources.PICTURES) else f'{stem}.png')
  size = None
  if more.get('height') is not None:
    size = entries.listed_size(more['height'], more['width'])
  own = {k: entries.text(more[k]) for k in FIELDS if more.get(k)}
  shapes = []
  for number, feature in enumerate(features):
    label = ''
    try:
      label = label_of(feature)
      label = entries.text(label) if label else ''
      shapes += _read_feature(feature, label, size, report)
    except (KeyError, ValueError, TypeError, AttributeError, IndexError,
            RecursionError) as error:
      cause = entries.cause_of(error) if isinstance(
          error, (KeyError, ValueError)) else 'a field is of a wrong type'
      report.wrong_shape(f'an object cannot be read: {cause}',
                         field=f'features[{number}]')
      shapes.append(_unreadable(feature, label))
  return assembling.Item(
      entries.text(picture), shapes, report.file, size, more=own, by_stem=True)


def _unreadable(feature, label):
  """Returns a shape of kind 'unreadable', with the place of a polygon."""
  label = label if isinstance(label, str) else ''
  try:
    geometry = feature['geometry']
    if geometry['type'] == 'Polygon':
      return drawn.unreadable(label, geometry['coordinates'][0])
  except (KeyError, TypeError, IndexError):
    pass
  return drawn.unreadable(label)


def _read_feature(feature, label, size, report):
  """Returns the shapes of an object."""
  kind = _property(feature, 'objectType') or feature.get('id')
  if isinstance(kind, str) and kind in _SKIPPED:
    report.note('GeoJSON: TMA cores and roots are no objects: they are not '
                'read')
    return []
  if 'nucleusGeometry' in feature:
    report.note('GeoJSON: nuclei of cells are not read')
  geometry = feature['geometry']
  if geometry is None:
    if not label:
      raise ValueError('neither a geometry nor a class')
    return [drawn.Shape('tag', label)]
  own = _property(feature, 'shape')
  width = _property(feature, 'width')
  if own == 'mask' and size is not None:
    polygons = geometry['coordinates']
    if geometry['type'] == 'Polygon':
      polygons = [polygons]
    rings = [_ring(r) for polygon in polygons for r in polygon]
    return [drawn.Shape('rle', label, _drawn_mask(rings, size))]
  shapes = [drawn.Shape(k, label, value) for k, value in _read_geometry(
      geometry)]
  if own == 'box' and [s.kind for s in shapes] == ['polygon']:
    box = [entries.number(v) for v in drawn.box_around(shapes[0])]
    return [drawn.Shape('box', label, box)]
  return [s if s.kind != 'stroke' or width is None else s._replace(
      width=entries.number(width)) for s in shapes]


def _drawn_mask(rings, size):
  """Returns the run lengths of the rings of polygons that do not overlap."""
  if size[0] * size[1] > pixels.MAX_PIXELS:
    raise ValueError(f'a picture of {size[0]} x {size[1]} is too large')
  mask = np.zeros(size, bool)
  if rings:
    mask = covering.fill_polygon(
        np.array(rings_lib.connect(rings), float), size)
  return rle.encode_rle(mask)


def _read_geometry(geometry) -> list[tuple[str, Any]]:
  """Returns the kind and value of each shape of a geometry."""
  kind = geometry['type']
  if kind == 'GeometryCollection':
    return [shape for part in geometry['geometries']
            for shape in _read_geometry(part)]
  values = geometry['coordinates']
  if not isinstance(kind, str) or not isinstance(values, list):
    raise ValueError('coordinates are not a list')
  form = kind.removeprefix('Multi')
  each = values if form != kind else [values]
  if form == 'Point':
    return [('point', point) for point in _points(each)]
  if form == 'LineString':
    return [('stroke', _line(v)) for v in each]
  if form != 'Polygon':
    raise ValueError(f'type {kind!r:.30} is not one of GeoJSON')
  if not all(each):
    raise ValueError('a polygon needs a ring')
  outlines = [rings_lib.join([_ring(r) for r in v]) for v in each]
  if geometry.get('isEllipse') is True and len(outlines) == 1:
    (x0, y0), (x1, y1) = np.array(outlines[0]).min(0), np.array(
        outlines[0]).max(0)
    return [('ellipse', [float(v) for v in (
        (x0 + x1) / 2, (y0 + y1) / 2, (x1 - x0) / 2, (y1 - y0) / 2)] + [0])]
  return [('polygon', outline) for outline in outlines]


def _points(values):
  """Returns points [x, y]; a third coordinate is left out."""
  if isinstance(values, list) and {*map(type, values)} == {list} and (
      {*map(len, values)} == {2}):
    return entries.points(values)
  return entries.points([
      v[:2] if isinstance(v, list) and len(v) == 3 else v for v in values])


def _line(values):
  points = _points(values)
  if len(points) < 2:
    raise ValueError('a line needs 2 points')
  return points[:1] if len(points) == 2 and points[0] == points[1] else points


def _ring(values):
  """Returns the points of a ring without the first one at its end."""
  points = _points(values)
  points = points[:-1] if points and points[0] == points[-1] else points
  if len(points) < 3:
    raise ValueError('a ring needs 3 points')
  return points


def _write_shape(shape):
  """Returns the object of a shape."""
  value, own = shape.value, {}
  closed = lambda parts: [[*ring, ring[0]] for ring in parts]
  if shape.kind == 'tag':
    geometry = None
  elif shape.kind == 'rle':
    own = {'shape': 'mask'}
    parts = [closed(p) for p in rings_lib.outlines(rle.decode_rle(value))]
    geometry = ('Polygon', parts[0]) if len(parts) == 1 else (
        'MultiPolygon', parts)
  elif shape.kind == 'box':
    x0, y0, x1, y1 = value
    own = {'shape': 'box'}
    geometry = 'Polygon', closed([[[x0, y0], [x1, y0], [x1, y1], [x0, y1]]])
  elif shape.kind == 'polygon':
    geometry = 'Polygon', closed(rings_lib.divide(value))
  elif shape.kind == 'point':
    geometry = 'Point', value
  elif shape.kind == 'extreme_points':
    geometry = 'MultiPoint', value
  else:
    own = {'width': shape.width}
    geometry = 'LineString', value * 2 if len(value) == 1 else value
  return {
      'type': 'Feature',
      'geometry': geometry and dict(zip(
          ('type', 'coordinates'), geometry, strict=True)),
      'properties': {'objectType': 'annotation',
                     'classification': {'name': shape.label}, **own}}
