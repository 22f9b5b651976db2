r"""Reviews suspects in a real browser, and kills the server and the browser.

python -m tests.long.review --num_kills=100 [--run=RUN] [--screenshots=FOLDER]

It needs `chromium` on the PATH and the package `websockets`. Its parts are:

person: a scripted person decides 50 suspects of a run, with every tool. The
  journal and the masks must equal what was done, pixel by pixel, and keep, drop
  and the prediction must take at most two keys. Without --run, a phantom whose
  pictures are larger than its records is prepared, trained on and audited.
kills: servers of a made-up review, or the browser, are killed at random while a
  person decides. No decision that the page has confirmed may be lost, none may
  be there twice, and all that are there must be those of the person.
pages: hostile names, four windows, the keyboard alone, no console error, no
  request that leaves the machine; other pages of the browser are refused.
static: the page without a server; its file of decisions is imported twice.
volumes: a person decides the suspects of a run on whole volumes, slice by
  slice, while the server is killed and started again. The masks must equal what
  was drawn, voxel by voxel, and the decisions are applied. Without
  --volume_run, phantom3d is prepared, trained on and audited.

The exit code is 1 if a check fails.
"""

import csv
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

from absl import app
from absl import flags
from data_prep.records import builder
from data_prep.sets import phantom
from data_prep.shared import review_journal
import nibabel
import numpy as np
from PIL import Image

from tests import browser
from tests.long import review_checks
from tests.long import review_kills
from tests.long import review_person
from tests.long import review_servers
from tests.long import review_slices

_PARTS = ('person', 'static', 'kills', 'pages', 'volumes')
_PART = flags.DEFINE_multi_enum('part', _PARTS, _PARTS, 'What to check.')
_RUN = flags.DEFINE_string('run', None, 'An audited run, for person.')
_VOLUME_RUN = flags.DEFINE_string(
    'volume_run', None, 'An audited run on phantom3d, for volumes.')
_NUM_KILLS = flags.DEFINE_integer('num_kills', 100, 'Kills in all.')
_SEED = flags.DEFINE_integer('seed', 0, 'Seed of all that is random.')
_SCREENSHOTS = flags.DEFINE_string(
    'screenshots', None, 'Folder for pictures of the pages.')
_NUM = 50
_WINDOW = (1280, 860)


def _run(*arguments, **options):
  done = subprocess.run(
      [sys.executable, '-m', *arguments], text=True, capture_output=True,
      check=False, **options)
  if done.returncode:
    raise RuntimeError(f'{arguments}: {done.stderr[-2000:]}')
  return done.stdout


def _make_run(folder):
  """Prepares a phantom, trains on it, and audits the run; returns its folder.

  The pictures are twice as large as the records.
  """
  data_dir = folder / 'data'
  manifest = phantom.write(
      data_dir, image_size=96, num_train=80, num_val=6, num_test=6,
      strong_fraction=0.2)
  builder.build(manifest, output=data_dir / 'records', image_size=48)
  run = folder / 'run'
  _run('experiments.train', '--config=experiments/configs/phantom.py:debug',
       f'--config.input.data_dir={data_dir}', f'--workdir={run}',
       '--config.train_steps=150', '--config.eval_every_steps=150')
  _run('experiments.audit', f'--run={run}')
  return run


def _make_volume_run(folder):
  """Prepares phantom3d, trains on it, and audits the run."""
  data_dir, run = folder / 'data3d', folder / 'run3d'
  _run('data_prep.prepare', '--dataset=phantom3d', f'--output={data_dir}')
  _run('experiments.train', '--config=experiments/configs/phantom3d.py:debug',
       f'--config.input.data_dir={data_dir}', f'--workdir={run}')
  _run('experiments.audit', f'--run={run}')
  return run


class _Server:
  """The command that serves a review."""

  def __init__(self, run, output, *more):
    self._process = subprocess.Popen(
        [sys.executable, '-u', '-m', 'experiments.review', f'--run={run}',
         f'--num={_NUM}', f'--output={output}', '--who=anna', *more],
        stdout=subprocess.PIPE, text=True)
    line = self._process.stdout.readline()
    self.address = re.fullmatch(r'Open (\S+)\n', line)[1]

  def kill(self):
    self._process.kill()
    self._process.wait(30)

  def close(self):
    self._process.terminate()
    self._process.wait(30)


def check_person(run, output, rng):
  """Returns problems of a review with every tool; prints what was measured."""
  server = _Server(run, output)
  problems, expected = [], {}
  try:
    with browser.open_browser() as page:
      page.open(server.address, size=_WINDOW)
      person = review_person.Person(page, server.address, rng)
      person.wait_for(0)
      for number in range(_NUM):
        tool = review_person.TOOLS[number % len(review_person.TOOLS)]
        person.read()
        expected[person.id] = tool.__name__, tool(person)
        person.wait_for(number + 1)
      problems += page.complaints(
          server.address, below=server.address.split('?')[0])
      # A second server is refused while the first one runs.
      second = subprocess.run(
          [sys.executable, '-m', 'experiments.review', f'--run={run}',
           f'--num={_NUM}', f'--output={output}'], capture_output=True,
          text=True, check=False)
      if second.returncode != 2 or 'in use by process' not in second.stderr:
        problems.append(f'a second server is not refused: {second.stderr}')
  finally:
    server.close()
  found = review_journal.read(output / 'review.jsonl').decisions
  if set(found) != set(expected):
    problems.append(f'{len(found)} suspects decided, not {len(expected)}')
  for row_id, (tool, wanted) in expected.items():
    problems += review_checks.compare(output, found[row_id], wanted, tool)
  for name in 'keep', 'drop', 'prediction':
    numbers = [found[i].keys for i, (tool, _) in expected.items()
               if tool == name]
    print(f'{name}: keys per decision {numbers}')
    if not numbers or max(numbers) > 2:
      problems.append(f'{name} takes {numbers} keys')
  number = sum(d.decision == 'mask' for d in found.values())
  print(f'{len(found)} suspects decided with {len(review_person.TOOLS)} tools, '
        f'{number} masks compared')
  return problems


def check_volumes(run, folder, rng):
  """Returns problems of a review of volumes, and of what it changes."""
  output, port = folder / 'review3d', f'--port={review_servers.PORT + 1}'
  server = _Server(run, output, port)
  problems, expected = [], {}
  try:
    with browser.open_browser() as page:
      for number, tool in enumerate(review_slices.TOOLS):
        if number % 4 == 0:
          if number:
            server.kill()
            server = _Server(run, output, port)
          page.open(server.address, size=_WINDOW)
          person = review_slices.VolumePerson(page, server.address, rng)
          person.wait_for(number)
        person.read()
        expected[person.id] = tool.__name__, tool(person)
        person.wait_for(number + 1)
        if number % 4 == 3:
          problems += page.complaints(
              server.address, below=server.address.split('?')[0])
      if _SCREENSHOTS.value:
        page.press('P', 'b')
        person.read()
        person.stroke('b', 1)
        page.screenshot(f'{_SCREENSHOTS.value}/review_volume.png')
  finally:
    server.close()
  with open(pathlib.Path(run) / 'audit/audit.csv', encoding='utf-8') as file:
    axes = {row['id']: int(row['axis']) for row in csv.DictReader(file)}
  found = review_journal.read(output / 'review.jsonl').decisions
  if set(found) != set(expected):
    problems.append(f'{len(found)} suspects decided, not {len(expected)}')
  for row_id, (tool, wanted) in expected.items():
    problems += review_checks.compare(
        output, found[row_id], wanted, tool,
        # The axes of phantom3d point to the right, the front and the top.
        lambda folder, name, axis=axes[row_id]: np.rot90(np.moveaxis(np.asarray(
            nibabel.load(folder / name).dataobj), axis, 0), axes=(1, 2)))
  number = sum(d.decision == 'mask' for d in found.values())
  print(f'{len(found)} volumes decided, {number} masks compared')
  print(_run('data_prep.prepare', f'--decisions={output / "review.jsonl"}',
             f'--output={folder / "corrected3d"}'), end='')
  return problems


def check_predictions(run, output, folder):
  """Compares the predictions that were taken with `experiments.predict`."""
  journal = review_journal.read(output / 'review.jsonl')
  images = pathlib.Path(journal.header.data_dir) / 'images'
  if not images.is_dir():
    print('predictions: not compared, the pictures of the set lie elsewhere')
    return []
  _run('experiments.predict', f'--run={run}', f'--input={images}',
       f'--output={folder / "predicted"}')
  taken = [d for d in journal.decisions.values() if d.source == 'prediction']
  differ, total = 0, 0
  for decision in taken:
    with (Image.open(output / decision.mask) as first, Image.open(
        folder / 'predicted/masks' / f'{decision.id}.png') as second):
      differ += np.sum(np.asarray(first) != np.asarray(second))
      total += first.width * first.height
  print(f'predictions: {differ} of {total} pixels differ from '
        f'experiments.predict, {len(taken)} pictures')
  # Sums of floats in another order may change a pixel between two classes.
  return [f'{differ} pixels differ'] if differ > 1e-4 * total else []


def check_static(run, folder):
  """Returns problems of the page without a server."""
  path, output = folder / 'static.html', folder / 'static'
  print(_run('experiments.review', f'--run={run}', f'--static={path}',
             '--num=6', '--who=ben'), end='')
  problems, expected = review_checks.use_static(path, folder)
  sent = folder / 'review_decisions.json'
  for wanted in ('6 new decisions, 0 of 6 known',
                 '0 new decisions, 6 of 6 known'):
    line = _run('experiments.review', f'--run={run}', f'--output={output}',
                f'--import={sent}')
    if wanted not in line:
      problems.append(f'import: {line}, expected {wanted}')
  found = review_journal.read(output / 'review.jsonl').decisions
  with open(pathlib.Path(run) / 'audit/audit.csv', encoding='utf-8') as file:
    ids = [row['id'] for row in csv.DictReader(file)]
  if set(found) != set(ids[: len(expected)]):
    problems.append(f'{len(found)} suspects are decided')
  for row_id, wanted in zip(ids, expected, strict=False):
    problems += review_checks.compare(output, found[row_id], wanted, 'static')
  if {d.who for d in found.values()} != {'ben'}:
    problems.append('the name is lost')
  return problems


def main(argv):
  del argv
  missing = browser.why_not()
  if missing:
    print(f'Skipped: {missing}.')
    return
  if _SCREENSHOTS.value:
    os.makedirs(_SCREENSHOTS.value, exist_ok=True)
  failed = False
  with tempfile.TemporaryDirectory() as temporary:
    folder = pathlib.Path(temporary)

    def report(name, fn, *arguments):
      nonlocal failed
      start = time.monotonic()
      problems = fn(*arguments)
      failed |= bool(problems)
      print(f'{name}: {"; ".join(problems) or "ok"} '
            f'({time.monotonic() - start:.0f} s)', flush=True)

    # Servers are forked, so this comes before any other thread or backend.
    if 'kills' in _PART.value:
      report('kills', review_kills.check, folder / 'kills', _NUM_KILLS.value,
             _SEED.value)
    if 'pages' in _PART.value:
      report('pages', review_checks.check_pages, folder / 'pages',
             _SCREENSHOTS.value)
    if {'person', 'static'} & set(_PART.value):
      run = _RUN.value or _make_run(folder)
    if 'person' in _PART.value:
      output = folder / 'review'
      report('person', check_person, run, output,
             np.random.default_rng(_SEED.value))
      report('predictions', check_predictions, run, output, folder)
    if 'static' in _PART.value:
      report('static', check_static, run, folder)
    if 'volumes' in _PART.value:
      report('volumes', check_volumes,
             _VOLUME_RUN.value or _make_volume_run(folder), folder,
             np.random.default_rng(_SEED.value))
  if failed:
    sys.exit(1)


if __name__ == '__main__':
  app.run(main)
