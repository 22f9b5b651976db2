"""Foreign layouts <-> rows of a manifest: one module per format.

Each module has

  HOLDS: the annotation kinds that `write` can express
  def detect(source: pathlib.Path) -> bool
  def read(source, output, *, options: Options) -> Imported
  def write(manifest, output) -> None

(`table` only reads) and is named in
`data_prep.formats.names.READS`. Coordinates are those of a manifest,
see `data_prep.manifest`; what a format counts otherwise is converted.
"""

from typing import Any, NamedTuple

from data_prep import manifest as manifest_lib


class Options(NamedTuple):
  """What the user says about a source that its files do not say.

  Attributes:
    classes: class names, background first; None takes what the source lists.
    mask_values: class or 255 per stored mask value, as `values` of a manifest;
      None keeps stored values, but if all masks of a kind hold only 0 and 255,
      reads these as 0 and 1.
    scribble_values: the same of scribbles, where theirs mean something else.
    mask_threshold: stored values of a mask from which on it is class 1; None
      takes the values as they are.
    masks_are: kind of the masks: 'mask', 'coarse_mask' or 'scribble'.
    masks_are_given: whether the user said so; if not, run lengths in a set that
      has polygons, too, are as weak as these.
    polygons_are: kind of the polygons: 'polygon', or 'mask' if they are exact.
    points_are: kind of points: 'points', or 'extreme_points' if an object has
      four.
    voc_boxes_from: where corners of VOC's boxes count from, 0 or 1; None finds
      it out: a 0 is possible only from 0.
    lines_are: kind of open lines: 'scribble', or 'line' if they are the objects
      and not only marks on them.
    stroke_width: of strokes and lines of which the source does not say it, in
      pixels.
    intensity_range: intensities that become 0 and 255 where a picture has more
      than 8 bits; None takes percentiles 0.5 and 99.5 of the picture or volume.
    axis: axis along which volumes are cut, 0, 1 or 2; None takes the one with
      the largest spacing.
    subject_pattern: regular expression whose first group, found in an id, is
      the subject; None takes the folder below the images' one, if there is any.
    mask_folders: folders of masks, or endings of their names, that are read
      where several pair with the pictures; None reads all there is.
    image_suffix: end of the names of the pictures that are read; None reads
      all.
    leave_out: what may be left out instead of being refused: 'shapes', which
      cannot be drawn, 'defective', files or patients that cannot be read, and
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
  """One thing of the user's data that is not used, because the user said so.

  Attributes:
    what: 'shape', 'file' or 'picture'.
    name: of the file that it concerns, relative to the source; of a picture,
      its id.
    reason: why it cannot be used.
    field: which shape, field or file of it, or empty.
  """

  what: str
  name: str
  reason: str
  field: str = ''


class Imported(NamedTuple):
  """What an importer found.

  Attributes:
    classes: class names, background first.
    rows: in the order of their ids; `split` is '' where the source does not
      say, `role` is '' or, where there is no annotation, 'unlabelled'.
    problems: all of them; none stops the reading.
    notices: what was decided on the way, as lines.
    root: folder that the rows' paths are relative to.
    weak: by id, a weak annotation of an image that has an exact mask, too.
    left_out: what is not used because `Options.leave_out` allows it.
  """

  classes: tuple[str, ...]
  rows: list[manifest_lib.Row]
  problems: list[manifest_lib.Problem]
  notices: list[str]
  root: str
  weak: dict[str, dict[str, Any]]
  left_out: tuple[LeftOut, ...] = ()
