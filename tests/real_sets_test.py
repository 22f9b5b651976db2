"""Tests for data_prep.sets.endoscene and data_prep.sets.acdc.

The random choices of frames are tested on made-up lists of files. All other
tests need the real pictures and are skipped without them: set
HYBRIDSEG_REAL_DATA to the folder that contains endoscene/ and acdc/.
"""

import collections
import os
import pathlib
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from data_prep.drawing import rasterize
from data_prep.sets import acdc
from data_prep.sets import endoscene


def _frame(number, sequence='', split='train', part='cvc-300'):
  return {'id': f'{part}_{number}', 'sequence': sequence, 'split': split,
          'copy_of': ''}


def _source(name):
  """Returns the folder of a real set, or skips the test."""
  folder = os.environ.get('HYBRIDSEG_REAL_DATA')
  if not folder:
    raise absltest.SkipTest(
        'HYBRIDSEG_REAL_DATA is not set: no real pictures to test with.')
  path = pathlib.Path(folder) / name
  if not path.is_dir():
    raise absltest.SkipTest(f'{path} is absent: no real pictures.')
  return path


def _splits(rows):
  splits = collections.defaultdict(set)
  for row in rows:
    splits[row.subject].add(row.split)
  return splits


class DrawTest(parameterized.TestCase):

  def test_video_blocks_by_hand(self):
    frames = [
        _frame(10), _frame(2), _frame(1), _frame(3, split='val'), _frame(11),
        _frame(12, '7', part='cvc-612')]
    self.assertEqual(endoscene.video_blocks(frames), {
        'cvc-300_1': 'cvc-300_from1', 'cvc-300_2': 'cvc-300_from1',
        'cvc-300_3': 'cvc-300_from3', 'cvc-300_10': 'cvc-300_from10',
        'cvc-300_11': 'cvc-300_from10', 'cvc-612_12': 'cvc-612_seq7'})

  @parameterized.parameters((0.1, 8), (0.5, 40), (1.0, 80), (0.0, 1))
  def test_strong_frames_are_stretches_of_many_blocks(self, share, count):
    frames = [_frame(i, str(i // 20), part='cvc-612') for i in range(80)]
    subjects = endoscene.video_blocks(frames)
    strong = endoscene.draw_strong(
        frames, subjects, np.random.default_rng(0), strong_fraction=share)
    self.assertLen(strong, count)
    per_block = collections.Counter(subjects[i] for i in strong)
    if share == 0.1:  # Three of the four blocks give 3, 3 and 2 frames.
      self.assertEqual(sorted(per_block.values()), [2, 3, 3])
    if share == 0.5:
      self.assertLen(per_block, 4)
      self.assertLessEqual(max(per_block.values()), 12)


class EndosceneTest(absltest.TestCase):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    source = _source('endoscene')
    cls.folder = cls.enterClassContext(tempfile.TemporaryDirectory())
    cls.manifest = endoscene.write(cls.folder, source=source)

  def test_counts(self):
    counts = collections.Counter(
        (r.split, r.role) for r in self.manifest.rows)
    self.assertEqual(counts['val', 'strong'], 183)
    self.assertEqual(counts['test', 'strong'], 182)
    self.assertEqual(counts['train', 'strong'], 52)
    self.assertBetween(counts['train', 'weak'], 547 - 52 - 26, 547 - 52)

  def test_subjects_are_disjoint_by_split(self):
    splits = _splits(self.manifest.rows)
    self.assertTrue(all(len(s) == 1 for s in splits.values()), splits)
    self.assertGreater(len(splits), 30)

  def test_no_copy_of_a_strong_frame_is_trained_on(self):
    with open(self.manifest.root / 'frames.csv', encoding='utf-8') as file:
      copies = {}
      for line in file.read().splitlines()[1:]:
        fields = line.split(',')
        copies[fields[0]] = fields[-1]
    strong = {r.id for r in self.manifest.rows
              if r.role == 'strong' and r.split == 'train'}
    self.assertEqual([i for i in strong if copies[i]], [])
    for row in self.manifest.rows:
      self.assertNotIn(copies[row.id], strong)

  def test_faults_and_their_quality(self):
    scores = collections.defaultdict(list)
    for row in self.manifest.rows:
      if row.role == 'weak':
        scores[row.evaluation['fault']].append(row.evaluation['quality'])
    self.assertEqual(
        {len(v) for k, v in scores.items() if k}, {37})
    self.assertLess(max(scores['shifted']), 0.35)
    self.assertLess(max(scores['wrong_place']), 0.1)
    self.assertBetween(np.median(scores['shrunken']), 0.12, 0.3)
    self.assertEqual(set(scores['missing']), {0.0})
    self.assertBetween(np.median(scores['']), 0.6, 0.9)

  def test_only_the_manifest_is_written(self):
    self.assertEqual(os.listdir(self.folder), ['manifest.jsonl'])

  def test_same_seed_same_manifest(self):
    with tempfile.TemporaryDirectory() as folder:
      again = endoscene.write(folder, source=self.manifest.root)
    self.assertEqual(again.rows, self.manifest.rows)


class AcdcTest(absltest.TestCase):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    source = _source('acdc')
    cls.folder = cls.enterClassContext(tempfile.TemporaryDirectory())
    cls.manifest = acdc.write(cls.folder, source=source)

  def test_whole_patients_are_strong(self):
    self.assertLen(self.manifest.rows, 1000)
    roles = collections.defaultdict(set)
    for row in self.manifest.rows:
      if row.split == 'train':
        roles[row.subject].add(row.role)
    self.assertLen(roles, 35)
    self.assertTrue(all(len(r) == 1 for r in roles.values()))
    self.assertEqual(sum(r == {'strong'} for r in roles.values()), 4)
    self.assertTrue(
        all(len(s) == 1 for s in _splits(self.manifest.rows).values()))

  def test_scribbles_agree_with_the_masks(self):
    weak = [r for r in self.manifest.rows if r.role == 'weak']
    wrong = labelled = 0
    for row in weak[::20]:
      draw = lambda annotation: rasterize.rasterize(
          annotation, size=(224, 224), root=self.manifest.root)
      scribble, truth = draw(row.annotation), draw(row.evaluation['truth'])
      known = scribble != 255
      labelled += known.sum()
      wrong += (scribble[known] != truth[known]).sum()
    self.assertBetween(labelled / (len(weak[::20]) * 224**2), 0.005, 0.02)
    self.assertLess(wrong, 0.001 * labelled)


if __name__ == '__main__':
  absltest.main()
