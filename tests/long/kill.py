r"""Tests that a run which is killed at random moments resumes exactly.

python -m tests.long.kill --num_stops=300 --signal=KILL
python -m tests.long.kill --num_stops=50 --signal=TERM
python -m tests.long.kill --num_stops=20 --signal=KILL --target=volumes

Each run is killed (KILL) or stopped (TERM) again and again at random moments,
also during saves, until it is finished. Its metrics, log and tables must then
equal, byte for byte, those of a run that was never stopped. Prints a table. The
exit code is 1 if a file differs, if a process ended with a wrong exit code, if
TERM lost a step or took more than 10 s, or if KILL lost more steps than lie
between three checkpoints.
"""

# isort: off
import sys
from experiments import launcher
if __name__ == '__main__':
  launcher.pin_numerics(sys.argv)
# isort: on

import os
import random
import shutil
import signal
import tempfile
import time

from absl import flags
import jax

from experiments import binary
from experiments.saving import checkpoints
from tests.long import tiny_runs

_NUM_STOPS = flags.DEFINE_integer(
    'num_stops', 300, 'Signals to send.', lower_bound=1)
_SIGNAL = flags.DEFINE_enum('signal', 'KILL', ('KILL', 'TERM'), 'Which one.')
_SEED = flags.DEFINE_integer('seed', 0, 'Of the random moments.')
_FOLDER = flags.DEFINE_string(
    'folder', None, 'Where to work; default is a temporary folder.')


def main():
  folder = _FOLDER.value or tempfile.mkdtemp(prefix='kill_')
  os.makedirs(folder, exist_ok=True)
  jax.config.update('jax_compilation_cache_dir', os.path.join(folder, 'cache'))
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0)
  config = tiny_runs.config(tiny_runs.prepare(folder))
  tiny_runs.preload()
  log_path = os.path.join(folder, 'sessions.log')

  reference = os.path.join(folder, 'reference')
  shutil.rmtree(reference, ignore_errors=True)
  # The first run also fills the compilation cache.
  tiny_runs.Session(config, reference, log_path).wait()
  shutil.rmtree(reference)
  start = time.time()
  if tiny_runs.Session(config, reference, log_path).wait():
    raise binary.UserError(f'The run left alone failed: see {log_path}.')
  length_s = time.time() - start
  wanted = tiny_runs.result(reference)
  print(f'a run left alone takes {length_s:.1f} s', flush=True)

  rng = random.Random(_SEED.value)
  counts = dict(stops=0, at_start=0, finished=0, different=0, failed=0)
  lost, exit_s, run_number = [], [], 0
  while counts['stops'] < _NUM_STOPS.value:
    workdir = os.path.join(folder, f'run{run_number}')
    shutil.rmtree(workdir, ignore_errors=True)
    run_number += 1
    while True:
      session = tiny_runs.Session(config, workdir, log_path)
      code = session.wait(rng.uniform(0, 1.1 * length_s))
      if code is None and counts['stops'] < _NUM_STOPS.value:
        counts['stops'] += 1
        start, reached = time.time(), session.step.value
        session.signal(getattr(signal, f'SIG{_SIGNAL.value}'))
        code = session.wait(60)
        exit_s.append(time.time() - start)
        counts['at_start'] += reached < 0
        finished = _is_finished(workdir)
        if not _ended_as_promised(code):
          counts['failed'] += 1
          print(f'run {run_number - 1}: exit code {code}', flush=True)
        steps = checkpoints.Checkpoints(workdir).steps()
        lost.append(max(session.step.value, 0) - max(steps, default=0))
        if counts['stops'] % 25 == 0:
          print(f'{counts}, most steps lost {max(lost)}', flush=True)
        if not finished:
          continue
      elif code is None:
        code = session.wait()
      if code not in (0, -signal.SIGKILL):
        counts['failed'] += 1
        print(f'run {run_number - 1} failed: see {log_path}', flush=True)
        break
      if _is_finished(workdir):
        counts['finished'] += 1
        if tiny_runs.result(workdir) != wanted:
          counts['different'] += 1
          print(f'{workdir} ended differently', flush=True)
        else:
          shutil.rmtree(workdir)
        break

  print(f'\n| signal | {" | ".join(counts)} | steps lost, most | '
        'mean | slowest exit, s |')
  print('|' + '---|' * (len(counts) + 4))
  print(f'| {_SIGNAL.value} | {" | ".join(map(str, counts.values()))} | '
        f'{max(lost)} | {sum(lost) / len(lost):.1f} | {max(exit_s):.1f} |')
  most = 2 * config.checkpoint_every_steps * (_SIGNAL.value == 'KILL')
  late = _SIGNAL.value == 'TERM' and max(exit_s) > 10
  if counts['failed'] or counts['different'] or max(lost) > most or late:
    sys.exit(1)


def _is_finished(workdir):
  return os.path.exists(os.path.join(workdir, 'metrics.json'))


def _ended_as_promised(code):
  # Exit code 0 is right even after SIGKILL, because a run may finish before the
  # signal arrives.
  return code in ((0,) if _SIGNAL.value == 'TERM' else (0, -signal.SIGKILL))


if __name__ == '__main__':
  binary.run(main)
