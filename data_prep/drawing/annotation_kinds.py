"""The table of annotation kinds, with one row for each kind.

All other modules look up the properties of a kind here. To add a kind, add a
row to this table, a member to `types.AnnotationKind`, a function to
`annotators` that draws the kind and, if its shapes have a new form, a function
to `covering` that returns the pixels that they cover: see docs/adding.md.
"""

from collections.abc import Callable
import types as python_types
from typing import Any, NamedTuple

from hybridseg import types
import numpy as np

from data_prep.drawing import annotators
from data_prep.drawing import covering
from data_prep.drawing import shape_numbers

_Kind = types.AnnotationKind


class Kind(NamedTuple):
  """The properties of one kind of annotation.

  Attributes:
    value: number that stands for the kind in the records.
    minutes: minutes that an annotator needs for one image; a placeholder until
      somebody measures it.
    shape: the name that `formats.drawn` uses for one shape of this kind.
    field: field of a manifest's annotation that holds the shapes; None if the
      kind has no shapes.
    form: description, for messages, of how a manifest writes one shape.
    num_values: number of values in a shape that is a flat list of numbers; None
      for other shapes.
    num_points: smallest and largest number of points [x, y] in a shape that is
      a list of points; None for other shapes.
    problem: function that returns why the numbers of a shape are invalid, or
      None if they are valid, see `shape_numbers`.
    thickness: function that returns the smallest extent of a shape in pixels;
      None if shapes may be of any thickness.
    around: function that returns the box [x0, y0, x1, y1] around a shape that
      is given by coordinates.
    cover: function that returns the pixels that a shape covers, see `covering`;
      None for masks and tags.
    opens: function that returns the pixels around a shape that stay unlabelled,
      while the pixels farther away become background, see `covering`; None if
      the kind has no such pixels.
    annotate: function that draws an annotation of this kind from a label map,
      see `annotators`; None if the kind cannot be simulated.
    spoilt: what a simulated fault changes: the label 'map' before the
      annotation is drawn from it, the 'corners' of the drawn shapes, or the
      'classes' that a tag names.
    has_width: whether an annotation has a field `width` in addition to its
      shapes.
    may_be_open: whether a shape may be labelled 255, which means that the
      classes inside it are unknown.
    may_be_file: whether an annotation may be stored as a picture file.
    may_leave: whether a part of a shape may lie outside the image. Parts of
      outlines that are drawn by hand often do.
  """

  value: _Kind
  minutes: float
  shape: str
  field: str | None = None
  form: str = ''
  num_values: int | None = None
  num_points: tuple[int, float] | None = None
  problem: Callable[[Any], shape_numbers.Problem | None] = (
      shape_numbers.no_problem)
  thickness: Callable[[Any], float] | None = None
  around: Callable[[Any], list[float]] = shape_numbers.around_points
  cover: Callable[..., np.ndarray] | None = None
  opens: Callable[..., np.ndarray] | None = None
  annotate: Callable[..., annotators.Drawn] | None = None
  spoilt: str = 'map'
  has_width: bool = False
  may_be_open: bool = False
  may_be_file: bool = False
  may_leave: bool = True

  @property
  def name(self) -> str:
    """The name of the kind in the manifest."""
    return self.value.name.lower()

  @property
  def is_sparse(self) -> bool:
    """Whether pixels that no shape covers are unlabelled."""
    return self.value in types.SPARSE_KINDS

  @property
  def is_dense(self) -> bool:
    """Whether shapes of this kind give every pixel a class."""
    return not (self.field is None or self.is_sparse or self.opens)

  @property
  def is_thin(self) -> bool:
    """Whether shapes of this kind may be too thin to be seen in a picture."""
    return bool(self.has_width or self.is_sparse or self.opens)

  @property
  def is_mask(self) -> bool:
    """Whether shapes of this kind are run lengths, not coordinates."""
    return self.field == 'rles'


_ANY = float('inf')

TABLE = python_types.MappingProxyType({kind.name: kind for kind in (
    Kind(_Kind.MASK, 4.0, 'rle', 'rles', may_be_open=True, may_be_file=True),
    Kind(_Kind.COARSE_MASK, 1.5, 'rle', 'rles',
         annotate=annotators.coarse_masks, may_be_open=True, may_be_file=True),
    Kind(_Kind.POLYGON, 1.5, 'polygon', 'polygons', '[[x, y], ...]',
         num_points=(0, _ANY), problem=shape_numbers.polygon_problem,
         cover=covering.polygon, annotate=annotators.polygons,
         spoilt='corners', may_be_open=True),
    Kind(_Kind.BOX, 0.2, 'box', 'boxes', '[x0, y0, x1, y1]', num_values=4,
         problem=shape_numbers.box_problem,
         thickness=shape_numbers.box_thickness,
         cover=covering.box, annotate=annotators.boxes, spoilt='corners',
         may_be_open=True, may_leave=False),
    Kind(_Kind.ELLIPSE, 0.2, 'ellipse', 'ellipses',
         '[cx, cy, rx, ry, angle_deg]', num_values=5,
         problem=shape_numbers.ellipse_problem,
         thickness=shape_numbers.ellipse_thickness,
         around=shape_numbers.around_ellipse, cover=covering.ellipse,
         annotate=annotators.ellipses, may_be_open=True),
    Kind(_Kind.LINE, 0.4, 'line', 'lines', '[[x, y], ...], not empty',
         num_points=(1, _ANY), cover=covering.stroke,
         annotate=annotators.lines, has_width=True, may_be_open=True),
    Kind(_Kind.SCRIBBLE, 0.4, 'stroke', 'strokes', '[[x, y], ...], not empty',
         num_points=(1, _ANY), cover=covering.stroke,
         annotate=annotators.strokes, has_width=True, may_be_file=True),
    Kind(_Kind.POINTS, 0.15, 'point', 'points', '[x, y]', num_values=2,
         cover=covering.point, annotate=annotators.points, may_leave=False),
    Kind(_Kind.EXTREME_POINTS, 0.15, 'extreme_points', 'extreme_points',
         '[[x, y], [x, y], [x, y], [x, y]]', num_points=(4, 4),
         cover=covering.points, opens=covering.between,
         annotate=annotators.extreme_points, may_be_open=True,
         may_leave=False),
    Kind(_Kind.TAG, 0.05, 'tag', annotate=annotators.tags, spoilt='classes'),
)})

# Maps the name of a shape to its kind. Where several kinds share a name, as
# masks and coarse masks do, the one that is listed first in `TABLE` wins.
OF_SHAPE = python_types.MappingProxyType(
    {kind.shape: kind for kind in reversed(TABLE.values())})

# Names of the kinds that may be stored as picture files, the exact kind first.
FILES = tuple(name for name, kind in TABLE.items() if kind.may_be_file)
