"""Tests for frozen parts of networks: shared, and computed once."""

import errno
import functools
import os
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments import binary
from experiments.building import feature_cache
from experiments.building import input_pipeline
from experiments.building import pieces
from experiments.configs import phantom
from experiments.training import trainer
from hybridseg import augmentation
from hybridseg import models
from hybridseg import train_step as train_step_lib
from hybridseg import types
from tests import tiny
from tests import tiny_step


def _encode(params, images):
  """Applies a convolution that is never trained."""
  x = jax.lax.conv_general_dilated(
      images, jax.lax.stop_gradient(params['frozen']), (1, 1), 'SAME',
      dimension_numbers=('NHWC', 'HWIO', 'NHWC'))
  return types.Encoded(images, (x,))


def _features(params, images):
  if not isinstance(images, types.Encoded):
    images = _encode(params, images)
  return tiny_step.features_tiny(params, images.features[0])


def _init(frozen):
  def init(key):
    params = tiny_step.init_tiny(key)
    return params | {'frozen': jnp.array(frozen, jnp.float32)}
  return init


def _augment(keys, examples):
  if isinstance(examples.image, types.Encoded):
    return examples
  return tiny_step.no_augmentation(keys, examples)


def _step(name, encode_fn, method='forward'):
  return train_step_lib.make_train_step(
      lambda params, images: _features(params, images)[0],
      optax.sgd(0.1), num_classes=3, features_fn=_features,
      augment_fn=_augment,
      supervision=tiny_step.SUPERVISION._replace(
          alignment_loss_fn=None),
      weighting=train_step_lib.Weighting(name, method=method),
      co_reg=train_step_lib.CoRegularization(scale=0.5), encode_fn=encode_fn)


class SharedTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    frozen = np.random.default_rng(0).normal(size=(5, 5, 1, 1))
    self._state = train_step_lib.init_state(
        _init(frozen), optax.sgd(0.1), jax.random.key(0),
        num_weak=tiny_step.NUM_WEAK, indicator_value=0.5)
    self._batch = tiny_step.random_batch(1)

  def _stored(self):
    """Returns the batch with stored features of its images."""
    def stored(examples):
      image = augmentation.to_float(examples.image)
      return examples._replace(image=_encode(self._state.params[0], image))
    return types.HybridBatch(*map(stored, self._batch))

  def test_same_losses_and_updates(self):
    key = jax.random.key(3)
    wanted = jax.jit(_step('dii_last_layer', None))(
        self._state, self._batch, key)
    found = jax.jit(_step('dii_last_layer', _encode))(
        self._state, self._stored(), key)
    for a, b in zip(jax.tree.leaves(wanted), jax.tree.leaves(found),
                    strict=True):
      np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6)

  def test_per_instance_gradients_take_what_is_stored(self):
    found = jax.eval_shape(
        _step('dii', _encode, 'per_instance'), self._state, self._stored(),
        jax.random.key(0))
    self.assertEqual(
        jax.tree.map(np.shape, found[0]), jax.tree.map(np.shape, self._state))

  def test_it_runs_once_for_both_networks(self):
    # The encoder sees the strong, weak and mixed images once. Without sharing,
    # it does so for each network.
    for encode_fn, wanted in (None, 6), (_encode, 3):
      text = str(jax.make_jaxpr(_step('dii_last_layer', encode_fn))(
          self._state, self._batch, jax.random.key(0)))
      self.assertEqual(text.count('f32[4,8,8,1] = conv_general'), wanted)

  @parameterized.parameters(4, 16)
  def test_encoder_goes_on_where_it_stopped(self, frozen_until):
    model = models.build('efficientnet_unet', num_classes=2, options=dict(
        decoder_features=(8, 8, 8), frozen_until=frozen_until))
    images = jnp.zeros((2, 32, 32, 3))
    params = jax.eval_shape(model.init, jax.random.key(0), images)
    whole = jax.make_jaxpr(model.apply)(params, images)
    halves = jax.make_jaxpr(lambda p, x: model.apply(
        p, model.apply(p, x, frozen_only=True)))(params, images)
    # Both programs have the same operations in the same order, so their results
    # are equal.
    self.assertEqual(str(whole), str(halves))

  def test_nothing_frozen_is_nothing_to_encode(self):
    model = models.build('efficientnet_unet', num_classes=2)
    with self.assertRaisesRegex(ValueError, 'frozen_until=0 is not in 1'):
      jax.eval_shape(lambda: model.init(
          jax.random.key(0), jnp.zeros((1, 32, 32, 3)), frozen_only=True))


def _method(**changes):
  """Returns how a run learns from 3 strong and 2 weak views of each image."""
  method = pieces.unpack(tiny.debug_config(**changes)).method
  return method._replace(augmentation=method.augmentation._replace(
      copies=(3, 2)))


@functools.cache
def _augment_views():
  """Returns the augmentation, which is compiled once for all tests."""
  return jax.jit(feature_cache.augment_fn(_method().augmentation))


def _encode_views(examples):
  image = np.asarray(_augment_views()(None, examples).image)
  return types.Encoded(
      image, (np.float16(image), np.float16(examples.view[:, None])))


class ViewsTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self._dataset = input_pipeline.load_dataset(tiny.data_dir())

  def _views(self, **changes):
    return feature_cache.Views(
        _method(**changes), self._dataset,
        input_pipeline.train_batches(
            self._dataset, strong_batch_size=8, weak_batch_size=8, seed=0))

  def _compute(self, views, first=0, last=4, batch_size=8):
    return views.compute(
        _encode_views, range(first, last), batch_size=batch_size,
        folder=tiny.temp_dir(self))

  @parameterized.parameters(True, False)
  def test_features_are_those_of_the_images_that_the_step_sees(self, fits):
    if not fits:
      limit = feature_cache._MAX_IN_MEMORY_BYTES
      self.addCleanup(
          setattr, feature_cache, '_MAX_IN_MEMORY_BYTES', limit)
      feature_cache._MAX_IN_MEMORY_BYTES = 0
    views, plain = self._views(), self._views()
    told = self._compute(views)
    self.assertIn('in memory' if fits else 'on disk', told)
    augment = _augment_views()
    for step in range(4):
      for role in 'strong', 'weak':
        stored, bare = (getattr(v[step], role) for v in (views, plain))
        np.testing.assert_array_equal(stored.view, bare.view)
        found, wanted = augment(None, stored), augment(None, bare)
        np.testing.assert_allclose(
            found.image.image, wanted.image, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(found.label, wanted.label)
        # The features come from another program, and are stored in float16.
        np.testing.assert_allclose(
            stored.image.features[0], wanted.image, rtol=1e-3, atol=1e-5)
        np.testing.assert_array_equal(
            stored.image.features[1][:, 0], bare.view)

  def test_a_resumed_run_sees_the_same(self):
    whole, rest = self._views(), self._views()
    self._compute(whole)
    self._compute(rest, first=2)
    for a, b in zip(jax.tree.leaves(whole[3]), jax.tree.leaves(rest[3]),
                    strict=True):
      np.testing.assert_array_equal(a, b)

  def test_each_image_has_its_own_views_and_no_more(self):
    views, found = self._views(), {}
    for step in range(40):
      batch = views[step]
      for name, image in (
          *zip(batch.strong.view.tolist(), batch.strong.image, strict=True),
          *zip(batch.weak.view.tolist(), batch.weak.image, strict=True)):
        found.setdefault(name, image)
        np.testing.assert_array_equal(found[name], image)
    self.assertEqual(sorted(found), list(range(8 * 3 + 32 * 2)))
    self.assertRegex(
        self._compute(views, last=40), '^Features of 88 views of 40 images, ')

  def test_a_run_without_weak_labels_computes_nothing_of_them(self):
    views = self._views(
        supervision=dict(weak_scale=0.0), co_regularization=dict(scale=0.0))
    self.assertRegex(
        self._compute(views, last=40), '^Features of 24 views of 8 images, ')
    self.assertIsInstance(views[0].strong.image, types.Encoded)
    self.assertNotIsInstance(views[0].weak.image, types.Encoded)

  def test_another_limit_than_the_views_of_int32(self):
    for copies, fits in ((2**28 - 5, 1), True), ((2**28 - 4, 1), False):
      method = _method()
      method = method._replace(augmentation=method.augmentation._replace(
          copies=copies))
      make = functools.partial(
          feature_cache.Views, method, self._dataset,
          input_pipeline.train_batches(
              self._dataset, strong_batch_size=8, weak_batch_size=8, seed=0))
      # There are 8 strong and 32 weak images: 8 (2**28 - 5) + 32 = 2**31 - 8.
      if fits:
        views = make()[0].strong.view
        self.assertEqual(np.unique(views // (2**28 - 5)).tolist(), [*range(8)])
      else:
        with self.assertRaisesRegex(
            binary.UserError, r'copies is \(268435452, 1\).*smaller numbers'):
          make()

  def test_a_full_disk_is_told(self):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with mock.patch.object(
        feature_cache, '_MAX_IN_MEMORY_BYTES', 0), mock.patch.object(
            os, 'posix_fallocate', side_effect=full):
      with self.assertRaisesRegex(
          binary.UserError, r'--workdir: 2 MB of features: .*No space left'
          r'.*MiB free.: make room') as caught:
        feature_cache._make([(10, 10**5)], tiny.temp_dir(self))
    self.assertLessEqual(len(str(caught.exception)), 193)  # With "Error: ".

  def test_without_room_for_the_features_there_is_no_run_yet(self):
    workdir = tiny.temp_dir(self)
    with mock.patch.object(
        feature_cache, 'prepare', side_effect=binary.UserError('full')):
      with self.assertRaisesRegex(binary.UserError, 'full'):
        trainer.train_and_evaluate(tiny.debug_config().lock(), workdir)
    self.assertEqual(os.listdir(workdir), ['lock'])

  @parameterized.parameters(
      ((3,), 1, 'two whole numbers'), ((0, 8), 1, 'two whole numbers'),
      ((2.5, 3), 1, r'is \(2.5, 3\): use two whole numbers'),
      ((True, 3), 1, 'two whole numbers'),
      ((float('nan'), 3), 1, 'two whole numbers'),
      (('(nan,3)',), 1, 'two whole numbers'),
      ((3, 2), 0, 'nothing of the network is frozen'))
  def test_refuses(self, copies, frozen_until, message):
    config = phantom.get_config('effnet_lite0,debug')
    config = config.copy_and_resolve_references().unlock()
    config.input.data_dir = tiny.data_dir()
    config.model.cached_copies = copies
    config.model.options.frozen_until = frozen_until
    with self.assertRaisesRegex(binary.UserError, message):
      tiny.build_training(config, self._dataset)

  def test_other_networks_have_none(self):
    for name, copies in ('unet_small', ()), ('effnet_lite0_frozen', (50, 8)):
      unpacked = pieces.unpack(phantom.get_config(name))
      feature_cache.check(unpacked.model)
      self.assertEqual(unpacked.method.augmentation.copies, copies)


if __name__ == '__main__':
  absltest.main()
