"""Paints label maps, and maps of numbers, over an image."""

from data_prep.shared import html_page
from hybridseg import types
import numpy as np

_HARM, _HELP = (230, 30, 30), (30, 110, 255)  # Red and blue.


def overlay(
    image: np.ndarray, label_map: np.ndarray, *, opacity: float = 0.45
) -> np.ndarray:
  """Paints each class over an image in its colour, and unlabelled pixels grey.

  Args:
    image: image, uint8 [H, W, C], C = 1 or 3.
    label_map: classes, uint8 [H, W], `types.UNLABELLED` where unknown.
    opacity: opacity of the colours, in [0, 1].

  Returns:
    The painted image, float [H, W, 3] in [0, 1].
  """
  image = np.broadcast_to(image / 255.0, image.shape[:2] + (3,)).copy()
  unlabelled = label_map == types.UNLABELLED
  classes = np.where(unlabelled, 0, label_map)
  # Class 0 is not painted.
  painted = (classes > 0)[..., None]
  image = np.where(
      painted, (1 - opacity) * image + opacity * _colours(classes), image)
  return np.where(unlabelled[..., None], 0.75 * image + 0.1, image)


def outline(image: np.ndarray, label_map: np.ndarray) -> np.ndarray:
  """Draws the inner border of each class over an image, in its colour.

  Args:
    image: image, float [H, W, 3] in [0, 1].
    label_map: classes, uint8 [H, W].

  Returns:
    The painted image, float [H, W, 3] in [0, 1].
  """
  around = np.pad(label_map, 1)
  inside = np.ones(label_map.shape, bool)
  for rows, columns in ((0, 1), (2, 1), (1, 0), (1, 2)):
    inside &= label_map == around[
        rows : rows + label_map.shape[0],
        columns : columns + label_map.shape[1]]
  is_line = ~inside & (label_map > 0) & (label_map != types.UNLABELLED)
  return np.where(is_line[..., None], _colours(label_map), image)


def _colours(label_map):
  """Returns the colour of each class, which cycle, float [H, W, 3]."""
  palette = np.array(html_page.COLOURS) / 255
  return palette[(label_map.astype(int) - 1) % len(palette)]


def paint_map(image: np.ndarray, values: np.ndarray) -> np.ndarray:
  """Paints numbers over an image in grey: red above 0, blue below 0.

  Args:
    image: image, uint8 [H, W, C], C = 1 or 3.
    values: numbers, float [H, W]. The colour is strongest at -1 and 1 and
      beyond, where the image is still visible through it; nan is not painted.

  Returns:
    The painted image, float [H, W, 3] in [0, 1].
  """
  grey = image.mean(axis=-1, keepdims=True) / 255
  values = np.clip(np.nan_to_num(values), -1, 1)[..., None]
  colour = np.where(values > 0, _HARM, _HELP) / 255
  opacity = 0.75 * np.abs(values)
  return (1 - opacity) * grey + opacity * colour
