"""Predicts the files of whole volumes, for runs that were trained on these.

A file is turned, resampled and mapped to levels as the plan of the training set
says, and predicted in windows. The result is resampled to the grid of the file.
Arrays that are large lie on the disk.
"""

from collections.abc import Callable
import math
from typing import NamedTuple

from data_prep.formats import volume_files
from data_prep.records import volume_records
from data_prep.shared import pixels
from data_prep.shared import scratch as scratch_lib
from data_prep.shared import volume_type
from data_prep.volumes import levels as levels_lib
from data_prep.volumes import orientation
import numpy as np

from experiments import painting
from experiments.prediction import input_files
from experiments.prediction import pictures
from experiments.prediction import predictor as predictor_lib
from experiments.prediction import volume_needs
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
    inputs: input_files.Inputs,
    *,
    overlap: float,
    scratch: str,
    num_maps: int = 0,
    after_batch: Callable[[], None] = lambda: None,
) -> Predicted:
  """Reads and predicts one file or series, and states what that takes.

  Args:
    predictor: networks of a run on whole volumes.
    name: its name among the inputs.
    inputs: the inputs.
    overlap: share of a window that its neighbour also covers.
    scratch: folder on whose disk large arrays lie.
    num_maps: how many float32 maps of the file's size will be written.
    after_batch: is called after each batch of windows; it may raise an error.

  Raises:
    pixels.WrongFile: if the file cannot be used.
  """
  shown, plan = pixels.tail(name), predictor.dataset.plan
  volume = _open(name, inputs, scratch)
  statistics = levels_lib.statistics(volume.voxels)
  volume_records.check(volume, statistics, shown)
  levels = volume_windows.levels_of(volume, statistics, plan, folder=scratch)
  voxels = math.prod(volume.voxels.shape)
  state = volume_needs.Statement(
      predictor, name if name.isprintable() else ascii(name), levels.shape,
      overlap=overlap, file_bytes=voxels * volume.voxels.dtype.itemsize,
      result_bytes=[voxels] + [4 * voxels] * num_maps)

  def told(number):
    state(number)
    after_batch()

  probs = volume_windows.predict(
      predictor.run_fn, volume_windows.reader(levels), levels.shape,
      window=plan.patch_size, batch_size=predictor.batch_size, overlap=overlap,
      folder=scratch, told=told)
  mask = volume_records.restore(
      probs[..., :-1], volume.affine, plan, volume_windows.empty(
          volume.voxels.shape, np.uint8, folder=scratch))
  return Predicted(volume, mask, probs, levels)


def _open(name, inputs, scratch):
  """Opens a volume, whose voxels stay on the disk."""
  if name in inputs.wrong:
    raise inputs.wrong[name]
  if name in inputs.series:
    return _open_series(inputs.series[name], inputs.folder, scratch)
  if not volume_files.is_volume(name):
    raise pixels.WrongFile(
        'a picture, but the networks were trained on whole volumes',
        pixels.tail(name), 'give volumes, such as .nii.gz or a DICOM series')
  pixels.check_file(name, 'volume', inputs.folder)
  return volume_files.read(
      inputs.folder.root / name, is_lazy=True, folder=scratch)


def _open_series(series, folder, scratch):
  """Copies a series to one array, because each block would read its files.

  Its axes are columns, rows and slices, as other programs read a series.
  """
  volume = series.index.open(folder.root / series.name)
  volume = orientation.turn_volume(
      volume, orientation.Turn((1, 0, 2), (False,) * 3))._replace(
          notices=volume.notices)
  array = volume_windows.empty(
      volume.voxels.shape, volume.voxels.dtype, folder=scratch)
  for start, stop in levels_lib.slabs(array.shape):
    with pixels.explaining(
        'the series cannot be read', pixels.tail(series.name), 'copy it again'):
      array[:, :, start:stop] = volume.voxels[:, :, start:stop]
  return volume._replace(voxels=array)


def mean_uncertainty(found: Predicted) -> float:
  """Returns the mean disagreement of the networks on the grid of the plan."""
  shape, total = found.probs.shape[:3], 0.0
  for start, stop in levels_lib.slabs(shape):
    total += float(found.probs[:, :, start:stop, -1].sum(dtype=np.float64))
    scratch_lib.release(found.probs)
  return total / math.prod(shape)


def contents(
    predictor: predictor_lib.Predictor, found: Predicted, *, scratch: str
) -> dict[str, Callable[[], np.ndarray]]:
  """Returns functions that make each kind of result, by its folder.

  Probabilities are float32 [A, B, C, K], the uncertainty float32 [A, B, C].

  Args:
    predictor: networks that predicted the file.
    found: the file.
    scratch: folder on whose disk large arrays lie.
  """
  number = found.probs.shape[-1] - 1

  def probabilities():
    result = volume_windows.empty(
        (*found.mask.shape, number), np.float32, folder=scratch)
    for k in range(number):
      _restore(predictor, found, k, result[..., k])
    return result

  return {
      'masks': lambda: found.mask,
      'probabilities': probabilities,
      'uncertainty': lambda: _restore(
          predictor, found, -1, volume_windows.empty(
              found.mask.shape, np.float32, folder=scratch)),
      'overlays': lambda: overlay(found)}


def _restore(predictor, found, channel, out):
  return volume_records.restore_map(
      found.probs[..., channel], found.volume.affine, predictor.dataset.plan,
      out)


def overlay(found: Predicted) -> np.ndarray:
  """Paints the mask over the slice of the grid with the largest mask.

  The slice lies across the last axis of the grid.

  Returns:
    The picture, uint8 [H, W, 3].
  """
  labels = volume_windows.labels_of(found.probs[..., :-1])
  k = int(np.argmax([np.count_nonzero(label) for label in labels.T]))
  grey = pictures.grey(found.levels[:, :, k])
  painted = painting.overlay(
      np.rot90(grey)[..., None], np.rot90(labels[:, :, k]))
  return np.round(255 * painted).astype(np.uint8)
