"""Tests of what the packages declare; .ci/packages builds and tries them."""

import pathlib
import re

from absl.testing import absltest
from absl.testing import parameterized
from packaging import requirements
from packaging import utils

from tests import bare_site

_ROOT = pathlib.Path(__file__).parent.parent
_LOCKS = sorted(path.name for path in (_ROOT / 'requirements').iterdir())
_ENTRY = re.compile(
    r'^(\S+)==(\S+) ((?:\\\n    --hash=sha256:\w{64} ?)+)\n', re.MULTILINE)


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


def _supported():
  """Returns the Pythons that setup.py names: ['3.11', ...]."""
  found = [re.fullmatch(r'Programming Language :: Python :: (3\.\d+)', text)
           for text in bare_site.setup_arguments()['classifiers']]
  return [match[1] for match in found if match]


class LockFilesTest(parameterized.TestCase):

  def test_one_for_every_supported_python(self):
    names = [f'py{version.replace(".", "")}.txt' for version in _supported()]
    self.assertEqual(_LOCKS, names)
    self.assertIn(
        ' '.join(f'python{version}' for version in _supported()),
        (_ROOT / '.ci/packages').read_text('utf-8'))

  @parameterized.parameters(*_LOCKS)
  def test_holds_versions_and_hashes_alone(self, name):
    text = (_ROOT / 'requirements' / name).read_text('utf-8')
    rest = _ENTRY.sub('', text)
    self.assertTrue(all(x.startswith('#') for x in rest.splitlines()), rest)
    self.assertNotIn('://', text)

  @parameterized.parameters(*_LOCKS)
  def test_agrees_with_setup(self, name):
    text = (_ROOT / 'requirements' / name).read_text('utf-8')
    locked = {found[0]: found[1] for found in _ENTRY.findall(text)}
    python = {'python_version': f'3.{name[3:5]}', 'extra': ''}
    asked = bare_site.requirements_of('run', 'pretrained')
    self.assertGreater(len(locked), len(asked))
    for line in asked:
      need = requirements.Requirement(line)
      if need.marker and not need.marker.evaluate(python):
        continue
      self.assertIn(utils.canonicalize_name(need.name), locked)
      version = locked[utils.canonicalize_name(need.name)]
      self.assertTrue(need.specifier.contains(version), f'{line}: {version}')

  def test_the_documented_command_made_them(self):
    page = (_ROOT / 'docs/install.md').read_text('utf-8')
    told = re.search(r'^  (uv pip compile .*)$', page, re.MULTILINE)[1]
    for version, name in zip(_supported(), _LOCKS, strict=True):
      text = (_ROOT / 'requirements' / name).read_text('utf-8')
      command = told.replace(' --upgrade', '').replace(
          '${python/./}', version.replace('.', '')).replace('$python', version)
      self.assertIn(f'#    {command}\n', text)


if __name__ == '__main__':
  absltest.main()
