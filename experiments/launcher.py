"""Fixes settings before JAX is imported, so that a run can be repeated exactly.

The number of threads (environment variable NPROC, else the visible cores) and
the width of the vector instructions decide in which order XLA adds numbers on a
CPU, and thus the last bits of a result. The folder of a run therefore records
both, and a session that resumes or reproduces the run uses the same ones.
"""

from collections.abc import Sequence
import ctypes
import json
import os
import platform
import re
import signal
import sys

# Sets of vector instructions, from weakest to strongest: the name that XLA uses
# for each, and the name in /proc/cpuinfo.
_ISAS = {'SSE4_2': 'sse4_2', 'AVX': 'avx', 'AVX2': 'avx2', 'AVX512': 'avx512f'}
_M_ARENA_MAX, _NUM_ARENAS = -8, 2  # Arguments of mallopt; see malloc.h.
_FORCED = re.compile(r'--xla_force_host_platform_device_count=(\d+)')
_MAX_ISA = re.compile(r'--xla_cpu_max_isa=(\w+)')


def cpu_isa() -> str:
  """Returns the widest vector instructions that XLA may use here, or ''."""
  try:
    with open('/proc/cpuinfo', encoding='utf-8') as f:
      flags = set(next(line for line in f if line.startswith('flags')).split())
  except (OSError, StopIteration):
    return ''  # This is not Linux on x86.
  here = [isa for isa, flag in _ISAS.items() if flag in flags]
  capped = _MAX_ISA.search(os.environ.get('XLA_FLAGS', ''))
  if capped and capped[1] in here:
    return capped[1]
  return here[-1] if here else ''


def prepare(argv: Sequence[str]) -> None:
  """Prepares the process for training; call it before JAX is imported.

  Args:
    argv: command line of the process.
  """
  exit_on_sigterm()
  limit_arenas()
  pin_numerics(argv)


def limit_arenas() -> None:
  """Keeps the memory of a long run from growing, where the C library is glibc.

  By default, glibc may give each of the many short-lived threads its own pool
  of memory (an arena). Memory that is freed in one arena cannot be used by
  threads of another, so that the process would grow.
  """
  if platform.libc_ver()[0] == 'glibc':
    ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _NUM_ARENAS)


def exit_on_sigterm() -> None:
  """Makes SIGTERM end the process with exit code 0.

  This holds until training installs its own handler, which saves the run.
  Nothing is lost until then, since there is nothing to save yet.
  """
  signal.signal(signal.SIGTERM, lambda *_: os._exit(0))


def pin_numerics(argv: Sequence[str]) -> None:
  """Sets NPROC and XLA_FLAGS to those of the run that is continued or repeated.

  A new run gets NPROC from the environment, or else from the number of cores.

  Args:
    argv: command line of the process; --reproduce and --workdir name the run.
  """
  saved = _saved(_flag(argv, 'reproduce')) or _saved(_flag(argv, 'workdir'))
  forced = _FORCED.search(os.environ.get('XLA_FLAGS', ''))
  # If XLA_FLAGS split the CPU into several devices, XLA needs two threads for
  # each of them: with fewer, operations across devices wait forever.
  needed = max(os.cpu_count() or 1, 2 * int(forced[1]) if forced else 1)
  nproc = saved.get('nproc') or os.environ.get('NPROC') or str(needed)
  if os.environ.get('NPROC', nproc) != nproc:
    _say(f'NPROC is {os.environ["NPROC"]} here but was {nproc} in the run: '
         f'using {nproc}.')
  os.environ['NPROC'] = nproc
  isa, here = saved.get('cpu_isa'), cpu_isa()
  if isa and here and isa != here:
    if list(_ISAS).index(isa) < list(_ISAS).index(here):
      flags = _MAX_ISA.sub('', os.environ.get('XLA_FLAGS', ''))
      os.environ['XLA_FLAGS'] = f'{flags} --xla_cpu_max_isa={isa}'.strip()
    else:
      _say(f'the run used {isa}, which this processor lacks: the last bits '
           'will differ.')


def _say(text):
  print(f'Note: {text}', file=sys.stderr)


def _flag(argv, name):
  """Returns the value of --name=VALUE or --name VALUE in `argv`, or None."""
  for i, arg in enumerate(argv):
    text = arg.lstrip('-')
    if arg.startswith('-') and text.startswith(f'{name}='):
      return text.split('=', 1)[1]
    if arg.startswith('-') and text == name and i + 1 < len(argv):
      return argv[i + 1]
  return None


def _saved(run_dir):
  """Returns the `nproc` and `cpu_isa` that the first session of a run recorded.

  Invalid values are left out without a message: the run is refused later, when
  its folder is opened.
  """
  try:
    with open(os.path.join(run_dir or '', 'run.json'), encoding='utf-8') as f:
      session = json.load(f)['sessions'][0]
    nproc, isa = session.get('nproc'), session.get('cpu_isa')
  except (OSError, ValueError, AttributeError, LookupError, RecursionError,
          TypeError):
    return {}
  found = {}
  if isinstance(nproc, str) and re.fullmatch('[1-9][0-9]{0,3}', nproc):
    found['nproc'] = nproc
  if isinstance(isa, str) and isa in _ISAS:
    found['cpu_isa'] = isa
  return found
