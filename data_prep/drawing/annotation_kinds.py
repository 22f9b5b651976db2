"""The kinds of annotation, one row each: what every other module asks about.

A new kind is a row here, a member of `types.AnnotationKind` and, if its shapes
are of a new form, a function of `data_prep.drawing.covering`: docs/adding.md.
"""

from collections.abc import Callable
import types as python_types
from typing import NamedTuple

from hybridseg import types
import numpy as np

from data_prep.drawing import covering

_Kind = types.AnnotationKind


class Kind(NamedTuple):
  """What is known of a kind.

  Attributes:
    value: as records hold it.
    minutes: that one image takes, if nobody has measured: a placeholder.
    field: of the manifest, that holds its shapes; None where it has none.
    form: of one shape, in words.
    num_values: in one shape that is a flat list; None where it is no such list.
    num_points: least and most [x, y] in one shape that is a list of them; None
      where it is no such list.
    cover: which pixels a shape covers, see `covering`; None for masks.
    has_width: whether it has a field `width` beside its shapes.
    may_be_open: whether a shape may be labelled 255: what lies in it is not
      known.
    may_be_file: whether it may be a picture of its own.
    may_leave: whether a part of a shape may lie outside of the image, as
      outlines drawn by hand do.
  """

  value: _Kind
  minutes: float
  field: str | None = None
  form: str = ''
  num_values: int | None = None
  num_points: tuple[int, float] | None = None
  cover: Callable[..., np.ndarray] | None = None
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
  def is_mask(self) -> bool:
    """Whether its shapes are run lengths, not coordinates."""
    return self.field == 'rles'


_ANY = float('inf')

TABLE = python_types.MappingProxyType({kind.name: kind for kind in (
    Kind(_Kind.MASK, 4.0, 'rles', may_be_open=True, may_be_file=True),
    Kind(_Kind.COARSE_MASK, 1.5, 'rles', may_be_open=True, may_be_file=True),
    Kind(_Kind.SCRIBBLE, 0.4, 'strokes', '[[x, y], ...], not empty',
         num_points=(1, _ANY), cover=covering.stroke, has_width=True,
         may_be_file=True),
    Kind(_Kind.BOX, 0.2, 'boxes', '[x0, y0, x1, y1]', num_values=4,
         cover=covering.box, may_be_open=True, may_leave=False),
    Kind(_Kind.POLYGON, 1.5, 'polygons', '[[x, y], ...]', num_points=(0, _ANY),
         cover=covering.polygon, may_be_open=True),
    Kind(_Kind.POINTS, 0.15, 'points', '[x, y]', num_values=2,
         cover=covering.point, may_leave=False),
    Kind(_Kind.EXTREME_POINTS, 0.15, 'extreme_points',
         '[[x, y], [x, y], [x, y], [x, y]]', num_points=(4, 4),
         cover=covering.points, may_be_open=True, may_leave=False),
    Kind(_Kind.ELLIPSE, 0.2, 'ellipses', '[cx, cy, rx, ry, angle_deg]',
         num_values=5, cover=covering.ellipse, may_be_open=True),
    Kind(_Kind.TAG, 0.05),
)})
