"""Runs experiments/colabs from start to end, with small settings."""

import functools
import re

from absl.testing import absltest
from absl.testing import parameterized
import nbclient
import nbformat

from experiments.colabs import tidy

_PATHS = sorted(tidy.FOLDER.glob('*.ipynb'))
# Assignments after the cell `settings`, where its own take too long for a test.
_SMALL = {
    'tour': 'NUM_TRAIN, TRAIN_STEPS = 80, 120',
    'your_annotations': 'NUM_TRAIN, TRAIN_STEPS = 60, 80',
}


def _read(path):
  return nbformat.read(path, as_version=4)


@functools.cache
def _printed(name):
  """Executes a notebook; returns the text that its cells printed."""
  notebook = _read(tidy.FOLDER / f'{name}.ipynb')
  for cell in notebook.cells:
    if cell.id == 'settings':
      cell.source += '\n' + _SMALL.get(name, '')
  nbclient.NotebookClient(
      notebook, timeout=600,
      resources={'metadata': {'path': str(tidy.FOLDER)}}).execute()
  return ''.join(
      output.text for cell in notebook.cells if cell.cell_type == 'code'
      for output in cell.outputs if output.output_type == 'stream')


class CommittedTest(parameterized.TestCase):

  @parameterized.parameters(*_PATHS)
  def test_is_tidy(self, path):
    # No outputs, no counts, no metadata: python -m experiments.colabs.tidy.
    self.assertEqual(
        path.read_text(encoding='utf-8'), tidy.tidy(_read(path)))

  @parameterized.parameters(*_PATHS)
  def test_says_what_colab_needs(self, path):
    cells = {cell.id: cell for cell in _read(path).cells}
    self.assertIn("if 'google.colab' in sys.modules:", cells['setup'].source)
    self.assertIn('%pip install', cells['setup'].source)
    self.assertIn('settings', cells)


class ExecutedTest(absltest.TestCase):

  def _number(self, name, after):
    """Returns the number that a notebook prints after some words."""
    found = re.search(rf'{after}: (-?[\d.e-]+)', _printed(name))
    self.assertIsNotNone(found, _printed(name))
    return float(found[1])

  def test_tour_finds_bad_boxes(self):
    self.assertGreater(self._number(
        'tour', 'AUROC of the indicators against the planted faults'), 0.7)

  def test_audit_of_your_annotations_finds_the_wrong_ones(self):
    self.assertGreater(self._number(
        'your_annotations', 'AUROC of the score against the planted faults'),
        0.7)

  def test_mathematics_agrees(self):
    for after in ('quotient, largest difference',
                  'closed form, largest difference',
                  'training again, largest difference'):
      self.assertLess(self._number('mathematics', after), 1e-8)
    self.assertGreater(
        self._number('mathematics', 'training again, correlation'), 0.9)

  def test_your_model_finds_wrong_labels(self):
    self.assertGreater(self._number(
        'your_model', 'AUROC of the weights against the wrong labels'), 0.9)
    self.assertLess(
        self._number('your_model', 'largest difference to one'), 1e-5)


if __name__ == '__main__':
  absltest.main()
