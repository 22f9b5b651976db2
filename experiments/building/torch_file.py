"""Reads arrays from old PyTorch files, without PyTorch.

A file from before PyTorch 1.6 is a sequence of pickles: a magic number, a
protocol number, the sizes of C types, the saved object, and the keys of its
storages. The storages follow, each as its length (int64) and its raw values.

A pickle may name functions to call, which lets a hostile file run code. This
module therefore accepts only a few names and replaces them with harmless
objects of its own; at any other name, it stops with an error.
"""

import collections
import os
import pickle
from typing import Any

import numpy as np

_MAGIC = 0x1950A86A20F9469CFC6C
_MAX_BYTES = 2**30
_STORAGES = {
    'FloatStorage': np.dtype('<f4'), 'LongStorage': np.dtype('<i8'),
    'HalfStorage': np.dtype('<f2'), 'DoubleStorage': np.dtype('<f8')}


class _Storage:
  """A storage in the file; its values are read later, after all pickles."""

  def __init__(self, dtype: np.dtype, size: int):
    self.dtype, self.size, self.values = dtype, size, None


class _Tensor:
  """A tensor, described by its position, shape and strides within a storage.

  The values of the storage are read later.
  """

  def __init__(self, storage, offset, shape, strides, *unused):
    self.view = storage, offset, shape, strides

  def to_array(self) -> np.ndarray:
    storage, offset, shape, strides = self.view
    last = offset + sum(
        (n - 1) * s for n, s in zip(shape, strides, strict=True))
    if not isinstance(storage, _Storage) or offset < 0 or min(
        [*shape, *strides, 1]) < 0 or (
            np.prod(shape, dtype=object) and last >= storage.size):
      raise ValueError('a tensor lies outside of its storage')
    # `Tensor.expand` repeats numbers by a stride of 0, which costs no memory in
    # the file. No weights need this, and a copy could fill the memory.
    if np.prod(shape, dtype=object) > storage.size:
      raise ValueError('a tensor repeats its numbers: save a contiguous copy')
    size = storage.dtype.itemsize
    return np.lib.stride_tricks.as_strided(
        storage.values[offset:], shape, [s * size for s in strides]).copy()


class _Unpickler(pickle.Unpickler):
  """An unpickler that accepts only the names that a `state_dict` needs.

  It also creates a storage for each persistent id, as PyTorch does.
  """

  _KNOWN = {('collections', 'OrderedDict'): collections.OrderedDict,
            ('torch._utils', '_rebuild_tensor_v2'): _Tensor}

  def __init__(self, file, storages):
    super().__init__(file)
    self._storages = storages

  def find_class(self, module: str, name: str) -> Any:
    if (module, name) in self._KNOWN:
      return self._KNOWN[module, name]
    if module == 'torch' and name in _STORAGES:
      return _STORAGES[name]
    shown = f'{module}.{name}'[:50]
    if module.partition('.')[0] == 'torch':  # Such as parameters or bfloat16.
      raise pickle.UnpicklingError(
          f'it names {shown!r}: save a state_dict alone, as float32')
    raise pickle.UnpicklingError(
        f'it names {shown!r}, which no file of weights needs')

  def persistent_load(self, pid: Any) -> _Storage:
    _, dtype, key, _, size, *_ = pid
    return self._storages.setdefault(key, _Storage(dtype, int(size)))


def read_legacy(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
  """Returns the arrays of a `state_dict` that an old version of PyTorch saved.

  Args:
    path: file that PyTorch saved in its format from before 1.6, which is not a
      zip file.

  Returns:
    A dictionary from names to arrays, of floats or int64.

  Raises:
    ValueError: if the file has another format, is damaged, or holds objects
      other than arrays; the message is one line.
    OSError: if the file cannot be read.
  """
  if os.path.getsize(path) > _MAX_BYTES:
    raise ValueError(f'it is larger than {_MAX_BYTES >> 20} MiB')
  storages = {}
  with open(path, 'rb') as file:
    load = lambda: _Unpickler(file, storages).load()
    try:
      if load() != _MAGIC:
        raise ValueError('it is no file of PyTorch before 1.6')
      load(), load()  # Skip the protocol number and the sizes of C types.
      tensors, keys = load(), load()
      for key in keys:
        storage = storages[key]
        size = int.from_bytes(file.read(8), 'little')
        content = file.read(size * storage.dtype.itemsize)
        if size != storage.size or len(content) != (
            size * storage.dtype.itemsize):
          raise ValueError('it ends too early')
        storage.values = np.frombuffer(content, storage.dtype)
      if not isinstance(tensors, dict) or not all(
          isinstance(tensor, _Tensor) for tensor in tensors.values()):
        raise ValueError('it holds more than a state_dict: save that alone')
      return {str(name): tensor.to_array() for name, tensor in tensors.items()}
    except ValueError:
      raise
    except Exception as e:  # A malformed pickle may raise any error.
      line = ' '.join(str(e).split())[:120] or type(e).__name__
      raise ValueError(f'it cannot be read: {line}') from e
