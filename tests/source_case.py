"""A source and an output folder for tests of importers."""

import pathlib
import tempfile

from absl.testing import parameterized


class SourceCase(parameterized.TestCase):
  """Makes both folders and removes them.

  Attributes:
    source: what is imported.
    output: where pictures may be written.
  """

  def setUp(self):
    super().setUp()
    self.source = pathlib.Path(
        self.enterContext(tempfile.TemporaryDirectory()))
    self.output = pathlib.Path(
        self.enterContext(tempfile.TemporaryDirectory()))
