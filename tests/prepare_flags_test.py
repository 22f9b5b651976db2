"""Tests that the help of the binaries states the defaults in use."""

import ast
import inspect
import pathlib
import re
from unittest import mock

from absl import flags
from absl.testing import absltest
from absl.testing import flagsaver
from absl.testing import parameterized

from data_prep import formats
from data_prep import prepare
from data_prep.sets import named_sets
from data_prep.sets import runner_flags
from data_prep.sets import source_flags
from data_prep.splits import dividing
from tests import prepare_binary

_MODULES = (prepare, runner_flags, source_flags)
_ROOT = pathlib.Path(prepare.__file__).parent


def _flags():
  """Returns all flags of `prepare` by name."""
  return {holder.name: flags.FLAGS[holder.name] for module in _MODULES
          for holder in vars(module).values()
          if isinstance(holder, flags.FlagHolder)}


class Stop(Exception):
  pass


class PrepareFlagsTest(parameterized.TestCase):

  def test_a_default_is_stated_once(self):
    # absl prints each default that is not None, so the help text of such a flag
    # must not repeat it.
    for name, flag in _flags().items():
      if flag.default is not None:
        self.assertNotRegex(flag.help, '(?i)default', name)
    seen = set()
    for path in _ROOT.rglob('*.py'):
      for call in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(call, ast.Call) and getattr(
            call.func, 'attr', '').startswith('DEFINE_'):
          name, default, text = map(ast.unparse, call.args[:3])
          seen.add(ast.literal_eval(name))
          if default != 'None':
            self.assertNotRegex(text, '(?i)default', f'{path}: {name}')
    self.assertContainsSubset(
        {'leave_out', 'constrain', 'fault_fraction'}, seen)
    for name in ('strong_fraction', 'fault_fraction', 'weak_kinds',
                 'image_size'):
      self.assertIsNone(_flags()[name].default)
      self.assertIn('Default: ', _flags()[name].help)

  @parameterized.parameters(*named_sets.SETS)
  def test_named_sets(self, dataset):
    write = named_sets.SETS[dataset].write
    source = [] if dataset == 'phantom' else ['--source=here']
    with mock.patch.object(named_sets.SETS[dataset], 'write', autospec=True,
                           side_effect=Stop) as written, mock.patch.object(
        prepare.os.path, 'isdir', return_value=True), mock.patch.object(
            prepare.os.path, 'isfile', return_value=True):
      with self.assertRaises(Stop):
        prepare_binary.run(f'--dataset={dataset}', '--check', *source)
    given = written.call_args.kwargs
    used = {k: given.get(k, p.default)
            for k, p in inspect.signature(write).parameters.items()}
    for flag, argument in (('strong_fraction', 'strong_fraction'),
                           ('fault_fraction', 'fault_fraction'),
                           ('weak_kinds', 'kinds')):
      text = _flags()[flag].help.partition('Default: ')[2].rstrip('.')
      stated = dict(reversed(part.split(' with ')) for part in text.split('; '))
      if argument in used:
        value = used[argument]
        value = ','.join(value) if isinstance(value, tuple) else str(value)
        self.assertEqual(stated[f'--dataset={dataset}'], value)
      else:
        self.assertNotIn(f'--dataset={dataset}', stated)
    size = named_sets.SETS[dataset].IMAGE_SIZE
    self.assertIn(f'{size} with --dataset={dataset}', re.sub(
        r'\s+', ' ', _flags()['image_size'].help))
    self.assertEqual(given.get('image_size', size), size)

  def test_source(self):
    plan = lambda: source_flags.plan(
        seed=0, strong_fraction=None, fault_fraction=None,
        near_copies='refuse')
    help_of = lambda name: _flags()[name].help
    with flagsaver.flagsaver(simulate=['box']):
      found = plan()
    self.assertIn(f'{found.budget.fraction} with --source --simulate',
                  help_of('strong_fraction'))
    self.assertIn(f'{found.fault_fraction} with --source',
                  help_of('fault_fraction'))
    found = plan()
    self.assertIsNone(found.budget)
    self.assertIn('all that have one with --source alone',
                  help_of('strong_fraction'))
    # Without flags, the binary uses the same options as the library.
    self.assertEqual(found.draw, dividing.Draw())
    self.assertEqual(source_flags.options(), formats.Options())


if __name__ == '__main__':
  absltest.main()
