"""Looks up formats by name.

To add a format, add its module to this package and its name to `names.READS`.
"""

import collections
from collections.abc import Callable, Iterable, Sequence
import importlib
import os
import pathlib

from data_prep import formats
from data_prep import manifest as manifest_lib
from data_prep.drawing import annotation_kinds
from data_prep.drawing import rasterize
from data_prep.formats import assembling
from data_prep.formats import dicom_volumes
from data_prep.formats import known_tools
from data_prep.formats import names
from data_prep.formats import sources
from data_prep.formats import volume_cases
from data_prep.shared import grammar
from data_prep.shared import whole_file

FORMATS = {name: importlib.import_module(f'{__package__}.{name}')
           for name in names.READS}

_FIELDS = ('subject', 'site', 'annotator', 'spacing_mm')


def detect_format(source: pathlib.Path) -> str | None:
  """Returns the name of the format of a source; None if it is unknown."""
  for name, module in FORMATS.items():
    if source.is_file() and name != 'table':
      continue  # Other formats need a folder that holds the pictures.
    if module.detect(source):
      return name
  return None


def detect_volumes(source: pathlib.Path) -> str:
  """Returns the name of the format of a source of volumes.

  DICOM files without segmentations are series of slices. If no format of
  volumes recognises the source, it is that of NIfTI.
  """
  for name in names.VOLUMES:
    if FORMATS[name].detect(source):
      return name
  is_dicom = sources.list_files(source, dicom_volumes.SUFFIXES)
  return 'dicom_seg' if is_dicom else 'nifti'


def refusal(source: pathlib.Path) -> str:
  """Returns the error message for a source whose format is not known."""
  text = f'{source} holds nothing of a known format ({", ".join(FORMATS)})'
  if not source.is_dir():
    return text
  paths = sources.list_files(source, ('',))
  if any(FORMATS['hdf5'].is_archive(source / p) for p in paths):
    return (f'{source}: its HDF5 or NPZ files have no key image; name the '
            'arrays image, label and scribble')
  for tool, some in known_tools.find(source, paths).items():
    return f'{source}: {known_tools.describe(tool, some)}'
  files = [p.rsplit('/', 1)[-1] for p in paths]
  counts = collections.Counter(
      name[len(sources.stem(name)):].lower() for name in files)
  found = ', '.join(f'{n} {suffix or "without suffix"}'
                    for suffix, n in counts.most_common(3))
  return f'{text}; its files: {found or "none"}; export PNG or NIfTI'


def read(
    format_name: str,
    source: pathlib.Path,
    output: pathlib.Path,
    options: formats.Options,
) -> formats.Imported:
  """Reads a source in a given format, see `data_prep.formats`.

  Args:
    format_name: one of `names.READS`.
    source: folder or file to read.
    output: folder for pictures and masks that have to be converted.
    options: the user's options.
  """
  return FORMATS[format_name].read(source, output, assembling.Report(options))


def cannot_hold(
    manifest: manifest_lib.Manifest, format_name: str
) -> list[manifest_lib.Problem]:
  """Returns one problem for each annotation kind that a format cannot express.

  The result is empty if the format can express all annotations.
  """
  holds = FORMATS[format_name].HOLDS
  counts = {}
  for row in manifest.rows:
    if row.annotation is None:
      continue
    kind = row.annotation['kind']
    # A scribble in a file also marks background, which shapes cannot express.
    if kind not in holds or (
        annotation_kinds.TABLE[kind].is_sparse
        and rasterize.has_file(row.annotation)
        and format_name not in ('folder', *names.WRITES_VOLUMES)):
      counts[kind] = counts.get(kind, 0) + 1
  able = lambda kind: [n for n in names.WRITES
                       if kind in FORMATS[n].HOLDS]
  return [manifest_lib.Problem(
      f'{format_name} cannot express {kind}', grammar.counted(number, 'image'),
      f'use --format={" or ".join(able(kind))}')
          for kind, number in sorted(counts.items())]


def lost_fields(
    manifest: manifest_lib.Manifest, format_name: str
) -> list[str]:
  """Returns the fields of a manifest's rows that a format does not hold.

  A subject that the id of its picture begins with is not lost.
  """
  held = getattr(FORMATS[format_name], 'FIELDS', ())
  return [field for field in _FIELDS if field not in held and any(
      getattr(row, field) and not (
          field == 'subject' and row.id.startswith(f'{row.subject}/'))
      for row in manifest.rows)]


def write(
    manifest: manifest_lib.Manifest,
    format_name: str,
    output: pathlib.Path,
) -> None:
  """Writes a manifest as a folder in a given format, or writes nothing.

  Args:
    manifest: a manifest whose annotation kinds the format can express.
    format_name: one of `names.WRITES`.
    output: folder to write, an absolute path that does not exist yet.

  Raises:
    OSError: if an image or a mask cannot be read, or the folder cannot be
      written.
    pixels.WrongFile: if an image lies outside the root, or an id leads out of
      the folder.
  """
  _write_whole(
      output, lambda folder: FORMATS[format_name].write(manifest, folder))


def write_volumes(
    cases: Iterable[volume_cases.Case],
    classes: Sequence[str],
    format_name: str,
    output: pathlib.Path,
) -> None:
  """Writes whole volumes as a folder in a given format, or writes nothing.

  Args:
    cases: the volumes and their labels.
    classes: class names, background first.
    format_name: one of `names.WRITES_VOLUMES`.
    output: as for `write`.

  Raises:
    as `write`.
  """
  _write_whole(output, lambda folder: FORMATS[format_name].write_cases(
      cases, classes, folder))


def _write_whole(
    output: pathlib.Path, write_fn: Callable[[pathlib.Path], None]
) -> None:
  output.parent.mkdir(parents=True, exist_ok=True)
  with whole_file.folder_beside(output) as temporary:
    write_fn(temporary)
    os.rename(temporary, output)
