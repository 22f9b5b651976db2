"""Runs the README's quickstart with few steps, and the library's example."""

import os
import re
import shlex
import subprocess
import sys
import tempfile

from absl.testing import absltest

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def _block(marker, page='README.md'):
  """Returns the code block of a page that follows the HTML comment `marker`."""
  with open(os.path.join(_ROOT, page), encoding='utf-8') as f:
    text = f.read()
  return re.search(
      rf'<!-- {marker} -->\n```\w*\n(.*?)\n```', text, re.DOTALL)[1]


class ReadmeTest(absltest.TestCase):

  def test_library_example(self):
    names = {}
    exec(_block('library-example', 'docs/library.md'), names)  # pylint: disable=exec-used
    self.assertEqual(names['slopes'].shape, (8,))
    self.assertAlmostEqual(float(names['weights'].sum()), 1, places=5)
    self.assertEqual(names['state'].weights.shape, (100,))

  def test_quickstart(self):
    install, *steps = _block('run-command').split(' && ')
    self.assertEqual(install, "pip install -e '.[run]'")
    self.assertLen(steps, 2)
    with tempfile.TemporaryDirectory() as folder:
      for step in steps:
        args = shlex.split(step)
        self.assertEqual(args[:2], ['python', '-m'])
        args = [
            a.replace('data/phantom', f'{folder}/data')
            .replace('runs/phantom', f'{folder}/run')
            .replace('phantom.py', 'phantom.py:debug')
            for a in args[1:]
        ]
        if 'experiments.train' in step:
          args.append(f'--config.input.data_dir={folder}/data')
        else:
          args.append('--image_size=16')
        done = subprocess.run(
            (sys.executable, *args), cwd=_ROOT, capture_output=True, text=True,
            check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
      for promised in ('test Dice', 'AUROC', 'your own data'):
        self.assertIn(promised, done.stdout)
      self.assertTrue(os.path.exists(f'{folder}/run/panel.png'))

  def test_it_fits_on_one_screen(self):
    with open(os.path.join(_ROOT, 'README.md'), encoding='utf-8') as f:
      self.assertLess(len(f.readlines()), 80)

  def test_ci_runs_the_test_command(self):
    with open(os.path.join(_ROOT, '.ci', 'run'), encoding='utf-8') as f:
      self.assertIn('test-command', f.read())
    self.assertIn('python -m pytest', _block('test-command'))

  def test_the_scripts_of_ci_find_their_blocks(self):
    for name in ('run', 'packages'):
      with open(os.path.join(_ROOT, '.ci', name), encoding='utf-8') as f:
        calls = re.findall(
            r'\.ci/readme_command ([\w-]+)(?: (docs/[\w.]+))?', f.read())
      self.assertNotEmpty(calls)
      for marker, page in calls:
        args = [marker, *([page] if page else [])]
        printed = subprocess.run(
            ('.ci/readme_command', *args), cwd=_ROOT, capture_output=True,
            text=True, check=True).stdout
        # Blank lines say nothing to a shell or to Python.
        self.assertEqual(
            printed.split('\n')[:-1], [
                line for line in _block(*args).split('\n') if line])


if __name__ == '__main__':
  absltest.main()
