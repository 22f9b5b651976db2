r"""Measures how much each part of the audit score contributes.

python -m experiments.benchmarks.audit_parts --run=runs/endoscene \
    --sheet=suspects.png

The run must have planted faults. Prints the tables of
`experiments/results/audit.md`:

- the AUROC and the precision of the first 50 suspects, for each part of the
  score and some combinations, and by planted fault and kind of annotation;
- how well the score is calibrated;
- the estimated number of faulty annotations, also after most of the faulty ones
  were left out at random;
- the reason that the audit gives for each suspect, compared with the planted
  fault.

Also draws the first suspects into the image --sheet.
"""

import itertools

from absl import flags
from absl import logging
from hybridseg import metrics as metrics_lib
from hybridseg import train_step as train_step_lib
from hybridseg import types
from matplotlib import figure
import numpy as np

from experiments import binary
from experiments import painting
from experiments.auditing import evidence as evidence_lib
from experiments.auditing import files
from experiments.auditing import observer
from experiments.auditing import ranking
from experiments.auditing import signs as signs_lib

_RUN = flags.DEFINE_string('run', None, 'Folder of a finished run.')
_SHEET = flags.DEFINE_string('sheet', None, 'Picture of the first suspects.')
_NUM_FIRST = 50
_NUM_SHOWN = 24


def main():
  logging.set_verbosity(logging.WARNING)
  run = observer.open_run(_RUN.value)
  records = evidence_lib.audited(run.dataset.splits['train_weak'])
  evidence = evidence_lib.collect(run)
  scores = ranking.score(evidence)
  texts = files.columns(records)
  print(f'step {run.last.step}; {len(records)} annotations, '
        f'{(texts["fault"] != "").sum()} faulty')
  dice_loss = _dice_loss(run, records)
  _print_rankings(_candidates(evidence, scores) | {
      'Dice loss of the label map': dice_loss}, texts)
  _print_difference(scores.score, dice_loss, texts['fault'] != '')
  _print_calibration(scores, texts['fault'] != '')
  _print_estimates(evidence, texts['fault'] != '')
  found = ranking.evaluate(
      scores, texts['fault'], [r.name for r in evidence.reasons])
  for fault, reasons in found['confusion'].items():
    print(f'{fault}: {reasons}')
  print({k: v for k, v in found.items() if 'sure' in k or 'where' in k})
  if _SHEET.value:
    _draw(run, records, evidence, scores, texts)


def _candidates(evidence, scores):
  """Returns the scores by which annotations can be ranked, by name.

  The last entry is the audit score itself.
  """
  found = {}
  for number in range(1, len(scores.parts)):
    for names in itertools.combinations(scores.parts, number):
      found[' + '.join(names)] = sum(scores.parts[n] for n in names)
  ranks = [np.argsort(np.argsort(v)) for v in scores.parts.values()]
  networks = evidence.disagreements
  return found | {
      'mean of all parts': sum(scores.parts.values()),
      'mean rank of all parts': sum(ranks),
      'the two networks differ': np.abs(networks[0] - networks[1]),
      'score': scores.score,
  }


def _dice_loss(run, records):
  """Returns a baseline for the scores: 1 - soft Dice of each label, [N]."""
  params = train_step_lib.eval_params(run.last.state)
  directions = run.observer.strong_directions(
      params, run.dataset.splits['train_strong'])
  return np.array([
      np.mean([signs_lib.disagreement(
          q, types.AnnotationKind.COARSE_MASK, look.record['label'],
          look.record['present']) for q in look.probs])
      for look in run.observer.look(
          params, directions, records, label='label', what='Dice loss')])


def _print_difference(score, other, faulty):
  """Prints how far the AUROC of one score exceeds the AUROC of another score.

  The 95 % interval of the difference is from a bootstrap over annotations.
  """
  rng = np.random.default_rng(0)
  found = []
  for _ in range(1000):
    rows = rng.integers(len(faulty), size=len(faulty))
    found.append(metrics_lib.auroc(score[rows], faulty[rows])
                 - metrics_lib.auroc(other[rows], faulty[rows]))
  low, high = np.nanquantile(found, [0.025, 0.975])
  print('AUROC of the score above that of the Dice loss: '
        f'{np.nanmean(found):+.3f} ({low:+.3f} to {high:+.3f})')


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
    found = ranking.estimate_faulty(evidence, rows)
    print(f'| {len(rows) - len(good)} | {len(rows)} | {found["number"]} | '
          f'{found["interval"]} | {found["can_tell"]} |')


def _draw(run, records, evidence, scores, texts):
  first = ranking.rank(scores)[:_NUM_SHOWN]
  shown = observer.pictures(run, [records[n] for n in first])
  fig = figure.Figure(figsize=(16, 17), layout='constrained')
  axes = fig.subplots(8, 9)
  for ax in axes.flat:
    ax.set_axis_off()
  for place, (n, picture) in enumerate(zip(first, shown, strict=True)):
    trio = axes[place // 3, 3 * (place % 3) : 3 * (place % 3) + 3]
    record = records[n]
    trio[0].imshow(painting.overlay(record['image'], record['label']))
    trio[1].imshow(painting.overlay(record['image'], picture.prediction))
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
