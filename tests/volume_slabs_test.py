"""Tests of sets of whole volumes whose instances are slabs."""

import os

from absl.testing import absltest
from data_prep.records import annotated_slabs
from data_prep.records import volume_records
from data_prep.shared import volume_type
from data_prep.volumes import levels
from data_prep.volumes import planning
from hybridseg import losses
from hybridseg import types
from hybridseg import weighting
import jax.numpy as jnp
import numpy as np

from experiments.building import pieces
from experiments.building import volume_losses
from experiments.building import volume_patches
from experiments.building import volume_set
from experiments.evaluation import indicator_table
from tests import tiny
from tests import tiny_volumes

_SLICES = 3


def _load():
  return volume_set.load(tiny_volumes.data_dir(_SLICES))


def _batches(dataset, seed=0):
  config = tiny_volumes.debug_config()
  data = volume_set.with_batch_sizes(pieces.unpack(config).data, dataset)
  return volume_patches.PatchBatches(dataset, data, seed=seed)


def _find(label, *, truth=None, spoilt=None, fault='', flip=False):
  """Returns the slabs of a volume whose slices are 2 mm apart."""
  plan = planning.make_plan(
      (1, 1, 2), [label.shape], levels.make_levels('mr', []))
  affine = np.diag([1.0, 1, -2 if flip else 2, 1])
  quality = None if truth is None else 0.0
  return annotated_slabs.find(
      volume_records.Annotated(
          'v', volume_type.Volume(label, affine), None, 'slices', label, truth,
          {'fault': fault, 'quality': quality}),
      plan, max_slices=8, spoilt=spoilt)


class FindTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.truth = np.zeros((4, 4, 8), np.uint8)
    self.truth[1:3, 1:3, 2:7] = 1
    self.label = np.full_like(self.truth, types.UNLABELLED)
    self.label[..., [1, 4, 6]] = self.truth[..., [1, 4, 6]]
    self.label[1, 1:3, 4] = 0  # Half of the object of this slice.
    self.spoilt = np.zeros(self.truth.shape, bool)
    self.spoilt[..., 4] = self.truth[..., 4] == 1
    self.spoilt[..., 3] = True  # Not annotated, so that no slab shows it.

  def test_only_the_slab_that_shows_the_fault_is_faulty(self):
    found = _find(
        self.label, truth=self.truth, spoilt=self.spoilt, fault='shifted')
    self.assertEqual(
        [slab[:6] for slab in found],
        [(2, 0, 3, 0, 2, 2), (2, 3, 5, 3, 4, 2), (2, 5, 8, 5, 7, 2)])
    self.assertEqual([slab.fault for slab in found], ['', 'shifted', ''])
    self.assertEqual([slab.quality for slab in found], [1.0, 0.5, 1.0])

  def test_slices_are_counted_as_in_the_file(self):
    found = _find(self.label, flip=True)
    # The records run against the file.
    self.assertEqual(
        [slab[1:5] for slab in found],
        [(0, 2, 6, 7), (2, 5, 3, 5), (5, 8, 0, 2)])
    self.assertEqual({slab.quality for slab in found}, {None})

  def test_a_tag_is_one_slab(self):
    self.label[:] = types.UNLABELLED
    slab, = _find(self.label, truth=self.truth, fault='organ_missing')
    self.assertEqual(slab, (2, 0, 8, 0, 7, 2, 'organ_missing', 0.0))


class LoadTest(absltest.TestCase):

  def test_slabs_of_a_volume_share_its_voxels_but_no_label(self):
    dataset = _load()
    whole = {r['id']: r for r in volume_set.load(
        tiny_volumes.data_dir()).splits['train_weak']}
    records = dataset.splits['train_weak']
    self.assertEqual(
        [r['instance_id'] for r in records], list(range(len(records))))
    self.assertLen({r['id'] for r in records}, len(records))
    for name, volume in whole.items():
      slabs = [r for r in records if r.volume.id == name]
      label, places = volume['label'], []
      together = np.full_like(label, types.UNLABELLED)
      for record in slabs:
        found, slab = record['label'], record.slab
        inside = np.s_[..., slab.start : slab.stop]
        np.testing.assert_array_equal(found[inside], label[inside])
        found[inside] = types.UNLABELLED
        self.assertTrue((found == types.UNLABELLED).all())
        together[inside] = label[inside]
        np.testing.assert_array_equal(record['image'], volume['image'])
        np.testing.assert_array_equal(record['truth'], volume['truth'])
        places.append(record.locations())
        self.assertEqual(
            record['id'], f'{name}:{slab.first}-{slab.last}')
        self.assertIn(record['fault'], ('', volume['fault']))
        axis, number = record.plane
        self.assertEqual(axis, slab.axis)
        self.assertBetween(number, slab.start, slab.stop - 1)
      np.testing.assert_array_equal(together, label)
      self.assertLen(np.concatenate(places), len(volume.locations()))
    faults = {r.volume.id for r in records if r['fault']}
    self.assertNotEmpty(faults)
    self.assertContainsSubset(
        faults, {name for name, r in whole.items() if r['fault']})
    self.assertGreater(sum(r['fault'] == '' for r in records), 8)

  def test_other_records_and_other_sets_stay_as_they_are(self):
    dataset, whole = _load(), volume_set.load(tiny_volumes.data_dir())
    for name in ('train_strong', 'val', 'test'):
      self.assertEqual([r['id'] for r in dataset.splits[name]],
                       [r['id'] for r in whole.splits[name]])
    self.assertNotEqual(dataset.fingerprint, whole.fingerprint)
    for folder, version in ((tiny_volumes.data_dir(_SLICES), 2),
                            (tiny_volumes.data_dir(), 1)):
      with open(os.path.join(folder, 'chunks/index.json'),
                encoding='utf-8') as file:
        self.assertEqual(
            file.readlines()[1], f'"chunks_version": {version},\n')

  def test_losses_of_whole_boxes_are_refused(self):
    dataset = _load()
    dataset = dataset._replace(
        plan=dataset.plan._replace(patch_size=(10, 12, 9)))
    with self.assertRaisesRegex(ValueError, 'whole boxes, and slabs cut them'):
      volume_losses.check({'box': ((1.0, 'tightness'),)}, dataset)
    volume_losses.check({'box': ((1.0, 'outside'),)}, dataset)

  def test_the_table_has_a_line_per_slab(self):
    records = _load().splits['train_weak']
    number = len(records)
    weights = np.where([r['fault'] != '' for r in records], 0.25, 1.0)
    path = os.path.join(tiny.temp_dir(self), 'indicators.csv')
    indicator_table.write(path, weights, np.ones(number, int), records)
    with open(path, encoding='utf-8') as file:
      lines = file.read().splitlines()
    self.assertLen(lines, 1 + number)
    self.assertRegex(lines[1], r'^v\d+:\d+-\d+,0.250000,1,(box|slices),\w+,')
    summary = indicator_table.summarize(weights, np.ones(number, int), records)
    self.assertEqual(summary['auroc'], 1.0)
    self.assertEqual(summary['num_weak'], number)


class PatchesTest(absltest.TestCase):

  def test_a_patch_labels_one_slab(self):
    dataset = _load()
    batches, again = _batches(dataset), _batches(dataset)
    _ = again[0]
    for step in range(4):
      rows, weak = batches.rows(step)['weak'], batches[step].weak
      self.assertLen(set(rows.tolist()), len(rows))
      np.testing.assert_array_equal(weak.label, again[step].weak.label)
      for place, row in enumerate(rows):
        record = dataset.splits['train_weak'][row]
        self.assertEqual(weak.instance_id[place], row)
        known = np.flatnonzero(
            (weak.label[place] != types.UNLABELLED).any((0, 1)))
        if len(known):
          self.assertLess(
              known[-1] - known[0], record.slab.stop - record.slab.start)

  def test_the_middle_lies_in_the_slab(self):
    rng = np.random.default_rng(0)
    slab = annotated_slabs.Slab(2, 10, 14, 10, 13, 2, '', None)
    record = _load().splits['train_weak'][0]
    record.slab = slab
    record.volume = record.volume._replace(shape=(8, 8, 40))
    starts = np.array([volume_patches.draw_start(
        rng, record, (8, 8, 8), share=0.0) for _ in range(100)])
    self.assertEqual(set(starts[:, 2].tolist()), {6, 7, 8, 9})
    # A patch never leaves the volume for a slab at its end.
    record.slab = slab._replace(start=38, stop=40)
    start = volume_patches.draw_start(rng, record, (8, 8, 8), share=0.0)
    self.assertEqual(start, [0, 0, 32])


class GradientsTest(absltest.TestCase):

  def test_derivatives_of_slabs(self):
    """Those of a map of voxel weights, by finite differences in float64."""
    dataset = _load()
    batch = _batches(dataset)[0]
    rng = np.random.default_rng(0)
    theta = rng.normal(size=(2, 3))
    weights = rng.uniform(0.2, 0.8, len(batch.weak.label))
    inputs = lambda image: np.concatenate([image, np.ones_like(image)], -1)

    def by_hand(w):
      """Returns strong(theta - 0.5 grad (1 / B) sum_p w_p CE_p)."""
      x, label = inputs(batch.weak.image).astype(float), batch.weak.label
      known = label != types.UNLABELLED
      numbers = np.maximum(known.sum((1, 2, 3), keepdims=True), 1)
      # The weight of a voxel is that of its slab; elsewhere, it is 0.
      voxel = known * w[:, None, None, None] / numbers / len(w)
      error = _softmax(x @ theta) - np.eye(3)[np.where(known, label, 0)]
      grad = np.einsum('bxyzi,bxyzk,bxyz->ik', x, error, voxel)
      ahead = theta - 0.5 * grad
      x, label = inputs(batch.strong.image).astype(float), batch.strong.label
      known = label != types.UNLABELLED
      probs = np.take_along_axis(
          _softmax(x @ ahead), np.where(known, label, 0)[..., None], -1)
      nll = -np.log(probs[..., 0])
      return np.mean((nll * known).sum((1, 2, 3)) / known.sum((1, 2, 3)))

    def losses_of(examples):
      labels, where = losses.one_hot_labels(jnp.asarray(examples.label), 3)
      return lambda p: losses.cross_entropy_loss(
          inputs(examples.image) @ p, labels, where=where)

    eye = 1e-4 * np.eye(len(weights))
    wanted = [(by_hand(weights + e) - by_hand(weights - e)) / 2e-4 for e in eye]
    self.assertGreater(np.min(np.abs(wanted)), 0)
    for method in ('grad', 'forward'):
      found = weighting.lookahead_weight_grads(
          losses_of(batch.weak), lambda p: jnp.mean(losses_of(batch.strong)(p)),
          jnp.float32(theta), jnp.float32(weights), step_size=0.5,
          method=method)
      np.testing.assert_allclose(found, wanted, rtol=2e-3, atol=1e-7)


def _softmax(x):
  exp = np.exp(x - x.max(-1, keepdims=True))
  return exp / exp.sum(-1, keepdims=True)


if __name__ == '__main__':
  absltest.main()
