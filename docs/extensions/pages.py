"""Makes the pages whose text is in other files: results, modules, examples.

Each of them has two lines that include or document its file. The pages are
written before the build and ignored by git, so that nobody has to keep a list.
Links of an included file are relative to its folder in the repository.
"""

import os
import pathlib
import re
import types

import hybridseg

_DOCS = pathlib.Path(__file__).resolve().parent.parent
_ROOT = _DOCS.parent
_RESULTS = 'experiments/results'
_LINK = re.compile(r'(?<!!)\]\((?!\w+:|#)([^)\s#]+)(#[^)\s]*)?\)')


def library_modules() -> list[str]:
  """Returns the names of the library's modules, as `hybridseg.models.unet`."""
  paths = sorted((_ROOT / 'hybridseg').rglob('*.py'))
  parts = [p.relative_to(_ROOT).with_suffix('').parts for p in paths]
  return ['.'.join(p[:-1] if p[-1] == '__init__' else p) for p in parts]


def generated_pages() -> dict[str, str]:
  """Returns the text of each page by its path below docs/."""
  pages = {}
  for path in (_ROOT / _RESULTS).glob('*.md'):
    pages[f'results/{path.name}'] = (
        f'```{{include}} ../../{_RESULTS}/{path.name}\n```\n')
  for name in library_modules():
    page = f'{name}\n{"=" * len(name)}\n\n.. automodule:: {name}\n'
    if name == 'hybridseg':
      page += f'\nShort names:\n\n{_short_names()}\n'
    else:
      page += '   :members:\n   :ignore-module-all:\n'
    pages[f'api/{name}.rst'] = page
  examples = sorted((_DOCS / 'examples').glob('*.py'))
  for path in examples:
    pages[f'examples/{path.stem}.md'] = (
        f'# {path.stem}\n\n```{{literalinclude}} {path.name}\n'
        ':language: python\n```\n')
  names = '\n'.join(path.stem for path in examples)
  pages['examples/index.md'] = (
      f'# Examples in full\n\n```{{toctree}}\n{names}\n```\n')
  return pages


def _short_names():
  """Returns links to the names other than modules that `hybridseg` exports."""
  exported = {name: getattr(hybridseg, name) for name in hybridseg.__all__}
  return '\n'.join(
      f'- :py:obj:`hybridseg.{name} <{value.__module__}.{value.__name__}>`'
      for name, value in exported.items()
      if not isinstance(value, types.ModuleType)
      and hasattr(value, '__module__'))


def _write_pages(app, config):
  del app, config
  pages = generated_pages()
  for name, text in pages.items():
    path = _DOCS / name
    # An unchanged page keeps its time stamp, so that Sphinx skips it.
    if not path.exists() or path.read_text('utf-8') != text:
      path.parent.mkdir(exist_ok=True)
      path.write_text(text, 'utf-8')
  for folder in ('results', 'api', 'examples'):
    for path in (_DOCS / folder).iterdir():
      if path.suffix != '.py' and path.is_file() and (
          f'{folder}/{path.name}' not in pages):
        path.unlink()  # Its file is gone.


def site_links(text: str, folder: str) -> str:
  """Returns Markdown with links that work on the site.

  Args:
    text: Markdown whose links are relative to `folder`.
    folder: folder of the file that has the text, relative to the repository.
  """

  def replace(match):
    path = os.path.normpath(os.path.join(folder, match[1]))
    name = os.path.basename(path)
    if os.path.dirname(path) == _RESULTS and name.endswith('.md'):
      target = f'/results/{name}'
    else:
      target = f'/{os.path.relpath(path, "docs")}'  # A file to download.
    return f']({target}{match[2] or ""})'

  return _LINK.sub(replace, text)


def _on_include(app, relative_path, parent_docname, content):
  del app, parent_docname
  folder = os.path.normpath(
      os.path.join('docs', os.path.dirname(relative_path)))
  content[0] = site_links(content[0], folder)


def _on_source(app, docname, content):
  del app
  if '/' not in docname:  # Generated pages include a file, with its own links.
    content[0] = site_links(content[0], 'docs')


def setup(app):
  app.connect('config-inited', _write_pages)
  app.connect('source-read', _on_source)
  app.connect('include-read', _on_include)
  return {'parallel_read_safe': True}
