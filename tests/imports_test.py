"""Tests which module may import which, and how long imports take."""

import ast
import importlib
import json
import os
import pathlib
import subprocess
import sys

from absl.testing import absltest
from absl.testing import parameterized

import hybridseg

_ROOT = pathlib.Path(__file__).parent.parent
_MODULES = sorted(
    '.'.join(path.relative_to(_ROOT).with_suffix('').parts)
    for path in (_ROOT / 'hybridseg').rglob('*.py')
    if path.name != '__init__.py')

_FOREIGN = (
    'tensorflow', 'tensorflow_datasets', 'grain', 'orbax', 'ml_collections',
    'matplotlib', 'PIL', 'scipy', 'chex', 'experiments', 'data_prep')

# Modules of the library that may import nothing else from it.
_LEAVES = {'types', 'masking', 'mapped_axis', 'loss_functions', 'warping'}
_PARTS = {
    'losses', 'metrics', 'mixing', 'augmentation', 'models', 'linearization',
    'guards', 'inference', 'alignment_maps', 'regularizers', 'kind_losses',
    'inner_optimizers', 'refinement', 'microbatches', 'batch_checks',
    'deep_supervision'}
_RULES = {
    'weak_losses', 'weighting', 'indicators', 'co_regularization',
    'volume_augmentation', 'volume_inference'}
_MAY_IMPORT = {
    'types': set(),
    'masking': set(),
    'mapped_axis': set(),
    'loss_functions': {'types'},
    'warping': {'types'},
    **{name: _LEAVES for name in _PARTS},
    'class_losses': _LEAVES | {'losses'},
    **{name: _LEAVES | _PARTS for name in _RULES},
    'method_parts': _LEAVES | _PARTS | _RULES,
    'indicator_grads': _LEAVES | _PARTS | _RULES,
    # This module holds a weight rule that has a state of its own.
    'meta_weight_net': _LEAVES | _PARTS | _RULES | {'method_parts'},
    'weight_rules': _LEAVES | _PARTS | _RULES | {
        'method_parts', 'meta_weight_net'},
    'train_state': _LEAVES | _PARTS | _RULES | {'method_parts', 'weight_rules'},
    'weak_gradients': _LEAVES | _PARTS | _RULES | {'method_parts'},
    'terms': _LEAVES | _PARTS | _RULES | {
        'method_parts', 'train_state', 'weak_gradients'},
    'indicator_step': _LEAVES | _PARTS | _RULES | {
        'method_parts', 'train_state', 'weak_gradients', 'weight_rules',
        'terms'},
    'train_step': _LEAVES | _PARTS | _RULES | {
        'method_parts', 'train_state', 'weak_gradients', 'weight_rules',
        'terms'},
    'parallel': _LEAVES,
    'surface_metrics': _LEAVES,
}
# This module runs on the host only, so `import hybridseg` leaves it out. It may
# import scipy.
_ON_HOST = 'hybridseg.surface_metrics'

# For each package, its subpackages ("rooms") and the other rooms that each of
# them may import. There are no cycles and no exceptions: move a function that
# would need one. Binaries, benchmarks and notebooks may import any room, but no
# room imports them.
_ROOMS = {
    'data_prep': {
        'shared': set(),
        'drawing': {'shared'},
        'checks': {'shared', 'drawing'},
        'formats': {'shared', 'drawing', 'checks'},
        'volumes': {'shared'},
        'splits': {'shared', 'drawing', 'checks'},
        'records': {'shared', 'drawing', 'formats', 'volumes'},
        'sets': {
            'shared', 'drawing', 'checks', 'formats', 'volumes', 'splits',
            'records'},
    },
    'experiments': {
        'configs': set(),
        'building': {'configs'},
        'saving': {'building', 'configs'},
        'prediction': {'building', 'saving'},
        'evaluation': {'building', 'saving', 'prediction'},
        'exporting': {'building', 'saving', 'prediction', 'evaluation'},
        'reports': {'building', 'saving', 'evaluation'},
        'auditing': {'building', 'saving', 'prediction', 'reports'},
        'reviewing': {
            'building', 'saving', 'prediction', 'reports', 'auditing'},
        'training': {'building', 'saving', 'evaluation', 'reports', 'auditing'},
        'tables': {'configs', 'building', 'saving', 'evaluation', 'training'},
    },
}
# Modules beside the rooms. All rooms except `shared` may import them, and they
# may import no room except `shared`.
_BESIDE = {
    'data_prep': {'command_line', 'manifest', 'row_names'},
    'experiments': {
        'binary', 'csv_files', 'launcher', 'painting', 'process_flags',
        'packing', 'process_group', 'program_cache'},
}
_OPEN = {
    'data_prep': set(),
    'experiments': {'benchmarks', 'colabs', 'results'},
}
_MAX_AT_THE_TOP = 20
# The only functions of the rooms of `experiments` that see a whole config: they
# start a run, unpack its config, check it, store it or show it. All others take
# the pieces that they need. In `tables`, a config describes many runs.
_SEE_THE_CONFIG = {
    'building': {'pieces.unpack', 'config_checks.check_numbers'},
    'saving': {
        'resuming.run_id', 'run_folder.check_run', 'run_folder.open_run',
        'run_folder.open_checkpoints', 'run_schema.upgraded'},
    'prediction': set(),
    'evaluation': set(),
    'exporting': set(),
    'reports': {'pages.TrainedRun'},
    'auditing': set(),
    'reviewing': set(),
    'training': {
        'opening.open_session', 'refining.train_first',
        'trainer.train_and_evaluate'},
}

_PROBE = """
import json, sys
import hybridseg.types
early = [m for m in ('jax', 'flax', 'optax') if m in sys.modules]
for name in hybridseg.__all__:
  getattr(hybridseg, name)
for name in {modules!r}:
  __import__(name)
# Not to be charged to the library: flags is read only to see what it defined.
from absl import flags
print(json.dumps(dict(
    early=early,
    foreign=[m for m in {foreign!r} if m in sys.modules],
    flags=[m for m in flags.FLAGS.flags_by_module_dict()
           if m.split('.')[0] == 'hybridseg'])))
"""


def _probe():
  modules = [module for module in _MODULES if module != _ON_HOST]
  code = _PROBE.format(modules=modules, foreign=_FOREIGN)
  output = subprocess.run(
      [sys.executable, '-c', code], cwd=_ROOT, check=True, text=True,
      capture_output=True, env=os.environ | {'PYTHONPATH': str(_ROOT)}).stdout
  return json.loads(output.splitlines()[-1])


def _imports(path):
  """Returns the dotted names that a file imports, at any place in the file."""
  names = set()
  for node in ast.walk(ast.parse(path.read_text(), str(path))):
    if isinstance(node, ast.Import):
      names |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      assert not node.level, f'{path}: relative import.'
      names |= {f'{node.module}.{alias.name}' for alias in node.names}
  return names


def _parts(path, package):
  """Returns the rooms and top-level modules of a package that a file imports.
  """
  return {name.split('.')[1] for name in _imports(path)
          if name.startswith(f'{package}.')}


def _files(package):
  return sorted((_ROOT / package).rglob('*.py'))


class ImportHybridsegTest(absltest.TestCase):

  def test_loads_little(self):
    probe = _probe()
    self.assertEqual(probe['early'], [])
    self.assertEqual(probe['foreign'], [])
    self.assertEqual(probe['flags'], [])

  def test_what_is_loaded_late_is_what_type_checkers_see(self):
    tree = ast.parse((_ROOT / 'hybridseg/__init__.py').read_text('utf-8'))
    seen = {
        alias.name: node.module for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) for alias in node.names
        if node.module.startswith('hybridseg')}
    self.assertEqual(sorted(seen), sorted(hybridseg.__all__))
    for name, module in seen.items():
      self.assertIs(
          getattr(hybridseg, name),
          getattr(importlib.import_module(module), name), name)
    self.assertContainsSubset(hybridseg.__all__, dir(hybridseg))
    with self.assertRaisesRegex(AttributeError, "no attribute 'loses'"):
      hybridseg.loses  # noqa: B018


class DirectionTest(parameterized.TestCase):

  @parameterized.parameters(
      ('hybridseg', ('experiments', 'data_prep', 'tests')),
      ('experiments', ('tests',)),
      ('data_prep', ('experiments', 'tests')),
  )
  def test_packages(self, package, forbidden):
    self.assertNotEmpty(_files(package))
    for path in _files(package):
      for name in _imports(path):
        self.assertNotIn(name.split('.')[0], forbidden, path)

  def test_data_prep_knows_the_types_only(self):
    for path in _files('data_prep'):
      for name in _imports(path):
        if name.split('.')[0] == 'hybridseg':
          self.assertEqual(name, 'hybridseg.types', path)

  def test_modules_of_the_library(self):
    self.assertNotEmpty(_MODULES)
    for module in _MODULES:
      path = _ROOT / (module.replace('.', '/') + '.py')
      part = module.split('.')[1]
      self.assertIn(part, _MAY_IMPORT, 'A new module needs its place here.')
      for name in _imports(path):
        if name.startswith('hybridseg.'):
          imported = name.split('.')[1]
          self.assertIn(imported, _MAY_IMPORT[part] | {part}, path)

  @parameterized.parameters(*_ROOMS)
  def test_rooms(self, package):
    folders = {
        path.name for path in (_ROOT / package).iterdir()
        if path.is_dir() and path.name != '__pycache__'}
    self.assertEqual(folders, set(_ROOMS[package]) | _OPEN[package])
    known = set()
    for room, others in _ROOMS[package].items():
      self.assertContainsSubset(others, known, 'A row names rows above it.')
      known.add(room)
      beside = set() if room == 'shared' else _BESIDE[package]
      for path in _files(f'{package}/{room}'):
        self.assertContainsSubset(
            _parts(path, package), beside | others | {room}, path)

  @parameterized.parameters(*_SEE_THE_CONFIG)
  def test_a_room_sees_pieces_of_the_config(self, room):
    found = set()
    for path in _files(f'experiments/{room}'):
      for node in ast.walk(ast.parse(path.read_text('utf-8'))):
        # Names of the arguments or attributes of this function or class.
        names = []
        if isinstance(node, ast.FunctionDef):
          names = [a.arg for a in ast.walk(node.args) if isinstance(a, ast.arg)]
        elif isinstance(node, ast.ClassDef):
          names = [a.target.id for a in node.body
                   if isinstance(a, ast.AnnAssign)]
        if 'config' in names:
          found.add(f'{path.stem}.{node.name}')
    self.assertEqual(found, _SEE_THE_CONFIG[room])

  def test_only_rooms_of_many_runs_are_left_out(self):
    self.assertEqual(
        set(_ROOMS['experiments']) - set(_SEE_THE_CONFIG),
        {'configs', 'tables'})

  @parameterized.parameters(
      *((package, room) for package in _ROOMS for room in _ROOMS[package]))
  def test_a_room_says_what_lives_there(self, package, room):
    text = (_ROOT / package / room / '__init__.py').read_text('utf-8')
    self.assertGreater(len(ast.get_docstring(ast.parse(text)) or ''), 80)

  @parameterized.parameters(*_ROOMS)
  def test_the_top_of_a_package(self, package):
    paths = [path for path in (_ROOT / package).glob('*.py')
             if path.name != '__init__.py']
    binaries = {path.stem for path in paths
                if "__name__ == '__main__'" in path.read_text('utf-8')}
    beside = _BESIDE[package]
    self.assertEqual({path.stem for path in paths}, binaries | beside)
    self.assertLessEqual(len(paths), _MAX_AT_THE_TOP)
    for name in beside:
      path = _ROOT / package / f'{name}.py'
      self.assertContainsSubset(
          _parts(path, package), beside | {'shared'}, path)

  def test_tests_stand_alone(self):
    for path in _files('tests'):
      for name in _imports(path):
        parts = name.split('.')
        if parts[0] == 'tests':
          self.assertFalse(parts[1].endswith('_test'), path)
        # Other tests may import helpers that make data from a benchmark, but
        # only its own test may import what it measures.
        elif parts[1:2] == ['benchmarks'] and "__name__ == '__main__'" in (
            _ROOT.joinpath(*parts[:3]).with_suffix('.py').read_text('utf-8')):
          self.assertEqual(path.stem, f'{parts[2]}_test', path)

  @parameterized.parameters(*_FOREIGN)
  def test_library_files_do_not_name(self, package):
    for path in _files('hybridseg'):
      names = {name.split('.')[0] for name in _imports(path)}
      if path == _ROOT / (_ON_HOST.replace('.', '/') + '.py'):
        names -= {'scipy'}
      self.assertNotIn(package, names, path)


if __name__ == '__main__':
  absltest.main()
