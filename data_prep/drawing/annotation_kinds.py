"""The kinds of annotation, one row each: what every other module asks about.

A new kind is a row here, a member of `types.AnnotationKind`, a function of
`annotators` that draws it and, if its shapes are of a new form, one of
`covering` that says which pixels they cover: docs/adding.md.
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
  """What is known of a kind.

  Attributes:
    value: as records hold it.
    minutes: that one image takes, if nobody has measured: a placeholder.
    shape: what `formats.drawn` calls one of its shapes.
    field: of the manifest, that holds its shapes; None where it has none.
    form: of one shape, in words.
    num_values: in one shape that is a flat list; None where it is no such list.
    num_points: least and most [x, y] in one shape that is a list of them; None
      where it is no such list.
    cover: which pixels a shape covers, see `covering`; None for masks.
    opens: which pixels around its shapes are unlabelled, though others are
      background, see `covering`; None where there are none.
    annotate: how a label map is drawn as this kind, see `annotators`; None
      where that cannot be simulated.
    spoilt: what a simulated fault spoils: the label 'map' that is drawn, the
      'corners' of the shapes, or the 'classes' that are named.
    has_width: whether it has a field `width` beside its shapes.
    may_be_open: whether a shape may be labelled 255: what lies in it is not
      known.
    may_be_file: whether it may be a picture of its own.
    may_leave: whether a part of a shape may lie outside of the image, as
      outlines drawn by hand do.
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
    """Of the kind, as the manifest has it."""
    return self.value.name.lower()

  @property
  def is_sparse(self) -> bool:
    """Whether it says nothing where nothing is drawn."""
    return self.value in types.SPARSE_KINDS

  @property
  def is_dense(self) -> bool:
    """Whether its shapes say of every pixel what it is."""
    return not (self.field is None or self.is_sparse or self.opens)

  @property
  def is_thin(self) -> bool:
    """Whether its shapes may be so thin that they drown in a picture."""
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

# The kind of each form of shape; the exact one of several.
OF_SHAPE = python_types.MappingProxyType(
    {kind.shape: kind for kind in reversed(TABLE.values())})

# Those that may be pictures of their own, the exact one first.
FILES = tuple(name for name, kind in TABLE.items() if kind.may_be_file)
