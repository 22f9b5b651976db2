"""Tests of experiments.reports.strips and of painting.outline."""

import base64
import io

from absl.testing import absltest
import numpy as np
from PIL import Image

from experiments import painting
from experiments.reports import blocks
from experiments.reports import script
from experiments.reports import strips
from tests import html_pages


def _volume(number, *, worst=(), shape=(40, 20), spacing=(1.0, 2.0)):
  """Returns a volume whose slices get brighter, with a class in one corner."""
  image = np.broadcast_to(
      np.linspace(0, 255, number).astype(np.uint8)[:, None, None],
      (number, *shape))
  label = np.full((number, *shape), 255, np.uint8)
  label[:, : shape[0] // 2] = 0
  prediction = np.zeros_like(label)
  prediction[:, 2:10, 2:10] = 1
  return strips.Volume(
      image, label, prediction, [2 * k + 1 for k in range(number)], worst,
      spacing)


def _pixels(strip):
  content = base64.b64decode(strip.picture.uri.split(',')[1])
  return np.asarray(Image.open(io.BytesIO(content)).convert('RGB')).astype(int)


class StripsTest(absltest.TestCase):

  def test_all_slices_lie_below_each_other(self):
    strip = strips.draw(_volume(6, worst=(4, 1)), num_volumes=1)
    self.assertEqual(strip.numbers, (1, 3, 5, 7, 9, 11))
    self.assertEqual(strip.worst, (4, 1))
    pixels = _pixels(strip)
    # Pixels are twice as wide as high, so 40 x 20 of them make a square.
    self.assertEqual(pixels.shape, (6 * 224, 2 * 224, 3))
    means = pixels[:, :224].reshape(6, -1).mean(1)
    np.testing.assert_allclose(means, np.linspace(0, 255, 6), atol=4)
    # The right pane shows the outline, which encloses the plain image.
    right = pixels[:224, 224:]
    self.assertGreater(right[20:50, 22:25, 1].max(1).min(), 150)
    np.testing.assert_allclose(right[30, 60], pixels[30, 60], atol=12)

  def test_of_many_slices_the_worst_are_among_the_shown(self):
    chosen = strips.choose(500, (333, 7, 8))
    self.assertBetween(len(chosen), 61, 64)
    self.assertContainsSubset((0, 7, 8, 333, 499), chosen)
    self.assertEqual(chosen, sorted(chosen))
    self.assertLess(np.diff(chosen).max(), 10)
    self.assertEqual(strips.choose(64, (3,)), list(range(64)))

  def test_twenty_volumes_of_noise_keep_the_bound(self):
    rng = np.random.default_rng(0)
    volume = _volume(12, shape=(96, 96), spacing=(1.0, 1.0))
    volume = volume._replace(
        image=rng.integers(0, 255, volume.image.shape).astype(np.uint8),
        prediction=rng.integers(0, 3, volume.image.shape).astype(np.uint8))
    strip = strips.draw(volume, num_volumes=1000)
    self.assertLess(strips.NUM_SHOWN * len(strip.picture.uri), 10e6)

  def test_section(self):
    strip = strips.draw(_volume(3, worst=(2,)), num_volumes=1)
    plain = strips.draw(_volume(5), num_volumes=1)
    text = strips.section(
        ['<b>', 'b'], [{'score': '0.5', 'fault': ''}, {}], [strip, plain])
    page = html_pages.assert_sound(self, blocks.page(
        't', [], [blocks.Section('s', text)]))
    first, second = (i for i in page.all('input') if i['type'] == 'range')
    self.assertEqual((first['max'], first['value'], first['data-numbers']),
                     ('2', '2', '1 3 5'))
    self.assertEqual((second['max'], second['value']), ('4', '2'))
    self.assertIn('&lt;b&gt;', text)
    self.assertNotIn('fault', text)
    self.assertEqual(text.count('data-slice='), 1)
    self.assertIn("querySelectorAll('.volume')", script.SCRIPT)

  def test_outline(self):
    label = np.zeros((5, 6), np.uint8)
    label[1:4, 1:4] = 1
    label[0, 5] = 255
    found = painting.outline(np.zeros((5, 6, 3)), label)
    lines = np.zeros((5, 6), bool)
    lines[1:4, 1:4] = True
    lines[2, 2] = False
    np.testing.assert_array_equal(found.any(-1), lines)
    np.testing.assert_allclose(found[1, 1], np.array([26, 255, 89]) / 255)


if __name__ == '__main__':
  absltest.main()
