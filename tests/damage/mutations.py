"""Damages the content of files at random.

Files of any format are damaged byte by byte; PNG files also by their chunks,
and JSON and other text files also by their structure.
"""

from collections.abc import Callable
import gzip
import json
import random
import re
import struct
import zlib

_INTEGERS = (0, 1, 2, 7, 127, 128, 255, 256, 32767, 32768, 65535, 2**31 - 1,
             2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)
_FLOATS = (0.0, -1.0, 1e30, 1e-30, float('inf'), float('-inf'), float('nan'))
_JSON_VALUES = (
    None, True, False, -1, 0, 1, 3, 255, 2**31, 2**63, 10**40, -0.5, 1e-9, 1e9,
    1e308, float('inf'), float('nan'), '', ' ', '0', '-1', 'x', 'box', 'mask',
    '\x00', '\ud800', '\u202e', '../../x.png', '/etc/passwd', 'images',
    'a' * 5000, [], {}, [[]], [None], [[1, 2]], [0, 0, 0, 0], {'a': 1},
    [1e308, -1e308], [['1', '2'], ['3', '4'], ['5', '6']])
_TOKENS = (
    '', '0', '-1', '1', '2', '0.5', '1e9', '1e308', '-1e308', 'nan', 'inf',
    '1_0', '0x10', '\u0661', '99999999999999999999', 'x', ',', ';', '"', '<',
    '&amp;', '&x;', '../x.png', 'a' * 5000, '\x00', '\u202e', 'background')


def mutate(content: bytes, name: str, rng: random.Random) -> bytes:
  """Returns a damaged copy of a file's content.

  Args:
    content: content of the file.
    name: name of the file; its suffix decides how the content may be damaged.
    rng: source of all randomness.
  """
  suffix = name.lower().rsplit('.', 1)[-1]
  ways: list[Callable[..., bytes]] = [
      _flip_bits, _set_bytes, _truncate, _cut, _repeat, _insert, _set_integer]
  if suffix == 'png':
    ways += [_png_chunk] * 5 + [_png_pixels] * 2
  elif suffix == 'gz':
    ways += [_inside_gzip] * 12
  elif suffix in ('nii', 'npy', 'dcm', 'tif', 'bmp', 'jpg', 'h5'):
    ways += [_set_integer] * 5 + [_set_float] * 2
  elif suffix in ('nrrd', 'mha'):  # A header of text before the voxels.
    ways += [_token] * 10 + [_line] * 3
  if suffix in ('json', 'jsonl', 'geojson'):
    ways += [_json_value] * 14
  elif suffix in ('xml', 'txt', 'csv', 'yaml'):
    ways += [_token] * 10 + [_line] * 4
  for _ in range(rng.choice((1, 1, 1, 2, 4))):
    content = rng.choice(ways)(content, rng)
  return content


def _place(content, rng):
  """Returns a random position in a file, mostly within its header."""
  limit = rng.choice((16, 64, 400, len(content)))
  return rng.randrange(max(1, min(limit, len(content))))


def _flip_bits(content, rng):
  content = bytearray(content)
  for _ in range(rng.choice((1, 1, 2, 8)) if content else 0):
    content[_place(content, rng)] ^= 1 << rng.randrange(8)
  return bytes(content)


def _set_bytes(content, rng):
  place, length = _place(content, rng), rng.choice((1, 2, 4, 16))
  return content[:place] + rng.randbytes(length) + content[place + length :]


def _truncate(content, rng):
  return content[: rng.randrange(len(content) + 1)]


def _cut(content, rng):
  place = _place(content, rng)
  return content[:place] + content[place + rng.choice((1, 4, 64)) :]


def _repeat(content, rng):
  place, length = _place(content, rng), rng.choice((1, 4, 64, 1024))
  return content[: place + length] + content[place:]


def _insert(content, rng):
  place = _place(content, rng)
  return content[:place] + rng.randbytes(rng.choice((1, 4, 64))) + content[
      place:]


def _put(content, rng, packed):
  """Overwrites a random place, mostly an aligned one, with packed bytes."""
  place = _place(content, rng) & ~(len(packed) - 1 if rng.random() < 0.7 else 0)
  return content[:place] + packed + content[place + len(packed) :]


def _set_integer(content, rng):
  size = rng.choice('BHIQ')
  value = rng.choice(_INTEGERS) & (2 ** (8 * struct.calcsize(size)) - 1)
  return _put(content, rng, struct.pack(rng.choice('<>') + size, value))


def _set_float(content, rng):
  size = rng.choice('fd')
  return _put(content, rng, struct.pack(
      rng.choice('<>') + size, rng.choice(_FLOATS)))


def png_chunks(content: bytes) -> list[tuple[bytes, bytes]]:
  """Returns the chunks of a PNG file as pairs (kind, data)."""
  chunks, place = [], 8
  while place + 12 <= len(content):
    length, = struct.unpack('>I', content[place : place + 4])
    chunks.append((content[place + 4 : place + 8],
                   content[place + 8 : place + 8 + length]))
    place += 12 + length
  return chunks


def join_png(chunks: list[tuple[bytes, bytes]]) -> bytes:
  """Returns a PNG file of chunks (kind, data), with correct checksums."""
  return b'\x89PNG\r\n\x1a\n' + b''.join(
      struct.pack('>I', len(data)) + kind + data
      + struct.pack('>I', zlib.crc32(kind + data)) for kind, data in chunks)


def _png_chunk(content, rng):
  """Damages, copies, removes or adds a chunk of a PNG file.

  All checksums are correct, so that readers do not reject the file for them.
  """
  chunks = png_chunks(content)
  if not chunks:
    return content
  i = rng.randrange(len(chunks))
  kind, data = chunks[i]
  way = rng.randrange(4)
  if way == 0:
    chunks[i] = kind, mutate(data, 'chunk', rng)
  elif way == 1:
    chunks.insert(i, chunks[rng.randrange(len(chunks))])
  elif way == 2:
    del chunks[i]
  else:
    text = zlib.compress(bytes(rng.choice((10, 10**6))))
    chunks.insert(1, rng.choice((
        (b'zTXt', b'a\0\0' + text), (b'iCCP', b'a\0\0' + text),
        (b'tRNS', rng.randbytes(rng.choice((1, 2, 6, 256)))),
        (b'eXIf', rng.randbytes(30)), (b'PLTE', rng.randbytes(9)),
        (b'acTL', struct.pack('>II', rng.choice(_INTEGERS[:14]), 0)))))
  return join_png(chunks)


def _png_pixels(content, rng):
  """Damages the pixels of a PNG file before they are compressed."""
  chunks = png_chunks(content)
  for i, (kind, data) in enumerate(chunks):
    if kind == b'IDAT':
      try:
        chunks[i] = kind, zlib.compress(mutate(
            zlib.decompress(data), 'pixels', rng))
      except zlib.error:
        pass
  return join_png(chunks)


def _inside_gzip(content, rng):
  """Damages the content of a gzip file before it is compressed."""
  try:
    return gzip.compress(mutate(gzip.decompress(content), 'a.nii', rng), 1)
  except (OSError, EOFError, zlib.error):
    return content


def _json_value(content, rng):
  """Replaces, removes or adds one value in a JSON file.

  In a manifest, where each line is a JSON object, this is done in one line.
  """
  try:
    lines = content.decode().split('\n')
    number = rng.randrange(len(lines)) if lines[0].startswith(
        '{"classes"') else None
    tree = json.loads(content if number is None else lines[number])
  except (ValueError, RecursionError):
    return content
  parent, key = [tree], 0
  while isinstance(parent[key], (dict, list)) and parent[key] and (
      rng.random() < 0.85):
    parent = parent[key]
    key = rng.choice(list(parent) if isinstance(parent, dict)
                     else range(len(parent)))
  top = [tree] if isinstance(parent, list) and parent[:1] == [tree] else None
  way = rng.randrange(5)
  if way == 0 and top is None:
    del parent[key]
  elif way == 1 and isinstance(parent, list) and top is None:
    parent.insert(key, parent[rng.randrange(len(parent))])
  elif way == 2 and isinstance(parent, dict):
    parent[rng.choice(('x', '', 'kind', 'label', 'id', 'type'))] = parent[key]
  elif isinstance(parent[key], (int, float)) and rng.random() < 0.5:
    parent[key] = parent[key] * rng.choice((-1, 2, 0.5, 1e3, 1e-3))
  elif top is None:
    parent[key] = rng.choice(_JSON_VALUES)
  else:
    tree = rng.choice(_JSON_VALUES)
  text = json.dumps(tree)
  if number is not None:
    lines[number] = text
    text = '\n'.join(lines)
  elif rng.random() < 0.02:
    text = '[' * 100_000
  return text.encode('utf-8', 'surrogatepass')


def _token(content, rng):
  """Replaces one number, word or attribute of a text file."""
  text = content.decode('utf-8', 'surrogateescape')
  found = list(re.finditer(r'[^\s,;:<>"=/\[\]{}]+', text))
  if not found:
    return content
  token = rng.choice(found)
  value = rng.choice((*_TOKENS, rng.choice(found)[0]))
  text = text[: token.start()] + value + text[token.end() :]
  return text.encode('utf-8', 'surrogateescape')


def _line(content, rng):
  """Removes, repeats or moves a line of a text file."""
  lines = content.split(b'\n')
  line = lines.pop(rng.randrange(len(lines)))
  for _ in range(rng.choice((0, 1, 2))):
    lines.insert(rng.randrange(len(lines) + 1), line)
  return b'\n'.join(lines)
