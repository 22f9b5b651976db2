"""Directives that document every key of a config, read from the code.

The meaning of a key is its comment in `get_base`, and the docstring of the
field or argument that the key becomes. A key without either fails the build.
"""

import ast
from collections.abc import Callable, Iterable, Mapping
import inspect
import io
import re
import tokenize
from typing import Any, NamedTuple

from experiments.building import input_pipeline
from experiments.building import pieces
from experiments.configs import common
from experiments.configs.tables import common as tables
from hybridseg import augmentation
from hybridseg import method_parts
from hybridseg import models
from hybridseg import parallel
from hybridseg import weight_rules
from sphinx.errors import ExtensionError
from sphinx.util import docutils

# pylint: disable=protected-access
# The tuple that each section becomes, field by field. The fields of loss
# functions end with _fn.
_TUPLES = {
    'augmentation': augmentation.AugmentationOptions,
    'co_regularization': method_parts.CoRegularization,
    'supervision': method_parts.Supervision,
    'weighting': method_parts.Weighting,
}
_OF_LABEL_MAPS = sorted(pieces._LOSSES)
_KNOWN = {
    'mapping': sorted(parallel._KINDS),
    'input.weak_labels': sorted(input_pipeline._LABELS),
    'model.name': sorted(models._MODELS),
    'model.options.dtype': sorted(models._DTYPES),
    'supervision.strong_loss': _OF_LABEL_MAPS,
    'supervision.weak_loss': _OF_LABEL_MAPS,
    'supervision.alignment_loss': [*_OF_LABEL_MAPS, 'training'],
    'weighting.name': list(weight_rules.RULES),
    'weighting.method': method_parts.METHODS,
    'co_regularization.trust': sorted(method_parts.TRUSTS),
    'co_regularization.mixing': sorted(method_parts.MIXINGS),
    'co_regularization.teacher': method_parts.TEACHERS,
}


class Key(NamedTuple):
  """A key of a config.

  Attributes:
    name: name with dots, such as 'weighting.learning_rate'.
    default: value in the base config.
    meaning: Markdown.
  """

  name: str
  default: Any
  meaning: str


def attributes(documented: Any) -> dict[str, str]:
  """Returns the text of each attribute or argument in a docstring, by name."""
  doc = inspect.getdoc(documented)
  section = re.split(
      r'^(?:Attributes|Args):\n', doc, maxsplit=1, flags=re.M)[1]
  section = re.split(r'^\S', section, maxsplit=1, flags=re.M)[0]
  entries = re.split(r'^  (\w+): ', section, flags=re.M)[1:]
  texts = [' '.join(text.split()) for text in entries[1::2]]
  return dict(zip(entries[::2], texts, strict=True))


def key_comments(function: Callable[..., Any]) -> dict[str, str]:
  """Returns the comments of the keys in the source of a function.

  The lines of comment above a key belong to it, and so does a comment behind
  the last key of a line.

  Args:
    function: whose source holds `ConfigDict(dict(...))`, dicts nested.
  """
  source = inspect.getsource(function)
  comments = {}
  for token in tokenize.generate_tokens(io.StringIO(source).readline):
    if token.type == tokenize.COMMENT:
      alone = not token.line[:token.start[1]].strip()
      comments[token.start[0]] = (alone, token.string.lstrip('# '))
  lines = {}
  for name, line in _keywords(ast.parse(source)):
    lines.setdefault(line, []).append(name)
  found = {}
  for line, names in lines.items():
    above, i = [], line - 1
    while comments.get(i, (False,))[0]:
      above.insert(0, comments[i][1])
      i -= 1
    if above:
      found[names[0]] = ' '.join(above)
    alone, text = comments.get(line, (True, ''))
    if not alone:
      found[names[-1]] = f'{found.get(names[-1], "")} {text}'.strip()
  return found


def _keywords(tree):
  """Yields dotted name and line of each keyword of the config's dicts."""

  def walk(node, prefix):
    for keyword in node.keywords:
      name = f'{prefix}{keyword.arg}'
      yield name, keyword.lineno
      if isinstance(keyword.value, ast.Call):
        yield from walk(keyword.value, f'{name}.')

  for node in ast.walk(tree):
    if isinstance(node, ast.Call) and getattr(
        node.func, 'attr', '') == 'ConfigDict':
      yield from walk(node.args[0], '')


def base_keys() -> list[Key]:
  """Returns every key of `common.get_base`.

  Raises:
    ExtensionError: if a key has no meaning.
  """
  config = common.get_base('')
  comments = key_comments(common.get_base)
  comments['model.name'] = comments.pop('model')  # Its keys are in `NETWORKS`.
  network = models._MODELS[config.model.name]
  fields = {
      **{f'{section}.{name.removesuffix("_fn")}': text
         for section, options in _TUPLES.items()
         for name, text in attributes(options).items()},
      **{f'model.options.{name}': text
         for name, text in attributes(network).items()},
  }
  return _keys(_leaves(config), comments, fields)


def table_keys() -> list[Key]:
  """Returns every key of a table's config but `base`."""
  config = tables.get_table('phantom', _phantom_base, 'table')
  leaves = [(name, config[name]) for name in config if name != 'base']
  comments = key_comments(tables.get_table)
  return _keys(leaves, comments, attributes(tables.get_table))


def _phantom_base(variant):
  return common.with_variant(common.get_base(''), variant)


def _keys(leaves, comments, fields):
  keys = []
  for name, default in leaves:
    known = _KNOWN.get(name)
    meaning = [_sentence(text) for text in (
        fields.get(name), comments.get(name)) if text]
    if not meaning:
      raise ExtensionError(
          f'config.{name} has no meaning: give it a comment where its default '
          'is set, or describe the field that it becomes.')
    if known:
      names = ', '.join(f"`'{x}'`" for x in known)
      meaning.append(f'Known: {names}.')
    keys.append(Key(name, default, ' '.join(meaning)))
  return keys


def _leaves(config: Mapping[str, Any], prefix='') -> Iterable[tuple[str, Any]]:
  for name, value in config.items():
    if hasattr(value, 'items') and len(value):
      yield from _leaves(value, f'{prefix}{name}.')
    else:
      yield prefix + name, value


def _sentence(text):
  text = text[0].upper() + text[1:]
  return text if text.endswith('.') else f'{text}.'


def shown(value: Any) -> str:
  """Returns a value of a config as a user would type it."""
  if hasattr(value, 'to_dict'):
    value = value.to_dict()
  return repr(value)


class _Text(docutils.SphinxDirective):
  """A directive that is replaced by Markdown made from the code."""

  optional_arguments = 1

  def run(self):
    for module in (common, tables, augmentation, input_pipeline, method_parts,
                   models, parallel, pieces, weight_rules):
      self.env.note_dependency(module.__file__)
    return self.parse_text_to_nodes(self.text(), allow_section_headings=True)

  def text(self) -> str:
    raise NotImplementedError


class _Keys(_Text):
  """`config-keys`: lists the keys of a section, or of `table`."""

  def text(self):
    section = self.arguments[0] if self.arguments else ''
    if section == 'table':
      keys = table_keys()
    else:
      keys = [key for key in base_keys()
              if (key.name.split('.')[0] if '.' in key.name else '') == section]
    if not keys:
      raise ExtensionError(f'No key of a config is in {section!r}.')
    return '\n\n'.join(
        f'```{{confval}} {key.name}\n:default: `{shown(key.default)}`\n\n'
        f'{key.meaning}\n```' for key in keys)


class _Losses(_Text):
  """`config-losses`: lists the names of losses in a config."""

  def text(self):
    lines = ['| name | what it is | for |', '|---|---|---|']
    for name, term in sorted(pieces._TERMS.items()):
      use = 'label maps' if name in pieces._LOSSES else '`loss_by_kind` only'
      lines.append(f'| `{name}` | {_summary(_function(name, term))} | {use} |')
    return '\n'.join(lines)


def _function(name, term):
  """Returns the function of the library that a name stands for."""
  if name in pieces._LOSSES:
    return pieces._LOSSES[name]
  cells = (cell.cell_contents for cell in term.__closure__)
  return next(cell for cell in cells if callable(cell))


def _summary(function):
  """Returns the first line of a docstring, with a link to all of it."""
  line = inspect.getdoc(function).splitlines()[0]
  name = f'{function.__module__}.{function.__name__}'
  return f'{line} {{py:func}}`{function.__name__} <{name}>`'


class _Networks(_Text):
  """`config-networks`: lists the options of every network."""

  def text(self):
    blocks = []
    for name, network in sorted(models._MODELS.items()):
      blocks.append(f'**`{name}`** '
                    f'({{py:class}}`{network.__module__}.{network.__name__}`)')
      blocks += [f'- `model.options.{option}`: {meaning}'
                 for option, meaning in attributes(network).items()
                 if option != 'num_classes']
      blocks.append('')
    return '\n'.join(blocks)


def setup(app):
  app.add_directive('config-keys', _Keys)
  app.add_directive('config-losses', _Losses)
  app.add_directive('config-networks', _Networks)
  return {'parallel_read_safe': True}
