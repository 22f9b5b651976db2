"""Generates the set `phantom3d`: volumes with two kinds of ellipsoids in noise.

A volume holds one or two large ellipsoids of class 1, one or two small and
brighter ones of class 2, and a distractor as bright as class 1 with the texture
of nothing: a thin plate. Intensities differ between volumes by a gain, as in
MR. Volume i depends only on (seed, i).
"""

from collections.abc import Sequence
import os
import pathlib
import tempfile

import numpy as np

from data_prep.shared import grammar

CLASSES = ('background', 'organ', 'lesion')
SHAPE = (32, 40, 36)
PATCH = (24, 24, 24)
LISTING = ''

_SPACING_MM = (1.0, 1.0, 1.25)
_FRACTIONS = (0.6, 0.15, 0.25)


def write(
    output: str | os.PathLike[str] | None,
    *,
    seed: int = 0,
    strong_fraction: float = 0.25,
    fault_fraction: float = 0.3,
    kinds: Sequence[str] = ('slices', 'box'),
    slab_slices: int | None = None,
    num_volumes: int = 40,
    overwrite: bool = False,
) -> None:
  """Prepares the set as `prepare --volumes` does.

  OUTPUT/source keeps the NIfTI files of the volumes and of their exact labels.

  Args:
    output: folder to write; None only checks.
    seed: seed of the volumes, the splits and the weak labels.
    strong_fraction: share of the training volumes that keep their exact labels.
    fault_fraction: share of the weak labels that get a planted fault.
    kinds: kinds of the weak labels, of `volume_annotations.KINDS`, which share
      the volumes evenly.
    slab_slices: see `whole_set.Wanted`.
    num_volumes: number of volumes.
    overwrite: whether an older output is replaced.

  Raises:
    command_line.Refused: if a kind is unknown, or if the output cannot be
      written.
  """
  # These modules are slow to import, and --help imports this one.
  from data_prep import command_line
  from data_prep import formats
  from data_prep.drawing import volume_annotations
  from data_prep.sets import own_set
  from data_prep.sets import whole_set
  from data_prep.splits import dividing
  from data_prep.splits import strong_choice
  from data_prep.volumes import levels
  from data_prep.volumes import planning
  unknown = set(kinds) - {*volume_annotations.KINDS}
  if unknown or not kinds:
    raise command_line.Refused(
        f'--weak_kinds: unknown {sorted(unknown)}; known: '
        f'{", ".join(volume_annotations.KINDS)}')
  number = grammar.counted(num_volumes, 'volume')
  print(f'Drawing {number} ...', flush=True)
  with tempfile.TemporaryDirectory() as folder:
    source = pathlib.Path(folder, 'phantom3d')
    _save_volumes(source, seed, num_volumes)
    # Small patches, so that two cores train within minutes.
    plan = planning.make_plan(
        _SPACING_MM, [SHAPE] * num_volumes, levels.make_levels('mr', []))
    planning.write_plan(folder, plan._replace(patch_size=PATCH, batch_size=2))
    whole_set.prepare(
        str(source), None if output is None else str(output),
        options=formats.Options(classes=CLASSES), plan=own_set.Plan(
            seed=seed, draw=dividing.Draw(seed=seed, fractions=_FRACTIONS),
            budget=strong_choice.Budget(fraction=strong_fraction),
            simulate=tuple(kinds), fault_fraction=fault_fraction),
        wanted=whole_set.Wanted(
            plan_file=os.path.join(folder, planning.FILE), keep_source=True,
            dataset='phantom3d', slab_slices=slab_slices),
        overwrite=overwrite)


def _save_volumes(folder, seed, number):
  """Writes the images and labels of volumes as NIfTI files."""
  import nibabel  # See `write`.
  for name in ('images', 'labels'):
    (folder / name).mkdir(parents=True)
  for i in range(number):
    for name, array in zip(
        ('images', 'labels'), make_volume(seed, i), strict=True):
      nibabel.save(
          nibabel.Nifti1Image(array, np.diag([*_SPACING_MM, 1.0])),
          folder / name / f'volume_{i:03d}.nii.gz')


def make_volume(seed: int, index: int) -> tuple[np.ndarray, np.ndarray]:
  """Returns intensities, float32, and classes, uint8, of one volume."""
  from scipy import ndimage  # See `write`.
  rng = np.random.default_rng([seed, index])
  label = np.zeros(SHAPE, np.uint8)
  for value, (low, high) in ((1, (7, 11)), (2, (3, 5))):
    for _ in range(rng.integers(1, 3)):
      label[_ellipsoid(rng, low, high)] = value
  image = 0.6 + 0.6 * (label == 1) + 1.2 * (label == 2)
  axis = int(rng.integers(3))
  plate = [slice(4, -4)] * 3
  start = int(rng.integers(4, SHAPE[axis] - 6))
  plate[axis] = slice(start, start + 2)
  plate = tuple(plate)
  image[plate] = np.where(label[plate] > 0, image[plate], 1.2)
  image = ndimage.gaussian_filter(image, 0.7)
  image += 0.25 * ndimage.gaussian_filter(
      rng.normal(size=SHAPE), 0.6) / 0.35 + 0.1 * rng.normal(size=SHAPE)
  gain = 2.0 ** rng.uniform(-1, 1)
  return (100 * gain * np.maximum(image, 0.01)).astype(np.float32), label


def _ellipsoid(rng, low, high):
  """Returns the voxels of an ellipsoid, whose radii lie in [low, high]."""
  radii = rng.uniform(low, high, 3)
  centre = [
      rng.uniform(r, n - 1 - r) for r, n in zip(radii, SHAPE, strict=True)]
  grid = np.indices(SHAPE).reshape(3, -1).T - centre
  turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
  return (np.square(grid @ turn / radii).sum(1) <= 1).reshape(SHAPE)
