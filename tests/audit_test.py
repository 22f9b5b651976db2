"""Tests of experiments.audit on a finished run, from evidence to files."""

import base64
import contextlib
import csv
import io
import json
import os
import pathlib
import re
import shutil
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import flagsaver
import jax
import numpy as np
from PIL import Image

from experiments import binary
from experiments.auditing import evidence as evidence_lib
from experiments.auditing import expected_gain
from experiments.auditing import files
from experiments.auditing import observer
from experiments.auditing import ranking
from experiments.auditing import reasons
from experiments.auditing import report
from experiments.building import pieces
from experiments.reviewing import decisions
from experiments.reviewing import suspects
from experiments.saving import indicator_history
from experiments.training import trainer
from hybridseg import augmentation
from hybridseg import losses
from hybridseg import types
from tests import binaries
from tests import forked
from tests import tiny

_REVIEW = binaries.load('experiments.review')
_Kind = types.AnnotationKind


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
    """Runs the audit as the binary does, and returns its summary and table."""
    records = evidence_lib.audited(run.dataset.splits['train_weak'])
    evidence = evidence_lib.collect(run)
    scores = ranking.score(evidence)
    summary = files.summarize(
        records, evidence, scores, run.history)
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
    # Otherwise, these masks could not judge a run that starts from the scores.
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
    run = run._replace(
        history=indicator_history.History([], [].__getitem__))
    summary, table = self._audit(run, 'no_history')
    self.assertLen(table, 32)
    self.assertIn('no evaluation was kept', summary['weighting']['verdict'])

  def test_alignment_map_sums_to_the_alignment(self):
    # Compute the alignment in another way: from the gradients of the last
    # layer.
    run = self.run_
    record = run.dataset.splits['train_weak'][0]
    shown, = observer.pictures(run, [record])
    self.assertEqual(shown.prediction.shape, record['label'].shape)
    parts = tiny.build_network(tiny.debug_config(), run.dataset)
    method = pieces.unpack(tiny.debug_config()).method

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
                         method.supervision.strong_loss_fn)
      weak = head_grad(params, [record], 'label', method.alignment_loss_fn)
      alignments.append(sum(jax.tree.leaves(jax.tree.map(
          lambda a, b: (a * b).sum(), strong, weak))))
    np.testing.assert_allclose(
        shown.alignment_map.sum(), np.mean(alignments), rtol=1e-3, atol=1e-6)

  def test_binary(self):
    output = os.path.join(tiny.temp_dir(self), 'audit')
    done = self._run('--run=' + self.workdir, '--output=' + output,
                     '--export=labelme', '--num_export=5',
                     '--order=suspicion', '--minutes=9')
    self.assertEqual(done.returncode, 0, done.stderr)
    self.assertRegex(done.stdout, 'Faulty annotations: .*cannot tell')
    self.assertIn('5 suspects as labelme', done.stdout)
    self.assertIn('next.csv: 6 annotations to draw again, by suspicion, 9 '
                  'minutes. A random order may do as well', done.stdout)
    with open(os.path.join(output, 'audit.csv'), encoding='utf-8') as f:
      rows = list(csv.DictReader(f))
    self.assertLen(rows, 32)
    scores = [float(r['score']) for r in rows]
    self.assertEqual(scores, sorted(scores, reverse=True))
    with open(os.path.join(output, 'next.csv'), encoding='utf-8') as f:
      first = list(csv.DictReader(f))
    self.assertEqual([r['id'] for r in first], [r['id'] for r in rows[:6]])
    self.assertEqual({r['kind'] for r in first}, {'polygon'})
    self.assertEqual(first[-1]['total_minutes'], '9')
    self.assertContainsSubset({r['why'] for r in rows}, reasons.REASONS)
    with open(os.path.join(output, 'audit.json'), encoding='utf-8') as f:
      summary = json.load(f)
    self.assertEqual(summary['num_annotations'], 32)
    self.assertBetween(summary['planted']['auroc'], 0, 1)
    exported = os.listdir(os.path.join(output, 'suspects_labelme', 'train'))
    self.assertCountEqual(
        [f for f in exported if f.endswith('.json')],
        [r['id'] + '.json' for r in rows[:5]])
    # The folder may already hold the user's corrections, so it is not replaced.
    again = self._run('--run=' + self.workdir, '--output=' + output,
                      '--export=labelme')
    self.assertEqual(again.returncode, 2)
    self.assertRegex(again.stderr, r'^Error: .*suspects_labelme exists.*\n$')

  def test_the_first_suspects_are_reviewed(self):
    folder = os.path.join(self.workdir, 'audit')
    with self.assertRaisesRegex(binary.UserError, 'run `python -m experiments'):
      suspects.list_suspects(self.workdir, 3)
    os.mkdir(folder)
    self.addCleanup(shutil.rmtree, folder)
    self._audit(self.run_, 'audit/audit')
    listed = suspects.list_suspects(self.workdir, 3)
    with open(os.path.join(folder, 'audit.csv'), encoding='utf-8') as f:
      rows = list(csv.DictReader(f))[:3]
    self.assertEqual([f['id'] for f in listed.facts], [r['id'] for r in rows])
    self.assertEqual(listed.sizes, {r['id']: (16, 16) for r in rows})
    with self.assertRaisesRegex(binary.UserError, '--minutes=60` first'):
      suspects.list_suspects(self.workdir, None, by_gain=True)
    for ids in ([rows[2]['id'], rows[0]['id']], [rows[1]['id'], 'nobody']):
      blank = ',' * (len(expected_gain.HEADER) - 2)
      with open(os.path.join(folder, 'next.csv'), 'w', encoding='utf-8') as f:
        f.write('\n'.join([','.join(expected_gain.HEADER), *(
            f'1,{i}{blank}' for i in ids)]))
      if 'nobody' in ids:
        with self.assertRaisesRegex(binary.UserError, "lists 'nobody', which"):
          suspects.list_suspects(self.workdir, None, by_gain=True)
      else:
        found = suspects.list_suspects(self.workdir, None, by_gain=True)
        self.assertEqual([f['id'] for f in found.facts], ids)
    review = suspects.open_review(self.run_, listed)
    by_id = {r['id'].decode(): r
             for r in self.run_.dataset.splits['train_weak']}
    records = [by_id[r['id']] for r in rows]
    shown = observer.pictures(self.run_, records)
    for place, (record, picture) in enumerate(
        zip(records, shown, strict=True)):
      content = review.content(place)
      label = lambda name, content=content: decisions.decode_runs(
          content[name], (16, 16), 2)
      # In the tiny set, records are as large as their pictures.
      np.testing.assert_array_equal(label('weak'), record['label'])
      np.testing.assert_array_equal(label('prediction'), picture.prediction)
      np.testing.assert_array_equal(
          label('inside'), picture.prediction * (record['label'] > 0))
      with Image.open(io.BytesIO(base64.b64decode(content['picture']))) as f:
        np.testing.assert_array_equal(np.asarray(f), record['image'])
    with self.assertRaisesRegex(binary.UserError, 'corrected labels'):
      suspects.open_review(self.run_._replace(
          dataset=self.run_.dataset._replace(corrections='x')), listed)
    with self.assertRaisesRegex(binary.UserError, 'no weak training image'):
      suspects.sizes(listed.manifest, ['a'])

  def test_a_static_review_and_its_import(self):
    folder = tiny.temp_dir(self)
    os.mkdir(os.path.join(self.workdir, 'audit'))
    self.addCleanup(shutil.rmtree, os.path.join(self.workdir, 'audit'))
    self._audit(self.run_, 'audit/audit')
    page, sent = (os.path.join(folder, n) for n in ('a.html', 'a.json'))

    def review(**values):
      values = {'run': self.workdir, 'num': 2, 'who': 'ben',
                'output': os.path.join(folder, 'review')} | values
      with (binaries.with_flags(_REVIEW), flagsaver.flagsaver(**values),
            mock.patch.object(observer, 'open_run', return_value=self.run_),
            contextlib.redirect_stdout(io.StringIO()) as out):
        _REVIEW.main()
      return out.getvalue()

    self.assertIn('a.html: 2 suspects', review(static=page))
    text = pathlib.Path(page).read_text('utf-8')
    data = json.loads(re.search(r'id="data">(.*?)</script>', text)[1])
    self.assertEqual(data['mode'], 'static')
    self.assertIn('id="suspect-1"', text)
    row_id = data['suspects'][0]['id']
    decision = {'id': row_id, 'decision': 'drop', 'key': '0' * 32, 'keys': 1,
                'seconds': 1, 'who': 'ben', 'time': '2026-11-28T22:30:01Z'}
    pathlib.Path(sent).write_text(json.dumps({
        'review_decisions': 1, 'manifest_sha256': data['manifest_sha256'],
        'decisions': [decision]}))
    for words in '1 new decision, 0 of 1', '0 new decisions, 1 of 1':
      self.assertIn(words, review(**{'import': sent}))
    # A page that is written again knows what is decided.
    review(static=page)
    text = pathlib.Path(page).read_text('utf-8')
    data = json.loads(re.search(r'id="data">(.*?)</script>', text)[1])
    self.assertEqual([(i, d['who']) for i, d in data['decided']],
                     [(row_id, 'ben')])
    for values, message in (
        ({'static': page, 'import': sent}, 'Give one of'),
        ({'static': os.path.join(folder, 'no', 'a.html')}, 'no such folder'),
        ({'import': page}, 'not JSON'), ({'who': 'x' * 101}, '100 characters')):
      with self.assertRaisesRegex(binary.UserError, message):
        review(**values)

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
    return forked.run('experiments.audit', *arguments)


if __name__ == '__main__':
  absltest.main()
