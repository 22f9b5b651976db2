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
  """Splits the alignment of each instance into the contributions of its pixels.

  The alignment of instance k is the scalar product of the gradients of its weak
  loss and of the strong loss. Pixel p contributes

    map_kp = sum_c (d weak_k / d f_kpc) t_kpc,

  where c runs over the classes, f are the logits and t their slopes along the
  gradient of the strong loss. The contribution is positive where following the
  annotation lowers the strong loss too, negative where it raises the strong
  loss, and 0 at pixels that the weak loss does not count.

  Args:
    losses_fn: maps logits to the weak losses, float [B]; the loss of an
      instance may depend only on the logits of that instance.
    logits: f, float [B, ..., K].
    slopes: t, of the same shape as the logits. For the gradient of the last
      layer alone, `weighting.last_layer_slopes` computes them. For that of all
      layers, they are the tangent that `jax.jvp` returns if the tangent of the
      parameters is the strong gradient.

  Returns:
    The maps, float32 or wider, [B, ...]. The sum of a map over its pixels is
    the alignment of the instance.

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
