"""Tests for experiments.training.closing_words: the closing words of a run."""

import contextlib
import io

from absl.testing import absltest

from experiments.training import closing_words


def _printed(network):
  scores = {'dice': 0.5, 'dice_interval_95': None, 'num_cases_counted': 1,
            'num_subjects': 1}
  results = {
      'dataset': 'mine', 'step': 4, 'num_skipped': 0, 'best': None,
      'test': scores | {'per_class': {}},
      'indicators': {'mean': 1.0, 'num_weak': 2},
      'seconds': {'start': 2.0, 'compile': 10.0, 'steps': 31.25,
                  'pictures': 0.01}}
  with contextlib.redirect_stdout(io.StringIO()) as text:
    closing_words.print_summary(results, 'runs/mine', network=network)
  return text.getvalue()


class SummaryTest(absltest.TestCase):

  def test_the_small_network_names_the_better_one(self):
    self.assertIn('METHOD,effnet_lite0', _printed('unet'))
    self.assertNotIn('effnet_lite0', _printed('efficientnet_unet'))

  def test_says_where_the_time_went_in_one_line(self):
    self.assertIn(
        '\n  seconds          43.3: start 2.0, compile 10.0, steps 31.2\n',
        _printed('unet'))


if __name__ == '__main__':
  absltest.main()
