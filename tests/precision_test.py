"""Tests losses, regularisers, metrics and weighting rules in every precision.

Each function is computed from inputs of half, single or double precision. The
same inputs, already rounded, are then converted to double precision, and both
results are compared: the difference is the error of the arithmetic alone.
Half precision cannot count the pixels of an image: bfloat16 represents all
integers only up to 256, and float16 is infinite beyond 65504.
"""

import functools
import inspect

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from hybridseg import alignment_maps
from hybridseg import co_regularization
from hybridseg import inference
from hybridseg import kind_losses
from hybridseg import linearization
from hybridseg import losses
from hybridseg import masking
from hybridseg import meta_weight_net
from hybridseg import metrics
from hybridseg import regularizers
from hybridseg import types
from hybridseg import weak_losses
from hybridseg import weighting

_DTYPES = ('bfloat16', 'float16', 'float32', 'float64')
_SIZES = ((300, 300), (4, 9, 8))
# These tests compile much and compute little, so cheaper compilation takes a
# third of the time.
_jit = functools.partial(jax.jit, compiler_options={
    'xla_backend_optimization_level': 0,
    'xla_cpu_use_fusion_emitters': False})
_LARGE = (2048, 2048)


def _of_labels(name, loss_fn):
  return name, lambda d: loss_fn(d['logits'], d['labels'], where=d['where'])


def _by_kind(d):
  loss_fn = kind_losses.by_kind({
      types.AnnotationKind.MASK: (
          (0.1, kind_losses.of_labels(losses.cross_entropy_loss)),),
      types.AnnotationKind.NONE: (
          (0.5, kind_losses.of_pixels(regularizers.entropy_loss)),)})
  return loss_fn(
      d['logits'], d['labels'], where=d['where'], kind=jnp.array([0, 9]),
      present=d['present'], images=d['images'])


# Maps each loss's name to a function of `_data`, which returns one value per
# instance, float [2], or one value per pixel.
_LOSSES = dict([
    *(_of_labels(f.__name__, f) for f in (
        losses.cross_entropy_loss, losses.balanced_cross_entropy_loss,
        losses.soft_dice_loss, losses.cross_entropy_dice_loss,
        weak_losses.outside_cross_entropy_loss, weak_losses.tightness_loss,
        weak_losses.projection_loss, weak_losses.box_loss,
        weak_losses.soft_edge_cross_entropy_loss)),
    _of_labels('prior_free', losses.prior_free(losses.cross_entropy_loss)),
    ('tag_loss', lambda d: weak_losses.tag_loss(
        d['logits'], d['present'], where=d['where'])),
    *((f.__name__, lambda d, f=f: f(d['logits'], where=d['where']))
      for f in (regularizers.entropy_loss, regularizers.total_variation_loss)),
    ('gated_crf_loss', lambda d: regularizers.gated_crf_loss(
        d['logits'], d['images'], where=d['where'], radius=1)),
    ('mumford_shah_loss', lambda d: regularizers.mumford_shah_loss(
        d['logits'], d['images'], where=d['where'])),
    ('by_kind', _by_kind),
    *((f.__name__, lambda d, f=f: f(
        d['logits'], d['logits'][::-1], pixel_weights=d['trust']))
      for f in (co_regularization.cross_pseudo_losses,
                co_regularization.consistency_losses)),
    ('alignment_maps', lambda d: jnp.sum(
        alignment_maps.alignment_maps(
            lambda x: losses.cross_entropy_loss(x, d['labels']), d['logits'],
            d['logits']), axis=masking.space(d['logits']))),
    ('mean_probabilities', lambda d: inference.mean_probabilities(
        lambda p, x: p * x, jnp.ones(2, d['logits'].dtype), d['logits'])),
])


def _last_layer_alignments(slopes):
  num = slopes.size
  logits = jnp.broadcast_to(slopes, (2, num)).reshape(2, num // 2, 2)
  return weighting.last_layer_alignments(
      lambda x: jnp.sum(jnp.square(x), (1, 2)), logits, logits,
      {'kernel': jnp.eye(2, dtype=slopes.dtype),
       'bias': jnp.zeros(2, slopes.dtype)})


def _per_instance_slopes(slopes):
  linear = linearization.linearize_per_instance(
      lambda p, x: jnp.sum(masking.widen(p * x)), jnp.ones_like(slopes),
      jnp.stack([slopes, 2 * slopes]))
  return linear.directional(slopes)


def _weight_net(slopes):
  """Returns a weight net in the precision in which the rules compute."""
  net = meta_weight_net.init_weight_net(jax.random.key(0))
  dtype = masking.wide_dtype(slopes.dtype)
  return jax.tree.map(
      lambda x: x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x,
      net)


# Maps each rule's name to a function of slopes [N], which returns an array.
_RULES = {
    'unit_rms': weighting.unit_rms,
    'l2rw_weights': weighting.l2rw_weights,
    'without_common_harm': lambda x: weighting.without_common_harm(-x),
    'last_layer_alignments': _last_layer_alignments,
    'per_instance': _per_instance_slopes,
    'meta_weight_net': lambda x: meta_weight_net.weigh(
        _weight_net(x), x[:64], x[-64:], learning_rate=1e-3)[0],
}


@functools.cache
def _data(size, dtype):
  """Returns arguments of losses for two instances, with floats of `dtype`."""
  rng = np.random.default_rng(0)
  logits = rng.normal(size=(2, *size, 2)).astype(np.float32) * 3
  label_map = np.zeros((2, *size), np.int32)
  label_map[(slice(None), *(slice(n // 4, n // 2) for n in size))] = 1
  where = rng.random((2, *size)) < 0.9
  one_hot = np.eye(2, dtype=np.float32)[label_map]
  cast = lambda x: jnp.asarray(x).astype(jnp.dtype(dtype))
  return {
      'logits': cast(logits), 'labels': cast(one_hot), 'where': where,
      'present': np.array([[1, 1], [1, 0]], np.uint8),
      'images': cast(rng.random((2, *size, 1), np.float32)),
      'trust': cast(rng.random((2, *size), np.float32)),
  }


def _together(fns):
  return _jit(lambda d: {name: f(d) for name, f in fns.items()})


_LOSSES_FN, _RULES_FN = _together(_LOSSES), _together(_RULES)


def _double(tree):
  double = lambda x: (
      x.astype(np.float64) if jnp.issubdtype(x.dtype, jnp.floating) else x)
  return jax.tree.map(double, tree)


# Functions that `_LOSSES` need not test: they are no losses of logits, or they
# combine losses that it already tests.
# `soft_dice_loss`, which is here, is the mean of `soft_dice_of_classes`.
_OTHERS = {'one_hot_labels', 'soft_dice_of_classes', 'without_class_prior'}


class PrecisionTest(parameterized.TestCase):

  def test_names_every_loss(self):
    self.assertEqual(
        {name for module in (losses, weak_losses, regularizers)
         for name, fn in vars(module).items()
         if inspect.isfunction(fn) and fn.__module__ == module.__name__
         and not name.startswith('_')} - _OTHERS,
        set(_LOSSES) & {
            name for module in (losses, weak_losses, regularizers)
            for name in vars(module)})

  def setUp(self):
    super().setUp()
    self.enterContext(jax.enable_x64(True))

  def _check(self, fns, fn, data, dtype, rtol=2e-5):
    """Compares the results of `fn` on data and on the data in double precision.

    `fn` computes all functions of `fns` in one compiled program.
    """
    found, exact = fn(data), fn(_double(data))
    wanted = jnp.promote_types(dtype, jnp.float32)
    for name in fns:
      with self.subTest(name):
        self.assertEqual(found[name].dtype, wanted)
        np.testing.assert_allclose(
            found[name], exact[name], rtol=rtol, atol=1e-6)

  @parameterized.product(size=_SIZES, dtype=_DTYPES)
  def test_losses(self, size, dtype):
    self._check(_LOSSES, _LOSSES_FN, _data(size, dtype), dtype)

  @parameterized.parameters(*_DTYPES)
  def test_losses_with_strict_promotion(self, dtype):
    data = _data((4, 5), dtype)
    with jax.numpy_dtype_promotion('strict'):
      for name, loss_fn in _LOSSES.items():
        with self.subTest(name):
          jax.eval_shape(loss_fn, jax.tree.map(jnp.asarray, data))

  def test_factors_of_kinds_have_all_digits(self):
    # Rounded to float32, the factor 0.1 would have a relative error of 1e-8.
    data = _data((4, 5), 'float64')
    np.testing.assert_allclose(
        _by_kind(data)[0],
        0.1 * losses.cross_entropy_loss(
            data['logits'], data['labels'], where=data['where'])[0],
        rtol=1e-14)

  @parameterized.parameters(*_DTYPES)
  def test_losses_of_a_large_image(self, dtype):
    # Both classes have the same score everywhere, so each loss is log 2. The
    # pseudo label is class 0, which is the first argmax.
    logits = jnp.zeros((1, *_LARGE, 2), dtype)

    @_jit
    def both(x, teacher):
      cross = lambda x: co_regularization.cross_pseudo_losses(x, teacher)[0]
      return regularizers.entropy_loss(x)[0], cross(x), jax.grad(cross)(x)

    entropy, cross, slopes = both(logits, logits)
    np.testing.assert_allclose(entropy, np.log(2), rtol=1e-5)
    np.testing.assert_allclose(cross, np.log(2), rtol=1e-5)
    # Near 0, float16 only represents multiples of 6e-8.
    np.testing.assert_allclose(
        slopes[0, 0, 0].astype(np.float64), np.array([-0.5, 0.5]) / 2**22,
        atol=3.1e-8)

  @parameterized.parameters(*_DTYPES)
  def test_slopes_of_losses(self, dtype):
    data = _data((300, 300), dtype)
    slopes = _jit(lambda d: jax.grad(
        lambda x: sum(jnp.sum(_LOSSES[n](d | {'logits': x})) for n in (
            'cross_entropy_loss', 'soft_dice_loss', 'entropy_loss',
            'cross_pseudo_losses')))(d['logits']))
    found, exact = slopes(data), slopes(_double(data))
    self.assertEqual(found.dtype, dtype)
    # Gradients have the dtype of the logits, so their error may be 1 %.
    apart = np.linalg.norm(found.astype(np.float64) - exact)
    self.assertLess(apart, 0.01 * np.linalg.norm(exact))

  @parameterized.parameters(*_DTYPES)
  def test_rules(self, dtype):
    rng = np.random.default_rng(0)
    # The sum of the squares of so many slopes overflows float16.
    slopes = jnp.asarray(rng.normal(1, 2, 2**18)).astype(dtype)
    self._check(_RULES, _RULES_FN, slopes, dtype, rtol=1e-4)

  @parameterized.parameters(*_DTYPES)
  def test_metrics_of_the_host(self, dtype):
    scores = np.asarray(_data((300, 300), dtype)['logits'])[..., 0].ravel()
    labels = (np.arange(scores.size) % 3 == 0).astype(np.uint8)
    probabilities = np.stack([scores, -scores], axis=-1)
    probabilities = np.clip(np.abs(probabilities) / 16, 0, 1)
    for fn in (
        lambda x: metrics.mean_of_counted(x[0], axis=0),
        lambda x: metrics.auroc(x[0], labels == 1),
        lambda x: metrics.bootstrap_interval(x[0][:500], num_resamples=50),
        lambda x: metrics.calibration_counts(x[1], labels)):
      np.testing.assert_allclose(
          fn((scores, probabilities)),
          fn(_double((scores, probabilities))), rtol=1e-9)


if __name__ == '__main__':
  absltest.main()
