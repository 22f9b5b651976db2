"""Tests for data_prep.sets.closing: numbers read back from the records."""

import pathlib
import tempfile
from unittest import mock

from absl.testing import absltest
import numpy as np
import tensorflow_datasets as tfds

from data_prep.records import builder
from data_prep.sets import closing
from tests import seven_rows


class CountPixelsTest(absltest.TestCase):

  def test_counts_are_those_of_all_labels(self):
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    records = tfds.builder_from_directory(builder.build(
        seven_rows.write(folder), output=folder / 'records', image_size=4))
    self.enterContext(mock.patch.object(closing, '_FEW', 3))
    for split in records.info.splits:
      labels = [e['label'] for e in records.as_data_source(split=split)]
      np.testing.assert_array_equal(
          closing._count_pixels(records, split),
          np.bincount(np.ravel(labels), minlength=256))


if __name__ == '__main__':
  absltest.main()
