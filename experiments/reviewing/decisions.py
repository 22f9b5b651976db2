"""Checks the decisions that a page sends, and writes masks and the journal."""

from collections.abc import Mapping
import datetime
import hashlib
import io
import os
import pathlib
import re
import threading
from typing import Any, Protocol

from data_prep.drawing import rasterize
from data_prep.shared import pixels
from data_prep.shared import review_journal
from data_prep.shared import whole_file
from hybridseg import types
import numpy as np
from PIL import Image

from experiments import binary
from experiments.saving import run_folder

JOURNAL = 'review.jsonl'
_MASKS = 'masks'
_MAX_NAME = 100  # Characters of a person's name.
_KEY = re.compile('[0-9a-f]{32}')
_FIELDS = {'id', 'decision', 'key', 'keys', 'seconds'}
# What a mask has besides; `slices` maps numbers of drawn slices to their runs.
_OF_PICTURES = {'source', 'exact', 'runs'}
_OF_VOLUMES = {'source', 'exact', 'base', 'slices'}
# What the slices of a volume hold that are not drawn. With `none`, they are
# unlabelled, and with `empty`, they show no object.
BASES = ('none', 'empty', 'weak', 'prediction', 'inside')


class Refused(Exception):
  """Raised if a decision is not allowed; its message is one line."""


def encode_runs(label: np.ndarray) -> list[int]:
  """Returns a label map, uint8 [H, W], as [value, count, value, count, ...]."""
  flat = np.ravel(label)
  starts = np.concatenate([[0], np.flatnonzero(np.diff(flat)) + 1])
  counts = np.diff(np.concatenate([starts, [flat.size]]))
  return np.stack([flat[starts], counts], axis=1).ravel().tolist()


def decode_runs(
    runs: Any, size: tuple[int, int], num_classes: int
) -> np.ndarray:
  """Returns the label map, uint8 [H, W], of the runs that a page has sent.

  Args:
    runs: what was sent; it may be anything.
    size: height and width of the label map.
    num_classes: number of classes; 255 is allowed, too.

  Raises:
    Refused: if the runs are not those of such a label map.
  """
  if not isinstance(runs, list) or len(runs) % 2 or not all(
      type(x) is int for x in runs):
    raise Refused('The mask is not a list of runs.')
  values, counts = runs[::2], runs[1::2]
  length = size[0] * size[1]
  if any(not 0 < n <= length for n in counts) or sum(counts) != length:
    raise Refused(
        f'The mask has {sum(counts)} pixels, expected {size[0]} x {size[1]}.')
  strange = set(values) - set(range(num_classes)) - {types.UNLABELLED}
  if strange:
    raise Refused(
        f'The mask holds class {min(strange)}, but there are {num_classes} '
        'classes, from 0.')
  return np.repeat(np.array(values, np.uint8), counts).reshape(size)


def decode_slices(
    slices: Any, size: tuple[int, int, int], num_classes: int
) -> dict[int, np.ndarray]:
  """Returns the drawn slices of a volume that a page has sent, by number.

  Args:
    slices: what was sent; it may be anything.
    size: number, height and width of the slices.
    num_classes: as for `decode_runs`.

  Raises:
    Refused: if it is not a map from numbers of slices to runs.
  """
  if not isinstance(slices, dict) or not set(slices) <= {
      str(number) for number in range(size[0])}:
    raise Refused(
        f'The slices of the volume are those from 0 to {size[0] - 1}.')
  return {int(number): decode_runs(runs, size[1:], num_classes)
          for number, runs in slices.items()}


class Volumes(Protocol):
  """Makes the masks of volumes, see `volume_suspects.Volumes`."""

  def compose(
      self, row_id: str, base: str, drawn: dict[int, np.ndarray]
  ) -> np.ndarray:
    ...

  def encode(self, row_id: str, mask: np.ndarray) -> bytes:
    ...


class Book:
  """The decisions of a review, in a folder that this process has locked.

  Threads may use it at the same time.

  Attributes:
    path: the journal.
    notices: lines for the user about what was found in the folder.
  """

  def __init__(
      self,
      folder: pathlib.Path,
      header: review_journal.Header,
      *,
      sizes: Mapping[str, tuple[int, int]],
      num_classes: int,
      who: str = '',
      volumes: Volumes | None = None,
  ):
    """Opens the folder, and locks it.

    Args:
      folder: folder of the journal; it is created if it does not exist.
      header: run and set of the review.
      sizes: height and width of each picture that may be decided, by id; of a
        volume, number, height and width of its slices.
      num_classes: number of classes of the set.
      who: name of the person who decides.
      volumes: makes the masks of volumes; None for pictures.

    Raises:
      binary.UserError: if another process uses the folder, or if it holds
        another review.
    """
    self.path = folder / JOURNAL
    if len(who) > _MAX_NAME:
      raise binary.UserError(f'--who has more than {_MAX_NAME} characters.')
    self._sizes, self._num_classes, self._who = sizes, num_classes, who
    self._volumes = volumes
    self._mutex = threading.Lock()
    self._lock = run_folder.lock(str(folder))
    try:
      (folder / _MASKS).mkdir(exist_ok=True)
      self._writer = review_journal.Writer(self.path, header)
    except pixels.WrongFile as wrong:
      self._unlock()
      raise binary.UserError(f'{wrong}.') from wrong
    except BaseException:
      self._unlock()
      raise
    self.notices = self._writer.notices

  def _unlock(self):
    os.close(self._lock)

  def close(self) -> None:
    """Closes the journal, and releases the lock."""
    with self._mutex:
      self._writer.close()
      self._unlock()

  def decided(self) -> dict[str, dict[str, Any]]:
    """Returns the decisions that hold, by id, the newest last, for the page."""
    with self._mutex:
      return {k: _for_page(v) for k, v in self._writer.decisions.items()
              if k in self._sizes}

  def decide(self, sent: Any) -> dict[str, Any]:
    """Writes a decision, unless one with the same key is there.

    When this returns, the mask and the line are on the disk.

    Args:
      sent: what the page has sent; it may be anything.

    Returns:
      `id`; `decided`, the decision about it that holds now, or None; and
      `is_new`, whether a line was written.

    Raises:
      Refused: if the decision is not allowed.
      OSError: if it cannot be written.
    """
    now = datetime.datetime.now(datetime.UTC).strftime('%Y-%m-%dT%H:%M:%SZ')
    return self._write(*self._parse(sent, self._who, now))

  def import_all(self, sent: Any) -> int:
    """Writes the decisions of a static page, each with its time and person.

    Args:
      sent: list of decisions in their order, but it may be anything. All are
        checked before the first is written.

    Returns:
      The number of decisions that were not in the journal before.

    Raises:
      Refused: if a decision is not allowed.
      OSError: if it cannot be written.
    """
    if not isinstance(sent, list):
      raise Refused('The decisions are not a list.')
    parsed = []
    for number, item in enumerate(sent, start=1):
      try:
        rest = dict(item) if isinstance(item, dict) else {}
        who, time = rest.pop('who', ''), rest.pop('time', '')
        parsed.append(self._parse(rest, who, time))
      except Refused as e:
        raise Refused(f'Decision {number}: {e}') from e
    return sum(self._write(*each)['is_new'] for each in parsed)

  def _parse(self, sent, who, time):
    """Returns a decision, and the content of its mask file or None."""
    if not isinstance(sent, dict):
      raise Refused('The decision is not an object.')
    is_mask = sent.get('decision') == 'mask'
    of_masks = _OF_VOLUMES if self._volumes else _OF_PICTURES
    wanted = _FIELDS | (of_masks if is_mask else set())
    if set(sent) != wanted:
      raise Refused(f'A decision has the fields {", ".join(sorted(wanted))}.')
    row_id, key = sent['id'], sent['key']
    if not isinstance(row_id, str) or row_id not in self._sizes:
      raise Refused('The decision is about an image that is not a suspect.')
    if not isinstance(key, str) or not _KEY.fullmatch(key):
      raise Refused('The key of a decision is 32 hexadecimal digits.')
    if not isinstance(who, str) or len(who) > _MAX_NAME:
      raise Refused(f'A name has at most {_MAX_NAME} characters.')
    decision, content = review_journal.Decision(
        row_id, sent['decision'], who, time, seconds=sent['seconds'],
        keys=sent['keys'], key=key), None
    if is_mask:
      content = self._mask_file(sent)
      suffix = 'nii.gz' if self._volumes else 'png'
      decision = decision._replace(
          mask=f'{_MASKS}/{key}.{suffix}', exact=sent['exact'],
          sha256=hashlib.sha256(content).hexdigest(), source=sent['source'])
    try:
      review_journal.check(decision)
    except pixels.WrongFile as wrong:
      raise Refused(f'{wrong.what}.') from wrong
    return decision, content

  def _mask_file(self, sent):
    size = self._sizes[sent['id']]
    if self._volumes is None:
      mask = decode_runs(sent['runs'], size, self._num_classes)
    elif sent['base'] not in BASES:
      raise Refused(f'The base of a mask is one of {", ".join(BASES)}.')
    else:
      mask = self._volumes.compose(
          sent['id'], sent['base'],
          decode_slices(sent['slices'], size, self._num_classes))
    if np.all(mask == types.UNLABELLED):
      raise Refused(
          'Every pixel of the mask is unlabelled: drop the annotation (d) '
          'instead.')
    if sent['exact'] is True and not rasterize.is_exact(mask):
      raise Refused(
          'More than a tenth of the mask is unlabelled, so it is not exact: '
          'save it as a coarse mask (x).')
    if self._volumes is not None:
      return self._volumes.encode(sent['id'], mask)
    file = io.BytesIO()
    Image.fromarray(mask).save(file, 'PNG')
    return file.getvalue()

  def _write(self, decision, content):
    with self._mutex:
      # The mask of a decision that is there must stay as it is.
      is_new = not self._writer.has(decision.key)
      if is_new and content is not None:
        path = self.path.parent / decision.mask
        with whole_file.open_whole(path, 'wb') as file:
          file.write(content)
          whole_file.sync(file)
        whole_file.sync_folder(path.parent)
      is_new = is_new and self._writer.append(decision)
      found = self._writer.decisions.get(decision.id)
    return {'id': decision.id, 'is_new': is_new,
            'decided': _for_page(found) if found else None}


def read_decided(folder: pathlib.Path) -> dict[str, dict[str, Any]]:
  """Returns the decisions of a folder for the page; {} without a journal.

  Raises:
    binary.UserError: if the journal is damaged.
  """
  try:
    found = review_journal.read(folder / JOURNAL).decisions
  except FileNotFoundError:
    return {}
  except pixels.WrongFile as wrong:
    raise binary.UserError(f'{wrong}.') from wrong
  return {k: _for_page(v) for k, v in found.items()}


def _for_page(decision):
  return {name: getattr(decision, name)
          for name in ('decision', 'who', 'time', 'exact', 'source')}
