r"""Runs all GPU measurements in one command with a time limit.

experiments/benchmarks/gpu_table.sh SOURCE OUT [flags of this program]

It prepares the set from SOURCE, the folder of the EndoScene images. It then
runs `gpu_speed` for at most `--speed_seconds`, and writes its output to
OUT/speed.jsonl. After that, it trains the cells that `--cells` names, in that
order and a few at the same time, until `--seconds` have passed. Each cell is
one run of `method_cells`. The cells that are finished by then are in
OUT/cells.tar. This program itself needs no JAX.

Only a few cells are trained at the same time, because processes take turns on a
GPU. During a process's turn, the GPU idles in the gaps between its short
kernels. On an H100, 13 processes together made 26 steps per second.

A cell is written as METHOD:PART:STEPS:SEED:DRAW. The list {a/b} stands for the
alternatives a and b. If there are several lists, the last one varies fastest,
as in a shell.
"""

import collections
import itertools
import os
import pathlib
import re
import signal
import subprocess
import sys
import tarfile
import threading
import time

from absl import app
from absl import flags

_SOURCE = flags.DEFINE_string('source', None, 'EndoScene folder.')
_OUT = flags.DEFINE_string('out', None, 'Folder of what is found.')
_FOLDER = flags.DEFINE_string('folder', '/tmp/gpu_table', 'Of sets and runs.')
_CELLS = flags.DEFINE_list('cells', [], 'In this order.')
_NETWORK = flags.DEFINE_string('network', 'effnet_lite0', 'Of the cells.')
_WORKERS = flags.DEFINE_integer('workers', 3, 'Cells at a time.')
_SECONDS = flags.DEFINE_integer('seconds', 480, 'For everything.')
_SPEED = flags.DEFINE_list(
    'speed', ['unet_full', 'effnet_lite0', 'deeplab_resnet50'],
    'Networks to measure; none measures nothing.')
_SPEED_SECONDS = flags.DEFINE_integer('speed_seconds', 200, 'For all of them.')
_XLA_FLAGS = flags.DEFINE_string('cell_xla_flags', '', 'Of cells alone.')

_START = time.monotonic()


def expand(pattern: str) -> list[str]:
  """Expands the lists in braces: 'x:{1/2}' becomes ['x:1', 'x:2']."""
  pieces = re.split(r'\{([^}]*)\}', pattern)
  choices = [piece.split('/') if index % 2 else [piece]
             for index, piece in enumerate(pieces)]
  return [''.join(parts) for parts in itertools.product(*choices)]


def _say(text):
  print(f'{time.monotonic() - _START:4.0f} s: {text}', flush=True)


def _left():
  return _START + _SECONDS.value - time.monotonic()


def _python(*arguments):
  return [sys.executable, '-m', *map(str, arguments)]


def _method_cells(draw, *arguments):
  return _python(
      'experiments.benchmarks.method_cells', f'--draw={draw}',
      f'--data_dir={_set(128, draw)}', f'--workdir={_FOLDER.value}/draw{draw}',
      f'--cells={_FOLDER.value}/cells', f'--network={_NETWORK.value}',
      *arguments)


def _prepare(cells):
  """Prepares the sets that the measurements need.

  The cells need a set with images of 128 pixels, and its folds, for each draw;
  `gpu_speed` needs one set with images of 192 pixels.
  """
  draws = {'0': {'published'}}
  for cell in cells:
    _, part, _, _, draw = cell.split(':')
    draws.setdefault(draw, set()).add(part)
  wanted = [(128, draw) for draw in draws] + [(192, '0')] * bool(_SPEED.value)
  running = [
      subprocess.Popen(
          _python('data_prep.prepare', '--dataset=endoscene',
                  f'--source={_SOURCE.value}', f'--image_size={size}',
                  f'--seed={draw}', f'--output={_set(size, draw)}'),
          stdout=subprocess.DEVNULL)
      for size, draw in wanted]
  if not any([process.wait() for process in running]):
    # Prepare the folds before the cells start, because several cells share
    # them.
    running = [
        subprocess.Popen(
            _method_cells(draw, '--methods=', f'--parts={",".join(parts)}'),
            env=dict(os.environ, JAX_PLATFORMS='cpu'))
        for draw, parts in draws.items()]
  if any([process.wait() for process in running]):
    sys.exit('The sets could not be prepared.')


def _set(size, draw):
  return f'{_FOLDER.value}/endoscene{size}-draw{draw}'


class _Cells:
  """Trains cells, a few at the same time, until the time limit."""

  def __init__(self, cells):
    self._queue = collections.deque(cells)
    self._running = {}
    self._lock = threading.Lock()
    self.finished, self.failed = [], []

  def work(self):
    """Trains one cell after another; each of several threads runs this."""
    while True:
      with self._lock:
        if not self._queue or _left() <= 0:
          return
        cell = self._queue.popleft()
        self._running[cell] = process = self._start(cell)
      code = process.wait()
      with self._lock:
        del self._running[cell]
      if _left() > 0:
        (self.failed if code else self.finished).append(cell)
        _say(f'{cell} {"FAILED" if code else "done"}')

  def _start(self, cell):
    method, part, steps, seed, draw = cell.split(':')
    folder = pathlib.Path(_FOLDER.value)
    log = folder / 'logs' / f'{cell.replace(":", "-")}.log'
    log.parent.mkdir(exist_ok=True)
    share = f'{0.6 / _WORKERS.value:.3f}'
    environment = dict(os.environ, XLA_PYTHON_CLIENT_MEM_FRACTION=share)
    if _XLA_FLAGS.value:
      environment['XLA_FLAGS'] = _XLA_FLAGS.value
    with log.open('wb') as file:
      return subprocess.Popen(
          _method_cells(draw, f'--methods={method}', f'--parts={part}',
                        f'--train_steps={steps}', f'--seeds={seed}'),
          env=environment, stdout=file, stderr=subprocess.STDOUT,
          start_new_session=True)

  def end(self):
    """Ends all processes that are still running."""
    self._queue.clear()
    with self._lock:
      for process in self._running.values():
        if process.poll() is None:
          os.killpg(process.pid, signal.SIGKILL)


def _measure():
  """Runs `gpu_speed` while no other process uses the GPU."""
  with (open(f'{_OUT.value}/speed.log', 'wb') as log,
        open(f'{_OUT.value}/speed.jsonl', 'wb') as lines):
    try:
      subprocess.run(
          _python('experiments.benchmarks.gpu_speed',
                  f'--data_dir={_set(192, 0)}',
                  f'--networks={",".join(_SPEED.value)}'),
          stdout=lines, stderr=log, check=True,
          timeout=min(_SPEED_SECONDS.value, _left()))
    except subprocess.SubprocessError as e:
      _say(f'gpu_speed ended early, see speed.log: {e}')
  _say('measured')


def main(unused_argv):
  cells = [cell for pattern in _CELLS.value for cell in expand(pattern)]
  os.makedirs(_OUT.value, exist_ok=True)
  os.makedirs(f'{_FOLDER.value}/cells', exist_ok=True)
  _prepare(cells)
  _say(f'sets prepared; {len(cells)} cells to train')
  if _SPEED.value:
    _measure()
  work = _Cells(cells)
  threads = [threading.Thread(target=work.work)
             for _ in range(min(_WORKERS.value, len(cells)))]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join(max(_left(), 0))
  work.end()
  with tarfile.open(f'{_OUT.value}/cells.tar', 'w') as file:
    for name in ('cells', 'logs'):
      if os.path.isdir(f'{_FOLDER.value}/{name}'):
        file.add(f'{_FOLDER.value}/{name}', name)
  _say(f'{len(work.finished)} of {len(cells)} cells finished, '
       f'{len(work.failed)} failed')


if __name__ == '__main__':
  flags.mark_flags_as_required(['source', 'out'])
  app.run(main)
