"""A tiny network, batches of noise, and a train step, shared by tests."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from hybridseg import augmentation
from hybridseg import losses
from hybridseg import train_step as train_step_lib
from hybridseg import types

NUM_CLASSES = 3
NUM_WEAK = 12  # Number of weak images in the whole set.
LEARNING_RATE = 0.1
CO_REG = train_step_lib.CoRegularization(scale=0.5)


SUPERVISION = train_step_lib.Supervision(
    strong_loss_fn=losses.cross_entropy_dice_loss,
    weak_loss_fn=losses.cross_entropy_loss,
    alignment_loss_fn=losses.prior_free(losses.cross_entropy_loss),
    weak_scale=0.7)


def features_tiny(params, images):
  """Returns the logits and features of a tiny convolutional network."""
  x = jax.nn.relu(jax.lax.conv_general_dilated(
      images, params['conv'], (1, 1), 'SAME',
      dimension_numbers=('NHWC', 'HWIO', 'NHWC')))
  bias = params['head']['bias'].reshape(1, 1, 1, -1)
  return x @ params['head']['kernel'][0, 0] + bias, x


def apply_tiny(params, images):
  return features_tiny(params, images)[0]


def init_tiny(key):
  rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
  normal = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)
  return {'conv': normal(3, 3, 1, 4),
          'head': {'kernel': normal(1, 1, 4, NUM_CLASSES),
                   'bias': normal(NUM_CLASSES)}}


NETWORK = (init_tiny, apply_tiny, features_tiny)


def random_batch(seed, num_strong=4, num_weak=4, size=(8, 8)):
  """Returns a batch of noise; the ids of the weak images are unsorted."""
  rng = np.random.default_rng(seed)

  def examples(num, ids):
    label = rng.integers(NUM_CLASSES, size=(num,) + size, dtype=np.uint8)
    label[rng.random(label.shape) < 0.2] = types.UNLABELLED
    image = rng.integers(256, size=(num,) + size + (1,), dtype=np.uint8)
    return types.Examples(image, label, np.asarray(ids, np.int32))

  return types.HybridBatch(
      strong=examples(num_strong, [-1] * num_strong),
      weak=examples(num_weak, rng.permutation(NUM_WEAK)[:num_weak]))


def no_augmentation(unused_keys, examples):
  return examples._replace(image=augmentation.to_float(examples.image))


def init_state(
    seed=0, optimizer=optax.sgd(LEARNING_RATE), value=0.5, **options):
  return train_step_lib.init_state(
      init_tiny, optimizer, jax.random.key(seed), num_weak=NUM_WEAK,
      indicator_value=value, **options)


def make_step(weighting, *, supervision=SUPERVISION, co_reg=CO_REG,
              optimizer=optax.sgd(LEARNING_RATE)):
  return train_step_lib.make_train_step(
      apply_tiny, optimizer, num_classes=NUM_CLASSES,
      features_fn=features_tiny, augment_fn=no_augmentation,
      supervision=supervision, weighting=weighting, co_reg=co_reg)
