"""A tiny prepared phantom set and a run on it, for tests of experiments."""

import contextlib
import functools
import io
import json
import os
import pathlib
import shutil
import tempfile

from data_prep.records import builder
from data_prep.sets import phantom

from experiments.building import parts
from experiments.building import pieces
from experiments.configs import phantom as phantom_config
from experiments.training import trainer

IMAGE_SIZE = 16


@functools.cache
def data_dir() -> str:
  """Returns the folder of a prepared set, which each process writes once."""
  folder = tempfile.TemporaryDirectory(prefix='hybridseg_tiny_')
  _FOLDERS.append(folder)  # Removed when the process ends.
  output = os.path.join(folder.name, 'phantom')
  manifest = phantom.write(
      output, image_size=IMAGE_SIZE, num_train=40, num_val=6, num_test=10,
      strong_fraction=0.2)
  builder.build(
      manifest, output=pathlib.Path(output) / 'records', image_size=IMAGE_SIZE)
  return output


_FOLDERS = []


def temp_dir(test) -> str:
  """Returns a folder that is removed after `test`."""
  folder = tempfile.TemporaryDirectory()
  test.addCleanup(folder.cleanup)
  return folder.name


def debug_config(**changes):
  """Returns the `:debug` config of the phantom, for training on the tiny set.

  The networks have one level, so that the step is traced in little time.

  Args:
    **changes: new value of each key; a dict changes the keys of a section.

  Returns:
    The config, which is not locked.
  """
  config = phantom_config.get_config('debug')
  config = config.copy_and_resolve_references().unlock()
  config.input.data_dir = data_dir()
  config.model.options.features = (4,)
  config.update(changes)
  return config


def build_network(config, dataset) -> parts.Network:
  """Builds the networks of a config."""
  return parts.build_network(dataset, *pieces.unpack(config)[1:])


def build_training(config, dataset) -> parts.Training:
  """Builds the networks of a config and the functions that train them."""
  return parts.build_training(dataset, *pieces.unpack(config)[1:])


def result(workdir: str, name: str) -> bytes:
  """Reads a file of a run whose bytes do not depend on the machine's speed.

  metrics.json is returned without the seconds that the run took.
  """
  content = pathlib.Path(workdir, name).read_bytes()
  if name != 'metrics.json':
    return content
  metrics = json.loads(content)
  del metrics['seconds']
  return json.dumps(metrics).encode()


@functools.cache
def run_dir() -> str:
  """Returns the folder of a finished `:debug` run; do not write to it."""
  folder = tempfile.TemporaryDirectory(prefix='hybridseg_run_')
  _FOLDERS.append(folder)
  workdir = os.path.join(folder.name, 'run')
  with contextlib.redirect_stdout(io.StringIO()):
    trainer.train_and_evaluate(debug_config().lock(), workdir)
  return workdir


def copy_of_run(test) -> str:
  """Returns a copy of `run_dir()` that is removed after `test`."""
  return shutil.copytree(run_dir(), os.path.join(temp_dir(test), 'run'))


def assert_equal_runs(test, first: str, second: str) -> None:
  """Asserts that two runs have ended with the same numbers."""
  for name in ('metrics.json', 'log.jsonl', 'cases_test.csv',
               'indicators.csv'):
    test.assertEqual(result(first, name), result(second, name), name)
  first, second = (
      {f.name: f.read_bytes() for f in pathlib.Path(
          run, 'indicator_history').iterdir()} for run in (first, second))
  test.assertEqual(first, second)
