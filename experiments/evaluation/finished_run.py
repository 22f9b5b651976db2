"""Evaluates a run, at the resolution of the original images if they exist."""

import collections
from collections.abc import Callable, Iterator, Sequence
import functools
import json
import pathlib
import sys
from typing import Any, NamedTuple

from data_prep import manifest as manifest_lib
from data_prep.drawing import rasterize
from data_prep.formats import nifti
from data_prep.records import fingerprints
from data_prep.shared import confined
from data_prep.shared import pixels
from hybridseg import metrics as metrics_lib
from hybridseg import types
import numpy as np

from experiments import binary
from experiments import process_group
from experiments.building import input_pipeline
from experiments.building import volume_set
from experiments.evaluation import scoring
from experiments.evaluation import volume_evaluation
from experiments.prediction import pictures
from experiments.prediction import predictor as predictor_lib
from experiments.prediction import volume_windows


_NUM_BINS = 15  # Of the calibration error.


class Case(NamedTuple):
  """One image, or one slice of a volume, with its reference.

  Attributes:
    id: id of the case.
    subject: subject of the case.
    image: image, uint8 [H, W, C].
    label_map: reference, uint8 [H, W].
    spacing_mm: millimetres per pixel (y, x); None if they are not known.
  """

  id: str
  subject: str
  image: np.ndarray
  label_map: np.ndarray
  spacing_mm: tuple[float, float] | None


class Split(NamedTuple):
  """The images of a split, with their references.

  Attributes:
    pictures: images, which are read one by one.
    resolution: 'original', or the size of the records, as text.
    in_mm: whether the spacing of every image is known.
    volumes: if the images are slices of volumes, maps the name of each volume
      to its entry in the file `data_prep.formats.nifti.INDEX`; else {}.
  """

  pictures: Sequence[Case]
  resolution: str
  in_mm: bool
  volumes: dict[str, Any]


def open_split(predictor: predictor_lib.Predictor, split: str) -> Split:
  """Opens the original files of a split, or else its records.

  The original files are used if the set has a manifest and all files of the
  split that it names still exist. Otherwise the records are used, and a notice
  is printed, because their images were resized, their spacing is not known, and
  slices are not stacked into volumes.

  Args:
    predictor: networks of the run.
    split: 'val' or 'test'.

  Raises:
    binary.UserError: if there are no records, or if the run was trained on
      another set.
  """
  data_dir = pathlib.Path(predictor.data_dir)
  if (data_dir / 'manifest.jsonl').is_file():
    manifest = manifest_lib.read_manifest(data_dir / 'manifest.jsonl')
    found = fingerprints.of_manifest(manifest)
    if not _is_of_old_records(predictor, manifest, found):
      _check_fingerprint(predictor, found)
    rows = [row for row in manifest.rows if row.split == split]
    if rows and all(map(functools.partial(_is_there, manifest.root), rows)):
      index = data_dir / nifti.INDEX
      volumes = json.loads(index.read_text()) if index.exists() else {}
      in_mm = all(row.spacing_mm is not None for row in rows)
      return Split(_Originals(manifest, rows), 'original', in_mm, volumes)
  dataset = input_pipeline.load_dataset(predictor.data_dir)
  _check_fingerprint(predictor, dataset.fingerprint)
  height, width, _ = dataset.image_shape
  print(f'notice: the pictures of {split} are not where {data_dir} says: '
        f'evaluated at the size of the records, {height} x {width}',
        file=sys.stderr)
  return Split(_Records(dataset.splits[split]),
               f'records, {height} x {width}', False, {})


def _is_there(root, row):
  truth = (row.evaluation or {}).get('truth') or {}
  names = [row.image, *(a['path'] for a in (row.annotation or {}, truth)
                        if 'path' in a)]
  return all((root / name).is_file() and not confined.leads_out(root, name)
             for name in names)


def _is_of_old_records(predictor, manifest, found):
  """Returns whether older code made the run's records from this manifest.

  The fingerprint of such records depends on the order of the keys in the
  original manifest, which is not known any more. Everything else is compared.

  Args:
    predictor: networks of the run.
    manifest: manifest of the set.
    found: fingerprint of this manifest.
  """
  wanted = predictor.dataset.fingerprint
  folder = pathlib.Path(predictor.data_dir) / 'records'
  if found == wanted or not folder.is_dir():
    return False
  from data_prep.records import builder  # Slow to import.

  return builder.made_in_other_order(folder, manifest) == wanted


def _check_fingerprint(predictor, found):
  if found != predictor.dataset.fingerprint:
    raise binary.UserError(
        f'{predictor.data_dir} holds another set than the run was '
        'trained on, whose test images may have been trained on: prepare the '
        'set as it was, or predict and give --predictions and --references.')


class _Originals(Sequence):

  def __init__(self, manifest, rows):
    self._manifest, self._rows = manifest, rows
    self.ids = [row.id for row in rows]

  def __len__(self):
    return len(self._rows)

  def __getitem__(self, index):
    row, root = self._rows[index], self._manifest.root
    with pixels.strict_pillow():
      image = rasterize.read_image(root / row.image)
    truth = row.annotation
    if row.role != 'strong':
      truth = (row.evaluation or {}).get('truth')
    label_map = np.full(image.shape[:2], 255, np.uint8)
    if truth is not None:
      label_map = rasterize.rasterize(truth, size=image.shape[:2], root=root)
    return Case(row.id, row.subject or row.id, image, label_map, row.spacing_mm)


class _Records(Sequence):

  def __init__(self, records):
    self._records = records
    self.ids = input_pipeline.column(records, 'id').tolist()

  def __len__(self):
    return len(self._records)

  def __getitem__(self, index):
    record = self._records[index]
    names = [input_pipeline.column([record], name).item()
             for name in ('id', 'subject')]
    return Case(*names, record['image'], record['truth'], None)


def _predict_cases(predictor, cases):
  """Predicts images one after another, at their own size.

  Yields:
    The `Case`, its class probabilities, float [H, W, K], and the disagreement
    of the networks, float [H, W].
  """
  height, width, channels = predictor.dataset.image_shape
  tiling = pictures.Tiling((height, width), channels)
  read = input_pipeline.read_from(cases, 0, len(cases), 2)
  files = (
      (case, pictures.Opened(
          (pictures.with_channels(case.image, channels, case.id),), None))
      for case in read)
  for found in pictures.predict(predictor, files, tiling):
    maps = found.merged()
    yield found.key, maps.probabilities[0], maps.disagreement[0]


class _Predicted(NamedTuple):
  """A predicted image or volume.

  `bins` maps the place of each image in its split to its counts for the
  calibration error, float [15, 3]. `shown` is the picture in the report.
  """

  id: str
  subject: str
  prediction: np.ndarray
  label_map: np.ndarray
  spacing_mm: tuple[float, ...] | None
  bins: dict[int, np.ndarray]
  shown: scoring.EvaluatedCase


def _predict(predictor, split, group, block) -> Iterator[_Predicted]:
  """Predicts this process's share of a split, and stacks slices into volumes.

  Args:
    predictor: networks of the run.
    split: images of the split.
    group: the processes that share the cases.
    block: number of cases in a block of the share.

  Yields:
    Each image when it is predicted, and each volume when all its slices are.
  """
  volume_of = {
      row_id: name for name, entry in split.volumes.items()
      for row_id in entry['ids'] if len(entry['ids']) > 1}
  # The places of the images of each case. A case is complete at its last one.
  cases = collections.defaultdict(list)
  for place, row_id in enumerate(split.pictures.ids):
    cases[volume_of.get(row_id, place)].append(place)
  own = dict(group.share(
      sorted(cases.items(), key=lambda case: case[1][-1]), block))
  places = sorted(place for case in own.values() for place in case)
  slices = collections.defaultdict(dict)
  for place, (case, probabilities, apart) in zip(places, _predict_cases(
      predictor, input_pipeline.Rows(split.pictures, np.array(places, int))),
                                                 strict=True):
    prediction = probabilities.argmax(axis=-1).astype(np.uint8)
    found = _Predicted(
        case.id, case.subject, prediction, case.label_map, case.spacing_mm,
        {place: metrics_lib.calibration_counts(
            probabilities, case.label_map, num_bins=_NUM_BINS)},
        scoring.EvaluatedCase(
            case.id, case.subject, {}, case.image, case.label_map, prediction,
            {'uncertainty': apart}))
    name = volume_of.get(case.id)
    if name is None:
      yield found
      continue
    slices[name][case.id] = found
    if len(slices[name]) == len(own[name]):
      yield _stack(name, split.volumes[name], slices.pop(name))


def _stack(name, entry, slices):
  """Stacks predicted slices into a volume, along the axes of its file.

  Slices that belong to another split count as unlabelled. The slice for the
  report is the one with the largest reference object.

  Args:
    name: name of the volume.
    entry: entry of the volume in the index of the set.
    slices: maps the id of each slice to its prediction.
  """
  first = next(iter(slices.values()))
  empty = np.zeros_like(first.prediction)
  unknown = np.full_like(first.label_map, types.UNLABELLED)
  parts = [slices.get(i) for i in entry['ids']]
  prediction, label_map = (
      np.stack([blank if p is None else getattr(p, field) for p in parts],
               entry['axis'])
      for field, blank in (('prediction', empty), ('label_map', unknown)))
  spacing = np.linalg.norm(np.array(entry['affine'])[:3, :3], axis=0)
  largest = max(slices.values(), key=lambda p: np.count_nonzero(
      (p.label_map > 0) & (p.label_map != types.UNLABELLED)))
  return _Predicted(
      name, first.subject, prediction, label_map, tuple(spacing.tolist()),
      {place: counts for part in slices.values()
       for place, counts in part.bins.items()},
      largest.shown._replace(id=name))


def _predict_volumes(predictor, split, group) -> Iterator[_Predicted]:
  """Predicts this process's share of the whole volumes of a split."""
  dataset = volume_set.load(predictor.data_dir)
  _check_fingerprint(predictor, dataset.fingerprint)
  records = dataset.splits[split]
  for place in group.share(range(len(records))):
    record = records[place]
    probs = volume_windows.predict_record(
        predictor.run_fn, record, dataset.plan,
        batch_size=predictor.batch_size)
    counts = metrics_lib.calibration_counts(
        probs, record['truth'], num_bins=_NUM_BINS)
    view = volume_evaluation.View(record)
    shown = scoring.EvaluatedCase(
        record['id'], record['subject'], {}, view['image'], view['truth'],
        volume_evaluation.plane_of(volume_windows.labels_of(probs), record))
    yield _Predicted(
        record['id'], record['subject'],
        volume_evaluation.restore(probs, record, dataset.plan),
        record.reference(), record.stored_spacing_mm, {place: counts}, shown)


def score_run(
    workdir: str,
    split: str,
    *,
    checkpoint: str = 'latest',
    tolerance: float = 2.0,
    on_case: Callable[[scoring.EvaluatedCase], None] = lambda case: None,
    group: process_group.Group | None = None,
) -> scoring.Evaluated | None:
  """Evaluates a checkpoint of a run, and writes nothing.

  A case is an image, or a whole volume if the set was made from slices of
  volumes. Distances are in mm if the spacing of every case is known, else in
  pixels; the results state the unit.

  Args:
    workdir: folder of the run.
    split: 'val' or 'test'.
    checkpoint: 'latest', or 'best' on the validation split.
    tolerance: tolerance of NSD, in the unit of distances.
    on_case: function that is called with each case for the report, if this
      process has evaluated it.
    group: the processes that share the cases; by default, this one alone.

  Returns:
    The scores of all cases; None in all processes but the first.

  Raises:
    binary.UserError: if there is no intact checkpoint, or if the set of the run
      is missing or has changed.
    binary.Lost: if another process has ended.
  """
  group = group or process_group.Group()
  predictor = predictor_lib.load(
      workdir, checkpoint=checkpoint, whole_volumes=True)
  classes = predictor.dataset.classes
  if predictor.dataset.plan is not None:
    resolution, in_mm, block = 'original', True, 1
    cases = _predict_volumes(predictor, split, group)
  else:
    opened = open_split(predictor, split)
    resolution, in_mm = opened.resolution, opened.in_mm
    block = 1 if opened.volumes else predictor.batch_size
    cases = _predict(predictor, opened, group, block)
  bins = {}

  def score():
    for case in cases:
      group.check()
      bins.update(case.bins)
      scores = scoring.score_case(
          case.prediction, case.label_map, num_classes=len(classes),
          spacing=case.spacing_mm if in_mm else None, tolerance=tolerance)
      on_case(case.shown._replace(
          scores=scoring.named_scores(scores, classes)))
      yield scoring.ScoredCase(case.id, case.subject, scores)

  scored = scoring.gather(score(), group, block)
  shares = group.gather((
      np.array([*bins], int),
      np.reshape([*bins.values()], (-1, _NUM_BINS, 3))))
  if scored is None or shares is None:
    return None
  found = scoring.evaluate_cases(
      scored, classes, tolerance=tolerance, in_mm=in_mm)
  # Add in the order of the split, whoever has counted, for the same bits.
  places, counts = map(np.concatenate, zip(*shares, strict=True))
  total = np.zeros((_NUM_BINS, 3))
  for place in np.argsort(places):
    total += counts[place]
  return found._replace(results={
      'step': predictor.step,
      'split': split,
      'resolution': resolution,
      'ece': metrics_lib.expected_calibration_error(total),
  } | found.results)


def evaluate_run(
    workdir: str, split: str, **options: Any
) -> scoring.Evaluated:
  """Evaluates a run in this process, and writes the results into its folder.

  The files are evaluation_SPLIT.json and evaluation_SPLIT.csv; for the
  arguments, see `score_run`.
  """
  found = score_run(workdir, split, **options)
  scoring.write_evaluation(workdir, found, suffix=f'_{split}')
  return found
