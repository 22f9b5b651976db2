"""Maps that show where in an image an annotation helps or harms training.

The alignment of instance k is <grad strong, grad weak_k> (`weighting`). Let f
be the logits and t their slope along the strong gradient. The alignment is then
a sum over pixels p,

  alignment_k = sum_p <d weak_k / d f_kp, t_kp>,

and the terms of this sum are the map. The maps are our own addition.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from hybridseg import masking


def alignment_maps(
    losses_fn: Callable[[jax.Array], jax.Array],
    logits: jax.Array,
    slopes: jax.Array,
) -> jax.Array:
  """Splits the alignment of each instance into the contribution of each pixel.

  map_kp = sum_c (d weak_k / d f_kpc) t_kpc: positive where following the
  annotation lowers the strong loss too, negative where it raises that loss, and
  0 at pixels that the weak loss does not count.

  Args:
    losses_fn: maps logits to the weak losses, float [B]; loss k may depend on
      the logits of instance k alone.
    logits: f, float [B, ..., K].
    slopes: t, of the same shape as the logits. For the last layer alone,
      `weighting.last_layer_slopes` computes it; for all layers, it is the
      tangent that `jax.jvp` returns along the strong gradient.

  Returns:
    The maps, at least float32 [B, ...]; the sum of a map over its pixels is the
    alignment.

  Raises:
    ValueError: if the two shapes differ.
  """
  if logits.shape != slopes.shape:
    raise ValueError(f'{logits.shape=} differs from {slopes.shape=}.')
  logits, slopes = masking.widen(logits), masking.widen(slopes)
  grads = jax.grad(lambda x: jnp.sum(losses_fn(x)))(logits)
  # The slope at a pixel that the loss does not count may be nan, and 0 * nan
  # would be nan.
  return jnp.sum(jnp.where(grads != 0, grads * slopes, 0), axis=-1)
