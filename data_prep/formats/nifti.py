"""Reads and writes NIfTI volumes, whose slices become rows.

Images and labels have the same name and lie in folders as `folder` describes
them (images/a.nii.gz, labels/a.nii.gz, scribbles/a.nii.gz, or nnU-Net's
imagesTr/a_0000.nii.gz). `volume_sets` says how they become slices.
"""

from collections.abc import Iterable, Sequence
import os
import pathlib

import nibabel
import numpy as np

from data_prep import formats
from data_prep import manifest as manifest_lib
from data_prep.drawing import annotation_kinds
from data_prep.formats import assembling
from data_prep.formats import sources
from data_prep.formats import volume_cases
from data_prep.formats import volume_sets
from data_prep.formats import volumes
from data_prep.shared import confined

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
  """Writes volumes of labels, and links to the volumes of images."""
  write_cases(volume_cases.of_manifest(manifest), manifest.header.classes,
              output)


def write_cases(
    cases: Iterable[volume_cases.Case],
    classes: Sequence[str],
    output: pathlib.Path,
) -> None:
  """Writes volumes of labels, and links to the volumes of images.

  The images are linked at images/CASE.nii.gz, or converted if they are not
  NIfTI. The labels are written to masks/CASE.nii.gz or, for other kinds, to
  other folders.

  Args:
    cases: the volumes.
    classes: class names, background first; the files hold only numbers.
    output: folder to write.
  """
  del classes
  for case in cases:
    if case.format_name == 'nifti':
      file, = case.files
      suffix = '.nii.gz' if file.lower().endswith('.gz') else '.nii'
      os.symlink(file, confined.new_file(output, f'images/{case.id}{suffix}'))
    else:
      voxels = volume_cases.read_image(case)
      if voxels.dtype in (np.int64, np.uint64):  # NIfTI's readers dislike it.
        voxels = voxels.astype(np.float64)
      _save(voxels, case, output, 'images')
    for kind, label in case.read_labels().items():
      _save(label, case, output, volume_cases.folder_of(kind))


def _save(voxels, case, output, folder):
  nibabel.save(
      nibabel.Nifti1Image(voxels, case.affine),
      confined.new_file(output, f'{folder}/{case.id}.nii.gz'))
