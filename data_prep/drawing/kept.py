"""Stores the pictures that the check has decoded, at the size of the records.

Decoding takes most of the time of preparing a set. The check decodes each file
anyway, so it also resizes the pixels and hashes the file. The records, the
hashes of the set and the summary page then need not read the file again.
"""

from collections.abc import Callable
import hashlib
import os
import pathlib
import struct
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from data_prep import manifest as manifest_lib
from data_prep.drawing import rasterize
from data_prep.shared import scratch

# Precedes the pixels of each picture: height and width in the original file,
# number of channels of the pixels, and SHA-256 of the original file.
_HEADER = struct.Struct('<IIB32s')

_DIGEST_SIZE = 32

_Label = Callable[[dict[str, Any]], np.ndarray]


class Kept:
  """Resized images and masks of a set, in a temporary file.

  Attributes:
    size: height and width of the records.
  """

  def __init__(self, folder: pathlib.Path, image_size: int):
    """Makes an empty store.

    Args:
      folder: folder on whose disk the pixels are kept.
      image_size: height and width of the records.

    Raises:
      OSError: if the folder cannot be written.
    """
    self.size = (image_size, image_size)
    self._file = scratch.Scratch(folder)
    # Maps the name of each image to the place of its header in the file.
    self._images = {}
    # The same mask file gives different label maps with different `values`.
    # This dict maps each `values` to a dict like `_images`, for masks.
    self._labels = {}
    # Maps names to the places of hashes of files whose pixels are not kept.
    self._hashes = {}

  def add_hash(self, name: str, digest: bytes) -> None:
    """Keeps the SHA-256 of a file, but not its pixels."""
    self._hashes[name] = self._file.add(digest)

  def add_image(
      self, name: str, root: pathlib.Path, picture: Image.Image
  ) -> None:
    """Keeps an image.

    Args:
      name: path of the image, as a row of the manifest holds it.
      root: folder that the path is relative to.
      picture: the image, of mode L or RGB.

    Raises:
      OSError: if the file cannot be read, or the disk is full.
    """
    if name not in self._images:
      self._images[name] = self._add(
          root / name, (picture.height, picture.width), rasterize.pixels_of(
              rasterize.resize_picture(picture, size=self.size)))

  def add_label(
      self, annotation: dict[str, Any], root: pathlib.Path, label: np.ndarray
  ) -> None:
    """Keeps a mask.

    Args:
      annotation: an annotation that has a file.
      root: folder that the path of the file is relative to.
      label: class per pixel, uint8 [H, W].

    Raises:
      OSError: if the file cannot be read, or the disk is full.
    """
    known = self._labels.setdefault(_key(annotation), {})
    name = annotation['path']
    if name not in known:
      known[name] = self._add(
          root / name, label.shape, rasterize.resize_label(
              label, size=self.size))

  def _add(self, path, size, pixels):
    with open(path, 'rb') as file:
      digest = hashlib.file_digest(file, 'sha256').digest()
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    return self._file.add(
        _HEADER.pack(*size, channels, digest) + pixels.tobytes())

  def _read(self, place):
    """Returns a picture's original size (height, width) and its pixels."""
    *size, channels, _ = _HEADER.unpack(self._file.read(place, _HEADER.size))
    content = self._file.read(
        place + _HEADER.size, self.size[0] * self.size[1] * channels)
    pixels = np.frombuffer(content, np.uint8)
    return tuple(size), pixels.reshape(*self.size, channels)

  def digest(self, name: str) -> bytes | None:
    """Returns the SHA-256 of a file, or None if it is not known."""
    if name in self._hashes:
      return self._file.read(self._hashes[name], _DIGEST_SIZE)
    for known in (self._images, *self._labels.values()):
      if name in known:
        header = self._file.read(known[name], _HEADER.size)
        return _HEADER.unpack(header)[-1]
    return None

  def image(
      self, name: str
  ) -> tuple[tuple[int, int], np.ndarray] | None:
    """Returns an image's original height and width, and its resized pixels.

    The pixels are uint8 [S, S, 1 or 3]. The result is None if the image is not
    kept.
    """
    place = self._images.get(name)
    return None if place is None else self._read(place)

  def label(self, annotation: dict[str, Any]) -> np.ndarray | None:
    """Returns a resized mask, uint8 [S, S], or None if it is not kept."""
    known = self._labels.get(_key(annotation), {})
    place = known.get(annotation.get('path'))
    return None if place is None else self._read(place)[1][..., 0]


def _key(annotation):
  return repr(annotation.get('values'))


class Drawing(NamedTuple):
  """An image of a set at the size of the records.

  Attributes:
    image: pixels, uint8 [S, S, 1 or 3].
    draw: function that takes an annotation of the image and returns its label
      map, uint8 [S, S].
  """

  image: np.ndarray
  draw: _Label


def open_row(
    row: manifest_lib.Row,
    *,
    root: str | os.PathLike[str],
    image_size: int,
    kept: Kept | None = None,
) -> Drawing:
  """Returns the image of a row at the size of the records.

  Args:
    row: a row of a checked manifest.
    root: folder that the paths in the row are relative to.
    image_size: height and width of the result; the aspect ratio is not kept.
    kept: the pictures that the check has kept; others are read from disk.

  Raises:
    OSError: if a file cannot be read.
  """
  root, output_size = pathlib.Path(root), (image_size, image_size)
  found = None if kept is None else kept.image(row.image)
  if found is None:
    pixels = rasterize.read_image(root / row.image)
    found = pixels.shape[:2], rasterize.resize_image(pixels, size=output_size)
  size, image = found

  def draw(annotation):
    label = None
    if kept is not None and rasterize.has_file(annotation):
      label = kept.label(annotation)
    return rasterize.rasterize(
        annotation, size=size, root=root, output_size=output_size
    ) if label is None else label

  return Drawing(image, draw)
