"""Tests for tables.claims, which several machines share."""

import itertools
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized

from experiments.tables import claim_holders
from experiments.tables import claims


class _Machine:
  """A process on a machine of its own, whose clocks start anywhere."""

  def __init__(self, name, start_s):
    self.name, self.now = name, start_s
    self.claimant = claims.Claimant(
        clock=lambda: self.now, awake=lambda: self.now, sleep=self.sleep)

  def sleep(self, seconds):
    self.now += seconds

  def take(self, folder, **options):
    with (mock.patch.object(claim_holders, 'machine', lambda: self.name),
          mock.patch.object(
              claim_holders.platform, 'node', lambda: f'host of_{self.name}')):
      return self.claimant.take(folder, **options)

  def watch(self, folder):
    """Looks each second until the claim can be taken; returns the seconds."""
    for seconds in itertools.count():
      claim = self.take(folder)
      if claim is not None:
        return claim, seconds
      self.sleep(1)


class ClaimsTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    temporary = self.enter_context(tempfile.TemporaryDirectory())
    self.folder = os.path.join(temporary, 'claims', 'a')
    self.a, self.b = _Machine('a', 5.0), _Machine('b', 9e6)
    self.err = self.enter_context(
        mock.patch.object(claims.sys, 'stderr', mock.Mock(spec=sys.stderr)))
    # No test waits for a real beat.
    self.enter_context(mock.patch.object(claims.Claim, '_beat'))

  def told(self):
    return ''.join(call.args[0] for call in self.err.write.call_args_list)

  def names(self):
    return os.listdir(self.folder)

  def test_one_file_tells_who_holds_it(self):
    with self.a.take(self.folder):
      name, = self.names()
      self.assertRegex(
          name, rf'^held_host-of-a_a_{os.getpid()}_\d+_[0-9a-f]{{12}}_0$')
      self.assertIsNone(self.b.take(self.folder))
      self.assertIsNone(self.a.take(self.folder))
    self.assertEqual(self.names(), ['free'])
    with self.b.take(self.folder):
      self.assertNotEqual(self.names(), ['free'])
    self.assertEqual(self.told(), '')

  def test_beats_keep_it_however_long(self):
    with self.a.take(self.folder) as claim:
      for _ in range(30):
        for machine in self.a, self.b:
          machine.sleep(claims.BEAT_S)
        claim.renew()
        self.assertIsNone(self.b.take(self.folder))
      claim.check()

  def test_taken_over_after_a_lease_without_a_beat(self):
    with self.a.take(self.folder) as first:
      second, seconds = self.b.watch(self.folder)
      self.assertEqual(seconds, claims.LEASE_S)
      self.assertEqual(
          self.told(), f'notice: takes over from process {os.getpid()} on '
          'host-of-a, which has given no sign for 60 s\n')
      with second:
        held = self.names()
        self.a.sleep(75)
        with self.assertRaisesRegex(
            claims.Lost, rf'^it was taken over by process {os.getpid()} on '
            r'host-of-b, as this one gave no sign for 75 s \(was it '
            r'suspended\?\)$'):
          first.check()
        self.assertEqual(self.names(), held)
    self.assertEqual(self.names(), ['free'])

  def test_the_loser_leaves_the_claim_alone(self):
    first = self.a.take(self.folder)
    second, _ = self.b.watch(self.folder)
    with second:
      self.a.sleep(2)
      with self.assertRaises(claims.Lost):
        with first:
          first.check()
      second.renew()
      second.check()

  def test_a_beat_at_the_last_moment_keeps_it(self):
    with self.a.take(self.folder) as claim:
      for _ in range(59):
        self.assertIsNone(self.b.take(self.folder))
        self.b.sleep(1)
      self.a.sleep(59)
      claim.check()  # It beats, since its last beat is old.
      self.b.sleep(1)
      self.assertIsNone(self.b.take(self.folder))

  def test_a_watcher_that_was_suspended_watches_on(self):
    with self.a.take(self.folder) as claim:
      self.assertIsNone(self.b.take(self.folder))
      self.b.sleep(3600)  # Perhaps the other machine slept, too.
      self.assertIsNone(self.b.take(self.folder))
      claim.check()

  def test_who_decided_too_early_takes_nothing(self):
    """A process that is suspended before its rename must not take a live one.

    It has seen the name of the dead process 'a'. When it wakes up, 'b' has
    taken over, and 'b' is alive.
    """
    first = self.a.take(self.folder)
    late = _Machine('c', 0.0)
    for _ in range(60):
      late.take(self.folder)
      late.sleep(1)
    rename, taken = os.rename, []

    def suspended(old, new):
      if not taken:
        taken.append(None)
        taken[0], _ = self.b.watch(self.folder)
      rename(old, new)

    with mock.patch.object(claims.os, 'rename', suspended):
      self.assertIsNone(late.take(self.folder))
    with taken[0] as second:
      self.b.sleep(2)
      second.check()
    del first

  def test_an_answer_that_was_lost(self):
    """A network file system may repeat a request that it has carried out."""
    rename = os.rename

    def twice(old, new):
      rename(old, new)
      rename(old, new)

    with self.a.take(self.folder) as claim:
      with mock.patch.object(claims.os, 'rename', twice):
        claim.renew()
        self.a.sleep(2)
        claim.check()
      claim.check()

  def test_a_disk_that_does_not_answer(self):
    with self.a.take(self.folder) as claim:
      with mock.patch.object(claims.os, 'rename', side_effect=OSError('gone')):
        self.a.sleep(30)
        claim.check()  # Nobody may have taken over yet.
        self.a.sleep(1)
        with self.assertRaisesRegex(OSError, 'gone'):
          claim.check()
      claim.check()

  def test_what_is_finished_is_not_taken_at_once(self):
    with mock.patch.object(claim_holders, 'machine', lambda: 'a'):
      with self.a.take(self.folder) as claim:
        claim.finish()
    self.assertEqual(self.names(), ['done_a'])
    self.assertIsNone(self.b.take(self.folder))
    # Its results were removed: a client of a network file system is now sure.
    claim, seconds = self.b.watch(self.folder)
    self.assertEqual(seconds, claims.LEASE_S)
    with claim:
      pass
    self.assertEqual(self.names(), ['free'])

  def test_a_process_of_the_same_machine_sees_what_is_finished(self):
    with self.a.take(self.folder) as claim:
      with mock.patch.object(claim_holders, 'machine', lambda: 'a'):
        claim.finish()
    with self.a.take(self.folder):
      pass
    self.assertEqual(self.names(), ['free'])

  def test_work_that_is_in_use_is_left_alone(self):
    self.assertIsNone(self.a.take(self.folder, in_use=lambda: True))
    self.assertEqual(self.names(), ['free'])

  def test_an_ended_process_of_this_machine_is_taken_over_at_once(self):
    code = (f'import os, sys; sys.path[:] = {sys.path!r}\n'
            'from experiments.tables import claims\n'
            f'claims.Claimant().take({self.folder!r}); os._exit(9)')
    process = subprocess.Popen([sys.executable, '-c', code])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    self.assertNotEqual(self.names(), ['free'])
    self.assertIsNone(claims.holder(self.folder))  # A zombie counts as ended.
    process.wait()
    self.assertIsNone(self.b.take(self.folder))  # Another machine cannot know.
    with claims.Claimant().take(self.folder):
      self.assertStartsWith(
          self.told(), f'notice: takes over from process {process.pid} on ')
      self.assertEndsWith(self.told(), ', which has ended\n')

  def test_a_number_that_another_process_has_now(self):
    own = claim_holders.this_process()
    self.assertFalse(own.has_ended())
    self.assertTrue(own._replace(start=own.start - 1).has_ended())
    self.assertFalse(own._replace(machine='other', start=1).has_ended())
    with mock.patch.object(
        claim_holders, '_state_and_start', lambda pid: None):  # It is hidden.
      self.assertFalse(own._replace(start=1).has_ended())

  def test_holder(self):
    self.assertIsNone(claims.holder(self.folder))
    with self.a.take(self.folder):
      self.assertEqual(claims.holder(self.folder).words,
                       f'process {os.getpid()} on host-of-a')
    self.assertIsNone(claims.holder(self.folder))
    with claims.Claimant().take(self.folder):
      self.assertIsNone(claims.holder(self.folder))  # It is this process.

  def test_foreign_files_are_ignored(self):
    with self.a.take(self.folder):
      for name in '.nfs0001', 'held_a_b_x_1_2_3', 'free_', '.DS_Store':
        pathlib.Path(self.folder, name).touch()
      self.assertIsNone(self.b.take(self.folder))

  def test_wait(self):
    said = self.enter_context(mock.patch('builtins.print'))
    with self.a.take(self.folder):
      self.assertIsNone(self.b.claimant.wait(
          self.folder, 'prepares it', until=lambda: self.b.now > 9e6 + 20))
    said.assert_called_once_with(
        f'Waiting for process {os.getpid()} on host-of-a, which prepares it.',
        flush=True)
    with self.b.claimant.wait(self.folder, 'prepares it') as claim:
      claim.check()

  def test_many_take_it_at_once(self):
    """Of processes that start together, each claim has one winner."""
    barrier, won = threading.Barrier(8), []

    def take():
      for i in range(20):
        barrier.wait()
        claim = claims.Claimant().take(f'{self.folder}{i}')
        if claim is not None:
          won.append(i)

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
      thread.start()
    for thread in threads:
      thread.join()
    self.assertEqual(sorted(won), [*range(20)])
    for i in range(20):
      self.assertLen(os.listdir(f'{self.folder}{i}'), 1)


if __name__ == '__main__':
  absltest.main()
