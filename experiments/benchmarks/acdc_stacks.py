r"""Stacks the slices of ACDC into volumes, to try anisotropic volumes.

python -m experiments.benchmarks.acdc_stacks --source=FOLDER --output=stacks
python -m data_prep.prepare --volumes --source=stacks \
    --subjects=stacks/subjects.csv ...

FOLDER holds images/, masks/ and slices.csv of ACDC (Bernard et al., 2018,
https://doi.org/10.1109/TMI.2018.2837502): gray slices whose padding is cropped
here, with 0 background, 1 right ventricle, 2 myocardium, 3 left ventricle. They
have no spacing, so that of a typical file is written: 1.5 x 1.5 x 10 mm. Each
phase of a patient is a volume.
"""

import collections
import csv
import pathlib

from absl import flags
import nibabel
import numpy as np
from PIL import Image

from experiments import binary

_SOURCE = flags.DEFINE_string(
    'source', None, 'Folder of the slices.', required=True)
_OUTPUT = flags.DEFINE_string(
    'output', None, 'Folder of the volumes, which must not exist.',
    required=True)

_SPACING_MM = (1.5, 1.5, 10.0)


def _read(path, height, width):
  """Reads a slice without its padding, [X, Y] with x to the right."""
  pixels = np.asarray(Image.open(path))
  height, width = min(height, pixels.shape[0]), min(width, pixels.shape[1])
  top, left = ((n - m) // 2 for n, m in zip(
      pixels.shape, (height, width), strict=True))
  return pixels[top : top + height, left : left + width].T


def main():
  source, output = pathlib.Path(_SOURCE.value), pathlib.Path(_OUTPUT.value)
  if not (source / 'slices.csv').is_file():
    raise binary.UserError(f'{source} has no slices.csv: give its folder.')
  if output.exists():
    raise binary.UserError(f'{output} exists: give a new folder as --output.')
  for folder in ('imagesTr', 'labelsTr'):
    (output / folder).mkdir(parents=True)
  stacks = collections.defaultdict(list)
  with open(source / 'slices.csv', encoding='utf-8', newline='') as file:
    for row in csv.DictReader(file):
      stacks[row['patient'], row['frame']].append(row)
  lines = ['id,subject']
  # In the frame of NIfTI, pictures run from right to left and front to back.
  affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.diag([*_SPACING_MM, 1.0])
  for (patient, frame), rows in sorted(stacks.items()):
    rows.sort(key=lambda row: int(row['slice']))
    name = f'acdc_{int(patient):03d}_{int(frame):02d}'
    for folder, kind, suffix in (
        ('imagesTr', 'images', 'jpg'), ('labelsTr', 'masks', 'png')):
      volume = np.stack([
          _read(source / kind / f'{row["id"]}.{suffix}',
                int(row['native_height']), int(row['native_width']))
          for row in rows], -1)
      nibabel.save(nibabel.Nifti1Image(volume, affine),
                   output / folder / f'{name}.nii.gz')
    lines.append(f'{name},p{int(patient):03d}')
  (output / 'subjects.csv').write_text('\n'.join(lines) + '\n', 'utf-8')
  print(f'Wrote {len(stacks)} volumes to {output}')


if __name__ == '__main__':
  binary.run(main)
