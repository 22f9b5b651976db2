"""Tests for saving.session, which must record nothing private in a run."""

import contextlib
import io
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import jax

from experiments.building import input_pipeline
from experiments.saving import run_folder
from experiments.saving import session
from tests import tiny

_HERE = pathlib.Path(session.__file__).parents[2]


class PathsTest(parameterized.TestCase):

  @parameterized.parameters(
      ('--workdir=/home/jane/runs/a', '--workdir=.../a'),
      ('--workdir=/home/jane doe/runs/a', '--workdir=.../a'),
      ('--workdir=/home/jane doe/', '--workdir=.../jane doe'),
      ('/home/jane/train.py', '.../train.py'),
      ('~/runs', '.../runs'),
      ('C:\\Users\\jane\\a', '.../a'),
      ('--xla_dump_to=/tmp/jane/a --xla_b=1', '--xla_dump_to=.../a --xla_b=1'),
      ('PATH=/a/b:/c/d', 'PATH=.../b:.../d'),
      ("('/a/b', '/c/d')", "('.../b', '.../d')"),
      ('--data=gs://bucket/a/b', '--data=gs://bucket/a/b'),
      ('--workdir=runs/a', '--workdir=runs/a'),
      ('../a', '../a'), ('1/2', '1/2'), ('', ''), ('--seed=1', '--seed=1'),
      ('--config=a/b.py:x', '--config=a/b.py:x'))
  def test_text(self, text, expected):
    self.assertEqual(session.without_paths(text), expected)
    self.assertEqual(session.without_paths(expected), expected)
    self.assertEqual(
        session.without_paths({'a': [text, 1, None]}),
        {'a': [expected, 1, None]})


class SessionTest(absltest.TestCase):

  def _opened(self, **options):
    workdir = tiny.temp_dir(self)
    config = tiny.debug_config()
    dataset = input_pipeline.load_dataset(config.input.data_dir)
    argv = ['/home/jane/train.py', '--workdir=/home/jane/a',
            '--coordinator=node7:1234', '--coordinator', 'node7:1234']
    lock = run_folder.lock(workdir, **options)
    self.addCleanup(os.close, lock)
    with mock.patch.object(sys, 'argv', argv), mock.patch.object(
        platform, 'node', lambda: 'janes-laptop'):
      run_folder.open_run(workdir, config, dataset, **options)
    return pathlib.Path(workdir)

  def test_neither_host_nor_paths(self):
    workdir = self._opened()
    text = (workdir / 'run.json').read_text('utf-8')
    for secret in ('janes-laptop', 'jane', 'node7', str(_HERE), os.getcwd()):
      self.assertNotIn(secret, text)
    found, = json.loads(text)['sessions']
    self.assertEqual(found['argv'], [
        '.../train.py', '--workdir=.../a', '--coordinator=...',
        '--coordinator', '...'])
    self.assertEqual(
        (workdir / 'lock').read_text(), f'process {os.getpid()}')

  def test_all_of_it_if_asked(self):
    text = (self._opened(record_machine=True) / 'run.json').read_text('utf-8')
    found, = json.loads(text)['sessions']
    self.assertEqual(found['host'], 'janes-laptop')
    self.assertEqual(found['folder'], os.getcwd())
    self.assertIn('--workdir=/home/jane/a', found['argv'])

  def test_sessions_with_and_without_paths_are_compared(self):
    flags = '--xla_dump_to={}/a --xla_b=1'
    there = {'xla_flags': flags.format('/home/jane'), 'switches': {}}
    here = {'xla_flags': flags.format('...'), 'switches': {}}
    self.assertEqual(run_folder.differences(there, here), [])
    here['xla_flags'] = flags.format('...').replace('b=1', 'b=2')
    self.assertLen(run_folder.differences(there, here), 1)


class SwitchesTest(absltest.TestCase):

  def _notices_of_sessions(self, *x64):
    """Starts several sessions of one run; returns the stderr of the last one.

    Args:
      *x64: value of jax_enable_x64 in each session.
    """
    workdir, config = tiny.temp_dir(self), tiny.debug_config()
    dataset = input_pipeline.load_dataset(config.input.data_dir)
    for value in x64:
      with jax.enable_x64(value), contextlib.redirect_stderr(
          io.StringIO()) as err:
        run_folder.open_run(workdir, config, dataset)
    return err.getvalue()

  def test_another_setting_than_before_is_one_notice(self):
    self.assertEqual(
        self._notices_of_sessions(False, True),
        'notice: numbers may differ from the last session of this run, which '
        "had another setting: jax_enable_x64: 'False' there, 'True' here\n")

  def test_the_same_settings_are_none(self):
    self.assertEqual(self._notices_of_sessions(True, True), '')
    self.assertEqual(self._notices_of_sessions(False), '')


class RepositoryTest(absltest.TestCase):
  """Tests that nothing is recorded about a repository that contains ours."""

  def _copied(self, place):
    """Copies our code into a repository with an uncommitted private change.

    Args:
      place: folder of our code in the new repository.

    Returns:
      The path of our code.
    """
    root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    git = lambda *args: subprocess.run(
        ('git', '-c', 'user.name=a', '-c', 'user.email=a@b.c', *args),
        cwd=root, check=True, capture_output=True)
    git('init')
    (root / 'notes.txt').write_text('patient list\n')
    for name in ('hybridseg', 'experiments/saving'):
      (root / place / name).mkdir(parents=True)
      shutil.copy(_HERE / name / '__init__.py', root / place / name)
    shutil.copy(session.__file__, root / place / 'experiments/saving')
    git('add', '.')
    git('commit', '-m', 'x')
    (root / 'notes.txt').write_text('patient list of Jane\n')
    code = root / place / 'experiments/saving/session.py'
    code.write_text(code.read_text() + '# changed\n')
    return root / place

  def _seen(self, place):
    code = place / 'hybridseg/__init__.py'
    with (mock.patch.object(
        session, '__file__', str(place / 'experiments/saving/session.py')),
          mock.patch.object(session.hybridseg, '__file__', str(code))):
      return session.diff(), session.describe('', session.diff())['commit']

  def test_another_project(self):
    self.assertEqual(self._seen(self._copied('third_party/ours')), ('', None))

  def test_our_own(self):
    diff, commit = self._seen(self._copied('.'))
    self.assertIn('+# changed', diff)
    self.assertNotIn('patient', diff)
    self.assertLen(commit, 40)

  def test_no_repository(self):
    with mock.patch.object(session, '_git', lambda *_: None):
      self.assertEqual(session.diff(), '')
      self.assertIsNone(session.describe('', '')['commit'])

class InstallLineTest(absltest.TestCase):

  def test_of_the_packages_that_decide_a_result(self):
    self.assertEqual(
        session.install_line({
            'commit': '2be4bb2', 'python': '3.11.7', 'versions': {
                'numpy': '2.4.6', 'jax': '0.10.2', 'jaxlib': '0.10.2+cpu',
                'flax': None, 'other': '1'}}, extras='run,pretrained'),
        "git checkout 2be4bb2 && pip install -e '.[run,pretrained]' "
        'jax==0.10.2 jaxlib==0.10.2+cpu numpy==2.4.6  # Python 3.11.7')

  def test_of_a_run_that_says_nothing(self):
    self.assertEqual(session.install_line({}), "pip install -e '.[run]'")

  def test_nothing_of_a_folder_from_elsewhere_is_a_command(self):
    self.assertEqual(
        session.install_line({
            'commit': 'abcdef0; echo', 'python': '3\nrm',
            'versions': {'jax': '1; echo'}}),
        "pip install -e '.[run]'")

  def test_this_session_names_every_package(self):
    line = session.install_line(session.describe('', ''))
    self.assertLen(line.split('=='), 9)


if __name__ == '__main__':
  absltest.main()
