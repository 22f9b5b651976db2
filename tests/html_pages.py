"""Parses a page as a browser would, and checks it."""

import base64
import collections
import hashlib
import html.parser
import re

_VOID = ('meta', 'img', 'br', 'input', 'image', 'path')


class Page(html.parser.HTMLParser):
  """A parsed page.

  Attributes:
    tags: (name, attributes) in order.
    texts: text by the innermost tag around it.
    problems: tags that are not closed in order.
  """

  def __init__(self, text):
    super().__init__()
    self.tags, self.problems, self._open = [], [], []
    self.texts = collections.defaultdict(list)
    self.feed(text)
    self.close()
    self.problems += [f'{tag} stays open' for tag in self._open]

  def handle_starttag(self, tag, attrs):
    self.tags.append((tag, dict(attrs)))
    if tag not in _VOID:
      self._open.append(tag)

  def handle_endtag(self, tag):
    if tag in _VOID:
      return
    if not self._open or self._open.pop() != tag:
      self.problems.append(f'{tag} is closed out of turn')

  def handle_data(self, data):
    self.texts[self._open[-1] if self._open else ''].append(data)

  def all(self, name):
    """Returns the attributes of all tags with a given name."""
    return [attributes for tag, attributes in self.tags if tag == name]


def assert_sound(test, text) -> Page:
  """Checks what every report must fulfil, and returns the parsed page."""
  page = Page(text)
  test.assertEmpty(page.problems)
  ids = [a['id'] for _, a in page.tags if 'id' in a]
  test.assertLen(ids, len(set(ids)))
  for _, attributes in page.tags:
    for name in ('src', 'href', 'srcset', 'action', 'data'):
      address = attributes.get(name, '#')
      test.assertRegex(address, '^(#|data:image/)')
      if address.startswith('#') and len(address) > 1:
        test.assertIn(address[1:], ids)
    # No part of a name has become an attribute with JavaScript.
    test.assertEmpty([n for n in attributes if n.startswith('on')])
  for image in page.all('img'):
    test.assertNotEmpty(image['alt'])
  for figure in page.all('svg'):
    test.assertTrue(figure.get('role') == 'img' or 'aria-hidden' in figure)
  test.assertNotRegex(text, r'url\((?!#)|@import|innerHTML|eval\(')
  scripts = page.texts['script']
  test.assertLen(page.all('script'), len(scripts))
  policy = next(
      m['content'] for m in page.all('meta')
      if m.get('http-equiv') == 'Content-Security-Policy')
  test.assertIn("default-src 'none'; img-src data:;", policy)
  hashes = re.findall("script-src '(?:sha256-)?([^']*)'", policy)
  test.assertEqual(hashes, [
      base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
      for script in scripts] or ['none'])
  return page
