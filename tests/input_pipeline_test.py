"""Tests for experiments.building.input_pipeline."""

import glob
import os
import shutil
from unittest import mock

from absl.testing import absltest
from hybridseg import types
import numpy as np

from experiments import binary
from experiments.building import index_shuffle
from experiments.building import input_pipeline
from experiments.building import split_records
from tests import tiny


def _batches(seed=0, **sizes):
  dataset = input_pipeline.load_dataset(tiny.data_dir())
  sizes = dict(strong_batch_size=4, weak_batch_size=8) | sizes
  return input_pipeline.train_batches(dataset, seed=seed, **sizes)


class InputPipelineTest(absltest.TestCase):

  def test_dataset(self):
    dataset = input_pipeline.load_dataset(tiny.data_dir())
    self.assertEqual(dataset.name, 'phantom')
    self.assertEqual(dataset.classes, ('background', 'lesion'))
    self.assertEqual(dataset.image_shape, (16, 16, 3))
    sizes = {name: len(records) for name, records in dataset.splits.items()}
    self.assertEqual(
        sizes, {'train_strong': 8, 'train_weak': 32, 'val': 6, 'test': 10})

  def test_records_that_no_training_can_use_are_refused(self):
    dataset = input_pipeline.load_dataset(tiny.data_dir())
    order = dict(strong_batch_size=8, weak_batch_size=32, seed=0)
    input_pipeline.train_batches(dataset, **order)
    for change, message in (
        (dict(label=np.full((16, 16), 2, np.uint8)), 'label holds 2: want 0 t'),
        (dict(instance_id=np.int32(32)), 'id holds 32: want 0 to 31 or -1'),
        (dict(instance_id=np.int32(3)), 'an instance twice'),
        (dict(kind=np.int32(12)), 'kind holds 12')):
      weak = [r | change for r in dataset.splits['train_weak'][:2]]
      weak += dataset.splits['train_weak'][2:]
      wrong = dataset._replace(splits=dataset.splits | {'train_weak': weak})
      with self.assertRaisesRegex(binary.UserError, message) as caught:
        input_pipeline.train_batches(wrong, **order)
      self.assertNotIn('\n', str(caught.exception))
      self.assertLess(len(str(caught.exception)), 193)

  def test_batch_is_a_function_of_seed_and_step(self):
    first, second = _batches(), _batches()
    for step in (7, 0, 7):  # The steps can be read in any order.
      a, b = first[step], second[step]
      np.testing.assert_array_equal(a.weak.instance_id, b.weak.instance_id)
      np.testing.assert_array_equal(a.strong.image, b.strong.image)
    other = _batches(seed=1)
    self.assertFalse(np.array_equal(
        first[0].weak.instance_id, other[0].weak.instance_id))

  def test_each_pass_shows_every_weak_instance_once_in_a_new_order(self):
    batches = _batches()
    passes = [
        np.concatenate([batches[4 * n + i].weak.instance_id for i in range(4)])
        for n in range(2)
    ]
    for ids in passes:
      np.testing.assert_array_equal(np.sort(ids), np.arange(32))
    self.assertFalse(np.array_equal(*passes))

  def test_order_never_changes(self):
    # A resumed run must go on with the images that an uninterrupted one sees.
    def order(number):
      splits = {'train_strong': range(7), 'train_weak': range(number)}
      return input_pipeline.orders(input_pipeline.Dataset(
          'x', ('a', 'b'), (1, 1, 1), splits, 'f'), 3, 4, seed=5)

    small, large = order(20), order(10**9)
    self.assertEqual(
        [small['weak'][i].tolist() for i in (0, 1, 5)],
        [[5, 11, 19, 3], [6, 15, 4, 1], [14, 5, 12, 18]])
    self.assertEqual(
        [small['strong'][i].tolist() for i in range(3)],
        [[5, 6, 1], [3, 2, 4], [5, 0, 1]])
    # A permutation of so many rows would take 8 GB. The first and the last
    # batch of an epoch, and the first one of the next, cost the same.
    last = 10**9 // 4 - 1
    np.testing.assert_array_equal(
        [large['weak'][i] for i in (0, last, last + 1)],
        [index_shuffle.shuffle(
            np.arange(first, first + 4), number=10**9, seed=11, epoch=epoch)
         for first, epoch in ((0, 0), (4 * last, 0), (0, 1))])

  def test_every_weak_image_once_to_move_indicators(self):
    records = input_pipeline.load_dataset(tiny.data_dir()).splits['train_weak']
    batches = list(input_pipeline.indicator_batches(
        records, 12, weak_labels='annotation'))
    ids = np.concatenate([b.instance_id for b in batches])
    np.testing.assert_array_equal(ids, [*range(32), *[-1] * 4])
    np.testing.assert_array_equal(batches[2].image[8:], batches[0].image[:4])
    np.testing.assert_array_equal(
        batches[2].label[7], records[31]['label'])

  def test_dtypes(self):
    batch = _batches()[0]
    self.assertIsInstance(batch, types.HybridBatch)
    for examples, size in ((batch.strong, 4), (batch.weak, 8)):
      self.assertEqual(examples.image.shape, (size, 16, 16, 3))
      self.assertEqual(examples.label.shape, (size, 16, 16))
      self.assertEqual(examples.image.dtype, np.uint8)
      self.assertEqual(examples.label.dtype, np.uint8)
      self.assertEqual(examples.instance_id.dtype, np.int32)
    np.testing.assert_array_equal(batch.strong.instance_id, -1)

  def test_refuses_a_batch_larger_than_its_split(self):
    with self.assertRaisesRegex(binary.UserError, 'has 32 weak training'):
      _batches(weak_batch_size=33)

  def test_whole_volumes_are_named(self):
    folder = tiny.temp_dir(self)
    with open(os.path.join(folder, 'plan.json'), 'w', encoding='utf-8') as f:
      f.write('{}')
    with self.assertRaisesRegex(binary.UserError, 'whole volumes'):
      input_pipeline.load_dataset(folder)

  def test_large_splits_stay_on_the_disk_and_are_read_once_for_columns(self):
    small = input_pipeline.load_dataset(tiny.data_dir()).splits['train_weak']
    with mock.patch.object(input_pipeline, '_MAX_IN_MEMORY', 31):
      large = input_pipeline.load_dataset(tiny.data_dir()).splits
    self.assertIsInstance(large['val'], list)  # It has 6 records.
    large = large['train_weak']
    self.assertIsInstance(large, split_records.Checked)
    some = np.array([30, 2])
    for name in ('id', 'instance_id', 'kind', 'fault', 'quality'):
      wanted = input_pipeline.column(small, name)
      np.testing.assert_array_equal(input_pipeline.column(large, name), wanted)
      for records in small, large:
        np.testing.assert_array_equal(
            input_pipeline.column(input_pipeline.Rows(records, some), name),
            wanted[some])
      # All columns come from the first pass over the records.
      large._source = None
    with self.assertRaises(KeyError):
      large.column('image')

  def test_damaged_records_are_one_line(self):
    for damage in ('truncate', 'flip', 'remove'):
      with self.subTest(damage):
        folder = os.path.join(tiny.temp_dir(self), 'set')
        shutil.copytree(tiny.data_dir(), folder)
        path, = glob.glob(f'{folder}/records/*train_weak.array_record*')
        with open(path, 'r+b') as file:
          if damage == 'truncate':
            file.truncate(os.path.getsize(path) - 3000)
          elif damage == 'flip':
            file.seek(os.path.getsize(path) // 2)
            byte = file.read(1)
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte[0] ^ 1]))
          else:
            os.remove(path)
        with self.assertRaisesRegex(
            binary.UserError, 'train_weak.*prepare the set again') as caught:
          input_pipeline.load_dataset(folder)
        self.assertNotIn('\n', str(caught.exception))

  def test_padding_never_counts(self):
    records = input_pipeline.load_dataset(tiny.data_dir()).splits['test']
    batches = list(input_pipeline.eval_batches(records, 4))
    self.assertLen(batches, 3)
    self.assertTrue(np.all(batches[2].label[2:] == types.UNLABELLED))
    truths = np.concatenate([b.label for b in batches])[:10]
    np.testing.assert_array_equal(truths, [r['truth'] for r in records])


if __name__ == '__main__':
  absltest.main()
