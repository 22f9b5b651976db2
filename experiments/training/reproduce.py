"""Repeats a finished run and compares the final states."""

import os

from experiments import binary
from experiments.building import pretrained
from experiments.saving import run_folder
from experiments.saving import run_log
from experiments.saving import run_schema
from experiments.saving import session as session_lib
from experiments.training import trainer


def reproduce(
    run_dir: str,
    workdir: str,
    *,
    record_machine: bool = False,
    listen: run_log.Listen | None = None,
) -> bool:
  """Trains the run in `run_dir` again, and compares the two final states.

  First prints the command that installs the code and the packages of the first
  run, because with other versions, the last bits of the numbers are likely to
  differ. At the end, prints whether the states are equal.

  Args:
    run_dir: folder of a finished run.
    workdir: folder of the new run.
    record_machine: see `trainer.train_and_evaluate`.
    listen: see `run_log.Listen`.

  Returns:
    Whether the final parameters, optimiser states and indicators are equal, bit
    for bit.

  Raises:
    binary.UserError: if `run_dir` holds no finished run, or if the run's set
      has changed.
  """
  config = run_folder.read_config(run_dir)
  sessions = run_folder.read_sessions(run_dir)
  path = os.path.join(run_dir, 'metrics.json')
  try:
    done = run_schema.read(path, run_schema.FINAL_STATE)
  except OSError as e:
    raise binary.UserError(
        f'{run_dir} is not finished: {path} cannot be read ({e.strerror}). '
        'Resume it first.') from e
  if done['step'] != config.train_steps:
    raise binary.UserError(
        f'{run_dir} is not finished: {path} is of step {done["step"]}, not '
        f'{config.train_steps}. Resume it first.')
  wanted = done['state_sha256']
  if os.path.realpath(run_dir) == os.path.realpath(workdir):
    raise binary.UserError('--reproduce and --workdir are the same folder.')
  extras = 'run'
  if config.model.weights == pretrained.INSTALLED:
    extras += ',pretrained'
  line = session_lib.install_line(sessions[0], extras=extras)
  print(f'To install what the run had: {line}', flush=True)
  results = trainer.train_and_evaluate(
      config, workdir, record_machine=record_machine, listen=listen)
  found = results['state_sha256']
  if found == wanted:
    print(f'Reproduced: the final state has the same sha256, {found}.')
  else:
    print(f'Not reproduced: sha256 {found}, not {wanted}.')
  for piece in run_folder.read_bit_equality(run_dir)[1:]:
    print(f'  {run_dir} was not one piece: from step {piece["from_step"]}, '
          f'{piece["why"]}')
  here = run_folder.read_sessions(workdir)[-1]
  for number, there in enumerate(sessions):
    for difference in run_folder.differences(there, here):
      print(f'  session {number} of {run_dir} differs in {difference}')
  return found == wanted
