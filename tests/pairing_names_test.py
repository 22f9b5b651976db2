"""Tests pairing by mask names with numbers, sides or words for scribbles."""

from absl.testing import absltest
from absl.testing import parameterized
from data_prep import formats
from data_prep.formats import registry
import nibabel
import numpy as np

from tests import pairs

_square = pairs.square


class NumbersTest(pairs.Case):

  def test_masks_counted_before_the_word(self):
    for name in ('a', 'b'):
      self.save(f'{name}.png')
      self.save(f'{name}_1_mask.png', _square(0))
      self.save(f'{name}_2_mask.png', _square(6))
    self.assertEqual(self.read().problems, [])
    for name in ('a', 'b'):
      np.testing.assert_array_equal(self.label(name), _square(0) + _square(6))

  def test_a_missing_picture_is_no_part_of_another(self):
    for name in ('a', 'a_1', 'a_2'):
      self.save(f'{name}.png')
      self.save(f'{name}_mask.png', _square(0))
    self.save('a_3_mask.png', _square(6))
    self.assertIn('a mask without a picture, found a_3_mask.png', self.ask())

  def test_volumes_counted_from_0000(self):
    for i in range(3):
      for folder, array in (
          ('imagesTr', np.arange(144).reshape(8, 9, 2).astype(np.int16)),
          ('labelsTr', np.ones((8, 9, 2), np.uint8))):
        path = self.source / folder / f'case_{i:04d}.nii.gz'
        path.parent.mkdir(exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(array, np.diag([1, 1, 3, 1.0])), path)
    imported = registry.read(
        'nifti', self.source, self.output, formats.Options())
    self.assertEqual(imported.problems, [])
    self.assertEqual([r.id for r in imported.rows], [
        f'case_{i:04d}_z{k:03d}' for i in range(3) for k in range(2)])
    self.assertNotIn('unlabelled', {r.role for r in imported.rows})


class WordsTest(pairs.Case):

  @parameterized.parameters('', 'images/')
  def test_sides_before_the_word(self, folder):
    for name in ('a', 'b'):
      self.save(f'{folder}{name}.png')
      for side, x in (('left', 0), ('right', 6)):
        self.save(f'{"masks/" if folder else ""}{name}_{side}_mask.png',
                  _square(x, 255))
    self.assertEqual(self.read().problems, [])
    np.testing.assert_array_equal(self.label('b'), _square(0) + _square(6))

  def test_structures_before_the_word(self):
    for name in ('a', 'b'):
      self.save(f'{name}.png')
      self.save(f'{name}_liver_mask.png', _square(0))
      self.save(f'{name}_kidney_mask.png', _square(6))
    self.assertEqual(self.read().classes, ('background', 'kidney', 'liver'))
    np.testing.assert_array_equal(
        self.label('a'), 2 * _square(0) + _square(6))

  def test_scribbles_beside_pictures(self):
    for name in ('a', 'b'):
      scribble = np.full(pairs.SIZE, 255, np.uint8)
      scribble[2, :3], scribble[8, :3] = 1, 0
      self.save(f'{name}.png')
      self.save(f'{name}_gt.png', _square(1))
      self.save(f'{name}_scribble.png', scribble)
    imported = self.read()
    self.assertEqual(imported.problems, [])
    self.assertEqual(self.rows['a'].annotation['path'], 'a_gt.png')
    self.assertEqual(imported.weak['a']['kind'], 'scribble')

  def test_structures_beside_a_picture_are_asked_about(self):
    for case in ('p1', 'p2'):
      self.save(f'{case}/image.png')
      self.save(f'{case}/liver.png', _square(0, 255))
      self.save(f'{case}/spleen.png', _square(6, 255))
    self.assertIn('--mask_folder=liver,spleen', self.ask())
    imported = self.read(mask_folders=('liver', 'spleen'))
    self.assertEqual(imported.problems, [])
    self.assertEqual(imported.classes, ('background', 'liver', 'spleen'))
    np.testing.assert_array_equal(
        self.label('p2/image'), _square(0) + 2 * _square(6))

  def test_modalities_are_no_structures(self):
    for case in ('p1', 'p2'):
      for name in ('ct', 'pet'):
        self.save(f'{case}/{name}.png')
    self.assertEqual(self.read().problems, [])
    self.assertLen(self.rows, 4)

  def test_what_lies_beside_the_chosen_masks_is_left_out(self):
    for i in range(2):
      for folder in ('images', 'overlay'):
        self.save(f'{folder}/{i}.png')
      self.save(f'masks/{i}.png', _square(i))
    self.assertIn("2 pictures of folder 'overlay' have the names", self.ask())
    self.assertEqual(self.read(mask_folders=('masks',)).problems, [])
    self.assertEqual(list(self.rows), ['0', '1'])
    self.assertIn('2 pictures are not read, such as overlay/0.png: named as '
                  'others, and not in --mask_folder', self.notices)

  @parameterized.parameters('fov/{}_fov.png', 'vessel/{}_vessel.png')
  def test_names_that_go_on_elsewhere_may_be_masks(self, other):
    for name in ('a', 'b'):
      self.save(f'images/{name}.png')
      self.save(f'mask/{name}_mask.png', _square(0))
      self.save(other.format(name), _square(6))
    folder = other.split('/')[0]
    self.assertIn(f'--mask_folder=mask or --mask_folder={folder}', self.ask())
    self.assertEqual(self.read(mask_folders=(folder,)).problems, [])
    np.testing.assert_array_equal(self.label('a'), _square(6))
    self.assertEqual(self.read(mask_folders=('mask',)).problems, [])
    np.testing.assert_array_equal(self.label('a'), _square(0))
    self.assertEqual([*self.rows], ['a', 'b'])

  def test_the_folder_of_all_masks_is_named(self):
    for split in ('Train', 'Test'):
      for folder in ('img', 'ann'):
        self.save(f'{folder}/{split}/{split}_1.png', _square(0))
    self.assertIn('--mask_folder=ann,', self.ask())
    self.assertEqual(self.read(mask_folders=('ann',)).problems, [])
    np.testing.assert_array_equal(self.label('Test_1'), _square(0))

  @parameterized.parameters(
      'masks/reader_A/{}.png', 'masks/{}/reader_A.png', 'reader_A/masks/{}.png')
  def test_observers_in_folders(self, place):
    for name in ('a', 'b'):
      self.save(f'images/{name}.png')
      self.save(place.format(name), _square(0))
      self.save(place.format(name).replace('_A', '_B'), _square(6))
    self.assertEqual(self.read().classes, ('background', 'foreground'))
    self.assertEqual([*self.rows], [
        f'{name}@reader_{letter}' for name in 'ab' for letter in 'AB'])
    np.testing.assert_array_equal(self.label('b@reader_B'), _square(6))

  @parameterized.parameters(
      ('masks/{}_{}.png', None), ('masks/{}/{}.png', None),
      ('{1}_masks/{0}.png', ('nucleus_masks', 'cytoplasm_masks')),
      ('images/{}_{}.png', ('nucleus', 'cytoplasm')))
  def test_a_nucleus_beside_another_structure(self, place, chosen):
    for name in ('a', 'b'):
      self.save(f'images/{name}.png')
      self.save(place.format(name, 'nucleus'), _square(0))
      self.save(place.format(name, 'cytoplasm'), _square(6))
    if chosen:
      self.ask()
    imported = self.read(mask_folders=chosen)
    self.assertEqual(imported.problems, [])
    self.assertEqual(imported.classes, ('background', 'cytoplasm', 'nucleus'))
    np.testing.assert_array_equal(self.label('a'), 2 * _square(0) + _square(6))

  @parameterized.parameters(
      'masks/{1}/{0}.png', 'masks/{0}_{1}.png', 'masks/{0}/{1}.png')
  def test_people_are_no_structures(self, place):
    for name in ('a', 'b'):
      self.save(f'images/{name}.png')
      self.save(place.format(name, 'anna'), _square(1))
      self.save(place.format(name, 'bob'), _square(2))
    self.assertIn('nearly the same: of several observers?', self.ask())
    classes = ('background', 'anna', 'bob')
    imported = self.read(classes=classes)
    self.assertEqual((imported.classes, imported.problems), (classes, []))

  def test_a_structure_within_another_is_not_hidden(self):
    disc = np.zeros(pairs.SIZE, np.uint8)
    disc[:8, :10] = 1
    for name in ('a', 'b'):
      self.save(f'images/{name}.png')
      self.save(f'masks/cup/{name}.png', _square(1))
      self.save(f'masks/disc/{name}.png', disc)
    self.assertIn('cover all of cup', self.ask())
    classes = ('background', 'disc', 'cup')
    self.assertIn('--classes=background,disc,cup', self.ask())
    self.assertEqual(self.read(classes=classes).problems, [])
    np.testing.assert_array_equal(self.label('a'), disc + _square(1))

  def test_endings_without_any_mask_are_asked_about(self):
    for name in ('a', 'b'):
      self.save(f'{name}.png')
      self.save(f'{name}_liver.png', _square(0))
      self.save(f'{name}_spleen.png', _square(6))
    self.assertIn('--mask_folder=liver,spleen', self.ask())
    self.assertEqual(self.read(mask_folders=('liver',)).classes,
                     ('background', 'liver'))
    self.assertEqual([*self.rows], ['a', 'b'])


if __name__ == '__main__':
  absltest.main()
