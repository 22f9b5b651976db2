"""Reads and writes the regions of an annotation of Label Studio.

See `label_studio`. A region has a shape, given in percent of the picture, and
labels.
"""

import collections
from typing import Any

from data_prep.drawing import rle
from data_prep.formats import brush_rle
from data_prep.formats import drawn
from data_prep.formats import entries

# Maps each kind of shape to the type of its regions.
_TYPES = {'box': 'rectangle', 'ellipse': 'ellipse', 'polygon': 'polygon',
          'point': 'keypoint', 'rle': 'brush'}
_NOT_READ = ('bitmask', 'vector', 'cuboid')
_DIGITS = 6  # Of coordinates in pixels; more would come from rounding.


def read(
    result: list[Any], report
) -> tuple[tuple[int, int] | None, list[drawn.Shape]]:
  """Returns the size of the picture, or None, and the shapes of a result.

  Args:
    result: the regions of an annotation.
    report: the report for this picture and its file.
  """
  size, shapes, without_area = None, [], 0
  labels, shaped = _labels_by_region(result)
  for number, region in enumerate(result):
    kind, label, place = '', '', None
    try:
      kind = region['type'].removesuffix('labels')
      if kind not in (*_TYPES.values(), *_NOT_READ):
        if kind == 'choices' and region.get('id') not in shaped:
          shapes += [drawn.Shape('tag', entries.text(choice))
                     for choice in region['value']['choices']]
        elif kind:
          report.note(f'Label Studio: {kind[:20]} has no area: it is not read')
          without_area += 1
        continue
      found = [entries.text(v) for v in labels[region.get('id')]] or ['']
      label = found[0]
      if len(found) > 1:
        report.note('regions with several labels: the last one lies on top')
      own = entries.listed_size(
          region['original_height'], region['original_width'])
      if own is None or size not in (None, own):
        raise ValueError('no size, or another than of its neighbours')
      size = own
      place = _place(region['value'], size)
      form, value = _read_region(kind, region, size, report)
      shapes += [drawn.Shape(form, name, value) for name in found]
    except (KeyError, ValueError, TypeError, AttributeError) as error:
      cause = 'a field is of a wrong type' if isinstance(
          error, AttributeError) else entries.cause_of(error)
      report.wrong_shape(f'a region cannot be read: {cause}',
                         field=f'result[{number}]')
      shapes.append(drawn.unreadable(label, place))
  if without_area and not shapes:
    shapes.append(drawn.unreadable(''))
  return size, shapes


def _labels_by_region(result):
  """Returns the labels of each region, and the ids of regions with a shape.

  The shape and the labels of a region may be two entries with the same id.
  """
  labels, choices = collections.defaultdict(list), {}
  shaped = set()
  for region in result:
    if not isinstance(region, dict) or not isinstance(
        region.get('value'), dict) or not isinstance(region.get('type'), str):
      continue
    key, kind = region.get('id'), region['type']
    if not isinstance(key, (str, int, type(None))):
      continue
    found = region['value'].get(kind)
    found = found if isinstance(found, list) else []
    if kind.removesuffix('labels') in (*_TYPES.values(), *_NOT_READ):
      shaped.add(key)
    if kind == 'choices':
      choices.setdefault(key, found)
    elif kind.endswith('labels'):
      labels[key] += [v for v in found if v not in labels[key]]
  for key in shaped:
    labels[key] = labels[key] or choices.get(key, [])
  return labels, shaped


def _scaled(value, keys, size):
  """Returns percentages of the width and height, in turn, as pixels."""
  return [entries.number(round(
      entries.number(value[key]) * size[1 - i % 2] / 100, _DIGITS))
          for i, key in enumerate(keys)]


def _corners(value, size):
  """Returns the points of a polygon in pixels."""
  return [_scaled(point, (0, 1), size)
          for point in entries.points(value['points'])]


def _place(value, size):
  """Returns points around a region; None if its place is not known."""
  try:
    if 'points' in value:
      return _corners(value, size)
    x, y, width, height = _scaled(value, ('x', 'y', 'width', 'height'), size)
    return None if value.get('rotation') else [x, y, x + width, y + height]
  except (KeyError, ValueError, TypeError):
    return None


def _read_region(kind, region, size, report):
  """Returns the kind of shape that a region becomes, and its value."""
  value = region['value']
  if kind in _NOT_READ:
    raise ValueError(f'a {kind} is not read, draw it with polygon or brush')
  if region.get('image_rotation'):
    raise ValueError('it was drawn on a turned picture')
  if kind == 'brush':
    if value.get('format', 'rle') != 'rle':
      raise ValueError(f'format {value["format"]!r:.20} of a brush')
    return 'rle', rle.encode_rle(brush_rle.decode(value['rle'], size))
  if kind == 'polygon':
    if value.get('closed') is False:
      report.note('polygons that were not closed are closed')
    return 'polygon', _corners(value, size)
  if kind == 'keypoint':
    return 'point', _scaled(value, ('x', 'y'), size)
  angle_deg = entries.number(value.get('rotation') or 0)
  if kind == 'ellipse':
    return 'ellipse', [
        *_scaled(value, ('x', 'y', 'radiusX', 'radiusY'), size), angle_deg]
  x, y, width, height = _scaled(value, ('x', 'y', 'width', 'height'), size)
  box = [x, y, entries.number(round(x + width, _DIGITS)),
         entries.number(round(y + height, _DIGITS))]
  if angle_deg % 360 == 0:
    return 'box', box
  return 'polygon', drawn.turned_box(box, angle_deg, pivot=[x, y])


def write(shape: drawn.Shape, size: tuple[int, int]) -> dict[str, Any]:
  """Returns the type, value and other fields of the region of a shape."""
  kind = 'choices' if shape.kind == 'tag' else f'{_TYPES[shape.kind]}labels'
  percent = lambda values: [100 * v / size[1 - i % 2]
                            for i, v in enumerate(values)]
  value = {}
  if shape.kind == 'rle':
    value = {'format': 'rle', 'rle': brush_rle.encode(
        rle.decode_rle(shape.value))}
  elif shape.kind == 'polygon':
    value = {'points': [percent(p) for p in shape.value], 'closed': True}
  elif shape.kind == 'point':
    x, y = percent(shape.value)
    value = {'x': x, 'y': y, 'width': 0.5}
  elif shape.kind == 'ellipse':
    x, y, rx, ry = percent(shape.value[:4])
    value = {'x': x, 'y': y, 'radiusX': rx, 'radiusY': ry,
             'rotation': shape.value[4]}
  elif shape.kind == 'box':
    x0, y0, x1, y1 = percent(shape.value)
    value = {'x': x0, 'y': y0, 'width': x1 - x0, 'height': y1 - y0,
             'rotation': 0}
  fields = {'from_name': kind, 'to_name': 'image', 'type': kind,
            'value': value | {kind: [shape.label]}}
  return fields if kind == 'choices' else fields | {
      'original_width': size[1], 'original_height': size[0],
      'image_rotation': 0}
