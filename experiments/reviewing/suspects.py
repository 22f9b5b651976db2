"""Reads the suspects of an audit, and computes what a person sees of each."""

from collections.abc import Callable, Sequence
import base64
import io
import os
from typing import Any, NamedTuple

from data_prep import manifest as manifest_lib
from data_prep.drawing import rasterize
from data_prep.formats import intensities
from data_prep.shared import geometry
from data_prep.shared import pixels
from data_prep.shared import review_journal
from data_prep.shared import scratch
from hybridseg import train_step as train_step_lib
from hybridseg import types
import numpy as np
from PIL import Image

from experiments import binary
from experiments import csv_files
from experiments.auditing import expected_gain
from experiments.auditing import observer
from experiments.building import input_pipeline
from experiments.prediction import pictures
from experiments.reports import pages
from experiments.reviewing import decisions
from experiments.saving import run_folder

NUM_FIRST = 50  # Number of suspects that a review shows by default.
_COLUMNS = ('rank', 'id', 'score', 'low', 'high', 'indicator', 'kind',
            'annotator', 'site', 'why', 'evidence')
# How pictures are encoded. PNG keeps every bit; WebP keeps static pages small.
_FORMS = {'PNG': {'compress_level': 1}, 'WEBP': {'quality': 90}}


class Listed(NamedTuple):
  """The suspects of an audit, before any prediction.

  Attributes:
    header: first line of the journal.
    manifest: manifest of the set.
    facts: see `Review`.
  """

  header: review_journal.Header
  manifest: manifest_lib.Manifest
  facts: Sequence[dict[str, Any]]

  @property
  def classes(self) -> tuple[str, ...]:
    """The names of the classes, background first."""
    return self.manifest.header.classes

  @property
  def sizes(self) -> dict[str, tuple[int, int]]:
    """Height and width of each picture, by id."""
    return {f['id']: (f['height'], f['width']) for f in self.facts}


class Review(NamedTuple):
  """Everything that a page shows.

  Attributes:
    header: first line of the journal.
    name: name of the set.
    classes: names of the classes, background first.
    facts: what the audit found about each suspect, with `width` and `height`
      of its picture.
    content: function that maps the place of a suspect to its picture and label
      maps, as JSON values; see `to_json`. Of a volume, it also takes the number
      of the slice. It raises `pixels.WrongFile` if the picture cannot be read
      any more.
  """

  header: review_journal.Header
  name: str
  classes: tuple[str, ...]
  facts: Sequence[dict[str, Any]]
  content: Callable[..., dict[str, Any]]


def read_audit(
    workdir: str, required: Sequence[str] = _COLUMNS
) -> list[dict[str, str]]:
  """Returns the lines of a run's audit.csv, the most suspect first.

  Args:
    workdir: folder of the run.
    required: names of the columns that it must have.

  Raises:
    binary.UserError: if the run has no audit.
  """
  path = os.path.join(workdir, 'audit', 'audit.csv')
  if not os.path.exists(path):
    raise binary.UserError(
        f'No {path}: run `python -m experiments.audit --run={workdir}` first.')
  header, rows = csv_files.read_csv(path, required=required)
  return [dict(zip(header, cells, strict=True)) for _, cells in rows]


def in_order_of_gain(
    workdir: str, lines: Sequence[dict[str, str]]
) -> list[dict[str, str]]:
  """Returns the lines of audit.csv that next.csv lists, in its order.

  Args:
    workdir: folder of the run.
    lines: value of `read_audit`.

  Raises:
    binary.UserError: if there is no such file, or if it is of another audit.
  """
  path = os.path.join(workdir, 'audit', expected_gain.FILE)
  if not os.path.exists(path):
    raise binary.UserError(
        f'No {path}: run `python -m experiments.audit --run={workdir} '
        '--minutes=60` first.')
  header, rows = csv_files.read_csv(path, required=expected_gain.HEADER)
  ids = [cells[header.index('id')] for _, cells in rows]
  by_id = {line['id']: line for line in lines}
  strange = [i for i in ids if i not in by_id]
  if strange:
    raise binary.UserError(
        f'{path} lists {strange[0]!r:.60}, which audit.csv does not: audit the '
        'run again.')
  return [by_id[i] for i in ids]


def read_set(workdir: str) -> tuple[
    review_journal.Header, manifest_lib.Manifest]:
  """Returns the header of a review of a run, and the manifest of its set.

  Raises:
    binary.UserError: if the manifest cannot be read.
  """
  data_dir = run_folder.read_config(workdir).input.data_dir
  path = os.path.join(data_dir, 'manifest.jsonl')
  try:
    header = review_journal.Header(
        workdir, data_dir, review_journal.manifest_sha256(data_dir))
    manifest = manifest_lib.read_manifest(path)
  except OSError as e:
    raise binary.UserError(
        f'{path} cannot be read ({e.strerror}): the review needs the set of '
        'the run.') from e
  if manifest.problems:
    raise binary.UserError(f'{path}: {manifest.problems[0]}')
  return header, manifest


def sizes(
    manifest: manifest_lib.Manifest, ids: Sequence[str]
) -> dict[str, tuple[int, int]]:
  """Returns the height and width of the original pictures of weak images.

  Args:
    manifest: manifest of the set.
    ids: ids of weak training images.

  Raises:
    binary.UserError: if an id is of no such image, or if a picture cannot be
      read any more.
  """
  rows = {row.id: row for row in manifest.rows
          if row.role == 'weak' and row.split == 'train'}
  strange = [i for i in ids if i not in rows]
  if strange:
    raise binary.UserError(
        f'{strange[0]!r:.60} is no weak training image of '
        f'{manifest.header.name}: the set has changed since the audit.')
  folder, found = pixels.open_folder(manifest.root), {}
  for row_id in dict.fromkeys(ids):
    try:
      with pixels.opened(rows[row_id].image, 'image', folder) as (_, picture):
        found[row_id] = picture.height, picture.width
    except pixels.WrongFile as wrong:
      raise binary.UserError(f'{ascii(row_id)[:60]}: {wrong}.') from wrong
  return found


def list_suspects(
    workdir: str, num: int | None, *, by_gain: bool = False
) -> Listed:
  """Lists the first suspects of a run's audit.

  Args:
    workdir: folder of the run.
    num: number of suspects, if the audit lists as many; None lists `NUM_FIRST`,
      or all of next.csv.
    by_gain: whether to list those of next.csv, in its order.

  Raises:
    binary.UserError: if the audit, the set or a picture cannot be read.
  """
  lines = read_audit(workdir)
  if by_gain:
    lines = in_order_of_gain(workdir, lines)
  elif num is None:
    num = NUM_FIRST
  lines = lines[:num]
  if not lines:
    raise binary.UserError(f'The audit of {workdir} lists no annotation.')
  header, manifest = read_set(workdir)
  found = sizes(manifest, [line['id'] for line in lines])
  rows = {row.id: row for row in manifest.rows}
  facts = [
      {name: line[name] for name in _COLUMNS} | {
          'height': found[line['id']][0], 'width': found[line['id']][1],
          'labels': _labels(rows[line['id']], manifest.header.classes)}
      for line in lines]
  return Listed(header, manifest, facts)


def open_review(run: observer.Run, listed: Listed) -> Review:
  """Predicts suspects with both networks of a run, which takes a while.

  Args:
    run: the run, opened for its audit.
    listed: the suspects from `list_suspects`.

  Raises:
    binary.UserError: if the run has not learnt from the set's annotations.
  """
  if run.dataset.corrections:
    raise binary.UserError(
        f'{listed.header.run} has learnt from corrected labels, so its audit '
        'is not about the annotations of the set: review a run without '
        'input.corrected_labels.')
  manifest = listed.manifest
  ids = [f['id'] for f in listed.facts]
  looks = _look(run, ids)
  by_id = {row.id: row for row in manifest.rows}
  limits = run.dataset.preparation.intensity_range

  def content(place, *, lossless=True):
    return _content(
        by_id[ids[place]], looks[place], manifest=manifest,
        intensity_range=limits, lossless=lossless)

  return Review(
      listed.header, run.dataset.name, run.dataset.classes, listed.facts,
      content)


class _Look(NamedTuple):
  """Outputs of both networks, of the size of the records."""

  probs: np.ndarray
  alignment_map: np.ndarray


def _look(run, ids):
  """Returns the outputs of both networks for weak images, in order."""
  weak = run.dataset.splits['train_weak']
  places = {i: n for n, i in enumerate(
      input_pipeline.column(weak, 'id').astype(str).tolist())}
  params = train_step_lib.eval_params(run.last.state)
  directions = run.observer.strong_directions(
      params, run.dataset.splits['train_strong'])
  looks = []
  for n, look in enumerate(run.observer.look(
      params, [weak[places[i]] for i in ids], label='label',
      what='predictions', directions=directions)):
    if not n:  # On the disk, so that thousands of suspects take no memory.
      probs = scratch.make_array((len(ids), *look.probs.shape), np.float32)
      maps = scratch.make_array(
          (len(ids), *look.alignment_maps.shape[1:]), np.float32)
    probs[n], maps[n] = look.probs, look.alignment_maps.mean(0)
    looks.append(_Look(probs[n], maps[n]))
  return looks


def _labels(row, classes):
  """Returns the names of the classes that a tag lists, or ''."""
  if row.annotation['kind'] != 'tag':
    return ''
  return ', '.join(classes[k] for k in row.annotation['labels']) or 'none'


def _content(row, look, *, manifest, intensity_range, lossless):
  """Returns what the page shows of a suspect, at the size of its picture.

  Args:
    row: row of the manifest.
    look: outputs of the networks for its record.
    manifest: manifest of the set.
    intensity_range: see `intensities.read_picture`.
    lossless: whether the picture keeps every bit, or becomes a smaller file.
  """
  image = intensities.read_picture(
      row.image, pixels.open_folder(manifest.root),
      intensity_range=intensity_range).image
  size = image.shape[:2]
  weak = rasterize.rasterize(row.annotation, size=size, root=manifest.root)
  probs = [pictures.resize_map(p, size) for p in look.probs]
  prediction = pictures.likeliest(np.mean(probs, axis=0))
  runs = decisions.encode_runs
  within = inside(prediction, weak, row.annotation['kind'])
  return to_json(
      image, runs(weak), runs(prediction),
      [runs(pictures.likeliest(p)) for p in probs],
      None if within is None else runs(within),
      pages.harm_map(look.alignment_map),
      form='PNG' if lossless else 'WEBP')


def to_json(
    image: np.ndarray,
    weak: list[int],
    prediction: list[int],
    networks: Sequence[list[int]],
    within: list[int] | None,
    harm: np.ndarray | None,
    *,
    form: str,
) -> dict[str, Any]:
  """Returns the content of a suspect as JSON values for the page.

  Args:
    image: the picture, uint8 [H, W, 1 or 3].
    weak: the annotation as runs, see `decisions.encode_runs`, of the size of
      the picture, like all runs here.
    prediction: classes that both networks predict together.
    networks: classes that each of the two networks predicts.
    within: the prediction inside the annotation; None for a tag.
    harm: where the annotation harms, from `pages.harm_map`, float [h, w]; None
      if it is not known.
    form: format of the picture, a key of `_FORMS`.
  """
  file = io.BytesIO()
  Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(
      file, form, **_FORMS[form])
  return {
      'height': image.shape[0], 'width': image.shape[1],
      'picture': base64.b64encode(file.getvalue()).decode(),
      'type': f'image/{form.lower()}',
      'weak': weak, 'prediction': prediction, 'networks': networks,
      'inside': within, 'map': None if harm is None else _map_to_json(harm)}


def _map_to_json(harm):
  # Each byte of the map is 128 + 127 times the harm.
  content = np.rint(128 + 127 * np.clip(harm, -1, 1)).astype(np.uint8)
  return {'height': harm.shape[0], 'width': harm.shape[1],
          'values': base64.b64encode(content.tobytes()).decode()}


def inside(
    prediction: np.ndarray, label: np.ndarray, kind: str
) -> np.ndarray | None:
  """Returns the prediction inside the region of an annotation.

  Of a scribble or points, the region is each predicted object of the same class
  that a mark touches; of other kinds, all pixels that are not drawn as
  background.

  Args:
    prediction: predicted classes, uint8 [H, W].
    label: the annotation as a label map, uint8 [H, W], 255 where unknown.
    kind: kind of the annotation, such as 'box'.

  Returns:
    The prediction there and 0 elsewhere, uint8 [H, W]; None for a tag, which
    has no place.
  """
  if kind == 'tag':
    return None
  if types.AnnotationKind[kind.upper()] not in types.SPARSE_KINDS:
    return np.where(label != 0, prediction, 0).astype(np.uint8)
  found = np.zeros_like(prediction)
  for value, mask in geometry.components(prediction):
    if np.any(label[mask] == value):
      found[mask] = value
  return found
