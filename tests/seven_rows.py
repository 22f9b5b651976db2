"""Writes a small set whose seven rows have all roles."""

import pathlib

import numpy as np
from PIL import Image

from data_prep import manifest


def rows():
  """Returns seven rows, in which weak and strong rows alternate."""
  mask = {'kind': 'mask', 'path': 'mask.png', 'values': {'0': 0, '9': 1}}
  box = {'kind': 'box', 'boxes': [[0, 0, 4, 8]], 'labels': [1]}
  scribble = {'kind': 'scribble', 'path': 'mask.png',
              'values': {'0': 255, '9': 1}}
  row = lambda name, split, role, annotation, **fields: manifest.Row(
      name, 'image.png', split, role, annotation, **fields)
  return [
      row('w0', 'train', 'weak', box, subject='p1', site='x', annotator='ä',
          spacing_mm=(1.5, 0.5),
          evaluation={'truth': mask, 'quality': 0.5, 'fault': 'shifted'}),
      row('s0', 'train', 'strong', mask),
      row('u0', 'train', 'unlabelled', None),
      row('w1', 'train', 'weak', scribble),
      row('g0', 'train', 'weak', {'kind': 'tag', 'labels': [1]}),
      row('t0', 'test', 'strong', mask)._replace(image='other.png'),
      row('s1', 'train', 'strong', mask),
  ]


def save(path, pixels):
  """Saves pixels, uint8 [H, W] or [H, W, 3], as a picture."""
  Image.fromarray(pixels).save(path)


def write(folder, *, gray=False):
  """Writes two 8 x 8 images, their mask and the manifest into `folder`."""
  folder = pathlib.Path(folder)
  image = np.arange(64, dtype=np.uint8).reshape(8, 8)
  image = image if gray else np.stack([image, image + 50, image + 100], -1)
  Image.fromarray(image).save(folder / 'image.png')
  Image.fromarray(255 - image).save(folder / 'other.png')
  mask = np.zeros((8, 8), np.uint8)
  mask[:4, :4] = 9
  Image.fromarray(mask).save(folder / 'mask.png')
  return manifest.write_manifest(
      folder / 'manifest.jsonl', manifest.Header('tiny', ('bg', 'a')), rows())
