r"""Tests the import, the check and the records of sets with damaged files.

python -m tests.long.fuzz --num_files=100000

The program damages one file of a small set at a time, imports and checks the
set, and makes its records. The set must either be valid or be refused with
clear messages. The outcome is wrong if an exception is raised that users would
not see as one line, if a line has more than 200 characters or holds control
characters, if a record has a wrong shape or wrong classes, or if the set takes
more than 2 s of processor time or 1 GiB of memory. The program prints a table,
and its exit code is 1 if any outcome was wrong. Sets with wrong outcomes are
kept in --folder. A run with --record that was stopped goes on where it was.
"""

import collections
from concurrent import futures
import functools
import json
import os
import pathlib
import random
import re
import resource
import shutil
import sys
import tempfile
import time
import traceback
from typing import NamedTuple
import warnings

from absl import app
from absl import flags

from data_prep import formats
from data_prep.checks import check
from data_prep.checks import check_report
from data_prep.records import schema
from data_prep.sets import own_set
from data_prep.shared import pixels

from tests.damage import bombs
from tests.damage import mutations
from tests.damage import seed_sets

_NUM_FILES = flags.DEFINE_integer('num_files', 100_000, 'To damage.', 1)
_FUZZ_SEED = flags.DEFINE_integer('fuzz_seed', 0, 'Seed of the damage.', 0)
_TARGETS = flags.DEFINE_list(
    'targets', list(seed_sets.SETS), 'Which files to damage.')
_FOLDER = flags.DEFINE_string(
    'folder', None, 'Where to keep what was wrong; default is nowhere.')
_RECORD = flags.DEFINE_string(
    'record', None, 'File of the outcomes so far; what it holds is not run '
    'again.')
_PROCESSES = flags.DEFINE_integer(
    'processes', os.cpu_count(), 'Number of processes.', 1)
_MESSAGES = flags.DEFINE_integer(
    'messages', 0, 'How many messages to print, commonest first.', 0)

_CHUNK = 500
_MAX_S = 2.0
_MAX_KIB = 2**20
# Bytes that each worker may use. Without a limit, a harmful file could exhaust
# the memory of the machine.
_ADDRESS_SPACE = 12 * 2**30


def examine(source: pathlib.Path, name: str) -> tuple[str, list[str]]:
  """Imports and checks a set and makes its records, as `prepare --source` does.

  Args:
    source: folder of the set.
    name: name of its format, a key of `registry.FORMATS`.

  Returns:
    'valid', 'refused' or, if something is wrong, 'WRONG'; and the lines that a
    user would see.
  """
  with tempfile.TemporaryDirectory(
      dir=source.parent) as output, pixels.strict_pillow():
    try:
      own = own_set.read(
          output, source=source, format_name=name, options=formats.Options(
              classes=seed_sets.CLASSES if name != 'table' else None),
          subjects=None, name='fuzz')
      manifest, notices, _ = own_set.divide(own, output, plan=own_set.Plan())
    except ValueError as error:
      # `prepare` prints every ValueError as a refusal. A ValueError that
      # another package raises by accident would thus look like one.
      place = traceback.extract_tb(error.__traceback__)[-1]
      ours = f'{os.sep}data_prep{os.sep}' in place.filename
      lines = [str(error)]
      if not ours or '\n' in lines[0] or len(lines[0]) > 185:
        return 'WRONG', [f'{place.filename}:{place.lineno}: {error!r}']
      return 'refused', lines
    findings = check.inspect_manifest(manifest, near_copies='notice')
    lines = check_report.report(findings)
    for line in [*lines, *(n[:200] for n in (*own.notices, *notices))]:
      if len(line) > 200 or not line.isprintable():
        return 'WRONG', [f'not a line: {line!r}']
    # Ignore problems of the whole set: so small a set may lack a role or a
    # class.
    if any(p.line or p.file for p in findings.problems):
      return 'refused', lines
    for row in manifest.rows:
      example = schema.make_example(
          row, root=manifest.root, image_size=24,
          num_classes=len(manifest.header.classes), channels=3,
          instance_id=-1)
      known = example['label'][example['label'] != 255]
      if example['image'].shape != (24, 24, 3) or (
          known.size and known.max() >= len(manifest.header.classes)):
        return 'WRONG', [f'{row.id}: {example["image"].shape}, '
                         f'class {known.max()}']
    return 'valid', lines


def examine_safely(source: pathlib.Path, name: str):
  """Examines a set, and measures how much time and memory this takes.

  Returns:
    The outcome and the lines, as from `examine`; seconds of processor time; and
    memory in KiB. Exceptions, warnings and too much time or memory make the
    outcome 'WRONG'.
  """
  before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  start = time.process_time()
  with warnings.catch_warnings(record=True) as told:
    try:
      outcome, lines = examine(source, name)
    except BaseException:  # pylint: disable=broad-exception-caught
      outcome, lines = 'WRONG', [traceback.format_exc()]
  if told:
    outcome, lines = 'WRONG', [f'a warning: {told[0].message}', *lines]
  seconds = time.process_time() - start
  kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
  if outcome != 'WRONG' and (seconds > _MAX_S or kib > _MAX_KIB):
    outcome, lines = 'WRONG', [f'{seconds:.1f} s, {kib >> 10} MiB', *lines]
  return outcome, lines, seconds, kib


def examine_files(
    target: str,
    files: dict[str, bytes],
    *,
    keep: pathlib.Path | None = None,
    why: str = '',
):
  """Writes a set into a new folder and examines it.

  Args:
    target: name of the set, a key of `seed_sets.SETS`.
    files: content of each file by path.
    keep: folder in which the set is kept if its outcome is wrong, or None.
    why: description of the damage, which is kept next to the set.

  Returns:
    The same as `examine_safely`.
  """
  memory = '/dev/shm' if os.path.isdir('/dev/shm') else None
  with tempfile.TemporaryDirectory(dir=memory) as folder:
    source = pathlib.Path(folder) / 'set'
    for path, content in files.items():
      (source / path).parent.mkdir(parents=True, exist_ok=True)
      (source / path).write_bytes(content)
    result = examine_safely(source, seed_sets.SETS[target].format_name)
    if result[0] == 'WRONG' and keep is not None:
      shutil.copytree(source, keep / 'set', dirs_exist_ok=True)
      (keep / 'why.txt').write_text(
          '\n'.join([why, *result[1]]), encoding='utf-8')
  return result


class Damage(NamedTuple):
  """The outcomes for many damaged sets of one target.

  Attributes:
    counts: number of sets by outcome.
    slowest_s: longest processor time that a set took, in seconds.
    largest_kib: largest memory that a set took, in KiB.
    wrong: description of each set with a wrong outcome.
    messages: number of times that each message was printed; messages that
      differ only in numbers and names count as one.
  """

  counts: collections.Counter[str]
  slowest_s: float
  largest_kib: int
  wrong: list[str]
  messages: collections.Counter[str]

  def joined(self, other: 'Damage') -> 'Damage':
    """Returns the outcomes of this and other damaged sets taken together."""
    return Damage(
        self.counts + other.counts, max(self.slowest_s, other.slowest_s),
        max(self.largest_kib, other.largest_kib), self.wrong + other.wrong,
        self.messages + other.messages)


_NOTHING = Damage(
    collections.Counter(), 0.0, 0, [], collections.Counter())


def damage(
    target: str, first: int, number: int, *, seed: int, keep: str | None = None
) -> Damage:
  """Makes and examines many damaged sets of one target.

  Args:
    target: name of the set, a key of `seed_sets.SETS`.
    first: number of the first damaged set; it determines the damage.
    number: how many sets to damage, in one file each.
    seed: seed of the damage.
    keep: folder in which sets with wrong outcomes are kept, or None.
  """
  files = seed_sets.SETS[target].files()
  names = [n for n in files if seed_sets.SETS[target].is_target(n)]
  total = _NOTHING
  for i in range(first, first + number):
    rng = random.Random(f'{seed} {target} {i}')
    name = rng.choice(names)
    total = total.joined(_examined(
        target, files | {name: mutations.mutate(files[name], name, rng)},
        f'{target} {i} {name}', keep))
  return total


def _examined(target, files, what, keep):
  """Examines one damaged set, and returns its outcome as `Damage`."""
  folder = keep and pathlib.Path(keep) / re.sub(r'\W', '_', what)
  outcome, lines, seconds, kib = examine_files(
      target, files, keep=folder or None, why=what)
  plain = [re.sub(r"\d+|'[^']*'|\"[^\"]*\"", '#', line)[:120]
           for line in lines if outcome == 'refused']
  wrong = [f'{what}: {lines[0][-400:]}'] if outcome == 'WRONG' else []
  return Damage(collections.Counter([outcome]), seconds, kib, wrong,
                collections.Counter(plain))


def _limit_memory():
  resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE))


def _known(path):
  """Returns the outcomes in a file of --record by what was damaged."""
  if path is None or not os.path.exists(path):
    return {}
  with open(path, encoding='utf-8') as file:
    lines = [json.loads(line) for line in file if line.endswith('\n')]
  return {tuple(key): Damage(collections.Counter(counts), *cost, wrong,
                             collections.Counter(messages))
          for key, counts, *cost, wrong, messages in lines}


def main(argv: list[str]) -> None:
  """Damages files in all processes and prints the table."""
  del argv
  per_target = -(-_NUM_FILES.value // len(_TARGETS.value))
  total = dict.fromkeys([*_TARGETS.value, 'bombs'], _NOTHING)
  start, known = time.monotonic(), _known(_RECORD.value)
  wanted = {}
  for target in _TARGETS.value:
    for first in range(0, per_target, _CHUNK):
      number = min(_CHUNK, per_target - first)
      wanted[target, first, number, _FUZZ_SEED.value] = functools.partial(
          damage, target, first, number, seed=_FUZZ_SEED.value,
          keep=_FOLDER.value)
  for name, make in bombs.BOMBS.items():
    target, changed = make()
    wanted['bombs', name] = functools.partial(
        _examined, target, seed_sets.SETS[target].files() | changed, name,
        _FOLDER.value)
  for key in wanted.keys() & known:
    total[key[0]] = total[key[0]].joined(known[key])
  with futures.ProcessPoolExecutor(
      _PROCESSES.value, initializer=_limit_memory) as pool:
    pending = {pool.submit(run): key for key, run in wanted.items()
               if key not in known}
    for done, future in enumerate(futures.as_completed(pending), start=1):
      found, key = future.result(), pending[future]
      total[key[0]] = total[key[0]].joined(found)
      print('\n'.join(found.wrong), end='\n' * bool(found.wrong), flush=True)
      if _RECORD.value:
        with open(_RECORD.value, 'a', encoding='utf-8') as file:
          file.write(json.dumps([key, *found]) + '\n')
      if done % 20 == 0:
        left_s = (time.monotonic() - start) * (len(pending) / done - 1)
        print(f'  {done} of {len(pending)} chunks, {left_s:.0f} s left',
              file=sys.stderr, flush=True)
  print('\n| damaged | files | valid | refused | wrong | slowest, s | memory, '
        f'MiB |\n|{"---|" * 7}')
  for target, found in total.items():
    counts = found.counts
    print(f'| {target} | {sum(counts.values())} | {counts["valid"]} | '
          f'{counts["refused"]} | {counts["WRONG"]} | {found.slowest_s:.2f} | '
          f'{found.largest_kib >> 10} |')
  every = functools.reduce(Damage.joined, total.values())
  for text, number in every.messages.most_common(_MESSAGES.value):
    print(f'{number:6d} {text}')
  if every.wrong or total['bombs'].counts['valid']:
    sys.exit(1)


if __name__ == '__main__':
  app.run(main)
