"""Tests that a set can be prepared, exported for a tool and prepared again.

`tests.long.round_trips` and `tests.long.volume_round_trips` pass more random
sets through more formats.
"""

import importlib.util

from absl.testing import absltest
from absl.testing import parameterized
from data_prep import formats
from data_prep.checks import check
from data_prep.drawing import rasterize
from data_prep.formats import names
from data_prep.formats import registry
from data_prep.sets import own_set
from data_prep.splits import strong_choice
import numpy as np

from tests import source_case
from tests.long import round_trips
from tests.long import volume_round_trips

_SIZE = (24, 32)


class RoundTripTest(source_case.SourceCase):

  def _write_set(self):
    """Writes 30 pictures, 18 of them for train; every third has no object."""
    rng = np.random.default_rng(0)
    for i in range(30):
      split = (*['train'] * 3, 'val', 'test')[i // 6]
      place = f'{{}}/{split}/{i:02d}.png'
      mask = np.zeros(_SIZE, np.uint8)
      mask[:3, :3] = 255 * (i % 6 == 1)  # 255 means unlabelled.
      for left in (4, 13, 22) if i % 3 else ():
        mask[4 + i % 9 : 14 + i % 7, left : left + 4 + i % 4] = 1
      self.write(place.format('masks'), mask)
      self.write(place.format('images'), rng.integers(
          256, size=(*_SIZE, 3), dtype=np.uint8))

  def _prepare(self, source, name, format_name, plan, **options):
    output = self.output / name
    output.mkdir()
    own = own_set.read(
        output, source=source, format_name=format_name,
        options=formats.Options(**options), subjects=None, name='set')
    manifest, _, _ = own_set.divide(own, output, plan=plan)
    self.assertEqual(check.check_manifest(manifest), [])
    return {row.id.rsplit('/', 1)[-1]: (
        row, rasterize.rasterize(
            row.annotation, size=_SIZE, root=manifest.root))
            for row in manifest.rows}, manifest

  @parameterized.parameters('coco', 'labelme', 'cvat')
  def test_pictures_without_an_object_stay_exact(self, name):
    self._write_set()
    before, manifest = self._prepare(
        self.source, 'first', 'folder', own_set.Plan(
            simulate=['box'], budget=strong_choice.Budget(fraction=0.2)))
    boxes = sum(
        len(row.annotation.get('boxes', ())) for row, _ in before.values())
    self.assertGreater(boxes, 2 * 12)  # Most shapes of the set are boxes.
    registry.write(manifest, name, self.output / 'sent')
    after, _ = self._prepare(
        self.output / 'sent', 'again', name, own_set.Plan(),
        polygons_are='mask', masks_are='mask', masks_are_given=True)
    self.assertEqual(before.keys(), after.keys())
    for key, (row, label) in after.items():
      if row.split != 'train':
        self.assertEqual(row.role, 'strong')
        np.testing.assert_array_equal(label, before[key][1], key)
        self.assertEqual((label == 255).sum(), 9 * (int(key) % 6 == 1))

  @parameterized.product(name=('label_studio', 'geojson'), seed=[*range(10)])
  def test_random_sets(self, name, seed):
    kinds = registry.FORMATS[name].HOLDS
    round_trips.examine(name, kinds[seed % len(kinds)], seed)

  @parameterized.product(name=names.WRITES_VOLUMES, seed=[*range(4)])
  def test_random_volumes(self, name, seed):
    if name == 'dicom_seg' and not importlib.util.find_spec('highdicom'):
      self.skipTest('DICOM segmentations are written by highdicom.')
    volume_round_trips.examine(name, seed)


if __name__ == '__main__':
  absltest.main()
