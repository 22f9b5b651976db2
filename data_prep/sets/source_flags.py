"""Defines the flags of `prepare --source`.

The flags determine how the user's files are read and how the images are used.
"""

import os
import pathlib
import re
from typing import TYPE_CHECKING

from absl import flags
import numpy as np

from data_prep import formats
from data_prep.drawing import annotation_kinds
from data_prep.drawing import rasterize
from data_prep.drawing import simulate
from data_prep.drawing import volume_annotations
from data_prep.formats import names as format_names
from data_prep.splits import strong_choice
from data_prep.volumes import levels
from data_prep.volumes import slabs

if TYPE_CHECKING:  # `own_set` is slow to import, and --help does not need it.
  from data_prep.sets import own_set
  from data_prep.sets import whole_set

# Default share of exact masks with --simulate. Without it, all masks are kept.
STRONG_FRACTION = 0.1
FAULT_FRACTION = 0.0
# Flags that have no meaning for volumes that stay whole.
NOT_FOR_VOLUMES = (
    'image_size', 'axis', 'near_copies', 'summary', 'strong_minutes')

_FORMAT = flags.DEFINE_enum(
    'format', None, list(format_names.READS),
    'Format of --source; detected by default.')
_NAME = flags.DEFINE_string(
    'name', None, 'Name of the set; default is the last part of --source.')
_CLASSES = flags.DEFINE_list(
    'classes', None, 'Class names, background first, if those of --source are '
    'missing or not wanted.')
_MASK_VALUES = flags.DEFINE_list(
    'mask_values', None, 'Class of each stored mask value, such as '
    '0:0,255:1; 255 as a class means unlabelled.')
_SCRIBBLE_VALUES = flags.DEFINE_list(
    'scribble_values', None, 'The same for scribbles, if their values mean '
    'something else than those of masks.')
_MASK_THRESHOLD = flags.DEFINE_float(
    'mask_threshold', None, 'Stored mask values from this one on are class 1, '
    'for masks that were saved as JPEG or hold probabilities.')
_MASK_FOLDER = flags.DEFINE_list(
    'mask_folder', None, 'Folder of the masks, or end of their names, if '
    'several pair with the pictures: 1st_manual, or _lesion; separate several '
    'by commas.')
_IMAGE_SUFFIX = flags.DEFINE_string(
    'image_suffix', None, 'End of the names of the pictures to read, if one '
    'mask belongs to several: _flair.')
_MASKS_ARE = flags.DEFINE_enum(
    'masks_are', 'mask', list(annotation_kinds.FILES),
    'What the masks of --source are.')
_POLYGONS_ARE = flags.DEFINE_enum(
    'polygons_are', 'polygon', ['polygon', 'mask'],
    'Whether the polygons of --source are exact masks.')
_POINTS_ARE = flags.DEFINE_enum(
    'points_are', 'points', ['points', 'extreme_points'],
    'Whether the points of --source are extreme points, four for each object.')
_LINES_ARE = flags.DEFINE_enum(
    'lines_are', 'scribble', ['scribble', 'line'],
    'Whether the open lines of --source are marks on objects, or the objects '
    'themselves, such as vessels or needles; then all that they do not cover '
    'is background.')
_VOC_BOXES_FROM = flags.DEFINE_integer(
    'voc_boxes_from', None, 'Number of the first pixel in VOC boxes: 1, as VOC '
    'says, or 0, as some converters write. Default is 0 if a corner is 0, else '
    '1.', lower_bound=0, upper_bound=1)
_STROKE_WIDTH = flags.DEFINE_float(
    'stroke_width', 3.0, 'Width of scribbles and lines in pixels, if --source '
    'does not say.',
    lower_bound=0.1)
_INTENSITY_RANGE = flags.DEFINE_list(
    'intensity_range', None, 'LOW,HIGH: intensities that become black and '
    'white if there are more than 8 bits; default percentiles 0.5 and 99.5.')
_AXIS = flags.DEFINE_integer(
    'axis', None, 'Axis along which volumes are sliced; default is the '
    'thinnest.', lower_bound=0, upper_bound=2)
_SUBJECT_PATTERN = flags.DEFINE_string(
    'subject_pattern', None, 'Regular expression; its first group, found in an '
    'id, is the subject. Default is the folder below images.')
_SUBJECTS = flags.DEFINE_string(
    'subjects', None, 'CSV file that names the subject of each picture: '
    'columns id, subject and, optionally, site, annotator; an id is that of a '
    'picture, a file or a volume.')
_LEAVE_OUT = flags.DEFINE_multi_string(
    'leave_out', [], 'What may be left out instead of being refused: shapes, '
    'defective (files, pictures), or @FILE with ids, files or patients, one '
    'per line, such as an old left_out.csv. Listed in OUTPUT/left_out.csv.')
_SPLITS = flags.DEFINE_string(
    'splits', None, 'File of splits and roles, such as an old '
    'OUTPUT/splits.csv; default is to draw them.')
_SPLIT_FRACTIONS = flags.DEFINE_list(
    'split_fractions', ['0.7', '0.1', '0.2'],
    'Shares of the exactly annotated images for train, val and test, if the '
    'source names no splits; not used with --num_folds.')
_SPLIT_BY = flags.DEFINE_enum(
    'split_by', 'subject', ['subject', 'site'], 'What no two splits share.')
_NUM_FOLDS = flags.DEFINE_integer(
    'num_folds', None, 'Number of folds, instead of --split_fractions.',
    lower_bound=2)
_FOLD = flags.DEFINE_integer(
    'fold', 0, 'The fold that becomes test; the next one becomes val.',
    lower_bound=0)
_SIMULATE = flags.DEFINE_list(
    'simulate', [], 'Kinds of weak labels for training images that do not '
    f'keep their mask: {", ".join(simulate.KINDS)}, or none.')
_VOLUMES = flags.DEFINE_bool(
    'volumes', False, 'Keep volumes whole, for training in 3-D; '
    f'--simulate then knows {", ".join(volume_annotations.KINDS)}.')
_MODALITY = flags.DEFINE_enum(
    'modality', None, list(levels.MODALITIES),
    'With --volumes: how intensities are read; found out by default.')
_SPACING_MM = flags.DEFINE_list(
    'spacing_mm', None, 'With --volumes: X,Y,Z, the spacing of the records '
    'along right, front and top; default is the median of the training set.')
_PLAN = flags.DEFINE_string(
    'plan', None, 'With --volumes: an edited plan.json of an older --output.')
_INSTANCES = flags.DEFINE_enum(
    'instances', None, ['volumes', 'slabs'],
    'What is trusted by itself: a weak volume (default), or each of its '
    'annotated slabs, stacks of slices (docs/own_data.md).')
_SLAB_SLICES = flags.DEFINE_integer(
    'slab_slices', None, 'With --instances=slabs: largest number of annotated '
    f'slices of a slab; default is {slabs.MAX_SLICES}.', lower_bound=1)
_STRONG_MINUTES = flags.DEFINE_float(
    'strong_minutes', None, 'Minutes of annotation that all training images '
    'may take, instead of --strong_fraction.', lower_bound=0.0)


def names() -> list[str]:
  """Returns the names of the flags that can be given only with --source."""
  return [holder.name for holder in globals().values()
          if isinstance(holder, flags.FlagHolder)
          and holder.name not in ('instances', 'intensity_range', 'leave_out')]


def slab_slices() -> int | None:
  """Returns the largest number of slices of a slab; None without slabs.

  Raises:
    ValueError: if a flag has no effect; the message is one line.
  """
  if _INSTANCES.value == 'slabs':
    return _SLAB_SLICES.value or slabs.MAX_SLICES
  if _SLAB_SLICES.present:
    raise ValueError(
        '--slab_slices is for --instances=slabs: give both or none')
  return None


def wants_volumes() -> bool:
  """Returns the value of --volumes."""
  return _VOLUMES.value


def wanted() -> 'whole_set.Wanted':
  """Returns what the flags ask of a set of volumes that stay whole.

  Raises:
    ValueError: if the value of a flag is wrong, or if a flag has no meaning for
      such a set; the message is one line.
  """
  from data_prep.sets import whole_set
  for other in NOT_FOR_VOLUMES:
    if flags.FLAGS[other].present:
      raise ValueError(f'--{other} is not for --volumes: remove it')
  if _PLAN.value is not None:
    if not os.path.isfile(_PLAN.value):
      raise ValueError(f'--plan={_PLAN.value}: no such file')
    for holder in (_MODALITY, _SPACING_MM, _INTENSITY_RANGE):
      if holder.present:
        raise ValueError(
            f'--{holder.name} is in the plan: edit it there, or leave out '
            '--plan')
  if _FORMAT.value not in (None, *format_names.VOLUMES):
    raise ValueError(f'--format={_FORMAT.value} holds no volumes; --volumes '
                     f'reads {", ".join(format_names.VOLUMES)}')
  spacing = _numbers('spacing_mm', _SPACING_MM.value, 3)
  if spacing is not None and min(spacing) <= 0:
    raise ValueError('--spacing_mm: expected three numbers above 0')
  return whole_set.Wanted(
      _MODALITY.value, spacing, _PLAN.value, subjects(), _NAME.value,
      format_name(), slab_slices=slab_slices())


def has_splits() -> bool:
  """Returns whether the user gave --splits."""
  return _SPLITS.value is not None


def format_name() -> str | None:
  """Returns the value of --format."""
  return _FORMAT.value


def name(source: pathlib.Path) -> str:
  """Returns the name of the set: --name, or the last part of the source."""
  return _NAME.value or source.resolve().stem


def leave_out() -> frozenset[str]:
  """Returns the parsed values of --leave_out, see `leaving_out.parse`.

  Raises:
    ValueError: if a value is wrong; the message is one line.
  """
  from data_prep.sets import leaving_out
  return leaving_out.parse(_LEAVE_OUT.value)


def subjects() -> str | None:
  """Returns the value of --subjects, or None if it is not given.

  Raises:
    ValueError: if the value cannot be used; the message is one line.
  """
  if _SUBJECTS.value is not None:
    if _SUBJECT_PATTERN.value is not None:
      raise ValueError('give --subjects or --subject_pattern, not both')
    if not os.path.isfile(_SUBJECTS.value):
      raise ValueError(f'--subjects={_SUBJECTS.value}: no such file')
  return _SUBJECTS.value


def options() -> formats.Options:
  """Returns the options for reading files that the flags give.

  Raises:
    ValueError: if the value of a flag is wrong; the message is one line.
  """
  values = rasterize.parse_values(_MASK_VALUES.value or (), 'mask_values')
  of_scribbles = rasterize.parse_values(
      _SCRIBBLE_VALUES.value or (), 'scribble_values')
  limits = _numbers('intensity_range', _INTENSITY_RANGE.value, 2)
  if limits is not None and limits[0] >= limits[1]:
    raise ValueError('--intensity_range: expected LOW,HIGH with LOW < HIGH')
  if _SUBJECT_PATTERN.value is not None:
    try:
      if re.compile(_SUBJECT_PATTERN.value).groups < 1:
        raise ValueError(
            '--subject_pattern has no group: write (...) around the subject')
    except re.error as error:
      raise ValueError(f'--subject_pattern: {error}') from error
  classes = _CLASSES.value
  if classes is not None and (
      len(classes) < 2 or len(set(classes)) < len(classes) or '' in classes):
    raise ValueError('--classes: expected two or more different names, '
                     'background first')
  return formats.Options(
      classes=None if classes is None else tuple(classes),
      mask_values=values, scribble_values=of_scribbles,
      mask_threshold=_MASK_THRESHOLD.value,
      masks_are=_MASKS_ARE.value, masks_are_given=bool(_MASKS_ARE.present),
      voc_boxes_from=_VOC_BOXES_FROM.value,
      polygons_are=_POLYGONS_ARE.value, points_are=_POINTS_ARE.value,
      lines_are=_LINES_ARE.value, stroke_width=_STROKE_WIDTH.value,
      intensity_range=limits,
      mask_folders=tuple(_MASK_FOLDER.value) if _MASK_FOLDER.value else None,
      image_suffix=_IMAGE_SUFFIX.value, axis=_AXIS.value,
      subject_pattern=_SUBJECT_PATTERN.value,
      leave_out=leave_out())


def plan(
    *,
    seed: int,
    strong_fraction: float | None,
    fault_fraction: float | None,
    near_copies: str,
) -> 'own_set.Plan':
  """Returns the options for choosing splits and roles that the flags give.

  Args:
    seed: seed of all random choices.
    strong_fraction: share of the training images that keep their exact masks.
      None means `STRONG_FRACTION` with --simulate, and all images without it.
    fault_fraction: share of the simulated labels that get a planted fault; None
      means `FAULT_FRACTION`.
    near_copies: value of --near_copies; 'refuse' keeps near copies in one
      split.

  Raises:
    ValueError: if the value of a flag is wrong; the message is one line.
  """
  from data_prep.sets import own_set
  from data_prep.splits import dividing
  kinds = volume_annotations.KINDS if _VOLUMES.value else simulate.KINDS
  unknown = set(_SIMULATE.value) - {*kinds, 'none'}
  if unknown:
    raise ValueError(f'--simulate: unknown {sorted(unknown)}; known: '
                     f'{", ".join(kinds)}, none')
  if not _VOLUMES.value:
    for holder in (_MODALITY, _SPACING_MM, _PLAN, _INSTANCES, _SLAB_SLICES):
      if holder.present:
        raise ValueError(f'--{holder.name} is for --volumes: give both')
  if _SPLITS.value is not None and not os.path.isfile(_SPLITS.value):
    raise ValueError(f'--splits={_SPLITS.value}: no such file')
  if _NUM_FOLDS.value is None and _FOLD.present:
    raise ValueError('--fold is for --num_folds: give both or none')
  if _NUM_FOLDS.value is not None and _FOLD.value >= _NUM_FOLDS.value:
    raise ValueError(
        f'--fold={_FOLD.value}: expected 0 to {_NUM_FOLDS.value - 1}')
  budget = None
  if _STRONG_MINUTES.value is not None:
    budget = strong_choice.Budget(minutes=_STRONG_MINUTES.value)
  elif _SIMULATE.value or strong_fraction is not None:
    budget = strong_choice.Budget(
        fraction=STRONG_FRACTION if strong_fraction is None else
        strong_fraction)
  return own_set.Plan(
      seed=seed, draw=dividing.Draw(
          seed=seed,
          fractions=_numbers('split_fractions', _SPLIT_FRACTIONS.value, 3),
          by=_SPLIT_BY.value, num_folds=_NUM_FOLDS.value, fold=_FOLD.value,
          keep_copies_together=near_copies == 'refuse'),
      splits_file=_SPLITS.value, budget=budget, simulate=_SIMULATE.value,
      fault_fraction=FAULT_FRACTION if fault_fraction is None else
      fault_fraction)


def _numbers(name, values, count):
  """Returns the numbers in a flag's value, or None if the flag is not given.

  Args:
    name: name of the flag, for the message.
    values: the numbers as strings, or None.
    count: number of values that the flag takes.

  Raises:
    ValueError: if the values are not `count` finite numbers.
  """
  if values is None:
    return None
  try:
    numbers = tuple(float(value) for value in values)
  except ValueError:
    numbers = ()
  if len(numbers) != count or not np.isfinite(numbers).all():
    raise ValueError(f'--{name}: expected {count} numbers, found {values}')
  return numbers
