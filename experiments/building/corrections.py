"""Corrected labels of weak images: a folder of masks and a table.

`experiments.refine` writes such a folder, people look at it, and a run learns
from it (`input.corrected_labels`, or the run's own folder with `refine`):

  corrected.csv  one line per weak annotation, see `HEADER`. Whoever rejects a
                 correction removes its line: that image keeps its annotation.
  masks/ID.png   class numbers, at the size of the original image if that still
                 exists, else of the records. They may be edited by hand.
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
import ml_collections
import numpy as np

from experiments import binary
from experiments.building import input_pipeline

TABLE = 'corrected.csv'
HEADER = (
    'id', 'mask', 'kind', 'indicator', 'trust', 'what', 'added', 'removed',
    'dice')
OWN_FOLDER = 'refined'  # Inside the folder of a run that refines its labels.


def load(config: ml_collections.ConfigDict, workdir: str
         ) -> input_pipeline.Dataset:
  """Returns the set that a run learns from, with corrected labels if any.

  Args:
    config: config of the run.
    workdir: folder of the run, which holds the labels that it refined itself.

  Raises:
    binary.UserError: if the set or the corrected labels cannot be read.
  """
  dataset = input_pipeline.load_dataset(config.input.data_dir)
  folder = config.input.corrected_labels
  if config.supervision.refine:
    folder = os.path.join(workdir, OWN_FOLDER)
  return apply(dataset, folder) if folder else dataset


def apply(
    dataset: input_pipeline.Dataset, folder: str
) -> input_pipeline.Dataset:
  """Returns the set with the corrected labels of a folder.

  Corrected labels count as coarse masks without a planted fault. All other weak
  images, and all other splits, stay as they are.

  Args:
    dataset: set from `input_pipeline.load_dataset`.
    folder: folder as `experiments.refine` writes it.

  Raises:
    binary.UserError: if the folder cannot be read, or is of another set.
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
  """Returns the name of the mask file of each image, by id."""
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
  """Returns the label map of a file, at the size of the records."""
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
  return rasterize.resize_label(label, size=dataset.image_shape[:2])


def describe(label: np.ndarray, refined: np.ndarray) -> dict[str, Any]:
  """Describes what a refinement has changed.

  Args:
    label: label map before, uint8 [H, W].
    refined: label map after, uint8 [H, W].

  Returns:
    `added`, the share of pixels that are an object now, but were none or one of
    another class; `removed`, the reverse; `dice` of the objects before and
    after, over the labelled pixels, which is 1 if there are no objects; and
    `what`, the change in a word or two.
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
