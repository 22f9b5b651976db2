r"""Evaluates the newest checkpoint of a run on one split.

python -m experiments.evaluate --workdir=runs/phantom --split=test

Writes evaluation_SPLIT.json and cases_SPLIT.csv into the run's folder.
"""

import json
import os

from absl import flags
from absl import logging
import ml_collections

from experiments import binary
from experiments import trainer

_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of a run.')
_SPLIT = flags.DEFINE_enum('split', 'test', ('val', 'test'), 'Which cases.')


def main():
  logging.set_verbosity(logging.WARNING)
  path = os.path.join(_WORKDIR.value, 'config.json')
  try:
    with open(path, encoding='utf-8') as f:
      config = ml_collections.ConfigDict(json.load(f)).lock()
  except OSError as e:
    raise binary.UserError(
        f'No run at {_WORKDIR.value}: {path} cannot be read '
        f'({e.strerror}).') from e
  results = trainer.evaluate_run(config, _WORKDIR.value, _SPLIT.value)
  print(json.dumps(results, indent=2, sort_keys=True))


if __name__ == '__main__':
  flags.mark_flags_as_required(['workdir'])
  binary.run(main)
