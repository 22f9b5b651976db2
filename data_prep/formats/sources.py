"""Lists, names and reads the files of a foreign source; trusts none of them.

The functions that read a file raise `pixels.WrongFile` if it cannot be read.
"""

import collections
from collections.abc import Collection
from collections.abc import Sequence
import json
import os
import pathlib
import re
from typing import Any, NamedTuple
import xml.etree.ElementTree as ET

import defusedxml
from defusedxml import ElementTree as safe_xml

from data_prep.formats import dicom
from data_prep.formats import folder_names
from data_prep.formats import known_tools
from data_prep.shared import grammar
from data_prep.shared import pixels

# Folders that name the kind or the split of their files, in lower case.
KIND_FOLDERS = {
    'scribbles': 'scribble', 'scribble': 'scribble',
    'coarse_masks': 'coarse_mask', 'coarse_mask': 'coarse_mask'}
SPLIT_FOLDERS = {
    'train': 'train', 'training': 'train', 'val': 'val', 'valid': 'val',
    'validation': 'val', 'test': 'test', 'testing': 'test',
    'imagests': 'test', 'labelsts': 'test'}
# These folders of VOC hold neither pictures nor masks of classes.
_IGNORED_FOLDERS = ('segmentationobject', 'segmentationclassvisualization')

# Pictures with one of the last four suffixes are converted.
PICTURES = (
    *sorted(pixels.KNOWN_SUFFIXES), '.npy', '.dcm', '.dicom', '.ima')

_SUFFIX = re.compile(r'\.[A-Za-z][A-Za-z0-9]*$')
_MAX_TEXT = 2**29  # Largest number of bytes in a JSON, XML or text file.
_MAX_KINDS = 4  # Largest number of folders that may sort pictures by content.
_MAX_SUFFIXES = 6
# Matches files that describe a data set, or that Windows creates in folders.
_DESCRIPTION = re.compile(
    r'(?:readme|licen[cs]e|citation|changelog|thumbs\.db|desktop\.ini)|'
    r'.*\.(?:md|rst|pdf|docx?)$', re.I)


class Pictures(NamedTuple):
  """The pictures below a source.

  Attributes:
    source: the folder of the source.
    paths: sorted paths relative to it, without those in folders of masks.
    by_name: maps each file name, as `pixels.fold` writes it, to all its paths.
  """

  source: pathlib.Path
  paths: tuple[str, ...]
  by_name: dict[str, list[str]]

  def find(self, name: str, *, near: str = '', split: str = '') -> str | None:
    """Returns the path of the picture that a file lists; None if unclear.

    Args:
      name: the listed path or the end of one, with either slash.
      near: path of the file that lists it; the nearest picture is preferred.
      split: split of the picture, or ''; chooses among equally near pictures.
    """
    parts = [p for p in name.replace('\\', '/').split('/')
             if p not in ('', '.', '..')]
    if not parts:
      return None
    folder = near.split('/')[:-1]
    known = self.by_name.get(pixels.fold(parts[-1]), [])
    beside = '/'.join([*folder, *parts])
    if beside in known:
      return beside
    # A mask may have the name of its picture: prefer the picture.
    found = known if len(known) == 1 else [
        p for p in known if p in self.paths] or known
    for length in range(len(parts), 0, -1):
      tail = '/'.join(parts[-length:])
      ends = [p for p in found
              if f'/{pixels.fold(p)}'.endswith(f'/{pixels.fold(tail)}')]
      if ends:
        scores = [(len(os.path.commonprefix([p.split('/')[:-1], folder])),
                   split_of(p) == split, f'/{p}'.endswith(f'/{tail}'))
                  for p in ends]
        best = [p for p, score in zip(ends, scores, strict=True)
                if score == max(scores)]
        return best[0] if len(best) == 1 else None
    return None


class Name(NamedTuple):
  """The parts of a path that identify a picture.

  Attributes:
    id: id of the picture's row.
    folder: the first folder that may name the subject, or ''.
  """

  id: str
  folder: str


def list_files(source: pathlib.Path, suffixes: tuple[str, ...]) -> list[str]:
  """Returns the visible paths below `source` with certain suffixes, sorted.

  Links to folders are followed; the check refuses files outside of the source.
  If '.dcm' is a suffix, DICOM files without any suffix are found, too.

  Raises:
    OSError: if the folder cannot be listed.
  """
  found = []
  for folder, name in _walk(source):
    if _is_ignored(folder):
      continue
    path = f'{folder}/{name}' if folder else name
    if name.lower().endswith(suffixes) or (
        '.dcm' in suffixes and not _SUFFIX.search(name)
        and dicom.is_dicom(source / path)):
      found.append(path)
  return sorted(found)


def note_unused(
    source: pathlib.Path,
    used: Collection[str],
    report,
    *,
    is_annotated: bool = True,
) -> None:
  """Notes the files below a source that the reader did not use.

  They may be annotations of another tool, which nobody should overlook. Files
  of a tool that `known_tools` recognises are named with it, and others are
  counted by suffix. Files that only describe a data set (README, LICENSE) are
  not mentioned.

  Args:
    source: folder that was read.
    used: paths, relative to it, of the files that were read or refused.
    report: receives one notice per tool or suffix: the number of files and
      one name.
    is_annotated: whether the reader found an annotation. If not, unused files
      of a known tool or with the names of pictures are reported as a problem.
  """
  used = set(used)
  stems = {stem(p).rsplit('/', 1)[-1] for p in used}
  unused = [f'{folder}/{name}' if folder else name
            for folder, name in _walk(source) if not _DESCRIPTION.match(name)]
  unused = [path for path in unused if path not in used]
  of_tools = known_tools.find(source, unused)
  for tool, paths in of_tools.items():
    text = known_tools.describe(tool, paths)
    if is_annotated:
      report.note(text)
    else:
      report.wrong(f'no picture has a mask, but {text.split(": ")[0]}', '',
                   tool.advice, file=min(paths))
  named, by_suffix = {p for some in of_tools.values() for p in some}, {}
  for path in unused:
    if path not in named:
      name = path.rsplit('/', 1)[-1]
      suffix = name[len(stem(name)):].lower()
      by_suffix.setdefault(suffix, []).append(path)
  ordered = sorted(
      by_suffix.items(), key=lambda entry: (-len(entry[1]), entry[0]))
  for suffix, paths in ordered[:_MAX_SUFFIXES]:
    first = min(paths)
    like = any(stem(p).rsplit('/', 1)[-1] in stems for p in paths)
    count = grammar.counted(len(paths), f'{suffix} file'.strip()) + (
        ' without suffix' * (not suffix))
    if like and not is_annotated:
      report.wrong(
          f'no picture has a mask; {count} may be annotations, but of no '
          'format that is read', first,
          'export masks or COCO JSON, or name the --format', file=first)
      continue
    report.note(f'{count} {grammar.verb(len(paths), "are")} not read'
                f'{", such as" if len(paths) > 1 else ":"} {pixels.tail(first)}'
                + ', named as a picture: if it is an annotation, see --format'
                * like)
  rest = ordered[_MAX_SUFFIXES:]
  if rest:
    number = sum(len(paths) for _, paths in rest)
    report.note(f'{grammar.counted(number, "file")} of '
                f'{grammar.counted(len(rest), "more suffix")} '
                f'{grammar.verb(number, "are")} not read, such as '
                f'{pixels.tail(min(rest[0][1]))}')


def _walk(source):
  """Yields the folder, relative to `source`, and name of each visible file."""
  seen = set()

  def refuse(error):
    raise error

  for folder, folders, names in os.walk(
      source, onerror=refuse, followlinks=True):
    real = os.path.realpath(folder)
    if real in seen:  # Following a link to an outer folder would never end.
      folders[:] = []
      continue
    seen.add(real)
    folders[:] = sorted(f for f in folders if not f.startswith(('.', '__')))
    base = pathlib.Path(folder).relative_to(source).as_posix()
    for name in names:
      if not name.startswith('.'):
        yield ('' if base == '.' else base), name


def _is_ignored(folder):
  return any(part in _IGNORED_FOLDERS for part in folder.lower().split('/'))


def outer_folders(paths: Sequence[str]) -> frozenset[str]:
  """Returns the folders that all paths have in common."""
  folders = [p.split('/')[:-1] for p in paths]
  return frozenset(os.path.commonprefix(folders)) if len(paths) > 1 else (
      frozenset())


def find_above(
    source: pathlib.Path, paths: Sequence[str], name: str
) -> str:
  """Returns the path of the file `name` in a folder that contains all paths.

  If there are several such folders, the outermost one with the file counts. If
  no folder has the file, the result is `name` itself.
  """
  outer = os.path.commonprefix([p.split('/')[:-1] for p in paths])
  found = ('/'.join([*outer[:end], name]) for end in range(len(outer) + 1))
  return next((path for path in found if (source / path).is_file()), name)


def list_pictures(source: pathlib.Path) -> Pictures:
  """Returns the pictures below `source`."""
  paths = list_files(source, PICTURES)
  outer = outer_folders(paths)
  by_name = {}
  for path in paths:
    by_name.setdefault(pixels.fold(path.rsplit('/', 1)[-1]), []).append(path)
  return Pictures(source, tuple(
      p for p in paths if not any(
          part not in outer and folder_names.is_mask_folder(part)
          for part in p.split('/')[:-1])), by_name)


def stem(path: str) -> str:
  """Returns a path without its suffix; .nii.gz counts as one suffix."""
  base = path[: -len('.gz')] if path.lower().endswith('.nii.gz') else path
  return _SUFFIX.sub('', base)


def make_names(paths: list[str]) -> dict[str, Name]:
  """Returns a short, unique id and the subject's folder for each path.

  data/images/train/p1/a.png becomes p1/a: the id drops folders of images and
  splits, and the folders at the start that all paths share. Ids that would be
  equal keep the folder of the split or, if still equal, the whole path.
  """
  split = lambda path: [p for p in path.split('/') if p not in ('', '.')]
  shared = len(os.path.commonprefix([split(p)[:-1] for p in paths])) if (
      len(paths) > 1) else 0
  names, kept = {}, {}
  for path in paths:
    *folders, name = split(stem(path))
    folders = [f for f in folders[shared:]
               if not folder_names.is_image_folder(f)]
    kept[path] = [f for f in folders if not folder_names.only_splits(f)]
    names[path] = ['/'.join([*kept[path], name]),
                   '/'.join([*folders, name]), path]
  subjects = _subjects(kept)
  result = {}
  for form in range(3):
    count = collections.Counter(n[form] for n in names.values())
    for path, name in names.items():
      if path not in result and (count[name[form]] == 1 or form == 2):
        result[path] = Name(name[form], subjects[path])
  return {path: result[path] for path in paths}


def _subjects(kept):
  """Returns, for each path, the folder that may name a subject, or ''.

  It is the first folder that differs between paths. A folder that holds a whole
  split (train/photos) does not name a subject, nor does one that says what its
  pictures show (benign).
  """
  level = len(os.path.commonprefix(list(kept.values()))) if (
      len(kept) > 1) else 0
  result = {}
  for path, folders in kept.items():
    some = [f for f in folders[level:] if not folder_names.is_finding(f)]
    result[path] = some[0] if some else ''
  by_split = collections.defaultdict(set)
  for path, subject in result.items():
    by_split[split_of(path)].add(subject)
  if len(by_split) > 1 and len(kept) > 2 * len(by_split) and all(
      split and len(names) == 1 for split, names in by_split.items()):
    return dict.fromkeys(kept, '')
  # If there are only a few folders, without digits in their names, they sort
  # pictures by content (Glaucoma) or file type (PNG), and not by subject.
  names = set(result.values()) - {''}
  if len(names) <= _MAX_KINDS and 2 * len(names) < len(kept) and all(
      (len(n) > 3 or f'.{n.lower()}' in PICTURES) and not re.search(r'\d', n)
      for n in names):
    return dict.fromkeys(kept, '')
  return result


def split_of(path: str) -> str:
  """Returns the split that the path's folders indicate; '' if none do."""
  for part in path.split('/')[:-1]:
    split = folder_names.split_word(part)
    if split:
      return split
  return ''


def subject_of(name: Name, pattern: str | None) -> str:
  """Returns the subject of a picture, or '' if it is unknown.

  Args:
    name: name of the picture.
    pattern: regular expression from `Options.subject_pattern`, or None.
  """
  if pattern is not None:
    found = re.search(pattern, name.id)
    return (found[1] or '') if found else ''
  return name.folder


def read_text(path: pathlib.Path) -> str:
  """Reads a text file of at most 512 MiB.

  Raises:
    pixels.WrongFile: if the file cannot be read or is not UTF-8.
  """
  shown = pixels.tail(path.name)
  try:
    if path.stat().st_size > _MAX_TEXT:
      raise pixels.WrongFile(
          'the file is larger than 512 MiB', shown, 'cut it into several')
    return path.read_bytes().decode('utf-8-sig')
  except UnicodeDecodeError as error:
    raise pixels.WrongFile(
        'the file is not UTF-8', shown, 'save it as UTF-8') from error
  except OSError as error:
    raise pixels.WrongFile(
        'the file cannot be read', f'{shown}: {error.strerror}',
        'make it readable') from error


def read_json(path: pathlib.Path) -> Any:
  """Reads a JSON file; raises as `read_text` does."""
  try:
    return json.loads(read_text(path))
  except (ValueError, RecursionError) as error:
    reason = getattr(error, 'msg', None) or 'numbers or nesting too long'
    place = getattr(error, 'lineno', '?')
    raise pixels.WrongFile(
        f'not JSON ({reason}, line {place})', pixels.tail(path.name),
        'export it again') from error


def read_xml(path: pathlib.Path) -> ET.Element:
  """Reads an XML file without entities or DTD; raises as `read_text` does."""
  try:
    return safe_xml.fromstring(read_text(path), forbid_dtd=True)
  except defusedxml.DefusedXmlException as error:
    raise pixels.WrongFile(
        'XML with a DTD or entities is not read', pixels.tail(path.name),
        'remove the DOCTYPE') from error
  except (ET.ParseError, ValueError, RecursionError) as error:
    raise pixels.WrongFile(
        f'not XML ({str(error)[:60]})', pixels.tail(path.name),
        'export it again') from error
