"""A base class for tests of importing a folder of pictures and masks."""

from data_prep import formats
from data_prep.drawing import rasterize
from data_prep.formats import registry
import numpy as np
from PIL import Image

from tests import source_case

SIZE = (10, 12)


def square(x, value=1):
  """Returns a mask with one square of 4 x 4 pixels, whose corner is (x, 2)."""
  mask = np.zeros(SIZE, np.uint8)
  mask[2:6, x : x + 4] = value
  return mask


class Case(source_case.SourceCase):
  """Saves small pictures and masks in a folder, and imports the folder."""

  def save(self, name, array=None):
    path = self.source / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if array is None:
      array = np.random.default_rng(len(name)).integers(
          256, size=(*SIZE, 3), dtype=np.uint8)
    Image.fromarray(array).save(path)

  def read(self, **options):
    imported = registry.read(
        'folder', self.source, self.output, formats.Options(**options))
    self.root = self.output / imported.root
    self.notices = ' | '.join(imported.notices)
    self.rows = {row.id: row for row in imported.rows}
    return imported

  def label(self, row_id):
    return rasterize.rasterize(
        self.rows[row_id].annotation, size=SIZE, root=self.root)

  def ask(self, **options):
    """Returns the single problem of an import, which asks the user a question.
    """
    problem, = self.read(**options).problems
    self.assertLessEqual(len(str(problem)), 200)
    return str(problem)
