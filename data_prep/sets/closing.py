"""Prints the closing lines of `prepare`."""

import collections
import os
import pathlib
import shlex

from array_record.python import array_record_module
import numpy as np
import tensorflow_datasets as tfds

from data_prep import manifest as manifest_lib
from data_prep.shared import grammar


_FEW = 16  # Number of records that are read at a time.


def counts(manifest: manifest_lib.Manifest) -> str:
  """Returns lines that state how many images, subjects and faults a set has."""
  rows = manifest.rows
  weak = [r for r in rows if r.role == 'weak']
  count = lambda values: ', '.join(
      f'{k} {n}' for k, n in sorted(collections.Counter(values).items()))
  lines = [
      f'name: {manifest.header.name}',
      f'images: {count(f"{r.split} {r.role}" for r in rows)}',
      f'subjects: {len({r.subject or r.id for r in rows})}',
      f'weak kinds: {count(r.annotation["kind"] for r in weak) or "none"}',
  ]
  reviews = [r.reviews[-1]['decision'] for r in rows if r.reviews]
  if reviews:
    lines.append(f'reviewed: {count(reviews)}')
  faults = [(r.evaluation or {}).get('fault', '') for r in weak]
  if any(faults):
    lines.append(f'planted faults: {count(f for f in faults if f)}')
  return '\n'.join(lines)


def print_summary(
    output: pathlib.Path, manifest: manifest_lib.Manifest, image_size: int, *,
    dataset: str | None, earlier: str = '',
) -> None:
  """Prints a summary of a prepared set, and the command to train on it.

  The numbers of records and the class shares are read back from the records.

  Args:
    output: folder of the prepared set.
    manifest: its manifest.
    image_size: height and width of the records.
    dataset: key of the set in `named_sets.SETS`, or None for a user's own set.
    earlier: folder of a run on the set before a review, from which training can
      go on; '' if there is none.
  """
  records = tfds.builder_from_directory(output / 'records')
  print(counts(manifest))
  classes = manifest.header.classes
  for split in records.info.splits:
    pixels = _count_pixels(records, split)
    shares = pixels / max(pixels.sum(), 1)
    text = ', '.join(
        f'{name} {share:.3f}'
        for name, share in zip(classes, shares, strict=False))
    number = records.info.splits[split].num_examples
    print(f'{split}: {grammar.counted(number, "record")}, shares {text}, '
          f'unlabelled {shares[255]:.3f}')
  print(f'records: {output / "records"} ({image_size} x {image_size})')
  if earlier:
    changed = shlex.join([
        f'--config.input.data_dir={output}', f'--config.warm_start={earlier}',
        f'--workdir={os.path.normpath(earlier)}_reviewed'])
    print(f'next: the command that trained {earlier}, with {changed}')
    return
  print(f'next: {training_command(output, dataset, manifest.header.name)}')


def training_command(
    output: pathlib.Path,
    dataset: str | None,
    name: str,
    *,
    own: str = 'custom',
) -> str:
  """Returns the command that trains on a prepared set.

  The configs read their sets from `data/NAME`. The command names any other
  folder, since the config would otherwise train on an older set there.

  Args:
    output: folder of the prepared set.
    dataset: key of the set in `named_sets`, or None for a user's own set.
    name: name of the set.
    own: name of the config of a user's own set.
  """
  words = ['python', '-m', 'experiments.train',
           f'--config=experiments/configs/{dataset or own}.py']
  if dataset is None or output != pathlib.Path('data', dataset):
    words.append(f'--config.input.data_dir={output}')
  words.append(f'--workdir=runs/{dataset or name}')
  return shlex.join(words)


def _count_pixels(records, split):
  """Returns how many pixels of a split's labels have each value, int64 [256].

  Only the labels are decoded, which TFDS's own sources cannot do.
  """
  features = tfds.features.FeaturesDict(
      {'label': records.info.features['label']})
  pixels = np.zeros(256, np.int64)
  for path in records.info.splits[split].filepaths:
    reader = array_record_module.ArrayRecordReader(str(path))
    number = reader.num_records()
    # Reading several records at a time takes half as long as one by one.
    for start in range(0, number, _FEW):
      for record in reader.read(start, min(number, start + _FEW)):
        label = features.deserialize_example_np(record)['label']
        pixels += np.bincount(label.ravel(), minlength=256)
    reader.close()
  return pixels
