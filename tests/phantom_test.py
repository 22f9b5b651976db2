"""Tests for data_prep.sets.phantom."""

import collections
import pathlib
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from PIL import Image

from data_prep.checks import check
from data_prep.sets import phantom

_COUNTS = dict(num_train=40, num_val=4, num_test=5)


class PhantomTest(parameterized.TestCase):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.folder = pathlib.Path(
        cls.enterClassContext(tempfile.TemporaryDirectory()))
    cls.manifest = phantom.write(cls.folder, **_COUNTS)

  def test_manifest_has_no_problem(self):
    self.assertEqual(check.check_manifest(self.manifest), [])

  def test_counts(self):
    rows = self.manifest.rows
    self.assertEqual(
        collections.Counter((r.split, r.role) for r in rows),
        {('train', 'strong'): 4, ('train', 'weak'): 36, ('val', 'strong'): 4,
         ('test', 'strong'): 5})
    faults = collections.Counter(
        r.evaluation['fault'] for r in rows if r.role == 'weak')
    self.assertEqual(faults, {  # round(0.3 * 36) = 11.
        '': 25, 'shifted': 3, 'shrunken': 3, 'wrong_place': 3, 'missing': 2})

  def test_three_images_per_subject_and_subjects_disjoint(self):
    splits = collections.defaultdict(list)
    for row in self.manifest.rows:
      splits[row.subject].append(row.split)
    self.assertTrue(all(len(set(s)) == 1 for s in splits.values()))
    self.assertLen(splits, 14 + 2 + 2)
    self.assertEqual(max(map(len, splits.values())), 3)

  def test_every_image_has_a_lesion_and_background(self):
    for row in self.manifest.rows:
      mask = np.asarray(Image.open(self.folder / f'masks/{row.id}.png'))
      self.assertContainsSubset(np.unique(mask), [0, 255])
      self.assertBetween((mask > 0).mean(), 12 / 64**2, 0.4)

  def test_exposure(self):
    warmth = collections.defaultdict(list)
    for row in self.manifest.rows:
      image = np.asarray(Image.open(self.folder / row.image))
      self.assertEqual(image.shape, (64, 64, 3))
      self.assertBetween(image.mean(), 60, 200)
      # Less than 5 % of the pixels are white highlights.
      self.assertLess((image == 255).all(-1).mean(), 0.05)
      red, green, blue = image.reshape(-1, 3).mean(0)
      warmth[row.site].append(red / blue)
      if row.site == 'site_a':
        self.assertGreater(red, max(green, blue) + 10)  # Tissue is mostly red.
    # The sites differ in their white balance: site_a is the warmer one.
    self.assertLess(max(warmth['site_b']), min(warmth['site_a']) + 0.2)
    self.assertLess(np.mean(warmth['site_b']), np.mean(warmth['site_a']) - 0.5)

  def test_most_faults_are_of_one_annotator(self):
    faulty = collections.defaultdict(list)
    for row in self.manifest.rows:
      if row.role == 'weak':
        self.assertEqual(row.annotator, f'annotator_of_{row.site}')
        faulty[row.site].append(row.evaluation['fault'] != '')
    self.assertGreater(np.mean(faulty['site_b']), 0.7)
    self.assertLess(np.mean(faulty['site_a']), 0.2)

  def test_lesions_are_redder_than_their_surroundings_on_average(self):
    contrast = []
    for row in self.manifest.rows:
      image = np.asarray(Image.open(self.folder / row.image)) / 255.0
      mask = np.asarray(Image.open(self.folder / f'masks/{row.id}.png')) > 0
      redness = image[..., 0] / image.sum(-1)
      contrast.append(redness[mask].mean() - redness[~mask].mean())
    self.assertGreater(np.mean(contrast), 0.01)

  def test_same_seed_same_bytes_and_another_seed_differs(self):
    small = dict(num_train=10, num_val=1, num_test=1)
    contents = []
    for seed in (5, 5, 6):
      with tempfile.TemporaryDirectory() as folder:
        phantom.write(folder, seed=seed, **small)
        contents.append({
            p.relative_to(folder): p.read_bytes()
            for p in pathlib.Path(folder).rglob('*.*')})
    self.assertLen(contents[0], 2 * 12 + 1)
    self.assertEqual(contents[0], contents[1])
    self.assertTrue(
        all(contents[0][p] != contents[2][p] for p in contents[0]))

  @parameterized.parameters(16, 33, 96)
  def test_other_sizes(self, size):
    image, mask = phantom.make_image(
        seed=0, index=1, subject=2, site='site_b', image_size=size)
    self.assertEqual(image.shape, (size, size, 3))
    self.assertEqual(mask.shape, (size, size))
    self.assertEqual((image.dtype, mask.dtype), (np.uint8, np.uint8))
    self.assertGreater(mask.sum(), 0)

  @parameterized.parameters((0.0, 0.0, 0, 0), (1.0, 0.3, 10, 0),
                            (0.5, 1.0, 5, 5))
  def test_fractions(self, strong_fraction, fault_fraction, strong, faulty):
    with tempfile.TemporaryDirectory() as folder:
      written = phantom.write(
          folder, num_train=10, num_val=0, num_test=0, image_size=32,
          strong_fraction=strong_fraction, fault_fraction=fault_fraction)
    roles = collections.Counter(r.role for r in written.rows)
    self.assertEqual(roles['strong'], strong)
    faults = [r.evaluation['fault'] for r in written.rows if r.role == 'weak']
    self.assertEqual(sum(f != '' for f in faults), faulty)


if __name__ == '__main__':
  absltest.main()
