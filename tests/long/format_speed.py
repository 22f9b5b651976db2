r"""Measures how many images of each format are read in a second.

python -m tests.long.format_speed --num_images=1000

The same pictures and exact masks are written in every format that can hold
them, then imported, and the label map of each row is drawn, since masks in
files are read only then. Each format is timed `--repeats` times in turn, and
the fastest time counts. Processor time of this process is measured.
"""

import json
import os
import pathlib
import tempfile
import time

from absl import app
from absl import flags
from data_prep import formats
from data_prep import manifest as manifest_lib
from data_prep.drawing import rasterize
from data_prep.drawing import rle
from data_prep.formats import names
from data_prep.formats import registry
from data_prep.formats import rings
import numpy as np
from PIL import Image

_NUM_IMAGES = flags.DEFINE_integer('num_images', 1000, 'Images of a set.', 1)
_REPEATS = flags.DEFINE_integer('repeats', 3, 'Times that each is read.', 1)
_SIDE = flags.DEFINE_integer('side', 192, 'Height and width of an image.', 1)

_CLASSES = ('background', 'a', 'b')


def _make_set(folder):
  """Returns a manifest of noise pictures with two discs, one with a hole."""
  rng, side = np.random.default_rng(0), _SIDE.value
  y, x = np.mgrid[:side, :side]
  rows = []
  for number in range(_NUM_IMAGES.value):
    name = f'{number:05d}'
    Image.fromarray(rng.integers(0, 256, (side, side, 3), np.uint8)).save(
        folder / f'{name}.png', compress_level=1)
    rles = []
    for hole in (0, side / 16):
      cy, cx = rng.uniform(side / 4, 3 * side / 4, 2)
      distance = np.hypot(y - cy, x - cx)
      rles.append(rle.encode_rle((distance < side / 6) & (distance >= hole)))
    rows.append(manifest_lib.Row(
        name, f'{name}.png', 'train', 'strong',
        {'kind': 'mask', 'rles': rles, 'labels': [1, 2]}))
  return manifest_lib.Manifest(
      manifest_lib.Header('speed', _CLASSES), tuple(rows), folder)


def _write_via(manifest, folder):
  """Writes the outer rings of the masks for VIA, which no exporter does."""
  pictures = {}
  (folder / 'via').mkdir()
  for row in manifest.rows:
    os.link(manifest.root / row.image, folder / 'via' / row.image)
    regions = []
    for value, mask in zip('ab', row.annotation['rles'], strict=True):
      ring, *_ = rings.outlines(rle.decode_rle(mask))[0]
      regions.append({'shape_attributes': {
          'name': 'polygon', 'all_points_x': [x for x, _ in ring],
          'all_points_y': [y for _, y in ring]},
                      'region_attributes': {'label': value}})
    pictures[row.image] = {'filename': row.image, 'size': -1,
                           'regions': regions, 'file_attributes': {}}
  (folder / 'via/via.json').write_text(json.dumps(pictures))


def _seconds(name, source, folder):
  """Returns the processor time of reading a set and drawing its masks."""
  with tempfile.TemporaryDirectory(dir=folder) as output:
    output = pathlib.Path(output)
    start = time.process_time()
    imported = registry.read(
        name, source, output, formats.Options(classes=_CLASSES))
    size = (_SIDE.value, _SIDE.value)
    for row in imported.rows:
      rasterize.rasterize(
          row.annotation, size=size, root=output / imported.root)
    seconds = time.process_time() - start
  if imported.problems or len(imported.rows) != _NUM_IMAGES.value:
    raise AssertionError(imported.problems[:1] or len(imported.rows))
  return seconds


def main(argv: list[str]) -> None:
  """Writes, reads and prints the table."""
  del argv
  with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    (folder / 'set').mkdir()
    manifest = _make_set(folder / 'set')
    chosen = [n for n in names.WRITES if n not in names.VOLUMES
              and 'mask' in registry.FORMATS[n].HOLDS]
    for name in chosen:
      registry.write(manifest, name, folder / name)
    _write_via(manifest, folder)
    chosen.append('via')
    seconds = {name: [] for name in chosen}
    for _ in range(_REPEATS.value):
      for name in chosen:
        seconds[name].append(_seconds(name, folder / name, folder))
  print('| format | images/s | of `folder` |\n|---|---|---|')
  for name, some in seconds.items():
    ratio = min(seconds['folder']) / min(some)
    print(f'| `{name}` | {_NUM_IMAGES.value / min(some):.0f} | {ratio:.2f} |')


if __name__ == '__main__':
  app.run(main)
