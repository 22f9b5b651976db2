"""Reads and writes NIfTI volumes, whose slices become rows.

Images and labels have the same name and lie in folders as `folder` describes
them (images/a.nii.gz, labels/a.nii.gz, scribbles/a.nii.gz, or nnU-Net's
imagesTr/a_0000.nii.gz). `volume_sets` says how they become slices.
"""

import importlib
import json
import os
import pathlib

import nibabel
import numpy as np

from data_prep import formats
from data_prep import manifest as manifest_lib
from data_prep.drawing import annotation_kinds
from data_prep.drawing import rasterize
from data_prep.formats import assembling
from data_prep.formats import placing
from data_prep.formats import sources
from data_prep.formats import volume_sets
from data_prep.formats import volumes
from data_prep.shared import confined
from data_prep.shared import pixels

HOLDS = annotation_kinds.FILES
FIELDS = ('spacing_mm',)
INDEX = volume_sets.INDEX

_SUFFIXES = ('.nii', '.nii.gz')


def detect(source: pathlib.Path) -> bool:
  """Returns whether there are NIfTI files below `source`."""
  return bool(sources.list_files(source, _SUFFIXES))


def find(
    source: pathlib.Path,
    report: assembling.Report,
    *,
    folder: pathlib.Path | None = None,
) -> volume_sets.Found:
  """Pairs images with labels.

  Args:
    source: folder of the files.
    report: holds the user's options; receives problems and notices.
    folder: folder whose disk holds what is decompressed; None means the
      system's folder for temporary files.
  """
  paths = tuple(sources.list_files(source, _SUFFIXES))
  pairs, declared = volume_sets.pair(
      source, paths, report, volumes.read_nifti)
  return volume_sets.Found(
      paths, pairs, sources.make_names(pairs.images), volumes.read_nifti,
      lambda path: volumes.open_nifti(path, folder=folder), declared=declared)


def read(
    source: pathlib.Path, output: pathlib.Path, report: assembling.Report
) -> formats.Imported:
  """Reads volumes and their labels below `source`, see `data_prep.formats`."""
  return volume_sets.read(find(source, report), source, output, report)


def write(manifest: manifest_lib.Manifest, output: pathlib.Path) -> None:
  """Writes volumes of labels, and links to the volumes of images.

  The images are linked at images/CASE.nii.gz, or converted if they are not
  NIfTI. The labels are written to
  masks/CASE.nii.gz or, for other kinds, to other folders. Slices are put back
  at their places in the volume, see the module. If the slices of a volume have
  several kinds of annotation, each kind has a file, which holds 255 in slices
  of another kind. A picture that was not cut from a volume becomes a volume of
  one slice.
  """
  path = manifest.folder / INDEX
  index = json.loads(path.read_text(encoding='utf-8')) if path.exists() else {}
  rows = {row.id: row for row in manifest.rows}
  sliced = {i for entry in index.values() for i in entry['ids']}
  for case, entry in index.items():
    _link(entry, output, case)
    size = [n for i, n in enumerate(entry['shape']) if i != entry['axis']]
    found = {}
    for k, row_id in enumerate(entry['ids']):
      row = rows.get(row_id)
      if row is not None and row.annotation is not None:
        slices = found.setdefault(
            _folder_of(row.annotation['kind']),
            [np.full(size, 255, np.uint8) for _ in entry['ids']])
        slices[k] = rasterize.rasterize(
            row.annotation, size=tuple(size), root=manifest.root)
    for place, slices in found.items():
      _save(np.stack(slices, entry['axis']), np.array(entry['affine']), output,
            place, case)
  for row in manifest.rows:
    if row.id in sliced:
      continue
    pixels.check_file(row.image, 'image', pixels.open_folder(manifest.root))
    with_path = (manifest.root / row.image).resolve()
    size = placing.picture_size(with_path)
    affine = np.diag([*(row.spacing_mm or (1.0, 1.0)), 1.0, 1.0])
    image = rasterize.read_image(with_path)[..., 0]
    _save(image[..., None], affine, output, 'images', row.id)
    if row.annotation is not None:
      label = rasterize.rasterize(
          row.annotation, size=size, root=manifest.root)
      _save(label[..., None], affine, output,
            _folder_of(row.annotation['kind']), row.id)


def _link(entry, output, case):
  """Links to the image of a volume, or writes it if it is not NIfTI."""
  if 'format' in entry:
    module = importlib.import_module(f'{__package__}.{entry["format"]}')
    volume = module.read_again(entry['files'])
    voxels = np.asarray(volume.voxels)
    if voxels.dtype in (np.int64, np.uint64):  # NIfTI's readers dislike it.
      voxels = voxels.astype(np.float64)
    _save(voxels, volume.affine, output, 'images', case)
    return
  file = entry['file']
  suffix = '.nii.gz' if file.lower().endswith('.gz') else '.nii'
  os.symlink(file, confined.new_file(output, f'images/{case}{suffix}'))


def _folder_of(kind):
  return f'{kind}s' if kind in HOLDS else 'coarse_masks'


def _save(voxels, affine, output, place, case):
  nibabel.save(
      nibabel.Nifti1Image(voxels, affine),
      confined.new_file(output, f'{place}/{case}.nii.gz'))
