"""Flags that choose what writes the records: this process, or Apache Beam."""

from collections.abc import Callable, Sequence
import functools
import pathlib

from absl import flags

_RUNNER = flags.DEFINE_enum(
    'runner', 'local', ['local', 'beam'],
    'What writes the records: the threads of this process, or Apache Beam.')
_BEAM_OPTIONS = flags.DEFINE_string(
    'beam_options', None, 'With --runner=beam: options of the pipeline, such '
    'as "--runner=FlinkRunner --parallelism=8"; default is one process per '
    'core of this machine.')


def writer(
    no_use: str
) -> Callable[[Sequence, pathlib.Path], None] | None:
  """Returns the function that writes shards; None stands for threads.

  Args:
    no_use: what is done that Beam has no part in, or ''.

  Raises:
    command_line.Refused: if the flags are wrong, or Beam is not installed.
  """
  if _RUNNER.value == 'local' and _BEAM_OPTIONS.value is None:
    return None
  from data_prep import command_line
  from data_prep.records import beam_shards
  if _RUNNER.value == 'local':
    raise command_line.Refused(
        '--beam_options is for --runner=beam: give that, too')
  if no_use:
    raise command_line.Refused(f'--runner=beam is not for {no_use}: remove it')
  try:
    options = beam_shards.check_options(_BEAM_OPTIONS.value or '')
  except ValueError as error:
    raise command_line.Refused(str(error)) from error
  return functools.partial(beam_shards.write, options=options)
