"""Reads and writes COCO JSON: polygons, boxes and run lengths.

A set has one file, or one file per split; see
https://cocodataset.org/#format-data. Boxes are [x, y, width, height]. A
category that no annotation uses is still a class, unless other categories name
it as their `supercategory`. Classes are in the order of the category ids, and
categories of the same name are one class. If a polygon annotation has several
rings, each ring becomes a shape. If a set has both polygons and run lengths,
the run lengths count as no more exact than the polygons, since `iscrowd` does
not show how carefully they were drawn.
"""

import json
import pathlib

from data_prep import formats
from data_prep import manifest as manifest_lib
from data_prep.formats import assembling
from data_prep.formats import drawn
from data_prep.formats import entries
from data_prep.formats import placing
from data_prep.formats import sources
from data_prep.shared import pixels

HOLDS = ('mask', 'coarse_mask', 'polygon', 'box')

_KEYS = ('images', 'annotations', 'categories')
# Fields of our own; COCO allows additional fields.
FIELDS = ('subject', 'site', 'annotator')


def detect(source: pathlib.Path) -> bool:
  """Returns whether a JSON file below `source` looks like COCO."""
  return bool(_files(source))


def read(
    source: pathlib.Path, output: pathlib.Path, report: assembling.Report
) -> formats.Imported:
  """Reads all COCO files below `source`, see `data_prep.formats`."""
  contents = report.read_each(
      _files(source), lambda name, here: _read_content(source / name, here))
  contents = _without_doubles(
      {k: v for k, v in contents.items() if v is not None}, report)
  contents = {k: _without_nothing(v, report) for k, v in contents.items()}
  items, categories = [], {}
  for name, content in contents.items():
    items += _read_items(content, categories, report.at(file=name))
  names = [categories[key] for key in sorted(
      categories, key=lambda key: (isinstance(key, str), key))]
  for name in _placeholders(contents.values(), items):
    report.note(f'category {name!r} is not a class: it has no annotation, and '
                'others have it as their supercategory')
    names = [n for n in names if n != name]
  return assembling.assemble(source, output, items, names, report)


def write(manifest: manifest_lib.Manifest, output: pathlib.Path) -> None:
  """Writes images/ and annotations.json, with one annotation per shape."""
  content = {'images': [], 'annotations': []}
  names = [*manifest.header.classes, placing.UNLABELLED]
  index = {name: i for i, name in enumerate(names)}
  for placed in placing.place_pictures(manifest, output):
    row, size, number = placed.row, placed.size, placed.number + 1
    more = {k: getattr(row, k) for k in (*FIELDS, 'split') if getattr(row, k)}
    content['images'].append({
        'id': number, 'height': size[0], 'width': size[1], **more,
        'file_name': placed.picture})
    for shape in placing.to_shapes(manifest, placed):
      content['annotations'].append({
          'id': len(content['annotations']) + 1, 'image_id': number,
          'category_id': index[shape.label], **_write_shape(shape, size)})
  used = {a['category_id'] for a in content['annotations']}
  content['categories'] = [
      {'id': i, 'name': name} for i, name in enumerate(names)
      if 0 < i < len(manifest.header.classes) or i in used]
  (output / 'annotations.json').write_text(
      json.dumps(content), encoding='utf-8')


def _write_shape(shape, size):
  """Returns the fields of the annotation that holds one shape."""
  x0, y0, x1, y1 = drawn.box_around(shape) or (0, 0, 0, 0)
  fields = {'bbox': [x0, y0, x1 - x0, y1 - y0], 'iscrowd': 0}
  if shape.kind == 'box':
    return fields | {'area': (x1 - x0) * (y1 - y0), 'segmentation': []}
  segmentation = shape.value
  if shape.kind == 'polygon':
    segmentation = [[v for point in shape.value for v in point]]
  return fields | {'area': int(drawn.draw(shape, size).sum()),
                   'segmentation': segmentation}


def _files(source):
  return [name for name in sources.list_files(source, ('.json',))
          if _looks_like(source / name)]


def _looks_like(path):
  """Returns whether the start and end of a file hold two keys of COCO."""
  try:
    with open(path, 'rb') as file:
      start = file.read(2**16)
      file.seek(max(0, path.stat().st_size - 2**16))
      text = start + file.read(2**16)
  except OSError:
    return False
  return b'"shapes"' not in text and sum(
      f'"{key}"'.encode() in text for key in _KEYS) >= 2


def _read_content(path, report):
  """Returns the content of a file; None if it holds no shapes to read."""
  content = sources.read_json(path)
  if isinstance(content, dict) and 'annotations' not in content:
    report.note(f'{report.file} holds no "annotations": it is not read')
    return None
  for key in ('caption', 'segments_info'):
    if isinstance(content, dict) and isinstance(
        content['annotations'], list) and _is_of(key, content['annotations']):
      report.note(f'{report.file} holds {key}: it is not read')
      return None
  if not isinstance(content, dict) or not all(
      isinstance(content.get(key), list) for key in _KEYS):
    raise pixels.WrongFile(
        'expected lists "images", "annotations" and "categories"',
        report.file, 'export it as COCO')
  return content


def _is_of(key, annotations):
  """Returns whether annotations have a field `key`, and none has a category."""
  known = [a for a in annotations if isinstance(a, dict)]
  return any(key in a for a in known) and not any(
      'category_id' in a for a in known)


def _without_doubles(contents, report):
  """Leaves out files that add no shapes to pictures that another file lists.

  Some tools write one file per task, so that a file may hold only keypoints, or
  pictures without any annotation.
  """
  names = lambda content: {
      image.get('file_name') if isinstance(image.get('file_name'), str) else ''
      for image in content['images'] if isinstance(image, dict)}
  adds_nothing = lambda content: not content['annotations'] or (
      content['categories'] and all(
          isinstance(c, dict) and 'keypoints' in c
          for c in content['categories']))
  doubtful = [k for k, content in contents.items() if adds_nothing(content)]
  others = [names(c) for k, c in contents.items() if k not in doubtful]
  for shown in doubtful:
    if any(names(contents[shown]) & other for other in others):
      report.note(f'{shown} holds keypoints or nothing of pictures that '
                  'another file lists: it is not read')
      contents = {k: v for k, v in contents.items() if k != shown}
  return contents


def _without_nothing(content, report):
  """Leaves out the category `none` if the size of all its boxes is 0 x 0.

  Some tools mark a picture without objects with such a box.
  """
  ids = [c.get('id') for c in content['categories'] if isinstance(c, dict)
         and str(c.get('name')).lower() == 'none']
  of_it = lambda a: isinstance(a, dict) and a.get('category_id') in ids
  is_empty = lambda a: not a.get('segmentation') and isinstance(
      a.get('bbox'), list) and a['bbox'][2:] == [0, 0]
  if not ids or not all(map(is_empty, filter(of_it, content['annotations']))):
    return content
  report.note("category 'none' is not a class: all its boxes are 0 x 0")
  return content | {
      'categories': [c for c in content['categories']
                     if not isinstance(c, dict) or c.get('id') not in ids],
      'annotations': [a for a in content['annotations'] if not of_it(a)]}


def _placeholders(contents, items):
  """Returns the names of categories that only group other categories.

  Such a category is the supercategory of others, and has no shapes. Roboflow
  writes such categories.
  """
  found = [c for content in contents for c in content['categories']
           if isinstance(c, dict) and isinstance(c.get('name'), str)]
  above = {c['supercategory'] for c in found
           if isinstance(c.get('supercategory'), str)
           and c['supercategory'] != c['name']} & {c['name'] for c in found}
  return sorted(above - {s.label for item in items for s in item.shapes})


def _read_items(content, categories, report):
  names = _read_categories(content['categories'], categories, report)
  items = {}
  for image in content['images']:
    try:
      key, item = _read_image(image, report.file)
      if key in items:
        report.wrong('an image id is given twice', str(key))
      items[key] = item
    except (ValueError, KeyError, TypeError) as error:
      report.wrong(f'an image cannot be read: {entries.cause_of(error)}',
                   _id_of(image))
  for annotation in content['annotations']:
    label, item = '', None
    try:
      key = annotation['image_id']
      if key not in items:
        raise ValueError(f'image id {key!r:.30} is not listed')
      item = items[key]
      category = annotation['category_id']
      if category not in names:
        raise ValueError(f'category id {category!r:.30} is not listed')
      label = names[category]
      _read_shapes(annotation, label, item, report)
    except (ValueError, KeyError, TypeError) as error:
      report.wrong_shape(
          f'an annotation cannot be read: {entries.cause_of(error)}',
          _id_of(annotation), 'correct it',
          row_id=item.picture if item else '')
      if item is not None:
        item.shapes.append(_unreadable(annotation, label))
  return items.values()


def _id_of(entry):
  return f'id {entry["id"]!r:.20}' if (
      isinstance(entry, dict) and 'id' in entry) else ''


def _read_categories(listed, categories, report):
  names = {}
  for entry in listed:
    try:
      key, name = entry['id'], entries.text(entry['name'])
      if not isinstance(key, (int, float, str)):
        raise ValueError(f'id {key!r:.30} is neither number nor text')
      if categories.setdefault(key, name) != name:
        raise ValueError(f'{name!r} is {categories[key]!r} elsewhere')
      names[key] = name
    except (ValueError, KeyError, TypeError) as error:
      report.wrong(f'a category cannot be read: {entries.cause_of(error)}',
                   _id_of(entry))
  return names


def _read_image(image, shown):
  name = entries.text(image['file_name'])
  size = None
  if image.get('height') is not None and image.get('width') is not None:
    size = entries.listed_size(image['height'], image['width'])
  more = {k: entries.text(image[k]) for k in FIELDS if image.get(k)}
  split = image.get('split') or sources.SPLIT_FOLDERS.get(
      _split_word(shown.rsplit('/', 1)[-1]), '') or sources.split_of(shown)
  if split not in ('', *manifest_lib.SPLITS):
    raise ValueError(f'{split!r:.30} is not a split')
  return image['id'], assembling.Item(name, [], shown, size, split, more)


def _split_word(shown):
  """Returns the word in a file name that names a split, or ''.

  For instances_train2017.json it is 'train'.
  """
  for part in shown.lower().replace('-', '_').replace('.', '_').split('_'):
    part = part.rstrip('0123456789')
    if part in sources.SPLIT_FOLDERS:
      return part
  return ''


def _unreadable(annotation, label):
  """Returns a shape of kind 'unreadable', with the annotation's box, if any."""
  try:
    x, y, width, height = map(entries.number, annotation['bbox'])
  except (ValueError, KeyError, TypeError):
    return drawn.unreadable(label)
  return drawn.unreadable(label, [x, y, x + width, y + height])


def _read_shapes(annotation, label, item, report):
  """Appends the shapes of one annotation to the item of its picture."""
  segmentation = annotation.get('segmentation')
  if isinstance(segmentation, dict):
    mask = entries.checked_rle(segmentation, item.size)
    item.shapes.append(drawn.Shape('rle', label, mask))
    return
  if segmentation:
    if not isinstance(segmentation, list):
      raise ValueError('segmentation is neither polygons nor run lengths')
    # Append all rings or, if one of them is malformed, none.
    item.shapes.extend([drawn.Shape('polygon', label, entries.outline(ring))
                        for ring in segmentation])
    return
  box = annotation.get('bbox')
  # Some tools write a box of 0 x 0 if they find no outline around keypoints.
  if box and not (annotation.get('keypoints') and not any(box[2:])):
    x, y, width, height = map(entries.number, box)
    if width <= 0 or height <= 0:
      raise ValueError(f'a box of {width} x {height}')
    x1, y1 = round(x + width, 6), round(y + height, 6)
    item.shapes.append(drawn.Shape('box', label, [x, y, x1, y1]))
    return
  report.note('COCO annotations without segmentation and box (keypoints, '
              'attributes) have no area')
  item.shapes.append(drawn.unreadable(label))
