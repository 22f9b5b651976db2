"""ImageNet weights that a user has as a file, for the start of a run.

After that, a run's folder is enough: its checkpoints hold all parameters.
"""

from collections.abc import Mapping
import importlib.util
import os
import pickle
from typing import Any
import zipfile

from hybridseg import train_step as train_step_lib
from hybridseg import types
from hybridseg.models import resnet
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import safetensors
from safetensors import numpy as safetensors_numpy

from experiments import binary


def check(model: ml_collections.ConfigDict) -> None:
  """Sees that `model.weights` and `model.options.norm` fit; reads no file.

  Raises:
    ValueError: if one is given without the other.
  """
  weights = model.get('weights', '')
  frozen = model.options.get('norm') == 'frozen_batch'
  if weights and not frozen:
    raise ValueError(
        f"model.weights is {weights!r}: set model.options.norm='frozen_batch' "
        'too, which is how a network uses them.')
  if frozen and not weights:
    raise ValueError(
        "model.options.norm='frozen_batch' is for ImageNet's weights: give "
        "their file as model.weights, or use norm='group'.")


def read(model: ml_collections.ConfigDict) -> types.Params | None:
  """Returns the backbone's parameters from the file `model.weights`, if any.

  Args:
    model: of a config: weights, '' or a file of a ResNet's `state_dict` as
      torchvision or timm has it, .safetensors, .npz, or .pth where torch is
      installed; options, with its depth.

  Raises:
    binary.UserError: if the file cannot be read, or is of another network.
  """
  path = model.get('weights', '')
  if not path:
    return None
  suffix = os.path.splitext(path)[1]
  if suffix not in _READERS:
    raise binary.UserError(
        f'model.weights={path}: use a file that ends with '
        f'{", ".join(_READERS)}.')
  try:
    state = _READERS[suffix](path)
    return resnet.params_from_torchvision(state, depth=model.options.depth)
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
  """Puts a backbone into both networks of a state before its first update.

  Decoders and heads stay as they are: in them, the two networks differ.

  Args:
    state: from `parts.Parts.init_fn`.
    backbone: from `read`; with None, the state stays as it is.
  """
  if backbone is None:
    return state
  # Copies, each time: states are donated.
  copy = lambda tree: jax.tree.map(jnp.array, tree)
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
        'convert it where torch is, to .safetensors or .npz: see Networks in '
        'the README.')
  import torch  # Heavy, and not everybody's.

  state = torch.load(path, map_location='cpu', weights_only=True)
  if not all(isinstance(x, torch.Tensor) for x in state.values()):
    raise ValueError('it holds more than a state_dict: save that alone.')
  return {name: x.float().numpy() for name, x in state.items()}


_READERS = {
    '.safetensors': safetensors_numpy.load_file,
    '.npz': _read_npz,
    '.pth': _read_torch,
}
