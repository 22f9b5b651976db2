"""Tests that `--help` is fast, and that the defaults it states are right.

absl adds the default of a flag to its help by itself. The help text of a flag
may state a default only if the flag has none, to say what happens then. Numbers
in such a text are checked here.
"""

import ast
import pathlib
import re
import subprocess
import sys

from absl.testing import absltest
from absl.testing import parameterized

from data_prep.formats import intensities
from experiments.auditing import evidence
from experiments.auditing import expected_gain
from experiments.prediction import predictor
from experiments.reviewing import server
from experiments.reviewing import suspects
from tests import forked

_ROOT = pathlib.Path(__file__).parent.parent
_FOLDERS = sorted({
    str(path.parent.relative_to(_ROOT))
    for package in ('experiments', 'data_prep')
    for path in (_ROOT / package).rglob('*.py')})
# Matches the statements about defaults in help texts.
_CLAIM = re.compile(
    r'\b[Dd]efaults?(?: to| is|:)? (?P<what>[^.;,)]*(?:\.\d+[^.;,)]*)*)')
_NONE = (None, '', [], ())
_BINARIES = sorted(
    f'{package}.{path.stem}' for package in ('data_prep', 'experiments')
    for path in (_ROOT / package).glob('*.py')
    if "\nif __name__ == '__main__':" in path.read_text('utf-8'))
# Importing any of these takes more than a tenth of a second.
_SLOW = {'jax', 'flax', 'optax', 'grain', 'orbax', 'matplotlib', 'nibabel',
         'pydicom', 'tensorflow', 'tensorflow_datasets'}
# Numbers that a help text may state, taken from the code that uses them.
_NUMBERS = {
    'intensity_range': intensities._PERCENTILES,  # pylint: disable=protected-access
    # The tests of `voc` check boxes with a coordinate of 0.
    'voc_boxes_from': (0, 0),
    'port': (server.FIRST_PORT,),
    'num': (suspects.NUM_FIRST,),
}


class Flag:
  """A call of flags.DEFINE_*: name, default and help text, where literal."""

  def __init__(self, path, call):
    names = ('name', 'default', 'help') if 'enum' not in call.func.attr else (
        'name', 'default', 'enum_values', 'help')
    given = dict(zip(names, call.args, strict=False))
    given |= {k.arg: k.value for k in call.keywords}
    self.path = path
    self.values = _literal(given.get('enum_values'), ())
    self.name = ast.literal_eval(given['name'])
    self.help = _literal(given.get('help'), '')
    self.default = _literal(given.get('default'), 'made by code')

  def __repr__(self):
    return f'{self.path}: --{self.name}'


def _literal(node, otherwise):
  """Returns a literal; of a sum of strings, the literal parts."""
  if isinstance(node, ast.BinOp):
    return f'{_literal(node.left, "")}{_literal(node.right, "")}'
  try:
    return ast.literal_eval(node)
  except (TypeError, ValueError):
    return otherwise


def _flags(folder):
  """Returns every flag that the modules of a folder define."""
  found = []
  for path in sorted((_ROOT / folder).glob('*.py')):
    for node in ast.walk(ast.parse(path.read_text('utf-8'))):
      if isinstance(node, ast.Call) and isinstance(
          node.func, ast.Attribute) and node.func.attr.startswith('DEFINE_'):
        if node.args or node.keywords:
          found.append(Flag(path.name, node))
  return found


class AnswerTest(parameterized.TestCase):

  def test_binaries_are_found(self):
    self.assertContainsSubset(
        {'data_prep.prepare', 'experiments.train'}, _BINARIES)

  @parameterized.parameters(*_BINARIES)
  def test_before_anything_slow_is_imported(self, name):
    done = subprocess.run(
        (sys.executable, '-X', 'importtime', '-m', name, '--help'), cwd=_ROOT,
        capture_output=True, text=True, check=False)
    self.assertEqual(done.returncode, 0, done.stderr[-2000:])
    self.assertIn('\nflags:\n', done.stdout)
    imported = set(re.findall(
        r'^import time: .*\| +(\w+)$', done.stderr, re.MULTILINE))
    self.assertIn('absl', imported)
    self.assertEmpty(imported & _SLOW)

  def test_an_error_before_it_is_left_to_the_start(self):
    done = forked.run('data_prep.export', '--splits', '--help')
    # `--help` is the value of --splits here, and does not ask for help.
    self.assertEqual(done.returncode, 2, done.stdout)
    self.assertEqual(done.stderr.count('\n'), 1)

  def test_values_that_are_written_out_are_those_of_the_code(self):
    values = {flag.name: flag.values
              for folder in ('experiments', 'experiments/prediction')
              for flag in _flags(folder) if flag.values}
    self.assertEqual(values['learn_from'], list(evidence.LEARN_FROM))
    self.assertEqual(values['network'], sorted(predictor.NETWORKS))
    self.assertEqual(values['order'], list(expected_gain.ORDERS))


class HelpTest(parameterized.TestCase):

  def test_flags_are_found(self):
    names = [flag.name for folder in _FOLDERS for flag in _flags(folder)]
    self.assertContainsSubset(
        {'config', 'workdir', 'metric', 'tolerance', 'overlap', 'seed'}, names)
    self.assertGreater(len(names), 80)

  @parameterized.parameters(*_FOLDERS)
  def test_a_flag_with_a_default_leaves_it_to_help(self, folder):
    for flag in _flags(folder):
      if flag.default not in _NONE:
        self.assertNotRegex(flag.help, _CLAIM, flag)

  @parameterized.parameters(*_FOLDERS)
  def test_numbers_are_those_of_the_code(self, folder):
    for flag in _flags(folder):
      for claim in _CLAIM.finditer(flag.help):
        numbers = [float(x) for x in re.findall(r'\d+(?:\.\d+)?', claim[0])]
        used = _NUMBERS.get(flag.name, ())
        self.assertEqual(numbers, list(used), f'{flag}: {claim[0]}')

  @parameterized.parameters(*_FOLDERS)
  def test_a_default_does_not_depend_on_whether_the_flag_was_given(
      self, folder):
    """Tests that no default depends on whether the flag was given.

    Otherwise, --help would show a default that is not used, or not always.
    """
    names = {flag.name for flag in _flags(folder) if flag.default not in _NONE}
    for path in sorted((_ROOT / folder).glob('*.py')):
      text = path.read_text('utf-8')
      for call in re.findall(
          r"(?:_given\(|FLAGS\[)'(\w+)'(?:\)|\]\.present)", text):
        self.assertNotIn(call, names, path)


if __name__ == '__main__':
  absltest.main()
