"""Foreign layouts -> rows of a manifest: one module per format.

Each module has

  def detect(source: pathlib.Path) -> bool
  def read(source, output, *, options: Options) -> Imported

and is named in `data_prep.importers.formats.FORMATS`.
"""

import pathlib
from typing import NamedTuple

from data_prep import manifest as manifest_lib


class Options(NamedTuple):
  """What the user says about a source that its files do not say.

  Attributes:
    classes: class names, background first; None takes what the source lists.
    mask_values: class or 255 per stored mask value, as `values` of a manifest;
      None keeps stored values, but reads a mask of only 0 and 255 as 0 and 1.
    masks_are: kind of the masks that the source holds: 'mask', 'coarse_mask' or
      'scribble'.
    intensity_range: intensities that become 0 and 255 where a picture has more
      than 8 bits; None takes percentiles 0.5 and 99.5 of the picture or volume.
    axis: axis along which volumes are cut, 0, 1 or 2; None takes the one with
      the largest spacing.
  """

  classes: tuple[str, ...] | None = None
  mask_values: dict[str, int] | None = None
  masks_are: str = 'mask'
  intensity_range: tuple[float, float] | None = None
  axis: int | None = None


class Imported(NamedTuple):
  """What an importer found.

  Attributes:
    classes: class names, background first.
    rows: in a fixed order; `split` and `role` are '' where the source does not
      say; `role` is 'unlabelled' where there is no annotation.
    problems: all of them; none stops the reading.
    root: folder that the rows' paths are relative to: the source, or '.' if
      files were written below `output` (then those of the source are absolute).
  """

  classes: tuple[str, ...]
  rows: list[manifest_lib.Row]
  problems: list[manifest_lib.Problem]
  root: str


def relative(path: pathlib.Path, root: pathlib.Path) -> str:
  """Returns a path below `root` as a manifest writes it, with '/'."""
  return path.relative_to(root).as_posix()
