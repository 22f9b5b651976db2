"""Evaluates a folder of predicted masks against a folder of references."""

from collections.abc import Callable, Sequence
import pathlib
import re
import sys
from typing import NamedTuple

from data_prep.drawing import rasterize
from data_prep.formats import grids
from data_prep.formats import sources
from data_prep.formats import volume_files
from data_prep.formats import volumes
from data_prep.shared import grammar
from data_prep.shared import pixels
from data_prep.shared import volume_type
from hybridseg import types
import numpy as np

from experiments import binary
from experiments import process_group
from experiments.evaluation import scoring
from experiments.prediction import pictures

_SUFFIXES = (*sorted(pixels.KNOWN_SUFFIXES), *volume_files.SUFFIXES)
_MAX_SHOWN = 3
# nnU-Net gives the first channel of an image a name that ends like this.
_CHANNEL = re.compile('_0000$')


class Options(NamedTuple):
  """How two folders are compared.

  Attributes:
    classes: names of the classes, background first; if empty, the classes that
      occur get the names class_1, class_2 and so on.
    reference_values: maps each value in the references to a class; None if the
      values are the classes.
    prediction_values: maps each value in the predictions to a class; None if
      the values are the classes.
    spacing_mm: millimetres per pixel (y, x) of images; None if they are not
      known. The files of volumes state their own.
    tolerance: tolerance of NSD, in mm if all spacings are known, else in
      pixels.
    missing_is_empty: whether a missing prediction counts as an empty one,
      instead of being refused.
  """

  classes: tuple[str, ...] = ()
  reference_values: dict[str, int] | None = None
  prediction_values: dict[str, int] | None = None
  spacing_mm: tuple[float, float] | None = None
  tolerance: float = 2.0
  missing_is_empty: bool = False


class Mask(NamedTuple):
  """One file of class numbers.

  Attributes:
    label_map: class numbers, uint8 [H, W] for an image, [A, B, C] for a volume.
    spacing_mm: millimetres per pixel along each axis; None if they are not
      known.
    volume: the volume with its geometry; None for an image.
    is_turned: whether the volume was turned to the axes of its reference.
  """

  label_map: np.ndarray
  spacing_mm: tuple[float, ...] | None
  volume: volume_type.Volume | None = None
  is_turned: bool = False


def evaluate_folders(
    predictions: str,
    references: str,
    options: Options,
    *,
    on_case: Callable[[scoring.EvaluatedCase], None] = lambda case: None,
    group: process_group.Group | None = None,
) -> scoring.Evaluated | None:
  """Scores the prediction for each reference.

  A prediction and a reference belong together if their paths below the folders
  differ at most in the suffix.

  Args:
    predictions: folder of masks of class numbers, as `experiments.predict`
      writes them.
    references: folder of masks of class numbers. The value 255 means
      unlabelled, unless `options` map it to a class.
    options: how to compare.
    on_case: function that is called with each case for the report, if this
      process has scored it.
    group: the processes that share the cases; by default, this one alone. Each
      of them looks at all files before.

  Returns:
    The scores and results; None in all processes but the first. They count each
    file as a subject of its own, since the subjects are not known.

  Raises:
    binary.UserError: if a file cannot be read or does not fit its partner; the
      message has one line for each problem.
    binary.Lost: if another process has ended.
  """
  group = group or process_group.Group()
  pairs = _pair(predictions, references, options.missing_is_empty)
  folders = pixels.open_folder(pathlib.Path(predictions)), pixels.open_folder(
      pathlib.Path(references))
  read = lambda name: _read_pair(*pairs[name], folders, options)
  found = _survey(pairs, read)
  classes = _choose_classes(found, options)
  _print_notices(found)
  in_mm = None not in found.spacings.values()

  def score():
    for name in group.share([*pairs]):
      group.check()
      first, second = (m.label_map for m in read(name))
      scores = scoring.score_case(
          first, second, num_classes=len(classes),
          spacing=found.spacings[name] if in_mm else None,
          tolerance=options.tolerance)
      on_case(_shown(
          name, scoring.named_scores(scores, classes), first, second))
      yield scoring.ScoredCase(name, name, scores)

  cases = scoring.gather(score(), group)
  if cases is None:
    return None
  scored = scoring.evaluate_cases(
      cases, classes, tolerance=options.tolerance, in_mm=in_mm)
  return scored._replace(results={
      'num_missing_predictions': sum(p is None for p, _ in pairs.values()),
  } | scored.results)


class _Survey(NamedTuple):
  """The findings of a first look at all pairs of files.

  Attributes:
    problems: one sentence for each pair that cannot be compared.
    highest: highest class that occurs.
    has_255: whether a reference holds 255.
    spacings: maps the name of each pair to its millimetres per pixel, or to
      None.
    turned: names of the predictions that were turned.
    odd: notices, each with the name of the pair that it is about.
  """

  problems: list[str]
  highest: int
  has_255: bool
  spacings: dict[str, tuple[float, ...] | None]
  turned: list[str]
  odd: list[tuple[str, str]]


def _survey(names, read):
  problems, highest, has_255, spacings = [], 0, False, {}
  turned, odd = [], []
  for name in names:
    try:
      first, second = read(name)
      highest = max(highest, _highest(first), _highest(second))
      spacings[name] = second.spacing_mm
      has_255 |= bool(np.any(second.label_map == types.UNLABELLED))
      if first.is_turned:
        turned.append(name)
      for mask in first, second:
        if mask.volume is not None:
          odd.extend((text, name) for text in mask.volume.notices)
    except pixels.WrongFile as wrong:
      problems.append(f'{name}: {wrong.what} ({wrong.found}): {wrong.fix}')
  return _Survey(problems, highest, has_255, spacings, turned, odd)


def _choose_classes(found, options):
  """Returns the names of the classes; raises an error if pairs do not fit."""
  problems, highest = [*found.problems], found.highest
  if found.has_255 and not highest and options.reference_values is None:
    problems.append(
        'the references hold 0 and 255 alone: say whether 255 is a class '
        '(--mask_values=0:0,255:1) or unlabelled (--mask_values=0:0,255:255)')
  classes = options.classes or tuple(
      ['background', *(f'class_{i}' for i in range(1, max(highest, 1) + 1))])
  if highest >= len(classes):
    problems.append(
        f'--classes names {grammar.counted(len(classes), "class")}, but class '
        f'{highest} occurs: name all, or map stored values by --mask_values')
  if problems:
    rest = len(problems) - 20
    raise binary.UserError('\nError: '.join(
        problems[:20] + (
            [grammar.counted(rest, 'more problem')] if rest > 0 else [])))
  return classes


def _print_notices(found):
  if found.turned:
    print(f'notice: {_some(found.turned, "prediction", "are")} stored flipped '
          'or with other axes than the reference, and turned to its grid',
          file=sys.stderr)
  for text in sorted({text for text, _ in found.odd}):
    names = sorted({name for other, name in found.odd if other == text})
    print(f'notice: {_some(names, "volume")}: {text}', file=sys.stderr)


def _shown(name, scores, prediction, reference):
  """Returns a case for the report; of a volume, it shows the fullest slice."""
  if reference.ndim == 3:
    found = (reference > 0) & (reference != types.UNLABELLED) | (prediction > 0)
    axis = int(np.argmin(reference.shape))
    other = tuple(i for i in range(3) if i != axis)
    k = int(found.sum(axis=other).argmax())
    prediction, reference = (
        np.take(m, k, axis) for m in (prediction, reference))
  image = np.zeros((*reference.shape, 1), np.uint8)
  return scoring.EvaluatedCase(
      name, '', scores, image, reference, prediction, {})


def _pair(predictions, references, missing_is_empty):
  """Pairs predictions and references by name.

  Returns:
    A dict that maps each path without its suffix to the paths of the prediction
    and of the reference, relative to their folders. A missing prediction is
    None.
  """
  found = []
  for flag, folder in ('predictions', predictions), ('references', references):
    if not pathlib.Path(folder).is_dir():
      raise binary.UserError(f'--{flag}={folder}: no such folder.')
    names = sources.list_files(pathlib.Path(folder), _SUFFIXES)
    by_stem = {pictures.without_suffix(name): name for name in names}
    if len(by_stem) < len(names):
      raise binary.UserError(
          f'--{flag}={folder}: several files differ in their suffix alone: '
          'keep one of each.')
    found.append(by_stem)
  predicted, wanted = found
  # In nnU-Net, an image and its prediction are named a_0000, but the reference
  # is named a.
  predicted = {
      _CHANNEL.sub('', n) if n not in wanted and _CHANNEL.sub('', n) in wanted
      else n: path for n, path in predicted.items()}
  if not wanted:
    raise binary.UserError(f'--references={references} holds no masks.')
  missing = sorted(set(wanted) - set(predicted))
  if missing and not missing_is_empty:
    raise binary.UserError(
        f'{_some(missing)} of {grammar.counted(len(wanted), "reference")} '
        f'{grammar.verb(len(missing), "have")} no prediction of the same name: '
        'add it, or count what is missing as empty by --missing_is_empty.')
  extra = sorted(set(predicted) - set(wanted))
  if extra:
    print(f'notice: {_some(extra, "prediction", "have")} no reference: left '
          'out', file=sys.stderr)
  return {name: (predicted.get(name), wanted[name]) for name in sorted(wanted)}


def _some(names: Sequence[str], noun: str = '', does: str = '') -> str:
  """Returns a part of a sentence: the number of names, and the first of them.

  Args:
    names: names of files.
    noun: noun for what is named, such as 'prediction'; '' leaves it out.
    does: verb that follows, in the plural, such as 'have'; '' leaves it out.
  """
  shown = ', '.join(map(repr, names[:_MAX_SHOWN]))
  number = grammar.counted(len(names), noun) if noun else f'{len(names)}'
  return (f'{number} ({shown}{", ..." if len(names) > _MAX_SHOWN else ""})'
          + (f' {grammar.verb(len(names), does)}' if does else ''))


def _read_pair(predicted, reference, folders, options):
  second = _read(
      reference, folders[1], options.reference_values, options, 'reference')
  if predicted is None:
    return second._replace(label_map=np.zeros_like(second.label_map)), second
  first = _read(
      predicted, folders[0], options.prediction_values, options, 'prediction')
  if first.volume is not None and second.volume is not None:
    # Both files show the same voxels, but may store the axes in different
    # orders or directions.
    placed = grids.place(
        first.volume, second.volume, pixels.tail(predicted),
        nouns=('prediction', 'its reference'))
    first = first._replace(
        label_map=placed.voxels.reshape(second.label_map.shape),
        is_turned=placed.is_turned)
  if first.label_map.shape != second.label_map.shape:
    raise pixels.WrongFile(
        'prediction and reference differ in size',
        f'{first.label_map.shape} and {second.label_map.shape}',
        'predict at the size of the reference')
  if np.any(first.label_map == types.UNLABELLED):
    raise pixels.WrongFile(
        'the prediction holds 255, which means unlabelled', predicted,
        'map its values: --prediction_values=0:0,255:1')
  return first, second


def _read(name, folder, values, options, noun):
  """Reads a mask.

  Args:
    name: path of the file below the folder.
    folder: folder from which it is read.
    values: maps each stored value to a class; None if the values are the
      classes.
    options: how the folders are compared.
    noun: 'reference' or 'prediction', for messages.
  """
  flag = {'reference': 'mask', 'prediction': 'prediction'}[noun] + '_values'
  if volume_files.is_volume(name):
    pixels.check_file(name, 'volume', folder)
    volume = volume_files.read(folder.root / name)
    stored = volumes.class_numbers(volume, pixels.tail(name))
    spacing = volume.spacing_mm
    if stored.shape[2] == 1:
      stored, spacing = stored[..., 0], spacing[:2]
  else:
    with pixels.opened(name, noun, folder) as (path, _):
      try:
        stored = rasterize.read_mask(path, values)
      except ValueError as error:
        raise pixels.WrongFile(
            f'the {noun} is not a mask', str(error), 'save class numbers'
        ) from error
    spacing, volume = options.spacing_mm, None
    stored = stored.astype(np.int64)
  try:
    label_map = rasterize.apply_values(stored, values)
  except ValueError as error:
    raise pixels.WrongFile(
        f'a stored value of the {noun} has no class', str(error),
        f'map it: --{flag}=0:0,255:1') from error
  if volume is not None:
    volume = volume._replace(voxels=label_map.reshape(volume.voxels.shape))
  return Mask(label_map, spacing, volume)


def _highest(mask):
  known = mask.label_map[mask.label_map != types.UNLABELLED]
  return int(known.max(initial=0))
