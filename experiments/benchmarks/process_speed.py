r"""Measures prediction and audit by two processes against one.

for i in 0 1; do
  python -m experiments.benchmarks.process_speed --output=process_speed.jsonl \
      --coordinator=localhost:1234 --num_processes=2 --process_id=$i &
done; wait

Networks that are not trained predict generated pictures, from files to masks on
disk, or audit generated annotations, without the report. Programs are compiled
before. In each round, process 0 does the job alone, while the other one waits;
then both do it together. Other work on the machine slows both, so that their
ratio counts. The CPU use of process 0 alone is its processor time per second:
2.0 means that it keeps two cores busy.

Each round is a line of --output. The same commands resume, and then print a
table with the medians over rounds.
"""

import json
import os
import pathlib
import statistics
import tempfile
import time
import types as python_types

from absl import flags
from hybridseg import augmentation
from hybridseg import inference
from hybridseg import train_step as train_step_lib
from hybridseg import types
import numpy as np
from PIL import Image

from experiments import binary
from experiments import process_flags
from experiments import process_group
from experiments.auditing import evidence
from experiments.auditing import observer
from experiments.building import input_pipeline
from experiments.building import parts
from experiments.building import pieces
from experiments.configs import phantom
from experiments.prediction import file_by_file
from experiments.prediction import input_files
from experiments.prediction import pictures
from experiments.prediction import predictor as predictor_lib

_OUTPUT = flags.DEFINE_string(
    'output', None, 'File of the measurements.', required=True)
_CELLS = flags.DEFINE_list(
    'cells', ['predict:unet_small:32:960', 'predict:effnet_lite0:128:64',
              'predict:effnet_lite0:512:8', 'audit:unet_small:32:480',
              'audit:effnet_lite0:128:64'],
    'What to measure: JOB:NETWORK:PIXELS:IMAGES.')
_ROUNDS = flags.DEFINE_integer('rounds', 5, 'Pairs of measurements.')
_BATCH_SIZE = flags.DEFINE_integer('batch_size', 4, 'Images per call.')


def _build(network, size, number):
  """Returns a network that is not trained, with its set and its state."""
  config = phantom.get_config(network).copy_and_resolve_references().unlock()
  _, model, method, schedule = pieces.unpack(config)
  dataset = input_pipeline.Dataset(
      'speed', ('background', 'lesion'), (size, size, 3),
      {'train_weak': range(number)}, 'fingerprint')
  built = parts.build_network(dataset, model, method, schedule)
  return built, method, dataset, built.init_fn()


def _smooth(rng, size, channels):
  values = rng.integers(
      256, size=(max(1, size // 8), max(1, size // 8), channels),
      dtype=np.uint8)
  return np.asarray(Image.fromarray(values).resize((size, size)))


class _Prediction:
  """Predicts picture files."""

  def __init__(self, network, size, number, folder, group):
    built, _, dataset, state = _build(network, size, number)
    params = train_step_lib.eval_params(state)
    predict_fn = inference.make_predict_step(
        built.apply_fn, image_fn=augmentation.to_float)
    placed = built.mapping.replicate(params)
    run_fn = built.mapping.eval(predict_fn)
    self._predictor = predictor_lib.Predictor(
        predict_fn=predict_fn, run_fn=lambda x: run_fn(placed, x),
        cost_fn=None, params=params, batch_size=_BATCH_SIZE.value,
        dataset=dataset, data_dir='', model=None, schedule=None, step=0,
        network='mean', flip=False, digest=network)
    self._tiling = pictures.Tiling((size, size), 3)
    if group.is_primary:
      (folder / 'pictures').mkdir()
      rng = np.random.default_rng(0)
      for i in range(number):
        Image.fromarray(_smooth(rng, size, 3)).save(
            folder / f'pictures/{i:05d}.png')
    group.broadcast(None)
    self._inputs = input_files.find_inputs(str(folder / 'pictures'))

  def __call__(self, output, group):
    file_by_file.predict_files(
        self._predictor, self._inputs, output, tiling=self._tiling, group=group)


class _Audit:
  """Collects the evidence on weak annotations, as many as exact masks."""

  def __init__(self, network, size, number, folder, group):
    del folder, group
    built, method, dataset, state = _build(network, size, number)
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size] / size - 0.5
    records = [{
        'image': _smooth(rng, size, 3),
        'label': ((y - a)**2 + (x - b)**2 < 0.03).astype(np.uint8),
        'kind': types.AnnotationKind.POLYGON, 'instance_id': i,
        'subject': f'{i}', 'present': np.ones(2, np.uint8)}
               for i, (a, b) in enumerate(rng.uniform(-0.3, 0.3, (number, 2)))]
    records = [r | {'truth': r['label']} for r in records]
    third = number // 3
    splits = {'train_strong': records[:third],
              'train_weak': records[third : 2 * third],
              'val': records[2 * third:]}
    self._run = observer.Run(
        dataset._replace(splits=splits), '',
        python_types.SimpleNamespace(state=state), None,
        observer.Observer(
            built, method, num_classes=2, batch_size=_BATCH_SIZE.value), None)

  def __call__(self, output, group):
    evidence.collect(self._run, group=group)


_JOBS = {'predict': _Prediction, 'audit': _Audit}


def _timed(work, output, group):
  """Returns the seconds that a job takes, and those of this process's cores."""
  clock, cores = time.perf_counter(), time.process_time()
  work(output, group)
  return time.perf_counter() - clock, time.process_time() - cores


def _measure(cell, done, group):
  job, network, size, number = cell.split(':')
  with tempfile.TemporaryDirectory() as own:
    folder = pathlib.Path(group.broadcast(own))
    work = _JOBS[job](network, int(size), int(number), folder, group)
    work(tempfile.mkdtemp(dir=own), process_group.Group())  # Compiles.
    for turn in range(done, _ROUNDS.value):
      group.gather(None)  # Waits until all are ready.
      alone = cores = 0.0
      if group.is_primary:
        alone, cores = _timed(
            work, folder / f'alone{turn}', process_group.Group())
      group.broadcast(None)
      together, _ = _timed(work, folder / f'together{turn}', group)
      if group.is_primary:
        with open(_OUTPUT.value, 'a', encoding='utf-8') as file:
          file.write(json.dumps({
              'cell': cell, 'alone_s': alone, 'cores_s': cores,
              'together_s': together}) + '\n')
    group.gather(None)  # The folder is still needed by the slowest.


def _read():
  if not os.path.exists(_OUTPUT.value):
    return []
  with open(_OUTPUT.value, encoding='utf-8') as file:
    return [json.loads(line) for line in file if line.endswith('\n')]


def _print(rows):
  print('| job | network | pixels | images/s of one | CPU use of one | '
        'images/s together / of one | range | rounds |\n|---|' + 7 * '---|')
  for cell in dict.fromkeys(row['cell'] for row in rows):
    own = [row for row in rows if row['cell'] == cell]
    job, network, size, number = cell.split(':')
    ratios = [row['alone_s'] / row['together_s'] for row in own]
    speed = int(number) / statistics.median(row['alone_s'] for row in own)
    use = statistics.median(row['cores_s'] / row['alone_s'] for row in own)
    print(f'| {job} | {network} | {size} | {speed:.1f} | {use:.2f} | '
          f'{statistics.median(ratios):.2f} | {min(ratios):.2f} to '
          f'{max(ratios):.2f} | {len(own)} |')


def main():
  with process_flags.join() as group:
    if group.number < 2:
      raise binary.UserError('Start at least two processes, see --help.')
    rows = group.broadcast(_read() if group.is_primary else None)
    for cell in _CELLS.value:
      done = sum(row['cell'] == cell for row in rows)
      if done < _ROUNDS.value:
        _measure(cell, done, group)
  if group.is_primary:
    _print(_read())


if __name__ == '__main__':
  binary.run(main)
