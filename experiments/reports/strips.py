"""Shows volumes in a report: a picture of all slices, and a slider over them.

The slices of a volume lie below each other in one picture, the strip, of which
a window shows one. Each slice has two panes: the image, and the image with the
weak label filled and the prediction outlined. Without JavaScript, the window
scrolls.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from data_prep.drawing import rasterize
from data_prep.shared import html_page
import numpy as np

from experiments import painting
from experiments.reports import blocks
from experiments.reports import wording

NUM_SHOWN = 20  # Volumes with a strip in one report.
# Bytes that all strips of a report may take.
_TOTAL_BYTES = 9_000_000
_MAX_SLICES = 64  # So that a strip is not higher than WebP allows.
_MAX_SIDE = 224  # Longest side of a pane, in pixels.


class Volume(NamedTuple):
  """Slices of a volume, as the networks see it; `choose` says which.

  Attributes:
    image: grey levels, uint8 [N, H, W].
    label: weak label, uint8 [N, H, W], 255 = unlabelled.
    prediction: predicted classes, uint8 [N, H, W].
    numbers: number of each slice in the file, [N].
    worst: the slices that differ most, as positions in `numbers`, the worst one
      first.
    spacing: distance of the pixels along H and W, in one unit.
  """

  image: np.ndarray
  label: np.ndarray
  prediction: np.ndarray
  numbers: Sequence[int]
  worst: Sequence[int]
  spacing: tuple[float, float]


class Strip(NamedTuple):
  """A drawn volume.

  Attributes:
    picture: the slices below each other.
    numbers: number of each of them in the file.
    worst: as in `Volume`.
  """

  picture: blocks.Picture
  numbers: tuple[int, ...]
  worst: tuple[int, ...]


def draw(volume: Volume, *, num_volumes: int) -> Strip:
  """Draws the strip of a volume.

  Args:
    volume: the volume.
    num_volumes: number of volumes of the report, which share its bytes.
  """
  number = len(volume.numbers)
  # Two panes per slice; a strip of few slices may have larger ones.
  limit = blocks.limits(
      2 * number * min(num_volumes, NUM_SHOWN), total_bytes=_TOTAL_BYTES,
      max_side=_MAX_SIDE)
  size = _fit(volume.image.shape[1:], volume.spacing, limit.side)
  rows = []
  for image, label, prediction in zip(
      volume.image, volume.label, volume.prediction, strict=True):
    image = rasterize.resize_image(image[..., None], size=size)
    label, prediction = (
        rasterize.resize_label(x, size=size) for x in (label, prediction))
    painted = painting.outline(painting.overlay(image, label), prediction)
    plain = np.broadcast_to(image / 255.0, painted.shape)
    rows.append(np.concatenate([plain, painted], axis=1))
  pixels = np.rint(255 * np.concatenate(rows)).astype(np.uint8)
  return Strip(
      blocks.encode(pixels, blocks.Limits(
          max(pixels.shape[:2]), 2 * number * limit.num_bytes)),
      tuple(map(int, volume.numbers)), tuple(map(int, volume.worst)))


def choose(number: int, worst: Sequence[int]) -> list[int]:
  """Returns the slices to show, in order: all, or 64, evenly spread.

  Args:
    number: number of slices.
    worst: slices that are among the chosen in any case.
  """
  if number <= _MAX_SLICES:
    return list(range(number))
  rest = _MAX_SLICES - len(worst)
  spread = np.linspace(0, number - 1, rest).round().astype(int)
  return sorted({*spread.tolist(), *worst})


def _fit(size, spacing, side):
  """Returns height and width of a pane with pixels as wide as they are high."""
  lengths = np.multiply(size, spacing)
  return tuple(
      np.maximum(1, np.rint(side * lengths / lengths.max())).astype(int))


def section(
    ids: Sequence[str],
    values: Sequence[Mapping[str, str]],
    strips: Sequence[Strip],
) -> str:
  """Returns the HTML of volumes with their sliders.

  Args:
    ids: id of each volume.
    values: what is written above each of them, by name; '' is left out.
    strips: their strips.
  """
  return ''.join(
      _volume(*row) for row in zip(ids, values, strips, strict=True))


def _volume(name, values, strip):
  number = len(strip.numbers)
  first = strip.worst[0] if strip.worst else number // 2
  width, height = strip.picture.width, strip.picture.height
  text = ', '.join(
      f'{html_page.escape(wording.words(k))} {html_page.name(v)}'
      for k, v in values.items() if v)
  buttons = ' '.join(
      f'<button type="button" data-slice="{k}">{strip.numbers[k]}</button>'
      for k in strip.worst)
  label = html_page.escape(f'Slices of {name}')
  return (
      f'<div class="volume"><h3>{html_page.name(name)}</h3><p>{text}</p>'
      f'<div class="strip" role="region" aria-label="{label}" tabindex="0" '
      f'style="width: max({width}px, 34rem); aspect-ratio: {width * number} / '
      f'{height}">'
      f'<img alt="{label}" loading="lazy" decoding="async" width="{width}" '
      f'height="{height}" src="{strip.picture.uri}"></div>'
      '<div class="tools" hidden><label>Slice <input type="range" min="0" '
      f'max="{number - 1}" value="{first}" aria-label="{label}" data-numbers='
      f'"{" ".join(map(str, strip.numbers))}"></label> <output></output>'
      + (f'<span>Differs most: {buttons}</span>' if buttons else '')
      + '</div></div>')
