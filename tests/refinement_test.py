"""Tests for hybridseg.refinement."""

from absl.testing import absltest
from absl.testing import parameterized
import jax.numpy as jnp
import numpy as np

from hybridseg import refinement
from hybridseg import types

_OPEN = types.UNLABELLED


def _refined(foreground, label, *, inside, outside, trust=1.0, present=None):
  """Refines a label map of one row of pixels and two classes.

  Args:
    foreground: predicted probability of class 1 at each pixel.
    label: annotated class of each pixel.
    inside: evidence of a pixel that is annotated as class 1.
    outside: evidence of a pixel that is annotated as background.
    trust: trust in the annotation.
    present: whether each class is present according to a tag.

  Returns:
    The refined class of each pixel, a list of integers.
  """
  probs = np.stack([1 - np.array(foreground), foreground], -1)[None, None]
  said = refinement.annotation_evidence(
      np.array(label, np.uint8)[None, None], num_classes=2,
      inside=jnp.array([inside]), outside=jnp.array([outside]),
      present=None if present is None else np.array([present], np.uint8))
  return refinement.refine_labels(
      probs, said, jnp.array([trust]))[0, 0].tolist()


class RefineLabelsTest(parameterized.TestCase):

  def test_box_by_hand(self):
    # The log odds of .4, .3 and .9 are -.405, -.847 and 2.197. Adding .7 inside
    # the box changes the class of the first pixel only. Outside, subtracting 2
    # does not change the class of the third pixel, but subtracting 3 does.
    foreground, label = [0.4, 0.3, 0.9, 0.6], [1, 1, 0, 0]
    self.assertEqual(
        _refined(foreground, label, inside=0.7, outside=2.0), [1, 0, 1, 0])
    self.assertEqual(
        _refined(foreground, label, inside=0.7, outside=3.0), [1, 0, 0, 0])

  def test_trust_scales_it_and_none_leaves_the_prediction(self):
    # The log odds of .4 are -.405. With a trust of .5, the annotation adds .5
    # and outweighs them; with a trust of .4, it adds .4 and does not.
    self.assertEqual(
        _refined([0.4], [1], inside=1, outside=0, trust=0.5), [1])
    self.assertEqual(
        _refined([0.4], [1], inside=1, outside=0, trust=0.4), [0])
    self.assertEqual(
        _refined([0.4, 0.9], [1, 0], inside=50, outside=50, trust=0), [0, 1])

  def test_scribble_says_nothing_of_other_pixels(self):
    self.assertEqual(
        _refined([0.2, 0.6, 0.4, 0.9], [1, _OPEN, _OPEN, 0],
                 inside=3, outside=3), [1, 1, 0, 0])

  def test_a_volume_is_refined_as_its_slices_are(self):
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.ones(3), (2, 4, 3, 5))
    labels = rng.choice(np.uint8([0, 1, 2, _OPEN]), (2, 4, 3, 5))
    present = np.uint8([[255, 1, 0], [255, 0, 255]])

    def refined(probs, labels):
      evidence = refinement.annotation_evidence(
          labels, num_classes=3, inside=jnp.array([1.0, 0.5]),
          outside=jnp.array([0.3, 2.0]), present=present)
      return refinement.refine_labels(probs, evidence, jnp.array([0.6, 0.9]))

    volume = refined(probs, labels)
    self.assertGreater(np.mean(volume != probs.argmax(-1)), 0.05)
    for i in range(4):
      np.testing.assert_array_equal(
          volume[:, i], refined(probs[:, i], labels[:, i]))

  def test_polygon_of_several_classes(self):
    # All classes have the same probability, so the drawn class decides.
    probs = np.full((1, 1, 1, 3), 1 / 3)
    for value in range(3):
      said = refinement.annotation_evidence(
          np.full((1, 1, 1), value, np.uint8), num_classes=3,
          inside=jnp.ones(1), outside=jnp.ones(1))
      np.testing.assert_array_equal(said[0, 0, 0], np.eye(3)[value])
      refined = refinement.refine_labels(probs, said, jnp.ones(1))
      self.assertEqual(refined.item(), value)
      self.assertEqual(refined.dtype, np.uint8)

  @parameterized.parameters((1, [1, 0]), (0, [0, 0]), (_OPEN, [1, 0]))
  def test_tag(self, present, wanted):
    # The probability .6 selects class 1 unless the tag says that it is absent.
    self.assertEqual(
        _refined([0.6, 0.1], [_OPEN] * 2, inside=1, outside=2,
                 present=[_OPEN, present]), wanted)

  def test_constants_are_of_each_annotation(self):
    said = refinement.annotation_evidence(
        np.array([[[1, 0]], [[1, 0]]], np.uint8), num_classes=2,
        inside=jnp.array([1.0, 2.0]), outside=jnp.array([3.0, 4.0]))
    np.testing.assert_array_equal(
        said[:, 0], [[[0, 1], [3, 0]], [[0, 2], [4, 0]]])

  def test_a_sure_network_can_be_outweighed(self):
    self.assertEqual(_refined([0.0], [1], inside=13, outside=0), [0])
    self.assertEqual(_refined([0.0], [1], inside=14, outside=0), [1])

  def test_trust_ends_at_the_threshold(self):
    np.testing.assert_array_equal(
        refinement.gated_trust(jnp.array([0.69, 0.7, 1.0]), threshold=0.7),
        np.float32([0, 0.7, 1]))

  def test_refuses_other_shapes(self):
    with self.assertRaisesRegex(ValueError, 'differs from'):
      refinement.refine_labels(
          np.ones((1, 2, 2, 2)), np.ones((1, 2, 2, 3)), jnp.ones(1))


if __name__ == '__main__':
  absltest.main()
