"""Converts pictures to the forms that a manifest allows: 8-bit gray or RGB.

A picture that already has this form stays where it is. For all others (16 bits,
floats, NPY arrays, DICOM, slices of volumes), a window of intensities is mapped
to 8 bits, and the result is written as PNG below OUTPUT/images.
"""

import math
import os
import pathlib
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from data_prep import formats
from data_prep import manifest as manifest_lib
from data_prep.drawing import rasterize
from data_prep.formats import dicom
from data_prep.formats import sources
from data_prep.shared import confined
from data_prep.shared import pixels

NOT_FINITE = ('values that are not finite become the lowest or the highest '
              'intensity')

_PERCENTILES = (0.5, 99.5)
_MAX_SAMPLES = 2**20


class Placed(NamedTuple):
  """The file of a picture, as its row names it.

  Attributes:
    path: path relative to the source, or to the output if it was written there.
    size: height and width; None if the picture cannot be read.
    more: further fields of the row, such as `spacing_mm`.
  """

  path: str
  size: tuple[int, int] | None = None
  more: dict[str, Any] = {}


class Picture(NamedTuple):
  """The pixels of a picture after conversion to 8 bits, not yet resized.

  Attributes:
    image: uint8 [H, W, 1] if it is gray, else uint8 [H, W, 3].
    spacing_mm: millimetres per pixel (y, x); None if the file gives none.
  """

  image: np.ndarray
  spacing_mm: tuple[float, float] | None


def read_picture(
    name: str,
    folder: pixels.Folder,
    *,
    intensity_range: tuple[float, float] | None,
) -> Picture:
  """Reads a picture of any format, and converts it to 8 bits without writing.

  The pixels are the same as if `Writer` had converted the picture and the
  builder of records had read the result.

  Args:
    name: path of the file below the folder.
    folder: the folder that may be read.
    intensity_range: intensities that become 0 and 255 in a picture of more than
      8 bits; None uses percentiles.

  Raises:
    pixels.WrongFile: if the picture cannot be used.
  """
  deep = _read_deep(name, folder)
  if deep is None:
    with pixels.opened(name, 'image', folder) as (path, image):
      if image.mode not in pixels.IMAGE_MODES:
        raise pixels.WrongFile(
            'expected gray or RGB', f'mode {image.mode}',
            'convert the image to RGB')
      pixels.check_alpha(image, 'image')
      return Picture(rasterize.read_image(path), None)
  check_finite(deep[0], name)
  array = to_uint8(deep[0], intensity_range)
  return Picture(array.reshape(*array.shape[:2], -1), deep[1])


def _read_deep(name, folder):
  """Returns the pixels and spacing of a picture that has to be converted.

  The result is None for a picture that already has 8 bits.
  """
  suffix = name.lower().rsplit('.', 1)[-1]
  if suffix in ('dcm', 'dicom', 'ima') or (
      f'.{suffix}' not in sources.PICTURES):
    return dicom.read_dicom(folder.root / name)
  if suffix == 'npy':
    return read_npy(folder.root / name), None
  with pixels.opened(name, 'image', folder) as (_, image):
    return (np.asarray(image), None) if is_deep(image) else None


class Writer:
  """Converts the pictures of one source where needed, see the module."""

  def __init__(
      self, source: pathlib.Path, output: pathlib.Path, options: formats.Options
  ):
    self._source = source.resolve()
    self._folder = pixels.open_folder(self._source)
    self._output = output.resolve()
    self._range = options.intensity_range
    self._written = set()
    self._unreadable = set()
    self._patients = dicom.Patients()

  def place(self, path: str, row_id: str, report) -> Placed:
    """Returns the path and size of a picture; converts it first if needed.

    A file that Pillow cannot read gets a row and is not reported here: the
    check of the manifest reads all files and will report it.
    """
    try:
      if confined.leads_out(self._source, path):
        raise pixels.WrongFile(
            'image lies outside the source', pixels.tail(path),
            'put the file itself below the folder')
      if f'.{path.lower().rsplit(".", 1)[-1]}' in pixels.KNOWN_SUFFIXES:
        with Image.open(self._source / path) as image:
          if not is_deep(image):
            return Placed(path, (image.height, image.width))
      array, spacing = _read_deep(path, self._folder)
      check_finite(array, path)
      if not is_finite(array):
        report.note(NOT_FINITE)
      found = {} if spacing is None else {'spacing_mm': spacing}
      if dicom.is_dicom(self._source / path):
        patient = self._patients.number_of(self._source / path)
        if patient is not None:
          found['subject'] = f'patient_{patient:04d}'
      return Placed(self.write(array, row_id), array.shape[:2], found)
    except pixels.WrongFile as wrong:
      report.wrong_file(wrong, file=path, row_id=row_id)
      self._unreadable.add(row_id)
    except Exception:  # The check of the manifest will explain the error.
      pass
    return Placed(path)

  def write(self, array: np.ndarray, row_id: str, limits=None) -> str:
    """Converts a picture to 8 bits and writes it; returns its path.

    Args:
      array: intensities, see `to_uint8`.
      row_id: id of the picture.
      limits: intensities that become 0 and 255; None uses the user's range.
    """
    return self.write_png(
        to_uint8(array, limits or self._range), f'images/{row_id}')

  def write_png(self, array: np.ndarray, name: str) -> str:
    """Writes uint8 [H, W] or [H, W, 3] as `name`.png; returns this path.

    Raises:
      pixels.WrongFile: if the path would lead out of the output.
    """
    name = f'{name}.png'
    path = confined.inside(self._output, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    self._written.add(name)
    return name

  def finish(
      self,
      rows: list[manifest_lib.Row],
      weak: dict[str, dict[str, Any]],
      classes: tuple[str, ...],
      report,
      *,
      is_annotated: bool = True,
  ) -> formats.Imported:
    """Returns all that was read, with the paths of all rows below one root.

    The report receives a notice of the files that were not read, see
    `sources.note_unused`.

    Rows whose picture could not be placed are left out; the report names them.
    The root is the source if nothing was written. Otherwise it is the output,
    which holds the manifest, and files in the source have absolute paths.
    """
    sources.note_unused(
        self._source, report.used, report, is_annotated=is_annotated)
    rows = [row for row in rows if row.id not in self._unreadable]
    imported = formats.Imported(
        classes, rows, report.problems, report.notices, str(self._source), weak,
        tuple(report.left_out))
    if not self._written:
      return imported

    def moved(path):
      # A path that leads out of the source stays relative, so that the check
      # of the manifest refuses it.
      if path in self._written or confined.leads_out(self._source, path):
        return path
      return str(self._source / path)

    def moved_annotation(annotation):
      if annotation is None or 'path' not in annotation:
        return annotation
      return annotation | {'path': moved(annotation['path'])}

    return imported._replace(
        rows=[row._replace(
            image=moved(row.image),
            annotation=moved_annotation(row.annotation)) for row in rows],
        weak={k: moved_annotation(v) for k, v in weak.items()}, root='.')


def is_deep(image: Image.Image) -> bool:
  """Returns whether a picture has more than 8 bits per channel."""
  return image.mode[:1] in ('I', 'F') or ';16' in str(image.tile)


def to_uint8(
    array: np.ndarray, limits: tuple[float, float] | None
) -> np.ndarray:
  """Maps intensities linearly to 0 .. 255, uint8 [H, W] or [H, W, 3].

  Args:
    array: [H, W], [H, W, 1] or [H, W, 3] of any real type; NaN becomes the
      lower limit, and infinities become the limits.
    limits: intensities that become 0 and 255; None uses percentiles 0.5 and
      99.5, and keeps uint8 as it is.

  Raises:
    pixels.WrongFile: if the array has another shape or type.
  """
  if array.ndim == 3 and array.shape[-1] == 1:
    array = array[..., 0]
  if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[-1] != 3):
    raise pixels.WrongFile(
        'expected [height, width] or [height, width, 3]',
        ' x '.join(map(str, array.shape)), 'save one picture per file')
  if array.dtype.kind not in 'buif':
    raise pixels.WrongFile(
        'expected real numbers', str(array.dtype), 'save another type')
  if array.dtype == np.uint8 and limits is None:
    return array
  low, high = limits or percentiles(array)
  with np.errstate(invalid='ignore'):  # A signalling NaN must not warn.
    values = array.astype(np.float64)
  # Work in place, since the values of a large picture take half a GiB.
  np.nan_to_num(values, copy=False, nan=low, posinf=high, neginf=low)
  np.clip(values, low, high, out=values)
  values -= low
  values *= 255 / max(high - low, 1e-30)
  return np.round(values, out=values).astype(np.uint8)


def is_finite(array: np.ndarray) -> bool:
  """Returns whether no value is NaN or infinite.

  Args:
    array: numbers of any real type and shape.
  """
  with np.errstate(invalid='ignore'):  # A signalling NaN must not warn.
    return array.dtype.kind != 'f' or bool(np.isfinite(array).all())


def check_finite(array: np.ndarray, name: str) -> None:
  """Refuses a picture or volume without any finite value.

  Otherwise it would become a picture of one gray value.

  Args:
    array: intensities of any real type.
    name: name of the file.

  Raises:
    pixels.WrongFile: if no value is finite.
  """
  with np.errstate(invalid='ignore'):  # A signalling NaN must not warn.
    if array.dtype.kind == 'f' and not np.isfinite(array).any():
      raise pixels.WrongFile(
          'no value of the image is a finite number', pixels.tail(name),
          'replace the file')


def percentiles(array: np.ndarray) -> tuple[float, float]:
  """Returns percentiles 0.5 and 99.5 of the finite values of an array."""
  values = array.ravel()
  with np.errstate(invalid='ignore'):  # A signalling NaN must not warn.
    values = values[:: max(1, values.size // _MAX_SAMPLES)].astype(np.float64)
  # Clip, since the difference of two huge numbers would be infinite.
  values = np.clip(values[np.isfinite(values)], -1e300, 1e300)
  if not values.size:
    return 0.0, 1.0
  low, high = np.percentile(values, _PERCENTILES)
  return float(low), float(high)


def read_npy(path: pathlib.Path) -> np.ndarray:
  """Reads an NPY file; its size is checked before the data are read.

  Pickled objects are refused, since loading them could run any code.

  Raises:
    pixels.WrongFile: if the file cannot be used.
  """
  shown, fix = pixels.tail(path.name), 'save it with numpy.save'
  with pixels.explaining('the array cannot be read', shown, fix):
    with open(path, 'rb') as file:
      try:
        version = np.lib.format.read_magic(file)
        read = (np.lib.format.read_array_header_1_0 if version == (1, 0)
                else np.lib.format.read_array_header_2_0)
        shape, _, dtype = read(file)
      except Exception as error:  # NumPy evaluates the header as Python code.
        raise pixels.WrongFile(
            'the header of the array cannot be read', shown, fix) from error
      if dtype.hasobject or dtype.kind not in 'buif':
        raise pixels.WrongFile(
            'expected an array of real numbers', f'{shown}: {dtype}'[:60],
            'save it as uint8 or float32')
      count = math.prod(shape)
      if not 0 < count <= pixels.MAX_PIXELS or count * dtype.itemsize > (
          os.path.getsize(path) - file.tell()):
        raise pixels.WrongFile(
            'the file does not hold as many values as its header declares',
            f'{shown}: {" x ".join(map(str, shape))}'[:60], 'save it again')
    return np.load(path, allow_pickle=False)
