"""Holds shapes from foreign files, and converts those of a picture to one kind.

A row of a manifest holds one kind of annotation. If a picture has shapes of
several kinds, they are converted to one kind that can express them all. The
rules ensure that a region that nobody looked at never becomes background:

  Areas (run lengths, polygons, boxes, ellipses or lines) of one kind stay as
  they are, unless they are lines of several widths. Areas that are marked as
  not annotated do not count as another kind. An exact mask with such areas
  stays exact within the limit of `rasterize.is_exact`.
  Areas of several kinds, or lines of several widths, are drawn into one coarse
  mask, later ones on top. If all are polygons and run lengths, and both kinds
  are exact, the result is an exact mask.
  If a picture has both strokes and points but no area, points become strokes.
  Strokes and points beside areas are left out if each lies within an area of
  its class. Otherwise all shapes are drawn as a coarse mask, in which pixels
  without a shape are unlabelled.
  Tags beside shapes are left out. If a tag names a class without a shape on the
  picture, pixels without a shape are unlabelled.
  If a shape cannot be used, its box is unlabelled, or the whole picture if the
  place of the shape is unknown.
"""

from typing import Any, NamedTuple

from hybridseg import types
import numpy as np

from data_prep import manifest
from data_prep.checks import check_shape
from data_prep.drawing import annotation_kinds
from data_prep.drawing import rasterize
from data_prep.drawing import rle
from data_prep.shared import geometry
from data_prep.shared import pixels

_KINDS = annotation_kinds.TABLE.values()
AREAS = frozenset(kind.shape for kind in _KINDS if kind.is_dense)
SPARSE = frozenset(
    kind.shape for kind in _KINDS if kind.field and not kind.is_dense)

_UNKNOWN = types.UNLABELLED
_NAMES = {kind.shape: 'masks' if kind.is_mask else kind.field
          for kind in _KINDS if kind.field}
# The kinds whose shapes are given by coordinates.
_CHECKED = {kind.shape: kind for kind in _KINDS if kind.cover}
# A box or a point that leaves its picture by up to this many pixels, or this
# share of the picture's side, is cut off at the edge. If it lies farther out,
# it must belong to another picture or be given in another unit.
_LITTLE = 3.0
_LITTLE_SHARE = 0.05
_FAR_SHARE = 0.25  # Largest share of an outline's box outside of the picture.


class Shape(NamedTuple):
  """One shape on one picture.

  Attributes:
    kind: 'rle', 'polygon', 'box', 'ellipse', 'line', 'stroke', 'point',
      'extreme_points', 'tag', or 'unreadable' for a shape that cannot be used.
    label: class name; '' if it is unknown.
    value: the shape as a manifest lists it; None for a tag. For an unreadable
      shape, a box around its place, or None if the place is unknown.
    width: width of a stroke or line in pixels; None if the file gives none.
  """

  kind: str
  label: str
  value: Any = None
  width: float | None = None


def box_around(shape: Shape) -> list[float] | None:
  """Returns the box [x0, y0, x1, y1] around a shape; None if it is empty."""
  if shape.kind in ('box', 'unreadable') or shape.value is None:
    return shape.value
  if shape.kind == 'rle':
    mask = rle.decode_rle(shape.value)
    if not mask.any():
      return None
    return [int(v) for v in geometry.tight_box(mask)]
  return annotation_kinds.OF_SHAPE[shape.kind].around(shape.value)


def unreadable(label: str, points: Any = None) -> Shape:
  """Returns a shape of kind 'unreadable'.

  Args:
    label: class name, or '' if it is unknown.
    points: coordinates x, y, ... or [[x, y], ...]; the value of the shape is
      the box around them. The place is unknown if they are anything else, or if
      the box is thinner than a pixel, since points may be missing.
  """
  try:
    corners = np.array(points, float).reshape(-1, 2)
    low, high = corners.min(0), corners.max(0)
    if (high - low).min() >= 1 and np.abs(corners).max() < manifest.LIMIT:
      return Shape('unreadable', label, [*low.tolist(), *high.tolist()])
  except (TypeError, ValueError, OverflowError):
    pass
  return Shape('unreadable', label)


def turned_box(box: list[float], angle_deg: float, *, pivot: Any) -> list[Any]:
  """Returns the corners of a box after turning it clockwise about a pivot."""
  x0, y0, x1, y1 = box
  corners = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], float) - pivot
  cos, sin = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
  turned = corners @ np.array([[cos, sin], [-sin, cos]]) + pivot
  return np.round(turned, 6).tolist()


def fit(
    shapes: list[Shape], size: tuple[int, int] | None, report
) -> list[Shape]:
  """Returns the shapes after checking that each can be drawn on the picture.

  A shape that cannot be drawn is reported and becomes 'unreadable'. Boxes and
  points that lie slightly outside of the picture are cut off at its edge.

  Args:
    shapes: shapes as a file lists them.
    size: height and width of the picture; None if it is not known.
    report: the report for this picture and the file that lists its shapes.
  """
  result = []
  for shape in shapes:
    kind = _CHECKED.get(shape.kind)
    if kind is None:
      result.append(shape)
      continue
    if size is not None and not kind.may_leave:
      shape = _cut(shape, size, report)
    log = _FirstProblem()
    numbers = check_shape.check_shape(shape.value, kind.name, size, '', log)
    if size is not None and not log.problem and kind.may_leave:
      _check_place(shape, numbers, size, report, log)
    if log.problem:
      what, found, fix, _ = log.problem
      report.wrong_shape(what, found, fix)
      # A shape outside of the picture does not show where the object is.
      has_place = 'outside' not in what and shape.kind != 'ellipse'
      shape = unreadable(shape.label, shape.value if has_place else None)
    result.append(shape)
  return result


def _check_place(shape, numbers, size, report, log):
  """Notes that an outline leaves its picture; refuses it if it lies far out.

  Hand-drawn outlines often leave the picture, so they are cut off at its edge.
  """
  low, high = (numbers.min(0), numbers.max(0)) if numbers.ndim == 2 else (
      np.array(box_around(shape), float).reshape(2, 2))
  end = np.array([size[1], size[0]], float)
  beyond = np.maximum(np.maximum(-low, high - end), 0)
  if beyond.max() <= check_shape.TOLERANCE:
    return
  inside = np.clip(np.minimum(high, end) - np.maximum(low, 0), 0, None)
  outside = 1 - np.prod(inside / np.maximum(high - low, 1e-9))
  if outside > _FAR_SHARE and not _is_little(beyond, end):
    log.add('a large part of an outline lies outside of the picture',
            f'{100 * outside:.0f} % of its box', 'correct it', '')
    return
  report.note(f'{_NAMES[shape.kind]} that leave their picture are cut off at '
              'its edge')


class _FirstProblem:
  """A log for `check_shape` that keeps the first problem."""

  problem = None

  def add(self, *problem):
    self.problem = self.problem or problem

  def note(self, *notice):
    """Does nothing: the check of the manifest will give the same notice."""


def _cut(shape, size, report):
  """Cuts off a box or point at the picture's edge if it is slightly outside."""
  try:
    corners = np.array(shape.value, float).reshape(-1, 2)
  except (TypeError, ValueError):
    return shape
  end = np.array([size[1], size[0]], float)
  beyond = np.maximum(-corners, corners - end).max(0)
  if beyond.max() <= check_shape.TOLERANCE or not _is_little(beyond, end):
    return shape
  cut = np.clip(corners, 0, end)
  if shape.kind == 'box' and (cut[1] <= cut[0]).any():
    return shape
  report.note(f'{_NAMES[shape.kind]} that leave their picture by a little are '
              'cut off at its edge')
  return shape._replace(value=[
      int(v) if v == int(v) else v for v in cut.ravel().tolist()])


def _is_little(beyond, end):
  return bool((beyond <= np.maximum(_LITTLE, _LITTLE_SHARE * end)).all())


def paste(
    part: np.ndarray, corner: tuple[int, int], size: tuple[int, int], report
) -> dict[str, Any]:
  """Pastes a mask into an empty picture; returns the picture's run lengths.

  Args:
    part: the mask, bool [h, w].
    corner: place (x, y) of its first pixel in the picture.
    size: height and width of the picture.
    report: receives a notice if the mask lies slightly outside of the picture.

  Raises:
    ValueError: if the mask lies farther outside, or the picture is too large.
  """
  if size[0] * size[1] > pixels.MAX_PIXELS:
    raise ValueError(f'a picture of {size[0]} x {size[1]} is too large')
  low, end = np.array(corner), np.array([size[1], size[0]])
  high = low + part.shape[::-1]
  beyond = np.maximum(np.maximum(-low, high - end), 0)
  if beyond.any():
    if not _is_little(beyond, end):
      raise ValueError('the mask lies outside of the picture')
    report.note('masks that leave their picture by a little are cut off at its '
                'edge')
  (x0, y0), (x1, y1) = np.clip([low, high], 0, end)
  mask = np.zeros(size, bool)
  left, top = low
  mask[y0:y1, x0:x1] = part[y0 - top : y1 - top, x0 - left : x1 - left]
  return rle.encode_rle(mask)


def one_kind(
    shapes: list[Shape],
    size: tuple[int, int] | None,
    usual: str,
    report,
) -> tuple[str, list[Shape]]:
  """Converts the shapes of a picture to one kind, by the rules of this module.

  Args:
    shapes: shapes whose labels are class numbers, 0 for background and 255 for
      unlabelled; the place of each is known.
    size: height and width of the picture; None if it is not known.
    usual: kind for a picture without usable shapes. It must be a kind of area
      if the picture has only unreadable shapes.
    report: holds the user's options; receives notices.

  Returns:
    The kind of the annotation ('mask' or 'coarse_mask' if the shapes are run
    lengths, otherwise the kind of the shapes), and the shapes.
  """
  options = report.options
  of = lambda kinds: [s for s in shapes if s.kind in kinds]
  tags, sparse, lost = of({'tag'}), of(SPARSE), of({'unreadable'})
  areas = [s for s in of(AREAS) if s.label]
  if (sparse or tags and not lost) and all(s.label == _UNKNOWN for s in areas):
    areas = []  # With strokes or points, other pixels are unlabelled anyway.
  if not areas and (sparse or not lost):
    if tags and sparse:
      report.note('tags beside points or strokes are left out')
    found = _one_sparse(sparse, report) if sparse else tags
    return _kind_of(found[0].kind if found else usual, options), found
  if size is None:  # Nothing can be drawn: the picture will be refused.
    return _kind_of(usual, options), []
  rest_is_open, kept = _rest(shapes, areas, tags, sparse, size, report)
  opened = [[0, 0, size[1], size[0]]] * rest_is_open + [s.value for s in lost]
  kinds = {s.kind for s in kept if s.label != _UNKNOWN} or (
      AREAS & {usual}) or {s.kind for s in kept}
  exact = {kind for kind, is_exact in (
      ('rle', options.masks_are == 'mask'),
      ('polygon', options.polygons_are == 'mask')) if is_exact}
  kept = [*(Shape('box', _UNKNOWN, box) for box in opened), *kept]
  if len(kinds) == 1 and not kinds <= {'rle', *exact}:
    kind, = kinds
    same = _as_one(kept, kind, report)
    return (kind, same) if same is not None else (
        'coarse_mask', _as_masks(kept, size, options))
  if kinds <= exact and not opened:
    return _exact_if_known(_as_masks(kept, size, options), size, report)
  if len(kinds) > 1 and kinds <= AREAS:
    names = ' and '.join(n for k, n in _NAMES.items() if k in kinds)
    report.note(f'{names} on one picture are drawn as one coarse mask')
  return 'coarse_mask', _as_masks(kept, size, options)


def _as_one(shapes, kind, report):
  """Returns areas as shapes of one kind; None if they must become a mask."""
  width_of = lambda s: s.width or report.options.stroke_width
  same = [_as_kind(s, kind) if s.label == _UNKNOWN else s for s in shapes]
  if None in same:
    report.note(f'{_NAMES[kind]} beside an unlabelled area of another form are '
                'drawn as one coarse mask')
  elif len({width_of(s) for s in same}) > 1:
    report.note(f'{_NAMES[kind]} of several widths on one picture are drawn as '
                'one coarse mask')
  else:
    return same
  return None


def _as_masks(shapes, size, options):
  """Returns shapes as run lengths."""
  return [s if s.kind == 'rle' else s._replace(
      kind='rle', value=rle.encode_rle(draw(s, size, options.stroke_width)))
          for s in shapes]


def _exact_if_known(masks, size, report):
  """Returns 'mask' or 'coarse_mask' for masks that may be exact, and them."""
  labels = [s.label for s in masks]
  if _UNKNOWN not in labels or rasterize.is_exact(rasterize.rasterize(
      {'kind': 'mask', 'rles': [s.value for s in masks], 'labels': labels},
      size=size, root=None)):
    return 'mask', masks
  report.note('exact masks of which more than a tenth is marked as not '
              'annotated become coarse masks')
  return 'coarse_mask', masks


def _kind_of(kind, options):
  """Returns the annotation kind of a picture with only one kind of shape."""
  if kind == 'polygon' and options.polygons_are == 'mask':
    return 'mask'
  return options.masks_are if kind == 'rle' else kind


def _rest(shapes, areas, tags, sparse, size, report):
  """Returns whether pixels without a shape are unlabelled, and what to draw."""
  is_open = report.options.masks_are == 'scribble' and any(
      s.kind == 'rle' for s in areas)
  if tags:
    report.note('tags beside shapes are left out')
    if {s.label for s in tags} - {s.label for s in areas} - {0, _UNKNOWN}:
      report.note('tags name classes without a shape: the rest of these '
                  'pictures is unlabelled')
      is_open = True
  sparse = [s for s in sparse if s.label not in (0, _UNKNOWN)]
  width = report.options.stroke_width
  if all(_lies_within(s, areas, size, width) for s in sparse):
    if sparse:
      report.note('points and strokes within boxes or outlines of their class '
                  'are left out')
    return is_open, areas
  report.note('points or strokes beside boxes or outlines: all are drawn as a '
              'coarse mask, whose rest is unlabelled')
  both = {id(s) for s in (*areas, *sparse)}
  return True, [s for s in shapes if id(s) in both]


def _one_sparse(shapes, report):
  if len({s.kind for s in shapes}) > 1:
    report.note('points beside strokes become strokes')
    return [s._replace(kind='stroke', value=[s.value])
            if s.kind == 'point' else s for s in shapes]
  return shapes


def _lies_within(shape, areas, size, stroke_width):
  """Returns whether a shape lies within areas of its own class.

  At least half of its points must lie there.
  """
  same = [draw(s, size, stroke_width) for s in areas
          if s.label == shape.label]
  if not same:
    return False
  x, y = np.array(shape.value, float).reshape(-1, 2).T
  rows = np.clip(y, 0, size[0] - 1).astype(int)
  columns = np.clip(x, 0, size[1] - 1).astype(int)
  return np.any(same, axis=0)[rows, columns].mean() >= 0.5


def _as_kind(shape, kind):
  """Converts a shape to another kind; None if that kind cannot express it."""
  if shape.kind == 'box' and kind == 'polygon':
    x0, y0, x1, y1 = shape.value
    return shape._replace(
        kind='polygon', value=[[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
  return shape if shape.kind == kind else None


def draw(
    shape: Shape, size: tuple[int, int], stroke_width: float = 1.0
) -> np.ndarray:
  """Returns the pixels that a shape covers, bool [H, W].

  Args:
    shape: a shape that is neither 'unreadable' nor a tag.
    size: height and width of the picture.
    stroke_width: width in pixels of a stroke or line without its own width.
  """
  if shape.kind == 'rle':
    return rle.decode_rle(shape.value)
  kind = _CHECKED[shape.kind]
  annotation = {'kind': kind.name, 'labels': [1], kind.field: [shape.value]}
  if kind.has_width:
    annotation['width'] = shape.width or stroke_width
  drawn = rasterize.rasterize(annotation, size=size, root=None)
  return (drawn != 0) & (drawn != types.UNLABELLED)
