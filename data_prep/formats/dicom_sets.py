"""Pairs DICOM volumes with the objects that segment them.

An object names the series that it was drawn on. If that series is not in the
folder, the object belongs to the only series of the same frame of reference. If
the slices of a series differ in orientation, size or spacing, or lie in several
files of many frames, the object belongs to those like the slices that it names.
"""

import collections
from collections.abc import Callable
import pathlib
from typing import NamedTuple

from data_prep.formats import assembling
from data_prep.formats import dicom_objects
from data_prep.formats import dicom_volumes
from data_prep.formats import pairing
from data_prep.formats import parts as parts_lib
from data_prep.formats import planes
from data_prep.formats import segments
from data_prep.formats import volume_sets
from data_prep.shared import pixels
import numpy as np


class References(NamedTuple):
  """What an object was drawn on.

  Attributes:
    series: UIDs of series.
    frame: UID of the frame of reference, or ''.
    instances: UIDs of the files of these series, if it names them.
  """

  series: tuple[str, ...]
  frame: str
  instances: frozenset[str] = frozenset()


def find(
    source: pathlib.Path,
    report: assembling.Report,
    *,
    kind: str,
    read_references: Callable[[pathlib.Path], References],
    make_files: Callable[
        [Callable[[pathlib.Path], list[planes.Grid]]], segments.Files],
    format_name: str,
) -> volume_sets.Found:
  """Pairs the stacks of a source with objects of one kind.

  Args:
    source: folder of the files.
    report: holds the user's options; receives problems and notices.
    kind: 'SEG' or 'RTSTRUCT'.
    read_references: reads what an object was drawn on.
    make_files: takes a function, which returns the grids of all stacks that an
      object belongs to, and returns how objects are read.
    format_name: name of the format.
  """
  index = dicom_volumes.Index(source, report)
  masks, grids_of, instances_of = {}, {}, {}
  for path, found in sorted(index.objects.items()):
    if found != kind:
      continue
    try:
      references = read_references(source / path)
      owners = _owners(index, references)
      if not owners:
        raise pixels.WrongFile(
            'the series of a segmentation is not in the folder, or of slides',
            pixels.tail(path), 'add the slices that it was drawn on')
    except pixels.WrongFile as wrong:
      report.wrong_file(wrong, file=path)
      continue
    grids_of[source / path] = [
        planes.Grid(index.stacks[name].affine, index.stacks[name].shape)
        for name in owners]
    instances_of[path] = references.instances
    for name in owners:
      masks.setdefault(name, []).append(
          parts_lib.Mask(path, report.options.masks_are))
  others = {p: name for p, name in index.objects.items() if name != kind}
  if others:
    report.note(dicom_objects.describe(others))
  files = make_files(lambda path: grids_of[path])
  for name, some in masks.items():
    own = [m for m in some if any(
        plane.instance in instances_of[m.path]
        for plane in index.stacks[name].planes)]
    masks[name] = _without_rivals(some, own, lambda mask: _names_in(
        files, source / mask.path))
  chosen = {m.strip(' _.-').lower() for m in report.options.mask_folders or ()}
  resolved = parts_lib.resolve(masks, chosen, report)
  return volume_sets.Found(
      index.paths, pairing.Pairs(
          sorted(index.stacks), resolved.masks, {}, (), frozenset()),
      index.names_of, index.read, index.open,
      segments=files,
      subjects=index.subjects(), format_name=format_name,
      files_of=index.files_of())


def _without_rivals(masks, own, names_of):
  """Returns those of the objects of a stack that are drawn there.

  Where slices are missing, a series is several stacks, and an object that names
  only slices of one of them may belong to all. Not to one, however, of which
  another object with the same segment names slices.

  Args:
    masks: all objects that may belong to the stack.
    own: those that name slices of it.
    names_of: takes an object and returns the names of its segments.
  """
  if not 0 < len(own) < len(masks):
    return masks
  taken = set().union(*map(names_of, own))
  return [m for m in masks if m in own or not taken & names_of(m)]


def _names_in(files, path):
  try:
    return {*files.names(path)}
  except pixels.WrongFile:  # The file is refused later, when it is drawn.
    return set()


def _owners(index, references):
  """Returns the names of the stacks that an object was drawn on."""
  for series in references.series:
    owners = index.of_series(series)
    if owners:
      return _like_the_named(index, owners, references.instances)
  owners = index.of_reference(references.frame)
  series = {index.stacks[name].planes[0].series for name in owners}
  return owners if len(series) == 1 else []


def _like_the_named(index, owners, instances):
  """Returns those of the stacks of a series that are like what is named."""
  first = {name: index.stacks[name].planes[0] for name in owners}
  frames = collections.Counter(
      plane.path for name in owners for plane in index.stacks[name].planes)
  file_of = lambda plane: plane.path if frames[plane.path] > 1 else ''
  named = [first[name] for name in owners if any(
      plane.instance in instances for plane in index.stacks[name].planes)]
  alike = lambda a, b: (
      a.size == b.size and file_of(a) == file_of(b)
      and np.allclose(a.axes, b.axes, atol=1e-3)
      and np.allclose(a.spacing, b.spacing, rtol=1e-3))
  return [name for name in owners
          if any(alike(first[name], plane) for plane in named)] or owners
