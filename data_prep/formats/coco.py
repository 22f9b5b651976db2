"""COCO JSON: polygons, boxes and run lengths, one file or one per split.

https://cocodataset.org/#format-data. Boxes are [x, y, width, height]. A
`category` that no annotation uses is a class all the same; categories go by
their id. Where a polygon annotation has several rings, each is a shape.
"""

import json
import pathlib

from data_prep import formats
from data_prep import manifest as manifest_lib
from data_prep import pixels
from data_prep.formats import assembling
from data_prep.formats import sources

HOLDS = ('mask', 'coarse_mask', 'polygon', 'box')

_KEYS = ('images', 'annotations', 'categories')
_MORE = ('subject', 'site', 'annotator')  # Ours; COCO allows further fields.


def detect(source: pathlib.Path) -> bool:
  """Returns whether a JSON file below `source` looks like COCO."""
  return bool(_files(source))


def read(
    source: pathlib.Path,
    output: pathlib.Path,
    *,
    options: formats.Options,
) -> formats.Imported:
  """Reads all COCO files below `source`, see the package."""
  report = assembling.Report(options.leave_out)
  items, categories = [], {}
  for path in _files(source):
    shown = path.relative_to(source).as_posix()
    try:
      items += _read_file(path, shown, categories, report)
    except pixels.WrongFile as wrong:
      report.wrong_file(wrong, file=shown)
  names = [categories[key] for key in sorted(
      categories, key=lambda key: (isinstance(key, str), key))]
  return assembling.assemble(
      source, output, items, names, options=options, report=report)


def write(manifest: manifest_lib.Manifest, output: pathlib.Path) -> None:
  """Writes images/ and annotations.json, with one annotation per shape."""
  content = {'images': [], 'annotations': [], 'categories': [
      {'id': i, 'name': name}
      for i, name in enumerate(manifest.header.classes) if i]}
  index = {name: i for i, name in enumerate(manifest.header.classes)}
  for number, row in enumerate(manifest.rows, start=1):
    name = assembling.place_picture(manifest, row, output)
    if row.annotation is None:
      continue
    size = assembling.picture_size(manifest.root / row.image)
    more = {k: getattr(row, k) for k in (*_MORE, 'split') if getattr(row, k)}
    content['images'].append({
        'id': number, 'height': size[0], 'width': size[1], **more,
        'file_name': name})
    for shape in assembling.to_shapes(
        row.annotation, manifest.header.classes, size=size,
        root=manifest.root):
      x0, y0, x1, y1 = assembling.box_around(shape) or (0, 0, 0, 0)
      segmentation = [] if shape.kind == 'box' else shape.value
      if shape.kind == 'polygon':
        segmentation = [[v for point in shape.value for v in point]]
      content['annotations'].append({
          'id': len(content['annotations']) + 1, 'image_id': number,
          'category_id': index[shape.label], 'bbox': [x0, y0, x1 - x0, y1 - y0],
          'area': (x1 - x0) * (y1 - y0), 'segmentation': segmentation,
          'iscrowd': int(shape.kind == 'rle')})
  (output / 'annotations.json').write_text(
      json.dumps(content), encoding='utf-8')


def _files(source):
  paths = (source / p for p in sources.list_files(source, ('.json',)))
  return [p for p in paths if _looks_like(p)]


def _looks_like(path):
  """Returns whether the start of a file names one of the keys."""
  try:
    with open(path, 'rb') as file:
      start = file.read(2**16)
      file.seek(max(0, path.stat().st_size - 2**16))
      text = start + file.read(2**16)
  except OSError:
    return False
  return b'"shapes"' not in text and sum(
      f'"{key}"'.encode() in text for key in _KEYS) >= 2


def _read_file(path, shown, categories, report):
  content = sources.read_json(path)
  if isinstance(content, dict) and 'annotations' not in content:
    report.note(f'{shown} holds no "annotations": it is not read')
    return []
  if not isinstance(content, dict) or not all(
      isinstance(content.get(key), list) for key in _KEYS):
    raise pixels.WrongFile(
        'expected lists "images", "annotations" and "categories"', shown,
        'export it as COCO')
  names = _read_categories(content['categories'], categories, shown, report)
  items = {}
  for image in content['images']:
    try:
      key, item = _read_image(image, shown)
      if key in items:
        report.wrong('an image id is given twice', str(key), file=shown)
      items[key] = item
    except (ValueError, KeyError, TypeError) as error:
      report.wrong('an image cannot be read', _reason(error, image), file=shown)
  for annotation in content['annotations']:
    try:
      key = annotation['image_id']
      if key not in items:
        raise ValueError(f'image id {key!r:.30} is not listed')
      category = annotation['category_id']
      if category not in names:
        raise ValueError(f'category id {category!r:.30} is not listed')
      items[key].shapes.extend(
          _read_shapes(annotation, names[category], items[key].size, report))
    except (ValueError, KeyError, TypeError) as error:
      report.wrong(
          'an annotation cannot be read', _reason(error, annotation),
          file=shown)
  return items.values()


def _reason(error, entry):
  key = f'id {entry["id"]!r:.20}: ' if (
      isinstance(entry, dict) and 'id' in entry) else ''
  if isinstance(error, KeyError):
    return f'{key}no {error}'
  if isinstance(error, TypeError):
    return f'{key}a field is of a wrong type'
  return f'{key}{error}'


def _read_categories(entries, categories, shown, report):
  names = {}
  for entry in entries:
    try:
      key, name = entry['id'], sources.text(entry['name'])
      if not isinstance(key, (int, float, str)):
        raise ValueError(f'id {key!r:.30} is neither number nor text')
      if categories.setdefault(key, name) != name:
        raise ValueError(f'{name!r} is {categories[key]!r} elsewhere')
      names[key] = name
    except (ValueError, KeyError, TypeError) as error:
      report.wrong(
          'a category cannot be read', _reason(error, entry), file=shown)
  return names


def _read_image(image, shown):
  name = sources.text(image['file_name'])
  size = None
  if image.get('height') is not None and image.get('width') is not None:
    size = (int(sources.number(image['height'])),
            int(sources.number(image['width'])))
  more = {k: sources.text(image[k]) for k in _MORE if image.get(k)}
  split = image.get('split') or sources.SPLIT_FOLDERS.get(
      _split_word(shown.rsplit('/', 1)[-1]), '') or sources.split_of(shown)
  if split not in ('', *manifest_lib.SPLITS):
    raise ValueError(f'{split!r:.30} is no split')
  return image['id'], assembling.Item(name, [], shown, size, split, more)


def _split_word(shown):
  """Returns 'train' of instances_train2017.json."""
  for part in shown.lower().replace('-', '_').replace('.', '_').split('_'):
    part = part.rstrip('0123456789')
    if part in sources.SPLIT_FOLDERS:
      return part
  return ''


def _read_shapes(annotation, label, size, report):
  """Returns the shapes of one annotation."""
  segmentation = annotation.get('segmentation')
  if isinstance(segmentation, dict):
    mask = assembling.checked_rle(segmentation, size)
    return [assembling.Shape('rle', label, mask)]
  if segmentation:
    if not isinstance(segmentation, list):
      raise ValueError('segmentation is neither polygons nor run lengths')
    shapes = []
    for ring in segmentation:
      if not isinstance(ring, list) or len(ring) % 2 or len(ring) < 6:
        raise ValueError('a polygon needs x and y of at least 3 points')
      values = [sources.number(v) for v in ring]
      shapes.append(assembling.Shape(
          'polygon', label, [list(p) for p in zip(
              values[::2], values[1::2], strict=True)]))
    return shapes
  if annotation.get('bbox'):
    x, y, width, height = map(sources.number, annotation['bbox'])
    if width <= 0 or height <= 0:
      raise ValueError(f'a box of {width} x {height}')
    x1, y1 = round(x + width, 6), round(y + height, 6)
    return [assembling.Shape('box', label, [x, y, x1, y1])]
  report.note('COCO annotations without segmentation and box are left out')
  return []
