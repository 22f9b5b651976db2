"""Finds pictures in different splits that are nearly the same.

A picture is compared by a gray thumbnail of 32 x 32. The comparison uses the
cosine transform of its middle details (a difference of Gaussians of 1 and 3
pixels, under a window that fades the border). The likeness of two pictures is
their largest correlation, in absolute value, over

- the eight ways to mirror and turn one of them by 90 degrees, which in a cosine
  transform are changes of sign and a transposition;
- a negative, which is a change of sign;
- small shifts, zooms and turns, to first order: one picture is correlated with
  the span of the other and its four derivatives (Simard et al., "Efficient
  pattern recognition using a new transformation distance", 1993), and the
  lesser value of both directions counts.

On polyps and hearts, copies that were recompressed, resized, made brighter or
noisy, inverted, mirrored, turned by 90 or 3 degrees, shifted by up to 2 %,
zoomed or cropped by 2 % have a likeness of at least 0.95, and pictures of
different videos and patients one of at most 0.90
(experiments/results/duplicates.md).
"""

from collections.abc import Iterator, Sequence
import pathlib
import re
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy import ndimage

SIDE = 32
THRESHOLD = 0.94

_FINE, _COARSE = 1.0, 3.0  # Widths of the Gaussians, in thumbnail pixels.
_FADED = 0.3  # Share of the side over which the window rises from 0.
_KEPT = 16  # Frequencies of the cosine transform, along each axis.
# Pairs whose plain correlation is lower are skipped, as no span would lift them
# to the threshold: copies that are shifted by 2 % have 0.81.
_SCREEN = 0.75
_FLAT = 0.5  # Deviation, in gray levels, below which there are no details.
_BLOCK = 1024
_SPLIT_FOLDER = re.compile(
    r'(images?)?[-_]?(tr|train(ing)?|va|val(id(ation)?)?|ts|test(ing)?)'
    r'([-_]?images?)?', re.IGNORECASE)
_NUM_PAIRS = 1000  # Compared at once.
# How mirroring (not, up to down, left to right, both) changes the signs of a
# picture's frequencies that are (even, even), (even, odd), (odd, even), (odd,
# odd).
_MIRRORS = np.array(
    [[1, 1, 1, 1], [1, 1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1]], np.float32)


def thumbnail(image: np.ndarray) -> bytes:
  """Returns an image, uint8 [H, W, 1 or 3], as 32 x 32 bytes of gray."""
  picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
  picture = picture.convert('L')
  return picture.resize((SIDE, SIDE), Image.Resampling.BOX).tobytes()


class Pair(NamedTuple):
  """Two pictures that are alike.

  Attributes:
    later: place of the later one.
    earlier: place of the earlier one.
    likeness: their likeness, in (`THRESHOLD`, 1].
  """

  later: int
  earlier: int
  likeness: float


def likeness(
    first: Sequence[bytes], second: Sequence[bytes]
) -> np.ndarray:
  """Returns the likeness of each of N pictures to its partner, float [N]."""
  return _likeness(_spans(first), _spans(second))


def near_pairs(thumbnails: list[bytes], groups: list[str]) -> list[Pair]:
  """Returns pairs from different groups with a likeness above `THRESHOLD`.

  Args:
    thumbnails: one per picture; b'' is compared with none.
    groups: the split of each picture.

  Returns:
    The pairs, sorted by place. The cost is two products of [N, 256] matrices
    per pair of groups, and little more for each pair that these leave.
  """
  members = {}
  for i, (content, group) in enumerate(zip(thumbnails, groups, strict=True)):
    if content:
      members.setdefault(group, []).append(i)
  names = sorted(members)
  plain = _plain(thumbnails)
  pairs = []
  for a, first in enumerate(names):
    for second in names[a + 1 :]:
      pairs += _between(members[first], members[second], plain, thumbnails)
  return sorted(pairs)


def all_pairs(thumbnails: list[bytes]) -> list[Pair]:
  """Returns such pairs among all pictures, whatever their group."""
  places = [i for i, content in enumerate(thumbnails) if content]
  return sorted(_between(places, places, _plain(thumbnails), thumbnails))


def neighbours(
    names: Sequence[str], groups: Sequence[str]
) -> list[tuple[int, int]]:
  """Returns the places of consecutive names in different groups.

  Names are consecutive if their last numbers differ by 1, with any leading
  zeros: `p1/frame_9.png` and `p1/frame_10.png`. Folders named after a split are
  ignored, so that `train/1.png` and `test/2.png` are consecutive. If numbers
  begin anew in each split, no pair is returned.

  Args:
    names: paths of the pictures, with slashes.
    groups: the split of each picture.
  """
  places = {}
  for i, name in enumerate(names):
    path = pathlib.PurePosixPath(name)
    found = re.fullmatch(r'(.*?)(\d{1,18})(\D*)', path.stem, re.DOTALL)
    if found:
      folders = tuple(
          f for f in path.parent.parts if not _SPLIT_FOLDER.fullmatch(f))
      key = folders, found[1], int(found[2]), found[3]
      places.setdefault(key, []).append(i)
  pairs = []
  for (folders, stem, number, end), here in places.items():
    after = places.get((folders, stem, number + 1, end), [])
    if len(here) == len(after) == 1 and groups[here[0]] != groups[after[0]]:
      pairs.append((here[0], after[0]))
  return pairs


def _between(first, second, plain, thumbnails):
  pairs = []
  for i in range(0, len(first), _BLOCK):
    some = np.array(first[i : i + _BLOCK])
    for j in range(0, len(second), _BLOCK):
      others = np.array(second[j : j + _BLOCK])
      if first is second and j > i:
        continue
      found = _screen(plain[some], plain[others]) > _SCREEN
      if first is second:  # Take each pair once, and no picture with itself.
        found &= some[:, None] > others
      left, right = np.nonzero(found)
      pairs += _compare(some[left], others[right], thumbnails)
  return pairs


def _compare(left, right, thumbnails) -> Iterator[Pair]:
  """Yields the candidates that are alike, as pairs of places."""
  for start in range(0, len(left), _NUM_PAIRS):
    both = np.stack([x[start : start + _NUM_PAIRS] for x in (left, right)])
    used, index = np.unique(both, return_inverse=True)
    spans = _spans([thumbnails[k] for k in used])
    index = index.reshape(both.shape)
    alike = _likeness(spans[index[0]], spans[index[1]])
    for n in np.flatnonzero(alike > THRESHOLD):
      earlier, later = sorted(both[:, n].tolist())
      yield Pair(later, earlier, float(alike[n]))


def _plain(thumbnails):
  """Returns the pictures without derivatives, unit vectors [N, 256]."""
  plain = np.zeros((len(thumbnails), _KEPT**2), np.float32)
  there = [i for i, content in enumerate(thumbnails) if content]
  for start in range(0, len(there), _BLOCK):
    some = there[start : start + _BLOCK]
    plain[some] = _unit(_transform(_details([thumbnails[i] for i in some])))
  return plain


def _spans(thumbnails):
  """Returns each picture and its four derivatives, orthonormal, [N, 5, 256].

  The picture comes first. For a flat picture, all are zero.
  """
  details = _details(thumbnails)
  down, right = np.gradient(details, axis=(1, 2))
  x = np.arange(SIDE, dtype=np.float32) - (SIDE - 1) / 2
  y = x[:, None]
  spans = [_unit(_transform(details))]
  # Shifts, a turn and a zoom.
  for change in (right, down, x * down - y * right, x * right + y * down):
    rest = _transform(change)
    for known in spans:  # Remove what the others span already.
      rest = rest - np.sum(rest * known, -1, keepdims=True) * known
    spans.append(_unit(rest) * spans[0].any(-1, keepdims=True))
  return np.stack(spans, axis=1)


def _details(thumbnails):
  gray = np.frombuffer(b''.join(thumbnails), np.uint8).reshape(-1, SIDE, SIDE)
  gray = gray.astype(np.float32)
  blurred = (ndimage.gaussian_filter(gray, (0, sigma, sigma))
             for sigma in (_FINE, _COARSE))
  return next(blurred) - next(blurred)


def _transform(pictures):
  """Returns windowed cosine transforms [N, 256], by even and odd frequency."""
  edge = (np.arange(SIDE, dtype=np.float32) + 0.5) / SIDE
  rise = np.minimum(1, np.minimum(edge, 1 - edge) / _FADED)
  window = np.sin(rise * np.pi / 2) ** 2
  frequency = np.arange(_KEPT)[:, None]
  cosines = np.cos(np.pi * frequency * edge) * np.sqrt(2 / SIDE)
  cosines[0] /= np.sqrt(2)
  cosines = (cosines * window).astype(np.float32)
  found = cosines @ pictures @ cosines.T
  found[:, 0, 0] = 0  # The mean.
  found = found.reshape(-1, _KEPT // 2, 2, _KEPT // 2, 2)
  return found.transpose(0, 2, 4, 1, 3).reshape(len(found), -1)


def _unit(vectors):
  length = np.linalg.norm(vectors, axis=-1, keepdims=True)
  return np.where(length > _FLAT * SIDE, vectors / np.maximum(length, 1e-6), 0)


def _turned(vectors):
  """Returns the transforms of the transposed pictures, as [..., 256]."""
  half = _KEPT // 2
  found = vectors.reshape(-1, 2, 2, half, half).transpose(0, 2, 1, 4, 3)
  return found.reshape(vectors.shape)


def _screen(first, second):
  """Returns a bound on the correlation over all views, float [N, M].

  A view changes the signs of the four parts, and half of all combinations of
  signs are views. The sum of the parts' absolute values is therefore seldom
  more than the best view, and takes half the time.
  """
  best = np.zeros((len(first), len(second)), np.float32)
  total, part = np.empty_like(best), np.empty_like(best)
  quarter = _KEPT**2 // 4
  for other in (second, _turned(second)):
    total.fill(0)
    for k in range(0, _KEPT**2, quarter):
      # Reuse the memory: allocating it would take as long as the product.
      np.matmul(
          first[:, k : k + quarter], other[:, k : k + quarter].T, out=part)
      total += np.abs(part, out=part)
    np.maximum(best, total, out=best)
  return best


def _views(vectors):
  """Returns the eight mirrored and turned views of pictures, [N, 8, 256]."""
  both = np.stack([vectors, _turned(vectors)], axis=1)
  parts = both.reshape(len(vectors), 2, 1, 4, -1) * _MIRRORS[:, :, None]
  return parts.reshape(len(vectors), 8, -1)


def _likeness(first, second):
  """Returns the likeness of pairs, float [N], from spans [N, 5, 256]."""
  found = []
  for span, other in ((first, second), (second, first)):
    views = _views(other[:, 0])
    plain = np.abs(np.einsum('nd,nvd->nv', span[:, 0], views))
    view = np.take_along_axis(
        views, plain.argmax(1)[:, None, None], axis=1)[:, 0]
    found.append(np.linalg.norm(np.einsum('nkd,nd->nk', span, view), axis=1))
  return np.minimum(*found)
