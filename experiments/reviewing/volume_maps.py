"""Label maps of the volumes of a review, kept on the disk slice by slice.

`Predictions` predicts one volume after another in a thread. A volume that
somebody waits for comes first. Its label maps are compressed slice by slice, as
the page shows them, so that a review of many volumes needs little memory and
little disk.
"""

from collections.abc import Callable, Mapping, Sequence
import threading
from typing import Any
import zlib

from data_prep.shared import scratch
from data_prep.volumes import orientation
from hybridseg import types
import numpy as np
from scipy import ndimage

Triple = tuple[int, int, int]


def shown_turn(
    affine: np.ndarray, axis: int, frame: str
) -> orientation.Turn:
  """Returns the turn from the axes of a file to slices, rows and columns.

  Slices are counted as in the file. Rows and columns run as in the pictures of
  the audit: of the other two axes of the frame, the first one to the right, and
  the second one upwards.

  Args:
    affine: affine of the file, float [4, 4].
    axis: axis of the file along which slices are counted.
    frame: frame of the set, see `orientation`.
  """
  turn = orientation.find_turn(affine, frame)
  right, up = (k for k in range(3) if turn.axes[k] != axis)
  return orientation.Turn(
      (axis, turn.axes[up], turn.axes[right]),
      (False, not turn.flips[up], turn.flips[right]))


class Stack:
  """A label map, whose slices lie compressed on the disk."""

  def __init__(self, storage: scratch.Scratch, label: np.ndarray):
    """Stores a label map.

    Args:
      storage: where the slices are kept.
      label: classes, uint8 [N, H, W].
    """
    self._storage, self._size = storage, label.shape[1:]
    self._places = []
    for plane in label:
      content = zlib.compress(np.ascontiguousarray(plane).tobytes(), 1)
      self._places.append((storage.add(content), len(content)))

  def __getitem__(self, number: int) -> np.ndarray:
    """Returns one slice, uint8 [H, W]."""
    content = zlib.decompress(self._storage.read(*self._places[number]))
    return np.frombuffer(content, np.uint8).reshape(self._size)


def inside(
    prediction: np.ndarray, label: np.ndarray, kind: types.AnnotationKind
) -> np.ndarray | None:
  """Returns the prediction inside the region of an annotation of a volume.

  As `suspects.inside` does for pictures; objects are 26-connected.

  Args:
    prediction: predicted classes, uint8 [N, H, W].
    label: the annotation, uint8 [N, H, W], 255 where unknown.
    kind: its kind.

  Returns:
    The prediction there and 0 elsewhere; None for a tag, which has no place.
  """
  if kind == types.AnnotationKind.TAG:
    return None
  if kind not in types.SPARSE_KINDS:
    return np.where(label != 0, prediction, 0).astype(np.uint8)
  found = np.zeros_like(prediction)
  for value in np.intersect1d(prediction, label):
    if value:
      parts, _ = ndimage.label(prediction == value, np.ones((3, 3, 3)))
      touched = np.setdiff1d(parts[label == value], [0])
      found[np.isin(parts, touched)] = value
  return found


class Stopped(Exception):
  """Raised in the thread that predicts, if the review ends."""


class Predictions:
  """The label maps of volumes, which a thread computes one after another."""

  def __init__(
      self,
      names: Sequence[str],
      predict_fn: Callable[[str], Mapping[str, Any]],
  ):
    """Starts the thread.

    Args:
      names: names of the volumes, in the order in which they are predicted.
      predict_fn: returns the label maps of a volume. It may raise `Stopped`;
        another error is raised wherever the volume is asked for.
    """
    self._names, self._predict_fn = names, predict_fn
    self._found, self._wanted = {}, []
    self._change = threading.Condition()
    self._is_closed = False
    self._thread = threading.Thread(target=self._run, daemon=True)
    self._thread.start()

  def _run(self):
    while True:
      with self._change:
        waiting = [n for n in (*self._wanted, *self._names)
                   if n not in self._found]
        if self._is_closed or not waiting:
          return
      try:
        found = self._predict_fn(waiting[0])
      except Stopped:
        return
      except Exception as error:  # The others are predicted all the same.
        found = error
      with self._change:
        self._found[waiting[0]] = found
        self._change.notify_all()

  def get(self, name: str) -> Mapping[str, Any]:
    """Returns the label maps of a volume, once they are there.

    Raises:
      Stopped: if the review ends before.
      Exception: what `predict_fn` has raised.
    """
    with self._change:
      self._wanted.insert(0, name)
      self._change.wait_for(lambda: name in self._found or self._is_closed)
      self._wanted.remove(name)
      if name not in self._found:
        raise Stopped('the review has ended')
      found = self._found[name]
    if isinstance(found, Exception):
      raise found
    return found

  @property
  def is_closed(self) -> bool:
    """Whether the review has ended."""
    return self._is_closed

  def close(self) -> None:
    """Ends the thread, which notices it by `is_closed`."""
    with self._change:
      self._is_closed = True
      self._change.notify_all()
    self._thread.join()
