"""Tests for data_prep.sets.phantom3d."""

import os
import tempfile

from absl.testing import absltest
from data_prep.sets import phantom3d
import numpy as np

from experiments.building import volume_set
from tests import prepare_binary


class Phantom3dTest(absltest.TestCase):

  def test_a_volume_depends_on_seed_and_index_alone(self):
    image, label = phantom3d.make_volume(0, 3)
    again, _ = phantom3d.make_volume(0, 3)
    np.testing.assert_array_equal(image, again)
    self.assertFalse(np.array_equal(image, phantom3d.make_volume(1, 3)[0]))
    self.assertEqual(image.dtype, np.float32)
    self.assertEqual(label.shape, phantom3d.SHAPE)
    self.assertEqual(np.unique(label).tolist(), [0, 1, 2])
    self.assertLess(image[label == 1].mean(), image[label == 2].mean())
    self.assertLess(image[label == 0].mean(), image[label == 1].mean())

  def test_one_command_prepares_it(self):
    with tempfile.TemporaryDirectory() as folder:
      output = os.path.join(folder, 'set')
      command = ('--dataset=phantom3d', f'--output={output}')
      code, out, err = prepare_binary.run(
          *command, '--strong_fraction=0.5', '--instances=slabs')
      self.assertEqual((code, err), (0, []))
      self.assertIn(
          'train: 24 volumes of 24 subjects (12 strong, 12 weak)', out)
      self.assertIn('next: python -m experiments.train --config=experiments/'
                    f'configs/phantom3d.py --config.input.data_dir={output}',
                    out)
      self.assertLen(os.listdir(os.path.join(output, 'source/images')), 40)
      dataset = volume_set.load(output)
      self.assertEqual(dataset.classes, phantom3d.CLASSES)
      self.assertEqual(dataset.plan.patch_size, phantom3d.PATCH)
      slabs = [r.slab for r in dataset.splits['train_weak']]
      self.assertIn(f'{len(slabs)} slabs of weak volumes are instances', out)
      # Boxes label all of the 36 slices, of which a slab has up to 8.
      self.assertContainsSubset({7, 8}, {s.stop - s.start for s in slabs})
      self.assertTrue(all(s.axis == 2 for s in slabs))
      self.assertEqual(prepare_binary.run(*command)[0], 2)
      code, _, err = prepare_binary.run(*command, '--image_size=64')
      self.assertEqual(err, [
          '--image_size is not for --dataset=phantom3d: remove it'])
      code, _, err = prepare_binary.run(
          command[0], f'--output={folder}/x', '--weak_kinds=tag,point')
      self.assertEqual(code, 2)
      self.assertEqual(err, [
          "--weak_kinds: unknown ['point']; known: slices, box, scribble, "
          'extreme_points, points, coarse_mask, tag'])


if __name__ == '__main__':
  absltest.main()
