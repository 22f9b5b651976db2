r"""Pictures of every weak-label generator, to be looked at.

python -m data_prep.benchmarks.contact_sheet --image=images/ID.jpg \
    --mask=masks/ID.png --mask_values=0:0,255:1 --output=sheet.png

One row per kind: careful, average, careless, and each fault; then a row per
noise of label maps, at strengths 0.3, 0.6 and 1. White: the truth.
"""

import pathlib

from absl import app
from absl import flags
import numpy as np
from PIL import Image
from PIL import ImageDraw

from data_prep import manifest as manifest_lib
from data_prep.drawing import label_noise
from data_prep.drawing import rasterize
from data_prep.drawing import rle
from data_prep.drawing import simulate
from data_prep.sets import summary

_IMAGE = flags.DEFINE_string('image', None, 'A picture.', required=True)
_MASK = flags.DEFINE_string('mask', None, 'Its exact mask.', required=True)
_VALUES = flags.DEFINE_list(
    'mask_values', None, 'Class of each stored mask value, as 0:0,255:1.')
_OUTPUT = flags.DEFINE_string('output', None, 'PNG to write.', required=True)
_SEED = flags.DEFINE_integer('seed', 0, 'Of all draws.')

_LEVELS = (1.0, 0.5, 0.0)
_STRENGTHS = (0.3, 0.6, 1.0)
_SIDE = 192
_TEXT = 14


def _cells(truth):
  """Yields rows of (caption, annotation)."""
  draw = lambda kind, level, fault='': simulate.simulate_weak(
      truth, np.random.default_rng(_SEED.value), kind=kind,
      quality_level=level, fault=fault)
  for kind in simulate.KINDS:
    cells = [(f'{kind} {level:g}', draw(kind, level)) for level in _LEVELS]
    yield cells + [(f'{kind} {fault}', draw(kind, 0.7, fault))
                   for fault in simulate.FAULTS]
  noises = []
  for noise in label_noise.NOISE:
    for strength in _STRENGTHS:
      label = label_noise.add_noise(
          truth, np.random.default_rng(_SEED.value), noise=noise,
          num_classes=int(truth.max()) + 2, strength=strength)
      values = np.unique(label[label > 0]).tolist()
      noises.append((f'{noise} {strength:g}', {
          'kind': 'coarse_mask', 'labels': values,
          'rles': [rle.encode_rle(label == v) for v in values]}))
  for start in range(0, len(noises), 6):
    yield noises[start : start + 6]


def main(argv: list[str]) -> None:
  """Writes the sheet."""
  del argv
  values = None
  if _VALUES.value:
    values = {k: int(v) for k, v in (x.split(':') for x in _VALUES.value)}
  mask = {'kind': 'mask', 'path': str(pathlib.Path(_MASK.value).resolve()),
          'values': values}
  image = str(pathlib.Path(_IMAGE.value).resolve())
  truth = rasterize.apply_values(
      rasterize.read_mask(pathlib.Path(mask['path']), values), values)
  rows = list(_cells(truth))
  side = summary.draw_overlay(
      manifest_lib.Row('', image, 'train', 'strong', mask),
      root=pathlib.Path(), image_size=_SIDE).shape[0]
  sheet = Image.new('RGB', (
      max(map(len, rows)) * side, len(rows) * (side + _TEXT)), 'white')
  pen = ImageDraw.Draw(sheet)
  for i, cells in enumerate(rows):
    for j, (caption, annotation) in enumerate(cells):
      row = manifest_lib.Row(
          '', image, 'train', 'weak', annotation, evaluation={'truth': mask})
      overlay = summary.draw_overlay(
          row, root=pathlib.Path(), image_size=_SIDE)
      place = j * side, i * (side + _TEXT)
      pen.text((place[0] + 2, place[1]), caption, 'black')
      sheet.paste(Image.fromarray(overlay), (place[0], place[1] + _TEXT))
  sheet.save(_OUTPUT.value)
  print(f'{_OUTPUT.value}: {sum(map(len, rows))} pictures')


if __name__ == '__main__':
  app.run(main)
