"""From a manifest to records: the one TFDS builder, for every set.

Reads and writes ArrayRecord without TensorFlow:

  builder = tfds.builder_from_directory('OUTPUT/records')
  source = builder.as_data_source(split='train_weak')
"""

import contextlib
import hashlib
import io
import os
import pathlib
import shutil
import sys
import tempfile
from typing import Any

from absl import logging
from hybridseg import types
import numpy as np
from PIL import Image
import tensorflow_datasets as tfds

from data_prep import manifest as manifest_lib
from data_prep import rasterize

SPLITS = ('train_strong', 'train_weak', 'val', 'test')

_PROGRESS_EVERY = 200


class HybridSegmentation(tfds.core.GeneratorBasedBuilder):
  """Images with an exact mask or a weak annotation, drawn as label maps."""

  VERSION = tfds.core.Version('1.0.0')
  RELEASE_NOTES = {'1.0.0': 'Image, label map, truth and origin per instance.'}

  def __init__(
      self,
      *,
      manifest: manifest_lib.Manifest,
      image_size: int,
      **kwargs: Any,
  ):
    """Prepares to build; nothing is written yet.

    Args:
      manifest: a checked manifest.
      image_size: height and width of every record.
      **kwargs: of `tfds.core.GeneratorBasedBuilder`, e.g. `data_dir`.
    """
    self._manifest = manifest
    self._image_size = image_size
    self._channels = _channels(manifest)
    super().__init__(**kwargs)

  def _info(self) -> tfds.core.DatasetInfo:
    side = self._image_size
    tensor, scalar = tfds.features.Tensor, tfds.features.Scalar
    text = tfds.features.Text
    label_map = lambda doc: tensor(
        shape=(side, side), dtype=np.uint8, encoding='zlib', doc=doc)
    return tfds.core.DatasetInfo(
        builder=self,
        description='Prepared by data_prep from a manifest.',
        features=tfds.features.FeaturesDict({
            'image': tensor(
                shape=(side, side, self._channels), dtype=np.uint8,
                encoding='bytes', doc='Intensities; one channel if all gray.'),
            'label': label_map(
                'Class per pixel as annotated; 255 = unlabelled.'),
            'truth': label_map(
                'Exact class per pixel, for evaluation; all 255 if unknown.'),
            'id': text(doc='Name of the image in the manifest.'),
            'subject': text(doc='Patient or video; in one split only.'),
            'site': text(doc='Where it was recorded.'),
            'annotator': text(doc='Who drew the annotation.'),
            'instance_id': scalar(
                np.int32, doc='Row in the indicator table; -1 if not weak.'),
            'kind': scalar(np.int32, doc='hybridseg.types.AnnotationKind.'),
            'fault': text(doc='Planted fault, empty if none or unknown.'),
            'quality': scalar(
                np.float32, doc='IoU of the weak label; nan if unknown.'),
            'spacing_mm': tensor(
                shape=(2,), dtype=np.float32,
                doc='Of the original pixels (y, x) in mm; nan if unknown.'),
        }),
        # The order of the manifest, so that row k of train_weak is instance k.
        disable_shuffling=True,
        metadata=tfds.core.MetadataDict(
            metadata(self._manifest, image_size=side)),
    )

  def _split_generators(self, dl_manager):
    del dl_manager  # Nothing is downloaded.
    rows = split_rows(self._manifest)
    return {  # TFDS refuses a split without examples.
        name: self._generate_examples(name, rows[name])
        for name in SPLITS if rows[name]
    }

  def _generate_examples(self, name, rows):
    for i, row in enumerate(rows):
      if i and i % _PROGRESS_EVERY == 0:
        print(f'  {name}: {i} of {len(rows)}', file=sys.stderr, flush=True)
      yield i, make_example(
          row, root=self._manifest.root, image_size=self._image_size,
          channels=self._channels,
          instance_id=i if name == 'train_weak' else -1)


def split_rows(
    manifest: manifest_lib.Manifest,
) -> dict[str, list[manifest_lib.Row]]:
  """Returns the rows of each record split, in the order of the manifest."""
  rows = {name: [] for name in SPLITS}
  for row in manifest.rows:
    if row.role != 'unlabelled':
      name = f'train_{row.role}' if row.split == 'train' else row.split
      rows[name].append(row)
  return rows


def metadata(
    manifest: manifest_lib.Manifest, *, image_size: int
) -> dict[str, Any]:
  """Returns what the records remember: name, classes, sizes, counts, hash."""
  return {
      'name': manifest.header.name,
      'classes': list(manifest.header.classes),
      'image_size': image_size,
      'counts': {k: len(v) for k, v in split_rows(manifest).items()},
      'manifest_sha256': fingerprint(manifest),
      'files_sha256': files_fingerprint(manifest),
  }


def fingerprint(manifest: manifest_lib.Manifest) -> str:
  """Returns the SHA-256 of the content: header and rows, but no line number."""
  rows = [repr(row._replace(line=0)) for row in manifest.rows]
  text = '\n'.join([repr(manifest.header), *rows])
  return hashlib.sha256(text.encode()).hexdigest()


def files_fingerprint(manifest: manifest_lib.Manifest) -> str:
  """Returns the SHA-256 of all images and masks: a corrected mask changes it.

  Raises:
    OSError: if one of them cannot be read.
  """
  digest = hashlib.sha256()
  for row in manifest.rows:
    truth = (row.evaluation or {}).get('truth')
    paths = [row.image]
    paths += [a['path'] for a in (row.annotation, truth) if a and 'path' in a]
    for path in paths:
      content = (manifest.root / path).read_bytes()
      digest.update(hashlib.sha256(content).digest())
  return digest.hexdigest()


def make_example(
    row: manifest_lib.Row,
    *,
    root: pathlib.Path,
    image_size: int,
    channels: int,
    instance_id: int,
) -> dict[str, Any]:
  """Returns the features of one row, see `HybridSegmentation`.

  Args:
    row: a checked row with an annotation.
    root: folder that its paths are relative to.
    image_size: height and width S of the result; the aspect is not kept.
    channels: 1 or 3; a gray image is repeated to 3.
    instance_id: row of the indicator table, or -1.
  """
  image = rasterize.read_image(root / row.image)
  size, output_size = image.shape[:2], (image_size, image_size)
  draw = lambda annotation: rasterize.rasterize(
      annotation, size=size, root=root, output_size=output_size)
  image = rasterize.resize_image(image, size=output_size)
  label = draw(row.annotation)
  evaluation = row.evaluation or {}
  if row.role == 'strong':
    truth = label
  elif evaluation.get('truth') is not None:
    truth = draw(evaluation['truth'])
  else:
    truth = np.full(output_size, types.UNLABELLED, np.uint8)
  score = evaluation.get('quality')
  return {
      'image': np.broadcast_to(image, (*output_size, channels)).copy(),
      'label': label,
      'truth': truth,
      'id': row.id,
      'subject': row.subject or row.id,
      'site': row.site,
      'annotator': row.annotator,
      'instance_id': instance_id,
      'kind': int(types.AnnotationKind[row.annotation['kind'].upper()]),
      'fault': evaluation.get('fault', ''),
      'quality': np.nan if score is None else score,
      'spacing_mm': np.array(row.spacing_mm or (np.nan, np.nan), np.float32),
  }


def build(
    manifest: manifest_lib.Manifest,
    *,
    output: str | os.PathLike[str],
    image_size: int,
) -> pathlib.Path:
  """Writes the records of a checked manifest, all of them or nothing.

  Unlabelled images are left out: no method uses them yet.

  Args:
    manifest: without problems, see `check.check_manifest`.
    output: folder of the records, must not exist; its parent must.
    image_size: height and width of every record.

  Returns:
    `output`, to be opened with `tfds.builder_from_directory`.

  Raises:
    FileExistsError: if `output` exists.
    ValueError: if lines of the manifest could not be parsed.
  """
  if manifest.problems:
    raise ValueError(str(manifest.problems[0]))
  output = pathlib.Path(output)
  if output.exists():
    raise FileExistsError(f'{output} exists.')
  unlabelled = sum(row.role == 'unlabelled' for row in manifest.rows)
  if unlabelled:
    print(f'  {unlabelled} unlabelled images are left out of the records: no '
          'method uses them yet', file=sys.stderr)
  tfds.disable_progress_bar()
  temporary = tempfile.mkdtemp(dir=output.parent, prefix=f'.{output.name}.')
  try:
    builder = HybridSegmentation(
        manifest=manifest, image_size=image_size, data_dir=temporary,
        file_format='array_record')
    with _quiet():
      builder.download_and_prepare()
    os.rename(builder.data_dir, output)
  finally:
    shutil.rmtree(temporary, ignore_errors=True)
  return output


@contextlib.contextmanager
def _quiet():
  """Silences what TFDS says about a download that does not take place."""
  verbosity = logging.get_verbosity()
  logging.set_verbosity(logging.WARNING)
  try:
    with contextlib.redirect_stdout(io.StringIO()):
      yield
  finally:
    logging.set_verbosity(verbosity)


def _channels(manifest):
  """Returns 1 if all images are gray, else 3."""
  for row in manifest.rows:
    with Image.open(manifest.root / row.image) as image:
      if image.mode not in ('1', 'L', 'LA'):
        return 3
  return 1
