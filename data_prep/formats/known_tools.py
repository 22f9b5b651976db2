"""Recognises the files of annotation tools by a few words near their start.

A reader of one format uses this to name the files that it passes over: those of
a format that is read, with its `--format`, and those of a tool whose files are
not read, with the way to convert them.
"""

from collections.abc import Callable
import pathlib
from typing import NamedTuple

from data_prep.shared import pixels

HEAD = 2**16  # Bytes of a file that are searched.
_SUFFIXES = (
    '.json', '.geojson', '.ndjson', '.xml', '.csv', '.nrrd', '.nhdr', '.mha',
    '.mhd', '.h5', '.hdf5')
_MAX_FILES = 1000


class Tool(NamedTuple):
  """A tool whose files can be recognised.

  Attributes:
    name: name of the tool or format.
    suffixes: endings of the names of its files.
    looks_like: function that takes the start of a file, bytes, and returns
      whether the tool may have written it.
    advice: what the user should do with such a file.
  """

  name: str
  suffixes: tuple[str, ...]
  looks_like: Callable[[bytes], bool]
  advice: str


def _keys(*names: str, least: int = 0) -> Callable[[bytes], bool]:
  """Returns a test whether a file has at least `least`, or all, of some keys.
  """
  quoted = [f'"{name}"'.encode() for name in names]
  return lambda head: sum(key in head for key in quoted) >= (
      least or len(quoted))


def is_label_studio(head: bytes) -> bool:
  """Returns whether a file looks like an export of Label Studio as JSON."""
  return head.lstrip(b'\xef\xbb\xbf \r\n\t')[:1] == b'[' and _keys(
      'annotations', 'completions', least=1)(head) and _keys(
          'result', 'from_name', 'completed_by', 'total_annotations', 'data',
          least=2)(head)


def is_via(head: bytes) -> bool:
  """Returns whether a file looks like a project or an export of VIA 1 or 2."""
  return _keys('_via_img_metadata')(head) or _keys(
      'regions', 'filename', 'file_attributes')(head)


def is_via_csv(head: bytes) -> bool:
  """Returns whether a file looks like a CSV export of VIA 1 or 2."""
  return b'region_shape_attributes' in head.split(b'\n')[0]


def is_geojson(head: bytes) -> bool:
  """Returns whether a file looks like GeoJSON, such as QuPath writes."""
  return _keys('FeatureCollection')(head) or _keys('Feature', 'geometry')(head)


_JSON = ('.json',)
# The first tool that fits counts, so the most specific ones come first.
TOOLS = (
    Tool('VIA', _JSON, is_via, '--format=via'),
    Tool('VIA', ('.csv',), is_via_csv, '--format=via'),
    Tool('VIA 3', _JSON, _keys('vid_list', 'metadata'),
         'not read; export COCO, or draw in VIA 2'),
    Tool('QuPath (GeoJSON)', ('.json', '.geojson'), is_geojson,
         '--format=geojson'),
    Tool('Darwin', _JSON, lambda head: b'darwin' in head.lower() and _keys(
        'annotations')(head),
         'not read; `darwin dataset convert` writes COCO'),
    Tool('Supervisely', _JSON, lambda head: _keys(
        'classTitle')(head) or _keys('objects', 'size', 'tags')(head),
         'not read; its app Export to COCO converts them'),
    Tool('Labelbox', ('.json', '.ndjson'), lambda head: _keys(
        'data_row')(head) or _keys('DataRow ID')(head) or _keys(
            'Labeled Data')(head),
         'not read; export masks, or convert to COCO'),
    Tool('Label Studio', _JSON, is_label_studio, '--format=label_studio'),
    Tool('Label Studio (JSON-MIN)', _JSON, _keys(
        'annotation_id', 'original_width'), 'not read; export JSON'),
    Tool('Label Studio (storage)', _JSON, lambda head: head.lstrip()[:1] == b'{'
         and _keys('result', 'task', 'completed_by')(head),
         'not read; export JSON'),
    Tool('LabelMe', _JSON, _keys('shapes', 'imagePath'), '--format=labelme'),
    Tool('COCO', _JSON, _keys('images', 'annotations', 'categories', least=2),
         '--format=coco'),
    Tool('CVAT for video', ('.xml',), lambda head: b'<annotations' in head
         and b'<track' in head, 'not read; export "CVAT for images 1.1"'),
    Tool('CVAT', ('.xml',), lambda head: b'<annotations' in head,
         '--format=cvat'),
    Tool('NRRD', ('.nrrd', '.nhdr'), lambda head: head.startswith(b'NRRD000'),
         '--format=nrrd'),
    # Others, such as the weights of a network, have no array of that name.
    Tool('HDF5', ('.h5', '.hdf5'), lambda head: head.startswith(
        b'\x89HDF\r\n\x1a\n') and b'image' in head, '--format=hdf5'),
    Tool('MetaImage', ('.mha', '.mhd'), lambda head: b'DimSize' in head,
         '--format=metaimage'),
    Tool('VOC', ('.xml',), lambda head: b'<annotation' in head
         and b'<object' in head, '--format=voc'),
)


def find(source: pathlib.Path, paths: list[str]) -> dict[Tool, list[str]]:
  """Returns the tools whose files are among some files, with these files.

  At most `_MAX_FILES` files are looked at.

  Args:
    source: folder that the paths are relative to.
    paths: paths of files.
  """
  found = {}
  some = [p for p in sorted(paths) if p.lower().endswith(_SUFFIXES)]
  for path in some[:_MAX_FILES]:
    head = pixels.head(source / path, HEAD)
    for tool in TOOLS:
      if path.lower().endswith(tool.suffixes) and tool.looks_like(head):
        found.setdefault(tool, []).append(path)
        break
  return found


def describe(tool: Tool, paths: list[str]) -> str:
  """Returns a notice about files of a tool that nobody has read."""
  shown = pixels.tail(min(paths))
  found = f'{shown} looks' if len(paths) == 1 else (
      f'{len(paths)} files, such as {shown}, look')
  return f"{found} like {tool.name}'s: {tool.advice}"
