"""Converts between foreign layouts and rows: one module per format.

Each module has

  HOLDS: the annotation kinds that `write` can express
  def detect(source: pathlib.Path) -> bool
  def read(source, output, *, options: Options) -> Imported
  def write(manifest, output) -> None

(`table` has no `write`) and is listed in `data_prep.formats.names.READS`.
Coordinates are those of a manifest, see `data_prep.manifest`; other conventions
are converted.
"""

from typing import Any, NamedTuple

from data_prep import manifest as manifest_lib


class Options(NamedTuple):
  """What the user says about a source that its files do not say.

  Attributes:
    classes: class names, background first; None takes those of the source.
    mask_values: class or 255 per stored mask value, as `values` of a manifest;
      None keeps stored values, except that 255 is read as 1 if all masks of a
      kind hold only 0 and 255.
    scribble_values: the same for scribbles, if their values mean something
      else.
    mask_threshold: stored mask values from this one on become class 1; None
      takes the values as they are.
    masks_are: kind of the masks: 'mask', 'coarse_mask' or 'scribble'.
    masks_are_given: whether the user gave `masks_are`; if not, run lengths in a
      set that also has polygons are as weak as these.
    polygons_are: kind of the polygons: 'polygon', or 'mask' if they are exact.
    points_are: kind of points: 'points', or 'extreme_points' if an object has
      four.
    voc_boxes_from: number of the first pixel in VOC's boxes, 0 or 1; None finds
      out, as a coordinate of 0 shows that they count from 0.
    lines_are: kind of open lines: 'scribble', or 'line' if they are the objects
      and not only marks on them.
    stroke_width: width in pixels of strokes and lines for which the source
      gives none.
    intensity_range: intensities that become 0 and 255 in a picture of more than
      8 bits; None takes percentiles 0.5 and 99.5 of the picture or volume.
    axis: axis along which volumes are sliced, 0, 1 or 2; None takes the one
      with the largest spacing.
    subject_pattern: regular expression whose first group, found in an id, is
      the subject; None takes the folder below that of the images, if there is
      one.
    mask_folders: folders of masks, or endings of their names, to read if
      several pair with the pictures; None reads all.
    image_suffix: end of the names of the pictures to read; None reads all.
    leave_out: what may be left out instead of being refused: 'shapes' that
      cannot be drawn, 'defective' files or patients that cannot be read, and
      '@NAME', a picture, case or patient of that name, see `row_names`.
  """

  classes: tuple[str, ...] | None = None
  mask_values: dict[str, int] | None = None
  scribble_values: dict[str, int] | None = None
  mask_threshold: float | None = None
  masks_are: str = 'mask'
  masks_are_given: bool = False
  polygons_are: str = 'polygon'
  points_are: str = 'points'
  voc_boxes_from: int | None = None
  lines_are: str = 'scribble'
  stroke_width: float = 3.0
  intensity_range: tuple[float, float] | None = None
  axis: int | None = None
  subject_pattern: str | None = None
  mask_folders: tuple[str, ...] | None = None
  image_suffix: str | None = None
  leave_out: frozenset[str] = frozenset()


class LeftOut(NamedTuple):
  """A part of the user's data that is not used, as the user allowed.

  Attributes:
    what: 'shape', 'file' or 'picture'.
    name: path of the file relative to the source, or id of the picture.
    reason: why it cannot be used.
    field: which shape, field or file of it, or empty.
  """

  what: str
  name: str
  reason: str
  field: str = ''


class Imported(NamedTuple):
  """The result of reading a source.

  Attributes:
    classes: class names, background first.
    rows: rows in the order of their ids; `split` is '' where the source names
      none, `role` is '' or, if there is no annotation, 'unlabelled'.
    problems: all problems; none stops the reading.
    notices: the decisions, as lines.
    root: folder that the rows' paths are relative to.
    weak: by id, the weak annotation of an image that also has an exact mask.
    left_out: what is not used because `Options.leave_out` allows it.
  """

  classes: tuple[str, ...]
  rows: list[manifest_lib.Row]
  problems: list[manifest_lib.Problem]
  notices: list[str]
  root: str
  weak: dict[str, dict[str, Any]]
  left_out: tuple[LeftOut, ...] = ()
