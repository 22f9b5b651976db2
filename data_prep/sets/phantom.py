"""Generates a set of pictures of tissue with lesions and their exact masks.

The pictures look like endoscopy: pink tissue with folds and vessels under
uneven light, one to three raised lesions, and distractors that resemble them.
Only two cues together identify a lesion: a redder tint and a fine pattern of
pits. A distractor (swelling, red spot, pale pits, bubble, dark hollow) has at
most one of them.

A quarter of the subjects come from site b, whose camera has a colder white
balance and whose annotator is careless: most of the planted faults are there.
If faults were independent of the picture, their effects on a network would
average out. Faults at one site do not average out: a network that trusts every
label learns something wrong about the pictures of that site.

Image i depends only on (seed, i) and its subject, so that a longer set begins
with the images of a shorter one.
"""

import os
import pathlib
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

from data_prep import manifest
from data_prep.drawing import simulate

CLASSES = ('background', 'lesion')
IMAGE_SIZE = 64
LISTING = ''
KINDS = ('polygon',)
IMAGES_PER_SUBJECT = 3
SITES = ('site_a', 'site_b')


def write(
    output: str | os.PathLike[str],
    *,
    seed: int = 0,
    image_size: int = IMAGE_SIZE,
    num_train: int = 120,
    num_val: int = 60,
    num_test: int = 120,
    strong_fraction: float = 0.1,
    fault_fraction: float = 0.3,
) -> manifest.Manifest:
  """Writes images/ID.png, masks/ID.png and manifest.jsonl below `output`.

  Args:
    output: folder of the set, which is made if it does not exist.
    seed: seed of the pictures, the roles and the weak labels.
    image_size: height and width of the pictures.
    num_train: number of training images, strong and weak.
    num_val: number of validation images, all with exact masks.
    num_test: number of test images, all with exact masks.
    strong_fraction: share of the training images with an exact mask.
    fault_fraction: share of the weak labels that get a planted fault.

  Returns:
    The manifest as written.
  """
  output = pathlib.Path(output)
  for name in ('images', 'masks'):
    (output / name).mkdir(parents=True, exist_ok=True)
  roles, plans = plan_weak_labels(
      [_site(i // IMAGES_PER_SUBJECT) for i in range(num_train)],
      np.random.default_rng([seed, 0, 1]),
      num_strong=round(strong_fraction * num_train),
      fault_fraction=fault_fraction)
  rows = []
  index = 0
  subject = 0
  for split, count in zip(
      manifest.SPLITS, (num_train, num_val, num_test), strict=True):
    for i in range(count):
      # Start a new subject, also at the first image of each split.
      subject += i % IMAGES_PER_SUBJECT == 0
      site = _site(i // IMAGES_PER_SUBJECT)
      image, mask = make_image(
          seed=seed, index=index, subject=subject, site=site,
          image_size=image_size)
      row_id = f'{split}_{i:04d}'
      Image.fromarray(image).save(output / f'images/{row_id}.png')
      Image.fromarray(mask * 255).save(output / f'masks/{row_id}.png')
      truth = {'kind': 'mask', 'path': f'masks/{row_id}.png',
               'values': {'0': 0, '255': 1}}
      row = manifest.Row(
          id=row_id, image=f'images/{row_id}.png', split=split, role='strong',
          annotation=truth, subject=f'subject_{subject:03d}', site=site)
      if split == 'train' and roles[i] == 'weak':
        row = simulate.weak_row(
            row, mask, np.random.default_rng([seed, index, 2]), plan=plans[i])
        row = row._replace(annotator=f'annotator_of_{site}')
      rows.append(row)
      index += 1
  header = manifest.Header('phantom', CLASSES)
  return manifest.write_manifest(output / 'manifest.jsonl', header, rows)


def _site(subject):
  """Returns the site of a subject: every fourth one of a split is from site b.

  Args:
    subject: number of the subject within its split, from 0.
  """
  return SITES[subject % 4 == 3]


def plan_weak_labels(
    sites: list[str],
    rng: np.random.Generator,
    *,
    num_strong: int,
    fault_fraction: float,
) -> tuple[list[str], list[dict[str, Any] | None]]:
  """Chooses the strong images, and the faults of the other training images.

  The faults are spread unevenly, since the annotator of site b is careless: up
  to 90 % of the weak labels of site b are faulty, and only the remaining faults
  are planted at site a. The share of strong images is the same at both sites.

  Args:
    sites: site of each training image.
    rng: source of all randomness.
    num_strong: number of images with exact masks.
    fault_fraction: share of the weak labels that get a planted fault.

  Returns:
    The role of each image, and the keyword arguments of `simulate_weak` for
    each weak image, or None for a strong one.
  """
  order = {s: rng.permutation(np.flatnonzero(np.array(sites) == s)).tolist()
           for s in SITES}
  num_strong_b = min(
      round(num_strong * len(order[SITES[1]]) / max(len(sites), 1)),
      len(order[SITES[1]]))
  num_strong_by_site = dict(zip(
      SITES, (num_strong - num_strong_b, num_strong_b), strict=True))
  weak = {s: order[s][num_strong_by_site[s]:] for s in SITES}
  num_weak = sum(map(len, weak.values()))
  num_faulty = round(fault_fraction * num_weak)
  num_faulty_b = min(num_faulty, round(0.9 * len(weak[SITES[1]])))
  roles = ['strong'] * len(sites)
  plans = [None] * len(sites)
  for site, count in zip(
      SITES, (num_faulty - num_faulty_b, num_faulty_b), strict=True):
    rows = weak[site]
    site_plans = simulate.plan_faults(
        len(rows), rng, fault_fraction=count / max(len(rows), 1),
        kinds=('polygon',))
    for i, plan in zip(rows, site_plans, strict=True):
      roles[i], plans[i] = 'weak', plan
  return roles, plans


def make_image(
    *, seed: int, index: int, subject: int, site: str, image_size: int
) -> tuple[np.ndarray, np.ndarray]:
  """Generates a picture and the mask of its lesions.

  Args:
    seed: seed of the set.
    index: number of the picture in the set.
    subject: number of its subject in the set, which determines the tissue.
    site: one of `SITES`, which determines the white balance.
    image_size: height and width S.

  Returns:
    The picture, uint8 [S, S, 3], and the mask, uint8 [S, S].
  """
  size = image_size
  rng = np.random.default_rng([seed, index])
  tissue = np.random.default_rng([seed, subject, 3])
  hue = tissue.uniform([0.62, 0.34, 0.28], [0.90, 0.58, 0.50])
  if site == SITES[1]:
    # The camera of site b has a colder white balance.
    hue = hue * [0.72, 0.90, 1.25]
  vessel_strength = tissue.uniform(0.0, 0.16)

  height = 0.6 * _noise(rng, size, 0.18) + 0.25 * _noise(rng, size, 0.06)
  albedo = np.ones((size, size, 3)) * hue
  albedo *= 1 + 0.07 * _noise(rng, size, 0.12)[..., None]
  albedo *= 1 + rng.uniform(0.01, 0.05) * _pits(rng, size)[..., None]
  vessels = _vessels(rng, size)[..., None]
  albedo *= 1 - vessel_strength * vessels * np.array([0.5, 1.0, 0.9])
  height += _folds(rng, size)

  taken = np.zeros((size, size), bool)
  for _ in range(rng.integers(1, 4)):
    blob, taken = _place(rng, size, taken, radius=(0.06, 0.17))
    if blob is not None:
      albedo, height = _add_distractor(rng, albedo, height, blob)
  mask = np.zeros((size, size), np.uint8)
  for _ in range(rng.choice([1, 2, 3], p=[0.6, 0.28, 0.12])):
    blob, taken = _place(rng, size, taken, radius=(0.09, 0.23))
    if blob is not None:
      albedo, height = _add_lesion(rng, albedo, height, blob)
      mask[blob > 0] = 1
  picture = _light(rng, albedo, height)
  picture = ndimage.gaussian_filter(picture, (0.45, 0.45, 0))
  picture += 0.012 * rng.standard_normal(picture.shape)
  return np.round(np.clip(picture, 0, 1) * 255).astype(np.uint8), mask


def _noise(rng, size, scale):
  """Returns smooth noise of standard deviation 1, float [S, S].

  Args:
    rng: source of the noise.
    size: height and width S.
    scale: width of the Gaussian that smooths it, as a share of the side.
  """
  noise = ndimage.gaussian_filter(
      rng.standard_normal((size, size)), max(scale * size, 0.5), mode='wrap')
  return noise / noise.std()


def _grid(size):
  """Returns the pixel centres as y [S, 1] and x [1, S], in [0, 1]."""
  centres = (np.arange(size) + 0.5) / size
  return centres[:, None], centres[None]


def _folds(rng, size):
  """Returns the relief of up to two long ridges across the picture, [S, S]."""
  y, x = _grid(size)
  folds = np.zeros((size, size))
  for _ in range(rng.integers(0, 3)):
    angle = rng.uniform(0, np.pi)
    across = x * np.cos(angle) + y * np.sin(angle)
    across = across + 0.04 * _noise(rng, size, 0.2)
    width = rng.uniform(0.03, 0.07)
    folds += rng.uniform(1.0, 2.5) * np.exp(
        -(((across - rng.uniform(0.1, 1.2)) / width) ** 2))
  return folds


def _vessels(rng, size):
  """Returns the strength of thin branching lines, float [S, S] in [0, 1].

  The lines lie where smooth noise is about 0.
  """
  lines = np.exp(-((_noise(rng, size, 0.10) / 0.12) ** 2))
  return lines * (_noise(rng, size, 0.15) > 0)


def _blob(rng, size, centre, radius):
  """Returns the relative depth of each pixel in an ellipse with lobes, [S, S].

  The depth is 1 at the centre, 0 at the outline and negative outside.

  Args:
    rng: source of the shape.
    size: height and width S of the picture.
    centre: (y, x) of the centre, in [0, 1].
    radius: mean radius without lobes, as a share of the side.
  """
  y, x = _grid(size)
  dy, dx = y - centre[0], x - centre[1]
  turn, stretch = rng.uniform(0, np.pi), rng.uniform(1.0, 1.5)
  u = (dx * np.cos(turn) + dy * np.sin(turn)) / np.sqrt(stretch)
  v = (dy * np.cos(turn) - dx * np.sin(turn)) * np.sqrt(stretch)
  angle = np.arctan2(v, u)
  outline = np.ones_like(angle)
  for order in (2, 3, 4, 5):
    outline += rng.uniform(0, 0.34) / order * np.cos(
        order * angle + rng.uniform(0, 2 * np.pi))
  return 1 - np.hypot(u, v) / (radius * outline)


def _place(rng, size, taken, radius):
  """Finds a place for a new blob that touches no earlier blob.

  Args:
    rng: random generator that draws the blob.
    size: height and width S of the picture.
    taken: the pixels of the earlier blobs, bool [S, S].
    radius: smallest and largest radius, as fractions of S.

  Returns:
    The blob, see `_blob`, or None if no place was found; and the pixels of all
    blobs, bool [S, S].
  """
  for _ in range(20):
    centre = rng.uniform(0.12, 0.88, 2)
    # Small blobs are more frequent than large ones.
    share = rng.uniform() ** 1.5
    blob = _blob(rng, size, centre, radius[0] + share * (radius[1] - radius[0]))
    large_enough = (blob > 0).mean() >= 12 / 64**2
    if large_enough and not (taken & (blob > -0.25)).any():
      return blob, taken | (blob > -0.1)
  return None, taken


def _pits(rng, size):
  """Returns a fine irregular pattern of pits, float [S, S] in [-1, 1].

  The pits are 3 to 4 pixels apart.
  """
  noise = rng.standard_normal((size, size))
  band = ndimage.gaussian_filter(noise, 0.8)
  band -= ndimage.gaussian_filter(noise, 1.6)
  return np.tanh(1.5 * band / band.std())


def _surface(rng, size, *, red, pits):
  """Returns by what share the cues of a lesion change the albedo, [S, S, 3].

  Args:
    rng: source of the pits.
    size: height and width S of the picture.
    red: strength of the red tint; a negative value makes the tissue paler.
    pits: strength of the pattern of pits.
  """
  tint = np.array([0.02, -0.20, -0.12]) * red
  return tint + (0.20 * pits * _pits(rng, size))[..., None]


def _add_lesion(rng, albedo, height, blob):
  """Adds a lesion: raises a blob, tints it red and covers it with pits."""
  soft = np.clip(blob / 0.2 + 0.5, 0, 1)[..., None]
  red, pits = rng.uniform(0.5, 1.2), rng.uniform(0.5, 0.9)
  surface = _surface(rng, len(blob), red=red, pits=pits)
  swell = rng.uniform(0.0, 1.6) * np.sqrt(np.clip(blob, 0, 1))
  return albedo * (1 + soft * surface), height + swell


def _add_distractor(rng, albedo, height, blob):
  """Adds a distractor, which has at most one of the two cues of a lesion."""
  size = len(blob)
  soft = np.clip(blob / 0.2 + 0.5, 0, 1)[..., None]
  kind = rng.choice(
      ['swelling', 'red', 'pale_pits', 'bubble', 'hollow'],
      p=[0.1, 0.3, 0.3, 0.15, 0.15])
  swell = rng.uniform(0.0, 1.6) * np.sqrt(np.clip(blob, 0, 1))
  if kind == 'swelling':
    return albedo, height + swell + 0.5 * np.sqrt(np.clip(blob, 0, 1))
  if kind == 'red':
    surface = _surface(rng, size, red=rng.uniform(0.15, 0.9), pits=0.0)
    return albedo * (1 + soft * surface), height + swell
  if kind == 'pale_pits':
    surface = _surface(
        rng, size, red=rng.uniform(-0.5, -0.1), pits=rng.uniform(0.3, 0.8))
    return albedo * (1 + soft * surface), height + swell
  if kind == 'bubble':
    rim = np.exp(-(((blob - 0.08) / 0.08) ** 2))[..., None]
    return albedo * (1 + 0.25 * rim) + 0.05 * soft, height
  return albedo * (1 - 0.45 * np.clip(1.4 * blob, 0, 1)[..., None]), height


def _light(rng, albedo, height):
  """Lights the tissue: adds shading, a bright spot and wet highlights."""
  size = len(height)
  y, x = _grid(size)
  dy, dx = np.gradient(ndimage.gaussian_filter(height, 0.02 * size))
  angle = rng.uniform(0, 2 * np.pi)
  slope = (dx * np.cos(angle) + dy * np.sin(angle)) * size / 64
  shade = 1 + 0.45 * np.tanh(1.5 * slope)
  cy, cx = rng.uniform(0.25, 0.75, 2)
  fall = 1.15 - rng.uniform(0.5, 1.1) * ((y - cy) ** 2 + (x - cx) ** 2)
  picture = albedo * (shade * np.clip(fall, 0.3, None))[..., None]
  # Highlights sit where the tissue faces the light, in small patches.
  wet = _noise(rng, size, 0.03) + 1.2 * np.tanh(3 * slope)
  gloss = np.clip((wet - 2.6) / 0.5, 0, 1)[..., None]
  return picture * (1 - gloss) + gloss * np.array([1.0, 0.97, 0.94])
