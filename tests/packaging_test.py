"""Tests of what the packages declare; .ci/packages builds and tries them."""

import pathlib
import re

from absl.testing import absltest

_ROOT = pathlib.Path(__file__).parent.parent


class PackagingTest(absltest.TestCase):

  def test_the_oldest_versions_are_those_that_setup_allows(self):
    setup = (_ROOT / 'setup.py').read_text('utf-8')
    required = re.search(r'install_requires=\[(.*?)\]', setup, re.DOTALL)[1]
    allowed = dict(re.findall(r"'(\w+)>=([\d.]+)", required))
    self.assertLen(allowed, required.count('>='))
    tried = dict(re.findall(
        r'^(\w+)==([\d.]+)(?:; python_version < "3.13")?$',
        (_ROOT / '.ci/oldest.txt').read_text('utf-8'), re.MULTILINE))
    tried.pop('jaxlib')
    number = lambda version: [int(x) for x in version.split('.')]
    self.assertEqual(tried.keys(), allowed.keys())
    for name, version in tried.items():
      low = number(allowed[name])
      self.assertEqual(number(version)[:len(low)], low, name)

  def test_the_library_is_typed(self):
    self.assertTrue((_ROOT / 'hybridseg' / 'py.typed').exists())


if __name__ == '__main__':
  absltest.main()
