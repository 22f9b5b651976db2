"""Implements two networks of this project, and their training step, in torch.

Each layer has the name that Flax gives to the corresponding layer, so that the
networks can load the parameters of `plain_step.as_torch`. Importing this module
needs torch.
"""

from collections.abc import Mapping, Sequence

from hybridseg.models import efficientnet_lite
import numpy as np
import torch
from torch import nn
from torch.nn import functional

from experiments.benchmarks import plain_step

DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'


def _numbered(parent, name, layers):
  """Adds layers to a network as NAME_0, NAME_1 and so on; returns the layers.

  Flax names layers in the same way.
  """
  for number, layer in enumerate(layers):
    parent.add_module(f'{name}_{number}', layer)
  return layers


def _conv(n, m, size=3, *, num_axes=2):
  conv = nn.Conv3d if num_axes == 3 else nn.Conv2d
  return conv(n, m, size, padding=size // 2, bias=False)


def _norm(n):
  return nn.GroupNorm(min(8, n), n, eps=1e-6)


def _relu(x):
  return functional.relu(x, inplace=True)


def _twice_as_large(x):
  return functional.interpolate(x, scale_factor=2)


class _ConvBlock(nn.Module):

  def __init__(self, n, m, num_axes):
    super().__init__()
    self._convs = _numbered(self, 'Conv', [
        _conv(n, m, num_axes=num_axes), _conv(m, m, num_axes=num_axes)])
    self._norms = _numbered(self, 'GroupNorm', [_norm(m), _norm(m)])

  def forward(self, x):
    for conv, norm in zip(self._convs, self._norms, strict=True):
      x = _relu(norm(conv(x)))
    return x


class UNet(nn.Module):
  """The twin of `hybridseg.models.unet.UNet` with two classes.

  Args:
    features: channels per level, finest first.
    channels: number of channels of the images.
    num_axes: 2 for pictures, 3 for volumes.
  """

  def __init__(
      self, features: Sequence[int], *, channels: int = 3, num_axes: int = 2):
    super().__init__()
    pairs = list(zip(features[:-1], features[1:], strict=True))
    up = pairs[::-1]
    blocks = _numbered(self, '_ConvBlock', [
        _ConvBlock(*nm, num_axes) for nm in (
            (channels, features[0]), *pairs, *((2 * n, n) for n, _ in up))])
    self._down, self._join = blocks[:len(features)], blocks[len(features):]
    self._up = _numbered(
        self, 'Conv', [_conv(m, n, num_axes=num_axes) for n, m in up])
    self._pool = functional.max_pool3d if num_axes == 3 else (
        functional.max_pool2d)
    self.head = (nn.Conv3d if num_axes == 3 else nn.Conv2d)(features[0], 2, 1)

  def forward(self, x):
    skips = []
    for block in self._down:
      x = block(self._pool(x, 2) if skips else x)
      skips.append(x)
    del skips[-1]
    for up, join in zip(self._up, self._join, strict=True):
      x = join(torch.cat([skips.pop(), up(_twice_as_large(x))], 1))
    return self.head(x.float())


class _Strided(nn.Conv2d):
  """A convolution with TensorFlow's padding.

  If the padding is odd, the end of an axis gets one pixel more than its start.
  """

  def forward(self, x):
    pads = []
    for size, width, stride in zip(
        x.shape[:1:-1], self.kernel_size, self.stride, strict=True):
      total = max((-(-size // stride) - 1) * stride + width - size, 0)
      pads += [total // 2, total - total // 2]
    return super().forward(functional.pad(x, pads))


class _Block(nn.Module):

  def __init__(self, n, width, stride, expansion, m):
    super().__init__()
    inner = n * expansion
    self.expand = nn.Conv2d(n, inner, 1) if expansion != 1 else None
    self.depthwise = (
        nn.Conv2d(inner, inner, width, padding=width // 2, groups=inner)
        if stride == 1 else
        _Strided(inner, inner, width, stride, groups=inner))
    self.project = nn.Conv2d(inner, m, 1)
    self._adds = stride == 1 and n == m

  def forward(self, x):
    y = x
    if self.expand is not None:
      y = functional.relu6(self.expand(y), inplace=True)
    y = functional.relu6(self.depthwise(y), inplace=True)
    y = self.project(y)
    return x + y if self._adds else y


class _Backbone(nn.Module):

  def __init__(self, frozen_until):
    super().__init__()
    self.stem = _Strided(3, 32, 3, 2)
    widths = [32, *(block[-1] for block in efficientnet_lite.BLOCKS)]
    self._blocks = _numbered(self, 'block', [
        _Block(n, *block) for n, block in zip(
            widths, efficientnet_lite.BLOCKS, strict=False)])
    if frozen_until:
      for layer in (self.stem, *self._blocks[:frozen_until]):
        layer.requires_grad_(False)

  def forward(self, x):
    x = functional.relu6(self.stem((255 * x - 127) / 128), inplace=True)
    outputs = []
    for block in self._blocks:
      x = block(x)
      outputs.append(x)
    return [outputs[number] for number in efficientnet_lite.SKIP_BLOCKS]


class EfficientNetUNet(nn.Module):
  """The twin of `encoder_unet.EfficientNetUNet` with two classes."""

  def __init__(self, decoder_features: Sequence[int], frozen_until: int):
    super().__init__()
    self.backbone = _Backbone(frozen_until)
    *skips, last = (efficientnet_lite.BLOCKS[number][-1]
                    for number in efficientnet_lite.SKIP_BLOCKS)
    before = decoder_features[0]
    convs, norms = [_conv(last, before, 1)], [_norm(last), _norm(before)]
    for skip, after in zip(reversed(skips), decoder_features, strict=True):
      convs.append(_conv(skip + before, after))
      norms += [_norm(skip), _norm(after)]
      before = after
    self._convs = _numbered(self, 'Conv', convs)
    self._norms = _numbered(self, 'GroupNorm', norms)
    self.head = nn.Conv2d(before, 2, 1)

  def forward(self, images):
    *skips, x = self.backbone(images)
    x = _relu(self._norms[1](self._convs[0](self._norms[0](x))))
    for number, skip in enumerate(reversed(skips), 1):
      x = _twice_as_large(x)[:, :, :skip.shape[2], :skip.shape[3]]
      x = torch.cat([self._norms[2 * number](skip), x], 1)
      x = _relu(self._norms[2 * number + 1](self._convs[number](x)))
    return functional.interpolate(
        self.head(x.float()), images.shape[2:], mode='bilinear')


class PlainStep:
  """The step of `plain_step` in torch; calling it updates the parameters.

  Args:
    net: the network.
    images: float [B, ..., C], pictures or volumes.
    labels: classes, int [B, ...].
    dtype: dtype of convolutions and activations.
  """

  def __init__(
      self, net: nn.Module, images: np.ndarray, labels: np.ndarray,
      *, dtype: str = 'float32'):
    torch.backends.cudnn.benchmark = True
    use_tf32(True)
    layout = torch.channels_last_3d if np.ndim(images) == 5 else (
        torch.channels_last)
    self.net = net.to(DEVICE, memory_format=layout)
    self._dtype = torch.bfloat16 if dtype == 'bfloat16' else None
    self._optimizer = torch.optim.AdamW(
        [p for p in net.parameters() if p.requires_grad],
        plain_step.LEARNING_RATE, weight_decay=plain_step.WEIGHT_DECAY,
        fused=True)
    self._x = torch.tensor(np.asarray(images)).movedim(-1, 1).to(
        DEVICE, memory_format=layout)
    self._y = torch.tensor(np.asarray(labels)).long().to(DEVICE)

  def _backward(self):
    with torch.autocast(DEVICE, self._dtype, enabled=self._dtype is not None):
      logits = self.net(self._x)
    logits = logits.float()
    probs = torch.softmax(logits, 1)
    y = functional.one_hot(self._y, 2).movedim(-1, 1)
    space = tuple(range(2, y.ndim))
    ratio = (2 * (probs * y).sum(space) + 1) / ((probs + y).sum(space) + 1)
    loss = functional.cross_entropy(logits, self._y) + (1 - ratio).mean()
    self._optimizer.zero_grad(set_to_none=True)
    loss.backward()
    return logits

  def gradients(self) -> tuple[Mapping[str, np.ndarray], np.ndarray]:
    """Returns the gradients, by parameter name, and the logits [B, ..., 2].

    Frozen parameters have gradients of 0.
    """
    logits = self._backward().detach().movedim(1, -1)
    return {
        name: (torch.zeros_like(p) if p.grad is None else p.grad).cpu().numpy()
        for name, p in self.net.named_parameters()}, logits.cpu().numpy()

  def __call__(self) -> None:
    self._backward()
    self._optimizer.step()


def load(net: nn.Module, params: Mapping[str, np.ndarray]) -> None:
  """Copies parameters, as returned by `plain_step.as_torch`, into a network.

  Raises:
    RuntimeError: if names or shapes differ.
  """
  net.load_state_dict({
      name: torch.tensor(value) for name, value in params.items()})


def use_tf32(use: bool) -> None:
  """Sets whether torch may use TF32 for float32 products on a GPU.

  JAX uses TF32 by default.
  """
  torch.backends.cuda.matmul.allow_tf32 = use
  torch.backends.cudnn.allow_tf32 = use


def wait(unused_result: None) -> None:
  """Waits until the GPU has finished its work; on a CPU, returns at once."""
  if DEVICE == 'cuda':
    torch.cuda.synchronize()
