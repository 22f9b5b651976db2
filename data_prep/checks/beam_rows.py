"""Inspects the rows of a manifest with Apache Beam, some rows at a time.

Workers call `check_row.inspect_row`, as threads do without Beam. What they find
comes back in files of a shared folder: problems, notices and facts, the
thumbnails of the images, and the hashes of all files. The rest of the check,
which compares rows, is done by the process that starts the pipeline.
"""

from collections.abc import Iterable, Iterator, Sequence
import hashlib
import itertools
import os
import pathlib
import pickle
import tempfile
from typing import NamedTuple

from data_prep import manifest as manifest_lib
from data_prep.checks import check_annotation
from data_prep.checks import check_row
from data_prep.shared import pipelines
from data_prep.shared import pixels

_TOGETHER = 128  # Number of rows that a worker inspects at once.


class Task(NamedTuple):
  """Some rows to inspect.

  Attributes:
    file: file to write.
    rows: the rows.
    root: folder that the rows' paths are relative to.
    classes: names of the classes.
    is_asked: see `check_annotation.Context`.
  """

  file: str
  rows: tuple[manifest_lib.Row, ...]
  root: str
  classes: tuple[str, ...]
  is_asked: bool


def inspect(
    rows: Iterable[manifest_lib.Row],
    context: check_annotation.Context,
    *,
    folder: pathlib.Path,
    options: Sequence[str],
) -> Iterator[tuple[check_annotation.Log, check_row.Facts]]:
  """Yields the log and the facts of each row, in the order of the rows.

  Args:
    rows: the rows.
    context: the context of the set. Thumbnails and the hashes of the files are
      added to it, but pixels are not kept.
    folder: folder that all workers see under this path; a folder for their
      files is made in it and removed at the end.
    options: value of `pipelines.check_options`.

  Raises:
    OSError: if a worker fails.
  """
  rows = iter(rows)
  with tempfile.TemporaryDirectory(dir=folder, prefix='.check-') as place:
    tasks = []
    while some := tuple(itertools.islice(rows, _TOGETHER)):
      tasks.append(Task(
          os.path.join(place, str(len(tasks))), some,
          os.path.abspath(context.folder.root), context.classes,
          context.is_asked))
    files = [pathlib.Path(task.file) for task in tasks]
    pipelines.run(
        _work, tasks, files, [len(task.rows) for task in tasks],
        options=options, what='check the files', noun='parts')
    for task, file in zip(tasks, files, strict=True):
      found, hashes = pickle.loads(file.read_bytes())
      file.unlink()
      if context.kept is not None:
        for name, digest in hashes.items():
          context.kept.add_hash(name, digest)
      for row, (problems, notices, seen, thumbnail) in zip(
          task.rows, found, strict=True):
        if thumbnail:
          seen = seen._replace(thumbnail=context.thumbnails.add(thumbnail))
        yield check_annotation.Log(problems, notices, row), seen


def _work(task):
  """Inspects some rows and writes what is found to a file."""
  context = check_annotation.Context(
      pixels.open_folder(pathlib.Path(task.root)), task.classes, task.is_asked,
      thumbnails=_Thumbnails(), kept=_Hashes())
  found = []
  with pixels.strict_pillow():
    for row in task.rows:
      log, seen = check_row.inspect_row(row, context)
      found.append((
          log.problems, log.notices, seen._replace(thumbnail=None),
          b'' if seen.thumbnail is None else
          context.thumbnails.contents[seen.thumbnail]))
  unfinished = f'{task.file}.{os.getpid()}.unfinished'
  with open(unfinished, 'wb') as file:
    pickle.dump((found, context.kept.digests), file)
  os.replace(unfinished, task.file)


class _Thumbnails:
  """Takes the place of the file of thumbnails."""

  def __init__(self):
    self.contents = []

  def add(self, content):
    self.contents.append(content)
    return len(self.contents) - 1


class _Hashes:
  """Takes the place of `kept.Kept`, and only hashes the files."""

  def __init__(self):
    self.digests = {}

  def add_image(self, name, root, picture):
    del picture
    self._add(name, root)

  def add_label(self, annotation, root, label):
    del label
    self._add(annotation['path'], root)

  def _add(self, name, root):
    if name not in self.digests:
      with open(root / name, 'rb') as file:
        self.digests[name] = hashlib.file_digest(file, 'sha256').digest()
