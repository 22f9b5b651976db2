r"""Plans which annotations to add next within a budget of annotation time.

python -m experiments.plan_budget --sweep=sweep.csv --budget=600 \
    --minutes=mask:10,box:0.5,scribble:1
python -m experiments.plan_budget --runs='runs/sweep/*' --budget=600 \
    --minutes=mask:10,box:0.5 --have=mask:50,box:400 --output=plan.json

A sweep is a set of finished runs that were trained on different mixes (numbers
of annotations of each kind) and tested on the same images, preferably with two
seeds or more per mix. Its table has one line per run, with the number of
training annotations of each kind:

  mask,box,scribble,seed,dice
  10,0,0,0,0.61
  10,100,0,0,0.70

The kinds are mask (always required), coarse_mask, polygon, box, scribble,
points, ellipse, tag, extreme_points and line; dice is in [0, 1]. With --runs,
the same numbers are read from folders of runs (or patterns of them): the seed
and the path of the records from config.json, and the test Dice from
metrics.json. A run with supervision.weak_scale 0 counts as trained on its masks
only.

The curve a - b * (1 + mask + sum_k r_k n_k) ** -c is fitted to the Dice of the
runs. Here n_k is the number of annotations of kind k, and its worth r_k in
[0, 1] is the number of masks that one of them replaces; intervals come from a
bootstrap of the residuals. Prints (and writes to OUTPUT) the worth of each
kind, and compares several ways to spend the budget: the mix that is predicted
to gain most, each kind alone, and more of the existing mix. For each of these
ways, it states the gain, and the share of the resamples in which this way is
the best. It also states whether the data can tell the ways apart. If the sweep
allows no answer (too few mixes, a kind that never varies, kinds always in the
same proportion, no effect, more than twice the minutes that were tried), it
says so and ranks nothing. In this curve, the contributions of the kinds add up.
The best mix therefore takes the kind with the highest worth per minute, up to
twice the number that was tried, then the next kind.

--minutes has no default: measure your own annotators. As a first orientation,
Bearman et al., "What's the Point", 2016 (https://arxiv.org/abs/1506.02106)
report, per image of PASCAL VOC: full masks 239.7 s, scribbles 34.9 s, points
22.1 s, image tags 20.0 s. Medical masks take longer.
"""

import os

from absl import flags
from data_prep.shared import early_help

_SWEEP = flags.DEFINE_string('sweep', None, 'CSV file, one line per run.')
_RUNS = flags.DEFINE_list(
    'runs', None, 'Folders of runs, or patterns of them, instead of --sweep.')
_MINUTES = flags.DEFINE_list(
    'minutes', None,
    'Minutes that one annotation takes, KIND:MINUTES for every kind.')
_BUDGET = flags.DEFINE_float('budget', None, 'Minutes to spend.')
_HAVE = flags.DEFINE_list(
    'have', None, 'Existing annotations, KIND:NUMBER; default is the mix of '
    'the sweep that took the most minutes.')
_OUTPUT = flags.DEFINE_string('output', None, 'JSON file to write.')

early_help.answer(__name__)  # Answer --help before the slow imports.

from absl import logging

from data_prep.shared import grammar
from data_prep.shared import system_errors
from experiments import binary
from experiments.saving import run_folder
from experiments.tables import budget
from experiments.tables import mixed_runs


def _read_sweep():
  if (_SWEEP.value is None) == (_RUNS.value is None):
    raise binary.UserError('Give either --sweep or --runs. See --help.')
  if _SWEEP.value is not None:
    return mixed_runs.make_sweep(mixed_runs.read_table(_SWEEP.value))
  return mixed_runs.make_sweep(
      mixed_runs.read_runs(mixed_runs.find_runs(_RUNS.value)))


def _read_minutes(kinds):
  """Returns the minutes that --minutes gives for each kind of the sweep."""
  minutes = mixed_runs.parse_kinds(
      _MINUTES.value, 'minutes', known=kinds, whole=False)
  for kind in kinds:
    if not minutes.get(kind):
      raise binary.UserError(
          f'--minutes: {kind} needs a number above 0, such as {kind}:1.5.')
  return minutes


def _mix(counts):
  return ', '.join(f'{n:g} {kind}' for kind, n in counts.items() if n) or 'none'


def _span(interval, form):
  return ' to '.join(format(x, form) for x in interval)


def print_report(report):
  """Prints the fitted curve, the mixes that were compared, and the verdict."""
  print(f'{grammar.counted(report["num_runs"], "run")} of '
        f'{grammar.counted(report["num_mixes"], "mix")}. There: '
        f'{_mix(report["have"])}. To spend: {report["budget"]:g} minutes.')
  if 'curve' in report:
    shape = report['curve']['shape']
    values = ', '.join(f'{x} = {shape[x]["value"]:.3g}' for x in 'abc')
    print(f'\ndice = a - b * (1 + effective masks) ** -c, {values}')
    for kind, worth in report['curve']['worths'].items():
      per_minute = worth['value'] / report['minutes'][kind]
      print(f'one {kind} is worth {worth["value"]:.3g} masks '
            f'({_span(worth["interval_95"], ".2g")}); a minute of it '
            f'{per_minute * report["minutes"]["mask"]:.3g} minutes of masks')
  if 'candidates' in report:
    print(f'\n{"gain (95 % interval)":30s}  {"best in":>7s}  minutes  to add')
    for row in report['candidates']:
      gain = (f'{row["gain"]:+.4f} '
              f'({_span(row["gain_interval_95"], "+.4f")})')
      print(f'{gain:30s}  {row["wins"]:7.0%}  {row["minutes"]:7g}  '
            f'{row["name"]}: {_mix(row["mix"])}')
  print()
  if report['verdict'] == 'cannot tell':
    print('THE DATA CANNOT TELL.')
  for line in report['reasons']:
    print(line)
  for line in report['warnings']:
    print(f'Note: {line}')


def main():
  logging.set_verbosity(logging.WARNING)
  sweep = _read_sweep()
  minutes = _read_minutes(sweep.kinds)
  if not 0 < _BUDGET.value < float('inf'):
    raise binary.UserError('--budget: expected minutes above 0.')
  have = None
  if _HAVE.value is not None:
    have = mixed_runs.parse_kinds(
        _HAVE.value, 'have', known=sweep.kinds, whole=True)
  report = budget.plan(
      sweep, minutes=minutes, budget=_BUDGET.value, have=have)
  if _OUTPUT.value:
    try:
      os.makedirs(os.path.dirname(_OUTPUT.value) or '.', exist_ok=True)
      run_folder.write_json(_OUTPUT.value, report)
    except OSError as e:
      raise binary.UserError(
          f'--output: {system_errors.in_words(e, _OUTPUT.value)}') from e
  print_report(report)


if __name__ == '__main__':
  flags.mark_flags_as_required(['minutes', 'budget'])
  binary.run(main)
