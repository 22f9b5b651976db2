"""Reads and writes Pascal VOC: boxes in XML files, and masks as palette PNGs.

See http://host.robots.ox.ac.uk/pascal/VOC/. There is one XML file per picture.
In VOC, coordinates of pixels count from 1, and the last row and column belong
to the box, which is thus [xmin - 1, ymin - 1, xmax, ymax] in a manifest. Some
converters count from 0. This is assumed if a coordinate in the set is 0; boxes
are then [xmin, ymin, xmax, ymax]. A <polygon> of an object replaces its box.
Roboflow and supervision write polygons as <x1>, <y1>, ..., with coordinates
that count from the same number as those of boxes. LabelMe's web tool writes
them as <pt>, and counts from 0. An XML file belongs to the picture of its own
name or, if there is none, to its <filename>.

If a picture has a mask below SegmentationClass, the mask replaces its boxes.
The value 255, which marks the borders of objects, is unlabelled. The classes of
masks are the lines of labelmap.txt (`name:r,g,b:...`) or, without this file,
those of `--classes`. Masks in colours are converted to class numbers; their
colours are those of labelmap.txt or, if it gives none, VOC's own.
ImageSets/*/train.txt, val.txt and test.txt list the splits.
"""

import os
import pathlib
import re
import xml.etree.ElementTree as ET

from hybridseg import types
from PIL import Image

from data_prep import formats
from data_prep import manifest as manifest_lib
from data_prep.formats import assembling
from data_prep.formats import drawn
from data_prep.formats import entries
from data_prep.formats import placing
from data_prep.formats import sources
from data_prep.formats import voc_masks
from data_prep.shared import confined
from data_prep.shared import pixels

HOLDS = ('mask', 'coarse_mask', 'box')

_ROOT = re.compile(rb'<annotation[\s>]')
_MASKS = ('.jpeg', '.jpg', '.png')
_CORNERS = ('xmin', 'ymin', 'xmax', 'ymax')


def detect(source: pathlib.Path) -> bool:
  """Returns whether `source` holds masks or XML files in the layout of VOC."""
  if _masks(source) and (source / 'labelmap.txt').is_file():
    return True
  return any(_ROOT.search(pixels.head(source / name, 4096))
             for name in sources.list_files(source, ('.xml',))[:20])


def read(
    source: pathlib.Path, output: pathlib.Path, report: assembling.Report
) -> formats.Imported:
  """Reads all VOC files below `source`, see `data_prep.formats`."""
  options, used = report.options, set()
  splits, masks = _read_splits(source, report), _masks(source)
  read_files = report.read_each(
      sources.list_files(source, ('.xml',)),
      lambda name, here: _read_file(source / name, here))
  items = _with_origin([*read_files.values()], report)
  names, colours = voc_masks.read_labelmap(source, report)
  if masks and not names and options.classes is None:
    report.wrong('class names of the masks are not known', '',
                 'add labelmap.txt or name them: --classes=background,...')
  values = voc_masks.values_of(names, report)
  colours = {colour: values.get(str(i), types.UNLABELLED)
             for colour, i in colours.items()}
  lossy = voc_masks.find_lossy(source, masks.values(), report)

  def mask_of(picture, row_id, writer):
    path = _of(picture, 'JPEGImages', masks)
    if path is None:
      return None
    used.add(path)
    if path in lossy:
      return None
    written = voc_masks.index_mask(source, path, row_id, colours, writer)
    # If the mask was rewritten, its stored values are class numbers.
    return {'kind': options.masks_are, 'path': written,
            'values': values if written == path else {
                str(v): v for v in sorted({*values.values(), 255})}}

  report.used.update(masks.values(), _not_annotations(source))
  imported = assembling.assemble(
      source, output, items, [] if voc_masks.are_renamed(
          names, options) else names, report, mask_of=mask_of)
  for path in sorted(set(masks.values()) - used):
    report.wrong('a mask without a picture', path,
                 'add the picture of that name or remove it', file=path)
  rows = [row._replace(split=row.split or _of(
      os.path.relpath(row.image, source.resolve()) if os.path.isabs(row.image)
      else row.image, 'JPEGImages', splits) or '') for row in imported.rows]
  return imported._replace(rows=rows)


def write(manifest: manifest_lib.Manifest, output: pathlib.Path) -> None:
  """Writes pictures, XML files, masks and lists of splits to VOC's folders.

  All annotations except boxes become masks in SegmentationClass.
  """
  (output / 'labelmap.txt').write_text(''.join(
      f'{name}:::\n' for name in manifest.header.classes), encoding='utf-8')
  for placed in placing.place_pictures(
      manifest, output, lambda row: 'JPEGImages'):
    row = placed.row
    root = ET.Element('annotation')
    ET.SubElement(root, 'filename').text = placed.picture.split('/', 1)[1]
    sizes = ET.SubElement(root, 'size')
    ET.SubElement(sizes, 'width').text = str(placed.size[1])
    ET.SubElement(sizes, 'height').text = str(placed.size[0])
    if row.annotation['kind'] == 'box':
      for shape in placing.to_shapes(manifest, placed):
        entry = ET.SubElement(root, 'object')
        ET.SubElement(entry, 'name').text = shape.label
        box = ET.SubElement(entry, 'bndbox')
        x0, y0, x1, y1 = shape.value
        for key, value in zip(_CORNERS, (x0 + 1, y0 + 1, x1, y1), strict=True):
          ET.SubElement(box, key).text = repr(value)
    else:
      path = confined.new_file(output, f'SegmentationClass/{row.id}.png')
      mask = Image.fromarray(placing.draw(manifest, placed))
      # The palette makes viewers show the mask in VOC's colours.
      mask.putpalette(voc_masks.palette().tobytes())
      mask.save(path)
    ET.indent(root)
    path = confined.new_file(output, f'Annotations/{row.id}.xml')
    ET.ElementTree(root).write(path, encoding='utf-8')
  for split in {row.split for row in manifest.rows}:
    path = confined.new_file(output, f'ImageSets/Segmentation/{split}.txt')
    path.write_text(''.join(
        f'{row.id}\n' for row in manifest.rows if row.split == split),
                    encoding='utf-8')


def _not_annotations(source):
  """Returns the paths of the image lists and of the masks of single objects.

  Both belong to the layout of VOC, but this module does not read them as
  annotations.
  """
  lists = sources.list_files(source, ('.txt',))
  objects = source.glob('**/SegmentationObject/**/*.png')
  return [p for p in lists if 'ImageSets' in p.split('/')
          or p == 'labelmap.txt'] + [
              p.relative_to(source).as_posix() for p in objects]


def _masks(source):
  """Returns the path of each mask in a folder SegmentationClass.

  The keys are paths below that folder, without suffix. If both a.jpg and a.png
  exist, a.png counts.
  """
  return {_below(p, 'SegmentationClass'): p
          for p in sources.list_files(source, _MASKS)
          if 'SegmentationClass' in p.split('/')[:-1]}


def _below(path, folder):
  """Returns the part of a path below `folder`, without its suffix."""
  parts = sources.stem(path).split('/')
  start = parts.index(folder) + 1 if folder in parts[:-1] else 0
  return '/'.join(parts[start:])


def _of(path, folder, by_name):
  """Looks up a picture's entry by its path below `folder`, without the suffix.

  A picture outside of that folder is looked up by its file name.

  Args:
    path: path of the picture.
    folder: name of the folder.
    by_name: the entries by path, as `_below` returns it.
  """
  if folder in path.split('/')[:-1]:
    return by_name.get(_below(path, folder))
  return by_name.get(sources.stem(path).rsplit('/', 1)[-1])


def _read_splits(source, report):
  """Returns the split of each picture name in the lists below ImageSets."""
  splits = {}

  def read_list(name, here):
    split = _split_of(name)
    for line in sources.read_text(source / name).splitlines():
      stem = line.split()[0] if line.split() else ''
      if stem and splits.setdefault(stem, split) != split:
        here.wrong(f'a picture is in {split} and in {splits[stem]}', stem,
                   'list it once')

  report.read_each(
      filter(_split_of, sources.list_files(source, ('.txt',))), read_list)
  return splits


def _split_of(name):
  """Returns the split that a list in ImageSets is for; '' for other files."""
  *folders, name = sources.stem(name).split('/')
  return sources.SPLIT_FOLDERS.get(
      name.lower(), '') if 'ImageSets' in folders else ''


def _with_origin(read, report):
  """Returns the items of all pictures, with coordinates as in a manifest.

  Coordinates in VOC count from 1, or from 0 in some sets, see the module.

  Args:
    read: for each picture, its item and the indices of the shapes whose
      coordinates may count from 1. The other shapes always count from 0.
    report: holds the user's options; receives notices.
  """
  firsts = (
      item.shapes[k].value[:2] if item.shapes[k].kind == 'box'
      else [min(v) for v in zip(*item.shapes[k].value, strict=True)]
      for item, counted in read for k in counted)
  origin = report.options.voc_boxes_from
  if origin is None:
    # Coordinates may be fractions. One near 0 shows that the set counts from 0,
    # but one far below 0 belongs to a box that leaves its picture.
    origin = 0 if any(abs(v) < 0.5 for first in firsts for v in first) else 1
    if not origin:
      report.note('corners are 0: boxes count from 0 in this set, see '
                  '--voc_boxes_from')
  items = []
  for item, counted in read:
    for k in counted if origin else ():
      item.shapes[k] = _from_zero(item.shapes[k])
    items.append(item)
  return items


def _from_zero(shape):
  """Subtracts 1 from the coordinates of a shape, which count from 1.

  The end of a box stays, since VOC's boxes include the last row and column.
  """
  less = lambda v: round(v - 1, 6)
  if shape.kind == 'box':
    x0, y0, x1, y1 = shape.value
    return shape._replace(value=[less(x0), less(y0), x1, y1])
  return shape._replace(value=[[less(x), less(y)] for x, y in shape.value])


def _read_file(path, report):
  root = sources.read_xml(path)
  if root.tag != 'annotation':
    raise pixels.WrongFile(
        'expected <annotation>', f'<{root.tag[:40]}>', 'export it as VOC')
  name = (root.findtext('filename') or '').strip() or f'{path.stem}.jpg'
  first = lambda *paths: next(
      (root.findtext(p) for p in paths if root.findtext(p)), None)
  try:
    size = entries.listed_size(first('size/height', 'imagesize/nrows'),
                                  first('size/width', 'imagesize/ncols'))
  except ValueError:
    size = None
  shapes, counted = [], []
  for i, entry in enumerate(root.iterfind('object')):
    if (entry.findtext('deleted') or '').strip() == '1':
      continue  # LabelMe's web tool keeps deleted objects in its files.
    label = ''
    try:
      label = entries.text(entry.findtext('name') or '')
      if entry.find('polygon') is not None:
        points = _outline(entry.find('polygon'))
        if entry.find('polygon/x1') is not None:
          counted.append(len(shapes))
        shapes.append(drawn.Shape('polygon', label, points))
      elif entry.find('bndbox') is not None:
        points = [entries.number(entry.findtext(f'bndbox/{k}'))
                  for k in _CORNERS]
        counted.append(len(shapes))
        shapes.append(drawn.Shape('box', label, points))
      else:
        report.note('VOC: objects without <bndbox> and <polygon> are '
                    'unlabelled')
        shapes.append(drawn.unreadable(label, _corners(entry, 'segm/box')))
    except ValueError as error:
      report.wrong_shape(f'an object cannot be read: {error}',
                         field=f'object[{i}]')
      shapes.append(drawn.unreadable(label, _corners(entry)))
  return assembling.Item(
      name, shapes, report.file, size, by_stem=True), counted


def _corners(entry, place='bndbox'):
  """Returns [xmin, ymin, xmax, ymax] of an entry; None if not readable."""
  try:
    return [entries.number(entry.findtext(f'{place}/{k}')) for k in _CORNERS]
  except ValueError:
    return None


def _outline(entry):
  """Returns the points [[x, y], ...] of a <polygon>.

  A file gives them as <pt><x> and <pt><y>, or as <x1>, <y1>, <x2>, <y2>, ...

  Raises:
    ValueError: if there are fewer than 3 points.
  """
  points = [[p.findtext('x'), p.findtext('y')] for p in entry.iterfind('pt')]
  if not points:
    number = 1
    while entry.find(f'x{number}') is not None:
      points.append([entry.findtext(f'x{number}'),
                     entry.findtext(f'y{number}')])
      number += 1
  if len(points) < 3:
    raise ValueError('a polygon needs x and y of at least 3 points')
  return entries.points(points)
