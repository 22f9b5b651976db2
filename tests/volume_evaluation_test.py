"""Tests for experiments.evaluation.volume_evaluation."""

from unittest import mock

from absl.testing import absltest
from hybridseg import parallel
import jax
import jax.numpy as jnp
import numpy as np

from experiments.building import parts
from experiments.building import volume_set
from experiments.evaluation import volume_evaluation
from tests import tiny_volumes


def _apply(params, images):
  """A network of one voxel, so that windows do not matter."""
  return jnp.concatenate([images * p for p in params], -1)


def _evaluator():
  dataset = volume_set.load(tiny_volumes.data_dir())
  network = parts.Network(_apply, lambda: None, parallel.make_mapping('jit'))
  return dataset, volume_evaluation.Evaluator(network, dataset, batch_size=4)


class EvaluatorTest(absltest.TestCase):

  def test_windows_give_each_voxel_its_prediction(self):
    dataset, evaluator = _evaluator()
    params = [np.array([0.0, 3.0, -2.0]), np.array([1.0, 2.0, 9.0])]
    for record in dataset.splits['val']:
      image = record['image']
      expected = np.mean([jax.nn.softmax(_apply(p, image)) for p in params], 0)
      np.testing.assert_allclose(
          evaluator.predict(params, record), expected, atol=1e-6)

  def test_counts_by_hand(self):
    dataset, evaluator = _evaluator()
    records = dataset.splits['test']
    constant = lambda params, record: np.broadcast_to(
        [0.0, 1.0, 0.0], (*record.volume.shape, 3))
    with mock.patch.object(evaluator, 'predict', constant):
      planes, counts = evaluator(None, records)
    for record, plane, count in zip(records, planes, counts, strict=True):
      sizes = np.bincount(record['truth'].ravel(), minlength=3)
      self.assertEqual(count.tolist(), [
          [0, 0, sizes[0]], [sizes[1], sizes[0] + sizes[2], 0],
          [0, 0, sizes[2]]])
      self.assertEqual(plane.shape, (12, 10))

  def test_scores_on_the_grid_of_the_file(self):
    """Exact predictions are exact in the file, turned or resampled back."""
    dataset, evaluator = _evaluator()
    exact = lambda params, record: np.eye(3, dtype=np.float32)[record['truth']]
    for name in ('val', 'test'):
      with mock.patch.object(evaluator, 'predict', exact):
        scored = evaluator.score(None, dataset.splits[name])
      for n, record in enumerate(dataset.splits[name]):
        is_resampled = int(record['id'][1:]) % 5 == 4
        self.assertEqual(
            record.stored_spacing_mm, (1, 1, 1 if is_resampled else 2))
        dice = scored.scores['dice'][n, 1:]
        np.testing.assert_allclose(dice, 1, atol=0.1 if is_resampled else 0)
        np.testing.assert_allclose(
            scored.scores['hd95'][n, 1:], 0, atol=1 if is_resampled else 0)

  def test_pictures_show_the_slice_with_most_objects(self):
    dataset = volume_set.load(tiny_volumes.data_dir())
    pictures = volume_evaluation.to_pictures(dataset)
    for record, view in zip(
        dataset.splits['test'], pictures.splits['test'], strict=True):
      label = tiny_volumes.label_of(int(record['id'][1:]))
      area = (label > 0).sum((0, 1))
      largest = np.flatnonzero(area == area.max())
      number = largest[len(largest) // 2]
      np.testing.assert_array_equal(
          view['truth'], np.rot90(label[:, :, number]))
      self.assertEqual(view['image'].shape, (12, 10, 1))
      self.assertEqual(view['image'].dtype, np.uint8)
      self.assertEqual(view['id'], record['id'])
      np.testing.assert_array_equal(
          volume_evaluation.plane_of(label, record), view['truth'])


if __name__ == '__main__':
  absltest.main()
