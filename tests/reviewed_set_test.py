"""Tests for data_prep.prepare --decisions: a review changes a prepared set."""

import hashlib
import json
import os
import pathlib
import shutil
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
# This module defines flags. If TFDS imported it later, inside `flagsaver`, the
# flags would be removed again.
from array_record.python import array_record_data_source  # noqa: F401
import numpy as np
from PIL import Image
import tensorflow_datasets as tfds

from data_prep import manifest as manifest_lib
from data_prep.drawing import rasterize
from data_prep.formats import nifti
from data_prep.records import builder
from data_prep.records import preparation
from data_prep.records import shards
from data_prep.sets import phantom
from data_prep.shared import review_journal
from tests import prepare_binary

_SIZE = 24  # Of the pictures; the records are smaller.
_RECORDS = 16
_TIME = '2026-11-28T22:30:01Z'


def _write_set(folder):
  """Writes a prepared set in which weak images have all other roles, too."""
  written = phantom.write(
      folder, image_size=_SIZE, num_train=21, num_val=3, num_test=3,
      strong_fraction=0.2)
  rows = list(written.rows)
  last = max(i for i, row in enumerate(rows) if row.role == 'weak')
  rows[last] = rows[last]._replace(role='unlabelled', annotation=None)
  manifest = manifest_lib.write_manifest(
      folder / 'manifest.jsonl', written.header, rows)
  builder.build(manifest, output=folder / 'records', image_size=_RECORDS)
  preparation.write(folder, intensity_range=(3.0, 200.0))
  return manifest


class Review:
  """A journal in a folder of its own, as `experiments.review` writes it."""

  def __init__(self, folder, data_dir):
    folder.mkdir(parents=True)
    self.path = folder / 'review.jsonl'
    self._writer = review_journal.Writer(self.path, review_journal.Header(
        'runs/mine', str(data_dir), review_journal.manifest_sha256(data_dir)))

  def add(self, row_id, decision, **fields):
    """Adds a decision and returns it."""
    added = review_journal.Decision(
        row_id, decision, 'anna', _TIME, **fields)
    assert self._writer.append(added)
    return added

  def draw(self, row_id, label, *, exact, source='drawn', name='', **save):
    """Adds a mask."""
    name = name or f'masks/{len(os.listdir(self.path.parent))}{row_id}.png'
    file = self.path.parent / name
    file.parent.mkdir(exist_ok=True)
    picture = label if isinstance(label, Image.Image) else (
        Image.fromarray(label))
    picture.save(file, **save)
    return self.add(
        row_id, 'mask', mask=name, exact=exact, source=source,
        sha256=hashlib.sha256(file.read_bytes()).hexdigest())


def _records(folder):
  """Returns the records of each split."""
  reader = tfds.builder_from_directory(folder / 'records')
  return {split: [*reader.as_data_source(split=split)]
          for split in reader.info.splits}


def _label(seed, *, unlabelled=False):
  """Returns a random mask of blocks."""
  label = np.random.default_rng(seed).integers(
      2, size=(_SIZE // 4, _SIZE // 4), dtype=np.uint8)
  label = np.kron(label, np.ones((4, 4), np.uint8))
  if unlabelled:
    label[5:9, 2:20] = 255
  return label


class ReviewedSetTest(parameterized.TestCase):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.shared = pathlib.Path(
        cls.enterClassContext(tempfile.TemporaryDirectory()))
    _write_set(cls.shared / 'set')

  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    self.data = shutil.copytree(self.shared / 'set', self.folder / 'set')
    self.manifest = manifest_lib.read_manifest(self.data / 'manifest.jsonl')
    self.weak = [row for row in self.manifest.rows if row.role == 'weak']
    self.review = Review(self.folder / 'run/review', self.data)
    self.output = self.folder / 'corrected'

  def prepare(self, *argv, review=None, output=None):
    """Applies a journal, and returns the manifest and the printed lines."""
    output = output or self.output
    code, out, lines = prepare_binary.run(
        f'--decisions={(review or self.review).path}', f'--output={output}',
        *argv)
    self.assertEqual((code, lines), (0, [
        x for x in lines if x.startswith('  ')]), lines)
    return manifest_lib.read_manifest(output / 'manifest.jsonl'), out

  def assert_refused(self, words, *argv):
    before = sorted(map(str, self.folder.rglob('*')))
    if not any(x.startswith('--output') for x in argv):
      argv = (*argv, f'--output={self.output}')
    code, _, lines = prepare_binary.run(
        f'--decisions={self.review.path}', *argv)
    self.assertEqual(code, 2)
    self.assertLen(lines, 1, lines)
    self.assertIn(words, lines[0])
    self.assertEqual(sorted(map(str, self.folder.rglob('*'))), before)

  def test_every_decision(self):
    kept, dropped, exact, coarse, undone, again = self.weak[:6]
    new = {exact.id: _label(1), coarse.id: _label(2, unlabelled=True),
           again.id: _label(3)}
    (self.data / nifti.INDEX).write_text('{}')  # As for slices of volumes.
    self.review.add(kept.id, 'keep', seconds=1.5, keys=1)
    self.review.add(dropped.id, 'drop')
    self.review.draw(exact.id, new[exact.id], exact=True)
    self.review.draw(
        coarse.id, new[coarse.id], exact=False, source='prediction')
    self.review.add(undone.id, 'drop')
    self.review.add(undone.id, 'undo')
    self.review.draw(again.id, _label(4), exact=False)
    self.review.draw(again.id, new[again.id], exact=True)
    with open(self.review.path, 'a', encoding='utf-8') as file:
      file.write('{"id": "to')  # A process was killed here.
    made, out = self.prepare()
    self.assertIn(
        'decisions: 5 images, 1 kept, 1 dropped, 2 redrawn exactly, 1 redrawn '
        'coarsely', out)
    self.assertIn('\nreviewed: drop 1, keep 1, mask 3\n', out)
    self.assertIn('torn last line', out)
    self.assertIn(
        'next: the command that trained runs/mine, with '
        f'--config.input.data_dir={self.output} --config.warm_start=runs/mine '
        '--workdir=runs/mine_reviewed\n', out)
    self.assertEqual(made.problems, ())
    self.assertEqual(made.root, self.data)

    def entry(row, decision, **fields):
      return (*row.reviews, {
          'time': _TIME, 'who': 'anna', 'decision': decision, **fields})

    def replaced(row):
      return {'role': 'weak', 'annotator': row.annotator,
              'annotation': row.annotation, 'evaluation': {
                  'quality': row.evaluation['quality'],
                  'fault': row.evaluation['fault']}}

    blank = lambda row: {'truth': row.evaluation['truth'], 'quality': None,
                         'fault': ''}
    wanted = {row.id: row for row in self.manifest.rows}
    wanted[kept.id] = kept._replace(reviews=entry(kept, 'keep'))
    wanted[dropped.id] = dropped._replace(
        role='unlabelled', annotation=None, annotator='',
        evaluation=blank(dropped),
        reviews=entry(dropped, 'drop', replaced=replaced(dropped)))
    for row, kind, source in (
        (exact, 'mask', 'drawn'), (again, 'mask', 'drawn'),
        (coarse, 'coarse_mask', 'prediction')):
      wanted[row.id] = row._replace(
          role='strong' if kind == 'mask' else 'weak', annotator='anna',
          annotation=made.rows[row.line - 2].annotation, evaluation=blank(row),
          reviews=entry(row, 'mask', replaced=replaced(row), source=source))
      self.assertEqual(wanted[row.id].annotation['kind'], kind)
    self.assertEqual(made.rows, tuple(wanted.values()))
    for row_id, label in new.items():
      row = next(row for row in made.rows if row.id == row_id)
      np.testing.assert_array_equal(rasterize.rasterize(
          row.annotation, size=label.shape, root=made.root), label)

    # Records that did not change are equal in every field but the instance.
    old = {r['id'].decode(): r for split in _records(self.data).values()
           for r in split}
    found = _records(self.output)
    self.assertEqual(
        [r['id'].decode() for r in found['train_strong']],
        [row.id for row in made.rows
         if (row.split, row.role) == ('train', 'strong')])
    self.assertEqual(
        [r['instance_id'] for r in found['train_weak']],
        [*range(len(self.weak) + 1 - 2)])
    for record in sum(found.values(), []):
      row_id = record['id'].decode()
      if row_id in new:
        small = rasterize.resize_label(new[row_id], size=(_RECORDS, _RECORDS))
        np.testing.assert_array_equal(record['label'], small)
        self.assertEqual(record['fault'], b'')
        self.assertEqual(record['annotator'], b'anna')
        if row_id != coarse.id:
          np.testing.assert_array_equal(record['truth'], small)
          continue
      elif row_id == dropped.id:
        self.assertTrue((record['label'] == 255).all())
      else:
        for name in old[row_id].keys() - {'instance_id'}:
          np.testing.assert_array_equal(record[name], old[row_id][name], name)
      for name in ('image', 'truth', 'subject', 'site'):
        np.testing.assert_array_equal(record[name], old[row_id][name], name)
    self.assertEqual(
        preparation.read(self.output).intensity_range, (3.0, 200.0))
    self.assertEqual((self.output / nifti.INDEX).read_text(), '{}')
    # The set does not need the files of the review.
    shutil.rmtree(self.review.path.parent)
    self.assertIn('The set has no problems.', prepare_binary.run(
        f'--manifest={self.output}/manifest.jsonl', '--check')[1])

  def test_two_rounds(self):
    first, second, third = self.weak[:3]
    self.review.draw(first.id, _label(1), exact=False)
    self.review.add(second.id, 'keep')
    once, _ = self.prepare()
    review = Review(self.folder / 'run2/review', self.output)
    review.draw(first.id, _label(2), exact=True)
    review.add(second.id, 'drop')
    review.add(third.id, 'keep')
    twice, _ = self.prepare(review=review, output=self.folder / 'twice')
    self.assertEqual(twice.root, self.data)
    rows = {row.id: row for row in twice.rows}
    before = {row.id: row for row in once.rows}
    self.assertEqual(
        [(e['decision'], e.get('replaced', {}).get('annotation'))
         for e in rows[first.id].reviews],
        [('mask', first.annotation), ('mask', before[first.id].annotation)])
    self.assertEqual(rows[first.id].role, 'strong')
    self.assertEqual([e['decision'] for e in rows[second.id].reviews],
                     ['keep', 'drop'])
    self.assertEqual(rows[second.id].reviews[1]['replaced']['annotation'],
                     second.annotation)
    self.assertLen(rows[third.id].reviews, 1)
    label = next(r['label'] for r in _records(self.folder / 'twice')[
        'train_strong'] if r['id'].decode() == first.id)
    np.testing.assert_array_equal(label, rasterize.resize_label(
        _label(2), size=(_RECORDS, _RECORDS)))
    # The second round cannot be about what is weak no longer.
    review = Review(self.folder / 'run3/review', self.folder / 'twice')
    review.add(first.id, 'drop')
    self.review = review
    self.assert_refused('it is train strong', f'--output={self.folder}/more')

  def test_only_changed_shards_are_written(self):
    with mock.patch.object(shards, '_SHARD_ROWS', 4):
      shutil.rmtree(self.data / 'records')
      builder.build(
          self.manifest, output=self.data / 'records', image_size=_RECORDS)
      self.review.add(self.weak[0].id, 'keep')
      self.review.draw(self.weak[1].id, _label(1), exact=False)
      self.review.add(self.weak[9].id, 'drop')
      written = []
      write = shards.write_shard
      with mock.patch.object(
          shards, 'write_shard', side_effect=lambda task, **more: (
              written.append((task.split, task.index)), write(task, **more))):
        self.prepare()
        self.assertCountEqual(written, [('train_weak', 0), ('train_weak', 2)])
        written.clear()
        # An exact mask moves its row, and the instances after it.
        self.review.draw(self.weak[9].id, _label(2), exact=True)
        made, _ = self.prepare(output=self.folder / 'more')
        strong = [row.id for row in made.rows
                  if (row.split, row.role) == ('train', 'strong')]
        place = strong.index(self.weak[9].id) // 4
        last = (len(self.weak) + 1 - 1 - 1) // 4
        self.assertCountEqual(
            written, [('train_weak', 0)]
            + [('train_weak', i) for i in range(2, last + 1)]
            + [('train_strong', i) for i in range(
                place, (len(strong) - 1) // 4 + 1)])
    for name in os.listdir(self.data / 'records'):
      if '-val.' in name or '-test.' in name:
        self.assertEqual((self.output / 'records' / name).read_bytes(),
                         (self.data / 'records' / name).read_bytes())

  def test_again(self):
    self.review.add(self.weak[0].id, 'drop')
    self.prepare()
    _, out = self.prepare()
    self.assertIn('is up to date', out)
    self.review.add(self.weak[0].id, 'undo')
    self.review.add(self.weak[1].id, 'keep')
    self.assert_refused('prepared differently; give --overwrite')
    made, out = self.prepare('--overwrite')
    self.assertIn('decisions: 1 image, 1 kept, 0 dropped', out)
    self.assertEqual([row.id for row in made.rows if row.reviews],
                     [self.weak[1].id])

  def test_a_record_does_not_change_with_its_reviews(self):
    self.review.add(self.weak[0].id, 'keep')
    made, _ = self.prepare()
    self.assertNotEqual(
        *(tfds.builder_from_directory(folder / 'records').info.metadata[
            'manifest_sha256'] for folder in (self.data, self.output)))
    for name in os.listdir(self.data / 'records'):
      if 'array_record' in name:
        self.assertEqual((self.output / 'records' / name).read_bytes(),
                         (self.data / 'records' / name).read_bytes())
    self.assertEqual(repr(made.rows[0]._replace(reviews=())),
                     repr(made.rows[0]).partition(', reviews=')[0].rstrip(')')
                     + ')')

  def test_check(self):
    self.review.add(self.weak[0].id, 'drop')
    before = sorted(map(str, self.folder.rglob('*')))
    code, out, _ = prepare_binary.run(
        f'--decisions={self.review.path}', '--check')
    self.assertEqual(code, 0)
    self.assertIn('The set has no problems.', out)
    self.assertIn('1 dropped', out)
    self.assertEqual(sorted(map(str, self.folder.rglob('*'))), before)

  @parameterized.parameters(
      'dataset=phantom', 'manifest=x', 'source=x', 'image_size=32', 'seed=1',
      'strong_fraction=0.5', 'fault_fraction=0.5', 'weak_kinds=box',
      'near_copies=refuse', 'leave_out=defective', 'intensity_range=0,9',
      'simulate=box', 'volumes', 'instances=slabs', 'splits=x', 'name=other',
      'classes=a,b')
  def test_flags_of_other_sets(self, flag):
    self.review.add(self.weak[0].id, 'drop')
    name = flag.split('=')[0]
    words = ('give either --source, --dataset, --manifest or --decisions'
             if name in ('dataset', 'manifest') else
             f'--{name} is not for --decisions: remove it')
    self.assert_refused(words, f'--{flag}')

  def test_refused_sets(self):
    self.assert_refused('holds no decision')
    self.review.add(self.weak[0].id, 'drop')
    for output in (self.data, self.folder):
      self.assert_refused('is the set that was reviewed', f'--output={output}')
    manifest = self.data / 'manifest.jsonl'
    content = manifest.read_bytes()
    manifest.write_bytes(content + b'\n')
    self.assert_refused('has changed since the review')
    manifest.write_bytes(content)
    os.rename(self.data / 'records', self.data / 'gone')
    self.assert_refused('records cannot be read')
    os.rename(self.data, self.folder / 'elsewhere')
    self.assert_refused('is not there')
    self.data.mkdir()
    (self.data / 'plan.json').write_text('{}')
    self.assert_refused('cannot be read: prepare the set as it was')
    self.review.path.write_text('')
    self.assert_refused('no header')
    self.review.path.unlink()
    self.assert_refused('no such file')

  def test_refused_rows(self):
    by = lambda split, role: next(
        row.id for row in self.manifest.rows
        if (row.split, row.role) == (split, role))
    for row_id, words in (
        ('nobody', "'nobody': the set has no such image"),
        (by('train', 'strong'), 'it is train strong'),
        (by('train', 'unlabelled'), 'it is train unlabelled'),
        (by('val', 'strong'), 'it is val strong')):
      self.review.add(row_id, 'keep')
      self.assert_refused(words)
      self.review.add(row_id, 'undo')
    self.review.add('nobody', 'keep')
    self.review.add('nowhere', 'keep')
    code, _, lines = prepare_binary.run(
        f'--decisions={self.review.path}', f'--output={self.output}')
    self.assertEqual((code, len(lines)), (2, 2))  # A line for each of them.

  @parameterized.named_parameters(
      ('size', lambda: _label(1)[:-1], {}, 'the mask is 23 x 24, its image 24'),
      ('class', lambda: _label(1) * 2, {}, 'holds class 2, expected 0 to 1'),
      ('colour', lambda: np.stack(3 * [_label(1)], -1), {}, 'PNG RGB'),
      ('palette', lambda: Image.fromarray(_label(1)).convert('P'), {}, 'PNG P'),
      ('jpeg', lambda: _label(1), {'format': 'JPEG'}, 'JPEG L'),
      ('unlabelled', lambda: _label(1, unlabelled=True), {'exact': True},
       'of an exact mask is unlabelled'),
  )
  def test_refused_masks(self, make, options, words):
    exact = {'exact': options.pop('exact', False)} | options
    self.review.draw(self.weak[0].id, make(), **exact)
    self.assert_refused(words)

  def test_refused_mask_files(self):
    decision = self.review.draw(self.weak[0].id, _label(1), exact=True)
    file = self.review.path.parent / decision.mask
    Image.fromarray(_label(2)).save(file)
    self.assert_refused('has changed since the decision')
    file.unlink()
    self.assert_refused('cannot be read')
    outside = self.folder / 'outside.png'
    Image.fromarray(_label(1)).save(outside)
    file.symlink_to(outside)
    self.assert_refused('a link would lead out of its folder')

  @parameterized.parameters(
      {}, [[]], [[1]], [[{'decision': []}]],
      [[{'decision': 'keep', 'who': '', 'time': 1}]],
      [[{'decision': 'keep', 'who': '', 'time': '', 'source': ''}]],
      [[{'decision': 'undo', 'who': '', 'time': ''}]],
      [[{'decision': 'drop', 'who': '', 'time': ''}]],
      [[{'decision': 'drop', 'who': '', 'time': '', 'replaced': None}]])
  def test_manifest_field(self, *value):
    value = value[0] if value else {}
    lines = (self.data / 'manifest.jsonl').read_text().splitlines()
    lines[1] = json.dumps(json.loads(lines[1]) | {'reviews': value})
    (self.data / 'manifest.jsonl').write_text('\n'.join(lines))
    found = manifest_lib.read_manifest(self.data / 'manifest.jsonl').problems
    if value == []:
      self.assertEqual(found, ())
      return
    self.assertLen(found, 1)
    self.assertIn('expected a list of decisions of reviews', str(found[0]))


if __name__ == '__main__':
  absltest.main()
