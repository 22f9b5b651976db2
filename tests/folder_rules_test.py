"""Tests rules for folders that public sets need, and their exceptions."""

from absl.testing import absltest
from absl.testing import parameterized
from data_prep import formats
from data_prep.formats import folder_names
from data_prep.formats import registry
from data_prep.formats import sources
import numpy as np

from tests import source_case
from tests.public_sets import layouts


class _Source(source_case.SourceCase):

  def _read(self, files, **options):
    layouts.write(layouts.Layout(files), self.source)
    name = registry.detect_format(self.source)
    return registry.read(
        name, self.source, self.output, formats.Options(**options))

  def _roles(self, imported):
    return {r.id: r.annotation['kind'] if r.annotation else r.role
            for r in imported.rows}


class CompanionsTest(_Source):

  def _files(self, end, number=4):
    files = {}
    for i in range(4):
      files[f'images/p{i}.png'] = layouts.picture(i)
      files[f'masks/p{i}.png'] = layouts.blob(i)
      if i < number:
        files[f'images/p{i}{end}.png'] = layouts.picture(10 + i)
    return files

  def test_an_ending_that_every_picture_has(self):
    imported = self._read(self._files('_heatmap'))
    self.assertEqual(
        self._roles(imported), dict.fromkeys(('p0', 'p1', 'p2', 'p3'), 'mask'))
    self.assertIn(
        '4 pictures named as others with _heatmap at the end, and without '
        'mask, are not read, such as images/p0_heatmap.png', imported.notices)

  @parameterized.parameters(('_2', 4), ('_b', 1))
  def test_further_pictures_stay(self, end, number):
    roles = self._roles(self._read(self._files(end, number)))
    self.assertLen(roles, 4 + number)
    self.assertEqual(roles[f'p0{end}'], 'unlabelled')


class MasksAloneTest(_Source):

  @parameterized.parameters(
      '{}_mask', 'mask_{}', '{}_seg', 'x/{}_GroundTruth', '{}_label_1')
  def test_files_named_as_masks(self, form):
    files = {f'{form.format(f"p{i}")}.png': layouts.blob(i) for i in range(3)}
    problem, = self._read(files).problems
    self.assertIn('3 of 3 files are named as masks, and no picture is named as '
                  'one of them', str(problem))
    self.assertLessEqual(len(str(problem)), 200)
    # The files are not masks of a picture of another name, either.
    (self.source / 'overview').mkdir()
    problem, = self._read({'overview/map.png': layouts.picture(9)}).problems
    self.assertIn('3 of 4 files', str(problem))

  @parameterized.parameters('{}', 'lesion_{}', '{}_lesion', '{}_contour')
  def test_pictures_alone(self, form):
    imported = self._read({f'{form.format(f"p{i}")}.png': layouts.picture(i)
                           for i in range(3)})
    self.assertEqual(imported.problems, [])
    self.assertEqual({*self._roles(imported).values()}, {'unlabelled'})


class CountedObjectsTest(_Source):

  def _files(self, *values):
    files = {}
    for i, some in enumerate(values):
      label = np.zeros(layouts.SIZE, np.uint8)
      for v in some:
        label[v : v + 1] = v
      files[f'images/p{i}.png'] = layouts.picture(i)
      files[f'masks/p{i}.png'] = label
    return files

  def test_another_number_in_each(self):
    imported = self._read(self._files(
        range(1, 3), range(1, 5), range(1, 6), range(1, 9)))
    self.assertIn('do they count objects?', imported.problems[0].what)
    self.assertIn('--mask_threshold=1', imported.problems[0].fix)

  @parameterized.parameters(
      # Every mask holds the same values, so they are classes.
      ((1, 2, 3, 4, 5),) * 4,
      # One mask holds 1 and 3, but not 2.
      ((1, 2), (1, 3), (1, 2, 3, 4), (1, 2, 3, 4, 5)),
      ((1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)),  # There are only four classes.
  )
  def test_classes(self, *values):
    self.assertEqual(self._read(self._files(*values)).problems, [])

  def test_named_classes(self):
    imported = self._read(self._files(
        range(1, 3), range(1, 5), range(1, 6), range(1, 9)), classes=(
            'background', *'abcdefgh'))
    self.assertEqual(imported.problems, [])


class VolumesTest(_Source):

  def _files(self):
    files = {}
    for i in range(2):
      name = f'p{i}/p{i}'
      files[f'{name}_film.nii.gz'] = layouts.volume(i, 2)
      files[f'{name}_frame1.nii.gz'] = layouts.volume(i)
      files[f'{name}_frame1_gt.nii.gz'] = layouts.labels(i)
    return files

  def test_films_beside_frames(self):
    imported = self._read(self._files())
    self.assertEqual(imported.problems, [])
    self.assertLen(imported.rows, 6)
    self.assertIn('2 volumes of four axes without mask are not read, such as '
                  'p0/p0_film.nii.gz', imported.notices)

  def test_films_alone(self):
    files = {k: v for k, v in self._files().items() if 'film' in k}
    self.assertEqual(
        [p.what for p in self._read(files).problems],
        ['expected three axes'] * 2)

  def test_a_threshold(self):
    files = {
        f'{folder}/p{i}.nii.gz': content for i in range(2)
        for folder, content in (
            ('images', layouts.volume(i)),
            ('labels', layouts.labels(i).astype(np.float32) * 0.7))}
    imported = self._read(files, mask_threshold=0.5)
    self.assertEqual(imported.problems, [])
    self.assertEqual(imported.classes, ('background', 'foreground'))

  def test_labels_of_a_single_value_are_no_candidates(self):
    files = {}
    for i in range(2):
      files[f'images/p{i}.nii.gz'] = layouts.volume(i)
      files[f'labels/p{i}.nii.gz'] = layouts.labels(i)
      files[f'masks/p{i}.nii.gz'] = np.ones_like(layouts.labels(i))
    imported = self._read(files)
    self.assertEqual(imported.problems, [])
    self.assertIn('2 masks are not read, such as masks/p0.nii.gz: ',
                  ' '.join(imported.notices))


class OtherToolsTest(_Source):

  def _files(self, with_mask):
    files = {f'images/p{i}.png': layouts.picture(i) for i in range(3)}
    files |= {f'notes/p{i}.xml': '<Annotations/>' for i in range(3)}
    return files | ({'masks/p0.png': layouts.blob(0)} if with_mask else {})

  def test_annotations_that_are_not_read_are_a_problem(self):
    problem, = self._read(self._files(False)).problems
    self.assertIn('3 .xml files may be annotations', problem.what)
    self.assertEqual(problem.file, 'notes/p0.xml')

  def test_beside_masks_they_are_a_notice(self):
    imported = self._read(self._files(True))
    self.assertEqual(imported.problems, [])
    self.assertIn('3 .xml files are not read', '\n'.join(imported.notices))

  def test_a_source_of_no_known_format_says_what_it_holds(self):
    layouts.write(layouts.Layout(
        {'a.h5': b'1', 'b.h5': b'1', 'c.list': 'a'}), self.source)
    self.assertIn(
        'its files: 2 .h5, 1 .list', registry.refusal(self.source))


class NamesTest(_Source):

  @parameterized.parameters(
      ('HAM10000_segmentations_lesion_tschandl', True), ('Ground', True),
      ('labelsVa', True), ('images_and_masks', False),
      ('ground_floor', False), ('lesion', False))
  def test_folders_of_masks(self, name, expected):
    self.assertEqual(folder_names.is_mask_folder(name), expected)

  @parameterized.parameters(
      ('HAM10000_images_part_1', True), ('imagesVa', True),
      ('image_003', False), ('part_1', False))
  def test_folders_of_pictures(self, name, expected):
    self.assertEqual(folder_names.is_image_folder(name), expected)

  @parameterized.parameters(
      ('imagesVa', 'val'), ('labelsVa', 'val'), ('va', ''), ('imagesTr', ''))
  def test_splits(self, name, expected):
    self.assertEqual(folder_names.split_word(name), expected)

  def test_a_folder_of_everything_holds_no_masks(self):
    files = {f'my_gt/{i}.png': layouts.picture(i) for i in range(3)}
    layouts.write(layouts.Layout(files), self.source)
    self.assertEqual(
        sources.list_pictures(self.source).paths, tuple(sorted(files)))

  @parameterized.parameters(
      (('Glaucoma', 'Non-Glaucoma'), {''}), (('PNG', 'TIF'), {''}),
      (('p1', 'p2'), {'p1', 'p2'}),
      (('anna', 'ben'), {'anna', 'ben'}))
  def test_kinds_of_pictures_are_no_subjects(self, folders, expected):
    paths = [f'images/{f}/{i}.png' for f in folders for i in range(6)]
    names = sources.make_names(paths)
    self.assertEqual({n.folder for n in names.values()}, expected)


if __name__ == '__main__':
  absltest.main()
