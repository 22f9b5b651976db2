"""Tests for experiments.prediction.predictor: the choice of checkpoint."""

import json
import types
from unittest import mock

from absl.testing import absltest
import numpy as np

from experiments import binary
from experiments.prediction import predictor
from experiments.saving import checkpoints
from experiments.saving import run_folder
from tests import tiny


class RestoreTest(absltest.TestCase):

  def _restore(self, best, checkpoint):
    """Restores a mocked run whose newest checkpoint is that of step 9.

    Args:
      best: the best step and its Dice, as this checkpoint stores them.
      checkpoint: which checkpoint to restore.
    """
    found = lambda _, *, step=9, **__: checkpoints.Checkpoint(
        step, None, {'best': best}, {})
    parts = types.SimpleNamespace(init_fn=lambda: 0.0)
    folder = tiny.temp_dir(self)
    run_folder.write_json(
        f'{folder}/config.json', json.loads(tiny.debug_config().to_json()))
    dataset = types.SimpleNamespace(fingerprint='')
    with mock.patch.object(
        checkpoints.Checkpoints, 'restore', side_effect=found):
      return predictor.restore(folder, dataset, parts, checkpoint).step

  def test_best_is_the_one_of_its_step(self):
    best = {'step': 4, 'val_dice': 0.5}
    self.assertEqual(self._restore(best, 'best'), 4)
    self.assertEqual(self._restore(best, 'latest'), 9)

  def test_without_a_best_none_is_taken_for_it(self):
    for best in None, {'step': 4, 'val_dice': float('nan')}:
      self.assertEqual(self._restore(best, 'latest'), 9)
      with self.assertRaisesRegex(
          binary.UserError, 'no evaluation up to step 9 gave a validation'):
        self._restore(best, 'best')


class PredictTilesTest(absltest.TestCase):

  def test_the_next_batch_is_started_before_the_first_is_used(self):
    started = []

    def run(tiles):
      started.append(tiles[:, 0].tolist())
      return tiles, -tiles

    fake = types.SimpleNamespace(batch_size=2, run_fn=run)
    found = predictor.predict_tiles(fake, np.arange(5)[:, None])
    first = next(found)
    self.assertEqual(started, [[0, 1], [2, 3]])
    self.assertEqual((first.probabilities, first.disagreement), (0, 0))
    self.assertEqual([int(x.probabilities[0]) for x in found], [1, 2, 3, 4])
    self.assertEqual(started[2:], [[4, 4]])


if __name__ == '__main__':
  absltest.main()
