"""Reads NIfTI volumes, whose headers are checked before the voxels."""

import contextlib
import errno
import gzip
import mmap
import os
import pathlib
import tempfile
import warnings
import zlib

import nibabel
import numpy as np

from data_prep.formats import label_table
from data_prep.shared import pixels
from data_prep.shared import scratch
from data_prep.shared import volume_type

MAX_BYTES = 2**28  # Largest size of a volume's voxels.
MAX_LAZY_BYTES = 2**36  # The same, if the voxels stay on the disk.

_MAX_OFFSET = 2**24  # Largest number of bytes before the voxels.
_GZIP = b'\x1f\x8b'
_STREAMED = 2**22  # Number of bytes that are decompressed at once.
# Codes of metre and micrometre; any other code is read as mm.
_UNITS_MM = {1: 1e3, 3: 1e-3}
_MAX_MM = 1e7  # Largest number of an affine.
_NOISE = 1e-4  # Largest error of a whole number that was stored as a float.


class FurtherAxis(pixels.WrongFile):
  """Raised if a volume has a fourth or further axis, such as time."""


def read_nifti(path: pathlib.Path) -> volume_type.Volume:
  """Reads a .nii or .nii.gz file of a volume with three axes into memory.

  A compressed file is read to its end, so that its checksum is verified.
  Further axes of length 1 are dropped, and missing axes are added.

  Raises:
    pixels.WrongFile: if the file cannot be used.
  """
  shown = pixels.tail(path.name)
  with pixels.explaining('the volume cannot be read', shown, 'export it again'):
    return _parse(_read_content(path, shown), shown, MAX_BYTES, whole=True)


def open_nifti(
    path: pathlib.Path, *, folder: str | os.PathLike[str] | None = None
) -> volume_type.Volume:
  """Opens a file as `read_nifti` does, but leaves the voxels on the disk.

  The voxels of the result are `volume_type.Lazy`. A compressed file is first
  decompressed into a nameless temporary file, which vanishes with the volume.

  Args:
    path: a .nii or .nii.gz file of up to `MAX_LAZY_BYTES`.
    folder: folder on whose disk a decompressed file lies; None means the
      system's folder for temporary files.

  Raises:
    pixels.WrongFile: if the file cannot be used.
    OSError: if the disk is full.
  """
  shown = pixels.tail(path.name)
  with pixels.explaining('the volume cannot be read', shown, 'export it again'):
    with _opened(path, shown) as stream:
      file = stream
      if isinstance(stream, gzip.GzipFile):
        file = tempfile.TemporaryFile(dir=folder)
        _decompress(stream, file, shown)
      content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
      if file is not stream:
        file.close()  # The map keeps the file alive.
    return _parse(content, shown, MAX_LAZY_BYTES, whole=False)


def _parse(content, shown, max_bytes, *, whole):
  """Returns the volume in the bytes of a file, see `read_nifti`."""
  header = _read_header(content, shown)
  shape = _check_header(header, len(content), shown, max_bytes)
  notices = []
  with np.errstate(all='ignore'):  # A damaged header may hold any number.
    voxels, step = _read_voxels(content, header, shape, shown, notices, whole)
    affines = _affines(header, shown, notices)
  names = label_table.read(
      content, int(header['sizeof_hdr']), int(header['vox_offset']),
      'little' if header.endianness == '<' else 'big')
  return volume_type.Volume(
      voxels, affines[0], names, None, affines, step, tuple(notices), header)


@contextlib.contextmanager
def explaining_file(shown: str):
  """Explains errors of the system and of compressed streams.

  Args:
    shown: name of the file, for messages.

  Raises:
    pixels.WrongFile: for every such error, except that of a full disk.
  """
  try:
    yield
  except (EOFError, zlib.error, gzip.BadGzipFile) as error:
    raise pixels.WrongFile(
        f'the gzip is damaged: {str(error)[:50]}', shown,
        'copy or export it again') from error
  except OSError as error:
    if error.errno == errno.ENOSPC:
      raise
    raise pixels.WrongFile(
        'the volume cannot be read',
        f'{shown}: {error.strerror or str(error)[:40]}',
        'make it readable') from error


@contextlib.contextmanager
def _opened(path, shown):
  """Opens a file for reading, decompressed, and explains what goes wrong."""
  with explaining_file(shown), open(path, 'rb') as file:
    start = file.read(2)
    file.seek(0)
    if not start:
      raise pixels.WrongFile(
          'the volume is empty, 0 bytes', shown, 'replace the file')
    yield gzip.GzipFile(fileobj=file) if start == _GZIP else file


def _read_content(path, shown):
  """Returns the decompressed bytes of a file; refuses files over a limit."""
  with _opened(path, shown) as stream:
    # Read one byte more than the limit, to notice files that are larger.
    content = stream.read(MAX_BYTES + _MAX_OFFSET + 1)
  _check_length(len(content), MAX_BYTES, shown)
  return content


def _decompress(stream, file, shown):
  """Copies a decompressed stream to a file, up to a limit."""
  length = 0
  while content := stream.read(_STREAMED):
    length += len(content)
    _check_length(length, MAX_LAZY_BYTES, shown)
    file.write(content)
  file.flush()


def _check_length(length, limit, shown):
  if length > limit + _MAX_OFFSET:
    raise pixels.WrongFile(
        f'the volume is larger than {limit >> 20} MiB', shown,
        'crop it or cut it into slices')


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


def _check_header(header, num_bytes, shown, max_bytes):
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
  # A voxel of one byte counts as two, since a scaling makes it wider.
  if max(2, dtype.itemsize) * voxels > max_bytes:
    raise pixels.WrongFile(
        f'the header declares more than {max_bytes >> 20} MiB',
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


def _read_voxels(content, header, shape, shown, notices, whole):
  """Returns the scaled voxels, and the `step` of their volume.

  Args:
    content: bytes of the file.
    header: its header.
    shape: lengths of the three axes.
    shown: name of the file, for messages.
    notices: list to which oddities are added.
    whole: whether all voxels are read, or each block when it is asked for.
  """
  dtype = header.get_data_dtype()
  offset = int(header['vox_offset'])
  stored = np.frombuffer(
      content, dtype, count=int(np.prod(shape)), offset=offset)
  stored = stored.reshape(shape, order='F')
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

  def read(block):
    voxels = stored[block]
    if is_scaled:
      voxels = voxels * np.float32(slope) + np.float32(inter)
    voxels = voxels.astype(voxels.dtype.newbyteorder('='), copy=not whole)
    scratch.release(stored)
    return voxels

  step = abs(slope) if is_scaled and dtype.kind in 'ui' else 0.0
  if whole:
    return read(()), step
  return volume_type.Lazy(shape, read((slice(0),) * 3).dtype, read), step


def class_numbers(volume: volume_type.Volume, shown: str) -> np.ndarray:
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
  values = np.asarray(volume.voxels)
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
  """Returns the `affines` of a volume; refuses singular or contradictory ones.
  """
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
  lengths = check_affine(affine, shown)
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


def check_affine(affine: np.ndarray, shown: str) -> np.ndarray:
  """Refuses an affine that is singular; returns its spacings.

  Args:
    affine: the affine, float [4, 4].
    shown: name of the file, for messages.

  Raises:
    pixels.WrongFile: if the affine is refused.
  """
  if not np.isfinite(affine).all():
    raise pixels.WrongFile(
        'the affine is not finite', shown, 'correct the header')
  if np.abs(affine).max() > _MAX_MM:
    raise pixels.WrongFile(
        'the affine leads kilometres away', shown, 'correct the header')
  lengths = np.linalg.norm(affine[:3, :3], axis=0)
  if (lengths < 1e-6).any() or (
      abs(np.linalg.det(affine[:3, :3] / np.maximum(lengths, 1e-6))) < 1e-3):
    raise pixels.WrongFile(
        'the affine is singular', shown, 'correct the header')
  return lengths


def _differ_in_place_only(affine, other):
  """Returns whether two affines have the same spacing and axis directions."""
  lengths = [np.linalg.norm(a[:3, :3], axis=0) for a in (affine, other)]
  return np.allclose(*lengths, rtol=1e-2) and (
      nibabel.aff2axcodes(affine) == nibabel.aff2axcodes(other))
