"""Defines the flags that choose the networks of a run."""

from typing import TYPE_CHECKING

from absl import flags

if TYPE_CHECKING:  # Slow to import, and not needed for --help.
  from experiments.prediction import predictor as predictor_lib

_RUN = flags.DEFINE_string('run', None, 'Folder of a run.', required=True)
_CHECKPOINT = flags.DEFINE_enum(
    'checkpoint', 'latest', ('latest', 'best'),
    'The newest checkpoint, or the best one on the validation split.')
_NETWORK = flags.DEFINE_enum(
    'network', 'mean', ['0', '1', 'mean'],
    'Which of the two networks, or the mean of both.')
_FLIP = flags.DEFINE_bool(
    'flip', False, 'Average over four flips of each image, which takes four '
    'times as long; of whole volumes, eight.')


def run() -> str:
  """Returns the folder of the run, the value of --run."""
  return _RUN.value


def network() -> str:
  """Returns the value of --network, a key of `predictor.NETWORKS`."""
  return _NETWORK.value


def load(*, whole_volumes: bool = False) -> 'predictor_lib.Predictor':
  """Loads the run, checkpoint and networks that the flags name.

  Args:
    whole_volumes: see `predictor.load`.
  """
  from experiments.prediction import predictor as predictor_lib
  return predictor_lib.load(
      _RUN.value, checkpoint=_CHECKPOINT.value, network=_NETWORK.value,
      flip=_FLIP.value, whole_volumes=whole_volumes)
