"""Tests for experiments.saving.indicator_history."""

import collections
import os
from unittest import mock

from absl.testing import absltest
import numpy as np

from data_prep.shared import whole_file
from experiments import binary
from experiments.saving import checkpoints
from experiments.saving import indicator_history
from tests import tiny

_State = collections.namedtuple('State', 'indicators')
_Indicators = collections.namedtuple('Indicators', 'weights')


def _checkpoint(files, shape=(3,), history=None):
  return checkpoints.Checkpoint(
      7, _State(_Indicators(np.zeros(shape))), {'indicator_history': files},
      history)


class IndicatorHistoryTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.workdir = tiny.temp_dir(self)
    self.recorder = indicator_history.Recorder(self.workdir)

  def _add(self, *steps):
    for step in steps:
      self.recorder.add(step, np.full(3, step / 8, np.float32))
    return self.recorder.files()()

  def _names(self):
    return sorted(os.listdir(os.path.join(self.workdir, 'indicator_history')))

  def test_one_file_per_evaluation(self):
    files = self._add(4, 6)
    self.assertEqual([f['step'] for f in files], [4, 6])
    self.assertEqual(self._names(), ['0000000004.npy', '0000000006.npy'])
    for history in (self.recorder.history(), indicator_history.read(
        self.workdir, _checkpoint(files))):
      np.testing.assert_array_equal(history.steps, [4, 6])
      np.testing.assert_array_equal(history[-1], [0.75] * 3)
      self.assertEqual([row[0] for row in history], [0.5, 0.75])

  def test_files_are_those_at_the_moment_of_the_checkpoint(self):
    self.recorder.add(4, np.zeros(3))
    files = self.recorder.files()
    self.recorder.add(6, np.zeros(3))
    self.assertEqual([f['step'] for f in files()], [4])
    self.assertLen(self.recorder.files()(), 2)

  def test_indicators_of_classes_are_averaged(self):
    self.recorder.add(4, np.float32([[0, 1], [0.5, 0.5]]))
    history = indicator_history.read(
        self.workdir, _checkpoint(self.recorder.files()(), (2, 2)))
    np.testing.assert_array_equal(history[0], [0.5, 0.5])

  def test_resume_keeps_what_the_checkpoint_names(self):
    files = self._add(4, 6)
    again = indicator_history.Recorder(self.workdir)
    with mock.patch.object(whole_file, 'open_whole') as written:
      again.resume(_checkpoint(files[:1]))
      self.assertEqual(again.files()(), files[:1])
    written.assert_not_called()
    self.assertEqual(self._names(), ['0000000004.npy'])

  def test_a_run_that_starts_anew_finds_no_files(self):
    self._add(4)
    indicator_history.Recorder(self.workdir).resume(None)
    self.assertEmpty(self._names())

  def test_missing_or_changed_files_are_refused_in_one_line(self):
    files = self._add(4)
    path = os.path.join(self.workdir, 'indicator_history', '0000000004.npy')
    with self.assertRaisesRegex(
        binary.UserError, '0000000004.npy was changed, and checkpoint 7 of the '
        'run needs it: restore it, or use another --workdir.'):
      indicator_history.read(self.workdir, _checkpoint(files, (4,)))
    with open(path, 'r+b') as f:
      f.seek(-1, os.SEEK_END)
      f.write(b'\1')
    with self.assertRaisesRegex(binary.UserError, '4.npy was changed'):
      self.recorder.resume(_checkpoint(files))
    os.remove(path)
    with self.assertRaisesRegex(
        binary.UserError, r'4.npy cannot be read \(No such file or dire'):
      self.recorder.resume(_checkpoint(files))
    with self.assertRaisesRegex(binary.UserError, 'it lacks indicator_history'):
      self.recorder.resume(_checkpoint(files)._replace(session={}))

  def test_history_of_an_older_version_becomes_files(self):
    old = {'step': np.array([4, 6]),
           'indicators': np.float32([[0.5] * 3, [1] * 3])}
    open(os.path.join(self.workdir, 'indicator_history.npz'), 'wb').close()
    self.recorder.resume(_checkpoint(None, history=old))
    self.assertEqual(os.listdir(self.workdir), ['indicator_history'])
    history = indicator_history.read(
        self.workdir, _checkpoint(self.recorder.files()()))
    np.testing.assert_array_equal(history.steps, old['step'])
    np.testing.assert_array_equal(list(history), old['indicators'])
    with self.assertRaisesRegex(binary.UserError, 'history.npz .* move the'):
      self.recorder.resume(_checkpoint(None, history={'step': np.zeros(1)}))

  def test_full_disk_is_an_error_of_the_checkpoint(self):
    with mock.patch.object(whole_file, 'sync', side_effect=OSError(28, 'full')):
      self.recorder.add(4, np.zeros(3))
      with self.assertRaisesRegex(OSError, 'full'):
        self.recorder.files()()
    self.assertEmpty(self._names())


if __name__ == '__main__':
  absltest.main()
