"""Places planes, on which something is drawn, in the grid of a volume.

DICOM stores segmentations frame by frame and contours plane by plane, each with
its position in the patient. Most planes lie on slices of the image.
"""

from typing import NamedTuple

import numpy as np

from data_prep.shared import pixels

MAX_OFF = 0.25  # Largest distance from a slice or pixel centre, in voxels.


class Grid(NamedTuple):
  """The grid of a volume.

  Attributes:
    affine: maps voxel indices to mm, RAS+.
    shape: number of voxels along each axis.
  """

  affine: np.ndarray
  shape: tuple[int, int, int]


class Placement(NamedTuple):
  """Where a plane lies in a grid.

  Attributes:
    axes: axes of the grid along the rows and columns of the plane.
    signs: whether they run in the direction of the plane's (1) or against (-1).
    start: index in the grid of the first pixel of the plane.
  """

  axes: tuple[int, int]
  signs: tuple[int, int]
  start: tuple[int, int, int]

  @property
  def across(self) -> int:
    """The axis of the grid across the plane."""
    return 3 - sum(self.axes)


def to_indices(points: np.ndarray, affine: np.ndarray) -> np.ndarray:
  """Returns the voxel indices, as floats, of points in mm, [N, 3]."""
  return np.linalg.solve(
      affine[:3, :3], (points - affine[:3, 3]).T).T


def place(
    steps: np.ndarray,
    position: np.ndarray,
    size: tuple[int, int],
    grid: Grid,
    shown: str,
) -> Placement:
  """Finds the voxels under the pixels of a plane.

  Args:
    steps: step of one row and of one column in mm, [2, 3], RAS+.
    position: centre of the first pixel in mm, RAS+.
    size: number of rows and columns of the plane.
    grid: the grid.
    shown: name of the file, for messages.

  Returns:
    The placement; parts of the plane, or all of it, may lie outside of the
    grid.

  Raises:
    pixels.WrongFile: if the plane is not parallel to two axes of the grid, has
      another spacing, or lies between the voxels.
  """
  moves = np.linalg.solve(grid.affine[:3, :3], steps.T).T
  whole = np.rint(moves).astype(int)
  fix = 'draw on the images themselves, or resample'
  if np.abs(moves - whole).max() > 1e-2 or (
      np.abs(whole).sum(1) != 1).any() or (np.abs(whole).sum(0) > 1).any():
    raise pixels.WrongFile(
        'direction or spacing of the segments is not that of the image', shown,
        fix)
  corners = np.stack([position, position + (size[0] - 1) * steps[0]
                      + (size[1] - 1) * steps[1]])
  first, last = to_indices(corners, grid.affine)
  start = np.rint(first).astype(int)
  end = start + (size[0] - 1) * whole[0] + (size[1] - 1) * whole[1]
  off = np.abs([first - start, last - end]).max(0)
  axes = np.abs(whole).argmax(1)
  across = 3 - axes.sum()
  if not -0.5 <= first[across] <= grid.shape[across] - 0.5:
    off[across] = 0  # It lies outside, no matter where exactly.
  off = off.max()
  if off > MAX_OFF:
    raise pixels.WrongFile(
        'segments lie between the voxels of the image',
        f'{shown}: {min(off, 99):.2f} voxels off', fix)
  return Placement(
      tuple(axes.tolist()), tuple(whole[range(2), axes].tolist()),
      tuple(start.tolist()))


def cut(
    mask: np.ndarray, placement: Placement, shape: tuple[int, int, int]
) -> tuple[tuple[slice, slice, slice], np.ndarray] | None:
  """Returns the part of a plane that lies in a grid.

  Args:
    mask: the plane, [rows, columns].
    placement: its placement.
    shape: shape of the grid.

  Returns:
    The block of the grid, and the pixels of the plane in the shape of this
    block; None if no pixel lies in the grid.
  """
  block, flips = [slice(0)] * 3, []
  k = placement.start[placement.across]
  if not 0 <= k < shape[placement.across]:
    return None
  block[placement.across] = slice(k, k + 1)
  parts = []
  for axis, sign, length in zip(
      placement.axes, placement.signs, mask.shape, strict=True):
    first = placement.start[axis]
    low = first if sign > 0 else first - length + 1
    start, stop = max(low, 0), min(low + length, shape[axis])
    if start >= stop:
      return None
    block[axis] = slice(start, stop)
    flips.append(sign)
    parts.append(slice(start - low, stop - low))
  part = mask[:: flips[0], :: flips[1]][tuple(parts)]
  if placement.axes[0] > placement.axes[1]:
    part = part.T
  return tuple(block), np.expand_dims(part, placement.across)
