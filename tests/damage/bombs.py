"""Makes files that could exhaust a reader's memory or make it run code.

Most of them are small, but their headers promise huge pictures. Each function
returns the name of a set, which is a key of `seed_sets.SETS`, and a dict that
maps the path of each file to replace in this set to its new content.
"""

import base64
import gzip
import io
import json
import struct
import zlib

import numpy as np

from tests.damage import mutations
from tests.damage import seed_sets


_HUGE = 2**30


def png(
    width: int, height: int, data: bytes = b'', *, bits: int = 8,
    colour: int = 0,
) -> bytes:
  """Returns a PNG file whose header may not match its pixels.

  Args:
    width: width in the header.
    height: height in the header.
    data: the pixels before compression.
    bits: bits per channel in the header.
    colour: colour type in the header; 0 is gray.
  """
  header = struct.pack('>IIBBBBB', width, height, bits, colour, 0, 0, 0)
  return mutations.join_png([
      (b'IHDR', header), (b'IDAT', zlib.compress(data)), (b'IEND', b'')])


def _png_of_much():
  # Pillow refuses more than 64 MiB of text in a file.
  chunks = mutations.png_chunks(
      seed_sets.encode(seed_sets.picture(0), 'PNG'))
  chunks.insert(1, (b'zTXt', b'comment\0\0' + zlib.compress(bytes(2**27))))
  return 'png', {'images/p0.png': mutations.join_png(chunks)}


def _jpeg():
  content = seed_sets.encode(seed_sets.picture(0), 'JPEG')
  place = content.index(b'\xff\xc0') + 5
  return 'jpeg', {'images/p0.jpg': content[:place] + struct.pack(
      '>HH', 65500, 65500) + content[place + 4 :]}


def _tiff():
  content = bytearray(seed_sets.encode(seed_sets.picture(0), 'TIFF'))
  start, = struct.unpack('<I', content[4:8])
  number, = struct.unpack('<H', content[start : start + 2])
  for i in range(number):
    place = start + 2 + 12 * i
    tag, = struct.unpack('<H', content[place : place + 2])
    if tag in (256, 257):
      content[place : place + 12] = struct.pack('<HHII', tag, 4, 1, 100_000)
  return 'tiff', {'images/p0.png': bytes(content)}


def _bmp():
  content = bytearray(seed_sets.encode(seed_sets.picture(0), 'BMP'))
  content[18:26] = struct.pack('<ii', 60_000, 60_000)
  return 'bmp', {'masks/p0.bmp': bytes(content)}


def _npy(shape, dtype='<f8'):
  content = io.BytesIO()
  np.lib.format.write_array_header_1_0(
      content, {'descr': dtype, 'fortran_order': False, 'shape': shape})
  return 'npy', {'images/p0.npy': content.getvalue() + bytes(64)}


def _pickle():
  content = io.BytesIO()
  np.save(content, np.array([{'a': 1}], object), allow_pickle=True)
  return 'npy', {'images/p0.npy': content.getvalue()}


def _dicom():
  content = seed_sets.dicom(seed_sets.picture(0)[..., 0].astype(np.int32))
  rows = b'\x28\0\x10\0US\2\0'
  columns = b'\x28\0\x11\0US\2\0'
  for tag in (rows, columns):
    place = content.index(tag) + len(tag)
    content = content[:place] + b'\xff\xff' + content[place + 2 :]
  return 'dicom', {'images/p0.dcm': content}


def _nifti_header():
  content = bytearray(seed_sets.nifti(
      np.zeros((2, 2, 2), np.int16), zipped=False))
  content[42:48] = struct.pack('<hhh', 32767, 32767, 32767)
  return 'nifti', {'images/p0.nii': bytes(content)}


def _nifti_gzip():
  """Makes a gzipped NIfTI file of 1 MiB that unpacks to 1 GiB of zeros."""
  content = io.BytesIO()
  header = seed_sets.nifti(np.zeros((2, 2, 2), np.int16), zipped=False)
  with gzip.GzipFile(fileobj=content, mode='wb', compresslevel=9) as file:
    file.write(header)
    for _ in range(64):
      file.write(bytes(2**24))
  return 'nifti_gz', {'images/p0.nii.gz': content.getvalue()}


def _coco(size, counts):
  files = seed_sets.SETS['coco'].files()
  content = json.loads(files['annotations.json'])
  content['images'][0] |= {'height': size[0], 'width': size[1]}
  content['annotations'][0]['segmentation'] = {'size': size, 'counts': counts}
  return 'coco', {'annotations.json': json.dumps(content).encode()}


def _cvat(text):
  files = seed_sets.SETS['cvat'].files()
  content = files['annotations.xml'].decode()
  return 'cvat', {'annotations.xml': content.replace(*text).encode()}


def _laughs():
  entities = '<!ENTITY e0 "ha">' + ''.join(
      f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">' for i in range(1, 10))
  return _cvat(("<?xml version='1.0' encoding='utf-8'?>",
                f'<?xml version="1.0"?><!DOCTYPE a [{entities}]>'))


def _external():
  return _cvat(("<?xml version='1.0' encoding='utf-8'?>",
                '<?xml version="1.0"?><!DOCTYPE a SYSTEM "file:///etc/passwd">'
                ))


def _labelme():
  files = seed_sets.SETS['labelme'].files()
  name = next(n for n in files if n.endswith('.json'))
  content = json.loads(files[name])
  content['imageHeight'] = content['imageWidth'] = 60_000
  content['shapes'][0] |= {
      'shape_type': 'mask', 'points': [[0, 0], [59_999, 59_999]],
      'mask': base64.b64encode(png(60_000, 60_000)).decode()}
  return 'labelme', {name: json.dumps(content).encode()}


def _brush(height, width):
  """Makes a brush of a picture as large, in one run of the longest length."""
  files = seed_sets.SETS['label_studio'].files()
  tasks = json.loads(files['tasks.json'])
  region = tasks[0]['annotations'][0]['result'][0]
  region |= {'original_height': height, 'original_width': width}
  region['value']['rle'] = [
      *(4 * height * width % 2**32).to_bytes(4), 0b00111111, 0b11111111,
      0b11111111, 0b11111000, *[255] * 1000]
  return 'label_studio', {'tasks.json': json.dumps(tasks).encode()}


def _outline():
  files = seed_sets.SETS['geojson'].files()
  name = next(n for n in files if n.endswith('.geojson'))
  content = json.loads(files[name]) | {'height': 60_000, 'width': 60_000}
  return 'geojson', {name: json.dumps(content).encode()}


BOMBS = {
    'PNG of 2^30 x 2^30': lambda: (
        'png', {'images/p0.png': png(_HUGE, _HUGE)}),
    'PNG of 8000 x 8000 without pixels': lambda: (
        'png', {'images/p0.png': png(8000, 8000)}),
    'PNG mask of 60000 x 60000': lambda: (
        'png', {'masks/p0.png': png(60_000, 60_000)}),
    'PNG with 128 MiB of text': _png_of_much,
    'JPEG of 65500 x 65500': _jpeg,
    'TIFF of 100000 x 100000': _tiff,
    'BMP of 60000 x 60000': _bmp,
    'NPY of 2^60 values': lambda: _npy((2**30, 2**30)),
    'NPY of 2^24 values': lambda: _npy((2**12, 2**12)),
    'NPY of objects': lambda: _npy((4,), '|O'),
    'NPY that is a pickle': _pickle,
    'DICOM of 65535 x 65535': _dicom,
    'NIfTI of 32767^3': _nifti_header,
    'NIfTI of 1 GiB in 1 MiB of gzip': _nifti_gzip,
    'COCO run lengths of 10^10 pixels': lambda: _coco(
        [100_000, 100_000], [0, 10**10]),
    'COCO run lengths of 2^28 pixels': lambda: _coco(
        [2**14, 2**14], [0, 2**28]),
    'CVAT mask on 10^5 x 10^5': lambda: _cvat(
        ('width="24" height="20"', 'width="100000" height="100000"')),
    'XML of a billion laughs': _laughs,
    'XML that names a file': _external,
    'LabelMe mask of 60000 x 60000': _labelme,
    'Label Studio brush of 60000 x 60000': lambda: _brush(60_000, 60_000),
    'Label Studio brush of 8000 x 8000': lambda: _brush(8000, 8000),
    'GeoJSON mask of 60000 x 60000': _outline,
}
