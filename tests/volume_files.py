"""Writes NRRD and MetaImage files by hand, as their standards describe them."""

import bz2
import gzip
import zlib

import numpy as np

_NRRD_TYPES = {
    'i1': 'int8', 'u1': 'uchar', 'i2': 'short', 'u2': 'unsigned short',
    'i4': 'int', 'u4': 'unsigned int', 'i8': 'int64', 'u8': 'uint64',
    'f4': 'float', 'f8': 'double'}
_MET_TYPES = {
    'i1': 'MET_CHAR', 'u1': 'MET_UCHAR', 'i2': 'MET_SHORT', 'u2': 'MET_USHORT',
    'i4': 'MET_INT', 'u4': 'MET_UINT', 'f4': 'MET_FLOAT', 'f8': 'MET_DOUBLE'}
_CODINGS = {
    'raw': bytes, 'gzip': lambda b: gzip.compress(b, 1), 'bzip2': bz2.compress,
    'ascii': None}


def nrrd(
    array: np.ndarray,
    *,
    directions: str = '(1,0,0) (0,1,0) (0,0,2)',
    origin: str = '(0,0,0)',
    space: str = 'left-posterior-superior',
    encoding: str = 'raw',
    fields: str = '',
    keys: dict[str, object] | None = None,
) -> bytes:
  """Returns the content of an NRRD file.

  Args:
    array: values, the fastest axis first.
    directions: the field 'space directions'.
    origin: the field 'space origin'.
    space: the field 'space'.
    encoding: raw, gzip, bzip2 or ascii.
    fields: further lines of fields, each with its end.
    keys: further keys and their values.
  """
  dtype = array.dtype.newbyteorder('<') if array.dtype.byteorder == '=' else (
      array.dtype)
  endian = 'big' if dtype.byteorder == '>' else 'little'
  lines = [
      'NRRD0005', '# made by hand', f'type: {_NRRD_TYPES[dtype.str[1:]]}',
      f'dimension: {array.ndim}', f'sizes: {" ".join(map(str, array.shape))}',
      f'endian: {endian}', f'encoding: {encoding}']
  if space:
    lines += [f'space: {space}', f'space directions: {directions}',
              f'space origin: {origin}']
  header = '\n'.join(lines) + '\n' + fields + ''.join(
      f'{k}:={v}\n' for k, v in (keys or {}).items())
  content = array.astype(dtype).tobytes(order='F')
  if encoding == 'ascii':
    content = ' '.join(map(str, array.ravel('F').tolist())).encode()
  else:
    content = _CODINGS[encoding](content)
  return header.encode() + b'\n' + content


def segment_keys(
    *segments: tuple[str, int, int], offset: tuple[int, ...] = (0, 0, 0)
) -> dict[str, object]:
  """Returns the keys that 3D Slicer writes for segments.

  Args:
    *segments: name, value and layer of each segment.
    offset: offset of the stored part in the grid of the image.
  """
  keys = {'Segmentation_ReferenceImageExtentOffset': ' '.join(map(str, offset))}
  for i, (name, value, layer) in enumerate(segments):
    keys |= {f'Segment{i}_ID': f'Segment_{i + 1}', f'Segment{i}_Name': name,
             f'Segment{i}_LabelValue': value, f'Segment{i}_Layer': layer}
  return keys


def metaimage(
    array: np.ndarray,
    *,
    compressed: bool = False,
    matrix: str = '1 0 0 0 1 0 0 0 1',
    offset: str = '0 0 0',
    spacing: str = '1 1 2',
    more: str = '',
    data_file: str = 'LOCAL',
) -> bytes:
  """Returns the content of a MetaImage file, or its header if `data_file` is
  the name of another file.

  Args:
    array: values, the fastest axis first.
    compressed: whether the values are compressed.
    matrix: the field TransformMatrix; each row is the direction of an axis.
    offset: the field Offset.
    spacing: the field ElementSpacing.
    more: further lines, each with its end.
    data_file: the field ElementDataFile.
  """
  is_big = array.dtype.byteorder == '>'
  content = array.tobytes(order='F')
  content = zlib.compress(content) if compressed else content
  header = (
      f'ObjectType = Image\nNDims = {array.ndim}\nBinaryData = True\n'
      f'BinaryDataByteOrderMSB = {is_big}\nCompressedData = {compressed}\n'
      f'TransformMatrix = {matrix}\nOffset = {offset}\n{more}'
      f'ElementSpacing = {spacing}\n'
      f'DimSize = {" ".join(map(str, array.shape))}\n'
      f'ElementType = {_MET_TYPES[array.dtype.str[1:]]}\n'
      f'ElementDataFile = {data_file}\n').encode()
  return header + content if data_file == 'LOCAL' else header
