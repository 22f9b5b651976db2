"""Finds everything that is wrong with a manifest and its files, in one pass."""

import difflib

from hybridseg import types
import numpy as np

from data_prep import manifest as manifest_lib
from data_prep import rasterize
from data_prep import rle

KINDS = (*rasterize.SHAPE_FIELDS, 'tag')

# Corners may lie this many pixels outside the image: tools round.
_TOLERANCE = 1.0

_Problem = manifest_lib.Problem


def check_manifest(
    manifest: manifest_lib.Manifest,
) -> list[manifest_lib.Problem]:
  """Returns all problems of a manifest, in the order of its lines.

  Reads every image and every mask. That a training role is missing is said only
  if every line could be read: otherwise the bad line may be the missing one.

  Args:
    manifest: as read by `manifest.read_manifest`.
  """
  problems = list(manifest.problems)
  if manifest.header.classes:
    for row in manifest.rows:
      problems += _check_row(row, manifest)
  problems += _check_ids(manifest.rows)
  problems += _check_subjects(manifest.rows)
  unread = manifest.problems or any(
      p.field in ('split', 'role') for p in problems)
  if not manifest.rows and not manifest.problems:
    problems.append(_Problem(
        'the manifest holds no image', '', 'add one line per image'))
  elif not unread:
    problems += _check_roles(manifest.rows)
  return sorted(problems, key=lambda p: p.line or 10**9)


def _check_ids(rows):
  first = {}
  problems = []
  for row in rows:
    if row.id in first:
      problems.append(_Problem(
          f'duplicate id, first on line {first[row.id]}', '',
          'give each image its own id', row.line, row.id, 'id'))
    first.setdefault(row.id, row.line)
  return problems


def _check_subjects(rows):
  """Names, once per subject, two splits that hold it; empty is no subject."""
  first = {}
  told = set()
  problems = []
  for row in rows:
    if not row.subject:
      continue
    known = first.setdefault(row.subject, row)
    if known.split != row.split and row.subject not in told:
      told.add(row.subject)
      problems.append(_Problem(
          f'subject is in {row.split} and, on line {known.line}, in '
          f'{known.split}', repr(row.subject),
          'keep all its images in one split', row.line, row.id, 'subject'))
  return problems


def _check_roles(rows):
  roles = {row.role for row in rows if row.split == 'train'}
  return [
      _Problem(f'no {role} training instance', '', fix)
      for role, fix in (
          ('strong', 'give some train images exact masks and role strong'),
          ('weak', 'give some train images role weak or unlabelled'))
      if not roles & {role, 'unlabelled' if role == 'weak' else role}
  ]


def _nearest(value, known):
  near = difflib.get_close_matches(str(value), known, n=1, cutoff=0.4)
  return f'did you mean {near[0]!r}?' if near else 'use one of them'


def _check_row(row, manifest):
  """Returns the problems of one row and of its files."""
  problems = []

  def add(what, found, fix, field):
    problems.append(_Problem(what, found, fix, row.line, row.id, field))

  for field, known in (
      ('split', manifest_lib.SPLITS), ('role', manifest_lib.ROLES)):
    value = getattr(row, field)
    if value not in known:
      add(f'expected one of {", ".join(known)}', repr(value),
          _nearest(value, known), field)
  if row.split in ('val', 'test') and row.role in ('weak', 'unlabelled'):
    add(f'{row.split} images are for evaluation and need an exact mask',
        repr(row.role), 'give a mask and role strong, or use split train', 'role')
  size = None
  path = manifest.root / row.image
  try:
    size = rasterize.read_image(path).shape[:2]
  except FileNotFoundError:
    add('image not found', str(row.image),
        f'put it below {manifest.root} or correct the path', 'image')
  except ValueError as error:
    add('expected 8 bits per channel', str(error), 'convert the image', 'image')
  except Exception as error:  # Pillow raises many kinds on damaged files.
    add('image cannot be read', f'{row.image}: {type(error).__name__}',
        'replace the file', 'image')
  if row.annotation is None:
    if row.role != 'unlabelled':
      add(f'a {row.role} image needs an annotation', 'null',
          'add it or use role unlabelled', 'annotation')
  else:
    _check_annotation(
        row.annotation, row, size, manifest, 'annotation', row.role, add)
  _check_evaluation(row, size, manifest, add)
  return problems


def _check_evaluation(row, size, manifest, add):
  evaluation = row.evaluation or {}
  for name in evaluation:
    if name not in ('truth', 'quality', 'fault'):
      add('unknown field', '', 'use truth, quality and fault',
          f'evaluation.{name}')
  truth = evaluation.get('truth')
  if truth is not None:
    if isinstance(truth, dict):
      _check_annotation(
          truth, row, size, manifest, 'evaluation.truth', 'strong', add)
    else:
      add('expected null or an annotation of kind mask', repr(truth),
          'correct it', 'evaluation.truth')
  value = evaluation.get('quality')
  if value is not None and not (
      manifest_lib.is_number(value) and 0 <= value <= 1):
    add('expected null or an IoU in [0, 1]', repr(value), 'correct it',
        'evaluation.quality')
  fault = evaluation.get('fault', '')
  if fault not in manifest_lib.FAULTS:
    add(f'expected "", {", ".join(manifest_lib.FAULTS[1:])}', repr(fault),
        _nearest(fault, manifest_lib.FAULTS), 'evaluation.fault')


def _check_annotation(annotation, row, size, manifest, where, role, add):
  """Adds the problems of one annotation; `size` is None if unknown."""
  kind = annotation.get('kind')
  if kind not in KINDS:
    add(f'unknown annotation kind, expected one of {", ".join(KINDS)}',
        repr(kind), _nearest(kind, KINDS), f'{where}.kind')
    return
  if role == 'strong' and kind != 'mask':
    add('an exact label is of kind mask', repr(kind),
        'use role weak or give the mask', f'{where}.kind')
    return
  if kind == 'tag':
    known = ('kind', 'labels')
  elif rasterize.has_file(annotation):
    known = ('kind', 'path', 'values')
  else:
    known = ('kind', rasterize.SHAPE_FIELDS[kind], 'labels')
    known += ('width',) * (kind == 'scribble')
  for name in annotation:
    if name not in known:
      add('unknown field', '', f'use {", ".join(known)}', f'{where}.{name}')
  num_classes = len(manifest.header.classes)
  if rasterize.has_file(annotation):
    _check_mask(
        annotation, size, manifest.root, num_classes, where, role, add)
  else:
    _check_shapes(annotation, kind, size, num_classes, where, add)


def _check_mask(annotation, size, root, num_classes, where, role, add):
  """Adds the problems of a mask file."""
  path, values = annotation.get('path'), annotation.get('values')
  if not isinstance(path, str) or not path:
    add('expected the path of a mask', repr(path), 'add it', f'{where}.path')
    return
  allowed = f'0 .. {num_classes - 1}'
  if role != 'strong':
    allowed += f' or {types.UNLABELLED}'
  is_class = lambda v: (
      type(v) is int and (0 <= v < num_classes or v == types.UNLABELLED))
  if values is not None and not (
      isinstance(values, dict)
      and all(k.isdecimal() for k in values)
      and all(is_class(v) for v in values.values())):
    add(f'expected {{"stored value": class}} with classes {allowed}',
        repr(values), 'correct it', f'{where}.values')
    return
  try:
    mask = rasterize.read_mask(root / path, values)
  except FileNotFoundError:
    add('mask not found', path, f'put it below {root} or correct the path',
        f'{where}.path')
    return
  except ValueError as error:
    add('expected one channel', f'{path}: {error}',
        'save the mask as a gray picture', f'{where}.path')
    return
  except Exception as error:  # Pillow raises many kinds on damaged files.
    add('mask cannot be read', f'{path}: {type(error).__name__}',
        'replace the file', f'{where}.path')
    return
  if size is not None and mask.shape != size:
    add(f'mask is of another size than its image, {size[0]} x {size[1]}',
        f'{mask.shape[0]} x {mask.shape[1]}', 'save both at one size',
        f'{where}.path')
  stored = np.unique(mask)
  unknown = [
      int(v) for v in stored
      if (str(v) not in values if values is not None else not is_class(int(v)))
  ]
  if unknown:
    fix = ('add it to `values`' if values is not None
           else 'map it to a class with `values`')
    expected = (f'keys of `values` ({", ".join(values)})'
                if values is not None else allowed)
    add(f'label value outside the classes, expected {expected}',
        ', '.join(map(str, unknown)), fix, f'{where}.path')
  elif role == 'strong':
    label = rasterize.apply_values(mask, values)
    count = int((label == types.UNLABELLED).sum())
    if count:
      add('an exact mask has no unlabelled pixel',
          f'{count} pixels of {types.UNLABELLED}',
          'label them or use role weak', f'{where}.path')


def _check_shapes(annotation, kind, size, num_classes, where, add):
  """Adds the problems of an annotation that is drawn, or a tag."""
  fields = ['labels']
  if kind != 'tag':
    fields.insert(0, rasterize.SHAPE_FIELDS[kind])
  for field in fields:
    if not isinstance(annotation.get(field), list):
      add('expected a list', repr(annotation.get(field)),
          'add it, [] if there is no object', f'{where}.{field}')
      return
  labels, shapes = annotation['labels'], annotation[fields[0]]
  if len(shapes) != len(labels):
    add(f'expected one label for each of {len(shapes)} shapes',
        str(len(labels)), 'correct it', f'{where}.labels')
  lowest = 0 if kind in rasterize.SPARSE_KINDS else 1
  for i, label in enumerate(labels):
    if type(label) is not int or not lowest <= label < num_classes:
      add(f'expected a class in {lowest} .. {num_classes - 1}', repr(label),
          'correct it', f'{where}.labels[{i}]')
  if kind == 'tag':
    return
  if kind == 'scribble':
    width = annotation.get('width')
    if not (manifest_lib.is_number(width) and width > 0):
      add('expected a width in pixels above 0', repr(width), 'correct it',
          f'{where}.width')
  for i, shape in enumerate(shapes):
    place = f'{where}.{fields[0]}[{i}]'
    if kind in ('mask', 'coarse_mask'):
      _check_rle(shape, size, place, add)
    elif not _is_shape(shape, kind):
      add(f'expected {_FORMS[kind]}', repr(shape), 'correct it', place)
    elif kind == 'polygon' and len(shape) < 3:
      add('a polygon needs 3 points', str(len(shape)), 'redraw it', place)
    elif kind == 'box' and (shape[2] <= shape[0] or shape[3] <= shape[1]):
      add('expected [x0, y0, x1, y1] with x1 > x0 and y1 > y0', repr(shape),
          'swap the corners or remove the box', place)
    elif kind == 'ellipse' and min(shape[2:4]) <= 0:
      add('expected radii above 0', repr(shape[2:4]), 'correct it', place)
    elif size is not None and _is_outside(np.array(shape), kind, size):
      add(f'lies outside the image, {size[1]} wide and {size[0]} high',
          repr(shape), 'give pixels (x, y) of this image', place)


def _check_rle(shape, size, place, add):
  """Adds the problems of one mask in run lengths."""
  try:
    mask = rle.decode_rle(shape)
  except ValueError as error:
    add('run lengths cannot be read', str(error), 'export the mask again',
        place)
    return
  if size is not None and mask.shape != size:
    add(f'mask is of another size than its image, {size[0]} x {size[1]}',
        f'{mask.shape[0]} x {mask.shape[1]}', 'export it from this image',
        place)


_FORMS = {
    'box': '[x0, y0, x1, y1]',
    'polygon': '[[x, y], ...]',
    'scribble': '[[x, y], ...], not empty',
    'points': '[x, y]',
    'extreme_points': '[[x, y], [x, y], [x, y], [x, y]]',
    'ellipse': '[cx, cy, rx, ry, angle_deg]',
}


def _is_shape(shape, kind):
  is_numbers = lambda value, length: (
      isinstance(value, list)
      and len(value) == length
      and all(manifest_lib.is_number(v) for v in value)
  )
  if kind in ('polygon', 'scribble', 'extreme_points'):
    return (
        isinstance(shape, list)
        and all(is_numbers(p, 2) for p in shape)
        and (kind != 'extreme_points' or len(shape) == 4)
        and (kind != 'scribble' or len(shape) > 0)
    )
  return is_numbers(shape, {'box': 4, 'points': 2, 'ellipse': 5}[kind])


def _is_outside(shape, kind, size):
  """Returns whether a box or point leaves the image, another misses it.

  Hand-drawn outlines often leave the image a little; a box or a point that does
  so is in other units or belongs to another image.
  """
  end = np.array([size[1], size[0]]) + _TOLERANCE
  if kind in ('box', 'points', 'extreme_points'):
    corners = shape.reshape(-1, 2)
    return bool((corners < -_TOLERANCE).any() or (corners > end).any())
  if kind in ('polygon', 'scribble'):
    low, high = shape.min(0), shape.max(0)
  else:
    reach = shape[2:4].max()
    low, high = shape[:2] - reach, shape[:2] + reach
  return bool((high < 0).any() or (low > end - _TOLERANCE).any())
