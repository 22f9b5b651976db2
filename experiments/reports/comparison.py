"""Writes the page of a comparison, such as of runs before and after a review.

The page first states in words, for each pair of results, which one is better or
that the data cannot tell. Tables and histograms of the paired differences
follow.
"""

from collections.abc import Mapping, Sequence
import os
from typing import Any

from data_prep.shared import grammar
from data_prep.shared import html_page
from data_prep.shared import html_plots
import numpy as np

_MAX_CASES = 10  # Cases in each list of gains and losses.


def write(
    path: str | os.PathLike[str],
    report: Mapping[str, Any],
    *,
    ids: Sequence[str],
    scores: np.ndarray,
) -> None:
  """Writes the page, one file that needs no network.

  Args:
    path: HTML file to write.
    report: content of comparison.json.
    ids: ids of the N paired cases.
    scores: score of each result in each case, float [R, N].

  Raises:
    OSError: if the page cannot be written.
  """
  better = 'higher' if report['higher_is_better'] else 'lower'
  number = grammar.counted(report['num_cases'], 'case')
  title = (f'{report["metric"]} of {number}, '
           f'{grammar.counted(report["num_subjects"], "subject")}')
  body = [f'<h1>{html_page.escape(title)}</h1>']
  body += [f'<p><b>{html_page.escape(pair["words"])}</b></p>'
           for pair in report['pairs']]
  body.append(
      f'<p class="dim">{better.capitalize()} is better. Cases are paired; 95 % '
      'intervals resample whole subjects. Absent classes count in paired '
      'scores if only one result shows them.</p>')
  body.append(html_page.side_by_side(html_page.table(
      'Results', ['', 'paired mean', 'mean alone', 'cases counted'],
      [[r['name'], _number(r['paired_mean'], r['paired_interval_95']),
        _number(r['mean'], r['interval_95']), r['num_cases_counted']]
       for r in report['results']])))
  names = [r['name'] for r in report['results']]
  for pair in report['pairs']:
    difference = (scores[names.index(pair['second'])]
                  - scores[names.index(pair['first'])])
    body += _pair(pair, difference, ids, report)
  if report['warnings']:
    lines = ''.join(f'<li>{html_page.escape(line)}</li>'
                    for line in report['warnings'])
    body.append(f'<h2>Notes</h2><ul>{lines}</ul>')
  html_page.write(path, html_page.page(
      title, body, style=html_plots.STYLE))


def _pair(pair, difference, ids, report):
  """Returns the section of one pair.

  Args:
    pair: entry of `pairs`.
    difference: score of the second result minus that of the first, float [N];
      nan where a case is not compared.
    ids: ids of the cases.
    report: the whole report.
  """
  what = f'{pair["second"]} - {pair["first"]}'
  rows = [['all classes', pair]]
  if len(pair['per_class']) > 1:
    rows += [*pair['per_class'].items()]
  table = html_page.table(
      f'{what}, wins and losses of {pair["second"]}',
      ['', 'difference', 'wins', 'ties', 'losses'],
      [[name, _number(x['difference'], x['interval_95'], sign='+'), x['wins'],
        x['ties'], x['losses']] for name, x in rows])
  gain = difference if report['higher_is_better'] else -difference
  known = np.flatnonzero(~np.isnan(gain))
  order = known[np.argsort(gain[known], kind='stable')]
  lists = [
      html_page.table(caption, ['', what], [
          [ids[n], f'{difference[n]:+.4g}'] for n in places])
      for caption, places in (
          ('Largest losses', [n for n in order[:_MAX_CASES] if gain[n] < 0]),
          ('Largest gains',
           [n for n in order[::-1][:_MAX_CASES] if gain[n] > 0])) if places]
  plot = html_plots.histogram(
      f'{report["metric"]} of each case', {'': difference}, x_label=what,
      y_label='cases')
  return [f'<h2>{html_page.escape(pair["first"])} and '
          f'{html_page.escape(pair["second"])}</h2>',
          html_page.side_by_side(table),
          html_plots.side_by_side(plot), html_page.side_by_side(*lists)]


def _number(value, interval, sign=''):
  """Returns a mean with its interval, as the text of one cell."""
  if value is None:
    return '-'
  text = f'{value:{sign}.4g}'
  if interval is None:
    return text
  return f'{text} ({interval[0]:.4g} to {interval[1]:.4g})'
