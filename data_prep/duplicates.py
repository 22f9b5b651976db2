"""Finds pictures that are nearly the same in different splits.

A picture is compared by a gray thumbnail of 32 x 32 without its coarse
brightness (minus a Gaussian of 3 pixels), as a correlation. Copies that were
recompressed, resized by 2, made brighter or noisy correlate by at least 0.985
on polyps and hearts, different videos and patients by at most 0.950; a copy
that was cropped is not found (experiments/results/duplicates.md).
"""

import numpy as np
from PIL import Image
from scipy import ndimage

SIDE = 32
THRESHOLD = 0.98

_SIGMA = 3.0
_BLOCK = 2048
_FLAT = 1.0  # Of a thumbnail's deviation, in gray levels: nothing to compare.


def thumbnail(image: np.ndarray) -> bytes:
  """Returns uint8 [H, W, 1 or 3] as gray bytes of 32 x 32."""
  picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
  picture = picture.convert('L')
  return picture.resize((SIDE, SIDE), Image.Resampling.BOX).tobytes()


def signatures(thumbnails: list[bytes]) -> np.ndarray:
  """Returns unit vectors, float32 [N, 1024]; flat pictures are zero."""
  gray = np.frombuffer(b''.join(thumbnails), np.uint8).reshape(-1, SIDE, SIDE)
  gray = gray.astype(np.float32)
  detail = gray - ndimage.gaussian_filter(gray, (0, _SIGMA, _SIGMA))
  detail -= detail.mean((1, 2), keepdims=True)
  deviation = detail.std((1, 2), keepdims=True)
  detail = np.where(deviation > _FLAT, detail / np.maximum(
      deviation, _FLAT), 0)
  return detail.reshape(len(detail), -1) / SIDE


def near_pairs(
    thumbnails: list[bytes], groups: list[str]
) -> list[tuple[int, int, float]]:
  """Returns pairs of different groups that correlate by over `THRESHOLD`.

  Args:
    thumbnails: one per picture; b'' is compared to none.
    groups: the split of each picture.

  Returns:
    The places of both, the later one first, and their correlation, by place.
    The cost is one product of [N, 1024] matrices per pair of groups.
  """
  members = {}
  for i, (content, group) in enumerate(zip(thumbnails, groups, strict=True)):
    if content:
      members.setdefault(group, []).append(i)
  names = sorted(members)
  pairs = []
  for a, first in enumerate(names):
    for second in names[a + 1 :]:
      pairs += _between(members[first], members[second], thumbnails)
  return sorted(pairs)


def all_pairs(thumbnails: list[bytes]) -> list[tuple[int, int, float]]:
  """Returns such pairs of all pictures, in whatever group."""
  places = [i for i, content in enumerate(thumbnails) if content]
  return sorted({p for p in _between(places, places, thumbnails)
                 if p[0] != p[1]})


def _between(first, second, thumbnails):
  pairs = []
  for i in range(0, len(first), _BLOCK):
    some = first[i : i + _BLOCK]
    left = signatures([thumbnails[k] for k in some])
    for j in range(0, len(second), _BLOCK):
      others = second[j : j + _BLOCK]
      products = left @ signatures([thumbnails[k] for k in others]).T
      for a, b in np.argwhere(products > THRESHOLD):
        pair = sorted((some[a], others[b]), reverse=True)
        pairs.append((*pair, float(products[a, b])))
  return pairs
