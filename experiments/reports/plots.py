"""Plots the learning curves, example images and indicators of a run."""

from collections.abc import Sequence
from typing import Any

from data_prep.shared import whole_file
from matplotlib import figure
import numpy as np

from experiments import painting
from experiments.building import input_pipeline
from experiments.reports import wording

_MAX_POINTS = 20_000  # More points of a scatter plot hide each other.
_PANELS = {
    'Training loss': ('strong_loss', 'weak_loss', 'co_reg_loss'),
    'Validation Dice': ('val_dice',),
    'Indicators': ('indicator_mean', 'indicator_share_at_0',
                   'indicator_share_at_1', 'indicator_effective_share'),
}


def curves(
    lines: Sequence[dict[str, Any]],
) -> dict[str, dict[str, tuple[Sequence[float], Sequence[float]]]]:
  """Returns the curves of a log, as (steps, values), by panel title and label.

  Args:
    lines: lines of log.jsonl.
  """
  panels = {}
  for title, names in _PANELS.items():
    panels[title] = {}
    for name in names:
      points = [(line['step'], line[name]) for line in lines
                if line.get(name) is not None]
      if points:
        label = wording.words(name.removeprefix('indicator_'))
        panels[title][label] = tuple(zip(*points, strict=True))
  return panels


def save(fig: figure.Figure, path: str, *, dpi: int) -> None:
  """Writes a figure to a PNG file, completely or not at all.

  Args:
    fig: the figure.
    path: file to write.
    dpi: pixels per inch.
  """
  with whole_file.open_whole(path, 'wb') as file:
    fig.savefig(file, dpi=dpi, format='png')


def plot_curves(lines: Sequence[dict[str, float]], path: str) -> None:
  """Plots losses, validation Dice and indicators over the training steps.

  Args:
    lines: lines of log.jsonl.
    path: PNG file to write.
  """
  panels = curves(lines)
  fig = figure.Figure(figsize=(13, 3.6))
  # Places that suit all runs spare a solver of layouts, which draws twice.
  axes = fig.subplots(1, len(panels), gridspec_kw=dict(
      left=0.04, right=0.99, bottom=0.13, top=0.91, wspace=0.13))
  for ax, (title, series) in zip(axes, panels.items(), strict=True):
    for label, points in series.items():
      ax.plot(*points, label=label, marker='.', markersize=3)
    ax.set(title=title, xlabel='step')
    if title != 'Training loss':
      ax.set_ylim(0, 1.02)
    if ax.has_data():
      ax.legend(fontsize=8, frameon=False)
    ax.grid(alpha=0.3)
  save(fig, path, dpi=110)


def choose_weak(
    weights: np.ndarray, records: Sequence[dict[str, Any]]
) -> list[int]:
  """Chooses six weak instances, from the least to the most trusted.

  They are evenly spaced in the ranking by indicator.

  Args:
    weights: indicators of all weak instances, float [N].
    records: weak training records.

  Returns:
    The positions of the six records.
  """
  order = least_trusted(weights, records, number=len(records))
  picks = np.linspace(0, len(order) - 1, min(6, len(order)))
  return [order[i] for i in picks.astype(int)]


def least_trusted(
    weights: np.ndarray, records: Sequence[dict[str, Any]], *, number: int
) -> list[int]:
  """Returns the positions of the records with the lowest indicators.

  Args:
    weights: indicators of all weak instances, float [N].
    records: weak training records.
    number: how many positions to return, the lowest indicator first.
  """
  ids = input_pipeline.column(records, 'instance_id')
  return np.argsort(weights[ids], kind='stable')[:number].tolist()


def plot_panel(
    path: str,
    *,
    dataset: input_pipeline.Dataset,
    weak_indices: Sequence[int],
    weak_predictions: np.ndarray,
    weights: np.ndarray,
    test_predictions: np.ndarray,
) -> None:
  """Draws a panel of example images, one image per column.

  The rows are image, truth, weak label and prediction. The left columns show
  weak training instances. The right columns show six test images, spread evenly
  over the split, which have no weak label.

  Args:
    path: PNG file to write.
    dataset: set of the run.
    weak_indices: positions in train_weak of the instances to show.
    weak_predictions: predictions for these instances, uint8
      [len(weak_indices), H, W].
    weights: indicators of all weak instances, float [N].
    test_predictions: predictions for all M test images, uint8 [M, H, W].
  """
  weak = [dataset.splits['train_weak'][i] for i in weak_indices]
  test = dataset.splits['test']
  spread = np.linspace(0, len(test) - 1, min(6, len(test))).astype(int)
  columns = []
  for record, prediction in zip(weak, weak_predictions, strict=True):
    fault = input_pipeline.column([record], 'fault')[0]
    title = f'indicator {weights[record["instance_id"]]:.2f}'
    columns.append((record, record['label'], prediction,
                    f'{title}\n{fault or "weak"}'))
  for i in spread:
    columns.append((test[i], None, test_predictions[i], 'test\n'))
  # Slices of volumes have several sizes.
  height, width = np.max(
      [record['image'].shape[:2] for record, *_ in columns], axis=0)
  gap = -(-width // 16)
  mosaic = np.ones(
      (4 * (height + gap) - gap, len(columns) * (width + gap) - gap, 3))
  fig = figure.Figure(figsize=(
      1.25 * len(columns) + 0.3, 5 * height / width + 0.5))
  # A single image is drawn many times faster than an image per example.
  ax = fig.add_axes((
      0.3 / fig.get_figwidth(), 0.05 / fig.get_figheight(),
      1 - 0.35 / fig.get_figwidth(), 1 - 0.5 / fig.get_figheight()))
  ax.set_axis_off()
  for column, (record, label, prediction, title) in enumerate(columns):
    left, image = column * (width + gap), record['image']
    blank = np.zeros(image.shape[:2], np.uint8)
    ax.text(left + width / 2, -gap, title, fontsize=8, ha='center')
    for row, label_map in enumerate(
        (blank, record['truth'], label, prediction)):
      if label_map is not None:
        top = row * (height + gap)
        mosaic[top : top + len(blank), left : left + blank.shape[1]] = (
            painting.overlay(image, label_map))
  for row, name in enumerate(('image', 'truth', 'weak label', 'prediction')):
    ax.text(-gap, row * (height + gap) + height / 2, name, fontsize=9,
            rotation=90, ha='right', va='center')
  ax.imshow(mosaic)
  save(fig, path, dpi=120)


def plot_indicators(
    path: str,
    *,
    weights: np.ndarray,
    records: Sequence[dict[str, Any]],
) -> None:
  """Plots the indicators by planted fault, and against the label quality.

  Args:
    path: PNG file to write.
    weights: indicators of all weak instances, float [N].
    records: weak training records.
  """
  values = weights[input_pipeline.column(records, 'instance_id')]
  faults = input_pipeline.column(records, 'fault')
  quality = input_pipeline.column(records, 'quality').astype(float)
  fig = figure.Figure(figsize=(10, 3.8))
  left, right = fig.subplots(1, 2, gridspec_kw=dict(
      left=0.065, right=0.985, bottom=0.13, top=0.92, wspace=0.17))
  names = sorted(set(faults))
  left.hist(
      [values[faults == name] for name in names],
      bins=np.linspace(0, 1, 21), stacked=True,
      label=[name.replace('_', ' ') or 'no planted fault' for name in names])
  left.set(xlabel='indicator', ylabel='weak instances',
           title='Indicators by planted fault')
  left.legend(fontsize=8, frameon=False)
  known = ~np.isnan(quality)
  if known.any():
    every = -(-np.count_nonzero(known) // _MAX_POINTS)
    for name in names:
      rows = np.flatnonzero(known & (faults == name))[::every]
      right.scatter(quality[rows], values[rows], s=9, alpha=0.7)
    right.set(xlabel='IoU of the weak label to the truth', ylabel='indicator',
              title='Indicators by quality' + (
                  f', every {every}th' if every > 1 else ''),
              xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
  else:
    right.set_axis_off()
    right.set_title('Quality of the weak labels is not known')
  save(fig, path, dpi=110)
