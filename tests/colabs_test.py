"""Runs the notebooks in experiments/colabs completely, with small settings."""

import contextlib
import functools
import os
import pathlib
import re
import subprocess
import sys
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import nbclient
import nbformat

from experiments.colabs import tidy
from tests import long_only
from tests import xla_flags

_PATHS = sorted(tidy.FOLDER.glob('*.ipynb'))
# Assignments to run after the cell `settings`, whose values would take too long
# for a test.
_SMALL = {
    'tour': 'NUM_TRAIN, TRAIN_STEPS = 80, 120',
    'your_annotations': 'NUM_TRAIN, TRAIN_STEPS = 60, 80',
}

# Compares several devices with one, so it must have several.
_MAPPED = frozenset({'your_model'})


def _read(path):
  return nbformat.read(path, as_version=4)


@functools.cache
def _printed(name):
  """Executes a notebook; returns the text that its cells printed."""
  notebook = _read(tidy.FOLDER / f'{name}.ipynb')
  for cell in notebook.cells:
    if cell.id == 'settings':
      cell.source += '\n' + _SMALL.get(name, '')
  # One device, as most readers have: a program of four compiles longer.
  flags = os.getenv('XLA_FLAGS', '') if name in _MAPPED else (
      xla_flags.with_devices(None))
  with mock.patch.dict(os.environ, XLA_FLAGS=flags):
    nbclient.NotebookClient(
        notebook, timeout=600,
        resources={'metadata': {'path': str(tidy.FOLDER)}}).execute()
  return ''.join(
      output.text for cell in notebook.cells if cell.cell_type == 'code'
      for output in cell.outputs if output.output_type == 'stream')


class CommittedTest(parameterized.TestCase):

  @parameterized.parameters(*_PATHS)
  def test_is_tidy(self, path):
    # Notebooks are stored without outputs, counts and metadata, as `python -m
    # experiments.colabs.tidy` leaves them.
    self.assertEqual(
        path.read_text(encoding='utf-8'), tidy.tidy(_read(path)))

  @parameterized.parameters(*_PATHS)
  def test_says_what_colab_needs(self, path):
    cells = {cell.id: cell for cell in _read(path).cells}
    self.assertIn('settings', cells)
    first = next(c for c in _read(path).cells if c.cell_type == 'code')
    self.assertEqual(first.id, 'setup')
    self.assertIn("\nREPOSITORY = ''\n", first.source)
    self.assertLess(max(map(len, first.source.splitlines())), 81)


# Maps what git prints on stderr if it cannot clone to the reason that the
# reader sees.
_GIT = {
    "fatal: unable to access 'ADDRESS/': Could not resolve host: a.org":
        'there is no network',
    "fatal: unable to access 'ADDRESS/': Failed to connect to a.org port 443":
        'there is no network',
    "fatal: could not read Username for 'https://a.org': terminal prompts "
    'disabled': 'the repository is private, or there is none',
    "remote: not here\nfatal: repository 'ADDRESS/' not found":
        'the repository is private, or there is none',
    'a@a.org: Permission denied (publickey).\nfatal: Could not read from '
    'remote repository.': 'the repository is private, or there is none',
    'fatal: cannot make ADDRESS: No space left on device':
        'git could not clone the repository: fatal: cannot make REPOSITORY: No '
        'space left on device',
}
_ADDRESS = 'https://name:password@a.org/b'
_MARKS = ('hybridseg/__init__.py', 'experiments/colabs/tidy.py')


def _write_marks(folder):
  for name in _MARKS:
    (folder / name).parent.mkdir(parents=True)
    (folder / name).touch()


class SetupTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(
        self.enter_context(tempfile.TemporaryDirectory())).resolve()
    self.enter_context(contextlib.chdir(self.folder))
    self.calls = []

  def _run(self, repository=_ADDRESS, *, git=None, pip=''):
    """Runs the cell; `git` and `pip` are what these programs print on stderr.
    """

    def run(command, **kwargs):
      self.calls.append(command)
      # The output must not fill the page.
      self.assertEqual(kwargs.get('capture_output'), True)
      tool, said = ('git', git) if command[0] == 'git' else ('pip', pip)
      if tool == 'git' and said is None:
        _write_marks(pathlib.Path(command[-1]))
      return subprocess.CompletedProcess(
          command, 128 if said else 0, '', said or '')

    source = tidy.SETUP.read_text(encoding='utf-8').replace(
        "REPOSITORY = ''", f'REPOSITORY = {repository!r}')
    with mock.patch.object(subprocess, 'run', run):
      exec(compile(source, 'setup', 'exec'), {})

  def _assert_stops(self, reason, **kwargs):
    with self.assertRaises(SystemExit) as caught:
      self._run(**kwargs)
    sentence = str(caught.exception)
    self.assertStartsWith(sentence, f'Setup stopped: {reason}')
    self.assertNotIn('\n', sentence)
    self.assertNotIn('password', sentence)
    self.assertEqual(pathlib.Path.cwd(), self.folder)

  def test_fetches_and_installs_once(self):
    self._run()
    self.assertEqual(pathlib.Path.cwd(), self.folder / 'hybridseg')
    clone, install = self.calls
    self.assertEqual(
        clone, ['git', 'clone', '--depth=1', '--', _ADDRESS,
                str(self.folder / 'hybridseg')])
    self.assertEqual(install[:4], [sys.executable, '-m', 'pip', 'install'])
    self.assertEqual(install[-1], f'{self.folder}/hybridseg[run]')
    self._run()  # Run the cell again, now from within the checkout.
    self.assertLen(self.calls, 2)
    os.chdir(self.folder)  # This is the folder after a restart of the runtime.
    self._run(repository='')
    self.assertEqual(pathlib.Path.cwd(), self.folder / 'hybridseg')
    self.assertLen(self.calls, 3)

  def test_in_a_checkout_goes_to_its_root(self):
    _write_marks(self.folder)
    os.chdir(self.folder / 'experiments/colabs')
    self._run(repository='')
    self.assertEqual(pathlib.Path.cwd(), self.folder)
    self.assertEmpty(self.calls)

  @parameterized.parameters(*_GIT.items())
  def test_git_fails(self, said, reason):
    self._assert_stops(reason, git=said.replace('ADDRESS', _ADDRESS))
    self.assertLen(self.calls, 1)

  def test_no_git(self):
    with mock.patch.dict(os.environ, PATH=str(self.folder)):
      self._assert_stops('git is not installed')
    self.assertEmpty(self.calls)

  def test_pip_fails(self):
    self._assert_stops(
        'pip could not install the packages: ERROR: no disk.',
        pip='a\nERROR: no disk.\n')

  def test_another_folder_of_that_name(self):
    (self.folder / 'hybridseg').mkdir()
    self._assert_stops(f'{self.folder}/hybridseg is there, but')
    self.assertEmpty(self.calls)

  def test_real_git_and_no_repository(self):
    # Use the real git, and check that no cell runs after the first one.
    for repository, reason in (
        ('', 'set REPOSITORY in this cell'),
        (str(self.folder / 'nowhere'), 'git could not clone the repository: '
         "fatal: repository 'REPOSITORY' does not exist")):
      notebook = _read(tidy.FOLDER / 'tour.ipynb')
      cells = [c for c in notebook.cells if c.cell_type == 'code'][:2]
      cells[0].source = cells[0].source.replace(
          "REPOSITORY = ''", f'REPOSITORY = {repository!r}')
      notebook.cells = cells
      with self.assertRaises(nbclient.exceptions.CellExecutionError) as caught:
        nbclient.NotebookClient(
            notebook, timeout=60,
            resources={'metadata': {'path': str(self.folder)}}).execute()
      self.assertEqual(caught.exception.ename, 'SystemExit')
      self.assertStartsWith(caught.exception.evalue, f'Setup stopped: {reason}')
      self.assertIsNone(cells[1].execution_count)


class ExecutedTest(absltest.TestCase):

  def _number(self, name, after):
    """Returns the number that a notebook prints after certain words."""
    found = re.search(rf'{after}: (\S+)', _printed(name))
    self.assertIsNotNone(found, _printed(name))
    return float(found[1])

  @long_only.only_long
  def test_tour_finds_bad_boxes(self):
    self.assertBetween(self._number(
        'tour', 'AUROC of the indicators against the planted faults'),
        0.7, 1)

  @long_only.only_long
  def test_audit_of_your_annotations_finds_the_wrong_ones(self):
    self.assertGreater(self._number(
        'your_annotations', 'AUROC of the score against the planted faults'),
        0.7)

  def test_mathematics_agrees(self):
    for after in ('quotient, largest difference',
                  'closed form, largest difference',
                  'training again, largest difference'):
      self.assertLess(self._number('mathematics', after), 1e-8)
    self.assertGreater(
        self._number('mathematics', 'training again, correlation'), 0.9)

  @long_only.only_long
  def test_your_model_finds_wrong_labels(self):
    self.assertGreater(self._number(
        'your_model', 'AUROC of the weights against the wrong labels'), 0.9)
    self.assertIn('4 devices; ', _printed('your_model'))
    self.assertLess(
        self._number('your_model', 'largest difference to one'), 1e-5)


if __name__ == '__main__':
  absltest.main()
