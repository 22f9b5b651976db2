"""Reads docstrings in our style: plain text with a little Markdown."""

import re

_LIST_ITEM = re.compile(r'\s*[-*] ')
_SECTION = re.compile(r'(Args|Attributes|Returns|Raises):$')
_INDENT = 2
# These stay unchanged: code, emphasis, arguments such as **changes, and items.
_MARKUP = re.compile(
    r'`[^`]*`|(?<!\w)\*(?=\w)[^*]*\w\*(?!\w)|^\s+\*+\w+:|^\s*\* ')


def _indent(line):
  return len(line) - len(line.lstrip())


def escaped(line: str) -> str:
  """Escapes the asterisks and bars of formulas in a line."""
  parts, end = [], 0
  for match in _MARKUP.finditer(line):
    parts += [re.sub(r'([*|])', r'\\\1', line[end:match.start()]), match[0]]
    end = match.end()
  return ''.join(parts) + re.sub(r'([*|])', r'\\\1', line[end:])


def with_literal_formulas(lines: list[str]) -> list[str]:
  """Turns the indented paragraphs of a docstring into literal blocks.

  A formula has a paragraph of its own whose lines are indented, all of them or
  all but the first. The text below Args, Returns and so on is not changed.

  Args:
    lines: of a docstring, without its common indentation.
  """
  result, paragraph = [], []

  def close():
    if paragraph:
      indents = [_indent(line) for line in paragraph]
      if any(indents) and not _LIST_ITEM.match(paragraph[0]):
        result.extend(['::', ''])
        shift = ' ' * (0 if min(indents) else _INDENT)
        result.extend(shift + line for line in paragraph)
      else:
        result.extend(map(escaped, paragraph))
      paragraph.clear()

  for i, line in enumerate(lines):
    if _SECTION.match(line):
      close()
      return result + list(map(escaped, lines[i:]))
    if line.strip():
      if paragraph and _LIST_ITEM.match(line) and not _LIST_ITEM.match(
          paragraph[0]):
        close()
        result.append('')  # A list needs a blank line before it.
      paragraph.append(line)
    else:
      close()
      result.append(line)
  close()
  return result


def _on_docstring(app, what, name, obj, options, lines):
  del app, what, name, obj, options
  lines[:] = with_literal_formulas(lines)


def _skip(app, what, name, obj, skip, options):
  """Leaves out fields of named tuples, which `Attributes` describes."""
  del app, what, name, skip, options
  return True if type(obj).__name__ == '_tuplegetter' else None


def setup(app):
  # Before napoleon, whose priority is 500.
  app.connect('autodoc-process-docstring', _on_docstring, priority=400)
  app.connect('autodoc-skip-member', _skip)
  return {'parallel_read_safe': True}
