"""Builds the documentation site, and runs the commands on its pages."""

import ast
import contextlib
import html.parser
import io
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

from absl.testing import absltest
from absl.testing import parameterized

from docs.extensions import config_reference
from docs.extensions import docstrings
from docs.extensions import method_reference
from docs.extensions import pages
from experiments.configs import common
from tests import long_only

_ROOT = pathlib.Path(__file__).parent.parent
_DOCS = _ROOT / 'docs'
_PAGES = sorted(path.name for path in _DOCS.glob('*.md'))
_INCLUDE = re.compile(
    r'```{include} (\S+)\n:start-after: (.+)\n:end-before: (.+)\n```')
_BLOCK = re.compile(r'^( *)```(\w+)\n(.*?)\n\1```$', re.DOTALL | re.MULTILINE)
# The code whose messages users see. Benchmarks print messages of their own.
_SOURCES = [
    path for package in ('data_prep', 'experiments', 'hybridseg')
    for path in sorted((_ROOT / package).rglob('*.py'))
    if 'benchmarks' not in path.parts]
# Matches placeholders, and the name of a file in the authors' code.
_NO_FILE = re.compile(r'[A-Z*]|dii_aided_dcr')


def _text(page):
  """Returns a page, including the quoted parts of other files."""

  def included(match):
    text = (_DOCS / match[1]).read_text('utf-8')
    return text.split(match[2])[1].split(match[3])[0]

  return _INCLUDE.sub(included, (_DOCS / page).read_text('utf-8'))


def _blocks(page, language):
  """Returns the code blocks of a page in one language, without indentation."""
  return [
      '\n'.join(line.removeprefix(indent) for line in code.split('\n'))
      for indent, name, code in _BLOCK.findall(_text(page))
      if name == language]


def _commands(page):
  """Yields the arguments of each `python -m` command of a page."""
  for block in _blocks(page, 'bash'):
    for line in block.replace('\\\n', ' ').split('\n'):
      for command in re.split(r' && |; | &$', line):
        args = shlex.split(command, comments=True)
        while args and re.fullmatch(r'[A-Z_]+=.*', args[0]):
          args = args[1:]  # Leave out an environment variable at the start.
        if args[:2] == ['python', '-m']:
          yield args[2:]


def _message(node):
  """Returns the string of an expression, with '...' for values filled in."""
  if isinstance(node, ast.Constant):
    return node.value if isinstance(node.value, str) else '...'
  if isinstance(node, ast.JoinedStr):
    return ''.join(map(_message, node.values))
  if isinstance(node, ast.BinOp):
    return _message(node.left) + _message(node.right)
  return '...'


def _messages():
  """Returns all strings in the code, joined into one."""
  texts = []
  for path in _SOURCES:
    for node in ast.walk(ast.parse(path.read_text('utf-8'))):
      if isinstance(node, (ast.BinOp, ast.Constant, ast.JoinedStr)):
        texts.append(' '.join(_message(node).split()))
  return '\n'.join(texts)


class _Resources(html.parser.HTMLParser):
  """Collects the files that a page loads: scripts, styles, pictures, frames."""

  def __init__(self):
    super().__init__()
    self.urls = []

  def handle_starttag(self, tag, attrs):
    attrs = dict(attrs)
    if tag in ('script', 'img', 'iframe', 'source') and attrs.get('src'):
      self.urls.append(attrs['src'])
    if tag == 'link' and attrs.get('rel') not in ('canonical', 'search'):
      self.urls.append(attrs['href'])


# The build takes most of a minute; `.ci/long tests` runs it.
@long_only.only_long
class SiteTest(absltest.TestCase):

  def test_site(self):
    """Tests the site with a single build, since building takes a while."""
    site = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    done = subprocess.run(
        [sys.executable, '-m', 'sphinx', '-W', '--keep-going', '-q', '-b',
         'html', 'docs', site], cwd=_ROOT, capture_output=True, text=True,
        check=False)
    # The build also warns of dead links and dead anchors.
    self.assertEqual(done.stderr, '')
    self.assertEqual(done.returncode, 0)
    for check in (self._check_pages, self._check_offline, self._check_search,
                  self._check_keys):
      with self.subTest(check.__name__):
        check(site)

  def _check_pages(self, site):
    for module in pages.library_modules():
      self.assertTrue((site / 'api' / f'{module}.html').exists(), module)
    for path in (_ROOT / 'experiments' / 'results').glob('*.md'):
      self.assertTrue((site / 'results' / f'{path.stem}.html').exists(), path)

  def _check_offline(self, site):
    for path in site.rglob('*.html'):
      parser = _Resources()
      parser.feed(path.read_text('utf-8'))
      for url in parser.urls:
        local = url.split('?')[0].split('#')[0]
        self.assertNotRegex(local, r'^(\w+:)?//', path)
        self.assertTrue((path.parent / local).exists(), f'{path}: {url}')
    methods = (site / 'methods.html').read_text('utf-8')
    self.assertRegex(methods, r'src="_static/mathjax/')
    self.assertIn('\\(w_k = 1\\)', methods)

  def _check_search(self, site):
    index = (site / 'searchindex.js').read_text('utf-8')
    self.assertIn('lookahead', index)

  def _check_keys(self, site):
    config = (site / 'config.html').read_text('utf-8')
    for key in config_reference.base_keys():
      self.assertIn(f'id="confval-{key.name}"', config)


class PagesTest(parameterized.TestCase):

  @parameterized.parameters(*_PAGES)
  def test_python_runs(self, page):
    names = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
      for block in _blocks(page, 'python'):
        with contextlib.redirect_stdout(io.StringIO()):
          exec(compile(block, page, 'exec'), names)  # pylint: disable=exec-used

  def test_commands_parse(self):
    commands = {
        tuple(args) for page in (*_PAGES, '../README.md')
        for args in _commands(page) if args[0] not in ('pytest', 'sphinx')}
    self.assertGreater(len(commands), 30)
    train = ('experiments.train', '--workdir=runs/a')
    phantom = '--config=experiments/configs/phantom.py'
    wrong = [
        (*train, f'{phantom}:dij'), (*train, phantom, '--seed=1'),
        (*train, phantom, '--config.weighting.rate=1'),
        (*train, phantom, 'debug'), ('experiments.trains',),
        (*train, '--config=experiments/configs/phantoms.py')]
    done = subprocess.run(
        [sys.executable, '-m', 'tests.parse_commands'], cwd=_ROOT,
        input=json.dumps(sorted(commands) + wrong), capture_output=True,
        text=True, env=os.environ | {'PYTHONPATH': str(_ROOT)}, check=False)
    self.assertEqual(done.returncode, 0, done.stderr)
    # Exactly the wrong commands are reported, which shows that all commands
    # were parsed.
    found = [line for line in done.stdout.split('\n')
             if line.startswith(('data_prep', 'experiments'))]
    self.assertLen(found, len(wrong), done.stdout)
    for args, line in zip(wrong, found, strict=True):
      self.assertStartsWith(line, ' '.join(args))

  @parameterized.parameters(*_PAGES)
  def test_named_files_exist(self, page):
    for name in re.findall(r'`([\w./]+/[\w./]+\.(?:py|md))`', _text(page)):
      if not _NO_FILE.search(name):
        self.assertTrue((_ROOT / name).exists(), name)

  def test_quoted_messages_are_in_the_code(self):
    messages = _messages()
    quoted = _blocks('troubleshooting.md', 'text')
    self.assertGreater(len(quoted), 30)
    for message in quoted:
      self.assertTrue(' '.join(message.split()) in messages, message)

  def test_numbers_are_not_copied(self):
    # Measured scores belong only to the page of results, and to the page on
    # which users decide what to draw.
    own = ''.join((_DOCS / page).read_text('utf-8') for page in _PAGES
                  if page not in ('results.md', 'own_data.md'))
    self.assertNotRegex(own, r'\b0\.\d{3,4}\b')


class ConfigReferenceTest(absltest.TestCase):

  def test_every_leaf_is_a_key_with_its_default(self):
    keys = {key.name: key for key in config_reference.base_keys()}
    config = common.get_base('')
    self.assertEqual(keys['weighting.learning_rate'].default,
                     config.weighting.learning_rate)
    # This is an empty dictionary.
    self.assertIn('supervision.loss_by_kind', keys)
    number = sum(len(v) if hasattr(v, 'items') else 1 for v in config.values())
    # The options of the network are one level deeper.
    self.assertLen(keys, number + len(config.model.options) - 1)

  def test_comments_of_keys(self):
    self.assertEqual(config_reference.key_comments(_example), {
        'a': 'Of a.', 'b': 'Two lines above. Beside.', 'c.d': 'Of d.',
        'c.f': 'The last of a line.'})

  def test_attributes(self):
    self.assertEqual(config_reference.attributes(_documented), {
        'x': 'one, on two lines.', 'y': 'two.'})

  def test_a_key_without_a_meaning_fails(self):
    with self.assertRaisesRegex(Exception, r'config\.new has no meaning'):
      config_reference._keys(  # pylint: disable=protected-access
          [('new', 1)], {}, {})

  def test_overrides(self):
    self.assertEqual(method_reference.overrides('dii'),
                     {'co_regularization.scale': 0.0})
    self.assertEqual(method_reference.overrides('dii_dcr'), {})


def _example(ConfigDict=dict):  # pylint: disable=invalid-name
  ml_collections = ConfigDict
  return ml_collections.ConfigDict(dict(
      a=1,  # Of a.
      # Two lines
      # above.
      b=2,  # Beside.
      c=dict(
          # Of d.
          d=3, e=4, f=5,  # The last of a line.
      ),
  ))


def _documented(x, y):
  """Is documented.

  Args:
    x: one, on
      two lines.
    y: two.

  Returns:
    z: three.
  """
  return x + y


class DocstringsTest(absltest.TestCase):

  def test_formulas(self):
    self.assertEqual(
        docstrings.with_literal_formulas([
            'With a * b and |x|:', '', '  y = a * b', '', 'loss = a', '  / b',
            '', 'Lists:', '- one', '', 'Args:', '  x: `a * b` or *so*, x * y.',
            '  **changes: more.']),
        ['With a \\* b and \\|x\\|:', '', '::', '', '  y = a * b', '', '::', '',
         '  loss = a', '    / b', '', 'Lists:', '', '- one', '', 'Args:',
         '  x: `a * b` or *so*, x \\* y.', '  **changes: more.'])


class LinksTest(parameterized.TestCase):

  @parameterized.parameters(
      ('[a](audit.md)', 'experiments/results', '[a](/results/audit.md)'),
      ('[a](experiments/results/audit.md#x)', '.', '[a](/results/audit.md#x)'),
      ('[c](experiments/configs/common.py)', '.',
       '[c](/../experiments/configs/common.py)'),
      ('[w](https://example.org/a)', '.', '[w](https://example.org/a)'),
      ('[h](#here)', '.', '[h](#here)'),
  )
  def test_links_of_included_files(self, text, folder, expected):
    self.assertEqual(pages.site_links(text, folder), expected)


if __name__ == '__main__':
  absltest.main()
