"""Evaluates a trained run, and writes its tables, plots and report."""

from collections.abc import Callable, Sequence
import functools
import os
from typing import Any, NamedTuple

from data_prep.shared import system_errors
from hybridseg import indicators as indicators_lib
from hybridseg import parallel
from hybridseg import train_step as train_step_lib
import numpy as np

from experiments import binary
from experiments.building import input_pipeline
from experiments.evaluation import indicator_table
from experiments.evaluation import scoring
from experiments.evaluation import volume_evaluation
from experiments.reports import pages
from experiments.reports import plots
from experiments.saving import checkpoints as checkpoints_lib
from experiments.saving import run_folder
from experiments.training import opening
from experiments.training import spent


class _Outcome(NamedTuple):
  """The results of evaluating a run's final state.

  Attributes:
    results: content of metrics.json.
    params: the parameters of each network that predicts.
    weights: indicator of each weak image, float32 [N].
    indicators: the indicators as the state holds them, perhaps per class.
    scores: maps each split to the scores of all its cases by metric, float
      [N, K] each.
    test_predictions: predicted label maps of the M images of the test split,
      uint8 [M, H, W]; of volumes, the slices to show.
  """

  results: dict[str, Any]
  params: Any
  weights: np.ndarray
  indicators: indicators_lib.IndicatorState
  scores: dict[str, dict[str, np.ndarray]]
  test_predictions: Sequence[np.ndarray]


def finish(
    session: opening.Session,
    state: train_step_lib.TrainState,
    val_counts: np.ndarray | None,
    clock: spent.Clock,
    check: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
  """Evaluates the final state on the test split, and returns the results.

  One of the processes also writes the results to metrics.json, and the tables,
  plots and report next to it.

  Args:
    session: session that trained the run.
    state: state after the last step, on the devices.
    val_counts: confusion counts of the validation split after that step; if
      None, the validation split is evaluated here.
    clock: clock of the session. The results contain its seconds.
    check: see `trainer.train_and_evaluate`.

  Raises:
    binary.UserError: if the folder cannot be written.
  """
  try:
    clock.begin('evaluation')
    outcome = _evaluate(session, parallel.to_host(state), val_counts)
    check()
    if session.is_primary:
      _write_tables(session, outcome)
      clock.begin('pictures')
      _write_pictures(session, outcome)
      clock.begin('report')
      _write_report(session, outcome)
    outcome.results['seconds'] = clock.seconds()
    check()
    if session.is_primary:
      run_folder.write_json(
          os.path.join(session.workdir, 'metrics.json'), outcome.results)
    return outcome.results
  except OSError as e:
    raise binary.UserError(
        f'Cannot write the results of {session.workdir}: '
        f'{system_errors.why(e, session.workdir)}. The final checkpoint is '
        'there: make room, or the folder writable, and start the same '
        'command again.') from e


def _evaluate(session, state, val_counts):
  splits = session.dataset.splits
  params = train_step_lib.eval_params(state)
  scores, test_predictions = _score(session, params, val_counts)
  indicators = state.indicators
  results = {
      'step': int(state.step),
      'dataset': session.dataset.name,
      'best': session.log.best,
      'num_skipped': int(state.num_skipped),
      'state_sha256': checkpoints_lib.state_sha256(state),
      **({} if session.dataset.plan is None else {
          'distance_unit': 'mm',
          'nsd_tolerance': volume_evaluation.TOLERANCE_MM}),
      **{split: scoring.summarize(
          scores[split], session.dataset.classes,
          _column(splits[split], 'subject')) for split in scores},
      'indicators': indicator_table.summarize(
          indicators.weights, indicators.num_updates, splits['train_weak']),
  }
  weights = np.asarray(indicators_lib.of_instances(indicators).weights)
  return _Outcome(
      results, params, weights, indicators, scores, test_predictions)


def _score(session, params, val_counts):
  """Returns the scores of val and test, and what is predicted for test."""
  splits = session.dataset.splits
  if session.dataset.plan is not None:
    val, test = (session.evaluate.score(params, splits[name])
                 for name in ('val', 'test'))
    return {'val': val.scores, 'test': test.scores}, test.planes
  if val_counts is None:
    _, val_counts = session.evaluate(params, splits['val'])
  test_predictions, test_counts = session.evaluate(params, splits['test'])
  return {'val': scoring.overlap_scores(val_counts),
          'test': scoring.overlap_scores(test_counts)}, test_predictions


def _column(records, name):
  return input_pipeline.column(records, name).tolist()


def _write_tables(session, outcome):
  for split, scores in outcome.scores.items():
    records = session.dataset.splits[split]
    scoring.write_cases(
        os.path.join(session.workdir, f'cases_{split}.csv'),
        _column(records, 'id'), _column(records, 'subject'),
        scores, session.dataset.classes)
  note = indicator_table.write(
      os.path.join(session.workdir, 'indicators.csv'),
      *outcome.indicators, session.dataset.splits['train_weak'],
      session.dataset.classes)
  if note:
    print(note, flush=True)


def _write_pictures(session, outcome):
  lines, weights = session.log.lines, outcome.weights
  dataset = volume_evaluation.to_pictures(session.dataset)
  weak_records = dataset.splits['train_weak']
  path = functools.partial(os.path.join, session.workdir)
  # The panel shows weak images in ascending order of their indicators.
  shown = plots.choose_weak(weights, weak_records)
  plots.plot_curves(lines, path('curves.png'))
  plots.plot_panel(
      path('panel.png'), dataset=dataset, weak_indices=shown,
      weak_predictions=_predict(session, outcome, shown), weights=weights,
      test_predictions=outcome.test_predictions)
  plots.plot_indicators(
      path('indicators.png'), weights=weights, records=weak_records)


def _predict(session, outcome, rows):
  """Returns the predicted label maps of some weak images."""
  weak_records = session.dataset.splits['train_weak']
  return session.evaluate(
      outcome.params, [weak_records[i] for i in rows])[0]


def _write_report(session, outcome):
  dataset = volume_evaluation.to_pictures(session.dataset)
  weights = outcome.weights
  # A whole volume is predicted to show a slice of it.
  least = plots.least_trusted(
      weights, dataset.splits['train_weak'],
      number=200 if dataset.plan is None else 12)
  run = pages.TrainedRun(
      results=outcome.results, lines=session.log.lines,
      history=session.history.history(),
      config=run_folder.read_config(session.workdir).to_dict(),
      sessions=run_folder.read_sessions(session.workdir), dataset=dataset,
      weights=weights)
  pages.write_train_report(
      os.path.join(session.workdir, 'report.html'), run, weak_rows=least,
      weak_predictions=_predict(session, outcome, least),
      test_scores=outcome.scores['test'],
      test_predictions=outcome.test_predictions)
