"""Tests of how a source is divided, and of the refusals if it cannot be."""

import collections
import pathlib
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from data_prep import manifest as manifest_lib
from data_prep.splits import dividing
from data_prep.splits import split_refusals
from data_prep.splits import strong_choice
from tests import split_rows

_MASK, _BOX = split_rows.MASK, split_rows.BOX
_NOWHERE = pathlib.Path('/nowhere')
_LINE = 200


def _rows(number, *, per_subject=1, split='', annotation=_MASK, start=0,
          **fields):
  """Returns rows of subjects s0, s1, ..., or without subjects.

  If `per_subject` is 0, the rows have no subject.
  """
  return [manifest_lib.Row(
      f'{i:02d}', f'{i:02d}.png', split, '', annotation,
      **({'subject': f's{i // per_subject}'} if per_subject else {}) | fields)
          for i in range(start, start + number)]


def _kind(kind):
  return {'kind': kind}


_COARSE = {'kind': 'coarse_mask', 'rles': [], 'labels': []}
_two = ('train', 'test')
_GIVEN_BOTH = [
    *_rows(9, split='train'),
    *_rows(3, split='test', start=9, annotation=_kind('polygon'))]
_ONE_SUBJECT_IN_TWO = [
    r._replace(split=_two[i % 2] if i < 8 else '')
    for i, r in enumerate(_rows(12, per_subject=2))]

# Name of the test, rows, options for drawing splits, and words of the message.
REFUSALS = (
    ('nothing_annotated', _rows(9, annotation=None), {},
     'none of 9 pictures is annotated', 'put masks beside them'),
    ('polygons_only', _rows(9, annotation=_kind('polygon')), {},
     'no picture has an exact mask', 'found 9 polygon; --polygons_are=mask'),
    ('boxes_only', _rows(9, annotation=_BOX), {},
     'no picture has an exact mask', 'give them exact masks'),
    ('coarse_masks_only', _rows(9, annotation=_kind('coarse_mask')), {},
     'no picture has an exact mask', 'if over a tenth is unlabelled'),
    ('drawn_coarse_masks_only', _rows(12345, annotation=_COARSE), {},
     'no picture has an exact mask', 'found 12345 coarse_mask; '
     '--masks_are=mask makes masks exact, except beside other shapes '
     '(--classes can leave those out)'),
    ('drawn_coarse_mask_in_test', [
        *_rows(9, split='train'),
        *_rows(1, split='test', start=9, annotation=_COARSE)], {},
     '1 picture that the source puts into val or test has no exact mask (09)',
     '--masks_are=mask if they hold no other shape, else --leave_out=@FILE'),
    ('folds_of_polygons', _rows(9, annotation=_kind('polygon')),
     dict(num_folds=3), 'no picture has an exact mask', '--polygons_are=mask'),
    ('weak_in_test', _GIVEN_BOTH, {},
     '3 pictures that the source puts into val or test have no exact mask (09, '
     '10, 11)', 'found 3 polygon; --polygons_are=mask if they are exact, else '
     '--leave_out=@FILE'),
    ('boxes_in_test', [
        *_rows(9, split='train'),
        *_rows(4, split='test', start=9, annotation=_BOX)], {},
     'have no exact mask (09, 10, 11, ...)',
     'give exact masks, or --leave_out=@FILE'),
    ('one_subject', _rows(9, per_subject=9), {},
     'all 9 pictures are of one subject', "found 's0'; --subjects=FILE"),
    ('two_subjects', _rows(8, per_subject=4), {},
     'train, val and test need 3 subjects with exact masks, and there are only '
     '2', '--subjects=FILE or --subject_pattern'),
    ('two_pictures', _rows(2, per_subject=0), {},
     'need 3 subjects with exact masks, and there are only 2, found 00, 01',
     'give more exact masks; or --split_fractions=0.8,0,0.2'),
    ('exact_in_two_of_many', [
        *_rows(2), *_rows(9, annotation=_BOX, start=2)], {},
     'train, val and test need exact masks, and only 2 subjects have some',
     'give more exact masks'),
    ('more_folds_than_subjects', _rows(12, per_subject=2), dict(num_folds=10),
     '10 folds need 10 subjects with exact masks, and there are only 6',
     '--num_folds=6 at most'),
    ('folds_of_one_picture', _rows(1), dict(num_folds=2), '2 folds need 2',
     'without --num_folds'),
    ('no_site', _rows(9), dict(by='site'),
     '--split_by=site, but 9 of 9 pictures have no site',
     "found '00'; --subjects=FILE with a column site, or --split_by=subject"),
    ('some_sites', [*_rows(8, site='x'), *_rows(1, start=8)], dict(by='site'),
     '1 of 9 pictures has no site', '--split_by=subject'),
    ('two_sites', [*_rows(8, site='x'), *_rows(8, start=8, site='y')],
     dict(by='site'), 'need 3 sites with exact masks, and there are only 2',
     '--split_by=subject'),
    ('fractions', _rows(9), dict(fractions=(0.7, 0.2, 0.2)),
     '--split_fractions: expected three shares that sum to 1', '0.7,0.2,0.2'),
    ('negative_fractions', _rows(9), dict(fractions=(1.2, -0.2, 0)),
     '--split_fractions: expected three shares', '1.2,-0.2,0'),
    ('subject_in_two_splits', _ONE_SUBJECT_IN_TWO, {},
     '4 subjects are in two splits of the source, test and train',
     'found s0, s1, s2, ...; --subjects=FILE or --subject_pattern'),
    ('site_in_two_splits', [
        *_rows(6, site='x', split='train'),
        *_rows(6, site='x', split='test', start=6),
        *_rows(2, site='y', start=12)], dict(by='site'),
     'a site is in train and in test', "found 'x'; --subjects=FILE"),
    ('given_to_most', [
        *_rows(9, split='train'), *_rows(1, start=9)], {},
     'the source gives splits to 9 of 10 subjects with exact masks, and too '
     'few are left', '--splits=FILE'),
)


class RefusalTest(parameterized.TestCase):

  @parameterized.named_parameters(*REFUSALS)
  def test_names_its_cause(self, rows, draw, what, fix):
    with self.assertRaises(split_refusals.RefusedError) as caught:
      dividing.draw_splits(rows, _NOWHERE, dividing.Draw(**draw), [])
    line = str(caught.exception.problem)
    self.assertIn(what, line)
    self.assertIn(fix, line)
    self.assertLessEqual(len(line), _LINE)
    self.assertFalse(line.endswith('...'), line)

  def test_copies(self):
    # All images are copies of one picture, so they cannot be kept apart.
    rows = _rows(6)
    image = np.random.default_rng(0).integers(256, size=(40, 40, 3))
    with mock.patch.object(
        dividing.rasterize, 'read_image',
        return_value=image.astype(np.uint8)):
      with self.assertRaises(split_refusals.RefusedError) as caught:
        dividing.draw_splits(rows, _NOWHERE, dividing.Draw(), [])
      self.assertIn('nearly the same', str(caught.exception.problem))
      self.assertIn('--near_copies=notice', str(caught.exception.problem))
      found, _ = dividing.draw_splits(
          rows, _NOWHERE, dividing.Draw(keep_copies_together=False), [])
    self.assertLen({r.split for r in found}, 3)

  @parameterized.parameters(
      (dict(fraction=0.0), '--strong_fraction=0 keeps no exact mask'),
      (dict(fraction=0.9), 'change --strong_fraction'),
      (dict(minutes=0.1), 'change --strong_minutes'))
  def test_choice_of_the_strong(self, budget, words):
    budget = strong_choice.Budget(**budget)
    rows = [*_rows(3, split='train'),
            *_rows(9, split='train', annotation=None, start=3)]
    with self.assertRaises(ValueError) as caught:
      strong_choice.choose_strong(
          rows, budget=budget, seed=0, presence={}, weak_kind='box')
    line = str(split_refusals.choice(caught.exception, budget).problem)
    self.assertIn(words, line)
    self.assertNotIn('.;', line)


class GivenSplitsTest(parameterized.TestCase):

  def _draw(self, rows, **draw):
    notices = []
    found, _ = dividing.draw_splits(
        rows, _NOWHERE, dividing.Draw(**draw), notices)
    for group in collections.Counter(
        (r.subject, r.split) for r in found), collections.Counter(
            r.subject for r in found):
      self.assertLen(group, len({r.subject for r in found}))
    return {r.id: r.split for r in found}, notices

  @parameterized.parameters('train', 'val', 'test')
  def test_a_split_that_holds_everything_is_none(self, split):
    found, notices = self._draw(_rows(20, split=split, per_subject=2))
    self.assertEqual(collections.Counter(found.values()),
                     {'train': 14, 'val': 2, 'test': 4})
    self.assertLen(notices, 1)
    self.assertStartsWith(notices[0], f'every picture is in {split}')
    self.assertLessEqual(len(f'notice: {notices[0]}'), _LINE)

  def test_it_is_kept_on_request(self):
    rows = _rows(20, split='train', per_subject=20)
    found, notices = self._draw(rows, fractions=(1.0, 0.0, 0.0))
    self.assertEqual((set(found.values()), notices), ({'train'}, []))

  def test_all_exact_ones_are_in_train(self):
    # Images without a mask lie in no folder that names a split.
    rows = [*_rows(20, split='train'),
            *_rows(5, annotation=None, split='train', start=20)]
    found, _ = self._draw(rows)
    self.assertLen(set(found.values()), 3)
    self.assertEqual({found[f'{i}'] for i in range(20, 25)}, {'train'})

  def test_weak_in_train_and_exact_in_test_stay(self):
    rows = [*_rows(20, split='train', annotation=_BOX),
            *_rows(5, split='test', start=20)]
    found, notices = self._draw(rows)
    self.assertEqual(found, {r.id: r.split for r in rows})
    self.assertLen(notices, 1)
    self.assertIn('train has too few', notices[0])

  @parameterized.parameters('val', 'test')
  def test_a_missing_split_is_drawn_from_train(self, other):
    missing = {'val': 'test', 'test': 'val'}[other]
    rows = [*_rows(40, split='train', per_subject=2),
            *_rows(20, split=other, start=40, per_subject=2)]
    found, notices = self._draw(rows)
    self.assertEqual({found[f'{i}'] for i in range(40, 60)}, {other})
    # val gets 40 * 0.1 / 0.8 images, or test gets 40 * 0.2 / 0.9, each rounded
    # to whole subjects.
    expected = {'val': (4, 6), 'test': (8, 10)}[missing]
    number = collections.Counter(found.values())[missing]
    self.assertBetween(number, *expected)
    self.assertEqual(notices, [
        f'the source has no {missing}: {number} pictures of train become '
        f'{missing}, by subject'])

  def test_a_missing_split_that_nobody_wants(self):
    rows = [*_rows(40, split='train'), *_rows(20, split='test', start=40)]
    found, notices = self._draw(rows, fractions=(0.8, 0.0, 0.2))
    self.assertEqual(found, {r.id: r.split for r in rows})
    self.assertEqual(notices, [])

  def test_train_of_one_subject_stays_whole(self):
    rows = [*_rows(8, split='train', per_subject=8),
            *_rows(8, split='test', start=8, per_subject=8)]
    found, notices = self._draw(rows)
    self.assertEqual(found, {r.id: r.split for r in rows})
    self.assertIn('the source has no val, and train has too few subjects',
                  notices[0])

  def test_all_three_given(self):
    rows = [*_rows(8, split='train'), *_rows(2, split='val', start=8),
            *_rows(2, split='test', start=10)]
    found, notices = self._draw(rows)
    self.assertEqual((found, notices), ({r.id: r.split for r in rows}, []))


if __name__ == '__main__':
  absltest.main()
