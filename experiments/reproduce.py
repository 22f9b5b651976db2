"""Runs a finished run again and compares the final states."""

import os

from experiments import binary
from experiments import run_folder
from experiments import trainer


def reproduce(
    run_dir: str, workdir: str, *, record_machine: bool = False
) -> bool:
  """Trains the config of `run_dir` in `workdir`; prints whether it repeats.

  Args:
    run_dir: folder of a finished run.
    workdir: folder of the new run.
    record_machine: see `trainer.train_and_evaluate`.

  Returns:
    Whether parameters, optimiser states and indicators end bit for bit equal.

  Raises:
    binary.UserError: if there is no finished run, or its set is another now.
  """
  config = run_folder.read_config(run_dir)
  sessions = run_folder.read_sessions(run_dir)
  path = os.path.join(run_dir, 'metrics.json')
  try:
    wanted = run_folder.read_json(path)['state_sha256']
  except (OSError, KeyError) as e:
    raise binary.UserError(
        f'{run_dir} is not finished: {path} has no state_sha256. Resume it '
        'first.') from e
  if os.path.realpath(run_dir) == os.path.realpath(workdir):
    raise binary.UserError('--reproduce and --workdir are the same folder.')
  results = trainer.train_and_evaluate(
      config, workdir, record_machine=record_machine)
  found = results['state_sha256']
  if found == wanted:
    print(f'Reproduced: the final state has the same sha256, {found}.')
  else:
    print(f'Not reproduced: sha256 {found}, not {wanted}.')
  here = run_folder.read_sessions(workdir)[-1]
  for number, there in enumerate(sessions):
    for difference in run_folder.differences(there, here):
      print(f'  session {number} of {run_dir} differs in {difference}')
  return found == wanted
