"""Run folders that are edited, damaged or somebody else's: one line each.

The binaries, and the folders that need checkpoints:
`experiments.benchmarks.foreign_runs`.
"""

import pathlib
import shutil

from absl.testing import absltest
from absl.testing import parameterized

from experiments import binary
from experiments import input_pipeline
from experiments import launcher
from experiments import run_folder
from experiments.benchmarks import foreign_runs
from tests import tiny


def _read(folder):
  """Reads all that a binary reads of a run before its checkpoints."""
  config = run_folder.read_config(folder)
  dataset = run_folder.read_dataset(folder, config)
  run_folder.open_checkpoints(folder, config, dataset.fingerprint)


class ForeignRunsTest(parameterized.TestCase):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    config = tiny.debug_config()
    cls._dataset = input_pipeline.load_dataset(config.input.data_dir)
    cls._config = config

  def setUp(self):
    super().setUp()
    self._folder = pathlib.Path(tiny.temp_dir(self)) / 'run'
    self._folder.mkdir()
    run_folder.open_run(str(self._folder), self._config, self._dataset)

  @parameterized.parameters(*foreign_runs.CASES)
  def test_one_line(self, name):
    _read(str(self._folder))
    foreign_runs.CASES[name](self._folder)
    with self.assertRaises(binary.UserError) as caught:
      _read(str(self._folder))
    message = str(caught.exception)
    self.assertNotIn('\n', message)
    self.assertLess(len(message.replace(str(self._folder), 'RUN')), 200)
    # Before JAX is imported, and before anything of that can be told.
    saved = launcher._saved(str(self._folder))  # pylint: disable=protected-access
    self.assertContainsSubset(saved, ('nproc', 'cpu_isa'))

  def test_what_may_change_may_be_edited(self):
    foreign_runs._edit(  # pylint: disable=protected-access
        'config.json', ['input', 'eval_batch_size'], 2)(self._folder)
    _read(str(self._folder))

  def test_a_moved_run_is_read(self):
    moved = self._folder.with_name('moved')
    shutil.move(self._folder, moved)
    _read(str(moved))

  def test_there_are_many(self):
    self.assertGreaterEqual(
        len(foreign_runs.CASES) + len(foreign_runs.CHECKPOINT_CASES), 50)


if __name__ == '__main__':
  absltest.main()
