r"""Compares what is written for tools with what their packages read from it.

Needs the packages of `tests.long.volume_tools`:

  /tmp/tools/bin/python -m tests.long.volume_writers

Random volumes and label maps, in all orientations, oblique, and with
anisotropic spacings, are written as NRRD, as segmentations of 3D Slicer and as
DICOM segmentations. Prints a table of the voxels that differ, in all segments
together; the exit code is 1 if there are any. The results are in
experiments/results/formats.md.
"""

import pathlib
import sys
import tempfile
import warnings

import highdicom
import nrrd as pynrrd
import numpy as np
import SimpleITK as sitk
import slicerio

from data_prep import formats
from data_prep.formats import nrrd_writing
from data_prep.formats import registry
from data_prep.shared import volume_type

from tests.long import volume_round_trips
from tests.long import volume_tools

_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
# pynrrd, by which slicerio reads, drops letters outside of ASCII.
_NAMES = ('a', 'b b', 'c-1')
_VALUES = {'a': 1, 'b b': 2, 'c-1': 3, 'unlabelled': 255}


def _label(rng, shape):
  """Returns a label map in which a class may be missing."""
  label = rng.choice([0, 1, 2, 3, 255], shape).astype(np.uint8)
  label[label == rng.integers(1, 5)] = 0
  return label


def compare_volumes(folder, rng):
  """Yields (voxels, differing voxels) of NRRD volumes."""
  path = folder / 'a.nrrd'
  for i, turn in enumerate(2 * volume_tools.turns()):
    array, affine = volume_tools.make_case(
        rng, turn, ('i2', 'u1', 'f4', 'f8')[i % 4], oblique=i >= 48)
    nrrd_writing.write_volume(path, array, _LPS @ affine)
    own = volume_type.Volume(array, _LPS @ affine)
    yield array.size, volume_tools.differing(
        own, *volume_tools.of_sitk(sitk.ReadImage(path)))
    found, header = pynrrd.read(str(path))
    space = np.eye(4)
    space[:3, :3] = header['space directions'].T
    space[:3, 3] = header['space origin']
    yield array.size, volume_tools.differing(own, found, space)


def compare_segments(folder, rng):
  """Yields (voxels, differing voxels) of segmentations of 3D Slicer."""
  path = folder / 'a.seg.nrrd'
  for i, turn in enumerate(2 * volume_tools.turns()):
    array, affine = volume_tools.make_case(rng, turn, 'u1', oblique=i >= 48)
    label = _label(rng, array.shape)
    nrrd_writing.write_segmentation(
        path, label, _LPS @ affine, _NAMES, unlabelled='unlabelled')
    found = slicerio.read_segmentation(str(path))
    np.testing.assert_allclose(found['ijkToLPS'], affine, atol=1e-12)
    for name in [segment['name'] for segment in found['segments']]:
      mask = slicerio.extract_segments(found, [(name, 1)])['voxels']
      yield label.size, int(
          np.count_nonzero((mask == 1) != (label == _VALUES[name])))


def compare_objects(folder, rng):
  """Yields (voxels, differing voxels) of DICOM segmentations."""
  for i, turn in enumerate(volume_tools.turns()):
    source, output = folder / f'{i}', folder / f'out{i}'
    source.mkdir()
    volume_tools.write_series(source, rng, turn)
    found = volume_round_trips.read('dicom_seg', source, formats.Options())
    case, = found.cases.values()
    label = _label(rng, case.shape)
    registry.write_volumes(
        [case._replace(read_labels=lambda label=label: {'mask': label})],
        ('background', *_NAMES), 'dicom_seg', output)
    path, = (output / 'segmentations').iterdir()
    read = highdicom.seg.segread(path)
    whole = highdicom.get_volume_from_series(volume_tools.sources(source))
    for number in read.segment_numbers:
      name = read.get_segment_description(number).segment_label
      found = read.get_volume(segment_numbers=[number])
      full = volume_tools.in_whole(
          np.asarray(found.array[..., 0]), found, whole)
      own = volume_type.Volume(label == _VALUES[name], case.affine)
      yield label.size, volume_tools.differing(own, full, whole.affine)


def main() -> int:
  """Prints the table; returns 1 if voxels differ."""
  warnings.simplefilter('ignore')
  print('| written | package | files or segments | voxels | that differ |')
  print('|---|---|---|---|---|')
  total = 0
  for name, package, compare in (
      ('NRRD', 'SimpleITK, pynrrd', compare_volumes),
      ('`.seg.nrrd`', 'slicerio', compare_segments),
      ('DICOM SEG', 'highdicom', compare_objects)):
    with tempfile.TemporaryDirectory() as folder:
      counts = list(compare(pathlib.Path(folder), np.random.default_rng(0)))
    voxels, differ = np.sum(counts, 0)
    print(f'| {name} | {package} | {len(counts)} | {voxels} | {differ} |',
          flush=True)
    total += differ
  return int(total > 0)


if __name__ == '__main__':
  sys.exit(main())
