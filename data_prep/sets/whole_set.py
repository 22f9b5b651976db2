"""Prepares a set of volumes for training in 3-D: `prepare --volumes`.

Writes OUTPUT/plan.json (see `volumes.planning`), OUTPUT/splits.csv,
OUTPUT/chunks (see `records.chunks`) and OUTPUT/references, labels on the grids
of the files (see `records.volume_records`), or nothing. A volume is an
instance, or each of its slabs is (see `volumes.slabs`). With `simulate`, the
training volumes that do not keep their labels get simulated ones, see
`drawing.volume_annotations`, and their exact labels become `truth`.
"""

from collections.abc import Iterator
import contextlib
import pathlib
import shutil
import tempfile
from typing import Any, NamedTuple

import numpy as np

from data_prep import command_line
from data_prep import formats
from data_prep import manifest as manifest_lib
from data_prep.drawing import volume_annotations
from data_prep.formats import assembling
from data_prep.formats import intensities
from data_prep.formats import parts as parts_lib
from data_prep.formats import registry
from data_prep.formats import sources
from data_prep.formats import uniting
from data_prep.formats import volume_sets
from data_prep.records import annotated_slabs
from data_prep.records import chunks
from data_prep.records import volume_records
from data_prep.sets import closing
from data_prep.sets import leaving_out
from data_prep.sets import own_set
from data_prep.sets import volume_roles
from data_prep.shared import grammar
from data_prep.shared import pixels
from data_prep.shared import volume_type
from data_prep.shared import whole_file
from data_prep.splits import splits_file
from data_prep.volumes import levels as levels_lib
from data_prep.volumes import orientation
from data_prep.volumes import planning
from data_prep.volumes import resampling

SOURCE = 'source'

_MAX_OBLIQUE_DEG = 5.0

_Refused = command_line.Refused


class Wanted(NamedTuple):
  """What the user asks of a set of volumes.

  Attributes:
    modality: one of `levels.MODALITIES`; None finds out.
    spacing_mm: spacing of the records; None takes that of the training set.
    plan_file: an edited plan.json; None makes a plan.
    subjects: file that names subjects, see `subjects_file`; None for none.
    name: name of the set; None takes that of the source.
    format_name: format of the source, one of `names.VOLUMES`; None detects it.
    keep_source: whether OUTPUT/source keeps the files of the source.
    dataset: key of the set in `named_sets.WHOLE`; None for a user's own set.
    slab_slices: with it, weak volumes are divided into slabs of up to so many
      annotated slices, which are instances; None: a volume is an instance.
  """

  modality: str | None = None
  spacing_mm: tuple[float, float, float] | None = None
  plan_file: str | None = None
  subjects: str | None = None
  name: str | None = None
  format_name: str | None = None
  keep_source: bool = False
  dataset: str | None = None
  slab_slices: int | None = None


class _Case(NamedTuple):
  """One volume as the survey of the source has found it.

  Attributes:
    row: its row; the annotation is that of the best label file.
    path: path of the image below the source.
    masks: its label files by kind.
    drawn: kind of a weak label file beside an exact one, or ''.
    shape: number of voxels in the frame.
    spacing_mm: spacing in the frame.
    statistics: statistics of the image.
    sample: intensities of labelled objects.
  """

  row: manifest_lib.Row
  path: str
  masks: dict[str, list[parts_lib.Mask]]
  drawn: str
  shape: tuple[int, int, int]
  spacing_mm: tuple[float, float, float]
  statistics: levels_lib.Statistics
  sample: np.ndarray


def prepare(
    source: str,
    output: str | None,
    *,
    options: formats.Options,
    plan: own_set.Plan,
    wanted: Wanted,
    overwrite: bool,
) -> None:
  """Prepares a folder of volumes and labels; prints what it decides.

  Args:
    source: folder of the files.
    output: folder to write; None only checks.
    options: options for reading the files.
    plan: options for choosing splits, roles and weak labels.
    wanted: what else the user asks.
    overwrite: whether an older output is replaced.

  Raises:
    command_line.Refused: if the set cannot be used.
  """
  target = None if output is None else pathlib.Path(output).absolute()
  if target is not None:
    command_line.check_output(target, (planning.FILE, volume_records.CHUNKS))
    if not overwrite and (target / planning.FILE).exists():
      raise _Refused(f'--output={output} holds a set of volumes; give '
                     '--overwrite or another folder')
    target.parent.mkdir(parents=True, exist_ok=True)
  made = None
  if wanted.plan_file is not None:
    made, problems = planning.read_plan(wanted.plan_file)
    volume_roles.refuse(problems)
  with tempfile.TemporaryDirectory(
      dir=None if target is None else target.parent, prefix='.volumes.'
  ) as scratch:
    path = pathlib.Path(source).resolve()
    format_name = wanted.format_name or registry.detect_volumes(path)
    work = _Work(path, pathlib.Path(scratch), options, format_name)
    with _telling(work):
      cases, left_out = work.leave_out([*work.survey()])
      work.tell_unused()
      work.uniter.tell(work.report)
      volume_roles.refuse(work.report.problems)
      if not cases:
        raise _Refused(f'{source} holds no volume that {format_name} reads')
      rows, folds, simulated = volume_roles.divide(
          [case.row for case in cases], plan, wanted.subjects, work.report)
      made = made or _make_plan(cases, rows, options, wanted, work.report)
    print(planning.describe(made))
    for line in (*volume_roles.counts(rows), *leaving_out.lines(left_out)):
      print(line)
    if target is None:
      print('The set has no problems.')
      return
    with whole_file.folder_beside(target) as temporary:
      number = _write(
          temporary, work, cases, rows, simulated, made, plan, wanted)
      splits_file.write_splits(temporary / own_set.SPLITS_FILE, rows, folds)
      leaving_out.write(temporary / leaving_out.FILE, left_out)
      if wanted.keep_source:
        shutil.copytree(work.source, temporary / SOURCE)
      whole_file.replace_folder(temporary, target)
  print(f'Wrote {grammar.counted(len(rows), "volume")} to {target}')
  if wanted.slab_slices:
    print(f'{grammar.counted(number, "slab")} of weak volumes are instances')
  command = closing.training_command(
      pathlib.Path(output), wanted.dataset, wanted.name or work.source.stem,
      own='volumes')
  print(f'next: {command}')


@contextlib.contextmanager
def _telling(work):
  """Prints the notices at the end, also if the set is refused."""
  try:
    yield
  finally:
    work.labels.tell()
    for notice in work.report.notices:
      print(notice)


class _Work:
  """Reads the volumes and labels of a source, as often as needed."""

  def __init__(self, source, scratch, options, format_name):
    self.source, self._scratch = source, scratch
    self.report = assembling.Report(options)
    self._found = registry.FORMATS[format_name].find(
        source, self.report, folder=scratch)
    sought = volume_sets.seek(
        self._found, source, self.report,
        intensities.Writer(source, scratch, options), is_lazy=True)
    self.labels, self.classes = sought.labels, sought.classes
    self.uniter = sought.uniter

  def open(self, path: str) -> volume_type.Volume:
    """Opens an image; its voxels stay on the disk."""
    return self._found.open(self.source / path)

  def files(self, path: str, *, is_kept: bool) -> dict[str, Any]:
    """Returns format and files of an image for the index of the set.

    Args:
      path: path of the image below the source.
      is_kept: whether the set keeps the source.
    """
    root = pathlib.Path(SOURCE) if is_kept else self.source
    return {'format': self._found.format_name or 'nifti',
            'files': [str(root / file) for file in self._found.files_of.get(
                path, (path,))]}

  def leave_out(
      self, cases: list[_Case]
  ) -> tuple[list[_Case], list[formats.LeftOut]]:
    """Returns the cases to use, and entries of what is left out."""
    left_out = list(self.report.left_out)
    left_out += leaving_out.find_listed(
        [case.row for case in cases], self.report.options.leave_out,
        folder=self._scratch, already=left_out, refused=self.report.problems)
    gone = {entry.name for entry in left_out if entry.what == 'picture'}
    cases = [case for case in cases if case.row.id not in gone]
    leaving_out.refuse_nothing_left(
        len(cases) + len(self.report.problems), left_out)
    return cases, left_out

  def tell_unused(self) -> None:
    """Notes the files of the source that are not read."""
    self.report.used.update(self._found.paths)
    volume_sets.note_objects(self.source, self.report)
    sources.note_unused(
        self.source, self.report.used, self.report,
        is_annotated=bool(self._found.pairs.masks))

  def survey(self) -> Iterator[_Case]:
    """Looks at each volume and its labels, and reports what is wrong."""
    sought, report = self._found, self.report
    for path in sorted(sought.pairs.images, key=sought.names_of.get):
      try:
        volume = self.open(path)
        found = levels_lib.statistics(volume.voxels)
        self._check(volume, found, path)
      except pixels.WrongFile as wrong:
        report.wrong_file(wrong, file=path)
        continue
      self.labels.add_oddities(volume.notices, path)
      case, subject = sought.name(path, report.options)
      for key, observer, masks in parts_lib.by_observer(
          sought.pairs.masks.get(path, []), case):
        of_kinds = self.labels.read(masks, volume, key)
        if of_kinds is not None:
          yield self._case(
              path, volume, found, of_kinds, masks, manifest_lib.Row(
                  key, str(self.source / path), sources.split_of(path),
                  '', None, subject, annotator=observer))

  def _case(self, path, volume, found, of_kinds, masks, row):
    kind = next((k for k in volume_sets.KINDS if k in of_kinds), None)
    sample, drawn = np.zeros(0), ''
    if kind is not None:
      label = of_kinds[kind]
      sample = levels_lib.foreground_sample(volume.voxels, label)
      values = [int(v) for v in np.unique(label) if v not in (0, 255)]
      is_sparse = kind == 'mask' and volume_annotations.is_slices(label)
      kind = 'slices' if is_sparse else uniting.unlabelled_kind(label, kind)
      if kind is not None:
        row = row._replace(annotation={'kind': kind, 'labels': values})
      if kind == 'mask':
        drawn = next((k for k in volume_sets.KINDS[1:] if k in of_kinds), '')
    turn = orientation.find_turn(volume.affine)
    turned = orientation.turn_volume(volume, turn)
    return _Case(row, path, masks, drawn, turned.voxels.shape,
                 turned.spacing_mm, found, sample)

  def _check(self, volume, found, path):
    """Refuses volumes that cannot be used, and notes what is odd."""
    volume_records.check(volume, found, pixels.tail(path))
    if orientation.obliqueness_deg(volume.affine) > _MAX_OBLIQUE_DEG:
      self.labels.add_oddities(
          (f'axes are more than {_MAX_OBLIQUE_DEG:g} degrees oblique: they are '
           'only exchanged and reversed, and voxels stay as they are',), path)
    if not found.is_finite:
      self.labels.add_oddities((intensities.NOT_FINITE,), path)
    if 1 in volume.voxels.shape:
      self.labels.add_oddities(('volumes of a single slice',), path)

  def read_label(self, case: _Case, volume: volume_type.Volume, kind: str):
    """Returns the classes of one kind of label, uint8 on the image's grid."""
    found = self.labels.read({kind: case.masks[kind]}, volume, case.row.id)
    if found is None:  # The file has changed since the survey.
      volume_roles.refuse(self.report.problems)
    return found[kind]


def _make_plan(cases, rows, options, wanted, report):
  """Makes the plan from the training volumes."""
  train = {row.id for row in rows if row.split == 'train'}
  cases = [case for case in cases if case.row.id in train]
  modality = wanted.modality
  if modality is None:
    modality = levels_lib.guess_modality([case.statistics for case in cases])
    many = 'most' if modality == 'ct' else 'few'
    report.note(f'intensities are read as {modality}, since {many} volumes '
                'hold values below -500; --modality=ct or mr states it')
  spacings = [case.spacing_mm for case in cases]
  spacing = wanted.spacing_mm or planning.target_spacing(
      spacings, [case.shape for case in cases])
  low, high = np.min(spacings, 0), np.max(spacings, 0)
  if (high > 1.01 * low).any():
    text = lambda v: ' x '.join(f'{x:.3g}' for x in v)
    report.note(f'spacings of {text(low)} to {text(high)} mm are resampled to '
                f'{text(spacing)} mm')
  samples = [case.sample for case in cases]
  try:
    found = levels_lib.make_levels(modality, samples, options.intensity_range)
  except ValueError as error:
    raise _Refused(command_line.one_line(error)) from error
  return planning.make_plan(spacing, [
      resampling.new_shape(case.shape, case.spacing_mm, spacing)
      for case in cases], found)


def _write(folder, work, cases, rows, simulated, made, plan, wanted):
  """Writes plan.json, the chunks of all volumes, and the references.

  Returns the number of slabs.
  """
  planning.write_plan(folder, made)
  chunk_folder, reference_folder = (
      folder / name
      for name in (volume_records.CHUNKS, volume_records.REFERENCES))
  chunk_folder.mkdir()
  reference_folder.mkdir()
  written, references = [], []
  for case, row in zip(cases, rows, strict=True):
    item, spoilt = _annotate(
        work, case, row, simulated.get(row.id), plan.seed)
    item.more.update(work.files(case.path, is_kept=wanted.keep_source))
    if wanted.slab_slices and row.split == 'train' and row.role == 'weak':
      item.more[chunks.SLABS] = [
          slab._asdict() for slab in annotated_slabs.find(
              item, made, max_slices=wanted.slab_slices, spoilt=spoilt)]
    file = f'{len(written):05d}.array_record'
    written.append(volume_records.write(chunk_folder, file, item, made))
    if item.label is not None or row.split != 'train':
      references.append(volume_records.write_reference(
          reference_folder, file, item, made))
  chunks.write_index(
      chunk_folder, written, chunk_size=made.chunk_size, more={
          'name': wanted.name or work.source.stem,
          'classes': list(work.classes)})
  chunks.write_index(reference_folder, references, chunk_size=made.chunk_size)
  return sum(len(v.more.get(chunks.SLABS, ())) for v in written)


def _annotate(work, case, row, simulated, seed):
  """Returns a volume with the label that its role gives it.

  The second result is where a simulated annotator saw something else than the
  exact labels, bool, or None.
  """
  volume = work.open(case.path)
  kind, label, truth, fault, quality, tag = 'none', None, None, '', None, {}
  spoilt = None
  if case.row.annotation is not None:
    kind = case.row.annotation['kind']
    label = work.read_label(case, volume, next(
        k for k in volume_sets.KINDS if k in case.masks))
  if kind == 'mask' and row.role != 'strong':
    kind, label, truth = 'none', None, label
    if row.role == 'weak' and case.drawn:
      kind, label = case.drawn, work.read_label(case, volume, case.drawn)
    elif row.role == 'weak':
      kind, fault = simulated
      # Seed with the id, so that the label does not depend on other volumes.
      rng = np.random.default_rng([seed, 4, *row.id.encode()])
      turn = orientation.find_turn(volume.affine)
      drawn = volume_annotations.simulate(
          orientation.turn_voxels(truth, turn), rng, plan=simulated,
          spacing_mm=case.spacing_mm)
      label, spoilt = (
          orientation.turn_voxels(x, orientation.inverse(turn))
          for x in (drawn.label, drawn.spoilt))
      quality = drawn.quality
      if drawn.present is not None:
        tag = {'present': drawn.present}
  return volume_records.Annotated(
      row.id, volume, case.statistics, kind, label, truth, {
          'split': row.split, 'role': row.role, 'subject': row.subject,
          'site': row.site, 'annotator': row.annotator, 'fault': fault,
          'quality': quality, 'image': case.path} | tag), spoilt
