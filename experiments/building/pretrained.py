"""Reads ImageNet weights from a file or a package, for the start of a run.

A run that is resumed does not need them any more, because its checkpoints hold
all parameters.
"""

import os

from data_prep.shared import pixels
from hybridseg import train_step as train_step_lib
from hybridseg import types
from hybridseg.models import efficientnet_lite
from hybridseg.models import resnet
import jax
import numpy as np

from experiments import binary
from experiments.building import imagenet_package
from experiments.building import pieces
from experiments.building import weight_files

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
  if path == INSTALLED and is_efficientnet:
    path = imagenet_package.find()
  where = f'model.weights={pixels.tail(path)}'
  if os.path.splitext(path)[1] not in weight_files.SUFFIXES:
    raise binary.UserError(
        f'{where}: use a file that ends with '
        f'{", ".join(weight_files.SUFFIXES)}.')
  try:
    state = weight_files.read(path, legacy_torch=is_efficientnet)
    if is_efficientnet:
      return efficientnet_lite.params_from_pytorch(state)
    return resnet.params_from_torchvision(state, depth=model.options['depth'])
  except OSError as e:
    raise binary.UserError(
        f'{where} cannot be read: {e.strerror or e}.') from e
  except ValueError as e:
    raise binary.UserError(f'{where} does not fit: {e}') from e


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
