#!/usr/bin/env bash
# medmask 0.1.3: MaskArchive checks the room of its index before it adds the
# entry of a new mask, and allows 200 bytes for it. The entry holds the names of
# all labels, so that a longer one is written over the voxels behind the index,
# or by them. An archive takes three masks of 117 named labels each, with no error,
# and can be read after the second; after the third not one of the three can be
# read any more. Of 150 names, one mask is enough.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'medmask==0.1.3' 'spacetransformer-core==0.2.7' 'zstandard==0.25.0' 'numpy==2.4.6'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata
import json

import medmask
import numpy as np

print('medmask', importlib.metadata.version('medmask'))


def masks_that_can_be_read(archive_path, names):
  read = 0
  for name in names:
    try:
      loaded = medmask.MaskArchive(archive_path, 'r').load_segmask(name)
    except json.JSONDecodeError:
      continue
    read += np.array_equal(loaded.data, labels)
  return read


seen = {}
for number in (20, 117, 150):
  names = {f'structure_of_the_body_{label}': label for label in range(1, number + 1)}
  labels = np.random.default_rng(0).integers(0, number + 1, (20, 20, 20), 'uint8')
  path = f'{number}.mska'
  archive = medmask.MaskArchive(path, 'w')
  for count in range(1, 4 if number < 150 else 2):
    archive.add_segmask(
        medmask.SegmentationMask(labels, dict(names)), f'case_{count}')
    seen[number, count] = masks_that_can_be_read(
        path, [f'case_{case}' for case in range(1, count + 1)])
    print(f'{number} names, {count} added without an error: '
          f'{seen[number, count]} can be read')
assert [seen[20, count] for count in (1, 2, 3)] == [1, 2, 3]
assert [seen[117, count] for count in (1, 2)] == [1, 2]
assert seen[117, 3] == seen[150, 1] == 0, 'the behaviour has changed'
print('as stated: all masks of the archive are lost')
PY
