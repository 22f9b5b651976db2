"""Writes a checked set of pictures into its folder, whole or not at all."""

from collections.abc import Callable, Sequence
import pathlib
from typing import NamedTuple

from absl import logging
import tensorflow_datasets as tfds

from data_prep import command_line
from data_prep import formats
from data_prep import manifest as manifest_lib
from data_prep.checks import check_report
from data_prep.drawing import kept as kept_lib
from data_prep.records import builder
from data_prep.records import shards
from data_prep.sets import leaving_out
from data_prep.sets import summary
from data_prep.shared import grammar
from data_prep.shared import whole_file


class Made(NamedTuple):
  """A checked set whose records are not written yet.

  Attributes:
    manifest: its manifest.
    findings: findings of the check.
    notices: lines that were printed, except those in `findings`.
    left_out: the items that were left out of it.
    kept: the pictures kept for the records; None if none are.
  """

  manifest: manifest_lib.Manifest
  findings: check_report.Findings
  notices: list[str]
  left_out: list[formats.LeftOut]
  kept: kept_lib.Kept | None


def write(
    output: pathlib.Path,
    make: Callable[[pathlib.Path, kept_lib.Kept], Made],
    *,
    image_size: int,
    overwrite: bool,
    previous: pathlib.Path | None = None,
    write_shards: Callable[[Sequence[shards.ShardTask], pathlib.Path], None]
    | None = None,
) -> Made | None:
  """Makes a set in a folder next to the output, and moves it there.

  Args:
    output: absolute path of the folder to write.
    make: function that takes a folder and writes everything but the records and
      the summary to it. It refuses a set with problems.
    image_size: height and width of the records.
    overwrite: whether a set that was prepared differently may be replaced.
    previous: older records, from which unchanged shards are copied; default are
      those in `output`.
    write_shards: see `builder.build`.

  Returns:
    The set that was written; None if it was there already.

  Raises:
    command_line.Refused: if another set is there, and may not be replaced.
  """
  command_line.check_output(output, ('manifest.jsonl', 'records'))
  output.parent.mkdir(parents=True, exist_ok=True)
  with whole_file.folder_beside(output) as temporary:
    made = make(temporary, kept_lib.Kept(temporary, image_size))
    if _is_done(output, made, image_size, overwrite):
      # Other items of the source may be left out or not read than last time.
      write_summary(output / 'summary.html', made, image_size)
      leaving_out.write(output / leaving_out.FILE, made.left_out)
      print_left_out(made)
      print(f'{output} is up to date: same manifest, files and image size.')
      return None
    number = grammar.counted(len(made.manifest.rows), 'image')
    print(f'Building records of {number} ...', flush=True)
    builder.build(
        made.manifest, output=temporary / 'records', image_size=image_size,
        previous=previous or output / 'records',
        staging=output.parent / f'.{output.name}.shards', kept=made.kept,
        write=write_shards)
    write_summary(temporary / 'summary.html', made, image_size)
    leaving_out.write(temporary / leaving_out.FILE, made.left_out)
    whole_file.replace_folder(temporary, output)
  return made


def _is_done(output, made, image_size, overwrite):
  """Returns whether `output` already holds the records of this set.

  Raises:
    command_line.Refused: if it holds other records, and `overwrite` is False.
  """
  if not (output / 'records').is_dir():
    return False
  try:
    stored = tfds.builder_from_directory(output / 'records').info.metadata
    if builder.holds(
        stored, made.manifest, image_size=image_size, kept=made.kept):
      return True
  except Exception:  # A damaged record may raise any error.
    logging.info('The records in %s cannot be read.', output)
  if not overwrite:
    raise command_line.Refused(
        f'--output={output} holds a set that was prepared differently; give '
        '--overwrite or another folder')
  return False


def write_summary(
    path: str | pathlib.Path, made: Made, image_size: int
) -> None:
  """Writes the page that shows the content of a set."""
  summary.write_summary(
      path, made.manifest, made.findings, image_size=image_size,
      notices=made.notices, left_out=made.left_out, kept=made.kept)


def print_left_out(made: Made, path: pathlib.Path | None = None) -> None:
  """Prints what was left out of a set, and the path of the list of it."""
  for line in leaving_out.lines(made.left_out):
    print(line)
  if made.left_out and path is not None:
    print(f'all that is left out, and why: {path}')
