"""Turns the shapes of one picture into its annotation, see `drawn`."""

import collections
from collections.abc import Iterable
from typing import Any

from hybridseg import types

from data_prep import formats
from data_prep.drawing import annotation_kinds
from data_prep.formats import class_names
from data_prep.formats import drawn
from data_prep.shared import grammar
from data_prep.shared import pixels


def usual_kinds(
    shapes: Iterable[tuple[str, list[drawn.Shape]]], classes: tuple[str, ...]
) -> dict[str, str]:
  """Returns the most frequent kind of shape in each split.

  A picture without shapes gets this kind of annotation. Each split is counted
  separately, since different people may have annotated val and test; pictures
  without objects may then have an exact, empty mask there. If val or test has
  no shapes, the shapes of both are counted together. If neither has any, or if
  train has none, the shapes of the whole set are counted.

  Args:
    shapes: split and shapes of each picture.
    classes: names of the classes. Shapes whose label is no class, or means "not
      annotated", do not count.
  """
  counts = collections.defaultdict(collections.Counter)
  for split, some in shapes:
    counts[split].update(
        s.kind for s in some if s.kind != 'unreadable' and (
            class_names.number_of(s.label, classes) not in (
                None, types.UNLABELLED)))
  every = sum(counts.values(), collections.Counter())
  evaluated = counts['val'] + counts['test']
  kinds = {}
  for split, count in counts.items():
    count = count or (split in ('val', 'test') and evaluated) or every
    kinds[split] = max(sorted(count), key=count.get) if count else 'box'
  return kinds


def settle_lines(items: list[Any], options: formats.Options) -> list[Any]:
  """Changes open lines to the kind that the user chooses; returns the items.

  By default, open lines are scribbles, and the items are returned unchanged.
  """
  if options.lines_are == 'scribble':
    return items
  stroke = annotation_kinds.TABLE['scribble'].shape
  form = annotation_kinds.TABLE[options.lines_are].shape
  return [
      item._replace(shapes=[
          s._replace(kind=form) if s.kind == stroke else s
          for s in item.shapes]) for item in items]


def settle_roles(items: list[Any], report: Any) -> Any:
  """Returns the report, with changed options if run lengths and polygons mix.

  If a set has both and the user does not say how exact they are, the changed
  options read the run lengths as coarse masks. Some tools write run lengths
  only for objects that a polygon cannot express, such as a crowd or an object
  with a hole. Such run lengths were drawn no more carefully than the polygons.
  """
  options = report.options
  kinds = {s.kind for item in items for s in item.shapes}
  if not {'rle', 'polygon'} <= kinds or options.masks_are_given or (
      options.masks_are != 'mask' or options.polygons_are == 'mask'):
    return report
  report.note('masks beside polygons are as weak as these; --polygons_are=mask '
              'if all are exact, --masks_are=mask if only the masks are')
  return report.at(options=options._replace(masks_are='coarse_mask'))


def to_annotation(
    shapes: list[drawn.Shape],
    size: tuple[int, int] | None,
    classes: tuple[str, ...],
    usual: str,
    report: Any,
) -> dict[str, Any] | None:
  """Returns the annotation of one picture; None if it is unlabelled.

  Args:
    shapes: the shapes drawn on the picture, labelled with class names.
    size: height and width of the picture; None if it could not be read.
    classes: names of the classes, background first.
    usual: kind of annotation for a picture without shapes.
    report: the report for this picture and the file that lists its shapes.
  """
  if size is not None and size[0] * size[1] > pixels.MAX_PIXELS:
    size = None  # Pictures this large are refused, so nothing is drawn.
  options = report.options
  shapes = drawn.fit(shapes, size, report)
  shapes = _numbered(shapes, classes, usual, options.classes is not None)
  if shapes is None or (
      any(s.kind == 'unreadable' for s in shapes)
      and usual not in drawn.AREAS
      and not any(s.kind in drawn.AREAS | drawn.SPARSE for s in shapes)):
    report.note('pictures with an annotation that has no area, or none that is '
                'known, are unlabelled')
    return None
  kind, shapes = drawn.one_kind(shapes, size, usual, report)
  found = annotation_kinds.TABLE.get(kind) or annotation_kinds.OF_SHAPE[kind]
  if not found.may_be_open:
    shapes = [s for s in shapes if s.label != types.UNLABELLED]
  labels, values = [s.label for s in shapes], [s.value for s in shapes]
  if found.field is None:
    return {'kind': found.name, 'labels': sorted({*labels} - {0})}
  if kind == 'point' and options.points_are == 'extreme_points':
    return _extreme_points(labels, values, report)
  annotation = {'kind': found.name, found.field: values, 'labels': labels}
  if found.has_width:
    widths = {s.width for s in shapes if s.width is not None}
    if len(widths) > 1:
      report.note(f'{found.field} of several widths on one picture: the widest '
                  'is taken for all')
    annotation['width'] = max(widths, default=options.stroke_width)
  return annotation


def _extreme_points(labels, values, report):
  """Returns the annotation of four points per object; None if one is missing.
  """
  fours = range(0, len(values), 4)
  if len(values) % 4 or any(len(set(labels[i : i + 4])) > 1 for i in fours):
    report.wrong_shape('extreme points come in fours of one class',
                       grammar.counted(len(values), 'point'),
                       'add the missing one')
    return None
  return {'kind': 'extreme_points', 'labels': labels[::4],
          'extreme_points': [values[i : i + 4] for i in fours]}


def _numbered(shapes, classes, usual, is_chosen):
  """Returns shapes with class numbers as labels; None if too little is known.

  Shapes whose label is not a class are left out. The result is None if a shape
  of a class cannot be read and its place is unknown. It is also None if no
  label is a class and no shape shows that somebody looked at the picture. A
  shape with a known place shows this, and so does a tag if `usual` is 'tag'.
  """
  result, outside = [], []
  for shape in shapes:
    number = class_names.number_of(shape.label, classes)
    if number is None and shape.label:
      outside.append(shape)
    elif shape.kind != 'unreadable':
      result.append(shape._replace(label=number))
    elif number != 0:
      if shape.value is None:
        return None
      result.append(shape._replace(label=types.UNLABELLED))
  says_nothing = lambda s: s.value is None and (
      s.kind == 'unreadable' or usual != 'tag')
  if outside and not result and all(map(says_nothing, outside)):
    return None
  if not is_chosen:
    result += [s._replace(label=types.UNLABELLED) for s in outside
               if s.kind == 'unreadable' and s.value is not None]
  return result
