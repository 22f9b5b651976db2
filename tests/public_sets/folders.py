"""Imitates public sets of pictures and masks, see `tests.public_sets`."""

import numpy as np

from tests.public_sets import layouts



def isic_2018() -> layouts.Layout:
  """Imitates ISIC 2018 task 1, with a folder for each split.

  Home: challenge.isic-archive.com/data
  """
  files = {}
  for part, first, number in (
      ('Training', 0, 8), ('Validation', 20, 2), ('Test', 40, 3)):
    pictures = f'ISIC2018_Task1-2_{part}_Input'
    masks = f'ISIC2018_Task1_{part}_GroundTruth'
    for i in range(first, first + number):
      name = f'ISIC_{i:07d}'
      files[f'{pictures}/{name}.jpg'] = layouts.picture(i)
      files[f'{masks}/{name}_segmentation.png'] = layouts.blob(i)
    for folder in (pictures, masks):
      files[f'{folder}/ATTRIBUTION.txt'] = 'by'
      files[f'{folder}/LICENSE.txt'] = 'CC-0'
  return layouts.Layout(
      files, 13, 13, 13, ('ISIC_0000003', {1: 8 * 13}),
      {'train': 8, 'val': 2, 'test': 3})


def isic_2018_training() -> layouts.Layout:
  """Imitates ISIC 2018 task 1 as if only the training part was downloaded."""
  files = {k: v for k, v in isic_2018().files.items() if 'Training' in k}
  return layouts.Layout(files, 8, 8, 8, ('ISIC_0000003', {1: 8 * 13}))


def isic_2017() -> layouts.Layout:
  """Imitates ISIC 2017 part 1, with superpixels next to the pictures.

  Home: challenge.isic-archive.com/data
  """
  files = {}
  for part, first, number in (
      ('Training', 0, 8), ('Validation', 20, 2), ('Test_v2', 40, 3)):
    for i in range(first, first + number):
      name = f'ISIC_{i:07d}'
      pictures = f'ISIC-2017_{part}_Data/{name}'
      files[f'{pictures}.jpg'] = layouts.picture(i)
      files[f'{pictures}_superpixels.png'] = layouts.picture(100 + i)
      files[f'ISIC-2017_{part}_Part1_GroundTruth/{name}_segmentation.png'] = (
          layouts.blob(i))
  files['ISIC-2017_Training_Data/ISIC-2017_Training_Data_metadata.csv'] = (
      'image_id,age_approximate,sex\nISIC_0000000,55,female\n')
  return layouts.Layout(
      files, 13, 13, 13, ('ISIC_0000021', {1: 8 * 11}),
      {'train': 8, 'val': 2, 'test': 3}, said=('superpixels',))


def isic_2016() -> layouts.Layout:
  """Imitates ISIC 2016 part 1, with pictures in folders named ..._Data.

  Home: challenge.isic-archive.com/data
  """
  files = {}
  for part, first, number in (('Training', 0, 8), ('Test', 40, 3)):
    for i in range(first, first + number):
      folder = f'ISBI2016_ISIC_Part1_{part}'
      files[f'{folder}_Data/ISIC_{i:07d}.jpg'] = layouts.picture(i)
      files[f'{folder}_GroundTruth/ISIC_{i:07d}_Segmentation.png'] = (
          layouts.blob(i))
  return layouts.Layout(
      files, 11, 11, 11, ('ISIC_0000041', {1: 8 * 11}), {'test': 3})


def ham10000() -> layouts.Layout:
  """Imitates HAM10000, with pictures in two folders and all masks in one.

  Home: doi.org/10.7910/DVN/DBW86T
  """
  files = {'HAM10000_metadata.csv':
           'lesion_id,image_id,dx\nHAM_0000118,ISIC_0024306,bkl\n'}
  for i in range(10):
    name = f'ISIC_{24306 + i:07d}'
    files[f'HAM10000_images_part_{1 + i // 5}/{name}.jpg'] = layouts.picture(i)
    files[f'HAM10000_segmentations_lesion_tschandl/{name}_segmentation.png'] = (
        layouts.blob(i))
  return layouts.Layout(files, 10, 10, 10, ('ISIC_0024309', {1: 8 * 13}))


def ph2() -> layouts.Layout:
  """Imitates PH2, with a folder for each lesion.

  It holds the picture, the mask, and regions of interest. Home:
  www.fc.up.pt/addi
  """
  files = {'PH2Dataset/PH2_dataset.txt': '|| Name ||\n'}
  for i in range(8):
    name = f'IMD{2 + i:03d}'
    folder = f'PH2Dataset/PH2 Dataset images/{name}'
    files[f'{folder}/{name}_Dermoscopic_Image/{name}.bmp'] = layouts.picture(i)
    files[f'{folder}/{name}_lesion/{name}_lesion.bmp'] = layouts.blob(i) > 0
    for k in range(i % 3):
      files[f'{folder}/{name}_roi/{name}_R{k + 1}_Label4.bmp'] = (
          layouts.mask((2, 2, 3, 3)) > 0)
  return layouts.Layout(
      files, 8, 8, 8, ('IMD005/IMD005', {1: 8 * 13}),
      flag='--mask_folder=_lesion')


def busi() -> layouts.Layout:
  """Imitates BUSI, with a mask for each lesion.

  The masks of healthy breasts are empty. Home:
  doi.org/10.1016/j.dib.2019.104863
  """
  files, seed = {}, 0
  for folder, number in (('benign', 6), ('malignant', 4), ('normal', 3)):
    for i in range(number):
      name = f'Dataset_BUSI_with_GT/{folder}/{folder} ({i + 1})'
      files[f'{name}.png'] = layouts.picture(seed)
      seed += 1
      files[f'{name}_mask.png'] = (
          layouts.mask() if folder == 'normal' else layouts.blob(i))
  files['Dataset_BUSI_with_GT/benign/benign (4)_mask_1.png'] = layouts.mask(
      (20, 4, 5, 6))
  return layouts.Layout(
      files, 13, 13, 13, ('benign/benign (4)', {1: 8 * 13 + 30}),
      said=('united', 'name no subjects'))


def _kvasir(folder, names, bboxes):
  """Returns the files of a set: pictures, masks and a JSON file of boxes.

  The masks are JPEG files with three channels.

  Args:
    folder: folder of the set.
    names: names of the pictures, without suffix.
    bboxes: name of the JSON file.
  """
  files, boxes = {}, {}
  for i, name in enumerate(names):
    files[f'{folder}/images/{name}.jpg'] = layouts.picture(i)
    files[f'{folder}/masks/{name}.jpg'] = layouts.rgb(layouts.blob(i))
    y, x, height, width = layouts.box(i)
    boxes[name] = {'height': 32, 'width': 40, 'bbox': [{
        'label': 'polyp', 'xmin': x, 'ymin': y, 'xmax': x + width,
        'ymax': y + height}]}
  return {**files, f'{folder}/{bboxes}': boxes}


def kvasir_seg() -> layouts.Layout:
  """Imitates Kvasir-SEG, with masks in JPEG and a JSON file of boxes.

  The JSON file has no standard format. Home: datasets.simula.no/kvasir-seg
  """
  names = [f'cju0qkwl35piu0993l0dewei{i}' for i in range(10)]
  return layouts.Layout(
      _kvasir('Kvasir-SEG', names, 'kavsir_bboxes.json'), 10, 10, 10,
      (names[4], {1: 8 * 14}), flag='--mask_threshold=128')


def hyper_kvasir() -> layouts.Layout:
  """Imitates the segmented part of Hyper-Kvasir.

  It differs from Kvasir-SEG only in the names of folders and files. Home:
  datasets.simula.no/hyper-kvasir
  """
  names = [f'{i:08x}-d4b4-4d4d-9b4c-5a1f7c8f6d00' for i in range(10)]
  return layouts.Layout(
      _kvasir('segmented-images', names, 'bounding-boxes.json'), 10, 10, 10,
      (names[7], {1: 8 * 17}), flag='--mask_threshold=128')


def kvasir_instrument() -> layouts.Layout:
  """Imitates Kvasir-Instrument, with text files that list the splits.

  These text files are not read. Home: datasets.simula.no/kvasir-instrument
  """
  files = {}
  names = [f'ckcu9jucf00083b5ytpqoue7{i}' for i in range(10)]
  for i, name in enumerate(names):
    files[f'kvasir-instrument/images/{name}.jpg'] = layouts.picture(i)
    files[f'kvasir-instrument/masks/{name}.png'] = layouts.rgb(layouts.blob(i))
  files['kvasir-instrument/bboxes.json'] = {names[0]: {'bbox': []}}
  files['kvasir-instrument/train.txt'] = '\n'.join(names[:8])
  files['kvasir-instrument/test.txt'] = '\n'.join(names[8:])
  return layouts.Layout(
      files, 10, 10, 10, (names[1], {1: 8 * 11}), said=('bboxes.json',))


def cvc_clinic_db() -> layouts.Layout:
  """Imitates CVC-ClinicDB, with TIFF files in Original and Ground Truth.

  Home: polyp.grand-challenge.org
  """
  files = {}
  for i in range(10):
    files[f'CVC-ClinicDB/Original/{i + 1}.tif'] = layouts.picture(i)
    files[f'CVC-ClinicDB/Ground Truth/{i + 1}.tif'] = layouts.blob(i)
  return layouts.Layout(files, 10, 10, 10, ('3', {1: 8 * 12}))


def cvc_clinic_db_mirror() -> layouts.Layout:
  """Imitates CVC-ClinicDB as a mirror offers it, in both PNG and TIFF.

  Home: www.kaggle.com
  """
  files = {'metadata.csv': 'frame_id,sequence_id\n1,1\n'}
  for i in range(8):
    for form in ('PNG', 'TIF'):
      name = f'{i + 1}.{form.lower()}'
      files[f'{form}/Original/{name}'] = layouts.picture(i)
      files[f'{form}/Ground Truth/{name}'] = layouts.blob(i)
  return layouts.Layout(
      files, 16, 16, 16, ('TIF/3', {1: 8 * 12}),
      said=('16 pictures are nearly the same', 'name no subjects'))


def pranet_polyps() -> layouts.Layout:
  """Imitates PraNet's bundle of polyp sets, with TrainDataset and TestDataset.

  TestDataset has a folder for each of five sets. Home:
  github.com/DengPingFan/PraNet
  """
  files = {}
  for i in range(8):
    files[f'TrainDataset/image/{i + 1}.png'] = layouts.picture(i)
    files[f'TrainDataset/mask/{i + 1}.png'] = layouts.blob(i)
  for place, name in enumerate((
      'CVC-300', 'CVC-ClinicDB', 'CVC-ColonDB', 'ETIS-LaribPolypDB',
      'Kvasir')):
    for i in range(1, 3):
      folder = f'TestDataset/{name}'
      files[f'{folder}/images/{i}.png'] = layouts.picture(100 + 10 * place + i)
      files[f'{folder}/masks/{i}.png'] = layouts.blob(i)
  return layouts.Layout(
      files, 18, 18, 13, ('CVC-300/2', {1: 8 * 12}), {'test': 10})


def glas() -> layouts.Layout:
  """Imitates GlaS, with a mask next to each picture.

  Each gland in a mask has its own value. Home:
  warwick.ac.uk/fac/sci/dcs/research/tia/glascontest
  """
  files, folder, seed = {}, 'Warwick QU Dataset (Released 2016_07_08)', 0
  for part, number in (('train', 8), ('testA', 3), ('testB', 3)):
    for i in range(number):
      label = np.zeros(layouts.SIZE, np.uint8)
      for k in range(2 + seed % 7):
        y, x = 5 * (k // 4) + 1, 9 * (k % 4) + 1
        label[y : y + 3, x : x + 7] = k + 1
      files[f'{folder}/{part}_{i + 1}.bmp'] = layouts.picture(seed)
      files[f'{folder}/{part}_{i + 1}_anno.bmp'] = label
      seed += 1
  files[f'{folder}/Grade.csv'] = (
      'name,patient ID, grade (GlaS)\ntestA_1,4, benign\n')
  return layouts.Layout(
      files, 14, 14, 14, ('train_6', {1: 7 * 21}), flag='--mask_threshold=1')


def dsb_2018() -> layouts.Layout:
  """Imitates Data Science Bowl 2018, with a mask file for each nucleus.

  Each picture has a folder that also holds its masks. Home:
  bbbc.broadinstitute.org/BBBC038
  """
  files = {}
  for i in range(10):
    part = 'stage1_train' if i < 8 else 'stage1_test'
    name = f'{i:02x}' * 32
    opaque = np.full((*layouts.SIZE, 1), 255, np.uint8)
    files[f'{part}/{name}/images/{name}.png'] = np.concatenate(
        [layouts.picture(i), opaque], -1)
    for k in range(2 + i % 3 if i < 8 else 0):
      files[f'{part}/{name}/masks/{f"{16 * k + i:02x}" * 32}.png'] = (
          layouts.mask((2 + 7 * k, 5, 6, 7)))
  return layouts.Layout(
      files, 8, 8, 8, (f'{"02" * 32}/{"02" * 32}', {1: 4 * 42}),
      said=('united', 'left out'))


def montgomery() -> layouts.Layout:
  """Imitates Montgomery County chest X-rays, with a mask folder for each lung.

  Home: lhncbc.nlm.nih.gov
  """
  files = {'MontgomerySet/NLM-MontgomeryCXRSet-ReadMe.pdf': b'%PDF-1.4'}
  for i in range(8):
    name = f'MCUCXR_{i + 1:04d}_{i % 2}'
    folder = 'MontgomerySet'
    files[f'{folder}/CXR_png/{name}.png'] = layouts.picture(i)
    files[f'{folder}/ManualMask/leftMask/{name}.png'] = layouts.mask(
        (4, 22, 10 + i, 8)) > 0
    files[f'{folder}/ManualMask/rightMask/{name}.png'] = layouts.mask(
        (4, 6, 11 + i, 8)) > 0
    files[f'{folder}/ClinicalReadings/{name}.txt'] = 'normal'
  return layouts.Layout(
      files, 8, 8, 8, ('MCUCXR_0003_0', {1: 8 * 12 + 8 * 13}),
      said=('united',))


def jsrt() -> layouts.Layout:
  """Imitates the pictures of JSRT in PNG, with the masks of SCR.

  The masks come in two folds, each with a folder for each structure. Home:
  db.jsrt.or.jp
  """
  files = {}
  for i in range(10):
    name = f'JPCLN{i + 1:03d}'
    files[f'All247images/{name}.png'] = layouts.picture(i)
    folder = f'scratch/fold{1 + i % 2}/masks'
    for k, structure in enumerate(('heart', 'left lung', 'right lung')):
      files[f'{folder}/{structure}/{name}.gif'] = layouts.mask(
          (4, 2 + 12 * k, 10 + i, 8))
  return layouts.Layout(
      files, 10, 10, 10,
      ('JPCLN003', {c: 8 * 12 for c in (1, 2, 3)}),
      classes=('background', 'heart', 'left lung', 'right lung'))


def monuseg() -> layouts.Layout:
  """Imitates MoNuSeg, which must be refused: its outlines are in Aperio's XML.

  Home: monuseg.grand-challenge.org
  """
  files, folder = {}, 'MoNuSeg 2018 Training Data'
  for i in range(6):
    name = f'TCGA-18-559{i}-01Z-00-DX1'
    files[f'{folder}/Tissue Images/{name}.tif'] = layouts.picture(i)
    files[f'{folder}/Annotations/{name}.xml'] = (
        '<Annotations MicronsPerPixel="0.252000"><Annotation Id="1"><Regions>'
        '<Region Id="1"><Vertices><Vertex X="2" Y="2" Z="0"/></Vertices>'
        '</Region></Regions></Annotation></Annotations>')
  return layouts.Layout(files, refused='.xml')


LAYOUTS = (
    isic_2018, isic_2018_training, isic_2017, isic_2016, ham10000, ph2, busi,
    kvasir_seg, hyper_kvasir, kvasir_instrument, cvc_clinic_db,
    cvc_clinic_db_mirror, pranet_polyps, glas, dsb_2018, montgomery, jsrt,
    monuseg)
