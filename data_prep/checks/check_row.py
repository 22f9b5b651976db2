"""Checks one row of a manifest and the files that it names."""

import functools
import hashlib
import os
from typing import NamedTuple

from hybridseg import types
import numpy as np
from PIL import Image
from scipy import ndimage

from data_prep import manifest as manifest_lib
from data_prep.checks import check_annotation
from data_prep.checks import duplicates
from data_prep.checks import value_counts
from data_prep.drawing import annotation_kinds
from data_prep.drawing import rasterize
from data_prep.shared import pixels

# Images with fewer pixels along their shorter side are noted: after a network
# has halved the resolution four times, nothing would be left of them.
_SMALL_IMAGE = 16
# A class that covers fewer pixels of an image than this is noted.
_SMALL_OBJECT = 9
# Parts of a class with at most this number of pixels are noted if the class
# also has larger parts.
_SPECK = 3
_CONTRADICTION = 0.1  # Share of a scribble's pixels that may be wrong.
# Spacings outside this range are noted. The range extends from the pixels of a
# microscope to very thick slices.
_SPACINGS_MM = (1e-4, 50.0)


class Facts(NamedTuple):
  """The facts that the check collects about a row while it reads its files.

  Attributes:
    size: height and width of the image; None if it could not be read.
    channels: 1 or 3; 0 if the image could not be read.
    digest: hash of the image's size and thumbnail, of 8 bytes; empty if its
      pixels are constant or could not be read.
    thumbnail: place of the image's thumbnail in the file of thumbnails, see
      `duplicates`; None in the same cases.
    counts: number of pixels of each class in a mask or scribble file, followed
      by the number of unlabelled pixels, as the bytes of int64 [K + 1], since
      an array takes three times the memory; None for other annotations.
    present: classes that the annotation shows or names.
    hidden: classes in the truth, which only the evaluation reads.
    values_open: whether the row has a mask file that holds only 0 and 255 and
      no `values` that explain them.
    values_plain: whether the row has a mask file, without `values`, that holds
      values other than 0 and 255.
  """

  size: tuple[int, int] | None = None
  channels: int = 0
  digest: bytes = b''
  thumbnail: int | None = None
  counts: bytes | None = None
  present: frozenset[int] = frozenset()
  hidden: frozenset[int] = frozenset()
  values_open: bool = False
  values_plain: bool = False


def inspect_row(
    row: manifest_lib.Row, context: check_annotation.Context
) -> tuple[check_annotation.Log, Facts]:
  """Reads the files of one row and returns its log and its facts."""
  log = check_annotation.Log([], [], row)
  for field in ('id', 'subject', 'site', 'annotator'):
    value = getattr(row, field)
    if pixels.is_bad_text(value):
      log.add('holds control characters or is not UTF-8', ascii(value),
              'rename it', field)
  for field, known in (
      ('split', manifest_lib.SPLITS), ('role', manifest_lib.ROLES)):
    value = getattr(row, field)
    if value not in known:
      log.add(f'expected one of {", ".join(known)}', repr(value),
              check_annotation.nearest(value, known), field)
  if row.split in ('val', 'test') and row.role in ('weak', 'unlabelled'):
    log.add(f'{row.split} images are for evaluation and need an exact mask',
            repr(row.role), 'give a mask and role strong, or use split train',
            'role')
  if row.spacing_mm is not None and not all(
      _SPACINGS_MM[0] <= s <= _SPACINGS_MM[1] for s in row.spacing_mm):
    log.note('unusual spacing in mm', str(list(row.spacing_mm)),
             'is it in another unit?', 'spacing_mm')
  image, seen = None, Facts()
  try:
    image = _read_image(row.image, context, log)
    seen = _facts_of_image(image, context, log)
  except pixels.WrongFile as wrong:
    fix = wrong.fix
    if pixels.ROTATED in wrong.what:
      fix = _turned_fix(row, context) or fix
    log.add(wrong.what, wrong.found, fix, 'image')
  truth = _check_evaluation(row, image, context, log)
  seen = seen._replace(
      hidden=_hidden_classes(row, truth, len(context.classes)))
  if row.annotation is None:
    if row.role != 'unlabelled':
      log.add(f'a {row.role} image needs an annotation', 'null',
              'add it or use role unlabelled', 'annotation')
    return log, seen
  if row.role == 'unlabelled':
    log.note('an unlabelled image has an annotation', '', 'it is not used',
             'annotation')
  number = len(log.problems)
  label, stored = check_annotation.check_annotation(
      row.annotation, image, context, 'annotation', row.role, log)
  if len(log.problems) > number or (
      context.is_asked and rasterize.has_file(row.annotation)):
    return log, seen
  if annotation_kinds.TABLE[row.annotation['kind']].may_be_file:
    if label is None and image is not None:
      label = rasterize.rasterize(
          row.annotation, size=seen.size, root=context.folder.root)
    seen = _facts_of_label(seen, label, len(context.classes), log)
    if row.role == 'weak':
      _compare(row, label, truth, log)
  else:
    labels = row.annotation['labels']
    seen = seen._replace(present=_classes(labels))
    if not labels:
      log.note('the annotation holds no shape', '',
               'fine if the annotator saw no object', 'annotation')
  values = row.annotation.get('values')
  if stored is not None and values is None:
    seen = seen._replace(
        values_open=stored <= {0, 255} and 255 in stored
        and row.annotation['kind'] != 'scribble',
        values_plain=bool(stored - {0, 255}))
  return log, seen


def _turned_fix(row, context):
  """Returns the fix for a rotation tag, depending on the size of the mask."""
  try:
    # A simulated annotation does not store its size, but its truth does.
    annotation = next(a for a in (
        row.annotation, (row.evaluation or {}).get('truth'))
        if a and (rasterize.has_file(a) or a.get('rles')))
    if rasterize.has_file(annotation):
      with Image.open(context.folder.root / annotation['path']) as mask:
        drawn = mask.height, mask.width
    else:
      drawn = tuple(annotation['rles'][0]['size'])
    with Image.open(context.folder.root / row.image) as image:
      stored, turned = (image.height, image.width), (image.width, image.height)
      is_quarter = pixels.orientation_of(image) > 4
  except Exception:  # Problems of the mask are reported elsewhere.
    return ''
  if not is_quarter or stored == turned or drawn not in (stored, turned):
    return ''
  if drawn == turned:
    return 'its mask fits the turned picture: turn the pixels, remove the tag'
  return 'its mask fits the pixels as they are stored: remove the tag'


def _check_evaluation(row, image, context, log):
  """Checks the field `evaluation` of a row.

  Returns:
    The truth, uint8 [H, W]; None if there is none, or if it has problems.
  """
  evaluation = row.evaluation or {}
  for name in evaluation:
    if name not in ('truth', 'quality', 'fault'):
      log.add('unknown field', '', 'use truth, quality and fault',
              f'evaluation.{name}')
  label, truth = None, evaluation.get('truth')
  if isinstance(truth, dict):
    number = len(log.problems)
    label, _ = check_annotation.check_annotation(
        truth, image, context, 'evaluation.truth', 'strong', log)
    label = label if len(log.problems) == number else None
  elif truth is not None:
    log.add('expected null or an annotation of kind mask', repr(truth),
            'correct it', 'evaluation.truth')
  value = evaluation.get('quality')
  if value is not None and not (
      manifest_lib.is_number(value) and 0 <= value <= 1):
    log.add('expected null or an IoU in [0, 1]', repr(value), 'correct it',
            'evaluation.quality')
  fault = evaluation.get('fault', '')
  if fault not in manifest_lib.FAULTS:
    log.add(f'expected "", {", ".join(manifest_lib.FAULTS[1:])}', repr(fault),
            check_annotation.nearest(fault, manifest_lib.FAULTS),
            'evaluation.fault')
  return label


@functools.lru_cache(maxsize=1024)
def _shared(value):
  """Returns a cached object equal to `value`.

  To save memory, all rows with equal values share this object.
  """
  return value


def _classes(labels):
  """Returns the set of labels without `types.UNLABELLED`."""
  return _shared(frozenset(labels) - {types.UNLABELLED})


def _hidden_classes(row, truth, num_classes):
  """Returns the classes in the truth of a row.

  Args:
    row: the row.
    truth: label map of its truth. If this is None, the classes are those that
      the truth names in `labels`.
    num_classes: number of classes, background included.
  """
  drawn = (row.evaluation or {}).get('truth')
  if truth is not None:
    found = np.flatnonzero(value_counts.count_values(
        truth, range(num_classes))).tolist()
  elif isinstance(drawn, dict) and isinstance(drawn.get('labels'), list):
    found = [label for label in drawn['labels'] if isinstance(label, int)]
  else:
    found = []
  return _classes(found)


def _facts_of_image(image, context, log):
  """Returns the facts about an image, and notes what is odd about it.

  Args:
    image: the image, of mode L or RGB.
    context: the context of the set.
    log: log to which the notices are added.
  """
  size, channels = (image.height, image.width), len(image.getbands())
  if min(size) < _SMALL_IMAGE:
    log.note(f'image smaller than {_SMALL_IMAGE} pixels',
             f'{size[0]} x {size[1]}', 'it will be enlarged', 'image')
  digest, place = b'', None
  thumbnail = duplicates.thumbnail(image)
  # Only images with a constant thumbnail can be constant. Thumbnails are small,
  # so look at them first.
  if len(set(thumbnail)) == 1 and check_annotation.is_constant(image):
    value = thumbnail[0]
    log.note('the image is constant' if value else 'the image is all zero',
             str(value), 'nothing can be seen in it', 'image')
  else:
    digest = hashlib.blake2b(
        repr((size, channels)).encode() + thumbnail, digest_size=8).digest()
    place = context.thumbnails.add(thumbnail)
  if context.kept is not None:
    context.kept.add_image(log.row.image, context.folder.root, image)
  return Facts(_shared(size), channels, digest, place)


def _facts_of_label(seen, label, num_classes, log):
  """Adds the classes of a label map to facts, and notes oddities of the map.

  Args:
    seen: the facts so far, which are returned unchanged if there is no label.
    label: class per pixel, uint8 [H, W], or None.
    num_classes: number of classes, background included.
    log: log to which the notices are added.
  """
  if label is None:
    return seen
  counts = value_counts.count_values(
      label, [*range(num_classes), types.UNLABELLED])
  classes = np.flatnonzero(counts[:-1])
  field = 'annotation'
  if not classes.size:
    log.note('the annotation labels no pixel', '',
             'fine if no class is known', field)
  elif classes.tolist() == [0] and log.row.annotation['kind'] != 'scribble':
    log.note('the mask is empty', '', 'fine if there is no object', field)
  elif classes.size == 1 and classes[0] and not counts[-1]:
    log.note('the mask is full, there is no background', '',
             'fine if the object fills the image', field)
  elif log.row.annotation['kind'] == 'mask':
    _note_small(label, counts, classes, log)
  return seen._replace(
      counts=counts.tobytes(), present=_classes(classes.tolist()))


def _note_small(label, counts, classes, log):
  """Notes classes of very few pixels, and tiny parts of larger classes."""
  for value in classes[classes > 0]:
    if counts[value] < _SMALL_OBJECT:
      log.note(f'class covers fewer than {_SMALL_OBJECT} pixels',
               f'{counts[value]} of class {value}',
               'it may vanish when the image shrinks', 'annotation')
      continue
    where = label == value
    rows, columns = (np.flatnonzero(where.any(axis)) for axis in (1, 0))
    # Look only at the part of the map that holds the class, to save time.
    parts, number = ndimage.label(
        where[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    if number == 1:
      continue
    sizes = np.bincount(parts.ravel())[1:]
    specks = int((sizes <= _SPECK).sum())
    if number > specks > 0:
      log.note(f'specks of at most {_SPECK} pixels',
               f'{specks} of class {value}',
               'remove them if they are slips of the pen', 'annotation')


def _compare(row, label, truth, log):
  """Notes a weak mask that equals its truth, or a scribble that contradicts it.

  Scribbles with a planted fault may contradict the truth.
  """
  if label is None or truth is None or label.shape != truth.shape:
    return
  if row.annotation['kind'] == 'scribble':
    drawn = label != types.UNLABELLED
    wrong = int((drawn & (label != truth)).sum())
    fault = (row.evaluation or {}).get('fault')
    if not fault and wrong > _CONTRADICTION * drawn.sum():
      log.note('the scribble contradicts its truth',
               f'{wrong} of {int(drawn.sum())} pixels',
               'look at both', 'annotation')
  elif label.any() and np.array_equal(label, truth):
    log.note('the weak mask is identical to its truth', '',
             'if it is exact, use role strong', 'annotation')


def _read_image(name, context, log):
  """Returns an image as a picture of mode L or RGB.

  Raises:
    pixels.WrongFile: if the file is no usable image.
  """
  with pixels.opened(name, 'image', context.folder) as (_, picture):
    mode = picture.mode
    if mode[:1] not in ('I', 'F') and ';16' in str(picture.tile):
      mode += ';16'  # Pillow would drop the lower 8 bits without a warning.
    if mode[:1] in ('I', 'F') or ';16' in mode:
      raise pixels.WrongFile(
          'expected 8 bits per channel', f'pixels of mode {mode}',
          'convert the image, with one intensity window for the whole set')
    if picture.mode not in pixels.IMAGE_MODES:
      raise pixels.WrongFile(
          'expected gray or RGB', f'mode {picture.mode}',
          'convert the image to RGB')
    opaque = pixels.check_alpha(picture, 'image')
    suffix = os.path.splitext(name)[1].lower()
    if suffix not in pixels.SUFFIXES.get(picture.format, (suffix,)):
      log.note(
          f'named {suffix or "without suffix"}, but holds {picture.format}',
          pixels.tail(name), 'rename it', 'image')
    image = rasterize.plain(picture)
  if opaque:
    log.note('opaque alpha channel', '', 'it is dropped', 'image')
  return image
