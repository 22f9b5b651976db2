"""A made-up review of four suspects, without a run, for tests."""

import pathlib

from data_prep.shared import review_journal
from experiments.reviewing import decisions
from experiments.reviewing import suspects
import numpy as np
from PIL import Image

# Names from files may hold HTML, and quotes that end an attribute or a string.
HOSTILE = '</script><img src=x onerror=alert(1)>"\'<b>\u2028'
CLASSES = ('background', HOSTILE, 'vessel')
IDS = ('a', HOSTILE, 'c', 'd')
HEADER = review_journal.Header('runs/a', 'data/a', 'ab' * 32)
WIDTH, HEIGHT = 40, 24


def maps(place: int) -> dict[str, np.ndarray]:
  """Returns the label maps of a suspect, uint8 [24, 40] each."""
  weak, first, second = np.zeros((3, HEIGHT, WIDTH), np.uint8)
  weak[4:12, 4 + place : 20] = 1
  first[6:14, 8:24] = 1
  first[18:22, 30:36] = 2
  second[6:14, 9:22] = 1
  return {'weak': weak, 'prediction': first, 'first': first, 'second': second,
          'inside': np.where(weak > 0, first, 0).astype(np.uint8)}


def content(place: int, *, lossless: bool = True):
  """Returns the content of a suspect, as `suspects.Review` needs it."""
  del lossless  # The pictures are tiny.
  found = {k: decisions.encode_runs(v) for k, v in maps(place).items()}
  image = np.full((HEIGHT, WIDTH, 1), 60 + 20 * place, np.uint8)
  image[6:14, 8:24] = 180
  return suspects.to_json(
      image, found['weak'], found['prediction'],
      [found['first'], found['second']],
      None if place == 2 else found['inside'],
      np.linspace(-1, 1, 12 * 20).reshape(12, 20), form='PNG')


def review(num: int = len(IDS)) -> suspects.Review:
  """Returns a review of the first suspects."""
  facts = [{
      'id': row_id, 'rank': str(n + 1), 'score': '0.9', 'low': '0.8',
      'high': '1.0', 'indicator': '0.5', 'kind': 'box', 'annotator': HOSTILE,
      'site': '', 'why': 'too_small', 'evidence': f'drawn 1 {HOSTILE}',
      'labels': '', 'width': WIDTH, 'height': HEIGHT}
           for n, row_id in enumerate(IDS[:num])]
  return suspects.Review(HEADER, f'set {HOSTILE}', CLASSES, facts, content)


def open_book(folder: pathlib.Path, who: str = 'anna') -> decisions.Book:
  """Opens the folder of the made-up review."""
  return decisions.Book(
      folder, HEADER, sizes={i: (HEIGHT, WIDTH) for i in IDS},
      num_classes=len(CLASSES), who=who)


def read_mask(folder: pathlib.Path, name: str) -> np.ndarray:
  """Returns the pixels of a mask file, which must be an 8-bit gray PNG."""
  with Image.open(folder / name) as picture:
    assert (picture.format, picture.mode) == ('PNG', 'L'), picture
    return np.asarray(picture)
