"""Kills servers and browsers at random while a person decides.

The person notes each decision when the page has confirmed it. Afterwards, the
journal must hold all of these, each image at most once, and nothing that the
person has not pressed.
"""

import collections
import json
import pathlib
import shutil
import tempfile
import threading
import time

from data_prep.shared import review_journal
import numpy as np

from tests import browser
from tests import reviews
from tests.long import review_servers

_KEYS = {'k': 'keep', 'd': 'drop', 'p': 'mask', 'P': 'mask', 'b': 'mask'}
_WINDOW = (900, 600)
_STATE = """JSON.stringify([
    document.querySelector('#about-title').textContent,
    Number(document.querySelector('#progress').textContent.match(
        /(\\d+) of \\d+ decided/)?.[1] ?? -1),
    document.querySelector('#progress').textContent !== '' &&
        !document.body.hasAttribute('aria-busy') &&
        !document.querySelector('#decide button').disabled,
    document.querySelector('#message').textContent])"""
_LOST_S = 3  # How long the page may not change before it is opened again.


class _Person:
  """Decides suspects, and notes what was pressed and what was confirmed."""

  def __init__(self, servers, profile, rng):
    self.servers, self.profile, self.rng = servers, profile, rng
    self.browser = None
    self.pressed = collections.defaultdict(set)  # Decisions, by id.
    self.confirmed = {}
    self.unsure = None  # Id of a decision that was pressed, but not confirmed.
    self.num_opened = 0

  def open(self):
    """Opens the page, with a new browser if there is none."""
    if self.browser is None:
      self.browser = browser.Browser(self.profile)
    self.browser.page.open(self.servers.address, size=_WINDOW)
    self.num_opened += 1

  def state(self):
    return json.loads(self.browser.page.run(_STATE))

  def decide(self):
    """Decides the suspect that is shown; returns whether it was confirmed.

    The server or the browser may be killed at any time in between.
    """
    until = time.monotonic() + _LOST_S
    row_id, number, is_ready, _ = self.state()
    while not is_ready:
      if time.monotonic() > until:
        return False
      time.sleep(0.01)
      row_id, number, is_ready, _ = self.state()
    page, key = self.browser.page, str(self.rng.choice([*_KEYS]))
    self.pressed[row_id].add(_KEYS[key])
    self.unsure = row_id
    if key == 'b':
      page.press('b')
      x, y = self.rng.integers(150, 350, 2).tolist()
      page.drag([(x, y), (x + 90, y + 20)])
      page.press('Enter')
    else:
      page.press(key)
      if key == 'P':
        page.press('Enter')
    until = time.monotonic() + _LOST_S
    while time.monotonic() < until:
      now, done, _, _ = self.state()
      if done > number:
        self.confirmed[row_id] = _KEYS[key]
        self.unsure = None
        return True
      time.sleep(0.005)
    return False


def check(folder: pathlib.Path, num_kills: int, seed: int) -> list[str]:
  """Returns the problems after `num_kills` kills.

  Args:
    folder: folder of the review, which does not exist yet.
    num_kills: how often a server or a browser is killed; a third are browsers.
    seed: seed of the person and of the kills.
  """
  rng = np.random.default_rng(seed)
  num_suspects = 12 * num_kills + 20
  servers = review_servers.Starter(folder, num=num_suspects)
  profile = tempfile.mkdtemp(prefix='review_kills_')
  person = _Person(servers, profile, rng)
  killed, problems, torn, num_resent = collections.Counter(), [], 0, 0
  try:
    servers.start()
    person.open()
    while sum(killed.values()) < num_kills:
      what = str(rng.choice(['server', 'server', 'browser']))
      victim = servers.kill if what == 'server' else person.browser.kill
      timer = threading.Timer(float(rng.uniform(0.0, 1.2)), victim)
      timer.start()
      try:
        while person.decide():
          pass
      except Exception:  # The browser was killed in the middle of a call.
        if what != 'browser':
          raise
      timer.join()
      killed[what] += 1
      if what == 'browser':
        person.browser.close()
        person.browser = None
      else:
        content = (folder / 'review.jsonl').read_bytes()
        torn += not content.endswith(b'\n')
        servers.start()
      person.open()
      while not person.state()[2]:
        time.sleep(0.01)
      problems += _compare(folder, person)
      # The browser was alive, and has sent its decision again.
      if what == 'server' and person.unsure is not None:
        num_resent += 1
        if person.unsure not in review_journal.read(
            folder / 'review.jsonl').decisions:
          problems.append(f'{person.unsure!r} was not sent again')
      person.unsure = None
      if problems:
        break
    person.decide()
    problems += _compare(folder, person)
  finally:
    if person.browser is not None:
      person.browser.close()
    servers.close()
    shutil.rmtree(profile, ignore_errors=True)
  found = review_journal.read(folder / 'review.jsonl').decisions
  print(f'kills: {dict(killed)}, {len(person.confirmed)} decisions confirmed, '
        f'{len(found)} in the journal, {torn} torn lines, '
        f'{num_resent} sent again after a kill of the server, page opened '
        f'{person.num_opened} times')
  return problems


def _compare(folder, person):
  """Compares the journal with what the person has pressed and seen."""
  content = (folder / 'review.jsonl').read_text('utf-8')
  # A torn last line is not a decision.
  lines = [json.loads(x) for x in content[: content.rfind('\n')].split('\n')]
  ids = collections.Counter(line['id'] for line in lines[1:])
  problems = [f'{i!r} is decided {n} times' for i, n in ids.items() if n > 1]
  found = review_journal.read(folder / 'review.jsonl').decisions
  for row_id, decision in person.confirmed.items():
    if row_id not in found:
      problems.append(f'{row_id!r} is lost')
    elif found[row_id].decision != decision:
      problems.append(f'{row_id!r}: {found[row_id].decision}, not {decision}')
  for row_id, decision in found.items():
    if decision.decision not in person.pressed[row_id]:
      problems.append(f'{row_id!r} was not decided so: {decision.decision}')
    if decision.decision == 'mask':
      review_journal.mask_file(folder / 'review.jsonl', decision)
      reviews.read_mask(folder, decision.mask)
  return problems
