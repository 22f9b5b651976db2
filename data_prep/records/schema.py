"""Defines the features that a record holds, and makes a record from a row."""

import pathlib
from typing import Any
import zlib

from hybridseg import types
import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.proto import tf_example_pb2
from tensorflow_datasets.proto import tf_feature_pb2

from data_prep import manifest as manifest_lib
from data_prep.drawing import kept as kept_lib

SPLITS = ('train_strong', 'train_weak', 'val', 'test')
VERSION = '1.1.0'  # Version of the features that a record holds.


def record_features(
    *, image_size: int, num_classes: int, channels: int
) -> tfds.features.FeaturesDict:
  """Returns the specification of the features that every record holds.

  Args:
    image_size: height and width of every record.
    num_classes: number of classes, background included.
    channels: 1 or 3.
  """
  tensor, scalar = tfds.features.Tensor, tfds.features.Scalar
  text = tfds.features.Text
  side = image_size
  label_map = lambda doc: tensor(
      shape=(side, side), dtype=np.uint8, encoding='zlib', doc=doc)
  return tfds.features.FeaturesDict({
      'image': tensor(
          shape=(side, side, channels), dtype=np.uint8, encoding='bytes',
          doc='Intensities; one channel if all gray.'),
      'label': label_map('Class per pixel as annotated; 255 = unlabelled.'),
      'truth': label_map(
          'Exact class per pixel, for evaluation; all 255 if unknown.'),
      'id': text(doc='Name of the image in the manifest.'),
      'subject': text(doc='Patient or video; in one split only.'),
      'site': text(doc='Where it was recorded.'),
      'annotator': text(doc='Who drew the annotation.'),
      'instance_id': scalar(
          np.int32, doc='Row in the indicator table; -1 if not weak.'),
      'kind': scalar(np.int32, doc='hybridseg.types.AnnotationKind.'),
      'present': tensor(
          shape=(num_classes,), dtype=np.uint8,
          doc='Whether the tag names a class; 255 = unknown.'),
      'fault': text(doc='Planted fault, empty if none or unknown.'),
      'quality': scalar(
          np.float32, doc='IoU of the weak label; nan if unknown.'),
      'spacing_mm': tensor(
          shape=(2,), dtype=np.float32,
          doc='Of the original pixels (y, x) in mm; nan if unknown.'),
  })


def split_rows(
    manifest: manifest_lib.Manifest,
) -> dict[str, list[manifest_lib.Row]]:
  """Returns the rows of each record split, in the order of the manifest."""
  rows = {name: [] for name in SPLITS}
  for row in manifest.rows:
    # An unlabelled image is treated as a weakly labelled one whose pixels are
    # all unlabelled.
    role = 'weak' if row.role == 'unlabelled' else row.role
    rows[f'train_{role}' if row.split == 'train' else row.split].append(row)
  return rows


def make_example(
    row: manifest_lib.Row,
    *,
    root: pathlib.Path,
    image_size: int,
    num_classes: int,
    channels: int,
    instance_id: int,
    kept: kept_lib.Kept | None = None,
) -> dict[str, Any]:
  """Returns the features of one row, see `record_features`.

  Args:
    row: a row of a checked manifest.
    root: folder that the paths in the row are relative to.
    image_size: height and width of the result; the aspect ratio is not kept.
    num_classes: number of classes K.
    channels: 1 or 3; with 3, a gray image is repeated in all channels.
    instance_id: index of the instance in the table of indicators; -1 if it is
      not weak.
    kept: the pictures that the check has kept; others are read from disk.
  """
  drawing = kept_lib.open_row(
      row, root=root, image_size=image_size, kept=kept)
  output_size = (image_size, image_size)
  unknown = np.full(output_size, types.UNLABELLED, np.uint8)
  draw = lambda annotation: (
      unknown if annotation is None else drawing.draw(annotation))
  annotation = None if row.role == 'unlabelled' else row.annotation
  kind = 'none' if annotation is None else annotation['kind']
  present = np.full(num_classes, types.UNLABELLED, np.uint8)
  if kind == 'tag':
    present[1:] = np.isin(np.arange(1, num_classes), annotation['labels'])
  label = draw(annotation)
  evaluation = row.evaluation or {}
  truth = label if row.role == 'strong' else draw(evaluation.get('truth'))
  score = evaluation.get('quality')
  return {
      'image': np.broadcast_to(
          drawing.image, (*output_size, channels)).copy(),
      'label': label,
      'truth': truth,
      'id': row.id,
      'subject': row.subject or row.id,
      'site': row.site,
      'annotator': row.annotator,
      'instance_id': instance_id,
      'kind': int(types.AnnotationKind[kind.upper()]),
      'present': present,
      'fault': evaluation.get('fault', ''),
      'quality': np.nan if score is None else score,
      'spacing_mm': np.array(row.spacing_mm or (np.nan, np.nan), np.float32),
  }


def to_bytes(example: dict[str, Any]) -> bytes:
  """Serializes the features of one row, as `record_features` does.

  This takes half the time of `record_features(...).serialize_example`, whose
  order of features differs between processes; here, it is always the same.

  Args:
    example: the result of `make_example`.
  """
  features = {}
  for name, value in example.items():
    if name in ('label', 'truth'):
      value = zlib.compress(value.tobytes())
    elif name == 'image':
      value = value.tobytes()
    elif isinstance(value, str):
      value = value.encode()
    feature = tf_feature_pb2.Feature()
    if isinstance(value, bytes):
      feature.bytes_list.value.append(value)
    elif name in ('quality', 'spacing_mm'):
      feature.float_list.value.extend(np.ravel(value))
    else:
      feature.int64_list.value.extend(np.ravel(value))
    features[name] = feature
  return tf_example_pb2.Example(features=tf_feature_pb2.Features(
      feature=features)).SerializeToString(deterministic=True)
