"""Tests of reading folders in the layouts of other tools and public sets."""

import os

from absl.testing import absltest
from absl.testing import parameterized
from data_prep import formats
from data_prep.drawing import rasterize
from data_prep.formats import registry
from data_prep.formats import sources
import numpy as np

from tests import source_case
from tests.damage import seed_sets

_SIZE = (20, 24)
_SQUARE = [[2, 3], [8, 3], [8, 9], [2, 9]]
_BOW_TIE = [[2, 3], [12, 13], [12, 3], [2, 13]]


class _Layouts(source_case.SourceCase):

  def _picture(self, *names):
    for i, name in enumerate(names):
      self.write(name, seed_sets.picture(i))

  def _read(self, name, **options):
    self.assertEqual(registry.detect_format(self.source), name)
    imported = registry.read(
        name, self.source, self.output, formats.Options(**options))
    self.root = self.output / imported.root
    return imported

  def _label(self, row):
    return rasterize.rasterize(row.annotation, size=_SIZE, root=self.root)

  def _check_masks(self, imported, truths):
    """Compares the label maps by id, and checks that there are no others."""
    self.assertEqual(imported.problems, [])
    self.assertEqual(sorted(r.id for r in imported.rows), sorted(truths))
    for row in imported.rows:
      np.testing.assert_array_equal(self._label(row), truths[row.id], row.id)


class FoldersTest(_Layouts):

  @parameterized.named_parameters(
      ('folders', 'images/{}.png', 'masks/{}.png'),
      ('named_folders', 'train_images/{}.png', 'train_masks/{}.png'),
      ('clinic_db', 'Original/{}.tif', 'Ground Truth/{}.tif'),
      ('isic', 'ISIC_Training_Input/{}.png',
       'ISIC_Training_GroundTruth/{}_segmentation.png'),
      ('beside', '{}.png', '{}_mask.png'),
      ('nested', 'data/set/images/{}.png', 'data/set/labels/{}.png'),
      ('upper_case', 'Images/{}.PNG', 'Masks/{}.PNG'),
  )
  def test_masks_are_no_pictures(self, image, mask):
    truths = {}
    for i, name in enumerate(('a', 'b', 'c')):
      self._picture(image.format(name))
      truths[name] = np.minimum(seed_sets.label(i), 1)
      self.write(mask.format(name), truths[name])
    imported = self._read('folder')
    self._check_masks(imported, truths)
    self.assertEqual({r.subject for r in imported.rows}, {''})

  def test_a_folder_for_each_picture(self):
    truths = {}
    for i in range(3):
      self._picture(f'p{i}/image.png')
      truths[f'p{i}/image'] = np.minimum(seed_sets.label(i), 1)
      self.write(f'p{i}/mask.png', truths[f'p{i}/image'])
    imported = self._read('folder')
    self._check_masks(imported, truths)
    self.assertEqual([r.subject for r in imported.rows], ['p0', 'p1', 'p2'])

  @parameterized.parameters('images/{}/{}.png', '{}/images/{}.png')
  def test_same_names_in_every_split(self, layout):
    for split in ('train', 'val', 'test'):
      for name in ('0', '1'):
        self._picture(layout.format(split, name))
        self.write(layout.format(split, name).replace('images', 'masks'),
                   seed_sets.label(0))
    imported = self._read('folder')
    self.assertEqual(imported.problems, [])
    self.assertEqual({(r.id, r.split, r.subject) for r in imported.rows}, {
        (f'{s}/{n}', s, '') for s in ('train', 'val', 'test') for n in '01'})

  def test_names(self):
    names = sources.make_names(
        ['x/images/p1/a.png', 'x/images/p2/a.png', 'x/p3/1.2.3', './x/b.png'])
    self.assertEqual([(n.id, n.folder) for n in names.values()], [
        ('p1/a', 'p1'), ('p2/a', 'p2'), ('p3/1.2.3', 'p3'), ('b', '')])

  def test_values_are_told_by_kind(self):
    truths = {}
    for i, name in enumerate(('a', 'b')):
      self._picture(f'images/{name}.png')
      truths[name] = np.minimum(seed_sets.label(i), 1)
    self.write('masks/a.png', truths['a'])
    self.write('coarse_masks/b.png', 255 * truths['b'])
    self._check_masks(self._read('folder'), truths)
    self.write('set.csv', 'image,mask,coarse_mask\n'
               'images/a.png,masks/a.png,\nimages/b.png,,coarse_masks/b.png\n')
    self._check_masks(self._read('table'), truths)

  def test_one_mask_with_an_object_among_many(self):
    for i in range(40):
      self._picture(f'images/{i:02d}.png')
      self.write(f'masks/{i:02d}.png', np.uint8(255 * (i == 21)) * np.minimum(
          seed_sets.label(0), 1))
    imported = self._read('folder')
    self.assertEqual([bool(self._label(r).any()) for r in imported.rows],
                     [i == 21 for i in range(40)])

  def test_values_of_masks_are_not_those_of_scribbles(self):
    self._picture('images/a.png', 'images/b.png')
    truth = np.minimum(seed_sets.label(0), 1)
    scribble = np.where(truth, 1, 255).astype(np.uint8)
    scribble[0] = 0
    self.write('masks/a.png', 255 * truth)
    self.write('scribbles/b.png', scribble)
    for options in ({}, {'mask_values': {'0': 0, '255': 1}}):
      self._check_masks(
          self._read('folder', **options), {'a': truth, 'b': scribble})

  def test_masks_saved_as_jpeg(self):
    y, x = np.mgrid[:64, :64]
    truth = ((y - 30) ** 2 + (x - 34) ** 2 < 200).astype(np.uint8)
    self.write('images/a.jpg', np.random.default_rng(0).integers(
        256, size=(64, 64, 3), dtype=np.uint8))
    self.write('masks/a.jpg', 255 * truth)
    self.assertIn('--mask_threshold', str(self._read('folder').problems[0]))
    row, = self._read('folder', mask_threshold=128).rows
    label = rasterize.rasterize(
        row.annotation, size=truth.shape, root=self.root)
    np.testing.assert_array_equal(label, truth)

  def test_nnunet(self):
    for case in ('c_000', 'c_001'):
      self._picture(f'imagesTr/{case}_0000.png', f'imagesTr/{case}_0001.png')
      self.write(f'labelsTr/{case}.png', seed_sets.label(0))
    self._picture('imagesTs/c_002_0000.png')
    self.write('dataset.json', {
        'channel_names': {'0': 'T1', '1': 'T2'},
        'labels': {'background': 0, 'liver': 1, 'tumour': 2}})
    imported = self._read('folder')
    self.assertEqual(imported.problems, [])
    self.assertEqual(imported.classes, ('background', 'liver', 'tumour'))
    self.assertEqual([(r.id, r.split) for r in imported.rows], [
        ('c_000_0000', ''), ('c_001_0000', ''), ('c_002_0000', 'test')])
    self.assertIn('further channels', ' '.join(imported.notices))

  def test_what_is_not_read_is_mentioned(self):
    self._picture('images/a.png', 'images/b.png')
    self.write('masks/a.png', seed_sets.label(0))
    self.write('annots/a.txt', '0 0.5 0.5 0.1 0.1')
    self.write('annots/b.txt', '')
    notices = ' '.join(self._read('folder').notices)
    self.assertIn('2 .txt files are not read, such as annots/a.txt, named as a '
                  'picture: if it is an annotation, see --format', notices)

  def test_several_masks_of_one_picture(self):
    self._picture('a.png')
    for name in ('a_mask.png', 'a_mask.tif'):
      self.write(name, seed_sets.label(0))
    imported = self._read('folder')
    self.assertLen(imported.rows, 1)
    self.assertIn('two files of one name', str(imported.problems[0]))

  def test_linked_folder(self):
    self._picture('there/images/a.png')
    self.write('there/masks/a.png', seed_sets.label(0))
    (self.source / 'set').mkdir()
    os.symlink(self.source / 'there/images', self.source / 'set/images')
    os.symlink(self.source / 'set', self.source / 'set/loop')
    self.source = self.source / 'set'
    # Reading ends in spite of the loop, and refuses files outside of the
    # source.
    problem, = self._read('folder').problems
    self.assertIn('outside the source', problem.what)
    self.assertIn('images/a.png', problem.file)

  def test_dicom_without_suffix(self):
    self.write('images/IM0001', seed_sets.dicom(
        seed_sets.picture(0)[..., 0].astype(np.int32)))
    self.write('images/README', 'no picture')
    self.write('masks/IM0001.png', seed_sets.label(0))
    row, = self._read('folder').rows
    self.assertEqual((row.id, row.subject, row.spacing_mm),
                     ('IM0001', 'patient_0000', (0.5, 0.75)))

  def test_patients_of_volumes(self):
    for patient in ('p1', 'p2'):
      for frame in ('01', '12'):
        self.write(f'{patient}/{patient}_frame{frame}.nii.gz', seed_sets.nifti(
            np.zeros((8, 9, 2), np.int16), zipped=True))
    imported = self._read('nifti')
    self.assertEqual(
        {(r.id.split('_frame')[0], r.subject) for r in imported.rows},
        {('p1/p1', 'p1'), ('p2/p2', 'p2')})

  @parameterized.parameters(
      ('set.csv', '"image","mask","Subject"', ','),
      ('SET.CSV', 'Image;Mask;subject', ';'),
      ('set.csv', '\ufeffimage\tmask\tsubject ', '\t'))
  def test_csv_however_it_is_written(self, name, header, delimiter):
    self._picture('images/a.png')
    self.write('masks/a.png', seed_sets.label(0))
    line = delimiter.join(['images/a.png', 'masks/a.png', 's7'])
    self.write(name, f'{header}\n{line}\n')
    row, = self._read('table').rows
    self.assertEqual((row.id, row.subject), ('a', 's7'))
    np.testing.assert_array_equal(self._label(row), seed_sets.label(0))

  def test_csv_of_something_else(self):
    self._picture('images/a.png')
    self.write('masks/a.png', seed_sets.label(0))
    self.write('metadata.csv', 'image,age,sex\na,40,F\n')
    self.assertLen(self._read('folder').rows, 1)


class ShapesTest(_Layouts):
  """Tests of formats that list shapes."""

  def _shapes(self, *points):
    return {'version': '5.0.1', 'imageHeight': 20, 'imageWidth': 24, 'shapes': [
        {'label': 'a', 'shape_type': 'polygon', 'points': p} for p in points]}

  def _coco(self, *names, polygon=None):
    ring = [v for p in polygon or _SQUARE for v in p]
    return {
        'images': [{'id': i, 'file_name': n, 'height': 20, 'width': 24}
                   for i, n in enumerate(names)],
        'categories': [{'id': 1, 'name': 'a'}],
        'annotations': [{'id': i, 'image_id': i, 'category_id': 1,
                         'segmentation': [ring]} for i in range(len(names))]}

  def test_the_nearest_picture_is_meant(self):
    self._picture('3.png', 'roi/3.png')
    self.write('roi/3.json', self._shapes(_SQUARE) | {'imagePath': '3.png'})
    rows = {r.image: r for r in self._read('labelme').rows}
    self.assertIsNone(rows['3.png'].annotation)
    self.assertEqual(rows['roi/3.png'].annotation['polygons'], [_SQUARE])

  def test_coco_of_every_split(self):
    for split in ('train', 'valid', 'test'):
      self._picture(f'{split}/0.png')
      self.write(f'{split}/_annotations.coco.json', self._coco('0.png'))
    imported = self._read('coco')
    self.assertEqual(imported.problems, [])
    self.assertEqual({(r.id, r.split) for r in imported.rows}, {
        ('train/0', 'train'), ('valid/0', 'val'), ('test/0', 'test')})

  def test_coco_beside_its_folders(self):
    self._picture('images/train/0.png', 'images/val/0.png')
    for split in ('train', 'val'):
      self.write(f'annotations/instances_{split}.json', self._coco('0.PNG'))
    self.write('annotations/image_info_test.json', {
        'images': [], 'categories': []})
    imported = self._read('coco')
    self.assertEqual(imported.problems, [])
    self.assertEqual({(r.image, r.split) for r in imported.rows}, {
        ('images/train/0.png', 'train'), ('images/val/0.png', 'val')})

  def test_coco_without_sizes(self):
    content = self._coco('0.png')
    del content['images'][0]['height'], content['images'][0]['width']
    self._picture('0.png')
    self.write('a.json', content)
    row, = self._read('coco', polygons_are='mask').rows
    self.assertEqual(self._label(row).sum(), 36)

  def test_a_bow_tie_is_no_exact_mask(self):
    self._picture('0.png')
    self.write('a.json', self._coco('0.png', polygon=_BOW_TIE))
    problem, = self._read('coco', polygons_are='mask').problems
    self.assertIn('crosses itself', str(problem))
    problem, = self._read('coco').problems
    self.assertIn('--leave_out=shapes', str(problem))

  @parameterized.parameters(2, 4)
  def test_labelme_rectangle(self, number):
    corners = [_SQUARE[0], _SQUARE[2]] if number == 2 else _SQUARE
    self._picture('0.png')
    shape = {'label': 'a', 'shape_type': 'rectangle', 'points': corners}
    self.write('0.json', {'shapes': [shape], 'imagePath': '0.png'})
    row, = self._read('labelme').rows
    self.assertEqual(row.annotation['boxes'], [[2, 3, 8, 9]])

  def test_cvat_draws_by_z_order(self):
    self._picture('images/default/0.png')
    box = ('<box label="{}" xtl="2" ytl="3" xbr="8" ybr="9" z_order="{}" />')
    self.write('annotations.xml', (
        '<annotations><image name="0.png" width="24" height="20">'
        f'{box.format("a", 1)}{box.format("b", 0)}</image></annotations>'))
    row, = self._read('cvat').rows
    self.assertEqual((row.id, row.subject), ('0', ''))
    self.assertEqual(row.annotation['labels'], [2, 1])

  def _voc(self, mask, *folders):
    truths = {}
    for i, folder in enumerate(folders or ['']):
      name = f'{folder}0'
      self._picture(f'VOC/JPEGImages/{name}.jpg')
      truths[name] = seed_sets.label(i)
      self.write(f'VOC/SegmentationClass/{name}.png', mask(truths[name]))
      self.write(f'VOC/SegmentationObject/{name}.png', mask(truths[name]))
      self.write(f'VOC/Annotations/{name}.xml', (
          f'<annotation verified="yes"><filename>{name}.jpg</filename><size>'
          '<width>24</width><height>20</height></size></annotation>'))
    self.write('VOC/ImageSets/Segmentation/train.txt', '\n'.join(truths))
    return truths

  def test_voc_of_several_folders(self):
    truths = self._voc(lambda label: label, 'p0/', 'p1/')
    imported = self._read('voc', classes=seed_sets.CLASSES)
    self._check_masks(imported, truths)
    self.assertEqual({(r.subject, r.split) for r in imported.rows},
                     {('p0', 'train'), ('p1', 'train')})

  def test_voc_borders_are_unlabelled(self):
    def bordered(label):
      return np.where(label != np.roll(label, 1, 0), 255, label).astype(
          np.uint8)

    truths = self._voc(bordered, 'a', 'b')
    imported = self._read('voc', classes=seed_sets.CLASSES)
    self._check_masks(imported, {k: bordered(v) for k, v in truths.items()})
    self.assertEqual(imported.rows[0].annotation['values']['255'], 255)

  @parameterized.parameters(True, False)
  def test_voc_masks_in_colours(self, has_xml):
    colours = np.array([[0, 0, 0], [128, 0, 0], [0, 128, 64]], np.uint8)
    truths = self._voc(lambda label: colours[label], 'a', 'b')
    self.write('VOC/labelmap.txt', (
        '# label:color_rgb:parts:actions\nbackground:0,0,0::\na:128,0,0::\n'
        'b:0,128,64::\n'))
    self.source = self.source / 'VOC'
    if not has_xml:
      os.remove(self.source / 'Annotations/a0.xml')
    self._check_masks(self._read('voc'), truths)
    self.write('SegmentationClass/a0.png', colours[seed_sets.label(0)] + 1)
    problem, = self._read('voc').problems
    self.assertIn('a colour is not in labelmap.txt, found '
                  'SegmentationClass/a0.png: 1,1,1', str(problem))

  def test_yolo_of_labelimg_and_darknet(self):
    self._picture('images/0.png')
    self.write('labels/0.txt', '0 0.5 0.5 0.25 0.5\n')
    self.write('labels/classes.txt', 'a\nb\n')
    row, = self._read('yolo').rows
    self.assertEqual(row.annotation['boxes'], [[9, 5, 15, 15]])
    self.source = self.source / 'darknet'
    self._picture('obj_train_data/0.png')
    self.write('obj_train_data/0.txt', '1 0.5 0.5 0.25 0.5\n')
    self.write('obj.names', 'a\nb\n')
    row, = self._read('yolo').rows
    self.assertEqual(row.annotation['labels'], [2])

  def test_yolo_names_are_a_list(self):
    self._picture('images/0.png')
    self.write('labels/0.txt', '0 0.5 0.5 0.25 0.5\n')
    self.write('data.yaml', 'names: polyp\n')
    self.assertIn('neither a list nor', str(self._read('yolo').problems[0]))


if __name__ == '__main__':
  absltest.main()
