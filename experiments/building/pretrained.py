"""Reads ImageNet weights from a file or a package, for the start of a run.

A run that is resumed does not need them any more, because its checkpoints hold
all parameters.
"""

from collections.abc import Mapping
import importlib.util
import os
import pickle
from typing import Any
import zipfile

from hybridseg import train_step as train_step_lib
from hybridseg import types
from hybridseg.models import efficientnet_lite
from hybridseg.models import resnet
import jax
import numpy as np
import safetensors
from safetensors import numpy as safetensors_numpy

from experiments import binary
from experiments.building import imagenet_package
from experiments.building import pieces
from experiments.building import torch_file

# This value of `model.weights` selects the weights in the package that the
# extra [pretrained] installs.
INSTALLED = 'installed'


def check(model: pieces.Model) -> None:
  """Checks that `model.weights` fits the network, without reading the file.

  Raises:
    ValueError: if the weights do not fit.
  """
  weights = model.weights
  if model.name != pieces.EFFICIENTNET and model.encoder_rate != 1:
    raise ValueError(
        f'model.encoder_rate is {model.encoder_rate}, which is for the network '
        f'{pieces.EFFICIENTNET!r}: use 1.')
  if model.name == pieces.EFFICIENTNET:
    if not weights:
      raise ValueError(
          f"the network {model.name!r} has no BatchNorm and starts from "
          f"ImageNet's weights: set model.weights='{INSTALLED}', or their "
          'file.')
    return
  frozen = model.options.get('norm') == 'frozen_batch'
  if weights and not frozen:
    raise ValueError(
        f"model.weights is {weights!r}: set model.options.norm='frozen_batch' "
        'too, which is how a network uses them.')
  if frozen and not weights:
    raise ValueError(
        "model.options.norm='frozen_batch' is for ImageNet's weights: give "
        "their file as model.weights, or use norm='group'.")


def read(model: pieces.Model) -> types.Params | None:
  """Reads the parameters of the encoder from `model.weights`, if it is set.

  Args:
    model: `weights` is '', `INSTALLED`, or the path of a file that holds a
      PyTorch `state_dict`: .safetensors, .npz or .pth. Reading a .pth file of a
      ResNet needs torch; reading the .pth file of EfficientNet-Lite0 does not.
      `options` holds the depth of a ResNet.

  Returns:
    The parameters; None if `weights` is ''.

  Raises:
    binary.UserError: if the file cannot be read, or is for another network.
  """
  path = model.weights
  if not path:
    return None
  is_efficientnet = model.name == pieces.EFFICIENTNET
  readers = _READERS
  if is_efficientnet:
    readers = _READERS | {'.pth': torch_file.read_legacy}
    if path == INSTALLED:
      path = imagenet_package.find()
  suffix = os.path.splitext(path)[1]
  if suffix not in readers:
    raise binary.UserError(
        f'model.weights={path}: use a file that ends with '
        f'{", ".join(readers)}.')
  try:
    state = readers[suffix](path)
    if is_efficientnet:
      return efficientnet_lite.params_from_pytorch(state)
    return resnet.params_from_torchvision(state, depth=model.options['depth'])
  except OSError as e:
    raise binary.UserError(
        f'model.weights={path} cannot be read: {e.strerror or e}.') from e
  except (EOFError, RuntimeError, TypeError, ValueError, pickle.PickleError,
          safetensors.SafetensorError, zipfile.BadZipFile) as e:
    line = (str(e).strip().splitlines() or [type(e).__name__])[0]
    raise binary.UserError(
        f'model.weights={path} does not fit: {line}') from e


def start_from(
    state: train_step_lib.TrainState, backbone: types.Params | None
) -> train_step_lib.TrainState:
  """Returns a new run's state with a pretrained backbone in both networks.

  The decoders and heads keep their random parameters, which are then the only
  difference between the two networks.

  Args:
    state: state from `parts.Network.init_fn`.
    backbone: parameters from `read`; with None, the state is returned as it is.
  """
  if backbone is None:
    return state
  # A training step donates the state's buffers, which is an error if a buffer
  # appears in the state twice. Each network therefore needs its own copy.
  # Copy on the host: a copy on a device compiles one program for each shape.
  copy = lambda tree: jax.tree.map(
      lambda x: jax.device_put(np.array(x)), tree)
  params = tuple(p | {'backbone': copy(backbone)} for p in state.params)
  teachers = None if state.teachers is None else copy(params)
  return state._replace(params=params, teachers=teachers)


def _read_npz(path: str) -> Mapping[str, np.ndarray]:
  with np.load(path, allow_pickle=False) as arrays:
    return dict(arrays)


def _read_torch(path: str) -> Mapping[str, Any]:
  if importlib.util.find_spec('torch') is None:
    raise binary.UserError(
        f'model.weights={path}: torch is not installed here to read it: '
        'convert it where torch is, to .safetensors or .npz: see '
        'docs/networks.md.')
  import torch  # It is slow to import, and not installed everywhere.

  state = torch.load(path, map_location='cpu', weights_only=True)
  if not all(isinstance(x, torch.Tensor) for x in state.values()):
    raise ValueError('it holds more than a state_dict: save that alone.')
  return {name: x.float().numpy() for name, x in state.items()}


_READERS = {
    '.safetensors': safetensors_numpy.load_file,
    '.npz': _read_npz,
    '.pth': _read_torch,
}
