r"""Trains a hybrid-supervised segmenter; every option lives in the config.

python -m experiments.train \
    --config=experiments/configs/phantom.py --workdir=runs/phantom \
    --config.seed=1

The same command again resumes a run that was stopped.
"""

from absl import flags
from absl import logging
from ml_collections import config_flags

from experiments import binary
from experiments import comparison
from experiments import trainer

_CONFIG = config_flags.DEFINE_config_file(
    'config', None, 'Experiment configuration.', lock_config=True)
_WORKDIR = flags.DEFINE_string(
    'workdir', None, 'Folder for checkpoints, metrics and the config used.')


def main():
  logging.set_verbosity(logging.WARNING)
  config, workdir = _CONFIG.value, _WORKDIR.value
  if config.compare.methods:
    comparison.compare(config, workdir)
  else:
    results = trainer.train_and_evaluate(config, workdir)
    trainer.print_summary(results, workdir)


if __name__ == '__main__':
  flags.mark_flags_as_required(['config', 'workdir'])
  binary.run(main)
