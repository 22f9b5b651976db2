"""Builds the page of a review, for the server or as one static file."""

import base64
from collections.abc import Mapping, Sequence
import hashlib
import json
import os
import pathlib
from typing import Any

from data_prep.shared import html_page

from experiments.reviewing import suspects as suspects_lib

_FOLDER = pathlib.Path(__file__).parent / 'page'
# The scripts are one program, in this order.
_SCRIPTS = ('masks.js', 'view.js', 'drawing.js', 'store.js', 'suspects.js',
            'slices.js', 'main.js', 'panel.js')


def _read(name):
  return (_FOLDER / name).read_text(encoding='utf-8')


def _script():
  return "'use strict';\n(() => {\n" + '\n'.join(
      map(_read, _SCRIPTS)) + '\n})();\n'


def _digest(text):
  digest = hashlib.sha256(text.encode()).digest()
  return f"'sha256-{base64.b64encode(digest).decode()}'"


def policy() -> str:
  """Returns the Content-Security-Policy of the page.

  The page can only run its own script, use its own style, and send requests to
  the server that it comes from.
  """
  return (
      f"default-src 'none'; script-src {_digest(_script())}; style-src "
      f"{_digest(_read('style.css'))}; connect-src 'self'; img-src data:; "
      "base-uri 'none'; form-action 'none'")


def build(
    review: suspects_lib.Review,
    *,
    decided: Mapping[str, Any],
    who: str,
    closing: str,
    contents: Sequence[Mapping[str, Any]] | None = None,
) -> str:
  """Returns the page as HTML.

  Args:
    review: what the page shows.
    decided: decisions that hold, by id, the newest last.
    who: name of the person, which a static page puts into its decisions.
    closing: what to do when all suspects are decided.
    contents: content of each suspect if the page is static; None if a server
      sends them.
  """
  head = review.header
  identity = f'{head.manifest_sha256} {os.path.abspath(head.run)}'
  data = {
      'mode': 'server' if contents is None else 'static',
      'name': review.name,
      'classes': review.classes,
      # Index 0 is the background, which has no colour.
      'colours': [html_page.colour(k) for k in range(len(review.classes))],
      'journal': hashlib.sha256(
          identity.encode('utf-8', 'replace')).hexdigest()[:16],
      'manifest_sha256': head.manifest_sha256,
      # A list of pairs, because JavaScript would sort ids that are numbers.
      'who': who, 'closing': closing, 'decided': [*decided.items()],
      'suspects': review.facts}
  style = _read('style.css')
  return '\n'.join([
      '<!DOCTYPE html>', '<html lang="en"><head><meta charset="utf-8">',
      '<meta http-equiv="Content-Security-Policy" '
      f'content="{html_page.escape(policy())}">',
      '<meta name="viewport" content="width=device-width, initial-scale=1">',
      '<meta name="referrer" content="no-referrer">',
      # Without this, a browser asks the server for an icon.
      '<link rel="icon" href="data:,">',
      f'<title>{html_page.escape("Review of " + review.name)}</title>',
      f'<style>{style}</style></head><body>', _read('page.html'),
      _json('data', data),
      *(_json(f'suspect-{n}', content)
        for n, content in enumerate(contents or ())),
      f'<script>{_script()}</script>', '</body></html>', ''])


def _json(name, value):
  """Returns a value as a block that no name can end or turn into HTML."""
  text = json.dumps(value).replace('<', '\\u003c')
  return f'<script type="application/json" id="{name}">{text}</script>'
