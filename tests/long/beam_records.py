r"""Compares records that Apache Beam writes with those of one process.

python -m tests.long.beam_records --num_images=3000

Needs the extra `beam`. A set of small pictures is checked and prepared by
threads, and by Beam with 1, 2 and 4 workers: all files must be equal. Then
builds by Beam are killed at random moments and started again, and damaged sets
must be refused with the same lines, by the check alone, too. The program prints
a table, and its exit code is 1 if anything differs.
"""

import hashlib
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from absl import app
from absl import flags
import numpy as np
from PIL import Image

_NUM_IMAGES = flags.DEFINE_integer('num_images', 3000, 'Of the set.', 100)
_NUM_KILLS = flags.DEFINE_integer('num_kills', 3, 'Builds to kill.', 0)
_SIZE = 24


def write_source(folder: pathlib.Path, num_images: int) -> None:
  """Writes random pictures with masks, ten for each subject.

  Args:
    folder: folder of the set, which must not exist.
    num_images: number of pictures.
  """
  rng = np.random.default_rng(0)
  for name in 'images', 'masks':
    (folder / name).mkdir(parents=True)
  for i in range(num_images):
    mask = np.zeros((_SIZE, _SIZE), np.uint8)
    y, x = rng.integers(2, _SIZE - 10, 2)
    mask[y : y + 8, x : x + 8] = 1
    image = rng.integers(0, 128, (_SIZE, _SIZE, 3)) + 100 * mask[..., None]
    name = f'p{i // 10:05d}_{i % 10}.png'
    Image.fromarray(image.astype(np.uint8)).save(folder / 'images' / name)
    Image.fromarray(mask).save(folder / 'masks' / name)


def command(
    source: pathlib.Path, output: pathlib.Path, *more: str
) -> list[str]:
  """Returns the command that prepares the set."""
  return [sys.executable, '-m', 'data_prep.prepare', f'--source={source}',
          '--simulate=box', '--subject_pattern=^(p[0-9]+)', '--image_size=24',
          f'--output={output}', *more]


def by_beam(workers: int) -> list[str]:
  """Returns the flags for a number of workers."""
  options = ('--runner=DirectRunner --direct_running_mode=multi_processing '
             '--default_sdk_harness_log_level=ERROR')
  return ['--runner=beam',
          f'--beam_options={options} --direct_num_workers={workers}']


def digest(folder: pathlib.Path) -> str:
  """Returns one SHA-256 of the names and contents of all files in a folder."""
  found = hashlib.sha256()
  for path in sorted(folder.rglob('*')):
    if path.is_file():
      found.update(str(path.relative_to(folder)).encode() + b'\0')
      found.update(hashlib.sha256(path.read_bytes()).digest())
  return found.hexdigest()


def _run(argv):
  start = time.monotonic()
  done = subprocess.run(argv, capture_output=True, text=True, check=False)
  return done, time.monotonic() - start


def _check_workers(source, folder):
  """Prints a line for each way; returns the digest of one process."""
  wanted = ''
  print('| written by | seconds | SHA-256 of all files |\n|---|---|---|')
  for name, more in [('threads', []), *(
      (f'Beam, {n} workers', by_beam(n)) for n in (1, 2, 4))]:
    done, seconds = _run(command(source, folder / 'set', *more))
    if done.returncode:
      raise SystemExit(f'{name}: {done.stderr}')
    found = digest(folder / 'set')
    shutil.rmtree(folder / 'set')
    print(f'| {name} | {seconds:.1f} | {found[:12]} |', flush=True)
    wanted = wanted or found
    if found != wanted:
      raise SystemExit(f'{name} wrote other files than threads.')
  return wanted


def _check_kills(source, folder, wanted):
  """Kills builds while shards are being written, and starts them again."""
  rng = random.Random(0)
  staging = folder / '.set.shards'
  for i in range(_NUM_KILLS.value):
    process = subprocess.Popen(
        command(source, folder / 'set', *by_beam(2)), start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    least = rng.randint(1, 4)
    while process.poll() is None and len(
        [p for p in staging.glob('*') if len(p.name) == 64]) < least:
      time.sleep(0.05)
    if process.poll() is None:
      os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if (folder / 'set').exists():
      raise SystemExit('A killed build left a set behind.')
    done, _ = _run(command(source, folder / 'set', *by_beam(2)))
    kept = 'shards that are there already' in done.stderr
    if done.returncode or digest(folder / 'set') != wanted or not kept:
      raise SystemExit(f'After kill {i}: {done.stderr}')
    shutil.rmtree(folder / 'set')
  print(f'killed and started again: {_NUM_KILLS.value}, 0 different')


def _check_refusals(source, folder):
  """Damages pictures; both ways must say the same."""
  for i, content in enumerate((b'', b'no picture', None)):
    path = source / 'images' / f'p00000_{i}.png'
    whole = path.read_bytes()
    path.write_bytes(whole[:60] if content is None else content)
    lines = []
    for more in ([], by_beam(2), ['--check'], ['--check', *by_beam(2)]):
      done, _ = _run(command(source, folder / 'set', *more))
      # Lines of progress, which are indented, come by the clock, and the
      # processes that Beam starts warn of packages that it does not need.
      lines.append((done.returncode, done.stdout, [
          x for x in done.stderr.splitlines()
          if not x.startswith(('  ', 'WARNING:root:', 'INFO:__main__:'))]))
    path.write_bytes(whole)
    if lines[1:] != lines[:-1] or lines[0][0] != 2 or not lines[0][2]:
      raise SystemExit(f'Other lines: {lines}')
  print('damaged pictures: 3, the same lines')


def main(_):
  with tempfile.TemporaryDirectory() as temporary:
    folder = pathlib.Path(temporary)
    write_source(folder / 'source', _NUM_IMAGES.value)
    wanted = _check_workers(folder / 'source', folder)
    _check_kills(folder / 'source', folder, wanted)
    _check_refusals(folder / 'source', folder)


if __name__ == '__main__':
  app.run(main)
