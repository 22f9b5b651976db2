"""Tests pictures with several mask files: parts, or masks of other raters."""

from absl.testing import absltest
from absl.testing import parameterized
from data_prep.formats import uniting
import nibabel
import numpy as np

from tests import source_case


def square(x, y=2, size=8):
  mask = np.zeros(source_case.SIZE, np.uint8)
  mask[y : y + size, x : x + size] = 1
  return mask


class StrongAndWeakTest(parameterized.TestCase):

  @parameterized.parameters(
      ([], None, None), ([None], None, None), (['scribble'], 'scribble', None),
      (['scribble', 'mask'], 'mask', 'scribble'),
      (['coarse_mask', None, 'scribble'], 'coarse_mask', None))
  def test_by_hand(self, kinds, first, second):
    found = uniting.strong_and_weak([k and {'kind': k} for k in kinds])
    self.assertEqual([a and a['kind'] for a in found], [first, second])


class ObserversTest(source_case.ShapesCase):
  """Tests masks of a square of 8 x 8 pixels that was drawn several times.

  The IoU of two squares is 7 / 9 if they are shifted by 1 pixel, and 1 / 3 if
  they are shifted by 4 pixels.
  """

  def files(self, form, *moves):
    """Writes two pictures, and for each of `moves` a mask of either picture.

    Args:
      form: path of a mask, with fields for the picture and the mask's number.
      *moves: shift of the square in each mask, in pixels.
    """
    for name, x in (('a', 3), ('b', 9)):
      self.picture(('images/{}.png' if form.startswith('masks')
                    else '{}/image.png').format(name))
      for i, move in enumerate(moves, start=1):
        self.write(form.format(name, i), square(x + move))

  @parameterized.parameters(
      ('{}/seg0{}.png', 'seg01'), ('masks/{}_seg0{}.png', 'seg01'),
      ('masks/{}/seg0{}.png', 'seg01'), ('masks/{}_mask_{}.png', 'mask_1'))
  def test_nearly_the_same(self, form, word):
    self.files(form, 0, 1, 0)
    problem = str(self.read('folder', problems=1).problems[0])
    self.assertIn('mask files of 2 pictures are nearly the same', problem)
    self.assertIn(f'read one, --mask_folder={word}, or rename', problem)
    self.assertLessEqual(len(problem), 200)
    imported = self.read('folder', mask_folders=(word,))
    self.assertEqual(
        [self.counts(r)[1] for r in imported.rows], [64, 64])
    self.assertIn('4 masks are not read, such as ', self.notices)

  def test_as_the_message_says_raters_are_rows(self):
    self.files('{}/rater{}.png', 0, 1)
    self.assertEqual(
        [r.annotator for r in self.read('folder').rows],
        ['rater1', 'rater2'] * 2)

  def test_beside_the_picture_of_a_case(self):
    self.files('{}/task01_seg0{}.png', 0, 1, 1)
    both = {'mask_folders': ('task01_seg01', 'task01_seg02')}
    problem = str(self.read('folder', problems=1, **both).problems[0])
    self.assertIn('--mask_folder=task01_seg01,', problem)
    imported = self.read('folder', mask_folders=('task01_seg01',))
    self.assertLen(imported.rows, 2)
    self.assertEqual([self.counts(r)[1] for r in imported.rows], [64, 64])
    self.assertIn('4 files are not read, such as ', self.notices)
    self.assertIn(': beside a picture of the case, and not in --mask_folder',
                  self.notices)

  @parameterized.parameters((4, 96), (12, 128))
  def test_parts_are_united(self, move, number):
    self.files('masks/{}_seg0{}.png', 0, move)
    self.assertEqual(
        [self.counts(r)[1] for r in self.read('folder').rows], [number] * 2)

  def test_a_copy_among_parts_is_a_notice(self):
    self.files('masks/{}_seg0{}.png', 0, 8)
    self.write('masks/b_seg02.png', square(9))
    self.read('folder')
    self.assertIn('1 picture has mask files that are nearly the same, such '
                  'as masks/b_seg01.png', self.notices)

  def test_volumes(self):
    image = np.arange(8 * 9 * 2, dtype=np.int16).reshape(8, 9, 2)
    label = np.zeros(image.shape, np.uint8)
    label[2:6, 2:6] = 1
    for name, array in (('image', image), ('task01_seg01', label),
                        ('task01_seg02', label)):
      path = self.source / 'case1' / f'{name}.nii.gz'
      path.parent.mkdir(exist_ok=True)
      nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), path)
    words = ('task01_seg01', 'task01_seg02')
    problem = str(self.read(
        'nifti', problems=1, mask_folders=words).problems[0])
    self.assertIn('mask files of 1 volume are nearly the same', problem)
    imported = self.read('nifti', mask_folders=words[:1])
    self.assertIsNotNone(imported.rows[0].annotation)


if __name__ == '__main__':
  absltest.main()
