"""The type that every reader of volumes returns, whatever the file's format.

A volume is a grid of voxels and an affine that places it in the patient. The
voxels are either in memory or read block by block, so that a volume may be
larger than memory.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np

Block: TypeAlias = tuple[slice, slice, slice]


class Lazy:
  """Voxels that are read when a block of them is asked for.

  `voxels[a:b, c:d, e:f]` reads one block, and `np.asarray(voxels)` reads all.

  Attributes:
    shape: number of voxels along each axis.
    dtype: type of the arrays that are read.
  """

  ndim = 3

  def __init__(
      self,
      shape: tuple[int, int, int],
      dtype: np.dtype,
      read: Callable[[Block], np.ndarray],
  ):
    """Stores how to read the voxels; reads nothing.

    Args:
      shape: number of voxels along each axis.
      dtype: type of the arrays that are read.
      read: function that takes three slices with 0 <= start <= stop <= length
        and step 1, and returns the array of this block.
    """
    self.shape = tuple(shape)
    self.dtype = np.dtype(dtype)
    self._read = read

  def __getitem__(self, block: Block | slice) -> np.ndarray:
    """Returns one block; slices may be left out but need a step of 1."""
    block = block if isinstance(block, tuple) else (block,)
    if len(block) > 3 or not all(isinstance(s, slice) for s in block):
      raise TypeError(f'Expected up to three slices, got {block}.')
    block += (slice(None),) * (3 - len(block))
    whole = []
    for part, length in zip(block, self.shape, strict=True):
      start, stop, step = part.indices(length)
      if step != 1:
        raise ValueError(f'Expected slices of step 1, got {block}.')
      whole.append(slice(start, max(start, stop)))
    return self._read(tuple(whole))

  def __array__(self, dtype=None, copy=None) -> np.ndarray:
    return np.asarray(self[:], dtype)


Voxels: TypeAlias = np.ndarray | Lazy


class Volume(NamedTuple):
  """A volume with its axes in the stored order.

  Attributes:
    voxels: scaled intensities or labels, [A, B, C]; an array, or `Lazy`.
    affine: maps voxel indices to positions in mm, float64 [4, 4]. The positions
      point to the patient's right, front and top (RAS+), as in NIfTI.
    names: class names by value, if the file lists them.
    ignore: the value that means unlabelled, if the file states one.
    affines: all affines that the file gives, `affine` first. If it gives
      positions in a unit other than mm, the affines without conversion to mm
      follow. Empty if there is only `affine`.
    step: smallest difference between two values that the file can store with
      its scaling; 0 if the voxels are not scaled.
    notices: oddities of the file that are not faults, one per string.
    header: the header of a NIfTI file as it was read; it may hold more than
      geometry. None for other formats.
  """

  voxels: Voxels
  affine: np.ndarray
  names: dict[int, str] = {}
  ignore: int | None = None
  affines: tuple[np.ndarray, ...] = ()
  step: float = 0.0
  notices: tuple[str, ...] = ()
  header: Any = None

  @property
  def spacing_mm(self) -> tuple[float, float, float]:
    """Distance between voxels along each axis."""
    return tuple(
        float(v) for v in np.linalg.norm(self.affine[:3, :3], axis=0))
