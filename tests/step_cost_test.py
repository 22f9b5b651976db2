"""Tests that no change makes a training step more expensive unnoticed.

XLA reports the numbers for a network of one convolution on 4 strong and 8 weak
images of 16 x 16 pixels. A change that makes the step cheaper must update them.
"""

import json
import os
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import flax.linen as nn
from hybridseg import models
from hybridseg import types
import jax
import numpy as np

from experiments.building import input_pipeline
from experiments.configs import phantom
from experiments.saving import run_log
from experiments.training import trainer
from tests import long_only
from tests import tiny

_SIZE = 16
# Floating-point operations per device, before XLA optimises the step. All other
# methods consist of parts of these methods. CI takes the first seven.
_FLOPS = {
    'dii_dcr': 1_909_907,
    'dii_dcr_all_layers': 2_096_607,
    'paper': 1_701_672,
    'l2rw': 1_155_532,
    'meta_weight_net': 1_178_728,
    'mean_teacher': 1_626_016,
    'uniform': 1_153_017,
    'strong_only': 390_672,
    'weak_only': 1_008_155,
    'cps_cutmix': 1_407_333,
    'strong_weak': 1_153_685,
    'dii': 1_364_129,
}
# So many weak instances that any work on all their indicators would show.
_NUM_WEAK = 1_000_003
# Bytes per device that the compiled step needs for temporary values.
_TEMP_BYTES = {'dii_dcr': 237_192}
# Largest number of programs that a run may compile or read from a cache.
_PROGRAMS = 20


class _OneConv(nn.Module):

  @nn.compact
  def __call__(self, images, *, return_features=False):
    features = nn.relu(nn.Conv(4, (3, 3))(images))
    logits = nn.Conv(2, (1, 1), name='head')(features)
    return (logits, features) if return_features else logits


def _examples(num, as_array):
  shapes = dict(
      image=((_SIZE, _SIZE, 3), np.uint8), label=((_SIZE, _SIZE), np.uint8),
      instance_id=((), np.int32), kind=((), np.int32), present=((2,), bool))
  return types.Examples(**{
      name: as_array((num, *shape), dtype)
      for name, (shape, dtype) in shapes.items()})


def _dataset():
  example = _examples(1, np.zeros)
  record = {name: getattr(example, name)[0] for name in
            ('image', 'label', 'instance_id', 'kind', 'present')}
  record['truth'] = record['label']
  splits = ('train_strong', 'train_weak', 'val', 'test')
  return input_pipeline.Dataset(
      'noise', ('background', 'lesion'), (_SIZE, _SIZE, 3),
      {split: [record] * 16 for split in splits} | {
          'train_weak': [record] * _NUM_WEAK}, 'fingerprint')


def _lowered(method):
  config = phantom.get_config(f'{method},debug')
  with mock.patch.object(models, 'build', lambda *_, **__: _OneConv()):
    built = tiny.build_training(config, _dataset())
  batch = types.HybridBatch(_examples(4, np.zeros), _examples(8, np.zeros))
  return built.step_fn.lower(
      jax.eval_shape(built.network.init_fn),
      built.network.mapping.place_batch(batch), jax.random.key(0))


class StepCostTest(parameterized.TestCase):

  @parameterized.parameters(*long_only.first_of(tuple(_FLOPS), 4))
  def test_flops(self, method):
    flops = _lowered(method).cost_analysis()['flops']
    np.testing.assert_allclose(flops, _FLOPS[method], rtol=0.02)

  @parameterized.named_parameters(*((name, name) for name in _TEMP_BYTES))
  def test_temporary_memory(self, method):
    memory = _lowered(method).compile().memory_analysis()
    np.testing.assert_allclose(
        memory.temp_size_in_bytes, _TEMP_BYTES[method], rtol=0.02)

  def test_number_of_programs(self):
    workdir = tiny.temp_dir(self)
    before = run_log.num_compilations()
    trainer.train_and_evaluate(tiny.debug_config().lock(), workdir)
    self.assertLessEqual(run_log.num_compilations() - before, _PROGRAMS)
    with open(os.path.join(workdir, 'timing.jsonl'), encoding='utf-8') as f:
      compilations = [json.loads(line)['compilations'] for line in f]
    # The number of compiled programs is the same in all lines of the log, so
    # nothing was compiled after the first step.
    self.assertLen(set(compilations), 1)


if __name__ == '__main__':
  absltest.main()
