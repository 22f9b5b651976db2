"""Tests of experiments.auditing.files: tables, and suspects to redraw."""

import csv
import functools
import os
import pathlib

from absl.testing import absltest
from data_prep import manifest as manifest_lib
from data_prep.shared import cells
from experiments import binary
from experiments.auditing import files
from experiments.auditing import ranking
from hybridseg import types
import numpy as np

from tests import audited
from tests import tiny

_Kind = types.AnnotationKind


def _record(record_id=b'a', kind=_Kind.BOX, fault=b'', **more):
  return {'id': record_id, 'kind': kind, 'annotator': b'', 'site': b'',
          'subject': b'', 'fault': fault, 'instance_id': 0, **more}


class FilesTest(absltest.TestCase):

  def test_hostile_ids_come_back_from_the_table(self):
    ids = ['a,b', '"', 'two\nlines', '=1+1', 'é/../x', ' ']
    records = [_record(i.encode()) for i in ids]
    path = os.path.join(tiny.temp_dir(self), 'audit.csv')
    evidence = audited.evidence([0.5] * len(ids), kinds=[3] * len(ids))
    files.write_table(
        path, records, evidence, ranking.score(evidence), np.ones(1))
    with open(path, newline='', encoding='utf-8') as f:
      rows = list(csv.DictReader(f))
    # A spreadsheet must not run the cell as a formula.
    self.assertEqual(rows[3]['id'], "'=1+1")
    rows = list(map(cells.undo_row, rows))
    self.assertEqual([r['id'] for r in rows], ids)
    self.assertEqual([r['rank'] for r in rows], ['1', '2', '3', '4', '5', '6'])

  def test_indicators_of_classes_have_columns(self):
    path = os.path.join(tiny.temp_dir(self), 'audit.csv')
    evidence = audited.evidence([0.5], kinds=[3])
    files.write_table(
        path, [_record(b'a')], evidence, ranking.score(evidence),
        np.array([[0.25, 0.75]]), ('background', 'organ', 'lesion'))
    with open(path, newline='', encoding='utf-8') as f:
      row, = csv.DictReader(f)
    self.assertEqual(
        [row[f'indicator{c}'] for c in ('', '_organ', '_lesion')],
        ['0.5000', '0.2500', '0.7500'])

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


if __name__ == '__main__':
  absltest.main()
