"""Small good sets, one per format, for the fuzzer to damage."""

from collections.abc import Callable
import functools
import gzip
import io
import pathlib
import tempfile
from typing import NamedTuple

import nibabel
import numpy as np
from PIL import Image
import pydicom
from pydicom import uid

from data_prep import manifest as manifest_lib
from data_prep.drawing import rle
from data_prep.formats import registry

CLASSES = ('background', 'a', 'b')

_SIZE = (20, 24)
_NAMES = ('p0', 'p1', 'p2')


class SeedSet(NamedTuple):
  """A set in memory.

  Attributes:
    format_name: one of `registry.FORMATS`.
    files: returns the content by path.
    suffixes: of the files to damage.
  """

  format_name: str
  files: Callable[[], dict[str, bytes]]
  suffixes: tuple[str, ...]

  def is_target(self, name: str) -> bool:
    """Returns whether a file is to be damaged."""
    return name.endswith(self.suffixes)


def picture(seed: int, channels: int = 3) -> np.ndarray:
  """Returns a picture, uint8 [20, 24, C]."""
  rng = np.random.default_rng(seed)
  return rng.integers(20, 235, (*_SIZE, channels), dtype=np.uint8)


def label(seed: int) -> np.ndarray:
  """Returns a label map with both foreground classes, uint8 [20, 24]."""
  result = np.zeros(_SIZE, np.uint8)
  result[3 + seed : 9 + seed, 2:11] = 1
  result[12:17, 13 : 21 - seed] = 2
  return result


def encode(array: np.ndarray, form: str) -> bytes:
  """Returns a picture as a file."""
  content = io.BytesIO()
  array = array[..., 0] if array.ndim == 3 and array.shape[-1] == 1 else array
  Image.fromarray(array).save(content, form)
  return content.getvalue()


def dicom(array: np.ndarray, patient: str = 'secret') -> bytes:
  """Returns a gray picture as a DICOM file with a patient's data."""
  meta = pydicom.dataset.FileMetaDataset()
  meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
  meta.MediaStorageSOPClassUID = uid.SecondaryCaptureImageStorage
  meta.MediaStorageSOPInstanceUID = '1.2.3'
  data = pydicom.Dataset()
  data.file_meta = meta
  data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, '1.2.3'
  data.PatientName, data.PatientID = 'Doe^Jane', patient
  data.PatientBirthDate = '19700101'
  data.Rows, data.Columns = array.shape
  data.SamplesPerPixel, data.PhotometricInterpretation = 1, 'MONOCHROME2'
  data.BitsAllocated, data.BitsStored, data.HighBit = 16, 12, 11
  data.PixelRepresentation = 0
  data.PixelSpacing, data.RescaleSlope, data.RescaleIntercept = (
      ['0.5', '0.75'], '2', '-100')
  data.PixelData = array.astype('<u2').tobytes()
  content = io.BytesIO()
  pydicom.dcmwrite(content, data, enforce_file_format=True)
  return content.getvalue()


def nifti(array: np.ndarray, *, zipped: bool) -> bytes:
  """Returns a volume as a NIfTI file."""
  volume = nibabel.Nifti1Image(array, np.diag([0.8, 0.9, 5.0, 1.0]))
  content = volume.to_bytes()
  if zipped:
    content = gzip.compress(content, 1)
  return content


def npy(array: np.ndarray) -> bytes:
  """Returns an array as an NPY file."""
  content = io.BytesIO()
  np.save(content, array)
  return content.getvalue()


def _pairs(picture_suffix, picture_of, mask_suffix, mask_of):
  """A folder of pictures and their masks, as files of pictures 0, 1, 2."""
  files = {}
  for i, name in enumerate(_NAMES):
    files[f'images/{name}{picture_suffix}'] = picture_of(i)
    files[f'masks/{name}{mask_suffix}'] = mask_of(i)
  return files


def _pictures(suffix, picture_of):
  return _pairs(suffix, picture_of, '.png', lambda i: encode(label(i), 'PNG'))


def _masks(form, suffix):
  def mask_of(i):
    mask = Image.fromarray(label(i))
    if i == 1:
      mask.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    content = io.BytesIO()
    mask.save(content, form)
    return content.getvalue()

  return _pairs('.png', lambda i: encode(picture(i), 'PNG'), suffix, mask_of)


def _volumes(suffix):
  files, zipped = {}, suffix.endswith('.gz')
  for i, name in enumerate(_NAMES):
    image = np.stack([picture(3 * i + k)[..., 0] for k in range(3)], -1)
    masks = np.stack([label(k) for k in range(3)], -1)
    files[f'images/{name}{suffix}'] = nifti(
        image.astype(np.int16), zipped=zipped)
    files[f'labels/{name}{suffix}'] = nifti(masks, zipped=zipped)
  return files


def _annotations(kinds):
  """Annotations of the three pictures, of `kinds` in turn."""
  shapes = {
      'mask': {'rles': [rle.encode_rle(label(0) == v) for v in (1, 2)],
               'labels': [1, 2]},
      'box': {'boxes': [[2, 3, 11, 9], [13, 12, 21, 17]], 'labels': [1, 2]},
      'polygon': {'polygons': [[[2, 3], [11, 3.5], [10, 9], [3, 8]],
                               [[13, 12], [21, 12], [17, 17]]],
                  'labels': [1, 2]},
      'scribble': {'strokes': [[[3, 4], [9, 7]], [[14, 14], [19, 15]],
                               [[1, 18], [6, 18]]],
                   'labels': [1, 2, 0], 'width': 2.0},
      'points': {'points': [[5, 6], [16, 14], [1, 1]], 'labels': [1, 2, 0]},
      'ellipse': {'ellipses': [[6, 6, 4, 2.5, 30]], 'labels': [1]},
      'tag': {'labels': [1, 2]},
  }
  return [{'kind': kind, **shapes[kind]}
          for kind in (kinds * len(_NAMES))[: len(_NAMES)]]


@functools.cache
def _written(format_name, kinds):
  """Returns the files of the set as this project writes the format."""
  with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    rows = []
    for i, annotation in enumerate(_annotations(kinds)):
      (folder / f'{_NAMES[i]}.png').write_bytes(encode(picture(i), 'PNG'))
      rows.append(manifest_lib.Row(
          _NAMES[i], f'{_NAMES[i]}.png', 'train', 'weak', annotation))
    output = folder / 'out'
    output.mkdir()
    registry.FORMATS[format_name].write(
        manifest_lib.Manifest(
            manifest_lib.Header('set', CLASSES), tuple(rows), folder), output)
    return {
        p.relative_to(output).as_posix(): p.read_bytes()
        for p in sorted(output.rglob('*')) if p.is_file()}


def _table():
  files = {f'{name}.png': encode(picture(i), 'PNG')
           for i, name in enumerate(_NAMES)}
  files['masks/p0.png'] = encode(label(0), 'PNG')
  files['set.csv'] = (
      b'image,subject,split,mask,box,polygon,point,ellipse,label,spacing_y,'
      b'spacing_x\n'
      b'p0.png,s0,train,masks/p0.png,,,,,,0.5,0.5\n'
      b'p1.png,s1,train,,2 3 11 9,,,,a,0.5,0.5\n'
      b'p1.png,s1,train,,13 12 21 17,,,,b,0.5,0.5\n'
      b'p2.png,s2,train,,,2 3 11 3.5 10 9,,,a,,\n')
  return files


_WRITTEN = {
    'coco': (('mask', 'polygon', 'box'), ('.json',)),
    'labelme': (('mask', 'polygon', 'scribble'), ('.json',)),
    'cvat': (('mask', 'polygon', 'ellipse'), ('.xml',)),
    'voc': (('box', 'mask', 'box'), ('.xml', '.txt')),
    'yolo': (('polygon', 'box'), ('.txt', '.yaml')),
}
SETS = {
    'png': SeedSet('folder', lambda: _pictures(
        '.png', lambda i: encode(picture(i), 'PNG')), ('.png',)),
    'jpeg': SeedSet('folder', lambda: _pictures(
        '.jpg', lambda i: encode(picture(i), 'JPEG')), ('.jpg',)),
    'tiff': SeedSet('folder', lambda: _masks('TIFF', '.tif'), ('.tif',)),
    'bmp': SeedSet('folder', lambda: _masks('BMP', '.bmp'), ('.bmp',)),
    'npy': SeedSet('folder', lambda: _pairs(
        '.npy', lambda i: npy((picture(i)[..., 0] * 3.5).astype(np.float32)),
        '.npy', lambda i: npy(label(i))), ('.npy',)),
    'dicom': SeedSet('folder', lambda: _pictures('.dcm', lambda i: dicom(
        picture(i)[..., 0].astype(np.int32) * 9, f'secret{i}')), ('.dcm',)),
    'nifti': SeedSet('nifti', lambda: _volumes('.nii'), ('.nii',)),
    'nifti_gz': SeedSet('nifti', lambda: _volumes('.nii.gz'), ('.nii.gz',)),
    **{name: SeedSet(name, functools.partial(_written, name, kinds), suffixes)
       for name, (kinds, suffixes) in _WRITTEN.items()},
    'csv': SeedSet('table', _table, ('.csv',)),
}
