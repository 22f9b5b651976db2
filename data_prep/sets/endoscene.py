"""Makes a set from CVC-EndoSceneStill: polyps, masks and simulated labels.

See Vazquez et al., 2017 (https://arxiv.org/abs/1612.00799). The source is a
folder with `images/ID.jpg`, `masks/ID.png` (0 and 255) and `frames.csv`. The
published split is used, which keeps video blocks together. Pictures stay where
they are: the root of the manifest is the source folder.

The strong frames are chosen as follows. The distinct training frames of each
video block are divided into stretches of `STRETCH` consecutive frames. Then the
blocks are visited in random order, repeatedly, and one random stretch is taken
at each visit, until there are enough strong frames. The strong frames thus come
from many videos, and neighbours that are nearly identical are mostly both
strong or both weak. Copies of a strong frame are left out: otherwise the same
picture would be in the set with an exact mask and with a weak label.
"""

from collections.abc import Sequence
import csv
import os
import pathlib

import numpy as np

from data_prep import manifest
from data_prep.drawing import rasterize
from data_prep.drawing import simulate

CLASSES = ('background', 'polyp')
IMAGE_SIZE = 96
LISTING = 'frames.csv'
KINDS = simulate.KINDS
STRETCH = 3


def write(
    output: str | os.PathLike[str],
    *,
    source: str | os.PathLike[str],
    seed: int = 0,
    strong_fraction: float = 0.1,
    fault_fraction: float = 0.3,
    kinds: Sequence[str] = simulate.DEFAULT_KINDS,
) -> manifest.Manifest:
  """Writes manifest.jsonl below `output`, without copying pictures.

  Args:
    output: folder of the set, which must exist.
    source: folder of the original set.
    seed: seed of the choice of strong frames and of the weak labels.
    strong_fraction: share of the distinct training frames that keep their
      masks.
    fault_fraction: share of the weak labels that get a planted fault.
    kinds: kinds of the weak labels; each kind gets about the same number of
      frames.

  Returns:
    The manifest as written.

  Raises:
    OSError: if frames.csv or a mask is missing.
  """
  source = pathlib.Path(source).resolve()
  with open(source / LISTING, newline='', encoding='utf-8') as file:
    frames = list(csv.DictReader(file))
  subjects = video_blocks(frames)
  strong = draw_strong(
      [f for f in frames if f['split'] == 'train' and not f['copy_of']],
      subjects, np.random.default_rng([seed, 0]),
      strong_fraction=strong_fraction)
  frames = [f for f in frames if f['copy_of'] not in strong]
  is_weak = lambda f: f['split'] == 'train' and f['id'] not in strong
  plans = iter(simulate.plan_faults(
      sum(map(is_weak, frames)), np.random.default_rng([seed, 1]),
      fault_fraction=fault_fraction, kinds=kinds))
  rows = []
  for frame in frames:
    mask = {'kind': 'mask', 'path': f'masks/{frame["id"]}.png',
            'values': {'0': 0, '255': 1}}
    row = manifest.Row(
        id=frame['id'], image=f'images/{frame["id"]}.jpg',
        split=frame['split'], role='strong', annotation=mask,
        subject=subjects[frame['id']], site=_part(frame))
    if is_weak(frame):
      values = mask['values']
      truth = rasterize.apply_values(
          rasterize.read_mask(source / mask['path'], values), values)
      # Seed with the id, so that the label does not depend on other frames.
      rng = np.random.default_rng([seed, 2, *frame['id'].encode()])
      row = simulate.weak_row(row, truth, rng, plan=next(plans))
    rows.append(row)
  header = manifest.Header('endoscene', CLASSES, str(source))
  return manifest.write_manifest(
      pathlib.Path(output) / 'manifest.jsonl', header, rows)


def video_blocks(frames: list[dict[str, str]]) -> dict[str, str]:
  """Maps the id of each frame to its video block, which is the frame's subject.

  For the frames of CVC-612, frames.csv names the video sequence, which is the
  block. For CVC-300, it does not; a block then consists of frames of one split
  with consecutive numbers.

  Args:
    frames: lines of frames.csv.
  """
  subjects = {}
  previous = None
  for frame in sorted(frames, key=lambda f: (_part(f), _number(f))):
    if frame['sequence']:
      subject = f'{_part(frame)}_seq{frame["sequence"]}'
    elif (previous is not None
          and _part(previous) == _part(frame)
          and previous['split'] == frame['split']
          and _number(previous) + 1 == _number(frame)):
      subject = subjects[previous['id']]
    else:
      subject = f'{_part(frame)}_from{_number(frame)}'
    subjects[frame['id']] = subject
    previous = frame
  return subjects


def draw_strong(
    frames: list[dict[str, str]],
    subjects: dict[str, str],
    rng: np.random.Generator,
    *,
    strong_fraction: float,
) -> set[str]:
  """Draws short stretches of frames from many video blocks.

  The docstring of the module describes the method.

  Args:
    frames: the distinct training frames, as lines of frames.csv.
    subjects: maps the id of each frame to its video block.
    rng: source of all randomness.
    strong_fraction: share of the frames to draw.

  Returns:
    The ids of round(strong_fraction * len(frames)) frames, at least one.
  """
  target = max(1, round(strong_fraction * len(frames)))
  stretches = {}
  for frame in sorted(frames, key=lambda f: (_part(f), _number(f))):
    runs = stretches.setdefault(subjects[frame['id']], [[]])
    if len(runs[-1]) == STRETCH:
      runs.append([])
    runs[-1].append(frame['id'])
  strong = []
  while len(strong) < target:
    for block in rng.permutation(sorted(stretches)):
      runs = stretches[block]
      if runs and len(strong) < target:
        strong += runs.pop(rng.integers(len(runs)))
  return set(strong[:target])


def _part(frame):
  """Returns the part of the set that a frame belongs to, such as 'cvc-612'."""
  return frame['id'].rsplit('_', 1)[0]


def _number(frame):
  """Returns the number of a frame within its part of the set."""
  return int(frame['id'].rsplit('_', 1)[1])
