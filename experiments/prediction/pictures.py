"""Any file of pictures -> tiles for the networks, and back to its geometry.

A picture, or each slice of a volume, becomes one tile of the size that the
networks were trained on (`whole`, as the records were made), or overlapping
tiles of its own resolution (`window`: right where the set was prepared without
resizing). A volume is turned and cut as the volumes of the training set were,
so that the prediction does not depend on how a file stores its axes; the result
is turned back.
"""

import collections
from collections.abc import Iterable, Iterator, Sequence
import gzip
import pathlib
from typing import Any, NamedTuple

from data_prep.drawing import rasterize
from data_prep.formats import intensities
from data_prep.formats import nifti
from data_prep.formats import sources
from data_prep.formats import volumes
from data_prep.records import preparation as preparation_lib
from data_prep.shared import pixels
from data_prep.shared import whole_file
from hybridseg import inference
import nibabel
import numpy as np
from PIL import Image

from experiments.prediction import predictor as predictor_lib

VOLUME_SUFFIXES = ('.nii', '.nii.gz')
SUFFIXES = (*sources.PICTURES, *VOLUME_SUFFIXES)

STORED = 'stored'  # In place of an orientation: as the file has it.

_LINES = {letter: line for line in ('IS', 'LR', 'PA') for letter in line}
_GEOMETRY = (
    'qform_code', 'sform_code', 'quatern_b', 'quatern_c', 'quatern_d',
    'qoffset_x', 'qoffset_y', 'qoffset_z', 'srow_x', 'srow_y', 'srow_z',
    'xyzt_units')


class Tiling(NamedTuple):
  """How a slice becomes tiles.

  Attributes:
    size: height and width of a tile.
    channels: 1 or 3.
    windowed: whether tiles are windows of the slice, or the whole of it.
    overlap: of windows, see `inference.window_starts`.
  """

  size: tuple[int, int]
  channels: int
  windowed: bool = False
  overlap: float = 0.5


class Opened(NamedTuple):
  """One file, read.

  Attributes:
    slices: uint8 [H, W, C] each, of one size.
    spacing_mm: along the axes of the result: (y, x), or those of the volume as
      it is stored; None if the file does not say.
    volume: where the slices come from, None for a picture.
    turned: from the stored axes to those of the slices (nibabel's orientation
      transform), and back.
    axis: along which the turned volume was cut.
  """

  slices: tuple[np.ndarray, ...]
  spacing_mm: tuple[float, ...] | None
  volume: volumes.Volume | None = None
  turned: tuple[np.ndarray, np.ndarray] | None = None
  axis: int = 0


def is_orientation(axes: str) -> bool:
  """Returns whether a text says where three axes point, such as 'LPS'."""
  return sorted(_LINES.get(letter, '') for letter in axes) == ['IS', 'LR', 'PA']


def is_volume(name: str) -> bool:
  """Returns whether a file of this name is a volume."""
  return name.lower().endswith(VOLUME_SUFFIXES)


def without_suffix(name: str) -> str:
  """Returns a name without the suffix that `SUFFIXES` knows."""
  lower = name.lower()
  for suffix in sorted(SUFFIXES, key=len, reverse=True):
    if lower.endswith(suffix):
      return name[: -len(suffix)]
  return name


def open_file(
    name: str,
    folder: pixels.Folder,
    *,
    preparation: preparation_lib.Preparation,
    channels: int,
) -> Opened:
  """Reads a picture or a volume as the training set was read.

  Args:
    name: of the file, below the folder.
    folder: that it may be read from.
    preparation: of the training set.
    channels: 1 or 3, of the networks.

  Raises:
    pixels.WrongFile: if it cannot be used.
  """
  if not is_volume(name):
    image, spacing = intensities.read_picture(
        name, folder, intensity_range=preparation.intensity_range)
    return Opened((with_channels(image, channels, name),), spacing)
  pixels.check_file(name, 'volume', folder)
  volume = volumes.read_nifti(folder.root / name)
  intensities.check_finite(volume.voxels, name)
  turned = _turns(volume.affine, preparation.orientation)
  voxels = nibabel.apply_orientation(volume.voxels, turned[0])
  axis = preparation.axis
  if axis is None:
    axis = nifti.thinnest_axis(volume)
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
  """Repeats gray; refuses colour where the networks know only gray.

  Args:
    image: uint8 [H, W, 1 or 3].
    channels: 1 or 3, of the networks.
    name: of the picture.

  Raises:
    pixels.WrongFile: if it is refused.
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
  """Returns the tiles of all slices, uint8 [*size, channels] each."""
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
  """Undoes `tiles_of`, for what was predicted of the tiles.

  Args:
    opened: the file.
    maps: one float [h, w, ...] per tile.
    tiling: as it was.

  Returns:
    For each slice float32 [H, W, ...].
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
    key: of the file.
    opened: the file.
    maps: of each part of a prediction a list, [H, W, ...] per slice.
  """

  key: Any
  opened: Opened
  maps: inference.Prediction


def predict(
    predictor: predictor_lib.Predictor,
    files: Iterable[tuple[Any, Opened]],
    tiling: Tiling,
) -> Iterator[Predicted]:
  """Predicts files one after another; their tiles share batches.

  Args:
    predictor: from `predictor.load`.
    files: a key of each, and the file; read ahead by one batch of tiles.
    tiling: how slices become tiles.
  """
  waiting = collections.deque()  # Files whose tiles are on their way.

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
      yield Predicted(key, opened, inference.Prediction(*(
          merge(opened, part, tiling) for part in zip(*outputs, strict=True))))


def resize_map(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
  """Resizes float [h, w, ...] bilinearly; the mean of many where it shrinks."""
  if values.shape[:2] == tuple(size):
    return values
  planes = values.reshape(*values.shape[:2], -1)
  resized = [
      Image.fromarray(np.ascontiguousarray(planes[..., i], np.float32)).resize(
          (size[1], size[0]), Image.Resampling.BILINEAR)
      for i in range(planes.shape[-1])]
  return np.stack([np.asarray(x) for x in resized], axis=-1).reshape(
      *size, *values.shape[2:])


def to_stored(opened: Opened, maps: Sequence[np.ndarray]) -> np.ndarray:
  """Returns maps of slices in the geometry of the file.

  Args:
    opened: the file.
    maps: one array [H, W, ...] per slice.

  Returns:
    [H, W, ...] for a picture; [A, B, C, ...] as a volume stores it.
  """
  if opened.volume is None:
    return maps[0]
  return nibabel.apply_orientation(
      np.stack(maps, opened.axis), opened.turned[1])


def save_volume(
    path: pathlib.Path, array: np.ndarray, volume: volumes.Volume
) -> None:
  """Writes a NIfTI with the geometry of another: size, affine, codes, units.

  Nothing else of its header is copied: it may hold a patient's name.

  Args:
    path: .nii.gz to write, whole or not at all.
    array: [A, B, C] or [A, B, C, K] as the other stores its axes.
    volume: the other.
  """
  old = volume.header
  form = nibabel.Nifti2Image if int(
      old['sizeof_hdr']) == 540 else nibabel.Nifti1Image
  header = form.header_class()
  for name in _GEOMETRY:
    header[name] = old[name]
  header['pixdim'][:4] = old['pixdim'][:4]
  header.set_data_dtype(array.dtype)
  if array.ndim == 3:  # A header may have fewer axes, or more of length 1.
    array = array.reshape(old.get_data_shape())
  with (whole_file.open_whole(path, 'wb') as file,
        gzip.GzipFile('', 'wb', 1, file, mtime=0) as zipped):
    form(array, None, header).to_stream(zipped)
