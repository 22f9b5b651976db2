r"""Tests that stops and the number of workers do not change a run's results.

python -m tests.long.resume

Trains a tiny run without a stop, then again: without a change, with stops after
every step, and with other numbers of workers. The metrics, the log and the
tables must be equal byte for byte. Prints a table. The exit code is 1 if any
byte differs.
"""

# isort: off
import sys
from experiments import launcher
if __name__ == '__main__':
  launcher.pin_numerics(sys.argv)
# isort: on

import contextlib
import io
import os
import shutil
import tempfile

from absl import flags
from absl import logging
import jax

from experiments import binary
from experiments.training import trainer
from tests.long import tiny_runs

_NUM_STEPS = flags.DEFINE_integer('num_steps', 50, 'Of the run.', lower_bound=2)
_NUM_REPEATS = flags.DEFINE_integer('num_repeats', 20, 'Of the same run.')
_NUM_WORKERS = flags.DEFINE_list(
    'num_workers', ['1', '2', '4'], 'Numbers of threads that read the data.')


def _train(config, workdir, stop_at=None):
  # Otherwise, the compiled programs of all runs would accumulate in memory. A
  # run in a new process would also start without compiled programs.
  jax.clear_caches()
  with contextlib.redirect_stdout(io.StringIO()):
    trainer.train_and_evaluate(
        config, workdir, should_stop=lambda step: step == stop_at)


def main():
  logging.set_verbosity(logging.ERROR)
  folder = tempfile.mkdtemp(prefix='resume_')
  jax.config.update('jax_compilation_cache_dir', os.path.join(folder, 'cache'))
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0)
  config = tiny_runs.config(
      tiny_runs.prepare(folder), train_steps=_NUM_STEPS.value,
      log_every_steps=7, eval_every_steps=10, checkpoint_every_steps=9)
  reference = os.path.join(folder, 'reference')
  _train(config, reference)
  wanted = tiny_runs.result(reference)
  table = {}

  def check(name, workdir):
    tried, different = table.get(name, (0, 0))
    same = tiny_runs.result(workdir) == wanted
    table[name] = tried + 1, different + (not same)
    if not same:
      print(f'{workdir} ended differently ({name})', flush=True)
    else:
      shutil.rmtree(workdir)

  for step in range(_NUM_STEPS.value):
    workdir = os.path.join(folder, f'stopped{step}')
    try:
      _train(config, workdir, stop_at=step)
    except binary.Stopped:
      pass
    _train(config, workdir)
    check('stopped after a step, then resumed', workdir)
    if step % 10 == 9:
      print(f'stopped at {step + 1} of {_NUM_STEPS.value} steps', flush=True)
  for i in range(_NUM_REPEATS.value):
    workdir = os.path.join(folder, f'repeat{i}')
    _train(config, workdir)
    check('repeated', workdir)
  for number in _NUM_WORKERS.value:
    changed = config.copy_and_resolve_references()
    changed.input.num_workers = int(number)
    workdir = os.path.join(folder, f'workers{number}')
    _train(changed, workdir)
    check(f'{number} data workers', workdir)
  print('\n| run | tried | different |\n|---|---|---|')
  for name, (tried, different) in table.items():
    print(f'| {name} | {tried} | {different} |')
  if any(different for _, different in table.values()):
    sys.exit(1)
  shutil.rmtree(folder)


if __name__ == '__main__':
  binary.run(main)
