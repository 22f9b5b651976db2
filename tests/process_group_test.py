"""Tests of experiments.process_group, with threads as processes."""

from concurrent import futures
import json
import socket
import threading

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from experiments import binary
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

  def test_objects_are_refused(self):
    with self.assertRaises(ValueError):
      process_group._pack(np.array([{}]))  # pylint: disable=protected-access

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

  @parameterized.parameters('node', 'node:', ':1', 'node:x', 'node:70000')
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
