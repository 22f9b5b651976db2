"""Tests for building.parts: configs that it refuses, with a one-line message.
"""

import os
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import jax

from experiments import binary
from experiments.building import input_pipeline
from experiments.configs import versions
from experiments.prediction import predictor
from experiments.training import trainer
from tests import tiny


class RefusalTest(parameterized.TestCase):

  def refused(self, message, **changes):
    workdir = os.path.join(tiny.temp_dir(self), 'run')
    with self.assertRaisesRegex(binary.UserError, message) as caught:
      trainer.train_and_evaluate(tiny.debug_config(**changes), workdir)
    self.assertFalse(os.path.exists(workdir))
    self.assertNotIn('\n', str(caught.exception))
    self.assertLessEqual(len(str(caught.exception)), 193)  # With "Error: ".

  @parameterized.parameters(4, 5, 400)
  def test_warm_up_that_never_ends(self, steps):
    self.refused(
        f'optimizer.warmup_steps is {steps}, but train_steps is 4: use 0 to 3, '
        'or train longer.', optimizer=dict(warmup_steps=steps))

  @parameterized.parameters(
      ('optimizer', 'warmup_steps', -1, 'use 0 or more'),
      ('weighting', 'start_step', -1, 'use 0 or more'),
      ('weighting', 'every_steps', 0, 'use 1 or more'),
      ('co_regularization', 'ramp_up_steps', -3, 'use 0 or more'),
      ('optimizer', 'clip_norm', 0.0, 'use a number > 0'),
      ('optimizer', 'clip_norm', float('nan'), 'use a number > 0'),
      ('optimizer', 'weight_decay', -0.1, 'use a number >= 0'),
      ('optimizer', 'learning_rate', float('nan'), 'use a positive number'),
      ('optimizer', 'learning_rate', float('inf'), 'use a positive number'),
      ('weighting', 'initial_indicator', 1.5, 'use a number from 0 to 1'),
      ('weighting', 'initial_indicator', float('nan'), 'use a number from 0 t'),
      ('weighting', 'learning_rate', -0.1, 'use a number >= 0'),
      ('weighting', 'learning_rate', float('inf'), 'use a number >= 0'),
      ('supervision', 'weak_scale', -1.0, 'use a number >= 0'),
      ('co_regularization', 'decay', 1.5, 'use a number from 0 to 1'),
      ('augmentation', 'noise', float('nan'), 'use a number >= 0'),
  )
  def test_numbers_that_cannot_be(self, part, key, value, message):
    self.refused(f'{part}.{key} is {value}: {message}', **{part: {key: value}})

  @parameterized.parameters(float('nan'), float('inf'), -1.0, 'a')
  def test_factors_of_losses_that_cannot_be(self, factor):
    self.refused(
        "factor of 'soft_dice' for 'box' is .*: use a number >= 0",
        supervision=dict(loss_by_kind=dict(box=((factor, 'soft_dice'),))))

  @parameterized.parameters(
      ('divides losses of label maps among classes, but not those of',
       dict(supervision=dict(loss_by_kind=dict(box=((1.0, 'outside'),))))),
      ("'uniform' has no indicators: use per_class=False",
       dict(weighting=dict(name='uniform', per_class=True))),
      ("needs the losses of each class: use method 'forward'",
       dict(weighting=dict(name='dii', method='per_instance', per_class=True),
            supervision=dict(alignment_loss='training',
                             alignment_without_class_prior=False))))
  def test_indicators_per_class_need_losses_per_class(self, message, changes):
    changes.setdefault('weighting', dict(per_class=True))
    self.refused(message, **changes)

  @parameterized.parameters(
      'train_steps', 'log_every_steps', 'eval_every_steps',
      'checkpoint_every_steps')
  def test_steps_below_1(self, key):
    for value in 0, -1:
      self.refused(f'{key} is {value}: use 1 or more', **{key: value})

  @parameterized.parameters(
      (-1, 'use 0 or more'), (2**31, 'use a number from 0 to 2147483647'))
  def test_seed(self, seed, message):
    self.refused(f'seed is {seed}: {message}', seed=seed)

  @parameterized.parameters(1, versions.VERSION + 1)
  def test_version_of_another_hybridseg(self, version):
    self.refused(
        f'version is {version}: leave it at {versions.VERSION}',
        version=version)

  @parameterized.parameters((), (('a', 8),), ((0, 8),), ((8,) * 60,), (None,))
  def test_channels_in_our_words(self, *features):
    config = tiny.debug_config()
    del config.model.options.features
    config.model.options.features = features[0] if features else ()
    dataset = input_pipeline.load_dataset(config.input.data_dir)
    with self.assertRaisesRegex(
        binary.UserError, 'features is .*use a list|multiples of') as caught:
      tiny.build_training(config, dataset)
    self.assertLessEqual(len(str(caught.exception)), 193)

  def test_what_predicts_does_not_ask_for_batches_that_devices_can_share(self):
    odd = dict(strong_batch_size=3, weak_batch_size=5, eval_batch_size=7)
    self.refused('input.strong_batch_size is 3', input=odd)
    config = tiny.debug_config(input=odd, optimizer=dict(warmup_steps=0))
    dataset = input_pipeline.load_dataset(config.input.data_dir)
    network = tiny.build_network(config, dataset)
    devices = network.mapping.num_local_devices
    # The batch size is rounded up to a multiple of the number of devices.
    for size, wanted in (7, 8), (8, 8), (1, devices), (-3, devices):
      self.assertEqual(predictor._batch_size(size, network.mapping), wanted)  # pylint: disable=protected-access

  def test_share_without_a_step(self):
    self.refused('weak_first_share is 0.1, which is 0 of 4 train_steps',
                 supervision=dict(weak_first_share=0.1))

  @parameterized.parameters(
      ('jax_disable_jit', True), ('jax_transfer_guard', 'disallow'))
  def test_settings_of_jax(self, name, value):
    with mock.patch.object(
        type(jax.config), name, property(lambda _: value), create=True):
      self.refused(f'JAX is set to {name}={value}.*unset .*{name.upper()}')


if __name__ == '__main__':
  absltest.main()
