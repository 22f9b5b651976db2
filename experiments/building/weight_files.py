"""Reads the arrays of a file of weights, after a look at what the file is."""

from collections.abc import Mapping
import importlib.util
import os
import pickle
import struct
from typing import Any
import zipfile

import numpy as np
import safetensors
from safetensors import numpy as safetensors_numpy

from experiments.building import torch_file

SUFFIXES = ('.safetensors', '.npz', '.pth')
_PARALLEL = 'module.'
# Unlike safetensors, NumPy also saves arrays that are not contiguous, such as
# those of networks that were trained as channels_last.
_CONVERT = "convert it with torch: numpy.savez('a.npz', **torch.load('a.pth'))"
_ZIP, _NPY, _PICKLE = 'a zip file of PyTorch', 'a single array', 'a pickle'
_AGAIN = 'download it again'
# Maps each format to what the user should do with such a file where it cannot
# be read.
_ADVICE = {
    _ZIP: _CONVERT,
    _NPY: 'give all arrays of a state_dict in one .safetensors or .npz',
    _PICKLE: _CONVERT,
    'empty': _AGAIN,
    'a web page': _AGAIN,
    'a pointer of Git LFS': 'fetch the file itself with git lfs pull',
    '.npz': 'let its name end with .npz',
    '.safetensors': 'let its name end with .safetensors',
}


def read(path: str, *, legacy_torch: bool) -> Mapping[str, Any]:
  """Reads a PyTorch `state_dict`.

  No code of the file is run.

  Args:
    path: file that ends with one of `SUFFIXES`.
    legacy_torch: whether a .pth file has the format of PyTorch before 1.6,
      which can be read without torch. Otherwise, torch reads it.

  Returns:
    A mapping from names to arrays.

  Raises:
    ValueError: if the file has another format than its name says, is damaged,
      or holds anything but arrays; the message is one line.
    OSError: if the file cannot be read.
  """
  suffix = os.path.splitext(path)[1]
  kind = _kind(path)
  known = {'.npz': ('.npz',), '.safetensors': ('.safetensors',), '.pth': (
      _PICKLE,) if legacy_torch else (_PICKLE, _ZIP)}[suffix]
  if kind and kind not in known:
    raise ValueError(f'it is {_with_article(kind)}: {_ADVICE[kind]}.')
  if suffix == '.pth' and not kind:
    raise ValueError(f'it is no file of PyTorch, or is damaged: {_AGAIN}.')
  if suffix == '.npz':
    read_fn = _read_npz
  elif suffix == '.safetensors':
    read_fn = safetensors_numpy.load_file
  else:
    read_fn = torch_file.read_legacy if legacy_torch else _read_torch
  try:
    state = read_fn(path)
    # torch.nn.DataParallel puts this before the names of a network.
    if state and all(name.startswith(_PARALLEL) for name in state):
      state = {name[len(_PARALLEL):]: x for name, x in state.items()}
    return state
  except OSError:
    raise
  except AttributeError as e:
    if suffix != '.safetensors':
      raise ValueError(
          'it holds more than a state_dict: save that alone.') from e
    raise ValueError(  # Such as the 8-bit types of safetensors.
        'it holds numbers of a type that NumPy lacks: save them as float32.'
    ) from e
  except (EOFError, LookupError, MemoryError, OverflowError, RuntimeError,
          TypeError, ValueError, pickle.PickleError,
          safetensors.SafetensorError, struct.error, zipfile.BadZipFile) as e:
    line = (str(e).strip().splitlines() or [type(e).__name__])[0]
    raise ValueError(f'{line:.110}') from e


def _with_article(kind):
  return f'a {kind} file' if kind.startswith('.') else kind


def _kind(path):
  """Returns the format of a file by its content, a key of `_ADVICE`, or ''."""
  with open(path, 'rb') as file:
    start = file.read(40)
  if not start:
    return 'empty'
  if start.startswith(b'PK'):
    try:
      with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    except zipfile.BadZipFile:
      return ''
    if any(os.path.basename(name) == 'data.pkl' for name in names):
      return _ZIP
    return '.npz' if any(name.endswith('.npy') for name in names) else ''
  if start.startswith(b'\x93NUMPY'):
    return _NPY
  # The protocols 2 to 5 start with their number.
  if start[:1] == b'\x80' and start[1:2] in (b'\2', b'\3', b'\4', b'\5'):
    return _PICKLE
  # The length of a header in JSON comes first.
  if start[8:9] == b'{' and int.from_bytes(start[:8], 'little') < (
      os.path.getsize(path)):
    return '.safetensors'
  if start.lstrip().startswith(b'<'):
    return 'a web page'
  if start.startswith(b'version https://git-lfs'):
    return 'a pointer of Git LFS'
  return ''


def _read_npz(path):
  arrays = {}
  with np.load(path, allow_pickle=False) as archive:
    for name in archive.files:
      try:
        arrays[name] = archive[name]
      except ValueError as e:
        # NumPy's own message recommends to allow pickles, which may run code.
        if 'pickle' in str(e):
          raise ValueError(f'{name!r} holds objects, not numbers.') from e
        raise
  return arrays


def _read_torch(path):
  if importlib.util.find_spec('torch') is None:
    raise ValueError(f'torch is not installed: {_CONVERT}.')
  import torch  # It is slow to import, and not installed everywhere.

  try:
    state = torch.load(path, map_location='cpu', weights_only=True)
  except pickle.UnpicklingError as e:
    # The message of torch recommends to read the file without the restriction,
    # which may run code.
    raise ValueError(
        'it holds more than arrays: save its state_dict alone.') from e
  if not isinstance(state, Mapping) or not all(
      isinstance(x, torch.Tensor) for x in state.values()):
    raise ValueError('it holds more than a state_dict: save that alone.')
  # NumPy has no bfloat16.
  return {name: (x.float() if x.is_floating_point() else x).numpy()
          for name, x in state.items()}
