"""Writes the model card of a run: data, metrics, intended use and limits.

Mitchell et al., "Model Cards for Model Reporting", 2019
(https://arxiv.org/abs/1810.03993).
"""

import collections
import math
import os
from typing import Any

from data_prep.shared import grammar
import hybridseg

from experiments import binary
from experiments import csv_files
from experiments.building import imagenet_package
from experiments.building import pretrained
from experiments.evaluation import metric_table
from experiments.evaluation import scoring
from experiments.prediction import predictor as predictor_lib
from experiments.saving import run_folder
from experiments.saving import run_schema


def write(predictor: predictor_lib.Predictor, workdir: str) -> str:
  """Returns the model card as Markdown.

  Args:
    predictor: networks of the run.
    workdir: folder of the run. The metrics are those of evaluation_test.json if
      this file evaluates the exported checkpoint, else those of metrics.json.
  """
  dataset, model, schedule = (
      predictor.dataset, predictor.model, predictor.schedule)
  options = ', '.join(f'{k} {v}' for k, v in model.options.items())
  sessions = run_folder.read_sessions(workdir)
  last = sessions[-1] if sessions else {}
  height, width, channels = dataset.image_shape
  names = list(map(_text, dataset.classes))
  counts = ', '.join(
      f'{len(r)} {n.replace("_", " ")}' for n, r in dataset.splits.items())
  lines = [
      f'# Model card: segmentation of {", ".join(names[1:])}',
      '',
      'Trained by hybridseg from a few exact masks and many weak annotations '
      '(Pan et al., AAAI 2022, arXiv:2203.05956).',
      '',
      '## Model', '',
      f'- network: two of `{model.name}` {options}; '
      f'{_use(predictor)}{_weights(model)}',
      f'- input: uint8 images, {height} x {width} x {channels}; a picture of '
      'another size is resized to this (area average down, bilinear up)',
      f'- classes: {", ".join(f"{i} {n}" for i, n in enumerate(names))}',
      f'- checkpoint: step {predictor.step} of {schedule.train_steps}; '
      f'sha256 `{predictor.digest}`',
      f'- hybridseg {hybridseg.__version__}, commit '
      f'{last.get("commit") or "unknown"}, seed {schedule.seed}; '
      f'{_versions(last)}',
      '',
      '## Data', '',
      f'- set: {_text(dataset.name)}; fingerprint of its manifest '
      f'`{dataset.fingerprint}`',
      f'- images: {counts}',
      *_weak_labels(workdir),
      f'- intensities: {_intensities(dataset.preparation)}',
      '',
      '## Metrics', '',
      *_metrics(workdir, predictor.step),
      '',
      '## Intended use', '',
      'Research on segmentation, and drafts for annotators, of images like '
      'those of the set above. **Not a medical device**: not for diagnosis or '
      'treatment, and not for any use without a person who checks each mask.',
      '',
      '## Limits', '',
      '- The metrics hold for the test images of the set; other devices, '
      'sites, patients and resolutions were not tried.',
      f'- Trained on {"gray" if channels == 1 else "colour"} images; details '
      f'finer than 1/{min(height, width)} of the image are lost in resizing.',
      '- Probabilities are not calibrated; the calibration error, where it was '
      'measured, is above.',
      '- Weak annotations teach their own distortions where the indicators do '
      'not find them: see `indicators.csv` of the run, and '
      '`experiments.audit`.',
      '- Intervals resample the subjects of one test split; they do not cover '
      'other seeds or other splits.',
      '',
      '## To be filled in by whoever passes it on', '',
      '- modality, device and site of the images; licence of the data; consent '
      'or ethics approval; contact',
      '',
  ]
  return '\n'.join(lines)


def _weak_labels(workdir):
  """Returns a list with one line, the number of weak labels of each kind.

  The list is empty if the run has no indicators.csv.
  """
  path = os.path.join(workdir, 'indicators.csv')
  if not os.path.exists(path):
    return []
  columns = csv_files.read_columns(path, ('kind', 'fault'))
  if columns is not None:
    found = [*zip(*(x.tolist() for x in columns.values()), strict=True)]
  else:
    header, rows = csv_files.read_csv(path, required=('kind', 'fault'))
    places = [header.index(name) for name in ('kind', 'fault')]
    found = [[row[c] for c in places] for _, row in rows]
  kinds = collections.Counter(kind.replace('_', ' ') for kind, _ in found)
  faulty = sum(bool(fault) for _, fault in found)
  text = ', '.join(f'{n} {kind}' for kind, n in kinds.most_common())
  planted = f'; faults were planted in {faulty} of them' if faulty else ''
  return [f'- weak labels: {text or "none"}{planted}']


def _metrics(workdir, step):
  """Returns the lines of a table with the metrics of a checkpoint.

  If the checkpoint was not evaluated, the only line says so.

  Args:
    workdir: folder of the run.
    step: step of the checkpoint.
  """
  for name, pick in (('evaluation_test.json', lambda r: r),
                     ('metrics.json', lambda r: r['test'] | {
                         'step': r['step'], 'resolution': 'records'})):
    path = os.path.join(workdir, name)
    try:
      results = pick(run_schema.read(path))
      if results['step'] == step:
        return _table(results, name)
    except FileNotFoundError:
      continue
    except (AttributeError, LookupError, TypeError, ValueError) as e:
      raise binary.UserError(
          f'{path} is not as it was written: restore it, or delete it.') from e
  return ['Not evaluated at this step: run `experiments.evaluate`.']


def _table(results: dict[str, Any], name: str) -> list[str]:
  unit = results.get('distance_unit', 'px')
  subjects = 'an unknown number of subjects'
  if 'num_subjects' in results:
    subjects = grammar.counted(results['num_subjects'], 'subject')
  lines = [
      f'Test split, {grammar.counted(results["num_cases"], "case")} of '
      f'{subjects}, '
      f'resolution: {results["resolution"]} (`{name}`). Means over cases with '
      '95 % bootstrap intervals over subjects; what is missed or invented has '
      'the worst score.', '',
      '| class | metric | mean (95 % interval) | cases counted |',
      '|---|---|---|---|']
  for class_name, scores in [('all', results), *results['per_class'].items()]:
    for key, metric in metric_table.TABLE.items():
      if key in scores:
        label = metric.label(unit, results.get('nsd_tolerance', math.nan))
        lines.append(
            f'| {_text(class_name)} | {label} | '
            f'{scoring.in_words(scores, key)} | '
            f'{scores["num_cases_counted"]} |')
  if 'ece' in results:
    lines += ['', f'Expected calibration error, over pixels: '
              f'{results["ece"]:.4f}.']
  return lines


def _use(predictor):
  networks = 'the mean of both' if len(predictor.params) == 2 else 'one of them'
  return f'{networks} predicts'


def _weights(model):
  path = model.weights
  if not path:
    return ''
  origin = _text(os.path.basename(path))
  if path == pretrained.INSTALLED:
    origin = imagenet_package.ORIGIN
  return f'; the encoder of both started from {origin}'


def _versions(session):
  versions = session.get('versions') or {}
  return ', '.join(f'{n} {v}' for n, v in versions.items() if v) or (
      'versions unknown')


def _intensities(preparation):
  if preparation.intensity_range is None:
    return ('8 bits as they are; others by percentiles 0.5 and 99.5 of each '
            'file')
  low, high = preparation.intensity_range
  return f'files of more than 8 bits: {low:g} becomes 0, {high:g} becomes 255'


def _text(name):
  """Returns a name with the special characters of Markdown escaped."""
  return ''.join(f'\\{c}' if c in r'\`*_{}[]<>()#+-.!|' else c for c in name)
