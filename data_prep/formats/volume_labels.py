"""Reads label files of volumes as classes on the grid of their image.

All files are read twice, since the meaning of a value depends on all files, and
a set of volumes does not fit into memory.
"""

from collections.abc import Callable, Iterable
import pathlib
from typing import NamedTuple

import numpy as np

from data_prep.formats import declared_names
from data_prep.formats import grids
from data_prep.formats import label_table
from data_prep.formats import mask_values
from data_prep.formats import oddities
from data_prep.formats import parts as parts_lib
from data_prep.formats import uniting
from data_prep.formats import volumes
from data_prep.shared import grammar
from data_prep.shared import pixels
from data_prep.shared import volume_type


class Meaning(NamedTuple):
  """The meaning of stored values, found by reading all label files once.

  Attributes:
    values: for each kind of label, a mapping of stored values to classes, or to
      255 for unlabelled. A kind whose values are class numbers has no mapping.
    highest: the highest class number.
    declared: names and values that the source declares.
  """

  values: dict[str, dict[str, int]]
  highest: int
  declared: declared_names.Declared


def look_through(
    source: pathlib.Path,
    masks: list[parts_lib.Mask],
    report,
    declared: declared_names.Declared,
    *,
    read: Callable[[pathlib.Path], volume_type.Volume],
) -> Meaning:
  """Decides what the stored values of labels mean and how classes are named.

  Args:
    source: folder that the files are in.
    masks: all label files; those of single structures are not opened.
    report: holds the user's options; receives problems and notices.
    declared: names and values that dataset.json and --classes declare.
    read: function that reads a file.
  """
  options, counted, tables = report.options, [], []
  for mask in masks:
    if mask.piece or options.mask_threshold is not None:
      continue
    try:
      labels = read(source / mask.path)
      values = volumes.class_numbers(labels, mask.path)
    except pixels.WrongFile:
      continue  # The file is refused later, when it is read.
    counted.append((mask.kind, mask_values.counts_of(values)))
    tables.append(labels.names)
  if declared.values is None and declared.classes in (None, options.classes):
    declared = _declare_names(tables, counted, report) or declared
  return Meaning(*mask_values.decide(counted, report, declared), declared)


def count_values(
    path: pathlib.Path, read: Callable[[pathlib.Path], volume_type.Volume]
) -> dict[int, int]:
  """Returns the number of voxels per stored value; {} if a file is damaged."""
  try:
    return mask_values.counts_of(np.asarray(read(path).voxels))
  except pixels.WrongFile:  # The file is refused later, when it is read.
    return {}


def _declare_names(tables, counted, report):
  """Returns the classes that the headers of label files name.

  The result is None if these names are missing or not used.

  Args:
    tables: for each file, the name of each value in its header.
    counted: kind of each file, and its number of voxels by stored value.
    report: holds the user's options; receives notices.
  """
  options = report.options
  if not any(tables) or options.mask_values or options.mask_threshold:
    return None
  names = label_table.unite(tables)
  if not names:
    report.note('the labels name their classes differently: the names in '
                'their headers are not used')
    return None
  stored = {v for _, counts in counted for v in counts} - {0, 255}
  names |= {v: f'class_{v}' for v in stored if v not in names}
  if options.classes is not None:
    if not set(options.classes[1:]) <= set(names.values()):
      return None
  elif stored:
    unused = len(names) - len(stored)
    names = {v: n for v, n in names.items() if v in stored}
    rest = (f'; {unused} that {grammar.verb(unused, "occur")} nowhere '
            f'{grammar.verb(unused, "are")} left out' if unused else '')
    report.note(f'{grammar.counted(len(names), "class", "are")} named by the '
                f'headers of the labels{rest}')
  ignored = {v for v, n in names.items() if declared_names.is_ignored_name(n)}
  for value in sorted(ignored):
    report.note(f'{names[value]!r} of the headers, value {value}, is read as '
                'unlabelled')
  kept = {v: n for v, n in sorted(names.items()) if v not in ignored}
  return declared_names.declare(
      {0: 'background'} | kept, ignored, report, where='the headers')


class Reader:
  """Reads the labels of volumes, and collects what is odd about the files."""

  def __init__(
      self,
      source: pathlib.Path,
      values: dict[str, dict[str, int]],
      uniter: uniting.Uniter,
      report,
      *,
      is_asked: bool,
      read: Callable[[pathlib.Path], volume_type.Volume],
  ):
    """Creates a reader that has read no files yet.

    Args:
      source: folder that the files are in.
      values: mapping of stored values for each kind of label, see `Meaning`.
      uniter: unites several label files of a volume.
      report: holds the user's options; receives problems and, from `tell`,
        notices.
      is_asked: whether a problem already asks the user about stored values.
      read: function that reads a file.
    """
    self._source = source
    self._values = values
    self._options = report.options
    self._uniter, self._report = uniter, report
    self._is_asked = is_asked
    self._read_volume = read
    self._oddities = oddities.Oddities()

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
        read = []
        for mask in some:
          path = mask.path
          read.append(self._read_file(path, kind, volume))
        labels[kind] = self._uniter.unite(read, some, name)
    except pixels.WrongFile as wrong:
      # Ask only once.
      if not (self._is_asked and wrong.what == mask_values.NO_CLASS):
        self._report.wrong_file(wrong, file=path)
      return None
    return labels

  def _read_file(self, path, kind, volume):
    """Returns the classes in one label file, on the grid of its volume."""
    labels = self._read_volume(self._source / path)
    shown = pixels.tail(path.rsplit('/', 1)[-1])
    placed = grids.place(labels, volume, shown)
    self.add_oddities(labels.notices, path)
    if placed.is_turned:
      self.add_oddities(('labels are stored flipped or with other axes than '
                         'their image and are turned to its grid',), path)
    if self._options.mask_threshold is not None:
      return (np.asarray(placed.voxels) >= self._options.mask_threshold
              ).astype(np.uint8)
    values = self._values.get(kind, self._options.mask_values)
    stored = volumes.class_numbers(
        labels._replace(voxels=placed.voxels), shown)
    if not values and stored.min() < 0:
      raise pixels.WrongFile(
          'labels hold negative values', f'{shown}: {stored.min()}',
          'save class numbers, or map it: --mask_values=-1:255,0:0,...')
    return mask_values.to_classes(stored, values, shown)

  def add_oddities(self, texts: Iterable[str], path: str) -> None:
    """Records descriptions of what is odd about a file, for `tell`."""
    self._oddities.add(texts, path)

  def tell(self) -> None:
    """Notes each oddity with the number of files and the first of them."""
    self._oddities.tell(self._report)
