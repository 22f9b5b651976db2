"""Splits a job over processes that need no exchange between their devices.

Evaluation, prediction and audit compute each image by itself. The processes of
such a job meet only at its start and at its end, over TCP: process 0 listens at
the address of the coordinator, and the others connect to it. JAX's distributed
service is not started, since it aborts all processes with the stacks of its
threads when one of them dies. Here, the connection to a process that dies
breaks, and the others end with one line. If a host loses its power or network,
this takes half a minute.

Messages are JSON and NumPy arrays (`packing`), and nothing that a process
receives is executed.
"""

from collections.abc import Iterator, Sequence
import contextlib
import itertools
import json
import select
import socket
import struct
import time
from typing import Any, NamedTuple


from experiments import binary
from experiments import packing

_JOIN_TIMEOUT_S = 300.0
_HELLO_TIMEOUT_S = 10.0
_RETRY_S = 0.2
_MAX_HELLO = 10_000  # Bytes of the first message, which a stranger may send.
# Kinds of messages: data, or why a process has ended early.
_DATA, _STOPPED, _ENDED = b'D', b'S', b'E'
_HEADER = struct.Struct('!cQ')  # Kind and length.
# A host that is gone is noticed after 10 + 4 * 5 seconds.
_KEEP_ALIVE = {'TCP_KEEPIDLE': 10, 'TCP_KEEPINTVL': 5, 'TCP_KEEPCNT': 4,
               'TCP_USER_TIMEOUT': 30_000}


class Place(NamedTuple):
  """The place of a process among those of its job.

  Attributes:
    coordinator: HOST:PORT at which process 0 listens.
    number: number of processes.
    index: number of this process, from 0.
  """

  coordinator: str
  number: int
  index: int


class Group:
  """The processes of a job, as one of them sees them.

  Attributes:
    number: number of processes.
    index: number of this process, from 0.
  """

  def __init__(
      self, number: int = 1, index: int = 0,
      peers: dict[int, socket.socket] | None = None,
  ):
    """Made by `join`; without arguments, a group of one process.

    Args:
      number: number of processes.
      index: number of this process.
      peers: connections, by the number of the process at their other end: of
        process 0 to all others, of the others to process 0.
    """
    self.number, self.index, self._peers = number, index, peers or {}

  @property
  def is_primary(self) -> bool:
    """Whether this is process 0, which writes the results."""
    return self.index == 0

  def share(self, items: Sequence[Any], block: int = 1) -> list[Any]:
    """Returns every `number`-th block of items, from block `index` on.

    The last bits of a prediction depend on the place of an image in its batch.
    With blocks of the size of a batch, the batches of several processes are
    those of one.

    Args:
      items: all items.
      block: number of consecutive items in a block; the last one may have less.
    """
    return [item for place, item in enumerate(items)
            if place // block % self.number == self.index]

  def check(self) -> None:
    """Returns if no other process has ended early. Call it often.

    Raises:
      binary.Lost: if one has died or failed.
      binary.Stopped: if one was asked to stop.
    """
    for peer, connection in self._peers.items():
      try:
        kind = connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
      except BlockingIOError:
        continue
      except OSError:
        kind = b''
      if kind != _DATA:
        self._receive(peer)  # Raises the error.

  def broadcast(self, value: Any) -> Any:
    """Returns in every process the value of process 0, see `packing.pack`.

    All processes must call this function at the same point.
    """
    self.gather(None)  # Now, all others are ready to receive.
    if self.is_primary:
      self._send_all(_DATA, packing.pack(value))
      return value
    return self._receive(0)

  def gather(self, value: Any) -> list[Any] | None:
    """Collects a value of each process in process 0, see `packing.pack`.

    All processes must call this function at the same point. It returns when all
    values have arrived.

    Args:
      value: tree of the value of this process.

    Returns:
      The values in the order of the processes; None in all but process 0.
    """
    # A value is sent only when process 0 is ready to read it: the timeout of
    # what is sent also counts while the reader is late.
    if not self.is_primary:
      self._send(0, _DATA, packing.pack(None))
      self._receive(0)
      self._send(0, _DATA, packing.pack(value))
      self._receive(0)
      return None
    values = {0: value}
    while len(values) < self.number:
      ready, _, _ = select.select(self._peers.values(), (), ())
      # Whoever has sent its value already sends nothing more, except that it
      # has ended.
      for peer, connection in self._peers.items():
        if connection in ready:
          self._receive(peer)
          self._send(peer, _DATA, packing.pack(None))
          values[peer] = self._receive(peer)
    self._send_all(_DATA, packing.pack(None))
    return [values[index] for index in range(self.number)]

  def merge(
      self, shares: Sequence[Sequence[Any]], block: int = 1
  ) -> list[Any]:
    """Returns in order the items of which each process had its `share`."""
    rest = [iter(share) for share in shares]
    items, total = [], sum(map(len, shares))
    while len(items) < total:
      for share in rest:
        items.extend(itertools.islice(share, block))
    return items

  def end(self, error: BaseException) -> None:
    """Tells the others that this process ends early, and why."""
    kind = _STOPPED if isinstance(error, binary.Stopped) else _ENDED
    text = (str(error).splitlines() or [''])[0]
    if isinstance(error, KeyboardInterrupt):
      text = 'interrupted'
    elif not isinstance(error, (binary.UserError, binary.Lost, OSError)):
      text = f'{type(error).__name__}: {text[:200]}'
    if not isinstance(error, binary.Lost):  # Else it names the process already.
      text = f'process {self.index} of {self.number} has ended ({text})'
    for peer in self._peers:
      with contextlib.suppress(binary.Lost, binary.Stopped):
        self._send(peer, kind, json.dumps(text).encode())

  def close(self) -> None:
    """Closes the connections."""
    for connection in self._peers.values():
      connection.close()
    self._peers = {}

  def _send_all(self, kind, payload):
    for peer in self._peers:
      self._send(peer, kind, payload)

  def _send(self, peer, kind, payload):
    try:
      self._peers[peer].sendall(_HEADER.pack(kind, len(payload)))
      self._peers[peer].sendall(payload)
    except OSError:
      while True:  # If the other process has told why it ended, raise that.
        self._receive(peer)

  def _receive(self, peer):
    """Returns the data of the next message; raises why its sender has ended."""
    try:
      kind, payload = _receive(self._peers[peer])
    except (OSError, ValueError) as e:
      raise self._lost(peer) from e
    if kind != _DATA:
      raise _reason(kind, payload)
    return packing.unpack(payload)

  def _lost(self, peer):
    return binary.Lost(f'process {peer} of {self.number} was lost')


@contextlib.contextmanager
def join(place: Place | None, job: str) -> Iterator[Group]:
  """Connects the processes of a job, and tells the others how this one ends.

  Args:
    place: place of this process; None if it is alone.
    job: description of the job, the same in all processes.

  Raises:
    binary.UserError: if the address cannot be used, or if another process has
      another job.
    binary.Lost: if not all processes come within five minutes.
  """
  if place is None or place.number == 1:
    yield Group()
    return
  host, _, port = place.coordinator.rpartition(':')
  if not host or not (port.isascii() and port.isdigit()) or not (
      0 < int(port) < 65536):
    raise binary.UserError(
        f'--coordinator={place.coordinator}: expected HOST:PORT.')
  address = host.strip('[]'), int(port)
  hello = {'number': place.number, 'index': place.index, 'job': job}
  peers = _connect(address, hello) if place.index else _listen(address, hello)
  group = Group(place.number, place.index, peers)
  try:
    yield group
  except BaseException as e:
    group.end(e)
    raise
  finally:
    group.close()


def _listen(address, own):
  """Waits for all other processes; returns their connections."""
  number, peers = own['number'], {}
  deadline = time.monotonic() + _JOIN_TIMEOUT_S
  dual = socket.has_dualstack_ipv6()
  try:
    server = socket.create_server(
        ('', address[1]), dualstack_ipv6=dual, backlog=number,
        family=socket.AF_INET6 if dual else socket.AF_INET)
  except OSError as e:
    raise binary.UserError(
        f'Process 0 cannot listen at port {address[1]} ({e.strerror}): give '
        'another port in --coordinator.') from e
  with server:
    while len(peers) < number - 1:
      if time.monotonic() > deadline:
        raise binary.Lost(
            f'only {1 + len(peers)} of {number} processes came within '
            f'{_JOIN_TIMEOUT_S:g} s')
      server.settimeout(max(0.01, deadline - time.monotonic()))
      try:
        connection, _ = server.accept()
        hello = _receive_hello(connection)
        if hello | {'index': 0} == own:
          _send_hello(connection, own['job'])
      except (OSError, ValueError, RecursionError):
        continue  # A stranger, or nobody.
      index = hello['index']
      if hello | {'index': 0} != own:
        problem = (f'process {index} was started with another command than '
                   'process 0')
      elif not 0 < index < number or index in peers:
        problem = f'there are two processes of number {index}'
      else:
        _prepare(connection)
        peers[index] = connection
        continue
      group = Group(number, 0, peers | {-1: connection})
      group.end(binary.Lost(problem))
      group.close()
      raise binary.UserError(
          f'{problem[0].upper()}{problem[1:]}: give all the same flags, but '
          'each another --process_id.')
  return peers


def _receive_hello(connection):
  """Reads what a new process says about itself."""
  kind, payload = _receive(
      connection, _MAX_HELLO, time.monotonic() + _HELLO_TIMEOUT_S)
  hello = json.loads(payload)
  if kind != _DATA or not isinstance(hello, dict) or not isinstance(
      hello.get('index'), int):
    raise ValueError('Not a process of a job.')
  return hello


def _connect(address, hello):
  """Connects to process 0 as soon as it listens."""
  deadline = time.monotonic() + _JOIN_TIMEOUT_S
  while True:
    try:
      connection = socket.create_connection(address, timeout=_HELLO_TIMEOUT_S)
      break
    except UnicodeError as e:
      raise binary.UserError(
          f'--coordinator: {address[0]!r} is not the name of a host.') from e
    except OSError as e:
      if time.monotonic() > deadline:
        raise binary.Lost(
            f'process 0 was not found at {address[0]}:{address[1]} within '
            f'{_JOIN_TIMEOUT_S:g} s') from e
      time.sleep(_RETRY_S)
  _prepare(connection)
  try:
    _send_hello(connection, hello)
    kind, payload = _receive(connection, _MAX_HELLO, max(
        deadline, time.monotonic() + _HELLO_TIMEOUT_S))
    if kind == _DATA and json.loads(payload) != hello['job']:
      raise ValueError('Another job.')
  except (TimeoutError, ValueError, RecursionError) as e:
    raise binary.Lost(
        f'{address[0]}:{address[1]} does not answer as process 0 of this job'
    ) from e
  except OSError as e:
    raise binary.Lost(f'process 0 of {hello["number"]} was lost') from e
  if kind != _DATA:
    raise _reason(kind, payload)
  return {0: connection}


def _send_hello(connection, value):
  payload = json.dumps(value).encode()
  connection.sendall(_HEADER.pack(_DATA, len(payload)) + payload)


def _reason(kind, payload):
  """Returns the error for the message of a process that has ended early."""
  if kind == _STOPPED:
    return binary.Stopped(
        'Stopped, as another process was: the same command resumes.')
  return binary.Lost(json.loads(payload))


def _prepare(connection):
  """Makes a connection break if the other host is gone."""
  connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
  connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
  for name, value in _KEEP_ALIVE.items():
    if hasattr(socket, name):  # Not on all systems.
      connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _receive(connection, most=None, deadline=None):
  """Returns the kind and the payload of the next message."""
  kind, length = _HEADER.unpack(
      _receive_bytes(connection, _HEADER.size, deadline))
  if kind not in (_DATA, _STOPPED, _ENDED) or (
      most is not None and length > most):
    raise ValueError('This is no message of a job.')
  return kind, _receive_bytes(connection, length, deadline)


def _receive_bytes(connection, number, deadline):
  data, done = bytearray(number), 0
  with memoryview(data) as view:
    while done < number:
      connection.settimeout(
          deadline and max(0.01, deadline - time.monotonic()))
      received = connection.recv_into(view[done:])
      if not received:
        raise ConnectionResetError('The other end has closed.')
      done += received
  connection.settimeout(None)
  return bytes(data)
