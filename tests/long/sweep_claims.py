r"""Tests that processes which share a sweep finish each cell exactly once.

python -m tests.long.sweep_claims --num_processes=8 --num_cells=500

The processes run `experiments.sweep.run_cells` on one folder, with the real
claims. Half of them pretend to be on one machine, and each other one on a
machine of its own, which does not see whether the others have ended. All clocks
differ by hours. In place of a training, a cell writes a few lines to a log that
all processes append to. Meanwhile, random processes are killed and started
again, or suspended, many of them for longer than the lease, which is short
here.

Prints a table. The exit code is 1 unless each cell was finished exactly once,
no process has worked on a cell after another one had begun, no file of the
tables was torn, and the processes ended with exit code 0.
"""

import collections
import contextlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from unittest import mock

from absl import flags
import jax

from experiments import binary
from experiments.configs.tables import phantom
from experiments.saving import run_folder
from experiments.tables import claim_holders
from experiments.tables import claims
from experiments.tables import grid
from experiments.tables import sweep_files
from experiments.tables import sweep_sets
from experiments.training import trainer
from tests import binaries

_NUM_PROCESSES = flags.DEFINE_integer(
    'num_processes', 8, 'Processes.', lower_bound=2)
_NUM_CELLS = flags.DEFINE_integer('num_cells', 500, 'Cells.', lower_bound=2)
_SEED = flags.DEFINE_integer('seed', 0, 'Of the random moments.')
_FOLDER = flags.DEFINE_list(
    'folder', None, 'Where to work; default is the temporary folder. If there '
    'are several, each process uses one: they are mounts of one folder.')
_LEASE_S = flags.DEFINE_float('lease_s', 2.0, 'The lease.')

_SWEEP = binaries.load('experiments.sweep')
_STEPS = 5


class _Fake:
  """Trains no cell, but writes to the log of all processes what it does."""

  def __init__(self, workdir, folders, log, name, rng):
    self._workdir, self._name, self._rng = workdir, name, rng
    self._folders = folders
    self._log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    self._num = 0

  def tell(self, what, folder=''):
    cell = os.path.relpath(folder, self._workdir) if folder else ''
    line = f'{what} {cell} {self._name}.{self._num} {time.monotonic_ns()}\n'
    os.write(self._log, line.encode())

  def train(self, unused_config, folder, *, should_stop=None, check=None):
    del should_stop
    self._num += 1
    os.makedirs(folder, exist_ok=True)
    pause = self._rng.uniform(0.02, 0.05) / _STEPS
    for _ in range(_STEPS):
      check()
      self.tell('work', folder)
      time.sleep(pause)
    check()
    self._finish(folder)

  def _finish(self, folder):
    """Writes metrics.json, the mark of a finished cell, at most once."""
    results = os.path.join(folder, 'metrics.json')
    own = f'{results}.{self._name}.{self._num}'
    run_folder.write_json(own, {
        'step': 4, 'test': {'dice': 0.5, 'iou': 0.5}, 'indicators': {}})
    try:
      os.link(own, results)
      self.tell('finish', folder)
    except FileExistsError:
      self.tell('twice', folder)
    os.remove(own)

  def prepare(self, workdir, setting, unused_source):
    """Prepares the set as `sweep_sets.prepare` does, but a tiny one."""
    with mock.patch.object(sweep_sets, '_write', self._write_set):
      _prepare(workdir, setting, '')

  def _write_set(self, output, unused_setting, unused_source):
    for number in range(4):
      self.tell('set', '')
      (output / f'{number}').write_text(f'{number}', encoding='utf-8')
      time.sleep(0.05)
    run_folder.write_json(str(output / 'test_split.json'), {'num_images': 4})

  def write_table(self):
    """Rewrites a table as the sweep does, in which it has no statistics."""
    _SWEEP.write_in_turn(self._workdir, self._write_table)

  def _write_table(self):
    with sweep_files.folder_for_tables(self._workdir) as own:
      with open(f'{own}/table.csv', 'w', encoding='utf-8') as file:
        for folder in self._folders:
          if os.path.exists(f'{folder}/metrics.json'):
            file.write(f'{os.path.relpath(folder, self._workdir)}\n')
        file.write('end\n')


_prepare = sweep_sets.prepare


def _run(cells, workdir, log, name, machine, skew_s, seed):
  """Runs the sweep in this process, which has just been forked."""
  claims.LEASE_S, claims.BEAT_S = _LEASE_S.value, _LEASE_S.value / 6
  claim_holders.machine = lambda: machine
  claim_holders.platform.node = lambda: f'machine{machine}'
  now, awake, since_boot = time.time, time.monotonic, time.clock_gettime
  time.time = lambda: now() + skew_s
  claims.Claimant.__init__.__kwdefaults__.update(
      clock=lambda: since_boot(time.CLOCK_BOOTTIME) + 2 * skew_s,
      awake=lambda: awake() + 3 * skew_s)
  fake = _Fake(workdir, [cell.folder for cell in cells], log, name,
               random.Random(seed))
  fake.tell('start')
  trainer.train_and_evaluate = fake.train
  sweep_sets.prepare = fake.prepare
  jax.clear_caches = lambda: None  # Nothing was compiled.
  failures = _SWEEP.run_cells(cells, workdir, on_end=fake.write_table)
  fake.tell('end')
  return 4 if failures else 0


class _Processes:
  """Processes that share the sweep, each of which can be killed or suspended.

  Attributes:
    codes: exit codes of the processes that were not killed.
    counts: how often something was done to them.
    num_left: how many have not ended.
  """

  def __init__(self, cells_by_folder, rng):
    self._cells, self._rng, self._started = cells_by_folder, rng, 0
    self._own = [*cells_by_folder][0]
    self.codes, self.counts = [], collections.Counter()
    self._pids, self._asleep = {}, {}
    for slot in range(_NUM_PROCESSES.value):
      self._start(slot)

  def _start(self, slot):
    self._started += 1
    seed = self._rng.getrandbits(32)
    folder = [*self._cells][slot % len(self._cells)]
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
      code = 3
      try:
        out = os.open(f'{self._own}/out{slot}', os.O_WRONLY | os.O_APPEND |
                      os.O_CREAT, 0o644)
        os.dup2(out, 1)
        os.dup2(out, 2)
        # Processes of one machine see the same files.
        machine = slot if slot < _NUM_PROCESSES.value / 2 else (
            f'shared{slot % len(self._cells)}')
        code = _run(
            self._cells[folder], folder, f'{self._own}/log',
            f'p{slot}-{self._started}', str(machine), 3600 * (slot - 3), seed)
        sys.stdout.flush()
      except BaseException:
        sys.excepthook(*sys.exc_info())
      finally:
        os._exit(code)
    self._pids[slot] = pid

  def disturb(self):
    """Kills or suspends one of the processes, or does nothing to them."""
    now = time.monotonic()
    for slot, until in [*self._asleep.items()]:
      if now >= until:
        del self._asleep[slot]
        os.kill(self._pids[slot], signal.SIGCONT)
    for slot, pid in [*self._pids.items()]:
      ended, status = os.waitpid(pid, os.WNOHANG)
      if ended:
        self.codes.append(os.waitstatus_to_exitcode(status))
        del self._pids[slot]
    slot = self._rng.randrange(_NUM_PROCESSES.value)
    if self._rng.random() < 0.7:
      slot = self._working()
    if slot in self._asleep or slot not in self._pids:
      return
    if self._rng.random() < 0.5:
      self.counts['kills'] += 1
      os.kill(self._pids[slot], signal.SIGKILL)
      os.waitpid(self._pids[slot], 0)
      self._start(slot)
    else:
      long = self._rng.random() < 0.8
      self.counts['suspended beyond the lease' if long else
                  'suspended briefly'] += 1
      os.kill(self._pids[slot], signal.SIGSTOP)
      self._asleep[slot] = now + _LEASE_S.value * (
          self._rng.uniform(2, 4) if long else 0.2)

  def _working(self):
    """Returns the process that works on a cell now, by the end of the log."""
    while True:
      with open(f'{self._own}/log', 'rb') as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - 300))
        what, _, who, _ = file.read().decode().splitlines()[-1].split(' ')
      if what == 'work' or not self._rng.randrange(10**4):
        return int(who.split('-')[0][1:])

  @property
  def num_left(self):
    return len(self._pids)

  def wait(self):
    """Continues all processes, and waits for their ends."""
    for slot in self._asleep:
      os.kill(self._pids[slot], signal.SIGCONT)
    for slot, pid in [*self._pids.items()]:
      self.codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
      del self._pids[slot]

  def end(self):
    """Kills the processes that are left."""
    for pid in self._pids.values():
      with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _problems(cells, workdir):
  """Reads the log; returns what is wrong, and counts of what was seen."""
  with open(os.path.join(workdir, 'log'), encoding='utf-8') as file:
    lines = [line.rstrip('\n').split(' ') for line in file]
  finished, workers, problems = collections.Counter(), {}, []
  for what, cell, who, _ in lines:
    if what == 'finish':
      finished[cell] += 1
    if what == 'twice':
      problems.append(f'{cell}: {who} tried to finish it once more')
    if what == 'work':
      before = workers.setdefault(cell, [])
      if who not in before:
        before.append(who)
      elif before[-1] != who:
        problems.append(f'{cell}: {who} worked after {before[-1]} had begun')
      if finished[cell]:
        problems.append(f'{cell}: {who} worked on it though it was finished')
  for cell in cells:
    name = os.path.relpath(cell.folder, workdir)
    is_done = os.path.exists(os.path.join(cell.folder, 'metrics.json'))
    # A process may be killed after it has made the file and before it says so.
    if finished[name] > 1 or not is_done:
      problems.append(f'{name} was finished {finished[name]} times')
  with open(os.path.join(workdir, 'table.csv'), encoding='utf-8') as file:
    *rows, end = file.read().splitlines()
  if end != 'end' or sorted(rows) != sorted(
      os.path.relpath(cell.folder, workdir) for cell in cells):
    problems.append(f'table.csv has {len(rows)} rows')
  counts = {
      'cells': len(cells),
      'finished': sum(finished.values()),
      'begun by 1, 2, more processes': ', '.join(
          str(n) for n in (
              sum(len(w) == 1 for w in workers.values()),
              sum(len(w) == 2 for w in workers.values()),
              sum(len(w) > 2 for w in workers.values()))),
  }
  return problems, counts


def main():
  # A folder of this run, as each of the mounts shows it.
  folders = [os.path.join(folder, f'sweep_claims_{os.getpid()}') for folder in (
      _FOLDER.value or [tempfile.gettempdir()])]
  rng = random.Random(_SEED.value)
  config = phantom.get_config('debug').unlock()
  config.update({'methods': ('strong_only', 'uniform'), 'reference': 'uniform',
                 'seeds': tuple(range(_NUM_CELLS.value // 2))})
  os.makedirs(folders[0])
  cells = {f: grid.make_cells(config, f) for f in folders}
  start = time.monotonic()
  processes = _Processes(cells, rng)
  results = os.path.join(folders[0], 'log')
  done = 0
  try:
    while done < _NUM_CELLS.value and processes.num_left:
      time.sleep(rng.uniform(0.1, 0.7))
      if os.path.exists(results):
        processes.disturb()
        with open(results, encoding='utf-8') as file:
          done = file.read().count('\nfinish ')
    processes.wait()
  finally:
    processes.end()
  problems, counts = _problems(cells[folders[0]], folders[0])
  counts |= processes.counts
  said = ''
  for slot in range(_NUM_PROCESSES.value):
    with open(f'{folders[0]}/out{slot}', encoding='utf-8') as file:
      said += file.read()
  counts |= {
      'taken over, ended': said.count('which has ended'),
      'taken over, silent': said.count('has given no sign for'),
      'noticed the loss': said.count('writes nothing more there'),
      'seconds': round(time.monotonic() - start)}
  for line in sorted(set(said.splitlines())):
    if 'Error' in line or 'Traceback' in line:
      problems.append(line)
  if set(processes.codes) != {0}:
    problems.append(f'exit codes {processes.codes}')
  print(json.dumps(counts, indent=1))
  print(*problems[:20], f'{len(problems)} problems', sep='\n')
  if problems:
    print(f'see {folders[0]}')
    sys.exit(1)
  shutil.rmtree(folders[0])


if __name__ == '__main__':
  binary.run(main)
