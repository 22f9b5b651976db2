"""Lists the names of the formats without importing their readers."""

# Each name is a module of this package. Formats are tried in this order, and
# the first one that recognises a source reads it.
READS = (
    'coco', 'labelme', 'label_studio', 'via', 'geojson', 'cvat', 'voc', 'yolo',
    'table', 'nrrd', 'nifti', 'metaimage', 'dicom_seg', 'rtstruct', 'hdf5',
    'folder')
# Formats of volumes, which `prepare --volumes` keeps whole.
VOLUMES = ('nrrd', 'nifti', 'metaimage', 'dicom_seg', 'rtstruct', 'hdf5')
WRITES = tuple(
    name for name in READS
    if name not in ('table', 'via', 'metaimage', 'rtstruct', 'hdf5'))
# Formats in which whole volumes can be written.
WRITES_VOLUMES = tuple(name for name in VOLUMES if name in WRITES)
