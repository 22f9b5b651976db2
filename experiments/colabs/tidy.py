"""Prepares notebooks for a commit: removes outputs and changing metadata.

python -m experiments.colabs.tidy

Run this after an edit in Jupyter or Colab, and after a change of
`setup_cell.py`. The text of that file is copied into the cell `setup` of each
notebook, because a notebook cannot import it before it has cloned the
repository. The ids of cells are kept, since a test finds the cell `settings` by
its id.
"""

import pathlib

import nbformat

FOLDER = pathlib.Path(__file__).parent
SETUP = FOLDER / 'setup_cell.py'
_METADATA = {
    'kernelspec': {
        'display_name': 'Python 3', 'language': 'python', 'name': 'python3'},
    'language_info': {'name': 'python'},
}


def tidy(notebook: nbformat.NotebookNode) -> str:
  """Returns the text of a notebook file that is ready to be committed.

  Outputs and the metadata of the person who edited the notebook are removed.
  The cell `setup` gets the text of `setup_cell.py`.

  Args:
    notebook: notebook from `nbformat.read`; it is changed.
  """
  notebook.metadata = nbformat.from_dict(_METADATA)
  for cell in notebook.cells:
    cell.metadata = nbformat.from_dict({})
    if cell.cell_type == 'code':
      cell.outputs, cell.execution_count = [], None
    if cell.id == 'setup':
      cell.source = SETUP.read_text(encoding='utf-8').rstrip()
  nbformat.validate(notebook)
  return nbformat.writes(notebook) + '\n'


def main():
  for path in sorted(FOLDER.glob('*.ipynb')):
    text = tidy(nbformat.read(path, as_version=4))
    path.write_text(text, encoding='utf-8')


if __name__ == '__main__':
  main()
