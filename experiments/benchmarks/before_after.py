r"""Compares the speed of this checkout with that of an older one, in one table.

git worktree add ../before eb30c49
python -m experiments.benchmarks.before_after --before=../before \
    --output=runs/before_after

The two checkouts take turns, and the first one of a round is the second one of
the next, so that other work on the machine slows both. A ratio is a median over
the rounds; above 1, this checkout is faster, or needs less. The parts are:

step     the DII + DCR step of each case of `before_after_step`: its time, its
         temporary memory, its compilation, and how far its values differ
start    `experiments.train` on the phantom until the line of its first step,
         without compiled programs and with those of the run before
prepare  check and records of PNG pairs of 256 x 256 pixels
predict  PNG files of 512 x 512 pixels, by the last runs of "start"
quick    the two commands of the README: the phantom, prepared and trained

"prepare", "predict" and "quick" time whole commands. What is finished is a file
OUTPUT/PART.json; the same command measures what is missing and prints all.
"""

import contextlib
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from absl import flags
from data_prep.shared import whole_file
import numpy as np
from PIL import Image

from experiments import binary
from experiments.benchmarks import before_after_step
from experiments.benchmarks import prepare_speed

_BEFORE = flags.DEFINE_string(
    'before', None, 'Worktree of the older commit.', required=True)
_OUTPUT = flags.DEFINE_string(
    'output', None, 'Folder of the results.', required=True)
_PARTS = flags.DEFINE_list(
    'parts', ['step', 'start', 'prepare', 'predict', 'quick'],
    'What to measure.')
_ROUNDS = flags.DEFINE_integer('rounds', 10, 'Pairs of steps.', lower_bound=1)
_PAIRS = flags.DEFINE_integer(
    'pairs', 3, 'Pairs of whole commands.', lower_bound=1)
_PNG_PAIRS = flags.DEFINE_integer(
    'png_pairs', 2000, 'Pairs of files of "prepare".', lower_bound=20)
_PNG_FILES = flags.DEFINE_integer(
    'png_files', 128, 'Files of "predict".', lower_bound=1)

_HERE = pathlib.Path(__file__).resolve().parents[2]
_SIDES = ('before', 'after')
_PHANTOM = '--config=experiments/configs/phantom.py'


def _checkout(side):
  return pathlib.Path(_BEFORE.value).resolve() if side == 'before' else _HERE


def _environment(side, programs=None):
  environment = dict(os.environ, PYTHONPATH=str(_checkout(side)))
  environment.pop('JAX_COMPILATION_CACHE_DIR', None)
  if side == 'after':  # Before, JAX itself would write to the folder.
    environment['JAX_COMPILATION_CACHE_DIR'] = str(programs)
  return environment


def _order(round_index):
  return _SIDES if round_index % 2 == 0 else _SIDES[::-1]


def _run(side, *arguments, programs=None, until=''):
  """Runs a command; returns its seconds, or those until a line of its output.

  Args:
    side: 'before' or 'after'.
    *arguments: of Python.
    programs: folder of compiled programs; None for a new, empty one.
    until: how the line starts that ends the measurement.
  """
  with contextlib.ExitStack() as stack:
    programs = programs or stack.enter_context(tempfile.TemporaryDirectory())
    log = stack.enter_context(open(
        pathlib.Path(_OUTPUT.value) / 'commands.log', 'a', encoding='utf-8'))
    start, seconds = time.perf_counter(), None
    process = stack.enter_context(subprocess.Popen(
        [sys.executable, *map(str, arguments)], cwd=_checkout(side),
        env=_environment(side, programs), stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True))
    for line in process.stdout:
      log.write(line)
      if until and seconds is None and line.startswith(until):
        seconds = time.perf_counter() - start
    if process.wait():
      raise binary.UserError(
          f'{" ".join(map(str, arguments))} of "{side}" ended with '
          f'{process.returncode}; its output is in {log.name}.')
  if seconds is None:
    seconds = time.perf_counter() - start
  return seconds


def _row(what, values, unit='s'):
  """Returns a row of the table, from a list of values for each side."""
  ratio = statistics.median(
      b / a for b, a in zip(values['before'], values['after'], strict=True))
  return dict(
      what=what, unit=unit, ratio=ratio,
      **{side: statistics.median(values[side]) for side in _SIDES},
      rounds={side: [round(x, 4) for x in values[side]] for side in _SIDES})


def _pairs(what, run):
  """Returns the row of a command that `run(side)` runs."""
  values = {side: [] for side in _SIDES}
  for i in range(_PAIRS.value):
    for side in _order(i):
      values[side].append(run(side))
      print(f'{what}, {side}: {values[side][-1]:.1f} s', flush=True)
  return _row(what, values)


def _differences(before, after):
  """Says how far the values of one step differ, in words."""
  if set(before) != set(after):
    raise binary.UserError(
        f'The steps yield different parts: {set(before) ^ set(after)}.')
  kinds = {'parameters': ('before.params',), 'losses': ('metrics',),
           'indicators': ('before.indicators', 'after.indicators')}
  largest = dict.fromkeys(kinds, 0.0)
  moments = {'before': [], 'after': []}  # Adam's first: a tenth of a gradient.
  for name in before:
    a, b = (np.asarray(x[name], np.float64) for x in (before, after))
    for kind, starts in kinds.items():
      if name.startswith(starts):
        largest[kind] = max(largest[kind], np.abs(a - b).max(initial=0.0))
    if '.mu' in name and name.startswith('after'):
      moments['before'].append(a.ravel())
      moments['after'].append(b.ravel())
  a, b = (np.concatenate(moments[side]) for side in _SIDES)
  largest['gradients, of their norm'] = (
      np.linalg.norm(a - b) / max(np.linalg.norm(a), 1e-30))
  return {kind: float(f'{value:.1e}') for kind, value in largest.items()}


def _ask(process):
  process.stdin.write('step\n')
  process.stdin.flush()
  return json.loads(process.stdout.readline())


def _step(case):
  """Returns the rows of a case, both of whose steps stay in memory."""
  script = pathlib.Path(before_after_step.__file__).resolve()
  with contextlib.ExitStack() as stack:
    folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
    processes, built = {}, {}
    for side in _SIDES:
      processes[side] = stack.enter_context(subprocess.Popen(
          [sys.executable, script, case, folder / f'{side}.npz'],
          cwd=_checkout(side), env=_environment(side, folder / 'programs'),
          stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
      line = processes[side].stdout.readline()
      if not line:
        raise binary.UserError(
            f'The step {case} of "{side}" failed; its message is above.')
      built[side] = json.loads(line)
      if not built[side]['library'].startswith(f'{_checkout(side)}/'):
        raise binary.UserError(
            f'"{side}" imports {built[side]["library"]}, not its own checkout.')
    times = {side: [] for side in _SIDES}
    for i in range(_ROUNDS.value + 1):
      for side in _order(i):
        answer = _ask(processes[side])
        if i:  # The first round only warms caches.
          times[side].append(answer)
    values = [np.load(folder / f'{side}.npz') for side in _SIDES]
    differences = _differences(*values)
  of = lambda key, source: {
      side: [answer[key] for answer in source[side]] for side in _SIDES}
  once = {side: [built[side]] for side in _SIDES}
  return [
      dict(_row(f'step {case}', of('wall_s', times)), differences=differences),
      _row(f'step {case}, processor time', of('cpu_s', times)),
      _row(f'step {case}, temporary memory', of('mib', once), 'MiB'),
      _row(f'step {case}, compilation, processor time', of('cpu_s', once)),
  ]


def _start():
  """Returns the rows of the first step; keeps one run of each side."""
  output = pathlib.Path(_OUTPUT.value).resolve()
  data = output / 'phantom'
  if not data.exists():
    _run('after', '-m', 'data_prep.prepare', '--dataset=phantom',
         f'--output={data}')
  cold, warm = ({side: [] for side in _SIDES} for _ in range(2))
  for i in range(_PAIRS.value):
    programs = output / 'programs'
    shutil.rmtree(programs, ignore_errors=True)
    for side in _order(i):
      for seconds in (cold, warm):
        run = output / f'run_{side}'
        shutil.rmtree(run, ignore_errors=True)
        seconds[side].append(_run(
            side, '-m', 'experiments.train', _PHANTOM, f'--workdir={run}',
            f'--config.input.data_dir={data}', '--config.train_steps=50',
            '--config.log_every_steps=1', programs=programs, until='step '))
        print(f'start, {side}: {seconds[side][-1]:.1f} s', flush=True)
  return [_row('until the first step, no compiled programs', cold),
          _row('until the first step, as a second run', warm)]


def _prepare():
  with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    prepare_speed.write_set(folder, _PNG_PAIRS.value, 256)

    def run(side):
      shutil.rmtree(folder / 'records', ignore_errors=True)
      return _run(side, '-m', 'data_prep.prepare', '--image_size=96',
                  f'--manifest={folder}/manifest.jsonl',
                  f'--output={folder}/records')

    return [_pairs(f'prepare, {_PNG_PAIRS.value} pairs', run)]


def _predict():
  output = pathlib.Path(_OUTPUT.value).resolve()
  rng = np.random.default_rng(0)
  with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    (folder / 'pictures').mkdir()
    for i in range(_PNG_FILES.value):
      pixels = rng.integers(256, size=(64, 64, 3), dtype=np.uint8)
      Image.fromarray(pixels).resize((512, 512)).save(
          folder / f'pictures/{i:05d}.png')

    def run(side):
      shutil.rmtree(folder / 'masks', ignore_errors=True)
      return _run(
          side, '-m', 'experiments.predict', f'--run={output}/run_{side}',
          f'--input={folder}/pictures', f'--output={folder}/masks',
          programs=output / 'programs')

    return [_pairs(f'predict, {_PNG_FILES.value} files', run)]


def _quick():
  def run(side):
    with tempfile.TemporaryDirectory() as folder:
      return _run(
          side, '-m', 'data_prep.prepare', '--dataset=phantom',
          f'--output={folder}/data') + _run(
              side, '-m', 'experiments.train', _PHANTOM,
              f'--config.input.data_dir={folder}/data',
              f'--workdir={folder}/run')

  return [_pairs('the quickstart, no compiled programs', run)]


def _measure(part):
  if part in before_after_step.CASES:
    return _step(part)
  return {'start': _start, 'prepare': _prepare, 'predict': _predict,
          'quick': _quick}[part]()


def _print_table(rows):
  print('| | before | after | ratio |\n|---|---|---|---|')
  for row in rows:
    print(f'| {row["what"]} | {row["before"]:.3g} {row["unit"]} | '
          f'{row["after"]:.3g} {row["unit"]} | {row["ratio"]:.2f} |')
  for row in rows:
    if 'differences' in row:
      print(f'{row["what"]}: largest differences of the values: ' + ', '.join(
          f'{kind} {value}' for kind, value in row['differences'].items()))


def main():
  output = pathlib.Path(_OUTPUT.value)
  output.mkdir(parents=True, exist_ok=True)
  if not (_checkout('before') / 'hybridseg').is_dir():
    raise binary.UserError(
        f'{_BEFORE.value} holds no folder hybridseg: give a worktree of the '
        'older commit.')
  parts = []
  for part in _PARTS.value:
    parts += before_after_step.CASES if part == 'step' else [part]
  if unknown := set(parts) - {*before_after_step.CASES, *_PARTS.default}:
    raise binary.UserError(
        f'--parts: {sorted(unknown)}; known: {", ".join(_PARTS.default)}.')
  rows = []
  for part in parts:
    path = output / f'{part}.json'
    if not path.exists():
      print(f'{part}: begun', flush=True)
      with whole_file.open_whole(path) as f:
        f.write(json.dumps(_measure(part), indent=1) + '\n')
    rows += json.loads(path.read_text())
  _print_table(rows)


if __name__ == '__main__':
  binary.run(main)
