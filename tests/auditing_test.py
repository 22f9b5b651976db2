"""Tests for experiments.auditing and all that the audit is made of."""

import csv
import functools
import json
import os
import pathlib
import subprocess
import sys
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import jax
import numpy as np

from data_prep import manifest as manifest_lib
from data_prep.shared import cells
from experiments import binary
from experiments.auditing import evidence as evidence_lib
from experiments.auditing import files
from experiments.auditing import observer
from experiments.auditing import planting
from experiments.auditing import ranking
from experiments.auditing import reasons
from experiments.auditing import report
from experiments.auditing import signs as signs_lib
from experiments.building import parts as parts_lib
from experiments.training import trainer
from hybridseg import augmentation
from hybridseg import losses
from hybridseg import types
from tests import tiny

_Kind = types.AnnotationKind
_SIDE = 32
_NO_TAG = np.full(3, types.UNLABELLED, np.uint8)
_ROOT = pathlib.Path(__file__).parent.parent


def _square(*places, background=0):
  """Returns a map with squares: (class, top, left, side), uint8 [32, 32]."""
  label = np.full((_SIDE, _SIDE), background, np.uint8)
  for value, top, left, side in places:
    label[top : top + side, left : left + side] = value
  return label


def _probs(label, sure=0.95):
  """Returns what two networks that are sure of a map say, [2, 32, 32, 3]."""
  one = np.full((*label.shape, 3), (1 - sure) / 2)
  np.put_along_axis(one, label[..., None].astype(int), sure, axis=-1)
  return np.stack([one, one])


_SEEN = (1, 10, 10, 8)


class ReasonsTest(parameterized.TestCase):

  @parameterized.named_parameters(
      ('missing_object', [], 'missing_object'),
      ('one_of_two', [(1, 2, 2, 6)], 'missing_object',
       [(1, 2, 2, 6), (1, 20, 20, 6)]),
      ('wrong_place', [(1, 24, 24, 8)], 'wrong_place'),
      ('shifted', [(1, 14, 14, 8)], 'shifted'),
      ('too_small', [(1, 12, 12, 4)], 'too_small'),
      ('too_large', [(1, 4, 4, 20)], 'too_large'),
      ('wrong_class', [(2, 10, 10, 8)], 'wrong_class'),
      ('nothing_wrong', [_SEEN], 'unclear'),
      ('nothing_seen', [_SEEN], 'unclear', []),
      ('speck_seen', [], 'unclear', [(1, 3, 3, 1)]),
  )
  def test_golden(self, drawn, wanted, seen=(_SEEN,)):
    for kind in (_Kind.POLYGON, _Kind.BOX):
      reason = reasons.explain(
          _probs(_square(*seen)), kind, _square(*drawn), _NO_TAG)
      self.assertEqual(reason.name, wanted, kind)
      self.assertNotEmpty(reason.words)

  def test_what_one_network_sees_blames_nobody(self):
    probs = _probs(_square(_SEEN))
    probs[1] = _probs(_square())[1]
    reason = reasons.explain(probs, _Kind.BOX, _square(), _NO_TAG)
    self.assertEqual(reason.name, 'unclear')

  @parameterized.named_parameters(
      ('far', [(1, 28, 28, 2)], 'wrong_place'),
      ('near', [(1, 19, 12, 2)], 'shifted'),
      ('inside', [(1, 12, 12, 2)], 'unclear'),
      ('nothing', [(0, 0, 0, 2)], 'missing_object'),
      ('class', [(2, 12, 12, 2)], 'wrong_class'),
      ('background', [(1, 12, 12, 2), (0, 15, 15, 3)], 'too_small'),
  )
  def test_marks(self, drawn, wanted):
    label = _square(*drawn, background=types.UNLABELLED)
    for kind in (_Kind.POINTS, _Kind.SCRIBBLE):
      reason = reasons.explain(
          _probs(_square(_SEEN)), kind, label, _NO_TAG)
      self.assertEqual(reason.name, wanted)

  @parameterized.parameters(
      ((1, 0), 'unclear'), ((0, 0), 'missing_object'), ((0, 1), 'wrong_class'),
      ((1, 1), 'unclear'))
  def test_tags(self, tag, wanted):
    label = _square(background=types.UNLABELLED)
    reason = reasons.explain(
        _probs(_square(_SEEN)), _Kind.TAG, label, np.array([255, *tag]))
    self.assertEqual(reason.name, wanted)

  def test_every_planted_fault_has_its_reason(self):
    self.assertEqual({*reasons.OF_FAULT}, {*manifest_lib.FAULTS} - {''})
    self.assertContainsSubset(
        reasons.OF_FAULT.values(), reasons.REASONS)


class DisagreementTest(parameterized.TestCase):

  def _of(self, kind, drawn, present=_NO_TAG, seen=(_SEEN,)):
    label = drawn if isinstance(drawn, np.ndarray) else _square(*drawn)
    return signs_lib.disagreement(
        _probs(_square(*seen), sure=1.0)[0], kind, label, present)

  def test_by_hand(self):
    # 64 px seen, 32 of them drawn, no more: 1 - (2 * 32 + 1) / (64 + 32 + 1).
    half = _square(_SEEN)
    half[14:] = 0
    self.assertAlmostEqual(self._of(_Kind.POLYGON, half), 1 - 65 / 97)
    # Shadows: all of 8 below, 4 of 8 beside.
    self.assertAlmostEqual(self._of(_Kind.BOX, half), (0 + 1 - 9 / 13) / 2)
    # One of two marks lies on the object; class 2 is nowhere.
    marks = _square((1, 10, 10, 1), (1, 30, 30, 1),
                    background=types.UNLABELLED)
    self.assertAlmostEqual(self._of(_Kind.POINTS, marks), (0.5 + 0) / 2)
    # Background is right, but class 1 is there and has no mark.
    marks = _square((0, 30, 30, 1), background=types.UNLABELLED)
    self.assertAlmostEqual(self._of(_Kind.POINTS, marks), (0 + 1 + 0) / 3)
    nothing = _square(background=types.UNLABELLED)
    self.assertAlmostEqual(
        self._of(_Kind.TAG, nothing, np.array([255, 1, 1])), 0.5)
    self.assertAlmostEqual(self._of(_Kind.POLYGON, nothing), 0)

  @parameterized.parameters(_Kind.POLYGON, _Kind.BOX, _Kind.COARSE_MASK)
  def test_the_worse_the_annotation_the_larger(self, kind):
    moved = [self._of(kind, [(1, 10 + s, 10, 8)]) for s in range(0, 9)]
    self.assertTrue(np.all(np.diff(moved) > 0), moved)
    shrunk = [self._of(kind, [(1, 10, 10, 8 - s)]) for s in range(0, 8)]
    self.assertTrue(np.all(np.diff(shrunk) > 0), shrunk)
    self.assertAlmostEqual(moved[0], 0)
    self.assertGreater(self._of(kind, []), 0.8)


class SignsTest(parameterized.TestCase):

  def _of(self, kind, drawn, seen=(_SEEN,), background=0):
    found = signs_lib.signs(
        _probs(_square(*seen), sure=1.0)[0], kind,
        _square(*drawn, background=background), _NO_TAG)
    return dict(zip(signs_lib.NAMES, found, strict=True))

  def test_drawn_as_seen(self):
    found = self._of(_Kind.POLYGON, [_SEEN])
    never, always = np.log(0.01 / 1.01), np.log(1.01 / 0.01)
    size = np.log((64 + 1) / _SIDE**2)
    for name, wanted in {
        'disagreement': 0, 'inside': 1, 'ring': 0, 'rank': 1,
        'odds_inside': 0.2 * always, 'odds_ring': 0.2 * never,
        'size_drawn': 0.2 * size, 'size_seen': 0.2 * size}.items():
      self.assertAlmostEqual(found[name], wanted, msg=name)

  def test_shrunken(self):
    # 4 x 4 of 8 x 8: the ring of 1.5 pixels is all seen. Of 1008 pixels that
    # are not drawn, 48 are seen as surely as the drawn ones: ties.
    found = self._of(_Kind.POLYGON, [(1, 12, 12, 4)])
    self.assertEqual(found['inside'], 1)
    self.assertEqual(found['ring'], 1)
    self.assertAlmostEqual(found['rank'], 1 - 48 / 1008 / 2)

  def test_misplaced(self):
    found = self._of(_Kind.POLYGON, [(1, 22, 22, 8)])
    self.assertEqual(found['inside'], 0)
    self.assertEqual(found['ring'], 0)
    self.assertAlmostEqual(found['rank'], (1 - 64 / 960) / 2)

  def test_missing(self):
    found = self._of(_Kind.POLYGON, [])
    self.assertEqual(found['inside'], 0)
    self.assertEqual(found['rank'], 0.5)
    self.assertLess(found['size_drawn'], found['size_seen'])

  def test_what_is_not_labelled_is_seen_around_marks_alone(self):
    marks = [(0, 2, 2, 3), (1, 13, 13, 2)]
    for kind, wanted in ((_Kind.POINTS, 1), (_Kind.COARSE_MASK, 0)):
      found = self._of(kind, marks, background=types.UNLABELLED)
      self.assertEqual(found['ring'], wanted)
      self.assertEqual(found['rank'], 1)

  @parameterized.parameters(*_Kind)
  def test_any_kind_and_any_map_is_finite(self, kind):
    for drawn in ([], [(1, 0, 0, _SIDE)], [(2, 3, 3, 1)]):
      for background in (0, types.UNLABELLED):
        for seen in ([], [_SEEN]):
          found = self._of(kind, drawn, seen, background)
          self.assertTrue(np.isfinite([*found.values()]).all())


class PlantingTest(parameterized.TestCase):

  def test_with_nothing_planted_it_is_the_rule(self):
    coefficients = planting.fit(
        np.zeros((0, len(signs_lib.NAMES))), np.zeros(0, bool))
    signs = np.zeros((3, len(signs_lib.NAMES)))
    signs[:, 0] = 0, 0.5, 1
    np.testing.assert_allclose(
        planting.log_odds(signs, coefficients), [-4, 0, 4])

  def test_learns_which_sign_tells(self):
    rng = np.random.default_rng(0)
    signs = rng.normal(size=(400, len(signs_lib.NAMES)))
    faulty = rng.uniform(size=400) < 1 / (1 + np.exp(3 * signs[:, 2] - 1))
    found = planting.fit(signs, faulty)
    wanted = np.zeros(len(found))
    wanted[[2, -1]] = -3, 1
    np.testing.assert_allclose(found, wanted, atol=0.6)

  def test_fit_is_where_the_gradient_vanishes(self):
    rng = np.random.default_rng(1)
    signs = rng.normal(size=(50, len(signs_lib.NAMES)))
    faulty = rng.uniform(size=50) < 0.5
    found = planting.fit(signs, faulty)
    probs = 1 / (1 + np.exp(-planting.log_odds(signs, found)))
    rule = np.zeros(len(found))
    rule[[0, -1]] = 8, -4
    grad = np.append(
        signs.T @ (probs - faulty), (probs - faulty).sum()) + 0.1 * (
            found - rule)
    np.testing.assert_allclose(grad, 0, atol=1e-3)

  def test_prior_by_hand(self):
    # Whoever is sure stays so: (30 + 1) / (100 + 2) of them.
    odds = np.where(np.arange(100) < 30, 50.0, -50.0)
    self.assertAlmostEqual(
        planting.prior_log_odds(odds), np.log(31 / 71))
    # Who knows nothing, knows nothing of all.
    self.assertAlmostEqual(planting.prior_log_odds(np.zeros(9)), 0)
    self.assertAlmostEqual(planting.prior_log_odds(np.zeros(0)), 0)

  @parameterized.parameters(0.0, 0.05, 0.2, 0.5)
  def test_prior_finds_the_share(self, share):
    rng = np.random.default_rng(2)
    faulty = np.arange(1000) < share * 1000
    # Normal, a step of 3 apart: these are their true log odds.
    odds = 3 * (rng.normal(size=1000) + 3 * faulty - 1.5)
    prior = planting.prior_log_odds(odds)
    self.assertAlmostEqual(1 / (1 + np.exp(-prior)), share, delta=0.03)

  @parameterized.parameters(*(k for k in _Kind if k != _Kind.NONE))
  def test_draws_every_kind_good_and_faulty(self, kind):
    truth = _square(_SEEN)
    for fault in ('', *reasons.OF_FAULT):
      label, present = planting.draw(
          truth, kind, np.random.default_rng(0), num_classes=3, fault=fault)
      self.assertEqual(label.shape, truth.shape)
      if kind == _Kind.TAG:
        self.assertEqual(list(present) == [0, 1, 0], not fault)
      elif kind == _Kind.MASK:
        self.assertEqual((label == truth).all(), not fault)


def _evidence(disagreements, *, spread=0.0, alignments=None, indicators=None,
              kinds=None, references=None, planted=None):
  values = np.asarray(disagreements, float)
  kinds = np.full(len(values), 2) if kinds is None else np.asarray(kinds)
  reference = np.linspace(0, 0.5, 21)
  signs = np.zeros((2, len(values), len(signs_lib.NAMES)))
  signs[..., 0] = values - spread, values + spread
  nothing = planting.Planted(signs[:, :0], np.zeros(0, bool))
  return evidence_lib.Evidence(
      kinds=kinds,
      signs=signs,
      alignments=np.zeros((2, len(values))) if alignments is None
      else np.asarray(alignments),
      indicators=indicators,
      references=references or {
          name: {int(k): reference for k in np.unique(kinds)}
          for name in ('strong', 'val')},
      planted=planted or {int(k): nothing for k in np.unique(kinds)},
      reasons=[reasons.Reason('unclear', '')] * len(values))


class ScoreTest(absltest.TestCase):

  def test_by_hand(self):
    # With nothing planted sigmoid(8 D - 4 + prior), where the prior is that of
    # a share of 1/2, for the two lie evenly about D = 1/2.
    scores = ranking.score(_evidence([0.375, 0.625]))
    np.testing.assert_allclose(
        scores.score, 1 / (1 + np.exp([1.0, -1.0])), rtol=1e-6)
    np.testing.assert_allclose(scores.low, scores.score)
    # The median of the references is 0.25: (0.375 - 0.25) / 0.75.
    np.testing.assert_allclose(scores.parts['disagreement'], [1 / 6, 1 / 2])
    np.testing.assert_allclose(scores.parts['alignment'], 0.5)

  def test_learns_from_what_is_planted(self):
    # In this set a fault is what agrees.
    signs = np.zeros((2, 100, len(signs_lib.NAMES)))
    signs[..., 0] = np.linspace(0, 1, 100)
    planted = {2: planting.Planted(signs, np.arange(100) < 50)}
    grid = np.linspace(0, 1, 11)
    scores = ranking.score(_evidence(grid, planted=planted)).score
    self.assertTrue(np.all(np.diff(scores) < 0))

  def test_each_part_rises_with_the_evidence(self):
    grid = np.linspace(0, 1, 11)
    found = ranking.score(
        _evidence(grid, alignments=[1 - 2 * grid] * 2, indicators=1 - grid))
    self.assertCountEqual(
        found.parts, ['disagreement', 'alignment', 'indicator'])
    for values in (found.score, *found.parts.values()):
      self.assertTrue(np.all(np.diff(values) > 0))
    self.assertNotIn('indicator', ranking.score(_evidence(grid)).parts)

  def test_networks_that_differ_widen_the_interval(self):
    scores = ranking.score(
        _evidence([0.5, 0.5], spread=np.array([0.05, 0.2])))
    self.assertAlmostEqual(scores.score[0], scores.score[1])
    self.assertLess(scores.low[1], scores.low[0])
    self.assertGreater(scores.high[1], scores.high[0])

  def test_networks_that_find_nothing_stay_finite(self):
    nothing = {n: {2: np.ones(20)} for n in ('strong', 'val')}
    scores = ranking.score(_evidence([1.0, 0.9], references=nothing))
    for values in (scores.score, *scores.parts.values()):
      self.assertTrue(np.isfinite(values).all())

  def test_evaluation_by_hand(self):
    scores = ranking.score(_evidence([1.0, 0.9, 0.1, 0.5]))
    found = ranking.evaluate(
        scores, np.array(['shifted', '', '', 'missing']),
        ['shifted', 'unclear', 'unclear', 'unclear'], num_first=2)
    self.assertEqual(found['auroc'], 0.75)
    self.assertEqual(found['auroc_by_fault'], {'missing': 0.5, 'shifted': 1.0})
    self.assertEqual(found['precision_of_first'], 0.5)
    self.assertEqual(found['confusion'], {
        'none': {'unclear': 2}, 'shifted': {'shifted': 1},
        'missing': {'unclear': 1}})
    self.assertIsNone(ranking.evaluate(scores, np.array([''] * 4), [''] * 4))


class EstimateTest(absltest.TestCase):

  def test_by_hand(self):
    # The 0.9 quantile of the reference is 0.45; 40 of 100 lie beyond:
    # (0.4 - 0.1) / 0.9 of them are faulty.
    found = ranking.estimate_faulty(_evidence([0.2] * 60 + [0.9] * 40))
    self.assertAlmostEqual(found['share'], 1 / 3)
    self.assertEqual(found['number'], 33)
    self.assertTrue(found['can_tell'])
    low, high = found['interval']
    self.assertBetween(low, 15, 33)
    self.assertBetween(high, 33, 50)

  def test_all_fine_says_that_it_cannot_tell(self):
    found = ranking.estimate_faulty(_evidence(np.linspace(0, 0.5, 200)))
    self.assertFalse(found['can_tell'])
    self.assertEqual(found['number'], 0)
    self.assertEqual(found['interval'][0], 0)
    self.assertIn('cannot tell', found['why'])

  def test_needs_something_to_compare_with(self):
    few = {n: {2: np.zeros(9)} for n in ('strong', 'val')}
    found = ranking.estimate_faulty(_evidence([1.0] * 10, references=few))
    self.assertIsNone(found['number'])
    self.assertIn('9 exact masks', found['why'])
    found = ranking.estimate_faulty(_evidence([]))
    self.assertIn('0 weak annotations', found['why'])


def _record(record_id=b'a', kind=_Kind.BOX, fault=b'', **more):
  return {'id': record_id, 'kind': kind, 'annotator': b'', 'site': b'',
          'subject': b'', 'fault': fault, 'instance_id': 0, **more}


class FilesTest(absltest.TestCase):

  def test_hostile_ids_come_back_from_the_table(self):
    ids = ['a,b', '"', 'two\nlines', '=1+1', 'é/../x', ' ']
    records = [_record(i.encode()) for i in ids]
    path = os.path.join(tiny.temp_dir(self), 'audit.csv')
    evidence = _evidence([0.5] * len(ids), kinds=[3] * len(ids))
    files.write_table(
        path, records, evidence, ranking.score(evidence), np.ones(1))
    with open(path, newline='', encoding='utf-8') as f:
      rows = list(csv.DictReader(f))
    self.assertEqual(rows[3]['id'], "'=1+1")  # No formula in a spreadsheet.
    rows = list(map(cells.undo_row, rows))
    self.assertEqual([r['id'] for r in rows], ids)
    self.assertEqual([r['rank'] for r in rows], ['1', '2', '3', '4', '5', '6'])

  def test_export_says_what_is_gone(self):
    folder = tiny.temp_dir(self)
    output = pathlib.Path(tiny.temp_dir(self)) / 'out'
    export = functools.partial(
        files.export_suspects, folder, ['b', 'a', 'c', 'other'],
        output=output)
    with self.assertRaisesRegex(binary.Incomplete, 'cannot be read'):
      export(format_name='coco')
    row = functools.partial(
        manifest_lib.Row, split='train', role='weak', annotation={
            'kind': 'tag', 'labels': [1]})
    manifest_lib.write_manifest(
        os.path.join(folder, 'manifest.jsonl'),
        manifest_lib.Header('set', ('background', 'lesion')),
        [row(i, f'{i}.png') for i in 'abc'])
    with self.assertRaisesRegex(
        binary.Incomplete, 'exported. 3 are left out: coco cannot express tag'):
      export(format_name='coco')
    with self.assertRaisesRegex(
        binary.Incomplete,
        '3 of 3 original images are gone, the first is b.png in [^\n]*$'):
      export(format_name='labelme')
    self.assertFalse(output.exists())


class RunTest(absltest.TestCase):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    folder = tempfile.TemporaryDirectory()
    cls.addClassCleanup(folder.cleanup)
    cls.workdir = os.path.join(folder.name, 'run')
    trainer.train_and_evaluate(tiny.debug_config(), cls.workdir)
    cls.run_ = observer.open_run(cls.workdir)

  def _with_weak(self, records):
    dataset = self.run_.dataset
    return self.run_._replace(dataset=dataset._replace(
        splits=dataset.splits | {'train_weak': records}))

  def _audit(self, run, name):
    """Audits as the binary does; returns summary and table."""
    records = evidence_lib.audited(run.dataset.splits['train_weak'])
    evidence = evidence_lib.collect(run)
    scores = ranking.score(evidence)
    summary = files.summarize(
        records, evidence, scores, run.last.history)
    path = os.path.join(self.workdir, name)
    files.write_table(
        path + '.csv', records, evidence, scores, np.ones(32))
    report.write(
        path + '.html', run, records, evidence, scores, summary)
    with open(path + '.csv', encoding='utf-8') as f:
      return summary, list(csv.DictReader(f))

  def test_planted_faults_are_never_looked_at(self):
    records = self.run_.dataset.splits['train_weak']
    faults = [r['fault'] for r in records]
    shuffled = [r | {'fault': fault, 'quality': np.float32(0)}
                for r, fault in zip(records, faults[::-1], strict=True)]
    blind = [r | {'truth': np.full_like(r['truth'], types.UNLABELLED)}
             for r in shuffled]
    wanted = evidence_lib.collect(self._with_weak(records))
    self.assertNotEqual(faults, faults[::-1])
    found = evidence_lib.collect(self._with_weak(blind))
    np.testing.assert_array_equal(
        ranking.score(found).score, ranking.score(wanted).score)
    self.assertEqual(found.reasons, wanted.reasons)

  def test_masks_of_validation_and_test_are_in_no_score(self):
    # Else a run that starts from the scores could not be judged by them.
    dataset = self.run_.dataset
    rng = np.random.default_rng(0)
    other = {
        split: [r | {'truth': rng.integers(
            2, size=r['truth'].shape, dtype=np.uint8)}
                for r in dataset.splits[split]] for split in ('val', 'test')}
    changed = self.run_._replace(dataset=dataset._replace(
        splits=dataset.splits | other))
    for learn_from, same in (('strong', True), ('val', False)):
      first, second = (
          evidence_lib.collect(run, learn_from=learn_from)
          for run in (self.run_, changed))
      self.assertEqual(first.learn_from, learn_from)
      found = np.array_equal(
          ranking.score(first).score, ranking.score(second).score)
      self.assertEqual(found, same, learn_from)

  def test_without_weak_instances_or_only_unlabelled_ones(self):
    records = self.run_.dataset.splits['train_weak']
    unlabelled = [r | {'kind': np.int32(_Kind.NONE)} for r in records]
    for name, rows in (('none', []), ('unlabelled', unlabelled)):
      summary, table = self._audit(self._with_weak(rows), name)
      self.assertEmpty(table)
      self.assertEqual(summary['num_annotations'], 0)
      self.assertIsNone(summary['faulty']['number'])

  def test_without_history(self):
    records = self.run_.dataset.splits['train_weak']
    run = self._with_weak(records)
    run = run._replace(last=run.last._replace(history={
        'step': np.zeros(0, np.int64), 'indicators': np.zeros(0, np.float32)}))
    summary, table = self._audit(run, 'no_history')
    self.assertLen(table, 32)
    self.assertIn('no evaluation was kept', summary['weighting']['verdict'])

  def test_alignment_map_sums_to_the_alignment(self):
    # By another way: the gradients of the last layer themselves.
    run = self.run_
    record = run.dataset.splits['train_weak'][0]
    shown, = observer.pictures(run, [record])
    self.assertEqual(shown.prediction.shape, record['label'].shape)
    parts = parts_lib.build_network(tiny.debug_config(), run.dataset)

    def head_grad(params, records, label, loss_fn):
      images = augmentation.to_float(np.stack([r['image'] for r in records]))
      labels, where = losses.one_hot_labels(
          np.stack([r[label] for r in records]), 2)
      return jax.grad(lambda head: loss_fn(
          parts.apply_fn({**params, 'head': head}, images), labels,
          where=where).mean())(params['head'])

    alignments = []
    for params in run.last.state.params:
      strong = head_grad(params, run.dataset.splits['train_strong'], 'label',
                         parts.strong_loss_fn)
      weak = head_grad(params, [record], 'label', parts.alignment_loss_fn)
      alignments.append(sum(jax.tree.leaves(jax.tree.map(
          lambda a, b: (a * b).sum(), strong, weak))))
    np.testing.assert_allclose(
        shown.alignment_map.sum(), np.mean(alignments), rtol=1e-3, atol=1e-6)

  def test_binary(self):
    output = os.path.join(tiny.temp_dir(self), 'audit')
    done = self._run('--run=' + self.workdir, '--output=' + output,
                     '--export=labelme', '--num_export=5')
    self.assertEqual(done.returncode, 0, done.stderr)
    self.assertRegex(done.stdout, 'Faulty annotations: .*cannot tell')
    self.assertIn('5 suspects as labelme', done.stdout)
    with open(os.path.join(output, 'audit.csv'), encoding='utf-8') as f:
      rows = list(csv.DictReader(f))
    self.assertLen(rows, 32)
    scores = [float(r['score']) for r in rows]
    self.assertEqual(scores, sorted(scores, reverse=True))
    self.assertContainsSubset({r['why'] for r in rows}, reasons.REASONS)
    with open(os.path.join(output, 'audit.json'), encoding='utf-8') as f:
      summary = json.load(f)
    self.assertEqual(summary['num_annotations'], 32)
    self.assertBetween(summary['planted']['auroc'], 0, 1)
    exported = os.listdir(os.path.join(output, 'suspects_labelme', 'train'))
    self.assertCountEqual(
        [f for f in exported if f.endswith('.json')],
        [r['id'] + '.json' for r in rows[:5]])
    # Corrections may be in there by now.
    again = self._run('--run=' + self.workdir, '--output=' + output,
                      '--export=labelme')
    self.assertEqual(again.returncode, 2)
    self.assertRegex(again.stderr, r'^Error: .*suspects_labelme exists.*\n$')

  def test_a_link_out_of_the_run_is_not_written_to(self):
    run = os.path.join(tiny.temp_dir(self), 'run')
    os.makedirs(run)
    other = tiny.temp_dir(self)
    os.symlink(other, os.path.join(run, 'audit'))
    found = self._run('--run=' + run)
    self.assertEqual(found.returncode, 2)
    self.assertRegex(
        found.stderr, '^Error: .*audit is a link out of .* --output.\n$')
    self.assertEmpty(os.listdir(other))

  def _run(self, *arguments):
    return subprocess.run(
        [sys.executable, '-m', 'experiments.audit', *arguments], cwd=_ROOT,
        env=os.environ | {'PYTHONPATH': str(_ROOT)}, text=True,
        capture_output=True, check=False)


if __name__ == '__main__':
  absltest.main()
