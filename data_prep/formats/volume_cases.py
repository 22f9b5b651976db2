"""Volumes with their labels, which are written for an annotation tool.

The volumes are those that the slices of a set were cut from, see `volume_sets`,
or those of a set of whole volumes (`records.set_cases`). Pictures that were not
cut from a volume become volumes of one slice.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
import importlib
import json
import pathlib
from typing import NamedTuple

from hybridseg import types
import numpy as np

from data_prep import manifest as manifest_lib
from data_prep.drawing import annotation_kinds
from data_prep.drawing import rasterize
from data_prep.formats import names
from data_prep.formats import placing
from data_prep.formats import segments
from data_prep.formats import volume_sets
from data_prep.shared import grammar
from data_prep.shared import pixels


class Case(NamedTuple):
  """A volume and its labels.

  Attributes:
    id: name of the volume.
    shape: number of voxels along each axis, in the stored order.
    affine: see `volume_type.Volume`.
    format_name: format of the files; '' if they are a picture.
    files: the files of the image, as volumes.json lists them.
    read_labels: returns the classes by kind of annotation, uint8 of the shape;
      {} if there is no annotation.
    annotator: who drew the labels, or ''. The id ends in `@annotator` if
      several people did.
  """

  id: str
  shape: tuple[int, ...]
  affine: np.ndarray
  format_name: str
  files: tuple[str, ...]
  read_labels: Callable[[], dict[str, np.ndarray]]
  annotator: str = ''


def of_manifest(manifest: manifest_lib.Manifest) -> Iterator[Case]:
  """Yields the volumes of which a set has slices, and its other pictures.

  Slices are put back at their places. If the slices of a volume have several
  kinds of annotation, each kind has a label map of its own, which holds 255 in
  slices of another kind, as in slices that the set does not hold.
  """
  path = manifest.folder / volume_sets.INDEX
  index = json.loads(path.read_text(encoding='utf-8')) if path.exists() else {}
  rows = {row.id: row for row in manifest.rows}
  sliced = {i for entry in index.values() for i in entry['ids']}
  for case, entry in index.items():
    some = [rows.get(row_id) for row_id in entry['ids']]
    if any(some):
      yield Case(
          case, tuple(entry['shape']), np.array(entry['affine']),
          entry.get('format', 'nifti'),
          tuple(entry.get('files', (entry['file'],))),
          _reader_of_slices(some, entry, manifest.root),
          next((row.annotator for row in some if row), ''))
  for row in manifest.rows:
    if row.id not in sliced:
      yield _of_picture(row, manifest.root)


def _reader_of_slices(rows, entry, root):
  """Returns a function that puts the annotations of slices back together."""
  size = tuple(n for i, n in enumerate(entry['shape']) if i != entry['axis'])

  def read():
    found = {}
    for k, row in enumerate(rows):
      if row is not None and row.annotation is not None:
        slices = found.setdefault(
            row.annotation['kind'],
            [np.full(size, types.UNLABELLED, np.uint8) for _ in rows])
        slices[k] = rasterize.rasterize(row.annotation, size=size, root=root)
    return {kind: np.stack(slices, entry['axis'])
            for kind, slices in found.items()}

  return read


def _of_picture(row, root):
  pixels.check_file(row.image, 'image', pixels.open_folder(root))
  path = (root / row.image).resolve()
  size = placing.picture_size(path)

  def read():
    if row.annotation is None:
      return {}
    return {row.annotation['kind']: rasterize.rasterize(
        row.annotation, size=size, root=root)[..., None]}

  affine = np.diag([*(row.spacing_mm or (1.0, 1.0)), 1.0, 1.0])
  return Case(row.id, (*size, 1), affine, '', (str(path),), read, row.annotator)


def read_image(case: Case) -> np.ndarray:
  """Reads the intensities of a volume that is not NIfTI, [A, B, C]."""
  if not case.format_name:
    return rasterize.read_image(pathlib.Path(case.files[0]))[..., :1]
  module = importlib.import_module(f'{__package__}.{case.format_name}')
  return np.asarray(module.read_again(list(case.files)).voxels)


def folder_of(kind: str) -> str:
  """Returns the folder of labels of a kind, by which readers know the kind.

  Readers recognise labels of single slices (`slices`) by what they hold.
  """
  if kind in annotation_kinds.FILES:
    return f'{kind}s'
  return 'masks' if kind == 'slices' else 'coarse_masks'


def notices(
    kinds: Mapping[str, int], classes: Sequence[str], format_name: str
) -> list[str]:
  """Returns what a format of volumes does not hold as it is, one per line.

  Args:
    kinds: number of annotations of each kind.
    classes: class names, background first.
    format_name: name of the format; pictures have no such notices.
  """
  if format_name not in names.WRITES_VOLUMES:
    return []
  result, drawn = [], {kind for kind, n in kinds.items() if n} - {'none'}
  others = sorted(drawn - {*annotation_kinds.FILES, 'slices'})
  if format_name == 'dicom_seg':
    result.append('objects hold no name, number or date of a patient: their '
                  'series are found by UIDs')
    if len(drawn - {'slices'}) > 1:
      result.append(f'dicom_seg holds no kinds ({", ".join(sorted(drawn))}): '
                    'what is read back is of one kind')
    elif drawn and not drawn & {'mask', 'slices'}:
      result.append(f'dicom_seg holds no kinds: read it back with --masks_are='
                    f'{folder_of(*drawn)[:-1]}')
  elif others:
    result.append(
        f'what comes back as a coarse mask: {", ".join(others)}')
  if format_name != 'nifti':
    result.append(
        f'unlabelled voxels are the segment {segments.UNLABELLED!r}, which is '
        'read back as unlabelled')
    if list(classes[1:]) != sorted(classes[1:]) or classes[0] != 'background':
      result.append(f'read it back with {grammar.flag("classes", classes)}, '
                    'which gives the classes their order')
  else:
    result.append(f'class numbers mean {grammar.flag("classes", classes)}')
  return result
