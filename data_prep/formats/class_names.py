"""Decides which labels of a source are classes.

A label may be a class, mean background, or be a tool's word for "not annotated"
(ignore, void, ...). Areas that have such a word as their label are unlabelled.
If the user gives --classes, other labels are left out. Without --classes, a
label that occurs only as a tag is left out if other labels have shapes: such a
tag is an attribute of the picture. A shape without a label is of the only class
that the user names if no shape has a label. Otherwise its class is not known,
and its place is unlabelled.
"""

import collections
import difflib

from hybridseg import types

from data_prep.drawing import covering
from data_prep.formats import declared_names
from data_prep.formats import drawn
from data_prep.shared import grammar

IGNORED = '__ignore__'  # LabelMe's label for unknown regions.
NAMELESS = '\0'  # Label of shapes without one, which no file can hold.
BACKGROUND = ('background', '_background_', '__background__', 'bg')

_MAX_SHOWN = 80
_ALIKE = 0.75


def is_background(label: str) -> bool:
  """Returns whether a label means background."""
  return label.lower() in BACKGROUND


def name_unnamed(items, report):
  """Gives shapes without a label one; returns the items.

  Args:
    items: the listed pictures, each an `assembling.Item`.
    report: holds the user's options; receives a problem or a notice.
  """
  every = [s for i in items for s in i.shapes if s.kind != 'unreadable']
  number = sum(not s.label for s in every)
  if not number:
    return items
  classes, named = report.options.classes or (), _without_class
  if number < len(every):
    report.note(f'{grammar.counted(number, "shape", "have")} no class: what '
                f'{"it covers" if number == 1 else "they cover"} is unlabelled')
  elif len(classes) == 2:
    report.note(f'no shape has a class: all are {classes[1]!r:.40}')
    named = lambda s: s._replace(label=classes[1])
  elif not report.problems:
    report.wrong('no shape has a class', grammar.counted(number, 'shape'),
                 'give each a class; or --classes=background,NAME if all are '
                 'of one')
  return [i._replace(shapes=[
      s if s.label or s.kind == 'unreadable' else named(s) for s in i.shapes])
          for i in items]


def _without_class(shape):
  """Returns a shape that makes the place of a shape unlabelled."""
  if shape.kind in drawn.AREAS:
    return shape._replace(label=NAMELESS)
  box = drawn.box_around(shape)
  if box is None:
    return drawn.unreadable('')
  x0, y0, x1, y1 = box
  reach = covering.POINT_RADIUS
  return drawn.Shape(
      'box', NAMELESS, [x0 - reach, y0 - reach, x1 + reach, y1 + reach])


def number_of(label: str, classes: tuple[str, ...]) -> int | None:
  """Returns the class number of a label; None if the label is left out.

  The number is 255 for a label that means "not annotated".
  """
  if label in classes:
    return classes.index(label)
  if is_background(label):
    return 0
  return types.UNLABELLED if label == NAMELESS or (
      declared_names.is_ignored_name(label)) else None


def find_classes(items, names: list[str], report) -> tuple[str, ...]:
  """Returns the class names of a source, background first.

  The report names the labels that are not classes.

  Args:
    items: the listed pictures, each an `assembling.Item`.
    names: foreground classes as the source lists them; [] uses all labels that
      occur.
    report: holds the user's options; receives problems and notices.
  """
  drawn, tags = {}, {}
  for item in items:
    for shape in item.shapes:
      if shape.kind != 'unreadable' and shape.label != NAMELESS:
        seen = tags if shape.kind == 'tag' else drawn
        seen.setdefault(shape.label, []).append(item.file)
  for label in sorted({*names, *drawn, *tags}):
    if declared_names.is_ignored_name(label):
      number = len(drawn.get(label, ()))
      shapes = f', {grammar.counted(number, "shape")},' if number else ''
      report.note(f'{label!r} is not a class: what is drawn under it{shapes} '
                  'is unlabelled')
  if report.options.classes is not None:
    classes = _chosen(names, drawn, tags, report)
  else:
    classes = _seen(names, drawn, tags, report)
  if len(classes) < 2:
    if not report.problems:
      report.wrong(
          'no class is known', '', 'name them: --classes=background,...')
    classes = ('background', 'foreground')
  return classes


def _is_class(label):
  return not is_background(label) and not declared_names.is_ignored_name(label)


def _seen(names, drawn, tags, report):
  """Returns the classes of a source if the user does not name any."""
  count = collections.Counter(names)
  for name in sorted(n for n, number in count.items() if number > 1):
    report.note(f'{name!r} is listed {count[name]} times: it is one class')
  attributes = sorted(
      label for label in tags if label not in drawn and _is_class(label)
  ) if any(_is_class(label) for label in drawn) else []
  if attributes:
    report.note(f'{_join(attributes)}: tags without any drawn shape are not '
                'classes; name them in --classes if they are')
  listed = dict.fromkeys(names or sorted({*drawn, *tags}))
  for label, files in sorted((drawn | tags).items()):
    if label not in listed and _is_class(label) and label not in attributes:
      report.wrong(f'a label is none of the classes {_join(listed)}',
                   repr(label), 'add it to the classes or correct it',
                   file=files[0])
  return ('background', *(
      n for n in listed if _is_class(n) and n not in attributes))


def _chosen(names, drawn, tags, report):
  """Returns the classes that the user names; a notice names other labels."""
  wanted = report.options.classes
  ignored = [n for n in wanted if declared_names.is_ignored_name(n)]
  if ignored:
    report.note(f'{_join(ignored)} of --classes '
                f'{grammar.verb(len(ignored), "are")} read as unlabelled')
  classes = tuple(n for n in wanted if n not in ignored)
  known = {*names, *drawn, *tags}
  left = sorted(label for label in known
                if label not in classes and _is_class(label))
  missing = [n for n in classes[1:] if n not in known]
  lower = {label.lower(): label for label in left}
  for name in missing:
    near = difflib.get_close_matches(name.lower(), lower, 1, _ALIKE)
    if near or (left and len(missing) == len(classes) - 1):
      report.wrong(
          f'--classes names {name!r:.40}, which no label is', _join(left),
          f'did you mean {lower[near[0]]!r:.40}?' if near
          else 'name classes as the source does')
      return classes
  for label in left:
    number = len(drawn.get(label, ())) + len(tags.get(label, ()))
    if number:
      report.note(f'{label!r} is not in --classes: '
                  f'{grammar.counted(number, "shape", "are")} left out, as '
                  'background')
  return classes


def _join(labels):
  text = ', '.join(map(str, labels))
  return text if len(text) <= _MAX_SHOWN else f'{text[: _MAX_SHOWN - 3]}...'
