"""Collects what is odd about files, to tell it once for all of them."""

import collections
from collections.abc import Iterable

from data_prep.shared import grammar
from data_prep.shared import pixels


class Oddities:
  """Descriptions of what is odd about files, each with its files."""

  def __init__(self):
    self._paths = collections.defaultdict(list)

  def add(self, texts: Iterable[str], path: str) -> None:
    """Records descriptions of what is odd about a file."""
    for text in texts:
      if path not in self._paths[text]:
        self._paths[text].append(path)

  def tell(self, report) -> None:
    """Notes each oddity with the number of files and the first of them."""
    for text, paths in self._paths.items():
      report.note(f'{text}: {grammar.counted(len(paths), "file")}, such as '
                  f'{pixels.tail(paths[0])}')
