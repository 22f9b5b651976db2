"""Checks of the page of a review: what it saves, how it looks, who may use it.

Every check returns a list with a description of each problem.
"""

from collections.abc import Callable
import http.server
import json
import pathlib
import threading
import time

from data_prep.shared import review_journal
import numpy as np

from tests import browser
from tests import reviews
from tests.long import review_person
from tests.long import review_servers

_WINDOWS = {'desktop': (1280, 860), 'phone': (360, 780)}
_CONTROLS = """[...document.querySelectorAll(
    'button, input, summary, canvas')].filter((e) =>
    !e.disabled && e.checkVisibility() && e.tabIndex >= 0)"""
_NAME = """((e) => !e || e === document.body ? '' : `${e.tagName} ${
    e.getAttribute('aria-label') || (e.labels && e.labels[0] || e).textContent
    }`.replace(/\\s+/g, ' ').trim())"""
# Ways in which another page could try to use the server.
_ATTACKS = """(async (address) => {
  const [base, token] = address.split('?token=');
  const body = JSON.stringify({id: '0', decision: 'drop', keys: 1, seconds: 1,
    key: '0'.repeat(32)});
  const answers = [];
  for (const [path, options] of [
    [address, {}], [address, {mode: 'no-cors'}],
    [base + 'suspect/0?token=' + token, {mode: 'no-cors'}],
    [base + 'decide?token=' + token, {method: 'POST', body}],
    [base + 'decide?token=' + token, {method: 'POST', body, mode: 'no-cors'}],
    [base + 'decide', {method: 'POST', body, headers: {
      'X-Review-Token': token, 'Content-Type': 'application/json'}}]]) {
    try {
      const answer = await fetch(path, options);
      answers.push(`${answer.type} ${answer.status}`);
    } catch {
      answers.push('refused');
    }
  }
  const frame = document.createElement('iframe');
  frame.src = address;
  document.body.append(frame);
  const form = document.createElement('form');
  form.method = 'POST';
  form.enctype = 'text/plain';
  form.target = 'hidden';
  form.action = base + 'decide?token=' + token;
  const input = document.createElement('input');
  input.name = body;
  form.append(input);
  document.body.append(form);
  form.submit();
  await new Promise((done) => setTimeout(done, 1500));
  let inside = 'refused';
  try {
    inside = frame.contentDocument ? 'open' : 'refused';
  } catch {}
  return [...answers, inside];
})"""


def compare(
    folder: pathlib.Path,
    found: review_journal.Decision,
    wanted: review_person.Expected,
    tool: str,
    read: Callable[[pathlib.Path, str], np.ndarray] = reviews.read_mask,
) -> list[str]:
  """Compares a line of the journal, and its mask, with what a person did.

  Args:
    folder: folder of the review.
    found: the decision.
    wanted: what the person did.
    tool: name of the tool, for messages.
    read: reads a mask from the folder and its name, as the page shows it.
  """
  name = f'{found.id}, {tool}'
  said = (found.decision, found.source, found.exact)
  if said != (wanted.decision, wanted.source, wanted.exact):
    return [f'{name}: {said}, expected {wanted[:3]}']
  if wanted.mask is None:
    return []
  review_journal.mask_file(folder / 'review.jsonl', found)
  mask = read(folder, found.mask)
  if mask.shape != wanted.mask.shape:
    return [f'{name}: mask of {mask.shape}, expected {wanted.mask.shape}']
  number = int(np.sum(mask != wanted.mask))
  return [f'{name}: {number} pixels differ'] if number else []


def use_static(
    path: pathlib.Path, downloads: pathlib.Path
) -> tuple[list[str], list[review_person.Expected]]:
  """Decides the first suspects of a static page, and downloads the decisions.

  Args:
    path: the page.
    downloads: folder for the file.

  Returns:
    The problems; and what was decided about the first suspects. A decision
    about the next one was withdrawn.
  """
  url, expected, problems = path.resolve().as_uri(), [], []
  with browser.open_browser() as page:
    page.open(url, size=_WINDOWS['desktop'])
    person = review_person.Person(page, url, np.random.default_rng(1))
    contents = json.loads(page.run(
        "JSON.stringify([...document.querySelectorAll('[id^=suspect-]')].map("
        "(e) => JSON.parse(e.textContent)))"))
    person.wait_for(0)
    for number, key in enumerate(('k', 'd', 'p')):
      page.press(key)
      person.wait_for(number + 1)
      mask = review_person.decode(
          contents[number], contents[number]['prediction'])
      expected.append({
          'k': review_person.Expected('keep'),
          'd': review_person.Expected('drop'),
          'p': review_person.Expected('mask', 'prediction', False, mask)}[key])
    person.shape = mask.shape
    person.mask = np.zeros(mask.shape, np.uint8)
    person.place()
    expected.append(review_person.brush(person))
    person.wait_for(4)
    page.press('k')
    person.wait_for(5)
    page.press('u')
    person.wait_for(4)
    # The browser keeps the decisions: the page goes on where it was.
    page.open(url, size=_WINDOWS['desktop'])
    person.wait_for(4)
    title = page.run("document.querySelector('#progress').textContent")
    if not title.startswith('Suspect 5 of 6'):
      problems.append(f'opened again, the page shows {title!r}')
    problems += page.complaints(url)
    page.call('Browser.setDownloadBehavior', behavior='allow',
              downloadPath=str(downloads))
    page.run("document.querySelector('#download').click()")
    name = downloads / 'review_decisions.json'
    for _ in range(100):
      if name.exists():
        break
      time.sleep(0.1)
  return problems, expected


def check_pages(folder: pathlib.Path, screenshots: str | None) -> list[str]:
  """Checks the page of a made-up review with hostile names.

  Args:
    folder: folder of the review, which does not exist yet.
    screenshots: folder for pictures of the page, or None.
  """
  servers = review_servers.Starter(folder, num=12)
  servers.start()
  address, problems = servers.address, []
  base = address.split('?')[0]
  try:
    with browser.open_browser() as page:
      page.call('Page.addScriptToEvaluateOnNewDocument',
                source='alert = () => { throw new Error("alert"); };')
      for name, size in _WINDOWS.items():
        for scheme in 'light', 'dark':
          page.open(address, size=size, scheme=scheme,
                    is_phone=name == 'phone')
          person = review_person.Person(
              page, address, np.random.default_rng(0))
          person.wait_for(0)
          found = []
          for _ in range(12):
            found += _width(page)
            page.press('ArrowRight')
            person.wait_for(0)
          page.press('?')
          found += _width(page)
          page.press('Escape')
          found += page.complaints(address, below=base)
          problems += [f'{name}, {scheme}: {x}' for x in dict.fromkeys(found)]
          if screenshots:
            page.press('P', 'm')
            page.screenshot(f'{screenshots}/review_{name}_{scheme}.png')
            page.press('u', 'm')
        problems += [f'{name}: {x}' for x in _tab(page)]
      print(f'pages: {len(_WINDOWS) * 2} windows, narrowest '
            f'{min(w for w, _ in _WINDOWS.values())} px')
      problems += _keyboard_alone(page, address, folder)
      problems += _attack(page, address, folder)
  finally:
    servers.close()
  return problems


def _width(page):
  wide = page.run('document.documentElement.scrollWidth - innerWidth')
  return [f'{wide} pixels wider than the window'] if wide > 0 else []


def _tab(page):
  """Presses Tab through the page, and checks the focus and the labels."""
  wanted = page.run(f'{_CONTROLS}.map({_NAME})')
  unnamed = [x for x in wanted if ' ' not in x]
  problems = [f'no label: {x}' for x in unnamed]
  page.run('document.activeElement.blur(), scrollTo(0, 0)')
  reached = []
  # Tab may start anywhere, and then goes around by way of the window itself.
  for _ in range(len(wanted) + 1):
    page.press('Tab')
    reached.append(page.run(f'{_NAME}(document.activeElement)'))
    if reached[-1] and page.run(
        'getComputedStyle(document.activeElement).outlineStyle') == 'none':
      problems.append(f'focus not seen: {reached[-1]}')
  if not set(wanted) <= set(reached):
    problems.append(f'Tab does not reach {set(wanted) - set(reached)}')
  print(f'Tab reaches {len(set(wanted) & set(reached))} of '
        f'{len(set(wanted))} controls')
  return problems


def _keyboard_alone(page, address, folder):
  """Decides with focused buttons, and hears it in the live region."""
  page.open(address, size=_WINDOWS['desktop'])
  person = review_person.Person(page, address, np.random.default_rng(0))
  person.wait_for(0)
  problems = []
  for number, name in enumerate(('keep', 'drop')):
    page.run(f"document.querySelector('[data-do={name}]').focus()")
    page.press('Enter')
    person.wait_for(number + 1)
    said = page.run("document.querySelector('[role=status]').textContent")
    heard = {'keep': 'Saved: kept.', 'drop': 'Saved: dropped.'}[name]
    if not said.startswith(f'{heard} Suspect {number + 2} of 12'):
      problems.append(f'the live region says {said!r}')
  # A key that is held down must not decide one suspect after another.
  event = {'key': 'k', 'code': 'k', 'windowsVirtualKeyCode': 75}
  page.run("document.querySelector('canvas').focus()")
  for again in range(8):
    page.call('Input.dispatchKeyEvent', type='keyDown', text='k',
              autoRepeat=again > 0, **event)
  page.call('Input.dispatchKeyEvent', type='keyUp', **event)
  person.wait_for(3)
  time.sleep(0.5)
  person.wait_for(3)
  person.read()
  page.press('2')  # The second class.
  person.stroke('b', 2)
  wanted = person.drawn()
  person.wait_for(4)
  found = review_journal.read(folder / 'review.jsonl').decisions
  problems += compare(folder, found[person.id], wanted, 'second class')
  return problems


def _attack(page, address, folder):
  """Opens a page of another origin, which tries to use the server."""

  class Handler(http.server.BaseHTTPRequestHandler):

    def do_GET(self):
      self.send_response(200)
      self.send_header('Content-Type', 'text/html')
      self.end_headers()
      self.wfile.write(b'<!DOCTYPE html><title>other</title>')

    def log_message(self, *args):
      pass

  before = (folder / 'review.jsonl').read_bytes()
  other = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
  threading.Thread(target=other.serve_forever, daemon=True).start()
  problems = []
  try:
    for host in '127.0.0.1', 'localhost':
      page.open(f'http://{host}:{other.server_port}/',
                size=_WINDOWS['desktop'])
      answers = page.run(f'{_ATTACKS}({json.dumps(address)})')
      print(f'another page at {host}: {answers}')
      # An opaque answer shows nothing to the page.
      if not set(answers) <= {'refused', 'opaque 0'}:
        problems.append(f'{host} gets {answers}')
  finally:
    other.shutdown()
    other.server_close()
  if (folder / 'review.jsonl').read_bytes() != before:
    problems.append('another page has written a decision')
  return problems
