"""Settings of all tests, which must be made before JAX is first imported.

There are four forced CPU devices. NPROC is at least twice their number: with
fewer threads, collective operations of four devices on two cores wait for a
free thread until they abort.
"""

import gc
from importlib import metadata
import os
import tempfile

NUM_DEVICES = 4
_JAXLIB = [int(n) for n in metadata.version('jaxlib').split('.')[:2]]

os.environ['NPROC'] = str(max(2 * NUM_DEVICES, int(os.getenv('NPROC', '0'))))
os.environ['XLA_FLAGS'] = ' '.join([
    os.getenv('XLA_FLAGS', ''),
    f'--xla_force_host_platform_device_count={NUM_DEVICES}',
    # Most of the time is spent on compiling, and this halves it.
    '--xla_backend_optimization_level=0',
    # Without optimisation, the older emitters take about three fifths of the
    # time of the newer ones. JAX 0.11 has only the newer ones, and ends at a
    # flag that it does not know.
    '--xla_cpu_use_fusion_emitters=false' if _JAXLIB < [0, 11] else '',
]).strip()
os.environ.setdefault('JAX_PLATFORMS', 'cpu')
# Code that relies on implicit broadcasting must fail.
os.environ.setdefault('JAX_NUMPY_RANK_PROMOTION', 'raise')

# The tests of the trainer build the same step many times, so cache compiled
# programs for the session.
_CACHE = tempfile.TemporaryDirectory(prefix='hybridseg_compiled_')
os.environ.setdefault('JAX_COMPILATION_CACHE_DIR', _CACHE.name)

# pylint: disable=wrong-import-position
import jax  # noqa: E402
import pytest  # noqa: E402


@pytest.fixture(autouse=True, scope='module')
def _free_programs():
  """Drops the compiled programs after each test module.

  Each program maps parts of the memory, and a process may have at most 65,530
  maps. Beyond that, the compiler ends with a segmentation fault.
  """
  yield
  jax.clear_caches()
  gc.collect()
