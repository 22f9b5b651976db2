"""Imitates public sets of volumes, see `tests.public_sets`."""

import numpy as np

from tests.damage import seed_sets
from tests.public_sets import layouts


_NUM_CASES = 6


def _dataset_json(**more):
  """Returns a dataset.json like those of the Medical Segmentation Decathlon."""
  return {'name': 'Spleen', 'description': '', 'reference': '', 'licence': '',
          'tensorImageSize': '3D', 'modality': {'0': 'CT'}, **more}


def decathlon() -> layouts.Layout:
  """Imitates task 9 of the Medical Segmentation Decathlon.

  A hidden file such as macOS adds lies next to the pictures. Home:
  medicaldecathlon.com
  """
  files, folder = {}, 'Task09_Spleen'
  for i in range(_NUM_CASES):
    name = f'spleen_{i + 10}.nii.gz'
    files[f'{folder}/imagesTr/{name}'] = layouts.volume(i)
    files[f'{folder}/labelsTr/{name}'] = layouts.labels(i)
    files[f'{folder}/imagesTs/spleen_{i + 1}.nii.gz'] = layouts.volume(20 + i)
  files[f'{folder}/dataset.json'] = _dataset_json(
      labels={'0': 'background', '1': 'spleen'},
      training=[{'image': './imagesTr/spleen_10.nii.gz',
                 'label': './labelsTr/spleen_10.nii.gz'}])
  files[f'{folder}/imagesTr/._spleen_10.nii.gz'] = b'\0\5\x16\7'
  return layouts.Layout(
      files, 18, 18, 6, ('spleen_12_z001', {1: 4 * 6}),
      classes=('background', 'spleen'), said=('left out',))


def nnunet() -> layouts.Layout:
  """Imitates a raw folder of nnU-Net v2 with two channels.

  Only the first channel is read. Home: github.com/MIC-DKFZ/nnUNet
  """
  files, folder = {}, 'Dataset005_Prostate'
  for i in range(_NUM_CASES):
    for channel in range(2):
      files[f'{folder}/imagesTr/prostate_{i:02d}_{channel:04d}.nii.gz'] = (
          layouts.volume(2 * i + channel))
    files[f'{folder}/labelsTr/prostate_{i:02d}.nii.gz'] = layouts.labels(i, 2)
  files[f'{folder}/dataset.json'] = {
      'channel_names': {'0': 'T2', '1': 'ADC'}, 'file_ending': '.nii.gz',
      'labels': {'background': 0, 'PZ': 1, 'TZ': 2}, 'numTraining': _NUM_CASES}
  return layouts.Layout(
      files, 18, 18, 6, ('prostate_03_z002', {1: 4 * 8, 2: 4 * 8}),
      classes=('background', 'PZ', 'TZ'), said=('channel',))


def total_segmentator() -> layouts.Layout:
  """Imitates TotalSegmentator v2, with a mask file for each structure.

  No patient has the last structure, so its masks are empty. Home:
  doi.org/10.5281/zenodo.10047292
  """
  files = {'meta.csv': 'image_id;age;gender;split\ns0000;60;m;train\n'}
  structures = ('aorta', 'liver', 'spleen', 'vertebrae_L1')
  for i in range(_NUM_CASES):
    folder = f's{i:04d}'
    files[f'{folder}/ct.nii.gz'] = layouts.volume(i)
    label = layouts.labels(i, 3)
    for value, structure in enumerate(structures, start=1):
      files[f'{folder}/segmentations/{structure}.nii.gz'] = (
          label == value).astype(np.uint8)
  return layouts.Layout(
      files, 18, 18, 6, ('s0002/ct_z001', {1: 4 * 6, 2: 4 * 6, 3: 4 * 6}),
      classes=('background', *structures))


def acdc() -> layouts.Layout:
  """Imitates ACDC, with two frames of each patient and the whole movie.

  Only the two frames have masks. Home: humanheart-project.creatis.insa-lyon.fr
  """
  files = {}
  for part, first in (('training', 1), ('testing', 101)):
    for i in range(first, first + _NUM_CASES):
      name = f'ACDC/database/{part}/patient{i:03d}/patient{i:03d}'
      movie = layouts.volume(i, 4)
      files[f'{name}_4d.nii.gz'] = movie
      for frame in (1, 3):
        files[f'{name}_frame{frame:02d}.nii.gz'] = movie[..., frame - 1]
        files[f'{name}_frame{frame:02d}_gt.nii.gz'] = layouts.labels(i, 3)
      files[f'{name[:-10]}Info.cfg'] = 'ED: 1\nES: 3\n'
  return layouts.Layout(
      files, 72, 72, 12, ('patient102/patient102_frame03_z001',
                          {1: 40, 2: 40, 3: 40}), {'test': 36},
      classes=('background', 'class_1', 'class_2', 'class_3'), said=('4d',))


def brats_2021() -> layouts.Layout:
  """Imitates BraTS 2021, with four modalities and one mask for each patient.

  The mask values are 0, 1, 2 and 4. Home:
  www.synapse.org/#!Synapse:syn25829067
  """
  files = {}
  for i in range(_NUM_CASES):
    name = f'BraTS2021_{i:05d}/BraTS2021_{i:05d}'
    for k, modality in enumerate(('flair', 't1', 't1ce', 't2')):
      files[f'{name}_{modality}.nii.gz'] = layouts.volume(4 * i + k)
    label = layouts.labels(i, 3)
    files[f'{name}_seg.nii.gz'] = np.where(label == 3, 4, label)
  return layouts.Layout(
      files, 18, 18, 6, ('BraTS2021_00002/BraTS2021_00002_flair_z001',
                      {1: 24, 2: 24, 4: 24}),
      classes=('background', 'class_1', 'class_2', 'class_3', 'class_4'),
      flag='--image_suffix=_flair')


def _image_and_mask(image, mask, example, *, first=0):
  """Returns a layout with one image and one mask of each case.

  Args:
    image: path of the image, in which {} stands for the number of the case.
    mask: path of the mask, likewise.
    example: id of the middle slice of the third case, and the number of
      foreground classes.
    first: number of the first case.
  """
  row_id, num_classes = example
  files, classes = {}, range(1, num_classes + 1)
  for i in range(_NUM_CASES):
    files[image.format(i + first)] = layouts.volume(i)
    files[mask.format(i + first)] = layouts.labels(i, num_classes)
  return layouts.Layout(
      files, 18, 18, 6, (row_id, dict.fromkeys(classes, 24)),
      classes=('background', *(f'class_{c}' for c in classes)))


def kits() -> layouts.Layout:
  """Imitates KiTS, with image and mask of each case in its own folder.

  Home: kits-challenge.org
  """
  return _image_and_mask(
      'case_{:05d}/imaging.nii.gz', 'case_{:05d}/segmentation.nii.gz',
      ('case_00002/imaging_z001', 2))


def lits() -> layouts.Layout:
  """Imitates LiTS, with volume-0.nii and segmentation-0.nii in one folder.

  Home: competitions.codalab.org/competitions/17094
  """
  return _image_and_mask(
      'Training Batch 1/volume-{}.nii', 'Training Batch 1/segmentation-{}.nii',
      ('volume-2_z001', 2))


def segthor() -> layouts.Layout:
  """Imitates SegTHOR, with image and mask of each patient in one folder.

  The image is named after the folder, and the mask is GT.nii.gz. Home:
  competitions.codalab.org/competitions/21145
  """
  return _image_and_mask(
      'train/Patient_{0:02d}/Patient_{0:02d}.nii.gz',
      'train/Patient_{:02d}/GT.nii.gz', ('Patient_03/Patient_03_z001', 4),
      first=1)


def camus() -> layouts.Layout:
  """Imitates CAMUS, with single frames and sequences of half a heart beat.

  The third axis of a sequence is time. Home:
  www.creatis.insa-lyon.fr/Challenge/camus
  """
  files = {}
  for i in range(_NUM_CASES):
    folder = f'database_nifti/patient{i + 1:04d}'
    beat, label = layouts.volume(i), layouts.labels(i, 3)
    for frame, k in (('ED', 0), ('ES', 2)):
      name = f'{folder}/patient{i + 1:04d}_2CH_{frame}'
      files[f'{name}.nii.gz'] = beat[..., k]
      files[f'{name}_gt.nii.gz'] = label[..., k]
    name = f'{folder}/patient{i + 1:04d}_2CH_half_sequence'
    files[f'{name}.nii.gz'], files[f'{name}_gt.nii.gz'] = beat, label
    files[f'{folder}/Info_2CH.cfg'] = 'ED: 1\nES: 3\n'
  return layouts.Layout(
      files, 30, 30, 6,
      ('patient0003/patient0003_2CH_ES', {1: 28, 2: 28, 3: 28}),
      classes=('background', 'class_1', 'class_2', 'class_3'))


def flare22() -> layouts.Layout:
  """Imitates FLARE22, with pictures named as in nnU-Net but in other folders.

  Home: flare22.grand-challenge.org
  """
  return _image_and_mask(
      'FLARE22Train/images/FLARE22_Tr_{:04d}_0000.nii.gz',
      'FLARE22Train/labels/FLARE22_Tr_{:04d}.nii.gz',
      ('FLARE22_Tr_0003_z001', 5), first=1)


def amos22() -> layouts.Layout:
  """Imitates AMOS22, with the folders imagesTr, imagesVa and imagesTs.

  The pictures in imagesTs have no masks. Home: amos22.grand-challenge.org
  """
  files = {}
  for part, first, number in (('Tr', 1, 4), ('Va', 8, 2), ('Ts', 50, 2)):
    for i in range(first, first + number):
      files[f'amos22/images{part}/amos_{i:04d}.nii.gz'] = layouts.volume(i)
      if part != 'Ts':
        files[f'amos22/labels{part}/amos_{i:04d}.nii.gz'] = layouts.labels(i, 2)
  files['amos22/dataset.json'] = _dataset_json(
      labels={'0': 'background', '1': 'spleen', '2': 'right kidney'})
  return layouts.Layout(
      files, 18, 18, 6, ('amos_0002_z001', {1: 24, 2: 24}), {'val': 6},
      classes=('background', 'spleen', 'right kidney'), said=('left out',))


def chaos() -> layouts.Layout:
  """Imitates CHAOS CT, which must be refused.

  Only the order of the files shows which mask belongs to which slice. Home:
  chaos.grand-challenge.org
  """
  files = {}
  for i in range(3):
    folder = f'Train_Sets/CT/{i + 1}'
    for k in range(3):
      files[f'{folder}/DICOM_anon/i{k:04d},0000b.dcm'] = seed_sets.dicom(
          layouts.picture(10 * i + k)[..., 0].astype(np.int32),
          patient=f'case{i}')
      files[f'{folder}/Ground/liver_GT_{k:03d}.png'] = layouts.blob(k)
  return layouts.Layout(files, refused='liver_GT_')


def ssl4mis() -> layouts.Layout:
  """Imitates ACDC as SSL4MIS stores it, in HDF5, which must be refused.

  Home: github.com/HiLab-git/SSL4MIS
  """
  files = {'train_slices.list': 'patient001_frame01_slice_1\n'}
  for i in range(4):
    files[f'data/slices/patient001_frame01_slice_{i}.h5'] = b'\x89HDF\r\n\x1a\n'
  return layouts.Layout(files, refused='.h5')


LAYOUTS = (
    decathlon, nnunet, total_segmentator, acdc, brats_2021, kits, lits, segthor,
    camus, flare22, amos22, chaos, ssl4mis)
