"""Makes a set from ACDC: cardiac cine MRI, exact masks, and human scribbles.

See Bernard et al., 2018 (https://doi.org/10.1109/TMI.2018.2837502); the
scribbles are those of Valvano et al., 2021 (https://arxiv.org/abs/2007.01152).
The source is a folder with `images/ID.jpg`, `masks/ID.png`, `scribbles/ID.png`
(in which 4 means unlabelled) and `slices.csv`. Pictures stay where they are:
the root of the manifest is the source folder.

All slices of a few training patients are strong. The slices of the other
training patients are weak, and have only scribbles for training.
"""

import csv
import os
import pathlib

import numpy as np

from data_prep import manifest

CLASSES = ('background', 'right_ventricle', 'myocardium', 'left_ventricle')
IMAGE_SIZE = 96
LISTING = 'slices.csv'
KINDS = ('scribble',)


def write(
    output: str | os.PathLike[str],
    *,
    source: str | os.PathLike[str],
    seed: int = 0,
    strong_fraction: float = 0.1,
) -> manifest.Manifest:
  """Writes manifest.jsonl below `output`, without copying pictures.

  Args:
    output: folder of the set, which must exist.
    source: folder of the original set.
    seed: seed for drawing the strong patients.
    strong_fraction: share of the training patients that keep their masks. At
      least one patient keeps them.

  Returns:
    The manifest as written.

  Raises:
    OSError: if slices.csv is missing.
  """
  source = pathlib.Path(source).resolve()
  with open(source / LISTING, newline='', encoding='utf-8') as file:
    slices = list(csv.DictReader(file))
  patients = sorted({s['patient'] for s in slices if s['split'] == 'train'})
  count = max(1, round(strong_fraction * len(patients)))
  order = np.random.default_rng(seed).permutation(patients)
  strong = set(order[:count].tolist())
  rows = []
  for item in slices:
    mask = {'kind': 'mask', 'path': f'masks/{item["id"]}.png'}
    row = manifest.Row(
        id=item['id'], image=f'images/{item["id"]}.jpg', split=item['split'],
        role='strong', annotation=mask,
        subject=f'patient{int(item["patient"]):03d}')
    if item['split'] == 'train' and item['patient'] not in strong:
      scribble = {
          'kind': 'scribble', 'path': f'scribbles/{item["id"]}.png',
          'values': {'0': 0, '1': 1, '2': 2, '3': 3, '4': 255}}
      row = row._replace(
          role='weak', annotation=scribble, annotator='human',
          evaluation={'truth': mask, 'quality': None, 'fault': ''})
    rows.append(row)
  header = manifest.Header('acdc', CLASSES, str(source))
  return manifest.write_manifest(
      pathlib.Path(output) / 'manifest.jsonl', header, rows)
