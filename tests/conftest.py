"""Settings of every test, made before JAX is first imported.

Four forced CPU devices; NPROC at twice their number, or collectives of four
devices on two cores wait for a free thread until they abort.
"""

import gc
import os
import tempfile

NUM_DEVICES = 4

os.environ['NPROC'] = str(max(2 * NUM_DEVICES, int(os.getenv('NPROC', '0'))))
os.environ['XLA_FLAGS'] = ' '.join([
    os.getenv('XLA_FLAGS', ''),
    f'--xla_force_host_platform_device_count={NUM_DEVICES}',
    # Most of the time goes into compiling; this halves it.
    '--xla_backend_optimization_level=0',
]).strip()
os.environ.setdefault('JAX_PLATFORMS', 'cpu')
# A forgotten axis must fail, not broadcast.
os.environ.setdefault('JAX_NUMPY_RANK_PROMOTION', 'raise')

# Trainer tests build the same step again and again: compile it once a session.
_CACHE = tempfile.TemporaryDirectory(prefix='hybridseg_compiled_')
os.environ.setdefault('JAX_COMPILATION_CACHE_DIR', _CACHE.name)

# pylint: disable=wrong-import-position
import jax  # noqa: E402
import pytest  # noqa: E402


@pytest.fixture(autouse=True, scope='module')
def _free_programs():
  """Drops the compiled programs of each module.

  Each maps pieces of memory, and a process may have 65,530 of them: beyond, the
  compiler ends it with a segmentation fault.
  """
  yield
  jax.clear_caches()
  gc.collect()
