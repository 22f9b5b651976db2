#!/usr/bin/env bash
# label-studio-sdk 2.1.2: the converter of brushes to COCO writes the contours
# of holes as further parts of the object, and COCO unites the parts. A ring of
# 300 pixels covers 361 afterwards, its hole included.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q label-studio-sdk==2.1.2 pycocotools==2.0.11 \
  opencv-python-headless==4.12.0.88
cat > run.py <<'PY'
from label_studio_sdk.converter import brush
from label_studio_sdk.converter.exports import brush_to_coco
import numpy as np
from pycocotools import mask as coco

ring = np.zeros((30, 30), bool)
ring[5:25, 5:25] = True
ring[10:20, 10:20] = False
parts, _, _ = brush_to_coco.generate_contour_from_rle(
    brush.mask2rle((ring * 255).astype(np.uint8)), 30, 30)
polygons = [[float(v) for v in part] for part in parts]
found = coco.decode(coco.merge(coco.frPyObjects(polygons, 30, 30)))
print('ring:', int(ring.sum()), 'COCO:', int(found.sum()),
      'in the hole:', int(found[10:20, 10:20].sum()))
PY
venv/bin/python run.py 2> log.txt | tee seen.txt
printf 'ring: 300 COCO: 361 in the hole: 100\n' | diff - seen.txt
echo 'as stated: label-studio-sdk 2.1.2'
