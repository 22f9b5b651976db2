"""Finds pictures that belong in one split but are in two.

It looks for identical pictures, nearly identical pictures, and pictures with
consecutive names, which may be frames of one video.
"""

import collections
from collections.abc import Collection, Sequence
import hashlib
import itertools
import os
import pathlib

import numpy as np

from data_prep import manifest as manifest_lib
from data_prep.checks import check_annotation
from data_prep.checks import check_row
from data_prep.checks import duplicates
from data_prep.checks import neighbours
from data_prep.checks import pivots
from data_prep.drawing import rasterize
from data_prep.shared import grammar
from data_prep.shared import pixels
from data_prep.shared import scratch

_Problem = manifest_lib.Problem


def find_copies(
    rows: Sequence[manifest_lib.Row],
    facts: Sequence[check_row.Facts],
    root: pathlib.Path,
) -> np.ndarray:
  """Finds rows whose pictures have the same pixels as that of an earlier row.

  Only pictures with the same thumbnail are compared, by reading them again.
  Constant pictures are ignored.

  Args:
    rows: rows of a manifest.
    facts: facts of each row.
    root: folder that the paths in the rows are relative to.

  Returns:
    For each row, the index of the first row with these pixels, int64 [N]. It is
    the row's own index if no earlier row has them.
  """
  first = np.arange(len(rows))
  # Arrays, since dicts would take ten times the memory. No digest becomes 0.
  digests = np.fromiter(
      (int.from_bytes(seen.digest, 'little') for seen in facts), np.uint64,
      len(rows))
  order = np.argsort(digests, kind='stable')
  starts = np.flatnonzero(np.diff(digests[order], prepend=np.uint64(0)))
  ends = np.append(starts[1:], len(rows))
  alike = ends - starts > 1
  for start, end in zip(starts[alike], ends[alike], strict=True):
    known, read = {}, {}
    for k in order[start:end].tolist():
      name = rows[k].image
      if name not in read:  # Several rows may name one picture.
        read[name] = _hash_pixels(root / name)
      if read[name]:
        first[k] = known.setdefault(read[name], k)
  return first


def _hash_pixels(path):
  """Returns a hash of the pixels of an image; b'' if it cannot be read."""
  try:
    return hashlib.blake2b(rasterize.read_image(path)).digest()
  except Exception:  # The file has changed since it was checked.
    return b''


def check_copies(
    rows: Sequence[manifest_lib.Row],
    copies: np.ndarray,
    log: check_annotation.Log,
) -> None:
  """Reports rows whose pictures have the same pixels.

  The same picture in two splits is reported as a problem; several times within
  one split, as one notice. Constant pictures are ignored.

  Args:
    rows: rows of a manifest.
    copies: result of `find_copies`.
    log: log to which the findings are added.
  """
  later = np.flatnonzero(copies != np.arange(len(rows)))
  repeats = collections.Counter(
      earlier for k, earlier in zip(later, copies[later], strict=True)
      if rows[k].split == rows[earlier].split)
  for k, earlier in zip(later, copies[later], strict=True):
    row, known = rows[k], rows[earlier]
    if known.split != row.split:
      log.problems.append(_Problem(
          f'same picture as line {known.line}, which is in {known.split}',
          f'{pixels.tail(row.image)} in {row.split}',
          'remove one, or keep both in one split', row.line, row.id, 'image'))
    elif number := repeats.pop(earlier, 0):
      what, more = f'same picture as line {known.line}', number - 1
      if more:
        what += (f', and so {grammar.verb(more, "are")} '
                 f'{grammar.counted(more, "more line")}')
      log.notices.append(_Problem(
          what, pixels.tail(row.image), 'fine if two annotators drew on it',
          row.line, row.id, 'image'))


def check_near_copies(
    rows: Sequence[manifest_lib.Row],
    facts: Sequence[check_row.Facts],
    copies: np.ndarray,
    file: scratch.Scratch,
    log: check_annotation.Log,
    near_copies: str,
    drawn: Collection[str] = (),
) -> None:
  """Reports pictures that are nearly the same as a picture of another split.

  A picture with several near copies is reported once, together with the most
  similar one.

  Args:
    rows: rows of a manifest.
    facts: facts of each row.
    copies: result of `find_copies`.
    file: file of thumbnails.
    log: log to which the findings are added.
    near_copies: 'refuse' to report problems, 'notice' to report notices.
    drawn: ids of images whose splits were drawn at random, with near copies
      together. If there are so many pictures that a search may miss some, what
      the draw has missed is a notice.
  """
  told = set()
  # The first row of each picture in each split.
  numbers = {}
  of_split = np.fromiter(
      (numbers.setdefault(row.split, len(numbers)) for row in rows), np.int64,
      len(rows))
  some = np.sort(np.unique(
      copies * len(numbers) + of_split, return_index=True)[1]).tolist()
  found = duplicates.near_pairs(
      _Thumbnails([facts[i] for i in some], file),
      [rows[i].split for i in some])
  may_miss = len(some) > pivots.EXHAUSTIVE
  if may_miss:
    log.notices.append(_Problem(
        f'{len(some):,} different pictures: near copies are searched among '
        'those that resemble the same ones', '',
        'about 1 in 100 may not be found'))
  pairs = _expand(rows, copies, [
      duplicates.Pair(some[i], some[j], likeness)
      for i, j, likeness in found])
  for i, j, _ in sorted(pairs, key=lambda pair: -pair.likeness):
    row, other = rows[i], rows[j]
    if copies[i] == copies[j] or i in told or (
        row.subject and row.subject == other.subject):
      continue
    told.add(i)
    problem = _Problem(
        f'nearly the same as line {other.line}, {pixels.tail(other.image)} in '
        f'{other.split}', f'{pixels.tail(row.image)} in {row.split}',
        'keep both in one split, or --near_copies=notice', row.line, row.id,
        'image')
    is_allowed = near_copies == 'notice' or (
        may_miss and row.id in drawn and other.id in drawn)
    (log.notices if is_allowed else log.problems).append(problem)


def _expand(rows, copies, pairs):
  """Returns pairs of all rows whose pictures are nearly the same.

  Each later row is paired with the first row of each split that shows a near
  copy, and with the first one of another subject than that.

  Args:
    rows: rows of a manifest.
    copies: result of `find_copies`.
    pairs: pairs of the first rows of each picture and split.
  """
  if (copies == np.arange(len(rows))).all():
    return pairs
  key = lambda i: (int(copies[i]), rows[i].split)
  members = {key(i): [] for pair in pairs for i in pair[:2]}
  if not members:
    return []
  for i in range(len(rows)):
    if key(i) in members:
      members[key(i)].append(i)
  found = []
  for one, other, likeness in pairs:
    for those, others in (
        (members[key(one)], members[key(other)]),
        (members[key(other)], members[key(one)])):
      subject = rows[others[0]].subject
      least = [others[0], *itertools.islice(
          (i for i in others if rows[i].subject != subject), 1)]
      found += [duplicates.Pair(i, k, likeness)
                for i in those for k in least if k < i]
  return sorted(found)


class _Thumbnails(Sequence):
  """The thumbnails of rows, which a file holds."""

  def __init__(self, facts, file):
    self._facts, self._file = facts, file

  def __len__(self):
    return len(self._facts)

  def __getitem__(self, index):
    place = self._facts[index].thumbnail
    return b'' if place is None else self._file.read(place, duplicates.SIDE**2)


def note_neighbours(
    rows: Sequence[manifest_lib.Row],
    log: check_annotation.Log,
    can_choose: bool,
) -> None:
  """Notes pictures with consecutive names that are in two splits.

  They may be frames of one video. Pairs whose subjects are both known are not
  noted.

  Args:
    rows: rows of a manifest.
    log: log to which the notice is added.
    can_choose: whether the user can name subjects with flags.
  """
  pairs = [
      (rows[i], rows[j]) for i, j in neighbours.find(
          [row.image if isinstance(row.image, str) else '' for row in rows],
          [row.split for row in rows])
      if not (rows[i].subject and rows[j].subject)]
  if pairs:
    row, after = pairs[0]
    log.notices.append(_Problem(
        f'{grammar.counted(len(pairs), "pair")} of consecutive names '
        f'{grammar.verb(len(pairs), "are")} in two splits',
        ' and '.join(f'{os.path.basename(r.image)} in {r.split}'
                     for r in (row, after)),
        'if they are frames of one video, name it as their subject: '
        '--subject_pattern or --subjects=FILE' if can_choose else
        'if they are frames of one video, keep it in one split', row.line,
        row.id, 'image'))
