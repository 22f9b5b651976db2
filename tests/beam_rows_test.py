"""Tests of data_prep.checks.beam_rows, without Apache Beam."""

import pathlib
import pickle
import tempfile
from unittest import mock

from absl.testing import absltest

from data_prep.checks import beam_rows
from data_prep.checks import check
from data_prep.drawing import kept as kept_lib
from data_prep.shared import pipelines
from tests import seven_rows


def _run(work, items, files, counts, *, options, what, noun):
  """Takes the place of a pipeline: passes everything on as bytes."""
  del files, what, noun
  assert options == ['--x'] and len(items) == len(counts)
  work = pickle.loads(pickle.dumps(work))
  for item in reversed(items):
    work(pickle.loads(pickle.dumps(item)))


class BeamRowsTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(
        self.enterContext(tempfile.TemporaryDirectory()))
    self.enterContext(mock.patch.object(pipelines, 'run', _run))
    self.enterContext(mock.patch.object(beam_rows, '_TOGETHER', 3))

  def _inspect(self, manifest, **kwargs):
    kept = kept_lib.Kept(self.folder, 8)
    found = check.inspect_manifest(manifest, kept=kept, **kwargs)
    return found, kept

  def _by_beam(self, rows, context, folder):
    self.assertEqual(folder, self.folder.resolve())
    return beam_rows.inspect(rows, context, folder=folder, options=['--x'])

  def test_finds_what_threads_find(self):
    manifest = seven_rows.write(self.folder)
    pixels = (self.folder / 'other.png').read_bytes()
    before = sorted(self.folder.iterdir())
    for content in (pixels, pixels[:60], b''):
      (self.folder / 'other.png').write_bytes(content)
      (wanted, kept), (found, hashes) = (
          self._inspect(manifest),
          self._inspect(manifest, inspect=self._by_beam))
      self.assertEqual(bool(wanted.problems), content != pixels)
      self.assertNotEmpty(wanted.notices)
      self.assertEqual(found.problems, wanted.problems)
      self.assertEqual(found.notices, wanted.notices)
      self.assertEqual(found.defects, wanted.defects)
      for one, other in zip(found.facts, wanted.facts, strict=True):
        thumbnails = [
            seen.thumbnail is not None and some.thumbnails.read(
                seen.thumbnail, 32 * 32)
            for some, seen in ((found, one), (wanted, other))]
        self.assertEqual(thumbnails[0], thumbnails[1])
        self.assertEqual(*(
            repr(seen._replace(thumbnail=0)) for seen in (one, other)))
      for name in ('image.png', 'mask.png', 'other.png'):
        self.assertEqual(hashes.digest(name), kept.digest(name))
      self.assertIsNone(hashes.image('image.png'))
    self.assertEqual(sorted(self.folder.iterdir()), before)

  def test_good_rows_are_not_sent_again(self):
    manifest = seven_rows.write(self.folder)
    first, _ = self._inspect(manifest, inspect=self._by_beam)
    self.assertEqual(first.problems, [])
    with mock.patch.object(beam_rows, 'inspect') as inspect:
      inspect.return_value = iter(())
      again, _ = self._inspect(manifest, known=first, inspect=self._by_beam)
    self.assertEqual(again.facts, first.facts)
    self.assertEmpty(list(inspect.call_args.args[0]))


if __name__ == '__main__':
  absltest.main()
