"""Reads DICOM series with their structure sets (RTSTRUCT).

A contour is a polygon in a slice of the image. Of the contours of one structure
in one slice, a pixel whose centre lies inside an odd number belongs to it
(XOR), so that a contour inside another one is a hole. Pixels whose centres lie
on a contour belong to it, too: many programs lead contours through the centres
of the outermost pixels. Contours are matched to slices by position. If a
structure is drawn only on every second slice or fewer, nobody drew the slices
between: they are unlabelled. Structures without closed contours are not read.
"""

from collections.abc import Mapping
import functools
import pathlib
from typing import NamedTuple

import numpy as np

from data_prep import formats
from data_prep.drawing import covering
from data_prep.formats import assembling
from data_prep.formats import dicom
from data_prep.formats import dicom_seg
from data_prep.formats import dicom_sets
from data_prep.formats import dicom_slices
from data_prep.formats import dicom_volumes
from data_prep.formats import planes
from data_prep.formats import segments
from data_prep.formats import volume_sets
from data_prep.shared import pixels
from data_prep.shared import volume_type

HOLDS = ()
KIND = 'RTSTRUCT'

_TAGS = ('StructureSetROISequence', 'ROIContourSequence')
_CLOSED = ('CLOSED_PLANAR', 'CLOSEDPLANAR_XOR')
_ON_EDGE = 1e-3  # Largest distance, in pixels, of a centre on a contour.
_MAX_TILT = 0.1  # Largest extent of a contour across the slices, in slices.


class _Structure(NamedTuple):
  """A structure.

  Attributes:
    name: its name.
    contours: points of each closed contour in mm, [N, 3], RAS+.
  """

  name: str
  contours: list[np.ndarray]


def detect(source: pathlib.Path) -> bool:
  """Returns whether all pictures below `source` are DICOM, and some file is a
  structure set.
  """
  return dicom_seg.is_set_of(source, KIND)


def find(
    source: pathlib.Path,
    report: assembling.Report,
    *,
    folder: pathlib.Path | None = None,
) -> volume_sets.Found:
  """Pairs series with structure sets; has the interface of `nifti.find`."""
  del folder  # Nothing is decompressed.
  return dicom_sets.find(
      source, report, kind=KIND, read_references=read_references,
      make_files=lambda grids_of: segments.Files(
          names, functools.partial(draw, grids_of=grids_of)),
      format_name='rtstruct')


def read(
    source: pathlib.Path, output: pathlib.Path, report: assembling.Report
) -> formats.Imported:
  """Reads volumes and their labels below `source`, see `data_prep.formats`."""
  return volume_sets.read(find(source, report), source, output, report)


read_again = dicom_volumes.read_again


def read_references(path: pathlib.Path) -> dicom_sets.References:
  """Returns what a structure set was drawn on."""
  with dicom.explaining(pixels.tail(path.name)):
    data = dicom.parse(path, ('ReferencedFrameOfReferenceSequence',))
    series, frame = [], ''
    for item in data.get('ReferencedFrameOfReferenceSequence') or ():
      frame = frame or str(item.get('FrameOfReferenceUID') or '')
      for study in item.get('RTReferencedStudySequence') or ():
        series += [str(found.get('SeriesInstanceUID') or '') for found in
                   study.get('RTReferencedSeriesSequence') or ()]
    return dicom_sets.References(tuple(series), frame)


def names(path: pathlib.Path) -> tuple[str, ...]:
  """Returns the names of the structures that have closed contours."""
  return tuple(s.name for s in _read(path)[0])


def _read(path):
  """Returns the structures of a file, and its notices."""
  shown = pixels.tail(path.name)
  with dicom.explaining(shown):
    data = dicom.parse(path, _TAGS)
    known = {int(item.ROINumber): segments.clean(item.get('ROIName') or '')
             for item in data.get('StructureSetROISequence') or ()}
    found, num_open, num_empty = [], 0, len(known)
    for item in data.get('ROIContourSequence') or ():
      number = int(item.ReferencedROINumber)
      contours = []
      for contour in item.get('ContourSequence') or ():
        if contour.get('ContourGeometricType') in _CLOSED:
          points = np.array(
              [float(v) for v in contour.ContourData], np.float64)
          contours.append(points.reshape(-1, 3) * dicom_slices.LPS)
        else:
          num_open += 1
      if contours:
        num_empty -= 1
        found.append(_Structure(
            known.get(number) or f'structure_{number}', contours))
  segments.check_distinct([s.name for s in found], shown, noun='structures')
  if not found:
    raise pixels.WrongFile(
        'no structure has a closed contour', shown, 'export it again')
  notices = []
  if num_open:
    notices.append('contours that are points or open lines have no area and '
                   'are not read')
  if num_empty > 0:
    notices.append('structures without a closed contour are not read')
  return found, tuple(notices)


def draw(
    path: pathlib.Path,
    image: volume_type.Volume,
    values: Mapping[str, int],
    *,
    grids_of=None,
) -> segments.Drawn:
  """Draws the structures of a file on the grid of an image.

  Args:
    path: the file.
    image: the volume that defines the grid; its third axis goes across the
      slices.
    values: value of each structure, by name, in the order of drawing.
    grids_of: takes the path and returns the grids of all volumes that the file
      belongs to; a contour must lie in one of them. None means the image only.

  Raises:
    pixels.WrongFile: if the file cannot be used.
  """
  own = planes.Grid(image.affine, image.voxels.shape)
  others = [own] if grids_of is None else grids_of(path)
  structures, notices = _read(path)
  by_name = {s.name: s for s in structures}
  canvas, sheet = segments.Canvas(own.shape), _Sheet(own, others)
  for name, value in values.items():
    if name in by_name:
      for k, mask in sheet.fill(by_name[name]).items():
        canvas.draw(mask[..., None], value, np.s_[:, :, k : k + 1])
  return segments.Drawn(
      canvas.label, canvas.overlap, (*notices, *sorted(sheet.notices)),
      tuple(sheet.faults), sheet.lost)


class _Sheet:
  """Fills contours in the slices of a grid.

  Attributes:
    faults: contours that cannot be drawn.
    lost: where they may lie, bool of the shape of the grid; None at first.
    notices: oddities that are not faults.
  """

  def __init__(self, grid, others):
    self.faults, self.lost, self.notices = [], None, set()
    self._grid, self._others = grid, others

  def fill(self, structure: _Structure) -> dict[int, np.ndarray]:
    """Returns the pixels of a structure by the number of the slice."""
    found, edges, seen = {}, {}, set()
    for points in structure.contours:
      if points.tobytes() in seen:
        self.notices.add('contours that are listed twice are drawn once')
        continue
      seen.add(points.tobytes())
      what, detail = self._fault_of(points)
      if what:
        self.faults.append(segments.Fault(structure.name, what, detail))
        continue
      indices = planes.to_indices(points, self._grid.affine)
      k = round(float(indices[:, 2].mean()))
      if 0 <= k < self._grid.shape[2]:
        edge = _edges(self._grid.shape[:2], indices[:, :2])
        if len(points) < 3 and not edge.any():
          self.faults.append(segments.Fault(
              structure.name, 'a contour has fewer than three points'))
          self._lose(self._grid, indices)
          continue
        for masks in (found, edges):
          masks.setdefault(k, np.zeros(edge.shape, bool))
        _invert(found[k], indices[:, :2])
        edges[k] |= edge
        if (indices[:, :2] < -0.5).any() or (
            indices[:, :2] > np.array(edge.shape) - 0.5).any():
          self.notices.add('contours are cut at the edge of the image')
    self._skip(sorted(found))
    return {k: mask | edges[k] for k, mask in found.items()}

  def _fault_of(self, points):
    """Returns why a contour cannot be drawn, and a detail; or '', ''."""
    if not len(points) or not np.isfinite(points).all() or (
        np.abs(points).max() > 1e6):
      return 'a contour has no valid points', ''
    best = None
    for grid in self._others:
      indices = planes.to_indices(points, grid.affine)
      tilt, middle = np.ptp(indices[:, 2]), float(indices[:, 2].mean())
      if tilt > _MAX_TILT:
        best = best or ('a contour is not parallel to the slices',
                        f'over {tilt:.1f} slices')
        self._lose(grid, indices)
      elif not -0.5 <= middle < grid.shape[2] - 0.5:
        best = best or ('a contour lies outside of the image', '')
      elif abs(middle - round(middle)) > planes.MAX_OFF:
        self._lose(grid, indices)
        return 'a contour lies between two slices', f'at {middle:.2f}'
      elif (indices[:, :2].max(0) < -0.5).any() or (
          indices[:, :2].min(0) > np.array(grid.shape[:2]) - 0.5).any():
        best = best or ('a contour lies outside of the image', '')
      else:
        return '', ''
    return best

  def _lose(self, grid, indices):
    """Marks the box around a contour as a place that nobody knows."""
    if grid.shape != self._grid.shape or not np.array_equal(
        grid.affine, self._grid.affine):
      return
    if self.lost is None:
      self.lost = np.zeros(grid.shape, bool)
    low = np.clip(np.floor(indices.min(0)), 0, grid.shape).astype(int)
    high = np.clip(np.ceil(indices.max(0)) + 1, 0, grid.shape).astype(int)
    self.lost[tuple(map(slice, low, high))] = True

  def _skip(self, slices):
    """Marks the slices between those of a structure that skips slices."""
    gaps = np.diff(slices)
    if len(gaps) > 1 and gaps.min() > 1:
      self.notices.add('structures are drawn on every second slice or fewer: '
                       'the slices between are unlabelled')
      if self.lost is None:
        self.lost = np.zeros(self._grid.shape, bool)
      between = sorted({*range(slices[0], slices[-1])} - {*slices})
      self.lost[:, :, between] = True


def _invert(mask, points):
  """Inverts the pixels whose centres lie inside a polygon.

  Args:
    mask: bool [rows, columns].
    points: row and column of each corner; the centre of the first pixel is at
      0, 0.
  """
  low = np.clip(np.floor(points.min(0)), 0, mask.shape).astype(int)
  high = np.clip(np.ceil(points.max(0)) + 1, 0, mask.shape).astype(int)
  size = tuple((high - low).tolist())
  if min(size) > 0:
    inside = covering.fill_polygon((points - low + 0.5)[:, ::-1], size)
    mask[low[0] : high[0], low[1] : high[1]] ^= inside


def _edges(size, points):
  """Returns the pixels whose centres lie on a polygon, bool [rows, columns].

  A polygon of one or two points, as rt-utils writes for an object that is one
  pixel wide, is that point or line.

  Args:
    size: number of rows and columns.
    points: row and column of each corner, see `_invert`.
  """
  mask = np.zeros(size, bool)
  for a, b in zip(points, np.roll(points, -1, axis=0), strict=True):
    # Walk along the axis in which the edge is longer.
    along = int(abs(b[1] - a[1]) > abs(b[0] - a[0]))
    low, high = sorted((a[along], b[along]))
    steps = np.arange(max(np.ceil(low - _ON_EDGE), 0),
                      min(np.floor(high + _ON_EDGE), mask.shape[along] - 1) + 1)
    share = np.clip((steps - a[along]) / ((b[along] - a[along]) or 1), 0, 1)
    across = a[1 - along] + share * (b[1 - along] - a[1 - along])
    is_on = (np.abs(across - np.rint(across)) <= _ON_EDGE) & (
        across > -0.5) & (across < mask.shape[1 - along] - 0.5)
    index = np.stack([steps, across])[:, is_on]
    index = np.rint(index if along == 0 else index[::-1]).astype(int)
    mask[index[0], index[1]] = True
  return mask
