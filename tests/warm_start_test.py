"""Tests for experiments.training.warm_start and building.kept_annotations."""

import contextlib
import csv
import functools
import io
import json
import os
import pathlib
import shutil

from absl.testing import absltest
from absl.testing import parameterized
import jax
import numpy as np

from data_prep import manifest as manifest_lib
from data_prep.records import builder
from experiments import binary
from experiments.building import input_pipeline
from experiments.building import kept_annotations
from experiments.building import pieces
from experiments.prediction import predictor
from experiments.training import opening
from experiments.training import trainer
from experiments.training import warm_start
from tests import tiny

_BOX = {'kind': 'box', 'boxes': [[2, 2, 9, 9]], 'labels': [1]}
_KEEP = {'time': '', 'who': '', 'decision': 'keep'}


def _change(output, change, **header):
  """Builds a variant of the tiny set, as a review leaves it.

  Args:
    output: folder to write.
    change: function that takes the number of a weak image and its row, and
      returns the new row, or None to leave it out.
    **header: new fields of the manifest's header.
  """
  given = manifest_lib.read_manifest(f'{tiny.data_dir()}/manifest.jsonl')
  rows, number = [], 0
  for row in given.rows:
    if row.role == 'weak':
      row, number = change(number, row), number + 1
    rows.append(row)
  os.mkdir(output)
  manifest = manifest_lib.write_manifest(
      f'{output}/manifest.jsonl',
      given.header._replace(root=str(given.root), **header),
      [row for row in rows if row is not None])
  builder.build(manifest, output=pathlib.Path(output) / 'records',
                image_size=tiny.IMAGE_SIZE)
  return output


def _reviewed(number, row):
  """Redraws image 3, drops image 5, and keeps images 7 and 8."""
  if number == 3:
    return row._replace(annotation=_BOX)
  if number == 5:
    return row._replace(role='unlabelled', annotation=None)
  return row._replace(reviews=(_KEEP,)) if number in (7, 8) else row


@functools.cache
def _earlier():
  """Returns the last state of `tiny.run_dir()`."""
  config = tiny.debug_config()
  dataset = input_pipeline.load_dataset(tiny.data_dir())
  return predictor.restore(
      tiny.run_dir(), dataset, tiny.build_network(config, dataset)).state


def _table(workdir):
  with open(os.path.join(workdir, 'indicators.csv'), encoding='utf-8') as file:
    return list(csv.DictReader(file))


class WarmStartTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = tiny.temp_dir(self)
    self.workdir = os.path.join(self.folder, 'new')

  def config(self, **changes):
    return tiny.debug_config(
        **{'warm_start': tiny.run_dir(), **changes})

  def read(self, config, run=None):
    """Returns what a run with this config would take over."""
    data, model, method, schedule = pieces.unpack(config)
    dataset = input_pipeline.load_dataset(data.data_dir)
    return warm_start.read(
        run or schedule.warm_start, dataset, model, method,
        tiny.build_network(config, dataset))

  def opened(self, config):
    """Returns the state with which a run starts, and the printed lines."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
      with opening.open_session(
          config.lock(), self.workdir, record_machine=False) as (
              _, state, step):
        self.assertEqual(step, 0)
        return jax.device_get(state), out.getvalue()

  def test_starts_where_the_other_run_ended(self):
    earlier = _earlier()
    self.assertTrue((earlier.indicators.weights != 1).any())
    state, out = self.opened(self.config())
    jax.tree.map(np.testing.assert_array_equal, state.params, earlier.params)
    np.testing.assert_array_equal(
        state.indicators.weights, earlier.indicators.weights)
    self.assertFalse(state.indicators.num_updates.any())
    config = tiny.debug_config()
    fresh = tiny.build_network(config, input_pipeline.load_dataset(
        tiny.data_dir())).init_fn()
    jax.tree.map(np.testing.assert_array_equal, state.opt_states,
                 jax.device_get(fresh.opt_states))
    self.assertIn(f'Starting from {tiny.run_dir()} at step 4: networks and '
                  'indicators of 32 weak images; 0 weak images with new '
                  'annotations.', out)

  def test_new_annotations_start_anew(self):
    data_dir = _change(
        os.path.join(self.folder, 'set'), lambda number, row: (
            None if number in (0, 10) else
            row._replace(role='strong', annotation=row.evaluation['truth'])
            if number == 1 else _reviewed(number, row)))
    start = self.read(self.config(
        input=dict(data_dir=data_dir),
        weighting=dict(initial_indicator=0.625)))
    wanted = np.array(_earlier().indicators.weights)
    wanted[[3, 5]] = 0.625
    np.testing.assert_array_equal(
        start.indicators, np.delete(wanted, [0, 1, 10]))
    self.assertEqual(start.indicators.dtype, np.float32)
    self.assertIn('of 27 weak images; 2 weak images with new', start.notice)

  def test_a_resumed_run_equals_an_unbroken_one(self):
    data_dir = _change(os.path.join(self.folder, 'set'), _reviewed)
    run = tiny.copy_of_run(self)
    config = self.config(
        warm_start=run, input=dict(data_dir=data_dir),
        weighting=dict(pin_kept=True)).lock()
    with contextlib.redirect_stdout(io.StringIO()):
      state, _ = self.opened(config)
      shutil.rmtree(self.workdir)
      trainer.train_and_evaluate(config, self.workdir)
      # As if it had been killed after step 2.
      again = shutil.copytree(
          self.workdir, os.path.join(self.folder, 'again'))
      shutil.rmtree(os.path.join(again, 'checkpoints', '4'))
      os.remove(os.path.join(again, 'metrics.json'))
      shutil.rmtree(run)  # The checkpoint holds all that was in it.
      trainer.train_and_evaluate(config, again)
    tiny.assert_equal_runs(self, self.workdir, again)
    hashes = [[session['warm_start'] for session in json.loads(
        pathlib.Path(folder, 'run.json').read_text('utf-8'))['sessions']]
              for folder in (self.workdir, again)]
    self.assertEqual([set(hashes[0]), len(hashes[1])], [set(hashes[1]), 2])
    self.assertRegex(hashes[0][0], '^[0-9a-f]{64}$')
    start = np.array(_earlier().indicators.weights)
    start[[3, 5]] = 1
    start[[7, 8]] = 1  # Kept annotations count in full, and do not move.
    np.testing.assert_array_equal(state.indicators.weights, start)
    ids = [row.id for row in manifest_lib.read_manifest(
        f'{data_dir}/manifest.jsonl').rows if row.split == 'train'
           and row.role != 'strong']
    table = _table(again)
    # In 4 steps, each of the 32 images is in one batch.
    self.assertEqual(
        {ids.index(row['id']): int(row['num_updates']) for row in table},
        {i: int(i not in (7, 8)) for i in range(32)})
    self.assertEqual(
        [float(row['indicator']) for row in table
         if ids.index(row['id']) in (7, 8)], [1, 1])

  def test_methods_without_indicators_take_the_networks(self):
    config = self.config(weighting=dict(name='uniform'))
    start = self.read(config)
    self.assertIsNone(start.indicators)
    self.assertIn('at step 4: networks.', start.notice)
    state = tiny.build_network(config, input_pipeline.load_dataset(
        tiny.data_dir())).init_fn()
    state = warm_start.start_from(state, start)
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(state.params),
                 _earlier().params)
    np.testing.assert_array_equal(state.indicators.weights, np.ones(32))

  def test_teachers_start_as_copies_of_the_networks(self):
    config = self.config(co_regularization=dict(teacher='mean'))
    start = self.read(config)
    self.assertIsNone(start.teachers)
    state = warm_start.start_from(
        tiny.build_network(config, input_pipeline.load_dataset(
            tiny.data_dir())).init_fn(), start)
    for trees in (state.params, state.teachers):
      jax.tree.map(
          np.testing.assert_array_equal, jax.device_get(trees),
          _earlier().params)
    pairs = zip(*map(jax.tree.leaves, (state.params, state.teachers)),
                strict=True)
    self.assertFalse(any(a is b for a, b in pairs))

  @parameterized.parameters(
      (dict(model=dict(options=dict(features=(6,)))),
       'its network is another one: .* there, .* here: use its model.options'),
      (dict(weighting=dict(per_class=True)), 'weighting.per_class is another'),
  )
  def test_refuses_another_network(self, changes, message):
    self.assert_refused(message, self.config(**changes))

  def test_refuses_another_set(self):
    same = lambda number, row: row
    other = _change(os.path.join(self.folder, 'classes'), same,
                    classes=('background', 'polyp'))
    self.assert_refused(
        'its classes are background, lesion, those of phantom are background, '
        'polyp', self.config(input=dict(data_dir=other)))
    smaller = os.path.join(self.folder, 'smaller')
    os.mkdir(smaller)
    given = manifest_lib.read_manifest(f'{tiny.data_dir()}/manifest.jsonl')
    builder.build(
        given, output=pathlib.Path(smaller) / 'records', image_size=8)
    self.assert_refused(
        'its images are 16 x 16 x 3, those of phantom are 8 x 8 x 3',
        self.config(input=dict(data_dir=smaller)))

  def test_refuses_when_the_earlier_annotations_are_gone(self):
    run = tiny.copy_of_run(self)
    moved = os.path.join(self.folder, 'set')
    shutil.copytree(tiny.data_dir(), moved)
    path = pathlib.Path(run, 'config.json')
    text = path.read_text('utf-8')
    self.assertIn(tiny.data_dir(), text)
    path.write_text(text.replace(tiny.data_dir(), moved), 'utf-8')
    self.assertLen(self.read(self.config(), run).indicators, 32)
    shutil.rmtree(moved)
    self.assert_refused(
        'the annotations that it learnt from are needed', self.config(), run)
    _change(moved, _reviewed)
    self.assert_refused(
        'cannot be used: the set has changed', self.config(), run)
    # Networks alone do not need them.
    self.assertIsNone(self.read(
        self.config(weighting=dict(name='uniform')), run).indicators)

  def test_refuses_a_run_without_checkpoint(self):
    run = tiny.copy_of_run(self)
    shutil.rmtree(os.path.join(run, 'checkpoints'))
    self.assert_refused('it has no checkpoint: train it first',
                        self.config(), run)
    self.assert_refused('config.json', self.config(), self.folder)
    with self.assertRaises(binary.UserError):
      trainer.train_and_evaluate(
          self.config(warm_start=self.folder).lock(), self.workdir)
    self.assertFalse(os.path.exists(self.workdir))

  def test_refuses_two_sources_of_indicators(self):
    with self.assertRaisesRegex(binary.UserError, 'give only one of them'):
      pieces.unpack(self.config(weighting=dict(initial_from='audit.csv')))

  def assert_refused(self, message, config, run=None):
    with self.assertRaisesRegex(binary.UserError, message) as caught:
      self.read(config, run)
    self.assertIn('warm_start=' if 'config.json' not in message else '',
                  str(caught.exception))
    self.assertNotIn('\n', str(caught.exception))
    self.assertLess(len(str(caught.exception)), 330)


class KeptAnnotationsTest(absltest.TestCase):

  def test_finds_what_a_review_has_kept(self):
    drop = {'time': '', 'who': '', 'decision': 'drop', 'replaced': {}}

    def change(number, row):
      entries = {2: (_KEEP,), 4: (_KEEP, drop), 6: (drop, _KEEP)}
      return row._replace(reviews=entries.get(number, ()))

    data_dir = _change(os.path.join(tiny.temp_dir(self), 'set'), change)
    dataset = input_pipeline.load_dataset(data_dir)
    kept = kept_annotations.find(dataset, data_dir)
    self.assertEqual(np.flatnonzero(kept).tolist(), [2, 6])
    pinned = kept_annotations.without_indicators(dataset, kept)
    for split, records in dataset.splits.items():
      for i, (old, new) in enumerate(zip(
          records, pinned.splits[split], strict=True)):
        wanted = -1 if split == 'train_weak' and i in (2, 6) else old[
            'instance_id']
        self.assertEqual(new['instance_id'], wanted)
        self.assertIs(new['label'], old['label'])
    for path, content, words in (
        ('manifest.jsonl', None, 'cannot be read: No such file'),
        ('manifest.jsonl', f'{tiny.data_dir()}/manifest.jsonl',
         'is not the manifest of the records')):
      os.remove(os.path.join(data_dir, path))
      if content:
        shutil.copy(content, os.path.join(data_dir, path))
      with self.assertRaisesRegex(binary.UserError, words):
        kept_annotations.find(dataset, data_dir)
      if not content:
        pathlib.Path(data_dir, path).touch()

  def test_refuses_a_method_without_indicators(self):
    config = tiny.debug_config(weighting=dict(name='uniform', pin_kept=True))
    with self.assertRaisesRegex(binary.UserError, "'uniform' has none"):
      tiny.build_network(config, input_pipeline.load_dataset(tiny.data_dir()))


if __name__ == '__main__':
  absltest.main()
