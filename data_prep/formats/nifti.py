"""NIfTI volumes, cut into slices: images and, of the same name, labels.

The folders are those of `folder` (images/a.nii.gz, labels/a.nii.gz,
scribbles/a.nii.gz, or nnU-Net's imagesTr/a_0000.nii.gz). Slices keep the stored
order of their axes; the cut is along an axis of length 1 or that of the largest
spacing, if `axis` does not say otherwise. OUTPUT/volumes.json keeps what leads
back: file, axis, shape, affine and the ids of the slices.
"""

import json
import os
import pathlib

import nibabel
import numpy as np

from data_prep import formats
from data_prep import manifest as manifest_lib
from data_prep import pixels
from data_prep import rasterize
from data_prep.formats import assembling
from data_prep.formats import folder
from data_prep.formats import intensities
from data_prep.formats import mask_values
from data_prep.formats import pairing
from data_prep.formats import parts as parts_lib
from data_prep.formats import sources
from data_prep.formats import volumes

HOLDS = ('mask', 'coarse_mask', 'scribble')
INDEX = 'volumes.json'

_SUFFIXES = ('.nii', '.nii.gz')


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
  declared = mask_values.read_declared(
      source, options, report, name=declaration)
  pairs = pairing.pair(
      paths, options, report, channel_names=declared.channels)
  values, highest = _map_values(source, pairs, options, report, declared)
  names_of = sources.make_names(pairs.images)
  rows, weak, index = [], {}, {}
  weakened, overlaps, films = [], [], []
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
      try:
        for kind, some in parts_lib.by_kind(masks, observer).items():
          mapped = options._replace(
              mask_values=values.get(kind, options.mask_values))
          read = [_read_labels(source / m.path, volume, mapped) for m in some]
          labels[kind], overlap = read[0], 0
          if len(some) > 1 or pairs.structures:
            labels[kind], overlap = parts_lib.unite(
                read, some, pairs.structures)
          if overlap:
            overlaps.append((overlap, key))
          inside = labels[kind][labels[kind] != 255]
          highest = max(highest, int(inside.max(initial=0)))
      except pixels.WrongFile as wrong:
        report.wrong_file(wrong, file=path)
        continue
      names = []
      for k in range(volume.voxels.shape[axis]):
        row_id = f'{key}_{"xyz"[axis]}{k:03d}'
        if volume.voxels.shape[axis] == 1:
          row_id = key
        names.append(row_id)
        image = writer.write(
            np.take(volume.voxels, k, axis), row_id, limits=limits)
        annotations = []
        for kind in folder.HOLDS:
          if kind not in labels:
            continue
          label = np.take(labels[kind], k, axis)
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
  if index:
    (output / INDEX).write_text(json.dumps(index, indent=1), encoding='utf-8')
  classes = (pairs.names and ('background', *pairs.names)) or (
      declared.classes or options.classes
      or mask_values.numbered_classes(highest))
  sources.note_unused(source, {*paths, declaration}, report)
  rows, weak, root = writer.finish(rows, weak)
  return formats.Imported(
      classes, rows, report.problems, report.notices, root, weak,
      tuple(report.left_out))


def write(manifest: manifest_lib.Manifest, output: pathlib.Path) -> None:
  """Writes labels/CASE.nii.gz and links to images/CASE.nii.gz.

  Slices of volumes return to their place, see the module; a picture that was
  never a volume becomes one of a single slice.
  """
  path = manifest.folder / INDEX
  index = json.loads(path.read_text(encoding='utf-8')) if path.exists() else {}
  rows = {row.id: row for row in manifest.rows}
  sliced = {i for entry in index.values() for i in entry['ids']}
  for case, entry in index.items():
    _link(entry['file'], output, case)
    kind, slices = None, []
    size = [n for i, n in enumerate(entry['shape']) if i != entry['axis']]
    for row_id in entry['ids']:
      row = rows.get(row_id)
      label = np.full(size, 255, np.uint8)
      if row is not None and row.annotation is not None:
        kind = row.annotation['kind']
        label = rasterize.rasterize(
            row.annotation, size=tuple(size), root=manifest.root)
      slices.append(label)
    if kind is not None:
      _save(np.stack(slices, entry['axis']), np.array(entry['affine']), output,
            kind, case)
  for row in manifest.rows:
    if row.id in sliced:
      continue
    with_path = (manifest.root / row.image).resolve()
    size = assembling.picture_size(with_path)
    affine = np.diag([*(row.spacing_mm or (1.0, 1.0)), 1.0, 1.0])
    image = rasterize.read_image(with_path)[..., 0]
    _save(image[..., None], affine, output, 'image', row.id)
    if row.annotation is not None:
      label = rasterize.rasterize(
          row.annotation, size=size, root=manifest.root)
      _save(label[..., None], affine, output, row.annotation['kind'], row.id)


def thinnest_axis(volume: volumes.Volume) -> int:
  """Returns an axis of length 1, else that of the largest spacing.

  Of equal ones it is the last.
  """
  single = [n == 1 for n in volume.voxels.shape]
  spacing = np.round(volume.spacing_mm, 3)
  return max(range(3), key=lambda i: (single[i], spacing[i], i))


def _map_values(source, pairs, options, report, declared):
  """Returns what the stored values mean; weak labels are looked through."""
  masks = [m for some in pairs.masks.values() for m in some if not m.piece]
  if all(m.kind == 'mask' for m in masks):
    known = options.mask_values or declared.values
    return ({'mask': known} if known else {}), 1
  counted = []
  for mask in masks:
    try:
      voxels = volumes.read_nifti(source / mask.path).voxels
      counted.append((mask.kind, mask_values.counts_of(voxels)))
    except pixels.WrongFile:
      pass  # It is refused when it is read.
  return mask_values.decide(counted, options, report, declared)


def _read_labels(path, volume, options):
  """Returns labels of a volume, uint8 [A, B, C], checked against it."""
  labels = volumes.read_nifti(path)
  shown = pixels.tail(path.name)
  if labels.voxels.shape != volume.voxels.shape:
    text = ' x '.join(map(str, volume.voxels.shape))
    raise pixels.WrongFile(
        f'the labels are of another size than their image, {text}',
        f'{shown}: {" x ".join(map(str, labels.voxels.shape))}',
        'resample them to the image by nearest neighbour')
  tolerance = 1e-3 * max(volume.spacing_mm)
  for what, found, expected in (
      ('spacing', labels.spacing_mm, volume.spacing_mm),
      ('origin', labels.affine[:3, 3], volume.affine[:3, 3]),
      ('direction', labels.affine[:3, :3], volume.affine[:3, :3])):
    if not np.allclose(found, expected, rtol=1e-3, atol=10 * tolerance):
      raise pixels.WrongFile(
          f'the {what} of the labels is not that of their image',
          f'{shown}: {np.round(np.ravel(found)[:3], 3).tolist()}',
          'save both on one grid')
  values = labels.voxels
  if options.mask_threshold is not None:
    return (values >= options.mask_threshold).astype(np.uint8)
  if not np.isfinite(values).all() or np.any(values % 1):
    raise pixels.WrongFile(
        'labels hold fractions or values that are not finite', shown,
        'resample by nearest neighbour; save integers')
  if values.min() < 0 or values.max() > 2**31:
    raise pixels.WrongFile(
        'labels hold negative or huge values',
        f'{shown}: {values.min():g} .. {values.max():g}', 'save class numbers')
  try:
    return rasterize.apply_values(
        values.astype(np.int64), options.mask_values)
  except ValueError as error:
    raise pixels.WrongFile(
        'a stored value has no class', f'{shown}: {error}',
        'map it: --mask_values=0:0,1:1,...') from error


def _link(file, output, case):
  suffix = '.nii.gz' if file.lower().endswith('.gz') else '.nii'
  path = output / 'images' / f'{case}{suffix}'
  path.parent.mkdir(parents=True, exist_ok=True)
  os.symlink(file, path)


def _save(voxels, affine, output, kind, case):
  path = output / (f'{kind}s' if kind in (*HOLDS, 'image') else 'coarse_masks')
  path = path / f'{case}.nii.gz'
  path.parent.mkdir(parents=True, exist_ok=True)
  nibabel.save(nibabel.Nifti1Image(voxels, affine), path)
