r"""Tests that random sets survive export, import, export and import.

python -m tests.long.round_trips --num_cases=100

A case is a set of a few small pictures with random shapes of one kind, for one
format: on pixel edges and between them, one pixel large, at the border and
beyond it, overlapping, with holes, of no class, and none at all. After the
first import, each row has its id, split, kind and label map, and the fields
that the format can hold; the shapes are the same to a millionth of a pixel. The
second import equals the first. The program prints a table, and its exit code is
1 if a case failed.
"""

import collections
import pathlib
import sys
import tempfile
import time
from typing import Any

from absl import app
from absl import flags
from data_prep import formats
from data_prep import manifest as manifest_lib
from data_prep.drawing import annotation_kinds
from data_prep.drawing import rasterize
from data_prep.drawing import rle
from data_prep.formats import registry
from data_prep.formats import rings
from hybridseg import types
import numpy as np
from PIL import Image

FORMATS = ('coco', 'labelme', 'label_studio', 'geojson', 'cvat')
_NUM_CASES = flags.DEFINE_integer('num_cases', 100, 'Cases of a format.', 1)
_FORMATS = flags.DEFINE_list(
    'round_trip_formats', list(FORMATS), 'What to test.')

_CLASSES = ('background', 'a', 'b b', 'ü')
# The fields of a row that each format can hold, besides its split.
_FIELDS = {'coco': ('subject', 'site', 'annotator')}
_FIELDS |= dict.fromkeys(('label_studio', 'geojson'), _FIELDS['coco'])


def _place(rng, length):
  """Returns a coordinate on an edge, at a centre or anywhere, as a tool does.
  """
  way = rng.integers(4)
  if way == 0:
    return int(rng.choice([0, length]))
  if way == 1:
    return int(rng.integers(0, length + 1))
  value = rng.uniform(0, length)
  return float(np.floor(value)) + 0.5 if way == 2 else round(float(value), 6)


def _point(rng, size):
  return [_place(rng, size[1]), _place(rng, size[0])]


def _mask(rng, size):
  mask = rng.random(size) < rng.choice([0, 0.1, 0.5, 1])
  y, x = np.mgrid[: size[0], : size[1]]
  cy, cx = rng.uniform(0, size[0]), rng.uniform(0, size[1])
  distance = np.hypot(y - cy, x - cx)
  return mask if rng.random() < 0.5 else (distance < 8) & (distance > 3)


def _ring(rng, size, number):
  """Returns a ring round a centre, which may leave the picture a little."""
  cx, cy = rng.uniform(0.3, 0.7, 2) * size[::-1]
  radius = rng.uniform(1, 0.35 * min(size))
  return [[round(float(cx + radius * np.cos(t)), 6),
           round(float(cy + radius * np.sin(t)), 6)]
          for t in np.sort(rng.uniform(0, 2 * np.pi, number))]


def _shape(kind, rng, size) -> Any:
  """Returns a random shape of a kind, as a manifest holds it."""
  if kind in ('mask', 'coarse_mask'):
    return rle.encode_rle(_mask(rng, size))
  if kind == 'polygon':
    outer = _ring(rng, size, int(rng.integers(3, 9)))
    if rng.random() < 0.5:
      return outer
    middle = np.mean(outer, axis=0)
    hole = (middle + 0.3 * (np.array(outer) - middle)).round(6).tolist()
    return rings.join([outer, hole])
  if kind == 'box':
    (x0, x1), (y0, y1) = (sorted((_place(rng, n), _place(rng, n)))
                          for n in size[::-1])
    # A box needs an area; this one may be a single pixel.
    if x1 - x0 < 0.5 or y1 - y0 < 0.5:
      x, y = (int(rng.integers(0, n)) for n in size[::-1])
      return [x, y, x + 1, y + 1]
    return [x0, y0, x1, y1]
  if kind == 'ellipse':
    cx, cy = rng.uniform(0.3, 0.7, 2) * size[::-1]
    rx, ry = rng.uniform(0.5, 0.35 * min(size), 2)
    return [*(round(float(v), 6) for v in (cx, cy, rx, ry)),
            int(rng.integers(-180, 361))]
  if kind == 'points':
    return _point(rng, size)
  number = 4 if kind == 'extreme_points' else int(rng.integers(1, 6))
  points = [_point(rng, size) for _ in range(number)]
  if kind != 'extreme_points' and len(points) == 2 and points[0] == points[1]:
    return points[:1]
  return points


def _annotation(kind, rng, size):
  row = annotation_kinds.TABLE[kind]
  if row.field is None:
    return {'kind': kind, 'labels': sorted(
        {int(v) for v in rng.integers(1, len(_CLASSES), rng.integers(1, 4))})}
  labels = [*range(1, len(_CLASSES))]
  # In an exact mask, little may be unlabelled, and lines of this value are not.
  labels += [types.UNLABELLED] * (row.may_be_open and kind in (
      'coarse_mask', 'polygon', 'box'))
  labels += [0] * (kind in ('points', 'scribble'))
  found = [int(v) for v in rng.choice(labels, rng.integers(0, 5))]
  annotation = {'kind': kind, row.field: [
      _shape(kind, rng, size) for _ in found], 'labels': found}
  return annotation | ({'width': 2.5} if row.has_width else {})


def make_case(
    kind: str, rng: np.random.Generator, folder: pathlib.Path
) -> manifest_lib.Manifest:
  """Returns a random set of a kind of annotation, and writes its pictures."""
  rows = []
  for number in range(4):
    size = tuple(int(n) for n in rng.integers(12, 41, 2))
    name = ('a', 'p1/b', 'p1/c d', 'ü')[number]
    path = folder / 'images' / f'{number}.png'
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(path)
    rows.append(manifest_lib.Row(
        name, f'images/{number}.png', str(rng.choice(manifest_lib.SPLITS)),
        'weak', _annotation(kind, rng, size), f's{number % 2}', 'here',
        str(rng.choice(['', 'anna']))))
  return manifest_lib.Manifest(
      manifest_lib.Header('set', _CLASSES), tuple(rows), folder)


def options_of(kind: str) -> formats.Options:
  """Returns the options that read a kind of annotation as that kind."""
  options = formats.Options(classes=_CLASSES, masks_are_given=True)
  if kind in ('coarse_mask', 'line', 'extreme_points'):
    field = {'coarse_mask': 'masks_are', 'line': 'lines_are',
             'extreme_points': 'points_are'}[kind]
    options = options._replace(**{field: kind})
  return options._replace(stroke_width=2.5)


def _passed_on(manifest, name, kind, folder):
  """Writes a set in a format, and returns what is read from it."""
  output = folder / 'out'
  registry.write(manifest, name, output)
  back = folder / 'back'
  back.mkdir()
  imported = registry.read(name, output, back, options_of(kind))
  if imported.problems:
    raise AssertionError(f'{imported.problems[0]}')
  return manifest_lib.Manifest(
      manifest_lib.Header('set', imported.classes, imported.root),
      tuple(imported.rows), back)


def _compare(before, after, name, *, exact):
  """Raises an AssertionError where a set has changed."""
  if [r.id for r in before.rows] != [r.id for r in after.rows]:
    raise AssertionError(f'ids {[r.id for r in after.rows]}')
  for old, new in zip(before.rows, after.rows, strict=True):
    for field in ('split', *_FIELDS.get(name, ())):
      if getattr(old, field) != getattr(new, field):
        raise AssertionError(f'{old.id}: {field} {getattr(new, field)!r}')
    with Image.open(before.root / old.image) as image:
      size = image.size[::-1]
    maps = [rasterize.rasterize(r.annotation, size=size, root=m.root)
            for r, m in ((old, before), (new, after))]
    if not np.array_equal(*maps):
      different = int((maps[0] != maps[1]).sum())
      raise AssertionError(f'{old.id}: {different} pixels')
    if exact and old.annotation != new.annotation:
      raise AssertionError(f'{old.id}: {new.annotation}')
    # A picture without a shape of a class has the usual kind of its split.
    if not {*old.annotation['labels']} - {types.UNLABELLED}:
      continue
    if old.annotation['kind'] != new.annotation['kind']:
      raise AssertionError(f'{old.id}: kind {new.annotation["kind"]}')
    field = annotation_kinds.TABLE[old.annotation['kind']].field
    if field not in (None, 'rles'):
      for one, other in zip(old.annotation[field], new.annotation[field],
                            strict=True):
        np.testing.assert_allclose(
            np.array(one, float), np.array(other, float), rtol=0, atol=1e-6)


def examine(name: str, kind: str, seed: int) -> None:
  """Passes a random set through a format twice.

  Raises:
    AssertionError: if it changes.
  """
  rng = np.random.default_rng([seed, *kind.encode()])
  with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    places = [folder / str(i) for i in range(3)]
    for place in places:
      place.mkdir()
    before = make_case(kind, rng, places[0])
    first = _passed_on(before, name, kind, places[1])
    _compare(before, first, name, exact=False)
    _compare(first, _passed_on(first, name, kind, places[2]), name, exact=True)


def main(argv: list[str]) -> None:
  """Passes sets of all kinds through all formats and prints the table."""
  del argv
  failed = False
  print('| format | kind | cases | failed | s |\n|---|---|---|---|---|')
  for name in _FORMATS.value:
    kinds = registry.FORMATS[name].HOLDS
    counts, start = collections.Counter(), time.monotonic()
    for seed in range(_NUM_CASES.value):
      kind = kinds[seed % len(kinds)]
      try:
        examine(name, kind, seed)
      except AssertionError as error:
        print(f'{name}, {kind}, seed {seed}: {error}', file=sys.stderr)
        counts[kind] += 1
        failed = True
    print(f'| {name} | {", ".join(kinds)} | {_NUM_CASES.value} | '
          f'{sum(counts.values())} | {time.monotonic() - start:.0f} |')
  if failed:
    sys.exit(1)


if __name__ == '__main__':
  app.run(main)
