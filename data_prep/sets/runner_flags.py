"""Flags that choose what prepares a set: this process, or Apache Beam."""

from collections.abc import Callable
import functools
from typing import Any, NamedTuple

from absl import flags

_RUNNER = flags.DEFINE_enum(
    'runner', 'local', ['local', 'beam'],
    'What checks the files and writes the records: the threads of this '
    'process, or Apache Beam.')
_BEAM_OPTIONS = flags.DEFINE_string(
    'beam_options', None, 'With --runner=beam: options of the pipeline, such '
    'as "--runner=FlinkRunner --parallelism=8"; default is one process per '
    'core of this machine.')


class Spread(NamedTuple):
  """Work that is spread over Beam's workers.

  Attributes:
    write: see `builder.build`.
    inspect: see `check.inspect_manifest`.
  """

  write: Callable[..., Any] | None = None
  inspect: Callable[..., Any] | None = None


def spread(no_use: str) -> Spread:
  """Returns what the flags ask for; None stands for threads.

  Args:
    no_use: what is done that Beam has no part in, or ''.

  Raises:
    command_line.Refused: if the flags are wrong, or Beam is not installed.
  """
  if _RUNNER.value == 'local' and _BEAM_OPTIONS.value is None:
    return Spread()
  from data_prep import command_line
  from data_prep.checks import beam_rows
  from data_prep.records import beam_shards
  from data_prep.shared import pipelines
  if _RUNNER.value == 'local':
    raise command_line.Refused(
        '--beam_options is for --runner=beam: give that, too')
  if no_use:
    raise command_line.Refused(f'--runner=beam is not for {no_use}: remove it')
  try:
    options = pipelines.check_options(_BEAM_OPTIONS.value or '')
  except ValueError as error:
    raise command_line.Refused(str(error)) from error
  return Spread(functools.partial(beam_shards.write, options=options),
                functools.partial(beam_rows.inspect, options=options))
