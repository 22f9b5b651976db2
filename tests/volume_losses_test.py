"""Tests of experiments.building.volume_losses, and of the kinds in a set."""

import contextlib
import functools
import io
import os
import pathlib
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
from data_prep import formats
from data_prep.drawing import volume_annotations
from data_prep.sets import own_set
from data_prep.sets import whole_set
from data_prep.splits import dividing
from data_prep.splits import strong_choice
from hybridseg import kind_losses
from hybridseg import losses
from hybridseg import types
import jax
import jax.numpy as jnp
import nibabel
import numpy as np

from experiments.auditing import volume_audit
from experiments.building import pieces
from experiments.building import volume_losses
from experiments.building import volume_set
from tests import tiny_volumes

_FOLDERS = []
_MEANT = {
    'slices': 'cross_entropy_dice', 'box': 'outside',
    'scribble': 'cross_entropy', 'extreme_points': 'outside',
    'points': 'balanced_cross_entropy', 'coarse_mask': 'soft_edge',
    'tag': 'tag'}


@functools.cache
def _data_dir():
  """Returns a set with two weak volumes of each kind; one has no class 2."""
  folder = tempfile.TemporaryDirectory(prefix='hybridseg_kinds_')
  _FOLDERS.append(folder)  # Removed when the process ends.
  source = pathlib.Path(folder.name, 'kinds')
  for k in range(20):
    label = tiny_volumes.label_of(k)
    if k % 3 == 1:
      label[label == 2] = 1
    for name, array in (
        ('images', tiny_volumes.image_of(k)), ('labels', label)):
      (source / name).mkdir(parents=True, exist_ok=True)
      nibabel.save(nibabel.Nifti1Image(array, np.diag([1.0, 1, 2, 1])),
                   source / name / f'v{k:02d}.nii')
  output = os.path.join(folder.name, 'set')
  with contextlib.redirect_stdout(io.StringIO()):
    whole_set.prepare(
        str(source), output, options=formats.Options(), overwrite=False,
        plan=own_set.Plan(
            draw=dividing.Draw(fractions=(0.8, 0.1, 0.1)),
            budget=strong_choice.Budget(fraction=0.13),
            simulate=volume_annotations.KINDS),
        wanted=whole_set.Wanted())
  return output


def _load(patch=(10, 12, 9)):
  """Opens the set with patches that hold all of its volumes, or others."""
  dataset = volume_set.load(_data_dir())
  return dataset._replace(plan=dataset.plan._replace(patch_size=patch))


def _weak(dataset):
  return {types.AnnotationKind(int(r['kind'])).name.lower(): r
          for r in dataset.splits['train_weak']}


class KindsTest(parameterized.TestCase):

  def test_each_kind_has_its_labels(self):
    found = _weak(_load())
    self.assertEqual(set(found), set(volume_annotations.KINDS))
    for kind, record in found.items():
      label, truth = record['label'], record['truth']
      known = label != types.UNLABELLED
      self.assertEqual(known.all(), kind in ('box', 'coarse_mask'))
      self.assertEqual(known.any(), kind != 'tag')
      if kind in ('slices', 'scribble', 'points'):
        np.testing.assert_array_equal(label[known], truth[known])
      present = record['present'].tolist()
      self.assertEqual(present, [255, *(
          [int(c in truth) for c in (1, 2)] if kind == 'tag' else [255, 255])])

  def test_a_patch_need_not_show_what_a_tag_names(self):
    tags = [r for r in _load().splits['train_weak']
            if r['kind'] == types.AnnotationKind.TAG]
    for record in tags:
      whole, (x, y, z) = record['present'], record.volume.shape
      np.testing.assert_array_equal(
          record.present_in((-1, 0, 0), (x + 1, y, z + 4)), whole)
      for start, size in (((1, 0, 0), (x, y, z)), ((0, 0, 0), (x, y - 1, z))):
        np.testing.assert_array_equal(
            record.present_in(start, size), np.where(whole == 1, 255, whole))

  def test_all_kinds_have_a_loss(self):
    records = _weak(_load())
    loss = kind_losses.by_kind({
        types.AnnotationKind[kind.upper()]: [(1.0, pieces._TERMS[name])]
        for kind, name in _MEANT.items()})
    size = (10, 12, 9)
    stack = lambda field: np.stack([
        r.read(field, (0, 0, 0), size) for r in records.values()])
    labels, where = losses.one_hot_labels(jnp.asarray(stack('label')), 3)
    annotations = dict(
        where=where, kind=np.stack([r['kind'] for r in records.values()]),
        present=np.stack([
            r.present_in((0, 0, 0), size) for r in records.values()]),
        images=stack('image'))

    logits = np.random.default_rng(0).normal(size=(7, *size, 3))
    values = jax.jit(lambda x, labels, rest: loss(x, labels, **rest))(
        logits.astype(np.float32), labels, annotations)
    self.assertTrue((values > 0).all() and np.isfinite(values).all())

  def test_the_audit_finds_the_exact_labels_good(self):
    dataset = _load()
    for kind, record in _weak(dataset).items():
      truth, frame = record['truth'], dataset.plan.frame
      good = volume_audit._compare(record, truth, frame)
      # Boxes and coarse masks are rough.
      self.assertLess(
          good.score, 0.35 if kind in ('box', 'coarse_mask') else 1e-9)
      bad = volume_audit._compare(record, np.zeros_like(truth), frame)
      self.assertGreater(bad.score, 0.9)
      self.assertEqual(bad.slices == (), kind == 'tag')


class CheckTest(parameterized.TestCase):

  @parameterized.parameters('box', 'projection', 'tightness')
  def test_boxes_that_patches_cut(self, loss):
    with self.assertRaisesRegex(
        ValueError, f"^Loss '{loss}' of kind 'box' needs whole boxes, and "
        'patches of 8 x 12 x 9 voxels cut them: use'):
      volume_losses.check({'box': ((1.0, loss),)}, _load((8, 12, 9)))
    for table, patch in (
        ({'box': ((1.0, loss),)}, (10, 12, 9)),
        ({'BOX': ((1.0, 'outside'),)}, (8, 12, 9)),
        ({'mask': ((1.0, loss),)}, (8, 12, 9))):
      self.assertLen(volume_losses.check(table, _load(patch)), 1)

  def test_tags(self):
    learnt = {'tag': ((1.0, 'tag'),)}
    self.assertEqual(volume_losses.check(learnt, _load()), [])
    self.assertEqual(volume_losses.check({}, _load()), [
        '2 volumes with only a tag: no weak loss learns from them; '
        "supervision.loss_by_kind={'tag': ((1.0, 'tag'),)} does."])
    dataset = _load((8, 12, 9))
    tags = [r for r in dataset.splits['train_weak']
            if r['kind'] == types.AnnotationKind.TAG and r['present'][2] == 1]
    dataset.splits['train_weak'] = tags
    self.assertNotEmpty(tags)
    with self.assertRaisesRegex(
        ValueError, "^Loss 'tag' of kind 'tag' learns nothing: a patch of"):
      volume_losses.check(learnt, dataset)
    self.assertEqual(volume_losses.check({}, dataset), [
        '1 volume with only a tag: no weak loss learns from them.'])


if __name__ == '__main__':
  absltest.main()
