"""Decides which class, or unlabelled (255), each stored value of a mask means.

nnU-Net's dataset.json may declare the values. Without it, they are class
numbers, except in two cases. The value 255 is class 1 if all masks of a kind
hold only 0 and 255, and unlabelled if they also hold classes. In scribbles, the
largest value is unlabelled if it covers most of every scribble and is not a
class of the exact masks. If the meaning is unclear, a problem in the report
asks the user.
"""

import pathlib

import numpy as np

from data_prep.drawing import rasterize
from data_prep.formats import declared_names
from data_prep.formats import intensities
from data_prep.formats import lossy_masks
from data_prep.shared import grammar
from data_prep.shared import pixels

NO_CLASS = 'a stored value has no class'

_MAX_CLASS = 64  # Highest class number in masks if nothing names the classes.
_MOST = 0.5  # Share of a scribble's pixels that counts as most of them.
_NEARLY_ALL = 0.8
_COUNTED = 2**22  # Number of pixels that are counted at once.


def map_values(
    found: list[tuple[str, pathlib.Path]],
    report,
    declared: declared_names.Declared = declared_names.Declared(),
) -> tuple[dict[str, dict[str, int]], int]:
  """Reads all masks of a set and decides what their values mean.

  Args:
    found: kind and path of each mask.
    report: holds the user's options; receives problems and notices.
    declared: names and values that the source declares.

  Returns:
    For each kind of mask, a mapping of stored values to classes, and the
    highest class. A kind whose values are class numbers has no mapping.
  """
  if report.options.mask_threshold is not None:
    return {}, 1
  read = pixels.map_in_threads(count_values, [path for _, path in found])
  if lossy_masks.ask(found, read, report):
    # One problem about the set is enough, so avoid further ones.
    return {kind: _any_value(read) for kind, _ in found}, 1
  return decide(
      [(kind, counts) for (kind, _), counts in zip(found, read, strict=True)],
      report, declared)


def ask_of_structures(
    found: list[tuple[str, pathlib.Path]], report
) -> dict[str, int] | None:
  """Refuses JPEG masks of single structures if their values may be noise.

  Args:
    found: kind and path of each mask.
    report: holds the user's options; receives the problem.

  Returns:
    None if the masks are accepted. Otherwise, a mapping of their values to 0
    and 1, so that reading them causes no further problems.
  """
  if not any(lossy_masks.is_lossy(path) for _, path in found):
    return None  # Masks of other file types are checked when they are read.
  read = pixels.map_in_threads(count_values, [path for _, path in found])
  return _any_value(read) if lossy_masks.ask(found, read, report) else None


def _any_value(read):
  """Returns a mapping of all values to 0 or 1, to avoid further problems."""
  return {str(v): int(v > 0) for counts in read for v in counts}


def decide(
    counted: list[tuple[str, dict[int, int]]],
    report,
    declared: declared_names.Declared = declared_names.Declared(),
) -> tuple[dict[str, dict[str, int]], int]:
  """Does the same as `map_values` for masks whose pixels are already counted.

  Args:
    counted: kind of each mask, and its number of pixels by stored value.
    report: holds the user's options; receives problems and notices.
    declared: names and values that the source declares.
  """
  options = report.options
  if options.mask_threshold is not None:
    return {}, 1
  stored = {kind: set() for kind, _ in counted}
  for kind, counts in counted:
    stored[kind] |= set(counts)
  _tell_dropped(counted, declared.dropped, report)
  names = declared.classes or options.classes
  mapping = {}
  # Exact masks come first, since values of weak masks are compared with theirs.
  for kind in sorted(stored, key=lambda k: k != 'mask'):
    given = _given(kind, stored[kind], options)
    if given:
      mapping[kind] = given
      continue
    if not options.mask_values:
      usual = _usual(kind, stored[kind], declared, report)
      if usual:
        mapping[kind] = usual
      elif names is None:
        _ask_of_counts([c for k, c in counted if k == kind], report)
    if kind == 'mask':
      _ask_of_exact(counted, mapping, names, report)
    else:
      _ask_of_weak(kind, counted, stored, mapping, names, report)
  classes = {v for kind, values in stored.items() for v in (
      mapping[kind].values() if kind in mapping else values)} - {255}
  if not _are_class_numbers(classes, names, report):
    return mapping, 1
  if names is None and not options.mask_values:
    _ask_of_gaps(classes, report)
  if not report.problems:
    _tell_lacking(stored, mapping, names, report)
  return mapping, int(max(classes, default=1))


def _given(kind, values, options):
  """Returns the user's mapping for the values of a kind of mask, or None."""
  if kind == 'scribble' and options.scribble_values:
    return options.scribble_values
  # A mapping that was meant for masks applies to scribbles only if it names all
  # of their values.
  if options.mask_values and (
      kind != 'scribble' or values <= {*map(int, options.mask_values)}):
    return options.mask_values
  return None


def _usual(kind, values, declared, report):
  """Returns the declared or usual classes of the values of one kind of mask.

  The result is None if the values are class numbers.
  """
  if declared.values is not None:
    return declared.values
  if kind != 'scribble' and 255 in values and values <= {0, 255}:
    report.note(f'{kind}s hold 0 and 255 only: 255 is class 1')
    return {'0': 0, '255': 1}
  if kind == 'mask' and 255 in values and len(values) > 2 and max(
      values - {255}) <= _MAX_CLASS and min(values) >= 0:
    report.note('masks hold classes and 255: 255 is unlabelled')
    return {str(v): v for v in sorted(values)}
  return None


def _are_class_numbers(classes, names, report):
  """Returns whether `classes` may be class numbers; reports too large ones."""
  highest = max(classes, default=1)
  if highest <= (_MAX_CLASS if names is None else 254):
    return True
  report.wrong('masks hold values that are hardly class numbers',
               f'up to {int(highest)}',
               'name them (--classes=...) if they are, map them '
               '(--mask_values=0:0,128:1,...), or threshold them '
               '(--mask_threshold=128)')
  return False


def _ask_of_gaps(values, report):
  """Reports a problem if masks skip most class numbers below their largest.

  A few gaps are fine: in 0, 1, 3, 4 only class 2 does not occur.
  """
  if values and min(values) >= 0 and 2 * len({0, *values}) < max(values) + 1:
    used = sorted({0, *values})[:8]
    pairs = ','.join(f'{v}:{i}' for i, v in enumerate(used))
    report.wrong(
        'masks skip most class numbers up to their largest',
        ', '.join(map(str, used)),
        f'map them: --mask_values={pairs}, or name all by --classes')


def _ask_of_counts(masks, report):
  """Reports a problem if values seem to be object numbers and not classes.

  This is likely if each mask holds the values 1 to n, and n differs between
  masks.
  """
  found = [sorted(v for v in counts if v) for counts in masks if counts]
  numbers = {len(values) for values in found}
  if max(numbers, default=0) > 4 and len(numbers - {0}) > 3 and all(
      values == list(range(1, len(values) + 1)) for values in found):
    report.wrong(
        'each mask holds 1 to n with another n: do they count objects?',
        f'n up to {max(numbers)}', 'make them one class, --mask_threshold=1, '
        'or name the classes by --classes')


def _tell_dropped(counted, dropped, report):
  some = [sum(counts.get(v, 0) for v in dropped) for _, counts in counted]
  if any(some):
    report.note(
        f'{grammar.counted(sum(some), "pixel")} of '
        f'{grammar.counted(sum(n > 0 for n in some), "mask")} '
        f'{grammar.verb(sum(some), "become")} background: of classes that '
        '--classes leaves out')


def _ask_of_exact(counted, mapping, named, report):
  """Reports a problem if the largest value covers most of each exact mask.

  Such files may be scribbles in a folder for masks.
  """
  known = mapping.get('mask') or {}
  masks = [c for k, c in counted if k == 'mask' and c]
  values = {v for counts in masks for v in counts}
  top = max(values, default=0)
  if 2 <= top <= _MAX_CLASS and not known and (
      named is None or top >= len(named)) and len(values) > 2 and all(
          c.get(top, 0) > _NEARLY_ALL * sum(c.values()) for c in masks):
    pairs = ','.join(f'{v}:{255 if v == top else v}'
                     for v in sorted(values)[:8])
    report.wrong(
        f'value {top}, the largest, covers most of each mask: a class, or not '
        'annotated (255)?', '',
        f'say it, such as --mask_values={pairs}, and --masks_are=scribble')


def _ask_of_weak(kind, counted, stored, mapping, named, report):
  """Finds values of weak masks that mean 'not annotated', and maps them to 255.

  If it is not clear which values mean this, a problem asks the user. Updates
  `mapping`.

  Args:
    kind: kind of the weak masks.
    counted: kind of each mask, and its number of pixels by stored value.
    stored: stored values that occur, by kind.
    mapping: class of each stored value, by kind.
    named: class names; None if unknown.
    report: receives problems and notices.
  """
  masks = [c for k, c in counted if k == kind and c]
  known = mapping.get(kind) or {}
  values = {v for v in stored[kind] if known.get(str(v), v) != 255}
  if not values or max(values) > 255:
    return
  class_of = lambda v: known.get(str(v), v)
  of_masks = mapping.get('mask') or {}
  exact = {of_masks.get(str(v), v) for v in stored.get('mask', ())} - {255}
  common = [v for v in sorted(values) if kind == 'scribble' and all(
      c.get(v, 0) > _MOST * sum(c.values()) for c in masks)]
  only_weak = [v for v in sorted(values)
               if exact and class_of(v) not in exact and (
                   named is None or class_of(v) >= len(named))]
  top = max(values)
  if top in common and top not in exact and (
      exact or (named is not None and top >= len(named))):
    report.note(f'{top}, the largest value of the {kind}s, covers most of each '
                'and is in no exact mask: it is read as unlabelled')
    mapping[kind] = {str(v): known.get(str(v), v) for v in sorted(values)} | {
        str(v): 255 for v in stored[kind] - values} | {str(top): 255}
    only_weak = [v for v in only_weak if v != top]
    common = []
  if common or only_weak:
    rest = sorted(values.difference(common))
    if common and of_masks.get('255', 255) != 255 and 255 in stored[kind]:
      rest.append(255)  # In the exact masks of the set, 255 is a class.
    why = ' and '.join(
        f'value {", ".join(map(str, some))} of the {kind}s {reason}'
        for some, reason in ((common, 'covers most of each'), (
            [v for v in only_weak if v not in common],
            'is in no exact mask')) if some)
    flag, likely = _likely(
        kind, common, only_weak, values, exact,
        moved=_moved(rest, exact) if common else {})
    pairs = ','.join(f'{v}:{k}' for v, k in [*likely.items()][:8])
    report.wrong(f'{why}: a class, or not annotated (255)?', '',
                 f'say it, such as --{flag}={pairs}')
    mapping[kind] = likely  # This prevents further questions about the values.


def _likely(kind, common, only_weak, values, exact, *, moved):
  """Returns the flag that maps values of weak masks, and the likely mapping.

  Args:
    kind: kind of the masks.
    common: values that cover most of each mask, which become 255.
    only_weak: values that are classes of no exact mask.
    values: all values of the masks.
    exact: classes of the exact masks.
    moved: class of each value that differs from the number of its class.
  """
  # --mask_values applies to exact masks, too, and must not change them.
  own = kind == 'scribble' and exact & {*common, *only_weak, *moved}
  return 'scribble_values' if own else 'mask_values', {
      str(v): 255 if v in common else moved.get(v, v)
      for v in sorted((values if own else values | exact) | {*moved})}


def _moved(values, exact):
  """Returns the class of each scribble value if 0 means 'not annotated'.

  In such scribbles, the values stand for the classes of the exact masks in
  ascending order, so that 1, for example, means background. The result is {}
  if there are not as many values as classes.
  """
  if len(values) != len(exact) or exact.issuperset(values):
    return {}
  return dict(zip(values, sorted(exact), strict=True))


def _tell_lacking(stored, mapping, names, report):
  """Notes if scribbles mark no background or exact masks lack a class."""
  classes = {
      kind: {mapping.get(kind, {}).get(str(v), v) for v in values} - {255}
      for kind, values in stored.items()}
  exact = classes.pop('mask', ())
  for kind, found in classes.items():
    if kind == 'scribble' and found and 0 not in found:
      report.note('no scribble marks background, class 0: weak labels then say '
                  'where objects are, and never where none is')
    for number in sorted(found.difference(exact)) if exact else ():
      name = f' ({names[number][:40]})' if number < len(names or ()) else ''
      report.note(
          f'class {number}{name} occurs in {kind}s and in no exact mask')


def to_classes(
    stored: np.ndarray, values: dict[str, int] | None, shown: str
) -> np.ndarray:
  """Maps stored values to classes, as `rasterize.apply_values` does.

  Args:
    stored: the stored values.
    values: the class of each value; None if they are class numbers.
    shown: name of the file, for the message.

  Raises:
    pixels.WrongFile: if a stored value has no class.
  """
  try:
    return rasterize.apply_values(stored, values)
  except ValueError as error:
    raise pixels.WrongFile(
        NO_CLASS, f'{shown}: {error}', 'map it: --mask_values=0:0,1:1,...'
    ) from error


def count_values(path: pathlib.Path) -> dict[int, int]:
  """Returns the number of pixels per stored value; {} if a mask is damaged."""
  try:
    return counts_of(read_mask(path))
  except Exception:  # The check of the manifest reports what is wrong.
    return {}


def counts_of(mask: np.ndarray) -> dict[int, int]:
  """Returns the number of pixels per value of an integer or float array."""
  if mask.dtype.kind in 'bui' and mask.size and (
      mask.itemsize == 1 and mask.dtype.kind != 'i'
      or mask.min() >= 0 and mask.max() < 2**16):
    flat, length = mask.ravel('K'), int(mask.max()) + 1
    counts = np.zeros(length, np.int64)
    # NumPy converts what it counts to 8 bytes, which a volume has no room for.
    for start in range(0, flat.size, _COUNTED):
      counts += np.bincount(
          flat[start : start + _COUNTED], minlength=length)
    return {int(v): int(counts[v]) for v in np.flatnonzero(counts)}
  values, counts = np.unique(mask, return_counts=True)
  return dict(zip(values.tolist(), counts.tolist(), strict=True))


def read_mask(path: pathlib.Path) -> np.ndarray:
  """Reads the stored values of a mask from a picture or an NPY array."""
  if path.suffix.lower() == '.npy':
    return intensities.read_npy(path)
  return rasterize.read_mask(path)
