"""Cuts image files into tiles for the networks, and merges the predictions.

Networks predict tiles of the size of their training images. An image, or each
slice of a volume, is either resized to one tile, as the records were; or it is
cut into overlapping windows at its own resolution, which is right if the set
was prepared without resizing. A volume is turned and cut like the volumes of
the training set, so that the prediction does not depend on how a file stores
its axes. The result is turned back to the axes of the file.
"""

import collections
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from data_prep.drawing import rasterize
from data_prep.formats import intensities
from data_prep.formats import sources
from data_prep.formats import volume_files
from data_prep.formats import volume_sets
from data_prep.records import preparation as preparation_lib
from data_prep.shared import pixels
from data_prep.shared import volume_type
from hybridseg import inference
import nibabel
import numpy as np
from PIL import Image

from experiments.prediction import predictor as predictor_lib

SUFFIXES = (
    *sources.PICTURES, *volume_files.SEGMENTATIONS, *volume_files.SUFFIXES)

STORED = 'stored'  # The orientation that keeps the axes of the file.

# Maps the letter of a direction to the letters of this direction and its
# opposite.
_LINES = {letter: line for line in ('IS', 'LR', 'PA') for letter in line}


class Tiling(NamedTuple):
  """How an image or slice is cut into tiles.

  Attributes:
    size: height and width of a tile, in pixels; of whole volumes, the three
      sides of a window.
    channels: number of channels, 1 or 3.
    windowed: whether tiles are windows of the slice; otherwise the whole slice
      is resized to one tile.
    overlap: overlap of windows, see `inference.window_starts`.
  """

  size: tuple[int, ...]
  channels: int
  windowed: bool = False
  overlap: float = 0.5


class Opened(NamedTuple):
  """The content of one file.

  Attributes:
    slices: the image, or the slices of the volume, uint8 [H, W, C] each, of the
      same size.
    spacing_mm: millimetres per pixel along (y, x) of an image, or along the
      stored axes of a volume; None if the file does not state them.
    volume: volume that the slices come from; None for an image.
    turned: nibabel's orientation transforms from the stored axes to those of
      the slices, and back; None for an image.
    axis: axis along which the turned volume was cut into slices.
  """

  slices: tuple[np.ndarray, ...]
  spacing_mm: tuple[float, ...] | None
  volume: volume_type.Volume | None = None
  turned: tuple[np.ndarray, np.ndarray] | None = None
  axis: int = 0


def is_orientation(axes: str) -> bool:
  """Returns whether a string names the directions of three axes, as 'LPS' does.

  The directions are left or right, posterior or anterior, and inferior or
  superior, in any order.
  """
  return sorted(_LINES.get(letter, '') for letter in axes) == ['IS', 'LR', 'PA']


def without_suffix(name: str) -> str:
  """Returns a name without its suffix, if it is one of `SUFFIXES`."""
  lower = name.lower()
  for suffix in sorted(SUFFIXES, key=len, reverse=True):
    if lower.endswith(suffix):
      return name[: -len(suffix)]
  return name


def stems(names: Sequence[str]) -> dict[str, str]:
  """Maps the name of each file to the name of its results without suffix.

  The suffix of the file is removed, unless the results of two files would get
  the same name: those of `a.png` and `a.jpg` are named a.png.png and a.jpg.png.
  """
  cut = {name: without_suffix(name) for name in names}
  counts = collections.Counter(pixels.fold(v) for v in cut.values())
  return {name: name if counts[pixels.fold(stem)] > 1 else stem
          for name, stem in cut.items()}


def open_file(
    name: str,
    folder: pixels.Folder,
    *,
    preparation: preparation_lib.Preparation,
    channels: int,
) -> Opened:
  """Reads an image or a volume in the same way as the training set was read.

  Args:
    name: path of the file below the folder.
    folder: folder that contains the file.
    preparation: preparation of the training set.
    channels: number of channels that the networks expect, 1 or 3.

  Raises:
    pixels.WrongFile: if the file cannot be used.
  """
  if not volume_files.is_volume(name):
    image, spacing = intensities.read_picture(
        name, folder, intensity_range=preparation.intensity_range)
    return Opened((with_channels(image, channels, name),), spacing)
  pixels.check_file(name, 'volume', folder)
  volume = volume_files.read(folder.root / name)
  intensities.check_finite(volume.voxels, name)
  turned = _turns(volume.affine, preparation.orientation)
  voxels = nibabel.apply_orientation(volume.voxels, turned[0])
  axis = preparation.axis
  if axis is None:
    axis = volume_sets.thinnest_axis(volume)
  limits = preparation.intensity_range or intensities.percentiles(voxels)
  slices = tuple(
      with_channels(
          intensities.to_uint8(np.ascontiguousarray(voxel_slice), limits)[
              ..., None], channels, name)
      for voxel_slice in np.moveaxis(voxels, axis, 0))
  return Opened(slices, volume.spacing_mm, volume, turned, axis)


def _turns(affine, orientation):
  stored = nibabel.io_orientation(affine)
  wanted = stored
  if orientation not in (None, STORED):
    wanted = nibabel.orientations.axcodes2ornt(orientation)
  turn = nibabel.orientations.ornt_transform
  return turn(stored, wanted), turn(wanted, stored)


def with_channels(
    image: np.ndarray, channels: int, name: str
) -> np.ndarray:
  """Returns an image with the number of channels that the networks expect.

  If the networks expect colour, the channel of a gray image is repeated. If
  they expect gray images, an image of three equal channels is accepted.

  Args:
    image: image, uint8 [H, W, 1 or 3].
    channels: number of channels that the networks expect, 1 or 3.
    name: name of the image, for messages.

  Raises:
    pixels.WrongFile: if the image is in colour, but the networks expect gray
      images.
  """
  if image.shape[-1] == channels:
    return image
  if channels == 3:
    return np.repeat(image, 3, axis=-1)
  if np.any(image != image[..., :1]):
    raise pixels.WrongFile(
        'the picture is in colour, the networks were trained on gray ones',
        pixels.tail(name), 'convert it to gray as the training set was')
  return image[..., :1]


def tiles_of(opened: Opened, tiling: Tiling) -> list[np.ndarray]:
  """Returns the tiles of all slices of a file.

  Args:
    opened: the file.
    tiling: how slices are cut into tiles.

  Returns:
    The tiles, uint8 [*tiling.size, tiling.channels] each.
  """
  tiles = []
  for image in opened.slices:
    if tiling.windowed:
      tiles += inference.window_tiles(
          image, window=tiling.size, overlap=tiling.overlap)
    else:
      tiles.append(rasterize.resize_image(image, size=tiling.size))
  return tiles


def merge(
    opened: Opened, maps: Sequence[np.ndarray], tiling: Tiling
) -> list[np.ndarray]:
  """Merges the maps that were predicted for the tiles of a file.

  Args:
    opened: the file.
    maps: one map for each tile of `tiles_of`, float [h, w, ...].
    tiling: how the slices were cut into tiles.

  Returns:
    One map per slice, float32 [H, W, ...].
  """
  size = opened.slices[0].shape[:2]
  if not tiling.windowed:
    return [resize_map(m, size) for m in maps]
  each = len(maps) // len(opened.slices)
  return [
      inference.merge_tiles(
          maps[i : i + each], size, overlap=tiling.overlap)
      for i in range(0, len(maps), each)]


class Predicted(NamedTuple):
  """A file with its prediction.

  Attributes:
    key: key of the file, from the caller of `predict`.
    opened: the file.
    tiles: prediction for each tile of the file.
    tiling: how the slices of the file were cut into tiles.
  """

  key: Any
  opened: Opened
  tiles: list[inference.Prediction]
  tiling: Tiling

  def merged(self) -> inference.Prediction:
    """Returns the prediction for the file, at its own resolution.

    Each field is a list with one array [H, W, ...] per slice.
    """
    return inference.Prediction(*(
        merge(self.opened, part, self.tiling)
        for part in zip(*self.tiles, strict=True)))


def predict(
    predictor: predictor_lib.Predictor,
    files: Iterable[tuple[Any, Opened]],
    tiling: Tiling,
) -> Iterator[Predicted]:
  """Predicts files, and yields them in the same order.

  A batch may hold tiles of several files.

  Args:
    predictor: networks from `predictor.load`.
    files: pairs of a key, which may be any object, and a file. Files are read
      ahead until their tiles fill a batch.
    tiling: how slices are cut into tiles.
  """
  # Files with tiles that are not predicted yet.
  waiting = collections.deque()

  def tiles():
    for key, opened in files:
      cut = tiles_of(opened, tiling)
      waiting.append((key, opened, len(cut), []))
      yield from cut

  for output in predictor_lib.predict_tiles(predictor, tiles()):
    key, opened, number, outputs = waiting[0]
    outputs.append(output)
    if len(outputs) == number:
      waiting.popleft()
      yield Predicted(key, opened, outputs, tiling)


def resize_map(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
  """Resizes a map by bilinear filtering, which averages if the map shrinks.

  Args:
    values: map, float [h, w, ...].
    size: height and width of the result.
  """
  if values.shape[:2] == tuple(size):
    return values
  planes = values.reshape(*values.shape[:2], -1)
  resized = [
      Image.fromarray(np.ascontiguousarray(planes[..., i], np.float32)).resize(
          (size[1], size[0]), Image.Resampling.BILINEAR)
      for i in range(planes.shape[-1])]
  return np.stack([np.asarray(x) for x in resized], axis=-1).reshape(
      *size, *values.shape[2:])


def grey(values: np.ndarray) -> np.ndarray:
  """Returns numbers [H, W] as a grey picture with its own contrast, uint8.

  Black and white are percentiles 1 and 99.
  """
  low, high = np.percentile(values, (1, 99))
  share = np.clip((values - low) / max(high - low, 1e-6), 0, 1)
  return np.rint(255 * share).astype(np.uint8)


def likeliest(probabilities: np.ndarray) -> np.ndarray:
  """Returns the likeliest class of each pixel, uint8 [H, W].

  `np.argmax` along a short last axis takes several times as long.

  Args:
    probabilities: float [H, W, K].
  """
  best = probabilities[..., 0].copy()
  label = np.zeros(best.shape, np.uint8)
  for k in range(1, probabilities.shape[-1]):
    value = np.ascontiguousarray(probabilities[..., k])
    label[value > best] = k
    np.maximum(best, value, out=best)
  return label


def to_stored(opened: Opened, maps: Sequence[np.ndarray]) -> np.ndarray:
  """Stacks the maps of slices, and turns the result to the axes of the file.

  Args:
    opened: the file.
    maps: one array [H, W, ...] per slice.

  Returns:
    An array [H, W, ...] for an image, or [A, B, C, ...] as the volume stores
    its axes.
  """
  if opened.volume is None:
    return maps[0]
  return nibabel.apply_orientation(
      np.stack(maps, opened.axis), opened.turned[1])
