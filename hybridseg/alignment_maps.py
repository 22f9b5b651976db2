"""Where in an image an annotation helps the strong loss, and where it harms.

The alignment of instance k is <grad strong, grad weak_k> (`weighting`). With f
the logits and t their slope along the strong gradient, it is a sum over pixels,

  alignment_k = sum_p <d weak_k / d f_kp, t_kp>,

and its summands are the map. Own addition.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from hybridseg import masking
from hybridseg import types


def logits_and_slopes(
    apply_fn: Callable[[types.Params, jax.Array], jax.Array],
    params: types.Params,
    images: jax.Array,
    direction: types.Params,
) -> tuple[jax.Array, jax.Array]:
  """Returns the logits and their slope along a direction of all layers.

  The slope along the last layer alone is `weighting.last_layer_slopes`.

  Args:
    apply_fn: maps params and float images [B, H, W, C] to logits [B, H, W, K].
    params: parameters theta.
    images: float [B, H, W, C].
    direction: of the shape of `params`, for example the strong gradient.

  Returns:
    Logits f and d f(theta + s direction) / d s at s = 0, float [B, H, W, K].
  """
  return jax.jvp(lambda p: apply_fn(p, images), (params,), (direction,))


def alignment_maps(
    losses_fn: Callable[[jax.Array], jax.Array],
    logits: jax.Array,
    slopes: jax.Array,
) -> jax.Array:
  """Splits the alignment of each instance into what each pixel adds.

  map_kp = sum_c (d weak_k / d f_kpc) t_kpc: positive where following the
  annotation lowers the strong loss too, negative where it raises it, 0 where
  the loss does not look.

  Args:
    losses_fn: maps logits to the weak losses, float [B]; loss k may depend on
      the logits of instance k alone.
    logits: f, float [B, ..., K].
    slopes: t, of the shape of the logits.

  Returns:
    Map, at least float32 [B, ...]; its sum over the pixels is the alignment.

  Raises:
    ValueError: if the two shapes differ.
  """
  if logits.shape != slopes.shape:
    raise ValueError(f'{logits.shape=} differs from {slopes.shape=}.')
  logits, slopes = masking.widen(logits), masking.widen(slopes)
  grads = jax.grad(lambda x: jnp.sum(losses_fn(x)))(logits)
  # 0 * nan is nan: a pixel that does not count may hold anything.
  return jnp.sum(jnp.where(grads != 0, grads * slopes, 0), axis=-1)
