"""Ranks the weak annotations of whole volumes, and names suspect slices.

The networks predict each weak volume. Where the annotation is a box, boxes are
drawn around the prediction, too, so that both are of one kind. The score of an
annotation is 1 minus the mean Dice of its classes, over labelled voxels.
Extreme points are compared by their boxes, whatever the class, and tags by the
classes that they name: 1 minus the Dice of the two sets. A score is no
probability: compare scores within one kind. In a set of slabs, a slab has a
score of its own, over the labelled voxels in it.
"""

import bisect
import collections
from collections.abc import Sequence
import csv
import os
from typing import Any, NamedTuple

from data_prep.drawing import volume_annotations
from data_prep.drawing import volume_marks
from data_prep.shared import cells
from data_prep.shared import progress
from data_prep.volumes import orientation
from data_prep.volumes import resampling
from hybridseg import metrics as metrics_lib
from hybridseg import types
import numpy as np

from experiments import csv_files
from experiments import process_group
from experiments.auditing import observer
from experiments.auditing import volume_page
from experiments.building import input_pipeline
from experiments.building import volume_set
from experiments.prediction import predictor as predictor_lib
from experiments.prediction import volume_windows
from experiments.reports import blocks
from experiments.reports import strips
from experiments.saving import run_folder

HEADER = ('rank', 'id', 'score', 'indicator', 'kind', 'annotator', 'subject',
          'axis', 'slices', 'fault', 'volume', 'first_slice', 'last_slice')
_NUM_SLICES = 3


class Finding(NamedTuple):
  """What the networks say of one weak annotation.

  Attributes:
    record: the volume, or its slab.
    score: see the module, in [0, 1].
    axis: axis of the file along which the slices are counted.
    slices: up to three slices of the file, from 0, whose annotation differs
      most from the prediction; the worst comes first.
    strip: the drawn slices, for the first `strips.NUM_SHOWN` findings.
  """

  record: volume_set.Record
  score: float
  axis: int
  slices: tuple[int, ...]
  strip: strips.Strip | None = None


def is_of_volumes(workdir: str) -> bool:
  """Returns whether a run has learnt from whole volumes."""
  return 'foreground_share' in run_folder.read_config(workdir).input


def audit(
    workdir: str, group: process_group.Group | None = None
) -> list[Finding] | None:
  """Predicts the weak volumes of a run; returns the most suspect first.

  Args:
    workdir: folder of the run.
    group: the processes that share the volumes; by default, this one alone. All
      but the first of them return None.

  Raises:
    binary.UserError: if the run or its set cannot be used.
    binary.Lost: if another process has ended.
  """
  group = group or process_group.Group()
  observer.check_method(
      workdir, run_folder.read_config(workdir).input.weak_labels)
  predictor = predictor_lib.load(workdir, whole_volumes=True)
  dataset = volume_set.load(predictor.data_dir)
  observer.check_set(workdir, dataset, predictor.data_dir)
  records = [r for r in dataset.splits['train_weak']
             if r['kind'] != types.AnnotationKind.NONE]
  # The slabs of a volume stay together, as one prediction serves them all.
  of_volume = collections.defaultdict(list)
  for place, record in enumerate(records):
    of_volume[record.volume.id].append(place)
  own = [place for places in group.share([*of_volume.values()])
         for place in places]
  told = progress.Progress(len(own), 'annotations', what='audit: ')
  found, volume, predicted = [], None, None
  for number, place in enumerate(own, 1):
    group.check()
    record = records[place]
    if record.volume is not volume:  # The slabs of a volume lie together.
      volume = record.volume
      predicted = volume_windows.labels_of(volume_windows.predict_record(
          predictor.run_fn, record, dataset.plan,
          batch_size=predictor.batch_size))
    finding = _compare(record, predicted, dataset.plan.frame)
    rank = bisect.bisect(found, _rank(finding), key=_rank)
    # Strips are drawn as long as the prediction is there, and dropped when
    # more suspect volumes come.
    if rank < strips.NUM_SHOWN:
      finding = finding._replace(strip=_draw(
          finding, predicted, dataset.plan.frame, len(records)))
    found.insert(rank, finding)
    if len(found) > strips.NUM_SHOWN:
      found[strips.NUM_SHOWN] = found[strips.NUM_SHOWN]._replace(strip=None)
    told(number)
  return _gather(found, records, group)


def _gather(found, records, group):
  """Returns the findings of all processes in order; None but in process 0."""
  place_of = {record['id']: place for place, record in enumerate(records)}
  shares = group.gather(
      [(place_of[f.record['id']], *f[1:]) for f in found])
  if shares is None:
    return None
  every = []
  for place, score, axis, slices, strip in (f for s in shares for f in s):
    if strip is not None:
      picture, numbers, worst = strip
      strip = strips.Strip(
          blocks.Picture(*picture), tuple(numbers), tuple(worst))
    every.append(Finding(records[place], score, axis, tuple(slices), strip))
  every.sort(key=_rank)
  return [f if rank < strips.NUM_SHOWN else f._replace(strip=None)
          for rank, f in enumerate(every)]


def _rank(finding):
  return -finding.score, finding.record['id']


def _draw(finding, predicted, frame, num_volumes):
  """Draws the slices of a volume."""
  record = finding.record
  axis, _ = record.plane
  _, places = _stored(record, axis, frame)
  worst = [int(np.flatnonzero(places == k)[0]) for k in finding.slices]
  return volume_page.draw(
      record, predicted, axis=axis, worst=worst, numbers=places,
      num_volumes=num_volumes)


def _compare(record, predicted, frame):
  """Returns the finding on one volume."""
  label, kind = record['label'], record['kind']
  axis, _ = record.plane
  if kind == types.AnnotationKind.TAG:
    named = np.flatnonzero(record['present'] == 1)
    dice = _dice_of_sets(named, np.setdiff1d(predicted, [0]))
    return Finding(record, 1 - dice, _stored(record, axis, frame)[0], ())
  if kind == types.AnnotationKind.BOX:
    predicted = volume_annotations.draw_boxes(
        predicted, np.random.default_rng(0))
  if kind == types.AnnotationKind.EXTREME_POINTS:
    label, predicted = (
        (x != 0).astype(np.uint8)
        for x in (label, volume_marks.draw_extreme_points(
            predicted, np.random.default_rng(0), axis=axis)))
  known = label != types.UNLABELLED
  if record.slab is not None:
    planes = np.moveaxis(known, axis, 0)
    planes[: record.slab.start] = planes[record.slab.stop :] = False
  dice = []
  for value in np.union1d(label[known], predicted[known]):
    if value:
      of_label, of_networks = (known & (x == value) for x in (label, predicted))
      dice.append(2 * (of_label & of_networks).sum() / (
          of_label.sum() + of_networks.sum()))
  others = tuple(i for i in range(3) if i != axis)
  wrong = (known & (label != predicted)).sum(others)
  worst = [int(i) for i in np.argsort(-wrong, kind='stable')[:_NUM_SLICES]
           if wrong[i]]
  stored_axis, places = _stored(record, axis, frame)
  return Finding(record, 1 - float(np.mean(dice)) if dice else 0.0,
                 stored_axis, tuple(dict.fromkeys(
                     int(places[i]) for i in worst)))


def _dice_of_sets(a, b):
  number = len(a) + len(b)
  return 2 * len(np.intersect1d(a, b)) / number if number else 1.0


def _stored(record, axis, frame):
  """Returns an axis of the file, and its slice for each slice of the record."""
  more = record.volume.more
  turn = orientation.find_turn(np.array(more['stored_affine']), frame)
  stored_axis = turn.axes[axis]
  length = more['stored_shape'][stored_axis]
  places = resampling.nearest_index(length, record.volume.shape[axis])
  return stored_axis, length - 1 - places if turn.flips[axis] else places


def write(
    folder: str | os.PathLike[str],
    workdir: str,
    dataset: input_pipeline.Dataset,
    found: Sequence[Finding],
) -> dict[str, Any]:
  """Writes audit.csv, audit.json and audit.html.

  Args:
    folder: folder to write.
    workdir: folder of the run.
    dataset: the set of the run, of which the records are not needed.
    found: findings from `audit`.

  Returns:
    The content of audit.json.
  """
  indicators, more_columns = _indicators(workdir)
  rows = []
  for rank, finding in enumerate(found, 1):
    record, more = finding.record, finding.record.volume.more
    of_record = indicators.get(record['id'], collections.defaultdict(str))
    rows.append([
        rank, record['id'], f'{finding.score:.4f}',
        of_record['indicator'], more['kind'], more['annotator'],
        record['subject'], finding.axis, ' '.join(map(str, finding.slices)),
        record['fault'], record.volume.id, *_ends(finding),
        *(of_record[name] for name in more_columns)])
  header = (*HEADER, *more_columns)
  csv_files.write_csv(os.path.join(folder, 'audit.csv'), header, rows)
  summary = {'num_annotations': len(found), 'auroc_by_kind': {}}
  kinds = {finding.record.volume.more['kind'] for finding in found}
  for kind in sorted(kinds):
    of_kind = [f for f in found if f.record.volume.more['kind'] == kind]
    faults = input_pipeline.column([f.record for f in of_kind], 'fault') != ''
    if faults.any() and not faults.all():
      summary['auroc_by_kind'][kind] = metrics_lib.auroc(
          np.array([f.score for f in of_kind]), faults)
  run_folder.write_json(os.path.join(folder, 'audit.json'), summary)
  volume_page.write(
      os.path.join(folder, 'audit.html'), name=dataset.name,
      classes=dataset.classes,
      rows=[dict(zip(header, row, strict=True)) for row in rows],
      shown={f.record['id']: f.strip for f in found if f.strip},
      summary=summary)
  return summary


def _ends(finding):
  """Returns the first and the last slice of the file."""
  slab = finding.record.slab
  if slab is not None:
    return slab.first, slab.last
  return 0, finding.record.volume.more['stored_shape'][finding.axis] - 1


def _indicators(workdir):
  """Returns the final indicators of each instance, and the columns of classes.

  They are rows of indicators.csv, as text by column.
  """
  path = os.path.join(workdir, 'indicators.csv')
  if not os.path.exists(path):
    return {}, []
  with open(path, newline='', encoding='utf-8') as file:
    rows = [cells.undo_row(row) for row in csv.DictReader(file)]
  names = [name for name in (rows[0] if rows else ())
           if name.startswith('indicator_')]
  return {row['id']: row for row in rows}, names
