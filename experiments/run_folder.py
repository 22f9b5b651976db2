"""What a run leaves behind: config, versions, log, progress."""

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
from typing import Any

import jax
import ml_collections

from experiments import binary

_PACKAGES = (
    'jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'grain',
    'tensorflow-datasets', 'numpy',
)


def write_json(path: str, value: Any) -> None:
  """Writes JSON; a reader never sees half of it."""
  with open(path + '.tmp', 'w', encoding='utf-8') as f:
    json.dump(value, f, indent=2, sort_keys=True)
    f.write('\n')
  os.replace(path + '.tmp', path)


def open_run(
    workdir: str, config: ml_collections.ConfigDict, fingerprint: str
) -> None:
  """Writes config.json and run.json, or checks those of an earlier session.

  Args:
    workdir: folder of the run; made if absent.
    config: of the run.
    fingerprint: of the set.

  Raises:
    binary.UserError: if the folder holds a run of another config or set, or
      cannot be written.
  """
  path = os.path.join(workdir, 'config.json')
  # JSON turns tuples into lists: compare like with like.
  wanted = json.loads(config.to_json())
  try:
    os.makedirs(workdir, exist_ok=True)
    if os.path.exists(path):
      with open(path, encoding='utf-8') as f:
        _check_same(json.load(f), wanted, workdir)
    write_json(path, wanted)
    write_json(os.path.join(workdir, 'run.json'), _environment(fingerprint))
  except OSError as e:
    raise binary.UserError(f'Cannot write to workdir: {e}.') from e


def _check_same(saved, wanted, workdir):
  saved, wanted = _flatten(saved), _flatten(wanted)
  for name in sorted(saved.keys() | wanted.keys()):
    if saved.get(name) != wanted.get(name):
      raise binary.UserError(
          f'{workdir} holds a run with another config: {name} is '
          f'{saved.get(name)!r} there, {wanted.get(name)!r} here. Use another '
          '--workdir, or the same config to resume.'
      )


def _flatten(tree, prefix=''):
  if not isinstance(tree, dict):
    return {prefix: tree}
  flat = {}
  for name, value in tree.items():
    flat.update(_flatten(value, f'{prefix}.{name}' if prefix else name))
  return flat


def _environment(fingerprint):
  return {
      'argv': sys.argv,
      'commit': _git('rev-parse', 'HEAD'),
      'dirty': bool(_git('status', '--porcelain', '--untracked-files=no')),
      'dataset_fingerprint': fingerprint,
      'devices': [str(d) for d in jax.devices()],
      'device_kind': jax.devices()[0].device_kind,
      'processor': platform.processor() or platform.machine(),
      'num_cpus': os.cpu_count(),
      'nproc': os.environ.get('NPROC'),
      'python': platform.python_version(),
      'versions': {name: _version(name) for name in _PACKAGES},
  }


def _version(package):
  try:
    return importlib.metadata.version(package)
  except importlib.metadata.PackageNotFoundError:
    return None


def _git(*args):
  here = os.path.dirname(os.path.abspath(__file__))
  try:
    out = subprocess.run(
        ('git', *args), cwd=here, capture_output=True, text=True, check=True
    )
  except (OSError, subprocess.CalledProcessError):
    return None
  return out.stdout.strip()


class Log:
  """log.jsonl: one line per report, without times, so that runs compare."""

  def __init__(self, workdir: str, first_step: int):
    """Keeps the lines up to `first_step`; later ones will be written anew."""
    self._path = os.path.join(workdir, 'log.jsonl')
    self.lines = []
    if os.path.exists(self._path):
      with open(self._path, encoding='utf-8') as f:
        lines = [json.loads(line) for line in f]
      self.lines = [line for line in lines if line['step'] <= first_step]
    self.flush()

  def write(self, step: int, values: dict[str, float]) -> None:
    """Appends a line; the last one, reported again, still stands once."""
    line = {'step': step, **values}
    if line not in self.lines[-1:]:  # A finished run reports its end anew.
      self.lines.append(line)

  def flush(self) -> None:
    """Replaces the file as a whole: before a checkpoint, never after it."""
    with open(self._path + '.tmp', 'w', encoding='utf-8') as f:
      f.writelines(json.dumps(line) + '\n' for line in self.lines)
    os.replace(self._path + '.tmp', self._path)


class Progress:
  """One line on the terminal per report: step, losses, speed, time left."""

  _SHOWN = {
      'strong_loss': 'strong',
      'weak_loss': 'weak',
      'co_reg_loss': 'co-reg',
      'mean_indicator': 'indicator',
  }

  def __init__(self, first_step: int, last_step: int, *, images_per_step: int):
    self._last_step = last_step
    self._images_per_step = images_per_step
    self._seen = (first_step, time.time())

  def print(self, step: int, means: dict[str, float]) -> None:
    steps, now = step - self._seen[0], time.time()
    step_time_s = (now - self._seen[1]) / steps
    self._seen = (step, now)
    left_s = round(step_time_s * (self._last_step - step))
    parts = [
        f'{label} {means[name]:.3f}'
        for name, label in self._SHOWN.items()
        if name in means
    ]
    parts.append(f'{self._images_per_step / step_time_s:.0f} images/s')
    parts.append(f'{left_s // 60}m{left_s % 60:02d}s left')
    self.note(step, '  '.join(parts))

  def note(self, step: int, text: str) -> None:
    width = len(str(self._last_step))
    print(f'step {step:{width}d}/{self._last_step}  {text}', flush=True)
