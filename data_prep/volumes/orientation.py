"""Turns volumes to one frame, and results back to the frame of their file.

Axes are exchanged and reversed, and no voxel is interpolated. A frame is named
by the directions in which its axes point: in 'RAS', the first axis points to
the patient's right, the second to the front and the third to the top.
"""

from typing import NamedTuple

import nibabel
import numpy as np

from data_prep.shared import volume_type

FRAME = 'RAS'


class Turn(NamedTuple):
  """How the axes of a volume become those of another frame.

  Attributes:
    axes: for each new axis, the number of the old axis.
    flips: for each new axis, whether it runs against the old one.
  """

  axes: tuple[int, int, int]
  flips: tuple[bool, bool, bool]


def find_turn(affine: np.ndarray, frame: str = FRAME) -> Turn:
  """Returns the turn from a volume's stored axes to a frame.

  The axes of an oblique volume turn to the directions nearest to them.

  Args:
    affine: affine of the stored axes, float [4, 4].
    frame: three letters, one of each pair L/R, P/A, I/S.

  Raises:
    ValueError: if `frame` is no frame.
  """
  pairs = ('LR', 'PA', 'IS')
  if len(frame) != 3 or not all(
      sum(letter in pair for letter in frame) == 1 for pair in pairs):
    raise ValueError(
        f'Expected one letter each of L/R, P/A and I/S, got {frame!r}.')
  stored = nibabel.io_orientation(affine)
  wanted = nibabel.orientations.axcodes2ornt(frame)
  turn = nibabel.orientations.ornt_transform(stored, wanted)
  axes, flips = [0] * 3, [False] * 3
  for old, (new, sign) in enumerate(turn):
    axes[int(new)], flips[int(new)] = old, bool(sign < 0)
  return Turn(tuple(axes), tuple(flips))


def inverse(turn: Turn) -> Turn:
  """Returns the turn that undoes another turn."""
  axes = tuple(turn.axes.index(old) for old in range(3))
  return Turn(axes, tuple(turn.flips[new] for new in axes))


def turn_voxels(voxels: volume_type.Voxels, turn: Turn) -> volume_type.Voxels:
  """Returns voxels in the order of a turn's new axes; an array gives a view.

  Args:
    voxels: [A, B, C], or [A, B, C, ...] if it is an array.
    turn: the turn.
  """
  if isinstance(voxels, volume_type.Lazy):
    shape = tuple(voxels.shape[old] for old in turn.axes)
    return volume_type.Lazy(
        shape, voxels.dtype, lambda block: _read_turned(voxels, turn, block))
  turned = voxels.transpose(*turn.axes, *range(3, voxels.ndim))
  return turned[tuple(slice(None, None, -1 if f else 1) for f in turn.flips)]


def _read_turned(voxels, turn, block):
  """Reads one block of the turned voxels."""
  stored = [slice(None)] * 3
  for part, old, flip in zip(block, turn.axes, turn.flips, strict=True):
    length = voxels.shape[old]
    stored[old] = slice(
        length - part.stop, length - part.start) if flip else part
  return turn_voxels(voxels[tuple(stored)], turn)


def turn_affine(
    affine: np.ndarray, shape: tuple[int, int, int], turn: Turn
) -> np.ndarray:
  """Returns the affine of turned voxels, float64 [4, 4].

  Args:
    affine: affine of the old axes, float [4, 4].
    shape: lengths of the old axes.
    turn: the turn.
  """
  to_old = np.zeros((4, 4))
  to_old[3, 3] = 1
  for new, (old, flip) in enumerate(zip(turn.axes, turn.flips, strict=True)):
    to_old[old, new] = -1 if flip else 1
    to_old[old, 3] = shape[old] - 1 if flip else 0
  return np.asarray(affine, np.float64) @ to_old


def turn_volume(
    volume: volume_type.Volume, turn: Turn
) -> volume_type.Volume:
  """Returns a volume in another frame; only its `affine` is kept."""
  return volume._replace(
      voxels=turn_voxels(volume.voxels, turn), affines=(), header=None,
      affine=turn_affine(volume.affine, volume.voxels.shape, turn))


def obliqueness_deg(affine: np.ndarray) -> float:
  """Returns the largest angle between an axis and its nearest direction.

  Args:
    affine: affine of a volume, float [4, 4].

  Returns:
    The angle between an axis of the volume and the axis of the patient that
    `find_turn` takes it for, in degrees.
  """
  directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
  taken = nibabel.io_orientation(affine)[:, 0].astype(int)
  cosines = np.abs(directions[taken, range(3)])
  return float(np.degrees(np.arccos(np.clip(cosines.min(), 0, 1))))


def shear_deg(affine: np.ndarray) -> float:
  """Returns by how many degrees the axes miss right angles with each other.

  Args:
    affine: affine of a volume, float [4, 4].
  """
  directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
  cosines = np.abs(directions.T @ directions - np.eye(3))
  return float(np.degrees(np.arcsin(np.clip(cosines.max(), 0, 1))))
