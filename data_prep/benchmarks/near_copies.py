r"""Measures how well `checks.duplicates` distinguishes copies from others.

python -m data_prep.benchmarks.near_copies --images=FOLDER/images \
    --listing=FOLDER/frames.csv

The listing is a CSV file with the columns `id` and `split`. The program prints
the highest likeness between pictures of different splits. For several ways to
change a picture, it also prints the lowest likeness between a picture and its
changed copy, and the share of copies that are found. With --num_made, it
instead makes that many pictures of noise and measures how long the search
takes.
"""

import csv
import io
import pathlib
import resource
import time

from absl import app
from absl import flags
import numpy as np
from PIL import Image
from scipy import ndimage

from data_prep.checks import duplicates

_IMAGES = flags.DEFINE_string('images', None, 'Folder of ID.jpg.')
_LISTING = flags.DEFINE_string('listing', None, 'CSV with id and split.')
_NUM_MADE = flags.DEFINE_integer('num_made', 0, 'Pictures to make and search.')
_NUM_COPIES = flags.DEFINE_integer('num_copies', 100, 'Pictures to copy.')


def _compressed(image, rng):
  del rng
  content = io.BytesIO()
  Image.fromarray(image).save(content, 'JPEG', quality=40)
  return np.asarray(Image.open(content))


def _half(image, rng):
  del rng
  picture = Image.fromarray(image)
  return np.asarray(picture.resize(
      (picture.width // 2, picture.height // 2), Image.Resampling.BILINEAR))


def _brighter(image, rng):
  del rng
  return np.clip(image * 1.2 + 10, 0, 255).astype(np.uint8)


def _noisy(image, rng):
  noise = rng.normal(0, 8, image.shape)
  return np.clip(image + noise, 0, 255).astype(np.uint8)


def _cropped(image, rng):
  del rng
  rows, columns = (n // 50 for n in image.shape[:2])
  return image[rows:-rows, columns:-columns]


def _moved(image, *, shift=(0, 0), zoom=1.0, degrees=0.0):
  """Shifts, zooms and turns an image; pixels from outside it are black.

  Args:
    image: uint8 [H, W, 3].
    shift: shift to the right and down, as shares of the width and the height.
    zoom: factor by which the image is enlarged.
    degrees: angle by which the image is turned.
  """
  picture = Image.fromarray(image)
  width, height = picture.size
  turn = np.deg2rad(degrees)
  c, s = np.cos(turn) / zoom, np.sin(turn) / zoom
  x, y = width * (0.5 + shift[0]), height * (0.5 + shift[1])
  return np.asarray(picture.transform(
      (width, height), Image.Transform.AFFINE,
      (c, s, width / 2 - c * x - s * y, -s, c, height / 2 + s * x - c * y),
      Image.Resampling.BILINEAR))


def _shift_by(share):
  return lambda image, rng: _moved(
      image, shift=share * rng.choice((-1, 1), size=2))


def _all_at_once(image, rng):
  moved = _moved(255 - image[::-1], shift=(0.01, -0.01), zoom=1.01)
  return _compressed(moved, rng)


_COPIES = {
    'JPEG quality 40': _compressed,
    'at half the size': _half,
    '20 % brighter + 10': _brighter,
    'noise of 8 gray levels': _noisy,
    'cropped by 2 % on each side': _cropped,
    'shifted by 1 % along both axes': _shift_by(0.01),
    'shifted by 2 %': _shift_by(0.02),
    'shifted by 3 %': _shift_by(0.03),
    'zoomed by 1.02': lambda image, rng: _moved(image, zoom=1.02),
    'zoomed by 1.05': lambda image, rng: _moved(image, zoom=1.05),
    'turned by 3 degrees': lambda image, rng: _moved(
        image, degrees=3 * rng.choice((-1, 1))),
    'turned by 6 degrees': lambda image, rng: _moved(
        image, degrees=6 * rng.choice((-1, 1))),
    'mirrored': lambda image, rng: image[:, ::-1],
    'turned by 90 degrees': lambda image, rng: np.rot90(image),
    'inverted': lambda image, rng: 255 - image,
    'inverted, mirrored, shifted and zoomed by 1 %, JPEG': _all_at_once,
}


def _time_search(number):
  """Prints how long the search takes among pictures of noise.

  A tenth of the pictures are in val and another tenth in test.
  """
  rng = np.random.default_rng(0)
  noise = ndimage.gaussian_filter(
      rng.normal(size=(number, duplicates.SIDE, duplicates.SIDE)), (0, 2, 2))
  gray = np.clip(128 + 40 * noise / noise.std(), 0, 255).astype(np.uint8)
  groups = ['val', 'test'] * (number // 10) + ['train'] * (
      number - 2 * (number // 10))
  start, used = time.perf_counter(), time.process_time()
  found = duplicates.near_pairs([x.tobytes() for x in gray], groups)
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
  print(f'{number} pictures: {len(found)} pairs; '
        f'{time.process_time() - used:.1f} s of a core, '
        f'{time.perf_counter() - start:.1f} s of wall time; '
        f'the process held at most {peak:.0f} MiB')


def main(argv: list[str]) -> None:
  """Prints a table of likenesses, or the time that the search takes."""
  del argv
  if _NUM_MADE.value:
    _time_search(_NUM_MADE.value)
    return
  with open(_LISTING.value, newline='', encoding='utf-8') as file:
    lines = list(csv.DictReader(file))
  folder, rng = pathlib.Path(_IMAGES.value), np.random.default_rng(0)
  images = [np.asarray(Image.open(folder / f'{line["id"]}.jpg').convert('RGB'))
            for line in lines]
  known = [duplicates.thumbnail(i) for i in images]
  splits = np.array([line['split'] for line in lines])
  apart = np.argwhere(splits[:, None] > splits[None])
  alike = np.concatenate([
      duplicates.likeness([known[i] for i, _ in some],
                          [known[j] for _, j in some])
      for some in np.array_split(apart, len(apart) // 1000 + 1)])
  print('| pictures | alike | found |\n|---|---|---|')
  print(f'| {len(apart)} pairs of different splits: 99 %, 99.9 %, most | '
        f'{np.quantile(alike, 0.99):.3f}, {np.quantile(alike, 0.999):.3f}, '
        f'{alike.max():.3f} | {np.mean(alike > duplicates.THRESHOLD):.2%} |')
  chosen = rng.choice(len(images), _NUM_COPIES.value, replace=False)
  for name, copy in _COPIES.items():
    alike = duplicates.likeness(
        [known[i] for i in chosen],
        [duplicates.thumbnail(copy(images[i], rng)) for i in chosen])
    print(f'| {name}: least, median | {alike.min():.3f}, '
          f'{np.median(alike):.3f} | '
          f'{np.mean(alike > duplicates.THRESHOLD):.0%} |')


if __name__ == '__main__':
  app.run(main)
