"""Pascal VOC: boxes in XML, one file per picture; masks as palette PNGs.

http://host.robots.ox.ac.uk/pascal/VOC/. Corners count from 1 and belong to the
box: [xmin - 1, ymin - 1, xmax, ymax]. A picture that has a mask below
SegmentationClass is known by it, 255 is unlabelled; class names of masks are
lines of labelmap.txt (`name:...`), else `--classes`. ImageSets/*/train.txt and
val.txt and test.txt name the splits.
"""

import pathlib
import xml.etree.ElementTree as ET

import numpy as np
from PIL import Image

from data_prep import formats
from data_prep import manifest as manifest_lib
from data_prep import pixels
from data_prep import rasterize
from data_prep.formats import assembling
from data_prep.formats import sources

HOLDS = ('mask', 'coarse_mask', 'box')

_CORNERS = ('xmin', 'ymin', 'xmax', 'ymax')


def detect(source: pathlib.Path) -> bool:
  """Returns whether an XML file below `source` looks like VOC's."""
  for name in sources.list_files(source, ('.xml',))[:20]:
    try:
      with open(source / name, 'rb') as file:
        if b'<annotation>' in file.read(4096):
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
  report = assembling.Report()
  splits = _read_splits(source, report)
  items, masks = [], _masks(source)
  for name in sources.list_files(source, ('.xml',)):
    try:
      item = _read_file(source / name, name, report)
      stem = sources.stem(name).rsplit('/', 1)[-1]
      items.append(item._replace(split=splits.get(stem, '')))
    except pixels.WrongFile as wrong:
      report.wrong_file(wrong, file=name)
  names = _read_labelmap(source, report)
  if masks and not names and options.classes is None:
    report.wrong('class names of the masks are not known', '',
                 'add labelmap.txt or name them: --classes=background,...')
  imported = assembling.assemble(
      source, output, items, names, options=options, report=report)
  rows = []
  for row in imported.rows:
    stem = sources.stem(row.image).rsplit('/', 1)[-1]
    path = masks.get(stem)
    if path is not None:
      root = source.resolve() if imported.root == '.' else ''
      row = row._replace(role='', annotation={
          'kind': options.masks_are, 'path': (
              str(root / path) if root else path)})
      if options.mask_values:
        row.annotation['values'] = options.mask_values
    rows.append(row)
  return imported._replace(rows=rows)


def write(manifest: manifest_lib.Manifest, output: pathlib.Path) -> None:
  """Writes JPEGImages, Annotations or SegmentationClass, and the lists."""
  classes = manifest.header.classes
  (output / 'labelmap.txt').write_text(
      ''.join(f'{name}:::\n' for name in classes), encoding='utf-8')
  splits = {}
  for row in manifest.rows:
    if row.annotation is None:
      continue
    size = assembling.picture_size(manifest.root / row.image)
    picture = assembling.place_picture(
        manifest, row, output, folder='JPEGImages')
    stem = row.id
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
    splits.setdefault(row.split, []).append(stem)
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
  return {sources.stem(p).rsplit('/', 1)[-1]: p
          for p in sources.list_files(source, ('.png',))
          if 'SegmentationClass' in p.split('/')[:-1]}


def _read_splits(source, report):
  """Returns the split of each stem that a list below ImageSets names."""
  splits = {}
  for name in sources.list_files(source, ('.txt',)):
    parts = name.split('/')
    split = sources.SPLIT_FOLDERS.get(sources.stem(parts[-1]).lower())
    if 'ImageSets' not in parts[:-1] or split is None:
      continue
    try:
      for line in sources.read_text(source / name).splitlines():
        stem = line.split()[0] if line.split() else ''
        if splits.setdefault(stem, split) != split:
          report.wrong(f'a picture is in {split} and in {splits[stem]}', stem,
                       'list it once', file=name)
    except pixels.WrongFile as wrong:
      report.wrong_file(wrong, file=name)
  return splits


def _read_labelmap(source, report):
  path = source / 'labelmap.txt'
  if not path.is_file():
    return []
  try:
    lines = sources.read_text(path).splitlines()
  except pixels.WrongFile as wrong:
    report.wrong_file(wrong, file=path.name)
    return []
  return [line.split(':')[0].strip() for line in lines
          if line.strip() and not line.startswith('#')]


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
