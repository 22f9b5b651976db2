"""A tiny prepared set of whole volumes, for tests of experiments."""

import contextlib
import functools
import io
import os
import pathlib
import tempfile

from data_prep import formats
from data_prep.sets import own_set
from data_prep.sets import whole_set
from data_prep.splits import dividing
from data_prep.splits import strong_choice
from data_prep.volumes import levels
from data_prep.volumes import planning
from hybridseg import inference
import nibabel
import numpy as np

from experiments.configs import volumes as volumes_config

PATCH = (6, 8, 8)
_SPACING_MM = (1.0, 1.0, 2.0)
_FOLDERS = []


def label_of(k: int) -> np.ndarray:
  """Returns the classes of volume `k`, of 7 or 9 slices 2 mm apart."""
  label = np.zeros((10, 12, 7 + 2 * (k % 2)), np.uint8)
  label[2:7, 3:9, 1 + k % 3 : 6] = 1
  label[3:5, 4 + k % 4 : 7 + k % 4, 3:5] = 2
  return label


def image_of(k: int) -> np.ndarray:
  """Returns the intensities of volume `k`."""
  label = label_of(k)
  noise = np.random.default_rng(k).normal(size=label.shape)
  return (100 + 50.0 * label + 5 * noise).astype(np.float32)


@functools.cache
def data_dir(slab_slices: int | None = None) -> str:
  """Returns the folder of a prepared set, which each process writes once.

  With `slab_slices`, its instances are slabs, see `whole_set.Wanted`. It has 12
  training volumes, of which 4 have exact labels, and 3 each for val and test.
  The first axis of every third volume is stored against the frame, and every
  fifth volume has slices 1 mm apart.
  """
  folder = tempfile.TemporaryDirectory(prefix='hybridseg_volumes_')
  _FOLDERS.append(folder)  # Removed when the process ends.
  source = pathlib.Path(folder.name, 'tiny')
  for k in range(18):
    for name, array in (('images', image_of(k)), ('labels', label_of(k))):
      affine = np.diag([*_SPACING_MM, 1.0])
      if k % 5 == 4:
        array, affine[2, 2] = np.repeat(array, 2, 2), 1.0
      if k % 3 == 0:
        array, affine[0, 0] = array[::-1], -1.0
      (source / name).mkdir(parents=True, exist_ok=True)
      nibabel.save(
          nibabel.Nifti1Image(array, affine), source / name / f'v{k:02d}.nii')
  plan = planning.make_plan(
      _SPACING_MM, [(10, 12, 8)] * 12, levels.make_levels('mr', []))
  planning.write_plan(folder.name, plan._replace(
      patch_size=PATCH, features=(4, 4), batch_size=4))
  output = os.path.join(folder.name, 'set')
  with contextlib.redirect_stdout(io.StringIO()):
    whole_set.prepare(
        str(source), output, options=formats.Options(), overwrite=False,
        plan=own_set.Plan(
            draw=dividing.Draw(fractions=(4 / 6, 1 / 6, 1 / 6)),
            budget=strong_choice.Budget(fraction=0.34),
            simulate=('slices', 'box'), fault_fraction=0.5),
        wanted=whole_set.Wanted(
            plan_file=os.path.join(folder.name, planning.FILE),
            slab_slices=slab_slices))
  return output


def source_dir() -> pathlib.Path:
  """Returns the folder of the files of the set: images/ and labels/."""
  return pathlib.Path(data_dir()).with_name('tiny')


def run_exactly(windows: np.ndarray) -> inference.Prediction:
  """Predicts windows like networks that know the intensities of classes."""
  deviations = 15 * windows[..., 0] - 5
  labels = (deviations > 1).astype(int) + (deviations > 3.6)
  return inference.Prediction(
      np.eye(3, dtype=np.float32)[labels], np.float32(deviations > 1))


def debug_config(variant: str = 'debug', **changes):
  """Returns a config of volumes for the tiny set, not locked.

  Args:
    variant: variant of the config.
    **changes: new value of each key; a dict changes the keys of a section.
  """
  config = volumes_config.get_config(variant)
  config = config.copy_and_resolve_references().unlock()
  config.input.data_dir = data_dir()
  config.model.options.features = ()
  config.input.weak_batch_size = 8  # An even number on each of four devices.
  config.update(changes)
  return config
