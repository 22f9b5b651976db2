"""Converts data sets between foreign formats and the rows of a manifest.

Each format is a module that is listed in `data_prep.formats.names.READS` and
has these members:

  HOLDS: the annotation kinds that `write` can express.
  FIELDS: the fields of a row, such as the annotator, that `write` can express;
    none if it is absent.
  def detect(source: pathlib.Path) -> bool
    Returns whether the folder `source` looks like this format.
  def read(source, output, report: assembling.Report) -> Imported
    Reads the folder `source`. Pictures and masks in a form that a manifest does
    not allow are converted and written below the folder `output`. The report
    holds the user's options, and receives problems and notices.
  def write(manifest, output) -> None
    Writes a manifest in this format below `output`. Modules that are not in
    `names.WRITES` have no such function.

Formats of volumes (`names.VOLUMES`) also have these members; `volume_sets`
reads their files, and `volume_cases` lists what is written:

  def find(source, report, *, folder=None) -> volume_sets.Found
    Pairs images with labels, and says how a file becomes a volume.
  def read_again(files: list[str]) -> volume_type.Volume
    Reads an image by its entry in volumes.json. NIfTI needs no such function.
  def write_cases(cases, classes, output) -> None
    Writes whole volumes and their labels below `output`. Only formats in
    `names.WRITES_VOLUMES` have such a function.

Shapes in rows have the coordinates of a manifest, see `data_prep.manifest`.
Readers and writers convert them from and to the coordinates of their format.
"""

from typing import Any, NamedTuple

from data_prep import manifest as manifest_lib


class Options(NamedTuple):
  """The user's options for reading a source.

  Attributes:
    classes: class names, background first; None uses the names that the source
      gives.
    mask_values: maps each stored mask value to its class, or to 255 if it means
      unlabelled, like `values` in a manifest. None keeps stored values, except
      that 255 is read as 1 if all masks of a kind hold only 0 and 255.
    scribble_values: the same mapping for scribbles, if their stored values
      differ in meaning from those of masks.
    mask_threshold: stored mask values of at least this number become class 1,
      and smaller values background; None applies no threshold.
    masks_are: kind of the masks: 'mask', 'coarse_mask' or 'scribble'.
    masks_are_given: whether the user gave `masks_are`. If not, and a set has
      both run lengths and polygons, the run lengths count as no more exact
      than the polygons.
    polygons_are: kind of the polygons: 'polygon', or 'mask' if they are exact.
    points_are: kind of the points: 'points', or 'extreme_points' if each object
      has four of them.
    voc_boxes_from: coordinate of the first pixel in VOC's boxes, 0 or 1. None
      means 0 if a box of the set has a coordinate of 0, and 1 otherwise.
    lines_are: kind of open lines: 'scribble' if they are marks on the objects,
      or 'line' if they are the objects themselves.
    stroke_width: width in pixels of strokes and lines whose width the source
      does not give.
    intensity_range: intensities that become 0 and 255 in a picture of more than
      8 bits; None uses percentiles 0.5 and 99.5 of the picture or volume.
    axis: axis along which volumes are sliced, 0, 1 or 2; None uses an axis of
      length 1, or else the axis with the largest spacing.
    subject_pattern: regular expression that is searched for in the id of a
      picture; its first group is the subject. None uses the first folder below
      the folder of the images, if there is one.
    mask_folders: the masks that are read, given by the names of their folders
      or by the endings of their file names; None reads all masks.
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
  """A faulty part of the source that the user allowed to be left out.

  Attributes:
    what: 'shape', 'file' or 'picture'.
    name: path of the file relative to the source, or id of the picture.
    reason: why the part cannot be used.
    field: the shape, field or file with the fault, if it is only a part of the
      file or picture that `name` names; otherwise ''.
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
      split. If the source names no role, `role` is 'unlabelled' for a row
      without an annotation, and '' for all others.
    problems: all problems of the source; reading continues after each.
    notices: the decisions that were made while reading, one per string.
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
