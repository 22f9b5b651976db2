"""Writes a manifest as records: ArrayRecord shards that TFDS reads.

ArrayRecord is read and written without TensorFlow:

  builder = tfds.builder_from_directory('OUTPUT/records')
  source = builder.as_data_source(split='train_weak')

Shards are independent. A shard is written if its rows or their files have
changed, and otherwise copied from the previous records. If a build is
interrupted, the next build uses the shards that were finished. By default, the
threads of this process write them; `beam_shards` spreads them over processes or
machines with Apache Beam.
"""

import collections
from collections.abc import Callable, Mapping, Sequence
from concurrent import futures
import contextlib
import fcntl
import io
import json
import os
import pathlib
import shutil
import sys
from typing import Any

from absl import logging
import tensorflow_datasets as tfds

from data_prep import manifest as manifest_lib
from data_prep.drawing import kept as kept_lib
from data_prep.records import fingerprints
from data_prep.records import schema
from data_prep.records import shards
from data_prep.shared import progress as progress_lib
from data_prep.shared import whole_file

_NAME = 'hybrid_segmentation'


def metadata(
    manifest: manifest_lib.Manifest,
    *,
    image_size: int,
    kept: kept_lib.Kept | None = None,
) -> dict[str, Any]:
  """Returns the metadata of a set's records: names, sizes, counts and hashes.

  Args:
    manifest: the set's manifest.
    image_size: height and width of every record.
    kept: the pictures that the check has kept; others are read from disk.

  Raises:
    OSError: if a picture or mask cannot be read.
  """
  return {
      'name': manifest.header.name,
      'classes': list(manifest.header.classes),
      'image_size': image_size,
      'counts': {k: len(v) for k, v in schema.split_rows(manifest).items()},
      'records_version': schema.VERSION,
      'manifest_sha256': fingerprints.of_manifest(manifest),
      'files_sha256': fingerprints.of_files(
          manifest.rows, manifest.root, kept),
  }


def holds(
    stored: Mapping[str, Any],
    manifest: manifest_lib.Manifest,
    *,
    image_size: int,
    kept: kept_lib.Kept | None = None,
) -> bool:
  """Returns whether records match a manifest and its files as they are now.

  Records of earlier versions of this package, which hashed the manifest
  differently, are also recognized.

  Args:
    stored: the metadata of the records.
    manifest: the set's manifest.
    image_size: height and width that the records should have.
    kept: the pictures that the check has kept; others are read from disk.

  Raises:
    OSError: if a picture or mask cannot be read.
  """
  wanted = metadata(manifest, image_size=image_size, kept=kept)
  earlier = {
      'manifest_sha256': fingerprints.of_manifest(manifest, as_written=True)}
  return dict(stored) in (wanted, wanted | earlier)


def made_in_other_order(
    folder: str | os.PathLike[str], manifest: manifest_lib.Manifest
) -> str:
  """Returns the manifest hash stored in records, if they match a manifest.

  Some old records store a hash that depends on the order of the keys in the
  manifest's JSON. This order is no longer known, so the files, the counts and
  the ids of each split are compared instead of the hash.

  Args:
    folder: folder of the records.
    manifest: the set's manifest.

  Returns:
    The stored hash, or '' if the records do not match the manifest.

  Raises:
    OSError: if a picture or mask cannot be read.
  """
  reader = tfds.builder_from_directory(folder)
  stored = dict(reader.info.metadata)
  claimed = stored.pop('manifest_sha256', '')
  wanted = metadata(manifest, image_size=stored.get('image_size', 0))
  del wanted['manifest_sha256']
  if stored != wanted:
    return ''
  for split, rows in schema.split_rows(manifest).items():
    ids = [e['id'].decode() for e in (
        reader.as_data_source(split=split) if rows else ())]
    if ids != [row.id for row in rows]:
      return ''
  return claimed


def build(
    manifest: manifest_lib.Manifest,
    *,
    output: str | os.PathLike[str],
    image_size: int,
    previous: str | os.PathLike[str] | None = None,
    staging: str | os.PathLike[str] | None = None,
    kept: kept_lib.Kept | None = None,
    write: Callable[[Sequence[shards.ShardTask], pathlib.Path], None] | None
        = None,
) -> pathlib.Path:
  """Writes the records of a checked manifest, either all of them or none.

  Args:
    manifest: manifest without problems, see `check.check_manifest`.
    output: folder of the records. It must not exist, but its parent must.
    image_size: height and width of every record.
    previous: folder of older records, from which unchanged shards are copied.
    staging: folder, on the same disk as `output`, that keeps finished shards if
      the build is interrupted; the default lies next to `output`. It is removed
      at the end.
    kept: the pictures that the check has kept; others are read from disk.
    write: function that writes some shards to the folder `staging`, which reads
      all pictures from disk; by default, threads of this process write them.

  Returns:
    The path `output`, which `tfds.builder_from_directory` can open.

  Raises:
    FileExistsError: if `output` exists.
    BlockingIOError: if another process is building in `staging`.
    ValueError: if lines of the manifest could not be parsed.
  """
  if manifest.problems:
    raise ValueError(str(manifest.problems[0]))
  output = pathlib.Path(output)
  if output.exists():
    raise FileExistsError(f'{output} exists.')
  staging = pathlib.Path(staging or output.parent / f'.{output.name}.shards')
  staging.mkdir(exist_ok=True)
  with _locked(staging):
    try:
      tasks = shards.shard_tasks(manifest, image_size=image_size, kept=kept)
      _take_over(tasks, previous, staging)
      missing = [t for t in tasks if not (staging / t.digest).exists()]
      if len(missing) < len(tasks):
        print(f'  shards that are there already: {len(tasks) - len(missing)} '
              f'of {len(tasks)}', file=sys.stderr)
      if write is None:
        _write_in_threads(missing, staging, kept)
      else:
        write(missing, staging)
      _assemble(tasks, staging, output, metadata(
          manifest, image_size=image_size, kept=kept))
    except Exception:
      shutil.rmtree(staging, ignore_errors=True)
      raise
    shutil.rmtree(staging)
  return output


@contextlib.contextmanager
def _locked(folder):
  """Keeps other processes from building in a folder."""
  descriptor = whole_file.follow_no_link(
      folder / 'lock', os.O_RDWR | os.O_CREAT)
  try:
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    yield
  except BlockingIOError as error:
    raise BlockingIOError(
        f'{folder} is in use: another process prepares this set; wait for it '
        'or stop it.') from error
  finally:
    os.close(descriptor)


def _take_over(tasks, previous, staging):
  """Copies those shards of older records that have not changed."""
  if previous is None or not (pathlib.Path(previous) / 'shards.json').exists():
    return
  with open(pathlib.Path(previous) / 'shards.json', encoding='utf-8') as file:
    known = json.load(file)
  for task in tasks:
    if task.digest in known and not (staging / task.digest).exists():
      unfinished = staging / f'{task.digest}.unfinished'
      shutil.copyfile(pathlib.Path(previous) / known[task.digest], unfinished)
      os.replace(unfinished, staging / task.digest)


def _write_in_threads(missing, staging, kept):
  """Writes shards on all cores and reports the progress."""
  done = 0
  progress = progress_lib.Progress(
      sum(len(t.rows) for t in missing), 'images', what='  ')
  # Threads can use all cores, since decoding, resizing and compressing release
  # Python's global lock.
  with futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    pending = {
        pool.submit(shards.write_shard, task, folder=staging, kept=kept): task
        for task in missing}
    try:
      for future in futures.as_completed(pending):
        future.result()
        done += len(pending[future].rows)
        progress(done)
    finally:
      for future in pending:
        future.cancel()


def _assemble(tasks, staging, output, info):
  """Moves the shards to `output` under the names that TFDS expects.

  Also writes the metadata that TFDS needs, which includes `info`.
  """
  with whole_file.folder_beside(output) as temporary:
    by_split = collections.defaultdict(list)
    for task in tasks:
      by_split[task.split].append(task)
    template = tfds.core.ShardedFileTemplate(
        data_dir=temporary, dataset_name=_NAME, filetype_suffix='array_record')
    names, infos = {}, []
    for split, some in by_split.items():
      for task in some:
        name = (f'{_NAME}-{split}.array_record-{task.index:05d}-of-'
                f'{len(some):05d}')
        os.replace(staging / task.digest, temporary / name)
        names[task.digest] = name
      infos.append(tfds.core.SplitInfo(
          name=split, shard_lengths=[len(t.rows) for t in some],
          num_bytes=sum(
              (temporary / names[t.digest]).stat().st_size for t in some),
          filename_template=template.replace(split=split)))
    first = tasks[0]
    with _quiet():
      tfds.folder_dataset.write_metadata(
          data_dir=temporary, split_infos=infos, version=schema.VERSION,
          filename_template=template, check_data=False,
          features=schema.record_features(
              image_size=first.image_size, num_classes=first.num_classes,
              channels=first.channels),
          description='Prepared by data_prep from a manifest.',
          metadata=tfds.core.MetadataDict(info))
    with open(temporary / 'shards.json', 'w', encoding='utf-8') as file:
      json.dump(names, file, indent=1)
    os.rename(temporary, output)


@contextlib.contextmanager
def _quiet():
  """Silences TFDS, which would report a download that does not take place."""
  verbosity = logging.get_verbosity()
  logging.set_verbosity(logging.WARNING)
  try:
    with contextlib.redirect_stdout(io.StringIO()):
      yield
  finally:
    logging.set_verbosity(verbosity)
