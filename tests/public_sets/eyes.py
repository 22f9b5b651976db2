"""Imitates public sets of fundus pictures, see `tests.public_sets`."""

from tests.public_sets import layouts



def drive() -> layouts.Layout:
  """Imitates DRIVE, with masks of the field of view and of the vessels.

  In the test part, two observers drew the vessels. Home:
  drive.grand-challenge.org
  """
  files = {}
  for part, first in (('training', 21), ('test', 1)):
    for i in range(first, first + 6):
      folder = f'DRIVE/{part}'
      files |= {
          f'{folder}/images/{i:02d}_{part}.tif': layouts.picture(i),
          f'{folder}/mask/{i:02d}_{part}_mask.gif': layouts.mask(
              *layouts.FIELD_OF_VIEW),
          f'{folder}/1st_manual/{i:02d}_manual1.gif': layouts.blob(i)}
      if part == 'test':
        files[f'{folder}/2nd_manual/{i:02d}_manual2.gif'] = layouts.mask(
            *layouts.OTHER_OPINION)
  return layouts.Layout(
      files, 12, 12, 12, ('04_test', {1: 8 * 14}), {'test': 6},
      flag='--mask_folder=1st_manual')


def chase_db1() -> layouts.Layout:
  """Imitates CHASE_DB1, with pictures and masks of two observers in one folder.

  Home: researchdata.kingston.ac.uk/96
  """
  files = {}
  for i in range(6):
    for eye in 'LR':
      name, number = f'CHASEDB1/Image_{i + 1:02d}{eye}', 2 * i + (eye == 'R')
      files[f'{name}.jpg'] = layouts.picture(number)
      files[f'{name}_1stHO.png'] = layouts.blob(number) > 0
      files[f'{name}_2ndHO.png'] = layouts.mask(*layouts.OTHER_OPINION) > 0
  return layouts.Layout(
      files, 24, 24, 12, ('Image_02L@1stHO', {1: 8 * 12}), said=('observers',))


def stare() -> layouts.Layout:
  """Imitates STARE, with a folder of masks for each observer, in PPM.

  Home: cecas.clemson.edu/~ahoover/stare
  """
  files = {}
  for i in range(8):
    name = f'im{i + 1:04d}'
    files[f'stare-images/{name}.ppm'] = layouts.picture(i)
    files[f'labels-ah/{name}.ah.ppm'] = layouts.blob(i)
    files[f'labels-vk/{name}.vk.ppm'] = layouts.mask(*layouts.OTHER_OPINION)
  return layouts.Layout(
      files, 16, 16, 8, ('im0003@ah', {1: 8 * 12}), said=('observers',))


def hrf() -> layouts.Layout:
  """Imitates HRF, with vessels in manual1 and the field of view in mask.

  Home: www5.cs.fau.de/research/data/fundus-images
  """
  files = {}
  for i in range(4):
    for place, kind in enumerate(('dr', 'g', 'h')):
      name, number = f'{i + 1:02d}_{kind}', 3 * i + place
      suffix = 'JPG' if kind == 'dr' else 'jpg'
      files[f'images/{name}.{suffix}'] = layouts.picture(number)
      files[f'manual1/{name}.tif'] = layouts.blob(number)
      files[f'mask/{name}_mask.tif'] = layouts.rgb(
          layouts.mask(*layouts.FIELD_OF_VIEW))
  return layouts.Layout(
      files, 12, 12, 12, ('02_g', {1: 8 * 14}), flag='--mask_folder=manual1')


def refuge() -> layouts.Layout:
  """Imitates REFUGE; in its masks, 0 is cup, 128 disc and 255 background.

  Home: refuge.grand-challenge.org
  """
  files = {}
  for kind, number in (('Glaucoma', 4), ('Non-Glaucoma', 8)):
    for i in range(number):
      name = f'{kind}/{"n" if kind[0] == "N" else "g"}{i + 1:04d}'
      files[f'Training400/{name}.jpg'] = layouts.picture(20 * number + i)
      label = 255 - layouts.mask((4, 4, 20, 20), value=127)
      label[10:14, 8:18] = 0
      files[f'Annotation-Training400/Disc_Cup_Masks/{name}.bmp'] = label
  return layouts.Layout(
      files, 12, 12, 12, ('Non-Glaucoma/n0003', {1: 360, 2: 40}),
      classes=('background', 'class_1', 'class_2'),
      flag='--mask_values=255:0,128:1,0:2')


LAYOUTS = (drive, chase_db1, stare, hrf, refuge)
