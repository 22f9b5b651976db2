"""Replaces the annotations of a set by predicted or corrected masks."""

from typing import Any
import pathlib

from hybridseg import types
import numpy as np

from data_prep import manifest as manifest_lib
from data_prep.drawing import annotation_kinds
from data_prep.drawing import rasterize
from data_prep.drawing import rle
from data_prep.shared import confined
from data_prep.shared import pixels


def constrain(
    label: np.ndarray, annotation: dict[str, Any], *, root: pathlib.Path
) -> np.ndarray:
  """Changes a predicted label map so that it agrees with a weak annotation.

  For a box, outline, line or coarse mask, a pixel keeps a class only if a shape
  of that class covers it; otherwise it becomes background. If no pixel inside a
  shape is predicted to be of the shape's class, the shape is filled with that
  class, since the annotator has seen an object there. Where the annotation is
  unlabelled, the prediction is kept. For scribbles and points, the labelled
  pixels take the class of the annotation. For a tag, classes that it does not
  name become background.

  Args:
    label: predicted class per pixel, uint8 [H, W], of the image's size.
    annotation: one annotation of a checked manifest.
    root: folder that the annotation's path is relative to.

  Returns:
    The changed classes, uint8 [H, W].
  """
  label = label.copy()
  kind = annotation_kinds.TABLE[annotation['kind']]
  if kind.field is None:
    label[~np.isin(label, annotation['labels'])] = 0
    return label
  drawn = rasterize.rasterize(annotation, size=label.shape, root=root)
  if kind.is_sparse:
    known = drawn != types.UNLABELLED
    label[known] = drawn[known]
    return label
  if 'labels' not in annotation:
    shapes = [(int(v), drawn == v) for v in np.unique(drawn)
              if v not in (0, types.UNLABELLED)]
  else:
    shapes = []
    for i, value in enumerate(annotation['labels']):
      if value == types.UNLABELLED:
        continue
      one = annotation | {
          kind.field: [annotation[kind.field][i]], 'labels': [value]}
      inside = rasterize.rasterize(one, size=label.shape, root=root) != 0
      shapes.append((value, inside))
  # The box around extreme points is unlabelled, like a shape labelled 255. But
  # pixels in this box that are predicted to be of another class must become
  # background.
  open_label = drawn if not kind.opens else _only_open(
      annotation, kind.field, label.shape)
  allowed = open_label == types.UNLABELLED
  for value, inside in shapes:
    allowed |= inside & (label == value)
  result = np.where(allowed, label, 0).astype(np.uint8)
  for value, inside in shapes:
    if not (inside & (label == value)).any():
      result[inside & (result == 0)] = value
  return result


def _only_open(annotation, field, size):
  """Draws only those shapes of an annotation that are labelled 255."""
  kept = [p for p, v in zip(
      annotation[field], annotation['labels'], strict=True)
      if v == types.UNLABELLED]
  return rasterize.rasterize(annotation | {
      field: kept, 'labels': [types.UNLABELLED] * len(kept)},
      size=size, root=pathlib.Path())


def with_masks(
    manifest: manifest_lib.Manifest,
    folder: pathlib.Path,
    *,
    constrained: bool,
) -> tuple[manifest_lib.Manifest, list[manifest_lib.Problem]]:
  """Replaces annotations of a set by masks from a folder, named ID.png.

  Args:
    manifest: the set's manifest, without problems. Rows for which the folder
      has no mask keep their annotations.
    folder: folder of the masks. Each mask holds class numbers and has the size
      of its image.
    constrained: whether to make the masks agree with the weak annotations that
      they replace, see `constrain`.

  Returns:
    The changed manifest, and the problems of the masks that cannot be used.
  """
  rows, problems = [], []
  opened = pixels.open_folder(folder)
  for row in manifest.rows:
    name = f'{row.id}.png'
    if not confined.is_name(row.id) or not (folder / name).is_file():
      rows.append(row)
      continue
    try:
      with pixels.opened(name, 'mask', opened):
        label = rasterize.apply_values(
            rasterize.read_mask(folder / name), None)
      size = rasterize.read_image(manifest.root / row.image).shape[:2]
      if label.shape != size or label.max(initial=0) >= len(
          manifest.header.classes):
        raise pixels.WrongFile(
            f'expected classes below {len(manifest.header.classes)}, '
            f'{size[0]} x {size[1]}', f'up to {label.max(initial=0)}, '
            f'{label.shape[0]} x {label.shape[1]}', 'predict it again')
    except pixels.WrongFile as wrong:
      problems.append(manifest_lib.Problem(
          wrong.what, wrong.found, wrong.fix, id=row.id, file=name))
      continue
    if constrained and row.annotation is not None:
      label = constrain(label, row.annotation, root=manifest.root)
    values = [v for v in range(1, len(manifest.header.classes))
              if (label == v).any()]
    rows.append(row._replace(annotation={
        'kind': 'mask', 'labels': values,
        'rles': [rle.encode_rle(label == v) for v in values]}))
  if not any((folder / f'{r.id}.png').is_file() for r in manifest.rows):
    problems.append(manifest_lib.Problem(
        'no mask is named like an id of the set', str(folder),
        'name them ID.png'))
  return manifest._replace(rows=tuple(rows)), problems
