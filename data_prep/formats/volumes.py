"""Reads NIfTI volumes; headers are checked before voxels."""

import gzip
import io
import pathlib
from typing import NamedTuple
import warnings
import zlib

import nibabel
import numpy as np

from data_prep import pixels

MAX_BYTES = 2**28  # Of the voxels of one volume, and of what is decompressed.
MAX_VOXELS = 2**27

_HEADER_BYTES = 1024
_GZIP = b'\x1f\x8b'


class FurtherAxis(pixels.WrongFile):
  """A volume has more than three axes, such as one of time."""


class Volume(NamedTuple):
  """A volume in its stored order.

  Attributes:
    voxels: scaled intensities or labels, [A, B, C].
    affine: from voxel indices to mm, float64 [4, 4].
    spacing_mm: along each axis.
    header: as it was read; it may hold more than geometry.
  """

  voxels: np.ndarray
  affine: np.ndarray
  spacing_mm: tuple[float, float, float]
  header: nibabel.Nifti1Header


def read_nifti(path: pathlib.Path) -> Volume:
  """Reads a .nii or .nii.gz of three axes.

  A compressed file is read to its end, so that its checksum is verified; a
  fourth axis of length 1 is dropped.

  Raises:
    pixels.WrongFile: if it cannot be used.
  """
  shown = pixels.tail(path.name)
  try:
    content = _read_content(path, shown)
    header = _read_header(content, shown)
    shape = _check_header(header, len(content), shown)
    with np.errstate(all='ignore'):  # Whatever a damaged header holds.
      voxels = _read_voxels(content, header, shape, shown)
      affine = _affine(header, shown)
    spacing = tuple(float(v) for v in np.linalg.norm(affine[:3, :3], axis=0))
    return Volume(voxels, affine, spacing, header)
  except pixels.WrongFile:
    raise
  except Exception as error:  # nibabel raises many kinds on damaged files.
    reason = ' '.join(str(error).split())[:50] or type(error).__name__
    raise pixels.WrongFile(
        f'the volume cannot be read: {reason}', shown, 'export it again'
    ) from error


def _read_content(path, shown):
  """Returns the bytes of a file, decompressed, at most `MAX_BYTES`."""
  try:
    with open(path, 'rb') as file:
      start = file.read(2)
      file.seek(0)
      if not start:
        raise pixels.WrongFile(
            'the volume is empty, 0 bytes', shown, 'replace the file')
      zipped = start == _GZIP
      if path.name.lower().endswith('.gz') and not zipped:
        raise pixels.WrongFile(
            'named .gz, but it is not gzip', shown, 'rename it to .nii')
      stream = gzip.GzipFile(fileobj=file) if zipped else file
      # The voxels follow a header; one byte more tells that it is too much.
      content = stream.read(MAX_BYTES + 2**16 + 1)
  except (EOFError, zlib.error, gzip.BadGzipFile) as error:
    raise pixels.WrongFile(
        f'the gzip is damaged: {str(error)[:50]}', shown,
        'copy or export it again') from error
  except OSError as error:
    raise pixels.WrongFile(
        'the volume cannot be read', f'{shown}: {error.strerror}',
        'make it readable') from error
  if len(content) > MAX_BYTES + 2**16:
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
        'it is no NIfTI', f'{shown} starts with {ascii(content[:4])[:30]}',
        'export it as .nii or .nii.gz')
  magic = content[344:348] if form is nibabel.Nifti1Header else content[4:8]
  if magic[:3] != (b'n+1' if form is nibabel.Nifti1Header else b'n+2'):
    raise pixels.WrongFile(
        'header and voxels are not in one file', shown,
        'export it as .nii or .nii.gz')
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')
    return form.from_fileobj(io.BytesIO(content[:_HEADER_BYTES]), check=False)


def _check_header(header, num_bytes, shown):
  """Returns the shape of three axes; refuses what the header cannot mean."""
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
  if not 0 <= offset <= 2**16 or (
      offset + voxels * dtype.itemsize > num_bytes):
    raise pixels.WrongFile(
        f'the file is shorter than its header says, {text}',
        f'{shown}: {num_bytes} bytes', 'copy or export it again')
  return tuple(shape)


def _read_voxels(content, header, shape, shown):
  dtype = header.get_data_dtype()
  offset = int(header['vox_offset'])
  voxels = np.frombuffer(
      content, dtype, count=int(np.prod(shape)), offset=offset)
  voxels = voxels.reshape(shape, order='F')
  slope, inter = float(header['scl_slope']), float(header['scl_inter'])
  raw = header['scl_slope']
  if np.isnan(raw) or np.isinf(raw) or (slope and not np.isfinite(inter)):
    raise pixels.WrongFile(
        'scl_slope or scl_inter is not finite', f'{shown}: {slope:g}, '
        f'{inter:g}', 'export it again')
  # By the standard, slope 0 means that voxels are not scaled.
  if slope and (slope, inter) != (1.0, 0.0):
    voxels = voxels * np.float32(slope) + np.float32(inter)
  return voxels.astype(voxels.dtype.newbyteorder('='), copy=False)


def _affine(header, shown):
  """Returns the affine; refuses one that is singular or contradicts itself."""
  spacing = header['pixdim'][1:4].astype(float)
  forms = []
  for name in ('sform', 'qform'):
    if int(header[f'{name}_code']) > 0:
      if name == 'qform' and not (spacing > 0).all():
        raise pixels.WrongFile(
            'a spacing is not above 0', f'{shown}: {spacing.tolist()}',
            'correct the header')
      forms.append(getattr(header, f'get_{name}')())
  if not forms:
    if not (np.isfinite(spacing).all() and (spacing > 0).all()):
      raise pixels.WrongFile(
          'a spacing is not above 0', f'{shown}: {spacing.tolist()}',
          'correct the header')
    forms.append(np.diag([*spacing, 1.0]))
  affine = np.asarray(forms[0], np.float64)
  if not np.isfinite(affine).all():
    raise pixels.WrongFile(
        'the affine is not finite', shown, 'correct the header')
  lengths = np.linalg.norm(affine[:3, :3], axis=0)
  if (lengths < 1e-6).any() or (
      abs(np.linalg.det(affine[:3, :3] / np.maximum(lengths, 1e-6))) < 1e-3):
    raise pixels.WrongFile(
        'the affine is singular', shown, 'correct the header')
  for other in forms[1:]:
    if not np.allclose(other, affine, rtol=1e-3, atol=1e-2 * lengths.min()):
      raise pixels.WrongFile(
          'qform and sform disagree', shown,
          'keep the right one; set the code of the other to 0')
  return affine
