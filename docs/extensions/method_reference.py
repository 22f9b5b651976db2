"""A directive with the overrides of a method, and a check that none is missing.

`method-config` comes under the heading of each method on its page. It shows the
changes in `common.METHODS` and the command that trains the method.
"""

from experiments.configs import common
from sphinx.errors import ExtensionError
from sphinx.util import docutils

from docs.extensions import config_reference


def overrides(method: str) -> dict[str, object]:
  """Returns the keys that a method changes, by their dotted names."""
  return {f'{section}.{name}': value
          for section, changes in common.METHODS[method].items()
          for name, value in changes.items()}


class _MethodConfig(docutils.SphinxDirective):
  """`method-config NAME`: shows the overrides of a method."""

  required_arguments = 1

  def run(self):
    name = self.arguments[0]
    if name not in common.METHODS:
      raise ExtensionError(f'No method {name!r} in common.METHODS.')
    self.env.note_dependency(common.__file__)
    documented(self.env).append((self.env.docname, name))
    changes = [f'{key}={config_reference.shown(value)}'
               for key, value in overrides(name).items()]
    text = '\n'.join(changes) or '(the defaults)'
    return self.parse_text_to_nodes(
        f'Config: `--config=experiments/configs/custom.py:{name}` sets\n\n'
        f'```text\n{text}\n```')


def documented(env) -> list[tuple[str, str]]:
  """Returns page and name of every method that has an entry."""
  if not hasattr(env, 'documented_methods'):
    env.documented_methods = []
  return env.documented_methods


def _purge(app, env, docname):
  del app
  env.documented_methods = [x for x in documented(env) if x[0] != docname]


def _merge(app, env, docnames, other):
  del app
  documented(env).extend(x for x in documented(other) if x[0] in docnames)


def _check(app, env):
  del app
  names = sorted(name for _, name in documented(env))
  if names != sorted(common.METHODS):
    raise ExtensionError(
        f'Methods with an entry: {names}; with a config: '
        f'{sorted(common.METHODS)}. Each needs one, and only one.')


def setup(app):
  app.add_directive('method-config', _MethodConfig)
  app.connect('env-purge-doc', _purge)
  app.connect('env-merge-info', _merge)
  app.connect('env-check-consistency', _check)
  return {'parallel_read_safe': True}
