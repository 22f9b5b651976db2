"""Tests that folders laid out as public sets are read with at most one flag."""

import collections
import pathlib
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
from data_prep.checks import check
from data_prep.drawing import rasterize
import numpy as np

from tests import prepare_binary
from tests import public_sets
from tests.public_sets import layouts


class _Read:
  """Records the manifest that is checked, and draws its exact masks.

  Attributes:
    classes: names of the manifest's classes.
    rows: rows of the manifest.
    labels: maps the id of each row with an exact mask to its label map.
  """

  def __init__(self):
    self.classes, self.rows, self.labels = (), [], {}

  def inspect(self, manifest, **options):
    """Replaces `check.inspect_manifest`: records the rows, then calls it."""
    self.classes, self.rows = manifest.header.classes, manifest.rows
    findings = _inspect(manifest, **options)
    for row, facts in zip(manifest.rows, findings.facts, strict=True):
      if row.annotation and row.annotation['kind'] == 'mask' and facts.size:
        self.labels[row.id] = rasterize.rasterize(
            row.annotation, size=facts.size, root=manifest.root)
    return findings


_inspect = check.inspect_manifest


class PublicLayoutsTest(parameterized.TestCase):

  def _prepare(self, folder, *flags):
    """Checks a folder; returns the exit code, stdout, errors and a `_Read`."""
    read = _Read()
    with mock.patch.object(check, 'inspect_manifest', read.inspect):
      code, out, lines = prepare_binary.run(
          f'--source={folder}', '--check', *flags)
    return code, out, lines, read

  @parameterized.parameters(*public_sets.LAYOUTS)
  def test_layout(self, name):
    layout = public_sets.LAYOUTS[name]()
    folder = self.enterContext(tempfile.TemporaryDirectory())
    layouts.write(layout, pathlib.Path(folder))
    code, out, lines, read = self._prepare(folder)
    if layout.flag or layout.refused:
      self.assertEqual(code, 2, out)
      # Without the flag, the error names it, but only the user can know its
      # value if that assigns a meaning to the stored pixel values.
      name, _, value = layout.flag.partition('=')
      self.assertIn(
          layout.refused or (name if ':' in value else layout.flag), lines[0])
    if layout.refused:
      return
    if layout.flag:
      code, out, lines, read = self._prepare(folder, layout.flag)
    self.assertEqual((code, lines), (0, []), out)
    for words in layout.said:
      self.assertIn(words, out)
    self.assertEqual(read.classes, layout.classes)
    self.assertLen(read.rows, layout.images)
    self.assertLen(read.labels, layout.exact)
    self.assertLen({r.subject or r.id for r in read.rows}, layout.subjects)
    splits = collections.Counter(r.split for r in read.rows)
    self.assertGreater(splits['train'], 0)
    self.assertGreater(splits['test'], 0)
    self.assertEqual(splits, {**splits, **layout.given})
    shown, pixels = layout.shown
    label = read.labels[shown]
    found = {v: int(np.sum(label == v)) for v in np.unique(label) if v}
    self.assertEqual(found, pixels)


if __name__ == '__main__':
  absltest.main()
