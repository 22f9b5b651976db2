"""Tests for experiments.exporting.artefacts and model_card, on a tiny run."""

from importlib import metadata
import json
import os
import pathlib
import shutil
import subprocess
import sys
from unittest import mock

from absl.testing import absltest
from flax import traverse_util
from hybridseg import augmentation
from hybridseg import inference
from hybridseg import models
import jax
import numpy as np
from safetensors import numpy as safetensors_numpy

from experiments import binary
from experiments.exporting import artefacts
from experiments.exporting import model_card
from experiments.prediction import predictor as predictor_lib
from experiments.saving import run_folder
from experiments.saving import run_schema
from tests import tiny

# The code of a user who has JAX and the exported file, but not this project.
_WITH_JAX_ALONE = """
import sys
import jax
from jax import export
import numpy as np
images = np.load(sys.argv[2])
with open(sys.argv[1], 'rb') as f:
  call = export.deserialize(f.read()).call
labels, probabilities = jax.jit(call)(images)
np.savez(sys.argv[3], labels=labels, probabilities=probabilities)
assert not any(m.startswith(('flax', 'hybridseg')) for m in sys.modules)
"""


def _converter_lags():
  """Returns whether jax2onnx lacks support for the installed JAX.

  Version 0.17 of jax2onnx uses functions that JAX 0.12 removed. The other files
  are exported nevertheless.
  """
  return jax.__version_info__ >= (0, 12) and (
      metadata.version('jax2onnx').startswith('0.17.'))


class ArtefactsTest(absltest.TestCase):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.predictor = predictor_lib.load(tiny.run_dir())
    cls.folder = pathlib.Path(tiny.temp_dir(cls), 'model')
    cls.lines = artefacts.write(
        cls.predictor, tiny.run_dir(), str(cls.folder))
    rng = np.random.default_rng(1)
    cls.images = rng.integers(
        0, 256, (5, *cls.predictor.dataset.image_shape), dtype=np.uint8)
    cls.expected = jax.device_get(
        jax.jit(artefacts.model_fn(cls.predictor))(cls.images))

  addCleanup = classmethod(lambda cls, fn: cls.addClassCleanup(fn))

  def test_stablehlo_with_jax_alone_is_the_live_model_bit_for_bit(self):
    folder = tiny.temp_dir(self)
    paths = [os.path.join(folder, name) for name in ('in.npy', 'out.npz')]
    np.save(paths[0], self.images)
    subprocess.run(
        [sys.executable, '-c', _WITH_JAX_ALONE,
         str(self.folder / 'model.stablehlo'), *paths],
        check=True, cwd=folder, env=os.environ | {'PYTHONPATH': ''})
    with np.load(paths[1]) as found:
      self.assertEqual(found['labels'].dtype, np.uint8)
      np.testing.assert_array_equal(found['labels'], self.expected[0])
      np.testing.assert_array_equal(found['probabilities'], self.expected[1])

  def test_onnx(self):
    try:
      import onnxruntime
    except ImportError:
      self.skipTest('onnxruntime is not installed.')
    if _converter_lags():
      self.skipTest('jax2onnx does not know this JAX.')
    session = onnxruntime.InferenceSession(
        (self.folder / 'model.onnx').read_bytes())
    labels, probabilities = session.run(None, {'images': self.images})
    np.testing.assert_allclose(probabilities, self.expected[1], atol=1e-4)
    self.assertLess(np.mean(labels != self.expected[0]), 1e-3)
    one = session.run(None, {'images': self.images[:1]})[0]
    np.testing.assert_array_equal(one, labels[:1])

  def test_weights_in_five_lines(self):
    flat = safetensors_numpy.load_file(self.folder / 'weights.safetensors')
    trees = traverse_util.unflatten_dict(flat, sep='/')
    config = json.loads((self.folder / 'model.json').read_text())
    model = models.build(
        config['model']['name'], num_classes=len(config['classes']),
        options=config['model']['options'])
    predict = jax.jit(inference.make_predict_step(
        lambda p, x: model.apply({'params': p}, x),
        image_fn=augmentation.to_float))
    found = predict((trees['0'], trees['1']), self.images)
    np.testing.assert_allclose(
        found.probabilities, self.expected[1], atol=1e-6)

  def test_what_is_said(self):
    text = '\n'.join(self.lines)
    self.assertIn('bit for bit', text)
    if _converter_lags():
      self.assertIn('model.onnx           not written: the converter', text)
    else:
      self.assertNotIn('not written', text, text)
    config = json.loads((self.folder / 'model.json').read_text())
    self.assertEqual(config['classes'][0], 'background')
    self.assertEqual(config['input']['shape'],
                     ['b', *self.predictor.dataset.image_shape])
    self.assertEqual(config['networks_sha256'], self.predictor.digest)

  def test_refuses_what_is_there_and_what_differs(self):
    with self.assertRaisesRegex(binary.UserError, 'exists'):
      artefacts.write(self.predictor, tiny.run_dir(), str(self.folder))
    output = os.path.join(tiny.temp_dir(self), 'model')
    other = predictor_lib.load(tiny.run_dir(), network='0')
    content = artefacts.to_stablehlo(other)
    with mock.patch.object(artefacts, 'to_stablehlo', lambda p: content):
      with self.assertRaisesRegex(binary.UserError, 'not the live model'):
        artefacts.write(self.predictor, tiny.run_dir(), output)
    self.assertEqual(os.listdir(os.path.dirname(output)), [])

  def test_a_converter_that_fails_leaves_the_rest(self):
    output = os.path.join(tiny.temp_dir(self), 'model')
    failing = mock.Mock(side_effect=TypeError('no such primitive'))
    with mock.patch.object(artefacts, 'to_onnx', failing):
      lines = artefacts.write(self.predictor, tiny.run_dir(), output)
    self.assertIn('no such primitive', '\n'.join(lines))
    self.assertNotIn('model.onnx', os.listdir(output))
    self.assertIn('model.stablehlo', os.listdir(output))


class ModelCardTest(absltest.TestCase):

  def test_card_of_a_run(self):
    predictor = predictor_lib.load(tiny.run_dir())
    card = model_card.write(predictor, tiny.run_dir())
    results = run_schema.read(
        os.path.join(tiny.run_dir(), 'metrics.json'))['test']
    self.assertIn(f'| all | Dice | {results["dice"]:.3f} (', card)
    self.assertIn('- weak labels: 32 polygon; faults were planted in', card)
    self.assertIn(predictor.dataset.fingerprint, card)
    self.assertIn('Not a medical device', card)
    self.assertIn('10 test, 8 train strong, 32 train weak, 6 val', card)

  def test_metrics_of_another_step_are_not_taken(self):
    workdir = os.path.join(tiny.temp_dir(self), 'run')
    shutil.copytree(tiny.run_dir(), workdir)
    path = os.path.join(workdir, 'metrics.json')
    run_folder.write_json(path, run_schema.read(path) | {'step': 3})
    card = model_card.write(predictor_lib.load(workdir), workdir)
    self.assertIn('Not evaluated at this step', card)
    self.assertNotIn('| all |', card)

  def test_hostile_class_names_stay_text(self):
    predictor = predictor_lib.load(tiny.run_dir())
    predictor = predictor._replace(dataset=predictor.dataset._replace(
        classes=('background', '<b>|x')))
    card = model_card.write(predictor, tiny.temp_dir(self))
    self.assertIn(r'\<b\>\|x', card)


if __name__ == '__main__':
  absltest.main()
