r"""Compares what annotation tools draw with what is read from their files.

python -m tests.long.picture_tools --num_cases=100

Each row of the printed table is one tool, package and form of shape. A case is
a picture with several shapes, which overlap: large and one pixel large, with
holes, at the border, between pixels. The tool's package writes the file, or
draws the label map from it; the reader of this project makes the other label
map. Differences are counted in pixels. Where the package draws by another rule
on purpose, the pixels that differ have to lie at the rim of a shape, and the
table says why. Any other difference makes the exit code 1.

The packages are label-studio-sdk, shapely, scikit-image, labelme, datumaro,
pycocotools and supervision; parts whose package is missing are left out.
"""

from importlib import metadata
import json
import pathlib
import sys
import tempfile

from absl import app
from absl import flags
from data_prep import formats
from data_prep.drawing import rasterize
from data_prep.formats import registry
import numpy as np
from PIL import Image
from scipy import ndimage

from tests.long import tool_cases

_NUM_CASES = flags.DEFINE_integer('num_cases', 100, 'Cases of a row.', 1)

_SIZES = ((1, 1), (1, 17), (7, 5), (20, 30), (64, 48), (131, 199))


def read(case: tool_cases.Case, name: str) -> np.ndarray:
  """Returns the label map that this project reads from the files of a case."""
  with tempfile.TemporaryDirectory() as folder:
    source, output = pathlib.Path(folder, 'in'), pathlib.Path(folder, 'out')
    source.mkdir()
    output.mkdir()
    Image.new('L', case.size[::-1]).save(source / 'a.png')
    for path, content in case.files.items():
      (source / path).write_text(
          content if isinstance(content, str) else json.dumps(content))
    imported = registry.read(
        name, source, output, formats.Options(
            classes=tool_cases.CLASSES, lines_are='line', stroke_width=10))
    if imported.problems:
      raise AssertionError(str(imported.problems[0]))
    return rasterize.rasterize(imported.rows[0].annotation, size=case.size,
                               root=output / imported.root)


def _is_rim(case, ours, reach):
  """Returns whether label maps differ only near the edges of shapes."""
  edges = np.zeros(case.size, bool)
  for label in (case.label, ours):
    for axis in (0, 1):
      change = np.diff(label, axis=axis) != 0
      for side in ((1, 0), (0, 1)):
        pads = [(0, 0), (0, 0)]
        pads[axis] = side
        edges |= np.pad(change, pads)
  near = ndimage.binary_dilation(edges, np.ones((3, 3)), iterations=reach)
  near |= np.pad(np.zeros(np.maximum(np.array(case.size) - 2, 0), bool), 1,
                 constant_values=True)[: case.size[0], : case.size[1]]
  return not ((case.label != ours) & ~near).any()


def compare(row: tool_cases.Row, num_cases: int) -> tuple[int, int, list[str]]:
  """Returns the number of pixels, of different ones, and what is wrong."""
  total, different, wrong = 0, 0, []
  for seed in range(num_cases):
    rng = np.random.default_rng([seed, *row.what.encode()])
    size = _SIZES[seed % len(_SIZES)]
    case = row.make(rng, size)
    try:
      ours = read(case, row.format_name)
    except AssertionError as error:
      wrong.append(f'{row.what}, seed {seed}: {error}')
      continue
    number = int((case.label != ours).sum())
    total += ours.size
    different += number
    reach = 6 if 'line' in row.what else 3 if 'soft' in row.what else 2
    if number and (not row.why or not _is_rim(case, ours, reach)):
      wrong.append(f'{row.what}, seed {seed}, {size}: {number} pixels')
  return total, different, wrong


def main(argv: list[str]) -> None:
  """Compares all rows and prints the table."""
  del argv
  wrong = []
  print('| format | package | shapes | cases | pixels | different | why |\n'
        f'|{"---|" * 7}')
  for row in tool_cases.ROWS:
    try:
      version = metadata.version(row.package)
      total, different, some = compare(row, _NUM_CASES.value)
    except (metadata.PackageNotFoundError, ImportError) as error:
      print(f'{row.package}: {error}', file=sys.stderr)
      continue
    wrong += some
    print(f'| `{row.format_name}` | {row.package} {version} | {row.what} | '
          f'{_NUM_CASES.value} | {total} | {different} | {row.why} |',
          flush=True)
  print('\n'.join(wrong), file=sys.stderr)
  if wrong:
    sys.exit(1)


if __name__ == '__main__':
  app.run(main)
