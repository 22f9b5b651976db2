"""Tests of data_prep.formats.folder_names: the meaning of names."""

from absl.testing import absltest
from absl.testing import parameterized
from data_prep.formats import folder_names


class FoldersTest(parameterized.TestCase):

  @parameterized.parameters(
      'masks', 'Train_Masks', 'Ground Truth', 'SegmentationClass', 'labelsTr',
      '1st_manual', 'manual1', 'leftMask', 'ManualMask', 'labels-ah', 'gt',
      'Task1_Training_GroundTruth', 'masks_png', 'annotations_train',
      '2. All Segmentation Groundtruths', 'trainmasks', 'mask_images')
  def test_masks(self, name):
    self.assertTrue(folder_names.is_mask_folder(name))
    self.assertFalse(folder_names.is_image_folder(name))

  @parameterized.parameters(
      'images', 'JPEGImages', 'imagesTs', 'Original', 'trainimages',
      'IMD002_Dermoscopic_Image', 'test-images', 'obj_train_data',
      'ISIC2018_Task1-2_Test_Input', 'images_png', 'segmentation_images')
  def test_pictures(self, name):
    self.assertTrue(folder_names.is_image_folder(name))
    self.assertFalse(folder_names.is_mask_folder(name))

  @parameterized.parameters('p1', 'Dataset_BUSI_with_GT', 'label_studio', '7')
  def test_neither(self, name):
    self.assertFalse(folder_names.is_image_folder(name))
    self.assertFalse(folder_names.is_mask_folder(name))

  @parameterized.parameters(
      ('TestSet', 'test', True), ('Test_Data', 'test', True),
      ('TrainDataset', 'train', True), ('test-images', 'test', True),
      ('Training_Data', 'train', True), ('validation_data', 'val', True),
      ('ISIC2018_Task1-2_Test_Input', 'test', True),
      ('a. Training Set', 'train', True), ('Training Batch 1', 'train', True),
      ('testset', 'test', True), ('valid', 'val', True),
      ('BraTS20_Training_001', 'train', False), ('train_07', 'train', False),
      ('imagesTs', 'test', True), ('imagesTr', '', False),
      ('train_test_split', '', False), ('contest', '', False),
      ('p1', '', False))
  def test_splits(self, name, split, is_only):
    self.assertEqual(folder_names.split_word(name), split)
    self.assertEqual(folder_names.only_splits(name), is_only)


class FormsTest(parameterized.TestCase):

  @parameterized.parameters(
      ('a_mask', 'a', 'mask', ''), ('case (1)_mask_1', 'case (1)', 'mask', ''),
      ('X_Segmentation', 'X', 'segmentation', ''), ('a_GT', 'a', 'gt', ''),
      ('01_manual1', '01', 'manual1', 'manual1'),
      ('Image_01L_1stHO', 'Image_01L', '1stho', '1stHO'),
      ('a_expert2', 'a', 'expert2', 'expert2'), ('im1.ah', 'im1', 'ah', 'ah'),
      ('t_1_anno', 't_1', 'anno', ''), ('mask_7', '7', 'mask', ''),
      ('segmentation-0', '0', 'segmentation', ''))
  def test_first_form(self, name, *expected):
    self.assertEqual(tuple(next(folder_names.mask_forms(name))),
                     tuple(expected))

  def test_all_forms(self):
    self.assertEqual([f.plain for f in folder_names.mask_forms(
        '21_training_mask')], ['21_training'])
    self.assertEqual([f.plain for f in folder_names.mask_forms('a_seg_mask')],
                     ['a_seg', 'a'])
    self.assertEqual(list(folder_names.mask_forms('frame_0001')), [])

  def test_aliases(self):
    self.assertEqual(folder_names.picture_aliases('21_training'),
                     ['21_training', '21'])
    self.assertEqual(folder_names.picture_aliases('volume-3'),
                     ['volume-3', '3'])


if __name__ == '__main__':
  absltest.main()
