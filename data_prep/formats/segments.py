"""Reads labels that are made of named segments, such as liver and tumour.

The formats `nrrd` (of 3D Slicer), `dicom_seg` and `rtstruct` name what they
draw. There, a number means nothing: segment 1 may be the liver in one file and
the spleen in the next. So classes are the names, in alphabetical order or in
the order of --classes. A segment that --classes does not name is not drawn.
Where segments overlap, the later class wins, and the overlap is counted. If a
volume has no segment of a name that others have, nobody knows whether somebody
looked for it, so what no segment shows is unlabelled there.
"""

import collections
from collections.abc import Callable, Iterable, Mapping, Sequence
import pathlib
from typing import NamedTuple

from hybridseg import types
import numpy as np

from data_prep.formats import declared_names
from data_prep.formats import entries
from data_prep.formats import oddities
from data_prep.formats import parts as parts_lib
from data_prep.formats import uniting
from data_prep.shared import grammar
from data_prep.shared import pixels
from data_prep.shared import volume_type

UNLABELLED = 'unlabelled'  # Segment of unlabelled voxels, as it is written.

_MAX_CLASSES = 254
_MAX_NAME = 60


class Fault(NamedTuple):
  """A shape that cannot be drawn.

  Attributes:
    segment: name of its segment.
    what: what is wrong.
    found: what was found instead, or ''.
  """

  segment: str
  what: str
  found: str = ''


class Drawn(NamedTuple):
  """The segments of one file on the grid of an image.

  Attributes:
    label: class per voxel, uint8 of the shape of the image.
    overlap: number of voxels of several segments.
    notices: oddities of the file that are not faults, one per string.
    faults: shapes that cannot be drawn.
    lost: where they may lie, bool of the shape of the image; None if there are
      none.
  """

  label: np.ndarray
  overlap: int = 0
  notices: tuple[str, ...] = ()
  faults: tuple[Fault, ...] = ()
  lost: np.ndarray | None = None


class Files(NamedTuple):
  """The functions of a format that read the segments of a file.

  Attributes:
    names: takes the path of a file and returns the names of its segments, also
      of those that are empty.
    draw: takes the path of a file, the volume of the image that defines the
      grid, and the value of each name that is drawn. Segments are drawn in the
      order of this mapping, see `Canvas`.
  """

  names: Callable[[pathlib.Path], tuple[str, ...]]
  draw: Callable[
      [pathlib.Path, volume_type.Volume, Mapping[str, int]], Drawn]


class Canvas:
  """A label map on which segments are drawn, each over the ones before.

  Attributes:
    label: the values, uint8; 0 where nothing is drawn.
  """

  def __init__(self, shape: tuple[int, ...]):
    self.label = np.zeros(shape, np.uint8)
    self._shared = None  # Voxels of several classes, once there are any.

  @property
  def overlap(self) -> int:
    """Number of voxels that were drawn with several classes."""
    return 0 if self._shared is None else int(np.count_nonzero(self._shared))

  def draw(
      self, mask: np.ndarray, value: int, block: tuple[slice, ...] = ()
  ) -> None:
    """Draws a segment.

    Args:
      mask: bool array of the shape of the block.
      value: class of the segment, or 255 for unlabelled.
      block: part of the label map that the mask covers; () means all.
    """
    part = self.label[block]
    if value != types.UNLABELLED:
      twice = mask & (part != 0) & (part != value) & (part != types.UNLABELLED)
      if twice.any():
        if self._shared is None:
          self._shared = np.zeros(self.label.shape, bool)
        self._shared[block] |= twice
    part[mask] = value


def clean(name: object) -> str:
  """Returns the name of a segment as a class can have it; '' if it is none.

  A control character, such as a line break, counts as a space.
  """
  shown = ''.join(' ' if pixels.is_bad_text(c) else c for c in str(name))
  try:
    return ' '.join(entries.text(shown).split())[:_MAX_NAME]
  except ValueError:
    return ''


def check_classes(classes: Sequence[str]) -> None:
  """Refuses classes that no reader would return if they named segments.

  Args:
    classes: class names, background first.

  Raises:
    pixels.WrongFile: if a class cannot be the name of a segment.
  """
  for name in classes[1:]:
    if clean(name) != name or declared_names.is_ignored_name(name):
      raise pixels.WrongFile(
          'a class cannot be the name of a segment', repr(name[:_MAX_NAME]),
          'rename it in the manifest: up to 60 characters, single spaces')


def check_distinct(
    names: Iterable[str], shown: str, *, noun: str = 'segments'
) -> None:
  """Refuses a file in which two segments have one name.

  Args:
    names: names of all segments of the file.
    shown: name of the file, for messages.
    noun: what the format calls segments.

  Raises:
    pixels.WrongFile: if a name occurs twice.
  """
  names = list(names)
  if len(set(names)) < len(names):
    raise pixels.WrongFile(
        f'two {noun} have one name', shown, 'rename or unite them')


def _lay(label, more):
  """Draws the label map of a further file, in the order of all classes.

  Returns:
    The number of voxels that have a class in both.
  """
  both = (label != 0) & (label != types.UNLABELLED) & (more != 0) & (
      more != types.UNLABELLED)
  overlap = int(np.count_nonzero(both & (label != more)))
  later = (more != 0) & (label == 0)
  later |= (label == types.UNLABELLED) & (more != 0)
  later |= both & (more > label)
  label[later] = more[later]
  return overlap


class Reader:
  """Reads the segments of volumes as classes; has the interface of
  `volume_labels.Reader`.
  """

  def __init__(
      self,
      source: pathlib.Path,
      files: Files,
      uniter: uniting.Uniter,
      report,
  ):
    """Creates a reader that has read no files yet.

    Args:
      source: folder that the files are in.
      files: how segments are read.
      uniter: counts overlaps, for its own `tell`.
      report: holds the user's options; receives problems and, from `tell`,
        notices.
    """
    self._source, self._files = source, files
    self._uniter, self._report = uniter, report
    self._names, self._values = {}, {}
    self._oddities = oddities.Oddities()
    self._lacking = []

  def look_through(self, masks: Iterable[parts_lib.Mask]) -> tuple[str, ...]:
    """Reads the names of all segments; returns the classes of the set."""
    report, options = self._report, self._report.options
    count = collections.Counter()
    for mask in masks:
      try:
        self._names[mask.path] = self._files.names(self._source / mask.path)
        count.update(set(self._names[mask.path]))
      except pixels.WrongFile:
        continue  # The file is refused later, when it is read.
    ignored = sorted(n for n in count if declared_names.is_ignored_name(n))
    for name in ignored:
      report.note(f'segment {name!r} is read as unlabelled')
    found = sorted(set(count) - set(ignored) - {''})
    if options.classes is None:
      names = found
      self._tell_alike(found)
    else:
      names = [n for n in options.classes[1:]
               if not declared_names.is_ignored_name(n)]
      self._check_classes(names, found)
    if len(names) > _MAX_CLASSES:
      report.wrong(f'more than {_MAX_CLASSES} segments', str(len(names)),
                   'choose some: --classes=background,...')
      names = names[:_MAX_CLASSES]
    # What is unlabelled lies below all classes, since classes say more.
    self._values = dict.fromkeys(ignored, types.UNLABELLED) | {
        name: i for i, name in enumerate(names, start=1)}
    if found and options.classes is None:
      shown = [repr(n) if ',' in n else n for n in found]
      text = ', '.join(shown[:5])[:60]
      report.note(
          f'{grammar.counted(len(found), "class", "are")} named by segments: '
          f'{text}{"" if text == ", ".join(shown) else ", ..."}')
    background = options.classes[0] if options.classes else 'background'
    return background, *(names or ['foreground'])

  def _tell_alike(self, names):
    groups = collections.defaultdict(list)
    for name in names:
      groups[''.join(c for c in name.casefold() if c.isalnum())].append(name)
    for some in groups.values():
      if len(some) > 1:
        self._report.note(
            f'segments {some[0][:40]!r} and {some[1][:40]!r} are two classes: '
            'rename one of them if they are the same')

  def _check_classes(self, names, found):
    unknown = [n for n in names if n not in found]
    if unknown and found:
      self._report.wrong(
          '--classes names what no segment does; there are '
          f'{", ".join(found)[:60]}', ', '.join(unknown)[:60], 'correct it')
    left = [n for n in found if n not in names]
    if left and not unknown:
      self._report.note(
          f'{grammar.counted(len(left), "segment name")} that --classes leaves '
          f'out {grammar.verb(len(left), "become")} background: '
          f'{", ".join(left)[:60]}')

  def read(
      self,
      masks: dict[str, list[parts_lib.Mask]],
      volume: volume_type.Volume,
      name: str,
  ) -> dict[str, np.ndarray] | None:
    """Reads all labels of a volume.

    Args:
      masks: the label files of the volume, by kind.
      volume: the volume of the image, which defines the grid.
      name: name of the volume, for messages.

    Returns:
      The classes by kind, uint8 [A, B, C]; None if a file is refused.
    """
    labels, path = {}, ''
    try:
      for kind, some in masks.items():
        label, drawn, overlap = None, {}, 0
        for mask in some:
          path = mask.path
          self._check_once(path, drawn)
          found = self._files.draw(self._source / path, volume, self._values)
          self.add_oddities(found.notices, path)
          overlap += found.overlap
          if label is None:
            label = found.label
          else:
            overlap += _lay(label, found.label)
          self._tell_faults(found, label, path, name)
        if overlap:
          self._uniter.add_overlap(overlap, name)
        labels[kind] = self._finish(label, set(drawn), name)
    except pixels.WrongFile as wrong:
      self._report.wrong_file(wrong, file=path)
      return None
    return labels

  def _check_once(self, path, drawn):
    """Refuses a file with a segment that another file of the image has."""
    if path not in self._names:
      self._names[path] = self._files.names(self._source / path)
    for name in self._names[path]:
      if name in drawn and name in self._values:
        raise pixels.WrongFile(
            'two files draw the same segment of one image',
            f'{pixels.tail(path)}, {pixels.tail(drawn[name])}: {name[:40]}',
            'keep one, or choose: --mask_folder=NAME')
      drawn[name] = path

  def _tell_faults(self, found, label, path, name):
    """Refuses shapes that cannot be drawn, or makes their area unlabelled."""
    for fault in found.faults:
      self._report.wrong_shape(
          fault.what, fault.found, file=path, row_id=name, field=fault.segment)
    if found.lost is not None:
      label[found.lost & (label == 0)] = types.UNLABELLED

  def _finish(self, label, drawn, name):
    """Makes what no segment shows unlabelled if segments are missing."""
    wanted = {n for n, v in self._values.items() if v != types.UNLABELLED}
    if wanted - drawn:
      self._lacking.append(name)
      label[label == 0] = types.UNLABELLED
    return label

  def add_oddities(self, texts: Iterable[str], path: str) -> None:
    """Records descriptions of what is odd about a file, for `tell`."""
    self._oddities.add(texts, path)

  def tell(self) -> None:
    """Notes each oddity with the number of files and the first of them."""
    self._oddities.tell(self._report)
    if self._lacking:
      number = len(self._lacking)
      self._report.note(
          f'{grammar.counted(number, "volume", "lack")} a segment that others '
          f'have, such as {pixels.tail(self._lacking[0])}: what no segment '
          'shows is unlabelled there; --classes names what all have')
