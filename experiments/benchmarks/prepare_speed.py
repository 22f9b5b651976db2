r"""Measures the speed and the memory of preparing a large set.

python -m experiments.benchmarks.prepare_speed --num_images=10000

It writes pairs of PNG files of 256 x 256 pixels: an image of smooth noise and a
mask of one disc. It then measures four calls of `data_prep.prepare` with a
manifest: the first only checks the files, and the second also writes the
records. The third repeats the second although nothing has changed, and the
fourth repeats it after one mask has changed. Finally, it measures a call that
reads the folder without a manifest.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time

from absl import flags
import numpy as np
from PIL import Image

from experiments import binary

_NUM_IMAGES = flags.DEFINE_integer(
    'num_images', 10000, 'Pairs of picture and mask.', lower_bound=20)
_SIZE = flags.DEFINE_integer('size', 256, 'Of the pictures.', lower_bound=16)
_IMAGE_SIZE = flags.DEFINE_integer('image_size', 96, 'Of the records.')
_FOLDER = flags.DEFINE_string(
    'folder', None, 'Where to work; default is a temporary folder.')


def write_set(folder: pathlib.Path, num_images: int, size: int) -> None:
  """Writes pairs of pictures and masks, and their manifest."""
  (folder / 'images').mkdir()
  (folder / 'masks').mkdir()
  rng = np.random.default_rng(0)
  y, x = np.mgrid[:size, :size]
  lines = [{'manifest_version': 1, 'name': 'speed', 'classes': ['no', 'yes']}]
  for i in range(num_images):
    small = Image.fromarray(rng.integers(256, size=(32, 32, 3), dtype=np.uint8))
    small.resize((size, size)).save(folder / f'images/{i:06d}.png')
    center = rng.uniform(0, size, (2, 1, 1))
    radius = rng.uniform(0.05, 0.3) * size
    disc = (y - center[0]) ** 2 + (x - center[1]) ** 2 < radius**2
    Image.fromarray(255 * disc.astype(np.uint8)).save(
        folder / f'masks/{i:06d}.png')
    split = ('train', 'train', 'train', 'val', 'test')[i % 5]
    weak = split == 'train' and i % 3
    lines.append({
        'id': f'{i:06d}', 'image': f'images/{i:06d}.png', 'split': split,
        'role': 'weak' if weak else 'strong', 'annotation': {
            'kind': 'coarse_mask' if weak else 'mask',
            'path': f'masks/{i:06d}.png', 'values': {'0': 0, '255': 1}}})
  (folder / 'manifest.jsonl').write_text(
      ''.join(json.dumps(line) + '\n' for line in lines))


def _resident_mib(pid):
  try:
    with open(f'/proc/{pid}/status', encoding='utf-8') as file:
      found = re.search(r'VmRSS:\s+(\d+) kB', file.read())
  except OSError:
    return 0.0
  return int(found[1]) / 1024 if found else 0.0


def _prepare(name, *args):
  """Runs `data_prep.prepare`; prints its speed and the growth of its memory."""
  start, seen = time.perf_counter(), []
  process = subprocess.Popen([
      sys.executable, '-m', 'data_prep.prepare',
      f'--image_size={_IMAGE_SIZE.value}', *args], stdout=subprocess.DEVNULL)

  def watch():
    while process.poll() is None:
      seen.append(_resident_mib(process.pid))
      time.sleep(0.2)

  watcher = threading.Thread(target=watch)
  watcher.start()
  if process.wait():
    raise binary.UserError(f'prepare ended with {process.returncode}.')
  watcher.join()
  seconds = time.perf_counter() - start
  third = seen[len(seen) // 3]
  print(f'| {name} | {seconds:.0f} | {_NUM_IMAGES.value / seconds:.0f} | '
        f'{third:.0f} | {max(seen):.0f} |', flush=True)


def main():
  folder = pathlib.Path(
      _FOLDER.value or tempfile.mkdtemp(prefix='prepare_speed_'))
  folder.mkdir(exist_ok=True)
  write_set(folder, _NUM_IMAGES.value, _SIZE.value)
  given = f'--manifest={folder}/manifest.jsonl'
  output = f'--output={folder}/output'
  print('| | s | images/s | MiB after a third | MiB, most |\n'
        '|---|---|---|---|---|')
  _prepare('check only', given, '--check')
  _prepare('check and records', given, output)
  _prepare('again, nothing changed', given, output)
  os.replace(folder / 'masks/000001.png', folder / 'masks/000000.png')
  shutil.copy(folder / 'masks/000000.png', folder / 'masks/000001.png')
  _prepare('again, one mask changed', given, output, '--overwrite')
  os.remove(folder / 'manifest.jsonl')
  shutil.rmtree(folder / 'output')
  _prepare('from the folder: import, splits, check, records',
           f'--source={folder}', '--strong_fraction=0.5',
           f'--output={folder}-own')
  shutil.rmtree(f'{folder}-own')
  shutil.rmtree(folder)


if __name__ == '__main__':
  binary.run(main)
