"""Runs work with Apache Beam: in several processes, or on many machines.

The workers must see the folders of the work under the same paths as the process
that starts the pipeline, and need hybridseg with the extra `data`.

Apache Beam comes with the extra `beam`. It is imported only when it is needed,
since this takes seconds.
"""

import argparse
from collections.abc import Callable, Sequence
import contextlib
import importlib.util
import logging
import os
import pathlib
import shlex
import threading
from typing import Any

from data_prep.shared import progress as progress_lib

_PACKAGE = 'apache_beam'
# Beam's own default is one worker thread, as it is made for trying pipelines.
_DEFAULT_OPTIONS = (
    '--runner=DirectRunner --direct_running_mode=multi_processing '
    f'--direct_num_workers={os.cpu_count()} '
    '--default_sdk_harness_log_level=ERROR')
_POLL_S = 1.0


def check_options(text: str) -> list[str]:
  """Returns the options of a pipeline as Beam takes them.

  Args:
    text: options as in a shell, such as '--runner=FlinkRunner
      --parallelism=8'. With '', Beam runs on this machine, with one process per
      core.

  Raises:
    ValueError: if Beam is not installed, or does not know an option; the
      message is one line.
  """
  if importlib.util.find_spec(_PACKAGE) is None:
    raise ValueError(
        "--runner=beam needs Apache Beam: pip install 'hybridseg[beam]'")
  with _without_warnings():
    from apache_beam.options import pipeline_options
  try:
    options = shlex.split(text or _DEFAULT_OPTIONS)
  except ValueError as error:
    raise ValueError(f'--beam_options: {str(error).lower()}') from error
  # Beam warns of options that it does not know, and then ignores them.
  parser = pipeline_options._BeamArgumentParser(  # pylint: disable=protected-access
      allow_abbrev=False, exit_on_error=False)
  for group in pipeline_options.PipelineOptions.__subclasses__():
    group._add_argparse_args(parser)  # pylint: disable=protected-access
  try:
    unknown = parser.parse_known_args(options)[1]
  except argparse.ArgumentError as error:
    raise ValueError(f'--beam_options: {error}') from error
  if unknown:
    raise ValueError(
        f'--beam_options: Apache Beam knows no {unknown[0]!r}; see its '
        'documentation of pipeline options')
  return options


def run(
    work: Callable[[Any], None],
    items: Sequence[Any],
    files: Sequence[pathlib.Path],
    counts: Sequence[int],
    *,
    options: Sequence[str],
    what: str,
    noun: str,
) -> None:
  """Applies a function to items in Beam's workers, and returns at the end.

  Args:
    work: function that takes an item and writes its file, whole or not at all.
    items: the items.
    files: the file of each item.
    counts: number of images of each item.
    options: value of `check_options`.
    what: what is done, for messages, such as 'write the records'.
    noun: what the files are, in the plural, for messages.

  Raises:
    OSError: if a worker fails, or some files are missing at the end. Those that
      are finished stay.
  """
  if not items:
    return
  import apache_beam as beam
  from apache_beam.options import pipeline_options
  # Even a pipeline without any fault warns several times.
  logging.getLogger(_PACKAGE).setLevel(logging.ERROR)
  with _told(files, counts):
    try:
      with beam.Pipeline(options=pipeline_options.PipelineOptions(
          list(options))) as pipeline:
        # A lambda, since Beam would check the type hints of `work`, and it
        # takes `os.PathLike[str]` for a type that no string has.
        _ = (pipeline
             | 'items' >> beam.Create(list(items))
             | 'spread' >> beam.Reshuffle()
             | 'work' >> beam.Map(lambda item, work=work: work(item)))
    except Exception as error:  # Beam raises errors of many kinds.
      raise OSError(
          f'Apache Beam could not {what}: '
          f'{str(error).strip().splitlines()[-1]}') from error
  lost = sum(not file.exists() for file in files)
  if lost:
    raise OSError(
        f'Apache Beam has ended, but {lost} of {len(files)} {noun} are not in '
        f'{files[0].parent}: its workers must write to this folder.')


@contextlib.contextmanager
def _without_warnings():
  """Silences what Beam says of cloud packages when it is imported."""
  logging.disable(logging.WARNING)
  try:
    yield
  finally:
    logging.disable(logging.NOTSET)


@contextlib.contextmanager
def _told(files, counts):
  """Reports the progress by looking which files are finished."""
  progress = progress_lib.Progress(sum(counts), 'images', what='  ')
  ended = threading.Event()

  def poll():
    while not ended.wait(_POLL_S):
      progress(sum(count for file, count in zip(files, counts, strict=True)
                   if file.exists()))

  thread = threading.Thread(target=poll, daemon=True)
  thread.start()
  try:
    yield
  finally:
    ended.set()
    thread.join()
