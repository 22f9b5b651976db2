"""Finds everything that is wrong with a manifest and its files in one pass.

A set with problems is refused. Notices describe what is odd but valid; they are
only reported. These rules could have been chosen differently:

- A relative path must not lead out of the root, neither by '..' nor by a link.
  A link within the root is allowed, and so is an absolute path, which somebody
  must have given on purpose.
- An alpha channel is dropped, so it must be opaque. Gray and RGB images may be
  mixed.
- A camera's rotation tag is a problem, since nobody knows whether the
  annotation was drawn on the turned picture.
- Polygons are filled by the even-odd rule. A polygon whose outline crosses
  itself is a problem if more than a tenth of its area is not encircled exactly
  once, see `check_shape.crossed_share`. Smaller loops are reported as a notice.
- If a mask without `values` holds only 0 and 255, its 255 would mean
  unlabelled. This is a problem if the mask is exact, or if no mask of the set
  holds other values.
- An exact mask must not have unlabelled pixels, with one exception: up to a
  tenth of its pixels, such as the borders in VOC, may be unlabelled if `values`
  names their stored value.
- The same picture in two splits is reported as a problem; twice within one
  split, as a notice.
- Nearly the same pictures in two splits are a problem, see `duplicates`. If
  both have the same subject, the problem of that subject is reported instead.
- Pictures in two splits whose names are consecutive may be frames of one video.
  They are reported as a notice, unless the subjects of both are known.
- A picture that was inverted by mistake is not detected: it looks like a dark
  picture, and a manifest holds no checksum to compare it with.
"""

import collections
from collections.abc import Callable, Collection, Iterator, Sequence
import functools
import itertools
import os
import re
from typing import Any

from data_prep import manifest as manifest_lib
from data_prep.checks import check_annotation
from data_prep.checks import check_copies
from data_prep.checks import check_names
from data_prep.checks import check_report
from data_prep.checks import check_row
from data_prep.drawing import kept as kept_lib
from data_prep.shared import grammar
from data_prep.shared import pixels
from data_prep.shared import scratch


_MAX_NAMES = 4
# Characters that a notice may use to name absent classes and the flag --classes
# that leaves them out.
_MAX_FLAG = 130
_VALUE_FLAGS = ('--mask_values', '--mask_threshold', '--scribble_values')
_DEFECTIVE = ('image', 'annotation', 'evaluation')  # Fields that name files.

_Problem = manifest_lib.Problem
_SILENT = check_annotation.Log((), ())


def check_manifest(
    manifest: manifest_lib.Manifest,
) -> list[manifest_lib.Problem]:
  """Returns the problems of a manifest, without the notices.

  See `inspect_manifest`.
  """
  return inspect_manifest(manifest).problems


def inspect_manifest(
    manifest: manifest_lib.Manifest,
    *,
    progress: Callable[[int], None] | None = None,
    near_copies: str = 'refuse',
    unlisted: bool = True,
    no_weak: str = 'refuse',
    known: check_report.Findings | None = None,
    can_choose: bool = False,
    all_rows: Sequence[manifest_lib.Row] = (),
    drawn: Collection[str] = (),
    kept: kept_lib.Kept | None = None,
    inspect: Callable[..., Iterator[Any]] | None = None,
) -> check_report.Findings:
  """Finds all problems of a manifest, and notes what is odd but valid.

  This reads every image and every mask, a few at a time. The lack of strong or
  weak training images is reported only if every line of the manifest could be
  read: otherwise a line that could not be read may hold such an image.

  Args:
    manifest: the manifest, as read by `manifest.read_manifest`.
    progress: function that is called with the number of rows done so far.
    near_copies: how to treat near copies in different splits: 'refuse' reports
      problems; 'notice' reports notices, for users who have already looked at
      the near copies.
    unlisted: whether to note pictures that lie in the set's folders although no
      line of the manifest names them.
    no_weak: how to treat a set without weak training instances: 'refuse'
      reports a problem; 'notice' is for sets on which nothing is trained.
    known: findings of an earlier check of some of these rows. The files of good
      rows that have not changed are not read again.
    can_choose: whether the user can change with flags, such as --classes, how
      the source is read.
    all_rows: all rows of the source, including those that were left out of the
      manifest; `unlisted` does not note their pictures.
    drawn: ids of images whose splits were drawn at random. Consecutive names of
      such images in two splits are not noted; see also
      `check_copies.check_near_copies`.
    kept: keeps images and masks for the records.
    inspect: function that inspects rows in other processes, see
      `beam_rows.inspect`; None inspects them in threads.

  Returns:
    The problems, the notices, and the facts of each row.
  """
  rows = manifest.rows
  log = check_annotation.Log(list(manifest.problems), [])
  facts, logs, defects = [], [], {}
  thumbnails = known.thumbnails if known else scratch.Scratch()
  if manifest.header.classes:
    _check_names(manifest, log)
    inspected = _inspect_rows(manifest, known, thumbnails, kept, inspect)
    for done, (row, (row_log, seen)) in enumerate(
        zip(rows, inspected, strict=True), start=1):
      log.problems.extend(row_log.problems)
      log.notices.extend(row_log.notices)
      facts.append(seen)
      # All rows of which nothing is said share one object, to save memory.
      logs.append(check_annotation.Log(
          tuple(row_log.problems), tuple(row_log.notices))
                  if row_log.problems or row_log.notices else _SILENT)
      if wrong := [p for p in row_log.problems if p.field.startswith(
          _DEFECTIVE)]:
        defects[row.id] = wrong
      if progress is not None:
        progress(done)
  check_names.check_ids(rows, log)
  check_names.check_case(rows, log)
  _check_subjects(rows, log)
  if facts:
    copies = check_copies.find_copies(rows, facts, manifest.root)
    check_copies.check_copies(rows, copies, log)
    check_copies.check_near_copies(
        rows, facts, copies, thumbnails, log, near_copies, drawn)
    check_copies.note_neighbours(
        [row for row in rows if row.id not in drawn], log, can_choose)
    _check_open_values(rows, facts, log)
  unread = manifest.problems or any(
      p.field in ('split', 'role') for p in log.problems)
  if not rows and not manifest.problems:
    log.problems.append(_Problem(
        'the manifest holds no image', '', 'add one line per image'))
  elif not unread:
    # If a source has problems, weak labels may not have been simulated yet, so
    # that a missing role need not be a mistake of the user.
    if not (can_choose and log.problems):
      _check_roles(rows, log, no_weak)
    # Files that could not be read may show a class that seems to be missing.
    if not log.problems:
      _note_classes(manifest, facts, log, can_choose)
    if unlisted:
      _note_unlisted(manifest, all_rows, log)
  return check_report.Findings(
      _in_order(log.problems), _in_order(log.notices), facts,
      {row_id: _in_order(some) for row_id, some in defects.items()}, rows=rows,
      logs=logs, thumbnails=thumbnails)


def _in_order(problems):
  """Sorts problems by line, and escapes strings that cannot be printed."""
  safe = lambda value: (
      value if isinstance(value, int) or value.isprintable()
      else ascii(value)[1:-1])
  problems = sorted(problems, key=lambda p: p.line or 10**9)
  return [p if p == (made := _Problem(*map(safe, p))) else made
          for p in problems]


def _check_names(manifest, log):
  """Reports if the name of the set or of a class cannot be printed."""
  for text in (manifest.header.name, *manifest.header.classes):
    if pixels.is_bad_text(text):
      log.problems.append(_Problem(
          'a name holds control characters or is not UTF-8', ascii(text),
          'rename it', 1))


def _inspect_rows(manifest, known, thumbnails, kept, inspect):
  """Yields the log and the facts of each row, in the order of the rows."""
  context = check_annotation.Context(
      pixels.open_folder(manifest.root), manifest.header.classes,
      is_asked=any(flag in problem.fix for problem in manifest.problems
                   for flag in _VALUE_FLAGS), thumbnails=thumbnails, kept=kept)
  if manifest.rows and not manifest.root.is_dir():
    log = check_annotation.Log([_Problem(
        'the root is not a folder', str(manifest.root),
        'correct `root`, the folder that images and masks lie in', 1)], [])
    empty = check_annotation.Log([], [])
    yield from ((empty if i else log, check_row.Facts())
                for i in range(len(manifest.rows)))
    return
  before = {row.id: (row, log, seen) for row, log, seen in zip(
      known.rows, known.logs, known.facts, strict=True)} if known else {}
  if inspect is None:
    inspect = lambda rows, context, folder: pixels.each_in_threads(
        functools.partial(check_row.inspect_row, context=context), rows)
  with pixels.strict_pillow():
    inspected = inspect((
        row for row in manifest.rows if _find_known(row, before) is None),
                        context, folder=manifest.folder)
    for row in manifest.rows:
      yield _find_known(row, before) or next(inspected)


def _find_known(row, before):
  """Returns an earlier result for a row; None if it must be inspected.

  Args:
    row: the row.
    before: maps each id to the row, the log and the facts of the earlier check.
  """
  old, log, seen = before.get(row.id, (None, None, None))
  # The earlier result holds if only the line or the split has changed. But val
  # and test need exact masks, so a row that is not strong must be inspected
  # again there.
  if old is None or log.problems or row != old._replace(
      line=row.line, split=row.split) or (
          row.split != 'train' and row.role != 'strong'):
    return None
  notices = [notice._replace(line=row.line) for notice in log.notices]
  return check_annotation.Log([], notices, row), seen


def _check_subjects(rows, log):
  """Reports each subject that is in two splits, once.

  A row that names no subject counts as a subject of its own.
  """
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


def _check_open_values(rows, facts, log):
  """Reports weak masks of only 0 and 255 if no mask has other values."""
  if any(seen.values_plain for seen in facts):
    return
  for row, seen in zip(rows, facts, strict=True):
    if seen.values_open and row.role != 'strong':
      log.problems.append(_Problem(
          'mask holds 0 and 255 only, and 255 means unlabelled',
          pixels.tail(row.annotation['path']),
          'if 255 is a class, --mask_values=0:0,255:1 or `values` {"0": 0, '
          '"255": 1}, else 0:0,255:255', row.line, row.id, 'annotation.path'))


def _check_roles(rows, log, no_weak):
  """Reports that no training image is strong, or that none is weak."""
  roles = {row.role for row in rows if row.split == 'train'}
  if 'strong' not in roles:
    log.problems.append(_Problem(
        'no strong training instance', '',
        'give some train images exact masks and role strong'))
  if not roles & {'weak', 'unlabelled'}:
    (log.problems if no_weak == 'refuse' else log.notices).append(_Problem(
        'no weak training instance', '', 'with --source, --simulate=box keeps '
        'a tenth of the masks (--strong_fraction) and draws boxes for the '
        'others; else give some images role weak'))


def _note_classes(manifest, facts, log, can_choose):
  """Notes splits without images, and classes that no image of a split shows.

  A class that no image of the set shows is noted only once. If no image shows
  any class but the background, that is a problem.
  """
  classes = manifest.header.classes
  # Rows share these sets, so that few differ.
  shown = {seen.present for seen in facts} | {seen.hidden for seen in facts}
  unseen = set(range(1, len(classes))).difference(*shown)
  if len(classes) > 1 and len(unseen) == len(classes) - 1:
    log.problems.append(_Problem(
        'no picture shows any class but background', '',
        'see --mask_values, --mask_threshold, --mask_folder' if can_choose else
        'correct the masks, or `values` of their annotations'))
    return
  if unseen:
    what, it = _some_classes(classes, unseen)
    log.notices.append(_Problem(
        f'{what} in no picture at all', '',
        f'{_without(classes, unseen, it, _MAX_FLAG - len(what))} leaves {it} '
        'out' if can_choose else 'labels may be wrong'))
  for split in manifest_lib.SPLITS:
    of_split = {seen.present for row, seen in zip(
        manifest.rows, facts, strict=True) if row.split == split}
    if not of_split:
      log.notices.append(_Problem(
          f'no {split} image', '', 'nothing can be measured on it'))
      continue
    absent = set(range(1, len(classes))).difference(unseen, *of_split)
    if absent:
      what, _ = _some_classes(classes, absent)
      log.notices.append(_Problem(
          f'{what} absent from {split}', '', 'labels or split may be wrong'))


def _some_classes(classes, values):
  """Returns the start of a sentence about classes, and a pronoun for them.

  An example of the start is "class 'polyp' is". The pronoun is 'it' or 'them'.
  """
  names = [repr(pixels.tail(classes[value])) for value in sorted(values)]
  more = len(names) - _MAX_NAMES
  text = ', '.join(names[:_MAX_NAMES]) + (f' and {more} more' * (more > 0))
  return ((f'class {text} is', 'it') if len(names) == 1
          else (f'classes {text} are', 'them'))


def _without(classes, values, it, length):
  """Returns the flag --classes that leaves out some classes.

  Args:
    classes: names of all classes.
    values: the classes to leave out.
    it: the pronoun for these classes, 'it' or 'them'.
    length: largest length of the flag's value; a longer one is not written out.
  """
  names = [name for i, name in enumerate(classes) if i not in values]
  text = ','.join(names)
  # Do not write out names that need quotes in a shell, or that hold commas, at
  # which the flag would split them.
  if len(text) > length or not all(
      re.fullmatch(r'[\w.-]+', name) for name in names):
    return f'--classes without {it}'
  return f'--classes={text}'


def _note_unlisted(manifest, all_rows, log):
  """Notes pictures that lie in the set's folders but belong to no row."""
  used, root = collections.defaultdict(set), manifest.root
  for row in itertools.chain(manifest.rows, all_rows):
    truth = (row.evaluation or {}).get('truth')
    for name in (row.image, *(
        a.get('path') for a in (row.annotation, truth) if isinstance(a, dict))):
      if isinstance(name, str) and not pixels.is_bad_text(name):
        folder, base = os.path.split(os.path.normpath(os.path.join(root, name)))
        used[folder].add(base)
  for folder, names in sorted(used.items()):
    try:
      there = set(os.listdir(folder))
    except OSError:
      continue
    more = sorted(
        n for n in there - names
        if os.path.splitext(n)[1].lower() in pixels.KNOWN_SUFFIXES
        and not n.startswith('.'))
    if more:
      shown = os.path.relpath(folder, root)
      log.notices.append(_Problem(
          f'{grammar.counted(len(more), "picture")} of folder '
          f'{pixels.tail(shown)!r} {grammar.verb(len(more), "are")} not in the '
          'set', f'{ascii(more[0])} first',
          'add them, or leave them out on purpose'))
