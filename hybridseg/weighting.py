"""Instance weights from the gradient of a strong-set loss.

Two levels: *inner* is the weighted weak loss that the lookahead descends,
*outer* the strong loss after it. With one virtual step

  theta'(w) = theta - step_size * grad(mean_k w_k * weak_k(theta)),

the slope of the outer loss in a weight is, for plain SGD,

  d strong(theta') / d w_k
      = -(step_size / B) * <grad strong(theta'), grad weak_k(theta)>.

The inner product is the *alignment* of instance k: positive where trusting it
lowers the strong loss.
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
  """Returns the dtype of more bits; NumPy's rules may be switched off."""
  return max(dtype, other, key=lambda d: jnp.finfo(d).bits)


def _float_weights(weights):
  """Returns weights as they are, or if they are no floats, as floats."""
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
  """Returns a loss function with aux of the whole batch from one of parts."""
  parts_fn = microbatches.over_microbatches(fn, num_microbatches)

  def whole_fn(params):
    losses, aux = parts_fn(params)
    return join(losses), aux

  return whole_fn


def _strong_loss(fn, merge, has_aux):
  """Returns the strong loss as a checked function of the float leaves."""
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
  """Differentiates the strong-set loss with respect to weak-instance weights.

  With g(w) = grad_theta(mean_k w_k * weak_k(theta)) and theta' = theta -
  step_size * g(w), or theta' = theta + inner_optimizer.update(g(w)), returns
  d strong(theta') / d w_k: negative where trusting instance k more would help.
  Ren et al., "Learning to Reweight Examples for Robust Deep Learning", 2018
  (https://arxiv.org/abs/1803.09050, eq. 7, at weights 0); Pan et al., 2022
  (https://arxiv.org/abs/2203.05956, Algorithm 1, at the stored indicators). No
  relation to `optax.lookahead`.

  `method='grad'` is `jax.grad` through the lookahead, as the formula reads.
  `method='forward'` is the same number in closed form, without a second
  derivative: the strong gradient at theta' is pulled back through the
  optimiser's update by `jax.vjp`, and its inner products with all per-instance
  gradients are one directional derivative of the weak losses.

  Args:
    weak_losses_fn: maps params to the weak losses of this shard, float [B].
    strong_loss_fn: maps params to the mean strong loss of this shard, float [].
    params: parameters theta, any pytree. Leaves that are no floats, as modules
      of equinox and nnx have, are left as they are: see
      `loss_functions.split_floats`.
    weights: current weights of the B weak instances, float [B].
    step_size: learning rate of a plain SGD lookahead, not of the optimiser.
    inner_optimizer: any optax optimiser in place of plain SGD.
    inner_opt_state: its state at theta; None is a fresh one. Of params that
      hold other leaves than floats, it is that of the floats:
      `inner_optimizer.init(eqx.filter(model, eqx.is_inexact_array))`.
    method: 'grad' or 'forward'.
    has_aux: whether both loss functions return pairs, of their losses and any
      pytree, as for `jax.grad`.
    num_microbatches: number M of parts of a batch that is too large for the
      memory. Both loss functions then take the number of a part, int32 [], as
      second argument, and return the B / M weak losses and the mean strong loss
      of that part; their aux gets a leading axis M. The slopes are those of the
      whole batch. Those of each part alone are not: M times too large, after
      steps of that part alone.
    axis_name: mapped axis to average over, of `jax.pmap` or `jax.shard_map`;
      None on a single device, and () where every shard is a problem of its own.
      Shards hold equally many instances.

  Returns:
    Slope of the global mean strong loss, float [B] of the dtype of the weights;
    with `has_aux` a pair of it and the pair of aux of this shard, of the weak
    losses at theta and of the strong one at theta'.

  Raises:
    ValueError: if `weights` is not rank 1, does not fit the weak losses or does
      not divide into the parts, if `axis_name` is missing (`mapped_axis`), if
      not exactly one of `step_size` and `inner_optimizer` is given, if the
      inner optimiser has no slopes, as Adam with `eps_root=0` or Lion (see
      `inner_optimizers.check_inner_optimizer`), if `method` is unknown, if the
      strong loss is no scalar, or if a loss function returns a pair or does not
      against `has_aux`.
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
  # Inside a mapped axis, reverse mode sums the cotangent of pmean over the
  # shards, so each one sees the slope of the *sum* of the outer losses.
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
  """Is the closed form of `lookahead_weight_grads`, of losses at hand.

  With J the Jacobian of the weak losses at theta, U the optimiser's update and
  theta' = theta + U(J^T w / B), the slopes are
  (1 / B) J U'(J^T w / B)^T grad strong(theta'). A training step that goes on to
  call `linear.weighted_grads` with its new weights pays for the forward pass
  on the weak images once.

  Args:
    linear: the B weak losses at `params`, from `linearization`. Within
      `jax.shard_map` that checks `vma`, as it does by default, linearise at
      `jax.lax.pcast(params, axis_name, to='varying')`.
    strong_loss_fn: as for `lookahead_weight_grads`, and so are the rest.
    params: parameters theta.
    weights: current weights of the B weak instances, float [B].
    step_size: learning rate of a plain SGD lookahead.
    inner_optimizer: any optax optimiser in place of plain SGD.
    inner_opt_state: its state at theta; None is a fresh one.
    has_aux: whether `strong_loss_fn` returns a pair; the aux of the weak losses
      is that of `linear`.
    axis_name: mapped axis to average over, or None.

  Returns:
    Slope of the global mean strong loss, float [B] of the dtype of the weights;
    with `has_aux` a pair of it and the aux of the strong loss at theta'.

  Raises:
    ValueError: as `lookahead_weight_grads`.
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
  """Is `linear_weight_grads` of float params, always with aux."""
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
  """Returns the slope of the logits along a direction of the last layer.

  With logits = features @ kernel + bias and the direction (V, c), the slope is
  features @ V + c.

  Args:
    features: input of the last layer, float [B, ..., F].
    head_direction: for example its strong gradient: `kernel` [1, ..., 1, F, K],
      `bias` [K].

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
        f'{features.shape} to {bias.size} logits: want [1, ..., 1, F, K].'
    )
  # Indicators are ranked by them: no short products on accelerators.
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
  k is <d loss_k / d logits_k, t_k>: no pass through the network.

  Args:
    losses_fn: maps logits to the weak losses, float [B].
    logits: float [B, ..., K].
    features: input of the last layer, float [B, ..., F].
    head_direction: strong gradient of the last layer: `kernel` [..., F, K] of
      spatial size 1, `bias` [K].

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

  w_k = max(-d strong / d w_k, 0) / sum_j max(-d strong / d w_j, 0), over the
  global batch; all 0 where no instance helps. Ren et al., 2018
  (https://arxiv.org/abs/1803.09050, eqs. 8 and 9).

  Args:
    weight_grads: slopes at weights 0 from `lookahead_weight_grads`, float [B].
    axis_name: mapped axis over which the batch is sharded, or None.

  Returns:
    Weights that sum to 1 over the global batch, or to 0, or with a nan among
    the slopes are all nan; of at least float32, [B].
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
  """Takes a negative mean over the global batch off the alignments.

  a_k - min(0, mean_j a_j). Where the networks have come to rest between the
  strong and the weak loss, grad strong = -weak_scale * mean_k w_k grad weak_k,
  so that mean_k w_k a_k = -|grad strong|^2 / weak_scale: every instance then
  *seems* to harm, good ones too, and all indicators sink, whatever the labels
  are worth. What all have in common says nothing of any of them. A positive
  mean stays: early on, all may help. Own addition; measured in
  `experiments/results/phantom.md`.

  Args:
    alignments: float [B].
    axis_name: mapped axis over which the batch is sharded, or None.

  Returns:
    Alignments of mean >= 0, of at least float32, [B].
  """
  alignments = masking.widen(alignments)
  mean = mapped_axis.pmean(jnp.mean(alignments), axis_name)
  return alignments - jnp.minimum(mean, 0)


def unit_rms(
    values: jax.Array, *, axis_name: mapped_axis.AxisName = None
) -> jax.Array:
  """Divides by the root mean square over the global batch; 0 stays 0.

  Gradients shrink by orders of magnitude while a network trains: without a
  scale, the learning rate of the indicators would have to follow.

  Args:
    values: for example alignments, float [B].
    axis_name: mapped axis over which the batch is sharded, or None.

  Returns:
    Values of mean square 1, of at least float32, [B]. With a nan among them
    their scale is not known, and all are nan.
  """
  values = masking.widen(values)
  mean_square = mapped_axis.pmean(jnp.mean(jnp.square(values)), axis_name)
  return values * jax.lax.rsqrt(jnp.where(mean_square == 0, 1, mean_square))
