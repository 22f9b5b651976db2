"""Reads and writes the journal of a review of weak annotations.

`experiments.review` writes the journal, and `prepare --decisions` applies it.
The journal is a file to which lines are only ever added, one JSON object each.
The first line is the header, every other line is a decision about one image:

  {"review": 1, "run": "runs/mine", "data_dir": "data/mine",
   "manifest_sha256": "..."}
  {"time": "2026-11-28T22:30:01Z", "who": "anna", "id": "a",
   "decision": "mask", "mask": "masks/5f1c.png", "sha256": "...",
   "exact": true, "source": "drawn", "seconds": 7.5, "keys": 9,
   "key": "5f1c"}

(They are wrapped here; in the file, each is one line.) The decisions are:

  keep: the weak annotation is right.
  drop: the annotation is worthless, so the image becomes unlabelled.
  mask: `mask` replaces the annotation, a path relative to the journal's folder.
    The file holds class indices, 255 = unlabelled, on the grid of the original:
    an 8-bit gray PNG, or .nii.gz for a whole volume. `exact` says whether it is
    an exact mask or a coarse one, and `source` is one of `SOURCES`.
  undo: the last decision about this image that still holds is withdrawn.

The last decision about an image that was not withdrawn holds. `key` is a random
text of the sender: a line with the same key is ignored, as it follows if an
answer was lost. `read` ignores a torn last line, and `Writer` cuts it off.
"""

import errno
import hashlib
import json
import os
import pathlib
import re
from typing import Any, NamedTuple

from data_prep.shared import confined
from data_prep.shared import pixels
from data_prep.shared import system_errors
from data_prep.shared import whole_file

VERSION = 1
INDEX = 'chunks/index.json'
DECISIONS = ('keep', 'drop', 'mask', 'undo')
SOURCES = ('prediction', 'prediction_inside', 'drawn')

_TIME = re.compile(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ')
_DIGEST = re.compile(r'[0-9a-f]{64}')
_NO_HEADER = 'the journal of the review has no header'
_FIX = 'restore the file, or start a new review in another folder'


class Header(NamedTuple):
  """First line of a journal.

  Attributes:
    run: folder of the run whose audit is reviewed.
    data_dir: folder of the run's set.
    manifest_sha256: SHA-256, in hexadecimal, of its manifest or its `INDEX`.
  """

  run: str
  data_dir: str
  manifest_sha256: str


class Decision(NamedTuple):
  """One decision about one image; see the top of this module.

  Attributes:
    id: id of the image's row in the manifest.
    decision: one of `DECISIONS`.
    who: name of the person, or empty.
    time: time of the decision, UTC, such as 2026-11-28T22:30:01Z.
    mask: path of the new mask, relative to the journal's folder; empty unless
      the decision is 'mask'.
    sha256: SHA-256 of that file in hexadecimal, or empty.
    exact: whether the new mask is exact.
    source: how the new mask was made, one of `SOURCES`, or empty.
    seconds: time that the person spent on the picture, or None.
    keys: number of keys and clicks that the decision took, or None.
    key: random text by which a repeated line is recognised, or empty.
  """

  id: str
  decision: str
  who: str
  time: str
  mask: str = ''
  sha256: str = ''
  exact: bool = False
  source: str = ''
  seconds: float | None = None
  keys: int | None = None
  key: str = ''


class Journal(NamedTuple):
  """The content of a journal.

  Attributes:
    header: first line of the file.
    decisions: maps the id of each decided image to the decision that holds,
      the newest decision last.
    notices: lines for the user, such as that a torn last line was ignored.
  """

  header: Header
  decisions: dict[str, Decision]
  notices: tuple[str, ...] = ()


def read(path: str | os.PathLike[str]) -> Journal:
  """Reads a journal.

  Args:
    path: the file, review.jsonl.

  Raises:
    pixels.WrongFile: if a line is damaged or not allowed, or if the file does
      not start with a header.
    OSError: if the file cannot be read.
  """
  loaded = _load(pathlib.Path(path).read_bytes(), path)
  return Journal(
      loaded.header, _that_hold(loaded.stacks), tuple(loaded.notices))


class _Loaded(NamedTuple):
  header: Header
  stacks: dict[str, list[Decision]]  # What was not withdrawn, by id.
  notices: list[str]
  keys: set[str]
  num_bytes: int  # Without a torn last line.


def _load(content, path):
  whole, _, torn = content.rpartition(b'\n')
  shown = pixels.tail(os.fsdecode(path))
  if not whole:
    raise pixels.WrongFile(_NO_HEADER, shown, _FIX)
  first, *lines = whole.split(b'\n')
  header = _parse_header(_fields(first, f'{shown}, line 1'), shown)
  notices, stacks, keys = [], {}, set()
  if torn:
    notices.append(
        f'{shown}: the torn last line, {len(torn)} bytes, is ignored: the '
        'process that wrote it was killed before the decision was made')
  for number, line in enumerate(lines, start=2):
    where = f'{shown}, line {number}'
    decision = _parse(_fields(line, where), where)
    if decision.key in keys:
      continue
    keys |= {decision.key} - {''}
    if not _apply(stacks, decision):
      notices.append(
          f'{where}: nothing to undo for {ascii(decision.id)}, so the line is '
          'ignored')
  return _Loaded(header, stacks, notices, keys, len(content) - len(torn))


def mask_file(
    path: str | os.PathLike[str], decision: Decision
) -> pathlib.Path:
  """Returns the path of a decision's mask, once its content has been checked.

  Args:
    path: the journal.
    decision: a decision of the journal that has a mask.

  Raises:
    pixels.WrongFile: if the path leads out of the journal's folder, or if the
      file is missing or has changed since the decision.
  """
  mask = confined.inside(pathlib.Path(path).parent, decision.mask)
  shown = pixels.tail(decision.mask)
  try:
    content = mask.read_bytes()
  except OSError as e:
    raise pixels.WrongFile(
        f'the mask of a review cannot be read: {system_errors.why(e)}', shown,
        'restore it') from e
  if hashlib.sha256(content).hexdigest() != decision.sha256:
    raise pixels.WrongFile(
        'the mask of a review has changed since the decision', shown,
        'restore it')
  return mask


def manifest_sha256(data_dir: str | os.PathLike[str]) -> str:
  """Returns the SHA-256 of a set's manifest or `INDEX`, in hexadecimal.

  Raises:
    OSError: if it cannot be read.
  """
  path = pathlib.Path(data_dir, INDEX)  # Of a set of whole volumes.
  path = path if path.is_file() else pathlib.Path(data_dir, 'manifest.jsonl')
  return hashlib.sha256(path.read_bytes()).hexdigest()


def check(decision: Decision) -> dict[str, Any]:
  """Returns the fields of a decision's line.

  Raises:
    pixels.WrongFile: if the decision is not allowed.
  """
  fields = {k: v for k, v in decision._asdict().items()
            if v not in ('', None) or k == 'who'}
  if decision.decision != 'mask':
    del fields['exact']
  _parse(fields, 'decision')
  return fields


class Writer:
  """Adds decisions to a journal; each is on the disk when `append` returns.

  The caller makes sure that no other process writes to the journal.

  Attributes:
    notices: lines for the user about what was found in the file.
  """

  def __init__(self, path: str | os.PathLike[str], header: Header):
    """Opens a journal, or starts one.

    Args:
      path: the file; its folder must exist.
      header: first line of a new journal. An existing one must have the same
        set and manifest.

    Raises:
      pixels.WrongFile: if the journal is damaged, or belongs to another set.
      OSError: if it cannot be read or written.
    """
    self._path = pathlib.Path(path)
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    self._file = whole_file.follow_no_link(self._path, flags)
    try:
      self._open(header)
    except BaseException:
      self.close()
      raise

  def _open(self, header):
    content = self._path.read_bytes()
    if b'\n' not in content:  # The file is new, or its header is torn.
      self._stacks, self._keys, self.notices, self._end = {}, set(), (), 0
      self._write({'review': VERSION, **header._asdict()})
      whole_file.sync_folder(self._path.parent)
      return
    loaded = _load(content, self._path)
    if loaded.header.manifest_sha256 != header.manifest_sha256:
      raise pixels.WrongFile(
          'the journal of the review belongs to another set, or its manifest '
          'has changed since', pixels.tail(str(self._path)),
          'start a new review in another folder')
    self._stacks, self._keys = loaded.stacks, loaded.keys
    self.notices, self._end = tuple(loaded.notices), loaded.num_bytes
    os.ftruncate(self._file, self._end)
    os.fsync(self._file)

  @property
  def decisions(self) -> dict[str, Decision]:
    """The decision that holds, by id, as in `Journal`."""
    return _that_hold(self._stacks)

  def has(self, key: str) -> bool:
    """Returns whether a line of the journal has this key."""
    return key in self._keys

  def append(self, decision: Decision) -> bool:
    """Adds a decision, and waits until it is on the disk.

    Returns:
      Whether a line was added: False if one with the same key is there, or if
      the decision is to undo nothing.

    Raises:
      pixels.WrongFile: if the decision is not allowed.
      OSError: if it cannot be written; the journal then stays as it was.
    """
    fields = check(decision)
    if self.has(decision.key) or (
        decision.decision == 'undo' and decision.id not in self._stacks):
      return False
    self._write(fields)
    self._keys |= {decision.key} - {''}
    _apply(self._stacks, decision)
    return True

  def _write(self, fields):
    line = json.dumps(fields).encode() + b'\n'
    # An earlier write may have failed halfway.
    os.ftruncate(self._file, self._end)
    with system_errors.naming(self._path):
      try:
        if os.pwrite(self._file, line, self._end) < len(line):
          raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(self._file)
      except OSError:
        os.ftruncate(self._file, self._end)
        raise
    self._end += len(line)

  def close(self) -> None:
    """Closes the file."""
    os.close(self._file)


def _apply(stacks, decision):
  """Adds a decision to the stack of its image; False if it undoes nothing."""
  if decision.decision != 'undo':
    # The newest decision comes last.
    stacks[decision.id] = [*stacks.pop(decision.id, []), decision]
    return True
  if decision.id not in stacks:
    return False
  stacks[decision.id].pop()
  if not stacks[decision.id]:
    del stacks[decision.id]
  return True


def _that_hold(stacks):
  return {key: stack[-1] for key, stack in stacks.items()}


def _fields(line: bytes, where: str) -> Any:
  try:
    return json.loads(line.decode())
  except (ValueError, RecursionError) as error:
    reason = getattr(error, 'msg', 'not UTF-8, or nested too deeply')
    raise pixels.WrongFile(
        f'a line of the review is not JSON ({reason})', where, _FIX) from error


def _parse_header(fields, shown):
  if not isinstance(fields, dict) or 'review' not in fields:
    raise pixels.WrongFile(_NO_HEADER, shown, _FIX)
  if fields['review'] != VERSION or isinstance(fields['review'], bool):
    raise pixels.WrongFile(
        f'a review of version {json.dumps(fields["review"])[:20]}, expected '
        f'{VERSION}', shown, 'update this package')
  values = {k: v for k, v in fields.items() if k != 'review'}
  if set(values) != set(Header._fields) or not all(
      isinstance(v, str) for v in values.values()):
    raise pixels.WrongFile(
        'the header of the review must have the texts '
        + ', '.join(Header._fields), shown, _FIX)
  return Header(**values)


_is_text = lambda v: isinstance(v, str)
_is_name = lambda v: isinstance(v, str) and v != ''
_is_number = lambda v: (
    isinstance(v, (int, float)) and not isinstance(v, bool)
    and 0 <= v < float('inf'))

# Maps each field of a line to (test, what is expected).
_FIELDS = {
    'id': (_is_name, 'a text that is not empty'),
    'decision': (lambda v: v in DECISIONS, f'one of {", ".join(DECISIONS)}'),
    'who': (_is_text, 'a text'),
    'time': (lambda v: _is_text(v) and bool(_TIME.fullmatch(v)),
             'a time such as 2026-11-28T22:30:01Z'),
    'mask': (lambda v: _is_name(v) and confined.is_name(v),
             'a path below the folder of the journal'),
    'sha256': (lambda v: _is_text(v) and bool(_DIGEST.fullmatch(v)),
               'a SHA-256 in hexadecimal'),
    'exact': (lambda v: isinstance(v, bool), 'true or false'),
    'source': (lambda v: v in SOURCES, f'one of {", ".join(SOURCES)}'),
    'seconds': (_is_number, 'a number of at least 0'),
    'keys': (lambda v: _is_number(v) and isinstance(v, int),
             'a whole number of at least 0'),
    'key': (_is_name, 'a text that is not empty'),
}
_REQUIRED = ('id', 'decision', 'who', 'time')
_OF_MASKS = ('mask', 'sha256', 'exact', 'source')


def _parse(fields: Any, where: str) -> Decision:
  """Returns a line as a decision, or raises `WrongFile`."""
  if not isinstance(fields, dict):
    raise pixels.WrongFile(
        'a line of the review is not a JSON object', where, _FIX)
  wanted = _REQUIRED + _OF_MASKS * (fields.get('decision') == 'mask')
  for name in wanted:
    if name not in fields:
      raise pixels.WrongFile(f'a decision has no field {name!r}', where, _FIX)
  for name, value in fields.items():
    if name not in _FIELDS or (name in _OF_MASKS and name not in wanted):
      raise pixels.WrongFile(
          f'a decision has the unknown field {ascii(name)[:30]}', where, _FIX)
    test, expected = _FIELDS[name]
    if not test(value):
      raise pixels.WrongFile(
          f'{name} of a decision: expected {expected}',
          f'{where}: {json.dumps(value)[:40]}', _FIX)
  return Decision(**fields)
