"""Tests for experiments.building.torch_file and imagenet_package."""

import collections
import hashlib
import os
import pathlib
import pickle
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from experiments import binary
from experiments.building import imagenet_package
from experiments.building import torch_file
from tests import tiny


class _Name:
  """A global of any module, which `_Pickler` writes without importing it.

  If there are arguments, the file calls the global with them.
  """

  def __init__(self, name, *args):
    self.name, self.args = name, args


class _Pickler(pickle._Pickler):
  """Pickles `_Name` objects and the storages of tensors as PyTorch does."""

  def save(self, obj, *rest, **options):
    if isinstance(obj, _Name):
      module, name = obj.name.rsplit('.', 1)
      self.write(pickle.GLOBAL + f'{module}\n{name}\n'.encode())
      if obj.args:
        self.save(obj.args)
        self.write(pickle.REDUCE)
      return
    super().save(obj, *rest, **options)

  def persistent_id(self, obj):
    return obj[1:] if isinstance(obj, tuple) and obj[:1] == ('pid',) else None


def _write(path, arrays, *, magic=torch_file._MAGIC, extra=None, cut=0):
  """Writes arrays to a file in the format of PyTorch 1.5."""
  tensors = collections.OrderedDict()
  for key, array in arrays.items():
    kind = {'f4': 'Float', 'f2': 'Half', 'f8': 'Double', 'i8': 'Long'}[
        array.dtype.str[1:]]
    storage = ('pid', 'storage', _Name(f'torch.{kind}Storage'), key, 'cpu',
               array.size, None)
    strides = tuple(s // array.itemsize for s in array.strides)
    tensors[key] = _Name(
        'torch._utils._rebuild_tensor_v2', storage, 0, array.shape, strides,
        False, collections.OrderedDict())
  if extra is not None:
    tensors['extra'] = extra
  with open(path, 'wb') as file:
    for value in (magic, 1001, {}, tensors, list(arrays)):
      _Pickler(file, 2).dump(value)
    for array in arrays.values():
      file.write(array.size.to_bytes(8, 'little') + array.tobytes())
  if cut:
    os.truncate(path, os.path.getsize(path) - cut)


_ARRAYS = {
    'a.weight': np.arange(6, dtype=np.float32).reshape(2, 3),
    'a.count': np.array(7)}


class ReadLegacyTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self._path = os.path.join(tiny.temp_dir(self), 'w.pth')

  def test_arrays_come_back(self):
    _write(self._path, _ARRAYS)
    found = torch_file.read_legacy(self._path)
    self.assertEqual(list(found), list(_ARRAYS))
    for name, array in _ARRAYS.items():
      np.testing.assert_array_equal(found[name], array)
      self.assertEqual(found[name].dtype, array.dtype)

  @parameterized.parameters(np.float16, np.float64)
  def test_other_floats_come_back(self, dtype):
    array = np.arange(6, dtype=dtype).reshape(2, 3)
    _write(self._path, {'a': array})
    np.testing.assert_array_equal(
        torch_file.read_legacy(self._path)['a'], array)

  @parameterized.parameters(
      (_Name('torch._utils._rebuild_parameter', 1, 2, 3),
       "names 'torch._utils._rebuild_parameter': save a state_dict alone"),
      (3, 'more than a state_dict'))
  def test_more_than_arrays(self, extra, message):
    _write(self._path, _ARRAYS, extra=extra)
    with self.assertRaisesRegex(ValueError, message):
      torch_file.read_legacy(self._path)

  def test_a_name_that_no_weights_need_ends_the_reading(self):
    # This function is harmless, but the reader must refuse the name without
    # calling the function.
    _write(self._path, _ARRAYS, extra=_Name('colorsys.rgb_to_hsv', 1, 1, 1))
    with mock.patch('colorsys.rgb_to_hsv') as called:
      with self.assertRaisesRegex(ValueError, "names 'colorsys.rgb_to_hsv'"):
        torch_file.read_legacy(self._path)
    called.assert_not_called()

  def test_a_storage_that_ends_too_early(self):
    _write(self._path, _ARRAYS, cut=4)
    with self.assertRaisesRegex(ValueError, 'ends too early'):
      torch_file.read_legacy(self._path)

  @parameterized.parameters(b'', b'PK\x03\x04 a zip', b'\x80\x02K\x01.')
  def test_other_files(self, content):
    pathlib.Path(self._path).write_bytes(content)
    with self.assertRaisesRegex(ValueError, 'it is no file|cannot be read'):
      torch_file.read_legacy(self._path)

  def test_a_view_outside_of_its_storage(self):
    tensor = _Name(
        'torch._utils._rebuild_tensor_v2',
        ('pid', 'storage', _Name('torch.FloatStorage'), 'a.weight', 'cpu', 6,
         None), 4, (2, 3), (3, 1), False, collections.OrderedDict())
    _write(self._path, _ARRAYS, extra=tensor)
    with self.assertRaisesRegex(ValueError, 'outside of its storage'):
      torch_file.read_legacy(self._path)

  def test_a_view_that_repeats_its_numbers(self):
    tensor = _Name(
        'torch._utils._rebuild_tensor_v2',
        ('pid', 'storage', _Name('torch.FloatStorage'), 'a.weight', 'cpu', 6,
         None), 0, (5, 6), (0, 1), False, collections.OrderedDict())
    _write(self._path, _ARRAYS, extra=tensor)
    with self.assertRaisesRegex(ValueError, 'repeats its numbers'):
      torch_file.read_legacy(self._path)


class FindTest(absltest.TestCase):

  def test_the_installed_file_is_the_known_one(self):
    with open(imagenet_package.find(), 'rb') as file:
      self.assertEqual(
          hashlib.sha256(file.read()).hexdigest(), imagenet_package.SHA256)

  def test_another_file_is_refused(self):
    with mock.patch.object(imagenet_package, 'SHA256', '0' * 64):
      with self.assertRaisesRegex(
          binary.UserError, 'sha256 is 579344248a93.*, not the') as caught:
        imagenet_package.find()
    self.assertLessEqual(len(str(caught.exception)), 193)  # With "Error: ".

  def test_no_package(self):
    with mock.patch.object(imagenet_package, 'PACKAGE', 'no_such_package'):
      with self.assertRaisesRegex(binary.UserError, r'\[pretrained\]'):
        imagenet_package.find()


if __name__ == '__main__':
  absltest.main()
