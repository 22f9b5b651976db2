"""Records settings outside the config that affect the numbers of a run.

These settings, called switches, belong to JAX and to drivers. Each session
records their values when it starts. If another session does not reproduce the
numbers, `differences` names the switches that may be the cause.
"""

from collections.abc import Mapping
import os
import sys

import jax

# Names in `jax.config`. Each can also be set by an environment variable, whose
# name is the same in capitals.
# Switches that choose the devices are left out, because a session records its
# devices themselves.
JAX = (
    'jax_allow_f16_reductions',
    'jax_bcoo_cusparse_lowering',
    'jax_compiler_enable_remat_pass',
    'jax_cpu_collectives_implementation',
    'jax_custom_vjp3',
    'jax_default_device',
    'jax_default_matmul_precision',
    'jax_default_prng_impl',
    'jax_disable_jit',
    'jax_disable_most_optimizations',
    'jax_enable_custom_prng',
    'jax_enable_pgle',
    'jax_enable_x64',
    'jax_exec_time_optimization_effort',
    'jax_explicit_x64_dtypes',
    'jax_high_dynamic_range_gumbel',
    'jax_memory_fitting_effort',
    'jax_memory_fitting_level',
    'jax_numpy_dtype_promotion',
    'jax_optimization_level',
    'jax_pallas_use_mosaic_gpu',
    'jax_ragged_dot_use_gpu_pallas_triton_lowering',
    'jax_ragged_dot_use_ragged_dot_instruction',
    'jax_random_seed_offset',
    'jax_remat3',
    'jax_scan3',
    'jax_softmax_custom_jvp',
    'jax_threefry_gpu_kernel_lowering',
    'jax_threefry_partitionable',
    'jax_use_direct_linearize',
    'jax_use_magma',
    'jax_use_shardy_partitioner',
)
# Variables that XLA and the libraries below it read, except for XLA_FLAGS,
# which is recorded separately.
ENVIRONMENT = (
    'CUBLAS_WORKSPACE_CONFIG',
    'LIBTPU_INIT_ARGS',
    'NVIDIA_TF32_OVERRIDE',
    'TF_CUDNN_DETERMINISTIC',
    'TF_CUDNN_USE_AUTOTUNE',
    'TF_CUDNN_USE_FRONTEND',
    'TF_DETERMINISTIC_OPS',
    'TF_XLA_FLAGS',
)


def read() -> dict[str, str]:
  """Returns the values of the switches of JAX and of the environment variables.

  Switches that this version of JAX does not have are left out. All values are
  strings; a variable that is not set has the value ''.
  """
  found = {
      name: _text(getattr(jax.config, name))
      for name in JAX if hasattr(jax.config, name)}
  return found | {name: os.environ.get(name, '') for name in ENVIRONMENT}


def differences(
    there: Mapping[str, str] | None, here: Mapping[str, str] | None
) -> list[str]:
  """Returns one line for each switch in which two sessions differ.

  If only one session's version of JAX has a switch, it is not compared, because
  the two versions are reported as different anyway.

  Args:
    there: switches of another session; None if it did not record them.
    here: switches of this session.
  """
  if there is None or here is None:
    if there is here:
      return []
    return ['switches: not recorded '
            f'{"there" if there is None else "here"}, by an older version']
  return [
      f'{name}: {there[name]!r} there, {here[name]!r} here'
      for name in sorted(there.keys() & here.keys())
      if there[name] != here[name]]


def warn_of_changes(
    before: Mapping[str, str] | None, here: Mapping[str, str]
) -> None:
  """Prints a notice if switches have changed since the last session of a run.

  Args:
    before: switches of that session; None if it did not record them.
    here: switches of this session.
  """
  found = [] if before is None else differences(before, here)
  if found:
    more = f' (and {len(found) - 1} more)' if found[1:] else ''
    print('notice: numbers may differ from the last session of this run, which '
          f'had another setting: {found[0]}{more}', file=sys.stderr)


def _text(value):
  return str(getattr(value, 'value', value))  # The value may be an enum member.
