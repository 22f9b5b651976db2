"""NIfTI volumes, cut into slices: images and, of the same name, labels.

The folders are those of `folder` (images/a.nii.gz, labels/a.nii.gz,
scribbles/a.nii.gz, or nnU-Net's imagesTr/a_0000.nii.gz). Slices keep the stored
order of their axes; the cut is along an axis of length 1 or that of the largest
spacing, if `axis` does not say otherwise. OUTPUT/volumes.json keeps what leads
back: file, axis, shape, affine and the ids of the slices.
"""

import collections
import json
import os
import pathlib
from typing import NamedTuple

import nibabel
import numpy as np

from data_prep import confined
from data_prep import formats
from data_prep import manifest as manifest_lib
from data_prep import pixels
from data_prep import rasterize
from data_prep import row_names
from data_prep.formats import assembling
from data_prep.formats import declared_names
from data_prep.formats import folder
from data_prep.formats import grids
from data_prep.formats import intensities
from data_prep.formats import label_table
from data_prep.formats import mask_values
from data_prep.formats import pairing
from data_prep.formats import parts as parts_lib
from data_prep.formats import sources
from data_prep.formats import volumes

HOLDS = ('mask', 'coarse_mask', 'scribble')
INDEX = row_names.INDEX

_SUFFIXES = ('.nii', '.nii.gz')
_NO_CLASS = 'a stored value has no class'


def detect(source: pathlib.Path) -> bool:
  """Returns whether there are NIfTI files below `source`."""
  return bool(sources.list_files(source, _SUFFIXES))


def read(
    source: pathlib.Path,
    output: pathlib.Path,
    *,
    options: formats.Options,
) -> formats.Imported:
  """Reads volumes and their labels below `source`, see the package."""
  report = assembling.Report(options.leave_out)
  writer = intensities.Writer(source, output, options)
  paths = tuple(sources.list_files(source, _SUFFIXES))
  declaration = sources.find_above(source, paths, 'dataset.json')
  declared = declared_names.read(
      source, options, report, name=declaration)
  pairs = pairing.pair(
      paths, options, report, channel_names=declared.channels)
  num_problems = len(report.problems)
  values, highest, declared = _look_through(
      source, pairs, options, report, declared)
  is_asked = len(report.problems) > num_problems
  names_of = sources.make_names(pairs.images)
  rows, weak, index = [], {}, {}
  weakened, overlaps, films, oddities = [], [], [], _Oddities()
  for path in sorted(pairs.images, key=names_of.get):
    name = names_of[path]
    masks = pairs.masks.get(path, [])
    case = name.id
    if path in pairs.channels:
      case = case.removesuffix('_0000')
    try:
      volume = volumes.read_nifti(source / path)
    except volumes.FurtherAxis as wrong:
      if masks or not pairs.masks:
        report.wrong_file(wrong, file=path)
      else:
        films.append(path)
      continue
    except pixels.WrongFile as wrong:
      report.wrong_file(wrong, file=path)
      continue
    for text in volume.notices:
      oddities.add(text, path)
    axis = options.axis
    if axis is None:
      axis = thinnest_axis(volume)
    kept = [i for i in range(3) if i != axis]
    limits = options.intensity_range or intensities.percentiles(volume.voxels)
    observers = parts_lib.observers_of(masks)
    subject = sources.subject_of(name, options.subject_pattern) or (
        case if options.subject_pattern is None else '')
    for observer in observers:
      key = f'{case}@{observer}' if len(observers) > 1 else case
      labels = {}
      wrong_path = path  # Of the labels, as soon as one of them is read.
      try:
        for kind, some in parts_lib.by_kind(masks, observer).items():
          mapped = options._replace(
              mask_values=values.get(kind, options.mask_values))
          read = []
          for mask in some:
            wrong_path = mask.path
            read.append(
                _read_labels(source / mask.path, volume, mapped, oddities))
          labels[kind], overlap = read[0], 0
          if len(some) > 1 or pairs.structures:
            labels[kind], overlap = parts_lib.unite(
                read, some, pairs.structures)
          if overlap:
            overlaps.append((overlap, key))
          inside = labels[kind][labels[kind] != 255]
          highest = max(highest, int(inside.max(initial=0)))
      except pixels.WrongFile as wrong:
        if not (is_asked and wrong.args[0] == _NO_CLASS):  # Once is enough.
          report.wrong_file(wrong, file=wrong_path)
        continue
      names = []
      for k in range(volume.voxels.shape[axis]):
        row_id = f'{key}_{"xyz"[axis]}{k:03d}'
        if volume.voxels.shape[axis] == 1:
          row_id = key
        names.append(row_id)
        # Not by np.take, which copies the whole volume for each slice.
        image = writer.write(
            np.moveaxis(volume.voxels, axis, 0)[k], row_id, limits=limits)
        annotations = []
        for kind in folder.HOLDS:
          if kind not in labels:
            continue
          label = np.moveaxis(labels[kind], axis, 0)[k]
          found = parts_lib.unlabelled_kind(label, kind)
          if found != kind:
            weakened.append((found, row_id))
          if found is not None:
            annotations.append(parts_lib.united_annotation(
                found, writer.write_png(label, f'{kind}s/{row_id}'), label))
        if len(annotations) > 1 and annotations[0]['kind'] == 'mask':
          weak[row_id] = annotations[1]
        rows.append(manifest_lib.Row(
            row_id, image, sources.split_of(path),
            '' if annotations else 'unlabelled',
            annotations[0] if annotations else None, subject=subject,
            annotator=observer,
            spacing_mm=tuple(round(volume.spacing_mm[i], 6) for i in kept)))
      index[key] = {
          'file': str((source / path).resolve()), 'axis': axis, 'ids': names,
          'shape': list(volume.voxels.shape), 'affine': volume.affine.tolist()}
  if films:
    report.note(f'{len(films)} volumes of four axes without mask are not read, '
                f'such as {pixels.tail(films[0])}')
  if overlaps:
    report.note(f'two classes overlap in {sum(n for n, _ in overlaps)} voxels '
                f'of {len(overlaps)} volumes, such as '
                f'{pixels.tail(overlaps[0][1])}: the later one wins')
  folder.tell_weakened(weakened, report)
  oddities.tell(report)
  if index:
    (output / INDEX).write_text(json.dumps(index, indent=1), encoding='utf-8')
  classes = declared_names.classes_of(pairs.names, declared, options, highest)
  sources.note_unused(source, {*paths, declaration}, report,
                      is_annotated=bool(pairs.masks))
  rows, weak, root = writer.finish(rows, weak)
  return formats.Imported(
      classes, rows, report.problems, report.notices, root, weak,
      tuple(report.left_out))


def write(manifest: manifest_lib.Manifest, output: pathlib.Path) -> None:
  """Writes labels/CASE.nii.gz and links to images/CASE.nii.gz.

  Slices of volumes return to their place, see the module; where the kinds of a
  volume are mixed, each has a file, and 255 where a slice is of another one. A
  picture that was never a volume becomes one of a single slice.
  """
  path = manifest.folder / INDEX
  index = json.loads(path.read_text(encoding='utf-8')) if path.exists() else {}
  rows = {row.id: row for row in manifest.rows}
  sliced = {i for entry in index.values() for i in entry['ids']}
  for case, entry in index.items():
    _link(entry['file'], output, case)
    size = [n for i, n in enumerate(entry['shape']) if i != entry['axis']]
    found = {}
    for k, row_id in enumerate(entry['ids']):
      row = rows.get(row_id)
      if row is not None and row.annotation is not None:
        slices = found.setdefault(
            _folder_of(row.annotation['kind']),
            [np.full(size, 255, np.uint8) for _ in entry['ids']])
        slices[k] = rasterize.rasterize(
            row.annotation, size=tuple(size), root=manifest.root)
    for place, slices in found.items():
      _save(np.stack(slices, entry['axis']), np.array(entry['affine']), output,
            place, case)
  for row in manifest.rows:
    if row.id in sliced:
      continue
    pixels.check_file(row.image, 'image', pixels.open_folder(manifest.root))
    with_path = (manifest.root / row.image).resolve()
    size = assembling.picture_size(with_path)
    affine = np.diag([*(row.spacing_mm or (1.0, 1.0)), 1.0, 1.0])
    image = rasterize.read_image(with_path)[..., 0]
    _save(image[..., None], affine, output, 'images', row.id)
    if row.annotation is not None:
      label = rasterize.rasterize(
          row.annotation, size=size, root=manifest.root)
      _save(label[..., None], affine, output,
            _folder_of(row.annotation['kind']), row.id)


def thinnest_axis(volume: volumes.Volume) -> int:
  """Returns an axis of length 1, else that of the largest spacing.

  Of equal ones it is the last.
  """
  single = [n == 1 for n in volume.voxels.shape]
  spacing = np.round(volume.spacing_mm, 3)
  return max(range(3), key=lambda i: (single[i], spacing[i], i))


class _Labels(NamedTuple):
  """What a first look at all files of labels says.

  Attributes:
    values: class or 255 of each stored value by kind.
    highest: class.
    declared: what names say.
  """

  values: dict[str, dict[str, int]]
  highest: int
  declared: declared_names.Declared


def _look_through(source, pairs, options, report, declared) -> _Labels:
  """Decides what the stored values mean, and what they are called."""
  counted, tables = [], []
  for masks in pairs.masks.values():
    for mask in masks:
      if mask.piece or options.mask_threshold is not None:
        continue
      try:
        labels = volumes.read_nifti(source / mask.path)
        values = volumes.class_numbers(labels, mask.path)
      except pixels.WrongFile:
        continue  # It is refused when it is read.
      counted.append((mask.kind, mask_values.counts_of(values)))
      tables.append(labels.names)
  if declared.values is None and declared.classes in (None, options.classes):
    declared = _declare_names(tables, counted, options, report) or declared
  return _Labels(
      *mask_values.decide(counted, options, report, declared), declared)


def _declare_names(tables, counted, options, report):
  """Returns what the names in the headers of labels say, None if nothing."""
  if not any(tables) or options.mask_values or options.mask_threshold:
    return None
  names = label_table.unite(tables)
  if not names:
    report.note('the labels name their classes differently: the names in '
                'their headers are not used')
    return None
  stored = {v for _, counts in counted for v in counts} - {0, 255}
  names |= {v: f'class_{v}' for v in stored if v not in names}
  if options.classes is not None:
    if not set(options.classes[1:]) <= set(names.values()):
      return None
  elif stored:
    unused = len(names) - len(stored)
    names = {v: n for v, n in names.items() if v in stored}
    rest = f'; {unused} that occur nowhere are left out' if unused else ''
    report.note(f'{len(names)} classes are named by the headers of the labels'
                + rest)
  ignored = {v for v, n in names.items() if declared_names.is_ignored_name(n)}
  for value in sorted(ignored):
    report.note(f'{names[value]!r} of the headers, value {value}, is read as '
                'unlabelled')
  kept = {v: n for v, n in sorted(names.items()) if v not in ignored}
  return declared_names.declare(
      {0: 'background'} | kept, ignored, options, report, where='the headers')


def _read_labels(path, volume, options, report):
  """Returns labels of a volume, uint8 [A, B, C], checked against it."""
  labels = volumes.read_nifti(path)
  shown = pixels.tail(path.name)
  placed = grids.place(labels, volume, shown)
  for text in labels.notices:
    report.add(text, path.name)
  if placed.is_turned:
    report.add('labels are stored flipped or with other axes than their image '
               'and are turned to its grid', path.name)
  if options.mask_threshold is not None:
    return (placed.voxels >= options.mask_threshold).astype(np.uint8)
  values = volumes.class_numbers(labels._replace(voxels=placed.voxels), shown)
  if not options.mask_values and values.min() < 0:
    raise pixels.WrongFile(
        'labels hold negative values', f'{shown}: {values.min()}',
        'save class numbers, or map it: --mask_values=-1:255,0:0,...')
  try:
    return rasterize.apply_values(values, options.mask_values)
  except ValueError as error:
    raise pixels.WrongFile(
        _NO_CLASS, f'{shown}: {error}', 'map it: --mask_values=0:0,1:1,...'
    ) from error


class _Oddities(collections.defaultdict):
  """File names by what is odd about them."""

  def __init__(self):
    super().__init__(list)

  def add(self, text, name):
    self[text].append(name)

  def tell(self, report):
    for text, names in self.items():
      report.note(f'{text}: {len(names)} files, such as '
                  f'{pixels.tail(names[0])}')


def _link(file, output, case):
  suffix = '.nii.gz' if file.lower().endswith('.gz') else '.nii'
  os.symlink(file, confined.new_file(output, f'images/{case}{suffix}'))


def _folder_of(kind):
  return f'{kind}s' if kind in HOLDS else 'coarse_masks'


def _save(voxels, affine, output, place, case):
  nibabel.save(
      nibabel.Nifti1Image(voxels, affine),
      confined.new_file(output, f'{place}/{case}.nii.gz'))
