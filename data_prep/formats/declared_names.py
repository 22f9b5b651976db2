"""Determines which class each stored mask value means, and the class names.

Both may be declared in nnU-Net's dataset.json, in the headers of volumes, and
by the flag --classes.
"""

from collections.abc import Sequence
import pathlib
import re
from typing import NamedTuple

from hybridseg import types

from data_prep import formats
from data_prep.formats import entries
from data_prep.formats import folder_names
from data_prep.formats import sources
from data_prep.shared import grammar
from data_prep.shared import pixels

_MAX_NAME = 60  # Largest length of a name that is composed of names of regions.
_IGNORED = re.compile(
    r'ignore(?: (?:label|region|area))?|ignored|un ?label+ed|void|undefined|'
    r'(?:not|un) ?annotated|not label+ed|do ?n ?t care|no annotation')


class Declared(NamedTuple):
  """Classes and stored values, as dataset.json and --classes declare them.

  Attributes:
    classes: class names, background first; None if nothing names them.
    values: maps each stored value to its class, or to 255 if it means
      unlabelled; None if stored values are class numbers.
    channels: names of the image channels; () if none are declared.
    dropped: stored values of classes that --classes leaves out, which become
      background.
  """

  classes: tuple[str, ...] | None = None
  values: dict[str, int] | None = None
  channels: tuple[str, ...] = ()
  dropped: frozenset[int] = frozenset()


def is_ignored_name(name: str) -> bool:
  """Returns whether a label, such as void, is a word for 'not annotated'."""
  return bool(_IGNORED.fullmatch(' '.join(
      w for w in folder_names.words(name) if not w.isdecimal())))


def read(
    source: pathlib.Path, paths: Sequence[str], report
) -> Declared:
  """Combines the classes in nnU-Net's dataset.json with those of --classes.

  The labels in dataset.json have the form {"background": 0, "tumour": 1} or, in
  nnU-Net's first version, {"0": "background", "1": "tumour"}. If the value of a
  label is a list, the label is a region that consists of all these values.
  Classes that --classes leaves out become background.

  Args:
    source: folder of the set.
    paths: paths of its files; dataset.json may lie in any folder that holds
      them all.
    report: holds the user's options; receives problems and notices.
  """
  name = sources.find_above(source, paths, 'dataset.json')
  report.used.add(name)
  names, ignored, channels = _read_labels(source / name, report)
  return declare(names, ignored, report, channels=channels)


def declare(
    names: dict[int, str],
    ignored: set[int],
    report,
    *,
    channels: tuple[str, ...] = (),
    where: str = 'dataset.json',
) -> Declared:
  """Combines the names of stored values with the classes of --classes.

  Args:
    names: names of the stored values that are classes; {} if unknown.
    ignored: stored values that mean unlabelled.
    report: holds the user's options; receives problems and notices.
    channels: names of the image channels; () if none are declared.
    where: file that declares the names, for messages.
  """
  options = report.options
  kept = [names[v] for v in sorted(names)]
  if options.classes is None:
    if not kept and not ignored:
      return Declared(channels=channels)
    # nnU-Net's ignore label has the highest value. If the classes have no
    # names, all values below it are classes.
    numbers = {v: i for i, v in enumerate(
        sorted(names) or range(min(ignored)))}
    classes = tuple(kept) or None
  else:
    classes = tuple(n for n in options.classes if not is_ignored_name(n))
    if len(classes) < len(options.classes):
      gone = [n for n in options.classes if is_ignored_name(n)]
      report.note(f'{", ".join(gone)[:40]} of --classes '
                  f'{grammar.verb(len(gone), "are")} read as unlabelled')
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
  """Returns the names of values, the ignored values, and the channels."""
  if not path.is_file():
    return {}, set(), ()
  channels, ignored = (), set()
  try:
    content = sources.read_json(path)
    channels = _channels(content)
    labels = [_name_and_values(*item) for item in content['labels'].items()]
    for name, values in labels:
      if is_ignored_name(str(name)):
        ignored |= {int(v) for v in values}
        report.note(f'{str(name)[:30]!r} of dataset.json, value '
                    f'{", ".join(map(str, values))[:20]}, is read as '
                    'unlabelled')
    labels = [(n, v) for n, v in labels if not is_ignored_name(str(n))]
    names = _names_by_value([
        (entries.text(name), {int(v) for v in values} - ignored)
        for name, values in labels])
    if any(len(values) > 1 for _, values in labels):
      listed = '; '.join(f'{v} is {n}' for v, n in sorted(names.items()) if v)
      report.note(
          'regions of dataset.json are read as the values they are made of: '
          f'{listed[:70]}; --classes names them otherwise')
    return names, ignored, channels
  except (pixels.WrongFile, AttributeError, KeyError, TypeError, ValueError):
    report.note('dataset.json names no classes 0, 1, ...: its names are not '
                'used')
    return {}, ignored, channels


def _name_and_values(key, value):
  number, name = (key, value) if str(key).isdecimal() else (value, key)
  return name, number if isinstance(number, list) else [number]


def _names_by_value(regions):
  """Names each stored value by the regions of dataset.json that contain it.

  The name is that of the smallest region with the value, minus the regions
  inside it. If 'whole' is [1, 2] and 'core' is [2], value 1 is named 'whole
  without core'.
  """
  names = {}
  for value in sorted(set().union(*(values for _, values in regions))):
    around = [(n, r) for n, r in regions if value in r]
    smallest = [(n, r) for n, r in around if not any(s < r for _, s in around)]
    inside = set.intersection(*(r for _, r in smallest))
    parts = [(n, r) for n, r in regions if value not in r and r & inside]
    name = ' and '.join(n for n, _ in smallest)
    without = ' and '.join(
        n for n, r in parts if not any(r < s for _, s in parts))
    if without:
      name = f'{name} without {without}'
    if len(smallest) + len(parts) > 1 and len(name) > _MAX_NAME:
      name = f'{smallest[0][0][: _MAX_NAME - 15]} at value {value}'
    names[value] = name
  if sorted(names) != list(range(len(names))) or len(
      set(names.values())) < len(names):
    raise ValueError('no classes 0, 1, ...')
  return names


def _chosen(names, kept, classes, report, where):
  """Returns the class of each stored value according to --classes.

  The result is None if the names are unknown or --classes does not fit them.
  """
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


def classes_of(
    structures: tuple[str, ...],
    declared: Declared,
    options: formats.Options,
    highest: int,
) -> tuple[str, ...]:
  """Returns the classes of a set of masks, background first.

  Args:
    structures: names of the foreground classes, if each has files of its own.
    declared: classes that the source and --classes declare.
    options: the user's options.
    highest: the highest class number in the masks.
  """
  if structures:
    return 'background', *structures
  return declared.classes or options.classes or numbered_classes(highest)


def numbered_classes(highest: int) -> tuple[str, ...]:
  """Returns names for the classes 0 to `highest` of a set without names."""
  if highest <= 1:
    return 'background', 'foreground'
  return 'background', *(f'class_{i}' for i in range(1, highest + 1))
