"""Tests for experiments.training.refining and the modules that it combines."""

import contextlib
import csv
import io
import json
import os
import pathlib
import shutil
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
from data_prep import manifest as manifest_lib
import numpy as np
from PIL import Image

from experiments import binary
from experiments.auditing import observer
from experiments.building import corrections
from experiments.building import input_pipeline
from experiments.building import pieces
from experiments.configs import common
from experiments.saving import run_folder
from experiments.training import calibration
from experiments.training import refining
from experiments.training import trainer
from hybridseg import types
from tests import tiny

_Kind = types.AnnotationKind
_OPEN = types.UNLABELLED


def _row(*values):
  return np.array([values], np.uint8)


class DescribeTest(parameterized.TestCase):

  @parameterized.named_parameters(
      ('nothing', _row(0, 1, 1, 0), _row(0, 1, 1, 0), 'nothing', 0, 0, 1),
      ('grown', _row(0, 1, 0, 0), _row(0, 1, 1, 0), 'grown', 0.25, 0, 2 / 3),
      ('shrunken', _row(1, 1, 0, 0), _row(1, 0, 0, 0), 'shrunken', 0, 0.25,
       2 / 3),
      ('reshaped', _row(1, 1, 0, 0), _row(0, 1, 1, 0), 'reshaped', 0.25, 0.25,
       0.5),
      ('other_place', _row(1, 0, 0, 0), _row(0, 0, 1, 1), 'other place', 0.5,
       0.25, 0),
      ('other_class', _row(1, 0, 0, 0), _row(2, 0, 0, 0), 'other place', 0.25,
       0.25, 0),
      ('added', _row(0, 0, 0, 0), _row(0, 1, 0, 0), 'object added', 0.25, 0, 0),
      ('removed', _row(0, 1, 0, 0), _row(0, 0, 0, 0), 'object removed', 0, 0.25,
       0),
      ('scribble', _row(0, 1, _OPEN, _OPEN), _row(0, 1, 1, 0), 'completed',
       0.25, 0, 1),
      ('tag', _row(*[_OPEN] * 4), _row(0, 1, 1, 0), 'drawn', 0.5, 0, 1),
  )
  def test_by_hand(self, label, refined, what, added, removed, dice):
    found = corrections.describe(label, refined)
    self.assertEqual(found.pop('what'), what)
    self.assertEqual(
        found, {'added': added, 'removed': removed, 'dice': dice})


class CalibrationTest(parameterized.TestCase):

  def _looked_at(self, number, sure):
    """Yields records with a square, and probabilities of shifted squares.

    Half of each predicted square overlaps the true one.

    Args:
      number: number of records.
      sure: probability of the predicted class at every pixel.
    """
    for i in range(number):
      truth = np.zeros((12, 12), np.uint8)
      truth[2:8, 2:8] = 1
      found = np.full((12, 12), 1 - sure)
      found[2:8, 5:11] = sure
      yield ({'label': truth, 'subject': f's{i}'},
             np.stack([1 - found, found], -1))

  def test_networks_that_are_unsure_leave_it_to_the_outline(self):
    for sure, least in ((0.6, 0.999), (0.9, 0.999)):
      found = calibration.calibrate(
          self._looked_at(6, sure), [_Kind.MASK])[_Kind.MASK]
      odds = np.log(sure / (1 - sure))
      self.assertGreater(min(found.inside, found.outside), odds)
      self.assertEqual(found.num_drawn, 12)
      self.assertAlmostEqual(found.dice['predicted'], 0.5, places=5)
      self.assertGreater(found.dice['refined'], least)

  def test_good_networks_ask_no_more_than_the_rule(self):
    looked_at = [
        (r, np.eye(2)[r['label']]) for r, _ in self._looked_at(6, 0.9)]
    found = calibration.calibrate(looked_at, [_Kind.MASK])
    constants = found[_Kind.MASK]
    self.assertEqual((constants.inside, constants.outside), (1, 2))

  def test_without_a_mask_it_is_the_rule(self):
    unknown = {'label': np.full((4, 4), _OPEN, np.uint8), 'subject': 'a'}
    found = calibration.calibrate(
        [(unknown, np.ones((4, 4, 2)))], [_Kind.BOX])
    self.assertEqual(found, {_Kind.BOX: (1, 2, 0, {})})


class RefiningTest(parameterized.TestCase):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls._folder = os.path.join(
        os.path.dirname(tiny.run_dir()), 'corrected')
    cls._summary = refining.refine(tiny.run_dir(), cls._folder)
    cls._dataset = input_pipeline.load_dataset(tiny.data_dir())

  def _lines(self):
    with open(os.path.join(self._folder, corrections.TABLE),
              newline='', encoding='utf-8') as file:
      return list(csv.DictReader(file))

  def _copy(self):
    folder = os.path.join(tiny.temp_dir(self), 'corrected')
    shutil.copytree(self._folder, folder)
    return folder

  def test_leaves_a_mask_and_its_provenance_for_each(self):
    lines = self._lines()
    self.assertEqual(tuple(lines[0]), corrections.HEADER)
    weak = self._dataset.splits['train_weak']
    self.assertCountEqual(
        [line['id'] for line in lines],
        input_pipeline.column(weak, 'id').tolist())
    changed = [float(x['added']) + float(x['removed']) for x in lines]
    self.assertEqual(changed, sorted(changed, reverse=True))
    with open(os.path.join(self._folder, 'corrected.json'),
              encoding='utf-8') as file:
      self.assertEqual(json.load(file), self._summary)
    self.assertIn('32 weak labels corrected', refining.in_words(self._summary))
    corrected = corrections.apply(self._dataset, self._folder)
    with open(os.path.join(tiny.run_dir(), 'indicators.csv'),
              encoding='utf-8') as file:
      indicators = {
          x['id']: float(x['indicator']) for x in csv.DictReader(file)}
    for before, after in zip(
        weak, corrected.splits['train_weak'], strict=True):
      line = lines[[x['id'] for x in lines].index(before['id'].decode())]
      described = corrections.describe(before['label'], after['label'])
      self.assertEqual(line['what'], described['what'])
      indicator = indicators[line['id']]
      self.assertAlmostEqual(float(line['indicator']), indicator, delta=1e-4)
      self.assertAlmostEqual(
          float(line['trust']),
          indicator if indicator >= refining.THRESHOLD else 0, delta=1e-4)
      self.assertEqual(after['kind'], _Kind.COARSE_MASK)
      self.assertEqual(after['fault'], b'')
      np.testing.assert_array_equal(before['truth'], after['truth'])

  def test_distrusted_annotations_are_not_asked(self):
    constants = calibration.Constants(50.0, 50.0, 0, {})
    probs = np.eye(2)[np.array([[0, 1], [0, 1]])]
    record = {
        'label': np.array([[1, 0], [1, 0]], np.uint8),
        'present': np.full(2, _OPEN, np.uint8)}
    folder = pathlib.Path(tiny.temp_dir(self))
    for trust, wanted in ((1.0, [[1, 0], [1, 0]]), (0.0, [[0, 1], [0, 1]])):
      refined = refining._refine(record, probs, constants, np.float32(trust))
      np.testing.assert_array_equal(refined, wanted)
      name = refining._write_mask(folder, 'a', 0, refined, (4, 4))
      self.assertEqual(name, 'masks/a.png')
      mask = np.asarray(Image.open(folder / name))
      np.testing.assert_array_equal(mask, np.kron(wanted, np.ones((2, 2))))

  def test_masks_show_classes_in_colours_and_come_back(self):
    classes = np.uint8([[0, 1, 2], [3, 20, _OPEN]])
    folder = pathlib.Path(tiny.temp_dir(self))
    refining._write_mask(folder, 'a', 0, classes, (2, 3))
    with Image.open(folder / 'masks/a.png') as mask:
      self.assertEqual(mask.mode, 'P')
      np.testing.assert_array_equal(
          np.asarray(mask.convert('RGB'))[0], [[0] * 3, [128, 0, 0],
                                               [0, 128, 0]])
    dataset = self._dataset._replace(
        image_shape=(2, 3, 1), classes=('',) * 21)
    for picture in (
        Image.open(folder / 'masks/a.png'),
        # Editors may drop the palette, or save all grey levels as one.
        Image.fromarray(classes), Image.fromarray(classes).convert('P')):
      picture.save(folder / 'b.png')
      found = corrections._read_mask(
          folder, {'mask': 'b.png', 'size': '2 x 3'}, dataset, None)
      np.testing.assert_array_equal(found, classes)

  def test_masks_are_as_large_as_the_images_or_their_records(self):
    # The images of a set may be larger than its records.
    folder, weak = self._copy(), self._dataset.splits['train_weak']
    names = input_pipeline.column(weak, 'id').tolist()
    path = os.path.join(folder, 'large.png')
    Image.fromarray(np.kron(np.eye(16, dtype=np.uint8), np.ones(
        (2, 2), np.uint8))).save(path)
    for header, rest in (('id,mask,size', ',32 x 32'), ('id,mask', '')):
      with open(os.path.join(folder, corrections.TABLE), 'w',
                encoding='utf-8') as file:
        file.write(f'{header}\n{names[0]},large.png{rest}\n')
      data_dir = tiny.temp_dir(self)
      manifest = manifest_lib.read_manifest(
          os.path.join(tiny.data_dir(), 'manifest.jsonl'))
      manifest_lib.write_manifest(
          os.path.join(data_dir, 'manifest.jsonl'),
          manifest.header._replace(root=folder), [
              row._replace(image='large.png') for row in manifest.rows])
      found = corrections.apply(self._dataset, folder, data_dir)
      np.testing.assert_array_equal(
          found.splits['train_weak'][0]['label'], np.eye(16))

  def test_a_removed_line_keeps_the_annotation(self):
    folder = self._copy()
    path = os.path.join(folder, corrections.TABLE)
    with open(path, encoding='utf-8') as file:
      header, first, *_ = file.read().splitlines()
    with open(path, 'w', encoding='utf-8') as file:
      file.write(f'{header}\n{first}\n')
    corrected = corrections.apply(self._dataset, folder)
    kept = sum(a is b for a, b in zip(
        corrected.splits['train_weak'], self._dataset.splits['train_weak'],
        strict=True))
    self.assertEqual(kept, 31)
    self.assertNotEqual(
        corrected.corrections,
        corrections.apply(self._dataset, self._folder).corrections)

  def test_a_run_learns_from_them_and_refuses_others(self):
    folder = self._copy()
    config = tiny.debug_config().unlock()
    config.input.corrected_labels = folder
    workdir = tiny.temp_dir(self)
    data = pieces.unpack(config).data
    dataset = corrections.load(data, workdir)
    run_folder.open_run(workdir, config, dataset)
    run_folder.open_run(workdir, config, dataset)  # The run resumes.
    name = self._lines()[0]['mask']
    Image.fromarray(np.zeros((16, 16), np.uint8)).save(
        os.path.join(folder, name))
    with self.assertRaisesRegex(binary.UserError, 'changed since'):
      run_folder.open_run(workdir, config, corrections.load(data, workdir))

  @parameterized.named_parameters(
      ('no_folder', None, 'cannot be read'),
      ('no_table', 'name,what\na,b\n', 'not a table of experiments.refine'),
      ('short_line', 'id,mask\ntrain_0000,\n', 'line without a mask'),
      ('long_line', 'id,mask\n{0},masks/a.png,3\n',
       'line 2: expected 2 cells, found 3'),
      ('other_set', 'id,mask\nnobody,masks/a.png\n', 'of another set'),
      ('no_mask', 'id,mask\n{0},masks/gone.png\n',
       'masks/gone.png is missing: restore it, or remove its line'),
      ('outside', 'id,mask\n{0},../../a.png\n', 'lead out of its folder'),
      ('class', 'id,mask\n{0},five.png\n', 'holds class 5'),
      ('of_an_editor', 'id,mask\n{0},white.png\n', 'holds 255'),
      ('size', 'id,mask\n{0},large.png\n', 'large.png is 32 x 16, expected '
       r'16 x 16 \(height x width\), as its image: save it in that size'),
      ('size_in_the_table', 'id,mask,size\n{0},large.png,40 x 16\n',
       'is 32 x 16, expected 40 x 16'),
      ('size_without_spaces', 'id,mask,size\n{0},five.png,16x16\n',
       'holds class 5'),
      ('empty_table', '', 'not a table of experiments.refine'),
      ('twice', 'id,mask\n{0},masks/a.png\n{0},masks/b.png\n',
       'has several lines of train_.*: keep one'),
      ('jpeg', 'id,mask\n{0},jpeg.png\n', 'compression changes them'),
      ('fractions', 'id,mask\n{0},half.tif\n', 'class numbers: fractions'),
      ('colours', 'id,mask\n{0},colours.png\n', 'channels of different values'),
      ('palette', 'id,mask\n{0},palette.png\n', 'its palette is not that of'))
  def test_refuses(self, text, message):
    folder = tiny.temp_dir(self)
    if text is not None:
      ids = [line['id'] for line in self._lines()]
      with open(os.path.join(folder, corrections.TABLE), 'w',
                encoding='utf-8') as file:
        file.write(text.format(*ids))
    Image.fromarray(np.full((16, 16), 5, np.uint8)).save(
        os.path.join(folder, 'five.png'))
    Image.fromarray(255 * np.eye(16, dtype=np.uint8)).save(
        os.path.join(folder, 'white.png'))
    Image.fromarray(np.zeros((32, 16), np.uint8)).save(
        os.path.join(folder, 'large.png'))
    Image.fromarray(np.eye(16, dtype=np.uint8)).save(
        os.path.join(folder, 'jpeg.png'), format='JPEG')
    Image.fromarray(np.full((16, 16), .5, np.float32)).save(
        os.path.join(folder, 'half.tif'))
    mask = corrections.colour(np.eye(16, dtype=np.uint8))
    mask.convert('RGB').save(os.path.join(folder, 'colours.png'))
    # An editor that sorts the palette exchanges the numbers of the classes.
    mask.putpalette([128, 0, 0, 0, 0, 0])
    mask.save(os.path.join(folder, 'palette.png'))
    with self.assertRaisesRegex(binary.UserError, message) as caught:
      corrections.apply(self._dataset, folder)
    self.assertNotIn('\n', str(caught.exception))
    self.assertLessEqual(len(str(caught.exception)), 193)  # With "Error: ".

  def test_another_set_with_the_same_ids_is_refused(self):
    # The images may be others, or the set was prepared again.
    other, folder = self._dataset._replace(fingerprint='f'), self._copy()
    with self.assertRaisesRegex(
        binary.UserError, 'for another set, or .* has changed since: train and '
        'refine again. .* remove its corrected.json') as caught:
      corrections.apply(other, folder)
    self.assertLessEqual(len(str(caught.exception)), 193)  # With "Error: ".
    with open(os.path.join(folder, corrections.SUMMARY), 'w',
              encoding='utf-8') as file:
      file.write('{')  # Which set it is for is not known any more.
    with self.assertRaisesRegex(binary.UserError, 'cannot be read: it states'):
      corrections.apply(self._dataset, folder)
    os.remove(os.path.join(folder, corrections.SUMMARY))
    self.assertNotEmpty(corrections.apply(other, folder).corrections)

  @parameterized.named_parameters(
      ('a_byte_order_mark', lambda text: b'\xef\xbb\xbf' + text),
      ('semicolons', lambda text: text.replace(b',', b';')))
  def test_reads_what_spreadsheets_write(self, save):
    folder = self._copy()
    path = pathlib.Path(folder, corrections.TABLE)
    path.write_bytes(save(path.read_bytes()))
    self.assertEqual(
        corrections.apply(self._dataset, folder).corrections,
        corrections.apply(self._dataset, self._folder).corrections)

  def test_a_set_that_was_prepared_again_does_not_belong_to_the_run(self):
    other = self._dataset._replace(fingerprint='f')
    with mock.patch.object(
        input_pipeline, 'load_dataset', return_value=other):
      with self.assertRaisesRegex(
          binary.UserError, 'holds a run on another set: .* have changed since'
          '. Train again, or prepare the set as it was'):
        observer.open_run(tiny.run_dir())

  def test_overwrites_nothing(self):
    with self.assertRaisesRegex(binary.UserError, 'may hold corrections'):
      refining.refine(tiny.run_dir(), self._folder)


class TwoRunsTest(parameterized.TestCase):

  def _train(self, config, workdir):
    self.assertFalse(config.supervision.refine)
    self._trained.append(workdir)
    shutil.copytree(tiny.run_dir(), workdir)

  def test_the_second_run_learns_what_the_first_one_corrected(self):
    self._trained = []
    workdir = tiny.temp_dir(self)
    config = tiny.debug_config(**common.METHODS['dii_dcr_refine']).lock()
    for _ in range(2):  # The second call finds everything finished.
      refining.train_first(config, workdir, train=self._train)
    self.assertEqual(self._trained, [os.path.join(workdir, 'first')])
    dataset = corrections.load(pieces.unpack(config).data, workdir)
    self.assertEqual(
        dataset.corrections,
        corrections.apply(
            input_pipeline.load_dataset(tiny.data_dir()),
            os.path.join(workdir, 'refined')).corrections)

  def test_a_stopped_first_run_is_told(self):
    config = tiny.debug_config(supervision=dict(refine=True)).lock()
    workdir = tiny.temp_dir(self)
    with self.assertRaisesRegex(binary.Stopped, 'first: the same command'):
      trainer.train_and_evaluate(
          config, workdir, should_stop=lambda step: True)
    for folder, notice in (
        (os.path.join(workdir, 'first'), 'notice: .*first is not finished: it '
         'is at step 0 of 4\n$'), (tiny.run_dir(), '^$')):
      stderr = io.StringIO()
      with contextlib.redirect_stderr(stderr):
        observer.open_run(folder)
      self.assertRegex(stderr.getvalue(), notice)

  @parameterized.parameters('strong_only', 'full_supervision')
  def test_refuses_methods_without_weak_labels(self, method):
    config = tiny.debug_config(**common.METHODS[method])
    config.supervision.refine = True
    with self.assertRaisesRegex(binary.UserError, 'learns none'):
      refining.train_first(config, tiny.temp_dir(self), train=self._train)


if __name__ == '__main__':
  absltest.main()
