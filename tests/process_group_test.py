"""Tests of experiments.process_group, with threads as processes."""

from concurrent import futures
import json
import socket
import threading
import time
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from experiments import binary
from experiments import packing
from experiments import process_group

_Place = process_group.Place


def _free_port():
  with socket.socket() as s:
    s.bind(('127.0.0.1', 0))
    return s.getsockname()[1]


def _run(number, work, jobs=None):
  """Runs a function of the group in each process; returns results or errors."""
  address = f'127.0.0.1:{_free_port()}'

  def process(index):
    try:
      with process_group.join(
          _Place(address, number, index), jobs[index] if jobs else 'job'
      ) as group:
        return work(group)
    except (binary.Lost, binary.Stopped, binary.UserError, ValueError) as e:
      return e

  with futures.ThreadPoolExecutor(number) as pool:
    return [*pool.map(process, range(number))]


class ProcessGroupTest(parameterized.TestCase):

  @parameterized.product(
      total=(0, 1, 5, 17), number=(1, 2, 4), block=(1, 3))
  def test_shares_are_merged_in_order(self, total, number, block):
    groups = [process_group.Group(number, index) for index in range(number)]
    shares = [group.share(range(total), block) for group in groups]
    self.assertEqual(groups[0].merge(shares, block), [*range(total)])

  def test_blocks_are_whole(self):
    self.assertEqual(
        process_group.Group(2, 1).share('abcdefgh', 3), ['d', 'e', 'f'])

  @parameterized.parameters(2, 4)
  def test_exchanges_trees(self, number):
    told = {'a': [1, 'b', None, float('inf')],
            'x': np.arange(6.0).reshape(2, 3)}

    def work(group):
      heard = group.broadcast(told if group.is_primary else None)
      np.testing.assert_array_equal(heard['x'], told['x'])
      self.assertEqual(heard['a'], told['a'])
      group.check()
      return group.gather((group.index, {'y': np.full(
          group.index, group.index, np.uint8)}, np.float64(0.1)))

    first, *others = _run(number, work)
    self.assertEqual(others, [None] * (number - 1))
    for index, (found, tree, value) in enumerate(first):
      self.assertEqual(found, index)
      self.assertEqual(value, 0.1)
      self.assertEqual(tree['y'].dtype, np.uint8)
      self.assertEqual(tree['y'].tolist(), [index] * index)

  @parameterized.parameters(0, 1)
  def test_a_late_receiver_is_waited_for(self, late):
    value = np.zeros(5_000_000, np.uint8)

    def work(group):
      if group.index == late:
        time.sleep(1.0)
      group.broadcast(value if group.is_primary else None)
      if group.index == late:
        time.sleep(1.0)
      return group.gather(value)

    with mock.patch.dict(process_group._KEEP_ALIVE, TCP_USER_TIMEOUT=300):  # pylint: disable=protected-access
      values, other = _run(2, work)
    self.assertIsNone(other)
    self.assertEqual([len(v) for v in values], [5_000_000] * 2)

  @parameterized.parameters(
      b'SSH-2.0-OpenSSH_9.2 Debian\r\n', b'HTTP/1.1 400 Bad', b'')
  def test_another_server_at_the_address(self, answer):
    with socket.create_server(('127.0.0.1', 0)) as server:
      address = f'127.0.0.1:{server.getsockname()[1]}'

      def serve():
        connection, _ = server.accept()
        connection.sendall(answer)
        if answer:
          connection.shutdown(socket.SHUT_WR)
        return connection  # Without an answer, it stays silent.

      with futures.ThreadPoolExecutor(1) as pool:
        serving = pool.submit(serve)
        with (mock.patch.object(process_group, '_JOIN_TIMEOUT_S', 0.1),
              mock.patch.object(process_group, '_HELLO_TIMEOUT_S', 0.2),
              self.assertRaisesRegex(binary.Lost, 'does not answer as proc')):
          with process_group.join(_Place(address, 2, 1), 'job'):
            self.fail('joined')
        serving.result().close()

  def test_objects_are_refused(self):
    with self.assertRaises(ValueError):
      packing.pack(np.array([{}]))

  @parameterized.parameters(0, 2)
  def test_when_one_dies_all_others_hear_of_it(self, victim):

    def work(group):
      if group.index == victim:
        group.close()  # As the system does when a process dies.
        return None
      return group.gather(0)

    for index, found in enumerate(_run(3, work)):
      if index != victim:
        self.assertIsInstance(found, binary.Lost)
        self.assertEqual(str(found), f'process {victim} of 3 was lost')

  @parameterized.parameters(
      (binary.UserError('No room.'), binary.Lost,
       'process 1 of 3 has ended (No room.)'),
      (ValueError('odd'), binary.Lost,
       'process 1 of 3 has ended (ValueError: odd)'),
      (binary.Stopped('Stopped.'), binary.Stopped,
       'Stopped, as another process was: the same command resumes.'))
  def test_others_hear_why_one_has_ended(self, error, kind, words):
    ended = threading.Event()

    def work(group):
      if group.index == 1:
        ended.set()
        raise error
      ended.wait()
      while True:
        group.check()

    first, second, third = _run(3, work)
    self.assertIs(second, error)
    for found in first, third:
      self.assertIsInstance(found, kind)
      self.assertEqual(str(found), words)

  def test_other_commands_are_refused(self):
    first, second = _run(2, lambda group: group.gather(0), jobs=['a', 'b'])
    self.assertIsInstance(first, binary.UserError)
    self.assertEqual(
        str(first), 'Process 1 was started with another command than process '
        '0: give all the same flags, but each another --process_id.')
    self.assertIsInstance(second, binary.Lost)

  def test_strangers_are_left_alone(self):
    port = _free_port()
    words = [b'GET / HTTP/1.1\r\n\r\n', b'D' + bytes([255] * 8),
             b'D' + (4).to_bytes(8, 'big') + b'null', b'']

    def second():
      for text in words:
        while True:
          try:
            with socket.create_connection(('127.0.0.1', port)) as stranger:
              stranger.sendall(text)
            break
          except ConnectionRefusedError:
            pass
      with process_group.join(_Place(f'localhost:{port}', 2, 1), 'job') as g:
        return g.gather(1)

    with futures.ThreadPoolExecutor() as pool:
      other = pool.submit(second)
      with process_group.join(_Place(f'localhost:{port}', 2, 0), 'job') as g:
        self.assertEqual(g.gather(0), [0, 1])
      self.assertIsNone(other.result())

  @parameterized.parameters('node', 'node:', ':1', 'node:x', 'node:70000',
                            'node:0', 'node:²')
  def test_an_address_that_is_none(self, address):
    with self.assertRaisesRegex(binary.UserError, 'expected HOST:PORT'):
      with process_group.join(_Place(address, 2, 0), json.dumps({})):
        pass

  def test_a_port_in_use(self):
    with socket.create_server(('', 0)) as server:
      port = server.getsockname()[1]
      with self.assertRaisesRegex(binary.UserError, f'port {port}'):
        with process_group.join(_Place(f'localhost:{port}', 2, 0), ''):
          pass


if __name__ == '__main__':
  absltest.main()
