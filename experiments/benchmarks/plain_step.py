"""A plain training step of one network, to be compared with a step in torch.

The loss is cross entropy + soft Dice, the optimizer is AdamW, and there is no
augmentation. `torch_twins` implements the same step in torch.
"""

from collections.abc import Callable, Mapping
from typing import Any

from flax import traverse_util
from hybridseg import losses
from hybridseg.models import encoder_unet
import jax
import numpy as np
import optax

LEARNING_RATE = 1e-3
WEIGHT_DECAY = 1e-4


def gradient_fn(apply_fn: Callable[..., jax.Array]) -> Callable[..., Any]:
  """Returns a function that computes the gradients of the loss, and the logits.

  Args:
    apply_fn: function (params, images) -> logits, float [B, ..., K].

  Returns:
    Function of the parameters, the images, float [B, ..., C], and the label
    maps, int [B, ...]. It returns a tree like the parameters, and the logits.
  """
  def loss(params, images, labels):
    logits = apply_fn(params, images)
    labels = jax.nn.one_hot(labels, logits.shape[-1])
    return losses.cross_entropy_dice_loss(logits, labels).mean(), logits

  return jax.grad(loss, has_aux=True)


def build(
    apply_fn: Callable[..., jax.Array],
    params: Mapping[str, Any],
    images: np.ndarray,
    labels: np.ndarray,
    *,
    frozen_until: int,
) -> tuple[jax.stages.Compiled, Callable[[], Any]]:
  """Compiles a training step for one batch.

  Args:
    apply_fn: function (params, images) -> logits.
    params: parameters of the network.
    images: float [B, ..., C].
    labels: int [B, ...].
    frozen_until: as in `EfficientNetUNet`; 0 trains all parameters.

  Returns:
    The compiled step, and a function without arguments that calls it.
  """
  optimizer = adamw = optax.adamw(LEARNING_RATE, weight_decay=WEIGHT_DECAY)
  if frozen_until:
    optimizer = optax.multi_transform(
        {'decoder': adamw, 'encoder': adamw, 'frozen': optax.set_to_zero()},
        encoder_unet.label_params(params, frozen_until=frozen_until))
  gradients = gradient_fn(apply_fn)

  @jax.jit
  def step(params, opt_state, images, labels):
    grads, _ = gradients(params, images, labels)
    updates, opt_state = optimizer.update(grads, opt_state, params)
    return optax.apply_updates(params, updates), opt_state

  arguments = jax.device_put((params, optimizer.init(params), images, labels))
  compiled = step.lower(*arguments).compile()
  return compiled, lambda: compiled(*arguments)


def as_torch(
    tree: Mapping[str, Any], *, num_axes: int = 2
) -> dict[str, np.ndarray]:
  """Returns parameters, or gradients, under PyTorch's names and in its layout.

  Args:
    tree: parameters of a `UNet` or an `EfficientNetUNet`.
    num_axes: 2 for pictures, 3 for volumes.

  Returns:
    A map of dotted names of layers to arrays. Kernels have the shape
    [F, C, H, W], [F, C, D, H, W], or [C, 1, H, W] if depthwise; kernels and
    scales are named `weight`.
  """
  arrange = {
      5: lambda x: x.transpose(4, 3, 0, 1, 2),
      4: lambda x: x.transpose(3, 2, 0, 1),
      3: lambda x: x.transpose(2, 0, 1)[:, None],  # Depthwise, [H, W, C].
      # A convolution over single pixels, [C, F].
      2: lambda x: x.T.reshape(x.T.shape + (1,) * num_axes),
      1: lambda x: x,
  }
  return {
      '.'.join((*path, 'bias' if last == 'bias' else 'weight')):
          arrange[np.ndim(value)](np.asarray(value))
      for (*path, last), value in traverse_util.flatten_dict(tree).items()}
