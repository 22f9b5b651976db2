"""Depthwise convolution that is fast on CPUs, too.

On a CPU, XLA's grouped convolution takes many times as long as its arithmetic
would, and its gradients take even longer. So on CPUs this module computes the
convolution and its two gradients as shifted products of whole feature maps. On
CUDA it does the same, except for the gradient with respect to the kernel, whose
sums are slower that way. On other platforms, XLA computes all three. The choice
depends on the platform that a program is lowered for. Measurements are in
`experiments/results/encoders.md`.

The convolution y = D(x, k) has two gradients: T with respect to x, and K with
respect to k. For every g of the shape of y, they are defined by

  <g, D(x, k)> = <T(g, k), x> = <K(x, g), k>.

The three maps are linear in each argument and are transposes of each other. So
derivatives of any order, forward and reverse, consist of the same three maps.
"""

import contextlib
import contextvars
import functools

import jax
from jax import lax
from jax.extend import core
from jax.interpreters import ad
from jax.interpreters import batching
from jax.interpreters import mlir
import jax.numpy as jnp

_MAX_TERMS = 16
_AS_GROUPED = contextvars.ContextVar('as_grouped', default=False)


@contextlib.contextmanager
def as_grouped():
  """Makes functions traced in this context use XLA's grouped convolution.

  Programs that convert traced functions, for example to ONNX, need this
  context, because they know only JAX's own operations. The values agree up to
  rounding. JAX caches traces, so convert a function object that was not traced
  before.
  """
  token = _AS_GROUPED.set(True)
  try:
    yield
  finally:
    _AS_GROUPED.reset(token)


def depthwise_conv(
    x: jax.Array, kernel: jax.Array, *, stride: int = 1
) -> jax.Array:
  """Convolves every channel with its own kernel, with 'SAME' padding.

    y[b, i, j, c] = sum_uv kernel[u, v, c] x[b, s i + u - p, s j + v - q, c]

  with zeros outside of x. If the total padding of an axis is odd, its end gets
  the larger part, as in TensorFlow.

  Args:
    x: float [B, H, W, C].
    kernel: [S, S, C], with the dtype of `x`.
    stride: stride s along both axes.

  Returns:
    Features, float [B, ceil(H / s), ceil(W / s), C].

  Raises:
    ValueError: if the shapes or the dtypes do not fit.
  """
  if x.ndim != 4 or kernel.ndim != 3 or kernel.shape[0] != kernel.shape[1] or (
      x.shape[-1] != kernel.shape[-1]):
    raise ValueError(
        f'A kernel of shape {kernel.shape} does not fit features of shape '
        f'{x.shape}: expected [S, S, C] and [B, H, W, C].')
  if x.dtype != kernel.dtype:
    raise ValueError(
        f'The kernel is {kernel.dtype}, the features are {x.dtype}: cast one.')
  if _AS_GROUPED.get():
    return _grouped_conv(x, kernel, stride=stride)
  return _conv_p.bind(x, kernel, stride=stride)


def _padding(size, width, stride):
  """Returns the output size and the padding before and after, for one axis."""
  out = -(-size // stride)
  total = max((out - 1) * stride + width - size, 0)
  return out, total // 2, total - total // 2


def _taps(x, width, stride):
  """Yields, for each weight of the kernel, the features that it multiplies."""
  rows, top, bottom = _padding(x.shape[1], width, stride)
  columns, left, right = _padding(x.shape[2], width, stride)
  # Pad to whole strides, so that every phase of the stride is a dense array.
  bottom += -(x.shape[1] + top + bottom) % stride
  right += -(x.shape[2] + left + right) % stride
  x = jnp.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
  for i in range(width):
    for j in range(width):
      yield lax.slice(
          x, (0, i, j, 0),
          (x.shape[0], i + (rows - 1) * stride + 1,
           j + (columns - 1) * stride + 1, x.shape[3]),
          (1, stride, stride, 1))


def _shifted_conv(x, kernel, *, stride):
  width = kernel.shape[0]
  weights = kernel.reshape(width * width, 1, 1, 1, -1)
  return sum(
      tap * w for tap, w in zip(_taps(x, width, stride), weights, strict=True))


def _shifted_input_grad(g, kernel, *, stride, size):
  """Computes T(g, k), the gradient with respect to the input x.

  First, stride - 1 zeros are inserted between neighbouring pixels of g. Then
  the flipped kernel is moved over the result.
  """
  width = kernel.shape[0]
  config = [(0, 0, 0)]
  for length, new in zip(size, g.shape[1:3], strict=True):
    _, before, _ = _padding(length, width, stride)
    before = width - 1 - before
    after = length + width - 1 - before - ((new - 1) * stride + 1)
    config.append((before, after, stride - 1))
  g = lax.pad(g, jnp.zeros((), g.dtype), [*config, (0, 0, 0)])
  flipped = kernel[::-1, ::-1].reshape(width * width, 1, 1, 1, -1)
  return sum(
      tap * w for tap, w in zip(_valid_taps(g, width), flipped, strict=True))


def _valid_taps(x, width):
  rows, columns = (n - width + 1 for n in x.shape[1:3])
  for i in range(width):
    for j in range(width):
      yield x[:, i : i + rows, j : j + columns]


def _shifted_kernel_grad(x, g, *, stride, width):
  """Computes K(x, g), the gradient with respect to the kernel.

  The sum over the batch uses additions, and the sum over pixels a matrix
  product, because XLA's reduction over all leading axes is several times
  slower.
  """
  batch, features = g.shape[0], g.shape[-1]
  # Every term makes the program longer, so each term of a large batch covers
  # several images.
  terms = max(n for n in range(1, _MAX_TERMS + 1) if batch % n == 0)
  size = batch // terms
  ones = jnp.ones((1, size * g.shape[1] * g.shape[2]), g.dtype)
  rows = []
  for tap in _taps(x, width, stride):
    total = sum(tap[b : b + size] * g[b : b + size]
                for b in range(0, batch, size))
    rows.append(jnp.dot(
        ones, total.reshape(-1, features), precision='highest'))
  return jnp.concatenate(rows).reshape(width, width, -1)


def _grouped_conv(x, kernel, *, stride):
  return lax.conv_general_dilated(
      x, kernel[:, :, None], (stride, stride), 'SAME',
      dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
      feature_group_count=x.shape[-1])


def _grouped_input_grad(g, kernel, *, stride, size):
  x = jax.ShapeDtypeStruct((g.shape[0], *size, g.shape[-1]), g.dtype)
  return jax.linear_transpose(
      lambda x: _grouped_conv(x, kernel, stride=stride), x)(g)[0]


def _grouped_kernel_grad(x, g, *, stride, width):
  kernel = jax.ShapeDtypeStruct((width, width, g.shape[-1]), g.dtype)
  return jax.linear_transpose(
      lambda k: _grouped_conv(x, k, stride=stride), kernel)(g)[0]


def _primitive(name, shape_fn, grouped_fn, shifted_fn, *, shifted_on):
  """Registers one of the three maps as a primitive of JAX."""
  primitive = core.Primitive(f'hybridseg_{name}')
  primitive.def_impl(
      lambda *args, **options: jax.jit(
          functools.partial(primitive.bind, **options))(*args))
  primitive.def_abstract_eval(
      lambda a, b, **options: a.update(shape=shape_fn(a, b, **options)))
  as_lowered = lambda fn: mlir.lower_fun(fn, multiple_results=False)
  mlir.register_lowering(primitive, as_lowered(grouped_fn))
  for platform in shifted_on:
    mlir.register_lowering(
        primitive, as_lowered(shifted_fn), platform=platform)

  def batch(args, axes, **options):
    # Use plain operations here, because the gradient of a single instance has
    # no sum over a batch.
    one = lambda fn: jax.vmap(
        functools.partial(fn, **options), in_axes=axes)
    return lax.platform_dependent(
        *args, cpu=one(shifted_fn), default=one(grouped_fn)), 0

  batching.primitive_batchers[primitive] = batch
  return primitive


_conv_p = _primitive(
    'depthwise_conv',
    lambda x, kernel, *, stride: (
        x.shape[0], -(-x.shape[1] // stride), -(-x.shape[2] // stride),
        x.shape[3]),
    _grouped_conv, _shifted_conv, shifted_on=('cpu', 'cuda'))
_input_grad_p = _primitive(
    'depthwise_conv_input_grad',
    lambda g, kernel, *, stride, size: (g.shape[0], *size, g.shape[3]),
    _grouped_input_grad, _shifted_input_grad, shifted_on=('cpu', 'cuda'))
_kernel_grad_p = _primitive(
    'depthwise_conv_kernel_grad',
    lambda x, g, *, stride, width: (width, width, g.shape[3]),
    _grouped_kernel_grad, _shifted_kernel_grad, shifted_on=('cpu',))

ad.defbilinear(
    _conv_p,
    lambda ct, x, kernel, *, stride: _input_grad_p.bind(
        ct, kernel, stride=stride, size=x.aval.shape[1:3]),
    lambda ct, x, kernel, *, stride: _kernel_grad_p.bind(
        x, ct, stride=stride, width=kernel.aval.shape[0]))
ad.defbilinear(
    _input_grad_p,
    lambda ct, g, kernel, *, stride, size: _conv_p.bind(
        ct, kernel, stride=stride),
    lambda ct, g, kernel, *, stride, size: _kernel_grad_p.bind(
        ct, g, stride=stride, width=kernel.aval.shape[0]))
ad.defbilinear(
    _kernel_grad_p,
    lambda ct, x, g, *, stride, width: _input_grad_p.bind(
        g, ct, stride=stride, size=x.aval.shape[1:3]),
    lambda ct, x, g, *, stride, width: _conv_p.bind(x, ct, stride=stride))
