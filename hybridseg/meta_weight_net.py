"""Instance weights as a learnt function of the loss.

Shu et al., "Meta-Weight-Net: Learning an Explicit Mapping For Sample
Weighting", 2019 (https://arxiv.org/abs/1902.07379): the weight of instance k is
V(loss_k; phi), and phi descends the strong loss after the lookahead. By the
chain rule, its gradient follows from the alignments (see `weighting`):

  d strong(theta') / d phi = sum_k (d strong(theta') / d w_k) (d w_k / d phi).

There are two deviations. The strong gradient is taken at theta, as for all
weighting rules of this library. The weights are normalised to a mean of 1 over
the batch; the authors' first code normalises too, but the paper and their later
code do not.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from hybridseg import guards
from hybridseg import mapped_axis
from hybridseg import masking
from hybridseg import method_parts
from hybridseg import types

_NUM_HIDDEN = 100
_WEIGHT_DECAY = 1e-4  # Used with Adam, as in the authors' later code.


class WeightNet(NamedTuple):
  """A network V that maps a loss to a weight in [0, 1], with its optimiser.

  Attributes:
    params: phi, a dict of the layers `hidden` and `output`, each with a
      `kernel` and a `bias`.
    opt_state: state of the network's optimiser.
  """

  params: types.Params
  opt_state: optax.OptState


def init_weight_net(key: jax.Array) -> WeightNet:
  """Returns a new network with one hidden layer of 100 units.

  Kernels and biases are uniform in +-1 / sqrt(fan in), as in the authors' code.
  """
  hidden, output = jax.random.split(key)
  params = {
      'hidden': _init_layer(hidden, 1, _NUM_HIDDEN),
      'output': _init_layer(output, _NUM_HIDDEN, 1),
  }
  return WeightNet(params, _optimizer(0.0).init(params))


def _init_layer(key, num_in, num_out):
  bound = num_in**-0.5
  uniform = lambda key, shape: jax.random.uniform(
      key, shape, jnp.float32, minval=-bound, maxval=bound)
  kernel, bias = jax.random.split(key)
  return {
      'kernel': uniform(kernel, (num_in, num_out)),
      'bias': uniform(bias, (num_out,)),
  }


def _optimizer(learning_rate):
  return optax.chain(
      optax.add_decayed_weights(_WEIGHT_DECAY), optax.adam(learning_rate))


def batch_weights(params: types.Params, losses: jax.Array) -> jax.Array:
  """Returns V(loss_k; phi) * B / sum_j V(loss_j; phi).

  V has a hidden layer of ReLU units and ends with a sigmoid.

  Args:
    params: phi.
    losses: losses of the global batch, float [B].

  Returns:
    Weights of mean 1, or all 0 if V is 0 for all losses, float [B].
  """
  # The losses may differ only slightly, so accelerators must not round the
  # products.
  layer = lambda name, x: params[name]['bias'][None] + jnp.matmul(
      x, params[name]['kernel'], precision='highest')
  hidden = jax.nn.relu(layer('hidden', losses[:, None]))
  values = jax.nn.sigmoid(layer('output', hidden))[:, 0]
  mean = jnp.mean(values)
  return values / jnp.where(mean == 0, 1, mean)  # A nan mean stays nan.


def strong_slopes(
    params: types.Params, losses: jax.Array, alignments: jax.Array
) -> types.Params:
  """Returns the gradient of -(1 / B) sum_k alignment_k * w_k(phi) w.r.t. phi.

  It equals the gradient of the strong loss after the lookahead, divided by the
  step size of the lookahead.

  Args:
    params: phi.
    losses: losses of the global batch, float [B].
    alignments: alignments of the global batch, float [B].

  Returns:
    A tree like `params`.
  """
  _, pull_back = jax.vjp(lambda p: batch_weights(p, losses), params)
  return pull_back(-alignments / alignments.size)[0]


def weigh(
    weight_net: WeightNet,
    losses: jax.Array,
    alignments: jax.Array,
    *,
    learning_rate: float,
    axis_name: mapped_axis.AxisName = None,
) -> tuple[jax.Array, WeightNet]:
  """Updates phi by `strong_slopes`, then returns the weights of the batch.

  Args:
    weight_net: network before the update.
    losses: training losses that V maps to weights, float [B].
    alignments: alignments of the same instances, float [B].
    learning_rate: learning rate of Adam.
    axis_name: mapped axis whose shards are gathered, so that every device takes
      the same step; None on a single device.

  Returns:
    Weights of mean 1 over the global batch, float [B], and the network after
    the update.
  """
  num = losses.shape[0]
  losses, alignments = (
      guards.gather_rows(masking.widen(x), axis_name=axis_name)
      for x in (losses, alignments))
  params = weight_net.params
  slopes = strong_slopes(params, losses, alignments)
  with jax.numpy_dtype_promotion('standard'):  # Optax's Adam needs this.
    updates, opt_state = _optimizer(learning_rate).update(
        slopes, weight_net.opt_state, params)
  params = optax.apply_updates(params, updates)
  first = num * mapped_axis.shard_index(axis_name)
  weights = jax.lax.dynamic_slice_in_dim(
      batch_weights(params, losses), first, num)
  return weights, WeightNet(params, opt_state)


def _weigh_batch(weighting, state, batch, *, axis_name):
  alignments, is_bad = batch.mean_alignments()
  weights, weight_net = weigh(
      state.own, batch.losses, alignments,
      learning_rate=weighting.learning_rate, axis_name=axis_name)
  return method_parts.Weighed(weights, state._replace(own=weight_net), is_bad)


RULE = method_parts.WeightingRule(
    _weigh_batch, init=lambda key, num_weak: init_weight_net(key))
