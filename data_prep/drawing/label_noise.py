"""Adds faults to label maps, like those that annotators make.

Each fault in `manifest.FAULTS` makes an annotation worthless, as if it had been
made on another frame of the video. All functions are pure; randomness comes
from the generator that they take.
"""

from hybridseg import types
import numpy as np
from scipy import ndimage

from data_prep.drawing import rasterize
from data_prep.shared import geometry

_NUM_TRIES = 60


def add_fault(
    label: np.ndarray, rng: np.random.Generator, *, fault: str
) -> np.ndarray:
  """Adds a fault to a label map.

  Depending on the fault, all objects are shifted by 0.6 to 1.2 times their
  size, shrunk to 13 to 27 % of their area, moved to a random place outside all
  objects, or turned into background ('missing').

  Args:
    label: classes, uint8 [H, W], with at least one object; unlabelled pixels
      stay unlabelled.
    rng: source of all randomness.
    fault: one of `manifest.FAULTS`, but not ''.

  Returns:
    The faulty classes, uint8 [H, W].
  """
  return _FAULT_MAP_FNS[fault](label, rng)


def _paint(label, objects):
  """Paints objects on background; later objects cover earlier ones.

  Args:
    label: the original label map, whose unlabelled pixels stay unlabelled.
    objects: (class, mask) of each object.
  """
  painted = np.zeros_like(label)
  for value, mask in objects:
    painted[mask] = value
  return np.where(label == types.UNLABELLED, label, painted)


def _size(mask):
  """Returns the height and width of the tight box around a mask."""
  x0, y0, x1, y1 = geometry.tight_box(mask)
  return np.array([y1 - y0, x1 - x0])


def _moved(mask, step):
  """Moves a mask by whole pixels, and cuts it off at the image's edges.

  Args:
    mask: bool [H, W].
    step: how many pixels to move down and to the right; both are rounded.
  """
  height, width = mask.shape
  down = int(np.clip(np.rint(step[0]), -height, height))
  right = int(np.clip(np.rint(step[1]), -width, width))
  moved = np.zeros_like(mask)
  moved[max(down, 0) : height + min(down, 0),
        max(right, 0) : width + min(right, 0)] = mask[
            max(-down, 0) : height - max(down, 0),
            max(-right, 0) : width - max(right, 0)]
  return moved


def _largest(mask):
  """Returns the largest 8-connected part of a mask, bool [H, W]."""
  parts, count = ndimage.label(mask, structure=np.ones((3, 3)))
  if count < 2:
    return mask
  return parts == 1 + np.argmax(np.bincount(parts.ravel())[1:])


def _placed(mask, free, rng):
  """Moves an object to a random place, shrinking it if needed.

  Args:
    mask: the object, bool [H, W].
    free: the pixels that the object may cover, bool [H, W].
    rng: source of the random places.

  Returns:
    The object at the first place where it covers only free pixels, or else at
    the place where it covers the fewest pixels that are not free; and whether
    it covers only free pixels.
  """
  height, width = mask.shape
  x0, y0, x1, y1 = map(int, geometry.tight_box(mask))
  crop = mask[y0:y1, x0:x1]
  best, best_overlap = mask, np.inf
  for attempt in range(_NUM_TRIES):
    scale = 1.0 if attempt < 20 else 0.97 ** (attempt - 20)
    small = _largest(rasterize.resize_label(
        crop, size=tuple(max(round(s * scale), 1) for s in crop.shape)))
    top = rng.integers(height - small.shape[0] + 1)
    left = rng.integers(width - small.shape[1] + 1)
    there = (slice(top, top + small.shape[0]),
             slice(left, left + small.shape[1]))
    overlap = (small & ~free[there]).sum() if small.any() else np.inf
    if overlap < best_overlap:
      best, best_overlap = np.zeros_like(mask), overlap
      best[there] = small
    if overlap == 0:
      break
  return best, best_overlap == 0


def _random_disc(free, rng, *, radius):
  """Returns a disc at a random place within the free pixels, bool [H, W].

  If the disc does not fit anywhere, it gets smaller, down to one pixel.
  """
  depth = geometry.depth_inside(free)
  radius = max(min(radius, depth.max() - 1), 0.5)
  centres = np.argwhere(depth > radius)
  row, column = centres[rng.integers(len(centres))]
  y, x = np.ogrid[: free.shape[0], : free.shape[1]]
  return (y - row) ** 2 + (x - column) ** 2 <= radius**2


def _shift_map(label, rng):
  """Moves all objects by 0.6 to 1.2 times their sizes in one direction."""
  objects = geometry.components(label)
  best, best_iou = None, 2.0
  for _ in range(_NUM_TRIES):
    angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(0.6, 1.2)
    direction = distance * np.array([np.sin(angle), np.cos(angle)])
    moved = [(v, _moved(m, direction * _size(m))) for v, m in objects]
    if any(
        after.sum() < 0.3 * before.sum()
        for (_, after), (_, before) in zip(moved, objects, strict=True)):
      continue
    candidate = _paint(label, moved)
    iou = geometry.quality(candidate, label, 1 + max(v for v, _ in objects))
    if iou < best_iou:
      best, best_iou = candidate, iou
    if iou < 0.3:
      break
  return _shrink_map(label, rng) if best is None else best


def _shrink_map(label, rng):
  """Shrinks each object about its middle to 13 to 27 % of its area."""
  share = rng.uniform(0.13, 0.27)
  shrunken = []
  for value, mask in geometry.components(label):
    x0, y0, x1, y1 = map(int, geometry.tight_box(mask))
    old = np.array([y1 - y0, x1 - x0])
    new = np.empty(2, int)
    # The shorter side cannot become shorter than one pixel. Choose the longer
    # side so that the area is still about right.
    short = int(np.argmin(old))
    new[short] = max(round(np.sqrt(share) * old[short]), 1)
    new[1 - short] = max(round(share * old.prod() / new[short]), 1)
    small = _largest(rasterize.resize_label(
        mask[y0:y1, x0:x1], size=tuple(new.tolist())))
    if not small.any():
      small[new[0] // 2, new[1] // 2] = True
    top, left = np.array([y0, x0]) + (old - new) // 2
    there = np.zeros_like(mask)
    there[top : top + new[0], left : left + new[1]] = small
    shrunken.append((value, there))
  return _paint(label, shrunken)


def _misplace_map(label, rng):
  """Moves each object to a random place in the background.

  The new places overlap neither the original objects nor each other, unless no
  background is left.
  """
  free = label == 0
  placed = []
  for value, mask in geometry.components(label):
    candidate, is_free = _placed(mask, free, rng)
    if not is_free and free.any():
      candidate = _random_disc(free, rng, radius=_size(mask).min() / 2)
    free &= ~candidate
    placed.append((value, candidate))
  return _paint(label, placed)


def _empty_map(label, rng):
  """Turns all objects into background."""
  del rng
  return _paint(label, [])


_FAULT_MAP_FNS = {
    'shifted': _shift_map,
    'shrunken': _shrink_map,
    'wrong_place': _misplace_map,
    'missing': _empty_map,
}
