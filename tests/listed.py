"""Makes valid and invalid lines of manifests, and the files that they name."""

import json
import pathlib

import numpy as np
from PIL import Image

HEADER = {'manifest_version': 1, 'name': 'tiny', 'classes': ['bg', 'a'],
          'root': '.'}
MASK = {'kind': 'mask', 'path': 'masks/m.png'}
BOX = {'kind': 'box', 'boxes': [[1, 1, 4, 3]], 'labels': [1]}


def row(row_id, role='strong', **fields):
  """Returns a valid line; keyword arguments replace fields."""
  annotation = MASK if role == 'strong' else BOX
  return {'id': row_id, 'image': 'images/i.png', 'subject': f's_{row_id}',
          'site': '', 'annotator': '', 'spacing_mm': None, 'split': 'train',
          'role': role, 'annotation': annotation, **fields}


def rows(**fields):
  """Returns two strong and two weak lines; `fields` change the last one."""
  return [row('a'), row('b'), row('c', 'weak'), {**row('d', 'weak'), **fields}]


def write_files(folder):
  """Writes one 8 x 6 image and masks, good and bad, below `folder`."""
  folder = pathlib.Path(folder)
  for name in ('images', 'masks'):
    (folder / name).mkdir()
  save = lambda path, array: Image.fromarray(array).save(folder / path)
  mask = np.zeros((6, 8), np.uint8)
  mask[1:3, 1:4] = 1
  save('images/i.png', np.full((6, 8, 3), 90, np.uint8))
  save('images/deep.png', np.full((6, 8), 90, np.uint16))
  save('masks/m.png', mask)
  save('masks/m255.png', mask * 255)
  save('masks/one_bit.png', mask.astype(bool))
  save('masks/gray_as_rgb.png', np.repeat(mask[..., None], 3, -1))
  save('masks/colour.png', mask[..., None] * np.array([9, 0, 0], np.uint8))
  save('masks/empty.png', mask * 0)
  save('masks/large.png', np.zeros((8, 8), np.uint8))
  save('masks/seven.png', mask * 7)
  partial = mask.copy()
  partial[5] = 255
  save('masks/partial.png', partial)
  (folder / 'images/cut.png').write_bytes(
      (folder / 'images/i.png').read_bytes()[:50])


def write_lines(folder, lines):
  """Writes a manifest of JSON objects or strings, and returns its path."""
  path = pathlib.Path(folder) / 'manifest.jsonl'
  text = [x if isinstance(x, str) else json.dumps(x) for x in lines]
  path.write_text('\n'.join(text) + '\n')
  return path


# Name of the test, lines after the header, and words of the only problem.
BAD = (
    ('missing_image', rows(image='images/no.png'),
     "line 5, id d, image: image not found, found images/no.png; put"),
    ('unreadable_image', rows(image='images/cut.png'),
     'id d, image: image cannot be read'),
    ('sixteen_bit_image', rows(image='images/deep.png'),
     'expected 8 bits per channel, found pixels of mode I;16; convert'),
    ('mask_of_another_size',
     rows(role='strong',
          annotation={'kind': 'mask', 'path': 'masks/large.png'}),
     'annotation.path: mask is of another size than its image, 6 x 8, found '
     '8 x 8; save'),
    ('label_value_outside',
     rows(role='strong',
          annotation={'kind': 'mask', 'path': 'masks/seven.png'}),
     'label value outside the classes, expected 0 .. 1, found 7; map it'),
    ('value_not_mapped',
     rows(annotation={'kind': 'coarse_mask', 'path': 'masks/seven.png',
                      'values': {'0': 0, '255': 1}}),
     'expected keys of `values` (0, 255), found 7; add it'),
    ('missing_mask',
     rows(role='strong', annotation={'kind': 'mask', 'path': 'masks/no.png'}),
     'mask not found, found masks/no.png'),
    ('colour_mask',
     rows(role='strong',
          annotation={'kind': 'mask', 'path': 'masks/colour.png'}),
     'expected one channel, found masks/colour.png: channels of different'),
    ('unlabelled_in_strong',
     rows(role='strong',
          annotation={'kind': 'mask', 'path': 'masks/partial.png'}),
     'an exact mask has no unlabelled pixel, found 8 pixels of 255'),
    ('mapped_to_unlabelled_in_strong',
     rows(role='strong', annotation={
         'kind': 'mask', 'path': 'masks/m.png', 'values': {'0': 0, '1': 255}}),
     'an exact mask has no unlabelled pixel, found 6 pixels of 255'),
    ('unknown_kind', rows(annotation={'kind': 'bx', 'boxes': []}),
     "found 'bx'; did you mean 'box'?"),
    ('strong_box', rows(role='strong'),
     "an exact label is of kind mask, found 'box'"),
    ('duplicate_id', rows(id='a'), 'id a, id: duplicate id, first on line 2'),
    ('subject_in_two_splits',
     [*rows(), row('e', split='val', subject='s_a'),
      row('f', split='val', subject='s_a')],
     "line 6, id e, subject: subject is in val and, on line 2, in train, "
     "found 's_a'; keep"),
    ('no_strong', [row('c', 'weak'), row('v', split='val')],
     'manifest: no strong training instance'),
    ('no_weak', [row('a'), row('v', split='val')],
     'manifest: no weak training instance'),
    ('empty', [], 'manifest: the manifest holds no image'),
    ('bad_split', rows(split='training'), "'training'; did you mean 'train'?"),
    ('bad_role', [row('a'), {**row('d', 'weak'), 'role': 'week'}],
     "found 'week'; did you mean 'weak'?"),
    ('weak_val', rows(split='val'), 'val images are for evaluation and need'),
    ('box_swapped', rows(annotation={**BOX, 'boxes': [[4, 1, 1, 3]]}),
     'annotation.boxes[0]: expected [x0, y0, x1, y1] with x1 > x0'),
    ('box_outside', rows(annotation={**BOX, 'boxes': [[1, 1, 12, 3]]}),
     'lies outside the image, 8 wide and 6 high, found [1, 1, 12, 3]'),
    ('box_not_numbers', rows(annotation={**BOX, 'boxes': [[1, 1, 'x', 3]]}),
     'expected [x0, y0, x1, y1], found'),
    ('nan', rows(annotation={**BOX, 'boxes': [[1, 1, float('nan'), 3]]}),
     'expected [x0, y0, x1, y1], found [1, 1, nan, 3]'),
    ('two_point_polygon',
     rows(annotation={'kind': 'polygon', 'polygons': [[[1, 1], [2, 2]]],
                      'labels': [1]}),
     'a polygon needs 3 points, found 2'),
    ('polygon_elsewhere',
     rows(annotation={'kind': 'polygon', 'labels': [1],
                      'polygons': [[[20, 1], [22, 1], [22, 3]]]}),
     'lies outside the image'),
    ('flat_ellipse',
     rows(annotation={'kind': 'ellipse', 'ellipses': [[4, 3, 0, 2, 0]],
                      'labels': [1]}),
     'expected radii above 0'),
    ('class_outside', rows(annotation={**BOX, 'labels': [2]}),
     'annotation.labels[0]: expected a class in 1 .. 1 or 255, found 2'),
    ('class_background', rows(annotation={**BOX, 'labels': [0]}),
     'expected a class in 1 .. 1 or 255, found 0'),
    ('labels_missing', rows(annotation={'kind': 'box', 'boxes': []}),
     'annotation.labels: expected a list, found None'),
    ('labels_short', rows(annotation={**BOX, 'labels': []}),
     'expected as many labels as shapes, 1, found 0'),
    ('misspelt_field', rows(anotator='x'), 'id d, anotator: unknown field'),
    ('missing_field', [row('a'), {'id': 'd', 'image': 'images/i.png',
                                  'role': 'weak', 'annotation': BOX}],
     "field 'split' is missing, expected one of train, val, test; add it"),
    ('wrong_type', rows(subject=3), 'subject: expected a text, found 3'),
    ('spacing', rows(spacing_mm=[1.0, 0]), 'both above 0, found [1.0, 0]'),
    ('no_annotation', rows(annotation=None),
     'a weak image needs an annotation'),
    ('not_json', [*rows(), '{"id": '], 'line 6: not JSON'),
    ('not_an_object', [*rows(), '[1]'], 'line 6: expected a JSON object'),
    ('fault', rows(evaluation={'fault': 'shfted'}),
     "found 'shfted'; did you mean 'shifted'?"),
    ('quality', rows(evaluation={'quality': 1.5}), 'expected null or an IoU'),
    ('truth', rows(evaluation={'truth': BOX}),
     "evaluation.truth.kind: an exact label is of kind mask, found 'box'"),
    ('long_values', rows(id='x' * 500, image='y/' * 200), 'image not found'),
)
