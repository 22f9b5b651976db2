#!/usr/bin/env bash
# dataweave 1.2.0: polygon_to_rle draws a polygon into its bounding box, whose width
# and height are the differences of the coordinates, while it fills the last row and
# column as well, and polygon_to_binary_mask keeps these. A rectangle from (10, 20) to
# (30, 60) has 861 pixels as a mask and 800 in the RLE, and comes back as one that ends
# at (29, 59). After five times there and back it ends at (25, 55). A polygon that is
# one pixel wide has no pixel left.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'dataweave==1.2.0' 'numpy==2.4.6' 'opencv-python==5.0.0.93'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import contextlib
import importlib.metadata
import io

import dataweave

print('dataweave', importlib.metadata.version('dataweave'))
handler = dataweave.PolygonHandler


def encode(polygon):
  """Returns the runs and the box; the package prints the points."""
  with contextlib.redirect_stdout(io.StringIO()):
    return handler.polygon_to_rle(polygon)


polygon = [(10, 20), (30, 20), (30, 60), (10, 60)]
pixels = int(handler.polygon_to_binary_mask(polygon, (100, 100)).sum())
runs, box = encode(polygon)
print('mask:', pixels, 'pixels; RLE:', sum(n for value, n in runs if value))
assert pixels == 21 * 41
ends = []
for _ in range(5):
  runs, box = encode(polygon)
  polygon = handler.rle_to_polygon(runs, box)
  ends.append(tuple(int(max(axis)) for axis in zip(*polygon)))
print('lower right corner after each time:', ends)
assert ends == [(30 - n, 60 - n) for n in range(1, 6)], 'the behaviour has changed'
PY
