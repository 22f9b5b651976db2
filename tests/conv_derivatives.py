"""Derivatives of a convolution of all kinds that training takes."""

import jax
import jax.numpy as jnp


def all_of(conv, x, kernel):
  """Returns derivatives of `conv(x, kernel)`, for comparison with another one.

  They are the gradients with respect to both arguments, the derivative along
  the kernel, its transpose, the gradients of single instances, and the
  gradients of the squared gradients.
  """
  loss = lambda x, k: jnp.sum(jnp.sin(conv(x, k)))
  grads = jax.grad(loss, (0, 1))
  y, slope = jax.linearize(lambda k: conv(x, k), kernel)
  of_one = lambda k, one: jax.grad(loss, 1)(one[None], k)
  squared = lambda x, k: sum(jnp.sum(g**2) for g in grads(x, k))
  return (
      grads(x, kernel), slope(kernel),
      jax.linear_transpose(slope, kernel)(y),
      jax.vmap(of_one, (None, 0))(kernel, x),
      jax.grad(squared, (0, 1))(x, kernel))
