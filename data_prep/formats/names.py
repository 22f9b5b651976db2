"""Lists the names of the formats without importing their readers."""

# Each name is a module of this package. Formats are tried in this order, and
# the first one that recognises a source reads it.
READS = (
    'coco', 'labelme', 'cvat', 'voc', 'yolo', 'table', 'nifti', 'folder')
WRITES = tuple(name for name in READS if name != 'table')
