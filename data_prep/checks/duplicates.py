"""Finds pictures in different splits that are nearly the same.

Each picture is represented by the details of middle size in a gray thumbnail of
32 x 32 pixels: the difference between a Gaussian blur of 1 pixel and one of 3
pixels, faded out towards the border. The cosine transforms of these details are
compared. The likeness of two pictures is their largest correlation, in absolute
value, over

- the eight ways to mirror one of them or turn it by multiples of 90 degrees,
  which change signs of a cosine transform and transpose it;
- its negative, which changes all signs;
- small shifts, zooms and turns, to first order: one picture is correlated with
  the span of the other picture and its four derivatives (Simard et al.,
  "Efficient pattern recognition using a new transformation distance", 1993).
  This is done in both directions, and the smaller value counts.

On polyps and hearts, copies that were recompressed, resized, made brighter or
noisy, inverted, mirrored, turned by 90 or 3 degrees, shifted by up to 2 %,
zoomed or cropped by 2 % have a likeness of at least 0.95, while pictures of
different videos and patients have at most 0.90
(experiments/results/duplicates.md).
"""

import array
from collections.abc import Iterator, Sequence
import functools
import hashlib
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy import ndimage

from data_prep.checks import pivots
from data_prep.shared import scratch

SIDE = 32
THRESHOLD = 0.94

_FINE, _COARSE = 1.0, 3.0  # Widths of the Gaussians, in thumbnail pixels.
_FADED = 0.3  # Share of the side over which the window rises from 0 to 1.
_KEPT = 16  # Number of frequencies along each axis that are compared.
# Pairs whose correlation without derivatives is lower than this are skipped,
# since the derivatives would not raise it to the threshold: even copies that
# are shifted by 2 % have a correlation of 0.81.
_SCREEN = 0.75
# A picture counts as flat if the standard deviation of its details is lower
# than this, in gray levels.
_FLAT = 0.5
_BLOCK = 1024  # Number of pictures whose correlations are computed at once.
_NUM_PAIRS = 1000  # Number of pairs that are compared at once.
# Signs by which mirroring multiplies the frequencies of a picture. Columns:
# frequencies that are (even, even), (even, odd), (odd, even), (odd, odd) along
# (y, x). Rows: the four ways to mirror along neither, one or both axes.
_MIRRORS = np.array(
    [[1, 1, 1, 1], [1, 1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1]], np.float32)


def thumbnail(image: np.ndarray | Image.Image) -> bytes:
  """Returns a gray thumbnail of an image, as 32 x 32 bytes.

  Args:
    image: uint8 [H, W, 1 or 3], or a picture of mode L or RGB.
  """
  if isinstance(image, np.ndarray):
    image = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
  picture = image.convert('L')
  return picture.resize((SIDE, SIDE), Image.Resampling.BOX).tobytes()


class Thumbnails(Sequence):
  """Thumbnails in a file, which vanishes with the object."""

  def __init__(self):
    self._file = scratch.Scratch()
    self._places = array.array('q')

  def add(self, content: bytes) -> None:
    """Adds a thumbnail, or b'' for a picture that has none."""
    self._places.append(self._file.add(content) if content else -1)

  def __len__(self) -> int:
    return len(self._places)

  def __getitem__(self, index):
    place = self._places[index]
    return b'' if place < 0 else self._file.read(place, SIDE**2)


class Pair(NamedTuple):
  """Two pictures that are alike.

  Attributes:
    later: index of the later picture in the list.
    earlier: index of the earlier picture.
    likeness: their likeness, in (`THRESHOLD`, 1].
  """

  later: int
  earlier: int
  likeness: float


def near_pairs(
    thumbnails: Sequence[bytes], groups: Sequence[str]
) -> list[Pair]:
  """Returns the pairs of pictures from different groups that are alike.

  Their likeness is above `THRESHOLD`. Comparing two groups of N and M pictures
  takes two products of matrices [N, 256] and [256, M], and a little more time
  for each pair that may be alike. Of more than `pivots.EXHAUSTIVE` pictures,
  only those that share a pivot are compared, so that a few pairs may be missed,
  see `pivots`. A temporary file holds the vectors.

  Args:
    thumbnails: thumbnail of each picture; a picture with b'' is skipped. The
      sequence may read each thumbnail when it is asked for.
    groups: group of each picture, such as its split.

  Returns:
    The pairs, sorted by the index of the later picture.
  """
  members = {}
  for i, (content, group) in enumerate(zip(thumbnails, groups, strict=True)):
    if content:
      members.setdefault(group, []).append(i)
  if len(members) < 2:
    return []
  blocks = [_Blocks(members[name], thumbnails) for name in sorted(members)]
  if sum(map(len, members.values())) > pivots.EXHAUSTIVE:
    return sorted(_by_pivots(blocks, thumbnails, is_across=True))
  pairs = []
  for a, first in enumerate(blocks):
    for second in blocks[a + 1 :]:
      pairs += _between(first, second, thumbnails)
  return sorted(pairs)


def all_pairs(thumbnails: Sequence[bytes]) -> list[Pair]:
  """Returns the pairs of pictures that are alike, as `near_pairs` does.

  The pictures of each pair may belong to any split. Of equal thumbnails, each
  is paired with the first one, and only that is compared with others.
  """
  first, equal, members = {}, [], []
  for i, content in enumerate(thumbnails):
    if not content:
      continue
    known = first.setdefault(
        hashlib.blake2b(content, digest_size=16).digest(), i)
    if known == i:
      members.append(i)
    else:
      equal.append((i, known))
  del first
  blocks = _Blocks(members, thumbnails)
  flat = blocks.flat
  pairs = [Pair(i, known, 1.0) for i, known in equal if known not in flat]
  if len(members) > pivots.EXHAUSTIVE:
    return sorted(pairs + _by_pivots([blocks], thumbnails, is_across=False))
  return sorted(pairs + _between(blocks, blocks, thumbnails))


class _Blocks:
  """Blocks of pictures, each with the vectors of its pictures.

  The vectors of 100,000 pictures would take 100 MiB of memory, so they are kept
  in a file.

  Attributes:
    flat: indices of the flat pictures, whose vectors are zero.
  """

  def __init__(self, members, thumbnails):
    """Computes the vectors of the pictures with the indices `members`."""
    self._file = scratch.Scratch()
    self._blocks, self.flat = [], set()
    for start in range(0, len(members), _BLOCK):
      some = np.array(members[start : start + _BLOCK])
      vectors = _plain([thumbnails[i] for i in some])
      self.flat.update(some[~vectors.any(1)].tolist())
      self._blocks.append((some, self._file.add(vectors.tobytes())))

  def __iter__(self):
    """Yields the indices of each block, int [N], and its vectors, [N, 256]."""
    for some, place in self._blocks:
      content = self._file.read(place, len(some) * _KEPT**2 * 4)
      yield some, np.frombuffer(content, np.float32).reshape(-1, _KEPT**2)


def _between(first, second, thumbnails):
  """Compares two groups of pictures, and returns the pairs that are alike.

  If both are the same `_Blocks`, each pair is returned once.
  """
  pairs = []
  for i, (some, vectors) in enumerate(first):
    for j, (others, other_vectors) in enumerate(second):
      if first is second and j > i:
        break
      found = _screen(vectors, other_vectors) > _SCREEN
      # Take each pair only once, and do not pair a picture with itself.
      if first is second:
        found &= some[:, None] > others
      left, right = np.nonzero(found)
      pairs += _compare(some[left], others[right], thumbnails)
  return pairs


def _by_pivots(groups, thumbnails, *, is_across):
  """Returns the pairs that are alike among pictures that share a pivot.

  Args:
    groups: the pictures of each group, as `_Blocks`.
    thumbnails: thumbnail of each picture.
    is_across: whether only pictures of different groups are compared.
  """
  numbers = [np.concatenate([some for some, _ in group]) for group in groups]
  group_of = np.repeat(
      np.arange(len(groups), dtype=np.int8), list(map(len, numbers)))
  numbers = np.concatenate(numbers)
  pairs = []
  for left, right in pivots.candidates(
      (vectors for group in groups for _, vectors in group),
      group_of if is_across else None, screen=_screen, least=_SCREEN):
    pairs += _compare(numbers[left], numbers[right], thumbnails)
  return pairs


def _compare(left, right, thumbnails) -> Iterator[Pair]:
  """Yields those candidate pairs whose likeness is above the threshold.

  Args:
    left: index of one picture of each candidate pair, int [P].
    right: index of the other picture, int [P].
    thumbnails: thumbnail of each picture.
  """
  for start in range(0, len(left), _NUM_PAIRS):
    both = np.stack([x[start : start + _NUM_PAIRS] for x in (left, right)])
    used, index = np.unique(both, return_inverse=True)
    known = spans([thumbnails[k] for k in used])
    index = index.reshape(both.shape)
    alike = likeness(known[index[0]], known[index[1]])
    for n in np.flatnonzero(alike > THRESHOLD):
      earlier, later = sorted(both[:, n].tolist())
      yield Pair(later, earlier, float(alike[n]))


def _plain(thumbnails):
  """Returns the transform of each thumbnail as a unit vector, [N, 256].

  Flat pictures get zeros.
  """
  return _unit(_transform(_details(thumbnails))).astype(np.float32)


def spans(thumbnails: Sequence[bytes]) -> np.ndarray:
  """Returns orthonormal bases of pictures and their derivatives, [N, 5, 256].

  The first vector of a basis is the picture itself; the others come from its
  derivatives by two shifts, a turn and a zoom. All vectors of a flat picture
  are zero.
  """
  details = _details(thumbnails)
  down, right = np.gradient(details, axis=(1, 2))
  x = np.arange(SIDE, dtype=np.float32) - (SIDE - 1) / 2
  y = x[:, None]
  found = [_unit(_transform(details))]
  # These are the changes that two shifts, a turn and a zoom make.
  for change in (right, down, x * down - y * right, x * right + y * down):
    rest = _transform(change)
    for known in found:  # Make it orthogonal to the earlier vectors.
      rest = rest - np.sum(rest * known, -1, keepdims=True) * known
    found.append(_unit(rest) * found[0].any(-1, keepdims=True))
  return np.stack(found, axis=1)


def _details(thumbnails):
  """Returns the details of middle size of thumbnails, float32 [N, 32, 32]."""
  gray = np.frombuffer(b''.join(thumbnails), np.uint8).reshape(-1, SIDE, SIDE)
  gray = gray.astype(np.float32)
  blurred = (ndimage.gaussian_filter(gray, (0, sigma, sigma))
             for sigma in (_FINE, _COARSE))
  return next(blurred) - next(blurred)


def _transform(pictures):
  """Returns the cosine transforms of pictures times a window, [N, 256].

  The frequencies are ordered in four parts: (even, even), (even, odd), (odd,
  even) and (odd, odd) along (y, x).
  """
  cosines = _cosines()
  found = cosines @ pictures @ cosines.T
  found[:, 0, 0] = 0  # The mean.
  found = found.reshape(-1, _KEPT // 2, 2, _KEPT // 2, 2)
  return found.transpose(0, 2, 4, 1, 3).reshape(len(found), -1)


@functools.cache
def _cosines():
  """Returns the cosines of the transform times the window, [16, 32]."""
  edge = (np.arange(SIDE, dtype=np.float32) + 0.5) / SIDE
  rise = np.minimum(1, np.minimum(edge, 1 - edge) / _FADED)
  window = np.sin(rise * np.pi / 2) ** 2
  frequency = np.arange(_KEPT)[:, None]
  cosines = np.cos(np.pi * frequency * edge) * np.sqrt(2 / SIDE)
  cosines[0] /= np.sqrt(2)
  return (cosines * window).astype(np.float32)


def _unit(vectors):
  """Scales vectors to length 1; those of flat pictures become zeros."""
  length = np.linalg.norm(vectors, axis=-1, keepdims=True)
  return np.where(length > _FLAT * SIDE, vectors / np.maximum(length, 1e-6), 0)


def _turned(vectors):
  """Returns the transforms that transposed pictures would have, [..., 256]."""
  half = _KEPT // 2
  found = vectors.reshape(-1, 2, 2, half, half).transpose(0, 2, 1, 4, 3)
  return found.reshape(vectors.shape)


def _screen(first, second):
  """Returns an upper bound on the correlation of pictures, float [N, M].

  The correlation is the largest over all views, that is, over all mirrored,
  turned and negative versions of one picture. A view changes the signs of the
  four parts of a transform. Half of all combinations of signs are views, so
  that the sum of the absolute values of the parts' correlations is seldom more
  than the correlation of the best view. The sum takes half the time.
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
  """Returns the transforms of the eight views of each picture, [N, 8, 256].

  The views are the picture mirrored and turned by multiples of 90 degrees.
  """
  both = np.stack([vectors, _turned(vectors)], axis=1)
  parts = both.reshape(len(vectors), 2, 1, 4, -1) * _MIRRORS[:, :, None]
  return parts.reshape(len(vectors), 8, -1)


def likeness(first: np.ndarray, second: np.ndarray) -> np.ndarray:
  """Returns the likeness of N pairs of pictures, float [N].

  Args:
    first: result of `spans` for the first pictures, [N, 5, 256].
    second: result of `spans` for the second pictures.
  """
  found = []
  for span, other in ((first, second), (second, first)):
    views = _views(other[:, 0])
    plain = np.abs(np.einsum('nd,nvd->nv', span[:, 0], views))
    view = np.take_along_axis(
        views, plain.argmax(1)[:, None, None], axis=1)[:, 0]
    found.append(np.linalg.norm(np.einsum('nkd,nd->nk', span, view), axis=1))
  return np.minimum(*found)
