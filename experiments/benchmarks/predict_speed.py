"""Compares the speed of `experiments.predict` with that of the networks alone.

python -m experiments.benchmarks.predict_speed --run=runs/phantom

It writes PNG files and predicts their masks in two ways: by the networks alone,
on tiles that are in memory; and by `predict`, from the files to masks on disk.
Both ways are compiled before the first round and then take turns in one
process. The program prints a row of a table: the median speed of each way, in
images per second, and the median over rounds of the ratio of the two speeds.
"""

import pathlib
import statistics
import tempfile
import time

from absl import flags
import jax
import numpy as np
from PIL import Image

from experiments import binary
from experiments.prediction import file_by_file
from experiments.prediction import input_files
from experiments.prediction import pictures
from experiments.prediction import predictor as predictor_lib

_RUN = flags.DEFINE_string('run', None, 'Folder of a run.', required=True)
_NUM_IMAGES = flags.DEFINE_integer('num_images', 100, 'PNG files.')
_SIZE = flags.DEFINE_integer('size', 512, 'Height and width of the files.')
_ROUNDS = flags.DEFINE_integer('rounds', 5, 'Pairs of measurements.')


def _write_files(folder, channels):
  """Writes pictures of smooth noise, gray or in colour."""
  rng = np.random.default_rng(0)
  side = max(1, _SIZE.value // 8)
  for i in range(_NUM_IMAGES.value):
    pixels = rng.integers(256, size=(side, side, channels), dtype=np.uint8)
    Image.fromarray(pixels[..., 0] if channels == 1 else pixels).resize(
        (_SIZE.value, _SIZE.value)).save(folder / f'{i:05d}.png')


def _alone(predictor):
  """Runs the networks alone; returns the images per second."""
  tiles = np.random.default_rng(0).integers(
      256, size=(predictor.batch_size, *predictor.dataset.image_shape),
      dtype=np.uint8)
  number = -(-_NUM_IMAGES.value // predictor.batch_size)
  start = time.perf_counter()
  for _ in range(number):
    outputs = predictor.run_fn(tiles)
  jax.block_until_ready(outputs)
  return number * predictor.batch_size / (time.perf_counter() - start)


def _from_files(predictor, inputs):
  """Predicts the files; returns the images per second."""
  height, width, channels = predictor.dataset.image_shape
  with tempfile.TemporaryDirectory() as output:
    start = time.perf_counter()
    file_by_file.predict_files(
        predictor, inputs, output,
        tiling=pictures.Tiling((height, width), channels))
    return len(inputs.names) / (time.perf_counter() - start)


def main():
  predictor = predictor_lib.load(_RUN.value)
  with tempfile.TemporaryDirectory() as folder:
    _write_files(pathlib.Path(folder), predictor.dataset.image_shape[-1])
    inputs = input_files.find_inputs(folder)
    _alone(predictor)
    rounds = [(_alone(predictor), _from_files(predictor, inputs))
              for _ in range(_ROUNDS.value)]
  alone, files = (statistics.median(x) for x in zip(*rounds, strict=True))
  ratio = statistics.median(b / a for a, b in rounds)
  print('| tiles | networks alone, images/s | predict, images/s | ratio |\n'
        '|---|---|---|---|\n'
        f'| {" x ".join(map(str, predictor.dataset.image_shape))} | '
        f'{alone:.1f} | {files:.1f} | {ratio:.2f} |')


if __name__ == '__main__':
  binary.run(main)
