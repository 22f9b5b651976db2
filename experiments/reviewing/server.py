"""Serves the page of a review to browsers of this machine.

The server listens on 127.0.0.1 only. It answers a request if all of these hold:
it carries the token, which is random for each start; its Host is this machine,
so that no other name can be bound to this address; and its Origin, if it has
one, is the page itself.
"""

from collections.abc import Callable
import hmac
from http import server as http_server
import json
import re
import secrets
import socketserver
from typing import Any
from urllib import parse

from data_prep.shared import pixels
from data_prep.shared import system_errors

from experiments import binary
from experiments.reviewing import decisions
from experiments.reviewing import page
from experiments.reviewing import suspects as suspects_lib
from experiments.reviewing import volume_maps

FIRST_PORT = 8378  # The default; the next ones follow if it is taken.
_NUM_PORTS = 20
_HOST = re.compile(r'(127\.0\.0\.1|localhost)(:\d{1,5})?')
_PATH = re.compile(r'/suspect/(\d{1,9})(?:/(\d{1,9}))?')
_TIMEOUT_S = 60  # For a request that stops halfway.
# A decision without a mask, and a pixel of a mask at its worst: '255,1,'.
_FEW_BYTES, _BYTES_PER_PIXEL = 1 << 14, 8
# What is raised if a picture, a set or a prediction cannot be read or made.
_FAULTS = (pixels.WrongFile, OSError, ValueError, KeyError, binary.UserError,
           volume_maps.Stopped)
_MOST_BYTES = 1 << 26  # Of a volume; drawn masks take far less than the worst.


class _Answer(Exception):
  """Ends a request early, with a status and a line for the page."""

  def __init__(self, status, text):
    super().__init__(text)
    self.status = status


class Server(socketserver.ThreadingMixIn, http_server.HTTPServer):
  """A server for one review.

  Attributes:
    token: what every request must carry.
  """

  daemon_threads = True

  def __init__(
      self,
      review: suspects_lib.Review,
      book: decisions.Book,
      *,
      port: int = 0,
      closing: str = '',
  ):
    """Binds the port, but answers nothing yet: see `serve_forever`.

    Args:
      review: what the page shows.
      book: where its decisions go.
      port: port to listen on; 0 chooses a free one.
      closing: what the page says when all is decided.

    Raises:
      OSError: if the port is taken.
    """
    self.token = secrets.token_urlsafe(32)
    self.review, self.book, self.closing = review, book, closing
    largest = max((f['height'] * f['width'] for f in review.facts), default=0)
    depth = max((f.get('depth', 1) for f in review.facts), default=1)
    largest *= _BYTES_PER_PIXEL
    self.max_bytes = _FEW_BYTES + max(
        largest, min(depth * largest, _MOST_BYTES))
    super().__init__(('127.0.0.1', port), _Handler)

  def server_bind(self):
    # That of HTTPServer asks the network for the name of this machine.
    socketserver.TCPServer.server_bind(self)
    self.server_name, self.server_port = self.server_address

  def handle_error(self, request, client_address):
    """Does nothing: a browser may close a connection at any time."""

  @property
  def address(self) -> str:
    """The address to open in a browser."""
    return f'http://127.0.0.1:{self.server_port}/?token={self.token}'


def bind(
    make_fn: Callable[[int], Server], port: int | None
) -> Server:
  """Returns a server on a port, or on the first free one from `FIRST_PORT`.

  A browser keeps unfinished drawings by port, so the same one is best.

  Args:
    make_fn: function that maps a port to a server.
    port: the port, or None for the first free one.

  Raises:
    binary.UserError: if the port is taken or may not be used.
  """
  ports = [port] if port is not None else [
      *range(FIRST_PORT, FIRST_PORT + _NUM_PORTS), 0]
  for candidate in ports:
    try:
      return make_fn(candidate)
    except OSError as e:
      if candidate == ports[-1]:
        raise binary.UserError(
            f'--port={candidate} cannot be used ({e.strerror}): give another '
            'one.') from e
  raise AssertionError  # The last port has returned or raised.


class _Handler(http_server.BaseHTTPRequestHandler):
  """Answers one connection."""

  protocol_version = 'HTTP/1.1'
  timeout = _TIMEOUT_S
  server: Server

  def version_string(self):
    return 'hybridseg'

  def log_message(self, *args):
    """Logs nothing: an address holds the token."""

  def send_error(self, code, message=None, explain=None):
    self._send(code, {'error': str(message or code)})
    self.close_connection = True

  def do_GET(self):
    self._answer(self._get)

  def do_POST(self):
    self._answer(self._post)

  def _answer(self, fn):
    try:
      try:
        url = parse.urlsplit(self.path)
      except ValueError as e:
        raise _Answer(400, 'The address is malformed.') from e
      self._check(parse.parse_qs(url.query))
      fn(url.path)
    except _Answer as e:
      # What was sent may not have been read.
      self.close_connection = True
      self._send(e.status, {'error': str(e)})

  def _check(self, query):
    """Refuses a request that does not come from the page."""
    hosts = self.headers.get_all('Host') or []
    if len(hosts) != 1 or not _HOST.fullmatch(hosts[0]):
      raise _Answer(403, 'This server answers requests to 127.0.0.1 only.')
    origins = self.headers.get_all('Origin') or []
    site = self.headers.get('Sec-Fetch-Site', 'none')
    # The printed address may be clicked on, in a terminal within a browser.
    is_visit = self.command == 'GET' and self.headers.get(
        'Sec-Fetch-Dest') == 'document'
    if origins not in ([], [f'http://{hosts[0]}']) or not (
        site in ('none', 'same-origin') or is_visit):
      raise _Answer(403, 'Another page may not use this server.')
    sent = self.headers.get('X-Review-Token') or query.get('token', [''])[0]
    if not hmac.compare_digest(
        sent.encode('utf-8', 'replace'), self.server.token.encode()):
      raise _Answer(
          403, 'The token is missing or wrong: open the address that '
          'experiments.review has printed.')

  def _get(self, path):
    place = self._place(path)
    if path == '/':
      text = page.build(
          self.server.review, decided=self.server.book.decided(), who='',
          closing=self.server.closing)
      self._send(200, text.encode(), 'text/html; charset=utf-8')
    elif place:
      try:
        self._send(200, self.server.review.content(*place))
      except _FAULTS as e:
        raise _Answer(
            500, f'The picture cannot be shown: {_in_words(e)}') from e
    else:
      raise _Answer(404, 'There is no such page.')

  def _place(self, path):
    """Returns the number of the suspect that a path names, and of its slice."""
    found, facts = _PATH.fullmatch(path), self.server.review.facts
    place = [int(n) for n in found.groups() if n] if found else []
    if not place or place[0] >= len(facts):
      return []
    depth = facts[place[0]].get('depth')
    fits = len(place) == 1 if depth is None else (
        len(place) == 2 and place[1] < depth)
    return place if fits else []

  def _post(self, path):
    if path != '/decide':
      raise _Answer(404, 'There is no such page.')
    try:
      sent = json.loads(self._body())
    except (ValueError, RecursionError) as e:
      raise _Answer(400, 'The request is not JSON.') from e
    try:
      self._send(200, self.server.book.decide(sent))
    except decisions.Refused as e:
      raise _Answer(400, str(e)) from e
    except OSError as e:
      raise _Answer(507, _in_words(e)) from e
    except _FAULTS as e:
      raise _Answer(500, _in_words(e)) from e

  def _body(self) -> bytes:
    if self.headers.get('Transfer-Encoding'):
      raise _Answer(411, 'The request does not state its length.')
    kind = (self.headers.get('Content-Type') or '').split(';')[0].strip()
    if kind != 'application/json':
      raise _Answer(415, 'The request is not JSON.')
    text = self.headers.get('Content-Length') or ''
    if not re.fullmatch('[0-9]{1,12}', text):
      raise _Answer(411, 'The request does not state its length.')
    length = int(text)
    if length > self.server.max_bytes:
      raise _Answer(413, 'The request is too large.')
    content = self.rfile.read(length)
    if len(content) < length:
      raise _Answer(400, 'The request is not complete.')
    return content

  def _send(self, status: int, content: Any, kind: str = 'application/json'):
    if not isinstance(content, bytes):
      content = json.dumps(content).encode()
    self.send_response(status)
    for name, value in {
        'Content-Type': kind, 'Content-Length': str(len(content)),
        'Content-Security-Policy': f"{page.policy()}; frame-ancestors 'none'",
        'Cache-Control': 'no-store', 'Referrer-Policy': 'no-referrer',
        'X-Content-Type-Options': 'nosniff', 'X-Frame-Options': 'DENY',
        'Cross-Origin-Resource-Policy': 'same-origin',
        'Cross-Origin-Opener-Policy': 'same-origin'}.items():
      self.send_header(name, value)
    if self.close_connection:
      self.send_header('Connection', 'close')
    self.end_headers()
    if self.command != 'HEAD':
      self.wfile.write(content)


def _in_words(error: Exception) -> str:
  if isinstance(error, BrokenPipeError):
    raise error
  if isinstance(error, OSError):
    return system_errors.in_words(error)
  return str(error)
