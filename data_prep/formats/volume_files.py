"""Reads files of volumes of any format, and writes results in their geometry.

The formats are NIfTI, NRRD and MetaImage. A result has the size and the affine
of the volume that it belongs to, and nothing else of its header, which may hold
a patient's name.
"""

from collections.abc import Sequence
import gzip
import os
import pathlib
import sys
import zlib

import nibabel
import numpy as np

from data_prep.formats import metaimage
from data_prep.formats import nrrd_file
from data_prep.formats import nrrd_writing
from data_prep.formats import segments as segments_lib
from data_prep.formats import stored_voxels
from data_prep.formats import volumes
from data_prep.shared import pixels
from data_prep.shared import volume_type
from data_prep.shared import whole_file

NIFTI = ('.nii', '.nii.gz')
NRRD = ('.nrrd', '.nhdr')
METAIMAGE = ('.mha', '.mhd')
SEGMENTATIONS = ('.seg.nrrd', '.seg.nhdr')  # Of 3D Slicer.
SUFFIXES = (*NIFTI, *NRRD, *METAIMAGE)

# Fields of a NIfTI header that state where the voxels lie in the patient.
_GEOMETRY = (
    'qform_code', 'sform_code', 'quatern_b', 'quatern_c', 'quatern_d',
    'qoffset_x', 'qoffset_y', 'qoffset_z', 'srow_x', 'srow_y', 'srow_z',
    'xyzt_units')
_LPS = np.array([-1.0, -1.0, 1.0])
_META_TYPES = {'|u1': 'MET_UCHAR', '<f4': 'MET_FLOAT'}
_SIZE = 20  # Number of digits that are kept for the length of a stream.


def is_volume(name: str) -> bool:
  """Returns whether a file of this name is a volume."""
  return name.lower().endswith(SUFFIXES)


def is_segmentation(path: pathlib.Path) -> bool:
  """Returns whether a file is a segmentation of 3D Slicer."""
  if not path.name.lower().endswith(NRRD):
    return False
  try:
    return bool(nrrd_file.segments_of(nrrd_file.read_header(path)))
  except pixels.WrongFile:  # The file is refused later, when it is read.
    return path.name.lower().endswith(SEGMENTATIONS)


def data_files(path: pathlib.Path) -> tuple[str, ...]:
  """Returns the names of the files that hold the voxels of another file."""
  if path.name.lower().endswith(METAIMAGE):
    return tuple(filter(None, [metaimage.data_file(path)]))
  if path.name.lower().endswith(NRRD):
    return nrrd_file.data_files(path)
  return ()


def read(
    path: pathlib.Path,
    *,
    is_lazy: bool = False,
    folder: str | os.PathLike[str] | None = None,
) -> volume_type.Volume:
  """Reads a file of any of the formats.

  Args:
    path: the file.
    is_lazy: whether the voxels stay on the disk.
    folder: folder on whose disk a decompressed file lies then; None means the
      system's folder for temporary files.

  Raises:
    pixels.WrongFile: if the file cannot be used.
    OSError: if the disk is full.
  """
  if path.name.lower().endswith(NIFTI):
    return volumes.open_nifti(path, folder=folder) if is_lazy else (
        volumes.read_nifti(path))
  read_file = metaimage.read_metaimage if path.name.lower().endswith(
      METAIMAGE) else nrrd_file.read_nrrd
  return read_file(path, is_lazy=is_lazy, folder=folder)


def result_suffix(name: str, *, is_mask: bool) -> str:
  """Returns the suffix of a result for an input file: that of its format.

  Masks for NRRD are segmentations of 3D Slicer.

  Args:
    name: name of the file.
    is_mask: whether the result holds classes.
  """
  if name.lower().endswith(NRRD):
    return SEGMENTATIONS[0] if is_mask else NRRD[0]
  return METAIMAGE[0] if name.lower().endswith(METAIMAGE) else NIFTI[1]


def save(
    path: pathlib.Path,
    array: np.ndarray,
    volume: volume_type.Volume,
    *,
    classes: Sequence[str] = (),
) -> None:
  """Writes a file with the geometry of a volume, completely or not at all.

  The array is written plane by plane, so that it may lie on the disk.

  Args:
    path: the file, whose suffix is one of `result_suffix`.
    array: uint8 or float32 [A, B, C], or [A, B, C, K] for K numbers a voxel,
      along the stored axes of the volume.
    volume: volume whose geometry is copied.
    classes: names of the classes, background first; they are the names of the
      segments of a .seg.nrrd file.
  """
  array = array.view() if array.dtype.isnative and sys.byteorder == (
      'little') else array.astype(array.dtype.newbyteorder('<'))
  name = path.name.lower()
  with whole_file.open_whole(path, 'wb') as file:
    if name.endswith(NRRD):
      segments = classes[1:] if name.endswith(SEGMENTATIONS) else ()
      nrrd_writing.write_to(
          file, array, volume.affine,
          nrrd_writing.segment_keys(
              array, [' '.join(name.split()) for name in segments],
              unlabelled=segments_lib.UNLABELLED)
          if segments else None, level=1)
    elif name.endswith(METAIMAGE):
      _save_metaimage(file, array, volume)
    else:
      _save_nifti(file, array, volume)


def _save_nifti(file, array, volume):
  header = _nifti_header(volume)
  header.set_data_dtype(array.dtype)
  shape = array.shape
  if array.ndim == 3 and volume.header is not None:
    # The other file may have more or fewer axes of length 1.
    shape = volume.header.get_data_shape()
  header.set_data_shape(shape)
  header['scl_slope'], header['scl_inter'] = 1, 0
  with gzip.GzipFile('', 'wb', 1, file, mtime=0) as zipped:
    header.write_to(zipped)
    zipped.write(bytes(header.get_data_offset() - zipped.tell()))
    channels = np.moveaxis(array, -1, 0) if array.ndim == 4 else [array]
    for channel in channels:
      for plane in stored_voxels.planes(channel, array.dtype):
        zipped.write(plane)


def _nifti_header(volume):
  """Returns a new header with the geometry of a volume."""
  old = volume.header
  if old is None:
    header = nibabel.Nifti1Header()
    header.set_sform(volume.affine, 1)
    header.set_qform(volume.affine, 1)
    if not np.allclose(header.get_qform(), volume.affine, atol=1e-3):
      header.set_qform(None, 0)  # It holds no axes off right angles.
    header.set_xyzt_units('mm')
    header['magic'], header['vox_offset'] = b'n+1', 352
    return header
  is_second = int(old['sizeof_hdr']) == 540
  header = (nibabel.Nifti2Header if is_second else nibabel.Nifti1Header)()
  for name in _GEOMETRY:
    header[name] = old[name]
  header['pixdim'][:4] = old['pixdim'][:4]
  header['magic'] = b'n+2' if is_second else b'n+1'
  header['vox_offset'] = 544 if is_second else 352
  return header


def _text(numbers):
  return [repr(float(v)) for v in numbers]


def _save_metaimage(file, array, volume):
  axes = volume.affine[:3] * _LPS[:, None]
  spacing = np.linalg.norm(axes[:, :3], axis=0)
  matrix = (axes[:, :3] / spacing).T.ravel()
  lines = [
      'ObjectType = Image', 'NDims = 3', 'BinaryData = True',
      'BinaryDataByteOrderMSB = False', 'CompressedData = True',
      f'CompressedDataSize = {" " * _SIZE}',
      f'TransformMatrix = {" ".join(_text(matrix))}',
      f'Offset = {" ".join(_text(axes[:, 3]))}',
      f'ElementSpacing = {" ".join(_text(spacing))}',
      f'DimSize = {" ".join(map(str, array.shape[:3]))}',
      *(f'ElementNumberOfChannels = {n}' for n in array.shape[3:]),
      f'ElementType = {_META_TYPES[array.dtype.str]}',
      'ElementDataFile = LOCAL']
  header = ('\n'.join(lines) + '\n').encode()
  file.write(header)
  packer = zlib.compressobj(1)
  for plane in stored_voxels.planes(array, array.dtype):
    file.write(packer.compress(plane))
  file.write(packer.flush())
  # Only now is the length of the stream known.
  length = file.tell() - len(header)
  file.seek(header.index(b' ' * _SIZE + b'\n'))
  file.write(str(length).encode())
