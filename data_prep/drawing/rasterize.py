"""Draws annotations as label maps, and resizes images and label maps.

`covering` computes which pixels a shape covers. Where shapes overlap, the shape
that is listed later wins.
"""

from collections.abc import Sequence
import pathlib
import re
from typing import Any

from hybridseg import types
import numpy as np
from PIL import Image

from data_prep.drawing import annotation_kinds
from data_prep.drawing import rle

_MAX_BORDER = 0.1  # Largest share of an exact mask that may be unlabelled.


def has_file(annotation: dict[str, Any]) -> bool:
  """Returns whether an annotation is stored as a separate picture file."""
  kind = annotation_kinds.TABLE.get(annotation['kind'])
  return kind is not None and kind.may_be_file and (
      'path' in annotation or kind.field not in annotation)


def is_exact(label: np.ndarray) -> bool:
  """Returns whether enough pixels of a mask are labelled to call it exact.

  Up to a tenth of the pixels may be unlabelled: the borders of objects, as in
  VOC, or a small area that the annotator chose to ignore.

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

  Pixels inside a box, a polygon, an ellipse or a mask of run lengths get the
  class of the shape, as do pixels within half the width of a line; all other
  pixels get class 0. Pixels within `covering.POINT_RADIUS` of a point or within
  half the width of a stroke get the class of the point or stroke; all other
  pixels are unlabelled. Extreme points are drawn as points; the rest of their
  box is unlabelled, and everything outside the box gets class 0. Shapes
  labelled 255 lie below all others. A tag leaves every pixel unlabelled. In a
  mask file, the annotation's `values` map the stored values to classes. Shapes
  are scaled first and then drawn at `output_size`, so that no point is lost;
  masks and run lengths are resized by nearest neighbour.

  Args:
    annotation: one annotation of a checked manifest.
    size: height and width of the image that the annotation was drawn on.
    root: folder that the paths of masks are relative to.
    output_size: height and width of the result; None means `size`.

  Returns:
    Class per pixel, `types.UNLABELLED` where unknown, uint8 [H, W].

  Raises:
    ValueError: if the kind is unknown, a mask is of another size, or a pixel
      value is not in `values`.
  """
  output_size = output_size or size
  name = annotation['kind']
  if name not in annotation_kinds.TABLE:
    raise ValueError(
        f'Unknown kind={name!r}; known: {[*annotation_kinds.TABLE]}.')
  kind = annotation_kinds.TABLE[name]
  if kind.field is None:
    return np.full(output_size, types.UNLABELLED, np.uint8)
  if has_file(annotation):
    values = annotation.get('values')
    label = apply_values(read_mask(root / annotation['path'], values), values)
    if label.shape != tuple(size):
      raise ValueError(f'Mask of {label.shape=} on an image of {size=}.')
    return resize_label(label, size=output_size)
  empty = types.UNLABELLED if kind.is_sparse else 0
  label = np.full(output_size, empty, np.uint8)
  pairs = sorted(
      zip(annotation[kind.field], annotation['labels'], strict=True),
      # Sorting is stable: all other shapes keep their order.
      key=lambda pair: pair[1] != types.UNLABELLED)
  if kind.is_mask:
    for shape, value in pairs:
      inside = rle.decode_rle(shape)
      if inside.shape != tuple(size):
        raise ValueError(f'Mask of {inside.shape=} on an image of {size=}.')
      label[resize_label(inside, size=output_size)] = value
    return label
  scale = np.array([output_size[1] / size[1], output_size[0] / size[0]])
  pairs = [(np.asarray(shape, np.float64), value) for shape, value in pairs]
  if kind.opens:
    for shape, _ in pairs:
      label[kind.opens(shape, scale, output_size)] = types.UNLABELLED
  width = (annotation['width'],) if kind.has_width else ()
  for shape, value in pairs:
    label[kind.cover(shape, scale, output_size, *width)] = value
  return label


def read_image(path: pathlib.Path) -> np.ndarray:
  """Reads an image: uint8 [H, W, 1] if it is gray, else uint8 [H, W, 3].

  The alpha channel is dropped, and a camera's orientation tag is ignored.

  Raises:
    ValueError: if the image does not hold 8 bits per channel.
    OSError: if the file cannot be read.
  """
  with Image.open(path) as image:
    return pixels_of(plain(image))


def plain(image: Image.Image) -> Image.Image:
  """Decodes a picture, and returns it in mode L or RGB.

  The alpha channel is dropped, and a camera's orientation tag is ignored.

  Raises:
    ValueError: if the image does not hold 8 bits per channel.
    OSError: if the file cannot be read.
  """
  if image.mode[:1] in ('I', 'F'):
    raise ValueError(f'pixels of mode {image.mode}')
  mode = 'L' if image.mode in ('1', 'L', 'LA') else 'RGB'
  if image.mode != mode:
    return image.convert(mode)
  image.load()
  return image


def pixels_of(picture: Image.Image) -> np.ndarray:
  """Returns the pixels of a picture of mode L or RGB, uint8 [H, W, 1 or 3]."""
  pixels = np.asarray(picture)
  return pixels[..., None] if pixels.ndim == 2 else pixels


def read_mask(
    path: pathlib.Path, values: dict[str, int] | None = None
) -> np.ndarray:
  """Reads the stored pixel values of a mask as an integer array, [H, W].

  A picture with a palette yields its palette indices. A one-bit picture yields
  0 and 1, or 0 and 255 if `values` has the key '255'. If there are colour
  channels, they must be equal.

  Raises:
    ValueError: if the colour channels differ.
    OSError: if the file cannot be read.
  """
  with Image.open(path) as image:
    return stored_values(image, values)


def stored_values(
    image: Image.Image, values: dict[str, int] | None = None
) -> np.ndarray:
  """Returns the stored pixel values of an open mask, as `read_mask` does."""
  if image.mode in ('LA', 'RGBA'):
    image = image.convert(image.mode[:-1])
  if image.mode == '1' and '255' in (values or {}):
    image = image.convert('L')
  mask = np.asarray(image)
  if mask.ndim == 3:
    if np.any(mask != mask[..., :1]):
      raise ValueError('channels of different values')
    mask = mask[..., 0]
  if mask.dtype.kind == 'f' and not np.array_equal(mask, np.rint(mask)):
    raise ValueError('fractions')
  return mask if mask.dtype.kind in 'iu' else mask.astype(
      np.uint8 if mask.dtype == bool else np.int64)


def apply_values(
    mask: np.ndarray, values: dict[str, int] | None
) -> np.ndarray:
  """Maps stored pixel values, int [H, W], to classes, uint8 [H, W].

  Args:
    mask: stored pixel values.
    values: maps each stored value, as a string, to its class; None means that
      the stored values are the classes.

  Raises:
    ValueError: if a stored value has no class; the message states the value.
  """
  if values is None:
    if mask.size and (mask.min() < 0 or mask.max() > types.UNLABELLED):
      raise ValueError(f'{int(mask.min())} .. {int(mask.max())}')
    return mask.astype(np.uint8)
  # For speed, compare the mask with each value in turn, and add. `np.unique`
  # would sort all pixels, and assigning through a bool mask is slower.
  label, number = np.zeros(mask.shape, np.uint8), 0
  for stored, value in {int(k): v for k, v in values.items()}.items():
    found = mask == stored
    number += np.count_nonzero(found)
    label += found.view(np.uint8) * np.uint8(value)
  if number < mask.size:
    raise ValueError(f'{mask[~np.isin(mask, [*map(int, values)])].min()}')
  return label


def parse_values(pairs: Sequence[str], flag: str) -> dict[str, int] | None:
  """Parses pairs STORED:CLASS into the `values` of `apply_values`.

  Args:
    pairs: the pairs, such as ['0:0', '255:1'].
    flag: name of the flag that holds the pairs, for the message.

  Returns:
    The class of each stored value; None if there are no pairs.

  Raises:
    ValueError: if a pair is malformed; the message is one line.
  """
  values = {}
  for pair in pairs:
    found = re.fullmatch(r'(-?\d+):(\d+)', pair)
    if not found or int(found[2]) > types.UNLABELLED:
      raise ValueError(f'--{flag}: expected STORED:CLASS, found {pair!r}')
    values[found[1]] = int(found[2])
  return values or None


def resize_image(image: np.ndarray, *, size: tuple[int, int]) -> np.ndarray:
  """Resizes an image, uint8 [H, W, C], to `size` = (height, width).

  If neither side grows, each new pixel is the average of the area that it
  covers; otherwise the pixels are interpolated bilinearly.
  """
  if image.shape[:2] == tuple(size):
    return image
  return pixels_of(resize_picture(
      Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image),
      size=size))


def resize_picture(
    picture: Image.Image, *, size: tuple[int, int]
) -> Image.Image:
  """Resizes a picture of mode L or RGB in the same way as `resize_image`."""
  height, width = size
  if (width, height) == picture.size:
    return picture
  shrinks = width <= picture.width and height <= picture.height
  # If one axis grows and the other shrinks, Pillow's BILINEAR also antialiases
  # the shrinking axis.
  return picture.resize((width, height), Image.Resampling.BOX if shrinks
                        else Image.Resampling.BILINEAR)


def resize_label(label: np.ndarray, *, size: tuple[int, int]) -> np.ndarray:
  """Resizes a label map, uint8 [H, W], by nearest neighbour.

  Each new pixel takes the class of the old pixel that contains its centre.
  """
  if label.shape == tuple(size):
    return label
  rows, columns = (
      ((np.arange(new) + 0.5) * old / new).astype(np.int64)
      for new, old in zip(size, label.shape, strict=True)
  )
  return label[rows[:, None], columns]
