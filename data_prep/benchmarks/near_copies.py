r"""How alike are copies, and how alike are different pictures?

python -m data_prep.benchmarks.near_copies --images=FOLDER/images \
    --listing=FOLDER/frames.csv

The listing names `id` and `split`; prints how alike pictures of different
splits are at most, and changed copies of pictures at least.
"""

import csv
import io
import pathlib

from absl import app
from absl import flags
import numpy as np
from PIL import Image

from data_prep import duplicates

_IMAGES = flags.DEFINE_string('images', None, 'Folder of ID.jpg.')
_LISTING = flags.DEFINE_string('listing', None, 'CSV with id and split.')
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


def main(argv: list[str]) -> None:
  """Prints the table."""
  del argv
  with open(_LISTING.value, newline='', encoding='utf-8') as file:
    lines = list(csv.DictReader(file))
  folder, rng = pathlib.Path(_IMAGES.value), np.random.default_rng(0)
  images = [np.asarray(Image.open(folder / f'{line["id"]}.jpg').convert('RGB'))
            for line in lines]
  known = duplicates.signatures([duplicates.thumbnail(i) for i in images])
  splits = np.array([line['split'] for line in lines])
  products = known @ known.T
  print('| pictures | alike |\n|---|---|')
  print('| different splits, most | '
        f'{products[splits[:, None] != splits[None]].max():.4f} |')
  chosen = rng.choice(len(images), _NUM_COPIES.value, replace=False)
  for copy in (_compressed, _half, _brighter, _noisy, _cropped):
    copies = duplicates.signatures(
        [duplicates.thumbnail(copy(images[i], rng)) for i in chosen])
    alike = (known[chosen] * copies).sum(1)
    print(f'| copy {copy.__name__[1:]}, least / median | {alike.min():.4f} / '
          f'{np.median(alike):.4f} |')


if __name__ == '__main__':
  flags.mark_flags_as_required(['images', 'listing'])
  app.run(main)
