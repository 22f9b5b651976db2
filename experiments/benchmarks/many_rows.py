r"""Measures what preparing N rows costs: time, memory, and how both grow.

python -m experiments.benchmarks.many_rows --sizes=1000,10000,100000 \
  --output=runs/many_rows

The rows of each set name the same 1,000 pairs of tiny PNG files under N ids,
ten ids of a picture for each subject. Each stage runs in a process of its own,
and `--stages` chooses among them:

- read: the manifest is read, with all its rows in memory;
- split: splits are drawn for rows that have none, with near copies kept
  together, and strong images are chosen;
- check: all files are read, and all rows are checked, with a search for near
  copies;
- prepare: the command `data_prep.prepare --manifest`, from the start to the
  end, which checks again and writes records and summary.html;
- search: near copies are searched in N different pictures, of which each
  hundredth is a copy that was changed.

Each finished cell is a JSON file in `--output`, and is not measured again. The
exponent is log(t2 / t1) / log(N2 / N1) for two sizes in a row; bytes per row
are the growth of the peak of the memory in use, over that of N.
"""

import json
import math
import os
import pathlib
import re
import subprocess
import sys
import threading
import time

from absl import flags
import numpy as np
from PIL import Image

from data_prep import manifest as manifest_lib
from data_prep.checks import check
from data_prep.checks import duplicates
from data_prep.shared import whole_file
from data_prep.splits import dividing
from data_prep.splits import strong_choice
from experiments import binary

_SIZES = flags.DEFINE_list('sizes', ['1000', '10000', '100000'], 'Numbers N.')
_STAGES = flags.DEFINE_list(
    'stages', ['read', 'split', 'check', 'prepare', 'search'],
    'What to measure.')
_OUTPUT = flags.DEFINE_string(
    'output', 'runs/many_rows', 'Folder of the sets and of the results.')
_CELL = flags.DEFINE_string(
    'cell', None, 'STAGE,N: measure this in this process. For the benchmark '
    'itself.')

_PICTURES = 1000  # Pairs of files that all rows share.
_SIDE = 24
_EACH = 10  # Rows of each subject.


def write_pictures(folder: pathlib.Path) -> None:
  """Writes pairs of different pictures and masks of one square."""
  (folder / 'images').mkdir(parents=True)
  (folder / 'masks').mkdir()
  rng = np.random.default_rng(0)
  for i in range(_PICTURES):
    mask = np.zeros((_SIDE, _SIDE), np.uint8)
    y, x = rng.integers(2, _SIDE - 10, 2)
    mask[y : y + 8, x : x + 8] = 1
    small = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8))
    small.resize((_SIDE, _SIDE)).save(folder / f'images/{i:04d}.png')
    Image.fromarray(mask).save(folder / f'masks/{i:04d}.png')


def write_manifest(folder: pathlib.Path, path: pathlib.Path, n: int) -> None:
  """Writes the manifest of N rows: 70 % train, of which a tenth is strong."""
  header = {'manifest_version': 1, 'name': 'many', 'root': str(folder),
            'classes': ['background', 'square']}
  with whole_file.open_whole(path, encoding='utf-8') as file:
    file.write(json.dumps(header) + '\n')
    for i in range(n):
      picture = i // _EACH % _PICTURES
      # All rows of a picture are in one split.
      split = ('train',) * 7 + ('val', 'test', 'test')
      split = split[picture % 10]
      weak = split == 'train' and picture // 10 % 10
      file.write(json.dumps({
          'id': f'row{i:07d}', 'image': f'images/{picture:04d}.png',
          'subject': f's{i // _EACH:06d}', 'split': split,
          'role': 'weak' if weak else 'strong', 'annotation': {
              'kind': 'coarse_mask' if weak else 'mask',
              'path': f'masks/{picture:04d}.png',
              'values': {'0': 0, '1': 1}}}) + '\n')


def _memory_bytes(field):
  with open('/proc/self/status', encoding='utf-8') as file:
    return 1024 * int(re.search(rf'{field}:\s+(\d+) kB', file.read())[1])


def _read(path):
  return lambda: len(manifest_lib.read_manifest(path).rows)


def _split(path):
  manifest = manifest_lib.read_manifest(path)
  rows = [row._replace(split='', role='', annotation=row.annotation | {
      'kind': 'mask'}) for row in manifest.rows]
  del manifest

  def run():
    drawn, _ = dividing.draw_splits(
        rows, path.parent / 'pictures', dividing.Draw(), [])
    shown = frozenset({1})  # The command also keeps equal sets once.
    strong = strong_choice.choose_strong(
        drawn, budget=strong_choice.Budget(fraction=0.1), seed=0,
        presence={row.id: shown for row in drawn}, weak_kind='none')
    return len(strong)

  return run


def _check(path):
  manifest = manifest_lib.read_manifest(path)

  def run():
    found = check.inspect_manifest(manifest)
    if found.problems:
      raise binary.UserError(str(found.problems[0]))
    return len(found.notices)

  return run


def _draw_thumbnails(n):
  """Returns thumbnails, each hundredth a changed copy of the one before."""
  thumbnails, rng = duplicates.Thumbnails(), np.random.default_rng(0)
  for start in range(0, n, 1000):
    small = rng.integers(0, 256, (1000, 10, 10), np.uint8)
    large = np.stack([np.asarray(Image.fromarray(s).resize(
        (duplicates.SIDE,) * 2, Image.Resampling.BICUBIC)) for s in small])
    copies = large[98::100, :, ::-1].astype(np.int64)
    copies += rng.integers(-8, 9, copies.shape)
    large[99::100] = copies.clip(0, 255)
    for thumbnail in large[: n - start]:
      thumbnails.add(thumbnail.tobytes())
  return thumbnails


def _search(n):
  thumbnails = _draw_thumbnails(n)
  groups = [('train', 'test')[i % 100 == 99 or i % 100 < 20] for i in range(n)]

  def run():
    found = duplicates.near_pairs(thumbnails, groups)
    made = {(i, i - 1) for i in range(99, n, 100)}
    return {'pairs': len(found), 'missed': len(
        made - {(pair.later, pair.earlier) for pair in found})}

  return run


def _measure(stage, n, folder):
  """Runs one stage in this process; returns its numbers."""
  path = folder / f'manifest_{n}.jsonl'
  work = (_search(n) if stage == 'search' else
          {'read': _read, 'split': _split, 'check': _check}[stage](path))
  before, start, processor = (
      _memory_bytes('VmRSS'), time.perf_counter(), time.process_time())
  result = work()
  return {'seconds': time.perf_counter() - start,
          'processor_seconds': time.process_time() - processor,
          'before_bytes': before, 'peak_bytes': _memory_bytes('VmHWM'),
          'result': result}


def _prepare(n, folder):
  """Runs `data_prep.prepare`; returns its numbers."""
  output = folder / f'set_{n}'
  command = [sys.executable, '-m', 'data_prep.prepare', '--image_size=24',
             f'--manifest={folder}/manifest_{n}.jsonl', f'--output={output}']
  lines, start = [], time.perf_counter()
  process = subprocess.Popen(
      command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

  def listen():
    for line in process.stdout:
      lines.append((round(time.perf_counter() - start, 1), line[:60].strip()))

  thread = threading.Thread(target=listen)
  thread.start()
  peak = 0
  while process.poll() is None:
    try:
      with open(f'/proc/{process.pid}/status', encoding='utf-8') as file:
        found = re.search(r'VmHWM:\s+(\d+) kB', file.read())
      peak = max(peak, 1024 * int(found[1]) if found else 0)
    except OSError:
      pass
    time.sleep(0.1)
  thread.join()
  if process.returncode:
    raise binary.UserError(f'{command} ended with {process.returncode}.')
  size = lambda path: sum(
      f.stat().st_size for f in path.rglob('*') if f.is_file())
  return {'seconds': time.perf_counter() - start, 'peak_bytes': peak,
          'lines': lines, 'summary_bytes': os.path.getsize(
              output / 'summary.html'), 'records_bytes': size(
                  output / 'records')}


def _cell(stage, n, folder):
  """Measures one stage in a process of its own; returns its numbers."""
  if stage != 'search' and not (folder / f'manifest_{n}.jsonl').exists():
    write_manifest(folder / 'pictures', folder / f'manifest_{n}.jsonl', n)
  if stage == 'prepare':
    return _prepare(n, folder)
  done = subprocess.run(
      [sys.executable, '-m', 'experiments.benchmarks.many_rows',
       f'--cell={stage},{n}', f'--output={folder}'],
      stdout=subprocess.PIPE, text=True, check=False)
  if done.returncode:
    raise binary.UserError(f'{stage} of {n} ended with {done.returncode}.')
  return json.loads(done.stdout.splitlines()[-1])


def _row(stage, n, now, before):
  """Returns a line of the table; `before` is the cell of the size before."""
  seconds, peak = now['seconds'], now['peak_bytes']
  growth = ['', '']
  if before:
    old, cell = before
    growth = [f'{math.log(seconds / cell["seconds"]) / math.log(n / old):.2f}',
              f'{(peak - cell["peak_bytes"]) / (n - old):,.0f}']
  more = {k: v for k, v in now.items() if k in ('result', 'summary_bytes')}
  return (f'| {stage} | {n:,} | {seconds:.1f} | {n / seconds:,.0f} | '
          f'{growth[0]} | {peak / 2**20:,.0f} | {growth[1]} | {more} |')


def main():
  folder = pathlib.Path(_OUTPUT.value).absolute()
  if _CELL.value:
    stage, n = _CELL.value.split(',')
    print(json.dumps(_measure(stage, int(n), folder)))
    return
  folder.mkdir(parents=True, exist_ok=True)
  if not (folder / 'pictures').exists():
    with whole_file.folder_beside(folder / 'pictures') as temporary:
      write_pictures(temporary)
      os.rename(temporary, folder / 'pictures')
  print('| stage | N | seconds | rows/s | exponent | peak, MiB | bytes per row '
        '| result |\n|---|---|---|---|---|---|---|---|')
  for stage in _STAGES.value:
    before = None
    for n in map(int, _SIZES.value):
      path = folder / f'{stage}_{n}.json'
      if not path.exists():
        found = _cell(stage, n, folder)
        with whole_file.open_whole(path, encoding='utf-8') as file:
          json.dump(found, file, indent=1)
      now = json.loads(path.read_text())
      print(_row(stage, n, now, before), flush=True)
      before = n, now


if __name__ == '__main__':
  binary.run(main)
