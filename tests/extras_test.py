"""Tests that every binary runs with what its extra in setup.py installs.

The README says `pip install -e '.[run]'`. The environment of the tests has more
packages, and would thus hide a package that an extra forgets.
"""

import json
import pathlib
import re
import subprocess
import sys

from absl.testing import absltest

from data_prep.sets import phantom
from tests import bare_site
from tests import tiny
from tests import xla_flags

# These keys come first, as when a person writes the manifest.
_KEYS = ('manifest_version', 'kind', 'id', 'name')


def _write_set(folder):
  """Writes a tiny set whose manifest has its keys in another order."""
  phantom.write(
      folder, image_size=16, num_train=40, num_val=6, num_test=10,
      strong_fraction=0.2)
  lines = (folder / 'manifest.jsonl').read_text('utf-8').splitlines()
  order = lambda value: value if not isinstance(value, dict) else {
      key: order(value[key]) for key in sorted(
          value, key=lambda key: (key not in _KEYS, key))}
  (folder / 'by_hand.jsonl').write_text(
      '\n'.join(json.dumps(order(json.loads(line))) for line in lines), 'utf-8')


_DATA = (
    'data_prep.prepare --manifest=pictures/by_hand.jsonl --image_size=16 '
    '--output=mine',
    'data_prep.export --manifest=mine/manifest.jsonl --format=coco '
    '--output=coco',
)
_RUN = (
    'data_prep.prepare --dataset=phantom --image_size=16 --check',
    'data_prep.export --manifest=mine/manifest.jsonl --format=cvat '
    '--output=cvat',
    'experiments.train --config=CONFIGS/phantom.py:dii,debug '
    '--config.model.options.features=(8,) '
    '--config.input.data_dir=mine --workdir=run',
    'experiments.evaluate --workdir=run',
    'experiments.predict --run=run --input=pictures/images --output=predicted '
    '--probabilities --uncertainty --overlays',
    'experiments.audit --run=run --export=labelme',
    'experiments.review --run=run --static=review.html',
    'experiments.export --run=run --output=model',
    'experiments.refine --run=run',
    'experiments.compare --results=run,run --output=compared',
    'experiments.plan_budget --sweep=sweep.csv --budget=60 '
    '--minutes=mask:10,box:1 --output=plan.json',
    'experiments.sweep --config=CONFIGS/tables/phantom.py:debug '
    '--config.image_size=16 --config.base.model.options.features=(8,) '
    '--only=strong_only --max_cells=1 --workdir=table',
)
_SWEEP = 'mask,box,seed,dice\n' + ''.join(
    f'{mask},{box},{seed},{0.9 - 1 / (2 + mask + box / 10) + seed / 100}\n'
    for mask in (5, 10, 20) for box in (0, 50) for seed in (0, 1))

_MAIN = re.compile(
    r"^if __name__ == '__main__':(\n  .*)*\.(run|start)\(", re.MULTILINE)


class ExtrasTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(tiny.temp_dir(self))

  def run_commands(self, extra, commands):
    site = self.folder / f'site_{extra}'
    site.mkdir()
    bare_site.make(site, extra)
    configs = str(bare_site.ROOT / 'experiments/configs')
    done = subprocess.run(
        (sys.executable, '-S', '-m', 'tests.bare_worker'), cwd=self.folder,
        input=json.dumps(
            [c.replace('CONFIGS', configs).split() for c in commands]),
        env=bare_site.environment(
            site, XLA_FLAGS=xla_flags.with_devices(None)),
        capture_output=True, text=True, check=False)
    self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

  def test_every_binary(self):
    """Tests every binary; `evaluate` gets a set with keys in another order."""
    _write_set(self.folder / 'pictures')
    (self.folder / 'sweep.csv').write_text(_SWEEP, 'utf-8')
    self.run_commands('data', _DATA)
    self.run_commands('run', _RUN)
    for name in ('run/evaluation_test.json', 'model/model.stablehlo',
                 'run/audit/suspects_labelme', 'review.html',
                 'compared/comparison.json',
                 'table/table.md', 'plan.json', 'predicted/predictions.csv'):
      self.assertTrue((self.folder / name).exists(), name)

  def test_no_binary_is_left_out(self):
    names = {f'{path.parent.name}.{path.stem}'
             for package in ('data_prep', 'experiments')
             for path in (bare_site.ROOT / package).glob('*.py')
             if _MAIN.search(path.read_text('utf-8'))}
    self.assertEqual({c.split()[0] for c in _RUN}, names)


if __name__ == '__main__':
  absltest.main()
