"""Reads and writes CVAT XML 1.1 for images, with every kind of shape.

See https://docs.cvat.ai/docs/dataset_management/formats/format-cvat/. The run
lengths of a `mask` count pixels along the rows of its rectangle. The field
`subset` of a picture is its split. A polyline is a stroke or, with
`--lines_are=line`, a line; its width is read from an attribute named `width`. A
rotated box is read as a polygon. Skeletons and cuboids have no area in the
picture, so neither their labels nor those of their parts are classes. If the
files of several jobs or tasks list a picture with different shapes, the job or
task stands for the annotator.
"""

import collections
import pathlib
import xml.etree.ElementTree as ET

from data_prep import formats
from data_prep import manifest as manifest_lib
from data_prep.drawing import rle
from data_prep.formats import assembling
from data_prep.formats import drawn
from data_prep.formats import entries
from data_prep.formats import placing
from data_prep.formats import sources
from data_prep.shared import pixels

HOLDS = (
    'mask', 'coarse_mask', 'polygon', 'box', 'ellipse', 'line', 'scribble',
    'points', 'extreme_points', 'tag')

_WITHOUT_AREA = ('skeleton', 'cuboid')


def detect(source: pathlib.Path) -> bool:
  """Returns whether an XML file below `source` looks like one of CVAT."""
  return bool(_files(source))


def read(
    source: pathlib.Path, output: pathlib.Path, report: assembling.Report
) -> formats.Imported:
  """Reads all CVAT files below `source`, see `data_prep.formats`."""
  names, jobs = [], {}

  def read_file(name, here):
    root = sources.read_xml(source / name)
    if root.tag != 'annotations':
      raise pixels.WrongFile(
          'expected <annotations>', f'<{root.tag[:40]}>',
          'export it as "CVAT for images 1.1"')
    if root.find('track') is not None:
      here.wrong('tracks of a video are not read', '<track>',
                 'export it as "CVAT for images 1.1"')
    names.extend([name for name in _class_names(root) if name not in names])
    jobs[name] = _job_of(root)
    return [_read_image(image, here) for image in root.iterfind('image')]

  found = report.read_each(_files(source), read_file).values()
  items = [item for some in found for item in some if item is not None]
  return assembling.assemble(
      source, output, _with_annotators(items, jobs), names, report)


def write(manifest: manifest_lib.Manifest, output: pathlib.Path) -> None:
  """Writes images/ and annotations.xml."""
  root = ET.Element('annotations')
  ET.SubElement(root, 'version').text = '1.1'
  labels = ET.SubElement(
      ET.SubElement(ET.SubElement(root, 'meta'), 'task'), 'labels')
  names = dict.fromkeys(manifest.header.classes[1:])
  for placed in placing.place_pictures(manifest, output):
    height, width = map(str, placed.size)
    image = ET.SubElement(root, 'image', {
        'id': str(placed.number), 'subset': placed.row.split,
        'name': placed.picture, 'width': width, 'height': height})
    for shape in placing.to_shapes(manifest, placed):
      _write_shape(image, shape)
      names.setdefault(shape.label)
  for name in names:
    ET.SubElement(ET.SubElement(labels, 'label'), 'name').text = name
  ET.indent(root)
  ET.ElementTree(root).write(
      output / 'annotations.xml', encoding='utf-8', xml_declaration=True)


def _files(source):
  return [name for name in sources.list_files(source, ('.xml',))
          if b'<annotations' in pixels.head(source / name, 4096)]


def _job_of(root):
  """Returns the job, or else the task, of a file; '' if neither is known."""
  for kind in ('job', 'task'):
    number = (root.findtext(f'meta/{kind}/id') or '').strip()
    if number.isdecimal() and len(number) < 20:
      return f'{kind}_{number}'
  return ''


def _with_annotators(items, jobs):
  """Names the annotator of items whose picture several jobs list."""
  groups = collections.defaultdict(list)
  for item in items:
    groups[item.picture].append(item)
  several = {
      name for name, some in groups.items()
      if any(item.shapes != some[0].shapes for item in some)
      and len({jobs[i.file] for i in some} - {''}) == len(some)}
  return [item._replace(more={'annotator': jobs[item.file]})
          if item.picture in several else item for item in items]


def _class_names(root):
  """Returns the declared labels, except those of shapes without an area."""
  names = []
  for label in root.iterfind('meta//labels/label'):
    name = (label.findtext('name') or '').strip()
    if name and not (label.findtext('parent') or '').strip() and (
        label.findtext('type') not in _WITHOUT_AREA):
      names.append(name)
  return names


def _read_image(image, report):
  try:
    name = entries.text(image.get('name', ''))
    size = entries.listed_size(image.get('height'), image.get('width'))
  except ValueError as error:
    report.wrong('an image cannot be read', str(error), field='image')
    return None
  subset = image.get('subset', '').lower()
  shapes = []
  for entry in sorted(image, key=_z_order):
    if entry.tag in _WITHOUT_AREA:
      report.note(f'CVAT: a {entry.tag} has no area')
      shapes.append(drawn.unreadable(entry.get('label', '')))
      continue
    try:
      shapes += _read_shape(entry, size, report)
    except (ValueError, TypeError, KeyError) as error:
      report.wrong_shape(
          f'a {entry.tag[:20]} cannot be read: {entries.cause_of(error)}',
          row_id=name)
      shapes.append(_unreadable(entry))
  return assembling.Item(
      name, shapes, report.file, size, sources.SPLIT_FOLDERS.get(subset, ''))


def _unreadable(entry):
  """Returns a shape of kind 'unreadable', with an entry's label and box."""
  corners = None
  try:
    number = lambda key: entries.number(entry.get(key))
    if entry.tag == 'mask':
      corners = [number('left'), number('top'), number('left') + number(
          'width'), number('top') + number('height')]
    elif entry.tag == 'box' and not float(entry.get('rotation', '0')):
      corners = [number(k) for k in ('xtl', 'ytl', 'xbr', 'ybr')]
  except ValueError:
    pass
  return drawn.unreadable(entry.get('label', '').strip(), corners)


def _z_order(entry):
  """Returns the layer that a shape is drawn in; 0 if it is not a number."""
  try:
    return int(entry.get('z_order', '0'))
  except ValueError:
    return 0


def _read_shape(entry, size, report):
  label = entries.text(entry.attrib['label'])
  number = lambda key: entries.number(entry.attrib[key])
  shape = lambda kind, value=None, width=None: [
      drawn.Shape(kind, label, value, width)]
  if entry.tag == 'tag':
    return shape('tag')
  if entry.tag == 'box':
    box = [number(k) for k in ('xtl', 'ytl', 'xbr', 'ybr')]
    angle_deg = entries.number(entry.get('rotation', '0'))
    if not angle_deg:
      return shape('box', box)
    centre = [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2]
    return shape('polygon', drawn.turned_box(box, angle_deg, pivot=centre))
  if entry.tag == 'ellipse':
    return shape('ellipse', [
        *(number(k) for k in ('cx', 'cy', 'rx', 'ry')),
        entries.number(entry.get('rotation', '0'))])
  if entry.tag == 'mask':
    return shape('rle', _read_mask(entry, size, report))
  if entry.tag in ('polygon', 'polyline', 'points'):
    points = [[entries.number(v) for v in p.split(',')]
              for p in entry.attrib['points'].split(';')]
    points = entries.points(points)
    if entry.tag == 'polygon':
      return shape('polygon', points)
    if entry.tag == 'points':
      return [drawn.Shape('point', label, p) for p in points]
    width = next((a.text for a in entry.iterfind('attribute')
                  if a.get('name') == 'width'), None)
    return shape('stroke', points,
                 None if width is None else entries.number(width))
  raise ValueError('it is none of box, polygon, polyline, points, ellipse, '
                   'mask, tag')


def _read_mask(entry, size, report):
  if size is None:
    raise ValueError('a mask needs the width and height of its picture')
  left, top, width, height = (
      int(entries.number(entry.attrib[k]))
      for k in ('left', 'top', 'width', 'height'))
  if not (0 < width <= 2 * size[1] and 0 < height <= 2 * size[0]):
    raise ValueError('the mask lies outside of the picture')
  runs = [int(r) for r in entry.attrib['rle'].split(',')]
  # CVAT counts runs along rows, and `decode_rle` along columns, so decode the
  # transposed rectangle.
  part = rle.decode_rle({'size': [width, height], 'counts': runs}).T
  return drawn.paste(part, (left, top), size, report)


def _write_shape(image, shape):
  value = shape.value
  if shape.kind == 'extreme_points':
    for point in value:
      _write_shape(image, shape._replace(kind='point', value=point))
    return
  more, tag = {}, shape.kind
  if shape.kind == 'box':
    more = dict(zip(('xtl', 'ytl', 'xbr', 'ybr'), map(repr, value),
                    strict=True))
  elif shape.kind == 'ellipse':
    more = dict(zip(('cx', 'cy', 'rx', 'ry', 'rotation'), map(repr, value),
                    strict=True))
  elif shape.kind == 'rle':
    tag, more = 'mask', _write_mask(shape)
  elif shape.kind != 'tag':
    tag = {'stroke': 'polyline', 'line': 'polyline', 'point': 'points'}.get(
        tag, tag)
    points = [value] if shape.kind == 'point' else value
    more = {'points': ';'.join(f'{x!r},{y!r}' for x, y in points)}
  entry = ET.SubElement(image, tag, {'label': shape.label, **more})
  if shape.width is not None:
    ET.SubElement(entry, 'attribute', {'name': 'width'}).text = repr(
        shape.width)


def _write_mask(shape):
  x0, y0, x1, y1 = drawn.box_around(shape) or (0, 0, 1, 1)
  runs = rle.runs_of(rle.decode_rle(shape.value)[y0:y1, x0:x1].ravel())
  return {'rle': ', '.join(map(str, runs)), 'left': str(x0), 'top': str(y0),
          'width': str(x1 - x0), 'height': str(y1 - y0)}
