"""Tests for data_prep.splits.splits."""

import collections

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from data_prep import manifest
from data_prep.splits import splits
from data_prep.splits import strong_choice
from tests import split_rows

MASK = split_rows.MASK
BOX = split_rows.BOX
assign = split_rows.assign
choose = split_rows.choose
row = split_rows.row
rows_of = split_rows.rows_of


class AssignSplitsTest(parameterized.TestCase):

  def test_hand_computed(self):
    # The subject with 7 images fits only into train. The one with 2 images then
    # fits into test but not into val, and the one with 1 image goes to val.
    found = assign(rows_of([1, 7, 2]))
    self.assertEqual({i[:2]: s for i, s in found.items()},
                     {'s0': 'val', 's1': 'train', 's2': 'test'})
    self.assertLen(found, 10)

  def test_sizes_are_exact_for_single_images(self):
    found = assign([row(f'{i}') for i in range(100)])
    self.assertEqual(collections.Counter(found.values()),
                     {'train': 70, 'val': 10, 'test': 20})

  def test_seeds_differ(self):
    rows = [row(f'{i}') for i in range(50)]
    self.assertNotEqual(assign(rows, seed=0), assign(rows, seed=1))

  def test_strata_are_nearer_than_by_chance(self):
    rng = np.random.default_rng(0)
    rows = [row(f'{i:04}') for i in range(1000)]
    presence = {r.id: frozenset(np.flatnonzero(rng.random(3) < (.5, .1, .02)))
                for r in rows}
    totals = collections.Counter(c for s in presence.values() for c in s)
    for split, share in zip(manifest.SPLITS, (.7, .1, .2), strict=True):
      found = assign(rows, presence)
      for c, total in totals.items():
        number = sum(c in presence[i] for i, s in found.items() if s == split)
        self.assertLess(abs(number - share * total), 1.5)

  def test_classes_do_not_cost_the_sizes(self):
    # A group must go to a split into which it fits, even if another split needs
    # its classes more. By classes alone, train would get 5 of these 21 images,
    # which are 5.5 too few.
    shown = [[{2}, (), (), {2}], [{1, 2}, {1, 2}, {1}, {1}, ()],
             [{1}, {1}, (), {1}, ()], [{2}, (), (), ()], [(), {1}, ()]]
    rows = rows_of(map(len, shown))
    presence = {f's{i}_{j}': frozenset(classes) for i, group in enumerate(shown)
                for j, classes in enumerate(group)}
    found = assign(rows, presence, fractions=(0.5, 0.25, 0.25))
    counts = collections.Counter(found.values())
    self.assertLess(abs(counts['train'] - 10.5), 5)

  def test_weak_groups_go_to_train_and_do_not_count(self):
    # Of 10 exact and 90 weak images, train, val and test get 7, 1 and 2 exact
    # ones. The weak images alone are more than 70 % of the set, but train must
    # get its share of the exact ones as well.
    rows = [row(f'{i}', annotation=MASK if i < 10 else BOX)
            for i in range(100)]
    found = assign(rows)
    self.assertEqual(
        collections.Counter(found[f'{i}'] for i in range(10)),
        {'train': 7, 'val': 1, 'test': 2})
    self.assertEqual({found[f'{i}'] for i in range(10, 100)}, {'train'})

  def test_one_weak_image_takes_its_subject_to_train(self):
    rows = [row('a', 's', annotation=BOX), row('b', 's'), row('c'), row('d')]
    self.assertEqual(assign(rows)['b'], 'train')

  def test_train_wants_an_exact_mask_beside_weak_ones(self):
    rows = [row('w', annotation=BOX), *(row(f'{i}') for i in range(3))]
    for seed in range(5):
      found = assign(rows, seed=seed, fractions=(0.02, 0.49, 0.49))
      self.assertIn('train', [found[f'{i}'] for i in range(3)])

  def test_an_image_without_annotation_goes_to_train(self):
    rows = [row('a'), row('b'), row('c', annotation=None)]
    self.assertEqual(assign(rows)['c'], 'train')

  def test_subject_links_sites(self):
    rows = [row('a', 's', site='x'), row('b', 's', site='y'),
            row('c', 't', site='y'), row('d', 'u', site='z')]
    found = assign(rows, by='site', fractions=(0.5, 0.0, 0.5))
    self.assertLen({found[i] for i in 'abc'}, 1)
    self.assertNotEqual(found['a'], found['d'])

  def test_names_of_subjects_sites_and_ids_do_not_mix(self):
    rows = [row('x', 'y', site='z'), row('y', 'z', site='x'),
            row('z', 'x', site='y')]
    for by in ('subject', 'site'):
      self.assertLen(set(assign(rows, by=by).values()), 3)

  def test_given_splits_are_kept_and_shared_out(self):
    # test already has 40 of 100 images instead of 20. The other 60 images are
    # divided between train and val at the ratio 7 : 1 of their fractions.
    rows = [row(f'{i:02}', split='test' if i < 40 else '') for i in range(100)]
    found = assign(rows)
    self.assertEqual({found[f'{i:02}'] for i in range(40)}, {'test'})
    counts = collections.Counter(found.values())
    self.assertEqual(counts['test'], 40)
    self.assertIn(counts['val'], (7, 8))  # 60 / 8 = 7.5.

  def test_train_that_has_its_share_gets_no_more(self):
    # train already has 2 of 6 images, which is more than 20 %. val and test
    # therefore share the other 4, even though train lacks their class.
    rows = [*(row(f't{i}', split='train') for i in range(2)),
            *(row(f'{i}') for i in range(4))]
    presence = {f'{i}': {'polyp'} for i in range(4)}
    for seed in range(5):
      found = assign(rows, presence, seed=seed, fractions=(0.2, 0.4, 0.4))
      self.assertEqual(collections.Counter(found.values()),
                       {'train': 2, 'val': 2, 'test': 2})

  def test_count_hand_computed(self):
    groups = [[row('a'), row('b')], [row('c'), row('d')]]
    presence = {'a': {'x'}, 'b': {'x', 'y'}, 'c': {'y'}, 'd': {'z'}}
    np.testing.assert_array_equal(  # All images, those with x, those with y.
        splits._count(groups, presence, {'a', 'b', 'c'}),
        [[2, 2, 1], [1, 0, 1]])

  def test_share_out_hand_computed(self):
    # The second split already has 4 of 11 images, more than its quarter. The
    # first split gets two thirds of the other 7, and the third split one third.
    # Of the class, the second split has just its quarter, 1 of 4 images.
    np.testing.assert_allclose(
        splits._share_out(
            total=np.array([11.0, 4.0]),
            have=np.array([[0.0, 0.0], [4.0, 1.0], [1.0, 0.0], [0.0, 0.0]]),
            shares=np.array([0.5, 0.25, 0.25, 0.0])),
        [[14 / 3, 2], [0, 0], [7 / 3 - 1, 1], [0, 0]])

  def test_deal_hand_computed(self):
    # Only the first group shows the class. It is therefore dealt first,
    # although it is the smallest, and goes to bin 0, which needs the class. The
    # largest group then fits into bin 1. The last group of 2 images fits into
    # neither; both bins lack one image, and bin 0 comes first.
    counts = np.array([[1.0, 1.0], [5.0, 0.0], [2.0, 0.0]])
    for seed in range(5):
      bins = splits._deal(
          counts, np.array([[2.0, 1.0], [6.0, 0.0]]),
          np.random.default_rng(seed), lacking=(), open_=np.ones(2, bool))
      np.testing.assert_array_equal(bins, [0, 1, 0])

  def test_deal_weighs_what_runs_out(self):
    # The first group has 2 of 5 images and 1 of the 2 images that show the
    # class. Bin 0 is chosen: 3.4 * 2/25 + 0.6 * 1/4 = 0.42 is more than
    # 2 * 2/25 + 1/4 = 0.41 for bin 1.
    counts = np.array([[2.0, 1.0], [1.0, 1.0], [1.0, 0.0], [1.0, 0.0]])
    bins = splits._deal(
        counts, np.array([[3.4, 0.6], [2.0, 1.0]]), np.random.default_rng(0),
        lacking=(), open_=np.ones(2, bool))
    self.assertEqual(bins[0], 0)
    # The first group holds the only image of the class. Bin 0 is chosen, since
    # 1/64 + 0.3 for bin 0 is more than 9/64 for bin 1.
    bins = splits._deal(
        np.array([[1.0, 1.0], [5.0, 0.0], [2.0, 0.0]]),
        np.array([[1.0, 0.3], [9.0, 0.0]]), np.random.default_rng(0),
        lacking=(), open_=np.ones(2, bool))
    self.assertEqual(bins[0], 0)

  def test_deal_lets_fit_what_fills(self):
    # The first group fits into either bin, and bin 0 needs its class. The
    # second group then fits only into bin 1.
    bins = splits._deal(
        np.array([[3.0, 1.0], [3.0, 0.0]]), np.array([[3.0, 1.0], [3.5, 0.0]]),
        np.random.default_rng(0), lacking=(), open_=np.ones(2, bool))
    np.testing.assert_array_equal(bins, [0, 1])

  @parameterized.parameters((0.02, 0.98, 0.0, {'train', 'val'}),
                            (0.0, 0.5, 0.5, {'val', 'test'}))
  def test_train_wants_an_exact_mask_if_it_has_a_share(self, *fractions):
    *fractions, expected = fractions
    rows = [row('w', annotation=BOX), *(row(f'{i}') for i in range(4))]
    found = assign(rows, fractions=tuple(fractions))
    self.assertEqual({found[f'{i}'] for i in range(4)}, expected)

  @parameterized.named_parameters(
      ('by', [row('a')], {'by': 'ward'}, 'Unknown by='),
      ('fractions', [row('a')], {'fractions': (0.5, 0.1, 0.1)}, 'sum to 1'),
      ('four', [row('a')], {'fractions': (0.4, 0.2, 0.2, 0.2)}, 'three'),
      ('nan', [row('a')], {'fractions': (float('nan'), 0, 1)}, 'sum to 1'),
      ('no_site', [row('a', site='x'), row('b')], {'by': 'site'},
       "Id 'b' has no site"),
      ('duplicate', [row('a'), row('a')], {}, "Duplicate id 'a'"),
      ('none', [], {}, '3 splits .* only 0 groups'),
      ('few', rows_of([5, 5]), {}, r'3 splits .* \(by subject\) .* only 2'),
      ('inexact', [row(c, annotation=BOX if c > 'a' else MASK) for c in 'abcd'],
       {}, 'val, test: 2 groups .* only 1 of 4'),
      ('torn', [row('a', 's', split='val'), row('b', 's', split='test')], {},
       r"'a' \(subject 's'.* in val and id 'b' \(subject 's'.* in test"),
      ('unknown', [row('a', split='dev')], {}, "unknown split 'dev'"),
      ('unfit', [row('a', 's', split='val'), row('b', 's', annotation=BOX)], {},
       "'b' .* no exact mask, but id 'a' of its group is in val"),
  )
  def test_refused(self, rows, kwargs, text):
    with self.assertRaisesRegex(ValueError, text) as caught:
      assign(rows, **kwargs)
    self.assertNotIn('\n', str(caught.exception))


class KFoldsTest(parameterized.TestCase):

  def test_balanced(self):
    rows = [row(f'{i}', annotation=MASK if i < 10 else BOX) for i in range(50)]
    folds = splits.k_folds(rows, num_folds=5, seed=0, presence={})
    self.assertEqual(list(folds), sorted(folds))
    self.assertEqual(
        collections.Counter(folds.values()), dict.fromkeys(range(5), 10))
    self.assertEqual(collections.Counter(folds[f'{i}'] for i in range(10)),
                     dict.fromkeys(range(5), 2))

  def test_refused(self):
    deal = lambda n, rows: splits.k_folds(
        rows, num_folds=n, seed=0, presence={})
    with self.assertRaisesRegex(ValueError, 'at least 2'):
      deal(1, rows_of([1, 1]))
    with self.assertRaisesRegex(ValueError, '3 folds .* 2 of 4 groups have'):
      deal(3, [*rows_of([3, 3]), row('a', annotation=BOX),
               row('b', annotation=None)])

  def test_classes_do_not_cost_the_sizes(self):
    # If only the class were balanced, the folds would have 12 and 6 images.
    sizes, shown = (5, 3, 1, 4, 5), (5, 1, 0, 1, 2)
    presence = {f's{i}_{j}': {'polyp'} for i, n in enumerate(shown)
                for j in range(n)}
    for seed in range(5):
      folds = splits.k_folds(
          rows_of(sizes), num_folds=2, seed=seed, presence=presence)
      self.assertEqual(collections.Counter(folds.values()), {0: 9, 1: 9})


class ChooseStrongTest(parameterized.TestCase):

  @parameterized.parameters((0.1, 5), (0.001, 1), (1.0, 50))
  def test_fraction(self, fraction, number):
    rows = [row(f'{i}', split='train') for i in range(50)] + [
        row('v', split='val')]
    strong = choose(rows, fraction=fraction)
    self.assertLen(strong, number)
    self.assertNotIn('v', strong)
    self.assertEqual(strong, choose(rows[::-1], fraction=fraction))
    if 1 < number < 50:
      self.assertNotEqual(strong, choose(rows, fraction=fraction, seed=1))

  @parameterized.parameters((11.3, 1), (15.0, 1), (15.1, 2), (999.0, 30))
  def test_minutes_hand_computed(self, minutes, number):
    # There are 30 masks, 1 polygon of 1.5 minutes and 1 unlabelled image. With
    # boxes instead of all masks, they take 30 * 0.2 + 1.5 = 7.5 minutes. Each
    # mask that is kept adds 3.8 minutes.
    rows = [*(row(f'{i}', split='train') for i in range(30)),
            row('p', split='train', annotation={'kind': 'polygon'}),
            row('u', split='train', annotation=None)]
    self.assertLen(choose(rows, minutes=minutes, weak_kind='box'), number)

  def test_own_minutes(self):
    # If a mask takes no longer than a box, all masks are kept, provided that
    # the budget suffices for them.
    rows = [row(f'{i}', split='train') for i in range(5)]
    cheap = dict(weak_kind='box', minutes_per={'mask': 1.0, 'box': 2.0})
    self.assertLen(choose(rows, minutes=5.0, **cheap), 5)
    with self.assertRaisesRegex(ValueError, 'take 5 minutes'):
      choose(rows, minutes=4.9, **cheap)
    # 5 boxes take 2.5 minutes, and each mask that is kept adds half a minute.
    near = dict(weak_kind='box', minutes_per={'mask': 1.0, 'box': 0.5})
    self.assertLen(choose(rows, minutes=3.5, **near), 2)
    as_dear = dict(weak_kind='box', minutes_per={'mask': 2.0, 'box': 2.0})
    self.assertLen(choose(rows, minutes=10.0, **as_dear), 5)

  def test_no_kind_is_dearer_than_a_mask(self):
    for kind, minutes in strong_choice.MINUTES_PER.items():
      self.assertBetween(minutes, 0, strong_choice.MINUTES_PER['mask'], kind)
    self.assertEqual(strong_choice.MINUTES_PER['none'], 0)

  def test_first_the_one_that_shows_most(self):
    # Class r is the rarest. Images a and b show it, and a also shows class x.
    rows = [row(c, split='train') for c in 'abcde']
    presence = {'a': {'r', 'x'}, 'b': {'r'}, **{c: {'x'} for c in 'cde'}}
    for seed in range(5):
      self.assertEqual(choose(rows, presence, seed=seed, fraction=0.2), {'a'})

  def test_classes_are_shown(self):
    for seed in range(20):
      rng = np.random.default_rng(seed)
      rows = [row(f'{i}', split='train') for i in range(40)]
      presence = {r.id: frozenset(np.flatnonzero(rng.random(4) < 0.1))
                  for r in rows}
      strong = choose(rows, presence, seed=seed, fraction=0.1)
      self.assertLen(strong, 4)
      self.assertEqual(frozenset().union(*(presence[i] for i in strong)),
                       frozenset().union(*presence.values()))

  def test_smaller_budget_is_part_of_larger(self):
    rows = [row(f'{i}', split='train') for i in range(40)]
    chosen = [choose(rows, fraction=n / 40) for n in range(1, 41)]
    for n, (less, more) in enumerate(zip(chosen, chosen[1:], strict=False), 1):
      self.assertLen(less, n)
      self.assertLess(less, more)

  @parameterized.named_parameters(
      ('both', {'fraction': 0.5, 'minutes': 9.0}, 'either'),
      ('neither', {}, 'either'),
      ('zero', {'fraction': 0.0}, r'not in \(0, 1\]'),
      ('above', {'fraction': 1.5}, r'not in \(0, 1\]'),
      ('too_many', {'fraction': 1.0}, '11 strong images, but only 10 of 11'),
      ('too_short', {'minutes': 5.9, 'weak_kind': 'box'},
       'take 6 minutes, but the budget is 5.9'),
      ('nan', {'minutes': float('nan'), 'weak_kind': 'box'}, 'budget is nan'),
      ('no_kind', {'minutes': 99.0}, 'No minutes for kind=None'),
      ('bad_kind', {'minutes': 99.0, 'weak_kind': 'blob'}, "kind='blob'"),
  )
  def test_refused(self, kwargs, text):
    rows = [*rows_of([5, 5], split='train'),
            row('b', split='train', annotation=BOX)]
    with self.assertRaisesRegex(ValueError, text):
      choose(rows, **kwargs)

  def test_no_mask(self):
    with self.assertRaisesRegex(ValueError, 'None of 0 train images'):
      choose([row('a', split='val')], fraction=0.5)


if __name__ == '__main__':
  absltest.main()
