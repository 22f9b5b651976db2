"""Opens pictures of unknown origin; explains why a picture cannot be used.

Every failure raises `WrongFile`, and no picture is decoded before its header
has been checked. Pictures may have up to `MAX_PIXELS` pixels, which take at
most 1 GiB in the widest type.
"""

import collections
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
import contextlib
import functools
import itertools
import os
import pathlib
import re
import stat
import struct
from typing import Any, NamedTuple
import unicodedata
import warnings
import zlib

from PIL import Image
from PIL import UnidentifiedImageError

MAX_PIXELS = 2**26
IMAGE_MODES = ('1', 'L', 'LA', 'P', 'RGB', 'RGBA')
MASK_MODES = (*IMAGE_MODES, 'I', 'I;16', 'I;16L', 'I;16B', 'F')
SUFFIXES = {
    'PNG': ('.png',), 'JPEG': ('.jpg', '.jpeg', '.jpe', '.jfif'),
    'MPO': ('.jpg', '.jpeg'), 'TIFF': ('.tif', '.tiff'), 'BMP': ('.bmp',),
    'GIF': ('.gif',), 'WEBP': ('.webp',),
    'PPM': ('.ppm', '.pgm', '.pbm', '.pnm'),
}
KNOWN_SUFFIXES = frozenset(s for v in SUFFIXES.values() for s in v)

ROTATED = 'has an EXIF rotation tag'  # Part of a message.

_FORMATS = tuple(name for name in SUFFIXES if name != 'MPO')
_PNG_START = b'\x89PNG\r\n\x1a\n'
_CHUNK = re.compile(rb'\w{4}')  # Matches the name of a chunk of a PNG.
_ORIENTATION = 0x0112  # EXIF tag; 1 is upright, 0 is undefined.
_MAX_NAME = 46
_TOGETHER = 4  # Number of items in a batch, which one thread works on.
_AHEAD = 3  # Number of batches per thread that may wait.


class WrongFile(Exception):
  """Raised when a file cannot be used.

  Attributes:
    what: what is wrong.
    found: what was found instead, or ''.
    fix: what to do, or ''.
  """

  def __init__(self, what: str, found: str = '', fix: str = ''):
    super().__init__(what, found, fix)  # Pickle rebuilds the error from these.
    self.what = what
    self.found = found
    self.fix = fix

  def __str__(self) -> str:
    return '; '.join(filter(None, (self.what, self.found, self.fix)))


class Folder(NamedTuple):
  """A folder of pictures; files outside of it may not be read.

  Attributes:
    root: the folder.
    real_root: the same path with all links resolved.
    listing: function that takes the path of a folder and returns a dict, which
      maps the folded stem of each file in it to the file's name, see `fold`.
  """

  root: pathlib.Path
  real_root: str
  listing: Callable[[str], dict[str, str]]


def open_folder(root: pathlib.Path) -> Folder:
  """Returns the `Folder` of the path `root`, which need not exist."""
  return Folder(
      root, os.path.realpath(root),
      functools.lru_cache(maxsize=256)(_listing))


def map_in_threads(
    fn: Callable[[Any], Any], items: Iterable[Any]
) -> list[Any]:
  """Applies a function to items in several threads, and returns the results.

  Threads speed up the decoding of pictures, which releases Python's lock.
  """
  return list(each_in_threads(fn, items))


def each_in_threads(
    fn: Callable[[Any], Any], items: Iterable[Any]
) -> Iterator[Any]:
  """Applies a function to items in threads, and yields the results in order.

  Only a few items are taken ahead of time: an executor's `map` would keep a
  future of 2 KiB for every item at once. A thread takes a small batch of items
  each time, because waking a thread takes time, too.
  """
  Image.init()  # Pillow calls this when needed, which is not safe in threads.
  number = os.cpu_count() or 1
  items, ahead = iter(items), collections.deque()
  first = list(itertools.islice(items, _TOGETHER + 1))
  if len(first) <= _TOGETHER:  # One thread would do it all.
    yield from map(fn, first)
    return
  items = itertools.chain(first, items)
  with futures.ThreadPoolExecutor(number) as pool:
    try:
      while some := list(itertools.islice(items, _TOGETHER)):
        ahead.append(pool.submit(lambda part: [*map(fn, part)], some))
        if len(ahead) > _AHEAD * number:
          yield from ahead.popleft().result()
      while ahead:
        yield from ahead.popleft().result()
    finally:  # This also runs if an error ends the loop.
      for future in ahead:
        future.cancel()


@contextlib.contextmanager
def strict_pillow():
  """Makes Pillow refuse decompression bombs and silences its other warnings.

  The silenced warnings report damage that either does not matter or is refused
  with our own message. The setting holds in all threads.
  """
  with warnings.catch_warnings():
    warnings.filterwarnings('ignore', category=UserWarning, module=r'PIL\.')
    warnings.simplefilter('error', Image.DecompressionBombWarning)
    yield


def head(path: str | os.PathLike[str], size: int = -1) -> bytes:
  """Returns the first `size` bytes of a file; -1 means all of them.

  The result is b'' if the file cannot be read.
  """
  try:
    with open(path, 'rb') as file:
      return file.read(size)
  except OSError:
    return b''


@contextlib.contextmanager
def explaining(what: str, shown: str, fix: str):
  """Turns any error into a `WrongFile`, whose text ends with that of the error.

  Args:
    what: what is wrong, such as 'the volume cannot be read'.
    shown: name of the file, for the message.
    fix: what to do.

  Raises:
    WrongFile: for every error within the `with` block. A `WrongFile` that is
      raised there is passed on unchanged.
  """
  try:
    yield
  except WrongFile:
    raise
  except Exception as error:  # A damaged file may raise any error.
    reason = ' '.join(str(error).split())[:50] or type(error).__name__
    raise WrongFile(f'{what}: {reason}', shown, fix) from error


@contextlib.contextmanager
def opened(name: str, noun: str, folder: Folder):
  """Checks the header of a picture, opens it, and yields its path and image.

  Args:
    name: path of the picture, relative to the folder's root.
    noun: what the picture is, for messages, such as 'image' or 'mask'.
    folder: the folder that the picture must lie in.

  Raises:
    WrongFile: for every error, including one within the `with` block.
  """
  path, shown = folder.root / name, tail(name)
  check_file(name, noun, folder)
  with explaining(f'{noun} cannot be read', shown, 'replace the file'):
    try:
      with (open(path, 'rb') as file,
            Image.open(file, formats=_FORMATS) as image):
        _check_header(image, shown, noun)
        # Decoding alone does not verify the checksums.
        if image.format == 'PNG' and not _is_whole_png(file):
          with Image.open(path) as again:
            again.verify()  # Raises an error that says what is wrong.
        yield path, image
    except PermissionError as error:
      raise WrongFile(
          f'no permission to read the {noun}', shown, 'make it readable'
      ) from error
    except (
        Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
      number = re.search(r'\d+', str(error))
      raise WrongFile(
          f'{noun} declares more than {MAX_PIXELS} pixels',
          f'{shown}: {number[0] if number else "more"}',
          'replace it, or cut it into smaller ones') from error
    except UnidentifiedImageError as error:
      raise WrongFile(
          f'{noun} cannot be read: {_unknown_format(path)}', shown,
          'replace it by a PNG, JPEG, TIFF or BMP') from error


def _is_whole_png(file):
  """Returns whether all chunks of an open PNG are present and undamaged.

  Pillow's own verification opens the picture again, and takes three times as
  long. The position in the file does not change.
  """
  position, size = file.tell(), os.fstat(file.fileno()).st_size
  at, kind = file.seek(len(_PNG_START)), b''
  while kind != b'IEND':
    head = file.read(8)
    length = int.from_bytes(head[:4])
    # The length, the name and the checksum take 4 bytes each.
    kind, at = head[4:], at + 12 + length
    if not _CHUNK.fullmatch(kind) or at > size:
      break
    if zlib.crc32(file.read(length), zlib.crc32(kind)) != int.from_bytes(
        file.read(4)):
      break
  else:
    file.seek(position)
    return True
  file.seek(position)
  return False


def check_not_empty(path: str | os.PathLike[str], shown: str) -> None:
  """Refuses a file of 0 bytes.

  Args:
    path: the file, which must exist.
    shown: name of the file, for messages.

  Raises:
    WrongFile: if the file is empty.
    OSError: if it does not exist.
  """
  if not os.path.getsize(path):
    raise WrongFile('the file is empty, 0 bytes', shown, 'replace the file')


def check_file(name: str, noun: str, folder: Folder) -> None:
  """Refuses a path that is not a file in the folder, without opening it.

  Raises:
    WrongFile: if the path is not such a file.
  """
  if is_bad_text(name):
    raise WrongFile(
        'path holds control characters or is not UTF-8', ascii(name),
        'rename the file')
  path, shown = folder.root / name, tail(name)
  try:
    status = os.stat(path)
  except PermissionError as error:
    raise WrongFile(
        f'no permission to read the {noun}', shown, 'make it readable'
    ) from error
  except OSError as error:
    if os.path.islink(path):
      raise WrongFile(
          f'{noun} is a link that leads nowhere', shown,
          'put the file itself there') from error
    near = folder.listing(os.path.dirname(path)).get(
        fold(pathlib.Path(name).stem))
    fix = (f'did you mean {near!r}?' if near
           else f'put it below {folder.root} or correct the path')
    raise WrongFile(f'{noun} not found', shown, fix) from error
  if stat.S_ISDIR(status.st_mode):
    raise WrongFile(
        f'{noun} is a folder, expected a file', shown, 'name one file')
  if not stat.S_ISREG(status.st_mode):  # Reading from a pipe could block.
    raise WrongFile(
        f'{noun} is not a regular file', shown, 'put the file itself there')
  if not status.st_size:
    raise WrongFile(f'{noun} is empty, 0 bytes', shown, 'replace the file')
  if not os.path.isabs(name):
    real = os.path.realpath(path)
    if os.path.commonpath([real, folder.real_root]) != folder.real_root:
      raise WrongFile(
          f'{noun} lies outside the root', f'{shown} -> {tail(real)}',
          'put the file itself below the root, or correct `root`')


def _check_header(image, shown, noun):
  """Refuses a picture unless its header declares one upright 2-D picture."""
  if image.width * image.height > MAX_PIXELS:
    raise WrongFile(
        f'{noun} declares more than {MAX_PIXELS} pixels',
        f'{shown}: {image.height} x {image.width}',
        'replace it, or cut it into smaller ones')
  frames = getattr(image, 'n_frames', 1)
  # The additional frames of a camera's MPO are previews of its picture.
  if frames > 1 and image.format != 'MPO':
    raise WrongFile(
        f'{noun} holds several pictures, expected one',
        f'{shown}: {frames} frames',
        'write each plane of this OME-TIFF as a PNG, as bfconvert does'
        if shown.lower().endswith(('.ome.tif', '.ome.tiff')) else
        'save each frame as a file of its own')
  turned = orientation_of(image)
  if turned != 1:
    raise WrongFile(
        f'{noun} {ROTATED}, expected upright pixels', f'orientation {turned}',
        'turn the pixels as the annotation was drawn and remove the tag')


def orientation_of(image: Image.Image) -> int:
  """Returns the EXIF orientation of a picture; 1 is upright."""
  # Asking a PNG for its EXIF decodes the picture, unless the EXIF came before
  # the pixels.
  has_exif = image.format != 'PNG' or 'exif' in image.info
  return (image.getexif().get(_ORIENTATION, 1) or 1) if has_exif else 1


def check_alpha(image: Image.Image, noun: str) -> bool:
  """Refuses transparent pixels; returns whether there is an alpha channel."""
  if 'A' not in image.mode and 'transparency' not in image.info:
    return False
  lowest = image.convert('RGBA').getchannel('A').getextrema()[0]
  if lowest < 255:
    raise WrongFile(
        f'{noun} has transparent pixels', f'alpha {lowest}',
        'save it without alpha channel, on the background that you mean')
  return True


def _unknown_format(path):
  """Describes a file that Pillow could not identify."""
  start = head(path, 132)
  if start.startswith(b'\x89PNG') and len(start) >= 24:
    width, height = struct.unpack('>II', start[16:24])
    return f'a damaged PNG of {height} x {width}'
  for magic, place, kind in (
      (b'\x1f\x8b', 0, 'it is gzip'), (b'DICM', 128, 'it is DICOM'),
      (b'PK\3\4', 0, 'it is a zip'), (b'%PDF', 0, 'it is a PDF'),
      (b'\x89HDF', 0, 'it is HDF5')):
    if start[place:].startswith(magic):
      return kind
  return f'not a picture, it starts with {ascii(start[:6])}'


def _listing(folder):
  """Maps folded stems to the file names in a folder; {} if it is unreadable."""
  try:
    return {fold(pathlib.Path(n).stem): n for n in sorted(os.listdir(folder))}
  except (OSError, ValueError):
    return {}


def fold(name: str) -> str:
  """Returns a name in the form in which a case-insensitive disk compares it."""
  return unicodedata.normalize('NFC', name).casefold()


def is_bad_text(text: str) -> bool:
  """Returns whether a string has control characters or was not valid UTF-8."""
  if text.isascii() and text.isprintable():
    return False
  return any(
      unicodedata.category(c) in ('Cc', 'Cs') or c == '\ufffd' for c in text)


def tail(name: str) -> str:
  """Shortens a path to `_MAX_NAME` characters by cutting its start."""
  return name if len(name) <= _MAX_NAME else '...' + name[3 - _MAX_NAME :]
