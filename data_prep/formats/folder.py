"""Plain folders: pictures beside masks, coarse masks or scribbles.

images/a.png belongs to masks/a.png, coarse_masks/a.png or scribbles/a.png (or
to train_images, ground truth and other names), a.png to a_mask.png beside it,
p1/image.png to p1/mask.png; `pairing` says what names may be, and what several
masks of one picture mean. Folders named train, val or test above or below these
are splits; others below the images are subjects. PNG, JPEG, TIFF, BMP, NPY and
DICOM. A mask is of the same size as its picture; `mask_values` says what its
values mean. dataset.json, as of nnU-Net, names the classes.
"""

import pathlib

import numpy as np
from PIL import Image

from data_prep import confined
from data_prep import formats
from data_prep import manifest as manifest_lib
from data_prep import pixels
from data_prep import rasterize
from data_prep.formats import assembling
from data_prep.formats import declared_names
from data_prep.formats import dicom_objects
from data_prep.formats import intensities
from data_prep.formats import mask_values
from data_prep.formats import pairing
from data_prep.formats import parts as parts_lib
from data_prep.formats import sources

HOLDS = ('mask', 'coarse_mask', 'scribble')


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
  listed = tuple(sources.list_files(source, sources.PICTURES))
  paths = dicom_objects.keep_pictures(source, listed, report)
  declaration = sources.find_above(source, paths, 'dataset.json')
  declared = declared_names.read(
      source, options, report, name=declaration)
  pairs = pairing.pair(
      paths, options, report, channel_names=declared.channels)
  names = sources.make_names(pairs.images)
  plain = [m for masks in pairs.masks.values() for m in masks if not m.piece]
  values, highest = mask_values.map_values(
      [(m.kind, source / m.path) for m in plain], options, report, declared)
  placer = _Placer(source, writer, options, pairs.structures, values, report)
  rows, weak = [], {}
  for path in sorted(pairs.images, key=names.get):
    masks = pairs.masks.get(path, [])
    observers = parts_lib.observers_of(masks)
    for observer in observers:
      row_id = names[path].id
      if len(observers) > 1:
        row_id += f'@{observer}'
      image, _, found = writer.place(path, row_id, report)
      annotations = {}
      for kind, some in parts_lib.by_kind(masks, observer).items():
        try:
          annotation = placer.annotation(kind, some, row_id)
          if annotation is not None:
            annotations[annotation['kind']] = annotation
        except pixels.WrongFile as wrong:
          report.wrong_file(wrong, file=some[0].path, row_id=row_id)
      ordered = [annotations[k] for k in HOLDS if k in annotations]
      if len(ordered) > 1 and ordered[0]['kind'] == 'mask':
        weak[row_id] = ordered[1]
      more = assembling.subject_and_more(names[path], found, options)
      if len(observers) > 1 and not more.get('subject'):
        more['subject'] = names[path].id  # One picture is not cut.
      rows.append(manifest_lib.Row(
          row_id, image, sources.split_of(path),
          '' if ordered else 'unlabelled', ordered[0] if ordered else None,
          annotator=observer, **more))
  placer.tell()
  unlabelled = sum(r.role == 'unlabelled' for r in rows)
  if unlabelled and not report.problems:
    report.note(f'{unlabelled} of {len(rows)} pictures have no mask: they are '
                'unlabelled')
  classes = declared_names.classes_of(pairs.names, declared, options, highest)
  sources.note_unused(source, {*listed, declaration}, report,
                      is_annotated=bool(pairs.masks))
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
    Image.fromarray(label).save(confined.new_file(
        output, f'{folder}/{row.split}/{row.id}.png'))


class _Placer:
  """Makes the annotation of a picture of its mask files."""

  def __init__(self, source, writer, options, structures, values, report):
    self._source = source
    self._writer = writer
    self._threshold = options.mask_threshold
    self._structures = structures
    self._values = values
    self._report = report
    self._weakened = []
    self._overlaps = []

  def annotation(self, kind, masks, row_id):
    """Returns the annotation of files of one kind; None if it says nothing.

    Raises:
      pixels.WrongFile: if a file cannot be used.
    """
    values = self._values.get(kind)
    if len(masks) == 1 and not self._structures:
      return self._single(masks[0].path, kind, values, row_id)
    labels = [self._read(m, None if self._structures else values)
              for m in masks]
    sizes = sorted({x.shape for x in labels})
    if len(sizes) > 1:
      raise pixels.WrongFile(
          'mask files of one picture are of several sizes',
          f'{masks[0].path}: {sizes[0]}, {sizes[1]}', 'save all at one size')
    label, overlap = parts_lib.unite(labels, masks, self._structures)
    if overlap:
      self._overlaps.append((overlap, row_id))
    kind = self._kind(label, kind, row_id)
    return kind and parts_lib.united_annotation(
        kind, self._writer.write_png(label, f'{kind}s/{row_id}'), label)

  def tell(self):
    """Notes what was decided for many pictures."""
    if self._overlaps:
      total = sum(n for n, _ in self._overlaps)
      self._report.note(
          f'two classes overlap in {total} pixels of {len(self._overlaps)} '
          f'pictures, such as {pixels.tail(self._overlaps[0][1])}: the later '
          'one wins')
    tell_weakened(self._weakened, self._report)

  def _kind(self, label, kind, row_id):
    found = parts_lib.unlabelled_kind(label, kind)
    if found != kind:
      self._weakened.append((found, row_id))
    return found

  def _single(self, path, kind, values, row_id):
    if values and 255 in values.values():
      try:
        label = rasterize.apply_values(
            mask_values.read_mask(self._source / path), values)
        kind = self._kind(label, kind, row_id)
      except Exception:  # The check names what is wrong with it.
        pass
    if kind is None:
      return None
    annotation = {'kind': kind, 'path': _place_mask(
        self._source, path, row_id, kind, self._writer, self._threshold)}
    if values:
      annotation['values'] = values
    return annotation

  def _read(self, mask, values):
    """Returns the classes of one of several files, uint8 [H, W]."""
    try:
      stored = mask_values.read_mask(self._source / mask.path)
      if self._threshold is not None:
        stored = stored >= self._threshold
      if stored.ndim != 2 or np.any(stored % 1):
        raise ValueError('expected [height, width] of class numbers')
      return rasterize.apply_values(
          stored.astype(np.uint8) if stored.dtype == bool else stored, values)
    except pixels.WrongFile:
      raise
    except Exception as error:  # Pillow raises many kinds on damaged files.
      reason = ' '.join(str(error).split())[:50]
      raise pixels.WrongFile(
          'the mask cannot be read', f'{pixels.tail(mask.path)}: {reason}',
          'replace the file, or map its values: --mask_values') from error


def tell_weakened(weakened: list[tuple[str | None, str]], report) -> None:
  """Notes masks that are not exact, given by their kind and id.

  Args:
    weakened: kind, None if no pixel is labelled, and id of the picture.
    report: gets the notices.
  """
  for kind in ('coarse_mask', 'scribble', None):
    found = [row_id for k, row_id in weakened if k == kind]
    if found:
      share = {'coarse_mask': 'over a tenth', 'scribble': 'over half',
               None: 'all'}[kind]
      report.note(
          f'{share} of the pixels of {len(found)} masks are unlabelled, such '
          f'as {pixels.tail(found[0])}: ' + (
              f'they are weak, {kind}' if kind else 'these are unlabelled'))


def _place_mask(source, path, row_id, kind, writer, threshold):
  """Returns the path of a mask; if need be it is written as a picture first."""
  if threshold is None and not path.lower().endswith('.npy'):
    return path
  try:
    label = mask_values.read_mask(source / path)
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

