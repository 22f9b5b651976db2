"""Tests of data_prep.checks.pivots, and of searches that use it."""

from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
from data_prep.checks import duplicates
from data_prep.checks import pivots
import numpy as np
from PIL import Image


def _thumbnails(number):
  """Returns thumbnails of smooth noise, of which each fifth is a changed copy.

  Some are flat, and some are missing.
  """
  rng = np.random.default_rng(0)
  found = []
  for i in range(number):
    small = Image.fromarray(rng.integers(0, 256, (9, 9), np.uint8))
    large = np.asarray(small.resize(
        (duplicates.SIDE,) * 2, Image.Resampling.BICUBIC))
    if i % 5 == 4:
      known = np.frombuffer(found[i - 2], np.uint8).reshape(large.shape)
      noise = rng.integers(-4, 5, large.shape)
      large = np.rot90(known.astype(np.int64) + noise, i).clip(0, 255)
    found.append(np.ascontiguousarray(large, np.uint8).tobytes())
  found[3] = b''
  found[8] = bytes([7]) * duplicates.SIDE**2
  return found


class PivotsTest(parameterized.TestCase):

  @parameterized.parameters(False, True)
  def test_every_shared_pivot_is_compared_once(self, is_across):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(300, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[17] = 0
    groups = rng.integers(0, 2, 300) if is_across else None
    screen = lambda a, b: a @ b.T
    with mock.patch.object(pivots, '_BLOCK', 16):
      found = [
          (int(i), int(j)) for left, right in pivots.candidates(
              [vectors[:100], vectors[100:]], groups, screen=screen, least=0.6)
          for i, j in zip(left, right, strict=True)]
    # The definition: the pivots are those that the draw chooses.
    used = np.delete(np.arange(300, dtype=np.int32), 17)
    chosen = np.sort(np.random.default_rng(0).permutation(used)[:139])
    alike = screen(vectors, vectors[chosen])
    nearest = np.argsort(-alike, axis=1)[:, :8]
    wanted = {
        (i, j) for i in range(300) for j in range(i)
        if vectors[i] @ vectors[j] > 0.6
        and {*nearest[i].tolist()} & {*nearest[j].tolist()}
        and (groups is None or groups[i] != groups[j])}
    self.assertNotEmpty(wanted)
    self.assertLen(found, len(set(found)))
    self.assertEqual(set(found), wanted)

  def test_searches_find_the_same_copies(self):
    thumbnails = _thumbnails(200)
    groups = [('train', 'test', 'train', 'val')[i % 4] for i in range(200)]
    whole = (duplicates.all_pairs(thumbnails),
             duplicates.near_pairs(thumbnails, groups))
    self.assertGreater(len(whole[0]), 38)
    with mock.patch.object(pivots, 'EXHAUSTIVE', 0):
      found = (duplicates.all_pairs(thumbnails),
               duplicates.near_pairs(thumbnails, groups))
    for some, wanted in zip(found, whole, strict=True):
      self.assertEqual([p[:2] for p in some], [p[:2] for p in wanted])

  def test_equal_thumbnails_are_compared_once(self):
    thumbnails = _thumbnails(20)
    flat = thumbnails[8]
    pairs = duplicates.all_pairs(
        [*thumbnails, thumbnails[2], flat, thumbnails[2]])
    self.assertContainsSubset([(20, 2), (22, 2)], [p[:2] for p in pairs])
    self.assertNoCommonElements(
        [(22, 20), (20, 4), (22, 4), (21, 8)], [p[:2] for p in pairs])

  def test_nothing_to_compare(self):
    zeros = np.zeros((3, 4), np.float32)
    for blocks in ([], [zeros]):
      self.assertEmpty(list(pivots.candidates(
          blocks, None, screen=lambda a, b: a @ b.T, least=0.5)))


if __name__ == '__main__':
  absltest.main()
