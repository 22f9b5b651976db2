"""Makes the cases of `picture_tools`: files of tools, and what they draw.

Each function takes a generator and the size of the picture, and returns a case
with several shapes. It imports the package of its tool itself, so that the
other parts work without it.
"""

import base64
from collections.abc import Callable
import importlib
import io
import itertools
import json
import math
import os
import pathlib
import tempfile
from typing import Any, NamedTuple

from data_prep import manifest as manifest_lib
from data_prep.drawing import rle
from data_prep.formats import registry
import numpy as np
from PIL import Image
from scipy import ndimage

from tests.long import tool_shapes

CLASSES = ('background', 'a', 'b')


class Case(NamedTuple):
  """A picture as a tool stores it.

  Attributes:
    size: height and width of the picture.
    files: content of each file beside the picture a.png: text, or JSON.
    label: the label map that the tool draws, int [H, W].
  """

  size: tuple[int, int]
  files: dict[str, Any]
  label: np.ndarray


class Row(NamedTuple):
  """One row of the table.

  Attributes:
    format_name: name of the format, a key of `registry.FORMATS`.
    package: the package whose label map is compared.
    what: the shapes.
    why: the rule by which the package draws differently; '' if it must agree.
    make: function that takes a generator and a size and returns a case.
  """

  format_name: str
  package: str
  what: str
  why: str
  make: Callable[[np.random.Generator, tuple[int, int]], Case]


# Label Studio.

_IDS = itertools.count()


def _region(kind, value, size, name):
  return {'id': str(next(_IDS)), 'type': kind, 'from_name': kind,
          'to_name': 'image', 'original_width': size[1],
          'original_height': size[0], 'image_rotation': 0,
          'value': value | {kind: [name]}}


def _tasks(regions):
  return {'tasks.json': [{'id': 1, 'data': {'image': 'a.png'}, 'annotations': [
      {'id': 1, 'completed_by': 1, 'result': regions}]}]}


def _brushes(rng, size, *, soft=False, least=1):
  brush = importlib.import_module('label_studio_sdk.converter.brush')
  regions = []
  for _ in range(3):
    alpha = 255.0 * tool_shapes.mask(rng, size)
    if soft:
      alpha = ndimage.gaussian_filter(255.0 * tool_shapes.ring(rng, size), 0.7)
    regions.append(_region('brushlabels', {
        'format': 'rle', 'rle': brush.mask2rle(alpha.astype(np.uint8))},
                           size, 'ab'[rng.integers(2)]))
  # The package expects regions without their `value`.
  layers = [brush.decode_from_annotation('x', [
      r | r['value'] for r in [region]]).popitem()[1] for region in regions]
  return Case(size, _tasks(regions), tool_shapes.drawn(
      [('ab'.index(r['value']['brushlabels'][0]) + 1, layer >= least)
       for r, layer in zip(regions, layers, strict=True)], size))


def _turned_boxes(rng, size):
  shapely = importlib.import_module('shapely')
  utils = importlib.import_module('label_studio_sdk.converter.utils')
  regions, parts = [], []
  for value in (1, 2, 1):
    x0, y0, x1, y1 = (v * 0.7 + 0.15 * size[1 - i % 2] for i, v in enumerate(
        tool_shapes.box(rng, size)))
    box = {'x': 100 * x0 / size[1], 'y': 100 * y0 / size[0],
           'width': 100 * (x1 - x0) / size[1],
           'height': 100 * (y1 - y0) / size[0],
           'rotation': float(rng.uniform(-20, 20))}
    regions.append(_region('rectanglelabels', box, size, ' ab'[value]))
    corners = utils.convert_annotation_to_yolo_obb(
        box | {'original_width': size[1], 'original_height': size[0]},
        normalize=False)
    parts.append((value, tool_shapes.inside(shapely.Polygon(corners), size)))
  return Case(size, _tasks(regions), tool_shapes.drawn(parts, size))


def _percent(points, size):
  return (np.array(points) * 100 / size[::-1]).tolist()


def _studio_polygons(rng, size, *, coco=False):
  shapely = importlib.import_module('shapely')
  regions, parts = [], []
  for value in (1, 2, 1):
    points = tool_shapes.polygon(rng, size)
    region = {'points': _percent(points, size), 'closed': True}
    regions.append(_region('polygonlabels', region, size, ' ab'[value]))
    if coco:
      brush_to_coco = importlib.import_module(
          'label_studio_sdk.converter.exports.brush_to_coco')
      ring = brush_to_coco.generate_contour_from_polygon(
          region['points'], size[1], size[0])[0]
      parts.append((value, _coco_mask(ring, size)))
    else:
      parts.append((value, tool_shapes.inside(shapely.Polygon(points), size)))
  return Case(size, _tasks(regions), tool_shapes.drawn(parts, size))


def _studio_ellipses(rng, size):
  regions, parts = [], []
  for value in (1, 2, 1):
    ellipse, geometry = tool_shapes.ellipse(rng, size)
    cx, cy, rx, ry, turn = ellipse
    regions.append(_region('ellipselabels', {
        'x': 100 * cx / size[1], 'y': 100 * cy / size[0],
        'radiusX': 100 * rx / size[1], 'radiusY': 100 * ry / size[0],
        'rotation': turn}, size, ' ab'[value]))
    parts.append((value, tool_shapes.inside(geometry, size)))
  return Case(size, _tasks(regions), tool_shapes.drawn(parts, size))


# GeoJSON.


def _features(parts):
  return {'a.geojson': {'type': 'FeatureCollection', 'features': [
      {'type': 'Feature', 'geometry': geometry, 'properties': {
          'objectType': 'annotation', 'classification': {'name': ' ab'[value]}}}
      for value, geometry in parts]}}


def _geojson(rng, size):
  """Writes polygons with holes and MultiPolygons with shapely."""
  shapely = importlib.import_module('shapely')
  parts = []
  for value in (1, 2, 1, 2):
    geometry = shapely.Polygon(tool_shapes.polygon(rng, size)).buffer(0)
    hole = shapely.Polygon(tool_shapes.polygon(rng, size)).buffer(0)
    way = rng.integers(4)
    if way == 0:
      geometry = geometry.difference(hole)
    elif way == 1:
      geometry = geometry.difference(geometry.buffer(-0.15 * min(size)))
    elif way == 2:
      geometry = geometry.symmetric_difference(hole)
    else:
      geometry = shapely.box(*tool_shapes.pixel(rng, size))
    if geometry.geom_type in ('Polygon', 'MultiPolygon') and geometry.area:
      parts.append((value, geometry))
  drawn = [(v, tool_shapes.inside(g, size)) for v, g in parts]
  return Case(size, _features(
      (v, json.loads(shapely.to_geojson(g))) for v, g in parts),
              tool_shapes.drawn(drawn, size))


def _written_geojson(rng, size):
  """Writes masks as this project does, and draws them with shapely."""
  shapely = importlib.import_module('shapely')
  with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    content = _exported(rng, size, 'geojson', folder)
  parts = []
  for feature in content['features']:
    geometry = shapely.from_geojson(json.dumps(feature['geometry']))
    if not geometry.is_valid:
      raise AssertionError(shapely.is_valid_reason(geometry))
    name = feature['properties']['classification']['name']
    parts.append((CLASSES.index(name), tool_shapes.inside(geometry, size)))
    del feature['properties']['shape']  # QuPath drops it.
  return Case(size, {'a.geojson': content}, tool_shapes.drawn(parts, size))


def _exported(rng, size, name, folder):
  """Returns the JSON that this project writes for two random masks."""
  Image.new('L', size[::-1]).save(folder / 'a.png')
  annotation = {'kind': 'mask', 'labels': [1, 2], 'rles': [
      rle.encode_rle(tool_shapes.mask(rng, size)) for _ in range(2)]}
  row = manifest_lib.Row('a', 'a.png', 'train', 'strong', annotation)
  registry.write(manifest_lib.Manifest(
      manifest_lib.Header('x', CLASSES), (row,), folder), name, folder / 'out')
  path = {'geojson': 'train/a.geojson', 'label_studio': 'tasks.json'}[name]
  return json.loads((folder / 'out' / path).read_text())


def _written_brushes(rng, size):
  """Writes brushes as this project does, and draws them with the package."""
  brush = importlib.import_module('label_studio_sdk.converter.brush')
  with tempfile.TemporaryDirectory() as folder:
    content = _exported(rng, size, 'label_studio', pathlib.Path(folder))
  content[0]['data']['image'] = 'a.png'
  parts = []
  for region in content[0]['annotations'][0]['result']:
    mask = brush.decode_rle(region['value']['rle']).reshape(*size, 4)[..., 3]
    name = region['value']['brushlabels'][0]
    parts.append((CLASSES.index(name), mask > 0))
  return Case(size, {'tasks.json': content}, tool_shapes.drawn(parts, size))


# VIA.


def _via(regions):
  return {'via.json': {'a.png1': {
      'filename': 'a.png', 'size': 1, 'file_attributes': {}, 'regions': [
          {'shape_attributes': shape, 'region_attributes': {
              'label': ' ab'[value]}} for value, shape in regions]}}}


def _via_shapes(rng, size, *, offset):
  """Draws polygons and ellipses with scikit-image.

  Args:
    rng: source of all randomness.
    size: height and width.
    offset: place of a pixel's centre within the pixel: 0.5 for VIA and for this
      project, 0 in recipes that pass VIA's corners on as they are.
  """
  draw = importlib.import_module('skimage.draw')
  regions, parts = [], []
  for value in (1, 2, 1):
    mask = np.zeros(size, bool)
    if rng.random() < 0.7:
      x, y = np.array(tool_shapes.polygon(rng, size)).T
      regions.append((value, {'name': 'polygon', 'all_points_x': x.tolist(),
                              'all_points_y': y.tolist()}))
      mask[draw.polygon(y - offset, x - offset, size)] = True
    else:
      cx, cy, rx, ry, turn = tool_shapes.ellipse(rng, size)[0]
      regions.append((value, {'name': 'ellipse', 'cx': cx, 'cy': cy, 'rx': rx,
                              'ry': ry, 'theta': math.radians(turn)}))
      mask[draw.ellipse(cy - offset, cx - offset, ry, rx, size,
                        math.radians(-turn))] = True
    parts.append((value, mask))
  return Case(size, _via(regions), tool_shapes.drawn(parts, size))


# LabelMe.


def _labelme(rng, size, *, kinds):
  os.environ.setdefault('QT_QPA_PLATFORM', 'offscreen')
  draw = importlib.import_module('labelme.utils.shape')
  shapes = []
  for value in (1, 2, 1):
    kind, more = str(rng.choice(kinds)), {}
    if kind == 'mask':
      mask = tool_shapes.mask(rng, size)
      content = io.BytesIO()
      Image.fromarray(mask).save(content, 'PNG')
      points = [[0, 0], [size[1] - 1, size[0] - 1]]
      more = {'mask': base64.b64encode(content.getvalue()).decode()}
    elif kind == 'rectangle':
      box = tool_shapes.box(rng, size)
      points = [box[:2], box[2:]]
    elif kind == 'oriented_rectangle':
      x0, y0, x1, y1 = tool_shapes.box(rng, size)
      shift = (y1 - y0) / 4
      points = [[x0 + shift, y0], [x1, y0 + shift], [x1 - shift, y1],
                [x0, y1 - shift]]
    elif kind == 'circle':
      cx, cy, radius, *_ = tool_shapes.ellipse(rng, size)[0]
      points = [[cx, cy], [cx + radius, cy]]
    elif kind == 'line':
      points = tool_shapes.polygon(rng, size)[:2]
    else:
      points = tool_shapes.polygon(rng, size)
    shapes.append({'label': ' ab'[value], 'shape_type': kind, 'points': points,
                   'flags': {}, 'group_id': None, **more})
  given = [s | ({'mask': np.array(Image.open(io.BytesIO(
      base64.b64decode(s['mask']))))} if 'mask' in s else {}) for s in shapes]
  label, _ = draw.shapes_to_label(size, given, {'a': 1, 'b': 2})
  return Case(size, {'a.json': {
      'version': '6.3.1', 'flags': {}, 'shapes': shapes, 'imagePath': 'a.png',
      'imageData': None, 'imageHeight': size[0], 'imageWidth': size[1]}}, label)


# COCO and CVAT.


def _coco_mask(ring, size):
  mask = importlib.import_module('pycocotools.mask')
  return mask.decode(mask.merge(mask.frPyObjects(ring, *size))).astype(bool)


def _coco(rng, size, *, package):
  annotations, parts = [], []
  for value in (1, 2, 1):
    ring = [v for point in tool_shapes.polygon(rng, size) for v in point]
    annotations.append({'id': len(parts) + 1, 'image_id': 1, 'iscrowd': 0,
                        'category_id': value, 'segmentation': [ring],
                        'bbox': [0, 0, 1, 1], 'area': 1})
    if package == 'pycocotools':
      parts.append((value, _coco_mask([ring], size)))
    else:
      convert = importlib.import_module('supervision').polygon_to_mask
      corners = np.array(ring).reshape(-1, 2).astype(int)
      parts.append((value, convert(corners, size[::-1]).astype(bool)))
  return Case(size, {'set.json': {
      'images': [{'id': 1, 'file_name': 'a.png', 'height': size[0],
                  'width': size[1]}],
      'categories': [{'id': 1, 'name': 'a'}, {'id': 2, 'name': 'b'}],
      'annotations': annotations}}, tool_shapes.drawn(parts, size))


def _cvat_masks(rng, size):
  """Lets datumaro write masks as CVAT's XML, and read them again."""
  dm = importlib.import_module('datumaro')
  items = [dm.Mask(tool_shapes.mask(rng, size), z_order=i,
                   label=int(rng.integers(2))) for i in range(2)]
  with tempfile.TemporaryDirectory() as folder:
    image = dm.Image.from_numpy(np.zeros((*size, 3), np.uint8), ext='.png')
    dataset = dm.Dataset.from_iterable([dm.DatasetItem(
        'a', annotations=items, media=image)], categories=['a', 'b'])
    dataset.export(folder, 'cvat', save_media=True)
    path, = pathlib.Path(folder).rglob('*.xml')
    text = path.read_text()
  return Case(size, {'set.xml': text}, tool_shapes.drawn(
      [(m.label + 1, m.image.astype(bool)) for m in items], size))


_RIM = 'draws the outline as well: Pillow fills every pixel it touches'
ROWS = (
    Row('label_studio', 'label-studio-sdk', 'brush', '', _brushes),
    Row('label_studio', 'label-studio-sdk', 'brush that we write', '',
        _written_brushes),
    Row('label_studio', 'label-studio-sdk', 'soft brush, alpha above 0', '',
        lambda rng, size: _brushes(rng, size, soft=True)),
    Row('label_studio', 'label-studio-sdk', 'soft brush, alpha of at least 128',
        'we take every pixel that the brush touches, as its COCO export does',
        lambda rng, size: _brushes(rng, size, soft=True, least=128)),
    Row('label_studio', 'label-studio-sdk', 'turned rectangle', '',
        _turned_boxes),
    Row('label_studio', 'shapely', 'polygon', '', _studio_polygons),
    Row('label_studio', 'shapely', 'turned ellipse', '', _studio_ellipses),
    Row('label_studio', 'label-studio-sdk', 'polygon, its export to COCO',
        'rounds corners to whole pixels; pycocotools rounds again',
        lambda rng, size: _studio_polygons(rng, size, coco=True)),
    Row('geojson', 'shapely', 'polygons with holes, MultiPolygons', '',
        _geojson),
    Row('geojson', 'shapely', 'masks that we write', '', _written_geojson),
    Row('via', 'scikit-image', 'polygon and ellipse', '',
        lambda rng, size: _via_shapes(rng, size, offset=0.5)),
    Row('via', 'scikit-image', 'the same, corners passed on as they are',
        'takes whole numbers for centres of pixels, so all is half a pixel off',
        lambda rng, size: _via_shapes(rng, size, offset=0.0)),
    Row('labelme', 'labelme', 'mask', '',
        lambda rng, size: _labelme(rng, size, kinds=['mask'])),
    Row('labelme', 'labelme', 'polygon, rectangle, oriented_rectangle, circle',
        _RIM, lambda rng, size: _labelme(rng, size, kinds=[
            'polygon', 'rectangle', 'oriented_rectangle', 'circle'])),
    Row('labelme', 'labelme', 'line, linestrip 10 wide',
        'its ends are flat and its corners open, ours are round',
        lambda rng, size: _labelme(rng, size, kinds=['line', 'linestrip'])),
    Row('coco', 'pycocotools', 'polygon',
        'rounds corners to a fifth of a pixel and takes another rim',
        lambda rng, size: _coco(rng, size, package='pycocotools')),
    Row('coco', 'supervision', 'polygon',
        'cuts corners to whole pixels and draws the outline as well',
        lambda rng, size: _coco(rng, size, package='supervision')),
    Row('cvat', 'datumaro', 'mask', '', _cvat_masks),
)
