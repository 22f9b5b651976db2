"""Reads and writes YOLO boxes and outlines, one text file per picture.

See https://docs.ultralytics.com/datasets/segment/. A line is `class cx cy w h`
or `class x1 y1 x2 y2 ...`. Coordinates are shares of the width and height of
the picture, and class 0 is the first foreground class. A pose is a line with a
box and key points, of which only the box is read. Lines are poses if data.yaml
has `kpt_shape`, or if the points in all lines show it. Class names come from
`names` in data.yaml, from classes.txt or from Darknet's obj.names.

The file labels/a/b.txt belongs to the picture images/a/b.*. In other folders, a
text file with such lines belongs to the only picture of its name, which lies
beside it (Darknet) or elsewhere. An empty file means that the picture holds no
object; a picture without a file is unlabelled.
"""

import pathlib

import yaml

from data_prep import formats
from data_prep import manifest as manifest_lib
from data_prep.formats import assembling
from data_prep.formats import drawn
from data_prep.formats import entries
from data_prep.formats import placing
from data_prep.formats import sources
from data_prep.shared import confined
from data_prep.shared import pixels

HOLDS = ('polygon', 'box')

# Files that may hold class names, in the order of preference.
_NAMES = ('data.yaml', 'dataset.yaml', 'data.yml', 'classes.txt',
          'labels/classes.txt', 'obj.names')
# Text files that list classes or pictures, and hold no labels.
_OTHERS = ('classes.txt', 'train.txt', 'val.txt', 'valid.txt', 'test.txt')
_DESCRIBING = (*_NAMES, 'obj.data')
_DIGITS = 4  # Decimals of coordinates in pixels; files hold rounded shares.
_MIN_POSES = 6  # The points in fewer lines do not prove that these are poses.
_MAX_LOOK = 2**16  # Bytes of a file that are read to see if it holds labels.


def detect(source: pathlib.Path) -> bool:
  """Returns whether `source` holds text files of labels, see the module.

  If the set has no folder `labels` and no file of class names, but has masks as
  well, the result is False: the masks are read, unless the user asks for the
  labels with --format=yolo.
  """
  files = _files(source)
  if not files or any('labels' in p.split('/')[:-1] for p in files) or any(
      (source / name).is_file() for name in _NAMES):
    return bool(files)
  pictures = sources.list_pictures(source)
  return sum(map(len, pictures.by_name.values())) == len(pictures.paths)


def read(
    source: pathlib.Path, output: pathlib.Path, report: assembling.Report
) -> formats.Imported:
  """Reads all YOLO files below `source`, see `data_prep.formats`."""
  pairs = _files(source)
  names, pose = _read_names(source, report)

  def read_file(name, _):
    picture = pairs[name]
    if picture is None:
      raise pixels.WrongFile('no picture of that name, or several', name,
                             'put it below images')
    try:
      size = placing.picture_size(source / picture)
    except Exception as error:  # Pillow raises many kinds of error here.
      raise pixels.WrongFile(
          'the size of the picture is not known', picture,
          'replace it by a PNG, JPEG, TIFF or BMP') from error
    return picture, size, sources.read_text(source / name).splitlines()

  read_files = report.read_each(pairs, read_file)
  if pose is None:
    pose = _guess_pose(
        line.split() for *_, lines in read_files.values() for line in lines)
  items = []
  for name, (picture, size, lines) in read_files.items():
    shapes, here = [], report.at(file=name)
    for i, line in enumerate(lines, start=1):
      try:
        shapes += _read_line(line.split(), size, names, pose, here)
      except ValueError as error:
        here.wrong_shape(f'line {i} cannot be read: {error}', fix='correct it')
        shapes.append(_unreadable(line.split(), names))
    items.append(assembling.Item(picture, shapes, name))
  report.used.update(_DESCRIBING, (
      p for p in sources.list_files(source, ('.txt',))
      if p.rsplit('/', 1)[-1] in _OTHERS))
  return assembling.assemble(source, output, items, names, report)


def write(manifest: manifest_lib.Manifest, output: pathlib.Path) -> None:
  """Writes labels/, images/ and data.yaml."""
  classes = manifest.header.classes
  names = [*classes[1:], placing.UNLABELLED]
  index = {name: i for i, name in enumerate(names)}
  used = set()
  for placed in placing.place_pictures(
      manifest, output, lambda row: f'images/{row.split}'):
    row, (height, width), lines = placed.row, placed.size, []
    for shape in placing.to_shapes(manifest, placed):
      if shape.kind == 'box':
        x0, y0, x1, y1 = shape.value
        values = [(x0 + x1) / 2 / width, (y0 + y1) / 2 / height,
                  (x1 - x0) / width, (y1 - y0) / height]
      else:
        values = [v for x, y in shape.value for v in (x / width, y / height)]
      used.add(shape.label)
      lines.append(' '.join(
          [str(index[shape.label]), *(f'{v:.10g}' for v in values)]))
    path = confined.new_file(output, f'labels/{row.split}/{row.id}.txt')
    path.write_text(''.join(f'{line}\n' for line in lines), encoding='utf-8')
  (output / 'data.yaml').write_text(yaml.safe_dump(
      {'path': '.', 'train': 'images/train', 'val': 'images/val',
       'test': 'images/test', 'names': dict(enumerate(
           n for n in names if n in classes or n in used))},
      allow_unicode=True), encoding='utf-8')


def _files(source):
  """Returns the picture of each label file; None for a file without picture.

  The files are those in folders named labels or, if there are none, in any
  folder.
  """
  found = [p for p in sources.list_files(source, ('.txt',))
           if p.rsplit('/', 1)[-1] not in _OTHERS]
  below = [p for p in found if 'labels' in p.split('/')[:-1]]
  if not found:
    return {}
  pictures = sources.list_pictures(source)
  by_stem, by_name = {}, {}
  for path in pictures.paths:
    stem = sources.stem(path)
    by_stem.setdefault(stem, path)
    by_name.setdefault(stem.rsplit('/', 1)[-1], []).append(path)
  if below:
    return {p: by_stem.get(sources.stem(_images(p))) or _nearest(
        p, by_name, pictures) for p in below}
  is_darknet = any((source / name).is_file() for name in _NAMES)
  beside = {p: by_stem[sources.stem(p)] for p in found
            if sources.stem(p) in by_stem}
  if is_darknet and beside:
    return beside
  pairs = {p: _nearest(p, by_name, pictures) for p in found}
  pairs = {p: picture for p, picture in pairs.items() if picture}
  # Text files beside pictures may be medical reports. Require lines of labels
  # in most of the files.
  forms = [_is_labels(source / p) for p in pairs]
  return pairs if forms.count(True) > forms.count(None) else {}


def _images(path):
  """Returns images/a/b.txt for the path labels/a/b.txt."""
  parts = path.split('/')
  parts[parts.index('labels')] = 'images'
  return '/'.join(parts)


def _nearest(path, by_name, pictures):
  """Returns the nearest picture with the name of a label file, or None."""
  stem = sources.stem(path)
  names = {p.rsplit('/', 1)[-1]
           for p in by_name.get(stem.rsplit('/', 1)[-1], ())}
  if len(names) != 1:
    return None
  name, = names
  return pictures.find('/'.join([*path.split('/')[:-1], name]), near=path)


def _is_labels(path):
  """Returns whether a file holds lines of YOLO.

  The result is False if it holds no lines, and None if a line has another form.
  """
  try:
    with open(path, encoding='utf-8-sig') as file:
      lines = [line.split() for line in file.read(_MAX_LOOK).splitlines()]
    if path.stat().st_size > _MAX_LOOK:
      del lines[-1]
    for words in filter(None, lines):
      values = [float(word) for word in words[1:]]
      if not words[0].isdecimal() or len(values) < 4 or not all(
          -0.1 <= v <= 1.1 for v in values[:4]):
        return None
  except (OSError, ValueError):
    return None
  return any(lines)


def _read_names(source, report):
  """Returns the class names, and how many numbers of a line are key points.

  The names are those of the foreground, or [] if they are not known. The number
  is None if data.yaml does not give it.
  """
  wanted = list((report.options.classes or ())[1:])
  for name in _NAMES:
    if not (source / name).is_file():
      continue
    try:
      text, pose = sources.read_text(source / name), None
      if not name.endswith(('.yaml', '.yml')):
        names = [line.strip() for line in text.splitlines() if line.strip()]
      else:
        content = yaml.safe_load(text)
        names = content['names']
        if isinstance(names, dict):
          names = [names[i] for i in range(len(names))]
        if not isinstance(names, list):
          raise ValueError('names is neither a list nor a mapping')
        names = [entries.text(n) for n in names]
        if content.get('kpt_shape') is not None:
          count, each = map(int, content['kpt_shape'])
          pose = count * each
    except (yaml.YAMLError, pixels.WrongFile, KeyError, TypeError, ValueError,
            RecursionError) as error:
      if wanted:
        return wanted, None
      reason = ' '.join(str(error).split())[:60]
      report.wrong('class names cannot be read', reason,
                   'write names: {0: ..., 1: ...}', file=name)
      return [], None
    if wanted and not set(wanted) & set(names):
      return wanted, pose  # The user renames the classes.
    return names, pose
  if not wanted:
    report.wrong('class names are not known', '',
                 'add data.yaml with `names`, or --classes=background,...')
  return wanted, None


def _label_of(words, names):
  if not words[0].isdecimal():
    raise ValueError(f'class {words[0]!r:.30} is not a number')
  number = int(words[0][:9])
  if names and number >= len(names):
    raise ValueError(f'class {number} is not in 0 .. {len(names) - 1}')
  return names[number] if names else f'class_{number + 1}'


def _box_of(values, size):
  (cx, cy, w, h), (height, width) = values, size
  box = [(cx - w / 2) * width, (cy - h / 2) * height,
         (cx + w / 2) * width, (cy + h / 2) * height]
  return [_round(v) for v in box]


def _read_line(words, size, names, pose, report):
  if not words:
    return []
  label = _label_of(words, names)
  values = [entries.number(word) for word in words[1:]]
  if _is_pose(values, pose):
    report.note('only the boxes of pose lines are read')
    values = values[:4]
  if any(not -0.1 <= v <= 1.1 for v in values):
    raise ValueError('coordinates are not shares of width and height')
  if len(values) == 4:
    return [drawn.Shape('box', label, _box_of(values, size))]
  if len(values) < 6 or len(values) % 2:
    raise ValueError(f'{len(values)} numbers are neither a box nor an outline')
  outline = [[_round(x * size[1]), _round(y * size[0])]
             for x, y in zip(values[::2], values[1::2], strict=True)]
  return [drawn.Shape('polygon', label, outline)]


def _guess_pose(lines):
  """Returns how many numbers of a line are key points; None without poses.

  Lines count as poses if, in every line of the set, the first four numbers are
  a box and all further points lie within it. In outlines, the first two points
  would be such a box only by chance. The point (0, 0) means that a key point is
  not labelled, and may lie anywhere.
  """
  counts, num_lines = set(), 0
  for words in filter(None, lines):
    try:
      cx, cy, width, height, *rest = map(float, words[1:])
    except ValueError:
      return None
    counts.add(len(rest))
    num_lines += 1
    if len(counts) > 1 or len(rest) < 4:
      return None
    if not any(
        len(rest) % each == 0 and all(
            (x, y) == (0, 0) or (
                abs(x - cx) <= width / 2 and abs(y - cy) <= height / 2)
            for x, y in zip(rest[::each], rest[1::each], strict=True))
        for each in (2, 3)):
      return None
  return counts.pop() if num_lines >= _MIN_POSES else None


def _is_pose(values, pose):
  """Returns whether the numbers of a line are a box and key points of a pose.

  Args:
    values: the numbers after the class.
    pose: how many of them are key points; None if not known. Then key points
      are recognised if each has a third number 0, 1 or 2, which means not
      labelled, hidden or visible.
  """
  if pose is not None:
    return len(values) == 4 + pose
  return len(values) > 9 and len(values) % 3 == 1 and set(values[6::3]) <= {
      0, 1, 2} and bool({1, 2} & set(values[6::3])) and (
          len(values) % 2 or 2 in values)


def _unreadable(words, names):
  """Returns a shape of kind 'unreadable', with the class of a line, if known.
  """
  try:
    label = _label_of(words, names)
  except ValueError:
    label = ''
  return drawn.unreadable(label)


def _round(value):
  return entries.number(round(value, _DIGITS))
