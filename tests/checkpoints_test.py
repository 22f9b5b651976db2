"""Tests for experiments.saving.checkpoints."""

import collections
import errno
import os
import shutil
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import jax
import numpy as np

from experiments import binary
from experiments.saving import checkpoint_files
from experiments.saving import checkpoints
from tests import tiny


def _state(value=1.0, width=2):
  return {
      'params': ({'kernel': np.full((3, width), value, np.float32)},),
      'step': np.int32(7),
  }


def _save(store, *steps, **kwargs):
  for step in steps:
    store.save(
        step, _state(step), {'lines': [step]}, lambda: [{'step': 1}], **kwargs)
  store.wait()


class CheckpointsTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.workdir = tiny.temp_dir(self)
    self.store = checkpoints.Checkpoints(self.workdir, run_id='run')

  def test_restores_what_was_saved(self):
    self.assertIsNone(self.store.restore(_state()))
    _save(self.store, 3, 5)
    restored = self.store.restore(_state())
    self.assertEqual(restored.step, 5)
    kernel = restored.state['params'][0]['kernel']
    np.testing.assert_array_equal(kernel, np.full((3, 2), 5, np.float32))
    self.assertEqual(restored.state['step'], 7)
    self.assertEqual(restored.session, {
        'lines': [5], 'indicator_history': [{'step': 1}]})
    self.assertIsNone(restored.history)
    self.assertEqual(
        checkpoints.state_sha256(restored.state),
        checkpoints.state_sha256(_state(5)))
    self.assertEqual(self.store.restore(_state(), step=3).step, 3)
    shapes = jax.eval_shape(lambda: jax.tree.map(jax.numpy.asarray, _state()))
    self.assertEqual(self.store.restore(shapes).step, 5)

  def test_a_field_without_content_may_be_younger_than_the_checkpoint(self):
    old = collections.namedtuple('State', 'params step')
    new = collections.namedtuple('State', 'params step teachers')
    self.store.save(3, old(**_state()), {}, list, best_step=None)
    self.store.wait()
    restored = self.store.restore(new(**_state(), teachers=None)).state
    self.assertIsInstance(restored, new)
    self.assertIsNone(restored.teachers)
    np.testing.assert_array_equal(
        restored.params[0]['kernel'], _state()['params'][0]['kernel'])
    with self.assertRaisesRegex(binary.UserError, 'teachers is absent there'):
      self.store.restore(new(**_state(), teachers=np.float32(1)))

  def test_keeps_the_newest_and_the_best(self):
    _save(self.store, 1, 2, 3, 4, best_step=1)
    self.assertEqual(self.store.steps(), [4, 3, 1])
    _save(self.store, 5, best_step=5)
    self.assertEqual(self.store.steps(), [5, 4])
    self.assertCountEqual(
        os.listdir(os.path.join(self.workdir, 'checkpoints')), ['4', '5'])

  def test_record_may_change_after_saving_a_copy(self):
    record = {'lines': [1]}
    self.store.save(1, _state(), record, list)
    record['lines'].append(2)
    self.store.wait()
    self.assertEqual(self.store.restore(_state()).session, {
        'lines': [1], 'indicator_history': []})

  def test_without_its_history_no_checkpoint_is_written(self):
    def fail():
      raise OSError(errno.EIO, 'Input/output error')

    self.store.save(1, _state(), {}, fail)
    with self.assertRaisesRegex(binary.UserError, 'Cannot write checkpoint'):
      self.store.wait()
    self.assertEmpty(self.store.steps())

  def test_unfinished_ones_do_not_count_and_are_cleaned(self):
    _save(self.store, 1)
    root = os.path.join(self.workdir, 'checkpoints')
    shutil.copytree(
        os.path.join(root, '1'), os.path.join(root, '.unfinished-2'))
    self.assertEqual(self.store.restore(_state()).step, 1)
    self.store.clean()
    self.assertEqual(os.listdir(root), ['1'])

  def test_refuses_another_model(self):
    _save(self.store, 1)
    with self.assertRaises(binary.UserError) as caught:
      self.store.restore(_state(width=4))
    self.assertRegex(
        str(caught.exception),
        r'params/0/kernel is float32\[3, 2\] there, float32\[3, 4\] here')
    self.assertNotIn('\n', str(caught.exception))

  def test_refuses_a_newer_format(self):
    with mock.patch.object(checkpoint_files, '_FORMAT', 3):
      _save(self.store, 3)
    with self.assertRaisesRegex(binary.UserError, 'newer hybridseg.*format 3'):
      self.store.restore(_state())
    self.assertEqual(self.store.steps(), [3])

  def test_refuses_if_none_is_intact(self):
    _save(self.store, 1, 2)
    for step in '12':
      os.remove(os.path.join(
          self.workdir, 'checkpoints', step, 'manifest.json'))
    # The one line of the error is enough.
    with self.assertNoLogs(level='WARNING'):
      with self.assertRaisesRegex(
          binary.UserError, r'all of \[1, 2\] are damaged \(manifest.json is'):
        self.store.restore(_state())
    with self.assertRaisesRegex(binary.UserError, r'step 9 .* \[1, 2\]'):
      self.store.restore(_state(), step=9)

  def test_sets_damaged_ones_aside_only_beside_an_intact_one(self):
    _save(self.store, 1, 2)
    root = os.path.join(self.workdir, 'checkpoints')
    for step in '21':
      os.rename(os.path.join(root, step, 'manifest.json'),
                os.path.join(root, step, 'kept'))
    # The folders stay in place: otherwise, a second start would find no
    # checkpoints and begin anew.
    for _ in range(2):
      with self.assertRaisesRegex(binary.UserError, 'No intact checkpoint'):
        self.store.restore(_state(), set_aside=True)
      self.assertCountEqual(os.listdir(root), ['1', '2'])
    os.rename(os.path.join(root, '1', 'kept'),
              os.path.join(root, '1', 'manifest.json'))
    self.assertEqual(self.store.restore(_state(), set_aside=True).step, 1)
    self.assertCountEqual(os.listdir(root), ['1', '2.damaged'])

  def test_full_disk_keeps_the_last_one(self):
    _save(self.store, 1)
    full = OSError(errno.ENOSPC, 'No space left on device')
    with mock.patch.object(
        checkpoint_files, 'write_manifest', side_effect=full):
      self.store.save(2, _state(), {}, list)
      with self.assertRaises(binary.UserError) as caught:
        self.store.wait()
    message = str(caught.exception)
    self.assertIn('No space left on device', message)
    self.assertIn('The one of step 1 is intact', message)
    self.assertNotIn('\n', message)
    self.assertEqual(
        os.listdir(os.path.join(self.workdir, 'checkpoints')), ['1'])
    self.assertEqual(self.store.restore(_state()).step, 1)


class VerifyTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.workdir = tiny.temp_dir(self)
    self.store = checkpoints.Checkpoints(self.workdir, run_id='run')
    _save(self.store, 1, 2)
    self.folder = os.path.join(self.workdir, 'checkpoints', '2')

  def _assert_damaged(self, message):
    with self.assertRaisesRegex(checkpoint_files.Damaged, message):
      checkpoint_files.verify(self.folder, 2, ['run'])
    with self.assertLogs(level='WARNING') as logs:
      self.assertEqual(self.store.restore(_state()).step, 1)
    self.assertLen(logs.records, 1)
    self.assertIn('checkpoints/2 is damaged', logs.output[0])

  def _change(self, name, change):
    path = os.path.join(self.folder, name)
    with open(path, 'rb') as f:
      content = f.read()
    with open(path, 'wb') as f:
      f.write(change(content))

  def test_intact(self):
    checkpoint_files.verify(self.folder, 2, ['run'])
    checkpoint_files.verify(self.folder, 2)

  @parameterized.parameters('session.json', 'state/_METADATA', 'structure.json')
  def test_changed(self, name):
    self._change(name, lambda c: c[:-1] + bytes([c[-1] ^ 1]))
    self._assert_damaged(f'{name} was changed')

  @parameterized.parameters('session.json', 'state/_METADATA', 'structure.json')
  def test_truncated(self, name):
    self._change(name, lambda c: c[:-1])
    self._assert_damaged(f'{name} has .* bytes, not')

  def test_missing_and_added(self):
    os.rename(
        os.path.join(self.folder, 'structure.json'),
        os.path.join(self.folder, 'unknown.json'))
    self._assert_damaged('structure.json is missing')

  def test_added(self):
    shutil.copy(os.path.join(self.folder, 'structure.json'),
                os.path.join(self.folder, 'state', 'x'))
    self._assert_damaged('state/x does not belong there')

  @parameterized.parameters(b'', b'{', b'[]', b'{}', b'\xff')
  def test_manifest_cannot_be_read(self, content):
    self._change('manifest.json', lambda _: content)
    self._assert_damaged('manifest.json cannot be read')

  def test_manifest_changed(self):
    self._change(
        'manifest.json', lambda c: c.replace(b'"step": 2', b'"step": 3'))
    self._assert_damaged('manifest.json was changed')

  def test_folder_of_another_step(self):
    shutil.rmtree(self.folder)
    shutil.copytree(
        os.path.join(self.workdir, 'checkpoints', '1'), self.folder)
    self._assert_damaged('written as step 1')

  def test_folder_of_another_run(self):
    with self.assertRaisesRegex(
        checkpoint_files.Damaged, 'another config or set'):
      checkpoint_files.verify(self.folder, 2, ['other'])

  def test_set_aside_makes_room(self):
    os.remove(os.path.join(self.folder, 'session.json'))
    with self.assertLogs(level='WARNING'):
      self.store.restore(_state(), set_aside=True)
    self.assertEqual(self.store.steps(), [1])
    self.assertTrue(os.path.isdir(self.folder + '.damaged'))
    _save(self.store, 2)
    self.assertEqual(self.store.restore(_state()).step, 2)


class StateSha256Test(absltest.TestCase):

  def test_depends_on_every_part(self):
    x = np.arange(4, dtype=np.float32)
    states = (
        {'a': x}, {'b': x}, {'a': x + 1}, {'a': x.reshape(2, 2)},
        {'a': x.view(np.int32)}, {'a': x[:3]})
    hashes = [checkpoints.state_sha256(s) for s in states]
    self.assertLen(set(hashes), len(states))
    self.assertEqual(
        hashes[0], checkpoints.state_sha256({'a': jax.numpy.asarray(x)}))


if __name__ == '__main__':
  absltest.main()
