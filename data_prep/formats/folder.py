"""Reads and writes folders of pictures and their masks or scribbles.

The mask of images/a.png is masks/a.png, coarse_masks/a.png or scribbles/a.png,
where the folders may have other names, such as train_images or ground truth.
In a common folder, the mask of a.png is a_mask.png, and that of p1/image.png is
p1/mask.png. `pairing` describes which names are possible, and what several
masks of one picture mean. Folders named train, val or test, above or below the
folders of images and masks, are splits; other folders below the images are
subjects. Pictures may be PNG, JPEG, TIFF, BMP, NPY or DICOM. A mask has the
size of its picture; `mask_values` decides what its values mean. A file
dataset.json like that of nnU-Net may name the classes.
"""

import pathlib

from hybridseg import types
import numpy as np
from PIL import Image

from data_prep import formats
from data_prep import manifest as manifest_lib
from data_prep import row_names
from data_prep.drawing import annotation_kinds
from data_prep.drawing import rasterize
from data_prep.formats import assembling
from data_prep.formats import declared_names
from data_prep.formats import dicom_objects
from data_prep.formats import intensities
from data_prep.formats import mask_values
from data_prep.formats import pairing
from data_prep.formats import parts as parts_lib
from data_prep.formats import placing
from data_prep.formats import sources
from data_prep.formats import uniting
from data_prep.shared import confined
from data_prep.shared import grammar
from data_prep.shared import pixels

HOLDS = annotation_kinds.FILES


def detect(source: pathlib.Path) -> bool:
  """Returns whether there are pictures below `source`."""
  return bool(sources.list_files(source, sources.PICTURES))


def read(
    source: pathlib.Path, output: pathlib.Path, report: assembling.Report
) -> formats.Imported:
  """Reads pictures and masks below `source`, see `data_prep.formats`."""
  options = report.options
  writer = intensities.Writer(source, output, options)
  listed = tuple(sources.list_files(source, sources.PICTURES))
  paths = dicom_objects.keep_pictures(source, listed, report)
  declared = declared_names.read(source, paths, report)
  pairs = pairing.pair(
      paths, report, channel_names=declared.channels,
      is_blank=lambda path: len(mask_values.count_values(source / path)) == 1)
  names = sources.make_names(pairs.images)
  found = [(m.kind, source / m.path)
           for masks in pairs.masks.values() for m in masks]
  if pairs.structures:
    of_any = mask_values.ask_of_structures(found, report)
    values, highest = dict.fromkeys({kind for kind, _ in found}, of_any), 1
  else:
    values, highest = mask_values.map_values(found, report, declared)
  uniter = uniting.Uniter(
      pairs.structures, writer, is_ordered=options.classes is not None)
  placer = _Placer(source, options, values, uniter)
  rows, weak = [], {}
  for path in sorted(pairs.images, key=names.get):
    masks, name = pairs.masks.get(path, []), names[path]
    for row_id, observer, kinds in parts_lib.by_observer(masks, name.id):
      image, _, found = writer.place(path, row_id, report)
      annotations = []
      for kind, some in kinds.items():
        try:
          annotations.append(placer.annotation(kind, some, row_id))
        except pixels.WrongFile as wrong:
          report.wrong_file(wrong, file=some[0].path, row_id=row_id)
      annotation, second = uniting.strong_and_weak(annotations)
      if second:
        weak[row_id] = second
      more = assembling.subject_and_more(name, found, options)
      if row_id != name.id and not more.get('subject'):
          # No split may divide the rows that show one picture.
          more['subject'] = name.id
      rows.append(manifest_lib.Row(
          row_id, image, sources.split_of(path),
          '' if annotation else 'unlabelled', annotation,
          annotator=observer, **more))
  uniter.tell(report)
  bare = [r.id for r in rows if r.role == 'unlabelled']
  if bare and not report.problems:
    report.note(f'{len(bare)} of {grammar.counted(len(rows), "picture")} '
                f'{grammar.verb(len(bare), "have")} no mask and '
                f'{grammar.verb(len(bare), "are")} unlabelled: '
                f'{row_names.shown(bare)}')
  classes = declared_names.classes_of(pairs.names, declared, options, highest)
  report.used.update(listed)
  return writer.finish(
      rows, weak, classes, report, is_annotated=bool(pairs.masks))


def write(manifest: manifest_lib.Manifest, output: pathlib.Path) -> None:
  """Writes images/, and a folder of label maps for each kind, such as masks/.

  The value 255 means unlabelled.
  """
  for placed in placing.place_pictures(
      manifest, output, lambda row: f'images/{row.split}'):
    row, kind = placed.row, placed.row.annotation['kind']
    folder = f'{kind}s' if kind in HOLDS else 'coarse_masks'
    label = placing.draw(manifest, placed)
    Image.fromarray(label).save(confined.new_file(
        output, f'{folder}/{row.split}/{row.id}.png'))


class _Placer:
  """Makes the annotation of a picture from its mask files."""

  def __init__(self, source, options, values, uniter):
    self._source = source
    self._threshold = options.mask_threshold
    self._values = values
    self._uniter = uniter

  def annotation(self, kind, masks, row_id):
    """Makes one annotation from a picture's mask files of one kind.

    Args:
      kind: kind of the masks.
      masks: the mask files of the picture.
      row_id: id of the picture.

    Returns:
      The annotation; None if all pixels are unlabelled.

    Raises:
      pixels.WrongFile: if a file cannot be used.
    """
    values = self._values.get(kind)
    path = masks[0].path
    if len(masks) == 1 and not masks[0].piece and self._threshold is None and (
        not path.lower().endswith('.npy')):
      return self._in_place(path, kind, values, row_id)
    labels = [self._read(m.path, values) for m in masks]
    sizes = sorted({x.shape for x in labels})
    if len(sizes) > 1:
      raise pixels.WrongFile(
          'mask files of one picture are of several sizes',
          f'{path}: {sizes[0]}, {sizes[1]}', 'save all at one size')
    label = self._uniter.unite(labels, masks, row_id)
    return self._uniter.annotation(label, kind, row_id)

  def _in_place(self, path, kind, values, row_id):
    """Returns the annotation of a mask file that need not be rewritten."""
    if values and types.UNLABELLED in values.values():
      try:
        label = rasterize.apply_values(
            mask_values.read_mask(self._source / path), values)
        kind = self._uniter.kind_of(label, kind, row_id)
      except Exception:  # The check of the manifest reports what is wrong.
        pass
    if kind is None:
      return None
    annotation = {'kind': kind, 'path': path}
    return annotation | {'values': values} if values else annotation

  def _read(self, path, values):
    """Returns the classes in one mask file, uint8 [H, W]."""
    shown = pixels.tail(path)
    try:
      stored = mask_values.read_mask(self._source / path)
    except pixels.WrongFile:
      raise
    except Exception as error:  # Damaged files raise many kinds of error.
      reason = ' '.join(str(error).split())[:50]
      raise pixels.WrongFile(
          'the mask cannot be read', f'{shown}: {reason}', 'replace the file'
      ) from error
    if self._threshold is not None:
      stored = (stored >= self._threshold).astype(np.uint8)
    if stored.ndim != 2 or np.any(stored % 1):
      raise pixels.WrongFile(
          'expected a mask [height, width] of class numbers', shown,
          'save it as uint8')
    return mask_values.to_classes(stored, values, shown)
