"""Tests for weak_losses and regularizers; see also loss_contract_test."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from hybridseg import regularizers
from hybridseg import weak_losses


def _logits(foreground):
  """Returns logits [1, ..., 2] for the given probabilities of class 1."""
  p = np.clip(np.float32(foreground), 1e-7, 1 - 1e-7)[None]
  return np.stack([np.zeros_like(p), np.log(p / (1 - p))], axis=-1)


def _one_hot(label_map):
  return np.eye(2, dtype=np.float32)[np.array(label_map)][None]


class GoldenTest(parameterized.TestCase):

  def test_outside(self):
    # The pixels outside the box have the probabilities .1 and .5, so the loss
    # is (-log .9 - log .5) / 2.
    loss = weak_losses.outside_cross_entropy_loss(
        _logits([[0.1, 0.9], [0.5, 0.2]]), _one_hot([[0, 1], [0, 1]]))
    np.testing.assert_allclose(loss, [(0.105361 + 0.693147) / 2], rtol=1e-5)

  def test_tightness(self):
    # The box covers the two right columns. The sums of its rows are .3 + .4 and
    # 1 + .2, and those of its columns .3 + 1 and .4 + .2. Sums below 1 are
    # penalized: the squares are .3^2, 0, 0 and .4^2 for the 4 lines.
    loss = weak_losses.tightness_loss(
        _logits([[0.9, 0.3, 0.4], [0.9, 1.0, 0.2]]),
        _one_hot([[0, 1, 1], [0, 1, 1]]))
    np.testing.assert_allclose(loss, [(0.09 + 0.16) / 4], rtol=1e-4)

  def test_tightness_of_bands(self):
    # With a width of 2, the only band of rows sums up to 1.9 of 2, which costs
    # (1 - .95)^2. The first band of columns has a sum of .3 + 1 of 2, and the
    # second band, a single column, has .6 of 2.
    loss = weak_losses.tightness_loss(
        _logits([[0.9, 0.3, 0.4], [0.9, 1.0, 0.2]]),
        _one_hot([[0, 1, 1], [0, 1, 1]]), width=2)
    np.testing.assert_allclose(
        loss, [(0.05**2 + 0.35**2 + 0.7**2) / 3], rtol=1e-4)

  def test_projection(self):
    # The projections (maxima) onto y are .9, .5 for the prediction and 1, 1 for
    # the box; those onto x are .5, .9, .2 and 0, 1, 1.
    loss = weak_losses.projection_loss(
        _logits([[0.1, 0.9, 0.1], [0.5, 0.3, 0.2]]),
        _one_hot([[0, 1, 1], [0, 1, 1]]), epsilon=0.0)
    on_y = 1 - 2 * 1.4 / (0.81 + 0.25 + 2)
    on_x = 1 - 2 * 1.1 / (0.25 + 0.81 + 0.04 + 2)
    np.testing.assert_allclose(loss, [(on_y + on_x) / 2], rtol=1e-4)

  def test_projection_and_tightness_of_a_box_in_a_volume(self):
    # Two slices; the box is the right column of the second one. The maxima
    # onto D are .6, .9, onto H .9, .8, onto W .8, .9; those of the box are
    # 0, 1, then 1, 1, then 0, 1. Each plane across the box must hold 1 voxel:
    # it holds .9 + .4 along D and W, and .9 and .4 along H.
    logits = _logits([[[0.6, 0.2], [0.1, 0.3]], [[0.5, 0.9], [0.8, 0.4]]])
    box = _one_hot([[[0, 0], [0, 0]], [[0, 1], [0, 1]]])
    on_d = 1 - 2 * 0.9 / (0.36 + 0.81 + 1)
    on_h = 1 - 2 * (0.9 + 0.8) / (0.81 + 0.64 + 2)
    on_w = 1 - 2 * 0.9 / (0.64 + 0.81 + 1)
    np.testing.assert_allclose(
        weak_losses.projection_loss(logits, box, epsilon=0.0),
        [(on_d + on_h + on_w) / 3], rtol=1e-4)
    np.testing.assert_allclose(
        weak_losses.tightness_loss(logits, box), [(0.1**2 + 0.6**2) / 4],
        rtol=1e-4)

  def test_soft_edge(self):
    # The labels 0, 0, 1, blurred with a radius of 1, become 0, 1/3 and 1/2. All
    # predicted probabilities are .2.
    loss = weak_losses.soft_edge_cross_entropy_loss(
        _logits([0.2, 0.2, 0.2]), _one_hot([0, 0, 1]), radius=1)
    mean = (0 + 1 / 3 + 1 / 2) / 3
    np.testing.assert_allclose(
        loss, [-mean * np.log(0.2) - (1 - mean) * np.log(0.8)], rtol=1e-5)

  def test_tag(self):
    # The odds of .5 and .8 are 1 and 4, so with a sharpness of 1, the pooled
    # logit is S = log((1 + 4) / 2).
    logits = _logits([0.5, 0.8])
    for present, expected in ((1, 1 + 1 / 2.5), (0, 1 + 2.5), (255, 1)):
      loss = weak_losses.tag_loss(
          logits, np.uint8([[255, present]]), sharpness=1.0)
      np.testing.assert_allclose(loss, [np.log(expected)], rtol=1e-5)

  def test_a_tag_of_another_value_is_nan_and_no_absent_class(self):
    logits = _logits([0.5, 0.8])
    loss = weak_losses.tag_loss(logits, np.uint8([[255, 2]]), sharpness=1.0)
    np.testing.assert_array_equal(loss, [np.nan])
    with self.assertRaisesRegex(ValueError, 'present is int8, in which 255'):
      weak_losses.tag_loss(logits, np.int8([[-1, 1]]))

  def test_sharp_tag_looks_at_the_maximum(self):
    loss = weak_losses.tag_loss(
        _logits([0.1, 0.8, 0.2]), np.uint8([[255, 1]]), sharpness=200.0)
    np.testing.assert_allclose(loss, [-np.log(0.8)], atol=2e-3)

  def test_entropy(self):
    loss = regularizers.entropy_loss(_logits([0.5, 1.0]))
    np.testing.assert_allclose(loss, [np.log(2) / 2], rtol=1e-4)

  def test_total_variation(self):
    # The differences to the right neighbours are .3 and .1, and those to the
    # neighbours below .4 and .2.
    loss = regularizers.total_variation_loss(_logits([[0.1, 0.4], [0.5, 0.6]]))
    np.testing.assert_allclose(loss, [(0.3 + 0.1 + 0.4 + 0.2) / 4], rtol=1e-4)

  def test_gated_crf(self):
    # There are two pairs of neighbours. The two pixels of a pair belong to
    # different classes with a probability of .1 * .4 + .9 * .6 in the first
    # pair, and of .6 * .8 + .4 * .2 in the second.
    images = np.float32([0.0, 0.1, 0.4])[None, :, None]
    loss = regularizers.gated_crf_loss(
        _logits([0.1, 0.6, 0.2]), images, radius=1, sigma_xy=1.0,
        sigma_rgb=0.1)
    near, far = np.exp(-0.5 - 0.5), np.exp(-0.5 - 4.5)
    expected = near * (0.1 * 0.4 + 0.9 * 0.6) + far * (0.6 * 0.8 + 0.4 * 0.2)
    np.testing.assert_allclose(loss, [expected / 2], rtol=1e-4)

  def test_mumford_shah(self):
    # The pixels with intensities 0 and 1 belong to class 1 with probabilities
    # .25 and .75, so its mean intensity is .75. The mean of class 0 is .25.
    images = np.float32([0.0, 1.0])[None, :, None]
    loss = regularizers.mumford_shah_loss(
        _logits([0.25, 0.75]), images, tv_scale=0.1)
    spread = (0.25 * 0.75**2 + 0.75 * 0.25**2) * 2 / 2
    np.testing.assert_allclose(loss, [spread + 0.1 * 0.5], rtol=1e-4)

  def test_box_loss_is_0_where_the_object_touches_all_sides(self):
    cross = np.float32([[0, 0, 0, 0], [0, 0, 1, 0], [0, 1, 1, 1], [0, 0, 1, 0]])
    box = np.zeros((4, 4), int)
    box[1:, 1:] = 1
    for loss_fn in weak_losses.box_loss, weak_losses.tightness_loss:
      np.testing.assert_allclose(
          loss_fn(_logits(cross), _one_hot(box)), [0], atol=1e-5)
    smaller = np.where(np.arange(4)[:, None] < 3, cross, 0)
    self.assertGreater(
        weak_losses.box_loss(_logits(smaller), _one_hot(box))[0], 0.05)

  def test_options_are_checked(self):
    logits, labels = _logits([[0.5, 0.5]]), _one_hot([[0, 1]])
    with self.assertRaisesRegex(ValueError, 'width=0'):
      weak_losses.tightness_loss(logits, labels, width=0)
    with self.assertRaisesRegex(ValueError, 'radius=-1'):
      weak_losses.soft_edge_cross_entropy_loss(logits, labels, radius=-1)


if __name__ == '__main__':
  absltest.main()
