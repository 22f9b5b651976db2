"""Runs servers of a made-up review that can be killed and started quickly.

A process that has imported everything is forked for each server, because the
imports take seconds.
"""

import json
import multiprocessing
import os
import pathlib
import signal
from typing import Any

from experiments.reviewing import decisions
from experiments.reviewing import server as server_lib
from experiments.reviewing import suspects

from tests import reviews

PORT = 8477


def review(num: int) -> suspects.Review:
  """Returns a made-up review of `num` suspects."""
  facts = [
      reviews.review().facts[n % len(reviews.IDS)] | {
          'id': f'{n}{reviews.HOSTILE if n % 10 == 1 else ""}',
          'rank': str(n + 1)}
      for n in range(num)]
  return reviews.review()._replace(
      facts=facts, content=lambda n: reviews.content(n % len(reviews.IDS)))


class Starter:
  """Starts servers; make it before any thread starts."""

  def __init__(self, folder: pathlib.Path, *, num: int):
    self._ask, asked = multiprocessing.Pipe()
    context = multiprocessing.get_context('fork')
    self._process = context.Process(
        target=_start_servers, args=(asked, folder, num), daemon=True)
    self._process.start()
    self.address, self._pid = '', 0

  def start(self, *, port: int = PORT) -> None:
    """Starts a server, and waits until it answers at `address`."""
    self._ask.send(port)
    answer: dict[str, Any] = self._ask.recv()
    if 'error' in answer:
      raise RuntimeError(answer['error'])
    self.address, self._pid = answer['address'], answer['pid']

  def kill(self) -> None:
    """Kills the server at once."""
    os.kill(self._pid, signal.SIGKILL)

  def close(self) -> None:
    """Kills the server, if it runs, and the process that starts servers."""
    self._ask.send(0)
    self._process.join(20)


def _start_servers(asked, folder, num):
  pid = 0
  while port := asked.recv():
    if pid:  # The caller has killed it; its lock goes with it.
      os.waitpid(pid, 0)
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
      os.close(reading)
      _serve(folder, num, port, writing)
    os.close(writing)
    with os.fdopen(reading) as pipe:
      asked.send(json.loads(pipe.read()) | {'pid': pid})
  if pid:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def _serve(folder, num, port, writing):
  made_up = review(num)
  try:
    book = decisions.Book(
        folder, made_up.header, num_classes=len(made_up.classes), who='anna',
        sizes={f['id']: (f['height'], f['width']) for f in made_up.facts})
    server = server_lib.Server(made_up, book, port=port, closing='done')
    os.write(writing, json.dumps({'address': server.address}).encode())
    os.close(writing)
    server.serve_forever()
  except Exception as e:  # The caller raises it.
    os.write(writing, json.dumps({'error': repr(e)}).encode())
  os._exit(1)
