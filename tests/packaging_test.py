"""Tests the metadata of the packages; .ci/packages builds and installs them."""

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


def _supported():
  """Returns the Python versions that setup.py names: ['3.11', ...]."""
  found = [re.fullmatch(r'Programming Language :: Python :: (3\.\d+)', text)
           for text in bare_site.setup_arguments()['classifiers']]
  return [match[1] for match in found if match]


def _on(python, lines):
  """Returns the version specifier of each package that is required.

  Args:
    python: version of Python, such as '3.11'.
    lines: requirements, such as 'jax>=0.6; python_version < "3.12"'.
  """
  needs = map(requirements.Requirement, lines)
  return {
      utils.canonicalize_name(need.name): need.specifier for need in needs
      if not need.marker or need.marker.evaluate(
          {'python_version': python, 'extra': ''})}


class PackagingTest(parameterized.TestCase):

  @parameterized.parameters(*_supported())
  def test_the_oldest_versions_are_those_that_setup_allows(self, python):
    allowed = _on(python, bare_site.requirements_of())
    lines = (_ROOT / '.ci/oldest.txt').read_text('utf-8').splitlines()
    tried = _on(python, [line for line in lines if line[0] != '#'])
    tried.pop('jaxlib')
    self.assertEqual(tried.keys(), allowed.keys())
    for name, specifier in tried.items():
      version = str(specifier).removeprefix('==')
      self.assertTrue(allowed[name].contains(version), f'{name} {version}')
      # The oldest allowed versions have wheels for the oldest Python only.
      if python == _supported()[0]:
        low = str(allowed[name]).removeprefix('>=')
        self.assertEqual(f'{version}.'[:len(low) + 1], f'{low}.', name)

  def test_the_library_is_typed(self):
    self.assertTrue((_ROOT / 'hybridseg' / 'py.typed').exists())


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
    asked = _on(
        f'3.{name[3:5]}', bare_site.requirements_of('run', 'pretrained'))
    self.assertGreater(len(locked), len(asked))
    for need, specifier in asked.items():
      self.assertIn(need, locked)
      self.assertTrue(specifier.contains(locked[need]), need)

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
