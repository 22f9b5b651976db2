"""Applies the decisions of a review to a prepared set: `prepare --decisions`.

A drop makes a weak image unlabelled. A mask makes it strong if it is exact, and
otherwise weak, with a coarse mask. Everything else stays: splits, instances in
their order, image size, and how pictures are read. The field `reviews` of a row
tells who decided what, and what a new annotation has replaced.

New masks become run lengths in the manifest, so that the set does not need the
files of the review. Its pictures stay where the old set has them.
"""

import collections
from collections.abc import Mapping, Sequence
import os
import pathlib
import shutil
from typing import NamedTuple

import numpy as np
import tensorflow_datasets as tfds

from data_prep import command_line
from data_prep import manifest as manifest_lib
from data_prep.drawing import rasterize
from data_prep.drawing import rle
from data_prep.formats import nifti
from data_prep.formats import placing
from data_prep.records import preparation
from data_prep.shared import grammar
from data_prep.shared import pixels
from data_prep.shared import review_journal
from hybridseg import types

_OUTCOMES = ('kept', 'dropped', 'redrawn exactly', 'redrawn coarsely')
_MAX_PROBLEMS = 20
_MAX_SHOWN = 60


class Reviewed(NamedTuple):
  """A prepared set and the decisions about it.

  Attributes:
    folder: folder of the set.
    manifest: its manifest.
    image_size: height and width of its records.
    rows: its rows after the decisions.
    run: folder of the run that was reviewed, as the journal names it; '' if it
      cannot be printed.
    counts: line that states how many rows each decision has changed.
    notices: lines about the journal.
  """

  folder: pathlib.Path
  manifest: manifest_lib.Manifest
  image_size: int
  rows: tuple[manifest_lib.Row, ...]
  run: str
  counts: str
  notices: tuple[str, ...]


def read(path: str) -> Reviewed:
  """Reads a journal and its set, and applies the decisions in memory.

  Args:
    path: the journal that `experiments.review` wrote.

  Raises:
    command_line.Refused: if the set is missing or has changed, if a decision
      is not about a weak training image, or if a mask does not fit its image.
    pixels.WrongFile: if the journal is damaged.
    OSError: if a file cannot be read.
  """
  journal = review_journal.read(path)
  folder = pathlib.Path(journal.header.data_dir)
  _check_set(path, folder, journal)
  manifest = manifest_lib.read_manifest(folder / 'manifest.jsonl')
  if manifest.problems:
    raise command_line.Refused(str(manifest.problems[0]))
  known = {row.id: row for row in manifest.rows}
  problems, changed = [], {}
  outcomes = collections.Counter()
  with pixels.strict_pillow():
    for row_id, decision in journal.decisions.items():
      try:
        row, outcome = _apply(known.get(row_id), decision, manifest, path)
      except pixels.WrongFile as wrong:
        problems.append(
            f'--decisions: {ascii(row_id)[:_MAX_SHOWN]}: {wrong}')
        continue
      changed[row_id] = row
      outcomes[outcome] += 1
  refuse(problems, len(changed), path)
  return Reviewed(
      folder, manifest, _image_size(folder),
      tuple(changed.get(row.id, row) for row in manifest.rows),
      journal.header.run if journal.header.run.isprintable() else '',
      describe(outcomes, 'image'), journal.notices)


def refuse(problems: Sequence[str], number: int, path: str) -> None:
  """Refuses decisions of which one has a problem, and a journal without any.

  Args:
    problems: a line about each problem.
    number: number of decisions without a problem.
    path: the journal.

  Raises:
    command_line.Refused: if there is a problem, or if there are no decisions.
  """
  if problems:
    more = len(problems) - _MAX_PROBLEMS
    raise command_line.Refused(*problems[:_MAX_PROBLEMS], *(
        [f'--decisions: {more} more of these'] if more > 0 else []))
  if not number:
    raise command_line.Refused(
        f'--decisions={path} holds no decision: review some images first')


def describe(outcomes: Mapping[str, int], noun: str) -> str:
  """Returns a line that states how many decisions had each outcome."""
  number = grammar.counted(sum(outcomes.values()), noun)
  return f'decisions: {number}, ' + ', '.join(
      f'{outcomes[name]} {name}' for name in _OUTCOMES)


def write(reviewed: Reviewed, output: pathlib.Path) -> manifest_lib.Manifest:
  """Writes the manifest of a reviewed set to a folder, and returns it.

  How the pictures were read is copied from the old set.
  """
  for name in (preparation.FILE, nifti.INDEX):
    if (reviewed.folder / name).exists():
      shutil.copyfile(reviewed.folder / name, output / name)
  # The pictures do not move, so the root must not depend on the folder.
  root = str(reviewed.manifest.root.resolve())
  return manifest_lib.write_manifest(
      output / 'manifest.jsonl', reviewed.manifest.header._replace(root=root),
      list(reviewed.rows))


def check_output(folder: pathlib.Path, output: pathlib.Path) -> None:
  """Refuses an output that would replace the reviewed set.

  Args:
    folder: folder of the reviewed set.
    output: folder to write.

  Raises:
    command_line.Refused: if `output` is that set, or holds it.
  """
  old, new = (os.path.realpath(p) for p in (folder, output))
  if os.path.commonpath([old, new]) == new:
    raise command_line.Refused(
        f'--output={output} is the set that was reviewed, whose pictures and '
        'annotations are still needed: give a new folder')


def _check_set(path, folder, journal):
  """Refuses a journal whose set is missing or has changed."""
  shown = pixels.tail(str(folder))
  if not (folder / 'manifest.jsonl').is_file():
    raise command_line.Refused(
        f'--decisions={pixels.tail(path)}: its set {shown} is not there: start '
        'from the folder in which the review was started')
  if review_journal.manifest_sha256(folder) != (
      journal.header.manifest_sha256):
    raise command_line.Refused(
        f'--decisions={pixels.tail(path)}: the manifest of {shown} has changed '
        'since the review: prepare the set as it was')


def _image_size(folder):
  try:
    metadata = tfds.builder_from_directory(folder / 'records').info.metadata
    return int(metadata['image_size'])
  except Exception as error:  # A damaged record may raise any error.
    raise command_line.Refused(
        f'{pixels.tail(str(folder / "records"))} cannot be read: prepare the '
        'set as it was') from error


def _apply(row, decision, manifest, path):
  """Returns a row after a decision, and one of `_OUTCOMES`.

  Args:
    row: the row, or None if the set has no such row.
    decision: the decision about it.
    manifest: manifest of the set.
    path: the journal.

  Raises:
    pixels.WrongFile: if the decision does not fit the row.
  """
  if row is None:
    raise pixels.WrongFile('the set has no such image')
  if (row.split, row.role) != ('train', 'weak'):
    raise pixels.WrongFile(
        'expected a weak training image', f'it is {row.split} {row.role}')
  entry = {'time': decision.time, 'who': decision.who,
           'decision': decision.decision}
  if decision.decision == 'keep':
    return row._replace(reviews=(*row.reviews, entry)), 'kept'
  evaluation = row.evaluation
  entry['replaced'] = {
      'role': row.role, 'annotator': row.annotator,
      'annotation': row.annotation,
      'evaluation': evaluation and {
          k: v for k, v in evaluation.items() if k != 'truth'}}
  # Quality and fault were those of the replaced annotation.
  changed = row._replace(evaluation=evaluation and {
      'truth': evaluation.get('truth'), 'quality': None, 'fault': ''})
  if decision.decision == 'drop':
    changed = changed._replace(
        role='unlabelled', annotation=None, annotator='')
    outcome = 'dropped'
  else:
    entry['source'] = decision.source
    label = _read_mask(row, decision, manifest, path)
    exact = decision.exact
    changed = changed._replace(
        role='strong' if exact else 'weak', annotator=decision.who,
        annotation=_annotation(label, 'mask' if exact else 'coarse_mask'))
    outcome = 'redrawn exactly' if exact else 'redrawn coarsely'
  return changed._replace(reviews=(*row.reviews, entry)), outcome


def _read_mask(row, decision, manifest, path):
  """Returns the mask of a decision, uint8 [H, W], once it has been checked."""
  file = review_journal.mask_file(path, decision)
  folder = pixels.open_folder(file.parent)
  with pixels.opened(file.name, 'mask', folder) as (_, picture):
    if (picture.format, picture.mode) != ('PNG', 'L'):
      raise pixels.WrongFile(
          'expected a gray PNG of 8 bits', f'{picture.format} {picture.mode}',
          'restore the mask')
    label = np.asarray(picture)
  size = placing.picture_size(manifest.root / row.image)
  if label.shape != size:
    raise pixels.WrongFile(
        f'the mask is {label.shape[0]} x {label.shape[1]}, its image '
        f'{size[0]} x {size[1]}', pixels.tail(decision.mask),
        'restore the mask')
  known = label[label != types.UNLABELLED]
  number = len(manifest.header.classes)
  if known.size and known.max() >= number:
    raise pixels.WrongFile(
        f'the mask holds class {known.max()}, expected 0 to {number - 1} or '
        f'{types.UNLABELLED}', pixels.tail(decision.mask), 'restore the mask')
  if decision.exact and not rasterize.is_exact(label):
    raise pixels.WrongFile(
        f'{np.mean(label == types.UNLABELLED):.0%} of an exact mask is '
        'unlabelled', pixels.tail(decision.mask),
        'label it, or say that it is not exact')
  return label


def _annotation(label, kind):
  """Returns a label map as an annotation of run lengths."""
  labels = [v for v in np.unique(label).tolist() if v]
  return {'kind': kind, 'labels': labels,
          'rles': [rle.encode_rle(label == v) for v in labels]}
