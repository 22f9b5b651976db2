"""Tests of `confined`: no name in a file leads out of its folder."""

import json
import os
import pathlib
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
from data_prep import formats
from data_prep import manifest as manifest_lib
from data_prep.checks import check
from data_prep.drawing import predictions
from data_prep.formats import intensities
from data_prep.formats import names
from data_prep.formats import registry
from data_prep.shared import confined
from data_prep.shared import pixels
from experiments import binary
from experiments.auditing import files
import numpy as np
from PIL import Image

# Names that lead out of the folder or are not plain; '{}' stands for an
# absolute folder.
_CLIMBING = ('../x', 'a/../../x', '{}/x', './x', 'a//x', 'a/./x', '/', 'x\0')
# These names do no harm if a suffix follows.
_NAMES = (*_CLIMBING, '..', 'a/..', 'a/', '')


def _png(path, value=0):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(np.full((8, 9), value, np.uint8)).save(path)
  return path


class ConfinedTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.top = pathlib.Path(
        self.enterContext(tempfile.TemporaryDirectory())).resolve()
    self.root = self.top / 'root'
    self.root.mkdir()

  def _everything(self):
    return {p: p.read_bytes() if p.is_file() else None
            for p in self.top.rglob('*')}

  @parameterized.parameters(*_NAMES)
  def test_names_that_lead_out(self, name):
    with self.assertRaisesRegex(pixels.WrongFile, 'out of its folder'):
      confined.inside(self.root, name.format(self.top))
    self.assertEqual(list(self.root.iterdir()), [])

  @parameterized.parameters('x', 'a/x', 'a b/..x', '...', 'a\\..\\x', 'ü', '-x')
  def test_names_that_stay(self, name):
    self.assertEqual(confined.inside(self.root, name), self.root / name)

  def test_links(self):
    (self.root / 'out').symlink_to(self.top)
    (self.root / 'in').symlink_to(self.root)
    (self.root / 'file').symlink_to(self.top / 'not_there')
    for name in 'out/x', 'out', 'in/out/x', 'file':
      with self.subTest(name), self.assertRaisesRegex(
          pixels.WrongFile, 'a link would lead'):
        confined.inside(self.root, name)
    confined.inside(self.root, 'in/x')
    linked = self.top / 'linked'
    linked.symlink_to(self.root)
    confined.inside(linked, 'x')

  def test_nothing_is_overwritten(self):
    confined.new_file(self.root, 'a/x').touch()
    with self.assertRaisesRegex(pixels.WrongFile, 'as one file'):
      confined.new_file(self.root, 'a/x')

  def _manifest(self, row_id, image='p.png', kind='mask'):
    _png(self.root / 'p.png', 3)
    annotation = {
        'mask': {'kind': 'mask', 'path': 'm.png'},
        'box': {'kind': 'box', 'boxes': [[1, 1, 4, 4]], 'labels': [1]},
    }[kind]
    _png(self.root / 'm.png', 1)
    header = manifest_lib.Header('set', ('background', 'a'))
    return manifest_lib.Manifest(header, (manifest_lib.Row(
        row_id, image, 'train', 'strong', annotation),), self.root)

  @parameterized.product(name=_CLIMBING, form=names.WRITES)
  def test_no_writer_leaves_its_folder(self, name, form):
    kind = 'mask' if 'mask' in registry.FORMATS[form].HOLDS else 'box'
    manifest = self._manifest(name.format(self.top), kind=kind)
    before = self._everything()
    with self.assertRaises(pixels.WrongFile):
      registry.write(manifest, form, self.top / 'out')
    self.assertEqual(self._everything(), before)

  @parameterized.parameters(*names.WRITES)
  def test_an_audit_exports_no_such_thing(self, form):
    kind = 'mask' if 'mask' in registry.FORMATS[form].HOLDS else 'box'
    manifest = self._manifest('../x', kind=kind)
    manifest_lib.write_manifest(
        self.root / 'manifest.jsonl', manifest.header, list(manifest.rows))
    before = self._everything()
    with self.assertRaisesRegex(binary.Incomplete, 'Nothing exported: [^\n]*$'):
      files.export_suspects(
          str(self.root), ['../x'], form, self.top / 'out')
    self.assertEqual(self._everything(), before)

  @parameterized.parameters(*names.WRITES)
  def test_no_picture_is_taken_from_outside(self, form):
    _png(self.top / 'secret.png')
    manifest = self._manifest('x', '../secret.png', kind='box' if (
        'box' in registry.FORMATS[form].HOLDS) else 'mask')
    with self.assertRaisesRegex(pixels.WrongFile, 'outside the root'):
      registry.write(manifest, form, self.top / 'out')

  def test_a_link_among_what_is_written(self):
    (self.root / 'manifest').mkdir()
    manifest = self._manifest('a.nii/x')
    row, = manifest.rows
    manifest = manifest._replace(rows=(row, row._replace(id='y')))
    # The name of the volume is a folder, in which a link leads elsewhere.
    (self.top / 'elsewhere').mkdir()
    (self.root / 'volumes.json').write_text(json.dumps({'a': {
        'file': str(self.top / 'elsewhere'), 'ids': ['y'], 'shape': [8, 9, 1],
        'axis': 2, 'affine': np.eye(4).tolist()}}))
    with self.assertRaisesRegex(pixels.WrongFile, 'a link would lead'):
      registry.write(manifest, 'nifti', self.top / 'out')
    self.assertEqual(os.listdir(self.top / 'elsewhere'), [])

  @parameterized.parameters(*filter(None, _NAMES))
  def test_the_check_refuses_the_id(self, name):
    problems = check.check_manifest(self._manifest(name.format(self.top)))
    found = [p for p in problems if 'cannot name a file' in p.what]
    self.assertLen(found, 1, problems)
    self.assertLessEqual(len(str(found[0])), 200)

  @parameterized.parameters(*_CLIMBING)
  def test_an_importer_writes_below_its_output(self, name):
    output = self.root / 'out'
    output.mkdir()
    writer = intensities.Writer(self.root, output, formats.Options())
    before = self._everything()
    with self.assertRaises(pixels.WrongFile):
      writer.write(np.zeros((8, 9), np.uint16), name.format(self.top))
    self.assertEqual(self._everything(), before)

  def test_masks_are_looked_for_below_their_folder(self):
    _png(self.top / 'x.png', 1)
    folder = self.root / 'masks'
    folder.mkdir()
    for name in ('../../x', str(self.top / 'x')):
      manifest, _ = predictions.with_masks(
          self._manifest(name), folder, constrained=False)
      self.assertEqual(manifest.rows[0].annotation['path'], 'm.png')


class ReadersTest(parameterized.TestCase):
  """Tests that no reader uses a picture outside the source; it is named."""

  def setUp(self):
    super().setUp()
    self.top = pathlib.Path(
        self.enterContext(tempfile.TemporaryDirectory())).resolve()
    self.source = self.top / 'source'
    self.output = self.top / 'output'
    self.output.mkdir()
    self.deep = self.source / 'deep.png'
    self.deep.parent.mkdir()
    # This picture must be converted, so that the paths of the others change,
    # too.
    Image.fromarray(np.arange(72, dtype=np.uint16).reshape(8, 9) * 99).save(
        self.deep)
    _png(self.top / 'x.png', 1)

  def _coco(self, name):
    (self.source / 'a.json').write_text(json.dumps({
        'images': [{'id': 1, 'file_name': name, 'height': 8, 'width': 9}],
        'categories': [{'id': 1, 'name': 'a'}],
        'annotations': [{'id': 1, 'image_id': 1, 'category_id': 1,
                         'bbox': [1, 1, 4, 4]}]}))

  def _labelme(self, name):
    (self.source / 'a.json').write_text(json.dumps({
        'shapes': [{'label': 'a', 'points': [[1, 1], [4, 4]],
                    'shape_type': 'rectangle'}],
        'imagePath': name, 'imageHeight': 8, 'imageWidth': 9}))

  def _cvat(self, name):
    (self.source / 'a.xml').write_text(
        f'<annotations><image id="0" name="{name}" width="9" height="8"><box '
        'label="a" xtl="1" ytl="1" xbr="4" ybr="4"/></image></annotations>')

  def _voc(self, name):
    folder = self.source / 'Annotations'
    folder.mkdir()
    (folder / 'a.xml').write_text(
        f'<annotation><filename>{name}</filename><size><width>9</width><height>'
        '8</height></size><object><name>a</name><bndbox><xmin>1</xmin><ymin>1'
        '</ymin><xmax>4</xmax><ymax>4</ymax></bndbox></object></annotation>')

  def _table(self, name):
    (self.source / 'a.csv').write_text(
        f'image,id,mask,subject\n{name},,{name},s\ndeep.png,,,t\n')

  @parameterized.product(
      form=('coco', 'labelme', 'cvat', 'voc', 'table'),
      name=('../x.png', 'a/../../x.png', '{}/x.png', 'link/x.png'))
  def test_it(self, form, name):
    (self.source / 'link').symlink_to(self.top)
    getattr(self, f'_{form}')(name.format(self.top))
    before = set(self.top.rglob('*'))
    imported = registry.read(form, self.source, self.output, formats.Options())
    new = set(self.top.rglob('*')) - before
    self.assertTrue(all(self.output in p.parents for p in new), new)
    if form == 'table' and name.startswith('{}'):
      # A user who writes an absolute path into a table does so on purpose.
      return
    root = self.output / imported.root
    used = [r.image for r in imported.rows]
    used += [r.annotation['path'] for r in imported.rows
             if r.annotation and 'path' in r.annotation]
    for path in used:
      real = pathlib.Path(os.path.realpath(root / path))
      self.assertNotEqual(real, self.top / 'x.png', (path, imported))

  @parameterized.parameters('../out', '/{}/out')
  def test_ids_of_a_table(self, name):
    (self.source / 'a.csv').write_text(
        f'image,id,subject\ndeep.png,{name.format(self.top)},t\n')
    imported = registry.read(
        'table', self.source, self.output, formats.Options())
    self.assertIn('out of its folder', str(imported.problems))
    self.assertEqual(list(self.output.rglob('*.png')), [])
    self.assertFalse((self.top / 'out.png').exists())


if __name__ == '__main__':
  absltest.main()
