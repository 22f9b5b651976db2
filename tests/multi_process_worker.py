"""One of the processes that multi_process_test starts.

python -m tests.multi_process_worker JOB, with JOB as the test writes it: JSON.
The variables of the environment are set by the test, before JAX is imported.
"""

import json
import os
import signal
import sys

import jax
import numpy as np
import optax

from hybridseg import augmentation
from hybridseg import parallel
from hybridseg import train_step as train_step_lib
from tests import tiny_step as tiny

_NUM_STEPS = 20


def train(kind, *, devices=None, die_at_step=None):
  """Returns the results of a short run as named NumPy arrays."""
  mapping = parallel.make_mapping(kind, devices=devices)
  # SGD: see parallel_test.
  optimizer = optax.sgd(0.05, momentum=0.9)
  step = mapping.step(train_step_lib.make_train_step(
      tiny.apply_tiny, optimizer, num_classes=tiny.NUM_CLASSES,
      features_fn=tiny.features_tiny, augment_fn=tiny.no_augmentation,
      supervision=tiny.SUPERVISION,
      weighting=train_step_lib.Weighting(name='dii', learning_rate=0.2),
      co_reg=train_step_lib.CoRegularization(scale=0.5),
      axis_name=mapping.axis_name))
  evaluate = mapping.eval(train_step_lib.make_eval_step(
      tiny.apply_tiny, num_classes=tiny.NUM_CLASSES,
      image_fn=augmentation.to_float))
  state = mapping.replicate(tiny.init_state(optimizer=optimizer))
  key = mapping.replicate(jax.random.key(1))
  metrics = []
  for i in range(_NUM_STEPS):
    if i == die_at_step:
      os.kill(os.getpid(), signal.SIGKILL)
    batch = tiny.random_batch(i, num_strong=4, num_weak=8)
    state, step_metrics = step(state, mapping.place_batch(batch), key)
    # Forced devices that run ahead of each other can deadlock.
    jax.block_until_ready(state)
    metrics.append(parallel.to_host(step_metrics))
  # Only one process computes this, since the others must not be needed.
  counts = np.zeros(0)
  if parallel.is_primary():
    _, counts = evaluate(state.params, tiny.random_batch(0, 8).strong)
  tree = {
      'state': parallel.to_host(state),
      'metrics': jax.tree.map(lambda *x: np.stack(x), *metrics),
      'counts': np.asarray(counts),
  }
  return {
      jax.tree_util.keystr(path): np.asarray(leaf)
      for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
  }


def main():
  job = json.loads(sys.argv[1])
  parallel.initialize(
      coordinator_address=f'127.0.0.1:{job["port"]}',
      num_processes=job['num_processes'],
      process_id=job['process_id'])
  assert jax.process_index() == job['process_id']
  assert parallel.is_primary() == (job['process_id'] == 0)
  assert jax.device_count() == job['num_processes'] * jax.local_device_count()
  for kind in job['kinds']:
    try:
      result = train(kind, die_at_step=job['die_at_step'])
    except jax.errors.JaxRuntimeError as e:
      print(f'Error: lost a process: {str(e).splitlines()[0]}', file=sys.stderr)
      parallel.exit_now(3)
    name = f'{kind}{job["process_id"]}.npz'
    np.savez(os.path.join(job['folder'], name), **result)


if __name__ == '__main__':
  main()
