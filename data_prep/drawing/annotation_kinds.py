"""The table of annotation kinds, with one row for each kind.

All other modules look up here what they need to know of a kind. A new kind is a
row here, a member of `types.AnnotationKind`, a function of `annotators` that
draws it and, if its shapes have a new form, a function of `covering` that
returns which pixels they cover: see docs/adding.md.
"""

from collections.abc import Callable
import types as python_types
from typing import NamedTuple

from hybridseg import types
import numpy as np

from data_prep.drawing import annotators
from data_prep.drawing import covering

_Kind = types.AnnotationKind


class Kind(NamedTuple):
  """What the package knows of one kind.

  Attributes:
    value: the kind as records hold it.
    minutes: minutes that one image takes, a placeholder for a measured time.
    shape: what `formats.drawn` calls one of its shapes.
    field: field of the manifest that holds its shapes; None if it has no
      shapes.
    form: form of one shape, for messages.
    num_values: length of a shape that is a flat list; None for other shapes.
    num_points: least and largest number of [x, y] in a shape that is a list of
      points; None for other shapes.
    cover: returns which pixels a shape covers, see `covering`; None for masks.
    opens: returns which pixels around its shapes are unlabelled although the
      rest is background, see `covering`; None if there are none.
    annotate: draws a label map as this kind, see `annotators`; None if the kind
      cannot be simulated.
    spoilt: what a simulated fault spoils: the label 'map' that is drawn, the
      'corners' of the shapes, or the 'classes' that are named.
    has_width: whether it has a field `width` beside its shapes.
    may_be_open: whether a shape may be labelled 255, which means that the
      classes inside it are unknown.
    may_be_file: whether it may be a picture of its own.
    may_leave: whether a part of a shape may lie outside of the image, as in
      outlines drawn by hand.
  """

  value: _Kind
  minutes: float
  shape: str
  field: str | None = None
  form: str = ''
  num_values: int | None = None
  num_points: tuple[int, float] | None = None
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
    """Whether pixels without a shape are unlabelled."""
    return self.value in types.SPARSE_KINDS

  @property
  def is_dense(self) -> bool:
    """Whether its shapes give every pixel a class."""
    return not (self.field is None or self.is_sparse or self.opens)

  @property
  def is_thin(self) -> bool:
    """Whether its shapes may be too thin to be seen in a picture."""
    return bool(self.has_width or self.is_sparse or self.opens)

  @property
  def is_mask(self) -> bool:
    """Whether its shapes are run lengths, not coordinates."""
    return self.field == 'rles'


_ANY = float('inf')

TABLE = python_types.MappingProxyType({kind.name: kind for kind in (
    Kind(_Kind.MASK, 4.0, 'rle', 'rles', may_be_open=True, may_be_file=True),
    Kind(_Kind.COARSE_MASK, 1.5, 'rle', 'rles',
         annotate=annotators.coarse_masks, may_be_open=True, may_be_file=True),
    Kind(_Kind.POLYGON, 1.5, 'polygon', 'polygons', '[[x, y], ...]',
         num_points=(0, _ANY), cover=covering.polygon,
         annotate=annotators.polygons, spoilt='corners', may_be_open=True),
    Kind(_Kind.BOX, 0.2, 'box', 'boxes', '[x0, y0, x1, y1]', num_values=4,
         cover=covering.box, annotate=annotators.boxes, spoilt='corners',
         may_be_open=True, may_leave=False),
    Kind(_Kind.ELLIPSE, 0.2, 'ellipse', 'ellipses',
         '[cx, cy, rx, ry, angle_deg]', num_values=5, cover=covering.ellipse,
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

# The kind for each form of shape; where several share a form, the exact one.
OF_SHAPE = python_types.MappingProxyType(
    {kind.shape: kind for kind in reversed(TABLE.values())})

# The kinds that may be pictures of their own, the exact one first.
FILES = tuple(name for name, kind in TABLE.items() if kind.may_be_file)
