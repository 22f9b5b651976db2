"""Makes notebooks fit to be committed: no outputs, no noise, the same bytes.

python -m experiments.colabs.tidy

after an edit in Jupyter or Colab, or of `setup_cell.py`: it is the text of the
cell `setup` of each, since a notebook that has yet to fetch the repository
cannot import it. Ids of cells stay: a test finds the cell `settings` by its id.
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
  """Returns the text of a notebook as it is committed.

  Without outputs and other people's metadata, and with the setup of all.

  Args:
    notebook: as `nbformat.read` gives it; it is changed.
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
