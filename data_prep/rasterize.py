"""From an annotation to a label map, and both to the prepared size.

One pixel convention everywhere: the pixel in column j and row i covers
[j, j + 1) x [i, i + 1), its centre is (j + 0.5, i + 0.5), and it belongs to a
shape if its centre does. A box with whole numbers therefore holds exactly
columns x0 .. x1 - 1. Where shapes overlap, the later one wins.
"""

from collections.abc import Sequence
import pathlib
import re
from typing import Any

from hybridseg import types
import numpy as np
from PIL import Image

from data_prep import rle

POINT_RADIUS = 2.0  # Pixels of the label map that is drawn.

SHAPE_FIELDS = {
    'mask': 'rles',
    'coarse_mask': 'rles',
    'scribble': 'strokes',
    'box': 'boxes',
    'polygon': 'polygons',
    'points': 'points',
    'extreme_points': 'extreme_points',
    'ellipse': 'ellipses',
}
FILE_KINDS = ('mask', 'coarse_mask', 'scribble')  # May be kept in a file.
SPARSE_KINDS = ('scribble', 'points')  # Say nothing where nothing is drawn.
# Shapes of these may be labelled 255: what lies there is not known.
OPEN_KINDS = (
    'mask', 'coarse_mask', 'box', 'polygon', 'extreme_points', 'ellipse')

_MAX_BORDER = 0.1  # Share of a mask.


def has_file(annotation: dict[str, Any]) -> bool:
  """Returns whether an annotation is kept as a picture of its own."""
  return annotation['kind'] in FILE_KINDS and (
      'path' in annotation or SHAPE_FIELDS[annotation['kind']] not in annotation
  )


def is_exact(label: np.ndarray) -> bool:
  """Returns whether so much of a mask is labelled that it can be exact.

  Up to a tenth may be unlabelled: the border of objects, as VOC has it, or a
  small area that its annotator chose to ignore.

  Args:
    label: class per pixel, uint8 [H, W].
  """
  return float(np.mean(label == types.UNLABELLED)) <= _MAX_BORDER


def rasterize(
    annotation: dict[str, Any],
    *,
    size: tuple[int, int],
    root: pathlib.Path,
    output_size: tuple[int, int] | None = None,
) -> np.ndarray:
  """Draws an annotation as a label map.

  Inside a box, polygon, ellipse or run lengths: its class, and 0 elsewhere.
  Within `POINT_RADIUS` of a point, or half its width of a stroke: its class,
  and unlabelled elsewhere. Extreme points are points whose boxes are unlabelled
  and the rest 0. Shapes labelled 255 lie below all others. A tag says nothing
  of any pixel. Masks go through `values`. Shapes are scaled and drawn at
  `output_size` (so that no point is lost), masks and run lengths are resized by
  nearest neighbour.

  Args:
    annotation: one annotation of a checked manifest.
    size: height and width of the image that it was drawn on.
    root: folder that the paths are relative to.
    output_size: height and width of the result; None takes `size`.

  Returns:
    Class per pixel, `types.UNLABELLED` where unknown, uint8 [H, W].

  Raises:
    ValueError: if the kind is unknown, a mask is of another size, or a pixel
      value is not in `values`.
  """
  output_size = output_size or size
  kind = annotation['kind']
  if kind == 'tag':
    return np.full(output_size, types.UNLABELLED, np.uint8)
  if kind not in SHAPE_FIELDS:
    raise ValueError(f'Unknown {kind=}; known: {[*SHAPE_FIELDS, "tag"]}.')
  if has_file(annotation):
    values = annotation.get('values')
    label = apply_values(read_mask(root / annotation['path'], values), values)
    if label.shape != tuple(size):
      raise ValueError(f'Mask of {label.shape=} on an image of {size=}.')
    return resize_label(label, size=output_size)
  scale = np.array([output_size[1] / size[1], output_size[0] / size[0]])
  empty = types.UNLABELLED if kind in SPARSE_KINDS else 0
  label = np.full(output_size, empty, np.uint8)
  pairs = sorted(
      zip(annotation[SHAPE_FIELDS[kind]], annotation['labels'], strict=True),
      key=lambda pair: pair[1] != types.UNLABELLED)  # Keeps the order else.
  shapes, labels = ([p[i] for p in pairs] for i in (0, 1))
  if kind in ('mask', 'coarse_mask'):
    for shape, value in zip(shapes, labels, strict=True):
      inside = rle.decode_rle(shape)
      if inside.shape != tuple(size):
        raise ValueError(f'Mask of {inside.shape=} on an image of {size=}.')
      label[resize_label(inside, size=output_size)] = value
    return label
  shapes = [np.asarray(shape, np.float64) for shape in shapes]
  if kind == 'extreme_points':
    for shape in shapes:  # The pixels under the points are within their box.
      box = [*(shape.min(0) * scale - 0.5), *(shape.max(0) * scale + 0.5)]
      label[_box(box, output_size)] = types.UNLABELLED
  for shape, value in zip(shapes, labels, strict=True):
    if kind == 'box':
      inside = _box(shape * np.tile(scale, 2), output_size)
    elif kind == 'polygon':
      inside = fill_polygon(shape * scale, output_size)
    elif kind == 'points':
      inside = _disc(shape * scale, output_size)
    elif kind == 'extreme_points':
      inside = np.any([_disc(p, output_size) for p in shape * scale], axis=0)
    elif kind == 'scribble':
      # At least half a pixel: a thin line must not fall between the centres.
      radius = max(annotation['width'] / 2 * scale.min(), 0.71)
      inside = _stroke(shape * scale, radius, output_size)
    else:
      inside = _ellipse(shape, scale, output_size)
    label[inside] = value
  return label


def read_image(path: pathlib.Path) -> np.ndarray:
  """Reads an image, uint8 [H, W, 1] if it is gray, else uint8 [H, W, 3].

  Transparency is dropped; an orientation tag of a camera is not applied.

  Raises:
    ValueError: if it does not hold 8 bits per channel.
    OSError: if it cannot be read.
  """
  with Image.open(path) as image:
    if image.mode in ('1', 'L', 'LA'):
      return np.asarray(image.convert('L'))[..., None]
    if image.mode[:1] in ('I', 'F'):
      raise ValueError(f'pixels of mode {image.mode}')
    return np.asarray(image.convert('RGB'))


def read_mask(
    path: pathlib.Path, values: dict[str, int] | None = None
) -> np.ndarray:
  """Reads the stored pixel values of a mask, of an integer type, [H, W].

  A palette picture gives its indices, a one-bit picture 0 and 1, or 0 and 255
  where `values` names 255; colour channels must be equal.

  Raises:
    ValueError: if the colour channels differ.
    OSError: if it cannot be read.
  """
  with Image.open(path) as image:
    if image.mode in ('LA', 'RGBA'):
      image = image.convert(image.mode[:-1])
    if image.mode == '1' and '255' in (values or {}):
      image = image.convert('L')
    mask = np.asarray(image)
  if mask.ndim == 3:
    if np.any(mask != mask[..., :1]):
      raise ValueError('channels of different values')
    mask = mask[..., 0]
  return mask if mask.dtype.kind in 'iu' else mask.astype(
      np.uint8 if mask.dtype == bool else np.int64)


def apply_values(
    mask: np.ndarray, values: dict[str, int] | None
) -> np.ndarray:
  """Maps stored pixel values, int [H, W], to classes, uint8 [H, W].

  Args:
    mask: stored pixel values.
    values: class per stored value; None keeps the values.

  Raises:
    ValueError: if a stored value has no class; the message holds the value.
  """
  if values is None:
    if mask.size and (mask.min() < 0 or mask.max() > types.UNLABELLED):
      raise ValueError(f'{int(mask.min())} .. {int(mask.max())}')
    return mask.astype(np.uint8)
  # Not by np.unique, which sorts all pixels.
  label = np.full(mask.shape, -1, np.int16)
  for stored, value in values.items():
    label[mask == int(stored)] = value
  unknown = mask[label < 0]
  if unknown.size:
    raise ValueError(f'{unknown.min()}')
  return label.astype(np.uint8)


def parse_values(pairs: Sequence[str], flag: str) -> dict[str, int] | None:
  """Returns the class of each stored value, as `apply_values` takes it.

  Args:
    pairs: such as ['0:0', '255:1'].
    flag: that they are of.

  Returns:
    Class by stored value; None if there is no pair.

  Raises:
    ValueError: if a pair is no such pair, in one line.
  """
  values = {}
  for pair in pairs:
    found = re.fullmatch(r'(-?\d+):(\d+)', pair)
    if not found or int(found[2]) > types.UNLABELLED:
      raise ValueError(f'--{flag}: expected STORED:CLASS, found {pair!r}')
    values[found[1]] = int(found[2])
  return values or None


def resize_image(image: np.ndarray, *, size: tuple[int, int]) -> np.ndarray:
  """Resizes uint8 [H, W, C] to `size`: area average down, bilinear up."""
  if image.shape[:2] == tuple(size):
    return image
  shrinks = size[0] <= image.shape[0] and size[1] <= image.shape[1]
  # Pillow's BILINEAR is antialiased, too, where only one axis shrinks.
  resample = Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR
  picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
  resized = np.asarray(picture.resize((size[1], size[0]), resample))
  return resized.reshape(*size, image.shape[-1])


def resize_label(label: np.ndarray, *, size: tuple[int, int]) -> np.ndarray:
  """Resizes uint8 [H, W] to `size` by the pixel under each new centre."""
  if label.shape == tuple(size):
    return label
  rows, columns = (
      ((np.arange(new) + 0.5) * old / new).astype(np.int64)
      for new, old in zip(size, label.shape, strict=True)
  )
  return label[rows[:, None], columns]


def _centres(size):
  """Returns the pixel centres, y [H, 1] and x [1, W]."""
  return np.arange(size[0])[:, None] + 0.5, np.arange(size[1])[None] + 0.5


def _box(box, size):
  y, x = _centres(size)
  x0, y0, x1, y1 = box
  return (x0 <= x) & (x < x1) & (y0 <= y) & (y < y1)


def _disc(point, size):
  y, x = _centres(size)
  return (x - point[0]) ** 2 + (y - point[1]) ** 2 <= POINT_RADIUS**2


def _stroke(vertices, radius, size):
  """Covers the pixels whose centre lies within `radius` of a polyline."""
  inside = np.zeros(size, bool)
  if len(vertices) == 1:
    vertices = np.repeat(vertices, 2, axis=0)
  for start, end in zip(vertices[:-1], vertices[1:], strict=True):
    low, high = np.minimum(start, end), np.maximum(start, end)
    x0, y0 = np.clip(np.floor(low - radius), 0, size[::-1]).astype(int)
    x1, y1 = np.clip(np.ceil(high + radius), 0, size[::-1]).astype(int)
    y, x = _centres(size)
    dy, dx = y[y0:y1] - start[1], x[:, x0:x1] - start[0]
    step = end - start
    along = (dx * step[0] + dy * step[1]) / max(step @ step, 1e-12)
    along = np.clip(along, 0, 1)
    distance2 = (dx - along * step[0]) ** 2 + (dy - along * step[1]) ** 2
    inside[y0:y1, x0:x1] |= distance2 <= radius**2
  return inside


def _ellipse(ellipse, scale, size):
  """Fills an ellipse; its angle turns the x axis towards the y axis."""
  cx, cy, rx, ry, angle_deg = ellipse
  y, x = _centres(size)
  dx, dy = x / scale[0] - cx, y / scale[1] - cy
  cos, sin = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
  along, across = dx * cos + dy * sin, dy * cos - dx * sin
  return (along / rx) ** 2 + (across / ry) ** 2 <= 1.0


def fill_polygon(vertices: np.ndarray, size: tuple[int, int]) -> np.ndarray:
  """Fills a polygon by the even-odd rule, bool [H, W].

  Each edge flips, in the rows whose centre line it crosses, all pixels left of
  the crossing; so the cost is that of the outline, not of the area.
  """
  height, width = size
  flips = np.zeros((height, width + 1), np.int64)
  for (xa, ya), (xb, yb) in zip(
      vertices, np.roll(vertices, -1, axis=0), strict=True):
    low, high = min(ya, yb), max(ya, yb)
    # Rows with low <= centre < high: no vertex counts twice.
    first = int(np.clip(np.ceil(low - 0.5), 0, height))
    last = int(np.clip(np.ceil(high - 0.5), 0, height))
    rows = np.arange(first, last)
    if rows.size:
      crossing = xa + (rows + 0.5 - ya) * (xb - xa) / (yb - ya)
      flips[rows, np.clip(np.ceil(crossing - 0.5), 0, width).astype(int)] += 1
  # Column c of `flips` counts the edges that flip columns 0 .. c - 1.
  counts = np.cumsum(flips[:, ::-1], axis=1)[:, ::-1]
  return counts[:, 1:] % 2 == 1
