"""Finds everything that is wrong with a manifest and its files in one pass.

Problems refuse a set. Notices are odd but valid, and only reported. The rules
that are matters of decision:

  A relative path must not leave the root, by '..' or by a link. An absolute
  path was given on purpose. A link within the root is fine.
  An alpha channel is dropped, so it must be opaque. Gray and RGB may be mixed.
  A camera's rotation tag is a problem, since nobody knows which way up the
  annotation was drawn.
  Polygons are filled by the even-odd rule. One that crosses itself is a problem
  only if over a tenth of its area depends on the rule, or lies on the wrong
  side of its outline (a bow tie); smaller loops are a notice.
  A mask of only 0 and 255 without `values` is a problem if it is exact, or if
  no mask of the set holds another class: 255 would mean unlabelled.
  An exact mask has no unlabelled pixels except borders, as in VOC: up to a
  tenth of the pixels, if `values` names their stored value.
  The same picture is a problem if it is in two splits, and a notice if it is
  twice in one split.
  So are nearly the same pictures in two splits, see `duplicates`. If both have
  one subject, the problem of that subject is reported instead. Consecutive
  names in two splits, which may be frames of a video, are a notice, unless both
  subjects are known. An inverted picture looks like a dark one and is not
  found, since a manifest holds no checksum to compare with.
"""

import collections
from collections.abc import Callable, Collection, Sequence
from concurrent import futures
import functools
import os
import re

from PIL import Image

from data_prep import manifest as manifest_lib
from data_prep.checks import check_annotation
from data_prep.checks import check_copies
from data_prep.checks import check_report
from data_prep.checks import check_row
from data_prep.shared import confined
from data_prep.shared import grammar
from data_prep.shared import pixels


_MAX_NAMES = 4
_MAX_FLAG = 130  # Characters of the classes and of the flag without them.
_VALUE_FLAGS = ('--mask_values', '--mask_threshold', '--scribble_values')
_DEFECTIVE = ('image', 'annotation', 'evaluation')  # Fields that name files.

_Problem = manifest_lib.Problem


def check_manifest(
    manifest: manifest_lib.Manifest,
) -> list[manifest_lib.Problem]:
  """Returns only the problems of a manifest, see `inspect_manifest`."""
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
) -> check_report.Findings:
  """Finds all problems of a manifest, and what is odd about it.

  Reads every image and every mask, a few at a time. A missing training role is
  reported only if every line could be read: otherwise the missing row may be
  the one that could not be read.

  Args:
    manifest: as read by `manifest.read_manifest`.
    progress: called with the number of rows done.
    near_copies: how to treat near copies in different splits: 'refuse', or
      'notice' once you have looked at them.
    unlisted: whether to note pictures in the folders that no line names.
    no_weak: how to treat a set without weak training instances: 'refuse', or
      'notice' if nothing is going to be trained.
    known: findings of an earlier check of some of these rows; the files of
      unchanged good rows are not read again.
    can_choose: whether flags such as --classes can change what is read.
    all_rows: further rows that were left out, which is reported elsewhere.
    drawn: ids whose splits were drawn at random, so that consecutive names may
      be in two splits.
  """
  rows = manifest.rows
  log = check_annotation.Log(list(manifest.problems), [])
  facts, logs, defects = [], [], {}
  if manifest.header.classes:
    _check_names(manifest, log)
    inspected = _inspect_rows(manifest, known)
    for done, (row, (row_log, seen)) in enumerate(
        zip(rows, inspected, strict=True), start=1):
      log.problems.extend(row_log.problems)
      log.notices.extend(row_log.notices)
      facts.append(seen)
      logs.append((row, row_log))
      if wrong := [p for p in row_log.problems if p.field.startswith(
          _DEFECTIVE)]:
        defects[row.id] = wrong
      if progress is not None:
        progress(done)
  _check_ids(rows, log)
  _check_case(rows, log)
  _check_subjects(rows, log)
  if facts:
    check_copies.check_copies(rows, facts, log)
    check_copies.check_near_copies(rows, facts, log, near_copies)
    check_copies.note_neighbours(
        [row for row in rows if row.id not in drawn], log, can_choose)
    _check_open_values(rows, facts, log)
  unread = manifest.problems or any(
      p.field in ('split', 'role') for p in log.problems)
  if not rows and not manifest.problems:
    log.problems.append(_Problem(
        'the manifest holds no image', '', 'add one line per image'))
  elif not unread:
    # A source whose files are defective gets no roles from --simulate.
    if not (can_choose and log.problems):
      _check_roles(rows, log, no_weak)
    if not log.problems:  # Unread files may show a class that seems missing.
      _note_classes(manifest, facts, log, can_choose)
    if unlisted:
      _note_unlisted(manifest, all_rows, log)
  return check_report.Findings(
      _in_order(log.problems), _in_order(log.notices), facts,
      {row_id: _in_order(some) for row_id, some in defects.items()}, logs=logs)


def _in_order(problems):
  """Sorts problems by line and escapes whatever cannot be printed."""
  safe = lambda value: (
      value if isinstance(value, int) or value.isprintable()
      else ascii(value)[1:-1])
  problems = sorted(problems, key=lambda p: p.line or 10**9)
  return [_Problem(*map(safe, p)) for p in problems]


def _check_names(manifest, log):
  for text in (manifest.header.name, *manifest.header.classes):
    if pixels.is_bad_text(text):
      log.problems.append(_Problem(
          'a name holds control characters or is not UTF-8', ascii(text),
          'rename it', 1))


def _inspect_rows(manifest, known):
  """Yields the log and the facts of each row, in order."""
  context = check_annotation.Context(
      pixels.open_folder(manifest.root), manifest.header.classes,
      is_asked=any(flag in problem.fix for problem in manifest.problems
                   for flag in _VALUE_FLAGS))
  if manifest.rows and not manifest.root.is_dir():
    log = check_annotation.Log([_Problem(
        'the root is not a folder', str(manifest.root),
        'correct `root`, the folder that images and masks lie in', 1)], [])
    empty = check_annotation.Log([], [])
    yield from ((empty if i else log, check_row.Facts())
                for i in range(len(manifest.rows)))
    return
  before = {row.id: (row, log, seen) for (row, log), seen in zip(
      known.logs, known.facts, strict=True)} if known else {}
  Image.init()  # This is not safe once threads run.
  # Threads are enough: decoding and hashing release Python's lock.
  with pixels.strict_pillow(), futures.ThreadPoolExecutor(
      min(8, os.cpu_count() or 1)) as pool:
    yield from pool.map(
        functools.partial(_inspect_row, context=context, before=before),
        manifest.rows)


def _inspect_row(row, context, before):
  """Inspects a row, unless an earlier check found it to be good."""
  old, log, seen = before.get(row.id, (None, None, None))
  # A good row that was in train or has an exact mask fits any split.
  if old is None or log.problems or row != old._replace(
      line=row.line, split=row.split) or (
          row.split != 'train' and row.role != 'strong'):
    return check_row.inspect_row(row, context)
  notices = [notice._replace(line=row.line) for notice in log.notices]
  return check_annotation.Log([], notices, row), seen


def _check_ids(rows, log):
  first = {}
  for row in rows:
    if not confined.is_name(row.id):
      log.problems.append(_Problem(
          'the id cannot name a file below a folder', pixels.tail(row.id),
          confined.FIX, row.line, row.id, 'id'))
    if row.id in first:
      log.problems.append(_Problem(
          f'duplicate id, first on line {first[row.id]}', '',
          'give each image its own id', row.line, row.id, 'id'))
    first.setdefault(row.id, row.line)


def _check_case(rows, log):
  """Reports files and ids that differ from another one only in case."""
  first = {}
  for row in rows:
    names = [('image', row.image), ('id', row.id)]
    path = (row.annotation or {}).get('path')
    if isinstance(path, str):
      names.insert(1, ('annotation.path', path))
    for field, name in names:
      place = 'id' if field == 'id' else 'file'
      known, line = first.setdefault(
          (place, pixels.fold(name)), (name, row.line))
      if known != name:
        log.problems.append(_Problem(
            f'differs only in case from {pixels.tail(known)!r} on line {line}',
            pixels.tail(name), 'rename one: many disks cannot hold both',
            row.line, row.id, field))
        break  # An id is often the name of its file: one report is enough.


def _check_subjects(rows, log):
  """Reports each subject in two splits once; an empty name is no subject."""
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
  """Notes splits without an image, and classes that a split never shows.

  A class that no picture shows is noted once. If no picture shows any class,
  that is a problem.
  """
  classes = manifest.header.classes
  shown = frozenset().union(*(seen.present | seen.hidden for seen in facts))
  unseen = set(range(1, len(classes))) - shown
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
    of_split = [seen.present for row, seen in zip(
        manifest.rows, facts, strict=True) if row.split == split]
    if not of_split:
      log.notices.append(_Problem(
          f'no {split} image', '', 'nothing can be measured on it'))
      continue
    absent = set(range(1, len(classes))) - unseen - frozenset().union(*of_split)
    if absent:
      what, _ = _some_classes(classes, absent)
      log.notices.append(_Problem(
          f'{what} absent from {split}', '', 'labels or split may be wrong'))


def _some_classes(classes, values):
  """Returns the start of a sentence about classes, and their pronoun."""
  names = [repr(pixels.tail(classes[value])) for value in sorted(values)]
  more = len(names) - _MAX_NAMES
  text = ', '.join(names[:_MAX_NAMES]) + (f' and {more} more' * (more > 0))
  return ((f'class {text} is', 'it') if len(names) == 1
          else (f'classes {text} are', 'them'))


def _without(classes, values, it, length):
  """Returns the flag that keeps the other classes, if it is short enough."""
  names = [name for i, name in enumerate(classes) if i not in values]
  text = ','.join(names)
  # A shell splits a name at a space, and the flag splits it at a comma.
  if len(text) > length or not all(
      re.fullmatch(r'[\w.-]+', name) for name in names):
    return f'--classes without {it}'
  return f'--classes={text}'


def _note_unlisted(manifest, all_rows, log):
  """Notes pictures in the folders of the set that are not in the set."""
  used = collections.defaultdict(set)
  for row in (*manifest.rows, *all_rows):
    truth = (row.evaluation or {}).get('truth')
    for name in (row.image, *(
        a.get('path') for a in (row.annotation, truth) if isinstance(a, dict))):
      if isinstance(name, str) and not pixels.is_bad_text(name):
        folder, base = os.path.split(os.path.normpath(manifest.root / name))
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
      shown = os.path.relpath(folder, manifest.root)
      log.notices.append(_Problem(
          f'{grammar.counted(len(more), "picture")} of folder '
          f'{pixels.tail(shown)!r} {grammar.verb(len(more), "are")} not in the '
          'set', f'{ascii(more[0])} first',
          'add them, or leave them out on purpose'))
