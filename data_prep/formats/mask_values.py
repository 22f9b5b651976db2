"""What the stored values of masks mean: classes, 255, or not annotated.

nnU-Net's dataset.json names them. Without it, they are class numbers; 255 is
class 1 where all masks of a kind hold nothing but 0 and 255, and unlabelled
where they hold classes, too. A value that covers most of every scribble, is the
largest, and no class of the exact masks, is unlabelled; what is less clear is
asked about.
"""

import pathlib
import re
from typing import NamedTuple

from hybridseg import types
import numpy as np

from data_prep import formats
from data_prep import pixels
from data_prep import rasterize
from data_prep.formats import intensities
from data_prep.formats import lossy_masks
from data_prep.formats import sources

_MAX_CLASS = 64  # Of masks whose classes no file names.
_MOST = 0.5  # Of the pixels of a scribble.
_NEARLY_ALL = 0.8
_IGNORED = re.compile(
    r'ignore(?: (?:label|region|area))?|ignored|un ?label+ed|void|undefined|'
    r'(?:not|un) ?annotated|not label+ed|do ?n ?t care|no annotation')


class Declared(NamedTuple):
  """What dataset.json and --classes say.

  Attributes:
    classes: class names, background first; None if nothing names them.
    values: class or 255 of each stored value; None if each is its own class.
    channels: names of the channels, if there are any.
    dropped: stored values of classes that become background.
  """

  classes: tuple[str, ...] | None = None
  values: dict[str, int] | None = None
  channels: tuple[str, ...] = ()
  dropped: frozenset[int] = frozenset()


def is_ignored_name(name: str) -> bool:
  """Returns whether a label is a tool's own 'not annotated': ignore, void."""
  return bool(_IGNORED.fullmatch(
      ' '.join(re.findall(r'[^\W\d_]+', name.lower()))))


def numbered_classes(highest: int) -> tuple[str, ...]:
  """Returns class names for masks up to a class that no file names."""
  if highest <= 1:
    return 'background', 'foreground'
  return 'background', *(f'class_{i}' for i in range(1, highest + 1))


def read_declared(
    source: pathlib.Path,
    options: formats.Options,
    report,
    *,
    name: str = 'dataset.json',
) -> Declared:
  """Returns what nnU-Net's dataset.json and --classes say of stored values.

  Its labels are {"background": 0, "tumour": 1} or, in its first version,
  {"0": "background", "1": "tumour"}; a label may be a list of values, which
  then is a region. Classes that --classes leaves out become background.
  """
  names, ignored, channels = _read_labels(source / name, report)
  return declare(names, ignored, options, report, channels=channels)


def declare(
    names: dict[int, str],
    ignored: set[int],
    options: formats.Options,
    report,
    *,
    channels: tuple[str, ...] = (),
    where: str = 'dataset.json',
) -> Declared:
  """Returns what names of stored values and --classes say together.

  Args:
    names: of the stored values that are classes; {} if nothing names them.
    ignored: stored values that mean unlabelled.
    options: what the user says.
    report: gets problems and notices.
    channels: names of the channels, if there are any.
    where: what lists the names, for messages.
  """
  kept = [names[v] for v in sorted(names)]
  if options.classes is None:
    if not kept and not ignored:
      return Declared(channels=channels)
    # nnU-Net's ignore label is the highest one.
    numbers = {v: i for i, v in enumerate(
        sorted(names) or range(min(ignored)))}
    classes = tuple(kept) or None
  else:
    classes = tuple(n for n in options.classes if not is_ignored_name(n))
    if len(classes) < len(options.classes):
      gone = [n for n in options.classes if is_ignored_name(n)]
      report.note(f'{", ".join(gone)[:40]} of --classes is read as unlabelled')
      if not names:
        ignored = ignored | {options.classes.index(n) for n in gone}
    if not names and ignored:
      numbers = {options.classes.index(n): i for i, n in enumerate(classes)}
    else:
      numbers = _chosen(names, kept, classes, report, where)
    if numbers is None:
      return Declared(classes, channels=channels)
  values = numbers | dict.fromkeys(ignored, types.UNLABELLED)
  if not ignored and all(k == v for k, v in values.items()):
    return Declared(classes, channels=channels)
  values.setdefault(types.UNLABELLED, types.UNLABELLED)
  dropped = frozenset(v for v, i in numbers.items() if v and not i)
  return Declared(classes, {str(k): v for k, v in sorted(values.items())},
                  channels, dropped)


def _channels(content):
  named = content.get('channel_names', content.get('modality'))
  return tuple(str(v)[:20] for _, v in sorted(named.items())) if isinstance(
      named, dict) else ()


def _read_labels(path, report):
  """Returns the name of each stored value, ignored values, and channels."""
  if not path.is_file():
    return {}, set(), ()
  channels, ignored = (), set()
  try:
    content = sources.read_json(path)
    channels = _channels(content)
    labels = content['labels']
    for key, value in labels.items():
      number, name = (key, value) if str(key).isdecimal() else (value, key)
      if is_ignored_name(str(name)):
        numbers = number if isinstance(number, list) else [number]
        ignored |= {int(v) for v in numbers}
        report.note(f'{str(name)[:30]!r} of dataset.json, value '
                    f'{", ".join(map(str, numbers))[:20]}, is read as '
                    'unlabelled')
    names = _label_names(labels)
    regions = [str(key)[:30] for key, value in labels.items()
               if isinstance(value, list) and not is_ignored_name(str(key))
               and len(value) > 1]
    if regions:
      report.note(
          'regions of dataset.json are read as the values they are made of, '
          f'each by its smallest region: {", ".join(regions)[:60]} is the name '
          'of what its parts leave; --classes names the values otherwise')
    return {v: n for v, n in names.items() if v not in ignored}, ignored, (
        channels)
  except (pixels.WrongFile, AttributeError, KeyError, TypeError, ValueError):
    report.note('dataset.json names no classes 0, 1, ...: its names are not '
                'used')
    return {}, ignored, channels


def _label_names(labels):
  """Returns the name of each stored value; of a region, of its smallest."""
  names, sizes = {}, {}
  for key, value in labels.items():
    number, name = (key, value) if str(key).isdecimal() else (value, key)
    numbers = number if isinstance(number, list) else [number]
    for one in numbers:
      if len(numbers) < sizes.get(int(one), 1 << 30):
        names[int(one)], sizes[int(one)] = sources.text(name), len(numbers)
  regular = sorted(v for v, n in names.items() if not is_ignored_name(n))
  if regular != list(range(len(regular))) or len(set(names.values())) < len(
      names):
    raise ValueError('no classes 0, 1, ...')
  return names


def _chosen(names, kept, classes, report, where):
  """Returns the class of each stored value that --classes is about, or None."""
  if not names:
    return None
  wanted = set(classes[1:])
  unknown = wanted - set(kept)
  if not unknown:
    left = [n for n in kept[1:] if n not in wanted]
    if left:
      report.note(f'classes of {where} that are not in --classes become '
                  f'background: {", ".join(left)[:80]}')
    return {v: classes.index(n) if n in wanted else 0
            for v, n in names.items()}
  if unknown == wanted and len(classes) == len(kept):
    return {v: i for i, v in enumerate(sorted(names))}
  report.wrong(
      f'--classes names what {where} does not: it has '
      f'{", ".join(kept)[:60]}', ', '.join(sorted(unknown)),
      'choose among them, or rename all of them')
  return None


def map_values(
    found: list[tuple[str, pathlib.Path]],
    options: formats.Options,
    report,
    declared: Declared = Declared(),
) -> tuple[dict[str, dict[str, int]], int]:
  """Reads all masks of a set, given by kind and path, and decides on values.

  Args:
    found: kind and path of each mask.
    options: what the user says.
    report: gets problems and notices.
    declared: what the source says.

  Returns:
    The class of each stored value by kind, where it is not the value itself,
    and the highest class.
  """
  read = pixels.map_in_threads(count_values, [path for _, path in found])
  if lossy_masks.ask(found, read, options, report):  # Said once, for the set.
    anything = {str(v): int(v > 0) for counts in read for v in counts}
    return {kind: anything for kind, _ in found}, 1
  return decide(
      [(kind, counts) for (kind, _), counts in zip(found, read, strict=True)],
      options, report, declared)


def decide(
    counted: list[tuple[str, dict[int, int]]],
    options: formats.Options,
    report,
    declared: Declared = Declared(),
) -> tuple[dict[str, dict[str, int]], int]:
  """Decides as `map_values`, from kind and pixels by stored value of each."""
  if options.mask_threshold is not None:
    return {}, 1
  stored = {kind: set() for kind, _ in counted}
  for kind, counts in counted:
    stored[kind] |= set(counts)
  _tell_dropped(counted, declared.dropped, report)
  mapping = {}
  for kind in sorted(stored, key=lambda k: k != 'mask'):  # Masks first.
    values = stored[kind]
    if kind == 'scribble' and options.scribble_values:
      mapping[kind] = options.scribble_values
      continue
    if options.mask_values:
      # Those of masks need not be those of scribbles.
      if kind != 'scribble' or values <= {*map(int, options.mask_values)}:
        mapping[kind] = options.mask_values
        continue
    elif declared.values is not None:
      mapping[kind] = declared.values
    elif kind != 'scribble' and 255 in values and values <= {0, 255}:
      report.note(f'{kind}s hold 0 and 255 only: 255 is class 1')
      mapping[kind] = {'0': 0, '255': 1}
    elif kind == 'mask' and 255 in values and len(values) > 2 and max(
        values - {255}) <= _MAX_CLASS and min(values) >= 0:
      report.note('masks hold classes and 255: 255 is unlabelled')
      mapping[kind] = {str(v): v for v in sorted(values)}
    elif declared.classes is None and options.classes is None:
      _ask_of_counts([c for k, c in counted if k == kind], report)
    if kind == 'mask':
      _ask_of_exact(counted, mapping, declared.classes or options.classes,
                    report)
    else:
      _ask_of_weak(kind, counted, stored, mapping, options, declared, report)
  classes = {v for kind, values in stored.items() for v in (
      mapping[kind].values() if kind in mapping else values)}
  highest = int(max((v for v in classes if v != 255), default=1))
  unnamed = options.classes is None and declared.classes is None
  if highest > 254 or unnamed and highest > _MAX_CLASS:
    report.wrong('masks hold values that are hardly class numbers',
                 f'up to {highest}',
                 'name them (--classes=...) if they are, map them '
                 '(--mask_values=0:0,128:1,...), or threshold them '
                 '(--mask_threshold=128)')
    highest = 1
  elif unnamed and not options.mask_values:
    _ask_of_gaps(classes - {255}, report)
  return mapping, highest


def _ask_of_gaps(values, report):
  """Asks if most numbers are unused; 0, 1, 3, 4 just lack a class."""
  if values and min(values) >= 0 and 2 * len({0, *values}) < max(values) + 1:
    used = sorted({0, *values})[:8]
    pairs = ','.join(f'{v}:{i}' for i, v in enumerate(used))
    report.wrong(
        'masks skip most class numbers up to their largest',
        ', '.join(map(str, used)),
        f'map them: --mask_values={pairs}, or name all by --classes')


def _ask_of_counts(masks, report):
  """Asks whether values count objects: 1 to n, with another n in each mask."""
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
        f'{sum(some)} pixels of {sum(n > 0 for n in some)} masks are of '
        'classes that --classes leaves out: they become background')


def _ask_of_exact(counted, mapping, named, report):
  """Asks about scribbles that lie where masks do: their top is nearly all."""
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


def _ask_of_weak(kind, counted, stored, mapping, options, declared, report):
  """Finds values of weak labels that mean 'not annotated', or asks."""
  masks = [c for k, c in counted if k == kind and c]
  known = mapping.get(kind) or {}
  values = {v for v in stored[kind] if known.get(str(v), v) != 255}
  if not values or max(values) > 255:
    return
  class_of = lambda v: known.get(str(v), v)
  of_masks = mapping.get('mask') or {}
  exact = {of_masks.get(str(v), v) for v in stored.get('mask', ())} - {255}
  named = declared.classes or options.classes
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
  doubtful = sorted({*common, *only_weak})
  if doubtful:
    why = ' and '.join(
        f'value {", ".join(map(str, some))} of the {kind}s {reason}'
        for some, reason in ((common, 'covers most of each'), (
            [v for v in only_weak if v not in common],
            'is in no exact mask')) if some)
    # Both kinds share --mask_values, which must not change the exact masks.
    flag = 'scribble_values' if kind == 'scribble' and exact & {
        *doubtful} else 'mask_values'
    pairs = ','.join(f'{v}:{255 if v in common else v}'
                     for v in sorted(values | exact)[:8])
    report.wrong(f'{why}: a class, or not annotated (255)?', '',
                 f'say it, such as --{flag}={pairs}')


def count_values(path: pathlib.Path) -> dict[int, int]:
  """Returns the pixels of each stored value of a mask; {} if it is damaged."""
  try:
    return counts_of(read_mask(path))
  except Exception:  # The check names what is wrong with it.
    return {}


def counts_of(mask: np.ndarray) -> dict[int, int]:
  """Returns the pixels of each value of an array of integers or floats."""
  if mask.dtype.kind in 'bui' and mask.size and (
      mask.itemsize == 1 and mask.dtype.kind != 'i'
      or mask.min() >= 0 and mask.max() < 2**16):
    counts = np.bincount(mask.ravel('K'))
    return {int(v): int(counts[v]) for v in np.flatnonzero(counts)}
  values, counts = np.unique(mask, return_counts=True)
  return dict(zip(values.tolist(), counts.tolist(), strict=True))


def read_mask(path: pathlib.Path) -> np.ndarray:
  """Reads the stored values of a mask, a picture or an NPY array."""
  if path.suffix.lower() == '.npy':
    return intensities.read_npy(path)
  return rasterize.read_mask(path)
