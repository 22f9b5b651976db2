"""Trains runs so small that tests can stop them thousands of times."""

import importlib
import json
import multiprocessing
import os
import subprocess
import sys

from absl import flags

from experiments import launcher
from experiments.configs import phantom
from experiments.configs import volumes

TARGET = flags.DEFINE_enum(
    'target', 'pictures', ('pictures', 'volumes'), 'What the runs train on.')

# Copies the set of volumes that other tests use.
_COPY = """
import shutil, sys
from tests import tiny_volumes
shutil.copytree(tiny_volumes.data_dir(), sys.argv[1])
"""
_FILES = ('metrics.json', 'log.jsonl', 'cases_test.csv', 'indicators.csv')


def prepare(folder: str) -> str:
  """Prepares the set of --target in a new folder; returns its path.

  It has images of 16 x 16 pixels, or volumes of 10 x 12 x 9 voxels.

  Args:
    folder: folder in which the new folder is made.
  """
  data_dir = os.path.join(folder, 'data')
  if TARGET.value == 'volumes':
    if not os.path.isdir(data_dir):
      # In a process of its own, since the threads that write records would not
      # be in the sessions, which are forked.
      subprocess.run([sys.executable, '-c', _COPY, data_dir], check=True)
  elif not os.path.isdir(data_dir):
    subprocess.run(
        [sys.executable, '-m', 'data_prep.prepare', '--dataset=phantom',
         '--image_size=16', f'--output={data_dir}'],
        check=True, stdout=subprocess.DEVNULL)
  return data_dir


def config(data_dir: str, **changes):
  """Returns the config of a run that takes seconds and saves often.

  Args:
    data_dir: folder of the prepared set.
    **changes: values of the config that replace the defaults.
  """
  if TARGET.value == 'volumes':
    tiny = volumes.get_config('debug').copy_and_resolve_references().unlock()
    tiny.model.options.features = ()
  else:
    tiny = phantom.get_config('debug').copy_and_resolve_references().unlock()
  tiny.update(dict(
      train_steps=60, log_every_steps=4, eval_every_steps=15,
      checkpoint_every_steps=5))
  tiny.input.data_dir = data_dir
  tiny.update(changes)
  return tiny.lock()


class Session:
  """A process that trains, and the step that it has reached.

  The process is forked after all imports, which saves the seconds that they
  take, and before JAX starts its threads.
  """

  def __init__(self, run_config, workdir: str, log_path: str):
    self.step = multiprocessing.RawValue('q', -1)
    self._process = multiprocessing.get_context('fork').Process(
        target=_train, args=(run_config, workdir, log_path, self.step))
    self._process.start()

  def signal(self, number: int) -> None:
    """Sends a signal to the process, if it is still running."""
    if self._process.is_alive():
      os.kill(self._process.pid, number)

  def wait(self, timeout_s: float | None = None) -> int | None:
    """Returns the exit code, or None if the process is still running.

    Args:
      timeout_s: seconds to wait for the end of the process; None waits until it
        ends.
    """
    self._process.join(timeout_s)
    return self._process.exitcode


def _train(run_config, workdir, log_path, step):
  launcher.exit_on_sigterm()
  descriptor = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
  os.dup2(descriptor, 1)
  os.dup2(descriptor, 2)
  # pylint: disable=g-import-not-at-top
  from experiments import binary  # See `preload`.
  from experiments.training import stopping
  from experiments.training import trainer

  seen = stopping.StopRequest.__call__

  def watched(self, number):
    step.value = number
    return seen(self, number)

  stopping.StopRequest.__call__ = watched
  code = 0
  try:
    trainer.train_and_evaluate(run_config, workdir)
  except binary.Stopped as e:
    print(e, flush=True)
  except binary.UserError as e:
    print(f'Error: {e}', flush=True)
    code = 2
  sys.stdout.flush()
  os._exit(code)


def preload() -> None:
  """Imports all modules that training needs; starts no backend of JAX."""
  for name in ('experiments.training.trainer',
               'tensorflow_datasets.core.features',
               'matplotlib.backends.backend_agg'):
    importlib.import_module(name)


def result(workdir: str) -> dict[str, bytes]:
  """Reads the files of a run that must be the same however often it stopped.

  Returns:
    A dictionary from the name of each file to its content. metrics.json is
    without the seconds that the run took.
  """
  contents = {}
  for name in _FILES:
    with open(os.path.join(workdir, name), 'rb') as f:
      contents[name] = f.read()
  metrics = json.loads(contents['metrics.json'])
  del metrics['seconds']
  contents['metrics.json'] = json.dumps(metrics).encode()
  return contents
