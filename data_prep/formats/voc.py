"""Pascal VOC: boxes in XML, one file per picture; masks as palette PNGs.

http://host.robots.ox.ac.uk/pascal/VOC/. Corners count from 1 and belong to the
box: [xmin - 1, ymin - 1, xmax, ymax]. A picture that has a mask below
SegmentationClass is known by it; 255, the border of objects, is unlabelled.
Class names of masks are lines of labelmap.txt (`name:r,g,b:...`), else
`--classes`; masks in its colours, as CVAT writes them, become class numbers.
ImageSets/*/train.txt and val.txt and test.txt name the splits.
"""

import os
import pathlib
import re
import xml.etree.ElementTree as ET

from hybridseg import types
import numpy as np
from PIL import Image

from data_prep import formats
from data_prep import manifest as manifest_lib
from data_prep import pixels
from data_prep import rasterize
from data_prep.formats import assembling
from data_prep.formats import sources

HOLDS = ('mask', 'coarse_mask', 'box')

_ROOT = re.compile(rb'<annotation[\s>]')
_CORNERS = ('xmin', 'ymin', 'xmax', 'ymax')


def detect(source: pathlib.Path) -> bool:
  """Returns whether there are VOC's folders, or an XML file like VOC's."""
  if _masks(source) and (source / 'labelmap.txt').is_file():
    return True
  for name in sources.list_files(source, ('.xml',))[:20]:
    try:
      with open(source / name, 'rb') as file:
        if _ROOT.search(file.read(4096)):
          return True
    except OSError:
      pass
  return False


def read(
    source: pathlib.Path,
    output: pathlib.Path,
    *,
    options: formats.Options,
) -> formats.Imported:
  """Reads all VOC files below `source`, see the package."""
  report = assembling.Report(options.leave_out)
  splits, masks = _read_splits(source, report), _masks(source)
  items, used = [], set()
  for name in sources.list_files(source, ('.xml',)):
    try:
      items.append(_read_file(source / name, name, report))
    except pixels.WrongFile as wrong:
      report.wrong_file(wrong, file=name)
  names, colours = _read_labelmap(source, report)
  if masks and not names and options.classes is None:
    report.wrong('class names of the masks are not known', '',
                 'add labelmap.txt or name them: --classes=background,...')
  values = options.mask_values or {
      str(v): v for v in (
          *range(len(options.classes or names)), types.UNLABELLED)}

  def mask_of(picture, row_id, writer):
    path = _of(picture, 'JPEGImages', masks)
    if path is None:
      return None
    used.add(path)
    return {'kind': options.masks_are, 'values': values,
            'path': _index_mask(source, path, row_id, colours, writer)}

  imported = assembling.assemble(
      source, output, items, names, options=options, report=report,
      mask_of=mask_of)
  for path in sorted(set(masks.values()) - used):
    report.wrong('a mask without a picture', path,
                 'add the picture of that name or remove it', file=path)
  rows = [row._replace(split=row.split or _of(
      os.path.relpath(row.image, source.resolve()) if os.path.isabs(row.image)
      else row.image, 'JPEGImages', splits) or '') for row in imported.rows]
  return imported._replace(
      rows=rows, problems=report.problems, notices=report.notices,
      left_out=tuple(report.left_out))


def write(manifest: manifest_lib.Manifest, output: pathlib.Path) -> None:
  """Writes JPEGImages, Annotations or SegmentationClass, and the lists."""
  classes = manifest.header.classes
  (output / 'labelmap.txt').write_text(
      ''.join(f'{name}:::\n' for name in classes), encoding='utf-8')
  splits = {}
  for row in manifest.rows:
    stem = row.id
    splits.setdefault(row.split, []).append(stem)
    picture = assembling.place_picture(
        manifest, row, output, folder='JPEGImages')
    if row.annotation is None:
      continue
    size = assembling.picture_size(manifest.root / row.image)
    root = ET.Element('annotation')
    ET.SubElement(root, 'filename').text = picture.split('/', 1)[1]
    sizes = ET.SubElement(root, 'size')
    ET.SubElement(sizes, 'width').text = str(size[1])
    ET.SubElement(sizes, 'height').text = str(size[0])
    if row.annotation['kind'] == 'box':
      for shape in assembling.to_shapes(
          row.annotation, classes, size=size, root=manifest.root):
        entry = ET.SubElement(root, 'object')
        ET.SubElement(entry, 'name').text = shape.label
        box = ET.SubElement(entry, 'bndbox')
        x0, y0, x1, y1 = shape.value
        for key, value in zip(_CORNERS, (x0 + 1, y0 + 1, x1, y1), strict=True):
          ET.SubElement(box, key).text = repr(value)
    else:
      path = output / 'SegmentationClass' / f'{stem}.png'
      path.parent.mkdir(parents=True, exist_ok=True)
      label = rasterize.rasterize(
          row.annotation, size=size, root=manifest.root)
      mask = Image.fromarray(label)
      mask.putpalette(palette().tobytes())  # Makes it a palette picture.
      mask.save(path)
    ET.indent(root)
    path = output / 'Annotations' / f'{stem}.xml'
    path.parent.mkdir(parents=True, exist_ok=True)
    ET.ElementTree(root).write(path, encoding='utf-8')
  for split, stems in splits.items():
    path = output / 'ImageSets' / 'Segmentation' / f'{split}.txt'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('\n'.join(stems) + '\n', encoding='utf-8')


def palette() -> np.ndarray:
  """Returns the colours of VOC's classes, uint8 [256, 3]."""
  index = np.arange(256)[:, None]
  channel = np.arange(3)[None]
  colours = np.zeros((256, 3), np.int64)
  for bit in range(8):
    colours |= ((index >> (3 * bit + channel)) & 1) << (7 - bit)
  return colours.astype(np.uint8)


def _masks(source):
  """Returns the path of each mask by its own below SegmentationClass."""
  return {_below(p, 'SegmentationClass'): p
          for p in sources.list_files(source, ('.png',))
          if 'SegmentationClass' in p.split('/')[:-1]}


def _below(path, folder):
  """Returns a path without suffix and without what lies above `folder`."""
  parts = sources.stem(path).split('/')
  start = parts.index(folder) + 1 if folder in parts[:-1] else 0
  return '/'.join(parts[start:])


def _of(path, folder, by_name):
  """Returns what is known of a picture by its path below `folder`.

  Elsewhere than in that folder, only its last part counts.
  """
  if folder in path.split('/')[:-1]:
    return by_name.get(_below(path, folder))
  return by_name.get(sources.stem(path).rsplit('/', 1)[-1])


def _index_mask(source, path, row_id, colours, writer):
  """Returns the path of a mask; one in colours is written as class numbers."""
  with pixels.opened(path, 'mask', pixels.open_folder(source)) as (_, image):
    if image.mode not in ('RGB', 'RGBA') or not colours:
      return path
    stored = np.asarray(image.convert('RGB')).astype(np.int64)
  stored = stored @ [65536, 256, 1]
  label = np.full(stored.shape, -1)
  for colour, value in colours.items():
    label[stored == colour] = value
  if label.min() < 0:
    colour = int(stored[label < 0][0])
    raise pixels.WrongFile(
        'a colour is not in labelmap.txt', f'{pixels.tail(path)}: '
        f'{colour >> 16},{colour >> 8 & 255},{colour & 255}',
        'add it to labelmap.txt, or export the mask again')
  return writer.write_png(label.astype(np.uint8), f'masks/{row_id}')


def _read_splits(source, report):
  """Returns the split of each name that a list below ImageSets names."""
  splits = {}
  for name in sources.list_files(source, ('.txt',)):
    parts = name.split('/')
    split = sources.SPLIT_FOLDERS.get(sources.stem(parts[-1]).lower())
    if 'ImageSets' not in parts[:-1] or split is None:
      continue
    try:
      for line in sources.read_text(source / name).splitlines():
        stem = line.split()[0] if line.split() else ''
        if stem and splits.setdefault(stem, split) != split:
          report.wrong(f'a picture is in {split} and in {splits[stem]}', stem,
                       'list it once', file=name)
    except pixels.WrongFile as wrong:
      report.wrong_file(wrong, file=name)
  return splits


def _read_labelmap(source, report):
  """Returns the class names, and the class of each colour as one number."""
  path = source / 'labelmap.txt'
  names, colours = [], {}
  if not path.is_file():
    return names, colours
  try:
    for line in sources.read_text(path).splitlines():
      if not line.strip() or line.startswith('#'):
        continue
      name, colour = [*line.split(':'), ''][:2]
      names.append(name.strip())
      channels = colour.split(',')
      if len(channels) == 3 and all(c.strip().isdecimal() for c in channels):
        red, green, blue = (min(int(c), 255) for c in channels)
        colours[red << 16 | green << 8 | blue] = len(names) - 1
  except pixels.WrongFile as wrong:
    report.wrong_file(wrong, file=path.name)
  return names, colours


def _read_file(path, shown, report):
  root = sources.read_xml(path)
  if root.tag != 'annotation':
    raise pixels.WrongFile(
        'expected <annotation>', f'<{root.tag[:40]}>', 'export it as VOC')
  name = (root.findtext('filename') or '').strip() or f'{path.stem}.jpg'
  try:
    size = (int(sources.number(root.findtext('size/height'))),
            int(sources.number(root.findtext('size/width'))))
  except ValueError:
    size = None
  shapes = []
  for i, entry in enumerate(root.iterfind('object')):
    try:
      label = sources.text(entry.findtext('name') or '')
      x0, y0, x1, y1 = (
          sources.number(entry.findtext(f'bndbox/{k}')) for k in _CORNERS)
      box = [round(x0 - 1, 6), round(y0 - 1, 6), x1, y1]
      shapes.append(assembling.Shape('box', label, box))
    except ValueError as error:
      report.wrong('an object cannot be read', str(error), 'redraw it',
                   file=shown, field=f'object[{i}]')
  return assembling.Item(name, shapes, shown, size)
