"""Tests for experiments.saving.run_log."""

import json
import os

from absl.testing import absltest
from absl.testing import parameterized
from hybridseg import indicators
import jax
import jax.numpy as jnp
import numpy as np

from experiments import binary
from experiments.saving import run_log
from tests import tiny


class LogTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.workdir = tiny.temp_dir(self)
    self.log = run_log.Log(self.workdir)

  def _lines(self):
    with open(os.path.join(self.workdir, 'log.jsonl'), encoding='utf-8') as f:
      return [json.loads(line) for line in f]

  def test_reports_means_of_what_is_finite(self):
    self.log.collect(1, {'loss': 1.0, 'skipped': 0.0})
    self.log.collect(2, {'loss': float('nan'), 'skipped': 1.0}, {'terms': []})
    self.log.collect(3, {'loss': 2.0, 'skipped': 0.0})
    self.assertTrue(self.log.has_pending)
    self.assertEqual(self.log.report(3), {'loss': 1.5, 'skipped': 1 / 3})
    self.assertFalse(self.log.has_pending)
    self.log.collect(4, {'loss': float('inf')}, {'terms': ['x']})
    self.assertEqual(self.log.report(4), {'loss': None})
    self.log.flush()
    self.assertEqual(self._lines(), [
        {'step': 2, 'skipped_update': {'terms': []}},
        {'step': 3, 'loss': 1.5, 'skipped': 1 / 3},
        {'step': 4, 'skipped_update': {'terms': ['x']}},
        {'step': 4, 'loss': None}])

  def test_counts_skipped_updates_in_a_row(self):
    for step, causes in enumerate((None, {'terms': []}, {'terms': []})):
      self.log.collect(step, {}, causes)
    self.assertEqual(self.log.skipped_in_a_row, 2)
    self.log.collect(3, {})
    self.assertEqual(self.log.skipped_in_a_row, 0)

  def test_best(self):
    best = [
        self.log.write_evaluation(step, dice, {'x': 0.5})
        for step, dice in ((10, 0.5), (20, 0.4), (30, 0.5), (40, 0.6))]
    self.assertEqual(best, [True, False, False, True])
    self.assertEqual(self.log.best, {'step': 40, 'val_dice': 0.6})
    self.assertTrue(self.log.evaluated(30))
    self.assertFalse(self.log.evaluated(31))

  def test_nan_is_never_the_best(self):
    nan = float('nan')
    best = [
        self.log.write_evaluation(step, dice, {})
        for step, dice in ((1, nan), (2, 0.1), (3, nan), (4, 0.2), (5, nan))]
    self.assertEqual(best, [False, True, False, True, False])
    self.assertEqual(self.log.best, {'step': 4, 'val_dice': 0.2})
    self.log.flush()  # JSON cannot hold nan.
    self.assertEqual([line['val_dice'] for line in self._lines()],
                     [None, 0.1, None, 0.2, None])
    self.assertTrue(self.log.evaluated(5))

  def test_nan_that_an_older_version_kept_is_forgotten(self):
    session = self.log.session() | {'best': {'step': 1, 'val_dice': np.nan}}
    session = json.loads(json.dumps(session))
    self.log.restore(session)
    self.assertIsNone(self.log.best)
    self.assertTrue(self.log.write_evaluation(2, 0.0, {}))
    self.assertEqual(run_log.known_best(self.log.session()),
                     {'step': 2, 'val_dice': 0.0})
    self.assertIsNone(run_log.known_best({'best': None}))

  def test_warning_has_a_line_of_its_own(self):
    self.log.write_evaluation(1, 0.3, {'x': 0.5}, 'collapsed')
    self.log.flush()
    self.assertEqual(self._lines(), [
        {'step': 1, 'val_dice': 0.3, 'x': 0.5},
        {'step': 1, 'warning': 'collapsed'}])

  def test_restored_log_goes_on_with_the_same_bytes(self):
    self.log.collect(1, {'loss': 0.1})
    self.log.write_evaluation(1, 0.3, {})
    session = json.loads(json.dumps(self.log.session()))
    other = run_log.Log(self.workdir)
    other.restore(session)
    for log in self.log, other:
      log.collect(2, {'loss': 0.2})
      log.report(2)
    self.assertEqual(other.session(), self.log.session())

  def test_folder_that_is_gone_is_one_line(self):
    os.rmdir(self.workdir)
    with self.assertRaisesRegex(binary.UserError, 'Cannot write .*log.jsonl'):
      self.log.flush()
    os.mkdir(self.workdir)  # The folder is needed for the clean-up.


class CollapseTest(parameterized.TestCase):

  @parameterized.parameters(
      ([1, 1, 1, 1, 1], False),
      ([0, 0, 0, 0, 1], False),  # A mean of 0.2 is just enough.
      ([0, 0, 0, 0, 0], True),
      ([0, 0, 0, 0, .9], True),
      ([.1, .1, .1, .1, .1], True))  # The mean alone decides.
  def test_warns_where_hardly_a_label_counts(self, weights, collapsed):
    state = indicators.init_indicators(5)._replace(
        weights=jnp.float32(weights))
    health = {f'indicator_{name}': float(value) for name, value in
              indicators.indicator_health(state).items()}
    self.assertEqual(bool(run_log.collapse_warning(health)), collapsed)

  def test_says_how_far_they_sank(self):
    warning = run_log.collapse_warning({
        'indicator_mean': .125, 'indicator_share_at_0': .75,
        'indicator_effective_share': .2})
    self.assertIn('mean is 0.12, 75% are at 0 (effective share 0.20)', warning)


class ProgressTest(absltest.TestCase):

  def test_writes_speed_memory_and_compilations(self):
    workdir = tiny.temp_dir(self)
    progress = run_log.Progress(workdir, 10, images_per_step=4)
    before = run_log.num_compilations()
    jax.jit(lambda x: x + 1.2345)(np.float32(1))
    means = {'strong_loss': 1.0, 'weak_loss': None, 'skipped': 0.2}
    progress.print(0, means)  # The clock has not started yet.
    progress.start(1)
    progress.print(1, means)
    progress.print(5, means)
    with open(os.path.join(workdir, 'timing.jsonl'), encoding='utf-8') as f:
      *first, line = map(json.loads, f)
    self.assertEqual([x['images_per_s'] for x in first], [None, None])
    self.assertEqual(line['step'], 5)
    self.assertGreater(line['images_per_s'], 0)
    self.assertGreater(line['compilations'], before)
    self.assertBetween(line['resident_mib'], 10, 1e6)


if __name__ == '__main__':
  absltest.main()
