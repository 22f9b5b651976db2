"""Instance weights from the gradient of a strong loss.

There are two levels. The *inner* loss is the weighted weak loss that the
lookahead descends, and the *outer* loss is the strong loss after it. With one
virtual step

  theta'(w) = theta - step_size * grad(mean_k w_k * weak_k(theta)),

the slope of the outer loss with respect to a weight is, for plain SGD,

  d strong(theta') / d w_k
      = -(step_size / B) * <grad strong(theta'), grad weak_k(theta)>.

The inner product is the *alignment* of instance k. It is positive where a
larger weight of the instance lowers the strong loss.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from hybridseg import inner_optimizers
from hybridseg import linearization
from hybridseg import loss_functions
from hybridseg import mapped_axis
from hybridseg import masking
from hybridseg import microbatches
from hybridseg import types

METHODS = ('grad', 'forward')


def _wider(dtype, other):
  """Returns the wider of two dtypes, also under strict dtype promotion."""
  return max(dtype, other, key=lambda d: jnp.finfo(d).bits)


def _float_weights(weights):
  """Converts integer weights to floats; float weights keep their dtype."""
  weights = jnp.asarray(weights)
  is_float = jnp.issubdtype(weights.dtype, jnp.floating)
  return weights if is_float else weights.astype(jnp.result_type(float))


def _one_per_weight(shape):
  return f'one loss per instance, a float for each weight, of shape {shape}'


def _part_shape(weights, num_microbatches):
  """Returns the shape of the losses of one part of the batch."""
  num = num_microbatches or 1
  if weights.size % num:
    raise ValueError(
        f'{weights.size} weights do not divide into {num_microbatches=}.')
  return (weights.size // num,)


def _joined(fn, num_microbatches, join):
  """Turns a loss function of a part of a batch into one of the whole batch."""
  parts_fn = microbatches.over_microbatches(fn, num_microbatches)

  def whole_fn(params):
    losses, aux = parts_fn(params)
    return join(losses), aux

  return whole_fn


def _strong_loss(fn, merge, has_aux):
  """Turns the strong loss into a checked function of the float leaves."""
  return loss_functions.of_floats(
      fn, merge, name='strong_loss_fn', has_aux=has_aux, shape=(),
      meaning='the mean of its losses, a float of shape ()')


def lookahead_weight_grads(
    weak_losses_fn: Callable[[Any], jax.Array],
    strong_loss_fn: Callable[[Any], jax.Array],
    params: types.Params,
    weights: jax.Array,
    *,
    step_size: float | None = None,
    inner_optimizer: optax.GradientTransformation | None = None,
    inner_opt_state: optax.OptState | None = None,
    method: str = 'forward',
    has_aux: bool = False,
    num_microbatches: int | None = None,
    axis_name: mapped_axis.AxisName = None,
) -> Any:
  """Differentiates the strong loss with respect to the weak instances' weights.

  With g(w) = grad_theta(mean_k w_k * weak_k(theta)) and theta' = theta -
  step_size * g(w), or theta' = theta + inner_optimizer.update(g(w)), it returns
  d strong(theta') / d w_k, which is negative where a larger weight of instance
  k would lower the strong loss. Ren et al., "Learning to Reweight Examples for
  Robust Deep Learning", 2018 (https://arxiv.org/abs/1803.09050, eq. 7, at
  weights 0); Pan et al., 2022 (https://arxiv.org/abs/2203.05956, Algorithm 1,
  at the stored indicators). It has no relation to `optax.lookahead`.

  `method='grad'` applies `jax.grad` to the lookahead, exactly as in the
  formula. `method='forward'` computes the same number in closed form, without a
  second derivative: `jax.vjp` pulls the strong gradient at theta' back through
  the optimiser's update, and its inner products with the gradients of all
  instances are a single directional derivative of the weak losses.

  Args:
    weak_losses_fn: maps params to the weak losses of this shard, float [B].
    strong_loss_fn: maps params to the mean strong loss of this shard, float [].
    params: parameters theta, any pytree. Leaves that are not floats, which
      modules of equinox and nnx have, are held constant: see
      `loss_functions.split_floats`.
    weights: current weights of the B weak instances, float [B].
    step_size: learning rate of a plain SGD lookahead, not of the optimiser.
    inner_optimizer: any optax optimiser for the lookahead, instead of plain
      SGD.
    inner_opt_state: state of `inner_optimizer` at theta; None starts a fresh
      one. If params have leaves that are not floats, it must be the state of
      the floats alone:
      `inner_optimizer.init(eqx.filter(model, eqx.is_inexact_array))`.
    method: 'grad' or 'forward'.
    has_aux: whether both loss functions return a pair of losses and aux, where
      aux is any pytree, as for `jax.grad`.
    num_microbatches: number M of parts of a batch that does not fit in memory.
      Both loss functions then take the index of a part, int32 [], as second
      argument, and return the B / M weak losses and the mean strong loss of
      that part; the arrays in their aux get a leading axis M. The slopes are
      those of the whole batch. They cannot be computed part by part: the slopes
      of a part alone are M times too large and follow a lookahead on that part.
    axis_name: axis of `jax.pmap` or `jax.shard_map` over which to average; None
      on a single device, () if every shard is an independent problem. All
      shards hold the same number of instances.

  Returns:
    Slopes of the global mean strong loss, float [B], in the dtype of the
    weights. With `has_aux`, a pair of the slopes and of two aux of this shard:
    those of the weak losses at theta and of the strong loss at theta'.

  Raises:
    ValueError: if `weights` is not rank 1, does not fit the weak losses or does
      not divide into the parts, if `axis_name` is missing (`mapped_axis`), if
      not exactly one of `step_size` and `inner_optimizer` is given, if the
      inner optimiser has no slopes, such as Lion or Adam with `eps_root=0` (see
      `inner_optimizers.check_inner_optimizer`), if `method` is unknown, if the
      strong loss is not a scalar, or if `has_aux` does not agree with what a
      loss function returns.
  """
  if weights.ndim != 1:
    raise ValueError(f'weights must have rank 1, got shape {weights.shape}.')
  if method not in METHODS:
    raise ValueError(f'Unknown {method=}; known: {METHODS}.')
  params, merge = loss_functions.split_floats(params)
  params, weights = mapped_axis.varying(
      (params, _float_weights(weights)), axis_name)
  shape = _part_shape(weights, num_microbatches)
  weak_fn = loss_functions.of_floats(
      weak_losses_fn, merge, name='weak_losses_fn', has_aux=has_aux,
      shape=shape, meaning=_one_per_weight(shape))
  strong_fn = _strong_loss(strong_loss_fn, merge, has_aux)
  if num_microbatches is not None:
    weak_fn = _joined(weak_fn, num_microbatches, jnp.ravel)
    strong_fn = _joined(strong_fn, num_microbatches, jnp.mean)
  inner = dict(
      step_size=step_size,
      inner_optimizer=inner_optimizer,
      inner_opt_state=inner_opt_state,
  )
  if method == 'forward':
    linear = linearization.linearize_losses(weak_fn, params, has_aux=True)
    slopes, strong_aux = _linear_weight_grads(
        linear, strong_fn, params, weights, **inner, axis_name=axis_name)
    return (slopes, (linear.aux, strong_aux)) if has_aux else slopes
  inner_update = inner_optimizers.update_fn(params, **inner)

  def outer_loss(w):

    def inner_loss(p):
      losses, aux = weak_fn(p)
      dtype = _wider(w.dtype, losses.dtype)
      return jnp.mean(w.astype(dtype) * losses.astype(dtype)), aux

    grads, weak_aux = jax.grad(inner_loss, has_aux=True)(params)
    updates = inner_update(mapped_axis.pmean(grads, axis_name))
    loss, strong_aux = strong_fn(optax.apply_updates(params, updates))
    return loss, (weak_aux, strong_aux)

  slopes, aux = jax.grad(outer_loss, has_aux=True)(weights)
  # Within a mapped axis, reverse mode sums the cotangent of pmean over the
  # shards, so each shard gets the slope of the *sum* of the outer losses.
  slopes = slopes / mapped_axis.num_shards(axis_name)
  return (slopes, aux) if has_aux else slopes


def linear_weight_grads(
    linear: linearization.LinearizedLosses,
    strong_loss_fn: Callable[[Any], jax.Array],
    params: types.Params,
    weights: jax.Array,
    *,
    step_size: float | None = None,
    inner_optimizer: optax.GradientTransformation | None = None,
    inner_opt_state: optax.OptState | None = None,
    has_aux: bool = False,
    axis_name: mapped_axis.AxisName = None,
) -> Any:
  """Computes `lookahead_weight_grads` from losses that are linearised already.

  With J the Jacobian of the weak losses at theta, U the optimiser's update and
  theta' = theta + U(J^T w / B), the slopes are
  (1 / B) J U'(J^T w / B)^T grad strong(theta'). A training step can then call
  `linear.weighted_grads` with its new weights, and needs only one forward pass
  on the weak images.

  Args:
    linear: the B weak losses at `params`, from `linearization`. Within a
      `jax.shard_map` with `check_vma`, the default, linearise them at
      `jax.lax.pcast(params, axis_name, to='varying')`.
    strong_loss_fn: as for `lookahead_weight_grads`.
    params: parameters theta.
    weights: current weights of the B weak instances, float [B].
    step_size: learning rate of a plain SGD lookahead.
    inner_optimizer: any optax optimiser for the lookahead, instead of plain
      SGD.
    inner_opt_state: state of `inner_optimizer` at theta; None starts a fresh
      one.
    has_aux: whether `strong_loss_fn` returns a pair; the aux of the weak losses
      is in `linear`.
    axis_name: mapped axis to average over, or None.

  Returns:
    Slopes of the global mean strong loss, float [B], in the dtype of the
    weights; with `has_aux`, a pair of the slopes and the aux of the strong loss
    at theta'.

  Raises:
    ValueError: in the same cases as `lookahead_weight_grads`.
  """
  floats, merge = loss_functions.split_floats(params)
  slopes, aux = _linear_weight_grads(
      linear, _strong_loss(strong_loss_fn, merge, has_aux), floats, weights,
      step_size=step_size, inner_optimizer=inner_optimizer,
      inner_opt_state=inner_opt_state, axis_name=axis_name)
  return (slopes, aux) if has_aux else slopes


def _linear_weight_grads(
    linear, strong_fn, params, weights, *, axis_name, **inner
):
  """Computes `linear_weight_grads` for float params; always returns aux."""
  loss_functions.check_losses(
      linear.losses, weights.shape, name='The linearised losses_fn',
      meaning=_one_per_weight(weights.shape))
  inner_update = inner_optimizers.update_fn(params, **inner)
  mean = lambda grads: mapped_axis.varying(
      mapped_axis.pmean(grads, axis_name), axis_name)
  dtype = linear.losses.dtype
  weights = mapped_axis.varying(_float_weights(weights), axis_name)
  wide = weights.astype(_wider(weights.dtype, dtype))
  grads = mean(linear.weighted_grads(wide / weights.size))
  updates, pull_back = jax.vjp(inner_update, grads)
  ahead = optax.apply_updates(params, updates)
  strong_grads, aux = jax.grad(strong_fn, has_aux=True)(ahead)
  (direction,) = pull_back(optax.tree.cast_like(mean(strong_grads), updates))
  slopes = linear.directional(direction).astype(wide.dtype)
  num_instances = weights.size * mapped_axis.num_shards(axis_name)
  return (slopes / num_instances).astype(weights.dtype), aux


def last_layer_slopes(
    features: jax.Array, head_direction: types.Params
) -> jax.Array:
  """Returns the slope of the logits along a direction in the last layer.

  With logits = features @ kernel + bias and the direction (V, c), the slope is
  features @ V + c.

  Args:
    features: input of the last layer, float [B, ..., F].
    head_direction: direction in the parameters of the last layer, such as their
      strong gradient: `kernel` [1, ..., 1, F, K], `bias` [K].

  Returns:
    Slopes, float [B, ..., K].

  Raises:
    ValueError: if the layer is not a 1 x 1 convolution of these features.
  """
  kernel, bias = head_direction['kernel'], head_direction['bias']
  expected = (features.shape[-1], bias.size)
  if kernel.size != expected[0] * expected[1]:
    raise ValueError(
        f'The last layer has {kernel.shape=}, but maps features '
        f'{features.shape} to {bias.size} logits: want [1, ..., 1, F, K].')
  # Indicators are ranked by these slopes, so accelerators must not round them.
  slopes = jnp.matmul(
      features, kernel.reshape(expected), precision='highest')
  return slopes + bias.reshape((1,) * (slopes.ndim - 1) + bias.shape)


def last_layer_alignments(
    losses_fn: Callable[[jax.Array], jax.Array],
    logits: jax.Array,
    features: jax.Array,
    head_direction: types.Params,
) -> jax.Array:
  """Returns the part of the alignments that the last layer contributes.

  With t = `last_layer_slopes` of the strong gradient, the alignment of instance
  k is <d loss_k / d logits_k, t_k>. This needs no pass through the network.

  Args:
    losses_fn: maps logits to the weak losses, float [B].
    logits: float [B, ..., K].
    features: input of the last layer, float [B, ..., F].
    head_direction: strong gradient of the last layer: `kernel` [1, ..., 1, F,
      K], `bias` [K].

  Returns:
    Alignments, float [B].

  Raises:
    ValueError: if the layer is not a 1 x 1 convolution of these features.
  """
  slopes = last_layer_slopes(features, head_direction)
  return jax.jvp(
      losses_fn, (masking.widen(logits),), (masking.widen(slopes),))[1]


def l2rw_weights(
    weight_grads: jax.Array, *, axis_name: mapped_axis.AxisName = None
) -> jax.Array:
  """Turns slopes into the normalised weights of one batch.

  w_k = max(-d strong / d w_k, 0) / sum_j max(-d strong / d w_j, 0), with the
  sum over the global batch; all weights are 0 if no instance helps. Ren et al.,
  2018 (https://arxiv.org/abs/1803.09050, eqs. 8 and 9).

  Args:
    weight_grads: slopes at weights 0 from `lookahead_weight_grads`, float [B].
    axis_name: mapped axis over which the batch is sharded, or None.

  Returns:
    Weights that sum to 1 over the global batch, or are all 0, at least float32
    [B]. If one of the slopes is nan, all weights are nan.
  """
  raw = jnp.maximum(-masking.widen(weight_grads), 0)
  mapped_axis.check(axis_name)
  total = jnp.sum(raw)
  if axis_name:
    total = jax.lax.psum(total, axis_name)
  return raw / jnp.where(total == 0, 1, total)


def without_common_harm(
    alignments: jax.Array, *, axis_name: mapped_axis.AxisName = None
) -> jax.Array:
  """Subtracts the mean of the global batch's alignments if it is negative.

  The result is a_k - min(0, mean_j a_j). Where training has reached a balance
  between the strong and the weak loss, grad strong = -weak_scale * mean_k w_k
  grad weak_k, and therefore mean_k w_k a_k = -|grad strong|^2 / weak_scale.
  Every instance then *seems* to harm the strong loss, good ones too, and all
  indicators sink, however good the labels are. A part that all alignments share
  says nothing about a single instance. A positive mean is kept, because early
  in training all instances may help. This is our own addition; the measurements
  are in `experiments/results/phantom.md`.

  Args:
    alignments: float [B].
    axis_name: mapped axis over which the batch is sharded, or None.

  Returns:
    Alignments with a mean of at least 0, at least float32 [B].
  """
  alignments = masking.widen(alignments)
  mean = mapped_axis.pmean(jnp.mean(alignments), axis_name)
  return alignments - jnp.minimum(mean, 0)


def unit_rms(
    values: jax.Array, *, axis_name: mapped_axis.AxisName = None
) -> jax.Array:
  """Divides values by their root mean square over the global batch.

  Gradients shrink by orders of magnitude during training. Without this scaling,
  the learning rate of the indicators would have to follow them.

  Args:
    values: for example alignments, float [B].
    axis_name: mapped axis over which the batch is sharded, or None.

  Returns:
    Values of mean square 1, or all 0 if all were 0, at least float32 [B]. If
    one of the values is nan, their scale is unknown, and all become nan.
  """
  values = masking.widen(values)
  mean_square = mapped_axis.pmean(jnp.mean(jnp.square(values)), axis_name)
  return values * jax.lax.rsqrt(jnp.where(mean_square == 0, 1, mean_square))
