"""Writes shards with Apache Beam: with several processes, or on many machines.

Each shard is one element of a pipeline, and each worker writes whole shards to
the staging folder of `builder.build`.
"""

from collections.abc import Sequence
import functools
import pathlib

from data_prep.records import shards
from data_prep.shared import pipelines


def write(
    tasks: Sequence[shards.ShardTask],
    folder: pathlib.Path,
    *,
    options: Sequence[str],
) -> None:
  """Writes shards to a folder, and returns when all of them are there.

  Args:
    tasks: the shards that are missing.
    folder: staging folder, which all workers see under this path.
    options: value of `pipelines.check_options`.

  Raises:
    OSError: if a worker fails. Shards that are finished stay in `folder`.
  """
  pipelines.run(
      functools.partial(shards.write_shard, folder=str(folder)), tasks,
      [folder / task.digest for task in tasks],
      [len(task.rows) for task in tasks], options=options,
      what='write the records', noun='shards')
