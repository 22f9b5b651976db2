r"""Which part of the audit's score earns what, on runs with planted faults.

python -m experiments.benchmarks.audit_parts --run=runs/endoscene \
    --sheet=suspects.png

Prints the tables of `experiments/results/audit.md`: AUROC and precision of the
first 50 suspects, by part and combination, by fault and kind; how well the
score is calibrated; the estimated number of faulty annotations, of all and of
draws that hold fewer of them; why against the planted fault. Draws the first
suspects.
"""

import itertools

from absl import flags
from absl import logging
from hybridseg import metrics as metrics_lib
from matplotlib import figure
import numpy as np

from experiments import audit_evidence
from experiments import audit_files
from experiments import auditing
from experiments import binary
from experiments import reporting
from experiments import restoring
from experiments import run_folder

_RUN = flags.DEFINE_string('run', None, 'Folder of a finished run.')
_SHEET = flags.DEFINE_string('sheet', None, 'Picture of the first suspects.')
_NUM_FIRST = 50
_NUM_SHOWN = 24


def main():
  logging.set_verbosity(logging.WARNING)
  config = run_folder.read_config(_RUN.value)
  dataset, parts, last = restoring.restore_run(config, _RUN.value)
  _, _, best = restoring.restore_run(config, _RUN.value, checkpoint='best')
  observer = audit_evidence.Observer(
      parts, dataset, batch_size=config.input.eval_batch_size)
  records = audit_evidence.audited(dataset.splits['train_weak'])
  state = last.state
  evidence = audit_evidence.collect(
      observer,
      [c.state.params for c in (last, best)[: 1 + (best.step != last.step)]],
      indicators=audit_evidence.later_indicators(
          np.asarray(state.indicators.weights), state.indicators.num_updates,
          last.history['indicators']))
  scores = auditing.score(evidence)
  texts = audit_files.columns(records)
  print(f'steps {last.step}, best {best.step}; {len(records)} annotations, '
        f'{(texts["fault"] != "").sum()} faulty')
  _print_rankings(_candidates(evidence, scores), texts)
  _print_calibration(scores, texts['fault'] != '')
  _print_estimates(evidence, texts['fault'] != '')
  found = auditing.evaluate(
      scores, texts['fault'], [r.name for r in evidence.reasons])
  for fault, reasons in found['confusion'].items():
    print(f'{fault}: {reasons}')
  print({k: v for k, v in found.items() if 'sure' in k or 'where' in k})
  if _SHEET.value:
    _draw(observer, state.params, records, evidence, scores, texts)


def _candidates(evidence, scores):
  """Returns name -> what to rank by, the score last."""
  final = evidence._replace(disagreements=evidence.disagreements[:2],
                            alignments=evidence.alignments[:2])
  found = {}
  for number in range(1, len(scores.parts) + 1):
    for names in itertools.combinations(scores.parts, number):
      found[' + '.join(names)] = sum(scores.parts[n] for n in names)
  ranks = [np.argsort(np.argsort(v)) for v in scores.parts.values()]
  networks = evidence.disagreements[:2]
  return found | {
      'mean rank of all parts': sum(ranks),
      'Dice loss of the label, final networks': networks.mean(0),
      'the two networks differ': np.abs(networks[0] - networks[1]),
      'score of the final checkpoint alone': auditing.score(final).score,
      'score': scores.score,
  }


def _print_rankings(candidates, texts):
  faults, faulty = texts['fault'], texts['fault'] != ''
  groups = {'all': np.ones(len(faulty), bool)}
  groups |= {f: ~faulty | (faults == f) for f in np.unique(faults[faulty])}
  groups |= {k: texts['kind'] == k for k in np.unique(texts['kind'])}
  print('| ranked by | first 50 | ' + ' | '.join(groups) + ' |')
  print('|---' * (len(groups) + 2) + '|')
  for name, values in candidates.items():
    first = np.argsort(-values, kind='stable')[:_NUM_FIRST]
    cells = [f'{faulty[first].mean():.2f}']
    cells += [f'{metrics_lib.auroc(values[rows], faulty[rows]):.3f}'
              for rows in groups.values()]
    print(f'| {name} | ' + ' | '.join(cells) + ' |')


def _print_calibration(scores, faulty):
  print('| score | number | mean score | faulty |\n|---|---|---|---|')
  edges = (0, 0.1, 0.3, 0.5, 0.7, 0.9, 1)
  for low, high in itertools.pairwise(edges):
    rows = (scores.score >= low) & (scores.score < high)
    if rows.any():
      print(f'| {low} to {high} | {rows.sum()} | '
            f'{scores.score[rows].mean():.2f} | {faulty[rows].mean():.2f} |')


def _print_estimates(evidence, faulty):
  print('| faulty | of | estimate | interval | can tell |')
  print('|---|---|---|---|---|')
  rng = np.random.default_rng(0)
  good, bad = np.flatnonzero(~faulty), rng.permutation(np.flatnonzero(faulty))
  for share in (0, 0.05, 0.1, 0.2, 0.3):
    number = round(share / (1 - share) * len(good))
    rows = np.concatenate([good, bad[:number]])
    found = auditing.estimate_faulty(evidence, rows)
    print(f'| {len(rows) - len(good)} | {len(rows)} | {found["number"]} | '
          f'{found["interval"]} | {found["can_tell"]} |')


def _draw(observer, params, records, evidence, scores, texts):
  first = auditing.rank(scores)[:_NUM_SHOWN]
  shown = audit_evidence.pictures(
      observer, params, [records[n] for n in first])
  fig = figure.Figure(figsize=(16, 17), layout='constrained')
  axes = fig.subplots(8, 9)
  for ax in axes.flat:
    ax.set_axis_off()
  for place, (n, picture) in enumerate(zip(first, shown, strict=True)):
    trio = axes[place // 3, 3 * (place % 3) : 3 * (place % 3) + 3]
    record = records[n]
    trio[0].imshow(reporting.overlay(record['image'], record['label']))
    trio[1].imshow(reporting.overlay(record['image'], picture.prediction))
    top = np.abs(picture.alignment_map).max() or 1
    trio[2].imshow(picture.alignment_map, cmap='RdBu', vmin=-top, vmax=top)
    trio[0].set_title(f'{place + 1}: {texts["id"][n]}', fontsize=7)
    trio[1].set_title(f'{scores.score[n]:.2f} {evidence.reasons[n].name}',
                      fontsize=7)
    trio[2].set_title(f'{texts["kind"][n]}, planted: {texts["fault"][n]}',
                      fontsize=7)
  fig.savefig(_SHEET.value, dpi=100)


if __name__ == '__main__':
  flags.mark_flags_as_required(['run'])
  binary.run(main)
