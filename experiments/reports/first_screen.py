"""Makes the first screen of a training report, which is printed, too."""

from collections.abc import Mapping, Sequence
from typing import Any

from data_prep.shared import grammar
from data_prep.shared import html_page
from data_prep.shared import html_plots

from experiments.evaluation import scoring
from experiments.reports import blocks
from experiments.reports import plots
from experiments.reports import sections

_SPLITS = {'test': 'Test', 'val': 'Validation'}
_CURVE, _LOSS = 'Validation Dice', 'Training loss'
_NUM_SUSPECTS = 3
_REVIEW = (
    'python -m experiments.audit --run=RUN',
    'python -m experiments.review --run=RUN')


def section(
    results: Mapping[str, Any],
    lines: Sequence[Mapping[str, Any]],
    cases: Sequence[sections.Item],
    suspects: Sequence[sections.Item],
    *,
    num_weak: int,
) -> blocks.Section:
  """Returns the section that says first what a run has found.

  Args:
    results: content of metrics.json.
    lines: lines of log.jsonl.
    cases: test cases that have a score, worst first.
    suspects: weak annotations, least trusted first; () if all are trusted
      alike.
    num_weak: number of all weak annotations.
  """
  body = [_headline(name, results[split])
          for split, name in _SPLITS.items() if split in results]
  body += [_part('Best, median and worst test case',
                 sections.gallery(_three(cases)))]
  curves = plots.curves(lines)
  if curves[_CURVE]:
    body.append(html_plots.side_by_side(
        html_plots.lines(f'{_CURVE} while training', curves[_CURVE],
                         x_label='step', y_range=(0, 1)),
        html_plots.lines(_LOSS, curves[_LOSS], x_label='step'), fill=True))
  if suspects:
    commands = ', then '.join(f'<code>{c}</code>' for c in _REVIEW)
    body.append(_part(
        f'Least trusted of {grammar.counted(num_weak, "weak annotation")}',
        f'<p>To rank all of them, and to correct them: {commands}</p>'
        + sections.gallery(suspects[:_NUM_SUSPECTS])))
  return blocks.Section('Summary', ''.join(body), is_printed=True)


def _headline(name, results):
  about = []
  if results.get('num_cases_counted') is not None:
    about = [grammar.counted(results['num_cases_counted'], 'case')]
    if results.get('num_subjects'):
      about.append(f'of {grammar.counted(results["num_subjects"], "subject")}')
  mean, interval = scoring.both_in_words(results, 'dice')
  if results.get('dice_interval_95') is not None:
    interval = f'95 % interval {interval}'
  facts = ', '.join(filter(None, [interval, ' '.join(about)]))
  return (f'<p class="headline"><strong>{name} Dice {mean}</strong> '
          f'{html_page.escape(facts)}</p>')


def _three(cases):
  """Returns the best, the median and the worst of cases in ascending order."""
  if not cases:
    return []
  places = {'Best': len(cases) - 1, 'Median': (len(cases) - 1) // 2, 'Worst': 0}
  chosen = {}
  for word, place in places.items():
    chosen.setdefault(place, cases[place]._replace(
        id=f'{word}: {cases[place].id}'))
  return list(chosen.values())


def _part(title, body):
  return f'<h3>{html_page.escape(title)}</h3>{body}' if body else ''
