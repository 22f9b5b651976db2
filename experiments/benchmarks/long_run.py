r"""Tests that a long run does not compile again or use more and more memory.

python -m experiments.benchmarks.long_run --num_steps=20000

Trains a tiny run that is often evaluated and saved. Prints, for some of its
steps, the number of programs compiled so far and the resident memory. The exit
code is 1 if a program was compiled after the first 5 % of the steps, or if the
memory has since grown by 2 % or more.
"""

# isort: off
import sys
from experiments import launcher
if __name__ == '__main__':
  launcher.prepare(sys.argv)
# isort: on

import contextlib
import json
import os
import tempfile

from absl import flags
from absl import logging

from experiments import binary
from experiments.benchmarks import tiny_runs
from experiments.training import trainer

_NUM_STEPS = flags.DEFINE_integer(
    'num_steps', 20_000, 'Of the run.', lower_bound=20)
_FOLDER = flags.DEFINE_string(
    'folder', None, 'Where to work; default is a temporary folder.')


def main():
  logging.set_verbosity(logging.ERROR)
  folder = _FOLDER.value or tempfile.mkdtemp(prefix='long_run_')
  os.makedirs(folder, exist_ok=True)
  step = _NUM_STEPS.value // 20
  config = tiny_runs.config(
      tiny_runs.prepare(folder), train_steps=_NUM_STEPS.value,
      log_every_steps=max(step // 10, 1), eval_every_steps=step,
      checkpoint_every_steps=max(step // 2, 1))
  workdir = os.path.join(folder, 'run')
  with open(os.path.join(folder, 'run.log'), 'w', encoding='utf-8') as log:
    with contextlib.redirect_stdout(log):
      trainer.train_and_evaluate(config, workdir)
  with open(os.path.join(workdir, 'timing.jsonl'), encoding='utf-8') as f:
    lines = [json.loads(line) for line in f]
  shown = [line for line in lines if line['step'] % step == 0]
  print('| step | programs compiled | resident, MiB |\n|---|---|---|')
  for line in shown:
    print(f'| {line["step"]} | {line["compilations"]} | '
          f'{line["resident_mib"]:.1f} |')
  first, last = shown[0], shown[-1]
  growth = last['resident_mib'] / first['resident_mib'] - 1
  print(f'\nmemory: {growth:+.2%} from step {first["step"]} to {last["step"]}')
  if growth >= 0.02 or last['compilations'] > first['compilations']:
    sys.exit(1)


if __name__ == '__main__':
  binary.run(main)
