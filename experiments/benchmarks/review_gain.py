r"""Measures what minutes of correction buy, by the order of the review.

python -m data_prep.prepare --dataset=endoscene --source=FOLDER \
    --image_size=SIZE --output=data/endoscene
python -m experiments.benchmarks.review_gain --data_dir=data/endoscene \
    --workdir=runs/gain --cells=experiments/results/review_gain/cells

The published val and test splits take no part. For each seed, one fold of the
training subjects is held out (`folds`), and a base run learns the
others, some of whose weak annotations have planted faults. Its audit ranks
them. A simulated annotator draws again what an order lists, as many as fit into
the minutes: each from the true mask, as its own kind, with the greatest care,
for the minutes of `annotation_kinds.TABLE`. The decisions are written and
applied as `experiments.review` and `prepare --decisions` do. Training goes on
from the base run (`warm_start`) for a fixed number of steps, and the last
networks are tested on the held-out fold.

The same command goes on where it stopped. Each finished cell is one file:

  ranking-seed0.json: the base run, and what its audit knows of each annotation.
    `review_gain_table` counts from it how many faults each order finds.
    ranking-RUN.json is the same of a finished run from --rank.
  none-0-seed0.json: as many further steps on the set as it was.
  ORDER-MINUTES-seed0.json: further steps on the corrected set.
  ORDER-MINUTES-seed0-scratch.json: all steps at once on the corrected set, from
    new networks.

The plan (`plan`) begins with the cells that tell most. Results and protocol:
experiments/results/review_gain.md.
"""

from collections.abc import Sequence
import hashlib
import io
import os
import pathlib
import sys
import time
from typing import Any, NamedTuple
import zlib

from absl import flags
from absl import logging
from data_prep import manifest as manifest_lib
from data_prep.drawing import rasterize
from data_prep.drawing import simulate
from data_prep.formats import placing
from data_prep.records import builder
from data_prep.sets import reviewed_set
from data_prep.shared import review_journal
from hybridseg import losses
from hybridseg import train_step as train_step_lib
import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from experiments import binary
from experiments.auditing import evidence as evidence_lib
from experiments.auditing import files as audit_files
from experiments.auditing import observer as observer_lib
from experiments.auditing import ranking
from experiments.benchmarks import folds as folds_lib
from experiments.benchmarks import review_gain_table
from experiments.building import input_pipeline
from experiments.configs import endoscene
from experiments.saving import run_folder
from experiments.saving import run_schema
from experiments.training import trainer

_DATA_DIR = flags.DEFINE_string(
    'data_dir', None, 'Prepared set, with planted faults.')
_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of sets and runs.')
_CELLS = flags.DEFINE_string('cells', None, 'Folder of the results.')
_NETWORK = flags.DEFINE_string('network', 'effnet_lite0', 'Variant.')
_BASE_STEPS = flags.DEFINE_integer('base_steps', 150, 'Of a base run.')
_STEPS = flags.DEFINE_integer('train_steps', 150, 'Of each further run.')
_SEEDS = flags.DEFINE_integer('num_seeds', 3, 'Each with a fold of its own.')
_RANK = flags.DEFINE_list(
    'rank', [], 'Finished runs to count faults for, besides the base runs.')
_TABLES_ONLY = flags.DEFINE_bool(
    'tables_only', False, 'Print the tables of the finished cells; train none.')
_NUM_FOLDS = flags.DEFINE_integer('num_folds', 4, 'Of the training subjects.')


class Cell(NamedTuple):
  """One run after a base run.

  Attributes:
    order: a key of `review_gain_table.ORDERS`, or `NONE` there.
    minutes: minutes that the annotator works.
    seed: seed of networks, batches and the random order; it also names the
      fold that is held out, seed + 1.
    from_scratch: whether to train all steps at once from new networks.
  """

  order: str
  minutes: int
  seed: int
  from_scratch: bool = False

  @property
  def name(self) -> str:
    """The name of the cell's file, without its extension."""
    return (f'{self.order}-{self.minutes}-seed{self.seed}'
            + '-scratch' * self.from_scratch)


def plan(num_seeds: int) -> list[Cell]:
  """Returns all cells, those that tell most first."""
  first = ('audit', 'expected_gain', 'random')
  cells = []
  for seed in range(num_seeds):
    cells.append(Cell(review_gain_table.NONE, 0, seed))
    cells += [Cell(order, 60, seed) for order in first]
  for minutes in (120, 30, 15):
    cells += [Cell(order, minutes, seed)
              for seed in range(num_seeds) for order in first]
  for minutes in (60, 120, 30, 15):
    cells += [Cell(order, minutes, seed) for seed in range(num_seeds)
              for order in review_gain_table.ORDERS if order not in first]
  cells += [Cell('audit', 60, seed, True) for seed in range(num_seeds)]
  return cells


def redraw(
    row: manifest_lib.Row, root: pathlib.Path, *, seed: int, num_classes: int
) -> np.ndarray:
  """Draws a weak annotation again from its true mask, with the greatest care.

  Args:
    row: row of the annotation, with the true mask.
    root: folder of the set's pictures.
    seed: the drawing depends on it and on the row alone.
    num_classes: number of classes.

  Returns:
    The label map on the grid of the picture, uint8 [H, W].
  """
  size = placing.picture_size(root / row.image)
  truth = rasterize.rasterize(row.evaluation['truth'], size=size, root=root)
  drawn = simulate.simulate_weak(
      truth, np.random.default_rng([seed, zlib.crc32(row.id.encode())]),
      kind=row.annotation['kind'], quality_level=1.0, num_classes=num_classes)
  return simulate.draw(drawn, size)


def write_review(
    folder: pathlib.Path, base: str, data_dir: str, ids: Sequence[str], *,
    seed: int
) -> pathlib.Path:
  """Writes the journal and the masks of a simulated review.

  Args:
    folder: folder to write; it must not exist.
    base: folder of the run that is reviewed.
    data_dir: folder of its set.
    ids: ids of the annotations that are drawn again, in their order.
    seed: as for `redraw`.

  Returns:
    The journal.
  """
  source = manifest_lib.read_manifest(pathlib.Path(data_dir, 'manifest.jsonl'))
  rows = {row.id: row for row in source.rows}
  (folder / 'masks').mkdir(parents=True)
  writer = review_journal.Writer(
      folder / 'review.jsonl', review_journal.Header(
          run=base, data_dir=data_dir,
          manifest_sha256=review_journal.manifest_sha256(data_dir)))
  for number, row_id in enumerate(ids):
    label = redraw(rows[row_id], source.root, seed=seed,
                   num_classes=len(source.header.classes))
    content = io.BytesIO()
    Image.fromarray(label).save(content, 'PNG')
    mask = f'masks/{number}.png'
    (folder / mask).write_bytes(content.getvalue())
    writer.append(review_journal.Decision(
        row_id, 'mask', 'simulated', '2026-01-01T00:00:00Z', mask=mask,
        sha256=hashlib.sha256(content.getvalue()).hexdigest(), exact=False,
        source='drawn'))
  writer.close()
  return folder / 'review.jsonl'


def apply_review(journal: pathlib.Path, output: pathlib.Path) -> str:
  """Writes the set after a review as `prepare --decisions`, returns its folder.

  Args:
    journal: the journal.
    output: folder to write; it must not exist.
  """
  reviewed = reviewed_set.read(str(journal))
  output.mkdir(parents=True)
  builder.build(
      reviewed_set.write(reviewed, output), output=output / 'records',
      image_size=reviewed.image_size, previous=reviewed.folder / 'records')
  return str(output)


def weak_losses(
    run: observer_lib.Run, records: Sequence[dict[str, Any]]
) -> list[float]:
  """Returns the loss of each weak annotation, mean over both networks.

  It is the cross entropy plus the soft Dice loss, without augmentation.
  """
  params = train_step_lib.eval_params(run.last.state)
  found = []
  for look in run.observer.look(
      params, records, label='label', what='losses'):
    labels, where = losses.one_hot_labels(
        jnp.asarray(look.record['label'])[None], len(run.dataset.classes))
    found.append(float(np.mean([
        losses.cross_entropy_dice_loss(
            jnp.log(jnp.maximum(q, 1e-12))[None], labels, where=where)
        for q in look.probs])))
  return found


def _prepare_fold(seed):
  """Writes the set in which a fold is held out, and returns its folder."""
  output = pathlib.Path(_WORKDIR.value, 'data', f'fold{seed + 1}').absolute()
  if (output / 'records').exists():
    return str(output)
  source = manifest_lib.read_manifest(
      os.path.join(_DATA_DIR.value, 'manifest.jsonl'))
  rows = [row for row in source.rows if row.split == 'train']
  rows = folds_lib.fold_rows(
      rows, folds_lib.deal(rows, _NUM_FOLDS.value),
      (seed + 1) % _NUM_FOLDS.value)
  output.mkdir(parents=True, exist_ok=True)
  builder.build(
      manifest_lib.write_manifest(
          output / 'manifest.jsonl',
          source.header._replace(root=str(source.root.absolute())), rows),
      output=output / 'records',
      image_size=input_pipeline.load_dataset(_DATA_DIR.value).image_shape[0])
  return str(output)


def _train(data_dir, workdir, *, seed, steps, warm_start=''):
  """Trains one run; returns what its cell holds."""
  config = endoscene.get_config(f'dii_dcr,{_NETWORK.value}')
  config = config.copy_and_resolve_references().unlock()
  config.input.data_dir, config.seed = data_dir, seed
  config.weighting.without_common_harm = False
  config.train_steps = steps
  config.eval_every_steps = config.checkpoint_every_steps = steps
  config.warm_start = warm_start
  start = time.monotonic()
  results = trainer.train_and_evaluate(config.lock(), workdir)
  jax.clear_caches()
  return folds_lib.cell_of(workdir, results) | {
      'seed': seed, 'fold': (seed + 1) % _NUM_FOLDS.value,
      'network': _NETWORK.value, 'train_steps': steps,
      'seconds': round(time.monotonic() - start)}


def _base(seed):
  return os.path.join(_WORKDIR.value, 'runs', f'base-seed{seed}')


def annotations_of(workdir: str) -> dict[str, list[Any]]:
  """Returns what the audit of a run knows of each annotation, by column."""
  run = observer_lib.open_run(workdir)
  records = evidence_lib.audited(run.dataset.splits['train_weak'])
  evidence = evidence_lib.collect(run)
  texts = audit_files.columns(records)
  rounded = lambda values: [round(float(v), 6) for v in values]
  found = {
      **{name: texts[name].tolist()
         for name in ('id', 'kind', 'site', 'subject', 'fault')},
      'score': rounded(ranking.score(evidence).score),
      'disagreement': rounded(evidence.disagreements.mean(0)),
      'loss': rounded(weak_losses(run, records))}
  jax.clear_caches()
  return found


def _rank(seed):
  """Trains a base run, and returns its ranking cell."""
  cell = _train(_prepare_fold(seed), _base(seed), seed=seed,
                steps=_BASE_STEPS.value)
  return cell | {'annotations': annotations_of(_base(seed))}


def _rank_finished(workdir):
  """Returns the ranking cell of a finished run, of which nothing is trained."""
  config = run_folder.read_config(workdir)
  metrics = run_schema.read(os.path.join(workdir, 'metrics.json'))
  return {
      'seed': config.seed, 'fold': None, 'train_steps': config.train_steps,
      'network': config.model.name, 'auroc': metrics['indicators']['auroc'],
      'state_sha256': metrics['state_sha256'],
      'annotations': annotations_of(workdir)}


def _correct_and_train(cell, table):
  """Reviews, applies the decisions and trains; returns the cell's content."""
  data_dir, chosen = _prepare_fold(cell.seed), np.array([], int)
  if cell.order != review_gain_table.NONE:
    chosen = review_gain_table.choose(
        table, cell.order, cell.minutes, cell.seed)
    folder = pathlib.Path(_WORKDIR.value, 'reviews', cell.name).absolute()
    corrected = folder / 'set'
    if not (corrected / 'records').exists():
      if folder.exists():  # An earlier process was stopped while it wrote.
        folder.rename(folder.with_name(f'{folder.name}-{time.time_ns()}'))
      apply_review(write_review(
          folder / 'review', _base(cell.seed), data_dir,
          np.array(table['id'])[chosen].tolist(), seed=cell.seed), corrected)
    data_dir = str(corrected)
  faults = np.array(table['fault'])[chosen]
  return {
      'order': cell.order, 'minutes': cell.minutes,
      'from_scratch': cell.from_scratch,
      'num_drawn': len(chosen),
      'num_faults_corrected': int((faults != '').sum()),
      **_train(
          data_dir, os.path.join(_WORKDIR.value, 'runs', cell.name),
          seed=cell.seed,
          steps=_STEPS.value + _BASE_STEPS.value * cell.from_scratch,
          warm_start='' if cell.from_scratch else _base(cell.seed))}


def main():
  if _TABLES_ONLY.value:
    sys.stdout.write(review_gain_table.to_markdown(_CELLS.value))
    return
  for flag in (_DATA_DIR, _WORKDIR):
    if flag.value is None:
      raise binary.UserError(f'--{flag.name} is needed, but for --tables_only.')
  logging.set_verbosity(logging.WARNING)
  os.makedirs(_CELLS.value, exist_ok=True)
  path = lambda name: os.path.join(_CELLS.value, f'{name}.json')
  for workdir in _RANK.value:
    name = f'ranking-{os.path.basename(os.path.normpath(workdir))}'
    if not os.path.exists(path(name)):
      run_folder.write_json(path(name), _rank_finished(workdir))
    print(f'{name}: ranked', flush=True)
  cells = plan(_SEEDS.value)
  left = [cell for cell in cells if not os.path.exists(path(cell.name))]
  start = time.monotonic()
  for number, cell in enumerate(left, start=1):
    base = f'ranking-seed{cell.seed}'
    if not os.path.exists(path(base)):
      run_folder.write_json(path(base), _rank(cell.seed))
    found = _correct_and_train(
        cell, run_schema.read(path(base))['annotations'])
    run_folder.write_json(path(cell.name), found)
    mean = (time.monotonic() - start) / number
    print(f'{cell.name}: Dice {found["dice"]:.4f}, {found["seconds"]} s; '
          f'{len(left) - number} of {len(cells)} cells left, about '
          f'{mean * (len(left) - number) / 60:.0f} minutes', flush=True)


if __name__ == '__main__':
  flags.mark_flags_as_required(['cells'])
  binary.run(main)
