r"""Tests evaluation, audit and prediction in several processes.

python -m tests.long.process_jobs --num_kills=6

It prepares the phantom with 16 pixels, trains a run for a moment, and does each
job with one process, and with 2 and 4 processes: all files must have the same
bytes. Then it kills a random process of each job at a random moment: the others
must end with exit code 3 and one line, no file may be left half-written, and
the same command, done again, must leave the files of one process.

With --train, the run is also trained with 4 processes, and one of these is
killed. Prints one line per trial; the exit code is 1 if a trial failed.
"""

import hashlib
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

from absl import flags
import numpy as np
from PIL import Image

from experiments import binary
from experiments.training import trainer  # noqa: F401  Slow: before forks.
from tests import forked

_NUM_KILLS = flags.DEFINE_integer('num_kills', 6, 'Kills of each job.')
_NUM_PROCESSES = flags.DEFINE_list(
    'num_processes_of', ['2', '4'], 'Numbers of processes to compare with one.')
_SEED = flags.DEFINE_integer('seed', 0, 'Of the random moments.')
_LATEST_S = flags.DEFINE_float(
    'latest_s', 3.0, 'Latest moment of a kill after all have met.')
_TRAIN = flags.DEFINE_bool('train', False, 'Also train with 4 processes.')

_ROOT = pathlib.Path(__file__).parents[2]
_CONFIG = 'experiments/configs/phantom.py:debug'
# A job's module, its arguments, and the files that it writes.
_JOBS = {
    'evaluate': (['--workdir=run', '--split=test'],
                 ['run/evaluation_test.*', 'run/report_test.html']),
    'audit': (['--run=run'], ['run/audit/**/*']),
    'predict': (['--run=run', '--input=pictures', '--output=out',
                 '--probabilities', '--uncertainty', '--overlays'],
                ['out/**/*']),
}


class _Ended(NamedTuple):
  """How a process has ended."""

  code: int
  errors: str


class _Process:
  """A binary in a process of its own, forked after the slow imports."""

  def __init__(self, folder, name, args):
    self._log = folder / f'{name}_{time.monotonic_ns()}.log'
    self.pid = os.fork()
    if not self.pid:
      os.chdir(folder)
      log = os.open(self._log, os.O_WRONLY | os.O_CREAT)
      forked.end_as_main(f'experiments.{name}', *args, outputs=(log, log))

  def end(self):
    """Waits for the end."""
    _, status = os.waitpid(self.pid, 0)
    errors = self._log.read_text(encoding='utf-8')
    self._log.unlink()
    return _Ended(os.waitstatus_to_exitcode(status), errors)


def _free_port():
  with socket.socket() as s:
    s.bind(('127.0.0.1', 0))
    return s.getsockname()[1]


def _num_connected(port):
  """Returns how many connections to a port of this machine there are."""
  lines = [line for name in ('tcp', 'tcp6')
           for line in pathlib.Path('/proc/net', name).read_text().splitlines()]
  return sum(line.split()[1].endswith(f':{port:04X}')
             and line.split()[3] == '01' for line in lines)


def _start(folder, name, number, more=()):
  """Starts the processes of a job; returns them and their port."""
  port = _free_port()
  args = [*_JOBS.get(name, ((),))[0], *more]
  placed = lambda index: [] if number == 1 else [
      f'--coordinator=127.0.0.1:{port}', f'--num_processes={number}',
      f'--process_id={index}']
  return [_Process(folder, name, [*args, *placed(index)])
          for index in range(number)], port


def _digests(folder, name):
  return {
      str(path.relative_to(folder)): hashlib.sha256(
          path.read_bytes()).hexdigest()
      for pattern in _JOBS[name][1] for path in sorted(folder.glob(pattern))
      if path.is_file() and path.name != 'lock'}


def _clean(folder):
  """Puts the run back as it was after its training."""
  for path in ('run', 'out'):
    shutil.rmtree(folder / path, ignore_errors=True)
  shutil.copytree(folder / 'trained', folder / 'run')


def _equal(folder, name, number, wanted):
  """Returns what differs from one process, or ''."""
  _clean(folder)
  ended = [p.end() for p in _start(folder, name, number)[0]]
  if any(e.code for e in ended):
    return f'{[e.code for e in ended]}: {ended[0].errors[-500:]}'
  found = _digests(folder, name)
  return ' '.join(sorted(
      path for path in {*wanted, *found}
      if wanted.get(path) != found.get(path)))


def _killed(folder, name, number, wanted, rng):
  """Kills one process, and does the job again; returns what is wrong, or ''."""
  _clean(folder)
  processes, port = _start(folder, name, number)
  while _num_connected(port) < number - 1:
    time.sleep(0.01)
  victim, moment = rng.randrange(number), rng.uniform(0, _LATEST_S.value)
  time.sleep(moment)
  os.kill(processes[victim].pid, signal.SIGKILL)
  start = time.monotonic()
  ended = [p.end() for p in processes]
  took = time.monotonic() - start
  left = _digests(folder, name)
  text = f'killed {victim} after {moment:.1f} s, ended after {took:.1f} s'
  others = [x for index, x in enumerate(ended) if index != victim]
  if ended[victim].code != -signal.SIGKILL or not any(e.code for e in others):
    print(f'  {text}: too late, the others were done', flush=True)
  else:
    for code, errors in others:
      lines = [x for x in errors.splitlines() if x.startswith('Error: ')]
      if code != 3 or len(lines) != 1 or 'Traceback' in errors:
        return f'{text}: exit code {code}: {errors[-500:]}'
    print(f'  {text}: {lines[0]}', flush=True)
    if name != 'predict' and left:
      return f'{text}: {" ".join(left)} were written'
  half = [path for path in left if path.rsplit('/', 1)[-1].startswith('.')]
  if victim and half:
    return f'{text}: half-written {" ".join(half)}'
  again = [p.end().code for p in _start(folder, name, number)[0]]
  if any(again):
    return f'{text}: again exit codes {again}'
  found = {path: digest for path, digest in _digests(folder, name).items()
           if not path.endswith('.npy')}
  wanted = {p: d for p, d in wanted.items() if not p.endswith('.npy')}
  if found != wanted:
    return f'{text}: other files than one process after the second time'
  return ''


def _trained(folder, number, workdir, *, kill=False, rng=None):
  """Trains; returns metrics.json, or how the others ended after a kill."""
  args = [f'--config={_ROOT}/{_CONFIG}',
          f'--config.input.data_dir={folder}/data',
          f'--workdir={folder}/{workdir}', '--config.train_steps=40',
          '--config.checkpoint_every_steps=5']
  processes, _ = _start(folder, 'train', number, args)
  if kill:
    while not list((folder / workdir).glob('checkpoints/[0-9]*')):
      time.sleep(0.1)
    os.kill(processes[rng.randrange(1, number)].pid, signal.SIGKILL)
  return [(e.code, e.errors.splitlines()[-1:]) for e in (
      p.end() for p in processes)]


def _prepare(folder):
  subprocess.run(
      [sys.executable, '-m', 'data_prep.prepare', '--dataset=phantom',
       '--image_size=16', f'--output={folder}/data'],
      cwd=_ROOT, check=True, stdout=subprocess.DEVNULL)
  ended = _start(folder, 'train', 1, [
      f'--config={_ROOT}/{_CONFIG}', f'--config.input.data_dir={folder}/data',
      f'--workdir={folder}/trained'])[0][0].end()
  if ended.code:
    raise binary.UserError(ended.errors[-500:])
  rng = np.random.default_rng(0)
  (folder / 'pictures').mkdir()
  for i in range(150):
    values = rng.integers(256, size=(12, 12, 3), dtype=np.uint8)
    Image.fromarray(values).resize((40 + i % 9, 48)).save(
        folder / f'pictures/{i:03d}.png')


def main():
  rng, failed = random.Random(_SEED.value), 0

  def tell(what, problem):
    nonlocal failed
    failed += bool(problem)
    print(f'{what}: {problem or "as one process"}', flush=True)

  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    _prepare(folder)
    for job in _JOBS:
      _clean(folder)
      _start(folder, job, 1)[0][0].end()
      wanted = _digests(folder, job)
      assert wanted, job
      for number in map(int, _NUM_PROCESSES.value):
        tell(f'{job}, {number} processes, {len(wanted)} files',
             _equal(folder, job, number, wanted))
      for kill in range(_NUM_KILLS.value):
        number = (2, 4)[kill % 2]
        tell(f'{job}, {number} processes, kill {kill}',
             _killed(folder, job, number, wanted, rng))
    if _TRAIN.value:
      print('one process:', _trained(folder, 1, 'one'))
      print('4, one killed:', _trained(folder, 4, 'four', kill=True, rng=rng))
      print('4 again:', _trained(folder, 4, 'four'))
      tables = [(folder / run / 'cases_test.csv').read_bytes()
                for run in ('one', 'four')]
      tell('train', '' if tables[0] == tables[1] else 'other cases_test.csv')
  sys.exit(failed > 0)


if __name__ == '__main__':
  binary.run(main)
