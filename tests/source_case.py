"""Base classes for tests of importers, with a source and an output folder."""

import json
import pathlib
import tempfile

from absl.testing import parameterized
from data_prep import formats
from data_prep.drawing import rasterize
from data_prep.formats import registry
import numpy as np
from PIL import Image

SIZE = (20, 30)  # Size of the pictures of `ShapesCase`.


class SourceCase(parameterized.TestCase):
  """Creates the two folders before each test and removes them afterwards.

  Attributes:
    source: folder of the files that are imported.
    output: folder into which an importer may write pictures.
  """

  def setUp(self):
    super().setUp()
    self.source = pathlib.Path(
        self.enterContext(tempfile.TemporaryDirectory()))
    self.output = pathlib.Path(
        self.enterContext(tempfile.TemporaryDirectory()))

  def write(self, name, content):
    """Writes a file below `source`.

    Args:
      name: path of the file, relative to `source`.
      content: pixels of a picture, bytes, a string, or an object to write as
        JSON.
    """
    path = self.source / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, np.ndarray):
      Image.fromarray(content).save(path)
    elif isinstance(content, bytes):
      path.write_bytes(content)
    else:
      path.write_text(
          content if isinstance(content, str) else json.dumps(content),
          encoding='utf-8')


class ShapesCase(SourceCase):
  """Writes random pictures, imports a set, and counts annotated pixels."""

  def picture(self, *names):
    for name in names:
      path = self.source / name
      path.parent.mkdir(parents=True, exist_ok=True)
      # The seed depends on the name, so every picture is different.
      rng = np.random.default_rng([*name.encode()])
      noise = rng.integers(0, 256, (*SIZE, 3))
      Image.fromarray(noise.astype(np.uint8)).save(path)

  def read(self, name, is_detected=True, problems=0, **options):
    if is_detected:
      self.assertEqual(registry.detect_format(self.source), name)
    options['leave_out'] = frozenset(options.get('leave_out', ()))
    imported = registry.read(
        name, self.source, self.output, formats.Options(**options))
    self.assertLen(imported.problems, problems, imported.problems)
    self.root = self.output / imported.root
    self.notices = ' '.join(imported.notices)
    return imported

  def counts(self, row):
    if row.annotation is None:
      self.assertEqual(row.role, 'unlabelled')
      return None
    label = rasterize.rasterize(row.annotation, size=SIZE, root=self.root)
    return dict(zip(*(v.tolist() for v in np.unique(
        label, return_counts=True)), strict=True))


class VolumesCase(parameterized.TestCase):
  """Makes a folder `source` before each test, and imports its volumes.

  Attributes:
    folder: temporary folder that holds `source` and, later, `out`.
    source: folder of the files that are imported.
  """

  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(
        self.enterContext(tempfile.TemporaryDirectory()))
    self.source = self.folder / 'source'
    self.source.mkdir()

  def _read(self, **options):
    output = self.folder / 'out'
    output.mkdir(exist_ok=True)
    return registry.read(
        registry.detect_format(self.source), self.source, output,
        formats.Options(**options))
