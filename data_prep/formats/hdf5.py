"""Reads HDF5 and NPZ files with the keys image, label and scribble.

Public code for semi-supervised and weakly supervised learning stores its sets
so: SSL4MIS and WSL4MIS (ACDC), TransUNet (Synapse). A file is a slice [H, W] or
a volume of three axes, of which the shortest counts the slices. Such files
state neither spacing nor orientation, so spacings are unknown, and distances
are in pixels. With `--volumes`, they count as 1 mm.

The slices and frames of a subject are its own, as names tell them in these
sets: patient001_frame01_slice_3 and case0005_slice012.
"""

import functools
import io
import os
import pathlib
import re
import zipfile

import numpy as np

from data_prep import formats
from data_prep.formats import assembling
from data_prep.formats import pairing
from data_prep.formats import parts as parts_lib
from data_prep.formats import sources
from data_prep.formats import volume_sets
from data_prep.formats import volumes
from data_prep.shared import grammar
from data_prep.shared import pixels
from data_prep.shared import volume_type

HOLDS = ()

IMAGE, LABELS = 'image', {'label': 'mask', 'scribble': 'scribble'}

_HDF5 = ('.h5', '.hdf5')
_NPZ = ('.npz',)
SUFFIXES = (*_HDF5, *_NPZ)
_SIGNATURE = b'\x89HDF\r\n\x1a\n'
_SUBJECT = re.compile(
    r'(.*?)(?:[_-]frame[_-]?\d+)?(?:[_-]slice[_-]?\d+)?(?:\.npy)?', re.I)
_NO_SPACING = ('the files state no spacing: distances are in pixels, and 1 mm '
               'with --volumes')


def detect(source: pathlib.Path) -> bool:
  """Returns whether there are HDF5 or NPZ files of images below `source`."""
  return any(_holds_image(source / p)
             for p in sources.list_files(source, SUFFIXES))


def is_archive(path: pathlib.Path) -> bool:
  """Returns whether a file is HDF5 or NPZ by its name and its first bytes."""
  name = path.name.lower()
  for suffixes, signature in ((_HDF5, _SIGNATURE), (_NPZ, b'PK')):
    if name.endswith(suffixes):
      return pixels.head(path, len(signature)) == signature
  return False


def _holds_image(path):
  """Returns whether a file has an array `image`, as far as can be seen."""
  if path.name.lower().endswith(_NPZ):
    return IMAGE in _npz_keys(path)
  if not is_archive(path):
    return False
  try:
    return not _has_h5py() or IMAGE in _keys(path)
  except pixels.WrongFile:  # Whoever reads the file explains what is wrong.
    return True


def find(
    source: pathlib.Path,
    report: assembling.Report,
    *,
    folder: pathlib.Path | None = None,
) -> volume_sets.Found:
  """Lists images and labels; has the interface of `nifti.find`."""
  del folder  # Nothing is decompressed to a file.
  paths, images, masks = sources.list_files(source, SUFFIXES), [], {}
  if not _has_h5py() and any(p.lower().endswith(_HDF5) for p in paths):
    unread = [p for p in paths if p.lower().endswith(_HDF5)]
    report.wrong('reading .h5 files needs h5py', '',
                 "pip install -e '.[hdf5]'", file=unread[0])
    report.used.update(unread)
    paths = [p for p in paths if p not in unread]
  others, further = [], {}
  for path in paths:
    try:
      keys = _keys(source / path)
    except pixels.WrongFile as wrong:
      report.wrong_file(wrong, file=path)
      continue
    if IMAGE not in keys:
      others.append(path)
      continue
    images.append(path)
    if keys - {IMAGE, *LABELS}:
      further[path] = keys - {IMAGE, *LABELS}
    masks[path] = [
        parts_lib.Mask(f'{path}:{key}', report.options.masks_are
                       if kind == 'mask' else kind)
        for key, kind in LABELS.items() if key in keys]
  if others:
    report.note_unread(others, 'file', "it has no key 'image'")
  for path in sorted(further)[:1]:
    keys = ', '.join(sorted(further[path]))
    report.note(
        f'{grammar.counted(len(further), "file", "have")} keys that are not '
        f'read, such as {pixels.tail(path)}: {keys[:60]}; masks are read from '
        "'label' and 'scribble'")
  names_of = sources.make_names(images)
  return volume_sets.Found(
      tuple(paths), pairing.Pairs(
          images, {p: some for p, some in masks.items() if some}, {}, (),
          frozenset()),
      names_of, read_file, functools.partial(read_file, is_lazy=True),
      format_name='hdf5', has_spacing=False,
      subjects={path: name.folder or _SUBJECT.fullmatch(
          name.id.rsplit('/', 1)[-1])[1] or name.id
                for path, name in names_of.items()})


def read(
    source: pathlib.Path, output: pathlib.Path, report: assembling.Report
) -> formats.Imported:
  """Reads slices, volumes and labels, see `data_prep.formats`."""
  return volume_sets.read(find(source, report), source, output, report)


def read_again(files: list[str]) -> volume_type.Volume:
  """Reads an image by its entry `files` in volumes.json."""
  return read_file(pathlib.Path(files[0]))


def _has_h5py():
  try:
    import h5py  # noqa: F401
  except ImportError:
    return False
  return True


def _split(path):
  """Returns the file and the key that `a.h5:label` names."""
  text, mark, key = str(path).rpartition(':')
  if mark and key in LABELS:
    return pathlib.Path(text), key
  return path, IMAGE


def _npz_keys(path):
  try:
    with zipfile.ZipFile(path) as file:
      return {n.removesuffix('.npy') for n in file.namelist()}
  except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
    return set()


def _keys(path):
  """Returns the keys of a file.

  Raises:
    pixels.WrongFile: if the file cannot be used.
  """
  shown = pixels.tail(path.name)
  with volumes.explaining_file(shown):
    pixels.check_not_empty(path, shown)
  if path.name.lower().endswith(_NPZ):
    keys = _npz_keys(path)
    if not keys:
      raise pixels.WrongFile('it is not NPZ', shown, 'save it again')
    return keys
  with pixels.explaining('the file cannot be read', shown, 'save it again'):
    with _opened(path, shown) as file:  # h5py returns bytes if not in UTF-8.
      return {k.decode('latin-1') if isinstance(k, bytes) else k for k in file}


def read_file(
    path: pathlib.Path, *, is_lazy: bool = False
) -> volume_type.Volume:
  """Reads the image of a file, or the array that `a.h5:label` names.

  Args:
    path: the file, or the name of an array.
    is_lazy: whether the voxels of HDF5 stay on the disk.

  Raises:
    pixels.WrongFile: if the file cannot be used.
  """
  path, key = _split(path)
  shown = pixels.tail(path.name)
  with pixels.explaining('the file cannot be read', shown, 'save it again'):
    if path.name.lower().endswith(_NPZ):
      voxels = _load_npz(path, key, shown)
      _check(voxels.shape, voxels.dtype, shown, volumes.MAX_BYTES)
      voxels = _with_axes(voxels)
    else:
      voxels = _open_hdf5(path, key, shown, is_lazy)
    notices = (_NO_SPACING,) if key == IMAGE else ()
    return volume_type.Volume(voxels, np.eye(4), notices=notices)


def _check(shape, dtype, shown, limit):
  """Refuses arrays that are no slice or volume of real numbers."""
  text = ' x '.join(map(str, shape))[:40] or 'a single value'
  if dtype.kind not in 'buif' or dtype.itemsize > 8:
    raise pixels.WrongFile(
        'expected real numbers', f'{shown}: {dtype}'[:60],
        'save it as uint8 or float32')
  if len(shape) > 3:
    raise volumes.FurtherAxis(
        'expected two or three axes', f'{shown}: {text}',
        'save each time or channel as a file of its own')
  if len(shape) < 2 or min(shape) < 1:
    raise pixels.WrongFile(
        'expected two or three axes', f'{shown}: {text}', 'save it again')
  if int(np.prod(shape, dtype=object)) * max(2, dtype.itemsize) > limit:
    raise pixels.WrongFile(
        f'an array of more than {limit >> 20} MiB', f'{shown}: {text}',
        'crop it or cut it into slices')


def _load_npz(path, key, shown):
  """Returns an array of an NPZ file, whose header is checked first."""
  with zipfile.ZipFile(path) as file, file.open(f'{key}.npy') as stream:
    # A header of NPY takes at most this many bytes here.
    content = stream.read(volumes.MAX_BYTES + 2**16)
    head = io.BytesIO(content)
    version = np.lib.format.read_magic(head)
    read_header = (np.lib.format.read_array_header_1_0 if version == (1, 0)
                   else np.lib.format.read_array_header_2_0)
    shape, _, dtype = read_header(head)
    _check(shape, dtype, shown, volumes.MAX_BYTES)
    return np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)


def _opened(path, shown):
  """Opens an HDF5 file."""
  import h5py
  try:
    return h5py.File(path, 'r')
  except Exception as error:  # A damaged file may raise any error.
    reason = os.strerror(error.errno) if getattr(
        error, 'errno', None) else 'damaged'
    raise pixels.WrongFile(
        'the HDF5 cannot be opened', f'{shown}: {reason}',
        'copy or save it again') from error


def _open_hdf5(path, key, shown, is_lazy):
  """Returns an array of an HDF5 file, or `Lazy` voxels."""
  import h5py
  with _opened(path, shown) as file:
    link = file.get(key, getlink=True)
    data = file.get(key) if isinstance(link, h5py.HardLink) else None
    # What lies in other files could be any file of the machine.
    if not isinstance(data, h5py.Dataset) or data.external or data.is_virtual:
      raise pixels.WrongFile(
          'an array that is a group, or in another file', f'{shown}: {key}',
          'save it in the file itself')
    shape, dtype = data.shape, data.dtype
    _check(shape, dtype, shown, volumes.MAX_LAZY_BYTES if is_lazy
           else volumes.MAX_BYTES)
    if not is_lazy:
      return _with_axes(data[()])

  def read_block(block):
    with _opened(path, shown) as file:
      found = _with_axes(file[key][block[: len(shape)]])
    return found[..., block[2]] if len(shape) == 2 else found

  return volume_type.Lazy(
      shape + (1,) * (3 - len(shape)),
      np.uint8 if dtype.kind == 'b' else dtype.newbyteorder('='), read_block)


def _with_axes(array):
  """Returns an array with three axes, of numbers in the machine's order."""
  array = array.reshape(array.shape + (1,) * (3 - array.ndim))
  return array.astype(np.uint8 if array.dtype.kind == 'b' else
                      array.dtype.newbyteorder('='), copy=False)
