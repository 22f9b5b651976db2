"""Tests the networks that `experiments.configs.common` offers to configs."""

import pathlib
import re

from absl.testing import absltest
from absl.testing import parameterized
import jax
from hybridseg import models

from experiments import binary
from experiments.building import input_pipeline
from experiments.configs import common
from experiments.configs import phantom
from tests import tiny


class NetworksTest(parameterized.TestCase):

  @parameterized.parameters(*common.NETWORKS)
  def test_makes_the_parts_of_a_run(self, name):
    config = phantom.get_config(f'dii,{name}')
    self.assertEqual(config.co_regularization.scale, 0)
    config = config.copy_and_resolve_references().unlock()
    config.input.data_dir = tiny.data_dir()
    dataset = input_pipeline.load_dataset(config.input.data_dir)
    state = jax.eval_shape(tiny.build_network(config, dataset).init_fn)
    self.assertIn('head', state.params[0])

  @parameterized.parameters(*common.NETWORKS)
  def test_debug_is_small_whatever_the_order(self, name):
    config = phantom.get_config(f'{name},debug')
    self.assertEqual(config, phantom.get_config(f'debug,{name}'))
    self.assertEqual(config.model.name, common.NETWORKS[name]['name'])
    options = config.model.options
    self.assertIn(
        options.get('features') or options.decoder_features,
        (8, (8, 8), (8, 8, 8)))
    self.assertEqual(config.train_steps, 4)

  def test_the_default_is_the_small_unet(self):
    # The published tables were made with this network, so it must stay.
    self.assertEqual(
        phantom.get_config().model.to_dict(),
        dict(name='unet', weights='', encoder_rate=1.0, cached_copies=(),
             options=dict(features=(8, 16, 32), dtype='float32')))
    self.assertEqual(
        phantom.get_config(), phantom.get_config('dii_dcr,unet_small'))

  @parameterized.parameters('unet_huge', 'dii,', 'dii;unet_full', '')
  def test_unknown_variants_list_the_known(self, variant):
    with self.assertRaisesRegex(ValueError, 'Unknown.*deeplab_resnet18.*debug'):
      phantom.get_config(variant)

  def test_frozen_norm_without_weights_is_one_line(self):
    config = phantom.get_config('deeplab_resnet18')
    config = config.copy_and_resolve_references().unlock()
    config.input.data_dir = tiny.data_dir()
    config.model.options.norm = 'frozen_batch'
    dataset = input_pipeline.load_dataset(config.input.data_dir)
    with self.assertRaisesRegex(binary.UserError, 'model.weights'):
      tiny.build_training(config, dataset)

  def test_docs_list_them(self):
    page = pathlib.Path(__file__).parent.parent / 'docs/networks.md'
    rows = re.findall(
        r'^\| `(\w+)`.*?\| ([\d.]+) M \|', page.read_text('utf-8'), re.M)
    self.assertCountEqual([name for name, _ in rows], common.NETWORKS)
    for name, millions in rows:
      network = common.NETWORKS[name]
      model = models.build(
          network['name'], num_classes=2, options=network['options'])
      shapes = jax.eval_shape(
          model.init, jax.random.key(0), jax.numpy.zeros((1, 16, 16, 3)))
      count = sum(x.size for x in jax.tree.leaves(shapes)) / 1e6
      self.assertLessEqual(
          abs(count - float(millions)), 0.05 if count > 1 else 0.005)


if __name__ == '__main__':
  absltest.main()
