r"""Trains a segmenter with hybrid supervision, as its config describes.

python -m experiments.train \
    --config=experiments/configs/phantom.py --workdir=runs/phantom \
    --config.seed=1

The same command resumes a run that was stopped or killed.

To train a finished run once more, and to check that both runs end with the same
bits (the exit code is 1 if they differ):

python -m experiments.train --reproduce=runs/phantom --workdir=runs/again

To train on several hosts, start the same command on each of them. Use
--distributed where SLURM, Kubernetes or Cloud TPU assign the processes;
elsewhere use --coordinator, --num_processes and --process_id.
"""

import faulthandler
import sys

from absl import flags
from ml_collections import config_flags
from data_prep.shared import early_help

from experiments import launcher
from experiments import process_flags

flags.adopt_module_key_flags(process_flags)  # Makes --help list them, too.
_CONFIG = config_flags.DEFINE_config_file(
    'config', None, 'Experiment configuration.', lock_config=True)
_WORKDIR = flags.DEFINE_string(
    'workdir', None, 'Folder for checkpoints, metrics and the config used.')
_REPRODUCE = flags.DEFINE_string(
    'reproduce', None, 'Folder of a finished run to repeat in --workdir, '
    'instead of --config.')
_RECORD_MACHINE = flags.DEFINE_bool(
    'record_machine', False, "Also record the machine's name, the working "
    'folder and absolute paths in --workdir; else only what decides a result.')
_TENSORBOARD = flags.DEFINE_bool(
    'tensorboard', False, 'Also write the log for TensorBoard, to '
    'WORKDIR/tensorboard.')

early_help.answer(__name__)  # Answer --help before the slow imports.

if __name__ == '__main__':
  launcher.prepare(sys.argv)  # JAX must not be imported before this.

from absl import logging
from hybridseg import parallel

from experiments import binary
from experiments.saving import tensorboard
from experiments.tables import side_by_side
from experiments.training import closing_words
from experiments.training import reproduce
from experiments.training import trainer


def main():
  logging.set_verbosity(logging.WARNING)
  logging.use_absl_handler()
  place = process_flags.find()
  if place is not None:
    # If another process is missing, JAX prints a line that says so, and aborts.
    # The fault handler would hide the line among the stacks of all threads.
    faulthandler.disable()
    parallel.initialize(
        coordinator_address=place.coordinator, num_processes=place.number,
        process_id=place.index)
  config, workdir = _CONFIG.value, _WORKDIR.value
  if _TENSORBOARD.value:
    tensorboard.check_installed()
  more = {
      'record_machine': _RECORD_MACHINE.value,
      'listen': tensorboard.listen if _TENSORBOARD.value else None,
  }
  if (config is None) == (_REPRODUCE.value is None):
    raise binary.UserError('Give either --config or --reproduce. See --help.')
  if _REPRODUCE.value:
    if not reproduce.reproduce(_REPRODUCE.value, workdir, **more):
      sys.exit(1)
  elif config.compare.methods:
    side_by_side.compare(config, workdir, **more)
  else:
    results = trainer.train_and_evaluate(config, workdir, **more)
    if parallel.is_primary():
      closing_words.print_summary(
          results, workdir, network=config.model.name,
          of_volumes='foreground_share' in config.input)


if __name__ == '__main__':
  flags.mark_flags_as_required(['workdir'])
  binary.run(main)
