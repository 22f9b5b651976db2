"""Packs trees of values and arrays into bytes, which execute nothing."""

import io
import json
from typing import Any

import numpy as np


def pack(tree: Any) -> bytes:
  """Returns a tree as bytes: JSON, and the arrays in it as NumPy stores them.

  Args:
    tree: tree of dictionaries with strings as keys, sequences, arrays without
      objects, strings, numbers, booleans and None.
  """
  arrays = []

  def encode(x):
    if isinstance(x, np.ndarray):
      arrays.append(x)
      return {'': len(arrays) - 1}
    if isinstance(x, dict):
      return {name: encode(value) for name, value in x.items()}
    if isinstance(x, (list, tuple)):
      return [encode(value) for value in x]
    return x.item() if isinstance(x, np.generic) else x

  text = json.dumps(encode(tree)).encode()
  file = io.BytesIO()
  for array in (np.frombuffer(text, np.uint8), *arrays):
    np.lib.format.write_array(file, np.asarray(array), allow_pickle=False)
  return file.getvalue()


def unpack(data: bytes) -> Any:
  """Returns the tree of `pack`, with lists for all sequences."""
  file, arrays = io.BytesIO(data), []
  while file.tell() < len(data):
    arrays.append(np.lib.format.read_array(file, allow_pickle=False))

  def decode(x):
    if isinstance(x, dict):
      return arrays[1 + x['']] if '' in x else {
          name: decode(value) for name, value in x.items()}
    return [*map(decode, x)] if isinstance(x, list) else x

  return decode(json.loads(arrays[0].tobytes()))
