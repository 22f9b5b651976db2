"""Predicts the files of whole volumes, for runs that were trained on these.

A file is turned, resampled and mapped to levels as the plan of the training set
says, and predicted in windows. The result is resampled to the grid of the file.
Arrays that are large lie on the disk.
"""

from typing import NamedTuple

from data_prep.formats import volumes
from data_prep.records import volume_records
from data_prep.shared import pixels
from data_prep.shared import volume_type
from data_prep.volumes import levels as levels_lib
import numpy as np

from experiments import painting
from experiments.prediction import pictures
from experiments.prediction import predictor as predictor_lib
from experiments.prediction import volume_windows


class Predicted(NamedTuple):
  """A file with its prediction, along the stored axes of the file.

  Attributes:
    volume: the file; its voxels are lazy.
    mask: predicted classes, uint8 [A, B, C].
    probs: prediction from `volume_windows.predict` on the grid of the plan.
    levels: the levels that the networks saw, uint16 on the same grid.
  """

  volume: volume_type.Volume
  mask: np.ndarray
  probs: np.ndarray
  levels: np.ndarray


def predict_file(
    predictor: predictor_lib.Predictor,
    name: str,
    folder: pixels.Folder,
    *,
    overlap: float,
    scratch: str,
) -> Predicted:
  """Reads and predicts one file.

  Args:
    predictor: networks of a run on whole volumes.
    name: path of the file below the folder.
    folder: folder that contains the file.
    overlap: share of a window that its neighbour also covers.
    scratch: folder on whose disk large arrays lie.

  Raises:
    pixels.WrongFile: if the file cannot be used.
  """
  shown, plan = pixels.tail(name), predictor.dataset.plan
  if not pictures.is_volume(name):
    raise pixels.WrongFile(
        'a picture, but the networks were trained on whole volumes', shown,
        'give volumes as .nii or .nii.gz')
  pixels.check_file(name, 'volume', folder)
  volume = volumes.open_nifti(folder.root / name, folder=scratch)
  statistics = levels_lib.statistics(volume.voxels)
  volume_records.check(volume, statistics, shown)
  levels = volume_windows.levels_of(volume, statistics, plan, folder=scratch)
  probs = volume_windows.predict(
      predictor.run_fn, volume_windows.reader(levels), levels.shape,
      window=plan.patch_size, batch_size=predictor.batch_size, overlap=overlap,
      folder=scratch)
  mask = volume_records.restore(
      probs[..., :-1], volume.affine, volume.voxels.shape, plan)
  return Predicted(volume, mask, probs, levels)


def probabilities(
    predictor: predictor_lib.Predictor, found: Predicted, *, scratch: str
) -> np.ndarray:
  """Returns the probabilities of a file, float32 [A, B, C, K]."""
  number = found.probs.shape[-1] - 1
  result = volume_windows.empty(
      (*found.mask.shape, number), np.float32, folder=scratch)
  for k in range(number):
    result[..., k] = _restored(predictor, found, k)
  return result


def uncertainty(
    predictor: predictor_lib.Predictor, found: Predicted
) -> np.ndarray:
  """Returns the disagreement of the networks, float32 [A, B, C]."""
  return _restored(predictor, found, -1)


def _restored(predictor, found, channel):
  return volume_records.restore_map(
      found.probs[..., channel], found.volume.affine, found.mask.shape,
      predictor.dataset.plan)


def overlay(found: Predicted) -> np.ndarray:
  """Paints the mask over the slice of the grid with the largest mask.

  The slice lies across the last axis of the grid.

  Returns:
    The picture, uint8 [H, W, 3].
  """
  labels = [found.probs[:, :, k, :-1].argmax(-1).astype(np.uint8)
            for k in range(found.probs.shape[2])]
  k = int(np.argmax([np.count_nonzero(label) for label in labels]))
  grey = pictures.grey(found.levels[:, :, k])
  painted = painting.overlay(np.rot90(grey)[..., None], np.rot90(labels[k]))
  return np.round(255 * painted).astype(np.uint8)
