"""Reads corrected labels of weak images from a folder.

`experiments.refine` writes such a folder, people review it, and a run learns
from it. The config names the folder in `input.corrected_labels`. With
`supervision.refine`, the run writes the folder itself. It contains:

  corrected.csv  one line per weak annotation, with the columns `HEADER`. To
                 reject a correction, remove its line: the image then keeps its
                 original annotation.
  masks/ID.png   the corrected mask, with a class number at each pixel and a
                 palette, which shows the classes in colours. The mask is as
                 large as the original image if the image's file still exists,
                 else as large as the records. It may be edited by hand.
  corrected.json how the labels were corrected, and the set that they are for.
"""

import collections
from collections.abc import Callable
import contextlib
import hashlib
import json
import os
import pathlib
from typing import Any

from data_prep import manifest as manifest_lib
from data_prep.drawing import rasterize
from data_prep.formats import lossy_masks
from data_prep.formats import voc_masks
from data_prep.shared import confined
from data_prep.shared import pixels
from data_prep.splits import csv_lines
from hybridseg import types
import numpy as np
from PIL import Image

from experiments import binary
from experiments.building import input_pipeline
from experiments.building import pieces
from experiments.building import volume_set

TABLE = 'corrected.csv'
SUMMARY = 'corrected.json'
HEADER = (
    'id', 'mask', 'size', 'kind', 'indicator', 'trust', 'what', 'added',
    'removed', 'dice')
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
  if data.foreground_share is not None:
    return volume_set.load(data.data_dir)
  dataset = input_pipeline.load_dataset(data.data_dir)
  folder = data.corrected_labels
  if data.refine:
    folder = os.path.join(workdir, OWN_FOLDER)
  return apply(dataset, folder, data.data_dir) if folder else dataset


def apply(
    dataset: input_pipeline.Dataset, folder: str, data_dir: str = ''
) -> input_pipeline.Dataset:
  """Replaces weak labels of a set by the corrected labels in a folder.

  A corrected label becomes a coarse mask without a planted fault. Weak images
  that the folder does not contain, and all other splits, remain unchanged.

  Args:
    dataset: set from `input_pipeline.load_dataset`; it is not changed.
    folder: folder that `experiments.refine` wrote.
    data_dir: folder of the set. It is needed if the table does not hold the
      sizes of the masks.

  Returns:
    A set with the replaced labels.

  Raises:
    binary.UserError: if the folder cannot be read, or was made for another set.
  """
  files = _read_table(folder)
  _check_set(folder, dataset)
  sizes = lambda name: None
  if data_dir and not all(row.get('size') for row in files.values()):
    sizes = picture_sizes(data_dir)
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
      label = _read_mask(folder, files[name], dataset, sizes)
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
  """Returns a dictionary that maps each image's id to its line."""
  path = os.path.join(folder, TABLE)

  def parse_header(header, line):
    if {'id', 'mask'} <= {*header}:
      return header, []
    return None, [manifest_lib.Problem(
        'it is not a table of experiments.refine', '',
        'give it the columns id and mask', line, file=path)]

  try:
    lines, problems = csv_lines.read(path, parse_header, semicolons=True)
  except OSError as e:
    raise binary.UserError(
        f'{path} cannot be read ({e.strerror}): give the folder that '
        'experiments.refine wrote.') from e
  if problems:
    raise binary.UserError(problems[0])
  rows = [row for _, row in lines]
  files = {row['id']: row for row in rows}
  if not all(row['id'] and row['mask'] for row in rows):
    raise binary.UserError(f'{path} has a line without a mask: remove it.')
  if len(files) < len(rows):
    name = next(name for name, number in collections.Counter(
        row['id'] for row in rows).items() if number > 1)
    raise binary.UserError(
        f'{pixels.tail(path)} has several lines of {name[:60]}: keep one.')
  return files


def _check_set(folder, dataset):
  """Refuses corrections of another set whose images have the same ids."""
  path = os.path.join(folder, SUMMARY)
  try:
    with open(path, encoding='utf-8') as file:
      found = json.load(file).get('dataset_fingerprint')
  except FileNotFoundError:
    return
  except (OSError, ValueError, AttributeError) as e:
    raise binary.UserError(
        f'{pixels.tail(path)} cannot be read: it states which set the masks '
        f'are for. If they fit {dataset.name}, remove it.') from e
  if found and found != dataset.fingerprint:
    raise binary.UserError(
        f'{pixels.tail(folder)} was made for another set, or {dataset.name} '
        'has changed since: train and refine again. If its masks still fit, '
        f'remove its {SUMMARY}.')


def _read_mask(folder, row, dataset, sizes):
  """Reads the mask of a line as a label map of the size of the records."""
  path = pixels.tail(os.path.join(folder, row['mask']))
  try:
    inside = confined.inside(pathlib.Path(folder), row['mask'])
    if lossy_masks.is_lossy(inside):
      raise ValueError('its compression changes them, save it as PNG')
    with Image.open(inside) as picture:
      _check_palette(picture)
      label = rasterize.apply_values(rasterize.stored_values(picture), None)
  except pixels.WrongFile as wrong:
    raise binary.UserError(f'{path}: {wrong.what}.') from wrong
  except FileNotFoundError as e:
    raise binary.UserError(
        f'{path} is missing: restore it, or remove its line from {TABLE}.'
    ) from e
  except (OSError, ValueError) as e:
    why = getattr(e, 'strerror', None) or str(e)
    raise binary.UserError(
        f'{path} is not a mask of class numbers: {why:.90}.') from e
  known = label[label != types.UNLABELLED]
  if known.size and known.max() >= len(dataset.classes):
    raise binary.UserError(
        f'{path} holds class {known.max()}, but {dataset.name} has '
        f'{len(dataset.classes)} classes, from 0: correct it, or remove its '
        f'line from {TABLE}.')
  size = dataset.image_shape[:2]
  wanted = [row['size']] if row.get('size') else [size_in_words(x) for x in (
      sizes(row['id']), size) if x]
  no_spaces = lambda words: ''.join(words.split())  # People write 480x640, too.
  if no_spaces(size_in_words(label.shape)) not in map(no_spaces, wanted):
    raise binary.UserError(
        f'{path} is {size_in_words(label.shape)}, expected '
        f'{wanted[0]} (height x width), as its image: save it in that size, or '
        f'remove its line from {TABLE}.')
  # Many editors save a mask as 0 and 255, and 255 would be unlabelled here.
  if known.size < label.size and not known.any():
    raise binary.UserError(
        f'{path} holds 255, which is unlabelled, and no class but the '
        'background: write class numbers from 1, or remove its line from '
        f'{TABLE}.')
  return rasterize.resize_label(label, size=size)


def _check_palette(picture):
  """Refuses a picture with a palette that does not show its class numbers.

  Some editors sort the palette anew, which changes the number of each colour.

  Raises:
    ValueError: if a colour that the picture uses is neither that of `colour`,
      nor the grey of its own number.
  """
  if picture.mode != 'P':
    return
  used = np.unique(np.asarray(picture))
  found = np.zeros((256, 3), np.uint8)
  palette = np.asarray(picture.getpalette('RGB'), np.uint8).reshape(-1, 3)
  found[: len(palette)] = palette
  for known in voc_masks.palette(), np.arange(256)[:, None]:
    if (found[used] == known[used]).all():
      return
  raise ValueError(
      'its palette is not that of experiments.refine, save it with that one')


def colour(label: np.ndarray) -> Image.Image:
  """Returns a label map, uint8 [H, W], as a picture with VOC's palette.

  The numbers that the picture stores are the classes.
  """
  picture = Image.fromarray(label)
  picture.putpalette(voc_masks.palette().tobytes())
  return picture


def size_in_words(size: tuple[int, ...]) -> str:
  """Returns a size (height, width) as the table holds it: '480 x 640'."""
  return f'{size[0]} x {size[1]}'


def picture_sizes(data_dir: str) -> Callable[[str], tuple[int, int] | None]:
  """Returns a function that maps the id of an image to its original size.

  The size is (height, width) in pixels. It is None if the original image cannot
  be read any more.

  Args:
    data_dir: folder of the set.
  """
  try:
    manifest = manifest_lib.read_manifest(
        os.path.join(data_dir, 'manifest.jsonl'))
  except OSError:
    return lambda name: None
  paths = {row.id: manifest.root / row.image for row in manifest.rows
           if not confined.leads_out(manifest.root, row.image)}

  def size(name):
    with contextlib.suppress(OSError, KeyError, ValueError):
      with Image.open(paths[name]) as picture:
        return picture.height, picture.width
    return None

  return size


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
