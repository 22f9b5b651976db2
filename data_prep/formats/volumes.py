"""Reads NIfTI volumes, whose headers are checked before the voxels."""

import gzip
import pathlib
from typing import NamedTuple
import warnings
import zlib

import nibabel
import numpy as np

from data_prep.formats import label_table
from data_prep.shared import pixels

MAX_BYTES = 2**28  # Largest size of a volume's voxels.
MAX_VOXELS = 2**27

_MAX_OFFSET = 2**24  # Largest number of bytes before the voxels.
_GZIP = b'\x1f\x8b'
# Codes of metre and micrometre; any other code is read as mm.
_UNITS_MM = {1: 1e3, 3: 1e-3}
_NOISE = 1e-4  # Largest error of a whole number that was stored as a float.


class FurtherAxis(pixels.WrongFile):
  """Raised if a volume has a fourth or further axis, such as time."""


class Volume(NamedTuple):
  """A volume with its axes in the stored order.

  Attributes:
    voxels: scaled intensities or labels, [A, B, C].
    affine: maps voxel indices to positions in mm, float64 [4, 4].
    spacing_mm: distance between voxels along each axis.
    header: the header as it was read; it may hold more than geometry.
    affines: all affines in the header, `affine` first. If the header gives
      positions in a unit other than mm, the affines without conversion to mm
      follow.
    names: class names by value, as an extension of the header lists them.
    step: smallest difference between two values that the file can store with
      its scaling; 0 if the voxels are not scaled.
    notices: oddities of the file that are not faults, one per string.
  """

  voxels: np.ndarray
  affine: np.ndarray
  spacing_mm: tuple[float, float, float]
  header: nibabel.Nifti1Header
  affines: tuple[np.ndarray, ...]
  names: dict[int, str]
  step: float
  notices: tuple[str, ...]


def read_nifti(path: pathlib.Path) -> Volume:
  """Reads a .nii or .nii.gz file of a volume with three axes.

  A compressed file is read to its end, so that its checksum is verified.
  Further axes of length 1 are dropped, and missing axes are added.

  Raises:
    pixels.WrongFile: if the file cannot be used.
  """
  shown = pixels.tail(path.name)
  with pixels.explaining('the volume cannot be read', shown, 'export it again'):
    content = _read_content(path, shown)
    header = _read_header(content, shown)
    shape = _check_header(header, len(content), shown)
    notices = []
    with np.errstate(all='ignore'):  # A damaged header may hold any number.
      voxels, step = _read_voxels(content, header, shape, shown, notices)
      affines = _affines(header, shown, notices)
    spacing = tuple(
        float(v) for v in np.linalg.norm(affines[0][:3, :3], axis=0))
    size = int(header['sizeof_hdr'])
    names = label_table.read(
        content, size, int(header['vox_offset']),
        'little' if header.endianness == '<' else 'big')
    return Volume(voxels, affines[0], spacing, header, affines, names, step,
                  tuple(notices))


def _read_content(path, shown):
  """Returns the decompressed bytes of a file; refuses files over a limit."""
  try:
    with open(path, 'rb') as file:
      start = file.read(2)
      file.seek(0)
      if not start:
        raise pixels.WrongFile(
            'the volume is empty, 0 bytes', shown, 'replace the file')
      zipped = start == _GZIP
      stream = gzip.GzipFile(fileobj=file) if zipped else file
      # Read one byte more than the limit, to notice files that are larger.
      content = stream.read(MAX_BYTES + _MAX_OFFSET + 1)
  except (EOFError, zlib.error, gzip.BadGzipFile) as error:
    raise pixels.WrongFile(
        f'the gzip is damaged: {str(error)[:50]}', shown,
        'copy or export it again') from error
  except OSError as error:
    raise pixels.WrongFile(
        'the volume cannot be read', f'{shown}: {error.strerror}',
        'make it readable') from error
  if len(content) > MAX_BYTES + _MAX_OFFSET:
    raise pixels.WrongFile(
        f'the volume is larger than {MAX_BYTES >> 20} MiB', shown,
        'crop it or cut it into slices')
  return content


def _read_header(content, shown):
  size = int.from_bytes(content[:4], 'little')
  swapped = int.from_bytes(content[:4], 'big')
  form = {348: nibabel.Nifti1Header, 540: nibabel.Nifti2Header}.get(
      size if size in (348, 540) else swapped)
  if form is None:
    raise pixels.WrongFile(
        'it is not NIfTI', f'{shown} starts with {ascii(content[:4])[:30]}',
        'export it as .nii or .nii.gz')
  magic = content[344:348] if form is nibabel.Nifti1Header else content[4:8]
  if magic[:3] != (b'n+1' if form is nibabel.Nifti1Header else b'n+2'):
    raise pixels.WrongFile(
        'header and voxels are not in one file', shown,
        'export it as .nii or .nii.gz')
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')
    # Leave out the extensions; `label_table` reads names of classes from them.
    return form(content[: form.template_dtype.itemsize], check=False)


def _check_header(header, num_bytes, shown):
  """Returns the lengths of a volume's three axes; refuses bad headers."""
  count = int(header['dim'][0])
  if not 1 <= count <= 7:
    raise pixels.WrongFile(
        'the header names an impossible number of axes', f'{shown}: {count}',
        'export it again')
  shape = [int(v) for v in header['dim'][1 : 1 + count]]
  text = ' x '.join(map(str, shape))
  if min(shape) < 1:
    raise pixels.WrongFile(
        'an axis of length below 1', f'{shown}: {text}', 'export it again')
  while len(shape) > 3 and shape[-1] == 1:
    shape.pop()
  shape += [1] * (3 - len(shape))
  if len(shape) > 3:
    raise FurtherAxis(
        'expected three axes', f'{shown}: {text}',
        'save each time or channel as a file of its own')
  code = int(header['datatype'])
  try:
    dtype = header.get_data_dtype()
  except Exception as error:
    raise pixels.WrongFile(
        'unknown type of voxels', f'{shown}: code {code}', 'export it again'
    ) from error
  if dtype.kind not in 'buif' or dtype.itemsize > 8:
    raise pixels.WrongFile(
        'expected voxels that are real numbers', f'{shown}: {dtype}'[:60],
        'export magnitudes or labels')
  voxels = int(np.prod([int(v) for v in shape], dtype=object))
  if voxels > MAX_VOXELS or voxels * dtype.itemsize > MAX_BYTES:
    raise pixels.WrongFile(
        f'the header declares more than {MAX_BYTES >> 20} MiB',
        f'{shown}: {text}', 'crop it or cut it into slices')
  offset = float(header['vox_offset'])
  start = int(header['sizeof_hdr']) + 4
  if not start <= offset <= _MAX_OFFSET:
    raise pixels.WrongFile(
        f'vox_offset is not within {start} .. {_MAX_OFFSET}',
        f'{shown}: {offset:g}', 'export it again')
  if int(offset) + voxels * dtype.itemsize > num_bytes:
    raise pixels.WrongFile(
        f'the file is shorter than its header says, {text}',
        f'{shown}: {num_bytes} bytes', 'copy or export it again')
  return tuple(shape)


def _read_voxels(content, header, shape, shown, notices):
  """Returns the scaled voxels, and `Volume.step`."""
  dtype = header.get_data_dtype()
  offset = int(header['vox_offset'])
  voxels = np.frombuffer(
      content, dtype, count=int(np.prod(shape)), offset=offset)
  voxels = voxels.reshape(shape, order='F')
  slope, inter = float(header['scl_slope']), float(header['scl_inter'])
  if np.isnan(slope):
    notices.append('scl_slope is nan: the voxels are read unscaled')
    slope = 0.0
  if np.isinf(slope) or (slope and not np.isfinite(inter)):
    raise pixels.WrongFile(
        'scl_slope or scl_inter is not finite', f'{shown}: {slope:g}, '
        f'{inter:g}', 'export it again')
  # By the standard, slope 0 means that the voxels are not scaled.
  is_scaled = bool(slope) and (slope, inter) != (1.0, 0.0)
  if is_scaled:
    voxels = voxels * np.float32(slope) + np.float32(inter)
  step = abs(slope) if is_scaled and dtype.kind in 'ui' else 0.0
  return voxels.astype(voxels.dtype.newbyteorder('='), copy=False), step


def class_numbers(volume: Volume, shown: str) -> np.ndarray:
  """Returns the voxels of labels as whole numbers.

  nibabel may store floats as integers with a scale that fits their range, so
  that class 1 is read as, say, 0.988. Such a value is rounded if it differs
  from a whole number by no more than the error of this scaling.

  Args:
    volume: a volume of labels.
    shown: name of its file, for messages.

  Returns:
    Integers of the same shape, with absolute values up to 2**31.

  Raises:
    pixels.WrongFile: if values are fractions, too large or not finite.
  """
  values = volume.voxels
  if values.dtype.kind == 'f':
    if not np.isfinite(values).all():
      raise pixels.WrongFile(
          'labels hold values that are not finite', shown,
          'save integers; 255 is unlabelled')
    whole = np.rint(values)
    noise = _NOISE + volume.step / 2 * (volume.step < 0.99)
    if np.abs(values - whole).max(initial=0) > noise:
      raise pixels.WrongFile(
          'labels hold fractions', shown,
          'resample by nearest neighbour; save integers')
    values = whole
  if values.min() < -(2**31) or values.max() > 2**31:
    raise pixels.WrongFile(
        'labels hold huge values',
        f'{shown}: {values.min():g} .. {values.max():g}', 'save class numbers')
  return values.astype(np.int64) if values.dtype.kind == 'f' else values


def _affines(header, shown, notices):
  """Returns `Volume.affines`; refuses singular or contradictory affines."""
  spacing = header['pixdim'][1:4].astype(float)
  forms, codes = [], []
  for name in ('sform', 'qform'):
    if int(header[f'{name}_code']) > 0:
      if name == 'qform' and not (spacing > 0).all():
        raise pixels.WrongFile(
            'a spacing is not above 0', f'{shown}: {spacing.tolist()}',
            'correct the header')
      forms.append(np.asarray(getattr(header, f'get_{name}')(), np.float64))
      codes.append(int(header[f'{name}_code']))
  if not forms:
    if not (np.isfinite(spacing).all() and (spacing > 0).all()):
      raise pixels.WrongFile(
          'a spacing is not above 0', f'{shown}: {spacing.tolist()}',
          'correct the header')
    forms.append(np.diag([*spacing, 1.0]))
  affine = forms[0]
  if not np.isfinite(affine).all():
    raise pixels.WrongFile(
        'the affine is not finite', shown, 'correct the header')
  lengths = np.linalg.norm(affine[:3, :3], axis=0)
  if (lengths < 1e-6).any() or (
      abs(np.linalg.det(affine[:3, :3] / np.maximum(lengths, 1e-6))) < 1e-3):
    raise pixels.WrongFile(
        'the affine is singular', shown, 'correct the header')
  for other in forms[1:]:
    if np.allclose(other, affine, rtol=1e-3, atol=1e-2 * lengths.min()):
      forms = forms[:1]
    elif codes[0] != codes[1] and _differ_in_place_only(affine, other):
      # By the standard, one of the two affines maps to the coordinates of the
      # scanner, and the other may map to those of a template.
      notices.append(
          'qform and sform are of different spaces: the sform counts')
    else:
      raise pixels.WrongFile(
          'qform and sform disagree', shown,
          'keep the right one; set the code of the other to 0')
  scale = _UNITS_MM.get(int(header['xyzt_units']) & 7)
  if scale is None:
    return tuple(forms)
  notices.append(f'the header counts in {"metres" if scale > 1 else ""}'
                 f'{"micrometres" if scale < 1 else ""}: mm are used')
  # Files of labels often repeat the affine of their image without its unit, so
  # append the affines without conversion.
  return tuple(np.diag([*[scale] * 3, 1.0]) @ f for f in forms) + tuple(forms)


def _differ_in_place_only(affine, other):
  """Returns whether two affines have the same spacing and axis directions."""
  lengths = [np.linalg.norm(a[:3, :3], axis=0) for a in (affine, other)]
  return np.allclose(*lengths, rtol=1e-2) and (
      nibabel.aff2axcodes(affine) == nibabel.aff2axcodes(other))
