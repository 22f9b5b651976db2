"""Plans how a set of volumes is stored and trained on: `plan.json`.

The rules are those of nnU-Net (Isensee et al., 2021,
https://doi.org/10.1038/s41592-020-01008-z): the spacing is the median of the
training set, but the 10th percentile along the coarse axis of a set with thick
slices; the patch is as large as memory allows, with the shape of the median
volume; and a level of the network halves the axes whose spacing is within a
factor of 2 of the finest. The plan may be edited, and is then checked.
"""

from collections.abc import Sequence
import json
import math
import os
import pathlib
from typing import Any, NamedTuple

import numpy as np

from data_prep import manifest as manifest_lib
from data_prep.shared import grammar
from data_prep.volumes import levels as levels_lib
from data_prep.volumes import orientation

FILE = 'plan.json'
VERSION = 1

_COARSE = 3.0  # Ratio of spacings, and of sizes, of a set with thick slices.
_MIN_SIZE = 4  # Smallest length of an axis at the coarsest level.
_MEMORY_GIB = 8.0
_BATCH = 2
_SEEN = 0.05  # Largest share of the voxels of the training set in one batch.
_FEATURES, _MAX_FEATURES = 16, 320
# Arrays as large as the features of a level that a step keeps for its gradient:
# three of each of four convolutions, and the two that are joined.
_KEPT = 14
_FIRST_VOXELS = 256**3
_MAX_CHUNK = 64

Triple = tuple[int, int, int]


class Plan(NamedTuple):
  """How volumes are stored, and what a network for them looks like.

  All triples follow the axes of `frame`.

  Attributes:
    frame: directions of the axes of the records, see `orientation`.
    spacing_mm: distance of the voxels of the records.
    median_shape: median size of the training volumes with this spacing.
    patch_size: size of the patches to train on.
    batch_size: number of patches per step.
    features: channels per level, finest first.
    strides: for each step to a coarser level, 1 or 2 per axis.
    kernels: for each level, the size of its convolutions, 1 or 3 per axis.
    chunk_size: size of the blocks in which records store a volume.
    intensities: how intensities are mapped to levels.
    memory_gib: estimate of what one step of the U-Net in float32 keeps for its
      gradient. Only for the reader: nothing depends on it.
  """

  frame: str
  spacing_mm: tuple[float, float, float]
  median_shape: Triple
  patch_size: Triple
  batch_size: int
  features: tuple[int, ...]
  strides: tuple[Triple, ...]
  kernels: tuple[Triple, ...]
  chunk_size: Triple
  intensities: levels_lib.Levels
  memory_gib: float


def target_spacing(
    spacings_mm: Sequence[Sequence[float]], shapes: Sequence[Sequence[int]]
) -> tuple[float, float, float]:
  """Returns the spacing for a training set, see the module.

  Args:
    spacings_mm: spacing of each volume, [N, 3], in one frame.
    shapes: number of voxels of each volume, [N, 3].
  """
  spacing = np.median(spacings_mm, 0)
  size = np.median(shapes, 0)
  axis = int(np.argmax(spacing))
  others = [i for i in range(3) if i != axis]
  finer = spacing[others].max()
  if spacing[axis] > _COARSE * finer and (
      _COARSE * size[axis] < size[others].min()):
    low = np.percentile(np.asarray(spacings_mm)[:, axis], 10)
    spacing[axis] = max(low, finer)
  return tuple(float(round(v, 6)) for v in spacing)


def make_plan(
    spacing_mm: Sequence[float],
    shapes: Sequence[Sequence[int]],
    intensities: levels_lib.Levels,
) -> Plan:
  """Returns the plan of a training set.

  Args:
    spacing_mm: spacing of the records.
    shapes: number of voxels of each training volume with this spacing, [N, 3].
    intensities: how intensities are mapped to levels.
  """
  median = np.median(shapes, 0)
  patch = _FIRST_VOXELS ** (1 / 3) / np.asarray(spacing_mm) * (
      math.prod(spacing_mm) ** (1 / 3))
  patch = [max(1, int(v)) for v in np.minimum(np.rint(patch), median)]
  strides, kernels, patch = find_levels(patch, spacing_mm)
  while _memory_gib(patch, _BATCH, strides) > _MEMORY_GIB:
    axis = int(np.argmax(np.divide(patch, median)))
    smaller = list(patch)
    smaller[axis] -= math.prod(s[axis] for s in strides)
    found = find_levels(smaller, spacing_mm)
    if min(smaller) < 1 or math.prod(found[2]) >= math.prod(patch):
      break
    strides, kernels, patch = found
  voxels = sum(math.prod(map(int, shape)) for shape in shapes)
  batch = min(
      int(_BATCH * _MEMORY_GIB / _memory_gib(patch, _BATCH, strides)),
      int(_SEEN * voxels / math.prod(patch)))
  batch = max(_BATCH, batch)
  return Plan(
      orientation.FRAME, tuple(map(float, spacing_mm)),
      tuple(round(float(v)) for v in median), patch, batch,
      _features(len(kernels)), strides, kernels,
      tuple(min(_MAX_CHUNK, max(1, round(float(v)))) for v in median),
      intensities, round(_memory_gib(patch, batch, strides), 2))


def _features(num_levels):
  return tuple(min(_MAX_FEATURES, _FEATURES * 2**i) for i in range(num_levels))


def find_levels(
    size: Sequence[int], spacing_mm: Sequence[float]
) -> tuple[tuple[Triple, ...], tuple[Triple, ...], Triple]:
  """Returns strides, kernels, and the size rounded up to whole strides.

  Args:
    size: number of voxels of a patch along each axis.
    spacing_mm: spacing of the voxels.
  """
  left, spacing = np.array(size), np.array(spacing_mm, float)
  strides, kernels, kernel = [], [], np.ones(3, int)
  while True:
    long = left >= 2 * _MIN_SIZE
    if not long.any():
      break
    halved = long & (spacing < 2 * spacing[long].min())
    if halved.sum() == 1 and left[halved].item() < 3 * _MIN_SIZE:
      break
    kernel = np.where(spacing < 2 * spacing.min(), 3, kernel)
    kernels.append(tuple(map(int, kernel)))
    strides.append(tuple(int(v) for v in 1 + halved))
    spacing = spacing * (1 + halved)
    left = -(-left // (1 + halved))
  factor = np.prod([[1, 1, 1], *strides], 0)
  rounded = -(-np.array(size) // factor) * factor
  return tuple(strides), (*kernels, (3, 3, 3)), tuple(map(int, rounded))


def _memory_gib(patch, batch, strides):
  """Returns `Plan.memory_gib`."""
  voxels, total = math.prod(patch), 0
  for width, stride in zip(
      _features(len(strides) + 1), [*strides, (1, 1, 1)], strict=True):
    total += _KEPT * width * voxels
    voxels //= math.prod(stride)
  return 4 * batch * total / 2**30


def describe(plan: Plan) -> str:
  """Returns the plan in a few lines for the user."""
  times = lambda values: ' x '.join(f'{v:g}' for v in values)
  steps = ' | '.join(times(s) for s in plan.strides) or 'none'
  low, high = plan.intensities.low, plan.intensities.high
  unit = 'intensities' if plan.intensities.modality == 'ct' else (
      'standard deviations of the body')
  return '\n'.join([
      f'plan: spacing {times(plan.spacing_mm)} mm in {plan.frame}, median '
      f'volume {times(plan.median_shape)} voxels',
      f'  patch {times(plan.patch_size)}, batch {plan.batch_size}, '
      f'{len(plan.features)} levels, steps {steps}',
      f'  {plan.intensities.modality}: {unit} from {low:g} to {high:g}; one '
      f'step keeps about {plan.memory_gib:g} GiB'])


def write_plan(folder: str | os.PathLike[str], plan: Plan) -> None:
  """Writes `plan.json` to a folder."""
  fields = to_json(plan)
  lines = [f' {json.dumps(k)}: {json.dumps(v)}' for k, v in fields.items()]
  path = pathlib.Path(folder) / FILE
  path.write_text('{\n' + ',\n'.join(lines) + '\n}\n', encoding='utf-8')


def to_json(plan: Plan) -> dict[str, Any]:
  """Returns the content of `plan.json`."""
  return {'plan_version': VERSION, **plan._asdict(),
          'intensities': plan.intensities._asdict()}


def read_plan(
    path: str | os.PathLike[str],
) -> tuple[Plan | None, list[manifest_lib.Problem]]:
  """Reads and checks a plan, which may have been edited.

  Args:
    path: the file.

  Returns:
    The plan, and its mistakes; None if there are any.

  Raises:
    OSError: if the file cannot be read.
  """
  name = os.path.basename(path)
  try:
    fields = json.loads(pathlib.Path(path).read_text(encoding='utf-8'))
  except (ValueError, RecursionError) as error:
    return None, [manifest_lib.Problem(
        f'not JSON ({error})'[:80], '', 'correct it', file=name)]
  return from_json(fields, name=name)


def from_json(
    fields: Any, *, name: str
) -> tuple[Plan | None, list[manifest_lib.Problem]]:
  """Checks the content of a `plan.json`.

  Args:
    fields: the content.
    name: name of the file, for messages.

  Returns:
    The plan, and its mistakes; None if there are any.
  """
  wrong = lambda what, found, fix, field='': manifest_lib.Problem(
      what, found, fix, file=name, field=field)
  if not isinstance(fields, dict) or fields.get('plan_version') != VERSION:
    return None, [wrong(
        f'expected an object with "plan_version": {VERSION}', '',
        'start from the plan.json that prepare writes')]
  problems = [wrong(f'field {key!r} is missing', '', 'add it')
              for key in Plan._fields if key not in fields]
  problems += [
      wrong('unknown field', key, f'use one of {", ".join(Plan._fields)}')
      for key in fields if key not in ('plan_version', *Plan._fields)]
  for key, (test, expected) in _TESTS.items():
    if key in fields and not test(fields[key]):
      problems.append(wrong(
          f'expected {expected}', json.dumps(fields[key]), 'correct it', key))
  if problems:
    return None, problems
  problems = [wrong(*texts) for texts in _find_misfits(fields)]
  if problems:
    return None, problems
  tuples = lambda v: tuple(map(tuples, v)) if isinstance(v, list) else v
  plan = {key: tuples(fields[key]) for key in Plan._fields}
  plan['intensities'] = levels_lib.Levels(**fields['intensities'])
  return Plan(**plan), []


def _find_misfits(fields):
  """Returns what, found, fix and field of numbers that do not fit together."""
  number = len(fields['features'])
  for key, wanted in (('strides', number - 1), ('kernels', number)):
    if len(fields[key]) != wanted:
      yield (f'expected {grammar.counted(wanted, "triple")} for '
             f'{grammar.counted(number, "level")} of features',
             str(len(fields[key])), 'correct one of them', key)
  for axis, size in enumerate(fields['patch_size']):
    factor = math.prod(stride[axis] for stride in fields['strides'])
    if size % factor:
      yield (f'axis {axis} is no multiple of the product of its strides, '
             f'{factor}', str(size), f'use {-(-size // factor) * factor}',
             'patch_size')


def _is_number(value: Any, low: float = -1e9) -> bool:
  return manifest_lib.is_number(value) and value > low


def _is_whole(value: Any) -> bool:
  return isinstance(value, int) and not isinstance(value, bool) and (
      0 < value < 2**20)


def _is_triple(test):
  return lambda v: isinstance(v, list) and len(v) == 3 and all(map(test, v))


def _is_frame(value: Any) -> bool:
  try:
    orientation.find_turn(np.eye(4), value)
  except (TypeError, ValueError):
    return False
  return True


def _is_intensities(value: Any) -> bool:
  return (
      isinstance(value, dict) and set(value) == set(levels_lib.Levels._fields)
      and value['modality'] in levels_lib.MODALITIES
      and all(_is_number(value[k]) for k in ('low', 'high'))
      and value['low'] < value['high'])


_all = lambda test: lambda v: isinstance(v, list) and all(map(test, v))
_SIZES = _is_triple(_is_whole), 'three whole numbers above 0'
# Maps a field to its test and to what is expected.
_TESTS = {
    'frame': (_is_frame, 'three letters such as "RAS"'),
    'spacing_mm': (
        _is_triple(lambda v: _is_number(v, 0)), 'three numbers above 0'),
    'median_shape': _SIZES,
    'patch_size': _SIZES,
    'batch_size': (_is_whole, 'a whole number above 0'),
    'features': (
        lambda v: _all(_is_whole)(v) and len(v) > 0,
        'a list of whole numbers above 0'),
    'strides': (
        _all(_is_triple(lambda v: v in (1, 2) and _is_whole(v))),
        'a list of triples of 1 or 2'),
    'kernels': (
        _all(_is_triple(lambda v: _is_whole(v) and v % 2 == 1)),
        'a list of triples of odd numbers'),
    'chunk_size': _SIZES,
    'intensities': (
        _is_intensities,
        'modality (ct, mr) and low < high'),
    'memory_gib': (_is_number, 'a number'),
}
