"""Types and constants that every module shares."""

from __future__ import annotations

import enum
from typing import Any, NamedTuple, TYPE_CHECKING

if TYPE_CHECKING:  # `data_prep` imports this module without JAX.
  import jax

Params = Any  # Any pytree of float arrays.
Images = Any  # jax.Array [B, H, W, C], or `Encoded`.
Metrics = dict[str, 'jax.Array']  # All values are scalars.

# Value of an unlabelled pixel in every stored label map. It is never a class,
# and no loss or metric counts such a pixel.
UNLABELLED = 255


class AnnotationKind(enum.IntEnum):
  """The kind of an annotation, stored with every instance as int32."""

  MASK = 0  # An exact pixel mask, the only strong kind.
  COARSE_MASK = 1
  POLYGON = 2
  BOX = 3
  SCRIBBLE = 4
  POINTS = 5
  ELLIPSE = 6
  TAG = 7  # The classes in the image, without positions.
  EXTREME_POINTS = 8  # The outermost point of an object on each of its sides.
  NONE = 9  # An unlabelled image.
  LINE = 10  # Open lines with a width; all else is background.
  SLICES = 11  # Some slices of a volume are exact, the others unlabelled.


# In annotations of these kinds, pixels on which nothing is drawn are
# unlabelled.
SPARSE_KINDS = (
    AnnotationKind.SCRIBBLE, AnnotationKind.POINTS, AnnotationKind.SLICES)
# Annotations of these kinds give only the bounding box of each object.
BOX_KINDS = (AnnotationKind.BOX, AnnotationKind.EXTREME_POINTS)


class Encoded(NamedTuple):
  """Images with the features that the frozen part of a network computes.

  A network with a frozen part accepts this in place of images. It then skips
  the frozen part and starts from the features.

  Attributes:
    image: input images of the network, float [B, H, W, C].
    features: arrays, float [B, h, w, F] each; the network defines their number
      and sizes.
  """

  image: jax.Array
  features: tuple[jax.Array, ...]


def pixels(images: Images) -> jax.Array:
  """Returns plain images, [B, H, W, C], without the features of `Encoded`."""
  return images.image if isinstance(images, Encoded) else images


class Examples(NamedTuple):
  """A batch of annotated images.

  Volumes have a further axis D before H: images [B, D, H, W, C] and labels
  [B, D, H, W]. The training step and the losses take both.

  Attributes:
    image: intensities, uint8 [B, H, W, C], or float32 in [0, 1] once augmented;
      or `Encoded`, which holds such images.
    label: class per pixel, uint8 [B, H, W], `UNLABELLED` where unknown.
    instance_id: row of each image in the indicator table, int32 [B]; -1 for
      images without an indicator (strong and evaluation images).
    kind: `AnnotationKind` of each image, int32 [B]; None if no loss needs it.
    present: presence of each class according to an image tag, uint8 [B, K]: 1
      present, 0 absent, `UNLABELLED` unknown; None if no loss needs it.
    view: index of each image's augmented view, int32 [B], if all images have
      the same fixed number of views; None if every step draws new views.
  """

  image: Images
  label: jax.Array
  instance_id: jax.Array
  kind: jax.Array | None = None
  present: jax.Array | None = None
  view: jax.Array | None = None


def is_unlabelled(examples: Examples) -> jax.Array | bool:
  """Returns which images lack an annotation, bool [B]; False without `kind`."""
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
