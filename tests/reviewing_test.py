"""Tests for experiments.reviewing: decisions, the server and the page."""

import hashlib
import html.parser
import http.client
import json
import os
import pathlib
import re
import tempfile
import threading
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
from data_prep.shared import review_journal
from experiments import binary
from experiments.reviewing import decisions
from experiments.reviewing import page
from experiments.reviewing import returned
from experiments.reviewing import server as server_lib
from experiments.reviewing import suspects
import numpy as np

from tests import reviews

_SIZE = (reviews.HEIGHT, reviews.WIDTH)


def _key(number):
  return f'{number:032x}'


def _sent(row_id='a', decision='keep', number=1, **more):
  return {'id': row_id, 'decision': decision, 'key': _key(number), 'keys': 1,
          'seconds': 2.5} | more


def _mask(label, number=1, *, row_id='a', exact=True, source='drawn'):
  return _sent(row_id, 'mask', number, exact=exact, source=source,
               runs=decisions.encode_runs(label))


def _label(seed=0, values=(0, 1, 2)):
  return np.random.default_rng(seed).choice(values, _SIZE).astype(np.uint8)


class RunsTest(parameterized.TestCase):

  @parameterized.parameters(
      ([[0, 0, 1], [1, 1, 1]], [0, 2, 1, 4]), ([[255]], [255, 1]),
      ([[2, 0], [2, 0]], [2, 1, 0, 1, 2, 1, 0, 1]))
  def test_by_hand(self, label, runs):
    label = np.array(label, np.uint8)
    self.assertEqual(decisions.encode_runs(label), runs)
    np.testing.assert_array_equal(
        decisions.decode_runs(runs, label.shape, 3), label)

  @parameterized.parameters(
      (None, 'not a list'), ([0], 'not a list'), ([0, 1.0], 'not a list'),
      ([True, 6], 'not a list'), (['0', 6], 'not a list'), ({}, 'not a list'),
      ([], '0 pixels'), ([0, 5], '5 pixels'), ([0, 7], '7 pixels'),
      ([0, 7, 0, -1], '6 pixels'), ([0, 0, 0, 6], '6 pixels'),
      ([0, 10**30], 'pixels'), ([3, 6], 'class 3'), ([-1, 6], 'class -1'),
      ([256, 6], 'class 256'))
  def test_refused(self, runs, message):
    with self.assertRaisesRegex(decisions.Refused, message):
      decisions.decode_runs(runs, (2, 3), 3)


class InsideTest(parameterized.TestCase):

  def test_of_a_box_and_of_a_scribble(self):
    prediction = np.zeros((4, 7), np.uint8)
    prediction[1:3, 0:3] = 1
    prediction[1:3, 4:7] = 2
    drawn = np.zeros_like(prediction)
    drawn[0:2, 1:6] = 1
    wanted = np.zeros_like(prediction)
    wanted[1, 1:3], wanted[1, 4:6] = 1, 2
    np.testing.assert_array_equal(
        suspects.inside(prediction, drawn, 'box'), wanted)
    marks = np.full_like(prediction, 255)
    marks[1, 1] = 1
    marks[2, 5] = 1  # On an object of another class.
    marks[0] = 0
    np.testing.assert_array_equal(
        suspects.inside(prediction, marks, 'scribble'), prediction * (
            prediction == 1))
    self.assertIsNone(suspects.inside(prediction, marks, 'tag'))

  def test_the_region_of_extreme_points_is_their_box(self):
    prediction = np.ones((3, 5), np.uint8)
    label = np.zeros_like(prediction)
    label[:, 1:4] = 255
    label[1, 1] = 1
    np.testing.assert_array_equal(
        suspects.inside(prediction, label, 'extreme_points'), label != 0)


class BookTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self._folder = pathlib.Path(folder.name, 'review')

  def _open(self):
    book = reviews.open_book(self._folder)
    self.addCleanup(book.close)
    return book

  def _read(self):
    return review_journal.read(self._folder / decisions.JOURNAL).decisions

  def test_masks_are_equal_pixel_by_pixel(self):
    book = self._open()
    for n, label in enumerate([
        _label(1), np.zeros(_SIZE, np.uint8), np.full(_SIZE, 2, np.uint8)]):
      book.decide(_mask(label, n, exact=True))
      found = self._read()['a']
      self.assertEqual(found.mask, f'masks/{_key(n)}.png')
      np.testing.assert_array_equal(
          reviews.read_mask(self._folder, found.mask), label)
      review_journal.mask_file(self._folder / decisions.JOURNAL, found)
    self.assertEqual((found.who, found.keys, found.seconds, found.exact),
                     ('anna', 1, 2.5, True))

  def test_a_repeated_key_changes_nothing(self):
    book = self._open()
    self.assertTrue(book.decide(_mask(_label(1)))['is_new'])
    lines = book.path.read_bytes()
    again = book.decide(_mask(_label(2)))
    self.assertFalse(again['is_new'])
    self.assertEqual(again['decided']['source'], 'drawn')
    self.assertEqual(book.path.read_bytes(), lines)
    np.testing.assert_array_equal(
        reviews.read_mask(self._folder, self._read()['a'].mask), _label(1))

  def test_undo_returns_what_holds(self):
    book = self._open()
    book.decide(_sent('a', 'keep', 1))
    book.decide(_sent('a', 'drop', 2))
    book.decide(_sent('c', 'drop', 3))
    self.assertEqual([*book.decided()], ['a', 'c'])
    undone = book.decide(_sent('a', 'undo', 4))
    self.assertEqual(undone['decided']['decision'], 'keep')
    self.assertIsNone(book.decide(_sent('a', 'undo', 5))['decided'])
    self.assertFalse(book.decide(_sent('a', 'undo', 6))['is_new'])
    self.assertEqual([*self._read()], ['c'])

  def test_the_mask_is_on_the_disk_before_the_line(self):
    book = self._open()
    synced = []
    fsync = os.fsync

    def note(descriptor):
      synced.append(os.readlink(f'/proc/self/fd/{descriptor}'))
      fsync(descriptor)

    with mock.patch.object(os, 'fsync', side_effect=note):
      book.decide(_mask(_label()))
    folder = str(self._folder.resolve())
    self.assertEqual([x.removeprefix(folder) for x in synced], [
        f'/masks/.{_key(1)}.png.tmp', '/masks', '/review.jsonl'])

  def test_a_second_process_is_refused(self):
    self._open()
    with self.assertRaisesRegex(binary.UserError, 'is in use by process'):
      reviews.open_book(self._folder)

  def test_the_folder_is_free_again(self):
    reviews.open_book(self._folder).close()
    self._open()

  def test_another_set_is_refused_and_unlocked(self):
    reviews.open_book(self._folder).close()
    for _ in range(2):
      with self.assertRaisesRegex(binary.UserError, 'another set'):
        decisions.Book(
            self._folder, reviews.HEADER._replace(manifest_sha256='0' * 64),
            sizes={}, num_classes=2)

  @parameterized.parameters(
      ([], 'not an object'), ({'id': 'a'}, 'has the fields'),
      (_sent(extra=1), 'has the fields'), (_sent('b'), 'not a suspect'),
      (_sent(['a']), 'not a suspect'), (_sent(decision='kept'), 'expected one'),
      (_sent(decision=['keep']), 'expected one'),
      (_sent(key='../../a'), '32 hexadecimal'),
      (_sent(key=None), '32 hexadecimal'),
      (_sent(seconds='1'), 'seconds of'), (_sent(keys=1.5), 'keys of'),
      (_sent(keys=True), 'keys of'), (_sent(decision='mask'), 'has the fields'),
      (_mask(_label()) | {'source': 'other'}, 'source of'),
      (_mask(_label()) | {'exact': 1}, 'exact of'),
      (_mask(np.full(_SIZE, 255)), 'Every pixel .* unlabelled'),
      (_mask(_label(values=(0, 255))), 'More than a tenth'),
      (_mask(_label()[1:]), 'pixels, expected 24 x 40'))
  def test_refused(self, sent, message):
    book = self._open()
    before = book.path.read_bytes()
    with self.assertRaisesRegex(decisions.Refused, message):
      book.decide(sent)
    self.assertEqual(book.path.read_bytes(), before)
    self.assertEmpty([*(self._folder / 'masks').iterdir()])

  def test_a_coarse_mask_may_be_unlabelled_in_part(self):
    label = _label(values=(0, 255))
    self._open().decide(_mask(label, exact=False))
    np.testing.assert_array_equal(reviews.read_mask(
        self._folder, self._read()['a'].mask), label)

  def test_imports_are_all_or_nothing_and_once(self):
    book = self._open()
    time = '2026-11-28T22:30:01Z'
    sent = [x | {'who': 'ben', 'time': time} for x in (
        _sent('a', 'drop', 1), _mask(_label(), 2, row_id='c'))]
    for wrong in (sent[0] | {'time': 'now'}, sent[0] | {'who': 'x' * 101},
                  sent[0] | {'id': 'b'}, 7):
      with self.assertRaisesRegex(decisions.Refused, 'Decision 3: '):
        book.import_all([*sent, wrong])
    self.assertEmpty(self._read())
    self.assertEqual(book.import_all(sent), 2)
    self.assertEqual(book.import_all(sent), 0)
    found = self._read()
    self.assertEqual([(f.who, f.time) for f in found.values()],
                     [('ben', time)] * 2)

  def test_files_to_import(self):
    path = self._folder.with_name('decisions.json')
    header = reviews.HEADER
    content = {'review_decisions': 1, 'decisions': [_sent()],
               'manifest_sha256': header.manifest_sha256}
    path.write_text(json.dumps(content))
    self.assertEqual(returned.read(str(path), header), [_sent()])
    self.assertEqual(returned.ids([_sent(), _sent(), 1, {}]), ['a'])
    for text, message in (
        ('{', 'not JSON'), ('[]', 'no decisions'),
        (json.dumps(content | {'manifest_sha256': ''}), 'another set')):
      path.write_text(text)
      with self.assertRaisesRegex(binary.UserError, message):
        returned.read(str(path), header)


class _Blocks(html.parser.HTMLParser):
  """Collects the elements of a page, and its data."""

  def __init__(self, text):
    super().__init__()
    self.tags, self.data, self._block = [], {}, None
    self.feed(text)

  def handle_starttag(self, tag, attrs):
    self.tags.append((tag, dict(attrs)))
    if dict(attrs).get('type') == 'application/json':
      self._block = dict(attrs)['id']
      self.data[self._block] = ''

  def handle_endtag(self, tag):
    self._block = None

  def handle_data(self, data):
    if self._block:
      self.data[self._block] += data


class ServerTest(parameterized.TestCase):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    folder = tempfile.TemporaryDirectory()
    cls.addClassCleanup(folder.cleanup)
    cls._book = reviews.open_book(pathlib.Path(folder.name, 'review'))
    cls.addClassCleanup(cls._book.close)
    cls._server = server_lib.Server(
        reviews.review(), cls._book, closing='done')
    cls.addClassCleanup(cls._server.server_close)
    thread = threading.Thread(
        target=cls._server.serve_forever, kwargs={'poll_interval': 0.02})
    thread.start()
    cls.addClassCleanup(thread.join)
    cls.addClassCleanup(cls._server.shutdown)

  def _ask(self, path='/', method='GET', body=None, *, token=True, **headers):
    """Returns the status, the headers and the content of an answer."""
    connection = http.client.HTTPConnection(
        '127.0.0.1', self._server.server_port, timeout=20)
    self.addCleanup(connection.close)
    if token:
      headers = {'X-Review-Token': self._server.token} | headers
    headers = {k.replace('_', '-'): v for k, v in headers.items()}
    if isinstance(body, dict):
      body = json.dumps(body)
      headers = {'Content-Type': 'application/json'} | headers
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read()

  @parameterized.parameters(
      ('GET', '/'), ('GET', '/suspect/0'), ('POST', '/decide'))
  def test_only_the_page_is_answered(self, method, path):
    body = _sent() if method == 'POST' else None
    before = self._book.path.read_bytes()
    port = self._server.server_port
    for headers in (
        {'token': False}, {'X_Review_Token': 'x'}, {'X_Review_Token': '\xe9'},
        {'Host': 'evil.example'}, {'Host': f'evil.example:{port}'},
        {'Host': f'127.0.0.1.evil.example:{port}'},
        {'Origin': 'http://evil.example'}, {'Origin': 'null'},
        {'Origin': f'http://127.0.0.1:{port + 1}'},
        {'Origin': f'https://127.0.0.1:{port}'},
        {'Sec_Fetch_Site': 'cross-site'}, {'Sec_Fetch_Site': 'same-site'}):
      status, _, content = self._ask(path, method, body, **headers)
      self.assertEqual(status, 403, headers)
      self.assertIn('error', json.loads(content))
      self.assertNotIn(self._server.token.encode(), content)
    self.assertEqual(self._book.path.read_bytes(), before)

  def test_what_a_browser_sends_is_answered(self):
    port = self._server.server_port
    self.assertEqual(
        self._server.address,
        f'http://127.0.0.1:{port}/?token={self._server.token}')
    status, headers, _ = self._ask(
        f'/?token={self._server.token}', token=False, Sec_Fetch_Site='none')
    self.assertEqual(status, 200)
    self.assertEqual(headers['Cache-Control'], 'no-store')
    policy = headers['Content-Security-Policy']
    self.assertTrue(policy.startswith("default-src 'none'; "), policy)
    self.assertNotRegex(policy, r'unsafe|https?:|\*')
    self.assertIn("frame-ancestors 'none'", policy)
    # As a link, which may be clicked on anywhere; but not within a frame.
    for place, wanted in ('document', 200), ('iframe', 403), ('image', 403):
      status, *_ = self._ask(Sec_Fetch_Site='cross-site', Sec_Fetch_Dest=place)
      self.assertEqual(status, wanted)
    for host in f'127.0.0.1:{port}', f'localhost:{port}':
      status, *_ = self._ask('/suspect/1', Host=host, Origin=f'http://{host}',
                             Sec_Fetch_Site='same-origin')
      self.assertEqual(status, 200)

  def test_it_listens_to_this_machine_only(self):
    self.assertEqual(self._server.socket.getsockname()[0], '127.0.0.1')

  @parameterized.parameters(
      ('GET', '/x', 404), ('GET', '/suspect/4', 404), ('GET', '/suspect/', 404),
      ('GET', '/suspect/-1', 404), ('GET', '/../../etc/passwd', 404),
      ('POST', '/', 404), ('PUT', '/decide', 501), ('OPTIONS', '/decide', 501),
      ('HEAD', '/', 501))
  def test_other_paths(self, method, path, wanted):
    self.assertEqual(self._ask(path, method)[0], wanted)

  def test_bodies(self):
    ask = lambda body, **headers: self._ask(
        '/decide', 'POST', body, **{
            'Content-Type': 'application/json'} | headers)
    for body, headers, wanted in (
        ('{', {}, 400), ('[' * 9000, {}, 400), ('7', {}, 400),
        (b'\xff', {}, 400), ('{}', {'Content_Type': 'text/plain'}, 415),
        ('{}', {'Content-Length': '-1'}, 411),
        ('{}', {'Content-Length': str(self._server.max_bytes + 1)}, 413),
        ('{}', {'Transfer-Encoding': 'chunked'}, 411),
        (json.dumps(_sent('b')), {}, 400)):
      status, _, content = ask(body, **headers)
      self.assertEqual(status, wanted, body[:20])
      self.assertIn('error', json.loads(content))

  def test_the_largest_mask_fits(self):
    label = np.tile(np.array([0, 255], np.uint8), _SIZE[0] * _SIZE[1] // 2)
    sent = _mask(label.reshape(_SIZE), 900, exact=False)
    self.assertLess(len(json.dumps(sent)), self._server.max_bytes)
    self.assertEqual(self._ask('/decide', 'POST', sent)[0], 200)
    self._ask('/decide', 'POST', _sent('a', 'undo', 901))

  def test_a_decision_and_its_repetition(self):
    label = _label(5)
    row_id = reviews.HOSTILE
    sent = _mask(label, 500, row_id=row_id)
    first, second = (self._ask('/decide', 'POST', sent) for _ in range(2))
    found = json.loads(first[2])
    self.assertEqual((first[0], second[0], found['is_new']), (200, 200, True))
    self.assertFalse(json.loads(second[2])['is_new'])
    self.assertEqual(found['id'], row_id)
    lines = self._book.path.read_text('utf-8').splitlines()
    self.assertLen([x for x in lines if _key(500) in x], 2 - 1)
    np.testing.assert_array_equal(reviews.read_mask(
        self._book.path.parent, f'masks/{_key(500)}.png'), label)
    blocks = _Blocks(self._ask('/')[2].decode())
    shown = dict(json.loads(blocks.data['data'])['decided'])[row_id]
    self.assertEqual(shown['source'], 'drawn')
    self.assertEqual(shown['who'], 'anna')

  def test_a_full_disk_is_told_and_tried_again(self):
    sent = _mask(_label(), 600, row_id='c')
    full = OSError(28, 'No space left on device')
    with mock.patch.object(
        review_journal.os, 'pwrite', side_effect=full):
      status, _, content = self._ask('/decide', 'POST', sent)
    self.assertEqual(status, 507)
    self.assertIn('No space left', json.loads(content)['error'])
    self.assertEqual(self._ask('/decide', 'POST', sent)[0], 200)

  def test_a_picture_that_is_gone(self):
    wrong = suspects.pixels.WrongFile('image not found', 'a.png', 'put it back')
    review = self._server.review
    with mock.patch.object(
        self._server, 'review', review._replace(
            content=mock.Mock(side_effect=wrong))):
      status, _, content = self._ask('/suspect/0')
    self.assertEqual(status, 500)
    self.assertIn('image not found', json.loads(content)['error'])

  def test_a_port_that_is_taken(self):
    port = self._server.server_port
    make = lambda p: server_lib.Server(reviews.review(), self._book, port=p)
    with self.assertRaisesRegex(binary.UserError, f'--port={port} cannot'):
      server_lib.bind(make, port)
    with mock.patch.object(server_lib, 'FIRST_PORT', port):
      server = server_lib.bind(make, None)
    self.assertNotEqual(server.server_port, port)
    self.assertNotEqual(server.token, self._server.token)
    server.server_close()


class PageTest(absltest.TestCase):

  def _build(self, contents=None):
    return page.build(
        reviews.review(), decided={}, who=reviews.HOSTILE,
        closing=reviews.HOSTILE, contents=contents)

  def test_names_from_files_are_data_only(self):
    plain = _Blocks(page.build(
        reviews.review()._replace(name='set'), decided={}, who='', closing=''))
    text = self._build()
    found = _Blocks(text)
    self.assertEqual(found.tags, plain.tags)
    self.assertNotIn('<img', text)
    data = json.loads(found.data['data'])
    self.assertEqual([s['id'] for s in data['suspects']], [*reviews.IDS])
    self.assertEqual(data['classes'], [*reviews.CLASSES])
    self.assertEqual(data['who'], reviews.HOSTILE)

  def test_the_static_page_holds_what_the_server_sends(self):
    contents = [reviews.content(n) for n in range(4)]
    found = _Blocks(self._build(contents))
    self.assertEqual(json.loads(found.data['data'])['mode'], 'static')
    for n, content in enumerate(contents):
      self.assertEqual(json.loads(found.data[f'suspect-{n}']), content)

  def test_the_policy_allows_the_script_and_style_of_the_page_alone(self):
    text = self._build()
    for tag in 'script', 'style':
      content = re.search(rf'<{tag}>(.*?)</{tag}>', text, re.S)[1]
      digest = hashlib.sha256(content.encode()).digest()
      self.assertIn(page.base64.b64encode(digest).decode(), page.policy())
    markup = (pathlib.Path(page.__file__).parent / 'page/page.html').read_text()
    self.assertNotRegex(markup, r'https?://|\sstyle=|\son\w+=|src=|href=')

  def test_scripts_set_text_alone(self):
    for path in (pathlib.Path(page.__file__).parent / 'page').glob('*.js'):
      self.assertNotRegex(
          path.read_text('utf-8'),
          r'innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|'
          r'new Function', path)

  def test_keys_that_the_page_names_are_those_of_the_script(self):
    folder = pathlib.Path(page.__file__).parent / 'page'
    script = (folder / 'main.js').read_text('utf-8')
    markup = (folder / 'page.html').read_text('utf-8')
    found = re.findall(
        r'data-do="([\w-]+)" aria-keyshortcuts="(\S+?)[ "]', markup)
    self.assertGreater(len(found), 10)
    for action, key in found:
      key = key.replace('Shift+', '')
      self.assertRegex(
          script, rf"[ {{]'?{re.escape(key)}'?: '{action}'")


if __name__ == '__main__':
  absltest.main()
