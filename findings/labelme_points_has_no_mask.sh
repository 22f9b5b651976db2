#!/usr/bin/env bash
# labelme 6.3.1: "points" is one of the types of shapes that labelme accepts and
# saves, and its own `shape_to_mask` refuses it with a ValueError.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q labelme==6.3.1
cat > run.py <<'PY'
import typing

from labelme import _shape
from labelme.utils import shape

print('a type:', 'points' in typing.get_args(_shape.ShapeType))
try:
  mask = shape.shape_to_mask((10, 10), [[1, 1], [5, 1], [5, 5]], 'points')
  print('mask:', int(mask.sum()))
except Exception as error:
  print('mask:', type(error).__name__)
PY
venv/bin/python run.py 2> log.txt | tee seen.txt
printf 'a type: True\nmask: ValueError\n' | diff - seen.txt
echo 'as stated: labelme 6.3.1'
