"""Checks one annotation of a manifest: its fields, its shapes or its mask."""

from collections.abc import Sequence
import difflib
import json
import os
from typing import Any, NamedTuple

from hybridseg import types
import numpy as np
from PIL import Image

from data_prep import manifest as manifest_lib
from data_prep.checks import check_shape
from data_prep.checks import value_counts
from data_prep.drawing import annotation_kinds
from data_prep.drawing import kept as kept_lib
from data_prep.drawing import rasterize
from data_prep.drawing import rle
from data_prep.shared import grammar
from data_prep.shared import pixels
from data_prep.shared import scratch

# A mask with more unknown stored values than this is regarded as noisy. If
# there are fewer, the user probably forgot to name some classes.
_MANY_VALUES = 8


class Log(NamedTuple):
  """Collects the findings about one row, or about the set if `row` is None."""

  problems: Sequence[manifest_lib.Problem]
  notices: Sequence[manifest_lib.Problem]
  row: manifest_lib.Row | None = None

  def add(self, what, found, fix, field):
    self.problems.append(
        manifest_lib.Problem(
            what, found, fix, self.row.line, self.row.id, field))

  def note(self, what, found, fix, field):
    self.notices.append(
        manifest_lib.Problem(
            what, found, fix, self.row.line, self.row.id, field))


class Context(NamedTuple):
  """The context that all rows of a set share.

  Attributes:
    folder: folder from which files are read.
    classes: names of the classes, background first.
    is_asked: whether an earlier problem already asks the user what the stored
      values of masks mean; masks are then not refused for their values.
    thumbnails: file to which the thumbnails of the images are added.
    kept: keeps images and masks for the records; None keeps none.
  """

  folder: pixels.Folder
  classes: tuple[str, ...]
  is_asked: bool = False
  thumbnails: scratch.Scratch | None = None
  kept: kept_lib.Kept | None = None


def check_annotation(
    annotation: dict[str, Any],
    image: Image.Image | None,
    context: Context,
    where: str,
    role: str,
    log: Log,
) -> tuple[np.ndarray | None, set[int] | None]:
  """Checks one annotation of a row.

  Args:
    annotation: the annotation, as the manifest holds it.
    image: its image, of mode L or RGB; None if it could not be read.
    context: the context of the set.
    where: field of the row that holds the annotation.
    role: role of the row; 'strong' also for the truth of a weak row.
    log: log to which the findings are added.

  Returns:
    The label map of a mask, uint8 [H, W], and the set of stored values of a
    mask file. Each is None for other annotations, or if there are problems.
  """
  kind = annotation.get('kind')
  kinds = tuple(annotation_kinds.TABLE)
  # Search a tuple: a look-up in `TABLE` fails if the manifest has a list here.
  if kind not in kinds:
    log.add(f'unknown annotation kind, expected one of {", ".join(kinds)}',
            repr(kind), nearest(kind, kinds), f'{where}.kind')
    return None, None
  row = annotation_kinds.TABLE[kind]
  if role == 'strong' and kind != 'mask':
    log.add('an exact label is of kind mask', repr(kind),
            'use role weak or give the mask', f'{where}.kind')
    return None, None
  if row.field is None:
    known = ('kind', 'labels')
  elif rasterize.has_file(annotation):
    known = ('kind', 'path', 'values')
  else:
    known = ('kind', row.field, 'labels')
    known += ('width',) * row.has_width
  for name in annotation:
    if name not in known:
      log.add('unknown field', '', f'use {", ".join(known)}', f'{where}.{name}')
  num_classes = len(context.classes)
  if rasterize.has_file(annotation):
    return _check_mask(annotation, image, context, where, role, log)
  size = None if image is None else (image.height, image.width)
  label = _check_shapes(annotation, kind, size, num_classes, where, log)
  if label is not None and role == 'strong':
    _check_exact(label, f'{where}.rles', log)
  return label, None


def _read_mask(name, values, context):
  """Returns the stored values of a mask, int [H, W], and its file format.

  Raises:
    pixels.WrongFile: if the file is not a usable mask.
  """
  with pixels.opened(name, 'mask', context.folder) as (_, picture):
    if picture.mode not in pixels.MASK_MODES:
      raise pixels.WrongFile(
          'expected one channel', f'mode {picture.mode}',
          'map its colours to class numbers and save it as gray PNG')
    if picture.mode == 'RGB' and ';16' in str(picture.tile):
      raise pixels.WrongFile(
          'expected one channel', '3 channels of 16 bits',
          'save the mask as a gray picture of 8 bits')
    if picture.mode != 'P':
      pixels.check_alpha(picture, 'mask')
    if picture.mode == 'F':
      mask = np.asarray(picture)
      if not np.isfinite(mask).all():
        raise pixels.WrongFile(
            'mask holds NaN or infinity', pixels.tail(name),
            'save class numbers as integers')
      if np.any(mask % 1):
        raise pixels.WrongFile(
            'mask holds fractions, expected class numbers',
            f'{mask[mask % 1 != 0][0]:g}',
            'threshold probabilities, save integers')
    try:
      return rasterize.stored_values(picture, values), picture.format
    except ValueError as error:
      raise pixels.WrongFile(
          'expected one channel', f'{pixels.tail(name)}: {error}',
          'map its colours to class numbers and save it as gray PNG'
      ) from error


def _check_mask(annotation, image, context, where, role, log):
  """Checks a mask file; takes and returns the same as `check_annotation`."""
  path, values = annotation.get('path'), annotation.get('values')
  field = f'{where}.path'
  if not isinstance(path, str) or not path:
    log.add('expected the path of a mask', repr(path), 'add it', field)
    return None, None
  num_classes = len(context.classes)
  allowed = f'0 .. {num_classes - 1}'
  if role != 'strong':
    allowed += f' or {types.UNLABELLED}'
  if values is not None and not (
      isinstance(values, dict)
      and all(k.isdecimal() for k in values)
      and all(_is_class(v, num_classes) for v in values.values())):
    log.add(f'expected {{"stored value": class}} with classes {allowed}',
            repr(values), 'correct it', f'{where}.values')
    return None, None
  if os.path.normpath(path) == os.path.normpath(log.row.image):
    log.add('the image is given as its own mask', pixels.tail(path),
            'name the mask', field)
    return None, None
  try:
    mask, form = _read_mask(path, values, context)
  except pixels.WrongFile as wrong:
    log.add(wrong.what, wrong.found, wrong.fix, field)
    return None, None
  size = mask.shape if image is None else (image.height, image.width)
  if mask.shape != size:
    log.add(*_wrong_size(mask.shape, size), field)
  elif image is not None and _has_pixels_of(image, mask):
    log.add('the mask has the pixels of its image', pixels.tail(path),
            'name the mask', field)
    return None, None
  if context.is_asked:
    return None, None
  stored, counts = value_counts.count_stored(
      mask, [*range(num_classes), types.UNLABELLED] if values is None else
      [*map(int, values)])
  is_known = lambda v: (
      str(v) in values if values is not None else _is_class(v, num_classes))
  unknown = [v for v in stored if not is_known(v)]
  if values is None and role == 'strong' and stored[-1] == 255 and set(
      stored) <= {0, 255}:
    log.add(f'mask holds 0 and 255, expected {allowed}', pixels.tail(path),
            '--mask_values=0:0,255:1, or `values` {"0": 0, "255": 1}', field)
  elif unknown:
    log.add(*_wrong_values(
        stored, counts, unknown, values, allowed, num_classes, form), field)
  else:
    label = rasterize.apply_values(mask, values)
    if role == 'strong':
      _check_exact(label, field, log, is_meant=values is not None)
    if context.kept is not None:
      context.kept.add_label(annotation, context.folder.root, label)
    return label, set(stored)
  return None, None


def _check_exact(label, field, log, *, is_meant=True):
  """Reports an exact mask with too many or unexplained unlabelled pixels.

  Args:
    label: class per pixel, uint8 [H, W].
    field: field of the row that holds the mask.
    log: log to which the problem is added.
    is_meant: whether the annotation says which stored value is unlabelled.
  """
  number = int(np.count_nonzero(label == types.UNLABELLED))
  if number and not (is_meant and rasterize.is_exact(label)):
    log.add('an exact mask has no unlabelled pixel',
            f'{grammar.counted(number, "pixel")} of {types.UNLABELLED}',
            'label them or use role weak', field)


def _is_class(value, num_classes):
  return type(value) is int and (
      0 <= value < num_classes or value == types.UNLABELLED)


def _has_pixels_of(image, mask):
  """Returns whether a mask is a copy of its image; constant images are not.

  Only the first channel of the image is compared.
  """
  middle = len(mask) // 2  # Nearly all pictures differ in this row already.
  line = image.crop((0, middle, image.width, middle + 1))
  return np.array_equal(
      mask[middle], rasterize.pixels_of(line)[0, :, 0]) and np.array_equal(
          mask, rasterize.pixels_of(image)[..., 0]) and not is_constant(image)


def is_constant(image: Image.Image) -> bool:
  """Returns whether all pixels and channels of an image are equal."""
  pixels_of_image = rasterize.pixels_of(image)
  return bool(pixels_of_image.min() == pixels_of_image.max())


def _wrong_size(found, expected):
  """Returns the fields what, found and fix of a problem with a mask's size.

  Args:
    found: height and width of the mask.
    expected: height and width of its image.
  """
  hint, fix = '', 'save both at one size'
  if found == expected[::-1]:
    hint, fix = ' (transposed?)', 'swap rows and columns of the mask'
  elif max(abs(f - e) for f, e in zip(found, expected, strict=True)) == 1:
    hint, fix = ' (one pixel off)', 'export both at one size; do not resize'
  return (
      'mask is of another size than its image, '
      f'{expected[0]} x {expected[1]}', f'{found[0]} x {found[1]}{hint}', fix)


def _wrong_values(stored, counts, unknown, values, allowed, num_classes, form):
  """Returns the fields what, found and fix of a problem with stored values.

  Args:
    stored: all stored values of the mask, ascending.
    counts: number of pixels of each stored value.
    unknown: the stored values that mean no class.
    values: maps stored values to classes, as the annotation gives it, or None.
    allowed: string that names the allowed values.
    num_classes: number of classes, background included.
    form: file format of the mask, such as 'PNG'.
  """
  if values is not None:
    allowed = f'keys of `values` ({", ".join(values)})'
  if len(unknown) > _MANY_VALUES or form == 'JPEG':
    value = np.array(stored)
    peaks = [int(k) for k in values] if values else [0, num_classes - 1, 255]
    near = np.abs(value[:, None] - np.array(peaks)).min(1) <= 24
    found = f'{len(stored)} values in {stored[0]} .. {stored[-1]}'
    if form == 'JPEG' or counts[near].sum() > 0.8 * counts.sum():
      return (
          f'noise of JPEG or resizing in a mask, expected {allowed}', found,
          'export it as PNG, or --mask_threshold=128 with --source')
    return (
        f'a gray picture, not labels, expected {allowed}', found,
        'threshold it, with --source by --mask_threshold=128, or name the mask')
  fix = 'map it by --mask_values, or by `values` of a manifest'
  if values is not None:
    fix = 'add it to --mask_values, or to `values` of a manifest'
  elif stored[0] >= 0 and len(stored) <= num_classes:
    example = {str(v): i for i, v in enumerate(stored)}
    flag = ','.join(f'{k}:{v}' for k, v in example.items())
    fix = f'map it: --mask_values={flag}, or `values` {json.dumps(example)}'
  return (f'label value outside the classes, expected {allowed}',
          ', '.join(map(str, unknown)), fix)


def _check_shapes(annotation, kind, size, num_classes, where, log):
  """Checks an annotation that is not a file: its shapes, or the tag's classes.

  Returns:
    The label map, uint8 [H, W], if the shapes are run lengths; None for other
    shapes, if there are problems, or if the image could not be read.
  """
  row = annotation_kinds.TABLE[kind]
  fields = ['labels'] if row.field is None else [row.field, 'labels']
  for field in fields:
    if not isinstance(annotation.get(field), list):
      log.add('expected a list', repr(annotation.get(field)),
              'add it, [] if there is no object', f'{where}.{field}')
      return None
  labels, shapes = annotation['labels'], annotation[fields[0]]
  if len(shapes) != len(labels):
    log.add(f'expected as many labels as shapes, {len(shapes)}',
            str(len(labels)), 'correct it', f'{where}.labels')
  lowest = 0 if row.is_sparse else 1
  is_open = row.may_be_open
  allowed = f'{lowest} .. {num_classes - 1}'
  allowed += f' or {types.UNLABELLED}' if is_open else ''
  for i, label in enumerate(labels):
    if type(label) is not int or not (
        lowest <= label < num_classes
        or is_open and label == types.UNLABELLED):
      log.add(f'expected a class in {allowed}', repr(label), 'correct it',
              f'{where}.labels[{i}]')
  if row.field is None:
    return None
  if row.has_width:
    width = annotation.get('width')
    if not (manifest_lib.is_number(width) and width > 0):
      log.add('expected a width in pixels above 0', repr(width), 'correct it',
              f'{where}.width')
  number = len(log.problems)
  label = covered = None
  if row.is_mask and size:
    label, covered = np.zeros(size, np.uint8), np.zeros(size, bool)
  for i, shape in enumerate(shapes):
    place = f'{where}.{fields[0]}[{i}]'
    if row.is_mask:
      mask = _check_rle(shape, size, place, log)
      if mask is not None and not mask.any():
        log.note('the shape covers no pixel', '',
                 'it is empty, or smaller than a pixel', place)
      if label is not None and len(log.problems) == number and i < len(labels):
        if labels[i] == types.UNLABELLED:
          mask &= ~covered  # Unlabelled shapes lie below all others.
        else:
          covered |= mask
        label[mask] = labels[i] if _is_class(labels[i], num_classes) else 0
    else:
      check_shape.check_shape(shape, kind, size, place, log)
  return label if len(log.problems) == number else None


def _check_rle(shape, size, place, log):
  """Decodes and checks a mask of run lengths; returns None if it is broken."""
  try:
    mask = rle.decode_rle(shape)
  except ValueError as error:
    log.add('run lengths cannot be read', str(error), 'export the mask again',
            place)
    return None
  if size is not None and mask.shape != size:
    log.add(*_wrong_size(mask.shape, size), place)
  return mask


def nearest(value: Any, known: Sequence[str]) -> str:
  """Returns a fix that suggests the known word most similar to a value."""
  near = isinstance(value, str) and difflib.get_close_matches(
      value, known, n=1, cutoff=0.4)
  return f'did you mean {near[0]!r}?' if near else 'use one of them'
