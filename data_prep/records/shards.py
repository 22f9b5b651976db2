"""Divides a set into shards, and writes each shard on its own.

Shards are independent: they can be written in threads, by several machines, and
by a later call if a build is interrupted.
"""

import errno
import hashlib
import os
import pathlib
from typing import NamedTuple

from array_record.python import array_record_module
from PIL import Image

from data_prep import manifest as manifest_lib
from data_prep.drawing import kept as kept_lib
from data_prep.records import fingerprints
from data_prep.records import schema

_SHARD_ROWS = 256


class ShardTask(NamedTuple):
  """Everything needed to write one shard, here or on another machine.

  Attributes:
    split: one of `schema.SPLITS`.
    index: number of the shard within its split.
    rows: the shard's rows of a checked manifest.
    first_instance_id: instance id of the first row; -1 if the split's rows have
      no instance ids.
    root: folder that the rows' paths are relative to.
    image_size: height and width of every record.
    num_classes: number of classes K.
    channels: channels of every record, 1 or 3.
    digest: SHA-256 of the other fields except `root`, and of the files.
  """

  split: str
  index: int
  rows: tuple[manifest_lib.Row, ...]
  first_instance_id: int
  root: str
  image_size: int
  num_classes: int
  channels: int
  digest: str = ''


def shard_tasks(
    manifest: manifest_lib.Manifest,
    *,
    image_size: int,
    kept: kept_lib.Kept | None = None,
) -> list[ShardTask]:
  """Divides a checked manifest into shards, in the order of its rows.

  Row k of the split train_weak becomes instance k. Every file that is not
  `kept` is read to compute the digests.
  """
  channels = _channels(manifest, kept)
  tasks = []
  for split, rows in schema.split_rows(manifest).items():
    for index, start in enumerate(range(0, len(rows), _SHARD_ROWS)):
      shard = tuple(rows[start : start + _SHARD_ROWS])
      task = ShardTask(
          split=split, index=index, rows=shard,
          first_instance_id=start if split == 'train_weak' else -1,
          root='', image_size=image_size,
          num_classes=len(manifest.header.classes), channels=channels)
      # Records do not hold reviews, so a shard does not change with them.
      hashed = task._replace(rows=tuple(
          fingerprints.content(row._replace(reviews=())) for row in shard))
      files = fingerprints.of_files(shard, manifest.root, kept)
      content = f'{schema.VERSION} {hashed} {files}'
      digest = hashlib.sha256(content.encode()).hexdigest()
      tasks.append(task._replace(root=str(manifest.root), digest=digest))
  return tasks


def write_shard(
    task: ShardTask,
    *,
    folder: str | os.PathLike[str],
    kept: kept_lib.Kept | None = None,
) -> None:
  """Writes a shard to the file `folder`/DIGEST, completely or not at all.

  Files that are not `kept` are read.

  Raises:
    OSError: if a file cannot be read, or the shard cannot be written.
  """
  path = pathlib.Path(folder) / task.digest
  if path.exists():
    return
  unfinished = f'{path}.{os.getpid()}.unfinished'
  try:
    _write_rows(task, unfinished, kept)
  # ArrayRecord reports a full disk as a RuntimeError with the system's message.
  except RuntimeError as error:
    full = os.strerror(errno.ENOSPC)
    if full not in str(error):
      raise
    raise OSError(errno.ENOSPC, full, unfinished) from error
  os.replace(unfinished, path)


def _write_rows(task, unfinished, kept):
  writer = array_record_module.ArrayRecordWriter(unfinished, 'group_size:1')
  try:
    for i, row in enumerate(task.rows):
      instance_id = task.first_instance_id
      example = schema.make_example(
          row, root=pathlib.Path(task.root), image_size=task.image_size,
          num_classes=task.num_classes, channels=task.channels,
          instance_id=instance_id + i if instance_id >= 0 else -1, kept=kept)
      writer.write(schema.to_bytes(example))
  finally:
    writer.close()


def _channels(manifest, kept):
  """Returns the number of channels: 1 if all images are gray, else 3."""
  for row in manifest.rows:
    found = None if kept is None else kept.image(row.image)
    if found is not None:
      if found[1].shape[-1] == 3:
        return 3
      continue
    with Image.open(manifest.root / row.image) as image:
      if image.mode not in ('1', 'L', 'LA'):
        return 3
  return 1
