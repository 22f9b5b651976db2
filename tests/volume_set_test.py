"""Tests for experiments.building.volume_set."""

import os
from unittest import mock

from absl.testing import absltest
import chex
from data_prep.records import chunks
from hybridseg import types
import numpy as np

from experiments import binary
from experiments.building import corrections
from experiments.building import pieces
from experiments.building import volume_patches
from experiments.building import volume_set
from tests import tiny
from tests import tiny_volumes


def _batches(seed=0, **changes):
  config = tiny_volumes.debug_config(input=changes)
  dataset = volume_set.load(config.input.data_dir)
  data = volume_set.with_batch_sizes(pieces.unpack(config).data, dataset)
  return dataset, volume_patches.PatchBatches(dataset, data, seed=seed)


def _record(shape, places=()):
  """Returns a record without voxels."""
  record = mock.Mock(spec=volume_set.Record)
  record.volume = chunks.Volume('v', '', '', shape, (), 0, {}, {})
  record.slab = None
  record.locations.return_value = np.array(places, np.int32).reshape(-1, 4)
  return record


class LoadTest(absltest.TestCase):

  def test_fields_of_the_trainer(self):
    dataset = volume_set.load(tiny_volumes.data_dir())
    self.assertEqual(dataset.name, 'tiny')
    self.assertLen(dataset.classes, 3)
    self.assertEqual(dataset.image_shape, (6, 8, 8, 1))
    self.assertEqual(
        {name: len(records) for name, records in dataset.splits.items()},
        {'train_strong': 4, 'train_weak': 8, 'val': 3, 'test': 3})
    self.assertEqual(
        [r['instance_id'] for r in dataset.splits['train_weak']],
        list(range(8)))
    kinds = {int(r['kind']) for r in dataset.splits['train_weak']}
    self.assertEqual(
        kinds, {types.AnnotationKind.SLICES, types.AnnotationKind.BOX})
    self.assertEqual(
        sum(r['fault'] != '' for r in dataset.splits['train_weak']), 4)
    again = volume_set.load(tiny_volumes.data_dir())
    self.assertEqual(dataset.fingerprint, again.fingerprint)

  def test_voxels_are_those_of_the_files(self):
    for records in volume_set.load(tiny_volumes.data_dir()).splits.values():
      for record in records:
        k = int(record['id'][1:])
        label = tiny_volumes.label_of(k)
        np.testing.assert_array_equal(record['truth'], label)
        image = record['image'][..., 0]
        self.assertEqual(image.dtype, np.float32)
        self.assertBetween(image.min(), 0, 1)
        self.assertBetween(image.max(), 0, 1)
        if k % 5 != 4:  # Not resampled.
          stored = tiny_volumes.image_of(k)
          # 15 standard deviations from level 0 to level 65535.
          np.testing.assert_allclose(
              15 * image - 5, (stored - stored.mean()) / stored.std(),
              atol=1e-3)

  def test_folders_of_another_kind_are_refused(self):
    config = tiny_volumes.debug_config(input=dict(data_dir=tiny.data_dir()))
    with self.assertRaisesRegex(binary.UserError, 'No whole volumes at'):
      corrections.load(pieces.unpack(config).data, '')
    config = tiny.debug_config(input=dict(data_dir=tiny_volumes.data_dir()))
    with self.assertRaisesRegex(binary.UserError, 'holds whole volumes'):
      corrections.load(pieces.unpack(config).data, '')

  def test_batch_sizes_are_those_of_the_plan(self):
    dataset, batches = _batches(weak_batch_size=0)
    self.assertEqual(dataset.plan.batch_size, 4)
    self.assertLen(batches[0].strong.label, 4)
    self.assertLen(batches[0].weak.label, 4)

  def test_options_of_the_network(self):
    dataset = volume_set.load(tiny_volumes.data_dir())
    model = pieces.unpack(tiny_volumes.debug_config()).model
    self.assertEqual(volume_set.network_options(model, dataset.plan), dict(
        features=(4, 4), strides=dataset.plan.strides,
        kernels=dataset.plan.kernels, dtype='float32'))
    stated = model._replace(options=dict(features=(3,), dtype='bfloat16'))
    self.assertEqual(volume_set.network_options(stated, dataset.plan), dict(
        features=(3,), strides=(), kernels=dataset.plan.kernels[:1],
        dtype='bfloat16'))
    with self.assertRaisesRegex(ValueError, 'takes no volumes'):
      volume_set.network_options(
          model._replace(name='deeplab_v3_plus'), dataset.plan)

  def test_damaged_chunks_are_one_line(self):
    record = volume_set.load(tiny_volumes.data_dir()).splits['val'][0]
    with mock.patch.object(
        chunks.Reader, '_records', return_value=[b''] * 99):
      with self.assertRaisesRegex(binary.UserError, 'is damaged'):
        _ = record['image']


class BatchesTest(absltest.TestCase):

  def test_a_batch_depends_on_seed_and_step_alone(self):
    _, batches = _batches()
    _, again = _batches()
    _ = again[0]
    chex.assert_trees_all_equal(batches[7], again[7])
    _, other = _batches(seed=1)
    self.assertFalse(np.array_equal(
        batches[7].strong.image, other[7].strong.image))
    self.assertFalse(np.array_equal(
        batches[7].strong.image, batches[8].strong.image))

  def test_patches_are_those_of_the_volumes(self):
    dataset, batches = _batches()
    for step in range(3):
      for role, rows in batches.rows(step).items():
        examples = getattr(batches[step], role)
        self.assertEqual(examples.image.shape[1:], (*tiny_volumes.PATCH, 1))
        for place, row in enumerate(rows):
          record = dataset.splits[f'train_{role}'][row]
          self.assertEqual(
              examples.instance_id[place], record['instance_id'])
          self.assertEqual(self._occurrences(
              record, examples.image[place], examples.label[place]), 1)

  def _occurrences(self, record, image, label, *, name='label'):
    """Returns at how many places a volume holds an image and its label."""
    first = volume_patches.first_start(record.volume.shape, tiny_volumes.PATCH)
    last = np.maximum(
        0, np.subtract(record.volume.shape, tiny_volumes.PATCH)) + first
    found = 0
    for start in np.ndindex(*(last - first + 1)):
      start = first + start
      found += all(
          np.array_equal(record.read(field, start, tiny_volumes.PATCH), array)
          for field, array in (('image', image), (name, label)))
    return found

  def test_weak_labels_may_be_exact(self):
    config = tiny_volumes.debug_config('full_supervision,debug')
    dataset = volume_set.load(config.input.data_dir)
    data = volume_set.with_batch_sizes(pieces.unpack(config).data, dataset)
    batches = volume_patches.PatchBatches(dataset, data, seed=0)
    for step in range(2):
      for place, row in enumerate(batches.rows(step)['weak']):
        record = dataset.splits['train_weak'][row]
        image, label = (x[place] for x in batches[step].weak[:2])
        self.assertEqual(
            self._occurrences(record, image, label, name='truth'), 1)

  def test_share_of_patches_with_objects(self):
    rng = np.random.default_rng(0)
    # One voxel of class 1 and many of class 2.
    record = _record((40, 40, 40), [
        [1, 39, 0, 20], *([2, 20, 20, i] for i in range(30))])
    starts = [volume_patches.draw_start(rng, record, (8, 8, 8), share=1.0)
              for _ in range(200)]
    self.assertBetween(starts.count([32, 0, 16]), 75, 125)
    starts = [volume_patches.draw_start(rng, record, (8, 8, 8), share=0.0)
              for _ in range(2000)]
    self.assertEqual(np.min(starts), 0)
    self.assertEqual(np.max(starts), 32)
    np.testing.assert_allclose(np.mean(starts, 0), 16, atol=1)

  def test_a_small_volume_lies_in_the_middle(self):
    rng = np.random.default_rng(0)
    self.assertEqual(
        volume_patches.draw_start(
            rng, _record((5, 8, 7)), (8, 8, 8), share=1.0),
        [-1, 0, 0])

  def test_large_batches_are_refused(self):
    with self.assertRaisesRegex(binary.UserError, 'strong_batch_size is 5'):
      _batches(strong_batch_size=5)


class RefusalsTest(absltest.TestCase):

  def test_what_is_for_slices_alone(self):
    for changes in (
        dict(model=dict(cached_copies=(2, 2))),
        dict(input=dict(corrected_labels='x')),
        dict(supervision=dict(refine=True)),
        dict(weighting=dict(instances='all'))):
      config = tiny_volumes.debug_config(**changes)
      with self.assertRaisesRegex(
          binary.UserError, 'is not for whole volumes'):
        pieces.unpack(config)

  def test_a_missing_folder_is_one_line(self):
    folder = tiny.temp_dir(self)
    os.symlink(os.path.join(tiny_volumes.data_dir(), 'plan.json'),
               os.path.join(folder, 'plan.json'))
    for name in 'chunks', 'references':
      with self.assertRaisesRegex(
          binary.UserError, f'^{folder} lacks the folder {name}: prepare'):
        volume_set.load(folder)
      os.symlink(os.path.join(tiny_volumes.data_dir(), name),
                 os.path.join(folder, name))
    volume_set.load(folder)


if __name__ == '__main__':
  absltest.main()
