r"""Compares what VIA itself finds inside its regions with what is read.

python -m tests.long.via_itself --via=PATH/via.html --num_cases=300

PATH/via.html is VIA 2 in one file (scripts/pack_via.py in its sources). By
VIA's own functions, a script imports random regions in headless chromium,
exports them as JSON and CSV, and marks the pixels whose centres lie in a
region: by the test with which VIA finds the region under the mouse, and by the
paths that it draws, to which canvases count points on an outline. Both files
are read, and later regions lie on top. The exit code is 1 if a pixel differs
that is not on an outline, within 0.001 pixels.
"""

import html
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import urllib.parse

from absl import app
from absl import flags
from data_prep import formats
from data_prep.drawing import rasterize
from data_prep.formats import registry
import numpy as np
from PIL import Image

from tests.long import tool_shapes

_VIA = flags.DEFINE_string('via', None, 'VIA 2, one HTML file.', required=True)
_NUM_CASES = flags.DEFINE_integer('num_cases', 300, 'Pictures.', 1)
_SIZES = ((1, 1), (1, 17), (7, 5), (20, 30), (64, 48), (131, 199))
_SCRIPT = r"""
addEventListener('load', async () => {
  const sizes = SIZES;
  await import_annotations_from_json(JSON.stringify(REGIONS));
  const found = {version: VIA_VERSION, mouse: {}, path: {}, edge: {}};
  found.json = (await pack_via_metadata('json')).join('');
  found.csv = (await pack_via_metadata('csv')).join('');
  const begin = {
    rect: a => _via_draw_rect(a.x, a.y, a.width, a.height),
    circle: a => _via_draw_circle(a.cx, a.cy, a.r),
    ellipse: a => _via_draw_ellipse(a.cx, a.cy, a.rx, a.ry, a.theta),
    polygon: a => _via_draw_polygon_region(
        a.all_points_x, a.all_points_y, false, 'polygon')};
  for (const id in sizes) {
    const [height, width] = sizes[id], regions = _via_img_metadata[id].regions;
    const empty = () => Array(height * width).fill(0);
    const maps = {mouse: empty(), path: empty(), edge: empty()};
    _via_canvas_regions = regions;
    regions.forEach((region, i) => {
      begin[region.shape_attributes.name](region.shape_attributes);
      const value = region.region_attributes.label == 'a' ? 1 : 2;
      for (let k = 0; k < height * width; ++k) {
        const x = k % width + 0.5, y = Math.floor(k / width) + 0.5;
        if (is_inside_this_region(x, y, i)) maps.mouse[k] = value;
        const inside = (dx, dy) => _via_reg_ctx.isPointInPath(x + dx, y + dy);
        if (inside(0, 0)) maps.path[k] = value;
        for (const [dx, dy] of [[1, 1], [1, -1], [-1, 1], [-1, -1]])
          if (inside(dx / 1000, dy / 1000) != inside(0, 0)) maps.edge[k] = 1;
      }
    });
    for (const way in maps) found[way][id] = maps[way].join('');
  }
  document.body.innerHTML =
      `<pre id="found">${encodeURIComponent(JSON.stringify(found))}</pre>`;
});
"""


def _region(rng, size):
  digits = int(rng.choice([0, 3]))  # Whole numbers, or as VIA rounds them.
  rounded = lambda *values: [round(float(v), digits) for v in values]
  x0, y0, x1, y1 = rounded(*tool_shapes.box(rng, size))
  x, y = (rounded(*v) for v in np.transpose(tool_shapes.polygon(rng, size)))
  cx, cy = rounded(*rng.uniform(0.3, 0.7, 2) * size[::-1])
  rx, ry = (max(r, 1.0) for r in rounded(
      *rng.uniform(0.5, 0.3 * min(size) + 1, 2)))
  return [
      {'name': 'rect', 'x': x0, 'y': y0, 'width': max(x1 - x0, 1.0),
       'height': max(y1 - y0, 1.0)},
      {'name': 'circle', 'cx': cx, 'cy': cy, 'r': rx},
      {'name': 'ellipse', 'cx': cx, 'cy': cy, 'rx': rx, 'ry': ry,
       'theta': round(float(rng.uniform(-3.1, 3.1)), 3)},
      {'name': 'polygon', 'all_points_x': x, 'all_points_y': y},
  ][rng.integers(4)]


def _run(regions, sizes, folder):
  """Returns what VIA finds for pictures with regions."""
  script = _SCRIPT.replace('SIZES', json.dumps(sizes)).replace(
      'REGIONS', json.dumps(regions))
  page, path = pathlib.Path(_VIA.value).read_text('utf-8'), folder / 'via.html'
  path.write_text(f'<script>{script}</script></body>'.join(
      page.rsplit('</body>', 1)))
  dom = subprocess.run(
      ['chromium', '--headless', '--no-sandbox', '--disable-gpu',
       f'--user-data-dir={folder}/user', '--virtual-time-budget=60000',
       '--dump-dom', path.as_uri()], check=True, capture_output=True,
      text=True, timeout=600).stdout
  found = re.search(r'<pre id="found">([^<]*)</pre>', html.unescape(dom))
  return json.loads(urllib.parse.unquote(found[1]))


def _read(content, name, sizes, folder):
  source, output = folder / name / 'in', folder / name / 'out'
  source.mkdir(parents=True)
  output.mkdir()
  (source / f'via.{name}').write_text(content)
  for picture, size in sizes.items():
    Image.new('L', size[::-1]).save(source / picture)
  imported = registry.read('via', source, output, formats.Options(
      classes=('background', 'a', 'b')))
  if imported.problems:
    raise AssertionError(str(imported.problems[0]))
  return imported.rows, output / imported.root


def main(argv: list[str]) -> None:
  """Compares all pictures and prints the table."""
  del argv
  regions, sizes = {}, {}
  for seed in range(_NUM_CASES.value):
    rng, name = np.random.default_rng(seed), f'{seed:04d}.png'
    sizes[name] = _SIZES[seed % len(_SIZES)]
    regions[name] = {'filename': name, 'size': -1, 'file_attributes': {}}
    regions[name]['regions'] = [
        {'shape_attributes': _region(rng, sizes[name]),
         'region_attributes': {'label': 'ab'[rng.integers(2)]}}
        for _ in range(rng.integers(1, 5))]
  with tempfile.TemporaryDirectory() as folder:
    found = _run(regions, sizes, pathlib.Path(folder))
    counts = {}
    for form in ('json', 'csv'):
      rows, root = _read(found[form], form, sizes, pathlib.Path(folder))
      for row, (name, size) in zip(rows, sizes.items(), strict=True):
        ours = rasterize.rasterize(row.annotation, size=size, root=root)
        maps = {way: np.array([*map(int, found[way][name])]).reshape(size)
                for way in ('mouse', 'path', 'edge')}
        for way in ('mouse', 'path'):
          differs = ours != maps[way]
          counts[form, way] = counts.get((form, way), 0) + np.array([
              ours.size, differs.sum(), (differs & (maps['edge'] == 0)).sum()])
  print(f'VIA {found["version"]}, {_NUM_CASES.value} pictures\n'
        '| export | inside by | pixels | different | not on an outline |\n'
        f'|{"---|" * 5}')
  for (form, way), some in counts.items():
    print(f'| {form} | {way} | {" | ".join(map(str, some))} |')
  sys.exit(int(any(off for _, _, off in counts.values())))


if __name__ == '__main__':
  app.run(main)
