"""Writes audit.html, the report of an audit with pictures of the suspects."""

from collections.abc import Mapping, Sequence
import os
from typing import Any

import numpy as np

from data_prep.shared import grammar
from experiments.auditing import evidence as evidence_lib
from experiments.auditing import files
from experiments.auditing import observer
from experiments.auditing import ranking
from experiments.building import input_pipeline
from experiments.reports import pages
from experiments.reports import sections

_NUM_SHOWN = 200  # Number of suspects in the report.


def write(
    path: str | os.PathLike[str],
    run: observer.Run,
    records: Sequence[dict[str, Any]],
    evidence: evidence_lib.Evidence,
    scores: ranking.Scores,
    summary: Mapping[str, Any],
) -> None:
  """Writes the report of an audit.

  Args:
    path: HTML file to write.
    run: the run that was audited.
    records: audited records, in the order of the evidence.
    evidence: evidence on these records.
    scores: scores of these records.
    summary: summary from `files.summarize`.

  Raises:
    OSError: if the file cannot be written.
  """
  texts = files.columns(records)
  ids = input_pipeline.column(records, 'instance_id').astype(int)
  weights = np.asarray(run.last.state.indicators.weights)
  first = ranking.rank(scores)[:_NUM_SHOWN]
  shown = observer.pictures(run, [records[n] for n in first])
  suspects = [
      sections.Item(
          texts['id'][n],
          {'rank': place, 'score': float(scores.score[n]),
           'low': float(scores.low[n]), 'high': float(scores.high[n]),
           'indicator': float(weights[ids[n]]),
           **{c: str(texts[c][n]) for c in ('kind', 'annotator', 'site')},
           'reason': f'{evidence.reasons[n].name}: {evidence.reasons[n].words}',
           'fault': str(texts['fault'][n])},
          records[n]['image'],
          {'weak label': records[n]['label'], 'prediction': picture.prediction,
           'alignment': pages.harm_map(picture.alignment_map)})
      for place, (n, picture) in enumerate(
          zip(first, shown, strict=True), start=1)]
  pages.write_audit_report(
      path,
      title=f'{run.dataset.name}: audit of '
      f'{grammar.counted(len(records), "weak annotation")}',
      classes=run.dataset.classes,
      summary=pages.AuditSummary(
          facts=_facts(summary), tables=_tables(summary),
          kinds=texts['kind'].tolist(),
          faults=texts['fault'].tolist() if any(texts['fault']) else [],
          steps=run.history.steps, history=run.history, rows=ids,
          health={k: v for k, v in summary['weighting'].items()
                  if k not in ('step', 'verdict')}),
      suspects=suspects)


def _facts(summary):
  facts = {
      'annotations': summary['num_annotations'],
      'faulty, estimated': files.in_words(summary['faulty']),
      'weighting': summary['weighting']['verdict'],
  }
  if summary['planted']:
    found = summary['planted']
    facts |= {
        'planted faults': found['num_faulty'],
        'AUROC': found['auroc'],
        f'precision of the first {found["num_first"]}':
            found['precision_of_first']}
  return facts


def _tables(summary):
  return {
      f'By {name}': [
          {name: group or 'not known', 'number': line['number'],
           'mean score': line['mean_score'],
           # Show only the number, which the summary explains above.
           'faulty, estimated': files.in_words(
               line['faulty']).split(':')[0]}
          for group, line in summary[f'by_{name}'].items()]
      for name in ('kind', 'annotator', 'site')}
