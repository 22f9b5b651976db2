"""Tests of data_prep.sets.reviewed_volumes."""

import contextlib
import hashlib
import io
import json
import pathlib

from absl.testing import absltest
from data_prep import command_line
from data_prep.formats import volume_files
from data_prep.records import chunks
from data_prep.sets import reviewed_volumes
from data_prep.shared import pixels
from data_prep.shared import review_journal
from data_prep.shared import volume_type
from data_prep.splits import splits_file
from experiments.building import volume_set
from hybridseg import types
import nibabel
import numpy as np

from tests import tiny
from tests import tiny_volumes

_TIME = '2026-11-28T22:30:01Z'


class ReviewedVolumesTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(tiny.temp_dir(self))
    self.data = pathlib.Path(tiny_volumes.data_dir())
    self.old = volume_set.load(str(self.data))
    self.weak = {r['id']: r for r in self.old.splits['train_weak']}
    self.path = self.folder / 'review.jsonl'
    (self.folder / 'masks').mkdir()
    self.writer = review_journal.Writer(self.path, review_journal.Header(
        'runs/a', str(self.data), review_journal.manifest_sha256(self.data)))
    self.addCleanup(self.writer.close)

  def _decide(self, row_id, decision, mask=None, *, exact=False, affine=None):
    more = {}
    if mask is not None:
      name = f'masks/{len(list((self.folder / "masks").iterdir()))}.nii.gz'
      if affine is None:
        affine = np.array(self.weak[row_id].volume.more['stored_affine'])
      volume_files.save(
          self.folder / name, mask, volume_type.Volume(mask, affine))
      content = (self.folder / name).read_bytes()
      more = {'mask': name, 'sha256': hashlib.sha256(content).hexdigest(),
              'exact': exact, 'source': 'drawn'}
    self.writer.append(review_journal.Decision(
        row_id, decision, 'anna', _TIME, **more))

  def _prepare(self, output='new', **options):
    output = None if output is None else str(self.folder / output)
    with contextlib.redirect_stdout(io.StringIO()) as out:
      reviewed_volumes.prepare(
          str(self.path), output, **{'overwrite': False} | options)
    return out.getvalue()

  def _exact(self, row_id):
    """Returns the exact label on the grid of the file."""
    return np.asarray(nibabel.load(
        tiny_volumes.source_dir() / f'labels/{row_id}.nii').dataobj)

  def test_all_decisions(self):
    kept, dropped, coarse, exact, sliced, *_, last = self.weak
    is_fine = {i: int(i[1:]) % 5 == 4 for i in self.weak}
    self.assertTrue(reviewed_volumes.is_for(str(self.path)))
    self._decide(kept, 'keep')
    self._decide(dropped, 'drop')
    half = self._exact(coarse).copy()
    half[:3, :5] = 255
    self._decide(coarse, 'mask', half)
    self._decide(exact, 'mask', self._exact(exact), exact=True)
    few = np.full_like(self._exact(sliced), 255)
    few[..., 3] = self._exact(sliced)[..., 3]
    self._decide(sliced, 'mask', few)
    text = self._prepare()
    self.assertIn('decisions: 5 volumes, 1 kept, 1 dropped, 1 redrawn exactly, '
                  '2 redrawn coarsely', text)
    self.assertIn('train: 12 volumes of 12 subjects (5 strong, 6 weak, '
                  '1 unlabelled)', text)
    new = volume_set.load(str(self.folder / 'new'))
    self.assertEqual(new.plan, self.old.plan)
    self.assertNotEqual(new.fingerprint, self.old.fingerprint)
    found = {r['id']: r for split in ('train_strong', 'train_weak')
             for r in new.splits[split]}
    self.assertLen(new.splits['train_strong'], 5)
    self.assertEqual(
        {i: found[i].volume.more['kind'] for i in (
            dropped, coarse, exact, sliced)},
        {dropped: 'none', coarse: 'coarse_mask', exact: 'mask',
         sliced: 'slices'})
    for row_id, mask in ((coarse, half), (exact, self._exact(exact))):
      self.assertFalse(is_fine[row_id])
      if int(row_id[1:]) % 3 == 0:  # The file runs against the frame.
        mask = mask[::-1]
      np.testing.assert_array_equal(found[row_id]['label'], mask)
    label = found[sliced]['label']
    self.assertEqual(
        np.unique((label != types.UNLABELLED).sum((0, 1))).tolist(), [0, 120])
    self.assertTrue((found[dropped]['label'] == types.UNLABELLED).all())
    for row_id in (kept, dropped, coarse, exact, sliced, last):
      old = self.weak[row_id]
      for name in 'image', 'truth':
        np.testing.assert_array_equal(found[row_id][name], old[name])
    self.assertEqual(
        found[exact].volume.more['annotator'], 'anna')
    # What is not changed is copied byte for byte.
    for row_id in kept, last:
      self.assertEqual(
          found[row_id].volume.sha256, self.weak[row_id].volume.sha256)
      file = f'chunks/{found[row_id].volume.file}'
      self.assertEqual((self.folder / 'new' / file).read_bytes(),
                       (self.data / file).read_bytes())
    self.assertEqual((self.folder / 'new/plan.json').read_bytes(),
                     (self.data / 'plan.json').read_bytes())
    self._check_provenance(found, kept, dropped, exact)
    self._check_references(found, coarse, half, dropped)
    entries, problems = splits_file.read_splits(self.folder / 'new/splits.csv')
    self.assertEmpty(problems)
    self.assertEqual({e.id: e.role for e in entries}[exact], 'strong')

  def _check_provenance(self, found, kept, dropped, exact):
    entry = {'time': _TIME, 'who': 'anna', 'decision': 'keep'}
    self.assertEqual(found[kept].volume.more['reviews'], [entry])
    old = self.weak[exact].volume.more
    entry, = found[exact].volume.more['reviews']
    self.assertEqual(entry['replaced'], {
        'label': f'{exact}@0', 'role': 'weak', 'kind': old['kind'],
        'annotator': '', 'fault': old['fault'], 'quality': old['quality']})
    before = chunks.Reader(self.data / 'references')
    after = chunks.Reader(self.folder / 'new/replaced')
    for row_id in dropped, exact:
      shape = before.volumes[row_id].shape
      np.testing.assert_array_equal(
          after.read_patch(f'{row_id}@0', (0, 0, 0), shape, 'label'),
          before.read_patch(row_id, (0, 0, 0), shape, 'label'))

  def _check_references(self, found, coarse, mask, dropped):
    references = chunks.Reader(self.folder / 'new/references')
    self.assertNotIn(dropped, references.volumes)
    np.testing.assert_array_equal(
        references.read_patch(coarse, (0, 0, 0), mask.shape, 'label'), mask)
    file, = found[coarse].volume.more['files']
    self.assertTrue(pathlib.Path(file).is_absolute())

  def test_a_second_review_keeps_what_the_first_one_has_replaced(self):
    first, second, *_ = self.weak
    self._decide(first, 'mask', self._exact(first) * 0)
    self._prepare()
    self.writer.close()
    self.path.unlink()
    self.data = self.folder / 'new'
    self.writer = review_journal.Writer(self.path, review_journal.Header(
        'runs/b', str(self.data), review_journal.manifest_sha256(self.data)))
    self._decide(first, 'drop')
    self._decide(second, 'drop')
    self._prepare('newer')
    after = chunks.Reader(self.folder / 'newer/replaced')
    self.assertCountEqual(
        after.volumes, [f'{first}@0', f'{first}@1', f'{second}@0'])
    shape = after.volumes[f'{first}@1'].shape
    self.assertFalse(after.read_patch(
        f'{first}@1', (0, 0, 0), shape, 'label').any())

  def test_check_writes_nothing(self):
    self._decide([*self.weak][0], 'keep')
    before = sorted(self.folder.rglob('*'))
    self.assertIn('The set has no problems.', self._prepare(None))
    self.assertEqual(sorted(self.folder.rglob('*')), before)

  def _assert_refused(self, words, **options):
    with self.assertRaisesRegex(
        (command_line.Refused, pixels.WrongFile), words):
      self._prepare(**options)
    self.assertFalse((self.folder / 'new').exists())

  def test_refused(self):
    self._assert_refused('holds no decision')
    row_id = [*self.weak][0]
    strong = self.old.splits['train_strong'][0]['id']
    exact = self._exact(row_id)
    for name, mask, options, words in (
        (strong, None, {}, 'expected a weak training volume'),
        ('x', None, {}, 'the set has no such volume'),
        (row_id, exact[1:], {}, 'the mask has another grid'),
        (row_id, exact, {'affine': np.eye(4)}, 'the mask has another grid'),
        (row_id, exact + 1, {}, 'the mask holds class 3'),
        (row_id, np.where(exact == 0, 255, exact).astype(np.uint8),
         {'exact': True}, 'of an exact mask is unlabelled')):
      self._decide(name, 'keep' if mask is None else 'mask', mask, **options)
      self._assert_refused(words)
      self.writer.append(review_journal.Decision(name, 'undo', 'anna', _TIME))
    self._decide(row_id, 'keep')
    self._assert_refused('is the set that was reviewed', output=self.data)
    index = json.loads((self.data / review_journal.INDEX).read_text())
    self.assertNotIn('reviews', index['volumes'][0]['more'])


if __name__ == '__main__':
  absltest.main()
