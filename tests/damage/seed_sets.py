"""Makes small valid sets, one for each file format, for `fuzz` to damage."""

from collections.abc import Callable
import csv
import functools
import gzip
import importlib.util
import io
import json
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

from tests import dicom_files
from tests import volume_files

CLASSES = ('background', 'a', 'b')

_SIZE = (20, 24)
_NAMES = ('p0', 'p1', 'p2')
# Two volumes make a set; with each further one, damage takes longer to try.
_VOLUMES = _NAMES[:2]


class SeedSet(NamedTuple):
  """A set that is kept in memory.

  Attributes:
    format_name: name of the set's format, a key of `registry.FORMATS`.
    files: function that returns the content of each file by path.
    suffixes: suffixes of the files to damage.
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
  """Returns the content of a picture file.

  Args:
    array: the picture, uint8 [H, W] or [H, W, C].
    form: name of the file format in Pillow, such as 'PNG'.
  """
  content = io.BytesIO()
  array = array[..., 0] if array.ndim == 3 and array.shape[-1] == 1 else array
  Image.fromarray(array).save(content, form)
  return content.getvalue()


def dicom(array: np.ndarray, patient: str = 'secret') -> bytes:
  """Returns the content of a DICOM file with a gray picture.

  The file also holds the name and the birth date of a fictitious patient.

  Args:
    array: the picture, int [H, W].
    patient: id of the patient.
  """
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
  """Returns the content of a NIfTI file with a volume.

  Args:
    array: the volume, [A, B, C] or [A, B, C, T].
    zipped: whether to compress the file with gzip.
  """
  volume = nibabel.Nifti1Image(array, np.diag([0.8, 0.9, 5.0, 1.0]))
  content = volume.to_bytes()
  if zipped:
    content = gzip.compress(content, 1)
  return content


def npy(array: np.ndarray) -> bytes:
  """Returns the content of an NPY file with an array."""
  content = io.BytesIO()
  np.save(content, array)
  return content.getvalue()


def _pairs(picture_suffix, picture_of, mask_suffix, mask_of):
  """Returns the files of a set with the folders images and masks.

  Args:
    picture_suffix: suffix of the pictures.
    picture_of: function that takes 0, 1 or 2 and returns a picture file.
    mask_suffix: suffix of the masks.
    mask_of: function that takes 0, 1 or 2 and returns a mask file.
  """
  files = {}
  for i, name in enumerate(_NAMES):
    files[f'images/{name}{picture_suffix}'] = picture_of(i)
    files[f'masks/{name}{mask_suffix}'] = mask_of(i)
  return files


def _pictures(suffix, picture_of):
  """Returns the files of a set with pictures to damage, and with PNG masks."""
  return _pairs(suffix, picture_of, '.png', lambda i: encode(label(i), 'PNG'))


def _masks(form, suffix):
  """Returns the files of a set with PNG pictures, and with masks to damage."""
  def mask_of(i):
    mask = Image.fromarray(label(i))
    if i == 1:
      mask.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    content = io.BytesIO()
    mask.save(content, form)
    return content.getvalue()

  return _pairs('.png', lambda i: encode(picture(i), 'PNG'), suffix, mask_of)


def _volumes(suffix):
  """Returns the files of a set whose pictures and masks are NIfTI volumes."""
  files, zipped = {}, suffix.endswith('.gz')
  for i, name in enumerate(_NAMES):
    image = np.stack([picture(3 * i + k)[..., 0] for k in range(3)], -1)
    masks = np.stack([label(k) for k in range(3)], -1)
    files[f'images/{name}{suffix}'] = nifti(
        image.astype(np.int16), zipped=zipped)
    files[f'labels/{name}{suffix}'] = nifti(masks, zipped=zipped)
  return files


def _volume_pairs(suffix, image_of, mask_suffix, mask_of):
  """Returns the files of a set of volumes and label volumes.

  Args:
    suffix: suffix of the images.
    image_of: function that returns the file of a volume.
    mask_suffix: end of the names of the labels.
    mask_of: function that returns the file of a label volume.
  """
  files = {}
  for i, name in enumerate(_VOLUMES):
    image = np.stack([picture(3 * i + k)[..., 0] for k in range(3)], -1)
    masks = np.stack([label(k) for k in range(3)], -1)
    files[f'{name}{suffix}'] = image_of(image.astype(np.int16))
    files[f'{name}{mask_suffix}'] = mask_of(masks)
  return files


def _segments(array):
  """Returns the content of a segmentation as 3D Slicer writes it."""
  return volume_files.nrrd(array, encoding='gzip', keys=(
      volume_files.segment_keys(('a', 1, 0), ('b', 2, 0))))


def _arrays(suffix, write):
  """Returns the files of a set with an image, a label and a scribble each.

  Args:
    suffix: suffix of the files.
    write: function that takes an open file and the arrays by key.
  """
  files = {}
  for i, name in enumerate(_VOLUMES):
    scribble = np.where(np.arange(_SIZE[1]) % 5 == 0, label(i), 4)
    content = io.BytesIO()
    write(content, image=picture(i)[..., 0] / 255, label=label(i),
          scribble=scribble.astype(np.uint8))
    files[f'{name}{suffix}'] = content.getvalue()
  return files


def _write_hdf5(file, **arrays):
  import h5py
  with h5py.File(file, 'w') as opened:
    for key, array in arrays.items():
      opened.create_dataset(key, data=array, compression='gzip')


def _series_with(object_of, num_slices=3):
  """Returns the files of two DICOM series, each with an object.

  Args:
    object_of: function that takes the label map of each slice, uint8 [S, H, W],
      the positions of the slices and the UID of the series, and returns the
      object.
    num_slices: number of slices of each series, S.
  """
  files = {}
  for i, name in enumerate(_VOLUMES):
    series, tags = f'1.2.3.{i + 1}', {'patient': i}
    array = np.stack([
        picture(num_slices * i + k)[..., 0] for k in range(num_slices)])
    files |= {f'{name}/{n}': content for n, content in dicom_files.series(
        array, series=series, RescaleIntercept=-9, **tags).items()}
    places = [(10, 20, -30 + 2 * k) for k in range(num_slices)]
    masks = np.stack([label(k) for k in range(num_slices)])
    found = object_of(masks, places, series)
    files[f'{name}/object.dcm'] = dicom_files.content(found)
  return files


def _seg(masks, places, series):
  frames = np.concatenate([masks == 1, masks == 2])
  return dicom_files.seg(
      frames, [*places, *places], [1, 1, 1, 2, 2, 2], names={1: 'a', 2: 'b'},
      drawn_on=series, series='1.9')


def _label_map(masks, places, series):
  return dicom_files.seg(
      masks, places, None, names={1: 'a', 2: 'b'}, form='LABELMAP',
      drawn_on=series, series='1.9')


def _contours(masks, places, series):
  """Returns a structure set with the box around each class of each slice."""
  structures = {'a': [], 'b': []}
  for mask, (x, y, z) in zip(masks, places, strict=True):
    for value, contours in enumerate(structures.values(), start=1):
      rows, columns = np.nonzero(mask == value)
      contours.append(np.array([
          (x + c, y + r, z) for r, c in (
              (rows.min() - 0.5, columns.min() - 0.5),
              (rows.min() - 0.5, columns.max() + 0.5),
              (rows.max() + 0.5, columns.max() + 0.5),
              (rows.max() + 0.5, columns.min() - 0.5))]))
  return dicom_files.rtstruct(structures, drawn_on=series, series='1.9')


def _annotations(kinds):
  """Returns annotations of alternating kinds for the three pictures.

  Args:
    kinds: kinds of annotation, in the order of the pictures.
  """
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
  """Returns the files that the exporter of a format writes for a small set.

  Args:
    format_name: a key of `registry.FORMATS`.
    kinds: kinds of annotation, see `_annotations`.
  """
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
  """Returns the files of a set that a CSV table describes."""
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


def _via(suffix):
  """Returns the files of a set that VIA describes as JSON or CSV."""
  shapes = (
      {'name': 'rect', 'x': 2, 'y': 3, 'width': 9, 'height': 6},
      {'name': 'polygon', 'all_points_x': [2, 11, 10], 'all_points_y':
       [3, 3.5, 9]},
      {'name': 'ellipse', 'cx': 6, 'cy': 6, 'rx': 4, 'ry': 2.5, 'theta': 0.5})
  files = {f'{name}.png': encode(picture(i), 'PNG')
           for i, name in enumerate(_NAMES)}
  regions = [{'shape_attributes': shape, 'region_attributes': {
      'label': 'ab'[i % 2]}} for i, shape in enumerate(shapes)]
  if suffix == '.json':
    files['via.json'] = json.dumps({
        '_via_settings': {}, '_via_img_metadata': {
            f'{name}.png-1': {
                'filename': f'{name}.png', 'size': -1, 'file_attributes': {},
                'regions': [region]}
            for name, region in zip(_NAMES, regions, strict=True)},
        '_via_attributes': {'region': {'label': {
            'type': 'dropdown', 'options': {'a': '', 'b': ''}}}}}).encode()
    return files
  content = io.StringIO()
  table = csv.writer(content)
  table.writerow(['filename', 'region_shape_attributes', 'region_attributes'])
  for name, region in zip(_NAMES, regions, strict=True):
    table.writerow([f'{name}.png', *map(json.dumps, region.values())])
  files['via.csv'] = content.getvalue().encode()
  return files


# For each format that this project can write: the kinds of annotation in the
# set, and the suffixes of the files to damage.
_WRITTEN = {
    'coco': (('mask', 'polygon', 'box'), ('.json',)),
    'labelme': (('mask', 'polygon', 'scribble'), ('.json',)),
    'label_studio': (('mask', 'polygon', 'ellipse'), ('.json', '.xml')),
    'geojson': (('mask', 'polygon', 'scribble'), ('.geojson',)),
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
    'nrrd': SeedSet('nrrd', lambda: _volume_pairs(
        '.nrrd', volume_files.nrrd, '-label.nrrd', lambda array:
        volume_files.nrrd(array, encoding='gzip')), ('.nrrd',)),
    'segments': SeedSet('nrrd', lambda: _volume_pairs(
        '.nrrd', volume_files.nrrd, '.seg.nrrd', _segments), ('.seg.nrrd',)),
    'dicom_seg': SeedSet(
        'dicom_seg', lambda: _series_with(_seg), ('object.dcm', 's02.dcm')),
    'label_map': SeedSet(
        'dicom_seg', lambda: _series_with(_label_map, 2), ('object.dcm',)),
    'rtstruct': SeedSet(
        'rtstruct', lambda: _series_with(_contours, 2), ('object.dcm',)),
    'metaimage': SeedSet('metaimage', lambda: _volume_pairs(
        '.mha', volume_files.metaimage, '_mask.mha', lambda array:
        volume_files.metaimage(array, compressed=True)), ('.mha',)),
    **{name: SeedSet(name, functools.partial(_written, name, kinds), suffixes)
       for name, (kinds, suffixes) in _WRITTEN.items()},
    'via': SeedSet('via', lambda: _via('.json'), ('.json',)),
    'via_csv': SeedSet('via', lambda: _via('.csv'), ('.csv',)),
    'csv': SeedSet('table', _table, ('.csv',)),
    'npz': SeedSet('hdf5', lambda: _arrays('.npz', np.savez), ('.npz',)),
    # h5py is not among the packages of the tests.
    **({'hdf5': SeedSet('hdf5', lambda: _arrays('.h5', _write_hdf5), ('.h5',))}
       if importlib.util.find_spec('h5py') else {}),
}
