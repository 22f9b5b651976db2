"""Tests of the review of whole volumes: lists, slices and masks."""

import base64
import http.client
import io
import json
import pathlib
import threading
import time
from unittest import mock

from absl.testing import absltest
from absl.testing import flagsaver
from data_prep.records import chunks
from data_prep.shared import pixels
from data_prep.shared import review_journal
from experiments import binary
from experiments.building import volume_set
from experiments.prediction import predictor
from experiments.reviewing import decisions
from experiments.reviewing import page
from experiments.reviewing import server as server_lib
from experiments.reviewing import volume_maps
from experiments.reviewing import volume_suspects
from hybridseg import inference
from hybridseg import types
import nibabel
import numpy as np
from PIL import Image

from tests import binaries
from tests import tiny
from tests import tiny_volumes

_REVIEW = binaries.load('experiments.review')
_COLUMNS = ('rank', 'id', 'score', 'indicator', 'kind', 'annotator', 'subject',
            'axis', 'slices', 'fault', 'volume', 'first_slice', 'last_slice')


def _run_small(windows):
  """Predicts class 2 alone."""
  labels = 2 * (15 * windows[..., 0] - 5 > 3.6)
  return inference.Prediction(
      np.eye(3, dtype=np.float32)[labels], np.float32(labels > 0))


def _as_shown(array, *, is_reversed):
  """Returns an array of a file of the tiny set as the page shows it."""
  if is_reversed:
    array = array[::-1]
  return np.rot90(np.moveaxis(array, 2, 0), axes=(1, 2))


class InsideTest(absltest.TestCase):

  def test_of_a_box_and_of_single_slices(self):
    prediction = np.zeros((4, 3, 6), np.uint8)
    prediction[:, 0, :2] = 1
    prediction[:2, 2, 4:] = 2
    label = np.zeros_like(prediction)
    label[1:3, :, 1:5] = 1
    inside = lambda kind: volume_maps.inside(prediction, label, kind)
    np.testing.assert_array_equal(
        inside(types.AnnotationKind.BOX), prediction * (label > 0))
    label[...] = 255
    label[1] = 0
    label[1, 0, 0] = label[1, 2, 5] = 1  # The other object has class 2.
    np.testing.assert_array_equal(
        inside(types.AnnotationKind.SLICES), prediction * (prediction == 1))
    self.assertIsNone(inside(types.AnnotationKind.TAG))


class PredictionsTest(absltest.TestCase):

  def test_what_is_waited_for_comes_first(self):
    may_start, done = threading.Event(), []

    def predict(name):
      may_start.wait(20)
      done.append(name)
      if name == 'b':
        raise ValueError('damaged')
      return {'name': name}

    predictions = volume_maps.Predictions('abcde', predict)
    self.addCleanup(predictions.close)
    threading.Timer(0.05, may_start.set).start()
    self.assertEqual(predictions.get('d'), {'name': 'd'})
    self.assertEqual(done[:2], ['a', 'd'])
    with self.assertRaisesRegex(ValueError, 'damaged'):
      predictions.get('b')
    self.assertEqual(predictions.get('e'), {'name': 'e'})
    self.assertCountEqual(done, 'abcde')

  def test_the_end_of_a_review_stops_the_thread(self):
    may_start, started = threading.Event(), threading.Event()

    def predict(name):
      may_start.wait(20)
      started.set()
      while not predictions.is_closed:
        time.sleep(0.001)
      raise volume_maps.Stopped

    predictions = volume_maps.Predictions(['a'], predict)
    may_start.set()
    started.wait(20)
    predictions.close()
    with self.assertRaises(volume_maps.Stopped):
      predictions.get('a')


class VolumesTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(tiny.temp_dir(self))
    (self.folder / 'audit').mkdir()
    self.enterContext(mock.patch.object(
        volume_suspects.run_folder, 'read_config',
        return_value=tiny_volumes.debug_config()))
    self.enterContext(mock.patch.object(
        predictor, 'load', side_effect=lambda *_, network, **__: mock.Mock(
            batch_size=2, run_fn={
                '0': tiny_volumes.run_exactly, '1': _run_small}[network])))
    dataset = volume_set.load(tiny_volumes.data_dir())
    self.ids = [r['id'] for r in dataset.splits['train_weak']]
    self._write([[i, '2', '4 3'] for i in self.ids])

  def _write(self, rows):
    lines = [','.join(_COLUMNS)] + [
        f'{n},{i},0.5,1.0,box,,{i},{axis},{slices},,{i},0,6'
        for n, (i, axis, slices) in enumerate(rows, start=1)]
    (self.folder / 'audit/audit.csv').write_text('\n'.join(lines) + '\n')

  def _open(self, num=None):
    listed = volume_suspects.list_suspects(str(self.folder), num)
    volumes = volume_suspects.Volumes(str(self.folder), listed)
    self.addCleanup(volumes.close)
    return listed, volumes, volumes.open_review()

  def _label(self, row_id, name='labels'):
    path = tiny_volumes.source_dir() / name / f'{row_id}.nii'
    return np.asarray(nibabel.load(path).dataobj)

  def test_slices_are_those_of_the_file(self):
    listed, _, review = self._open(4)
    self.assertLen(listed.facts, 4)
    references = chunks.Reader(
        pathlib.Path(tiny_volumes.data_dir()) / 'references')
    for place, facts in enumerate(review.facts):
      row_id = facts['id']
      is_reversed, is_fine = (
          int(row_id[1:]) % 3 == 0, int(row_id[1:]) % 5 == 4)
      shown = lambda x, flip=is_reversed: _as_shown(x, is_reversed=flip)
      exact = self._label(row_id)
      self.assertEqual(
          listed.sizes[row_id], (exact.shape[2], 12, 10))
      self.assertEqual((facts['start'], facts['worst']), (4, [4, 3]))
      self.assertEqual(facts['aspect'], 1.0)
      weak = references.read_patch(row_id, (0, 0, 0), exact.shape, 'label')
      found = [review.content(place, k) for k in range(exact.shape[2])]
      of = lambda runs: np.stack([
          decisions.decode_runs(r, (12, 10), 3) for r in runs])
      np.testing.assert_array_equal(
          of([c['weak'] for c in found]), shown(weak))
      first, second = (
          of([c['networks'][n] for c in found]) for n in (0, 1))
      prediction = of([c['prediction'] for c in found])
      if not is_fine:  # Otherwise, the files are resampled and back.
        np.testing.assert_array_equal(first, shown(exact))
        np.testing.assert_array_equal(second, 2 * (first == 2))
        # Where the networks are not of one mind, the lower class wins.
        np.testing.assert_array_equal(prediction, second)
      inside = of([c['inside'] for c in found])
      if facts['kind'] == 'box':
        np.testing.assert_array_equal(
            inside, volume_maps.inside(prediction, shown(weak), (
                listed.dataset.splits['train_weak'][place]['kind'])))
      self.assertEqual(found[0]['has_inside'], bool(inside.any()))
      self.assertIsNone(found[0]['map'])
      image = shown(self._label(row_id, 'images'))
      with Image.open(io.BytesIO(
          base64.b64decode(found[4]['picture']))) as picture:
        grey = np.asarray(picture).astype(float)
      is_inside = (grey > 0) & (grey < 255)
      slope, offset = np.polyfit(image[4][is_inside], grey[is_inside], 1)
      self.assertGreater(slope, 0)
      self.assertLess(np.abs(
          slope * image[4] + offset - grey)[is_inside].max(), 1)

  def test_along_another_axis_pixels_are_not_square(self):
    self._write([[self.ids[0], '0', '1']])
    listed, _, review = self._open()
    self.assertEqual(listed.sizes[self.ids[0]], (10, 9, 12))
    self.assertEqual(review.facts[0]['aspect'], 2.0)
    exact = self._label(self.ids[0])  # Slices are counted as in the file.
    np.testing.assert_array_equal(
        decisions.decode_runs(
            review.content(0, 3)['networks'][0], (9, 12), 3),
        np.rot90(exact[3]))

  def test_masks_lie_on_the_grid_of_the_file(self):
    listed, volumes, _ = self._open()
    row_id = self.ids[0]  # Its first axis runs against the frame.
    book = decisions.Book(
        self.folder / 'review', listed.header, sizes=listed.sizes,
        num_classes=3, who='anna', volumes=volumes)
    self.addCleanup(book.close)
    exact = self._label(row_id)
    drawn = np.random.default_rng(0).integers(0, 3, (12, 10)).astype(np.uint8)
    weak = chunks.Reader(
        pathlib.Path(tiny_volumes.data_dir()) / 'references').read_patch(
            row_id, (0, 0, 0), exact.shape, 'label')
    bases = {
        'none': np.full_like(exact, 255), 'empty': np.zeros_like(exact),
        'weak': weak, 'prediction': exact * (exact == 2)}
    for n, (base, wanted) in enumerate(bases.items()):
      sent = self._sent(n, row_id, base, {'5': decisions.encode_runs(drawn)})
      self.assertTrue(book.decide(sent)['is_new'])
      found = review_journal.read(book.path).decisions[row_id]
      self.assertEqual(found.mask, f'masks/{n:032x}.nii.gz')
      file = nibabel.load(review_journal.mask_file(book.path, found))
      wanted = wanted.copy()
      # The first axis, which points to the left, is reversed for the page.
      wanted[..., 5] = np.rot90(drawn, -1)[::-1]
      np.testing.assert_array_equal(np.asarray(file.dataobj), wanted)
      self.assertEqual(file.get_data_dtype(), np.uint8)
      np.testing.assert_array_equal(file.affine, nibabel.load(
          tiny_volumes.source_dir() / f'images/{row_id}.nii').affine)
    runs = decisions.encode_runs(drawn)
    for base, slices, exact, words in (
        ('x', {}, False, 'The base of a mask is one of'),
        ('none', {}, False, 'Every pixel of the mask is unlabelled'),
        ('none', {'5': runs}, True, 'More than a tenth'),
        ('empty', {'9': runs}, True, 'slices of the volume are those from 0'),
        ('empty', {'05': runs}, True, 'slices of the volume are those from 0'),
        ('empty', [runs], True, 'slices of the volume are those from 0'),
        ('empty', {'5': runs[2:]}, True, 'expected 12 x 10')):
      with self.assertRaisesRegex(decisions.Refused, words):
        book.decide(self._sent(9, row_id, base, slices, exact=exact))

  def _sent(self, number, row_id, base, slices, *, exact=False):
    return {'id': row_id, 'decision': 'mask', 'key': f'{number:032x}',
            'keys': 1, 'seconds': 1.5, 'source': 'drawn', 'exact': exact,
            'base': base, 'slices': slices}

  def test_a_server_sends_slices(self):
    listed, volumes, review = self._open(2)
    book = decisions.Book(
        self.folder / 'review', listed.header, sizes=listed.sizes,
        num_classes=3, volumes=volumes)
    self.addCleanup(book.close)
    server = server_lib.Server(review, book)
    self.addCleanup(server.server_close)
    threading.Thread(
        target=server.serve_forever, kwargs={'poll_interval': 0.02}).start()
    self.addCleanup(server.shutdown)

    def ask(path, method='GET', body=None):
      connection = http.client.HTTPConnection(
          '127.0.0.1', server.server_port, timeout=20)
      self.addCleanup(connection.close)
      connection.request(method, path, body and json.dumps(body), {
          'X-Review-Token': server.token, 'Content-Type': 'application/json'})
      answer = connection.getresponse()
      return answer.status, json.loads(answer.read())

    self.assertEqual(ask('/suspect/1/8'), (200, review.content(1, 8)))
    for path in ('', '/14', '/-1', '/x', '/4/4'):
      self.assertEqual(ask(f'/suspect/1{path}')[0], 404)
    sent = self._sent(1, self.ids[1], 'prediction', {})
    self.assertEqual(ask('/decide', 'POST', sent)[0], 200)
    wrong = pixels.WrongFile('the volume cannot be read', 'v', 'restore it')
    with mock.patch.object(volumes, '_image', side_effect=wrong):
      status, answer = ask('/suspect/1/8')
    self.assertEqual(status, 500)
    self.assertIn('cannot be read', answer['error'])

  def test_the_page_names_the_slices(self):
    _, _, review = self._open(2)
    text = page.build(review, decided={}, who='', closing='')
    self.assertIn('"depth": 9', text)
    self.assertIn('id="slices"', text)

  def test_what_is_for_pictures_alone(self):
    for name, value in (('static', str(self.folder / 'a.html')),
                        ('import', 'a.json'), ('next', True)):
      with (binaries.with_flags(_REVIEW), flagsaver.flagsaver(
          run=str(self.folder), **{name: value})):
        with self.assertRaisesRegex(
            binary.UserError, f'--{name} is not for a run on whole volumes'):
          _REVIEW.main()

  def test_refused(self):
    for rows, words in (
        ([], 'lists no annotation'), ([['x', '2', '']], 'no weak volume'),
        ([[self.ids[0], '3', '']], "audit.csv holds '3', expected a number"),
        ([[self.ids[0], '2', '9']], "audit.csv holds '9', expected a number")):
      self._write(rows)
      with self.assertRaisesRegex(binary.UserError, words):
        volume_suspects.list_suspects(str(self.folder), None)


if __name__ == '__main__':
  absltest.main()
