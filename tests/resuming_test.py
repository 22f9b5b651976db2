"""Tests which changes of a config are accepted when a run is resumed."""

import contextlib
import io
import json
import os
import shutil

from absl.testing import absltest
from absl.testing import parameterized
import hybridseg
import jax
import ml_collections

from experiments import binary
from experiments.configs import versions
from experiments.saving import checkpoint_files
from experiments.saving import resuming
from experiments.saving import run_folder
from experiments.training import reproduce
from experiments.training import trainer
from tests import tiny


def _stored(**changes):
  return json.loads(tiny.debug_config(**changes).to_json())


class RunIdTest(parameterized.TestCase):

  def test_what_may_change_is_not_in_it(self):
    wanted = resuming.run_id(_stored(), 'set')
    for changes in (
        dict(train_steps=6), dict(mapping='jit'), dict(log_every_steps=2),
        dict(eval_every_steps=3), dict(checkpoint_every_steps=3),
        dict(input=dict(num_workers=2, eval_batch_size=4, data_dir='x'))):
      self.assertEqual(resuming.run_id(_stored(**changes), 'set'), wanted)
    for changes in dict(seed=1), dict(weighting=dict(every_steps=2)):
      self.assertNotEqual(resuming.run_id(_stored(**changes), 'set'), wanted)
    self.assertNotEqual(resuming.run_id(_stored(), 'other'), wanted)

  def test_of_version_1_is_as_it_was_computed_then(self):
    config = {'input': {'data_dir': 'a', 'x': 1}, 'train_steps': 8,
              'weighting': {'initial_from': '', 'y': 2}}
    # sha256 of [{"input": {"x": 1}, "train_steps": 8, "weighting": {"y": 2}},
    # "set"], as `json.dumps` writes it with sorted keys.
    self.assertEqual(
        resuming.run_id(config, 'set'),
        'c12056ff8c158d775b01837f72efdb8c366f757a'
        '6764e484dae2536e02fcc2b7')


class ChangesTest(parameterized.TestCase):

  @parameterized.parameters(
      (dict(seed=1), 'seed is 0 there, 1 here'),
      (dict(input=dict(weak_batch_size=16)),
       'input.weak_batch_size is 8 there, 16 here'),
      (dict(supervision=dict(loss_by_kind=dict(box=((1.0, 'box'),)))),
       'supervision.loss_by_kind.box is None there'),
      (dict(model=dict(options=dict(features=(8,) * 60))),
       r'model.options.features is \[4\] there'),
      (dict(max_skipped_in_a_row=3), 'max_skipped_in_a_row is 20 there'))
  def test_all_else_is_refused_in_one_line(self, changes, message):
    found = resuming.changes(_stored(), _stored(train_steps=6, **changes))
    with self.assertRaisesRegex(binary.UserError, message) as caught:
      resuming.check_resumable(found, _stored(), 0, 'run')
    self.assertNotIn('\n', str(caught.exception))
    self.assertLess(len(str(caught.exception)), 193)

  def test_fewer_steps_than_are_done_are_refused(self):
    found = resuming.changes(_stored(train_steps=8), _stored(train_steps=4))
    resuming.check_resumable(found, _stored(), 4, 'run')
    with self.assertRaisesRegex(
        binary.UserError, 'train_steps was 8, is 4, and it is at step 6 '
        'already. Use 6 or more'):
      resuming.check_resumable(found, _stored(), 6, 'run')

  def test_a_share_of_the_steps_keeps_them(self):
    changes = dict(supervision=dict(weak_first_share=0.5))
    found = resuming.changes(_stored(**changes), _stored(
        train_steps=8, **changes))
    with self.assertRaisesRegex(binary.UserError, 'weak_first_share is a sha'):
      resuming.check_resumable(found, _stored(**changes), 2, 'run')
    resuming.check_resumable(found, _stored(**changes), 0, 'run')

  def test_learning_rate_at_the_joint(self):
    optimizer = ml_collections.ConfigDict(
        dict(learning_rate=1.0, warmup_steps=0))
    change = resuming.Change('train_steps', 4, 8)
    # The cosine schedule of 4 steps ends at 0.5 * (1 + cos(pi)) = 0; that of 8
    # steps has 0.5 * (1 + cos(pi / 2)) = 0.5 at step 4.
    self.assertIn('train_steps was 4, is 8: at step 4 the learning rate goes '
                  'from 0 to 0.5,', resuming.joint(change, optimizer, 4))


class BitEqualityTest(absltest.TestCase):

  def test_pieces(self):
    here = {'hybridseg': hybridseg.__version__,
            'config_version': versions.VERSION}
    start = [{'from_step': 0, 'why': 'start'} | here]
    change = resuming.Change('mapping', 'pmap', 'jit')
    harmless = resuming.Change('log_every_steps', 1, 2)
    self.assertEqual(resuming.bit_equality(None, [], 0), start)
    self.assertEqual(resuming.bit_equality(start, [harmless], 2), start)
    self.assertEqual(
        resuming.bit_equality(start, [change, harmless], 2), start + [
            {'from_step': 2, 'why': "mapping was 'pmap', is 'jit'"} | here])
    self.assertEqual(resuming.bit_equality(start, [change], 0), start)
    old = resuming.bit_equality(None, [], 2)
    self.assertEqual([piece['why'] for piece in old],
                     ['start', 'resumed by another version'])
    self.assertEqual([piece['config_version'] for piece in old],
                     [1, versions.VERSION])


class ResumeTest(absltest.TestCase):

  def tearDown(self):
    super().tearDown()
    jax.clear_caches()

  def test_a_finished_run_goes_on_with_another_length_and_mapping(self):
    workdir = os.path.join(tiny.temp_dir(self), 'run')
    shutil.copytree(tiny.run_dir(), workdir)
    config = tiny.debug_config(
        train_steps=6, mapping='jit', log_every_steps=3, eval_every_steps=3,
        checkpoint_every_steps=3,
        input=dict(num_workers=1, eval_batch_size=4)).lock()
    with self.assertRaisesRegex(binary.UserError, 'seed is 0 there, 1 here'):
      trainer.train_and_evaluate(tiny.debug_config(seed=1), workdir)
    with contextlib.redirect_stdout(io.StringIO()) as out:
      results = trainer.train_and_evaluate(config, workdir)
    self.assertEqual(results['step'], 6)
    self.assertIn('at step 4 the learning rate goes from 0 to', out.getvalue())
    session = run_folder.read_sessions(workdir)[-1]
    self.assertIn('train_steps was 4, is 6', session['config_changes'])
    self.assertLen(session['config_changes'], 7)
    piece = run_folder.read_bit_equality(workdir)[-1]
    self.assertEqual(piece['from_step'], 4)
    self.assertEqual(
        piece['why'], "mapping was 'pmap', is 'jit'; train_steps was 4, is 6")
    # The checkpoints from before the change still belong to the run.
    store = run_folder.open_checkpoints(
        workdir, run_folder.read_config(workdir),
        session['dataset_fingerprint'])
    for step in 4, 6:
      checkpoint_files.verify(
          os.path.join(workdir, 'checkpoints', str(step)), step,
          store.run_ids)
    with self.assertRaisesRegex(binary.UserError, 'at step 6 already'):
      trainer.train_and_evaluate(tiny.debug_config(), workdir)

  def test_a_run_of_which_the_length_was_raised_is_not_finished(self):
    workdir = os.path.join(tiny.temp_dir(self), 'run')
    shutil.copytree(tiny.run_dir(), workdir)
    with self.assertRaises(binary.Stopped):
      trainer.train_and_evaluate(
          tiny.debug_config(train_steps=6), workdir,
          should_stop=lambda step: step == 4)
    with self.assertRaisesRegex(
        binary.UserError, 'is not finished: .* is of step 4, not 6'):
      reproduce.reproduce(workdir, tiny.temp_dir(self))


if __name__ == '__main__':
  absltest.main()
