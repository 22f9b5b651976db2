"""Makes volumes of DICOM series and of DICOM files of several frames.

The slices of a series are sorted by their positions in the patient, never by
names or numbers. Those of one orientation, size and spacing whose distances are
even form a stack, which is a volume; where slices are missing, the next stack
begins, with a notice. The axes of a volume are rows, columns and slices.
"""

import collections
from collections.abc import Iterable, Sequence
import pathlib
from typing import NamedTuple

import numpy as np

from data_prep.formats import dicom
from data_prep.formats import dicom_slices
from data_prep.formats import sources
from data_prep.formats import volumes
from data_prep.shared import pixels
from data_prep.shared import volume_type

SUFFIXES = ('.dcm', '.dicom', '.ima')

_GAP = 1.5  # Slices are missing where a distance is so many times the usual.
_UNEVEN = 0.02  # Share by which distances may differ without a notice.
_SAME_MM = 1e-3  # Two slices nearer than this lie at the same position.


class Stack(NamedTuple):
  """Slices that form a volume.

  Attributes:
    planes: the slices in the order of their positions.
    affine: maps (row, column, slice) to mm; right, front and top (RAS+).
    notices: oddities of the stack.
  """

  planes: tuple[dicom_slices.Plane, ...]
  affine: np.ndarray
  notices: tuple[str, ...]

  @property
  def path(self) -> str:
    """Path of the first file, by name."""
    return min(plane.path for plane in self.planes)

  @property
  def shape(self) -> tuple[int, int, int]:
    return *self.planes[0].size, len(self.planes)


class Index:
  """The DICOM files of a source.

  Attributes:
    stacks: each stack by its name, a path: that of its first file, with a
      number at the end if it is not the first stack of that file.
    objects: path of each file without a picture, with its type, such as 'SEG'.
    names_of: name of each stack, for ids.
    paths: paths of all files.
  """

  def __init__(
      self,
      source: pathlib.Path,
      report,
      paths: Sequence[str] | None = None,
  ):
    """Reads the headers of files.

    Args:
      source: folder of the files.
      report: receives problems and notices.
      paths: the files, relative to the folder; None means all below it.
    """
    self._source = source
    self.paths = tuple(
        sources.list_files(source, SUFFIXES) if paths is None else paths)
    self.objects, files, placeless = {}, [], []
    for path in self.paths:
      try:
        with dicom.explaining(pixels.tail(path)):
          data = dicom_slices.parse_place(source / path)
          kind = dicom.object_name_of(data)
          found = [] if kind else dicom_slices.planes_of(data, path)
      except pixels.WrongFile as wrong:
        # What is wrong with an object is reported by those who need it.
        kind = dicom.object_name(source / path)
        if kind is None:
          report.wrong_file(wrong, file=path)
          continue
      if kind is not None:
        self.objects[path] = kind
        continue
      files.append(found)
      if not found:
        placeless.append(path)
    if placeless:
      report.note_unread(placeless, 'DICOM file', 'no position, orientation or '
                         'spacing; --format=folder reads pictures')
    self.stacks = {}
    for stack in _make_stacks(files, report):
      name = path = stack.path
      number = 2
      while name in self.stacks:
        name, number = f'{path}#{number}', number + 1
      self.stacks[name] = stack
    self.names_of = self._make_names()
    self._last = None, None

  def _make_names(self):
    """Names a stack after its folder, or after its first file if there is
    another one in the folder or no other file.
    """
    folder = lambda name: name.partition('#')[0].rpartition('/')[0]
    count = collections.Counter(folder(name) for name in self.stacks)
    shown = {}
    for name in self.stacks:
      own, first = folder(name), name.partition('#')[0]
      is_one_file = len({p.path for p in self.stacks[name].planes}) == 1
      path = f'{own or self._source.name}.dcm'
      if is_one_file or count[own] > 1:
        number = name.partition('#')[2]
        path = f'{sources.stem(first)}{number and "_" + number}.dcm'
      shown[path if path not in shown else f'{name}.dcm'] = name
    names = sources.make_names(list(shown))
    return {shown[path]: found for path, found in names.items()}

  def find(self, path: pathlib.Path) -> Stack:
    """Returns a stack by its name below the source."""
    return self.stacks[path.relative_to(self._source).as_posix()]

  def of_series(self, series: str) -> list[str]:
    """Returns the names of the stacks of a series."""
    return [name for name, stack in self.stacks.items()
            if stack.planes[0].series == series]

  def of_reference(self, reference: str) -> list[str]:
    """Returns the names of the stacks in a frame of reference."""
    return [name for name, stack in self.stacks.items()
            if reference and stack.planes[0].reference == reference]

  def files_of(self) -> dict[str, tuple[str, ...]]:
    """Returns the files of each stack with their frames, as `a.dcm#0`."""
    return {name: tuple(f'{p.path}#{p.frame}' for p in stack.planes)
            for name, stack in self.stacks.items()}

  def subjects(self) -> dict[str, str]:
    """Returns a number for the patient of each stack, if its file tells one."""
    patients, result = dicom.Patients(), {}
    for name, stack in self.stacks.items():
      number = patients.number_of(self._source / stack.path)
      if number is not None:
        result[name] = f'patient_{number:04d}'
    return result

  def read(self, path: pathlib.Path) -> volume_type.Volume:
    """Reads a stack into memory.

    Raises:
      pixels.WrongFile: if a file cannot be used, or the stack is too large.
    """
    return self._volume(path, is_lazy=False)

  def open(self, path: pathlib.Path) -> volume_type.Volume:
    """Opens a stack; its slices are read when a block is read."""
    return self._volume(path, is_lazy=True)

  def _volume(self, path, *, is_lazy):
    stack = self.find(path)
    limit = volumes.MAX_LAZY_BYTES if is_lazy else volumes.MAX_BYTES
    if int(np.prod(stack.shape, dtype=object)) * max(
        2, stack.planes[0].itemsize) > limit:
      raise pixels.WrongFile(
          f'the series is larger than {limit >> 20} MiB',
          pixels.tail(stack.path), 'crop it')
    dtype = np.result_type(*{plane.dtype for plane in stack.planes})

    def read(block):
      rows, columns, some = block
      found = [self._pixels(plane)[rows, columns].astype(dtype, copy=False)
               for plane in stack.planes[some]]
      if not found:
        return np.empty((rows.stop - rows.start, columns.stop - columns.start,
                         0), dtype)
      return np.stack(found, -1)

    voxels = volume_type.Lazy(stack.shape, dtype, read)
    if not is_lazy:
      voxels = np.asarray(voxels)
    volumes.check_affine(stack.affine, pixels.tail(stack.path))
    return volume_type.Volume(voxels, stack.affine, notices=stack.notices)

  def _pixels(self, plane):
    """Returns the rescaled values of a slice, [rows, columns]."""
    if self._last[0] != plane.path:
      self._last = plane.path, dicom_slices.read_frames(
          self._source / plane.path)
    return dicom_slices.rescaled(plane, *self._last[1])


def _make_stacks(files, report):
  """Divides slices into stacks, in the order of the names of their files.

  Args:
    files: the slices of each file.
    report: receives problems and notices.
  """
  stacks, gaps, copies = [], [], []
  for group in _groups(files):
    normal = np.cross(group[0].axes[1], group[0].axes[0])
    group = sorted(group, key=lambda p: (p.position @ normal, p.path, p.frame))
    group, same = _without_copies(group, normal)
    copies += same
    try:
      runs = _runs(group, normal)
    except pixels.WrongFile as wrong:
      report.wrong_file(wrong, file=group[0].path)
      continue
    if len(runs) > 1:
      gaps.append(group[0].path)
    stacks += [_stack(run) for run in runs]
  if gaps:
    report.note(
        f'slices are missing in {len(gaps)} series, such as that of '
        f'{pixels.tail(gaps[0])}: it is read as several volumes, up to each '
        'gap and after it')
  if copies:
    report.note_unread(copies, 'DICOM file', 'a copy of another slice')
  return sorted(stacks, key=lambda s: (s.path, s.planes[0].frame))


def _groups(files):
  """Groups slices of one series, size, orientation and spacing.

  The frames of a file with several of them are not mixed with other files.
  """
  groups = collections.defaultdict(list)
  for planes in files:
    for plane in planes:
      key = (plane.series or plane.path, plane.size,
             plane.path if len(planes) > 1 else '')
      for group in groups[key]:
        if np.allclose(group[0].axes, plane.axes, atol=1e-3) and np.allclose(
            group[0].spacing, plane.spacing, rtol=1e-3):
          group.append(plane)
          break
      else:
        groups[key].append([plane])
  return [group for some in groups.values() for group in some]


def _without_copies(group, normal):
  """Returns the slices without copies, and the paths of the copies."""
  kept, copies = [], []
  for plane in group:
    last = kept[-1] if kept else None
    if last is not None and plane.path != last.path and (
        plane.instance == last.instance != '') and abs(
            (plane.position - last.position) @ normal) < _SAME_MM:
      copies.append(plane.path)
    else:
      kept.append(plane)
  return kept, copies


def _runs(group, normal):
  """Divides sorted slices at gaps; refuses two slices at one position."""
  places = np.array([plane.position @ normal for plane in group])
  gaps = np.diff(places)
  if len(gaps) and gaps.min() < _SAME_MM:
    raise pixels.WrongFile(
        'a series has several slices at one position, as of time or echoes',
        pixels.tail(group[int(gaps.argmin())].path),
        'keep one of each in the folder')
  runs = [[group[0]]]
  # The lower median: half of two distances may be a gap.
  usual = np.sort(gaps)[(len(gaps) - 1) // 2] if len(gaps) else 0.0
  for plane, gap in zip(group[1:], gaps, strict=True):
    if gap > _GAP * usual:
      runs.append([])
    runs[-1].append(plane)
  return runs


def _stack(planes):
  """Returns the stack of slices at even distances."""
  first, last = planes[0], planes[-1]
  normal = np.cross(first.axes[1], first.axes[0])
  notices = []
  if len(planes) > 1:
    step = (last.position - first.position) / (len(planes) - 1)
    even = first.position + np.arange(len(planes))[:, None] * step
    off = np.abs(np.stack([p.position for p in planes]) - even).max()
    if off > _UNEVEN * np.linalg.norm(step):
      notices.append('distances of slices are uneven; their mean is used')
  else:
    step = normal  # The thickness of a slice is not the distance of slices.
  affine = np.eye(4)
  affine[:3, 0] = first.axes[0] * first.spacing[0]
  affine[:3, 1] = first.axes[1] * first.spacing[1]
  affine[:3, 2] = step
  affine[:3, 3] = first.position
  affine[:3] *= dicom_slices.LPS[:, None]
  return Stack(tuple(planes), affine, tuple(notices))


def read_again(files: Iterable[str]) -> volume_type.Volume:
  """Reads a stack by its entry `files` in volumes.json."""
  wanted = [(pathlib.Path(f), int(n)) for f, _, n in (
      name.rpartition('#') for name in files)]
  contents, planes = {}, {}
  for path in {path for path, _ in wanted}:
    contents[path] = dicom_slices.read_frames(path)
    planes[path] = dicom_slices.read_planes(path.parent, path.name)
  found = _stack([planes[path][frame] for path, frame in wanted])
  return volume_type.Volume(np.stack([
      dicom_slices.rescaled(planes[path][frame], *contents[path])
      for path, frame in wanted], -1), found.affine)
