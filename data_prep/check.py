"""Finds everything that is wrong with a manifest and its files, in one pass.

Problems refuse a set; notices are odd but valid and only counted. Decisions:

  A relative path may not leave the root, by '..' or by a link; an absolute path
  was meant. A link within the root is fine.
  An alpha channel is dropped, so it must be opaque. Gray and RGB may be mixed.
  A camera's rotation tag is a problem: it is unknown which way the annotation
  was drawn.
  Polygons are filled by the even-odd rule. One that crosses itself is a problem
  only if over a tenth of its area depends on the rule, or lies on the wrong
  side of its outline (a bow tie); smaller loops are a notice.
  A mask of only 0 and 255 without `values` is a problem if it is exact, or if
  no mask of the set holds another class: 255 would mean unlabelled.
  The same picture in two splits is a problem, twice in one split a notice.
  An inverted picture cannot be told from a dark one; a manifest holds no
  checksum to compare with.
"""

import collections
from collections.abc import Callable
from concurrent import futures
import contextlib
import difflib
import functools
import hashlib
import json
import os
import pathlib
import re
import stat
import struct
from typing import NamedTuple
import unicodedata
import warnings

from hybridseg import types
import numpy as np
from PIL import Image
from PIL import UnidentifiedImageError
from scipy import ndimage

from data_prep import manifest as manifest_lib
from data_prep import rasterize
from data_prep import rle

KINDS = (*rasterize.SHAPE_FIELDS, 'tag')

# Corners may lie this many pixels outside the image: tools round.
_TOLERANCE = 1.0
_SMALL_IMAGE = 16  # Pixels; four halvings leave nothing of less.
_SMALL_OBJECT = 9  # Pixels of a class in one image.
_SPECK = 3  # Pixels of a part beside larger ones.
_MANY_VALUES = 8  # Stored values without a class: noise, not a forgotten one.
_CONTRADICTION = 0.1  # Share of a scribble.
_CROSSED = 0.1  # Share of a polygon's area.
_CROSSING_GRID = 128
_SPACINGS_MM = (1e-4, 50.0)  # From a microscope's to a coarse volume's.
_PER_GROUP = 20
_MAX_LINE = 200
_MAX_NAME = 46

_IMAGE_MODES = ('1', 'L', 'LA', 'P', 'RGB', 'RGBA')
_MASK_MODES = (*_IMAGE_MODES, 'I', 'I;16', 'I;16L', 'I;16B', 'F')
_SUFFIXES = {
    'PNG': ('.png',), 'JPEG': ('.jpg', '.jpeg', '.jpe', '.jfif'),
    'MPO': ('.jpg', '.jpeg'), 'TIFF': ('.tif', '.tiff'), 'BMP': ('.bmp',),
    'GIF': ('.gif',), 'WEBP': ('.webp',),
}
_KNOWN_SUFFIXES = {s for suffixes in _SUFFIXES.values() for s in suffixes}
_ORIENTATION = 0x0112  # EXIF tag; 1 is upright, 0 is undefined.

_Problem = manifest_lib.Problem


class Facts(NamedTuple):
  """What was seen of one row.

  Attributes:
    size: height and width of the image, None if it could not be read.
    channels: 1 or 3; 0 if it could not be read.
    digest: of the pixels; empty if they are constant or could not be read.
    counts: pixels per class of a mask and, last, unlabelled ones, int64
      [K + 1]; None of other annotations than masks.
    present: classes that the annotation names or holds.
    values_open: whether a mask holds only 0 and 255 and says nothing of them.
    values_plain: whether a mask holds a foreground class as it is.
  """

  size: tuple[int, int] | None = None
  channels: int = 0
  digest: bytes = b''
  counts: np.ndarray | None = None
  present: frozenset[int] = frozenset()
  values_open: bool = False
  values_plain: bool = False


class Findings(NamedTuple):
  """What a check found.

  Attributes:
    problems: what refuses the set, in the order of lines.
    notices: what is odd but valid, in the order of lines.
    facts: one per row of the manifest; none if its header is broken.
  """

  problems: list[manifest_lib.Problem]
  notices: list[manifest_lib.Problem]
  facts: list[Facts]


def check_manifest(
    manifest: manifest_lib.Manifest,
) -> list[manifest_lib.Problem]:
  """Returns the problems only, see `inspect_manifest`."""
  return inspect_manifest(manifest).problems


def inspect_manifest(
    manifest: manifest_lib.Manifest,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Findings:
  """Finds all problems of a manifest, and what is odd about it.

  Reads every image and every mask, a few at a time. That a training role is
  missing is said only if every line could be read: otherwise the bad line may
  be the missing one.

  Args:
    manifest: as read by `manifest.read_manifest`.
    progress: called with the number of rows done and of all rows.
  """
  rows = manifest.rows
  log = _Log(list(manifest.problems), [])
  facts = []
  if manifest.header.classes:
    _check_names(manifest, log)
    for done, (row_log, seen) in enumerate(_inspect_rows(manifest), start=1):
      log.problems.extend(row_log.problems)
      log.notices.extend(row_log.notices)
      facts.append(seen)
      if progress is not None:
        progress(done, len(rows))
  _check_ids(rows, log)
  _check_case(rows, log)
  _check_subjects(rows, log)
  if facts:
    _check_copies(rows, facts, log)
    _check_open_values(rows, facts, log)
  unread = manifest.problems or any(
      p.field in ('split', 'role') for p in log.problems)
  if not rows and not manifest.problems:
    log.problems.append(_Problem(
        'the manifest holds no image', '', 'add one line per image'))
  elif not unread:
    _check_roles(rows, log)
    if not log.problems:  # Else a class may hide in what could not be read.
      _note_classes(manifest, facts, log)
    _note_unlisted(manifest, log)
  return Findings(_in_order(log.problems), _in_order(log.notices), facts)


def _in_order(problems):
  """Sorts by line and makes whatever the manifest holds fit to print."""
  safe = lambda value: (
      value if isinstance(value, int) or value.isprintable()
      else ascii(value)[1:-1])
  problems = sorted(problems, key=lambda p: p.line or 10**9)
  return [_Problem(*map(safe, p)) for p in problems]


def report(findings: Findings) -> list[str]:
  """Returns the lines to print, each of at most 200 characters.

  Problems of one kind stand together; of more than 20 only 20 are shown and
  the rest is counted. Of each kind of notice only the first is shown.
  """
  lines = []
  for problems in _groups(findings.problems):
    lines += [str(p) for p in problems[:_PER_GROUP]]
    more = len(problems) - _PER_GROUP
    if more > 0:
      lines.append(f'... and {more} more of this kind: {problems[0].what}')
  for notices in _groups(findings.notices):
    number = len(notices)
    count = f', {number} times, first' if number > 1 else ':'
    lines.append(f'notice{count} {notices[0]}')
  return [x if len(x) <= _MAX_LINE else x[: _MAX_LINE - 3] + '...'
          for x in lines]


def _groups(problems):
  """Groups problems of lines that differ in numbers and quoted names only."""
  groups = collections.defaultdict(list)
  for problem in problems:
    kind = problem.what
    if problem.line:
      kind = re.sub(r"\d+|'[^']*'", '#', kind)
    groups[kind].append(problem)
  return groups.values()


class _Log(NamedTuple):
  """Collects what is found about one row; about the set if `row` is None."""

  problems: list[manifest_lib.Problem]
  notices: list[manifest_lib.Problem]
  row: manifest_lib.Row | None = None

  def add(self, what, found, fix, field):
    self.problems.append(
        _Problem(what, found, fix, self.row.line, self.row.id, field))

  def note(self, what, found, fix, field):
    self.notices.append(
        _Problem(what, found, fix, self.row.line, self.row.id, field))


class _Context(NamedTuple):
  """What all rows share."""

  root: pathlib.Path
  real_root: str
  classes: tuple[str, ...]
  listing: Callable[[str], dict[str, str]]


class _WrongFile(Exception):
  """A picture cannot be used; `args` are what is wrong, found, and the fix."""


# The set as a whole.


def _check_names(manifest, log):
  for text in (manifest.header.name, *manifest.header.classes):
    if _is_bad_text(text):
      log.problems.append(_Problem(
          'a name holds control characters or is not UTF-8', ascii(text),
          'rename it', 1))


def _inspect_rows(manifest):
  """Yields the log and the facts of each row, in order."""
  context = _Context(
      manifest.root, os.path.realpath(manifest.root), manifest.header.classes,
      functools.lru_cache(maxsize=256)(_listing))
  if manifest.rows and not manifest.root.is_dir():
    log = _Log([_Problem(
        'the root is not a folder', str(manifest.root),
        'correct `root`, the folder that images and masks lie in', 1)], [])
    yield from ((log if i == 0 else _Log([], []), Facts())
                for i in range(len(manifest.rows)))
    return
  Image.init()  # Not safe once threads run.
  # Threads: decoding and hashing release Python's lock.
  with warnings.catch_warnings(), futures.ThreadPoolExecutor(
      min(8, os.cpu_count() or 1)) as pool:
    warnings.simplefilter('error', Image.DecompressionBombWarning)
    yield from pool.map(
        functools.partial(_inspect_row, context=context), manifest.rows)


def _check_ids(rows, log):
  first = {}
  for row in rows:
    if row.id in first:
      log.problems.append(_Problem(
          f'duplicate id, first on line {first[row.id]}', '',
          'give each image its own id', row.line, row.id, 'id'))
    first.setdefault(row.id, row.line)


def _check_case(rows, log):
  """Names files and ids that differ from another one only in case."""
  first = {}
  for row in rows:
    names = [('image', row.image), ('id', row.id)]
    path = (row.annotation or {}).get('path')
    if isinstance(path, str):
      names.insert(1, ('annotation.path', path))
    for field, name in names:
      place = 'id' if field == 'id' else 'file'
      known, line = first.setdefault((place, _fold(name)), (name, row.line))
      if known != name:
        log.problems.append(_Problem(
            f'differs only in case from {_tail(known)!r} on line {line}',
            _tail(name), 'rename one: many disks cannot hold both', row.line,
            row.id, field))
        break  # An id is often the name of its file.


def _check_subjects(rows, log):
  """Names, once per subject, two splits that hold it; empty is no subject."""
  first = {}
  told = set()
  for row in rows:
    if not row.subject:
      continue
    known = first.setdefault(row.subject, row)
    if known.split != row.split and row.subject not in told:
      told.add(row.subject)
      log.problems.append(_Problem(
          f'subject is in {row.split} and, on line {known.line}, in '
          f'{known.split}', repr(row.subject),
          'keep all its images in one split', row.line, row.id, 'subject'))


def _check_copies(rows, facts, log):
  """Finds the same pixels on two lines; constant pictures do not count."""
  first = {}
  for row, seen in zip(rows, facts, strict=True):
    if not seen.digest:
      continue
    known = first.setdefault(seen.digest, row)
    if known is row:
      continue
    if known.split != row.split:
      log.problems.append(_Problem(
          f'same picture as line {known.line}, which is in {known.split}',
          f'{_tail(row.image)} in {row.split}',
          'remove one, or keep both in one split', row.line, row.id, 'image'))
    else:
      log.notices.append(_Problem(
          f'same picture as line {known.line}', _tail(row.image),
          'fine if two annotators drew on it', row.line, row.id, 'image'))


def _check_open_values(rows, facts, log):
  if any(seen.values_plain for seen in facts):
    return
  for row, seen in zip(rows, facts, strict=True):
    if seen.values_open and row.role != 'strong':
      log.problems.append(_Problem(
          'mask holds 0 and 255 only, and 255 means unlabelled',
          _tail(row.annotation['path']),
          'if 255 is a class, add `values`, such as {"0": 0, "255": 1}, else '
          '{"0": 0, "255": 255}', row.line, row.id, 'annotation.path'))


def _check_roles(rows, log):
  roles = {row.role for row in rows if row.split == 'train'}
  for role, fix in (
      ('strong', 'give some train images exact masks and role strong'),
      ('weak', 'give some train images role weak or unlabelled')):
    if not roles & {role, 'unlabelled' if role == 'weak' else role}:
      log.problems.append(_Problem(f'no {role} training instance', '', fix))


def _note_classes(manifest, facts, log):
  """Notes splits without an image, and classes that a split never shows."""
  for split in manifest_lib.SPLITS:
    shown = [seen.present for row, seen in zip(
        manifest.rows, facts, strict=True) if row.split == split]
    if not shown:
      log.notices.append(_Problem(
          f'no {split} image', '', 'nothing can be measured on it'))
      continue
    present = frozenset().union(*shown)
    for value, name in enumerate(manifest.header.classes):
      if value and value not in present and not _is_bad_text(name):
        log.notices.append(_Problem(
            f'class {name!r} is absent from {split}', '',
            'its labels or its split may be wrong'))


def _note_unlisted(manifest, log):
  """Notes pictures that lie beside those of the set, but are on no line."""
  used = collections.defaultdict(set)
  for row in manifest.rows:
    truth = (row.evaluation or {}).get('truth')
    for name in (row.image, *(
        a.get('path') for a in (row.annotation, truth) if isinstance(a, dict))):
      if isinstance(name, str) and not _is_bad_text(name):
        folder, base = os.path.split(os.path.normpath(manifest.root / name))
        used[folder].add(base)
  for folder, names in sorted(used.items()):
    try:
      there = set(os.listdir(folder))
    except OSError:
      continue
    more = sorted(
        n for n in there - names
        if os.path.splitext(n)[1].lower() in _KNOWN_SUFFIXES
        and not n.startswith('.'))
    if more:
      shown = os.path.relpath(folder, manifest.root)
      log.notices.append(_Problem(
          f'{len(more)} pictures of folder {_tail(shown)!r} are on no line',
          f'{ascii(more[0])} first', 'add them, or leave them out on purpose'))


# One row.


def _inspect_row(row, context):
  """Returns the log and the facts of one row, having read its files."""
  log = _Log([], [], row)
  for field in ('id', 'subject', 'site', 'annotator'):
    value = getattr(row, field)
    if _is_bad_text(value):
      log.add('holds control characters or is not UTF-8', ascii(value),
              'rename it', field)
  for field, known in (
      ('split', manifest_lib.SPLITS), ('role', manifest_lib.ROLES)):
    value = getattr(row, field)
    if value not in known:
      log.add(f'expected one of {", ".join(known)}', repr(value),
              _nearest(value, known), field)
  if row.split in ('val', 'test') and row.role in ('weak', 'unlabelled'):
    log.add(f'{row.split} images are for evaluation and need an exact mask',
            repr(row.role), 'give a mask and role strong, or use split train',
            'role')
  if row.spacing_mm is not None and not all(
      _SPACINGS_MM[0] <= s <= _SPACINGS_MM[1] for s in row.spacing_mm):
    log.note('unusual spacing in mm', str(list(row.spacing_mm)),
             'is it in another unit?', 'spacing_mm')
  image, seen = None, Facts()
  try:
    image = _read_image(row.image, context, log)
    seen = _facts_of_image(image, log)
  except _WrongFile as wrong:
    log.add(*wrong.args, 'image')
  truth = _check_evaluation(row, image, context, log)
  if row.annotation is None:
    if row.role != 'unlabelled':
      log.add(f'a {row.role} image needs an annotation', 'null',
              'add it or use role unlabelled', 'annotation')
    return log, seen
  if row.role == 'unlabelled':
    log.note('an unlabelled image has an annotation', '', 'it is not used',
             'annotation')
  number = len(log.problems)
  label, stored = _check_annotation(
      row.annotation, image, context, 'annotation', row.role, log)
  if len(log.problems) > number:
    return log, seen
  if row.annotation['kind'] in ('mask', 'coarse_mask', 'scribble'):
    if label is None and image is not None:
      label = rasterize.rasterize(
          row.annotation, size=image.shape[:2], root=context.root)
    seen = _facts_of_label(seen, label, len(context.classes), log)
    if row.role == 'weak':
      _compare(row, label, truth, log)
  else:
    labels = row.annotation['labels']
    seen = seen._replace(present=frozenset(labels))
    if not labels:
      log.note('the annotation holds no shape', '',
               'fine if the annotator saw no object', 'annotation')
  values = row.annotation.get('values')
  if stored is not None and values is None:
    seen = seen._replace(
        values_open=stored <= {0, 255} and 255 in stored
        and row.annotation['kind'] != 'scribble',
        values_plain=bool(stored - {0, 255}))
  return log, seen


def _check_evaluation(row, image, context, log):
  """Checks what only the evaluation sees; returns the truth if it is good."""
  evaluation = row.evaluation or {}
  for name in evaluation:
    if name not in ('truth', 'quality', 'fault'):
      log.add('unknown field', '', 'use truth, quality and fault',
              f'evaluation.{name}')
  label, truth = None, evaluation.get('truth')
  if isinstance(truth, dict):
    number = len(log.problems)
    label, _ = _check_annotation(
        truth, image, context, 'evaluation.truth', 'strong', log)
    label = label if len(log.problems) == number else None
  elif truth is not None:
    log.add('expected null or an annotation of kind mask', repr(truth),
            'correct it', 'evaluation.truth')
  value = evaluation.get('quality')
  if value is not None and not (
      manifest_lib.is_number(value) and 0 <= value <= 1):
    log.add('expected null or an IoU in [0, 1]', repr(value), 'correct it',
            'evaluation.quality')
  fault = evaluation.get('fault', '')
  if fault not in manifest_lib.FAULTS:
    log.add(f'expected "", {", ".join(manifest_lib.FAULTS[1:])}', repr(fault),
            _nearest(fault, manifest_lib.FAULTS), 'evaluation.fault')
  return label


def _facts_of_image(image, log):
  if min(image.shape[:2]) < _SMALL_IMAGE:
    log.note(f'image smaller than {_SMALL_IMAGE} pixels',
             f'{image.shape[0]} x {image.shape[1]}',
             'it will be enlarged', 'image')
  digest = b''
  if image.min() == image.max():
    value = int(image.flat[0])
    log.note('the image is constant' if value else 'the image is all zero',
             str(value), 'nothing can be seen in it', 'image')
  else:
    content = hashlib.blake2b(repr(image.shape).encode(), digest_size=16)
    content.update(np.ascontiguousarray(image))
    digest = content.digest()
  return Facts(image.shape[:2], image.shape[-1], digest)


def _facts_of_label(seen, label, num_classes, log):
  """Adds what a label map shows, and notes what is odd about it."""
  if label is None:
    return seen
  counts = np.bincount(label.ravel(), minlength=types.UNLABELLED + 1)
  counts = counts[[*range(num_classes), types.UNLABELLED]]
  classes = np.flatnonzero(counts[:-1])
  field = 'annotation'
  if not classes.size:
    log.note('the annotation says nothing of any pixel', '',
             'fine if nothing is known', field)
  elif classes.tolist() == [0] and log.row.annotation['kind'] != 'scribble':
    log.note('the mask is empty', '', 'fine if there is no object', field)
  elif classes.size == 1 and classes[0] and not counts[-1]:
    log.note('the mask is full, there is no background', '',
             'fine if the object fills the image', field)
  elif log.row.annotation['kind'] == 'mask':
    _note_small(label, counts, classes, log)
  return seen._replace(counts=counts, present=frozenset(classes.tolist()))


def _note_small(label, counts, classes, log):
  for value in classes[classes > 0]:
    if counts[value] < _SMALL_OBJECT:
      log.note(f'class covers fewer than {_SMALL_OBJECT} pixels',
               f'{counts[value]} of class {value}',
               'it may vanish when the image shrinks', 'annotation')
      continue
    parts, number = ndimage.label(label == value)
    sizes = np.bincount(parts.ravel())[1:]
    specks = int((sizes <= _SPECK).sum())
    if number > specks > 0:
      log.note(f'specks of at most {_SPECK} pixels',
               f'{specks} of class {value}',
               'remove them if they are slips of the pen', 'annotation')


def _compare(row, label, truth, log):
  """Notes a weak annotation that equals or contradicts its truth."""
  if label is None or truth is None or label.shape != truth.shape:
    return
  if row.annotation['kind'] == 'scribble':
    drawn = label != types.UNLABELLED
    wrong = int((drawn & (label != truth)).sum())
    fault = (row.evaluation or {}).get('fault')
    if not fault and wrong > _CONTRADICTION * drawn.sum():
      log.note('the scribble contradicts its truth',
               f'{wrong} of {int(drawn.sum())} pixels',
               'look at both', 'annotation')
  elif label.any() and np.array_equal(label, truth):
    log.note('the weak mask is identical to its truth', '',
             'it is an exact one, then: role strong?', 'annotation')


def _nearest(value, known):
  near = isinstance(value, str) and difflib.get_close_matches(
      value, known, n=1, cutoff=0.4)
  return f'did you mean {near[0]!r}?' if near else 'use one of them'


# Pictures.


def _read_image(name, context, log):
  """Returns the pixels of an image, uint8 [H, W, 1 or 3].

  Raises:
    _WrongFile: if it cannot be used.
  """
  with _opened(name, 'image', context) as (path, image):
    mode = image.mode
    if mode[:1] not in ('I', 'F') and ';16' in str(image.tile):
      mode += ';16'  # Pillow keeps the upper 8 bits without a word.
    if mode[:1] in ('I', 'F') or ';16' in mode:
      raise _WrongFile(
          'expected 8 bits per channel', f'pixels of mode {mode}',
          'convert the image, with one intensity window for the whole set')
    if image.mode not in _IMAGE_MODES:
      raise _WrongFile(
          'expected gray or RGB', f'mode {image.mode}',
          'convert the image to RGB')
    opaque = _check_alpha(image, 'image')
    suffix = os.path.splitext(name)[1].lower()
    if suffix not in _SUFFIXES.get(image.format, (suffix,)):
      log.note(f'named {suffix or "without suffix"}, but holds {image.format}',
               _tail(name), 'rename it', 'image')
    pixels = rasterize.read_image(path)
  if opaque:
    log.note('opaque alpha channel', '', 'it is dropped', 'image')
  return pixels


def _read_mask(name, values, context):
  """Returns the stored values of a mask, int [H, W], and its format.

  Raises:
    _WrongFile: if it cannot be used.
  """
  with _opened(name, 'mask', context) as (path, image):
    if image.mode not in _MASK_MODES:
      raise _WrongFile(
          'expected one channel', f'mode {image.mode}',
          'map its colours to class numbers and save it as gray PNG')
    if image.mode == 'RGB' and ';16' in str(image.tile):
      raise _WrongFile(
          'expected one channel', '3 channels of 16 bits',
          'save the mask as a gray picture of 8 bits')
    if image.mode != 'P':
      _check_alpha(image, 'mask')
    if image.mode == 'F':
      pixels = np.asarray(image)
      if not np.isfinite(pixels).all():
        raise _WrongFile(
            'mask holds NaN or infinity', _tail(name),
            'save class numbers as integers')
      if np.any(pixels % 1):
        raise _WrongFile(
            'mask holds fractions, expected class numbers',
            f'{pixels[pixels % 1 != 0][0]:g}',
            'threshold probabilities, save integers')
    try:
      return rasterize.read_mask(path, values), image.format
    except ValueError as error:
      raise _WrongFile(
          'expected one channel', f'{_tail(name)}: {error}',
          'map its colours to class numbers and save it as gray PNG'
      ) from error


@contextlib.contextmanager
def _opened(name, noun, context):
  """Opens a picture, checked up to its header, and gives its path and header.

  Raises:
    _WrongFile: for whatever goes wrong, within the block, too.
  """
  if _is_bad_text(name):
    raise _WrongFile(
        'path holds control characters or is not UTF-8', ascii(name),
        'rename the file')
  path, shown = context.root / name, _tail(name)
  _check_file(path, name, noun, context)
  try:
    with open(path, 'rb') as file, Image.open(file) as image:
      _check_header(image, shown, noun)
      if image.format == 'PNG':
        # Decoding does not look at the checksums.
        with Image.open(path) as again:
          again.verify()
      yield path, image
  except _WrongFile:
    raise
  except PermissionError as error:
    raise _WrongFile(
        f'no permission to read the {noun}', shown, 'make it readable'
    ) from error
  except (
      Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
    number = re.search(r'\d+', str(error))
    raise _WrongFile(
        f'{noun} declares more than {Image.MAX_IMAGE_PIXELS} pixels',
        f'{shown}: {number[0] if number else "more"}',
        'replace it, or cut it into smaller ones') from error
  except UnidentifiedImageError as error:
    raise _WrongFile(
        f'{noun} cannot be read: {_unknown_format(path)}', shown,
        'replace it by a PNG, JPEG, TIFF or BMP') from error
  except Exception as error:  # Pillow raises many kinds on damaged files.
    reason = ' '.join(str(error).split())[:50] or type(error).__name__
    raise _WrongFile(
        f'{noun} cannot be read: {reason}', shown, 'replace the file'
    ) from error


def _check_file(path, name, noun, context):
  """Refuses what is not a file below the root, without opening it."""
  shown = _tail(name)
  try:
    status = os.stat(path)
  except PermissionError as error:
    raise _WrongFile(
        f'no permission to read the {noun}', shown, 'make it readable'
    ) from error
  except OSError as error:
    if os.path.islink(path):
      raise _WrongFile(
          f'{noun} is a link that leads nowhere', shown,
          'put the file itself there') from error
    near = context.listing(os.path.dirname(path)).get(
        _fold(pathlib.Path(name).stem))
    fix = (f'did you mean {near!r}?' if near
           else f'put it below {context.root} or correct the path')
    raise _WrongFile(f'{noun} not found', shown, fix) from error
  if stat.S_ISDIR(status.st_mode):
    raise _WrongFile(
        f'{noun} is a folder, expected a file', shown, 'name one file')
  if not stat.S_ISREG(status.st_mode):  # Reading a pipe would wait for ever.
    raise _WrongFile(
        f'{noun} is no regular file', shown, 'put the file itself there')
  if not status.st_size:
    raise _WrongFile(f'{noun} is empty, 0 bytes', shown, 'replace the file')
  if not os.path.isabs(name):
    real = os.path.realpath(path)
    if os.path.commonpath([real, context.real_root]) != context.real_root:
      raise _WrongFile(
          f'{noun} lies outside the root', f'{shown} -> {_tail(real)}',
          'put the file itself below the root, or correct `root`')


def _check_header(image, shown, noun):
  """Refuses what one 2-D picture of 8 bits cannot be."""
  frames = getattr(image, 'n_frames', 1)
  # A camera's MPO holds previews behind its picture.
  if frames > 1 and image.format != 'MPO':
    raise _WrongFile(
        f'{noun} holds several pictures, expected one',
        f'{shown}: {frames} frames', 'save each frame as a file of its own')
  # Asking a PNG for its EXIF decodes it, unless it came before the pixels.
  has_exif = image.format != 'PNG' or 'exif' in image.info
  turned = image.getexif().get(_ORIENTATION, 1) if has_exif else 1
  if turned not in (0, 1):
    raise _WrongFile(
        f'{noun} has an EXIF rotation tag, expected upright pixels',
        f'orientation {turned}',
        'turn the pixels as the annotation was drawn and remove the tag')


def _check_alpha(image, noun):
  """Refuses transparent pixels; returns whether there is an opaque channel."""
  if 'A' not in image.mode and 'transparency' not in image.info:
    return False
  lowest = image.convert('RGBA').getchannel('A').getextrema()[0]
  if lowest < 255:
    raise _WrongFile(
        f'{noun} has transparent pixels', f'alpha {lowest}',
        'save it without alpha channel, on the background that you mean')
  return True


def _unknown_format(path):
  """Returns what a file is that Pillow cannot identify."""
  with open(path, 'rb') as file:
    start = file.read(132)
  if start.startswith(b'\x89PNG') and len(start) >= 24:
    width, height = struct.unpack('>II', start[16:24])
    return f'a damaged PNG of {height} x {width}'
  for magic, place, kind in (
      (b'\x1f\x8b', 0, 'it is gzip'), (b'DICM', 128, 'it is DICOM'),
      (b'PK\3\4', 0, 'it is a zip'), (b'%PDF', 0, 'it is a PDF'),
      (b'\x89HDF', 0, 'it is HDF5')):
    if start[place:].startswith(magic):
      return kind
  return f'no picture, it starts with {ascii(start[:6])}'


def _listing(folder):
  """Returns the names in a folder by their folded stem; empty if unreadable."""
  try:
    return {_fold(pathlib.Path(n).stem): n for n in sorted(os.listdir(folder))}
  except (OSError, ValueError):
    return {}


def _fold(name):
  return unicodedata.normalize('NFC', name).casefold()


def _is_bad_text(text):
  """Returns whether a text has control characters or was not UTF-8."""
  return any(
      unicodedata.category(c) in ('Cc', 'Cs') or c == '\ufffd' for c in text)


def _tail(name):
  """Returns a path with its end, which tells most, kept."""
  return name if len(name) <= _MAX_NAME else '...' + name[3 - _MAX_NAME :]


# Annotations.


def _check_annotation(annotation, image, context, where, role, log):
  """Checks one annotation; `image` is None if it could not be read.

  Returns:
    The label map of a mask, uint8 [H, W], and the set of stored values of a
    mask file; None where there is none, or where there are problems.
  """
  kind = annotation.get('kind')
  if kind not in KINDS:
    log.add(f'unknown annotation kind, expected one of {", ".join(KINDS)}',
            repr(kind), _nearest(kind, KINDS), f'{where}.kind')
    return None, None
  if role == 'strong' and kind != 'mask':
    log.add('an exact label is of kind mask', repr(kind),
            'use role weak or give the mask', f'{where}.kind')
    return None, None
  if kind == 'tag':
    known = ('kind', 'labels')
  elif rasterize.has_file(annotation):
    known = ('kind', 'path', 'values')
  else:
    known = ('kind', rasterize.SHAPE_FIELDS[kind], 'labels')
    known += ('width',) * (kind == 'scribble')
  for name in annotation:
    if name not in known:
      log.add('unknown field', '', f'use {", ".join(known)}', f'{where}.{name}')
  num_classes = len(context.classes)
  if rasterize.has_file(annotation):
    return _check_mask(annotation, image, context, where, role, log)
  size = None if image is None else image.shape[:2]
  return _check_shapes(annotation, kind, size, num_classes, where, log), None


def _check_mask(annotation, image, context, where, role, log):
  """Checks a mask file; returns as `_check_annotation` does."""
  path, values = annotation.get('path'), annotation.get('values')
  field = f'{where}.path'
  if not isinstance(path, str) or not path:
    log.add('expected the path of a mask', repr(path), 'add it', field)
    return None, None
  num_classes = len(context.classes)
  allowed = f'0 .. {num_classes - 1}'
  if role != 'strong':
    allowed += f' or {types.UNLABELLED}'
  if values is not None and not (
      isinstance(values, dict)
      and all(k.isdecimal() for k in values)
      and all(_is_class(v, num_classes) for v in values.values())):
    log.add(f'expected {{"stored value": class}} with classes {allowed}',
            repr(values), 'correct it', f'{where}.values')
    return None, None
  if os.path.normpath(path) == os.path.normpath(log.row.image):
    log.add('the image is given as its own mask', _tail(path),
            'name the mask', field)
    return None, None
  try:
    mask, form = _read_mask(path, values, context)
  except _WrongFile as wrong:
    log.add(*wrong.args, field)
    return None, None
  if image is not None and mask.shape != image.shape[:2]:
    log.add(*_wrong_size(mask.shape, image.shape[:2]), field)
  elif image is not None and image.min() < image.max() and np.array_equal(
      mask, image[..., 0]):
    log.add('the mask has the pixels of its image', _tail(path),
            'name the mask', field)
    return None, None
  stored, counts = _count(mask)
  is_known = lambda v: (
      str(v) in values if values is not None else _is_class(v, num_classes))
  unknown = [v for v in stored if not is_known(v)]
  if values is None and role == 'strong' and stored[-1] == 255 and set(
      stored) <= {0, 255}:
    log.add(f'mask holds 0 and 255, expected {allowed}', _tail(path),
            'add `values` to it: {"0": 0, "255": 1}', field)
  elif unknown:
    log.add(*_wrong_values(
        stored, counts, unknown, values, allowed, num_classes, form), field)
  else:
    label = rasterize.apply_values(mask, values)
    number = int((label == types.UNLABELLED).sum())
    if number and role == 'strong':
      log.add('an exact mask has no unlabelled pixel',
              f'{number} pixels of {types.UNLABELLED}',
              'label them or use role weak', field)
    return label, set(stored)
  return None, None


def _is_class(value, num_classes):
  return type(value) is int and (
      0 <= value < num_classes or value == types.UNLABELLED)


def _count(mask):
  """Returns the stored values, ascending, and how often each occurs."""
  if 0 <= mask.min() and mask.max() < 2**16:
    counts = np.bincount(mask.ravel())  # Much faster than sorting.
    values = np.flatnonzero(counts)
    return values.tolist(), counts[values]
  values, counts = np.unique(mask, return_counts=True)
  return values.tolist(), counts


def _wrong_size(found, expected):
  """Returns what is wrong, found, and the fix of a mask of another size."""
  hint, fix = '', 'save both at one size'
  if found == expected[::-1]:
    hint, fix = ' (transposed?)', 'swap rows and columns of the mask'
  elif max(abs(f - e) for f, e in zip(found, expected, strict=True)) == 1:
    hint, fix = ' (one pixel off)', 'export both at one size; do not resize'
  return (
      'mask is of another size than its image, '
      f'{expected[0]} x {expected[1]}', f'{found[0]} x {found[1]}{hint}', fix)


def _wrong_values(stored, counts, unknown, values, allowed, num_classes, form):
  """Returns what is wrong, found, and the fix of stored values."""
  if values is not None:
    allowed = f'keys of `values` ({", ".join(values)})'
  if len(unknown) > _MANY_VALUES or form == 'JPEG':
    value = np.array(stored)
    peaks = [int(k) for k in values] if values else [0, num_classes - 1, 255]
    near = np.abs(value[:, None] - np.array(peaks)).min(1) <= 24
    found = f'{len(stored)} values in {stored[0]} .. {stored[-1]}'
    if form == 'JPEG' or counts[near].sum() > 0.8 * counts.sum():
      return (
          f'noise of JPEG or resizing in a mask, expected {allowed}', found,
          'export it as PNG, resize by nearest neighbour')
    return (
        f'a gray picture, not labels, expected {allowed}', found,
        'threshold it, or name the mask')
  fix = 'map it to a class with `values`'
  if values is not None:
    fix = 'add it to `values`'
  elif stored[0] >= 0 and len(stored) <= num_classes:
    example = {str(v): i for i, v in enumerate(stored)}
    fix += f', such as {json.dumps(example)}'
  return (f'label value outside the classes, expected {allowed}',
          ', '.join(map(str, unknown)), fix)


def _check_shapes(annotation, kind, size, num_classes, where, log):
  """Checks what is drawn, or a tag; returns the label map of run lengths."""
  fields = ['labels']
  if kind != 'tag':
    fields.insert(0, rasterize.SHAPE_FIELDS[kind])
  for field in fields:
    if not isinstance(annotation.get(field), list):
      log.add('expected a list', repr(annotation.get(field)),
              'add it, [] if there is no object', f'{where}.{field}')
      return None
  labels, shapes = annotation['labels'], annotation[fields[0]]
  if len(shapes) != len(labels):
    log.add(f'expected one label for each of {len(shapes)} shapes',
            str(len(labels)), 'correct it', f'{where}.labels')
  lowest = 0 if kind in rasterize.SPARSE_KINDS else 1
  for i, label in enumerate(labels):
    if type(label) is not int or not lowest <= label < num_classes:
      log.add(f'expected a class in {lowest} .. {num_classes - 1}', repr(label),
              'correct it', f'{where}.labels[{i}]')
  if kind == 'tag':
    return None
  if kind == 'scribble':
    width = annotation.get('width')
    if not (manifest_lib.is_number(width) and width > 0):
      log.add('expected a width in pixels above 0', repr(width), 'correct it',
              f'{where}.width')
  number = len(log.problems)
  label = None
  if kind in ('mask', 'coarse_mask') and size:
    label = np.zeros(size, np.uint8)
  for i, shape in enumerate(shapes):
    place = f'{where}.{fields[0]}[{i}]'
    if kind in ('mask', 'coarse_mask'):
      mask = _check_rle(shape, size, place, log)
      if label is not None and len(log.problems) == number and i < len(labels):
        label[mask] = labels[i] if _is_class(labels[i], num_classes) else 0
    else:
      _check_shape(shape, kind, size, place, log)
  return label if len(log.problems) == number else None


def _check_rle(shape, size, place, log):
  """Checks one mask in run lengths; returns it, None if it cannot be read."""
  try:
    mask = rle.decode_rle(shape)
  except ValueError as error:
    log.add('run lengths cannot be read', str(error), 'export the mask again',
            place)
    return None
  if size is not None and mask.shape != size:
    log.add(*_wrong_size(mask.shape, size), place)
  return mask


_FORMS = {
    'box': '[x0, y0, x1, y1]',
    'polygon': '[[x, y], ...]',
    'scribble': '[[x, y], ...], not empty',
    'points': '[x, y]',
    'extreme_points': '[[x, y], [x, y], [x, y], [x, y]]',
    'ellipse': '[cx, cy, rx, ry, angle_deg]',
}


def _check_shape(shape, kind, size, place, log):
  """Checks one shape that is drawn by its coordinates."""
  if not _is_shape(shape, kind):
    log.add(f'expected {_FORMS[kind]}', repr(shape), 'correct it', place)
  elif kind == 'polygon' and len(shape) < 3:
    log.add('a polygon needs 3 points', str(len(shape)), 'redraw it', place)
  elif kind == 'box' and (shape[2] <= shape[0] or shape[3] <= shape[1]):
    log.add('expected [x0, y0, x1, y1] with x1 > x0 and y1 > y0', repr(shape),
            'swap the corners or remove the box', place)
  elif kind == 'ellipse' and min(shape[2:4]) <= 0:
    log.add('expected radii above 0', repr(shape[2:4]), 'correct it', place)
  elif size is not None and _is_outside(np.array(shape), kind, size):
    log.add(f'lies outside the image, {size[1]} wide and {size[0]} high',
            repr(shape), 'give pixels (x, y) of this image', place)
  elif kind == 'polygon':
    _check_polygon(np.array(shape, float), place, log)
  elif (kind == 'box' and min(shape[2] - shape[0], shape[3] - shape[1]) < 1
        or kind == 'ellipse' and min(shape[2:4]) < 0.5):
    log.note('shape thinner than a pixel', repr(shape),
             'it may cover no pixel at all', place)


def _check_polygon(vertices, place, log):
  if np.ptp(vertices, axis=0).min() < 1:
    log.note('shape thinner than a pixel', repr(vertices.tolist()),
             'it may cover no pixel at all', place)
    return
  share = crossed_share(vertices)
  found = f'{max(100 * share, 0.1):.1f} % of its area'
  if share > _CROSSED:
    log.add('outline crosses itself, its inside is ambiguous', found,
            'give the corners in the order in which they are connected', place)
  elif share:
    log.note('outline crosses itself in small loops', found,
             'filled by the even-odd rule', place)


def crossed_share(vertices: np.ndarray) -> float:
  """Returns the share of a polygon that its outline does not go round once.

  A simple polygon has winding number 1 (or all -1) inside: exactly 0. A bow tie
  has 0.5, an outline that goes round twice 1. Measured on a grid of
  `_CROSSING_GRID` squared points over the bounding box.

  Args:
    vertices: corners (x, y), float [N, 2], of some width and height.
  """
  low, high = vertices.min(0), vertices.max(0)
  a = (vertices - low) / (high - low) * _CROSSING_GRID
  b = np.roll(a, -1, axis=0)
  levels = np.arange(_CROSSING_GRID) + 0.5
  upward = (a[:, 1:] <= levels) & (levels < b[:, 1:])  # [N, grid]
  downward = (b[:, 1:] <= levels) & (levels < a[:, 1:])
  edges, rows = np.nonzero(upward | downward)
  start, step = a[edges], (b - a)[edges]
  crossing = start[:, 0] + (rows + 0.5 - start[:, 1]) * step[:, 0] / step[:, 1]
  # Each edge turns once round all points of its row that lie left of it.
  turns = np.zeros((_CROSSING_GRID, _CROSSING_GRID + 1), np.int64)
  columns = np.clip(np.ceil(crossing - 0.5), 0, _CROSSING_GRID).astype(int)
  np.add.at(turns, (rows, columns), np.where(upward[edges, rows], 1, -1))
  winding = np.cumsum(turns[:, ::-1], axis=1)[:, ::-1][:, 1:]
  inside = int((winding != 0).sum())
  once = max(int((winding == 1).sum()), int((winding == -1).sum()))
  return 1 - once / inside if inside else 0.0


def _is_shape(shape, kind):
  is_numbers = lambda value, length: (
      isinstance(value, list)
      and len(value) == length
      and all(manifest_lib.is_number(v) for v in value)
  )
  if kind in ('polygon', 'scribble', 'extreme_points'):
    return (
        isinstance(shape, list)
        and all(is_numbers(p, 2) for p in shape)
        and (kind != 'extreme_points' or len(shape) == 4)
        and (kind != 'scribble' or len(shape) > 0)
    )
  return is_numbers(shape, {'box': 4, 'points': 2, 'ellipse': 5}[kind])


def _is_outside(shape, kind, size):
  """Returns whether a box or point leaves the image, another misses it.

  Hand-drawn outlines often leave the image a little; a box or a point that does
  so is in other units or belongs to another image.
  """
  end = np.array([size[1], size[0]]) + _TOLERANCE
  if kind in ('box', 'points', 'extreme_points'):
    corners = shape.reshape(-1, 2)
    return bool((corners < -_TOLERANCE).any() or (corners > end).any())
  if kind in ('polygon', 'scribble'):
    low, high = shape.min(0), shape.max(0)
  else:
    reach = shape[2:4].max()
    low, high = shape[:2] - reach, shape[:2] + reach
  return bool((high < 0).any() or (low > end - _TOLERANCE).any())
