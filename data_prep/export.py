r"""Writes a set in a format of annotation tools: COCO, LabelMe, CVAT, VOC, ...

python -m data_prep.export --manifest=data/mine/manifest.jsonl --format=cvat \
    --output=for_cvat
python -m data_prep.export --manifest=FILE --format=labelme --output=FOLDER \
    --masks=PREDICTIONS --constrain

python -m data_prep.export --volumes=data/mine --format=nrrd \
    --output=for_slicer

--volumes is the folder of a set of whole volumes, which is written as NIfTI, as
segmentations of 3D Slicer (nrrd) or as DICOM segmentations (dicom_seg).
--masks is a folder of files ID.png, which hold class numbers and have the size
of the image. An image with such a mask is written with the mask instead of its
annotation. With --constrain, each mask is first made to agree with the
annotation that it replaces, such as a box or a scribble. `data_prep.prepare
--source` reads the set that the annotation tool saves. The binary writes the
whole OUTPUT, or nothing if there are problems: it then prints one line per
problem on stderr and ends with exit code 2.
"""

import collections
import os
import pathlib

from absl import flags

from data_prep import manifest as manifest_lib
from data_prep.formats import names
from data_prep.shared import early_help

_MANIFEST = flags.DEFINE_string('manifest', None, 'Manifest of the set.')
_FORMAT = flags.DEFINE_enum(
    'format', None, names.WRITES, 'Format of the output.')
_VOLUMES = flags.DEFINE_string(
    'volumes', None, 'Folder of a set of prepare --volumes, in place of '
    '--manifest.')
_OUTPUT = flags.DEFINE_string('output', None, 'Folder to write.')
_MASKS = flags.DEFINE_string(
    'masks', None, 'Folder of predicted or corrected masks, ID.png.')
_CONSTRAIN = flags.DEFINE_bool(
    'constrain', False, 'Make --masks agree with the annotations.')
_SPLITS = flags.DEFINE_list(
    'splits', list(manifest_lib.SPLITS), 'Splits to write.')

early_help.answer(__name__)  # Do this before the slow imports.

from data_prep import command_line
from data_prep.checks import check
from data_prep.checks import check_report
from data_prep.drawing import predictions
from data_prep.formats import registry
from data_prep.formats import volume_cases
from data_prep.records import set_cases
from data_prep.shared import grammar

_Refused = command_line.Refused


def _run():
  if bool(_MANIFEST.value) == bool(_VOLUMES.value) or not (
      _FORMAT.value and _OUTPUT.value):
    raise _Refused('give --manifest or --volumes, --format and --output')
  if _CONSTRAIN.value and not _MASKS.value:
    raise _Refused('--constrain needs --masks')
  unknown = set(_SPLITS.value) - set(manifest_lib.SPLITS)
  if unknown:
    raise _Refused(f'--splits: unknown {sorted(unknown)}; known: '
                   f'{", ".join(manifest_lib.SPLITS)}')
  output = pathlib.Path(_OUTPUT.value).absolute()
  if output.exists():
    raise _Refused(f'--output={output} exists; give a new folder')
  if _VOLUMES.value:
    _export_volumes(output)
    return
  if not os.path.isfile(_MANIFEST.value):
    raise _Refused(f'--manifest={_MANIFEST.value}: no such file')
  manifest = manifest_lib.read_manifest(_MANIFEST.value)
  problems = check.check_manifest(manifest)
  if _MASKS.value and not problems:
    manifest, wrong = predictions.with_masks(
        manifest, pathlib.Path(_MASKS.value), constrained=_CONSTRAIN.value)
    problems += wrong
  manifest = manifest._replace(rows=tuple(
      r for r in manifest.rows if r.split in _SPLITS.value))
  if not problems:
    problems = registry.cannot_hold(manifest, _FORMAT.value)
  if not problems and not manifest.rows:
    raise _Refused(f'--splits={",".join(_SPLITS.value)}: no image is in them')
  if problems:
    raise _Refused(
        *check_report.report(check_report.Findings(problems, [], [])))
  registry.write(manifest, _FORMAT.value, output)
  kinds = collections.Counter(
      'none' if r.annotation is None else r.annotation['kind']
      for r in manifest.rows)
  print(f'{output}: {grammar.counted(len(manifest.rows), "image")} as '
        f'{_FORMAT.value}')
  if kinds['none']:
    print(f'notice: {grammar.counted(kinds["none"], "image", "have")} no '
          'annotation yet')
  if kinds['coarse_mask'] and _FORMAT.value not in (
      'folder', *names.WRITES_VOLUMES):
    number = kinds['coarse_mask']
    print(f'notice: {grammar.counted(number, "coarse mask", "are")} written as '
          'exact masks are, and read as such again, unless with '
          '--masks_are=coarse_mask')
  if _FORMAT.value == 'geojson' and any(
      kinds[kind] for kind in ('mask', 'coarse_mask', 'box')):
    print('notice: QuPath returns masks and boxes as polygons; read them with '
          '--polygons_are=mask')
  for notice in volume_cases.notices(
      kinds, manifest.header.classes, _FORMAT.value):
    print(f'notice: {notice}')
  lost = registry.lost_fields(manifest, _FORMAT.value)
  if lost:
    print(f'notice: {_FORMAT.value} does not hold {", ".join(lost)}: keep '
          f'{_MANIFEST.value}')


def _export_volumes(output):
  """Writes a set of whole volumes."""
  if _FORMAT.value not in names.WRITES_VOLUMES:
    raise _Refused(f'--format={_FORMAT.value} holds pictures; use one of '
                   f'{", ".join(names.WRITES_VOLUMES)}')
  if _MASKS.value:
    raise _Refused('--masks is not for --volumes: leave it out')
  found = set_cases.read(_VOLUMES.value, splits=_SPLITS.value)
  if not found.cases:
    raise _Refused(f'--splits={",".join(_SPLITS.value)}: no volume is in them')
  registry.write_volumes(found.cases, found.classes, _FORMAT.value, output)
  print(f'{output}: {grammar.counted(len(found.cases), "volume")} as '
        f'{_FORMAT.value}')
  kinds = collections.Counter(more['kind'] for more in found.more)
  if kinds['none']:
    print(f'notice: {grammar.counted(kinds["none"], "volume", "have")} no '
          'annotation yet')
  for notice in volume_cases.notices(
      kinds, found.classes, _FORMAT.value):
    print(f'notice: {notice}')
  print(f'notice: {_FORMAT.value} does not hold splits, subjects and '
        f'annotators: keep {_VOLUMES.value}')


def main(argv: list[str]) -> int:
  """Runs the binary; returns its exit code."""
  return command_line.run(argv, _run)


if __name__ == '__main__':
  command_line.start(main)
