r"""Lists the weak annotations of a finished run to draw again first.

python -m experiments.audit --run=runs/mine
python -m experiments.audit --run=runs/mine --export=labelme --num_export=50

Leaves in --output (default RUN/audit): audit.csv, most suspect first, with a
score, its interval and a reason; audit.json, what it says of all annotations,
of each kind, annotator and site; with --export, the first suspects for an
annotation tool. What is planted in a set is never used, only counted.
"""

import os
import pathlib

from absl import flags
from absl import logging
import numpy as np

from experiments import audit_evidence
from experiments import audit_files
from experiments import auditing
from experiments import binary
from experiments import restoring
from experiments import run_folder

_RUN = flags.DEFINE_string('run', None, 'Folder of a finished run.')
_OUTPUT = flags.DEFINE_string('output', None, 'Folder; default RUN/audit.')
_EXPORT = flags.DEFINE_enum(
    'export', None, ('labelme', 'coco'), 'Format of the exported suspects.')
_NUM_EXPORT = flags.DEFINE_integer(
    'num_export', 50, 'How many suspects to export.', lower_bound=1)


def main():
  logging.set_verbosity(logging.WARNING)
  output = pathlib.Path(_OUTPUT.value or os.path.join(_RUN.value, 'audit'))
  exported = output / f'suspects_{_EXPORT.value}'
  if _EXPORT.value and exported.exists():
    raise binary.UserError(
        f'{exported} exists and may hold corrections: move it, or give another '
        '--output.')
  config = run_folder.read_config(_RUN.value)
  dataset, parts, last = restoring.restore_run(config, _RUN.value)
  _, _, best = restoring.restore_run(config, _RUN.value, checkpoint='best')
  observer = audit_evidence.Observer(
      parts, dataset, batch_size=config.input.eval_batch_size)
  weights = np.asarray(last.state.indicators.weights)
  records = audit_evidence.audited(dataset.splits['train_weak'])
  evidence = audit_evidence.collect(
      observer,
      [c.state.params for c in (last, best)[: 1 + (best.step != last.step)]],
      indicators=audit_evidence.later_indicators(
          weights, last.state.indicators.num_updates,
          last.history['indicators']))
  scores = auditing.score(evidence)
  summary = {'step': last.step} | audit_files.summarize(
      records, evidence, scores, last.history)
  try:
    output.mkdir(parents=True, exist_ok=True)
    audit_files.write_table(
        str(output / 'audit.csv'), records, evidence, scores, weights)
    run_folder.write_json(str(output / 'audit.json'), summary)
  except OSError as e:
    raise binary.UserError(f'Cannot write {output}: {e.strerror}.') from e
  print(_in_words(summary))
  print(f'{output / "audit.csv"}: {len(records)} annotations, most suspect '
        'first')
  if _EXPORT.value:
    first = auditing.rank(scores)[: _NUM_EXPORT.value]
    print(audit_files.export_suspects(
        config.input.data_dir, audit_files.columns(records)['id'][first],
        _EXPORT.value, exported))


def _in_words(summary):
  faulty = summary['faulty']
  if faulty['number'] is None:
    return f'Faulty annotations: cannot tell, {faulty["why"]}.'
  low, high = faulty['interval']
  line = f'Faulty annotations: about {faulty["number"]} ({low} to {high})'
  return f'{line}; {faulty["why"]}.'


if __name__ == '__main__':
  flags.mark_flags_as_required(['run'])
  binary.run(main)
