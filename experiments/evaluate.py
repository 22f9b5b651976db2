r"""Evaluates a checkpoint of a run, or a folder of masks against references.

python -m experiments.evaluate --workdir=runs/phantom --split=test
python -m experiments.evaluate --predictions=OUT/masks --references=FOLDER \
    --classes=background,lesion --output=evaluation

Computes Dice, IoU, precision, recall, volume error, HD95, ASSD and NSD for each
class and case, and their means with 95 % intervals that resample subjects; for
a run, also the calibration error. Distances are in mm if every spacing is
known, else in pixels. If a class is in only one of prediction and reference,
its score is the worst possible. If it is in neither, it is not counted; the
results state how many cases were counted. The definitions are in
`experiments.evaluation.scoring` and `hybridseg.surface_metrics`.

With --workdir, a run is evaluated at the resolution of the original images, if
they still exist; evaluation_SPLIT.json, evaluation_SPLIT.csv and
report_SPLIT.html are written into the folder of the run.

With --predictions and --references, both folders hold masks of class numbers
(PNG, TIFF, NIfTI, ...), which are paired by their paths without the suffix;
evaluation.json, evaluation.csv and report.html are written to --output.

With several processes (docs/devices.md), each takes its share of the cases, and
process 0 writes.
"""

import os

from absl import flags
from data_prep.shared import early_help

from experiments import process_flags

flags.adopt_module_key_flags(process_flags)  # Makes --help list them, too.
_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of a run.')
_SPLIT = flags.DEFINE_enum(
    'split', 'test', ('val', 'test'), 'Split to evaluate, with --workdir.')
_CHECKPOINT = flags.DEFINE_enum(
    'checkpoint', 'latest', ('latest', 'best'),
    'The newest checkpoint, or the best one on the validation split.')
_PREDICTIONS = flags.DEFINE_string(
    'predictions', None, 'Folder of masks, instead of --workdir.')
_REFERENCES = flags.DEFINE_string(
    'references', None, 'Folder of the reference masks.')
_OUTPUT = flags.DEFINE_string(
    'output', None, 'Folder to write, with --predictions.')
_CLASSES = flags.DEFINE_list(
    'classes', [], 'Names of the class numbers, background first.')
_MASK_VALUES = flags.DEFINE_list(
    'mask_values', [], 'Class of each value of the references, such as '
    '0:0,255:1; 255 as a class means unlabelled.')
_PREDICTION_VALUES = flags.DEFINE_list(
    'prediction_values', [], 'The same for the predictions.')
_SPACING_MM = flags.DEFINE_list(
    'spacing_mm', [], 'Y,X: millimetres per pixel of all images.')
_TOLERANCE = flags.DEFINE_float(
    'tolerance', 2.0,
    'Tolerance of NSD, in mm, or in pixels where spacings are not known.',
    lower_bound=0.0)
_MISSING_IS_EMPTY = flags.DEFINE_bool(
    'missing_is_empty', False,
    'Count a missing prediction as an empty one, instead of refusing.')

early_help.answer(__name__)  # Answer --help before the slow imports.

from absl import logging
from data_prep.drawing import rasterize
from data_prep.shared import grammar
from data_prep.shared import system_errors

from experiments import binary
from experiments.evaluation import finished_run
from experiments.evaluation import mask_folders
from experiments.evaluation import scoring
from experiments.prediction import pictures
from experiments.reports import blocks
from experiments.reports import pages


_MAX_SHOWN = 1000  # Largest number of cases in a report.
_SHOWN_SIDE = 192  # Longer side of a picture in a report, in pixels.


def main():
  logging.set_verbosity(logging.WARNING)
  if bool(_WORKDIR.value) == bool(_PREDICTIONS.value):
    raise binary.UserError(
        'Give either --workdir, or --predictions and --references.')
  shown = []
  with process_flags.join() as group:

    def on_case(case):
      if len(shown) < _MAX_SHOWN:
        shown.append(_small(case))

    if _WORKDIR.value:
      found = finished_run.score_run(
          _WORKDIR.value, _SPLIT.value, checkpoint=_CHECKPOINT.value,
          tolerance=_TOLERANCE.value, on_case=on_case, group=group)
      folder, suffix = _WORKDIR.value, f'_{_SPLIT.value}'
    else:
      found = _evaluate_folders(on_case, group)
      folder, suffix = _OUTPUT.value, ''
    shares = group.gather(shown)
  if found is None or shares is None:
    return  # Process 0 writes.
  shown = [scoring.EvaluatedCase(*case) for share in shares for case in share]
  order = {name: place for place, name in enumerate(found.ids)}
  shown = sorted(shown, key=lambda case: order[case.id])[:_MAX_SHOWN]
  try:
    os.makedirs(folder, exist_ok=True)
    scoring.write_evaluation(folder, found, suffix=suffix)
  except OSError as e:
    flag = 'workdir' if _WORKDIR.value else 'output'
    raise binary.UserError(
        f'--{flag}: {system_errors.in_words(e, folder)}') from e
  report = os.path.join(folder, f'report{suffix}.html')
  pages.write_evaluation_report(
      report, title=f'Evaluation of {_WORKDIR.value or _PREDICTIONS.value}',
      classes=found.classes, results=found.results, cases=shown)
  _print(found.results, report)


def _print(results, report):
  """Prints the means over all classes and per class, and names the files."""
  unit = results['distance_unit']
  print(f'{grammar.counted(results["num_cases"], "case")} of '
        f'{grammar.counted(results["num_subjects"], "subject")}; distances '
        f'in {unit}, NSD at {results["nsd_tolerance"]:g} {unit}; 95 % '
        'intervals')
  for name, scores in [('all', results), *results['per_class'].items()]:
    number = grammar.counted(scores['num_cases_counted'], 'case')
    print(f'{name}: {number} counted')
    for metric in [n for n in scores if f'{n}_interval_95' in scores]:
      print(f'  {metric:12s} {scoring.in_words(scores, metric)}')
  if 'ece' in results:
    print(f'calibration error {results["ece"]:.4f}')
  print(f'files: {os.path.dirname(report)}/: the same as JSON, every case as '
        f'CSV, {os.path.basename(report)}')


def _small(case):
  """Shrinks the pictures of a case, so that a thousand cases fit in memory."""
  size = blocks.fit(case.truth.shape, _SHOWN_SIDE)
  label = lambda x: rasterize.resize_label(x, size=size)
  return case._replace(
      image=rasterize.resize_image(case.image, size=size),
      truth=label(case.truth), prediction=label(case.prediction),
      maps={n: pictures.resize_map(m, size) for n, m in case.maps.items()})


def _evaluate_folders(on_case, group):
  if not _REFERENCES.value or not _OUTPUT.value:
    raise binary.UserError('--predictions needs --references and --output.')
  options = mask_folders.Options(
      classes=tuple(_CLASSES.value),
      reference_values=_values(_MASK_VALUES),
      prediction_values=_values(_PREDICTION_VALUES),
      spacing_mm=_spacing(),
      tolerance=_TOLERANCE.value,
      missing_is_empty=_MISSING_IS_EMPTY.value)
  return mask_folders.evaluate_folders(
      _PREDICTIONS.value, _REFERENCES.value, options, on_case=on_case,
      group=group)


def _values(flag):
  try:
    return rasterize.parse_values(flag.value, flag.name)
  except ValueError as e:
    raise binary.UserError(f'{e}.') from e


def _spacing():
  try:
    spacing = tuple(map(float, _SPACING_MM.value))
  except ValueError:
    spacing = (0.0,)
  if spacing and not (len(spacing) == 2 and min(spacing) > 0):
    raise binary.UserError('--spacing_mm: expected Y,X, both above 0.')
  return spacing or None


if __name__ == '__main__':
  binary.run(main)
