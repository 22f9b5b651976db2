"""Tests of data_prep.formats.segments."""

import pathlib

from absl.testing import absltest
from data_prep import formats
from data_prep.formats import assembling
from data_prep.formats import parts
from data_prep.formats import segments
from data_prep.formats import uniting
from data_prep.shared import volume_type
import numpy as np


def _reader(drawn, **options):
  """Returns a reader of files that hold the given label maps by name.

  Args:
    drawn: for each file, the voxels of each segment by its name.
    **options: the user's options.
  """
  def draw(path, image, values):
    canvas = segments.Canvas(image.voxels.shape)
    for name, value in values.items():
      if name in drawn[path.name]:
        canvas.draw(np.array(drawn[path.name][name], bool), value)
    return segments.Drawn(canvas.label, canvas.overlap)

  report = assembling.Report(formats.Options(**options))
  uniter = uniting.Uniter({}, None, nouns=('voxel', 'volume'))
  reader = segments.Reader(pathlib.Path(), segments.Files(
      lambda path: tuple(drawn[path.name]), draw), uniter, report)
  masks = [parts.Mask(name, 'mask') for name in drawn]
  return reader, masks, report, uniter


class SegmentsTest(absltest.TestCase):

  def _read(self, drawn, masks=None, **options):
    reader, every, self.report, uniter = _reader(drawn, **options)
    self.classes = reader.look_through(every)
    chosen = [m for m in every if masks is None or m.path in masks]
    shape = np.shape(next(iter(next(iter(drawn.values())).values())))
    volume = volume_type.Volume(np.zeros(shape), np.eye(4))
    found = reader.read({'mask': chosen}, volume, 'case')
    uniter.tell(self.report)
    reader.tell()
    return found and found['mask'].tolist()

  def test_the_later_class_wins_within_and_between_files(self):
    label = self._read({
        'x': {'b': [1, 1, 0, 0, 0], 'a': [0, 1, 1, 1, 0]},
        'y': {'c': [0, 0, 0, 1, 1]}})
    self.assertEqual(self.classes, ('background', 'a', 'b', 'c'))
    self.assertEqual(label, [2, 2, 1, 3, 3])
    self.assertIn('two classes overlap in 2 voxels of 1 volume',
                  ' '.join(self.report.notices))

  def test_order_of_the_user(self):
    label = self._read(
        {'x': {'a': [1, 1, 0], 'b': [0, 1, 1], 'c': [1, 1, 1]}},
        classes=('organs', 'b', 'a'))
    self.assertEqual(self.classes, ('organs', 'b', 'a'))
    self.assertEqual(label, [2, 2, 1])
    self.assertIn("1 segment name that --classes leaves out becomes "
                  'background: c', self.report.notices)

  def test_unlabelled_lies_below_all_classes(self):
    label = self._read({
        'x': {'ignore': [1, 1, 1, 0, 0], 'a': [1, 0, 0, 0, 0]},
        'y': {'b': [0, 1, 0, 1, 0]}})
    self.assertEqual(self.classes, ('background', 'a', 'b'))
    self.assertEqual(label, [1, 2, 255, 2, 0])
    # The same if the file with the class comes first.
    label = self._read({
        'x': {'b': [0, 1, 0, 1, 0]},
        'y': {'void': [1, 1, 1, 0, 0], 'a': [1, 0, 0, 0, 0]}})
    self.assertEqual(label, [1, 2, 255, 2, 0])

  def test_a_segment_that_only_others_have(self):
    drawn = {'x': {'a': [1, 0]}, 'y': {'a': [1, 0], 'b': [0, 0]}}
    self.assertEqual(self._read(drawn, masks=['x']), [1, 255])
    self.assertEqual(self._read(drawn, masks=['y']), [1, 0])

  def test_names_that_differ_in_case_and_spaces_only(self):
    self._read({'x': {'GTV-1': [1, 0], 'gtv 1': [0, 1]}})
    self.assertIn("segments 'GTV-1' and 'gtv 1' are two classes",
                  ' '.join(self.report.notices))

  def test_clean_names(self):
    self.assertEqual(segments.clean('  left   lung '), 'left lung')
    self.assertEqual(segments.clean('liver,\nleft\0'), 'liver, left')
    self.assertEqual(segments.clean('\0'), '')
    self.assertEqual(segments.clean(''), '')


if __name__ == '__main__':
  absltest.main()
