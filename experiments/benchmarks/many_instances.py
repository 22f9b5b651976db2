r"""Measures what N indicators cost: time of a step, blocking of a save, bytes.

python -m experiments.benchmarks.many_instances --sizes=100000,1000000,10000000

A training step with N weak instances and one with 64 take turns in one process,
so that other work on the machine slows both; compare their ratio. Times are
given on the clock and, for a machine that is shared with much other work, as
processor time: of the process for a step, of the thread that trains for a save.
The weak instances are a few generated pictures under N ids. A run with N
instances then evaluates and saves as the trainer does: the table has the time
for which it waits, the time that the writing in the background takes, and the
bytes that are written.
"""

from collections.abc import Sequence
import os
import pathlib
import tempfile
import time

from absl import flags
from hybridseg import indicators as indicators_lib
from hybridseg import parallel
from hybridseg import types
import jax
import numpy as np

from experiments import binary
from experiments.building import input_pipeline
from experiments.building import parts
from experiments.building import pieces
from experiments.configs import phantom
from experiments.saving import checkpoints as checkpoints_lib
from experiments.saving import indicator_history

_SIZES = flags.DEFINE_list(
    'sizes', ['100000', '1000000', '10000000'], 'Numbers N of weak instances.')
_IMAGE_SIZE = flags.DEFINE_integer('image_size', 32, 'Pixels.', lower_bound=16)
_FEATURES = flags.DEFINE_list(
    'features', ['8', '16'], 'Channels of the U-Net, finest first.')
_TURNS = flags.DEFINE_integer('turns', 40, 'Timed turns.', lower_bound=1)
_SAVES = flags.DEFINE_integer('saves', 5, 'Timed saves.', lower_bound=1)

_FEW = 64
_health = jax.jit(indicators_lib.indicator_health)


class _Records(Sequence):
  """N records that share 16 pictures."""

  def __init__(self, number, size):
    rng = np.random.default_rng(0)
    self._number = number
    self._pictures = [
        {'image': rng.integers(0, 256, (size, size, 3), np.uint8),
         'label': rng.integers(0, 2, (size, size), np.uint8),
         'truth': rng.integers(0, 2, (size, size), np.uint8),
         'kind': np.int32(types.AnnotationKind.COARSE_MASK),
         'present': np.full(2, types.UNLABELLED, np.uint8)}
        for _ in range(16)]

  def __len__(self):
    return self._number

  def __getitem__(self, index):
    if not 0 <= index < self._number:
      raise IndexError(index)
    return self._pictures[index % 16] | {'instance_id': np.int32(index)}


def _times(processor_time):
  return np.array([time.perf_counter(), processor_time()])


class _Training:
  """A run with N weak instances, without a folder."""

  def __init__(self, number):
    config = phantom.get_config('dii_dcr,debug')
    config = config.copy_and_resolve_references().unlock()
    config.model.options.features = tuple(int(f) for f in _FEATURES.value)
    data, model, method, schedule = pieces.unpack(config)
    size = _IMAGE_SIZE.value
    strong = [r | {'instance_id': np.int32(-1)} for r in _Records(16, size)]
    dataset = input_pipeline.Dataset(
        'many', ('background', 'lesion'), (size, size, 3),
        {'train_strong': strong, 'train_weak': _Records(number, size),
         'val': strong, 'test': strong}, 'fingerprint')
    built = parts.build_training(dataset, model, method, schedule)
    self._mapping = built.network.mapping
    self._batches = input_pipeline.train_batches(
        dataset, strong_batch_size=data.strong_batch_size,
        weak_batch_size=data.weak_batch_size, seed=0)
    self._key = self._mapping.replicate(jax.random.key(0))
    self.state = self._mapping.replicate(built.network.init_fn())
    self.step = 0
    self._step_fn = built.step_fn.lower(
        self.state, self._mapping.place_batch(self._batches[0]),
        self._key).compile()
    # Bytes that the step needs beside the state that it is given.
    self.temp_bytes = self._step_fn.memory_analysis().temp_size_in_bytes

  def advance(self):
    """Takes one step; returns its seconds, on the clock and of processors."""
    batch = self._mapping.place_batch(self._batches[self.step])
    start = _times(time.process_time)
    self.state, metrics = self._step_fn(self.state, batch, self._key)
    jax.block_until_ready((self.state, metrics))
    self.step += 1
    return _times(time.process_time) - start


def _ratios(many, few):
  """Returns the ratio of the steps' times in each turn, and the time of few.

  Both are [T, 2], on the clock and of processors.
  """
  ratios, times = [], []
  for turn in range(_TURNS.value + 3):
    pair = (many, few) if turn % 2 else (few, many)
    seconds = {run: run.advance() for run in pair}
    if turn >= 3:  # The first turns warm caches.
      ratios.append(seconds[many] / seconds[few])
      times.append(seconds[few])
  return np.array(ratios), np.array(times)


def _saves(run, workdir):
  """Evaluates and saves.

  Returns:
    The median seconds of evaluation, save and rest, [3, 2], on the clock and of
    the thread; the bytes of the history per evaluation, and of a checkpoint.
  """
  history = indicator_history.Recorder(workdir)
  store = checkpoints_lib.Checkpoints(workdir, run_id='many')
  seconds = []
  for _ in range(_SAVES.value + 1):
    run.advance()
    clock = [_times(time.thread_time)]
    tick = lambda clock=clock: clock.append(_times(time.thread_time))
    indicators = parallel.to_host(run.state.indicators)
    jax.device_get(_health(indicators))
    history.add(run.step, indicators.weights)
    tick()
    store.save(run.step, parallel.to_host(run.state), {}, history.files())
    tick()
    store.wait()
    tick()
    seconds.append(np.diff(clock, axis=0))
  newest = pathlib.Path(workdir, 'checkpoints', str(run.step))
  folder = pathlib.Path(workdir, indicator_history.FOLDER)
  return (np.median(seconds[1:], axis=0),  # The first one warms up.
          sum(f.stat().st_size for f in folder.iterdir()) / len(seconds),
          sum(f.stat().st_size for f in newest.rglob('*') if f.is_file()))


def main():
  few = _Training(_FEW)
  print(f'{jax.devices()[0].device_kind}, {os.cpu_count()} CPU cores, jax '
        f'{jax.__version__}, {_TURNS.value} turns, {_SAVES.value} saves\n',
        flush=True)
  print('| N | step of 64, ms | ratio of N | quartiles | the same of '
        'processor time | quartiles | temp bytes more | evaluation waits, ms '
        '(processor) | save waits, ms (processor) | background, s | history, '
        'bytes per evaluation | checkpoint, MB |')
  print('|---|' + '---|' * 11)
  for number in map(int, _SIZES.value):
    many = _Training(number)
    ratios, times = _ratios(many, few)
    more = many.temp_bytes - few.temp_bytes
    with tempfile.TemporaryDirectory() as workdir:
      (evaluation, save, rest), history, checkpoint = _saves(many, workdir)
    shown = ' | '.join(
        f'{middle:.3f} | {low:.3f} to {high:.3f}' for low, middle, high in
        np.quantile(ratios, (0.25, 0.5, 0.75), axis=0).T)
    waits = ' | '.join(f'{1e3 * clock:.1f} ({1e3 * processor:.1f})'
                       for clock, processor in (evaluation, save))
    print(f'| {number:,} | {1e3 * np.median(times[:, 0]):.1f} | {shown} | '
          f'{more:,} | {waits} | {rest[0]:.2f} | {history:,.0f} | '
          f'{checkpoint / 1e6:.1f} |', flush=True)


if __name__ == '__main__':
  binary.run(main)
