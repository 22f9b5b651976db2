"""Returns the volumes of a set of whole volumes, to be written for a tool.

Their labels are those that the set holds on the grids of the files. The index
of the chunks names the files of the images: absolute paths, or relative to the
folder of the set.
"""

from collections.abc import Collection
import os
import pathlib
from typing import NamedTuple

import numpy as np

from data_prep.formats import volume_cases
from data_prep.records import chunks
from data_prep.records import volume_records
from data_prep.shared import pixels

_AGAIN = 'prepare the set again, with --overwrite'


class Found(NamedTuple):
  """The volumes of a set.

  Attributes:
    classes: class names, background first.
    cases: the volumes.
    more: what else the index holds of each of them.
  """

  classes: tuple[str, ...]
  cases: tuple[volume_cases.Case, ...]
  more: tuple[dict, ...]


def read(
    folder: str | os.PathLike[str],
    *,
    splits: Collection[str] | None = None,
    ids: Collection[str] | None = None,
) -> Found:
  """Lists the volumes of a set; their labels are read when they are asked for.

  Args:
    folder: `--output` of `prepare --volumes`.
    splits: splits of the volumes; None means all.
    ids: ids of the volumes, in the order of the result; None means all.

  Raises:
    pixels.WrongFile: if the folder holds no such set, or an older one.
  """
  folder = pathlib.Path(folder).absolute()
  if not (folder / volume_records.CHUNKS / chunks.INDEX).is_file():
    raise pixels.WrongFile(
        'there is no set of whole volumes', pixels.tail(str(folder)),
        'give the --output of prepare --volumes')
  try:
    reader, references = (
        chunks.Reader(folder / name)
        for name in (volume_records.CHUNKS, volume_records.REFERENCES))
  except (OSError, ValueError) as error:
    raise pixels.WrongFile(
        'the set cannot be read', pixels.tail(str(folder)), _AGAIN) from error
  chosen = [reader.volumes[i] for i in (reader.volumes if ids is None else ids)
            if i in reader.volumes]
  chosen = [v for v in chosen if splits is None or v.more['split'] in splits]
  return Found(
      tuple(reader.more['classes']),
      tuple(_case(folder, references, volume) for volume in chosen),
      tuple(volume.more for volume in chosen))


def _case(folder, references, volume):
  more, kind = volume.more, volume.more['kind']
  name = volume.id

  def read_labels():
    if kind == 'none':
      return {}
    found = references.volumes[name]
    try:
      return {kind: references.read_patch(
          name, (0, 0, 0), found.shape, found.fields[0])}
    except (OSError, ValueError) as error:
      raise pixels.WrongFile(
          'the set is damaged', pixels.tail(found.file), _AGAIN) from error

  return volume_cases.Case(
      name, tuple(more['stored_shape']), np.array(more['stored_affine']),
      more['format'], tuple(str(folder / file) for file in more['files']),
      read_labels, more['annotator'])
