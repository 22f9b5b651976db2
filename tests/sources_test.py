"""Tests for data_prep.formats.sources: the files it finds, and its notices."""

from absl.testing import absltest
from data_prep.formats import assembling
from data_prep.formats import sources

from tests import source_case


class UnusedTest(source_case.SourceCase):

  def _notices(self, names, used):
    for name in names:
      path = self.source / name
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_text('')
    report = assembling.Report()
    sources.note_unused(self.source, used, report)
    return report.notices

  def test_files_of_other_tools_are_mentioned(self):
    self.assertEqual(self._notices(
        ('a.png', 'b.png', 'annots/a.txt', 'annots/b.txt', 'x.nrrd',
         'README.md', 'LICENSE', '.hidden', 'SegmentationObject/a.png'),
        ('a.png', 'b.png')), [
            '1 .nrrd file is not read: x.nrrd',
            '1 .png file is not read: SegmentationObject/a.png, named as a '
            'picture: if it is an annotation, see --format',
            '2 .txt files are not read, such as annots/a.txt, named as a '
            'picture: if it is an annotation, see --format'])

  def test_many_suffixes(self):
    names = [f'f.{"abcdefgh"[i]}' for i in range(8)]
    notices = self._notices(names, ())
    self.assertLen(notices, 7)
    self.assertIn('2 files of 2 more suffixes are not read, such as f.g',
                  notices)

  def test_everything_used(self):
    self.assertEqual(self._notices(('a.png', 'v.nii.gz'),
                                   ('a.png', 'v.nii.gz')), [])


if __name__ == '__main__':
  absltest.main()
