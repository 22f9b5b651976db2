"""Controls a headless Chromium through the DevTools protocol.

It needs `chromium` on the PATH and the package `websockets`, which this project
does not require. `why_not` states what is missing.
"""

import base64
from collections.abc import Iterator, Sequence
import contextlib
import itertools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
from typing import Any
import urllib.request

_FLAGS = (
    '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic',
    '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--remote-debugging-port=0')
_CODES = {'Tab': 9, 'Enter': 13, 'Escape': 27, ' ': 32, 'PageUp': 33,
          'PageDown': 34, ',': 188, '.': 190, 'End': 35, 'Home': 36,
          'ArrowLeft': 37, 'ArrowUp': 38, 'ArrowRight': 39, 'ArrowDown': 40}
# The bits of the DevTools protocol.
ALT, CONTROL, SHIFT = 1, 2, 8


def why_not() -> str:
  """Returns what is missing to control a browser; '' if nothing is."""
  try:
    import websockets.sync.client  # noqa: F401
  except ImportError:
    return 'needs the package websockets'
  return '' if shutil.which('chromium') else 'needs chromium on the PATH'


class Page:
  """A tab of a browser, controlled through the DevTools protocol.

  Attributes:
    events: the events since the page was opened.
  """

  def __init__(self, socket):
    self._socket = socket
    self._ids = itertools.count(1)
    self.events = []
    for domain in ('Page', 'Runtime', 'Log', 'Network'):
      self.call(f'{domain}.enable')

  def call(self, method: str, **params: Any) -> Any:
    """Calls a method of the protocol, and returns its result."""
    number = next(self._ids)
    self._socket.send(
        json.dumps({'id': number, 'method': method, 'params': params}))
    while True:
      message = json.loads(self._socket.recv(timeout=60))
      if message.get('id') == number:
        if 'error' in message:
          raise RuntimeError(f'{method}: {message["error"]}')
        return message['result']
      self.events.append(message)

  def run(self, code: str) -> Any:
    """Evaluates JavaScript in the page; returns its value, once it is there."""
    result = self.call('Runtime.evaluate', expression=code, returnByValue=True,
                       awaitPromise=True)
    if 'exceptionDetails' in result:
      raise RuntimeError(result['exceptionDetails'])
    return result['result'].get('value')

  def press(self, *keys: str, modifiers: int = 0) -> None:
    """Presses keys, one after another, and waits until they had their effect.

    Args:
      *keys: names of keys as in JavaScript: 'Enter', 'ArrowLeft', 'k'.
      modifiers: sum of `ALT`, `CONTROL` and `SHIFT`.
    """
    for key in keys:
      text = {'text': '\r'} if key == 'Enter' else (
          {'text': key} if len(key) == 1 and not modifiers & CONTROL else {})
      code = _CODES.get(key, ord(key[0].upper()))
      event = {'key': key, 'code': key, 'windowsVirtualKeyCode': code,
               'modifiers': modifiers}
      self.call('Input.dispatchKeyEvent', type='keyDown', **event, **text)
      self.call('Input.dispatchKeyEvent', type='keyUp', **event)
    # The effect of a key may be executed in a later task, so wait for it.
    self.run('new Promise((done) => setTimeout(done, 20))')

  def drag(self, points: Sequence[tuple[float, float]]) -> None:
    """Moves the mouse over points (x, y) of the window with its button down."""
    mouse = lambda kind, point, **more: self.call(
        'Input.dispatchMouseEvent', type=kind, x=point[0], y=point[1],
        button='left', clickCount=1, **more)
    mouse('mouseMoved', points[0])
    mouse('mousePressed', points[0], buttons=1)
    for point in points[1:]:
      mouse('mouseMoved', point, buttons=1)
    mouse('mouseReleased', points[-1])

  def hover(self, point: tuple[float, float]) -> None:
    """Moves the mouse to a point (x, y) of the window."""
    self.call('Input.dispatchMouseEvent', type='mouseMoved', x=point[0],
              y=point[1])

  def touch(self, *paths: Sequence[tuple[float, float]]) -> None:
    """Moves one finger along each path of points, all of the same length."""
    send = lambda kind, points: self.call(
        'Input.dispatchTouchEvent', type=kind, touchPoints=[
            {'x': x, 'y': y, 'id': i} for i, (x, y) in enumerate(points)])
    steps = list(zip(*paths, strict=True))
    send('touchStart', steps[0])
    for points in steps[1:]:
      send('touchMove', points)
    send('touchEnd', [])

  def open(
      self, url: str, *, size: tuple[int, int], scheme: str = 'light',
      is_phone: bool = False,
  ) -> None:
    """Opens a URL, and waits until it is loaded.

    Args:
      url: the URL.
      size: width and height of the window.
      scheme: 'light' or 'dark'.
      is_phone: whether the page sees a phone with a touch screen.
    """
    self.resize(*size, is_phone=is_phone)
    self.call('Emulation.setTouchEmulationEnabled', enabled=is_phone)
    self.call('Emulation.setEmulatedMedia', features=[
        {'name': 'prefers-color-scheme', 'value': scheme}])
    self.events.clear()
    self.call('Page.navigate', url=url)
    deadline = time.monotonic() + 60
    while not any(e['method'] == 'Page.loadEventFired' for e in self.events):
      # Any call also receives the events that have occurred in the meantime.
      self.call('Browser.getVersion')
      if time.monotonic() > deadline:
        raise RuntimeError(f'{url} does not load.')
      time.sleep(0.05)

  def resize(self, width: int, height: int, *, is_phone: bool = False) -> None:
    """Gives the window a size."""
    self.call('Emulation.setDeviceMetricsOverride', width=width, height=height,
              deviceScaleFactor=1, mobile=is_phone)

  def screenshot(
      self, path: str | os.PathLike[str], *, whole_page: bool = False,
      width: int = 0,
  ) -> None:
    """Saves a screenshot of the window.

    Args:
      path: path of the PNG file.
      whole_page: whether to enlarge the window to the height of the page.
      width: width of that window, in pixels.
    """
    if whole_page:  # Images are only loaded once they are within the window.
      size = self.call('Page.getLayoutMetrics')['cssContentSize']
      self.resize(width, min(int(size['height']), 9000))
      time.sleep(0.5)
    data = self.call('Page.captureScreenshot')['data']
    pathlib.Path(path).write_bytes(base64.b64decode(data))

  def complaints(self, url: str, *, below: str | None = None) -> list[str]:
    """Returns descriptions of all errors, and of all requests for other URLs.

    Args:
      url: URL of the page.
      below: start of the URLs that the page may also request, if any.
    """
    self.call('Browser.getVersion')  # Receives the events so far.
    found = []
    for event in self.events:
      params = event.get('params', {})
      if event['method'] == 'Runtime.exceptionThrown':
        found.append(params['exceptionDetails']['text'])
      elif event['method'] == 'Log.entryAdded':
        found.append(params['entry']['text'])
      elif event['method'] == 'Runtime.consoleAPICalled':
        found.append(f'console: {params["type"]}')
      elif event['method'] == 'Network.requestWillBeSent':
        address = params['request']['url']
        is_own = below is not None and address.startswith(below)
        if address != url and not is_own and not address.startswith('data:'):
          found.append(f'request: {address}')
    return found


class Browser:
  """A running Chromium with one page.

  Attributes:
    page: the page.
  """

  def __init__(self, profile: str | os.PathLike[str]):
    """Starts the browser.

    Args:
      profile: folder of its profile, which holds what pages store.
    """
    from websockets.sync import client

    port_file = pathlib.Path(profile) / 'DevToolsActivePort'
    port_file.unlink(missing_ok=True)
    # Its own process group, because it consists of many processes.
    self._process = subprocess.Popen(
        ['chromium', *_FLAGS, f'--user-data-dir={profile}', 'about:blank'],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True)
    for _ in range(600):
      if port_file.exists() and port_file.read_text().count('\n'):
        break
      time.sleep(0.05)
    port = port_file.read_text().split()[0]
    tabs = f'http://127.0.0.1:{port}/json'
    with urllib.request.urlopen(tabs, timeout=30) as reply:
      tab = next(t for t in json.load(reply) if t['type'] == 'page')
    self._socket = client.connect(tab['webSocketDebuggerUrl'], max_size=None)
    self.page = Page(self._socket)

  def kill(self) -> None:
    """Kills all its processes at once."""
    with contextlib.suppress(ProcessLookupError):
      os.killpg(self._process.pid, signal.SIGKILL)
    self._process.wait(30)

  def close(self) -> None:
    """Ends the browser."""
    with contextlib.suppress(Exception):  # It may have been killed.
      self._socket.close()
    self._process.terminate()
    try:
      self._process.wait(10)
    except subprocess.TimeoutExpired:
      pass
    self.kill()


@contextlib.contextmanager
def open_browser() -> Iterator[Page]:
  """Starts a browser with a new profile, and yields a page of it."""
  profile = tempfile.mkdtemp(prefix='browser_')
  try:
    browser = Browser(profile)
    try:
      yield browser.page
    finally:
      browser.close()
  finally:
    shutil.rmtree(profile, ignore_errors=True)
