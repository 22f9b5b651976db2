"""Converts data sets between foreign formats and the rows of a manifest.

Each format is a module that is listed in `data_prep.formats.names.READS` and
has these members:

  HOLDS: the annotation kinds that `write` can express.
  def detect(source: pathlib.Path) -> bool
    Returns whether the folder `source` looks like this format.
  def read(source, output, *, options: Options) -> Imported
    Reads the folder `source`. Pictures and masks that a manifest cannot name as
    they are get converted and written below the folder `output`.
  def write(manifest, output) -> None
    Writes a manifest in this format below `output`; `table` cannot write.

Shapes in rows have the coordinates of a manifest, see `data_prep.manifest`.
Readers and writers convert from and to those of their format.
"""

from typing import Any, NamedTuple

from data_prep import manifest as manifest_lib


class Options(NamedTuple):
  """The user's options for reading a source.

  Attributes:
    classes: class names, background first; None takes those of the source.
    mask_values: maps each stored mask value to its class, or to 255 if it means
      unlabelled, like `values` in a manifest. None keeps stored values, except
      that 255 is read as 1 if all masks of a kind hold only 0 and 255.
    scribble_values: the mapping for scribbles, if their values have another
      meaning than those of masks.
    mask_threshold: stored mask values of at least this number become class 1,
      and smaller ones background; None takes the values as they are.
    masks_are: kind of the masks: 'mask', 'coarse_mask' or 'scribble'.
    masks_are_given: whether the user gave `masks_are`. If not, and a set has
      both run lengths and polygons, the run lengths count as no more exact
      than the polygons.
    polygons_are: kind of the polygons: 'polygon', or 'mask' if they are exact.
    points_are: kind of the points: 'points', or 'extreme_points' if each object
      has four of them.
    voc_boxes_from: coordinate of the first pixel in VOC's boxes, 0 or 1. None
      means 0 if a box of the set has a coordinate of 0, and 1 otherwise.
    lines_are: kind of open lines: 'scribble', or 'line' if they are the objects
      and not only marks on them.
    stroke_width: width in pixels of strokes and lines for which the source
      gives none.
    intensity_range: intensities that become 0 and 255 in a picture of more than
      8 bits; None takes percentiles 0.5 and 99.5 of the picture or volume.
    axis: axis along which volumes are sliced, 0, 1 or 2; None takes an axis of
      length 1, or else the axis with the largest spacing.
    subject_pattern: regular expression that is searched for in the id of a
      picture; its first group is the subject. None takes the first folder below
      the folder of the images, if there is one.
    mask_folders: names of the folders of masks, or endings of the names of
      masks, that are read; None reads all masks.
    image_suffix: ending of the names of the pictures that are read; None reads
      all pictures.
    leave_out: faulty parts of the source that are left out, while other faults
      are refused. It may hold 'shapes' (shapes that cannot be drawn),
      'defective' (files or patients that cannot be read) and '@NAME' (a
      picture, case or patient of that name, see `row_names`).
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
    reason: why the part cannot be used.
    field: shape, field or file that has the fault, if it is only a part of what
      `name` names; otherwise ''.
  """

  what: str
  name: str
  reason: str
  field: str = ''


class Imported(NamedTuple):
  """The result of reading a source.

  Attributes:
    classes: class names, background first.
    rows: rows in the order of their ids. `split` is '' if the source names no
      split; `role` is 'unlabelled' if there is no annotation, otherwise ''.
    problems: all problems of the source; reading continues after each.
    notices: the decisions that were made in reading, one per line.
    root: folder that the rows' paths are relative to.
    weak: weak annotations of images that also have an exact mask, by the id of
      the image.
    left_out: parts of the source that are not used, see `Options.leave_out`.
  """

  classes: tuple[str, ...]
  rows: list[manifest_lib.Row]
  problems: list[manifest_lib.Problem]
  notices: list[str]
  root: str
  weak: dict[str, dict[str, Any]]
  left_out: tuple[LeftOut, ...] = ()
