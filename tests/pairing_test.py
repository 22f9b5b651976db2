"""Tests which masks belong to which picture, in layouts of public sets."""

import json

from absl.testing import absltest
from absl.testing import parameterized
from data_prep import formats
from data_prep.drawing import rasterize
from data_prep.formats import assembling
from data_prep.formats import pairing
from data_prep.formats import registry
import nibabel
import numpy as np

from tests import pairs


class ChannelsTest(pairs.Case):

  def test_frames_counted_from_0000(self):
    for video in 'ab':
      for i in range(3):
        self.save(f'images/{video}/frame_{i:04d}.png')
        self.save(f'masks/{video}/frame_{i:04d}.png', pairs.square(i))
    self.assertEqual(self.read().problems, [])
    self.assertLen(self.rows, 6)
    for i in range(3):
      np.testing.assert_array_equal(
          self.label(f'a/frame_{i:04d}'), pairs.square(i))
    self.assertEqual({r.subject for r in self.rows.values()}, {'a', 'b'})

  def test_channels_of_nnunet_are_counted(self):
    for case in ('c1', 'c2'):
      for channel in range(3):
        self.save(f'imagesTr/{case}_{channel:04d}.png')
      self.save(f'labelsTr/{case}.png', pairs.square(1))
    self.read()
    self.assertEqual(list(self.rows), ['c1_0000', 'c2_0000'])
    self.assertIn('4 pictures of further channels are not read, such as '
                  'imagesTr/c1_0001.png', self.notices)

  def test_one_channel_is_no_evidence_of_several(self):
    (self.source / 'dataset.json').write_text(json.dumps({
        'channel_names': {'0': 'endoscope'},
        'labels': {'background': 0, 'polyp': 1}}))
    for i in range(3):
      self.save(f'imagesTr/frame_{i:04d}.png')
      self.save(f'labelsTr/frame_{i:04d}.png', pairs.square(i))
    self.assertEqual(self.read().problems, [])
    self.assertLen(self.rows, 3)

  def test_several_channels_in_dataset_json(self):
    (self.source / 'dataset.json').write_text(json.dumps({
        'modality': {'0': 'T1', '1': 'T2'}, 'labels': {'0': 'bg', '1': 'a'}}))
    for i in range(3):
      self.save(f'images/a_{i:04d}.png')
    self.save('labels/a.png', pairs.square(1))
    self.read()
    # The set has two channels, so _0000 and _0001 are the channels of one
    # picture, and _0002 is another picture.
    self.assertEqual(list(self.rows), ['a_0000', 'a_0002'])
    self.assertIn('only the first (_0000, T1) is', self.notices)

  def test_masks_of_one_of_several_pictures(self):
    for case in ('p1', 'p2'):
      for end in ('flair', 't1'):
        self.save(f'{case}/{case}_{end}.png')
      self.save(f'{case}/{case}_seg.png', pairs.square(1))
    self.assertIn('found _flair, _t1; say which are read, by the end of their '
                  'names: --image_suffix=_flair', self.ask())
    self.assertEqual(self.read(image_suffix='_t1').problems, [])
    self.assertEqual(list(self.rows), ['p1/p1_t1', 'p2/p2_t1'])
    self.assertIn('2 pictures are not read', self.notices)


class FoldersOfMasksTest(pairs.Case):

  def _drive(self):
    for i in (21, 22):
      self.save(f'training/images/{i}_training.tif')
      self.save(f'training/1st_manual/{i}_manual1.gif', pairs.square(1))
      self.save(f'training/mask/{i}_training_mask.gif', pairs.square(0))
    self.save('test/images/01_test.tif')
    self.save('test/1st_manual/01_manual1.gif', pairs.square(2))
    self.save('test/2nd_manual/01_manual2.gif', pairs.square(3))
    self.save('test/mask/01_test_mask.gif', pairs.square(0))

  def test_two_folders_are_asked_about(self):
    self._drive()
    line = self.ask()
    self.assertIn('1st_manual, 2nd_manual, mask', line)
    self.assertIn('--mask_folder=1st_manual', line)
    self.assertEqual(self.read(mask_folders=('1st_manual',)).problems, [])
    np.testing.assert_array_equal(self.label('21_training'), pairs.square(1))
    np.testing.assert_array_equal(self.label('01_test'), pairs.square(2))
    self.assertIn('4 masks are not read, such as', self.notices)
    self.assertIn(': not in --mask_folder', self.notices)
    self.assertIn('names no folder of masks', self.ask(
        mask_folders=('nowhere',)))

  def test_folders_of_a_single_value_are_no_candidates(self):
    for name, x in (('a', 1), ('b', 5), ('c', 3)):
      self.save(f'images/{name}.png')
      self.save(f'manual/{name}.png', pairs.square(x))
      self.save(f'mask/{name}.png', np.full(pairs.SIZE, 255, np.uint8))
      self.save(f'empty_masks/{name}.png', np.zeros(pairs.SIZE, np.uint8))
    self.assertEqual(self.read().problems, [])
    np.testing.assert_array_equal(self.label('b'), pairs.square(5))
    self.assertIn('6 masks are not read, such as empty_masks/a.png: each '
                  'file there holds a single value', self.notices)
    # A mask of two values makes its folder a candidate again.
    self.save('mask/c.png', pairs.square(2, 255))
    self.assertIn('manual, mask', self.ask())
    self.assertIn('3 masks are not read, such as empty_masks', self.notices)

  def test_folders_of_a_single_value_alone(self):
    self.save('images/a.png')
    for name in 'manual', 'mask':
      self.save(f'{name}/a.png', np.zeros(pairs.SIZE, np.uint8))
    self.assertIn('manual, mask', self.ask())
    (self.source / 'manual/a.png').unlink()
    self.assertEqual(self.read().problems, [])
    self.assertEqual(self.rows['a'].annotation['kind'], 'mask')

  def test_observers_are_rows(self):
    self._drive()
    self.read(mask_folders=('1st_manual', '2nd_manual'))
    for number in (1, 2):
      row = self.rows[f'01_test@manual{number}']
      self.assertEqual((row.annotator, row.subject, row.split, row.image),
                       (f'manual{number}', '01_test', 'test',
                        'test/images/01_test.tif'))
      np.testing.assert_array_equal(
          self.label(row.id), pairs.square(1 + number))
    self.assertEqual(self.rows['21_training'].annotator, 'manual1')

  @parameterized.parameters(
      ('{}.jpg', '{}_1stHO.png', '{}_2ndHO.png', ('1stHO', '2ndHO')),
      ('stare-images/{}.ppm', 'labels-ah/{}.ah.ppm', 'labels-vk/{}.vk.ppm',
       ('ah', 'vk')),
      ('images/{}.png', 'expert1/{}.png', 'expert2/{}.png', None),
      ('images/{}.png', 'masks/{}_rater1.png', 'masks/{}_rater2.png',
       ('rater1', 'rater2')))
  def test_other_observers(self, image, first, second, names):
    for name in ('im1', 'im2'):
      self.save(image.format(name))
      self.save(first.format(name), pairs.square(1))
      self.save(second.format(name), pairs.square(2))
    # The folder names expert1 and expert2 do not look like those of masks, so
    # the import asks the user.
    if names is None:
      self.assertIn('--mask_folder=expert1', str(self.read().problems[0]))
      options = {'mask_folders': ('expert1', 'expert2')}
      names = ('expert1', 'expert2')
    else:
      options = {}
    self.assertEqual(self.read(**options).problems, [])
    self.assertEqual([r.annotator for r in self.rows.values()], [*names] * 2)

  def test_folders_of_two_structures(self):
    for i in range(2):
      self.save(f'images/{i}.png')
      self.save(f'liver_masks/{i}.png', pairs.square(1))
      self.save(f'kidney_masks/{i}.png', pairs.square(6))
    self.assertIn('--mask_folder=kidney_masks', self.ask())
    imported = self.read(mask_folders=('kidney_masks', 'liver_masks'))
    self.assertEqual(imported.classes, ('background', 'kidney', 'liver'))
    np.testing.assert_array_equal(
        self.label('0'), pairs.square(6) + 2 * pairs.square(1))

  def test_endings(self):
    for i in (2, 3):
      name = f'IMD{i:03d}'
      self.save(f'{name}/{name}_Dermoscopic_Image/{name}.bmp')
      self.save(f'{name}/{name}_lesion/{name}_lesion.bmp', pairs.square(1))
      self.save(f'{name}/{name}_roi/{name}_R1_Label4.bmp', pairs.square(2))
    self.assertIn('_label, _lesion', self.ask())
    self.assertEqual(self.read(mask_folders=('_lesion',)).problems, [])
    np.testing.assert_array_equal(self.label('IMD002/IMD002'), pairs.square(1))

  @parameterized.parameters('contours', 'overlay')
  def test_pictures_of_the_same_names(self, name):
    for i in range(2):
      self.save(f'images/{i}.png')
      self.save(f'{name}/{i}.png', pairs.square(1))
    self.assertIn(f'--mask_folder={name}', self.ask())
    self.read(mask_folders=(name,))
    np.testing.assert_array_equal(self.label('1'), pairs.square(1))

  @parameterized.parameters(
      ('img_{}.png', 'mask_{}.png'), ('{}.png', '{}_anno.png'),
      ('images/img_{}.png', 'masks/seg_{}.png'),
      ('Batch 1/volume-{}.png', 'Batch 1/segmentation-{}.png'),
      ('x/c{}/imaging.png', 'x/c{}/segmentation.png'),
      ('set_with_GT/{}.png', 'set_with_GT/{}_mask.png'),
      ('CXR_png/a_{}.png', 'masks/a_{}.png'))
  def test_names_of_pairs(self, image, mask):
    for i in (1, 2):
      self.save(image.format(i))
      self.save(mask.format(i), pairs.square(i))
    self.assertEqual(self.read().problems, [])
    self.assertLen(self.rows, 2)
    for i, row_id in enumerate(sorted(self.rows), start=1):
      np.testing.assert_array_equal(self.label(row_id), pairs.square(i))

  @parameterized.parameters(
      ('images/p1/a.png', 'masks/p2/a.png'), ('images/1.png', 'masks/12.png'),
      ('train/images/a.png', 'test/masks/a.png'),
      ('images/x_1.png', 'masks/x_2.png'))
  def test_names_of_no_pair(self, image, mask):
    self.save(image)
    self.save('images/p3/other.png')
    self.save(mask, pairs.square(1))
    self.assertIn('a mask without a picture', self.ask())


class PartsTest(pairs.Case):

  @parameterized.parameters(
      ('case ({}).png', 'case ({})_mask.png', 'case ({})_mask_1.png'),
      ('s/{}/images/{}.png', 's/{}/masks/9f1c.{}.png',
       's/{}/masks/ab77.{}.png'),
      ('CXR/{}.png', 'ManualMask/leftMask/{}.png',
       'ManualMask/rightMask/{}.png'),
      ('images/c{}.png', 'masks/c{}/0.png', 'masks/c{}/1.png'),
      ('images/c{}.png', 'masks/c{}_polyp0.png', 'masks/c{}_polyp1.png'))
  def test_parts_are_united(self, image, first, second):
    for i in ('1', '2'):
      self.save(image.replace('{}', i))
      self.save(first.replace('{}', i), pairs.square(0, 255))
      self.save(second.replace('{}', i), pairs.square(6, 255))
    imported = self.read()
    self.assertEqual(imported.problems, [])
    self.assertEqual(imported.classes, ('background', 'foreground'))
    self.assertLen(self.rows, 2)
    for row_id in self.rows:
      np.testing.assert_array_equal(
          self.label(row_id), pairs.square(0) + pairs.square(6))
    self.assertIn('2 pictures have several mask files', self.notices)

  def test_a_side_without_a_file_is_not_background(self):
    for i in range(2):
      self.save(f'images/{i}.png')
      self.save(f'leftMask/{i}.png', pairs.square(0))
    self.save('rightMask/0.png', pairs.square(6))
    self.read()
    self.assertEqual(self.rows['0'].annotation['kind'], 'mask')
    self.assertEqual(self.rows['1'].annotation['kind'], 'scribble')
    self.assertEqual(set(np.unique(self.label('1'))), {1, 255})
    self.assertIn('1 picture lacks the file of a structure', self.notices)

  @parameterized.parameters(
      ('case{}/image.png', 'case{}/masks/{name}.png'),
      ('images/{}.png', 'masks/{}/{name}.png'),
      ('images/{}.png', 'masks/{name}/{}.png'),
      ('images/{}.png', 'masks/{}_{name}.png'))
  def test_one_file_for_each_structure(self, image, mask):
    for i in (1, 2):
      self.save(image.format(i))
      for name, x in (('liver', 1), ('kidney', 3), ('spleen', 8)):
        self.save(mask.format(i, name=name), pairs.square(x, 255))
    imported = self.read()
    self.assertEqual(imported.problems, [])
    self.assertEqual(
        imported.classes, ('background', 'kidney', 'liver', 'spleen'))
    expected = 3 * pairs.square(8) + np.maximum(
        pairs.square(3), 2 * pairs.square(1))
    for row_id in self.rows:
      np.testing.assert_array_equal(self.label(row_id), expected)
    self.assertIn('two classes overlap in 16 pixels of 2 pictures',
                  self.notices)
    imported = self.read(classes=('background', 'spleen', 'kidney'))
    self.assertEqual(imported.classes, ('background', 'spleen', 'kidney'))
    for row_id in self.rows:
      np.testing.assert_array_equal(
          self.label(row_id), pairs.square(8) + 2 * pairs.square(3))
    self.assertIn('2 mask files are not read, such as ', self.notices)
    self.assertIn('found heart', self.ask(classes=('background', 'heart')))

  def test_several_values_in_the_file_of_a_structure(self):
    for i in range(2):
      self.save(f'case{i}/image.png')
      self.save(f'case{i}/masks/liver.png',
                pairs.square(1) + 2 * pairs.square(6))
      self.save(f'case{i}/masks/kidney.png', pairs.square(1))
    problem = str(self.read().problems[0])
    self.assertIn("mask of one structure, 'liver', holds several values",
                  problem)

  def test_structures_of_volumes(self):
    affine = np.diag([1.0, 1.0, 3.0, 1.0])
    rng = np.random.default_rng(0)

    def save(name, array):
      path = self.source / name
      path.parent.mkdir(parents=True, exist_ok=True)
      nibabel.save(nibabel.Nifti1Image(array, affine), path)

    for i in range(2):
      save(f's{i:04d}/ct.nii.gz', rng.integers(
          0, 99, (*pairs.SIZE, 2)).astype(np.int16))
      for name, x in (('liver', 1), ('rib_left_1', 6), ('rib_left_2', 3)):
        save(f's{i:04d}/segmentations/{name}.nii.gz',
             np.stack([pairs.square(x), 0 * pairs.square(x)], -1))
    imported = registry.read(
        'nifti', self.source, self.output, formats.Options())
    self.assertEqual(imported.problems, [])
    self.assertEqual(imported.classes, (
        'background', 'liver', 'rib_left_1', 'rib_left_2'))
    self.assertLen(imported.rows, 4)
    self.assertEqual({r.subject for r in imported.rows}, {'s0000', 's0001'})
    label = rasterize.rasterize(imported.rows[0].annotation, size=pairs.SIZE,
                                root=self.output)
    expected = np.maximum(
        np.maximum(pairs.square(1), 2 * pairs.square(6)), 3 * pairs.square(3))
    np.testing.assert_array_equal(label, expected)
    self.assertIn('two classes overlap in 24 voxels of 2 volumes',
                  ' '.join(imported.notices))


class SubjectsTest(pairs.Case):

  def _subjects(self):
    self.read()
    return {(r.split, r.subject) for r in self.rows.values()}

  def test_patients_within_splits(self):
    for split, patients in (('TrainSet', 'abc'), ('TestSet', 'de')):
      for patient in patients:
        self.save(f'{split}/{patient}/1.png')
        self.save(f'{split}/{patient}/1_label.png', pairs.square(1))
    self.assertEqual(self._subjects(), {
        *(('train', p) for p in 'abc'), *(('test', p) for p in 'de')})

  def test_a_folder_that_holds_all_of_a_split_is_no_subject(self):
    for split in ('train', 'Test_Data'):
      for i in range(3):
        self.save(f'{split}/photographs/{i}.png')
        self.save(f'{split}/masks/{i}.png', pairs.square(1))
    self.assertEqual(self._subjects(), {('train', ''), ('test', '')})

  def test_what_pictures_show_is_no_subject(self):
    for finding in ('benign', 'malignant'):
      for i in range(2):
        self.save(f'{finding}/{finding} ({i}).png')
        self.save(f'{finding}/{finding} ({i})_mask.png', pairs.square(1))
    self.assertEqual(self._subjects(), {('', '')})


class SpeedTest(absltest.TestCase):

  def test_many_files_take_no_quadratic_time(self):
    # Comparing all pairs of these files would take 20 s.
    paths = tuple(sorted(
        f'{folder}_{i}{end}.png' for i in range(4000)
        for folder, end in (('f', ''), ('f', '_mask'), ('g', '_mask_1'))))
    report = assembling.Report()
    pairs = pairing.pair(paths, report)
    self.assertLen(pairs.masks, 4000)
    self.assertLen(report.problems, 4000)


if __name__ == '__main__':
  absltest.main()
