"""Reads the masks of Pascal VOC, which hold class numbers or colours.

The file labelmap.txt names the classes and their colours.
"""

from collections.abc import Iterable
import pathlib

from hybridseg import types
import numpy as np

from data_prep import formats
from data_prep.formats import class_names
from data_prep.formats import declared_names
from data_prep.formats import intensities
from data_prep.formats import lossy_masks
from data_prep.formats import mask_values
from data_prep.formats import sources
from data_prep.shared import grammar
from data_prep.shared import pixels

_BORDER = 0xE0E0C0  # VOC's colour for unlabelled pixels: 224, 224, 192.


def read_labelmap(
    source: pathlib.Path, report
) -> tuple[list[str], dict[int, int]]:
  """Returns the class names in labelmap.txt, and the value of each colour.

  This value is what a mask without colours stores for the same class. A colour
  is given as one number, 0xRRGGBB. If the file gives no colours, VOC's own are
  used. If no name means background, the value 0 is background, and the first
  name has the value 1.
  """
  path = source / 'labelmap.txt'
  names, colours = [], {}
  if not path.is_file():
    return names, colours
  own = palette().astype(int) @ [65536, 256, 1]
  try:
    for line in sources.read_text(path).splitlines():
      if not line.strip() or line.startswith('#'):
        continue
      name, colour = [*line.split(':'), ''][:2]
      names.append(name.strip())
      channels = colour.split(',')
      if len(channels) == 3 and all(c.strip().isdecimal() for c in channels):
        red, green, blue = (min(int(c), 255) for c in channels)
        colours[red << 16 | green << 8 | blue] = len(names) - 1
  except pixels.WrongFile as wrong:
    report.wrong_file(wrong, file=path.name)
  if not colours:  # Use VOC's own colours, of which the first is background.
    first = 0 if any(map(class_names.is_background, names)) else 1
    colours = {int(own[i + first]): i for i in range(
        min(len(names), 256 - first))}
  if not any(map(class_names.is_background, names)):
    # The names lack background, so shift the values: 0 is background.
    colours = {0: 0} | {c: i + 1 for c, i in colours.items()}
  return names, colours


def are_renamed(names: list[str], options: formats.Options) -> bool:
  """Returns whether the user renames all classes of labelmap.txt."""
  return bool(options.classes) and not set(options.classes[1:]) & set(names)


def values_of(names: list[str], report) -> dict[str, int]:
  """Returns the class of each stored value of a mask, or 255 for unlabelled.

  Args:
    names: class names as `read_labelmap` returns them.
    report: holds the user's options; receives notices. If --classes has none
      of `names`, it renames all classes; otherwise, it selects some of them.
  """
  options = report.options
  if options.mask_values:
    return options.mask_values
  open_value = {str(types.UNLABELLED): types.UNLABELLED}
  wanted = options.classes
  if not names or are_renamed(names, options):
    number = len(wanted or names)
    return {str(i): i for i in range(number)} | open_value
  if not any(map(class_names.is_background, names)):
    names = ['background', *names]
  classes = tuple(wanted or ('background', *(
      n for n in dict.fromkeys(names) if not class_names.is_background(n)
      and not declared_names.is_ignored_name(n))))
  numbers = [class_names.number_of(name, classes) for name in names]
  left = [n for n, v in zip(names, numbers, strict=True) if v is None]
  if left:
    report.note(f'{grammar.counted(len(left), "name")} of labelmap.txt that '
                f'--classes leaves out {grammar.verb(len(left), "become")} '
                f'background: {", ".join(left)[:80]}')
  return {str(i): v or 0 for i, v in enumerate(numbers)} | open_value


def find_lossy(
    source: pathlib.Path, paths: Iterable[str], report
) -> set[str]:
  """Refuses JPEG masks, since compression changes class numbers and colours.

  Args:
    source: folder that the paths are relative to.
    paths: paths of all masks.
    report: holds the user's options; receives the problem.

  Returns:
    The paths of the refused masks.
  """
  known = {0, *map(int, report.options.mask_values or ())}
  lossy = [p for p in sorted(paths) if lossy_masks.is_lossy(source / p)]
  # `count_values` returns {} for a mask in colours; -1 makes it count as lossy.
  lossy = [p for p in lossy if not known.issuperset(
      mask_values.count_values(source / p) or {-1})]
  if lossy:
    report.wrong(
        f'{grammar.counted(len(lossy), "mask", "are")} JPEG, whose compression '
        'changes class numbers and colours', pixels.tail(lossy[0]),
        'export as PNG')
  return set(lossy)


def index_mask(
    source: pathlib.Path,
    path: str,
    row_id: str,
    colours: dict[int, int],
    writer: intensities.Writer,
) -> str:
  """Rewrites a mask in colours as a mask of class numbers; returns its path.

  A mask that already holds class numbers stays where it is.

  Args:
    source: folder that the path is relative to.
    path: path of the mask.
    row_id: id of its picture.
    colours: maps each colour, 0xRRGGBB, to its class, or to 255 for unlabelled.
    writer: writes the new mask.

  Raises:
    pixels.WrongFile: if the mask holds a colour that has no class.
  """
  with pixels.opened(path, 'mask', pixels.open_folder(source)) as (_, image):
    if image.mode not in ('RGB', 'RGBA') or not colours:
      return path
    stored = np.asarray(image.convert('RGB')).astype(np.int64)
  gray = stored[..., 0]
  if not (stored != gray[..., None]).any() and gray.max() < len(colours) and (
      not {*range(0x010101, 0x010101 * (gray.max() + 1), 0x010101)} & {
          *colours}):
    return path  # The three equal channels hold class numbers.
  stored = stored @ [65536, 256, 1]
  label = np.full(stored.shape, -1)
  for colour, value in colours.items():
    label[stored == colour] = value
  label[(stored == _BORDER) & (label < 0)] = types.UNLABELLED
  if label.min() < 0:
    colour = int(stored[label < 0][0])
    raise pixels.WrongFile(
        'a colour is not in labelmap.txt', f'{pixels.tail(path)}: '
        f'{colour >> 16},{colour >> 8 & 255},{colour & 255}',
        'add it to labelmap.txt, or export the mask again')
  return writer.write_png(label.astype(np.uint8), f'masks/{row_id}')


def palette() -> np.ndarray:
  """Returns the colours of VOC's classes, uint8 [256, 3]."""
  index = np.arange(256)[:, None]
  channel = np.arange(3)[None]
  colours = np.zeros((256, 3), np.int64)
  for bit in range(8):
    colours |= ((index >> (3 * bit + channel)) & 1) << (7 - bit)
  return colours.astype(np.uint8)
