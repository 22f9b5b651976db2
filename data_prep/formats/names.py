"""The names of the formats, known without importing what reads them."""

# Each is a module of this folder. Tried in this order: the first that
# recognises a source reads it.
READS = (
    'coco', 'labelme', 'cvat', 'voc', 'yolo', 'table', 'nifti', 'folder')
WRITES = tuple(name for name in READS if name != 'table')
