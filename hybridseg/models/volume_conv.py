"""3-D convolution that is fast on CPUs, too.

On CPUs, XLA computes a 3-D convolution and its gradients about ten times as
slowly as a 2-D one of the same arithmetic. So on CPUs this module computes it
as a 2-D convolution of all slices, in which each slice has the channels of its
neighbours beside its own. The slices lie across the shortest axis of the
kernel. On other platforms, XLA computes the 3-D convolution. The choice depends
on the platform that a program is lowered for. Measurements are in
`experiments/results/volumes.md`.
"""

from typing import Any

import flax.linen as nn
import jax
from jax import lax
import jax.numpy as jnp
import numpy as np

_VOLUMES = ('NDHWC', 'DHWIO', 'NDHWC')
_SLICES = ('NHWC', 'HWIO', 'NHWC')


class Conv(nn.Module):
  """Applies `volume_conv`.

  The name of the class makes Flax name the layer as it names `nn.Conv`, whose
  parameters this layer has.

  Attributes:
    features: number of channels F of the result.
    kernel_size: size of the kernel along each spatial axis, odd numbers.
    dtype: dtype of the convolution.
  """

  features: int
  kernel_size: tuple[int, ...]
  dtype: Any

  @nn.compact
  def __call__(self, x):
    """Maps features, float [B, D, H, W, C], to `dtype` [B, D, H, W, F]."""
    kernel = self.param(
        'kernel', nn.initializers.lecun_normal(),
        (*self.kernel_size, x.shape[-1], self.features))
    return volume_conv(x.astype(self.dtype), kernel.astype(self.dtype))


def volume_conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """Convolves volumes with 'SAME' padding.

    y[b, i, j, k, f] = sum_uvwc kernel[u, v, w, c, f]
                       x[b, i + u - U // 2, j + v - V // 2, k + w - W // 2, c]

  with zeros outside of x.

  Args:
    x: float [B, D, H, W, C].
    kernel: [U, V, W, C, F] of odd sizes, with the dtype of `x`.

  Returns:
    Features, float [B, D, H, W, F].

  Raises:
    ValueError: if the shapes or the dtypes do not fit.
  """
  if x.ndim != 5 or kernel.ndim != 5 or x.shape[-1] != kernel.shape[3] or any(
      size % 2 == 0 for size in kernel.shape[:3]):
    raise ValueError(
        f'A kernel of shape {kernel.shape} does not fit features of shape '
        f'{x.shape}: expected [U, V, W, C, F] with odd U, V and W, and '
        '[B, D, H, W, C].')
  if x.dtype != kernel.dtype:
    raise ValueError(
        f'The kernel is {kernel.dtype}, the features are {x.dtype}: cast one.')
  return lax.platform_dependent(
      x, kernel, cpu=_by_slices, default=_by_volumes)


def _by_volumes(x, kernel):
  return lax.conv_general_dilated(
      x, kernel, (1, 1, 1), 'SAME', dimension_numbers=_VOLUMES)


def _by_slices(x, kernel):
  # Slices need no neighbours along an axis on which the kernel has size 1.
  axis = int(np.argmin(kernel.shape[:3]))
  x, kernel = jnp.moveaxis(x, axis + 1, 1), jnp.moveaxis(kernel, axis, 0)
  batch, depth, height, width = x.shape[:4]
  reach = kernel.shape[0] // 2
  padded = jnp.pad(x, ((0, 0), (reach, reach), *((0, 0),) * 3))
  slices = jnp.concatenate(
      [padded[:, u : u + depth] for u in range(kernel.shape[0])], -1)
  flat = jnp.moveaxis(kernel, 0, 2)
  y = lax.conv_general_dilated(
      slices.reshape(batch * depth, height, width, -1),
      flat.reshape(*flat.shape[:2], -1, flat.shape[-1]), (1, 1), 'SAME',
      dimension_numbers=_SLICES)
  return jnp.moveaxis(
      y.reshape(batch, depth, height, width, -1), 1, axis + 1)
