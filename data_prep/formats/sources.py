"""Files of a foreign source: listing, naming, parsing; nothing is trusted.

Whatever is wrong with a file is a `pixels.WrongFile`, as of pictures.
"""

import json
import math
import os
import pathlib
import re
from typing import Any, NamedTuple
import xml.etree.ElementTree as ET

import defusedxml
from defusedxml import ElementTree as safe_xml

from data_prep import pixels

# Folder names, in lower case, and what lies in them.
IMAGE_FOLDERS = (
    'images', 'image', 'imgs', 'img', 'imagestr', 'imagests', 'jpegimages',
    'frames')
MASK_FOLDERS = (
    'masks', 'mask', 'labels', 'label', 'labelstr', 'labelsts', 'gt',
    'ground_truth', 'groundtruth', 'segmentations', 'segmentation',
    'segmentationclass', 'annotations')
KIND_FOLDERS = {
    'scribbles': 'scribble', 'scribble': 'scribble',
    'coarse_masks': 'coarse_mask', 'coarse_mask': 'coarse_mask'}
SPLIT_FOLDERS = {
    'train': 'train', 'training': 'train', 'val': 'val', 'valid': 'val',
    'validation': 'val', 'test': 'test', 'testing': 'test'}

# The last four are converted.
PICTURES = (
    *sorted(pixels.KNOWN_SUFFIXES), '.npy', '.dcm', '.dicom', '.ima')

_MAX_TEXT = 2**29  # Bytes of one JSON, XML or text file.
_MAX_LABEL = 200


class Pictures(NamedTuple):
  """The pictures below a source.

  Attributes:
    source: its folder.
    paths: relative to it with '/', sorted.
    by_name: those paths by their last part.
  """

  source: pathlib.Path
  paths: tuple[str, ...]
  by_name: dict[str, list[str]]

  def find(self, name: str) -> str | None:
    """Returns the one path that a file means by `name`, None if unclear."""
    name = name.replace('\\', '/').lstrip('/')
    parts = [p for p in name.split('/') if p not in ('', '.', '..')]
    found = self.by_name.get(parts[-1], []) if parts else []
    for length in range(len(parts), 0, -1):
      tail = '/'.join(parts[-length:])
      ends = [p for p in found if p == tail or p.endswith('/' + tail)]
      if len(ends) == 1 or tail in ends:
        return tail if tail in ends else ends[0]
    return None


def list_files(source: pathlib.Path, suffixes: tuple[str, ...]) -> list[str]:
  """Returns the paths below `source` that end so, sorted; none is hidden.

  Raises:
    OSError: if the folder cannot be listed.
  """
  found = []

  def refuse(error):
    raise error

  for folder, folders, names in os.walk(source, onerror=refuse):
    folders[:] = sorted(f for f in folders if not f.startswith(('.', '__')))
    base = pathlib.Path(folder).relative_to(source)
    found += [
        (base / n).as_posix() for n in names
        if n.lower().endswith(suffixes) and not n.startswith('.')]
  return sorted(found)


def list_pictures(source: pathlib.Path) -> Pictures:
  """Returns the pictures below `source` that are in no folder of masks."""
  paths = [
      p for p in list_files(source, PICTURES)
      if not any(part in (*MASK_FOLDERS, *KIND_FOLDERS)
                 for part in p.lower().split('/')[:-1])]
  by_name = {}
  for path in paths:
    by_name.setdefault(path.rsplit('/', 1)[-1], []).append(path)
  return Pictures(source, tuple(paths), by_name)


def stem(path: str) -> str:
  """Returns a path without its suffix; of .nii.gz, without both."""
  base = path[: -len('.gz')] if path.lower().endswith('.nii.gz') else path
  return os.path.splitext(base)[0]


def make_ids(paths: list[str]) -> dict[str, str]:
  """Returns an id for each path: without suffix and folders that say nothing.

  images/train/p1/a.png is p1/a. Where two would be the same, they are the
  whole paths.
  """
  said = {}
  for path in paths:
    *folders, name = stem(path).split('/')
    kept = [f for f in folders
            if f.lower() not in (*IMAGE_FOLDERS, *SPLIT_FOLDERS)]
    said[path] = '/'.join([*kept, name])
  count = {}
  for value in said.values():
    count[value] = count.get(value, 0) + 1
  return {p: value if count[value] == 1 else p for p, value in said.items()}


def split_of(path: str) -> str:
  """Returns the split that a folder of the path names, or ''."""
  for part in path.lower().split('/')[:-1]:
    if part in SPLIT_FOLDERS:
      return SPLIT_FOLDERS[part]
  return ''


def subject_of(row_id: str, pattern: str | None) -> str:
  """Returns the subject that an id tells, see `Options`, or ''."""
  if pattern is not None:
    found = re.search(pattern, row_id)
    return (found[1] or '') if found else ''
  return row_id.split('/')[0] if '/' in row_id else ''


def read_text(path: pathlib.Path) -> str:
  """Reads a text file of at most 512 MiB.

  Raises:
    pixels.WrongFile: if it cannot be read.
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


def number(value: Any) -> float:
  """Returns a finite number below 1e9 that JSON or text may hold.

  Raises:
    ValueError: if it is none.
  """
  if isinstance(value, bool) or not isinstance(value, (int, float, str)):
    raise ValueError(f'{value!r:.40} is not a number')
  if isinstance(value, str) and len(value) > 60:
    raise ValueError(f'{value!r:.40} is not a number')
  result = float(value)
  if not math.isfinite(result) or abs(result) >= 1e9:
    raise ValueError(f'{value!r:.40} is not a finite number below 1e9')
  return int(result) if result == int(result) else result


def points(values: Any) -> list[list[float]]:
  """Returns [[x, y], ...] of numbers; raises ValueError if it is not that."""
  if not isinstance(values, list):
    raise ValueError('expected a list of [x, y]')
  result = []
  for value in values:
    if not isinstance(value, (list, tuple)) or len(value) != 2:
      raise ValueError('expected a list of [x, y]')
    result.append([number(value[0]), number(value[1])])
  return result


def text(value: Any) -> str:
  """Returns a name that a file gives; raises ValueError if it is none."""
  if not isinstance(value, (str, int)) or isinstance(value, bool):
    raise ValueError(f'{value!r:.40} is not a name')
  value = str(value).strip()
  if not value or len(value) > _MAX_LABEL or pixels.is_bad_text(value):
    raise ValueError(f'{value!r:.40} is not a name')
  return value
