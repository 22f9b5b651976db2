r"""Lists the weak annotations of a finished run that should be redrawn first.

python -m experiments.audit --run=runs/mine
python -m experiments.audit --run=runs/mine --export=labelme --num_export=50

Writes to --output (default RUN/audit): audit.csv, which lists the most suspect
annotations first, each with a score, its interval and a reason (at most
100,000; if there are more, audit.npz has the columns of all); audit.json, a
summary of all annotations and of each kind, annotator and site; audit.html, the
first 200 suspects with pictures; with --export, the first suspects in the
format of an annotation tool. If faults were planted in the weak labels of the
set itself, the scores do not use the known faults; they only serve to measure
the ranking.

What a fault looks like is learnt from the exact masks of the strong training
images: the audit redraws them as weak annotations, with and without faults. By
default, the validation and the test split take no part in the scores, so that
both can judge a later run that starts from the scores
(`weighting.initial_from`). audit.json states how well the scores find such
faults in subjects that the audit did not learn from.

Of a run on whole volumes, the score is the disagreement of the networks with
the annotation, and audit.csv names the slices of the file, counted from 0, in
which they disagree most. audit.html shows the slices of the first 20 suspects.
In a set of slabs (`prepare --instances=slabs`), each slab is ranked, from
first_slice to last_slice.
The export is NIfTI, 3D Slicer's segmentations (nrrd) or DICOM segmentations
(dicom_seg).

With --order or --minutes, next.csv lists which annotations to draw again first:
in the order of the scores (suspicion), by the expected gain per minute (gain,
see experiments/auditing/expected_gain.py) or at random, as many as fit into the
minutes. --export then writes the first of these.

With several processes (docs/devices.md), each looks at its share of the images,
and process 0 writes.
"""

import os
import pathlib

from absl import flags
from data_prep.formats import names
from data_prep.shared import early_help

from experiments import process_flags

flags.adopt_module_key_flags(process_flags)  # Makes --help list them, too.
_RUN = flags.DEFINE_string('run', None, 'Folder of a finished run.')
_OUTPUT = flags.DEFINE_string('output', None, 'Folder; default RUN/audit.')
_EXPORT = flags.DEFINE_enum(
    'export', None, names.WRITES, 'Format of the exported suspects.')
_NUM_EXPORT = flags.DEFINE_integer(
    'num_export', 50, 'How many suspects to export.', lower_bound=1)
_LEARN_FROM = flags.DEFINE_enum(
    'learn_from', 'strong', ['strong', 'val'],
    'Exact masks to plant faults in and learn from: of the strong training '
    'images, or (val) of the validation split too. That is more to learn from, '
    'and costs its independence: of a run that starts from the scores '
    '(weighting.initial_from), neither the validation Dice nor the choice of '
    'the best checkpoint may then be trusted; its test split still may.')
_ORDER = flags.DEFINE_enum(
    'order', None, ['suspicion', 'gain', 'random'],
    'Order of next.csv; with --minutes alone, that of gain.')
_MINUTES = flags.DEFINE_float(
    'minutes', None, 'Minutes of annotation that next.csv may take; all '
    'annotations by default.', lower_bound=0.0)
_MINUTES_BY_KIND = flags.DEFINE_list(
    'minutes_by_kind', [], 'Minutes that drawing one annotation again takes, '
    'KIND:MINUTES, such as mask:4,box:0.2; measure your own annotators.')

early_help.answer(__name__)  # Answer --help before the slow imports.

from absl import logging
from data_prep.shared import confined
from data_prep.shared import grammar
from data_prep.shared import system_errors
import numpy as np

from experiments import binary
from experiments import csv_files
from experiments.auditing import evidence as evidence_lib
from experiments.auditing import expected_gain
from experiments.auditing import files
from experiments.auditing import observer
from experiments.auditing import ranking
from experiments.auditing import report
from experiments.auditing import volume_audit
from experiments.saving import run_folder


def _audit_volumes(output, exported):
  """Audits a run on whole volumes."""
  if _LEARN_FROM.value != 'strong':
    raise binary.UserError(
        '--learn_from is not for a run on whole volumes yet: leave it out.')
  if _wants_order():
    raise binary.UserError(
        '--order and --minutes are not for a run on whole volumes yet: leave '
        'them out.')
  if _EXPORT.value and _EXPORT.value not in names.WRITES_VOLUMES:
    raise binary.UserError(
        f'--export={_EXPORT.value} holds pictures: this run is on whole '
        f'volumes, so use {" or ".join(names.WRITES_VOLUMES)}.')
  with process_flags.join() as group:
    found = volume_audit.audit(_RUN.value, group)
  if found is None:
    return  # Process 0 writes.
  dataset = run_folder.read_dataset(_RUN.value, '')
  try:
    output.mkdir(parents=True, exist_ok=True)
    summary = volume_audit.write(output, _RUN.value, dataset, found)
  except OSError as e:
    raise binary.UserError(
        f'--output: {system_errors.in_words(e, output)}') from e
  for kind, auroc in summary['auroc_by_kind'].items():
    print(f'{kind}: the scores find the planted faults with AUROC {auroc:.3f}')
  number = grammar.counted(len(found), 'annotation')
  print(f'{output / "audit.csv"}: {number}, most suspect first, with the '
        'slices to look at; audit.html shows the first of them.')
  if _EXPORT.value:
    # Slabs are exported as the volumes that they belong to.
    first = dict.fromkeys(
        f.record.volume.id for f in found[: _NUM_EXPORT.value])
    print(files.export_volumes(
        run_folder.read_config(_RUN.value).input.data_dir, [*first],
        _EXPORT.value, exported))


def _wants_order():
  """Returns whether next.csv is wanted."""
  if _MINUTES_BY_KIND.value and _ORDER.value is None and (
      _MINUTES.value is None):
    raise binary.UserError(
        '--minutes_by_kind is for --order or --minutes: give one of them.')
  return _ORDER.value is not None or _MINUTES.value is not None


def _choose(records, evidence, scores, faulty):
  """Returns the annotations of next.csv, their order, and a line about them."""
  texts = files.columns(records)
  suspects = expected_gain.Suspects(
      ids=texts['id'], scores=scores.score,
      disagreements=evidence.disagreements.mean(0), kinds=texts['kind'],
      sites=texts['site'], subjects=texts['subject'],
      minutes=expected_gain.minutes_of(
          texts['kind'], expected_gain.parse(_MINUTES_BY_KIND.value)))
  name = _ORDER.value or 'gain'
  chosen = expected_gain.order(suspects, name, budget=(
      np.inf if _MINUTES.value is None else _MINUTES.value))
  # A review looks up in audit.csv what it shows.
  listed = np.isin(chosen, ranking.rank(scores)[:csv_files.MOST_ROWS])
  left_out, chosen = len(chosen) - np.count_nonzero(listed), chosen[listed]
  total = suspects.minutes[chosen].sum()
  line = (f'{grammar.counted(len(chosen), "annotation")} to draw again, by '
          f'{name}, {total:.4g} minutes.')
  if left_out:
    line += (f' {left_out} more {grammar.verb(left_out, "are")} left out, as '
             'audit.csv does not show them.')
  if name != 'random' and not faulty['can_tell']:
    line += (' A random order may do as well: no annotation is shown to be '
             'faulty.')
  return suspects, chosen, line


def main():
  logging.set_verbosity(logging.WARNING)
  output = pathlib.Path(_OUTPUT.value or os.path.join(_RUN.value, 'audit'))
  if not _OUTPUT.value and confined.leads_out(
      pathlib.Path(_RUN.value), 'audit'):
    raise binary.UserError(
        f'{output} is a link out of the folder of the run: say where to write '
        'with --output.')
  wants_order, chosen = _wants_order(), None
  exported = output / f'suspects_{_EXPORT.value}'
  if _EXPORT.value and exported.exists():
    raise binary.UserError(
        f'{exported} exists and may hold corrections: move it, or give another '
        '--output.')
  if volume_audit.is_of_volumes(_RUN.value):
    _audit_volumes(output, exported)
    return
  with process_flags.join() as group:
    run = observer.open_run(_RUN.value)
    records = evidence_lib.audited(run.dataset.splits['train_weak'])
    evidence = evidence_lib.collect(
        run, learn_from=_LEARN_FROM.value, group=group)
  if evidence is None:
    return  # Process 0 writes.
  scores = ranking.score(evidence)
  summary = {'step': run.last.step} | files.summarize(
      records, evidence, scores, run.history)
  if wants_order:
    suspects, chosen, line = _choose(
        records, evidence, scores, summary['faulty'])
  try:
    output.mkdir(parents=True, exist_ok=True)
    note = files.write_table(
        str(output / 'audit.csv'), records, evidence, scores, run.weights,
        run.dataset.classes)
    report.write(
        output / 'audit.html', run, records, evidence, scores, summary)
    run_folder.write_json(str(output / 'audit.json'), summary)
    if chosen is None:  # One of an older audit would not fit this one.
      (output / expected_gain.FILE).unlink(missing_ok=True)
    else:
      expected_gain.write(
          str(output / expected_gain.FILE), suspects, chosen)
  except OSError as e:
    raise binary.UserError(
        f'--output: {system_errors.in_words(e, output)}') from e
  print(f'Faulty annotations: {files.in_words(summary["faulty"])}.')
  number = grammar.counted(len(records), 'annotation')
  print(f'{output / "audit.csv"}: {number}, most suspect first. {note}'.strip())
  if chosen is not None:
    print(f'{output / expected_gain.FILE}: {line}')
  if _EXPORT.value:
    first = ranking.rank(scores) if chosen is None else chosen
    first = first[: _NUM_EXPORT.value]
    print(files.export_suspects(
        run_folder.read_config(_RUN.value).input.data_dir,
        files.columns(records)['id'][first], _EXPORT.value, exported))


if __name__ == '__main__':
  flags.mark_flags_as_required(['run'])
  binary.run(main)
