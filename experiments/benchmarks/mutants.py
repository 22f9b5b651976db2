"""Measures how many faults the tests detect, by planting them one by one.

pip install cosmic-ray
python -m experiments.benchmarks.mutants --workdir=runs/mutants

In a clone of the last commit, cosmic-ray changes one operator, comparison,
condition, number or loop of a module at a time. The module's tests then run
until one fails. At each place of the code, one change is drawn at random from
those that a person could have written (no bit shift for an addition, no `is`
for `==`) and that can affect the program (none in type annotations). If the
program is stopped, the same command continues where it stopped. To share the
work, start it several times with different --modules and --workdir.
"""

import ast
import csv
import logging as python_logging
import os
import pathlib
import random
import subprocess
import sys
import time

from absl import flags
from absl import logging
from cosmic_ray import commands
from cosmic_ray import mutating
from cosmic_ray import plugins
from cosmic_ray import testing
from cosmic_ray import work_db
from cosmic_ray import work_item

from experiments import binary

# Maps each module to its tests. The tests that detect most faults quickly come
# first.
TESTS = {
    'hybridseg/losses.py': ('losses', 'loss_contract'),
    'hybridseg/masking.py': ('losses', 'loss_contract', 'co_regularization'),
    'hybridseg/weighting.py': ('weighting', 'weight_contract'),
    'hybridseg/weight_rules.py': ('weight_rules', 'train_step', 'parallel'),
    'hybridseg/indicators.py': ('indicators',),
    'hybridseg/co_regularization.py': ('co_regularization',),
    'hybridseg/metrics.py': ('metrics',),
    'data_prep/splits/splits.py': ('splits', 'splits_file'),
    'data_prep/splits/strong_choice.py': ('splits', 'own_set'),
}
_MODULES = flags.DEFINE_list('modules', list(TESTS), 'Modules to try.')
_SEED = flags.DEFINE_integer('seed', 0, 'Of the changes.')
_WORKDIR = flags.DEFINE_string('workdir', None, 'Clone, sessions, results.')

_MOST_SECONDS = 3600  # The time limit for the tests of an unchanged module.

# Maps each operator to those that a person might write by mistake in its place.
# Any other mistake would be noticed at once.
_PLAUSIBLE = {
    'Add': ('Sub', 'Mul'), 'Sub': ('Add', 'Mul'), 'Mul': ('Div', 'Add'),
    'Div': ('Mul', 'FloorDiv'), 'FloorDiv': ('Div', 'Mul'),
    'Mod': ('FloorDiv', 'Mul'), 'Pow': ('Mul', 'Div'),
    'BitAnd': ('BitOr', 'BitXor'), 'BitOr': ('BitAnd', 'BitXor'),
    'BitXor': ('BitOr', 'BitAnd'),
}


def is_plausible(operator: str) -> bool:
  """Returns whether a person could have made a change by mistake.

  Args:
    operator: cosmic-ray's name of the change.
  """
  kind, *change = operator.removeprefix('core/').split('_')
  if kind == 'ReplaceBinaryOperator':
    return change[1] in _PLAUSIBLE.get(change[0], ())
  if kind == 'ReplaceComparisonOperator':
    return change[0].startswith('Is') == change[1].startswith('Is')
  return True


def meaning(source: str) -> str | None:
  """Returns a string that is equal for programs that behave in the same way.

  The string is the syntax tree without type annotations; it is None if `source`
  is not valid Python.
  """
  try:
    tree = ast.parse(source)
  except SyntaxError:
    return None
  for node in ast.walk(tree):
    for field in ('annotation', 'returns'):
      if getattr(node, field, None) is not None:
        setattr(node, field, ast.Constant(None))
  return ast.dump(tree)


def chosen(
    items: list[work_item.WorkItem], source: str, *, seed: int
) -> list[work_item.WorkItem]:
  """Draws one change for each place in a module.

  Args:
    items: all changes that cosmic-ray can make in the module.
    source: code of the module.
    seed: seed of the choice.
  """
  places, not_shown = {}, (None, meaning(source))
  for item in items:
    spec = item.mutations[0]
    if not is_plausible(spec.operator_name):
      continue
    operator = plugins.get_operator(spec.operator_name)()
    mutant = mutating.mutate_code(source, operator, spec.occurrence)
    if meaning(mutant) not in not_shown:
      places.setdefault((spec.start_pos, spec.end_pos), []).append(item)
  rng = random.Random(seed)
  return [rng.choice(places[place]) for place in sorted(places)]


def start_session(db: work_db.WorkDB, module: str) -> None:
  """Adds all changes of a module to a database, and marks most as skipped.

  Only the changes that `chosen` has drawn will be tried.
  """
  commands.init([pathlib.Path(module)], db, {})
  with open(module) as f:
    source = f.read()
  # cosmic-ray gives the changes random ids. Sort them, so that the draw depends
  # only on the seed.
  items = sorted(db.work_items, key=lambda item: (
      item.mutations[0].operator_name, item.mutations[0].occurrence))
  keep = {item.job_id for item in chosen(items, source, seed=_SEED.value)}
  skipped = work_item.WorkResult(
      worker_outcome=work_item.WorkerOutcome.SKIPPED)
  db.set_multiple_results(
      [item.job_id for item in items if item.job_id not in keep], skipped)


def changed_lines(diff: str) -> tuple[str, str]:
  lines = diff.splitlines()
  old, new = (
      ' '.join(' '.join(x[1:].split()) for x in lines
               if x.startswith(sign) and not x.startswith(sign * 3))
      for sign in '-+')
  return old, new


def outcomes(module: str, db: work_db.WorkDB) -> list[dict[str, str]]:
  """Returns the rows of mutants.csv, one for each change that was tried."""
  specs = {item.job_id: item.mutations[0] for item in db.work_items}
  rows = []
  for job, result in db.results:
    if result.worker_outcome == work_item.WorkerOutcome.SKIPPED:
      continue
    old, new = changed_lines(result.diff or '')
    rows.append({
        'module': module, 'line': str(specs[job].start_pos[0]),
        'change': specs[job].operator_name.removeprefix('core/'),
        'outcome': str(result.test_outcome.value), 'old': old, 'new': new})
  return sorted(rows, key=lambda row: int(row['line']))


def try_module(module: str, workdir: str) -> list[dict[str, str]]:
  """Plants the changes of a module one by one, and runs its tests on each.

  Returns:
    A row for each change, see `outcomes`.
  """
  tests = ' '.join(
      f'tests/{name}_test.py' for name in ('signatures', *TESTS[module]))
  command = f'{sys.executable} -m pytest -x -p no:cacheprovider {tests}'
  session = os.path.join(workdir, module.replace('/', '_') + '.sqlite')
  # The file is renamed once it is complete, so that it never exists in part.
  if not os.path.exists(session):
    with work_db.use_db(session + '.new') as db:
      start_session(db, module)
    os.rename(session + '.new', session)
  with work_db.use_db(session) as db:
    pending = list(db.pending_work_items)
    start = time.time()
    if pending:
      outcome, _ = testing.run_tests(command, _MOST_SECONDS)
      if outcome != work_item.TestOutcome.SURVIVED:
        raise binary.UserError(
            f'{module}: its tests fail as it is; run `{command}` in '
            f'{os.getcwd()}.')
    # A change may turn a loop into an endless one.
    timeout = 30 + 5 * (time.time() - start)
    start = time.time()
    for i, item in enumerate(pending):
      result = mutating.mutate_and_test(item.mutations, command, timeout)
      db.set_result(item.job_id, result)
      left = (time.time() - start) / (i + 1) * (len(pending) - i - 1) / 60
      spec = item.mutations[0]
      logging.info(
          '%s:%d %s %s; %d of %d, %.0f minutes left', module,
          spec.start_pos[0], spec.operator_name, result.test_outcome.value,
          i + 1, len(pending), left)
    return outcomes(module, db)


def table(rows: list[dict[str, str]]) -> str:
  """Returns a Markdown table with the share of detected changes per module."""
  lines = ['| module | places | caught | share |', '|---|---|---|---|']
  modules = list(dict.fromkeys(row['module'] for row in rows))
  for module in [*modules, 'all']:
    caught = [row['outcome'] != 'survived' for row in rows
              if module in ('all', row['module'])]
    lines.append(f'| {module} | {len(caught)} | {sum(caught)} | '
                 f'{sum(caught) / max(len(caught), 1):.3f} |')
  return '\n'.join(lines)


def main():
  unknown = sorted(set(_MODULES.value) - set(TESTS))
  if unknown:
    raise binary.UserError(
        f'--modules: unknown {unknown}; known: {", ".join(TESTS)}.')
  workdir = os.path.abspath(_WORKDIR.value)
  tree = os.path.join(workdir, 'tree')
  if not os.path.exists(tree):
    subprocess.run(['git', 'clone', '--quiet', os.getcwd(), tree], check=True)
  os.chdir(tree)
  # Undo the change that a killed session may have left in the code.
  subprocess.run(['git', 'checkout', '--quiet', '--', '.'], check=True)
  python_logging.getLogger('cosmic_ray').setLevel(python_logging.WARNING)
  os.environ.update(
      PYTHONPATH=tree,
      JAX_COMPILATION_CACHE_DIR=os.path.join(workdir, 'compiled'),
      JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS='0')
  rows = []
  for module in _MODULES.value:
    rows += try_module(module, workdir)
    with open(os.path.join(workdir, 'mutants.csv'), 'w', newline='') as f:
      writer = csv.DictWriter(f, list(rows[0]))
      writer.writeheader()
      writer.writerows(rows)
  print(table(rows))
  for row in rows:
    if row['outcome'] == 'survived':
      print(f"{row['module']}:{row['line']}\n- {row['old']}\n+ {row['new']}")


if __name__ == '__main__':
  flags.mark_flag_as_required('workdir')
  binary.run(main)
