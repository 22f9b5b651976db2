r"""Tests that random volumes survive export, import, export and import.

python -m tests.long.volume_round_trips --num_volume_cases=100

A case is a set of one to three volumes of any format that is read: of any
orientation and spacing, oblique, of a few voxels, with one or no annotation, in
which classes may be missing and voxels unlabelled. It is written in a format of
volumes. What is read back has the same ids, images, grids, classes, kinds and
voxels. Written and read again, it is the same once more. The program prints a
table, and its exit code is 1 if a case failed.
"""

import collections
from collections.abc import Sequence
import itertools
import pathlib
import sys
import tempfile
import time
from typing import NamedTuple

from absl import app
from absl import flags
from data_prep import formats
from data_prep.drawing import annotation_kinds
from data_prep.formats import assembling
from data_prep.formats import intensities
from data_prep.formats import names
from data_prep.formats import parts
from data_prep.formats import registry
from data_prep.formats import volume_cases
from data_prep.formats import volume_sets
from hybridseg import types
import nibabel
import numpy as np

from tests import dicom_files
from tests import volume_files

_NUM_CASES = flags.DEFINE_integer(
    'num_volume_cases', 100, 'Cases of a format.', 1)
_FORMATS = flags.DEFINE_list(
    'volume_formats', list(names.WRITES_VOLUMES), 'What to test.')

# What 3D Slicer and DICOM may find hard in a name.
_NAMES = ('liver', 'a b', 'ü', 'x:=y', 'a: b', '# 1', 'GTV-1', 'Ä"', "d'e",
          '^~', '肝')
_SOURCES = ('nifti', 'nrrd', 'metaimage', 'hdf5', 'dicom_seg', 'frames')


class Set(NamedTuple):
  """What is read from a folder.

  Attributes:
    classes: class names, background first.
    cases: the volumes, by id.
    images: their intensities.
    labels: their classes by kind of annotation.
  """

  classes: tuple[str, ...]
  cases: dict[str, volume_cases.Case]
  images: dict[str, np.ndarray]
  labels: dict[str, dict[str, np.ndarray]]


def _affine(rng, *, is_right=False):
  """Returns an affine of any orientation, half of the time oblique."""
  turns = [np.eye(3)[list(order)] * signs
           for order in itertools.permutations(range(3))
           for signs in itertools.product((-1, 1), repeat=3)]
  turns = [t for t in turns if not is_right or np.linalg.det(t) > 0]
  turn = turns[rng.integers(len(turns))]
  if rng.random() < 0.5:
    turn = np.linalg.qr(rng.normal(size=(3, 3)) * 0.1 + np.eye(3))[0] @ turn
    turn *= np.linalg.det(turn) if is_right else 1
  affine = np.eye(4)
  affine[:3, :3] = turn * rng.choice([0.5, 0.7, 1.0, 1.25, 3.0, 5.0], 3)
  affine[:3, 3] = rng.uniform(-200, 200, 3).round(3)
  return affine


def _write_dicom(folder, name, array, affine, *, number, is_frames):
  """Writes a series or a file of frames; the last axis counts slices."""
  lps = affine[:3] * [[-1], [-1], [1]]
  spacing = np.linalg.norm(lps[:, :2], axis=0)
  axes = lps[:, :2] / spacing  # Along which rows and columns are counted.
  more = dict(
      orientation=[*axes[:, 1], *axes[:, 0]], spacing=spacing,
      series=f'{dicom_files.SERIES}.{number}', patient=str(number))
  places = [lps[:, 3] + k * lps[:, 2] for k in range(array.shape[2])]
  planes = np.moveaxis(array, 2, 0)
  if is_frames:
    (folder / f'{name}.dcm').write_bytes(dicom_files.content(
        dicom_files.multi_frame(planes, places, **more)))
    return
  (folder / name).mkdir()
  for k, (plane, place) in enumerate(zip(planes, places, strict=True)):
    (folder / name / f'{len(planes) - k}.dcm').write_bytes(dicom_files.content(
        dicom_files.ct_slice(plane, place, instance=k + 1, **more)))


def _write_image(folder, kind, name, rng, number):
  """Writes a random image of a format."""
  shape = tuple(rng.integers(3, 9, 3))
  is_dicom = kind in ('dicom_seg', 'frames')
  array = rng.integers(-500, 1500, shape).astype(np.int16)
  affine = _affine(rng, is_right=is_dicom)
  path = folder / name
  if kind == 'nifti':
    nibabel.save(nibabel.Nifti1Image(array, affine), f'{path}.nii.gz')
  elif is_dicom:
    if np.linalg.det(affine) < 0:
      affine[:, 2] *= -1
    _write_dicom(folder, name, array, affine, number=number,
                 is_frames=kind == 'frames')
  elif kind == 'hdf5':
    np.savez(f'{path}.npz', image=array)
  elif kind == 'nrrd':
    text = lambda v: f'({",".join(map(repr, map(float, v)))})'
    path.with_suffix('.nrrd').write_bytes(volume_files.nrrd(
        array, directions=' '.join(map(text, affine[:3, :3].T)),
        origin=text(affine[:3, 3]), space='right-anterior-superior'))
  else:
    lps = affine[:3] * [[-1], [-1], [1]]
    spacing = np.linalg.norm(lps[:, :3], axis=0)
    text = lambda v: ' '.join(map(repr, map(float, v)))
    path.with_suffix('.mha').write_bytes(volume_files.metaimage(
        array, matrix=text((lps[:, :3] / spacing).T.ravel()),
        offset=text(lps[:, 3]), spacing=text(spacing)))


def _label(rng, shape, num_classes):
  """Returns a random label map, and its kind of annotation."""
  label = rng.integers(0, num_classes, shape).astype(np.uint8)
  label[label == rng.integers(1, num_classes + 3)] = 0  # A class is missing.
  if rng.random() < 0.2:
    label[:] = 0
  kind = str(rng.choice([*annotation_kinds.FILES, 'slices']))
  if kind == 'slices':
    label[:, :, rng.integers(shape[2])] = types.UNLABELLED
  elif rng.random() < 0.5:
    label[rng.random(shape) < 0.3] = types.UNLABELLED
  return label, kind


def make_case(
    name: str, rng: np.random.Generator, folder: pathlib.Path
) -> Set:
  """Returns a random set, and writes its images.

  Args:
    name: format in which the set will be written.
    rng: random generator.
    folder: folder to fill.
  """
  kind = str(rng.choice(_SOURCES[4:] if name == 'dicom_seg' else _SOURCES))
  for number in range(rng.integers(1, 4)):
    _write_image(folder, kind, f'v{number}', rng, number)
  format_name = 'dicom_seg' if kind == 'frames' else kind
  before = read(format_name, folder, formats.Options())
  some = rng.choice(_NAMES, rng.integers(1, 5), replace=False).tolist()
  classes = ('background', *some)
  drawn = 'mask'
  for number, case in enumerate(before.cases.values()):
    if number and rng.random() < 0.2:
      continue
    label, found = _label(rng, case.shape, len(classes))
    # The objects of a set are of one kind, which an option names.
    drawn = found if number == 0 or name != 'dicom_seg' else drawn
    before.labels[case.id][drawn] = label
  return before._replace(classes=classes)


def read(
    format_name: str, folder: pathlib.Path, options: formats.Options
) -> Set:
  """Reads all volumes of a folder."""
  report = assembling.Report(options)
  found = registry.FORMATS[format_name].find(folder, report)
  sought = volume_sets.seek(found, folder, report, intensities.Writer(
      folder, folder, options))
  result = Set(sought.classes, {}, {}, {})
  for path in sorted(found.pairs.images, key=found.names_of.get):
    volume = found.read(folder / path)
    name, _ = found.name(path, options)
    (key, _, masks), = parts.by_observer(found.pairs.masks.get(path, []), name)
    result.images[key] = np.asarray(volume.voxels)
    result.labels[key] = sought.labels.read(masks, volume, key)
    result.cases[key] = volume_cases.Case(
        key, volume.voxels.shape, volume.affine, found.format_name or 'nifti',
        tuple(str(folder / p) for p in found.files_of.get(path, (path,))),
        lambda key=key: result.labels[key])
  if report.problems:
    raise AssertionError(f'{report.problems[0]}')
  return result


def _passed_on(before, name, folder, options):
  output = folder / 'out'
  registry.write_volumes(
      before.cases.values(), before.classes, name, output)
  return read(name, output, options)


def _options(before: Set, name: str) -> formats.Options:
  """Returns the options that read a set as it was."""
  options = formats.Options(classes=before.classes)
  kinds = {k for labels in before.labels.values() for k in labels}
  if name == 'dicom_seg':
    kind = 'mask' if 'slices' in kinds else next(iter(kinds))
    return options._replace(masks_are=kind, masks_are_given=True)
  if name == 'nifti':
    values = {str(v): v for v in (*range(len(before.classes)), 255)}
    return options._replace(mask_values=values, scribble_values=values)
  return options


def _compare(before: Set, after: Set) -> None:
  """Raises an AssertionError where a set has changed."""
  if before.classes != after.classes or list(before.cases) != list(after.cases):
    raise AssertionError(f'{after.classes}, {list(after.cases)}')
  for key, case in before.cases.items():
    other = after.cases[key]
    np.testing.assert_array_equal(before.images[key], after.images[key])
    # NIfTI's affines are float32.
    np.testing.assert_allclose(other.affine, case.affine, atol=2e-5)
    labels = {'mask' if kind == 'slices' else kind: label
              for kind, label in before.labels[key].items()}
    if labels.keys() != after.labels[key].keys():
      raise AssertionError(f'{key}: {list(after.labels[key])}')
    for kind, label in labels.items():
      np.testing.assert_array_equal(after.labels[key][kind], label)


def examine(name: str, seed: int) -> None:
  """Passes a random set through a format twice.

  Raises:
    AssertionError: if it changes.
  """
  rng = np.random.default_rng([seed, *name.encode()])
  with tempfile.TemporaryDirectory() as folder:
    places = [pathlib.Path(folder, str(i)) for i in range(3)]
    for place in places:
      place.mkdir()
    before = make_case(name, rng, places[0])
    options = _options(before, name)
    first = _passed_on(before, name, places[1], options)
    _compare(before, first)
    second = _passed_on(first, name, places[2], options)
    _compare(first, second)


def main(argv: Sequence[str]) -> None:
  """Passes sets through all formats and prints the table."""
  del argv
  failed = False
  print('| format | cases | failed | s |\n|---|---|---|---|')
  for name in _FORMATS.value:
    errors, start = collections.Counter(), time.monotonic()
    for seed in range(_NUM_CASES.value):
      try:
        examine(name, seed)
      except AssertionError as error:
        text = ' '.join(str(error).split())[:200]
        print(f'{name}, seed {seed}: {text}', file=sys.stderr)
        errors[name] += 1
        failed = True
    print(f'| {name} | {_NUM_CASES.value} | {errors.total()} | '
          f'{time.monotonic() - start:.0f} |')
  if failed:
    sys.exit(1)


if __name__ == '__main__':
  app.run(main)
