"""Tests that edited, damaged or foreign run folders give one-line errors.

`tests.long.foreign_runs` tests the binaries, and the folders that need
checkpoints.
"""

import pathlib
import shutil

from absl.testing import absltest
from absl.testing import parameterized

from experiments import binary
from experiments import launcher
from experiments.building import input_pipeline
from experiments.reports import plots
from experiments.saving import run_folder
from experiments.saving import run_log
from experiments.saving import run_schema
from experiments.training import refining
from tests import tiny
from tests.long import foreign_runs


def _read(folder):
  """Reads all files of a run that a binary reads before the checkpoints."""
  config = run_folder.read_config(folder)
  dataset = run_folder.read_dataset(folder, config.input.data_dir)
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
    # The launcher reads the config before JAX is imported, and must not fail
    # there.
    saved = launcher._saved(str(self._folder))  # pylint: disable=protected-access
    self.assertContainsSubset(saved, ('nproc', 'cpu_isa'))

  @parameterized.parameters(
      (['weighting', 'name'], 'uniform'), (['version'], 1))
  def test_an_edited_config_is_not_resumed(self, path, value):
    foreign_runs._edit('config.json', path, value)(self._folder)  # pylint: disable=protected-access
    with self.assertRaisesRegex(
        binary.UserError, 'config.json was edited after the run.*restore it'):
      run_folder.check_run(str(self._folder), self._config, self._dataset)

  def test_what_may_change_may_be_edited(self):
    foreign_runs._edit(  # pylint: disable=protected-access
        'config.json', ['input', 'eval_batch_size'], 2)(self._folder)
    _read(str(self._folder))

  def test_pictures_that_would_fill_the_memory(self):
    path = self._folder / 'dataset.json'
    facts = run_schema.read(str(path))
    run_schema.check_dataset(facts, str(path))
    facts['image_shape'] = [65536, 65536, 3]
    with self.assertRaisesRegex(binary.UserError, '65536, not .* to 8192'):
      run_schema.check_dataset(facts, str(path))

  @parameterized.parameters('lock', 'timing.jsonl', 'curves.png')
  def test_a_link_is_not_written_through(self, name):
    other = self._folder.with_name('precious')
    other.write_text('precious')
    (self._folder / name).unlink(missing_ok=True)
    (self._folder / name).symlink_to(other)
    run = str(self._folder)
    # A file that is written as a whole replaces the link.
    if name == 'curves.png':
      plots.plot_curves([{'step': 1, 'val_dice': 0.5}], f'{run}/{name}')
      self.assertFalse((self._folder / name).is_symlink())
    else:
      with self.assertRaisesRegex(binary.UserError, f'{name} .*is a link'):
        if name == 'lock':
          run_folder.lock(run)
        else:
          progress = run_log.Progress(run, 2, images_per_step=1)
          progress.start(0)
          progress.print(1, {})
    self.assertEqual(other.read_text(), 'precious')

  def test_another_config_is_refused_before_a_first_run(self):
    self._config.supervision.refine = True
    try:
      with self.assertRaisesRegex(
          binary.UserError, 'supervision.refine is False there'):
        refining.train_first(self._config, str(self._folder), train=self.fail)
    finally:
      self._config.supervision.refine = False
    self.assertFalse((self._folder / 'first').exists())

  def test_a_moved_run_is_read(self):
    moved = self._folder.with_name('moved')
    shutil.move(self._folder, moved)
    _read(str(moved))

  def test_there_are_many(self):
    self.assertGreaterEqual(
        len(foreign_runs.CASES) + len(foreign_runs.CHECKPOINT_CASES), 50)


if __name__ == '__main__':
  absltest.main()
