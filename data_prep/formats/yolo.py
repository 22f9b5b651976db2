"""YOLO boxes and outlines: one text file per picture.

https://docs.ultralytics.com/datasets/segment/. Lines are `class cx cy w h` or
`class x1 y1 x2 y2 ...`, as shares of the width and height, from class 0 = the
first foreground class. Names come from data.yaml (`names`), classes.txt or
Darknet's obj.names. labels/a/b.txt belongs to images/a/b.*; of Darknet, a/b.txt
lies beside its picture. An empty file means no object; without a file the
picture is unlabelled.
"""

import pathlib

import yaml

from data_prep import formats
from data_prep import manifest as manifest_lib
from data_prep import pixels
from data_prep.formats import assembling
from data_prep.formats import sources

HOLDS = ('polygon', 'box')

# Where class names stand, in the order of preference.
_NAMES = ('data.yaml', 'dataset.yaml', 'data.yml', 'classes.txt',
          'labels/classes.txt', 'obj.names')
_DIGITS = 4  # Of a pixel: shares are rounded.


def detect(source: pathlib.Path) -> bool:
  """Returns whether there are text files in a folder named labels."""
  return bool(_files(source))


def read(
    source: pathlib.Path,
    output: pathlib.Path,
    *,
    options: formats.Options,
) -> formats.Imported:
  """Reads all YOLO files below `source`, see the package."""
  report = assembling.Report(options.leave_out)
  pictures = sources.list_pictures(source)
  by_stem = {}
  for path in pictures.paths:
    by_stem.setdefault(sources.stem(path), path)
  names = list(options.classes[1:]) if options.classes else _read_names(
      source, report)
  items = []
  for name in _files(source):
    parts = name.split('/')
    if 'labels' in parts:
      parts[parts.index('labels')] = 'images'
    picture = by_stem.get(sources.stem('/'.join(parts)))
    if picture is None:
      report.wrong('no picture of that name', '/'.join(parts),
                   'put it below images', file=name)
      continue
    try:
      size = assembling.picture_size(source / picture)
    except Exception:  # Pillow raises many kinds on damaged files.
      report.wrong('the size of the picture is not known', picture,
                   'replace it by a PNG, JPEG, TIFF or BMP', file=name)
      continue
    try:
      lines = sources.read_text(source / name).splitlines()
    except pixels.WrongFile as wrong:
      report.wrong_file(wrong, file=name)
      continue
    shapes = []
    for i, line in enumerate(lines, start=1):
      try:
        shapes += _read_line(line.split(), size, names)
      except ValueError as error:
        report.wrong(f'line {i} cannot be read', str(error), file=name)
    items.append(assembling.Item(picture, shapes, name))
  return assembling.assemble(
      source, output, items, names, options=options, report=report)


def write(manifest: manifest_lib.Manifest, output: pathlib.Path) -> None:
  """Writes labels/, images/ and data.yaml."""
  classes = manifest.header.classes
  index = {name: i - 1 for i, name in enumerate(classes)}
  for row in manifest.rows:
    assembling.place_picture(
        manifest, row, output, folder=f'images/{row.split}')
    if row.annotation is None:
      continue
    height, width = assembling.picture_size(manifest.root / row.image)
    lines = []
    for shape in assembling.to_shapes(
        row.annotation, classes, size=(height, width), root=manifest.root):
      if shape.kind == 'box':
        x0, y0, x1, y1 = shape.value
        values = [(x0 + x1) / 2 / width, (y0 + y1) / 2 / height,
                  (x1 - x0) / width, (y1 - y0) / height]
      else:
        values = [v for x, y in shape.value for v in (x / width, y / height)]
      lines.append(' '.join(
          [str(index[shape.label]), *(f'{v:.10g}' for v in values)]))
    path = output / 'labels' / row.split / f'{row.id}.txt'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(''.join(f'{line}\n' for line in lines), encoding='utf-8')
  (output / 'data.yaml').write_text(yaml.safe_dump(
      {'path': '.', 'train': 'images/train', 'val': 'images/val',
       'test': 'images/test', 'names': dict(enumerate(classes[1:]))},
      allow_unicode=True), encoding='utf-8')


def _files(source):
  """Returns the files of labels: below labels/, or beside their pictures."""
  found = [p for p in sources.list_files(source, ('.txt',))
           if p.rsplit('/', 1)[-1] != 'classes.txt']
  below = [p for p in found if 'labels' in p.split('/')[:-1]]
  if below or not any((source / name).is_file() for name in _NAMES):
    return below
  stems = {sources.stem(p) for p in sources.list_pictures(source).paths}
  return [p for p in found if sources.stem(p) in stems]


def _read_names(source, report):
  """Returns the foreground class names, [] if they are not known."""
  for name in _NAMES:
    if not (source / name).is_file():
      continue
    try:
      text = sources.read_text(source / name)
      if not name.endswith(('.yaml', '.yml')):
        return [line.strip() for line in text.splitlines() if line.strip()]
      names = yaml.safe_load(text)['names']
      if isinstance(names, dict):
        names = [names[i] for i in range(len(names))]
      if not isinstance(names, list):
        raise ValueError('names is neither a list nor a mapping')
      return [sources.text(n) for n in names]
    except (yaml.YAMLError, pixels.WrongFile, KeyError, TypeError, ValueError,
            RecursionError) as error:
      reason = ' '.join(str(error).split())[:60]
      report.wrong('class names cannot be read', reason,
                   'write names: {0: ..., 1: ...}', file=name)
      return []
  report.wrong('class names are not known', '',
               'add data.yaml with `names`, or --classes=background,...')
  return []


def _read_line(words, size, names):
  if not words:
    return []
  if not words[0].isdecimal():
    raise ValueError(f'class {words[0]!r:.30} is no number')
  number = int(words[0][:9])
  if names and number >= len(names):
    raise ValueError(f'class {number} is not in 0 .. {len(names) - 1}')
  label = names[number] if names else f'class_{number + 1}'
  values = [sources.number(word) for word in words[1:]]
  if any(not -0.1 <= v <= 1.1 for v in values):
    raise ValueError('coordinates are no shares of width and height')
  if len(values) == 4:
    (cx, cy, w, h), (height, width) = values, size
    box = [(cx - w / 2) * width, (cy - h / 2) * height,
           (cx + w / 2) * width, (cy + h / 2) * height]
    return [assembling.Shape('box', label, [_round(v) for v in box])]
  if len(values) < 6 or len(values) % 2:
    raise ValueError(f'{len(values)} numbers are neither a box nor an outline')
  outline = [[_round(x * size[1]), _round(y * size[0])]
             for x, y in zip(values[::2], values[1::2], strict=True)]
  return [assembling.Shape('polygon', label, outline)]


def _round(value):
  return sources.number(round(value, _DIGITS))
