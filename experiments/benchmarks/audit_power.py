r"""Tests whether the audit finds planted faults better than a loss does.

python -m experiments.benchmarks.audit_power --source=FOLDER --workdir=power
python -m experiments.benchmarks.audit_power --runs=runs/a,runs/b

Prepares EndoScene three times with boxes and polygons as weak annotations: in
the three sets, 10, 30 and 50 % of the annotations are faulty. Trains DII + DCR
on each set, audits the runs, and prints the tables of
`experiments/results/audit_power.md` as Markdown. If it was stopped, the same
command continues; finished runs are not trained again. With --runs, it audits
existing runs instead.

If cleanlab is installed, one row of the tables shows its label quality scores
for the same predictions; otherwise the row is empty. The planted faults are
only used to evaluate the rankings.
"""

from collections.abc import Mapping, Sequence
import time
from typing import Any, NamedTuple

from absl import flags
from absl import logging
from data_prep.drawing import simulate
from hybridseg import inference
from hybridseg import metrics as metrics_lib
from hybridseg import train_step as train_step_lib
from hybridseg import types
import numpy as np
from scipy import special

from experiments import binary
from experiments.auditing import evidence as evidence_lib
from experiments.auditing import files
from experiments.auditing import observer
from experiments.auditing import ranking
from experiments.auditing import signs as signs_lib
from experiments.configs import endoscene
from experiments.configs.tables import common
from experiments.tables import grid
from experiments.tables import sweep_sets
from experiments.training import trainer

_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of sets and runs.')
_SOURCE = flags.DEFINE_string('source', '', 'Folder of the original set.')
_RUNS = flags.DEFINE_list('runs', [], 'Finished runs, instead of --workdir.')
_SEEDS = flags.DEFINE_list('seeds', ['0'], 'Of the networks.')
_IMAGE_SIZE = flags.DEFINE_integer('image_size', 96, 'Of the records.')
_TRAIN_STEPS = flags.DEFINE_integer('train_steps', 400, 'Of each run.')

# The first fraction is the one for which we have set a target.
_FAULT_FRACTIONS = (0.3, 0.1, 0.5)
_NUM_RESAMPLES = 1000
_DENSE = (types.AnnotationKind.BOX, types.AnnotationKind.POLYGON)
# The weights with which one ranking is added to another, after both were scaled
# to standard deviation 1.
_WEIGHTS = (-2, -1, -0.5, 0, 0.5, 1, 2)
_LOSS, _SCORE = 'Dice loss of the label', "the audit's score"
_CLEANLAB = 'cleanlab label quality'


class Measured(NamedTuple):
  """The measurements of one audited run with N annotations.

  Attributes:
    rankings: maps the name of each ranking to the scores by which annotations
      are ranked, float [N], or to None if the scores cannot be computed. A
      higher score means a worse annotation.
    faulty: whether a fault is planted in each annotation, bool [N].
    faults: name of the planted fault, '' if there is none, [N].
    groups: video that each image comes from, [N].
    pixels: maps the name of each pixel map to two AUROCs at finding faulty
      pixels: the mean of the AUROCs within each faulty image, and the AUROC
      over the pixels of all images.
    facts: other facts about the run, for the last table.
  """

  rankings: Mapping[str, np.ndarray | None]
  faulty: np.ndarray
  faults: np.ndarray
  groups: np.ndarray
  pixels: Mapping[str, tuple[float, float]]
  facts: Mapping[str, Any]


def measure(workdir: str) -> Measured:
  """Audits a finished run whose set has planted faults.

  Args:
    workdir: folder of the run.

  Raises:
    binary.UserError: if all annotations are faulty, or none.
  """
  run = observer.open_run(workdir)
  start = time.monotonic()
  evidence = evidence_lib.collect(run)
  scores = ranking.score(evidence)
  seconds = time.monotonic() - start
  records = evidence_lib.audited(run.dataset.splits['train_weak'])
  texts = files.columns(records)
  faulty = texts['fault'] != ''
  if not faulty.any() or faulty.all():
    raise binary.UserError(
        f'{workdir}: its set has no planted faults, or nothing else.')
  params = train_step_lib.eval_params(run.last.state)
  seen = list(run.observer.look(
      params, run.observer.strong_directions(
          params, run.dataset.splits['train_strong']),
      records, label='label', what='losses'))
  probs = np.stack([p for _, p, _ in seen])
  labels = np.stack([r['label'] for r in records])
  rankings = _rankings(evidence, scores, records, probs, labels)
  maps = {
      'alignment map (harm)': -np.stack([m.mean(0) for _, _, m in seen]),
      'loss map, 1 - p(label)': 1 - _of_label(probs.mean(1), labels),
      'cleanlab pixel score': _cleanlab(labels, probs.mean(1))[1]}
  maps['loss map times the score'] = (
      maps['loss map, 1 - p(label)'] * scores.score[:, None, None])
  estimate = ranking.estimate_faulty(evidence)
  return Measured(
      rankings, faulty, texts['fault'], texts['subject'],
      _pixels(maps, records, faulty),
      {'set': run.dataset.name, 'pixels': labels.shape[-1],
       'steps': run.last.step, 'annotations': len(records),
       'videos': len(np.unique(texts['subject'])), 'audit, s': seconds,
       'faulty': int(faulty.sum()), 'sum of scores': float(scores.score.sum()),
       'estimate': f'{estimate["number"]} {estimate["interval"]}',
       'faulty of the first 50': int(
           faulty[ranking.rank(scores)[:50]].sum())})


def _rankings(evidence, scores, records, probs, labels):
  as_drawn = types.AnnotationKind.COARSE_MASK
  dice = [
      np.mean([signs_lib.disagreement(q, as_drawn, r['label'], r['present'])
               for q in pair]) for r, pair in zip(records, probs, strict=True)]
  apart = np.asarray(inference.disagreement(np.moveaxis(probs, 1, 0)))
  return {
      'indicator': scores.parts.get('indicator'),
      'alignment': scores.parts['alignment'],
      'disagreement, by kind': scores.parts['disagreement'],
      'the two networks differ': apart.mean((1, 2)),
      'cross entropy of the label': np.mean(
          -np.log(_of_label(probs.mean(1), labels) + 1e-6), axis=(1, 2)),
      _LOSS: np.array(dice),
      _CLEANLAB: _cleanlab(labels, probs.mean(1))[0],
      _SCORE: special.logit(np.clip(scores.score, 1e-9, 1 - 1e-9)),
  }


def _of_label(probs, labels):
  """Returns the predicted probability of each pixel's label.

  It is 1 at pixels without a label.
  """
  known = labels != types.UNLABELLED
  drawn = np.where(known, labels, 0)[..., None].astype(int)
  return np.where(known, np.take_along_axis(probs, drawn, axis=-1)[..., 0], 1)


def _cleanlab(labels, probs):
  """Returns cleanlab's scores of images and of pixels; higher is worse.

  Returns (None, None) if cleanlab is not installed, or if some pixels have no
  label.
  """
  try:
    from cleanlab.segmentation import rank  # Not required by this project.
  except ImportError:
    return None, None
  if (labels == types.UNLABELLED).any():
    return None, None  # cleanlab needs a label at every pixel.
  images, pixels = rank.get_label_quality_scores(
      labels.astype(int), np.moveaxis(probs, -1, 1), verbose=False)
  return 1 - images, 1 - pixels


def _pixels(maps, records, faulty):
  """Measures how well each map finds faulty pixels of boxes and polygons.

  In a faulty annotation, the pixels that differ from a careful annotation of
  the same object are faulty, and all others are sound. In an annotation without
  a planted fault, pixels that differ from a careful one do not count, and all
  others are sound.

  Args:
    maps: maps a name to a score of each pixel, float [N, H, W], or to None. A
      higher score means a worse pixel.
    records: records of the annotations.
    faulty: whether a fault is planted in each annotation, bool [N].

  Returns:
    A dictionary from the name of each map to the mean AUROC within faulty
    images, and the AUROC over the pixels of all images.
  """
  wrong, counts = [], []
  for record, is_faulty in zip(records, faulty, strict=True):
    kind = types.AnnotationKind(int(record['kind']))
    right = record['label']
    if kind in _DENSE:
      right = simulate.draw(simulate.simulate_weak(
          record['truth'], np.random.default_rng(0), kind=kind.name.lower(),
          quality_level=1.0), right.shape)
    differs = right != record['label']
    wrong.append(differs & is_faulty)
    counts.append((is_faulty | ~differs) & (kind in _DENSE))
  wrong, counts = np.stack(wrong), np.stack(counts)
  found = {}
  for name, values in maps.items():
    if values is None:
      continue
    each = [metrics_lib.auroc(values[n][counts[n]], wrong[n][counts[n]])
            for n in np.flatnonzero(faulty)]
    found[name] = (
        float(np.nanmean(each)),
        metrics_lib.auroc(values[counts], wrong[counts]))
  return found


def resampled_aurocs(
    values: Sequence[np.ndarray], faulty: np.ndarray, groups: np.ndarray
) -> np.ndarray:
  """Returns the AUROCs of V rankings for bootstrap samples of whole groups.

  All rankings are evaluated on the same samples.

  Args:
    values: scores of each ranking, each float [N].
    faulty: whether each annotation is faulty, bool [N].
    groups: group of each annotation, such as its video, [N]. Annotations of a
      group are always drawn together.

  Returns:
    The AUROCs, float [_NUM_RESAMPLES, V].
  """
  rng = np.random.default_rng(0)
  members = [np.flatnonzero(groups == g) for g in np.unique(groups)]
  drawn = [
      np.concatenate([members[g] for g in rng.integers(
          len(members), size=len(members))]) for _ in range(_NUM_RESAMPLES)]
  return np.array([
      [metrics_lib.auroc(v[rows], faulty[rows]) for v in values]
      for rows in drawn])


def _cell(found, name):
  """Formats the mean AUROC of a ranking over runs, with its 95 % interval.

  Args:
    found: measurements of all runs with one and the same fraction of faulty
      annotations.
    name: name of the ranking.
  """
  if any(m.rankings[name] is None for m in found):
    return ''
  mean = np.mean([
      metrics_lib.auroc(m.rankings[name], m.faulty) for m in found])
  draws = np.mean([
      resampled_aurocs([m.rankings[name]], m.faulty, m.groups)[:, 0]
      for m in found], axis=0)
  return _with_interval(mean, draws, '.3f')


def _difference(found, name, other):
  """Formats the difference in mean AUROC between two rankings, like `_cell`."""
  if any(m.rankings[other] is None for m in found):
    return ''
  means, draws = [], []
  for m in found:
    pair = [m.rankings[name], m.rankings[other]]
    means.append([metrics_lib.auroc(v, m.faulty) for v in pair])
    draws.append(resampled_aurocs(pair, m.faulty, m.groups))
  (mean, rest), draws = np.mean(means, axis=0), np.mean(draws, axis=0)
  return _with_interval(mean - rest, draws[:, 0] - draws[:, 1], '+.3f')


def _with_interval(mean, draws, form):
  low, high = np.nanquantile(draws, [0.025, 0.975])
  return f'{mean:{form}} ({low:{form}} to {high:{form}})'


def _added(found, base, other):
  """Formats the largest gain in AUROC from adding one ranking to another.

  The weight of the added ranking is the one of `_WEIGHTS` that is best for
  these runs.
  """
  if any(m.rankings[other] is None for m in found):
    return ''
  scaled = lambda x: (x - x.mean()) / (x.std() or 1)
  totals = [
      np.mean([metrics_lib.auroc(
          scaled(m.rankings[base]) + weight * scaled(m.rankings[other]),
          m.faulty) for m in found]) for weight in _WEIGHTS]
  best = int(np.argmax(totals))
  gain = totals[best] - totals[_WEIGHTS.index(0)]
  return f'{gain:+.3f} at {_WEIGHTS[best]:+g}'


def _print_table(first, columns, rows):
  print(f'\n| {first} | ' + ' | '.join(columns) + ' |')
  print('|---' * (1 + len(columns)) + '|')
  for name, cells in rows.items():
    print(f'| {name} | ' + ' | '.join(cells) + ' |')


def report(measured: Sequence[Measured]) -> None:
  """Prints all tables, with a column for each share of faulty annotations."""
  shares = sorted({round(m.faulty.mean(), 2) for m in measured})
  by_share = {
      f'{share:.0%}': [
          m for m in measured if round(m.faulty.mean(), 2) == share]
      for share in shares}
  names = list(measured[0].rankings)
  lists = list(by_share.values())
  print('AUROC of annotations, mean over the runs of a share; 95 % intervals '
        'over whole videos.')
  _print_table('ranked by', by_share, {
      name: [_cell(found, name) for found in lists] for name in names} | {
          f'score above: {other}': [
              _difference(found, _SCORE, other) for found in lists]
          for other in (_LOSS, _CLEANLAB)})
  print('\nBy planted fault, against the good ones:')
  _print_table('ranked by', [
      f'{share}, {fault}' for share in by_share for fault in simulate.FAULTS], {
          name: [_of_fault(found, name, fault) for found in lists
                 for fault in simulate.FAULTS] for name in (_LOSS, _SCORE)})
  print('\nThe most that each adds, at the weight that is best in hindsight:')
  _print_table('to, added', by_share, {
      f'{base}, {other}': [_added(found, base, other) for found in lists]
      for base in (_LOSS, _SCORE)
      for other in ('indicator', 'alignment', 'the two networks differ', _LOSS)
      if base != other})
  print('\nAUROC of faulty pixels: within a faulty image / over all images:')
  _print_table('map', by_share, {
      name: [_pixel_cell(found, name) for found in lists]
      for name in measured[0].pixels})
  print('\nRuns:')
  _print_table('run', [*measured[0].facts], {
      str(n): [f'{v:.0f}' if isinstance(v, float) else str(v)
               for v in m.facts.values()]
      for n, m in enumerate(measured, start=1)})


def _of_fault(found, name, fault):
  return '{:.3f}'.format(np.mean([
      metrics_lib.auroc(m.rankings[name][rows], m.faulty[rows])
      for m in found for rows in [~m.faulty | (m.faults == fault)]]))


def _pixel_cell(found, name):
  return ' / '.join(
      f'{np.mean([m.pixels[name][n] for m in found]):.3f}' for n in (0, 1))


def _train(workdir, source):
  """Returns the folders of the runs, after training those not yet finished."""
  table = common.get_table(
      'endoscene', endoscene.get_config, 'table', methods=('dii_dcr',),
      train_steps=_TRAIN_STEPS.value, image_size=_IMAGE_SIZE.value,
      fault_fractions=_FAULT_FRACTIONS,
      seeds=tuple(int(s) for s in _SEEDS.value))
  cells = grid.make_cells(table, workdir)
  for cell in cells:
    state = grid.read_state(cell)
    if state.name != 'done':
      print(f'== {cell.words}', flush=True)
      sweep_sets.prepare(workdir, cell.setting, source)
      trainer.train_and_evaluate(cell.config, cell.folder)
  return [cell.folder for cell in cells]


def main():
  logging.set_verbosity(logging.WARNING)
  if bool(_RUNS.value) == bool(_WORKDIR.value):
    raise binary.UserError('Give --workdir and --source, or --runs.')
  runs = _RUNS.value or _train(_WORKDIR.value, _SOURCE.value)
  report([measure(run) for run in runs])


if __name__ == '__main__':
  binary.run(main)
