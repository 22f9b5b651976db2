"""Plain folders: pictures beside masks, coarse masks or scribbles.

images/a.png belongs to masks/a.png, coarse_masks/a.png or scribbles/a.png (or
to train_images, ground truth and other names, see `sources`), a.png to
a_mask.png beside it, p1/image.png to p1/mask.png. Folders named train, val or
test above or below these are splits; others below the images are subjects. PNG,
JPEG, TIFF, BMP, NPY and DICOM. A mask is of the same size as its picture;
without `mask_values` it stores class numbers, or, if all masks of its kind hold
nothing else, 0 and 255. dataset.json, as of nnU-Net, names the classes.
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

_WORDS = r'(?:masks?|seg|segmentation|labels?|gt|scribbles?|annotation)'
_MASK_NAME = re.compile(rf'(?:^|[_-]){_WORDS}(?:[_-]?\d+)?$', re.I)
_IMAGE_NAME = re.compile(r'(?:^|[_-])(?:image|img)$', re.I)
CHANNEL = re.compile(r'_0000$')  # Of nnU-Net, the first one.
_FURTHER_CHANNEL = re.compile(r'_(?!0000)\d{4}$')


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
  report = assembling.Report(options.leave_out)
  writer = intensities.Writer(source, output, options)
  paths = tuple(sources.list_files(source, sources.PICTURES))
  images, masks = pair(paths, options, report)
  names = sources.make_names(list(images.values()))
  values, highest = map_values(
      [(k, source / m) for kinds in masks.values() for k, m in kinds.items()],
      options, report)
  rows, weak = [], {}
  for key, path in sorted(images.items(), key=lambda item: names[item[1]]):
    row_id = names[path].id
    image, _, found = writer.place(path, row_id, report)
    annotations = {}
    for kind, mask in masks.get(key, {}).items():
      try:
        annotations[kind] = {'kind': kind, 'path': _place_mask(
            source, mask, row_id, kind, writer, options.mask_threshold)}
        if values.get(kind):
          annotations[kind]['values'] = values[kind]
      except pixels.WrongFile as wrong:
        report.wrong_file(wrong, file=mask, row_id=row_id)
    ordered = [annotations[k] for k in HOLDS if k in annotations]
    if len(ordered) > 1 and ordered[0]['kind'] == 'mask':
      weak[row_id] = ordered[1]
    rows.append(manifest_lib.Row(
        row_id, image, sources.split_of(path),
        '' if ordered else 'unlabelled', ordered[0] if ordered else None,
        **assembling.subject_and_more(names[path], found, options)))
  unlabelled = sum(r.role == 'unlabelled' for r in rows)
  if unlabelled:
    report.note(f'{unlabelled} of {len(rows)} pictures have no mask: they are '
                'unlabelled')
  classes = (options.classes or read_dataset_json(source, report)
             or numbered_classes(highest))
  rows, weak, root = writer.finish(rows, weak)
  return formats.Imported(
      classes, rows, report.problems, report.notices, root, weak,
      tuple(report.left_out))


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
  plain_stems = {_plain(s, _IMAGE_NAME) for s in stems}
  images, masks = {}, {}
  for path in paths:
    *folders, name = sources.stem(path).split('/')
    if _FURTHER_CHANNEL.search(name) and sources.stem(path)[:-4] + '0000' in (
        stems):
      report.note('further channels (_0001, ...) are not read')
      continue
    kinds = [sources.KIND_FOLDERS.get(f.lower(), options.masks_are)
             for f in folders if sources.is_mask_folder(f)]
    plain = _MASK_NAME.sub('', name)
    if not kinds and plain != name and (
        {'/'.join([*folders, plain])} & (stems | plain_stems)):
      kinds = [options.masks_are]
    plain = plain if kinds else _IMAGE_NAME.sub('', name)
    kept = [f for f in folders if f.lower() not in sources.SPLIT_FOLDERS
            and not sources.is_mask_folder(f)
            and not sources.is_image_folder(f)]
    key = '/'.join([sources.split_of(path), *kept, CHANNEL.sub('', plain)])
    known = masks.setdefault(key, {}) if kinds else images
    place = kinds[0] if kinds else key
    if place in known:
      report.wrong('two files of one name', f'{path}, {known[place]}',
                   'join or remove one', file=path)
    known[place] = path
  for key in sorted(set(masks) - set(images)):
    path = next(iter(masks[key].values()))
    report.wrong('a mask without a picture', path,
                 'add the picture of that name or remove it', file=path)
  return images, masks


def read_dataset_json(source: pathlib.Path, report) -> tuple[str, ...] | None:
  """Returns the class names of nnU-Net's dataset.json, None if there are none.

  Its labels are {"background": 0, "tumour": 1} or, in its first version,
  {"0": "background", "1": "tumour"}.
  """
  path = source / 'dataset.json'
  if not path.is_file():
    return None
  try:
    labels = sources.read_json(path)['labels']
    numbers = {}
    for key, value in labels.items():
      number, name = (key, value) if str(key).isdecimal() else (value, key)
      numbers[int(number)] = sources.text(name)
    return tuple(numbers[i] for i in range(len(numbers)))
  except (pixels.WrongFile, AttributeError, KeyError, TypeError, ValueError):
    report.note('dataset.json names no classes 0, 1, ...: it is not used')
    return None


def _plain(path, pattern):
  *folders, name = path.split('/')
  return '/'.join([*folders, pattern.sub('', name)])


def numbered_classes(highest: int) -> tuple[str, ...]:
  """Returns class names for masks up to a class that no file names."""
  if highest <= 1:
    return 'background', 'foreground'
  return 'background', *(f'class_{i}' for i in range(1, highest + 1))


def map_values(
    found: list[tuple[str, pathlib.Path]], options: formats.Options, report
) -> tuple[dict[str, dict[str, int]], int]:
  """Reads all masks of a set, given by kind and path.

  Returns:
    The class of each stored value by kind, where it is not the value itself,
    and the highest class.
  """
  stored = {kind: set() for kind, _ in found}
  read = pixels.map_in_threads(_stored_values, [path for _, path in found])
  for (kind, _), values in zip(found, read, strict=True):
    stored[kind] |= values
  if options.mask_threshold is not None:
    return {}, 1
  mapping = {}
  for kind, values in stored.items():
    if options.mask_values:
      # Those of masks need not be those of scribbles.
      if kind != 'scribble' or values <= {*map(int, options.mask_values)}:
        mapping[kind] = options.mask_values
    elif kind != 'scribble' and 255 in values and values <= {0, 255}:
      report.note(f'{kind}s hold 0 and 255 only: 255 is class 1')
      mapping[kind] = {'0': 0, '255': 1}
  classes = {v for kind, values in stored.items() for v in (
      mapping[kind].values() if kind in mapping else values)}
  highest = int(max((v for v in classes if v != 255), default=1))
  if highest > 254 or (options.classes is None and highest > 64):
    report.wrong('masks hold values that are hardly class numbers',
                 f'up to {highest}',
                 'map them (--mask_values=0:0,128:1,...), or threshold them '
                 '(--mask_threshold=128)')
    highest = 1
  return mapping, highest


def _stored_values(path):
  try:
    return set(np.unique(_read_mask(path)).tolist())
  except Exception:  # The check names what is wrong with it.
    return set()


def _place_mask(source, path, row_id, kind, writer, threshold):
  """Returns the path of a mask; if need be it is written as a picture first."""
  if threshold is None and not path.lower().endswith('.npy'):
    return path
  try:
    label = _read_mask(source / path)
  except pixels.WrongFile:
    raise
  except Exception as error:  # Pillow raises many kinds on damaged files.
    raise pixels.WrongFile(
        'the mask cannot be read', path, 'replace the file') from error
  if threshold is not None:
    label = label >= threshold
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
