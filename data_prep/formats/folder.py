"""Plain folders: pictures beside masks, coarse masks or scribbles.

images/a.png belongs to masks/a.png, coarse_masks/a.png or scribbles/a.png (or
another name of `sources.MASK_FOLDERS`), a.png to a_mask.png beside it. Folders
named train, val or test above or below these are splits; others below the
images are subjects. PNG, JPEG, TIFF, BMP, NPY and DICOM. A mask is of the same
size as its picture; without `mask_values` it stores class numbers, or, if the
masks looked at hold nothing else, 0 and 255.
"""

import pathlib
import re

import numpy as np
from PIL import Image

from data_prep import formats
from data_prep import manifest as manifest_lib
from data_prep import pixels
from data_prep import rasterize
from data_prep.formats import assembling
from data_prep.formats import intensities
from data_prep.formats import sources

HOLDS = ('mask', 'coarse_mask', 'scribble')

_MASK_NAME = re.compile(
    r'[_-](masks?|seg|segmentation|labels?|gt|scribbles?|annotation)$', re.I)
CHANNEL = re.compile(r'_0000$')  # Of nnU-Net, the first and only one.
_NUM_LOOKED_AT = 32


def detect(source: pathlib.Path) -> bool:
  """Returns whether there are pictures below `source`."""
  return bool(sources.list_files(source, sources.PICTURES))


def read(
    source: pathlib.Path,
    output: pathlib.Path,
    *,
    options: formats.Options,
) -> formats.Imported:
  """Reads pictures and masks below `source`, see the package."""
  report = assembling.Report()
  writer = intensities.Writer(source, output, options)
  paths = tuple(sources.list_files(source, sources.PICTURES))
  images, masks = pair(paths, options, report)
  ids = sources.make_ids(list(images.values()))
  values, highest = _look(source, masks, options, report)
  rows, weak = [], {}
  for key, path in sorted(images.items(), key=lambda item: ids[item[1]]):
    row_id = ids[path]
    image, _, found = writer.place(path, row_id, report)
    annotations = {}
    for kind, mask in masks.get(key, {}).items():
      try:
        annotations[kind] = {'kind': kind, 'path': _place_mask(
            source, mask, row_id, kind, writer)}
        if values:
          annotations[kind]['values'] = values
      except pixels.WrongFile as wrong:
        report.wrong_file(wrong, file=mask, row_id=row_id)
    ordered = [annotations[k] for k in HOLDS if k in annotations]
    if len(ordered) > 1 and ordered[0]['kind'] == 'mask':
      weak[row_id] = ordered[1]
    rows.append(manifest_lib.Row(
        row_id, image, sources.split_of(path),
        '' if ordered else 'unlabelled', ordered[0] if ordered else None,
        **({'subject': sources.subject_of(
            row_id, options.subject_pattern)} | found)))
  unlabelled = sum(r.role == 'unlabelled' for r in rows)
  if unlabelled:
    report.note(f'{unlabelled} of {len(rows)} pictures have no mask: they are '
                'unlabelled')
  classes = options.classes or ('background', *(
      ('foreground',) if highest <= 1 else (
          f'class_{i}' for i in range(1, highest + 1))))
  rows, weak, root = writer.finish(rows, weak)
  return formats.Imported(
      classes, rows, report.problems, report.notices, root, weak)


def write(manifest: manifest_lib.Manifest, output: pathlib.Path) -> None:
  """Writes images/ and masks/ or the like; 255 is unlabelled."""
  for row in manifest.rows:
    assembling.place_picture(
        manifest, row, output, folder=f'images/{row.split}')
    if row.annotation is None:
      continue
    label = rasterize.rasterize(
        row.annotation, size=assembling.picture_size(
            manifest.root / row.image), root=manifest.root)
    kind = row.annotation['kind']
    folder = f'{kind}s' if kind in HOLDS else 'coarse_masks'
    file = output / folder / row.split / f'{row.id}.png'
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(label).save(file)


def pair(
    paths: tuple[str, ...], options: formats.Options, report
) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
  """Tells pictures from masks by their names.

  Returns:
    The picture of each key, and of each key the mask of each kind.
  """
  stems = {sources.stem(p) for p in paths}
  images, masks = {}, {}
  for path in paths:
    *folders, name = sources.stem(path).split('/')
    lower = [f.lower() for f in folders]
    plain = _MASK_NAME.sub('', name)
    kinds = [sources.KIND_FOLDERS.get(f, options.masks_are) for f in lower
             if f in (*sources.MASK_FOLDERS, *sources.KIND_FOLDERS)]
    if not kinds and plain != name and '/'.join([*folders, plain]) in stems:
      kinds = [options.masks_are]
    kept = [f for f, l in zip(folders, lower, strict=True) if l not in (
        *sources.IMAGE_FOLDERS, *sources.MASK_FOLDERS, *sources.KIND_FOLDERS)]
    key = '/'.join([*kept, CHANNEL.sub('', plain if kinds else name)])
    known = masks.setdefault(key, {}) if kinds else images
    place = kinds[0] if kinds else key
    if place in known:
      report.wrong('two files of one name', f'{path}, {known[place]}',
                   'remove one', file=path)
    known[place] = path
  for key in sorted(set(masks) - set(images)):
    path = next(iter(masks[key].values()))
    report.wrong('a mask without a picture', path,
                 'add the picture of that name or remove it', file=path)
  return images, masks


def _look(source, masks, options, report):
  """Returns the mapping of stored values, and the highest class number."""
  dense, sparse = set(), set()
  found = [(k, m) for kinds in masks.values() for k, m in kinds.items()]
  for kind, path in found[:: max(1, len(found) // _NUM_LOOKED_AT)]:
    try:
      stored = set(np.unique(_read_mask(source / path)).tolist())
    except Exception:  # The check names what is wrong with it.
      continue
    if kind == 'scribble':
      sparse |= stored
    else:
      dense |= stored
  highest = int(max((v for v in dense | sparse if v != 255), default=1))
  if options.mask_values:
    known = [v for v in options.mask_values.values() if v != 255]
    return options.mask_values, max(known, default=1)
  if dense == {0, 255}:
    report.note('masks hold 0 and 255 only: 255 is class 1')
    return {'0': 0, '255': 1}, 1
  if highest > 254 or (options.classes is None and highest > 64):
    report.wrong('masks hold values that are hardly class numbers',
                 f'up to {highest}', 'map them: --mask_values=0:0,128:1,...')
    highest = 1
  return None, highest


def _place_mask(source, path, row_id, kind, writer):
  """Returns the path of a mask; an array is written as a picture first."""
  if not path.lower().endswith('.npy'):
    return path
  label = _read_mask(source / path)
  if label.ndim != 2 or np.any(label % 1) or np.any(label < 0) or np.any(
      label > 255):
    raise pixels.WrongFile(
        'expected a mask [height, width] of class numbers', path,
        'save it as uint8')
  return writer.write_png(label.astype(np.uint8), f'{kind}s/{row_id}')


def _read_mask(path):
  if path.suffix.lower() == '.npy':
    return intensities.read_npy(path)
  return rasterize.read_mask(path)
