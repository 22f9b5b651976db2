"""Tests that options are keyword-only and that every argument has a name."""

import ast
import pathlib

from absl.testing import absltest
from absl.testing import parameterized

_ROOT = pathlib.Path(__file__).parent.parent


def _functions(package):
  """Yields pairs (location and name, definition) of a package's functions."""
  for path in sorted((_ROOT / package).rglob('*.py')):
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
      if isinstance(node, ast.FunctionDef):
        yield f'{path.relative_to(_ROOT)}:{node.lineno} {node.name}', node


class SignaturesTest(parameterized.TestCase):

  @parameterized.parameters('hybridseg', 'data_prep', 'experiments')
  def test_every_argument_can_be_named(self, package):
    found = [where for where, node in _functions(package)
             if node.args.posonlyargs]
    self.assertEqual(found, [])

  def test_options_of_the_library_are_by_keyword_only(self):
    # A function of one argument may be called without its name, as in
    # make_mapping('jit').
    found = [where for where, node in _functions('hybridseg')
             if not node.name.startswith('_') and node.args.defaults
             and len(node.args.args) > 1]
    self.assertEqual(found, [])


if __name__ == '__main__':
  absltest.main()
