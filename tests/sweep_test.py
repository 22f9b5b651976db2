"""Tests for experiments.sweep, which runs cells, prepares sets, makes tables.

Most runs are faked: they only write the files that a finished run leaves.
"""

import contextlib
import csv
import hashlib
import io
import json
import os
from unittest import mock

from absl.testing import absltest
from absl.testing import flagsaver
from absl.testing import parameterized

from experiments import binary
from experiments import csv_files
from experiments.configs import custom
from experiments.configs.tables import ablation
from experiments.configs.tables import acdc
from experiments.configs.tables import endoscene
from experiments.configs.tables import phantom
from experiments.saving import run_folder
from experiments.saving import run_schema
from experiments.tables import claim_holders
from experiments.tables import claims
from experiments.tables import grid
from experiments.tables import sweep_sets
from experiments.training import trainer
from tests import binaries
from tests import tiny

_BINARY = binaries.load('experiments.sweep')
_METHODS = ('strong_only', 'uniform')


def _config(**changes):
  config = phantom.get_config('debug').unlock()
  config.update({'image_size': 16, 'methods': _METHODS, 'seeds': (0, 1),
                 'reference': 'uniform'} | changes)
  return config.lock()


def _dice(method, seed, case):
  """Returns the made-up Dice of one of the 3 cases of a fake run."""
  return (.2 if method == 'strong_only' else .4) + .1 * seed + .1 * case


def _files(folder):
  """Returns the sha256 of each file below a folder, by its path."""
  found = {}
  for root, _, names in os.walk(folder):
    for name in names:
      with open(os.path.join(root, name), 'rb') as f:
        found[os.path.join(root, name)] = hashlib.sha256(f.read()).hexdigest()
  return found


class _Player:
  """Replaces `trainer.train_and_evaluate` by writing the files of a fake run.

  Attributes:
    runs: folders of the runs that were started, in order.
    failing: method whose runs fail.
    stop_at: index of the run that is stopped; None stops no run.
    suspend: function that is called in each run.
  """

  def __init__(self):
    self.runs, self.failing, self.stop_at = [], '', None
    self.suspend = lambda: None

  def __call__(self, config, workdir, *, should_stop=None, check=None):
    self.runs.append(workdir)
    self.suspend()
    if check is not None:
      check()
    os.makedirs(workdir, exist_ok=True)
    method, seed = workdir.split(os.sep)[-2], config.seed
    if method == self.failing:
      raise binary.UserError('too few strong images.')
    run_folder.write_json(
        f'{workdir}/config.json', json.loads(config.to_json()))
    if len(self.runs) - 1 == self.stop_at:
      os.makedirs(f'{workdir}/checkpoints/2')
      raise binary.Stopped('Stopped at step 2 of 4.')
    dice = [_dice(method, seed, case) for case in range(3)]
    csv_files.write_csv(
        f'{workdir}/cases_test.csv', ['id', 'subject', 'dice_lesion'],
        [[f'case{i}', f's{i}', d] for i, d in enumerate(dice)])
    run_folder.write_json(f'{workdir}/metrics.json', {
        'step': 4, 'test': {'dice': sum(dice) / 3, 'iou': .1 + seed},
        'indicators': {'auroc': .75} if method == 'uniform' else {}})


class SweepTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.workdir = os.path.join(tiny.temp_dir(self), 'table')
    self.player = _Player()
    self.prepare = self.enter_context(
        mock.patch.object(sweep_sets, 'prepare', autospec=True))
    self.enter_context(
        mock.patch.object(trainer, 'train_and_evaluate', self.player))
    self.errors = io.StringIO()

  def sweep(self, config=None, **values):
    stdout = io.StringIO()
    with (binaries.with_flags(_BINARY),
          flagsaver.flagsaver(workdir=self.workdir, **values),
          mock.patch.object(
              _BINARY, '_CONFIG', mock.Mock(value=config or _config())),
          contextlib.redirect_stdout(stdout),
          contextlib.redirect_stderr(self.errors)):
      _BINARY.main()
    return stdout.getvalue()

  def runs(self):
    return ['/'.join(run.split(os.sep)[-2:]) for run in self.player.runs]

  def table(self, name='table.md'):
    with open(os.path.join(self.workdir, name), encoding='utf-8') as f:
      return f.read()

  def test_runs_all_cells_once(self):
    text = self.sweep()
    self.assertEqual(self.runs(), [
        'strong_only/seed0', 'uniform/seed0',
        'strong_only/seed1', 'uniform/seed1'])
    self.assertIn('== cell 4 of 4: uniform, 10 % strong, polygon, 30 % faulty, '
                  'seed 1; about 0 min left for 1 cell\n', text)
    self.prepare.reset_mock()
    self.assertIn('4 of 4 cells are done', self.sweep())
    self.assertLen(self.player.runs, 4)
    self.prepare.assert_not_called()  # All cells are done.

  def test_stopped_and_resumed(self):
    self.player.stop_at = 2
    with self.assertRaisesRegex(binary.Stopped, 'at step 2 of 4'):
      self.sweep()
    self.assertLen(self.player.runs, 3)
    self.assertIn('strong_only, 10 % strong, polygon, 30 % faulty, seed 1: '
                  'stopped at step 2\n', self.sweep(list=True))
    self.sweep()
    self.assertEqual(self.runs()[3:], ['strong_only/seed1', 'uniform/seed1'])
    self.assertIn('4 of 4 cells are done; what was not run is blank. 3 test '
                  'cases of 3 subjects. With 3 subjects and 1 comparison, no '
                  'p below 0.25 is possible.\n', self.table())

  def test_failing_cells_do_not_stop_the_others(self):
    self.player.failing = 'strong_only'
    with self.assertRaisesRegex(
        binary.Incomplete, '2 of 4 cells failed: strong_only, .* few strong'):
      self.sweep()
    self.assertIn('Failed: too few strong images.\n', self.errors.getvalue())
    self.assertLen(self.player.runs, 4)
    self.assertIn('| strong_only |  |  |', self.table())
    self.assertIn('seed 1: failed: too few strong images.\n',
                  self.sweep(list=True))
    self.player.failing = ''
    self.sweep()  # The failed cells run again.
    self.assertNotIn('failed', self.sweep(list=True))

  def test_list_changes_nothing(self):
    text = self.sweep(list=True)
    self.assertEqual(text.count('not started'), 4)
    self.assertFalse(os.path.exists(self.workdir))
    self.sweep(max_cells=4)
    before = _files(self.workdir)
    self.assertIn('uniform, 10 % strong, polygon, 30 % faulty, seed 1: done, '
                  'test Dice 0.6000\n', self.sweep(list=True))
    self.assertEqual(_files(self.workdir), before)
    self.assertLen(self.player.runs, 4)

  def test_list_writes_the_tables_anew(self):
    self.sweep()
    before = self.table()
    os.remove(f'{self.workdir}/table.md')
    self.sweep(list=True)
    self.assertEqual(self.table(), before)

  def test_list_beside_a_process_that_trains(self):
    self.sweep(only=['uniform'])
    cell = grid.make_cells(_config(), self.workdir)[0]
    os.makedirs(cell.folder)
    with mock.patch.object(claim_holders, 'machine', lambda: 'another'):
      claims.Claimant().take(cell.claim)
    with open(f'{cell.folder}/timing.jsonl', 'w', encoding='utf-8') as f:
      f.write('{"step": 3}\n{"st')  # The run is still writing.
    self.assertIn(
        'strong_only, 10 % strong, polygon, 30 % faulty, seed 0: running at '
        f'step 3, by process {os.getpid()} on ', self.sweep(list=True))

  def test_several_processes_share_the_cells(self):
    """One cell is claimed by another process, which finishes it later."""
    first = grid.make_cells(_config(), self.workdir)[0]
    other = claims.Claimant().take(first.claim)

    def finish():
      self.assertLen(self.runs(), 3)
      self.assertNotIn('strong_only/seed0', self.runs())
      self.assertIn('3 of 4 cells are done', self.table())
      self.player(first.config, first.folder)
      with other:
        other.finish()

    with mock.patch.object(claims.Claimant, 'pause', side_effect=finish) as p:
      text = self.sweep()
    p.assert_called_once_with()
    self.assertIn('\nWaiting for 1 cell of other processes. What one of them '
                  'leaves is taken over.\n', text)
    self.assertIn('Taken by other processes: 1 cell.', text)
    self.assertIn('4 of 4 cells are done', self.table())

  def test_cells_that_another_process_leaves_are_taken_over(self):
    first = grid.make_cells(_config(), self.workdir)[0]
    other = claims.Claimant().take(first.claim).__enter__()

    def leave():
      with other:
        pass

    with mock.patch.object(claims.Claimant, 'pause', side_effect=leave):
      self.assertNotIn('Taken by other', self.sweep())
    self.assertEqual(self.runs()[3:], ['strong_only/seed0'])
    self.assertIn('4 of 4 cells are done', self.table())

  def test_a_process_that_was_suspended_writes_nothing(self):
    cells = grid.make_cells(_config(), self.workdir)
    take, taken = claims.Claimant.take, {}

    def suspend():
      if len(self.runs()) == 2:
        # What another process does in order to take over.
        name, = os.listdir(cells[1].claim)
        os.rename(os.path.join(cells[1].claim, name),
                  os.path.join(cells[1].claim, 'held_b_b_1_1_1_1'))
        taken[cells[1].claim].renew()

    def remember(claimant, folder, **options):
      taken[folder] = take(claimant, folder, **options)
      return taken[folder]

    self.player.suspend = suspend
    with (mock.patch.object(claims.Claimant, 'take', remember),
          mock.patch.object(
              claims.Claimant, 'pause', side_effect=OSError('end')),
          self.assertRaisesRegex(OSError, 'end')):
      self.sweep()
    self.assertRegex(
        self.errors.getvalue(), r'^uniform, 10 % strong, polygon, 30 % faulty, '
        r'seed 0: it was taken over by process 1 on b, as this one gave no '
        r'sign for 0 s \(was it suspended\?\); this process writes nothing '
        r'more there\.\n$')
    self.assertFalse(os.path.exists(f'{cells[1].folder}/config.json'))
    self.assertFalse(os.path.exists(f'{cells[1].folder}/cell.json'))
    self.assertLen(self.runs(), 4)

  def test_what_another_process_failed_at_is_not_tried_again(self):
    first = grid.make_cells(_config(), self.workdir)[0]
    other = claims.Claimant().take(first.claim)

    def fail():
      with other:
        grid.write_end(first, seconds=3, why='too few strong images.')

    with mock.patch.object(claims.Claimant, 'pause', side_effect=fail):
      with self.assertRaisesRegex(
          binary.Incomplete, '1 of 4 cells failed: strong_only, .* few strong'):
        self.sweep()
    self.assertLen(self.runs(), 3)

  def test_cell_whose_folder_is_in_use(self):
    """Somebody trains the cell's run with experiments.train."""
    first = grid.make_cells(_config(), self.workdir)[0]
    lock = run_folder.lock(first.folder)
    with mock.patch.object(
        claims.Claimant, 'pause', side_effect=lambda: os.close(lock)):
      self.sweep()
    self.assertEqual(self.runs()[3:], ['strong_only/seed0'])

  def test_claims_that_cannot_be_written(self):
    os.makedirs(self.workdir)
    with open(f'{self.workdir}/claims', 'w', encoding='utf-8'):
      pass
    with self.assertRaises(OSError) as caught:
      self.sweep()
    self.assertIn('/table/claims/cells/', caught.exception.filename)

  def test_cell_that_another_process_has_just_done(self):
    play = self.player.__call__

    def with_another(config, workdir, **kwargs):
      if not self.player.runs:
        other = grid.make_cells(_config(), self.workdir)[1]
        play(other.config, other.folder)
      play(config, workdir, **kwargs)

    with mock.patch.object(trainer, 'train_and_evaluate', with_another):
      self.assertIn('Taken by other processes: 1 cell.', self.sweep())
    self.assertCountEqual(self.runs(), [
        f'{m}/seed{s}' for m in _METHODS for s in (0, 1)])

  def test_only_and_max_cells(self):
    with self.assertRaisesRegex(binary.Stopped, 'not yet run: 1 of 2'):
      self.sweep(only=['uniform'], max_cells=1)
    self.sweep(only=['uniform'])
    self.assertEqual(self.runs(), ['uniform/seed0', 'uniform/seed1'])
    with self.assertRaisesRegex(binary.UserError, "--only: 'dii' is not in"):
      self.sweep(only=['dii'])

  def test_cells_of_another_config_are_not_in_the_table(self):
    self.sweep()
    config = _config()
    with config.unlocked():
      config.base.train_steps = 9
    with self.assertRaisesRegex(
        binary.Incomplete, '4 of 4 .* train_steps is 4 there, 9 here'):
      self.sweep(config)
    self.assertLen(self.player.runs, 4)
    self.assertIn('4 of 4 cells are done', self.sweep())  # Unchanged.

  def test_table_by_hand(self):
    self.sweep(only=['strong_only'], max_cells=2)
    # Without runs of the reference method there are no differences, and the
    # line of a method without runs is blank. The means of the two seeds are
    # (.2 + .3 + .4) / 3 and (.3 + .4 + .5) / 3. The smallest mean of a resample
    # is .2, with probability 1 / 108; the second smallest is .2 + .1 / 3, with
    # 3 / 108. Together they exceed 2.5 %, so the interval begins at the latter.
    self.assertIn('| strong_only | 2 of 2 | 0.3500 | 0.0707 | 0.2333 to 0.4667 '
                  '|  |  |  |  |  |\n| uniform |  |  |  |  |  |  |  |  |  |\n',
                  self.table())
    self.sweep(only=['uniform'])
    # Each of 3 subjects is worse by .2. Of the 8 choices of signs, 2 give a
    # mean that is as far from 0, so p is 0.25.
    self.assertIn(
        '| strong_only | 2 of 2 | 0.3500 | 0.0707 | 0.2333 to 0.4667 | -0.2000 '
        '| -0.2000 to -0.2000 | 0.25 | 0.25 |  |\n'
        '| uniform | 2 of 2 | 0.5500 | 0.0707 | 0.4333 to 0.6667 |  |  |  |  | '
        '0.750 |\n', self.table())
    self.assertTrue(os.path.exists(f'{self.workdir}/table.png'))

  def test_difference_on_common_seeds(self):
    with self.assertRaises(binary.Stopped):
      self.sweep(max_cells=3)
    self.assertIn('| strong_only | 2 of 2 | 0.3500 | 0.0707 | 0.2333 to 0.4667 '
                  '| -0.2000 (1 seed) | ', self.table())

  def test_csv_by_hand(self):
    with self.assertRaises(binary.Stopped):
      self.sweep(max_cells=2)
    rows = [*csv.reader(io.StringIO(self.table('table.csv')))]
    self.assertEqual(
        ','.join(rows[0]), 'method,strong_fraction,weak,fault_fraction,seed,'
        'test_dice,test_iou,indicator_auroc,step,seconds,workdir')
    self.assertEqual(
        rows[2][:9], ['uniform', '0.1', 'polygon', '0.3', '0', '0.500000',
                      '0.100000', '0.750000', '4'])
    self.assertEqual(
        rows[2][10], os.path.join(
            'cells', 'phantom_16px_strong10_polygon_faults30', 'uniform',
            'seed0'))
    self.assertEqual(rows[1][7], '')  # The method has no indicators.
    self.assertEqual(rows[4], ['uniform', '0.1', 'polygon', '0.3', '1',
                               *[''] * 6])

  def test_a_config_of_one_run_is_no_table(self):
    with self.assertRaisesRegex(binary.UserError, 'configs/tables/'):
      grid.make_cells(custom.get_config(), 'unused')

  def test_other_cases_are_refused(self):
    self.sweep()
    cell = grid.make_cells(_config(), self.workdir)[1]
    csv_files.write_csv(
        f'{cell.folder}/cases_test.csv', ['id', 'subject', 'dice_lesion'],
        [['case0', 's0', .1]])
    with self.assertRaisesRegex(binary.UserError, 'cases that another cell'):
      self.sweep(list=True)

  @parameterized.named_parameters(
      ('method', {'methods': ('uniform', 'magic')}, "'magic' is none of them"),
      ('no_method', {'methods': ()}, 'config.methods: .* at least one'),
      ('twice', {'methods': ('uniform', 'uniform')}, 'has one of them twice'),
      ('path', {'methods': ('../../x', 'uniform')}, 'is none of them'),
      ('reference', {'reference': 'dii'}, "reference: 'dii' is not in"),
      ('seed', {'seeds': (-1,)}, 'config.seeds: -1'),
      ('fraction', {'strong_fractions': (0.1, 1.0)}, 'below 1'),
      ('kind', {'weak_kinds': ('box',)}, "weak_kinds: 'box'"),
      ('faults', {'fault_fractions': (2.0,)}, 'from 0 to 1'),
      ('set', {'dataset': 'moon'}, "dataset: unknown 'moon'"),
      ('size', {'image_size': 0}, 'image_size'),
  )
  def test_refuses(self, changes, message):
    with self.assertRaisesRegex(binary.UserError, message) as caught:
      self.sweep(_config(**changes))
    self.assertLen(str(caught.exception).splitlines(), 1)
    self.assertFalse(os.path.exists(self.workdir))

  def test_methods_of_one_table_alone(self):
    config = _config(
        methods=('slow', 'uniform'), seeds=(3,),
        variants={'slow': dict(weighting=dict(learning_rate=.01))})
    slow, uniform = grid.make_cells(config, self.workdir)
    self.assertEqual(slow.config.weighting.learning_rate, .01)
    self.assertEqual(slow.config.weighting.name, config.base.weighting.name)
    self.assertEqual(uniform.config.weighting.name, 'uniform')
    self.assertEqual([slow.method, uniform.method], ['slow', 'uniform'])

  def test_each_ablation_changes_one_part(self):
    cells = grid.make_cells(ablation.get_config('debug'), self.workdir)
    configs = {c.method: c.config.to_dict() for c in cells if not c.seed}
    default = configs.pop('dii_dcr')
    for method in ablation.VARIANTS:
      parts = [n for n in default if configs[method][n] != default[n]]
      self.assertLen(parts, 1, method)
      self.assertEqual(
          configs[method][parts[0]].keys(), default[parts[0]].keys(), method)

  @parameterized.parameters(ablation, phantom, endoscene, acdc)
  def test_tables_that_come_with_it(self, module):
    for variant in 'table', 'debug':
      self.assertNotEmpty(
          grid.make_cells(module.get_config(variant), self.workdir))
    with self.assertRaisesRegex(ValueError, 'Unknown variant'):
      module.get_config('uniform')


class TimeLeftTest(absltest.TestCase):

  def test_by_hand(self):
    durations = [('a', 60), ('a', 120), ('b', 300)]
    # Method a takes 90 s on average and b 300 s. Method c has no runs, so the
    # mean of all runs, 160 s, is its estimate.
    self.assertEqual(_BINARY._time_left(durations, ['a', 'b', 'c']),
                     '; about 9 min left for 3 cells')
    self.assertEqual(_BINARY._time_left([], ['a']), '')


class SetsTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.workdir = tiny.temp_dir(self)
    self.settings = sweep_sets.make_settings(
        _config(strong_fractions=(0.1, 0.2)))

  def prepare(self, setting, source=''):
    with contextlib.redirect_stderr(io.StringIO()):
      sweep_sets.prepare(self.workdir, setting, source)

  def test_one_test_split(self):
    first, second = self.settings
    self.prepare(first)
    before = _files(self.workdir)
    self.prepare(first)
    self.assertEqual(_files(self.workdir), before)
    self.prepare(second)
    path = os.path.join(
        sweep_sets.folder(self.workdir, second), 'test_split.json')
    run_folder.write_json(path, run_schema.read(path) | {'sha256': '0'})
    with self.assertRaisesRegex(binary.UserError, 'different test splits'):
      self.prepare(first)

  def test_another_truth_is_another_test_split(self):
    first, second = self.settings
    self.prepare(first)
    with mock.patch.object(sweep_sets, '_SEED', 1):
      with self.assertRaisesRegex(binary.UserError, 'different test splits'):
        self.prepare(second)

  def test_whole_or_not_there(self):
    unfinished = os.path.join(
        self.workdir, 'data', f'.{self.settings[0].name}.unfinished')
    # A process that was killed has left this folder.
    os.makedirs(os.path.join(unfinished, 'records'))
    with mock.patch(
        'data_prep.records.builder.build', side_effect=OSError('full\nx')):
      with self.assertRaisesRegex(binary.UserError, 'prepared .*full x'):
        self.prepare(self.settings[0])
    self.assertEmpty(os.listdir(os.path.join(self.workdir, 'data')))
    self.prepare(self.settings[0])

  def test_source(self):
    with self.assertRaisesRegex(binary.UserError, 'phantom needs none'):
      self.prepare(self.settings[0], '/tmp')
    setting = sweep_sets.make_settings(endoscene.get_config())[0]
    for source in '', self.workdir:
      with self.assertRaisesRegex(binary.UserError, 'holds frames.csv'):
        self.prepare(setting, source)


class RealRunTest(absltest.TestCase):

  def test_stopped_within_a_cell_and_resumed(self):
    workdir = tiny.temp_dir(self)
    cell, = grid.make_cells(
        _config(methods=('strong_only',), seeds=(0,), reference='strong_only'),
        workdir)
    config = cell.config.copy_and_resolve_references().unlock()
    config.model.options.features = (4,)  # One level is traced in little time.
    cells = [cell._replace(config=config.lock())]
    with contextlib.redirect_stdout(io.StringIO()):
      with self.assertRaisesRegex(binary.Stopped, 'at step 2 of 4'):
        _BINARY.run_cells(cells, workdir, should_stop=lambda step: step == 2)
      self.assertEqual(
          grid.read_state(cells[0]).words, 'stopped at step 2')
      self.assertEqual(_BINARY.run_cells(cells, workdir), [])
    state = grid.read_state(cells[0])
    self.assertEqual((state.name, state.step), ('done', 4))
    self.assertGreater(state.seconds, 0)


if __name__ == '__main__':
  absltest.main()
