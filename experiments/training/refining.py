"""Corrects the weak labels of a finished run, for review or for another run.

At each pixel, the corrected label is the class c that maximises

  log p_c + trust * evidence_c,

where p_c is the mean probability of the networks (see `hybridseg.refinement`).
The evidence depends on the annotation and on its kind, with constants that are
learnt from exact masks (`training.calibration`). The trust is the indicator of
the annotation, or 0 if the indicator is below `THRESHOLD`. Images without an
annotation are not given a label. `experiments/results/refinement.md` shows how
good the corrected labels are.
"""

from collections.abc import Callable
import json
import os
import pathlib
from typing import Any

from data_prep.drawing import rasterize
from data_prep.shared import confined
from data_prep.shared import system_errors
from data_prep.shared import whole_file
from hybridseg import parallel
from hybridseg import refinement
from hybridseg import train_step as train_step_lib
from hybridseg import types
import ml_collections
import numpy as np

from experiments import binary
from experiments import csv_files
from experiments.auditing import evidence as evidence_lib
from experiments.auditing import observer
from experiments.building import corrections
from experiments.building import input_pipeline
from experiments.saving import resuming
from experiments.saving import run_folder
from experiments.training import calibration

# Annotations whose indicator is below this value are ignored.
THRESHOLD = 0.7
# The name of the first run's folder, within the folder of the second run.
FIRST_FOLDER = 'first'


def train_first(
    config: ml_collections.ConfigDict,
    workdir: str,
    *,
    train: Callable[[ml_collections.ConfigDict, str], Any],
) -> None:
  """Trains the first of two runs, and corrects the labels for the second.

  If an earlier call was stopped, this one continues where that one stopped.

  Args:
    config: config of the run, with `supervision.refine`.
    workdir: folder of the second run. The first run is written to
      WORKDIR/first, and the corrected labels to WORKDIR/refined.
    train: function that takes a config and a folder, and trains a run or
      resumes it.

  Raises:
    binary.UserError: if the run cannot be trained or written, or if it uses
      several processes.
  """
  if config.input.weak_labels == 'truth' or not config.supervision.weak_scale:
    raise binary.UserError(
        'supervision.refine corrects weak labels, and this method learns none: '
        'use dii_dcr_refine, uniform_refine, or another one that does.')
  if 'foreground_share' in config.input:
    raise binary.UserError(
        'supervision.refine is not for whole volumes yet: use a method such as '
        'dii_dcr.')
  if parallel.num_processes() > 1:
    raise binary.UserError(
        'supervision.refine is for one process: train without it, correct the '
        'labels with experiments.refine, and set input.corrected_labels.')
  output = os.path.join(workdir, corrections.OWN_FOLDER)
  if os.path.exists(output):
    return
  if os.path.exists(os.path.join(workdir, 'config.json')):
    # Compare the configs now. The second run would find a difference only after
    # the first run has trained for hours.
    there, here = (json.loads(c.to_json()) for c in (
        run_folder.read_config(workdir), config))
    resuming.check_resumable(
        resuming.changes(there, here), there, 0, workdir)
  first = os.path.join(workdir, FIRST_FOLDER)
  first_config = config.copy_and_resolve_references()
  with first_config.unlocked():
    first_config.supervision.refine = False
  print(f'== first run -> {first}', flush=True)
  train(first_config.lock(), first)
  print(f'== corrected labels -> {output}', flush=True)
  print(in_words(refine(first, output)), flush=True)
  print(f'== second run -> {workdir}', flush=True)


def refine(run_dir: str, output: str) -> dict[str, Any]:
  """Writes corrected labels of all weak annotations of a finished run.

  Args:
    run_dir: folder of the run.
    output: folder to write, as `building.corrections` describes it, with a file
      corrected.json in addition. The folder only appears once it is complete.

  Returns:
    The content of corrected.json: the constants of each kind, the Dice that
    they reach on exact masks, how many labels were changed in which way, and
    how many annotations were ignored.

  Raises:
    binary.UserError: if the run cannot be read or the folder cannot be written.
  """
  if os.path.exists(output):
    raise binary.UserError(
        f'{output} exists and may hold corrections: move it, or give another '
        '--output.')
  run = observer.open_run(run_dir)
  splits, state = run.dataset.splits, run.last.state
  params = train_step_lib.eval_params(state)

  def look(records, what):
    for seen in run.observer.look(params, records, label='label', what=what):
      yield seen.record, seen.probs.mean(0)

  weak = evidence_lib.audited(splits['train_weak'])
  kinds = np.unique(input_pipeline.column(weak, 'kind').astype(int)).tolist()
  constants = calibration.calibrate(
      look(splits['train_strong'], 'exact masks'), kinds)
  weights = np.asarray(state.indicators.weights)
  trusts = np.asarray(
      refinement.gated_trust(weights, threshold=THRESHOLD), np.float32)
  lines = []
  try:
    target = pathlib.Path(output).absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    with whole_file.folder_beside(target) as folder:
      sizes = corrections.picture_sizes(run.data_dir)
      for record, probs in look(weak, 'annotations'):
        name = str(np.asarray(record['id']).astype(str))
        kind, row = int(record['kind']), int(record['instance_id'])
        refined = _refine(record, probs, constants[kind], trusts[row])
        size = sizes(name) or refined.shape
        lines.append({
            'id': name,
            'mask': _write_mask(folder, name, len(lines), refined, size),
            'size': corrections.size_in_words(size),
            'kind': types.AnnotationKind(kind).name.lower(),
            'indicator': float(weights[row]), 'trust': float(trusts[row]),
        } | corrections.describe(record['label'], refined))
      # People review the table from the top, so the labels that have changed
      # most come first.
      lines.sort(key=lambda line: -line['added'] - line['removed'])
      csv_files.write_csv(
          str(folder / corrections.TABLE), corrections.HEADER,
          [[_cell(line[name]) for name in corrections.HEADER]
           for line in lines])
      summary = _summarize(lines, constants, run.last.step) | {
          'dataset_fingerprint': run.dataset.fingerprint}
      run_folder.write_json(str(folder / corrections.SUMMARY), summary)
      os.rename(folder, target)
  except OSError as e:
    raise binary.UserError(
        f'--output: {system_errors.in_words(e, output)}') from e
  return summary


def _refine(record, probs, constants, trust):
  """Returns the refined label map of one weak annotation."""
  return np.asarray(calibration.refine(
      probs, record['label'], record['present'],
      np.float32([[constants.inside, constants.outside]]), trust,
      num_classes=probs.shape[-1])[0])


def _write_mask(folder, name, number, refined, size):
  """Writes a corrected mask and returns its path within the folder.

  Args:
    folder: folder of the corrected labels.
    name: id of the image.
    number: number of the annotation, used if the id cannot be a file name.
    refined: corrected label map, uint8 [H, W].
    size: height and width of the mask.
  """
  mask = f'masks/{name}.png' if confined.is_name(name) else (
      f'masks/image {number}.png')
  path = folder / mask
  path.parent.mkdir(parents=True, exist_ok=True)
  corrections.colour(rasterize.resize_label(refined, size=size)).save(path)
  return mask


def _cell(value):
  return f'{value:.4f}' if isinstance(value, float) else value


def _summarize(lines, constants, step):
  names = [line['what'] for line in lines]
  return {
      'step': step,
      'num_annotations': len(lines),
      'num_distrusted': sum(line['trust'] == 0 for line in lines),
      'what': {name: names.count(name) for name in sorted(set(names))},
      'constants': {
          types.AnnotationKind(kind).name.lower(): c._asdict()
          for kind, c in constants.items()},
  }


def in_words(summary: dict[str, Any]) -> str:
  """Returns a sentence that summarizes what `refine` did."""
  changed = ', '.join(
      f'{name} {number}' for name, number in summary['what'].items())
  return (f'{summary["num_annotations"]} weak labels corrected, '
          f'{summary["num_distrusted"]} of them without their annotation, '
          f'which is distrusted: {changed}.')
