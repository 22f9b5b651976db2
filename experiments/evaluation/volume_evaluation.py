"""Predicts whole volumes in windows, and scores them in 3-D.

Pictures of a volume show the slice with most of its objects.
"""

from collections.abc import Sequence
import functools
from typing import Any, NamedTuple

from data_prep.records import volume_records
from data_prep.volumes import planning
from hybridseg import augmentation
from hybridseg import inference
import numpy as np

from experiments.building import input_pipeline
from experiments.building import parts as parts_lib
from experiments.building import volume_set
from experiments.evaluation import scoring
from experiments.prediction import pictures
from experiments.prediction import volume_windows

TOLERANCE_MM = 2.0  # Tolerance of NSD.


class Scored(NamedTuple):
  """The scores of N volumes on the grids of their files.

  Attributes:
    planes: slice of each predicted volume to show, uint8 [H, W] each.
    scores: maps each metric to its scores, float [N, K], distances in mm.
  """

  planes: list[np.ndarray]
  scores: dict[str, np.ndarray]


class Evaluator:
  """Predicts the volumes of a set with the two networks of a run."""

  def __init__(
      self,
      network: parts_lib.Network,
      dataset: input_pipeline.Dataset,
      *,
      batch_size: int,
  ):
    """Builds the prediction step.

    Args:
      network: networks of the run.
      dataset: set from `volume_set.load`.
      batch_size: number of windows per call, over all devices of this process.
    """
    self._predict_fn = network.mapping.eval(inference.make_predict_step(
        network.apply_fn, image_fn=augmentation.to_float))
    self._dataset, self._batch_size = dataset, batch_size

  def __call__(
      self, params: Any, records: Sequence[volume_set.Record]
  ) -> tuple[list[np.ndarray], np.ndarray]:
    """Predicts volumes, and compares them with `truth` on the records' grid.

    Args:
      params: parameters of the two networks.
      records: the volumes.

    Returns:
      The slice of each prediction to show, and voxel counts as from
      `metrics.confusion_counts`, int64 [N, K, 3].
    """
    planes, counts = [], []
    for record in records:
      labels = volume_windows.labels_of(self.predict(params, record))
      planes.append(plane_of(labels, record))
      counts.append(scoring.count_case(
          labels, record['truth'], num_classes=len(self._dataset.classes)))
    return planes, np.stack(counts)

  def score(
      self, params: Any, records: Sequence[volume_set.Record]
  ) -> Scored:
    """Predicts volumes, and scores them on the grids of their files.

    Args:
      params: parameters of the two networks.
      records: volumes of val or test.
    """
    planes, rows = [], []
    for record in records:
      probs = self.predict(params, record)
      planes.append(plane_of(volume_windows.labels_of(probs), record))
      rows.append(scoring.score_case(
          restore(probs, record, self._dataset.plan),
          record.reference(), num_classes=len(self._dataset.classes),
          spacing=record.stored_spacing_mm, tolerance=TOLERANCE_MM))
    return Scored(
        planes, {name: np.stack([row[name] for row in rows])
                 for name in rows[0]})

  def predict(self, params: Any, record: volume_set.Record) -> np.ndarray:
    """Returns probabilities of a volume, float32 [X, Y, Z, K]."""
    return volume_windows.predict_record(
        functools.partial(self._predict_fn, params), record,
        self._dataset.plan, batch_size=self._batch_size)


def plane_of(voxels: np.ndarray, record: volume_set.Record) -> np.ndarray:
  """Returns the slice of a volume that its pictures show.

  Args:
    voxels: array on the grid of the record, [X, Y, Z].
    record: the volume.

  Returns:
    The slice, [H, W], turned so that its second axis points up.
  """
  axis, number = record.plane
  return np.rot90(np.take(voxels, number, axis))


def restore(
    probs: np.ndarray, record: volume_set.Record, plan: planning.Plan
) -> np.ndarray:
  """Returns the predicted classes on the grid of the volume's file, uint8."""
  more = record.volume.more
  return volume_records.restore(
      probs, more['stored_affine'], plan,
      np.empty(more['stored_shape'], np.uint8))


class View:
  """A volume as a record of its slice to show: image, label and truth are 2-D.

  The image is uint8 [H, W, 1], with the contrast of the slice.
  """

  def __init__(self, record: volume_set.Record):
    """Stores the volume; reads nothing."""
    self._record = record

  def __getitem__(self, name: str) -> Any:
    if name not in ('image', 'label', 'truth'):
      return self._record[name]
    axis, number = self._record.plane
    start, size = [0, 0, 0], list(self._record.volume.shape)
    start[axis], size[axis] = number, 1
    plane = self._record.read(name, start, size)
    plane = np.rot90(plane.reshape(size).squeeze(axis))
    if name != 'image':
      return plane
    return pictures.grey(plane)[..., None]


def to_pictures(dataset: input_pipeline.Dataset) -> input_pipeline.Dataset:
  """Returns a set whose records are pictures; one of slices stays as it is."""
  if dataset.plan is None:
    return dataset
  return dataset._replace(splits={
      name: [View(record) for record in records]
      for name, records in dataset.splits.items()})
