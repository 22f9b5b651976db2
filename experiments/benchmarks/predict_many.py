"""Tests that predicting many files survives broken files and kills.

python -m experiments.benchmarks.predict_many --run=runs/phantom

Writes many images with odd sizes and hostile names (8 and 16 bits, grey and
colour, PNG, JPEG, TIFF, NPY, NIfTI) and `num_broken` broken files. Starts
`experiments.predict` again and again: kills it `num_kills` times with SIGKILL,
then lets it finish. Every image must then have a mask of its own size that
equals, byte for byte, the mask from an undisturbed session. Every broken file
must be named, and the exit code must be 4.
"""

import csv
import hashlib
import pathlib
import subprocess
import sys
import tempfile
import time

from absl import app
from absl import flags
import nibabel
import numpy as np
from PIL import Image

_RUN = flags.DEFINE_string('run', None, 'Folder of a run.', required=True)
_NUM_FILES = flags.DEFINE_integer('num_files', 1000, 'Files in all.')
_NUM_BROKEN = flags.DEFINE_integer('num_broken', 20, 'Broken ones of them.')
_NUM_KILLS = flags.DEFINE_integer('num_kills', 3, 'Sessions that are killed.')
_SEED = flags.DEFINE_integer('seed', 0, 'Of the pictures.')

_STEMS = (
    'plain', 'two words', '-rf', '<script>alert(1)<script>', 'a"b\'c',
    'ü图\u202ex', '=1+1', '$(x)`y`', '100%', 'semi;colon,comma')
_BROKEN = (b'', b'no picture', b'\x89PNG\r\n\x1a\n' + b'\0' * 40,
           b'\xff\xd8\xff', b'II*\0' + b'\xff' * 60)


def write_file(folder: pathlib.Path, i: int, rng: np.random.Generator):
  """Writes the i-th image or volume; returns its file name and its shape."""
  shape = tuple(int(n) for n in rng.integers(1, 180, size=2))
  stem = f'{i // 100}/{_STEMS[i % len(_STEMS)]}_{i:04d}'
  (folder / stem).parent.mkdir(exist_ok=True)
  values = rng.random(shape)
  kind = i % 7
  if kind == 6:
    voxels = (2000 * rng.random((*shape, 2)) - 1000).astype(np.int16)
    nibabel.Nifti1Image(voxels, np.diag([1, 1, 5, 1.0])).to_filename(
        folder / f'{stem}.nii.gz')
    return f'{stem}.nii.gz', voxels.shape
  gray = (255 * values).astype(np.uint8)
  if kind == 5:
    np.save(folder / f'{stem}.npy', (900 * values).astype(np.float32))
    return f'{stem}.npy', shape
  array, suffix = (
      (gray, 'png'), (np.stack([gray] * 3, -1), 'jpg'),
      ((60000 * values).astype(np.uint16), 'png'),
      (np.stack([gray, gray.T.reshape(shape), gray], -1), 'tif'),
      (gray, 'bmp'))[kind]
  Image.fromarray(array).save(folder / f'{stem}.{suffix}')
  return f'{stem}.{suffix}', shape


def predict(folder, output, *, kill_after=None):
  """Runs `experiments.predict`; returns its exit code and lines on stderr.

  Args:
    folder: folder of images.
    output: folder of masks.
    kill_after: number of files in predictions.csv after which the process is
      killed; None waits until it ends.
  """
  command = [sys.executable, '-m', 'experiments.predict', f'--run={_RUN.value}',
             f'--input={folder}', f'--output={output}']
  process = subprocess.Popen(
      command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
  if kill_after is not None:
    table = output / 'predictions.csv'
    while process.poll() is None and not (
        table.exists() and table.read_bytes().count(b'\n') > kill_after):
      time.sleep(0.05)
    process.kill()
  error = process.communicate()[1]
  return process.returncode, error.splitlines()


def _digests(folder):
  return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
          for p in sorted((folder / 'masks').rglob('*')) if p.is_file()}


def main(argv):
  del argv
  rng = np.random.default_rng(_SEED.value)
  with tempfile.TemporaryDirectory() as base:
    base = pathlib.Path(base)
    folder = base / 'in'
    folder.mkdir()
    num_good = _NUM_FILES.value - _NUM_BROKEN.value
    shapes = dict(write_file(folder, i, rng) for i in range(num_good))
    for i in range(_NUM_BROKEN.value):
      suffix = ('png', 'jpg', 'tif', 'nii.gz', 'npy')[i % 5]
      (folder / f'broken_{i:02d}.{suffix}').write_bytes(
          _BROKEN[i // 5 % len(_BROKEN)])
    codes = [predict(folder, base / 'out', kill_after=(k + 1) * num_good // (
        _NUM_KILLS.value + 1))[0] for k in range(_NUM_KILLS.value)]
    start = time.monotonic()
    codes.append(predict(folder, base / 'out')[0])
    code, said = predict(folder, base / 'alone')
    seconds = time.monotonic() - start
    with open(base / 'out/predictions.csv', encoding='utf-8') as f:
      rows = {row['file']: row for row in csv.DictReader(f)}
    digests = _digests(base / 'out')
    wrong = [name for name, shape in shapes.items()
             if rows[name]['state'] != 'done'
             or rows[name]['shape'] != ' x '.join(map(str, shape))]
    told = sum('broken_' in line for line in said)
    left = [p for p in (base / 'out').rglob('*') if '.tmp' in p.name]
    equal = digests == _digests(base / 'alone')
    print(f'exit codes {codes} and, undisturbed, {code}\n'
          f'{len(digests)} masks of {num_good} files, {len(wrong)} wrong\n'
          f'{told} of {_NUM_BROKEN.value} broken files named\n'
          f'equal to the undisturbed session: {equal}\n'
          f'{len(left)} unfinished files left over by kills\n'
          f'last two sessions: {seconds:.0f} s')
    ok = (equal and not wrong and told == _NUM_BROKEN.value
          and len(digests) == num_good and codes[-1] == code == 4)
    sys.exit(0 if ok else 1)


if __name__ == '__main__':
  app.run(main)
