"""The formats by name; a new one is one module and one line here."""

import pathlib

from data_prep.formats import coco
from data_prep.formats import cvat
from data_prep.formats import folder
from data_prep.formats import labelme
from data_prep.formats import nifti
from data_prep.formats import table
from data_prep.formats import voc
from data_prep.formats import yolo

# Tried in this order: the first that recognises a source reads it.
FORMATS = {
    'coco': coco,
    'labelme': labelme,
    'cvat': cvat,
    'voc': voc,
    'yolo': yolo,
    'table': table,
    'nifti': nifti,
    'folder': folder,
}
WRITES = tuple(name for name, module in FORMATS.items() if module.HOLDS)


def detect_format(source: pathlib.Path) -> str | None:
  """Returns the name of the format of a source, None if it has none."""
  for name, module in FORMATS.items():
    if module.detect(source):
      return name
  return None
