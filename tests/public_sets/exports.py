"""Imitates the files that annotation tools export, see `tests.public_sets`."""

from tests.public_sets import layouts



def _corners(number):
  """Returns the corners of `layouts.box(number)` as [x, y, x, y, ...]."""
  y, x, height, width = layouts.box(number)
  return [x, y, x + width, y, x + width, y + height, x, y + height]


def _annotation(number, image_id, category=1):
  y, x, height, width = layouts.box(number)
  return {'id': image_id, 'image_id': image_id, 'category_id': category,
          'bbox': [x, y, width, height], 'area': width * height, 'iscrowd': 0,
          'segmentation': [_corners(number)]}


def _image(name, image_id):
  return {'id': image_id, 'file_name': name, 'height': 32, 'width': 40}


def roboflow_coco() -> layouts.Layout:
  """Imitates Roboflow's export in COCO format, with a JSON file for each split.

  No object has category 0. Home: docs.roboflow.com
  """
  files = {'README.dataset.txt': 'Polyps', 'README.roboflow.txt': 'v1'}
  seed = 0
  for part, number in (('train', 8), ('valid', 2), ('test', 2)):
    content = {'info': {}, 'licenses': [], 'images': [], 'annotations': [],
               'categories': [
                   {'id': 0, 'name': 'polyps', 'supercategory': 'none'},
                   {'id': 1, 'name': 'polyp', 'supercategory': 'polyps'}]}
    for i in range(number):
      name = f'{i}_jpg.rf.{seed:032x}.jpg'
      files[f'{part}/{name}'] = layouts.picture(seed)
      content['images'].append(_image(name, i))
      content['annotations'].append(_annotation(seed, i))
      seed += 1
    files[f'{part}/_annotations.coco.json'] = content
  return layouts.Layout(
      files, 12, 12, 12, (f'3_jpg.rf.{3:032x}', {1: 8 * 13}),
      {'train': 8, 'val': 2, 'test': 2}, ('background', 'polyp'),
      flag='--polygons_are=mask')


def roboflow_yolo() -> layouts.Layout:
  """Imitates Roboflow's export in YOLOv8 format, with outlines of objects.

  Each split has the folders images and labels. Home: docs.roboflow.com
  """
  files = {
      'README.dataset.txt': 'Polyps', 'README.roboflow.txt': 'v1',
      'data.yaml': 'train: ../train/images\nval: ../valid/images\n'
                   'test: ../test/images\n\nnc: 1\nnames: [\'polyp\']\n\n'
                   'roboflow:\n  workspace: w\n  project: p\n  version: 1\n'}
  seed = 0
  for part, number in (('train', 8), ('valid', 2), ('test', 2)):
    for i in range(number):
      name = f'{i}_jpg.rf.{seed:032x}'
      files[f'{part}/images/{name}.jpg'] = layouts.picture(seed)
      files[f'{part}/labels/{name}.txt'] = ' '.join(['0', *(
          str(v / (32 if k % 2 else 40))
          for k, v in enumerate(_corners(seed)))])
      seed += 1
  return layouts.Layout(
      files, 12, 12, 12, (f'3_jpg.rf.{3:032x}', {1: 8 * 13}),
      {'train': 8, 'val': 2, 'test': 2}, ('background', 'polyp'),
      flag='--polygons_are=mask')


def coco_2017() -> layouts.Layout:
  """Imitates COCO 2017, with files of instances, captions and keypoints.

  Only the instances are read. Home: cocodataset.org
  """
  files = {}
  for part, first, number in (('train', 0, 8), ('val', 8, 3)):
    images, annotations, captions = [], [], []
    for i in range(first, first + number):
      name = f'{i + 9:012d}.jpg'
      files[f'{part}2017/{name}'] = layouts.picture(i)
      images.append(_image(name, i + 9))
      annotations.append(_annotation(i, i + 9, 1 + 2 * (i % 2)))
      captions.append({'id': i, 'image_id': i + 9, 'caption': 'A dog.'})
    annotations.append({
        'id': 900100000000, 'image_id': first + 9, 'category_id': 1,
        'iscrowd': 1, 'area': 32, 'bbox': [38, 0, 1, 32],
        'segmentation': {'size': [32, 40], 'counts': [38 * 32, 32, 32]}})
    more = {'info': {}, 'licenses': [], 'images': images}
    person = {'id': 1, 'name': 'person', 'supercategory': 'person'}
    files[f'annotations/instances_{part}2017.json'] = {
        **more, 'annotations': annotations, 'categories': [
            person, {'id': 3, 'name': 'car', 'supercategory': 'vehicle'}]}
    files[f'annotations/captions_{part}2017.json'] = {
        **more, 'annotations': captions}
    files[f'annotations/person_keypoints_{part}2017.json'] = {
        **more, 'annotations': [
            {**a, 'keypoints': [0] * 51, 'num_keypoints': 0}
            for a in annotations if a['category_id'] == 1],
        'categories': [{**person, 'keypoints': ['nose'], 'skeleton': []}]}
  return layouts.Layout(
      files, 11, 11, 11, (f'train2017/{11:012d}', {1: 8 * 12}), {'val': 3},
      ('background', 'person', 'car'), flag='--polygons_are=mask',
      said=('captions', 'keypoints'))


def cvat() -> layouts.Layout:
  """Imitates an export in the format CVAT for images 1.1.

  The file annotations.xml lies next to the folder images. Home: docs.cvat.ai
  """
  files, images = {}, []
  for i in range(10):
    files[f'images/{i:03d}.png'] = layouts.picture(i)
    corners = _corners(i)
    points = ';'.join(f'{x:.2f},{y:.2f}' for x, y in zip(
        corners[::2], corners[1::2], strict=True))
    images.append(
        f'<image id="{i}" name="{i:03d}.png" width="40" height="32">'
        f'<polygon label="polyp" source="manual" occluded="0" points="{points}"'
        ' z_order="0"></polygon></image>')
  files['annotations.xml'] = (
      '<?xml version="1.0" encoding="utf-8"?>\n<annotations>'
      '<version>1.1</version><meta><task><labels><label><name>polyp</name>'
      '<color>#fa3253</color><type>polygon</type><attributes></attributes>'
      f'</label></labels></task></meta>{"".join(images)}</annotations>')
  return layouts.Layout(
      files, 10, 10, 10, ('003', {1: 8 * 13}),
      classes=('background', 'polyp'), flag='--polygons_are=mask')


LAYOUTS = (roboflow_coco, roboflow_yolo, coco_2017, cvat)
