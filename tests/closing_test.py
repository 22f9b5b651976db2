"""Tests for data_prep.sets.closing: numbers read back from the records."""

import pathlib
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
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


class TrainingCommandTest(parameterized.TestCase):

  @parameterized.parameters(
      ('data/phantom', 'phantom', 'phantom.py --workdir=runs/phantom'),
      ('data/draw_1', 'phantom',
       'phantom.py --config.input.data_dir=data/draw_1 --workdir=runs/phantom'),
      ('data/polyps', None,
       'custom.py --config.input.data_dir=data/polyps --workdir=runs/own'),
      ('my data/set', None,
       "custom.py '--config.input.data_dir=my data/set' --workdir=runs/own"),
  )
  def test_names_the_folder_unless_the_config_reads_it(
      self, output, dataset, words):
    self.assertEqual(
        closing.training_command(pathlib.Path(output), dataset, 'own'),
        f'python -m experiments.train --config=experiments/configs/{words}')


if __name__ == '__main__':
  absltest.main()
