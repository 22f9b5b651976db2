"""Tests `prepare --source` and `export` on files that a user could have."""

import functools
import json
import os
import pathlib
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
from data_prep import formats
from data_prep import manifest as manifest_lib
from data_prep.drawing import predictions
from data_prep.drawing import rasterize
from data_prep.drawing import rle
from data_prep.formats import registry
from data_prep.splits import dividing
from data_prep.splits import splits
import numpy as np
from PIL import Image
import tensorflow_datasets as tfds

from tests import forked
from tests import prepare_binary
from tests.damage import bombs

_ROOT = pathlib.Path(__file__).parent.parent


class OwnSetTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    folder = self.enterContext(tempfile.TemporaryDirectory())
    self.folder = pathlib.Path(folder)
    self.source = self.folder / 'source'
    self.output = self.folder / 'output'

  def _write(self, num_images=30, num_masks=30, per_subject=3):
    rng = np.random.default_rng(0)
    for i in range(num_images):
      subject = f'p{i // per_subject:02d}'
      small = Image.fromarray(
          rng.integers(256, size=(8, 8, 3), dtype=np.uint8))
      path = self.source / 'images' / subject / f'{i:02d}.png'
      path.parent.mkdir(parents=True, exist_ok=True)
      small.resize((32, 24), Image.Resampling.BICUBIC).save(path)
      if i < num_masks:
        mask = np.zeros((24, 32), np.uint8)
        mask[4 + i % 9 : 14 + i % 7, 5 : 12 + i % 11] = 255
        path = self.source / 'masks' / subject / f'{i:02d}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(path)

  def _prepare(self, *more):
    return prepare_binary.run(
        f'--source={self.source}', f'--output={self.output}',
        '--image_size=16', *more)

  def _rows(self):
    return manifest_lib.read_manifest(self.output / 'manifest.jsonl').rows

  def test_masks_only(self):
    self._write()
    code, out, lines = self._prepare(
        '--simulate=box,scribble,none', '--strong_fraction=0.3')
    self.assertEqual((code, lines), (0, []), out)
    self.assertIn('masks hold 0 and 255 only: 255 is class 1', out)
    self.assertIn('custom.py --config.input.data_dir=', out)
    rows = self._rows()
    places = {}
    for row in rows:
      places.setdefault(row.subject, set()).add(row.split)
    self.assertLen(places, 10)
    self.assertTrue(all(len(v) == 1 for v in places.values()))
    train = [r for r in rows if r.split == 'train']
    self.assertLen([r for r in train if r.role == 'strong'],
                   round(0.3 * len(train)))
    kinds = {r.annotation['kind'] for r in train if r.role == 'weak'}
    self.assertEqual(kinds, {'box', 'scribble'})
    free = [r for r in train if r.role == 'unlabelled']
    self.assertNotEmpty(free)
    self.assertEqual(free[0].evaluation['truth']['kind'], 'mask')
    records = tfds.builder_from_directory(self.output / 'records')
    self.assertEqual(records.info.splits['train_weak'].num_examples,
                     sum(r.role != 'strong' for r in train))

  def test_masks_of_some_are_strong_and_the_rest_is_unlabelled(self):
    self._write(num_masks=18)
    code, _, lines = self._prepare()
    self.assertEqual((code, lines), (0, []))
    rows = {r.id: r for r in self._rows()}
    self.assertEqual({r.split for r in rows.values()},
                     {'train', 'val', 'test'})
    self.assertEqual(rows['p09/29'].role, 'unlabelled')
    self.assertEqual(rows['p09/29'].split, 'train')

  def test_splits_file_is_followed(self):
    self._write()
    args = ('--simulate=box', '--strong_fraction=0.3')
    self._prepare(*args)
    text = (self.output / 'splits.csv').read_text()
    before = self._rows()
    path = self.folder / 'splits.csv'
    path.write_text(text)
    self.output.rename(self.folder / 'old')
    code, _, lines = self._prepare(*args, f'--splits={path}', '--seed=7')
    self.assertEqual((code, lines), (0, []))
    self.assertEqual([r.split for r in self._rows()],
                     [r.split for r in before])
    path.write_text(text.replace('train', 'trian', 1))
    code, _, lines = self._prepare(*args, f'--splits={path}')
    self.assertEqual(code, 2)
    self.assertIn('trian', lines[0])

  def test_splits_file_gives_the_same_weak_labels(self):
    self._write()
    args = ('--simulate=box,none', '--strong_fraction=0.3')
    self._prepare(*args)
    before = self._rows()
    path = self.folder / 'splits.csv'
    path.write_text((self.output / 'splits.csv').read_text())
    self.output.rename(self.folder / 'old')
    # The roles in the file take precedence over any budget.
    self._prepare('--simulate=box,none', f'--splits={path}')
    self.assertEqual(self._rows(), before)
    self.assertEqual({r.role for r in before if r.split == 'train'},
                     {'strong', 'weak', 'unlabelled'})
    self.output.rename(self.folder / 'again')
    code, _, lines = self._prepare(f'--splits={path}')
    self.assertEqual(code, 2)
    self.assertIn('all that is known of it is an exact mask', lines[0])

  def test_exact_and_unlabelled_images_of_every_subject(self):
    self._write()
    for i in range(0, 30, 3):
      (self.source / f'masks/p{i // 3:02d}/{i:02d}.png').unlink()
    code, out, lines = self._prepare()
    self.assertEqual((code, lines), (0, []))
    rows = self._rows()
    # The first of each subject's three pictures has no mask. One subject is in
    # val and two are in test, so three pictures are left out.
    names = sorted({f'{r.subject}/{int(r.subject[1:]) * 3:02d}': r.split
                    for r in rows if r.split != 'train'}.items())
    self.assertLen(names, 3)
    self.assertIn(
        '3 pictures of val or test without exact mask but of a subject that '
        f'has some are left out: {", ".join(n for n, _ in names)}\n', out)
    path = self.output / 'left_out.csv'
    self.assertEqual(path.read_text().splitlines()[1:], [
        f'{name},picture,annotation,picture of {split} without exact mask but '
        'of a subject that has some' for name, split in names])
    splits = {(r.subject, r.split) for r in rows}
    self.assertLen({s for s, _ in splits}, len(splits))
    self.assertEqual({r.role for r in rows if r.split != 'train'}, {'strong'})
    self.assertIn('unlabelled', {r.role for r in rows})
    # With the two files that were written, a second preparation of the set
    # divides it in the same way.
    kept = [(self.output / name).rename(self.folder / name)
            for name in ('splits.csv', 'left_out.csv')]
    self.output.rename(self.folder / 'old')
    code, out, lines = self._prepare(
        f'--splits={kept[0]}', f'--leave_out=@{kept[1]}')
    self.assertEqual((code, lines), (0, []), out)
    self.assertEqual(self._rows(), rows)

  def test_pictures_of_test_without_annotation_are_named_and_listed(self):
    self._write()
    for kind in ('images', 'masks'):
      for i in range(10):
        split = 'test' if i < 3 else 'val' if i < 6 else 'train'
        path = self.source / kind / split / f'p{i:02d}'
        path.parent.mkdir(exist_ok=True)
        (self.source / kind / f'p{i:02d}').rename(path)
    names = ['p00/00', 'p00/01', 'p00/02', 'p01/03']
    for name in names:
      (self.source / f'masks/test/{name}.png').unlink()
    code, out, lines = self._prepare('--simulate=box')
    self.assertEqual((code, lines), (0, []), out)
    self.assertIn('4 pictures of val or test without annotation are left out: '
                  'p00/00, p00/01, p00/02, ...', out)
    path = self.output / 'left_out.csv'
    self.assertEqual(path.read_text().splitlines(), [
        'name,what,field,reason', *(
            f'{name},picture,annotation,picture of test without annotation'
            for name in names)])
    before = self._rows()
    self.assertNoCommonElements(names, [r.id for r in before])
    # --leave_out accepts the list that the first preparation wrote.
    kept = path.rename(self.folder / 'left_out.csv')
    self.output.rename(self.folder / 'old')
    code, out, lines = self._prepare('--simulate=box', f'--leave_out=@{kept}')
    self.assertEqual((code, lines), (0, []), out)
    self.assertEqual(self._rows(), before)

  def test_groups_that_are_exact_in_part_are_never_cut(self):
    mask, rng = {'kind': 'mask', 'path': 'm.png'}, np.random.default_rng(0)
    for seed in range(300):
      rows = [manifest_lib.Row(
          str(i), f'{i}.png', '', '', mask if rng.random() < 0.5 else None,
          subject=str(rng.integers(12)), site=str(rng.integers(9)))
              for i in range(rng.integers(12, 40))]
      by = ('subject', 'site')[seed % 2]
      deal = functools.partial(
          splits.assign_splits, fractions=(0.6, 0.2, 0.2), seed=seed,
          presence={})
      try:
        found = dividing.deal_in_part(rows, deal, by)
      except splits.TooFewGroupsError:
        continue
      self.assertEqual(set(found), {r.id for r in rows})
      for group in splits.group_rows(rows, by):
        self.assertLen({found[r.id] for r in group}, 1)

  @parameterized.parameters('train', 'Task1-2_Training_Input')
  def test_a_split_that_holds_everything_is_none(self, name):
    self._write()
    if name == 'train':
      for folder in ('images', 'masks'):
        (self.source / name).mkdir(exist_ok=True)
        (self.source / folder).rename(self.source / name / folder)
    else:
      (self.source / 'images').rename(self.source / name)
      (self.source / 'masks').rename(self.source / 'Task1_Training_GroundTruth')
    code, out, lines = self._prepare('--simulate=box')
    self.assertEqual((code, lines), (0, []), out)
    self.assertIn('every picture is in train', out)
    rows = self._rows()
    self.assertEqual({r.split for r in rows}, {'train', 'val', 'test'})
    self.assertLen({r.subject for r in rows}, 10)

  def test_observers_of_a_picture_are_in_one_split(self):
    self._write(num_images=12, num_masks=0, per_subject=1)
    for path in sorted((self.source / 'images').rglob('*.png')):
      path.rename(self.source / path.name)
      for k, observer in enumerate(('1stHO', '2ndHO')):
        mask = np.zeros((24, 32), np.uint8)
        mask[4 + k : 14, 5:12] = 255
        Image.fromarray(mask).save(
            self.source / f'{path.stem}_{observer}.png')
    code, out, lines = self._prepare('--simulate=box')
    self.assertEqual((code, lines), (0, []), out)
    self.assertIn('12 pictures have masks of several observers', out)
    self.assertNotIn('on no line', out)
    rows = self._rows()
    self.assertLen(rows, 24)
    self.assertLen({(r.subject, r.split) for r in rows}, 12)
    self.assertEqual({r.annotator for r in rows},
                     {'1stHO', '2ndHO', 'simulated'})

  def test_pattern_that_matches_nothing(self):
    self._write()
    code, _, lines = self._prepare('--subject_pattern=(q.)')
    self.assertEqual(code, 2)
    self.assertIn("matches none of 30 ids, found 'p00/00'", lines[0])
    code, out, _ = self._prepare('--subject_pattern=^(p0[0-7])',
                                 '--simulate=box')
    self.assertEqual(code, 0)
    self.assertIn("matches 24 of 30 ids, not 'p08/24'", out)

  def test_damaged_files_are_named_where_labels_are_simulated(self):
    self._write()
    (self.source / 'images/p01/03.png').write_bytes(b'broken')
    (self.source / 'masks/p02/06.png').write_bytes(b'broken')
    self.source.joinpath('images/p03/09.png').write_bytes(
        bombs.png(14_000, 14_000))
    code, _, lines = self._prepare('--simulate=scribble')
    self.assertEqual(code, 2)
    for name in ('images/p01/03.png', 'masks/p02/06.png', 'images/p03/09.png'):
      self.assertTrue(any(name in line for line in lines), (name, lines))
    # A message must not name a line of the manifest, which no longer exists.
    self.assertNotIn('line ', '\n'.join(lines))

  @parameterized.parameters('set.csv', 'set.json')
  def test_source_is_a_file(self, name):
    self._write()
    path = self.source / name
    path.write_text('image,mask\n' + ''.join(
        f'images/p{i // 3:02d}/{i:02d}.png,masks/p{i // 3:02d}/{i:02d}.png\n'
        for i in range(30)))
    self.source = path
    code, _, lines = self._prepare('--simulate=box')
    if name == 'set.csv':
      self.assertEqual((code, lines), (0, []))
      self.assertLen({r.subject for r in self._rows()}, 10)
    else:
      self.assertEqual(code, 2)
      self.assertIn('give the folder', lines[0])

  def test_folds(self):
    self._write()
    code, _, lines = self._prepare(
        '--num_folds=5', '--fold=1', '--simulate=box')
    self.assertEqual((code, lines), (0, []))
    with open(self.output / 'splits.csv', encoding='utf-8') as file:
      lines = [line.strip().split(',') for line in file][1:]
    place = {'1': 'test', '2': 'val'}
    for _, _, split, _, fold in lines:
      self.assertEqual(split, place.get(fold, 'train'))

  def test_human_scribbles_beside_masks(self):
    self._write()
    for path in sorted((self.source / 'masks').rglob('*.png')):
      other = self.source / 'scribbles' / path.relative_to(
          self.source / 'masks')
      other.parent.mkdir(parents=True, exist_ok=True)
      label = np.full((24, 32), 255, np.uint8)
      label[5, 6:9] = 0
      Image.fromarray(label).save(other)
      mask = np.asarray(Image.open(path)) // 255
      Image.fromarray(mask.astype(np.uint8)).save(path)
    code, _, lines = self._prepare('--strong_fraction=0.2')
    self.assertEqual((code, lines), (0, []))
    weak = [r for r in self._rows() if r.role == 'weak']
    self.assertEqual({r.annotation['kind'] for r in weak}, {'scribble'})
    self.assertEqual(
        {r.evaluation['truth']['kind'] for r in weak}, {'mask'})

  def test_near_copies_stay_together(self):
    self._write(per_subject=1)
    first = Image.open(self.source / 'images/p00/00.png')
    for i in (7, 13, 22):
      first.point(lambda value, i=i: value * (1 - i / 100)).save(
          self.source / f'images/p{i:02d}/{i:02d}.png')
    code, out, lines = self._prepare('--simulate=box')
    self.assertEqual((code, lines), (0, []))
    self.assertIn('4 pictures are nearly the same', out)
    splits = {r.id: r.split for r in self._rows()}
    self.assertLen({splits[n] for n in (
        'p00/00', 'p07/07', 'p13/13', 'p22/22')}, 1)

  def test_all_problems_in_one_pass(self):
    self._write()
    (self.source / 'masks/p00/00.png').unlink()
    (self.source / 'images/p01/03.png').write_bytes(b'broken')
    (self.source / 'masks/p09/orphan.png').write_bytes(b'broken')
    code, _, lines = self._prepare()
    self.assertEqual(code, 2)
    text = '\n'.join(lines)
    self.assertIn('a mask without a picture', text)
    self.assertIn('image cannot be read', text)
    self.assertFalse(self.output.exists())

  @parameterized.parameters(
      (['--mask_values=1'], 'expected STORED:CLASS'),
      (['--classes=a'], 'two or more different names'),
      (['--split_fractions=0.5,0.5'], 'expected 3 numbers'),
      (['--split_fractions=0.5,0.2,0.1'], 'sum'),
      (['--simulate=cube'], "unknown ['cube']"),
      (['--subject_pattern=p.'], 'has no group'),
      (['--subject_pattern=(p'], '--subject_pattern:'),
      (['--num_folds=3', '--fold=3'], 'expected 0 to 2'),
      (['--splits=/nowhere.csv'], 'no such file'),
      (['--intensity_range=3,1'], 'LOW < HIGH'),
      (['--format=yolo'], 'class names are not known'),
      (['--split_by=site'], 'site'),
      (['--strong_minutes=1', '--simulate=box'], 'budget'),
  )
  def test_bad_flags(self, argv, words):
    self._write()
    code, _, lines = self._prepare(*argv)
    self.assertEqual(code, 2)
    self.assertIn(words, '\n'.join(lines))
    self.assertFalse(self.output.exists())
    self.assertEqual(os.listdir(self.folder), ['source'])

  def test_nothing_to_read(self):
    self.source.mkdir()
    code, _, lines = self._prepare()
    self.assertEqual(code, 2)
    self.assertIn('nothing of a known format', lines[0])

  def test_out_to_an_annotation_tool_and_in_again(self):
    self._write()
    self._prepare('--simulate=box')
    masks = self.folder / 'masks'
    weak = [r for r in self._rows() if r.role == 'weak']
    for row in weak[:3]:
      (masks / row.id).parent.mkdir(parents=True, exist_ok=True)
      Image.fromarray(np.ones((24, 32), np.uint8)).save(masks / f'{row.id}.png')
    export = lambda *argv: forked.run(
        'data_prep.export', f'--manifest={self.output}/manifest.jsonl', *argv)
    done = export('--format=coco', f'--output={self.folder}/coco',
                  f'--masks={masks}', '--constrain', '--splits=train')
    self.assertEqual((done.returncode, done.stderr), (0, ''))
    self.assertNotIn('does not hold', done.stdout)
    content = json.loads((self.folder / 'coco/annotations.json').read_text())
    self.assertLen(content['images'], sum(
        r.split == 'train' for r in self._rows()))
    back = registry.read('coco', self.folder / 'coco', self.folder,
                         formats.Options())
    self.assertEqual(back.problems, [])
    row = next(r for r in back.rows if r.id == weak[0].id)
    np.testing.assert_array_equal(
        rasterize.rasterize(row.annotation, size=(24, 32), root=_ROOT),
        rasterize.rasterize(weak[0].annotation, size=(24, 32), root=_ROOT))
    done = export('--format=geojson', f'--output={self.folder}/geojson')
    self.assertEqual((done.returncode, done.stderr), (0, ''))
    self.assertIn('notice: QuPath returns masks and boxes as polygons',
                  done.stdout)
    done = export('--format=yolo', f'--output={self.folder}/yolo')
    self.assertEqual(done.returncode, 2)
    self.assertIn('yolo cannot express mask', done.stderr)
    self.assertFalse((self.folder / 'yolo').exists())


class ConstrainTest(absltest.TestCase):

  def _constrain(self, annotation):
    label = np.zeros((6, 8), np.uint8)
    label[1:4, 1:5] = 1
    label[5, 7] = 2
    return predictions.constrain(label, annotation, root=pathlib.Path())

  def test_box(self):
    result = self._constrain({
        'kind': 'box', 'boxes': [[2, 0, 4, 3], [0, 4, 3, 6]],
        'labels': [1, 1]})
    expected = np.zeros((6, 8), np.uint8)
    expected[1:3, 2:4] = 1  # Predictions outside the first box are dropped.
    # The second box contains no predicted pixel and is therefore filled.
    expected[4:6, 0:3] = 1
    np.testing.assert_array_equal(result, expected)

  def test_points_and_tag(self):
    result = self._constrain(
        {'kind': 'scribble', 'strokes': [[[6.5, 1.5]]], 'labels': [2],
         'width': 1})
    self.assertEqual(result[1, 6], 2)
    self.assertEqual((result == 1).sum(), 12)
    result = self._constrain({'kind': 'tag', 'labels': [2]})
    self.assertEqual((result == 1).sum(), 0)
    self.assertEqual(result[5, 7], 2)

  def test_coarse_mask(self):
    inside = np.zeros((6, 8), bool)
    inside[:3, :3] = True
    result = self._constrain({
        'kind': 'coarse_mask', 'rles': [rle.encode_rle(inside)],
        'labels': [1]})
    self.assertEqual((result == 1).sum(), 4)
    self.assertEqual((result == 2).sum(), 0)


if __name__ == '__main__':
  absltest.main()
