"""Turns shapes that foreign files list into rows of a manifest.

A picture that a source lists without shapes holds no object, since somebody
looked at it and drew none. A picture that the source does not list is
unlabelled. A picture is also unlabelled if the source lists nothing usable for
it: only keypoints or attributes, or a shape whose place is unknown. A row holds
one kind of annotation; if a picture has shapes of several kinds, `drawn`
converts them to one. If several annotators drew on a picture, each of them has
a row, whose id ends in the annotator. Their masks are weak, because at most one
of several masks can be exact.
"""

import collections
from collections.abc import Callable, Iterable
import copy
import pathlib
from typing import Any, NamedTuple

from PIL import Image

from data_prep import formats
from data_prep import manifest as manifest_lib
from data_prep import row_names
from data_prep.formats import annotations
from data_prep.formats import class_names
from data_prep.formats import dicom_objects
from data_prep.formats import drawn
from data_prep.formats import intensities
from data_prep.formats import sources
from data_prep.shared import grammar
from data_prep.shared import pixels

# Largest length of a notice, without the number of repetitions after it.
_MAX_NOTICE = 180


class Item(NamedTuple):
  """One picture as a foreign file lists it.

  Attributes:
    picture: name of the picture, as the file gives it.
    shapes: the shapes drawn on the picture.
    file: path of the file that lists the picture, relative to the source.
    size: height and width that the file lists, or None.
    split: split that the file lists, or ''.
    more: further fields of the row (subject, site, annotator).
    by_stem: whether a picture with the same name as the file takes precedence
      over the picture that the file lists. Pictures are often renamed or
      converted after they have been annotated.
  """

  picture: str
  shapes: list[drawn.Shape]
  file: str = ''
  size: tuple[int, int] | None = None
  split: str = ''
  more: dict[str, str] = {}
  by_stem: bool = False


class Report:
  """Collects the problems and notices of reading, and the parts left out.

  Attributes:
    options: the user's options for reading.
    problems: the faults that make the source unusable.
    left_out: the parts that the user allowed to be left out.
    used: paths of the files that were read or refused; a notice counts others.
    file: the file that is being read, for the problems; '' if there is none.
    row_id: id of the picture that is being read, for the problems; or ''.
  """

  def __init__(self, options: formats.Options = formats.Options()):
    self.options = options
    self.problems = []
    self.left_out = []
    self.used = set()
    self.file = self.row_id = ''
    self._notices = collections.Counter()
    self._wrong_files = set()

  def at(self, **changes: Any) -> 'Report':
    """Returns this report with another `file`, `row_id` or `options`.

    Both reports share their lists, so that each has the entries of the other.
    """
    other = copy.copy(self)
    vars(other).update(changes)
    return other

  def read_each(
      self, names: Iterable[str], read: Callable[[str, 'Report'], Any]
  ) -> dict[str, Any]:
    """Reads files; refuses or leaves out those that cannot be used.

    Args:
      names: paths of the files.
      read: function that takes a path and the report for that file.

    Returns:
      Maps the path of each file that can be used to what `read` returns.
    """
    found = {}
    for name in names:
      here = self.at(file=name)
      self.used.add(name)
      try:
        found[name] = read(name, here)
      except pixels.WrongFile as wrong:
        here.wrong_file(wrong)
    return found

  def wrong(self, what, found='', fix='correct it', *, file='', row_id='',
            field=''):
    self.problems.append(manifest_lib.Problem(
        what, found, fix, id=row_id or self.row_id, field=field,
        file=file or self.file))

  def wrong_file(self, wrong: pixels.WrongFile, *, file='', row_id=''):
    """Refuses a file that cannot be used, or leaves it out if allowed.

    In either case, the caller drops everything that depends on the file. A file
    that is refused again for the same reason is not reported twice. If
    `row_id` is given, the picture of that row is not used at all.
    """
    file, row_id = file or self.file, row_id or self.row_id
    known = file, row_id, wrong.what, wrong.found
    if known in self._wrong_files:  # As of a label of several volumes.
      return
    self._wrong_files.add(known)
    if self._is_allowed('defective', file, row_id):
      reason = _reason(wrong.what, wrong.found)
      self.left_out.append(
          formats.LeftOut('picture', row_id, reason, file) if row_id else
          formats.LeftOut('file', file, reason))
    else:
      self.wrong(wrong.what, wrong.found,
                 f'{wrong.fix}, or --leave_out=defective', file=file,
                 row_id=row_id)

  def wrong_shape(
      self, what, found='', fix='redraw it', *, file='', row_id='', field=''):
    """Refuses a shape that cannot be drawn, or leaves it out if allowed.

    The string `what` must include the cause, since problems with the same
    string are shown on one line. The caller replaces the shape by a `Shape` of
    kind 'unreadable', so that the part of the picture that it covers becomes
    unlabelled and not background.
    """
    file, row_id = file or self.file, row_id or self.row_id
    if self._is_allowed('shapes', file, row_id):
      self.left_out.append(formats.LeftOut(
          'shape', row_id or file, _reason(what, found), field))
    else:
      self.wrong(what, found, f'{fix}, or --leave_out=shapes', file=file,
                 row_id=row_id, field=field)

  def _is_allowed(self, kind, file, row_id):
    """Returns whether the user allows this fault or file to be left out."""
    allowed = self.options.leave_out
    return kind in allowed or any(
        f'@{name}' in allowed
        for name in row_names.names_of_file(file, row_id))

  def note_unread(self, paths, noun, reason):
    """Adds a notice of how many files are not read, the first one, and why."""
    self.note(f'{grammar.counted(len(paths), noun, "are")} not read, such as '
              f'{pixels.tail(min(paths))}: {reason}')

  def note(self, text):
    """Adds a notice of one line, with '?' for unprintable characters."""
    line = ''.join(c if c.isprintable() else '?' for c in text)
    self._notices[line if len(line) <= _MAX_NOTICE else (
        f'{line[: _MAX_NOTICE - 3]}...')] += 1

  @property
  def notices(self) -> list[str]:
    return [f'{text} ({n} times)' if n > 1 else text
            for text, n in sorted(self._notices.items())]


def _reason(what, found):
  return f'{what}: {found}' if found else what


def assemble(
    source: pathlib.Path,
    output: pathlib.Path,
    items: list[Item],
    names: list[str],
    report: Report,
    *,
    mask_of: Callable[..., dict[str, Any] | None] | None = None,
) -> formats.Imported:
  """Turns the listed pictures of a source into rows.

  Args:
    source: folder that the pictures lie below.
    output: folder for the pictures that have to be converted, see
      `intensities`.
    items: the listed pictures.
    names: foreground classes as the source lists them; [] uses all labels that
      occur, sorted.
    report: holds the user's options; receives problems and notices.
    mask_of: function that takes the path and id of a picture, and an
      `intensities.Writer`. It returns an annotation that replaces the shapes
      of the picture, or None to keep them.
  """
  items = class_names.name_unnamed(items, report)
  classes = class_names.find_classes(items, names, report)
  items = annotations.settle_lines(items, report.options)
  report = annotations.settle_roles(items, report)
  pictures = sources.list_pictures(source)
  writer = intensities.Writer(source, output, report.options)
  by_path = _pair(items, pictures, report)
  kept = dicom_objects.keep_pictures(source, pictures.paths, report)
  free = [p for p in kept if p not in by_path]
  names_of = sources.make_names([*by_path, *free])
  split_of = lambda path, item: (
      item.split if item else '') or sources.split_of(path)
  usual = annotations.usual_kinds(
      ((split_of(p, i), i.shapes) for p, some in by_path.items() for i in some),
      classes)
  rows = []
  for path, row_id, item in _each_row(names_of, by_path):
    image, size, found = writer.place(path, row_id, report)
    split = split_of(path, item)
    row = manifest_lib.Row(
        row_id, image, split, '' if item else 'unlabelled', None,
        **subject_and_more(names_of[path], found, report.options))
    if row_id != names_of[path].id and not row.subject:
      # No split may divide the rows that show one picture.
      row = row._replace(subject=names_of[path].id)
    if item is not None:
      here = _report_for(item, len(by_path[path]), report).at(row_id=row_id)
      if size and item.size and size != item.size:
        here.wrong_file(_wrong_size(source / path, size, item.size))
        continue
      annotation = annotations.to_annotation(
          item.shapes, size or item.size, classes, usual[split], here)
      row = row._replace(
          annotation=annotation, role='' if annotation else 'unlabelled',
          **{k: v for k, v in item.more.items() if v})
    try:
      mask = mask_of and mask_of(path, row_id, writer)
      if mask:
        row = row._replace(role='', annotation=mask)
    except pixels.WrongFile as wrong:
      report.wrong_file(wrong, file=path, row_id=row_id)
    rows.append(row)
  unknown = {names_of[path].id for path in free}
  bare = [r.id for r in rows if r.id in unknown and r.role == 'unlabelled']
  if bare:
    report.note(f'{grammar.counted(len(bare), "picture", "are")} not listed '
                f'and thus unlabelled: {row_names.shown(bare)}')
  report.used.update(pictures.paths)
  return writer.finish(rows, {}, classes, report)


def _each_row(names_of, by_path):
  """Yields the path, the row id and the item, or None, of each row."""
  for path in sorted(names_of, key=names_of.get):
    items, name = by_path.get(path, [None]), names_of[path].id
    for item in sorted(items, key=_annotator) if len(items) > 1 else items:
      yield path, name if len(items) == 1 else (
          f'{name}@{_annotator(item).replace("/", "_")}'), item


def _annotator(item):
  return item.more.get('annotator', '')


def _report_for(item, number, report):
  """Returns the report for one of `number` annotators of a picture."""
  options = report.options
  if number > 1 and not options.masks_are_given and options.masks_are == 'mask':
    options = options._replace(masks_are='coarse_mask')
  return report.at(file=item.file, options=options)


def _pair(items, pictures, report):
  """Returns the items of each listed picture, by the path of the picture.

  A picture has several items only if all are of different annotators.
  """
  by_path, find = {}, _Finder(pictures, report)
  for item in items:
    path = find(item)
    if path is None:
      report.wrong_file(pixels.WrongFile(
          'a listed picture is not there, or not the only one of that name',
          repr(item.picture), 'put it below the source'), file=item.file,
                        row_id=item.picture)
      continue
    others = by_path.setdefault(path, [])
    known = {_annotator(o) for o in others}
    if not others or _annotator(item) not in {'', *known} and '' not in known:
      others.append(item)
    elif any(item.shapes == o.shapes for o in others):
      report.note('pictures are listed twice, with the same shapes')
    else:
      report.wrong('a picture is listed twice', repr(item.picture),
                   f'keep one, or join it with {others[0].file}',
                   file=item.file)
  several = [some for some in by_path.values() if len(some) > 1]
  if several:
    people = sorted({_annotator(i) for some in several for i in some})
    report.note(f'{grammar.counted(len(several), "picture", "have")} shapes of '
                f'several annotators ({", ".join(people)[:50]}): each is a row '
                'of its own, and masks are weak; --masks_are=mask if exact')
  return by_path


class _Finder:
  """Finds the picture that an item belongs to."""

  def __init__(self, pictures, report):
    self._pictures = pictures
    self._report = report
    self._by_stem = {}
    for path in pictures.paths:
      name = path.rsplit('/', 1)[-1]
      self._by_stem.setdefault(
          pixels.fold(sources.stem(name)), set()).add(pixels.fold(name))

  def __call__(self, item):
    find = lambda name: self._pictures.find(
        name, near=item.file, split=item.split)
    path = find(item.picture)
    if not item.by_stem:
      return path
    stem = pixels.fold(sources.stem(item.file))
    names = self._by_stem.get(stem.rsplit('/', 1)[-1], ())
    if len(names) != 1:
      return path
    name, = names
    # Prefix the folder of the listing file, since several folders may hold a
    # picture of this name.
    own = find('/'.join([*item.file.split('/')[:-1], name]))
    if own is None or own == path:
      return path
    self._report.note(
        'files that name another picture than the one of their own name: '
        'their own name counts')
    return own


def _wrong_size(path, size, listed):
  """Returns the error for a picture whose size differs from the listed one."""
  if size == listed[::-1]:
    try:
      with Image.open(path) as image:
        if pixels.orientation_of(image) > 4:  # The tag says: turn 90 degrees.
          return pixels.WrongFile(
              f'the picture {pixels.ROTATED}, and was annotated as that turns '
              'it', path.name, 'turn its pixels and remove the tag')
    except Exception:  # Pillow raises many kinds of error on damaged files.
      pass
  return pixels.WrongFile(
      f'the picture is not as large as listed, {listed[0]} x {listed[1]}',
      f'{size[0]} x {size[1]}', 'export again from these pictures')


def subject_and_more(
    name: sources.Name, found: dict[str, Any], options: formats.Options
) -> dict[str, Any]:
  """Returns the subject of a row and other fields that its picture file gives.

  The subject is the part of the id that the user's pattern matches. Without a
  pattern it is the patient whom the picture file names, or else its folder.

  Args:
    name: id and folder of the picture.
    found: fields that the picture file gives, such as its spacing.
    options: the user's options.
  """
  subject = sources.subject_of(name, options.subject_pattern)
  if options.subject_pattern is not None:
    return found | {'subject': subject}
  return {'subject': subject} | found
