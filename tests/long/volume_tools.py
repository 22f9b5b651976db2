r"""Compares readers of volumes with the packages that write their formats.

Needs packages that the project does not use otherwise; a throw-away
environment is enough:

  python -m venv /tmp/tools
  /tmp/tools/bin/pip install absl-py numpy pillow defusedxml nibabel pyyaml \
    pynrrd==1.1.3 SimpleITK==2.5.7 slicerio==1.4.0 highdicom==0.28.2 \
    rt-utils==1.2.7 scikit-image==0.26.0
  /tmp/tools/bin/python -m tests.long.volume_tools

Each comparison writes random files with a package, in all orientations and with
anisotropic spacings, reads them with the package and with this project, and
counts the voxels that differ after both are turned to one grid. With
--interchange=FOLDER it also reads real files, laid out as the folder names
below say. Prints a table; the exit code is 1 if voxels differ for which no
reason is stated. The results are in experiments/results/formats.md.
"""

import argparse
import contextlib
import itertools
import pathlib
import sys
import tempfile
import warnings

import highdicom
import nibabel
import nrrd as pynrrd
import numpy as np
import pydicom
from pydicom.sr import codedict
import rt_utils
import SimpleITK as sitk
from skimage import draw
import slicerio

from data_prep import formats
from data_prep.formats import assembling
from data_prep.formats import dicom_seg
from data_prep.formats import metaimage
from data_prep.formats import nrrd
from data_prep.formats import nrrd_file
from data_prep.formats import rtstruct
from data_prep.shared import volume_type

from tests import dicom_files

_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_TYPES = ('u1', 'i1', 'i2', 'u2', 'i4', 'u4', 'f4', 'f8')
# Reasons for differences, by the name of the comparison.
REASONS = {
    'scikit-image, contours': 'centres within a thousandth of a pixel of a '
    'contour lie on it here, and belong to it',
}


def turns() -> list[np.ndarray]:
  """Returns the 48 signed permutations of three axes, [3, 3]."""
  return [np.eye(3)[list(order)] * signs
          for order in itertools.permutations(range(3))
          for signs in itertools.product([1, -1], repeat=3)]


def make_case(rng, turn, dtype='i2', *, oblique=False):
  """Returns a random volume, and its affine in LPS."""
  shape = rng.integers(3, 9, 3)
  kind = np.dtype(dtype)
  array = rng.normal(0, 50, shape) if kind.kind == 'f' else rng.integers(
      0 if kind.kind == 'u' else -100, 100, shape)
  affine = np.eye(4)
  if oblique:
    a, b = rng.uniform(-0.3, 0.3, 2)
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0],
                     [0, 0, 1]]) @ np.array([
                         [1, 0, 0], [0, np.cos(b), -np.sin(b)],
                         [0, np.sin(b), np.cos(b)]]) @ turn
  affine[:3, :3] = turn.T * rng.choice([0.5, 0.75, 1, 2.5, 5], 3)
  affine[:3, 3] = np.round(rng.normal(0, 50, 3), 3)
  return array.astype(kind), affine


def differing(volume: volume_type.Volume, array, affine_lps) -> int:
  """Returns how many voxels differ between a volume and a reference.

  Both are turned to the same grid first; all voxels differ if the grids do.
  """
  other = nibabel.Nifti1Image(
      np.asarray(array, np.float64), _LPS @ affine_lps)
  own = nibabel.Nifti1Image(
      np.asarray(volume.voxels).astype(np.float64), volume.affine)
  own, other = map(nibabel.as_closest_canonical, (own, other))
  if own.shape != other.shape or not np.allclose(
      own.affine, other.affine, atol=1e-3):
    return max(own.dataobj.size, other.dataobj.size)
  return int(np.count_nonzero(own.get_fdata() != other.get_fdata()))


def of_sitk(image):
  """Returns the voxels of an image of SimpleITK, and its affine in LPS."""
  affine = np.eye(4)
  affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
  affine[:3, 3] = image.GetOrigin()
  return sitk.GetArrayFromImage(image).T, affine


def _to_sitk(array, affine):
  image = sitk.GetImageFromArray(np.ascontiguousarray(array.T))
  spacing = np.linalg.norm(affine[:3, :3], axis=0)
  image.SetSpacing(spacing.tolist())
  image.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
  image.SetOrigin(affine[:3, 3].tolist())
  return image


def compare_nrrd(folder, rng):
  """Yields (voxels, differing voxels) of files of pynrrd and SimpleITK."""
  path = folder / 'a.nrrd'
  for i, turn in enumerate(turns()):
    for oblique in (False, True):
      array, affine = make_case(rng, turn, _TYPES[i % 8], oblique=oblique)
      pynrrd.write(str(path), array, {
          'space': ('left-posterior-superior', 'RAS')[i % 2],
          'space directions': (affine if i % 2 == 0 else _LPS @ affine)[
              :3, :3].T, 'space origin': (
                  affine if i % 2 == 0 else _LPS @ affine)[:3, 3],
          'kinds': ['domain'] * 3,
          'encoding': ('raw', 'gzip', 'bzip2', 'ascii')[i % 4]})
      found = nrrd_file.read_nrrd(path)
      back, _ = pynrrd.read(str(path))
      differs = differing(found, back, affine)
      if i % 4 != 2:  # SimpleITK does not read bzip2.
        differs = max(differs, differing(
            found, *of_sitk(sitk.ReadImage(path))))
      yield array.size, differs


def compare_metaimage(folder, rng):
  """Yields (voxels, differing voxels) of files of SimpleITK."""
  for i, turn in enumerate(turns()):
    for oblique in (False, True):
      array, affine = make_case(rng, turn, _TYPES[i % 8], oblique=oblique)
      path = folder / ('a.mha', 'a.mhd')[i % 2]
      sitk.WriteImage(_to_sitk(array, affine), path, i % 3 == 0)
      yield array.size, differing(metaimage.read_metaimage(path), *of_sitk(
          sitk.ReadImage(path)))


def compare_segments(folder, rng):
  """Yields (voxels, differing voxels) of segmentations of slicerio."""
  for turn in turns():
    array, affine = make_case(rng, turn, 'u1')
    made = slicerio.create_segmentation(array.shape, affine)
    names = ['tumour', 'liver', 'a vessel']
    for name in names:
      slicerio.add_segment(
          made, rng.random(array.shape) < 0.4, {'id': name, 'name': name})
    path = folder / 'a.seg.nrrd'
    slicerio.write_segmentation(str(path), made)
    image = volume_type.Volume(np.zeros(array.shape), _LPS @ affine)
    values = {name: i for i, name in enumerate(sorted(names), 1)}
    reference = slicerio.extract_segments(
        slicerio.read_segmentation(str(path)), list(values.items()))['voxels']
    label = nrrd.draw(path, image, values).label
    yield label.size, int(np.count_nonzero(label != reference))


def write_series(folder, rng, turn):
  """Writes a random series; returns its volume [slices, rows, columns]."""
  array, affine = make_case(rng, turn)
  # The slices of a series are stacked along the normal of its images.
  if np.linalg.det(affine[:3, :3]) < 0:
    affine[:3, 2] *= -1
  spacing = np.linalg.norm(affine[:3, :3], axis=0)
  columns, rows, step = affine[:3, :3].T
  array = array.T
  series, number = f'1.2.3.{rng.integers(2**31)}', len(array)
  names = rng.permutation(number)
  for k, plane in enumerate(array):
    data = dicom_files.ct_slice(
        plane, affine[:3, 3] + k * step, instance=k + 1,
        orientation=[*(columns / spacing[0]), *(rows / spacing[1])],
        spacing=(spacing[1], spacing[0]), series=series,
        RescaleSlope=1 + k % 2, RescaleIntercept=-10)
    for keyword in ('PatientBirthDate', 'StudyDate', 'StructureSetDate'):
      setattr(data, keyword, '20000101')
    data.PatientSex, data.StudyID, data.StudyTime = 'O', '1', '120000'
    data.StudyInstanceUID, data.SeriesNumber = f'{series}.1', 1
    data.Manufacturer = data.PositionReferenceIndicator = ''
    data.ContentDate, data.ContentTime = '20000101', '120000'
    data.AcquisitionNumber, data.ImageType = 1, ['ORIGINAL', 'PRIMARY', 'AXIAL']
    data.save_as(folder / f'{names[k]}.dcm', enforce_file_format=True)
  return array


def _only_volume(folder, module=dicom_seg, **options):
  """Returns the only volume of a folder, its masks and how they are drawn."""
  report = assembling.Report(formats.Options(**options))
  found = module.find(folder, report)
  assert not report.problems, report.problems
  name, = found.pairs.images
  masks = [folder / m.path for m in found.pairs.masks.get(name, ())]
  return found.read(folder / name), masks, found.segments.draw


def compare_series(folder, rng):
  """Yields (voxels, differing voxels) of series as SimpleITK reads them."""
  for i, turn in enumerate(turns()):
    place = folder / str(i)
    place.mkdir()
    array = write_series(place, rng, turn)
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(place))
    yield array.size, differing(
        _only_volume(place)[0], *of_sitk(sitk.ReadImage(names)))


def sources(place):
  """Returns the slices of a folder, the highest number first."""
  found = [pydicom.dcmread(p) for p in sorted(place.glob('*.dcm'))]
  return sorted(found, key=lambda d: int(d.InstanceNumber), reverse=True)


def _of_highdicom(volume):
  """Returns the voxels of a volume of highdicom, and its affine in LPS."""
  return volume.array, volume.affine


def compare_frames(folder, rng):
  """Yields (voxels, differing voxels) of files of frames of highdicom."""
  for i, turn in enumerate(turns()):
    place = folder / str(i)
    place.mkdir()
    array = write_series(place, rng, turn)
    data = highdicom.legacy.LegacyConvertedEnhancedCTImage(
        sources(place), series_instance_uid=highdicom.UID(), series_number=2,
        sop_instance_uid=highdicom.UID(), instance_number=1)
    for path in place.glob('*.dcm'):
      path.unlink()
    data.save_as(place / 'frames.dcm')
    volume = highdicom.imread(place / 'frames.dcm').get_volume(
        apply_modality_transform=True)
    yield array.size, differing(_only_volume(place)[0], *_of_highdicom(volume))


def _describe(number, name):
  return highdicom.seg.SegmentDescription(
      segment_number=number, segment_label=name,
      segmented_property_category=codedict.codes.SCT.Organ,
      segmented_property_type=codedict.codes.SCT.Liver,
      algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.MANUAL,
      tracking_uid=highdicom.UID(), tracking_id=name)


def compare_seg(form, folder, rng):
  """Yields (voxels, differing voxels) of objects of highdicom.

  Args:
    form: BINARY, FRACTIONAL or LABELMAP.
    folder: folder to write to.
    rng: source of all randomness.
  """
  for i, turn in enumerate(turns()):
    place = folder / str(i)
    place.mkdir()
    array = write_series(place, rng, turn)
    slices = sorted(sources(place), key=lambda d: int(d.InstanceNumber))
    masks = rng.random((*array.shape, 3)) < 0.3
    masks[0] = False  # So a frame is left out.
    if form == 'LABELMAP':
      masks = masks & (np.cumsum(masks, -1) == 1)
    stored = masks if form != 'FRACTIONAL' else (
        masks * rng.choice([0.2, 0.6, 1.0], masks.shape))
    stored = stored.astype(np.uint8 if form != 'FRACTIONAL' else np.float32)
    names = ['c', 'a', 'b']
    data = highdicom.seg.Segmentation(
        slices, stored, form,
        [_describe(k, name) for k, name in enumerate(names, 1)],
        series_instance_uid=highdicom.UID(), series_number=3,
        sop_instance_uid=highdicom.UID(), instance_number=1, manufacturer='x',
        manufacturer_model_name='x', software_versions='1',
        device_serial_number='1', omit_empty_frames=i % 2 == 0)
    data.save_as(place / 'seg.dcm')
    image, (path,), draw_ = _only_volume(place)
    for name in names:
      label = draw_(path, image, {name: 1}).label
      volume = highdicom.seg.segread(path).get_volume(
          segment_numbers=[1 + names.index(name)])
      reference = np.asarray(volume.array[..., 0]) >= 0.5
      whole = highdicom.get_volume_from_series(slices)
      full = in_whole(reference, volume, whole)
      yield full.size, differing(
          image._replace(voxels=label), full, whole.affine)


def in_whole(array, volume, whole):
  """Returns the voxels of a part of a volume, with 0 in the rest.

  Args:
    array: the voxels of the part.
    volume: the part, a volume of highdicom. Frames that were left out may be
      missing at its ends.
    whole: the whole volume.
  """
  start = np.rint(whole.inverse_affine @ [*volume.position, 1])[:3]
  full = np.zeros(whole.spatial_shape)
  full[tuple(slice(int(s), int(s) + n) for s, n in zip(
      start, array.shape, strict=True))] = array
  return full


def _disc(shape, rng, number):
  """Returns a mask of discs with holes, [rows, columns, slices]."""
  mask = np.zeros(shape, bool)
  rows, columns = np.indices(shape[:2])
  for k in range(1, shape[2] - 1):
    for _ in range(number):
      r, c = rng.integers(10, 30, 2)
      radius = rng.integers(4, 8)
      away = np.hypot(rows - r, columns - c)
      mask[away <= radius, k] = True
      mask[away <= radius / 3, k] = False
    mask[2:7, 3, k] = mask[5, 33 + k % 3, k] = True  # A line and a pixel.
  return mask


def compare_rtstruct(folder, rng):
  """Yields (voxels, differing voxels) of masks that rt-utils writes."""
  for i in range(24):
    place = folder / str(i)
    place.mkdir()
    array = rng.integers(0, 99, (6, 40, 40))
    for k, plane in enumerate(array):
      data = dicom_files.ct_slice(
          plane, (-20.5, 13, 3.0 * k), instance=k, spacing=(0.75, 0.75))
      data.StudyInstanceUID, data.SeriesNumber = '1.2', 1
      for keyword in ('PatientBirthDate', 'StudyDate', 'StructureSetDate'):
        setattr(data, keyword, '20000101')
      data.PatientSex, data.StudyID, data.StudyTime = 'O', '1', '120000'
      data.save_as(place / f'{9 - k}.dcm', enforce_file_format=True)
    mask = _disc((40, 40, 6), rng, 1 + i % 3)
    made = rt_utils.RTStructBuilder.create_new(str(place))
    made.add_roi(mask=mask, name='a', use_pin_hole=False)
    with contextlib.redirect_stdout(None):
      made.save(str(place / 'rt.dcm'))
    image, (path,), draw_ = _only_volume(place, rtstruct)
    label = draw_(path, image, {'a': 1}).label
    reference = rt_utils.RTStructBuilder.create_from(
        str(place), str(path)).get_roi_mask_by_name('a')
    yield label.size, int(np.count_nonzero(label != reference))


def _fill(contours, affine, shape):
  """Returns the voxels inside contours as scikit-image fills them, by XOR."""
  mask = np.zeros(shape, bool)
  for points in contours:
    ones = np.ones((len(points), 1))
    indices = np.linalg.solve(
        _LPS @ affine, np.concatenate([points, ones], 1).T)[:3].T
    mask[..., round(indices[:, 2].mean())] ^= draw.polygon2mask(
        shape[:2], indices[:, :2])
  return mask


def compare_contours(folder, rng):
  """Yields (voxels, differing voxels) of contours that scikit-image fills."""
  for i, turn in enumerate(turns()):
    place = folder / str(i)
    place.mkdir()
    array = rng.integers(0, 99, (6, 40, 44))
    rows, columns, _ = turn
    step = np.cross(columns, rows) * 2.5
    for k, plane in enumerate(array):
      dicom_files.ct_slice(
          plane, [-20.5, 13, 7] + k * step, instance=k, spacing=(0.75, 0.5),
          orientation=[*columns, *rows]).save_as(
              place / f'{9 - k}.dcm', enforce_file_format=True)
    contours = []
    for k in range(6):
      for _ in range(3):
        angles = np.sort(rng.uniform(0, 2 * np.pi, 12))
        radii = rng.uniform(3, 15, (12, 1))
        middle = rng.uniform(12, 28, 2)
        points = middle + radii * np.stack(
            [np.cos(angles), np.sin(angles)], 1)
        contours.append([-20.5, 13, 7] + k * step + points[:, :1] * 0.75 * rows
                        + points[:, 1:] * 0.5 * columns)
    dicom_files.rtstruct({'a': contours}).save_as(
        place / 'rt.dcm', enforce_file_format=True)
    image, (path,), draw_ = _only_volume(place, rtstruct)
    label = draw_(path, image, {'a': 1}).label
    yield label.size, int(np.count_nonzero(
        label != _fill(contours, image.affine, label.shape)))


def read_real(folder):
  """Yields (name, voxels, differing voxels) of real files.

  Args:
    folder: folder with the subfolders dicom_seg_ct, rtstruct_ct, ...
  """
  total = differs = 0
  for path in sorted([*folder.rglob('*.nrrd'), *folder.rglob('*.mh[ad]')]):
    if 'Overlapping' in path.name:
      continue
    read = nrrd_file.read_nrrd if path.suffix == '.nrrd' else (
        metaimage.read_metaimage)
    image = sitk.ReadImage(path)
    if image.GetDimension() == 2:
      image = sitk.JoinSeries(image)
    found = read(path)
    total += found.voxels.size
    differs += differing(found, *of_sitk(image))
  yield 'SimpleITK, real NRRD and MetaImage', total, differs
  yield ('dcmqi, real segmentations', *_real_segs(folder))
  image, (path,), draw_ = _only_volume(folder / 'rtstruct_ct', rtstruct)
  label = draw_(path, image, {'GTV-1': 1}).label
  contours = [np.reshape(c.ContourData, (-1, 3)).astype(float) for c in
              pydicom.dcmread(path).ROIContourSequence[0].ContourSequence]
  yield ('scikit-image, real contours', label.size, int(np.count_nonzero(
      label != _fill(contours, image.affine, label.shape))))
  place = folder / 'slicer_seg_nrrd'
  image = nrrd_file.read_nrrd(place / 'CTChest4.nrrd')
  total = differs = 0
  for path in sorted(place.glob('*.seg.nrrd')):
    values = {n: i for i, n in enumerate(sorted(nrrd.names(path)), 1)}
    reference = slicerio.extract_segments(
        slicerio.read_segmentation(str(path)), list(values.items()))['voxels']
    total += reference.size
    differs += int(np.count_nonzero(
        nrrd.draw(path, image, values).label != reference))
  yield 'slicerio, real segmentations', total, differs


def _real_segs(folder):
  """Returns voxels and differing voxels of SEG and of NRRD of the same."""
  total = differs = 0
  report = assembling.Report(formats.Options())
  for place, pairs in (
      ('dicom_seg_ct', {
          'liver.dcm': [('Liver', 'liver_seg', 1)], 'partial_overlaps.dcm': [
              ('GREEN', 'partial_overlaps-1', 1),
              ('ORANGE', 'partial_overlaps-2', 2),
              ('PURPLE', 'partial_overlaps-3', 3),
              ('LIGHT_BLUE', 'partial_overlaps-1', 4),
              ('DARK_BLUE', 'partial_overlaps-2', 5)]}),
      ('dicom_seg_labelmap', {
          'sparse-labelmap-noppv.dcm': [
              ('Liver', 'sparse_labelmap_noppv_seg', 1)],
          'sparse-labelmap-ppv5.dcm': [
              ('Liver', 'sparse_labelmap_ppv5_seg', 1)]})):
    found = dicom_seg.find(folder / place, report)
    image = found.read(folder / place / found.pairs.images[0])
    for path, segments in pairs.items():
      for name, file, value in segments:
        label = found.segments.draw(
            folder / place / path, image, {name: 1}).label
        reference, affine = of_sitk(sitk.ReadImage(
            folder / place / 'nrrd' / f'{file}.nrrd'))
        # In which of the files of overlaps a segment lies is not stated.
        others = [of_sitk(sitk.ReadImage(p))[0] == value for p in sorted(
            (folder / place / 'nrrd').glob(f'{file.rsplit("-", 1)[0]}*'))
                  ] if '-' in file else [reference == value]
        total += label.size
        differs += min(differing(image._replace(voxels=label), other, affine)
                       for other in others)
  return total, differs


COMPARISONS = {
    'pynrrd and SimpleITK, NRRD': compare_nrrd,
    'slicerio, .seg.nrrd': compare_segments,
    'SimpleITK, MetaImage': compare_metaimage,
    'SimpleITK (GDCM), DICOM series': compare_series,
    'highdicom, files of frames': compare_frames,
    **{f'highdicom, SEG {form}': (
        lambda folder, rng, form=form: compare_seg(form, folder, rng))
       for form in ('BINARY', 'FRACTIONAL', 'LABELMAP')},
    'scikit-image, contours': compare_contours,
    'rt-utils, masks': compare_rtstruct,
}


def main() -> int:
  """Prints the table; returns 1 if a difference has no reason."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--interchange', type=pathlib.Path)
  parser.add_argument('--only', default='')
  options = parser.parse_args()
  warnings.simplefilter('ignore')
  print('| compared | files | voxels | voxels that differ | why |')
  print('|---|---|---|---|---|')
  unexplained = 0
  for name, compare in COMPARISONS.items():
    if options.only in name:
      with tempfile.TemporaryDirectory() as folder:
        counts = list(compare(pathlib.Path(folder), np.random.default_rng(0)))
      total, differs = np.sum(counts, 0)
      reason = REASONS.get(name, '') if differs else ''
      unexplained += bool(differs and not reason)
      print(f'| {name} | {len(counts)} | {total} | {differs} | {reason} |',
            flush=True)
  if options.interchange:
    for name, total, differs in read_real(options.interchange):
      reason = REASONS.get(name, '') if differs else ''
      unexplained += bool(differs and not reason)
      print(f'| {name} | | {total} | {differs} | {reason} |', flush=True)
  return int(unexplained > 0)


if __name__ == '__main__':
  sys.exit(main())
