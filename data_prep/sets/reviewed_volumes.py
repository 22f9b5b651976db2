"""Applies the decisions of a review to a set of whole volumes.

As for pictures (`reviewed_set`), a drop makes a weak volume unlabelled, and a
mask makes it strong if it is exact and otherwise weak: with a coarse mask, or
with `slices` if whole slices of the mask are unlabelled. `reviews` of a volume
in the index tells who decided what. OUTPUT/replaced holds the annotations that
were replaced, on the grids of the files, under the names that `reviews` gives.

The plan stays, and so do the files of all volumes that keep their annotations.
Those of the others get new labels beside the old levels, so that no image is
read again. Images stay where the old set has them.
"""

import collections
import hashlib
import pathlib
import shutil
from typing import Any, NamedTuple

import numpy as np

from data_prep import command_line
from data_prep import manifest as manifest_lib
from data_prep.drawing import rasterize
from data_prep.drawing import volume_annotations
from data_prep.formats import volume_files
from data_prep.records import chunks
from data_prep.records import volume_records
from data_prep.sets import leaving_out
from data_prep.sets import own_set
from data_prep.sets import reviewed_set
from data_prep.sets import volume_roles
from data_prep.shared import grammar
from data_prep.shared import pixels
from data_prep.shared import review_journal
from data_prep.shared import whole_file
from data_prep.splits import splits_file
from data_prep.volumes import planning
from hybridseg import types

REVIEWS = 'reviews'
REPLACED = 'replaced'

_AGAIN = 'prepare the set as it was'


class _Set(NamedTuple):
  """The set that was reviewed.

  Attributes:
    folder: its folder.
    reader: reader of its chunks.
    references: reader of its labels on the grids of the files.
    replaced: the same of annotations that earlier reviews have replaced, or
      None.
    plan: its plan.
  """

  folder: pathlib.Path
  reader: chunks.Reader
  references: chunks.Reader
  replaced: chunks.Reader | None
  plan: planning.Plan


def is_for(path: str) -> bool:
  """Returns whether a journal is about a set of whole volumes.

  Raises:
    pixels.WrongFile: if the journal is damaged.
    OSError: if it cannot be read.
  """
  folder = pathlib.Path(review_journal.read(path).header.data_dir)
  return (folder / planning.FILE).is_file() and not (
      folder / 'manifest.jsonl').exists()


def prepare(path: str, output: str | None, *, overwrite: bool) -> None:
  """Writes the set after the decisions of a review, and prints a summary.

  Args:
    path: the journal that `experiments.review` wrote.
    output: folder to write; None only checks.
    overwrite: whether an older output is replaced.

  Raises:
    command_line.Refused: if the set has changed, if a decision does not fit it,
      or if the output may not be written.
    pixels.WrongFile: if a file is damaged.
    OSError: if a file cannot be read or written.
  """
  journal = review_journal.read(path)
  old = _open(path, pathlib.Path(journal.header.data_dir), journal)
  target = None if output is None else pathlib.Path(output).absolute()
  if target is not None:
    reviewed_set.check_output(old.folder, target)
    command_line.check_output(target, (planning.FILE, volume_records.CHUNKS))
    if not overwrite and (target / planning.FILE).exists():
      raise command_line.Refused(
          f'--output={output} holds a set of volumes; give --overwrite or '
          'another folder')
  for notice in journal.notices:
    print(notice)
  changes, counts = _read_changes(old, journal, path)
  rows = [
      manifest_lib.Row(
          v.id, '', more['split'], more['role'], None, subject=more['subject'])
      for v in old.reader.volumes.values()
      for more in [changes.get(v.id, v.more)]]
  for line in volume_roles.counts(rows):
    print(line)
  if target is None:
    print('The set has no problems.')
  else:
    target.parent.mkdir(parents=True, exist_ok=True)
    with whole_file.folder_beside(target) as temporary:
      _write(temporary, old, changes, journal, path)
      splits_file.write_splits(
          temporary / own_set.SPLITS_FILE, rows, _folds(old.folder))
      whole_file.replace_folder(temporary, target)
    print(f'Wrote {grammar.counted(len(rows), "volume")} to {target}')
    run = journal.header.run
    if run.isprintable():
      print(f'next: the command that trained {run}, with --config.input.'
            f'data_dir={output} and another --workdir')
  print(counts)


def _open(path, folder, journal):
  """Opens the set of a journal; refuses one that has changed."""
  shown = pixels.tail(str(folder))
  try:
    plan, problems = planning.read_plan(folder / planning.FILE)
    readers = [
        chunks.Reader(folder / name) if (folder / name).is_dir() else None
        for name in (
            volume_records.CHUNKS, volume_records.REFERENCES, REPLACED)]
    digest = review_journal.manifest_sha256(folder)
  except (OSError, ValueError) as error:
    raise command_line.Refused(f'{shown} cannot be read: {_AGAIN}') from error
  if problems or None in readers[:2]:
    raise command_line.Refused(f'{shown} cannot be read: {_AGAIN}')
  if digest != journal.header.manifest_sha256:
    raise command_line.Refused(
        f'--decisions={pixels.tail(path)}: the index of {shown} has changed '
        f'since the review: {_AGAIN}')
  return _Set(folder.absolute(), *readers, plan)


def _read_changes(old, journal, path):
  """Returns what the index holds of the decided volumes, and a line about them.

  Args:
    old: the set.
    journal: the journal.
    path: its path.
  """
  changes, outcomes, problems = {}, collections.Counter(), []
  for row_id, decision in journal.decisions.items():
    try:
      changes[row_id], outcome = _apply(
          old.reader.volumes.get(row_id), decision, old, path)
      outcomes[outcome] += 1
    except pixels.WrongFile as wrong:
      problems.append(f'--decisions: {ascii(row_id)[:60]}: {wrong}')
  reviewed_set.refuse(problems, len(changes), path)
  return changes, reviewed_set.describe(outcomes, 'volume')


def _apply(volume, decision, old, path):
  """Returns what the index holds of a volume after a decision, and the outcome.

  Args:
    volume: the volume, or None if the set has no such volume.
    decision: the decision about it.
    old: the set.
    path: the journal.

  Raises:
    pixels.WrongFile: if the decision does not fit the volume.
  """
  if volume is None:
    raise pixels.WrongFile('the set has no such volume')
  more = volume.more
  if (more['split'], more['role']) != ('train', 'weak'):
    raise pixels.WrongFile(
        'expected a weak training volume',
        f'it is {more["split"]} {more["role"]}')
  entry = {'time': decision.time, 'who': decision.who,
           'decision': decision.decision}
  reviews = [*more.get(REVIEWS, ())]
  if decision.decision == 'keep':
    return more | {REVIEWS: [*reviews, entry]}, 'kept'
  entry['replaced'] = {'label': f'{volume.id}@{len(reviews)}'} | {
      name: more[name] for name in (
          'role', 'kind', 'annotator', 'fault', 'quality', 'present')
      if name in more}
  # Quality, fault and tag were those of the replaced annotation.
  more = {k: v for k, v in more.items() if k != 'present'} | {
      'fault': '', 'quality': None, REVIEWS: [*reviews, entry]}
  if decision.decision == 'drop':
    return more | {'role': 'unlabelled', 'kind': 'none', 'annotator': ''}, (
        'dropped')
  entry['source'] = decision.source
  more['annotator'] = decision.who
  label = _read_mask(volume, decision, old, path)
  if decision.exact:
    return more | {'role': 'strong', 'kind': 'mask'}, 'redrawn exactly'
  kind = 'slices' if volume_annotations.is_slices(label) else 'coarse_mask'
  return more | {'kind': kind}, 'redrawn coarsely'


def _read_mask(volume, decision, old, path):
  """Returns the mask of a decision on the grid of the file, checked, uint8."""
  file, shown = review_journal.mask_file(
      path, decision), pixels.tail(decision.mask)
  if not file.name.endswith('.nii.gz'):
    raise pixels.WrongFile('expected a .nii.gz file', shown, 'restore the mask')
  found = volume_files.read(file, is_lazy=True)
  label, shape = np.asarray(found.voxels), tuple(volume.more['stored_shape'])
  affine = np.array(volume.more['stored_affine'])
  if label.shape != shape or not np.allclose(
      found.affine, affine, rtol=1e-5, atol=1e-4):  # It is stored as float32.
    raise pixels.WrongFile(
        'the mask has another grid than its volume', shown, 'restore the mask')
  strange = np.setdiff1d(label, [
      *range(len(old.reader.more['classes'])), types.UNLABELLED])
  if len(strange):
    raise pixels.WrongFile(
        f'the mask holds class {strange[0]:g}, expected 0 to '
        f'{len(old.reader.more["classes"]) - 1} or {types.UNLABELLED}', shown,
        'restore the mask')
  label = label.astype(np.uint8)
  if decision.exact and not rasterize.is_exact(label):
    raise pixels.WrongFile(
        f'{np.mean(label == types.UNLABELLED):.0%} of an exact mask is '
        'unlabelled', shown, 'label it, or say that it is not exact')
  return label


def _folds(folder):
  """Returns the fold of each volume in the splits of a set, by id."""
  path = folder / own_set.SPLITS_FILE
  entries, _ = splits_file.read_splits(path) if path.exists() else ([], [])
  return {e.id: e.fold for e in entries if e.fold is not None}


def _write(folder, old, changes, journal, path):
  """Writes the plan, the chunks and the references of the new set.

  Args:
    folder: the new folder.
    old: the old set.
    changes: what the index holds of each decided volume.
    journal: the journal.
    path: its path.
  """
  for name in (planning.FILE, leaving_out.FILE):
    if (old.folder / name).exists():
      shutil.copyfile(old.folder / name, folder / name)
  names = volume_records.CHUNKS, volume_records.REFERENCES, REPLACED
  for name in names:
    (folder / name).mkdir()
  written = {name: [] for name in names}
  for volume in old.replaced.volumes.values() if old.replaced else ():
    written[REPLACED].append(_copy(folder, old, REPLACED, volume))
  for volume in old.reader.volumes.values():
    reference = old.references.volumes.get(volume.id)
    more = _at_home(changes.get(volume.id, volume.more), old.folder)
    decision = journal.decisions.get(volume.id)
    if decision is None or decision.decision == 'keep':
      written[volume_records.CHUNKS].append(_copy(
          folder, old, volume_records.CHUNKS, volume)._replace(more=more))
      if reference is not None:
        written[volume_records.REFERENCES].append(_copy(
            folder, old, volume_records.REFERENCES, reference))
      continue
    if reference is not None:
      moved = more[REVIEWS][-1]['replaced']['label']
      written[REPLACED].append(_copy(
          folder, old, volume_records.REFERENCES, reference, REPLACED,
          f'{len(written[REPLACED]):05d}.array_record')._replace(id=moved))
    label = None
    if decision.decision == 'mask':
      label = _read_mask(volume, decision, old, path)
      written[volume_records.REFERENCES].append(chunks.write_volume(
          folder / volume_records.REFERENCES, volume.file,
          {'label': lambda start, stop, of=label: of[:, :, start:stop]},
          volume_id=volume.id, shape=label.shape,
          chunk_size=old.references.chunk_size))
    written[volume_records.CHUNKS].append(
        _rewrite(folder, old, volume, label, more))
  for name in names:
    if written[name]:
      chunks.write_index(
          folder / name, written[name], chunk_size=old.reader.chunk_size,
          more=old.reader.more if name == volume_records.CHUNKS else None)
    else:
      (folder / name).rmdir()


def _at_home(more: dict[str, Any], folder: pathlib.Path) -> dict[str, Any]:
  """Returns what the index holds, with absolute paths of the images."""
  return more | {'files': [str(folder / file) for file in more['files']]}


def _copy(folder, old, name, volume, new_name=None, file=None):
  """Copies the file of a volume, and returns the volume; checks its content."""
  source, file = old.folder / name / volume.file, file or volume.file
  target = folder / (new_name or name) / file
  shutil.copyfile(source, target)
  with open(target, 'rb') as stream:
    if hashlib.file_digest(stream, 'sha256').hexdigest() != volume.sha256:
      raise pixels.WrongFile(
          'the set is damaged', pixels.tail(str(source)), _AGAIN)
  return volume._replace(file=file)


def _rewrite(folder, old, volume, label, more):
  """Writes a volume with another label, or with none, and returns it."""

  def field(name):
    return lambda start, stop: old.reader.read_patch(
        volume.id, (0, 0, start), (*volume.shape[:2], stop - start), name)

  fields = {'image': field('image')}
  if label is not None:
    fields['label'] = volume_records.label_of(
        label, more['kind'], np.array(more['stored_affine']), volume.shape,
        old.plan)
  if 'truth' in volume.fields:
    fields['truth'] = field('truth')
  try:
    return chunks.write_volume(
        folder / volume_records.CHUNKS, volume.file, fields,
        volume_id=volume.id, shape=volume.shape,
        chunk_size=old.reader.chunk_size, more=more)
  except ValueError as error:
    raise pixels.WrongFile(
        'the set is damaged', pixels.tail(volume.file), _AGAIN) from error
