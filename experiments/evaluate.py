r"""Evaluates a checkpoint of a run on one split.

python -m experiments.evaluate --workdir=runs/phantom --split=test

Writes evaluation_SPLIT.json and cases_SPLIT.csv into the run's folder.
"""

import json

from absl import flags
from absl import logging

from experiments import binary
from experiments import run_folder
from experiments import trainer

_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of a run.')
_SPLIT = flags.DEFINE_enum('split', 'test', ('val', 'test'), 'Which cases.')
_CHECKPOINT = flags.DEFINE_enum(
    'checkpoint', 'latest', ('latest', 'best'),
    'The newest one, or the best on the validation split.')


def main():
  logging.set_verbosity(logging.WARNING)
  results = trainer.evaluate_run(
      run_folder.read_config(_WORKDIR.value), _WORKDIR.value, _SPLIT.value,
      checkpoint=_CHECKPOINT.value)
  print(json.dumps(results, indent=2, sort_keys=True))


if __name__ == '__main__':
  flags.mark_flags_as_required(['workdir'])
  binary.run(main)
