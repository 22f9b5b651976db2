r"""Measures how long the training waits while a checkpoint is saved.

python -m experiments.benchmarks.save_time --mib=13

Repeats what the trainer does at a checkpoint: copies a state of --mib MiB from
the devices, and passes it to the thread that writes. Between the repetitions,
it waits until the file is written. Prints the milliseconds that the trainer
would wait.
"""

# isort: off
import sys
from experiments import launcher
if __name__ == '__main__':
  launcher.prepare(sys.argv)  # Call this before anything imports JAX.
# isort: on

import tempfile
import time

from absl import flags
from absl import logging
from hybridseg import parallel
import jax
import jax.numpy as jnp
import numpy as np

from experiments import binary
from experiments.saving import checkpoints

_MIB = flags.DEFINE_float('mib', 13.0, 'Size of the state.', lower_bound=0.1)
_NUM_SAVES = flags.DEFINE_integer('num_saves', 30, 'To time.', lower_bound=2)

_NUM_ARRAYS = 100


def main():
  logging.set_verbosity(logging.ERROR)
  size = int(_MIB.value * 2**20 / 4 / _NUM_ARRAYS)
  state = {f'layer{i}': jnp.full((size,), i, jnp.float32)
           for i in range(_NUM_ARRAYS)}
  step_fn = jax.jit(lambda tree: jax.tree.map(lambda x: x + 1, tree))
  blocked_ms, written_ms = [], []
  with tempfile.TemporaryDirectory() as folder:
    store = checkpoints.Checkpoints(folder)
    for step in range(1, _NUM_SAVES.value + 1):
      state = jax.block_until_ready(step_fn(state))
      start = time.perf_counter()
      store.save(step, parallel.to_host(state), {'lines': []}, {})
      blocked_ms.append(1e3 * (time.perf_counter() - start))
      store.wait()
      written_ms.append(1e3 * (time.perf_counter() - start))
  print('| | median, ms | most, ms |\n|---|---|---|')
  for name, times in (
      ('training waits', blocked_ms[1:]), ('until written', written_ms[1:])):
    print(f'| {name} | {np.median(times):.1f} | {max(times):.1f} |')


if __name__ == '__main__':
  binary.run(main)
