"""Tests that files of other annotation tools are named."""

from absl.testing import absltest
from absl.testing import parameterized
from data_prep.formats import known_tools
from data_prep.formats import registry
from data_prep.shared import pixels
import numpy as np
from PIL import Image

from tests import source_case

# The start of a file that each tool writes.
_FILES = {
    'VIA': [('a.json', {'_via_settings': {}, '_via_img_metadata': {}}),
            ('b.json', {'a.png1': {'filename': 'a.png', 'regions': [],
                                   'file_attributes': {}}}),
            ('c.csv', 'filename,file_size,region_shape_attributes\n')],
    'VIA 3': [('a.json', {'project': {'pid': '1'}, 'config': {}, 'file': {},
                          'metadata': {}, 'project.vid_list': 1,
                          'vid_list': []})],
    'QuPath (GeoJSON)': [
        ('a.geojson', {'type': 'FeatureCollection', 'features': []}),
        ('a.json', [{'type': 'Feature', 'geometry': {}}])],
    'Darwin': [('a.json', {
        'version': '2.0', 'schema_ref': 'https://darwin-public.s3/2.0.json',
        'item': {'name': 'a.png', 'slots': []}, 'annotations': []})],
    'Supervisely': [
        ('a.png.json', {'description': '', 'tags': [], 'size': {
            'height': 2, 'width': 2}, 'objects': []}),
        ('a.json', {'objects': [{'classTitle': 'polyp'}]})],
    'Labelbox': [
        ('a.ndjson', {'data_row': {'id': 'x'}, 'projects': {}}),
        ('a.json', [{'ID': 'x', 'Labeled Data': 'https://x', 'Label': {}}])],
    'Label Studio': [('a.json', [
        {'id': 1, 'annotations': [{'result': []}], 'data': {'image': 'a.png'}}
    ])],
    'Label Studio (JSON-MIN)': [('a.json', [
        {'image': 'a.png', 'label': [{'original_width': 3}],
         'annotator': 1, 'annotation_id': 2}])],
    'Label Studio (storage)': [('a.json', {
        'id': 1, 'result': [], 'completed_by': 1, 'task': {'data': {}}})],
    'LabelMe': [('a.json', {'shapes': [], 'imagePath': 'a.png'})],
    'COCO': [('a.json', {'images': [], 'annotations': []})],
    'CVAT for video': [('a.xml', '<annotations><track id="0"/></annotations>')],
    'CVAT': [('a.xml', '<annotations><image id="0"/></annotations>')],
    'NRRD': [('a.nrrd', 'NRRD0004\ntype: short\n')],
    'HDF5': [('a.h5', b'\x89HDF\r\n\x1a\nimage\0')],
    'MetaImage': [('a.mha', 'ObjectType = Image\nDimSize = 2 2\n')],
    'VOC': [('a.xml', '<annotation><object></object></annotation>')],
}


class KnownToolsTest(source_case.ShapesCase):

  def _folder(self):
    self.picture('images/p.png')
    self.write('masks/p.png', np.eye(*source_case.SIZE, dtype=np.uint8))

  def test_every_tool_is_tested(self):
    self.assertEqual({t.name for t in known_tools.TOOLS}, {*_FILES})

  @parameterized.parameters(
      (tool, *file) for tool, files in _FILES.items() for file in files)
  def test_a_file_in_a_folder_is_named(self, tool, name, content):
    self._folder()
    self.write(f'more/{name}', content)
    self.read('folder', is_detected=False)
    advice = {t.name: t.advice for t in known_tools.TOOLS}[tool]
    self.assertIn(
        f"more/{name} looks like {tool}'s: {advice}", self.notices)
    self.assertNotIn('.json file', self.notices)

  def test_several_files(self):
    self._folder()
    for number in range(3):
      self.write(f'{number}.json', _FILES['Supervisely'][0][1])
    self.write('other.json', {'x': 1})
    self.read('folder')
    self.assertIn("3 files, such as 0.json, look like Supervisely's: not read; "
                  'its app', self.notices)
    self.assertIn('1 .json file is not read: other.json', self.notices)

  def test_without_a_mask_it_is_a_problem(self):
    self.picture('images/p.png')
    self.write('ann/p.png.json', _FILES['Supervisely'][0][1])
    problem, = self.read('folder', problems=1).problems
    self.assertEqual(
        str(problem), 'ann/p.png.json: no picture has a mask, but '
        "ann/p.png.json looks like Supervisely's; not read; its app Export to "
        'COCO converts them')

  def test_planes_of_an_ome_tiff(self):
    plane = Image.new('L', (5, 4))
    plane.save(self.source / 'a.ome.tif', save_all=True, append_images=[plane])
    with self.assertRaisesRegex(pixels.WrongFile, '2 frames; .* bfconvert'):
      with pixels.opened(
          'a.ome.tif', 'image', pixels.open_folder(self.source)):
        pass

  def test_without_pictures(self):
    self.write('a.json', _FILES['Darwin'][0][1])
    self.assertIsNone(registry.detect_format(self.source))
    self.assertIn("a.json looks like Darwin's: not read; `darwin dataset",
                  registry.refusal(self.source))


if __name__ == '__main__':
  absltest.main()
