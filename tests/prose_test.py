"""Tests that code and pages avoid phrases that are hard to read.

Each phrase once occurred in many places, and a plain sentence was clearer.
Write what a function returns or does, and name the noun: "Returns whether the
set is split".
"""

import pathlib
import re

from absl.testing import absltest

_ROOT = pathlib.Path(__file__).parent.parent
_FOLDERS = ('data_prep', 'docs', 'experiments', 'hybridseg', 'tests')
_BUILT = ('_build', 'api', 'results')  # Below docs/, by Sphinx.

_PHRASES = (
    'Is the closed form of',
    'Says in which',
    'Says in words',
    'Says whether',
    'are asked about',
    'are told',
    'as they are had',
    'be had',
    'be told',
    'for what it is',
    'free of it',
    'gives the folder free',
    'goes on with',
    'has no say',
    'in one line each',
    'in silence',
    'in the words of',
    'is asked about',
    'is had',
    'is no number',
    'is told',
    'is used up',
    'one is asked',
    'parts a name',
    'says how far',
    'so far as',
    'tells how far',
    'that there is not',
    'what is no',
    'what it met where',
)


def _files():
  """Yields all source files and pages of the repository but the changelog."""
  yield from (p for p in _ROOT.glob('*.md') if p.name != 'CHANGELOG.md')
  for folder in _FOLDERS:
    for path in (_ROOT / folder).rglob('*'):
      parts = path.relative_to(_ROOT).parts
      is_built = folder == 'docs' and set(parts) & set(_BUILT)
      if path.suffix in ('.py', '.md') and not is_built:
        yield path


def _found(text):
  """Returns the listed phrases in a text, even across line breaks."""
  # A phrase in a comment may continue behind the `#` of the next line.
  text = re.sub(r'\s+(?:#\s+)?', ' ', text)
  return [p for p in _PHRASES if re.search(rf'\b{re.escape(p)}\b', text)]


class ProseTest(absltest.TestCase):

  def test_finds_a_phrase_across_lines(self):
    self.assertEqual(_found('# It is\n  # told.'), ['is told'])
    self.assertEqual(_found('This told us that there is nothing.'), [])

  def test_no_file_has_such_a_phrase(self):
    files = [p for p in _files() if p.name != pathlib.Path(__file__).name]
    self.assertGreater(len(files), 100)
    hits = {str(p.relative_to(_ROOT)): found for p in files
            if (found := _found(p.read_text('utf-8')))}
    self.assertEmpty(hits)


if __name__ == '__main__':
  absltest.main()
