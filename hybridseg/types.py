"""Words and shapes that every module shares."""

from __future__ import annotations

import enum
from typing import Any, NamedTuple, TYPE_CHECKING

if TYPE_CHECKING:  # `data_prep` needs the words, and no JAX.
  import jax

Params = Any  # Any pytree of float arrays.
Images = Any  # jax.Array [B, H, W, C], or `Encoded`.
Metrics = dict[str, 'jax.Array']  # Scalars only.

# Value of an unlabelled pixel in every stored label map: never a class, never
# counted by a loss or a metric.
UNLABELLED = 255


class AnnotationKind(enum.IntEnum):
  """What an annotator drew; stored with every instance as int32."""

  MASK = 0  # Exact pixel mask: the only strong kind.
  COARSE_MASK = 1
  POLYGON = 2
  BOX = 3
  SCRIBBLE = 4
  POINTS = 5
  ELLIPSE = 6
  TAG = 7  # Classes of the image, no place.
  EXTREME_POINTS = 8  # Leftmost, topmost, rightmost, lowest of each object.
  NONE = 9  # An unlabelled image.
  LINE = 10  # Open lines of a width, background elsewhere: a vessel, a needle.


# These say nothing where nothing is drawn.
SPARSE_KINDS = (AnnotationKind.SCRIBBLE, AnnotationKind.POINTS)
# These say how far each object reaches, and no more.
BOX_KINDS = (AnnotationKind.BOX, AnnotationKind.EXTREME_POINTS)


class Encoded(NamedTuple):
  """Images with what the frozen part of a network makes of them.

  A network that has such a part takes these in the place of images, and goes on
  from there.

  Attributes:
    image: as the network would take them, float [B, H, W, C].
    features: float [B, h, w, F] each, of the sizes and number that the network
      says.
  """

  image: jax.Array
  features: tuple[jax.Array, ...]


def pixels(images: Images) -> jax.Array:
  """Returns the images themselves, [B, H, W, C]."""
  return images.image if isinstance(images, Encoded) else images


class Examples(NamedTuple):
  """A batch of annotated images.

  Attributes:
    image: intensities, uint8 [B, H, W, C]; float32 in [0, 1] once augmented.
      May be `Encoded`: then that holds these.
    label: class per pixel, uint8 [B, H, W], `UNLABELLED` where unknown.
    instance_id: row of each image in the indicator table, int32 [B]; -1 for
      images that have none (strong and evaluation images).
    kind: `AnnotationKind`, int32 [B]; None if no loss asks for it.
    present: whether an image tag says that a class is there, uint8 [B, K]: 1
      yes, 0 no, `UNLABELLED` unknown; None if no loss asks for it.
    view: which of a fixed number of augmented views of which image it is, int32
      [B]; None where each step draws its own.
  """

  image: Images
  label: jax.Array
  instance_id: jax.Array
  kind: jax.Array | None = None
  present: jax.Array | None = None
  view: jax.Array | None = None


def is_unlabelled(examples: Examples) -> jax.Array | bool:
  """Returns which images have no annotation, bool [B]; False if none says."""
  if examples.kind is None:
    return False
  return examples.kind == AnnotationKind.NONE


class HybridBatch(NamedTuple):
  """One training batch: a few exact masks and many weak annotations.

  Attributes:
    strong: exactly annotated images, leading axis B_s.
    weak: weakly annotated images with distinct instance ids, leading axis B_w.
  """

  strong: Examples
  weak: Examples
