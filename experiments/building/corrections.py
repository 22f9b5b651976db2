"""Reads corrected labels of weak images from a folder.

`experiments.refine` writes such a folder, people review it, and a run learns
from it. The config names the folder in `input.corrected_labels`. With
`supervision.refine`, the run writes the folder itself. It contains:

  corrected.csv  one line per weak annotation, with the columns `HEADER`. To
                 reject a correction, remove its line: the image then keeps its
                 original annotation.
  masks/ID.png   the corrected mask, with a class number at each pixel. It is as
                 large as the original image if the image's file still exists,
                 else as large as the records. It may be edited by hand.
"""

import csv
import hashlib
import os
import pathlib
from typing import Any

from data_prep.drawing import rasterize
from data_prep.shared import cells
from data_prep.shared import confined
from data_prep.shared import pixels
from hybridseg import types
import numpy as np

from experiments import binary
from experiments.building import input_pipeline
from experiments.building import pieces

TABLE = 'corrected.csv'
HEADER = (
    'id', 'mask', 'kind', 'indicator', 'trust', 'what', 'added', 'removed',
    'dice')
# The name of the folder in which a run with `supervision.refine` keeps its
# corrected labels.
OWN_FOLDER = 'refined'


def load(data: pieces.Data, workdir: str) -> input_pipeline.Dataset:
  """Returns the set from which a run learns, with its corrected labels, if any.

  Args:
    data: which images the run reads.
    workdir: folder of the run. With `data.refine`, it contains the corrected
      labels.

  Raises:
    binary.UserError: if the set or the corrected labels cannot be read.
  """
  dataset = input_pipeline.load_dataset(data.data_dir)
  folder = data.corrected_labels
  if data.refine:
    folder = os.path.join(workdir, OWN_FOLDER)
  return apply(dataset, folder) if folder else dataset


def apply(
    dataset: input_pipeline.Dataset, folder: str
) -> input_pipeline.Dataset:
  """Replaces weak labels of a set by the corrected labels in a folder.

  A corrected label becomes a coarse mask without a planted fault. Weak images
  that the folder does not contain, and all other splits, remain unchanged.

  Args:
    dataset: set from `input_pipeline.load_dataset`; it is not changed.
    folder: folder that `experiments.refine` wrote.

  Returns:
    A set with the replaced labels.

  Raises:
    binary.UserError: if the folder cannot be read, or was made for another set.
  """
  files = _read_table(folder)
  weak = dataset.splits['train_weak']
  ids = input_pipeline.column(weak, 'id').astype(str).tolist()
  strange = sorted(files.keys() - set(ids))
  if strange:
    raise binary.UserError(
        f'{folder} is of another set: {len(strange)} of its {len(files)} '
        f'images are no weak images of {dataset.name}: '
        f'{", ".join(strange[:3])}.')
  digest, records = hashlib.sha256(), []
  for name, record in zip(ids, weak, strict=True):
    if name in files:
      label = _read_mask(folder, files[name], dataset)
      digest.update(name.encode() + label.tobytes())
      record = record | {
          'label': label, 'kind': np.int32(types.AnnotationKind.COARSE_MASK),
          'present': np.full_like(record['present'], types.UNLABELLED),
          'fault': b'', 'quality': np.float32(np.nan)}
    records.append(record)
  return dataset._replace(
      splits=dataset.splits | {'train_weak': records},
      corrections=digest.hexdigest())


def _read_table(folder):
  """Returns a dictionary that maps each image's id to its mask's file name."""
  path = os.path.join(folder, TABLE)
  try:
    with open(path, newline='', encoding='utf-8') as file:
      files = {row['id']: row['mask']
               for row in map(cells.undo_row, csv.DictReader(file))}
  except OSError as e:
    raise binary.UserError(
        f'{path} cannot be read ({e.strerror}): give the folder that '
        'experiments.refine wrote.') from e
  except (KeyError, TypeError, ValueError, csv.Error) as e:
    raise binary.UserError(
        f'{path} is not a table of experiments.refine with columns id and mask.'
    ) from e
  if None in files or None in files.values():
    raise binary.UserError(f'{path} has a line without a mask: remove it.')
  return files


def _read_mask(folder, name, dataset):
  """Reads the label map of a mask file, resized to the size of the records."""
  path = os.path.join(folder, name)
  try:
    label = rasterize.apply_values(rasterize.read_mask(
        confined.inside(pathlib.Path(folder), name)), None)
  except pixels.WrongFile as wrong:
    raise binary.UserError(f'{path}: {wrong.what}.') from wrong
  except (OSError, ValueError) as e:
    why = getattr(e, 'strerror', None) or str(e)
    raise binary.UserError(
        f'{path} is not a mask of class numbers: {why}.') from e
  known = label[label != types.UNLABELLED]
  if known.size and known.max() >= len(dataset.classes):
    raise binary.UserError(
        f'{path} holds class {known.max()}, but {dataset.name} has '
        f'{len(dataset.classes)} classes, from 0: correct it, or remove its '
        f'line from {TABLE}.')
  # Many editors save a mask as 0 and 255, and 255 would be unlabelled here.
  if known.size < label.size and not known.any():
    raise binary.UserError(
        f'{path} holds 255, which is unlabelled, and no class but the '
        'background: write class numbers from 1, or remove its line from '
        f'{TABLE}.')
  return rasterize.resize_label(label, size=dataset.image_shape[:2])


def describe(label: np.ndarray, refined: np.ndarray) -> dict[str, Any]:
  """Describes what the refinement of a label map has changed.

  Args:
    label: label map before the refinement, uint8 [H, W].
    refined: label map after the refinement, uint8 [H, W].

  Returns:
    A dictionary with these keys:

    - `added`: the share of pixels that belong to an object after the refinement
      and belonged to no object, or to one of another class, before it.
    - `removed`: the same share, with before and after exchanged.
    - `dice`: the Dice between the objects before and after the refinement.
      Pixels that had no label before it do not count. The Dice is 1 if neither
      map shows an object.
    - `what`: the change in one or two words.
  """
  known = label != types.UNLABELLED
  was, now = (label > 0) & known, refined > 0
  changed = known & (label != refined)
  added, removed = now & (changed | ~known), was & changed
  both, sizes = was & ~changed, was.sum() + (now & known).sum()
  if not known.any():
    what = 'drawn'
  elif not changed.any():
    what = 'nothing' if known.all() else 'completed'
  elif not was.any():
    what = 'object added'
  elif not now.any():
    what = 'object removed'
  elif not both.any():
    what = 'other place'
  else:
    what = 'reshaped' if added.any() and removed.any() else (
        'grown' if added.any() else 'shrunken')
  return {
      'what': what, 'added': float(added.mean()),
      'removed': float(removed.mean()),
      'dice': float(2 * both.sum() / sizes) if sizes else 1.0}
