"""Writes the results of an audit: its table, its summary, and an export."""

from collections.abc import Mapping, Sequence
import contextlib
import os
import pathlib
from typing import Any

from data_prep import manifest as manifest_lib
from data_prep.formats import registry
from data_prep.records import set_cases
from data_prep.shared import grammar
from data_prep.shared import pixels
from data_prep.shared import system_errors
from hybridseg import indicators as indicators_lib
from hybridseg import types
import jax
import numpy as np

from experiments import binary
from experiments import csv_files
from experiments.auditing import evidence as evidence_lib
from experiments.auditing import ranking
from experiments.building import class_indicators
from experiments.building import input_pipeline
from experiments.saving import indicator_history

# If the effective number of instances is below this share of all instances, the
# weighting counts as collapsed.
_COLLAPSED = 0.1


def columns(records: Sequence[dict[str, Any]]) -> dict[str, np.ndarray]:
  """Returns the columns of N audited records, as N strings each, by name.

  The columns are id, annotator, site, subject, fault and kind.
  """
  names = ('id', 'annotator', 'site', 'subject', 'fault')
  found = {n: input_pipeline.column(records, n).astype(str) for n in names}
  found['kind'] = np.array(
      [types.AnnotationKind(kind).name.lower() for kind in
       input_pipeline.column(records, 'kind').astype(int).tolist()], str)
  return found


def write_table(
    path: str,
    records: Sequence[dict[str, Any]],
    evidence: evidence_lib.Evidence,
    scores: ranking.Scores,
    weights: np.ndarray,
    classes: Sequence[str] = (),
) -> str:
  """Writes one CSV line per audited annotation, most suspect first.

  If there are too many, `csv_files.write_columns` has all.

  Args:
    path: CSV file to write.
    records: audited records, in the order of the evidence.
    evidence: evidence on these records.
    scores: scores of these records.
    weights: final indicators of all weak instances, in the order of their
      instance ids, float [N]; with those of classes, float [N, K - 1], the
      table has their mean, and a column for each class.
    classes: names of the classes; only indicators of classes need them.

  Returns:
    The sentence of `csv_files.write_columns`, or ''.
  """
  by_class = class_indicators.columns(weights, classes)
  weights = class_indicators.of_instances(weights)
  order = np.array(ranking.rank(scores), int)
  ids = input_pipeline.column(records, 'instance_id').astype(int)[order]
  texts = {name: column[order] for name, column in columns(records).items()}
  reasons = [evidence.reasons[n] for n in order.tolist()]
  table = {
      'rank': np.arange(1, len(order) + 1), 'id': texts['id'],
      **{name: np.asarray(getattr(scores, name))[order]
         for name in ('score', 'low', 'high')},
      'indicator': weights[ids],
      **{name: texts[name] for name in (
          'kind', 'annotator', 'site', 'subject')},
      'why': np.array([r.name for r in reasons], str),
      'evidence': np.array([r.words for r in reasons], str),
      'fault': texts['fault'],
      **{name: column[ids] for name, column in by_class.items()}}
  rows = [[f'{column[n]:.4f}' if column.dtype.kind == 'f' else column[n]
           for column in table.values()]
          for n in range(min(len(order), csv_files.MOST_ROWS))]
  csv_files.write_csv(path, [*table], rows)
  return csv_files.write_columns(path, table)


def summarize(
    records: Sequence[dict[str, Any]],
    evidence: evidence_lib.Evidence,
    scores: ranking.Scores,
    history: indicator_history.History,
) -> dict[str, Any]:
  """Returns the content of audit.json.

  Args:
    records: audited records, in the order of the evidence.
    evidence: evidence on these records.
    scores: scores of these records.
    history: indicators of all weak instances at each evaluation.
  """
  texts = columns(records)
  summary = {
      'num_annotations': len(records),
      'learn_from': evidence.learn_from,
      'auroc_held_out': {
          types.AnnotationKind(kind).name.lower(): auroc
          for kind, auroc in scores.held_out.items()},
      'faulty': ranking.estimate_faulty(evidence),
      'weighting': _health(records, history, evidence.have_moved),
  }
  for name in ('kind', 'annotator', 'site'):
    summary[f'by_{name}'] = ranking.summarize_groups(
        evidence, scores, texts[name])
  summary['planted'] = ranking.evaluate(
      scores, texts['fault'], [r.name for r in evidence.reasons])
  return summary


def in_words(faulty: Mapping[str, Any]) -> str:
  """Returns the number of faulty annotations, and an explanation, as text.

  Args:
    faulty: estimate from `ranking.estimate_faulty`.
  """
  if faulty['number'] is None:
    return f'cannot tell: {faulty["why"]}'
  low, high = faulty['interval']
  return f'about {faulty["number"]} ({low} to {high}): {faulty["why"]}'


def _health(records, history, has_moved):
  """Returns statistics of the indicators at each evaluation, and a verdict.

  The verdict states in words whether the weighting has collapsed.
  """
  if not has_moved or not records or not len(history):
    return {'verdict': 'no indicator has moved, or no evaluation was kept'}
  ids = input_pipeline.column(records, 'instance_id').astype(int)
  lines = [
      jax.device_get(indicators_lib.indicator_health(
          indicators_lib.init_indicators(len(ids))._replace(
              weights=weights[ids])))
      for weights in history]
  health = {name: [float(line[name]) for line in lines] for name in lines[0]}
  effective = health['effective_share'][-1]
  verdict = f'{effective:.0%} of the annotations are effectively used'
  if effective < _COLLAPSED:
    verdict = f'collapsed: only {verdict}'
  elif health['share_at_1'][-1] == 1:
    verdict = 'all indicators are 1: none was distrusted'
  return {'step': history.steps.tolist(), **health, 'verdict': verdict}


def export_suspects(
    data_dir: str,
    ids: Sequence[str],
    format_name: str,
    output: pathlib.Path,
) -> str:
  """Writes suspect annotations in the format of an annotation tool.

  Args:
    data_dir: folder of the set, which has a manifest.
    ids: ids of the suspects, most suspect first.
    format_name: one of `names.WRITES`.
    output: folder to write.

  Returns:
    One line for the user that states what was written.

  Raises:
    binary.Incomplete: if nothing could be exported.
  """
  path = os.path.join(data_dir, 'manifest.jsonl')
  try:
    manifest = manifest_lib.read_manifest(path)
  except OSError as e:
    raise binary.Incomplete(
        f'Nothing exported: {path} cannot be read ({e.strerror}).') from e
  by_id = {row.id: row for row in manifest.rows}
  rows = [by_id[i] for i in ids if i in by_id]
  unable = [r for r in rows if registry.cannot_hold(
      manifest._replace(rows=(r,)), format_name)]
  rows = [r for r in rows if r not in unable]
  gone = [r for r in rows if not (manifest.root / r.image).is_file()]
  if gone:
    raise binary.Incomplete(
        f'Nothing exported: {len(gone)} of '
        f'{grammar.counted(len(rows), "original image")} '
        f'{grammar.verb(len(gone), "are")} gone, the first is {gone[0].image} '
        f'in {manifest.root}.')
  note = ''
  if unable:
    kinds = sorted({r.annotation['kind'] for r in unable})
    note = (f' {len(unable)} {grammar.verb(len(unable), "are")} left out: '
            f'{format_name} cannot express '
            f'{", ".join(kinds)}; --export=folder can.')
  if not rows:
    raise binary.Incomplete(
        f'Nothing exported.{note or f" No suspect is in {path}."}')
  with _exporting():
    registry.write(
        manifest._replace(rows=tuple(rows)), format_name, output.absolute())
  return (f'{output}: {grammar.counted(len(rows), "suspect")} as {format_name}.'
          f'{note}')


def export_volumes(
    data_dir: str,
    ids: Sequence[str],
    format_name: str,
    output: pathlib.Path,
) -> str:
  """Writes suspect annotations of whole volumes for an annotation tool.

  Args:
    data_dir: folder of the set.
    ids: as for `export_suspects`.
    format_name: one of `names.WRITES_VOLUMES`.
    output: as for `export_suspects`.

  Returns:
    One line for the user that states what was written.

  Raises:
    binary.Incomplete: if nothing could be exported.
  """
  with _exporting():
    found = set_cases.read(data_dir, ids=ids)
    registry.write_volumes(
        found.cases, found.classes, format_name, output.absolute())
  number = grammar.counted(len(found.cases), 'suspect')
  return f'{output}: {number} as {format_name}.'


@contextlib.contextmanager
def _exporting():
  """Turns errors of an export into `binary.Incomplete`."""
  try:
    yield
  except pixels.WrongFile as wrong:
    raise binary.Incomplete(f'Nothing exported: {wrong}.') from wrong
  except OSError as e:
    raise binary.Incomplete(
        f'Nothing exported: {system_errors.in_words(e)}') from e
