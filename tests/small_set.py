"""Writes a folder of pictures and masks."""

import numpy as np
from PIL import Image


def write_set(folder, num_images=24, per_subject=2):
  """Writes images/pNN/NN.png and masks/pNN/NN.png below `folder`."""
  rng = np.random.default_rng(0)
  for i in range(num_images):
    name = f'p{i // per_subject:02d}/{i:02d}.png'
    mask = np.zeros((24, 32), np.uint8)
    mask[4 + i % 9 : 14 + i % 7, 5 : 12 + i % 11] = 1
    for kind, pixels in (('images', rng.integers(
        256, size=(24, 32, 3), dtype=np.uint8)), ('masks', mask)):
      path = folder / kind / name
      path.parent.mkdir(parents=True, exist_ok=True)
      Image.fromarray(pixels).save(path)
