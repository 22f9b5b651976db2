"""Tests for upgrading configs of older versions to the present version."""

import copy
import json
import pathlib

from absl.testing import absltest
from absl.testing import parameterized
import ml_collections

from experiments.configs import common
from experiments.configs import phantom
from experiments.configs import versions
from experiments.saving import resuming


def _stored(variant='debug'):
  return json.loads(phantom.get_config(variant).to_json())


def _of_version_1(**removed):
  """Returns a config in the form from before configs had a version.

  Args:
    **removed: maps a section of the config to a key that is removed from it.
  """
  config = _stored()
  del config['version'], config['supervision']['weak_head']
  for key in 'weights', 'encoder_rate', 'cached_copies':
    del config['model'][key]
  for section, key in removed.items():
    del config[section][key]
  return config


class VersionsTest(parameterized.TestCase):

  @parameterized.parameters(*common.NETWORKS, *common.METHODS)
  def test_todays_config_stays(self, variant):
    config = _stored(variant)
    self.assertEqual(versions.upgrade(config), config)
    self.assertEqual(config['version'], versions.VERSION)

  @parameterized.parameters(
      {}, {'weighting': 'initial_from'}, {'supervision': 'strong_scale'},
      {'input': 'weak_labels', 'augmentation': 'blur'})
  def test_what_was_not_there_yet_is_off(self, **removed):
    old = _of_version_1(**removed)
    before = copy.deepcopy(old)
    self.assertEqual(versions.upgrade(old), _stored())
    self.assertEqual(old, before)
    self.assertEmpty(resuming.changes(versions.upgrade(old), _stored()))

  def test_what_was_there_is_kept(self):
    old = _of_version_1()
    old['supervision']['weak_head'] = True
    old['model'] |= {'name': 'efficientnet_unet', 'encoder_rate': 0.1}
    new = versions.upgrade(old)
    self.assertTrue(new['supervision']['weak_head'])
    self.assertEqual(new['model']['encoder_rate'], 0.1)
    self.assertEqual(new['model']['weights'], '')

  @parameterized.parameters(
      (versions.VERSION + 1, 'of a newer hybridseg'), (0, 'not a whole number'),
      ('2', 'not a whole number'), (True, 'not a whole number'),
      (10**50, 'of a newer hybridseg'), (None, 'not a whole number'))
  def test_refuses_versions_that_it_does_not_know(self, version, message):
    with self.assertRaisesRegex(ValueError, message):
      versions.upgrade(_stored() | {'version': version})

  def test_every_version_has_a_step_to_the_next(self):
    steps = versions._STEPS  # pylint: disable=protected-access
    self.assertEqual(list(steps), list(range(1, versions.VERSION)))

  def test_no_key_comes_or_goes_without_a_new_version(self):
    # Options of networks are left out, because each network has its own.
    keys = [name for name in resuming.flatten(_stored('dii_dcr'))
            if not name.startswith('model.options.')]
    path = pathlib.Path(__file__).parent / 'data/config_keys.json'
    stored = json.loads(path.read_text('utf-8'))
    self.assertEqual(
        {'version': versions.VERSION, 'keys': sorted(keys)}, stored,
        'Raise versions.VERSION, add a step, and write the keys to this file.')

  def test_base_holds_every_key_that_a_method_or_a_network_sets(self):
    base = common.get_base('')
    for overrides in [*common.METHODS.values(), *(
        {'model': network} for network in common.NETWORKS.values())]:
      for section, keys in overrides.items():
        self.assertContainsSubset(keys, base[section].keys())
    with self.assertRaises(AttributeError):
      ml_collections.ConfigDict(base).lock().weak = 1


if __name__ == '__main__':
  absltest.main()
