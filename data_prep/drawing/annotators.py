"""Simulates how an annotator draws all objects of a label map.

There is one function for each kind of annotation. The functions that
`annotation_kinds` lists take

  label: classes, uint8 [H, W];
  rng: source of all randomness;
  quality_level: 0 (coarse) to 1 (careful)

and return `Drawn`. `simulate.simulate_weak` explains what the quality level
means for each kind.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from hybridseg import types
import numpy as np

from data_prep.drawing import covering
from data_prep.drawing import rle
from data_prep.drawing import scribbles
from data_prep.shared import geometry

# Widths in pixels, which are tried in turn. The first width at which no stroke
# covers pixels of another class is used. If there is no such width, the last
# one is used.
_STROKE_WIDTHS = (3.0, 2.0, 1.0)


class Drawn(NamedTuple):
  """Shapes as a manifest lists them, with their classes.

  Attributes:
    shapes: the shapes. The corners of a polygon or box are float [V, 2].
    labels: class of each shape.
    width: line width of all shapes in pixels, if the kind has one.
  """

  shapes: Sequence[Any]
  labels: Sequence[int]
  width: float | None = None


def boxes(label, rng, quality_level):
  """Draws a box, given by two opposite corners, around each object."""
  del rng
  margin = 0.10 * (1 - quality_level)
  return _each(label, lambda mask: np.array(
      geometry.loose_box(mask, margin=margin)).reshape(2, 2))


def polygons(label, rng, quality_level):
  """Draws an outline around each object."""
  return _each(label, lambda mask: np.array(geometry.coarse_polygon(
      mask, rng, num_vertices=4 + round(8 * quality_level),
      jitter=0.02 + 0.10 * (1 - quality_level))))


def ellipses(label, rng, quality_level):
  """Draws an ellipse over each object."""
  del rng
  scale = 1 + 0.2 * (1 - quality_level)
  return _each(label, lambda mask: geometry.fitted_ellipse(mask, scale=scale))


def strokes(label, rng, quality_level):
  """Draws a scribble in each object, and one in the background.

  The background's scribble comes first, so that it lies below the others.
  """
  length = 0.4 + 0.6 * quality_level
  drawn = _each(label, lambda mask: scribbles.interior_scribble(
      mask, rng, length=length), first=scribbles.background_scribble(
          label, rng, length=length))
  for width in _STROKE_WIDTHS:
    if not _is_wrong(drawn, width, label):
      break
  return drawn._replace(width=width)


def _is_wrong(drawn, width, label):
  """Returns whether a stroke covers pixels of another class than its own."""
  seen = np.full(label.shape, types.UNLABELLED, np.uint8)
  for shape, value in zip(drawn.shapes, drawn.labels, strict=True):
    seen[covering.stroke(
        np.array(shape), np.ones(2), label.shape, width)] = value
  return np.any((seen != label) & (seen != types.UNLABELLED))


def lines(label, rng, quality_level):
  """Draws the centre lines of all objects, each with the same line width.

  All n lines have the same width w. It is chosen so that the lines, as strokes
  with round ends, have the same total area as the objects: with the lengths L
  of the lines and the areas A of the objects, w solves

    n pi w^2 / 4 + w sum L = sum A.

  At lower quality levels, the lines are up to 1.5 times as wide.
  """
  del rng
  areas = [mask.sum() for _, mask in geometry.components(label)]
  drawn = _each(label, scribbles.medial_line)
  if not areas:
    return drawn._replace(width=1.0)
  length = sum(
      np.hypot(*np.diff(shape, axis=0).T).sum() for shape in drawn.shapes)
  ends = np.pi * len(areas)
  width = 2 * (np.sqrt(length**2 + ends * sum(areas)) - length) / ends
  return drawn._replace(
      width=round(float(width) * (1.5 - 0.5 * quality_level), 2))


def points(label, rng, quality_level):
  """Marks points in each object and in the background.

  The background gets as many points as all objects together, if it has enough
  pixels. Its points come first, so that they lie below the others.
  """
  num_points = 1 + round(2 * quality_level)
  shapes, labels = [], []
  for value, mask in geometry.components(label):
    shapes += geometry.interior_points(mask, rng, num_points=num_points)
    labels += [value] * (len(shapes) - len(labels))
  far = geometry.depth_inside(label == 0)
  if far.any():
    # If possible, choose background points far enough from all objects that the
    # discs drawn around them reach no object.
    free = far > min(covering.POINT_RADIUS, far.max() / 2)
    count = min(len(shapes) or num_points, int(free.sum()))
    index = rng.choice(int(free.sum()), count, replace=False)
    shapes = geometry.pixel_centres(free, index) + shapes
    labels = [0] * count + labels
  return Drawn(shapes, labels)


def extreme_points(label, rng, quality_level):
  """Marks the extreme points of each object."""
  jitter = 0.05 * (1 - quality_level)
  return _each(
      label, lambda mask: geometry.extreme_points(mask, rng, jitter=jitter))


def coarse_masks(label, rng, quality_level):
  """Fills each block of pixels with the most frequent class in it."""
  del rng
  objects = geometry.components(label)
  share = 1 / 32 + (1 / 9 - 1 / 32) * (1 - quality_level)
  block = max(round(share * min(label.shape)), 1)
  coarse = geometry.low_resolution(label, block=block)
  while not all((coarse[mask] == value).any() for value, mask in objects):
    block //= 2
    coarse = geometry.low_resolution(label, block=block)
  labels = np.setdiff1d(coarse, [0, types.UNLABELLED]).tolist()
  return Drawn([rle.encode_rle(coarse == value) for value in labels], labels)


def tags(label, rng, quality_level):
  """Lists the classes that occur in the label map."""
  del rng, quality_level
  return Drawn((), np.setdiff1d(label, [0, types.UNLABELLED]).tolist())


def _each(label, draw, first=()):
  """Draws one shape for each object.

  Args:
    label: classes, uint8 [H, W].
    draw: function that returns the shape of an object's mask, bool [H, W].
    first: shape of class 0 to list before the others; left out if it is empty.
  """
  drawn = [(0, first)] if len(first) else []
  drawn += [(value, draw(mask)) for value, mask in geometry.components(label)]
  return Drawn([shape for _, shape in drawn], [value for value, _ in drawn])
