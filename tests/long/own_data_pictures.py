"""Draws the pictures of docs/own_data.md: one example of each format.

python -m tests.long.own_data_pictures --folder=docs/_static

A synthetic picture or volume is annotated in each format as its tool does it,
read by `registry.read`, and its label map is drawn over it: classes in colours,
unlabelled pixels grey.
"""

from collections.abc import Sequence
import json
import pathlib
import tempfile

from absl import app
from absl import flags
from data_prep import formats
from data_prep import manifest as manifest_lib
from data_prep.drawing import rasterize
from data_prep.drawing import rle
from data_prep.formats import nrrd_writing
from data_prep.formats import registry
from data_prep.formats import rings
from hybridseg import types
import nibabel
import numpy as np
from PIL import Image
from PIL import ImageDraw

from tests import dicom_files
from tests import volume_files

_FOLDER = flags.DEFINE_string(
    'folder', 'docs/_static', 'Folder of the pictures.')

_SIZE = (96, 120)
_CLASSES = ('background', 'liver', 'tumour')
_COLOURS = {1: (240, 190, 40), 2: (220, 60, 90), types.UNLABELLED: (110,) * 3}
_AFFINE = np.diag([-1.0, -1.0, 3.0, 1.0])
_RING = ([58, 14], [84, 20], [96, 44], [84, 70], [58, 78], [38, 60], [40, 30])


def _masks():
  """Returns two objects, the first of which has a hole, [2, H, W]."""
  y, x = np.mgrid[: _SIZE[0], : _SIZE[1]]
  liver = ((x - 66) / 30) ** 2 + ((y - 46) / 32) ** 2 < 1
  tumour = (x - 76) ** 2 + (y - 54) ** 2 < 90
  hole = (x - 54) ** 2 + (y - 34) ** 2 < 40
  return liver & ~hole & ~tumour, tumour


def _picture():
  """Returns gray levels, uint8 [H, W]."""
  y, x = np.mgrid[: _SIZE[0], : _SIZE[1]]
  liver, tumour = _masks()
  return (70 + 25 * np.sin(x / 17) * np.cos(y / 13) + 60 * liver + 100 * tumour
          ).astype(np.uint8)


def _annotation(name):
  """Returns what is drawn in a format, as a manifest holds it."""
  ring, tumour = [*map(list, _RING)], rle.encode_rle(_masks()[1])
  if name in ('voc', 'yolo'):
    return {'kind': 'box', 'boxes': [[36, 14, 96, 78], [66, 44, 86, 64]],
            'labels': [1, 2]}
  if name == 'cvat':
    return {'kind': 'ellipse', 'labels': [1, 2], 'ellipses': [
        [66, 46, 30, 32, 0], [76, 54, 12, 8, 30]]}
  if name == 'labelme':
    return {'kind': 'line', 'labels': [1, 2], 'width': 3,
            'lines': [[*ring, ring[0]], [[66, 54], [86, 54]]]}
  if name == 'label_studio':
    return {'kind': 'mask', 'labels': [1, 2],
            'rles': [rle.encode_rle(_masks()[0]), tumour]}
  if name == 'geojson':
    hole = [[50, 30], [58, 30], [58, 38], [50, 38]]
    return {'kind': 'polygon', 'labels': [1, 2], 'polygons': [
        rings.join([ring, hole]), [[68, 46], [84, 48], [80, 62], [68, 60]]]}
  return {'kind': 'polygon', 'labels': [1, 2], 'polygons': [
      ring, [[68, 46], [84, 48], [80, 62], [68, 60]]]}


def _write_scribble(folder):
  for name in ('images', 'scribbles'):
    (folder / name).mkdir()
  Image.fromarray(_picture()).save(folder / 'images/a.png')
  label = Image.new('L', _SIZE[::-1], types.UNLABELLED)
  draw = ImageDraw.Draw(label)
  draw.line([(8, 8), (20, 80), (110, 88)], 0, 3)
  draw.line([(48, 60), (50, 48), (66, 24), (86, 34)], 1, 3)
  draw.line([(72, 52), (80, 58)], 2, 3)
  label.save(folder / 'scribbles/a.png')


def _write_via(folder):
  Image.fromarray(_picture()).save(folder / 'a.png')
  region = lambda label, **shape: {
      'shape_attributes': shape, 'region_attributes': {'label': label}}
  xs, ys = zip(*_RING, strict=True)
  (folder / 'via.json').write_text(json.dumps({'a.png-1': {
      'filename': 'a.png', 'size': -1, 'file_attributes': {}, 'regions': [
          region('liver', name='polygon', all_points_x=xs, all_points_y=ys),
          region('tumour', name='circle', cx=76, cy=54, r=10)]}}), 'utf-8')


def _write_picture(name, folder):
  """Writes a picture and its annotation in a format."""
  if name in ('folder', 'via'):
    (_write_scribble if name == 'folder' else _write_via)(folder)
    return
  (folder / 'set').mkdir()
  Image.fromarray(_picture()).save(folder / 'set/a.png')
  row = manifest_lib.Row('a', 'a.png', 'train', 'weak', _annotation(name))
  registry.FORMATS[name].write(manifest_lib.Manifest(
      manifest_lib.Header('set', _CLASSES), (row,), folder / 'set'), folder)
  for path in (folder / 'set').iterdir():
    path.unlink()
  (folder / 'set').rmdir()


def _write_volume(name, folder):
  """Writes a volume of three slices and its label in a format."""
  liver, tumour = _masks()
  image = np.stack(3 * [_picture().astype(np.int16)], -1)
  label = np.stack(3 * [(liver + 2 * tumour).astype(np.uint8)], -1)
  if name == 'hdf5':
    np.savez(folder / 'a.npz', image=image, label=label)
    return
  if name == 'nifti':
    for place, array in ('images', image), ('labels', label):
      (folder / place).mkdir()
      nibabel.save(nibabel.Nifti1Image(array, _AFFINE),
                   folder / place / 'a.nii.gz')
    return
  if name == 'nrrd':
    nrrd_writing.write_volume(folder / 'a.nrrd', image, _AFFINE)
    nrrd_writing.write_segmentation(
        folder / 'a.seg.nrrd', label, _AFFINE, _CLASSES[1:], unlabelled='void')
    return
  if name == 'metaimage':
    for file, array in ('a.mha', image), ('a_mask.mha', label):
      (folder / file).write_bytes(volume_files.metaimage(array))
    return
  places = [(0, 0, 3 * k) for k in range(3)]
  (folder / 'a').mkdir()
  for k, place in enumerate(places):
    (folder / f'a/{k}.dcm').write_bytes(dicom_files.content(
        dicom_files.ct_slice(image[..., k], place, instance=k + 1)))
  if name == 'dicom_seg':
    found = dicom_files.seg(
        np.stack(3 * [liver] + 3 * [tumour]), 2 * places, [1] * 3 + [2] * 3,
        names={1: 'liver', 2: 'tumour'})
  else:
    contour = lambda points: [np.array(
        [(x, y, z) for x, y in points], float) for z in (0, 3, 6)]
    found = dicom_files.rtstruct({
        'liver': contour(_RING), 'tumour': contour(
            [(68, 46), (84, 48), (80, 62), (68, 60)])})
  (folder / 'a/object.dcm').write_bytes(dicom_files.content(found))


def draw_example(name: str) -> Image.Image:
  """Returns what is read from an example of a format, drawn over its image."""
  write = _write_picture if name in (
      'folder', 'via') or name in _PICTURES else _write_volume
  with tempfile.TemporaryDirectory() as source, (
      tempfile.TemporaryDirectory()) as output:
    source, output = pathlib.Path(source), pathlib.Path(output)
    write(name, source)
    more = {'lines_are': 'line'} if name == 'labelme' else {}
    classes = None if name in ('nrrd', 'dicom_seg', 'rtstruct') else _CLASSES
    found = registry.read(
        name, source, output, formats.Options(classes=classes, axis=2, **more))
    if found.problems:
      raise AssertionError(str(found.problems[0]))
    row, root = found.rows[len(found.rows) // 2], output / found.root
    image = np.asarray(Image.open(root / row.image).convert('RGB'), float)
    label = rasterize.rasterize(
        row.annotation, size=image.shape[:2], root=root)
  for value, colour in _COLOURS.items():
    share = 0.55 if value == types.UNLABELLED else 0.5
    image[label == value] *= 1 - share
    image[label == value] += share * np.array(colour)
  return Image.fromarray(image.astype(np.uint8))


_PICTURES = ('folder', 'coco', 'labelme', 'cvat', 'voc', 'yolo', 'label_studio',
             'geojson', 'via')
_VOLUMES = ('nifti', 'nrrd', 'metaimage', 'dicom_seg', 'rtstruct', 'hdf5')


def draw_sheet(names: Sequence[str], columns: int) -> Image.Image:
  """Returns the examples of several formats with their names."""
  height, width = _SIZE[0] + 18, _SIZE[1] + 6
  sheet = Image.new(
      'RGB', (columns * width, -(-len(names) // columns) * height), 'white')
  draw = ImageDraw.Draw(sheet)
  for i, name in enumerate(names):
    x, y = i % columns * width, i // columns * height
    draw.text((x + 3, y + 3), name, 'black')
    sheet.paste(draw_example(name), (x + 3, y + 16))
  return sheet


def main(argv: Sequence[str]) -> None:
  """Writes both sheets."""
  del argv
  for file, names, columns in (
      ('formats_pictures.png', _PICTURES, 5), ('formats_volumes.png', _VOLUMES,
                                               6)):
    draw_sheet(names, columns).quantize(64).save(
        pathlib.Path(_FOLDER.value, file), optimize=True)


if __name__ == '__main__':
  app.run(main)
