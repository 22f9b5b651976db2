"""Evaluation of a run at the resolution of the original pictures."""

from collections.abc import Callable, Iterator, Sequence
import pathlib
import sys
from typing import NamedTuple

from data_prep import manifest as manifest_lib
from data_prep import pixels
from data_prep import rasterize
from hybridseg import metrics as metrics_lib
import numpy as np

from experiments import evaluation
from experiments import input_pipeline
from experiments import pictures
from experiments import predictor as predictor_lib
from experiments import reports


class Case(NamedTuple):
  """One picture with its reference.

  Attributes:
    id: of the case.
    subject: of the case.
    image: uint8 [H, W, C].
    label_map: reference, uint8 [H, W].
    spacing_mm: (y, x), or None if it is not known.
  """

  id: str
  subject: str
  image: np.ndarray
  label_map: np.ndarray
  spacing_mm: tuple[float, float] | None


def read_cases(
    predictor: predictor_lib.Predictor, split: str
) -> tuple[Sequence[Case], str, bool]:
  """Returns the cases of a split, their resolution, and if spacings are known.

  Those of the original files, if all are still where the manifest names them;
  else those of the records, which is told.

  Raises:
    binary.UserError: if there are no records.
  """
  data_dir = pathlib.Path(predictor.config.input.data_dir)
  manifest = None
  if (data_dir / 'manifest.jsonl').is_file():
    manifest = manifest_lib.read_manifest(data_dir / 'manifest.jsonl')
    rows = [row for row in manifest.rows if row.split == split]
    missing = sum(not (manifest.root / row.image).is_file() for row in rows)
    if rows and not missing and not manifest.problems:
      in_mm = all(row.spacing_mm is not None for row in rows)
      return _Originals(manifest, rows), 'original', in_mm
  dataset = input_pipeline.load_dataset(predictor.config.input.data_dir)
  height, width, _ = dataset.image_shape
  print(f'notice: the pictures of {split} are not where {data_dir} says: '
        f'evaluated at the size of the records, {height} x {width}',
        file=sys.stderr)
  # Their spacings are those of the original pixels.
  return (_Records(dataset.splits[split]), f'records, {height} x {width}',
          False)


class _Originals(Sequence):

  def __init__(self, manifest, rows):
    self._manifest, self._rows = manifest, rows

  def __len__(self):
    return len(self._rows)

  def __getitem__(self, index):
    row, root = self._rows[index], self._manifest.root
    with pixels.strict_pillow():
      image = rasterize.read_image(root / row.image)
    truth = row.annotation
    if row.role != 'strong':
      truth = (row.evaluation or {}).get('truth')
    label_map = np.full(image.shape[:2], 255, np.uint8)
    if truth is not None:
      label_map = rasterize.rasterize(truth, size=image.shape[:2], root=root)
    return Case(row.id, row.subject or row.id, image, label_map, row.spacing_mm)


class _Records(Sequence):

  def __init__(self, records):
    self._records = records

  def __len__(self):
    return len(self._records)

  def __getitem__(self, index):
    record = self._records[index]
    names = [input_pipeline.column([record], name).item()
             for name in ('id', 'subject')]
    return Case(*names, record['image'], record['truth'], None)


def predict_cases(
    predictor: predictor_lib.Predictor, cases: Sequence[Case]
) -> Iterator[tuple[Case, np.ndarray, np.ndarray]]:
  """Yields case, probabilities [H, W, K] and disagreement [H, W].

  Args:
    predictor: from `predictor.load`.
    cases: each of a size of its own.
  """
  height, width, channels = predictor.dataset.image_shape
  tiling = pictures.Tiling((height, width), channels)
  waiting = []

  def tiles():
    for case in input_pipeline.read_from(cases, 0, len(cases), 2):
      image = case.image
      if image.shape[-1] != channels:
        image = np.broadcast_to(image, (*image.shape[:2], channels))
      opened = pictures.Opened((np.ascontiguousarray(image),), None)
      waiting.append((case, opened))
      yield from pictures.tiles_of(opened, tiling)

  for output in predictor_lib.predict_tiles(predictor, tiles()):
    case, opened = waiting.pop(0)
    yield case, *(
        pictures.merge(opened, [part], tiling)[0] for part in output)


def evaluate_run(
    workdir: str,
    split: str,
    *,
    checkpoint: str = 'latest',
    tolerance: float = 2.0,
    on_case: Callable[[reports.EvaluatedCase], None] = lambda case: None,
) -> evaluation.Evaluated:
  """Evaluates a checkpoint of a run; writes evaluation_SPLIT.json, cases_SPLIT.

  Distances are in mm if the spacing of every case is known, else in pixels: the
  results say which.

  Args:
    workdir: folder of the run.
    split: 'val' or 'test'.
    checkpoint: 'latest', or 'best' on the validation split.
    tolerance: of NSD, in that unit.
    on_case: called with each case.

  Returns:
    Scores, and results as in evaluation_SPLIT.json.

  Raises:
    binary.UserError: if there is no intact checkpoint, or no set.
  """
  predictor = predictor_lib.load(workdir, checkpoint=checkpoint)
  classes = predictor.dataset.classes
  cases, resolution, in_mm = read_cases(predictor, split)
  bins = np.zeros((15, 3))

  def score():
    for case, probabilities, apart in predict_cases(predictor, cases):
      prediction = probabilities.argmax(axis=-1).astype(np.uint8)
      scores = evaluation.score_case(
          prediction, case.label_map, num_classes=len(classes),
          spacing=case.spacing_mm if in_mm else None, tolerance=tolerance)
      bins[:] += metrics_lib.calibration_counts(
          probabilities, case.label_map, num_bins=len(bins))
      on_case(reports.EvaluatedCase(
          case.id, case.subject, evaluation.named_scores(scores, classes),
          case.image, case.label_map, prediction, {'uncertainty': apart}))
      yield case.id, case.subject, scores

  found = evaluation.evaluate_cases(
      score(), classes, tolerance=tolerance, in_mm=in_mm)
  found = found._replace(results={
      'step': predictor.step,
      'split': split,
      'resolution': resolution,
      'ece': metrics_lib.expected_calibration_error(bins),
  } | found.results)
  evaluation.write_evaluation(workdir, found, suffix=f'_{split}')
  return found
