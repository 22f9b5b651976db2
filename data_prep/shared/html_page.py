"""Builds HTML pages, each a single file that needs no network.

The pages follow the reader's choice of dark or light colours. The module does
not depend on the content of a page. All text from users passes through
`escape`.
"""

import base64
from collections.abc import Sequence
import hashlib
import html
import io
import os
import re
from typing import Any

import numpy as np
from PIL import Image

from data_prep.shared import whole_file

# Colours of the classes from class 1 on. Green comes first, because no tissue
# is green; after the last colour, the colours repeat.
COLOURS = ((26, 255, 89), (0, 153, 255), (255, 224, 26), (255, 26, 204),
           (245, 130, 49), (145, 30, 180))
# Control characters, and surrogates, which stand for bytes of a file name that
# are not UTF-8.
_UNPRINTABLE = re.compile('[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]')

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 68rem;
  margin: 2rem auto; padding: 0 1rem; background: Canvas; color: CanvasText; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
h1, h2, h3, li, p, caption, figcaption { overflow-wrap: anywhere; }
table { border-collapse: collapse; margin: 0 2rem 1rem 0; }
.tables { display: flex; flex-wrap: wrap; align-items: flex-start;
  overflow-x: auto; }
.tables td { max-width: 40rem; } .tables th, .tables td { min-width: 3em; }
.tables tr:first-child th { overflow-wrap: normal; max-width: 12rem; }
.tables td { overflow-wrap: break-word; }
.tables p { margin: 0 2rem 1rem 0; }
caption { text-align: left; opacity: .8; padding-bottom: .2rem; }
th, td { padding: .15rem .7rem; text-align: right; overflow-wrap: anywhere;
  border-bottom: 1px solid rgb(128 128 128 / .35);
  font-variant-numeric: tabular-nums; }
th { font-weight: 600; } th:first-child { text-align: left; }
.words th, .words td { text-align: left; }
.words th { overflow-wrap: normal; }
.words td:not(:last-child) { max-width: 16rem; }
.swatch { display: inline-block; width: .8em; height: .8em;
  margin-right: .4em; border: 1px solid rgb(128 128 128 / .6); }
.pictures { display: flex; flex-wrap: wrap; gap: .9rem; }
figure { margin: 0; font-size: .8rem; }
figure img { width: 100%; height: auto; display: block; }
.pictures figure { width: 13.5rem; }
.dim { opacity: .8; }
@media (max-width: 640px) {
  .tables table { margin-right: 0; }
  .tables th, .tables td { padding: .15rem .3rem; }
}
"""


def escape(value: Any) -> str:
  """Returns a value as text that is safe in HTML, even within quotes.

  Characters that UTF-8 or HTML cannot hold become U+FFFD.
  """
  return html.escape(_UNPRINTABLE.sub('\ufffd', str(value)))


def name(value: Any) -> str:
  """Returns a name as HTML; its writing direction affects no other text."""
  return f'<bdi>{escape(value)}</bdi>'


def page(
    title: str, body: Sequence[str], *, style: str = '', script: str = ''
) -> str:
  """Returns an HTML page that can load nothing and run only its own script.

  Args:
    title: plain text.
    body: HTML.
    style: CSS in addition to that of every page.
    script: JavaScript, which runs once the body is loaded.
  """
  digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
  source = f'sha256-{digest}' if script else 'none'
  policy = (
      "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
      f"script-src '{source}'; base-uri 'none'; form-action 'none'")
  return '\n'.join([
      '<!DOCTYPE html>', '<html lang="en"><head><meta charset="utf-8">',
      f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
      '<meta name="viewport" content="width=device-width">',
      f'<title>{escape(title)}</title>',
      f'<style>{_STYLE}{style}</style></head><body>', *body,
      *([f'<script>{script}</script>'] if script else []),
      '</body></html>', ''])


def write(path: str | os.PathLike[str], text: str) -> None:
  """Writes a page; a reader never sees half of one.

  Raises:
    OSError: if the page cannot be written.
  """
  with whole_file.open_whole(path, encoding='utf-8') as file:
    file.write(text)


def table(
    caption: str,
    head: Sequence[Any],
    lines: Sequence[Sequence[Any]],
    *,
    css_class: str = '',
) -> str:
  """Returns an HTML table; the first cell of each line is its heading.

  Args:
    caption: plain text, like the headings and the cells.
    head: headings of the columns.
    lines: the cells of each line; these are usually numbers, so they are
      aligned to the right.
    css_class: 'words' aligns all cells to the left.
  """
  cells = lambda tag, values: ''.join(
      f'<{tag}>{escape(v)}</{tag}>' for v in values)
  rows = [f'<tr>{cells("th", head)}</tr>']
  rows += [f'<tr>{cells("th", x[:1])}{cells("td", x[1:])}</tr>' for x in lines]
  start = f'<table class="{css_class}">' if css_class else '<table>'
  return f'{start}<caption>{escape(caption)}</caption>{"".join(rows)}</table>'


def side_by_side(*parts: str, css_class: str = 'tables') -> str:
  """Puts pieces of HTML side by side if they fit; returns '' if all are ''."""
  content = ''.join(parts)
  return f'<div class="{css_class}">{content}</div>' if content else ''


def legend(classes: Sequence[str]) -> str:
  """Returns the names of the classes, each preceded by its colour."""
  return ', '.join(
      (f'<span class="swatch" style="background: rgb{colour(i)}"></span>'
       if i else '') + name(text) for i, text in enumerate(classes))


def colour(value: int) -> tuple[int, int, int]:
  """Returns the colour of a class that is not the background."""
  return COLOURS[(int(value) - 1) % len(COLOURS)]


def image_bytes(pixels: np.ndarray, form: str, **options: Any) -> bytes:
  """Encodes an image, uint8 [H, W, 3], in a format; a PNG gets a palette.

  With a palette, a PNG takes a third of the bytes and looks the same.
  """
  image = Image.fromarray(pixels)
  if form == 'PNG':
    image, options = image.quantize(256), {'optimize': True} | options
  file = io.BytesIO()
  image.save(file, form, **options)
  return file.getvalue()


def data_uri(content: bytes, form: str) -> str:
  """Returns a data URI, an address that contains the encoded image itself."""
  text = base64.b64encode(content).decode()
  return f'data:image/{form.lower()};base64,{text}'
