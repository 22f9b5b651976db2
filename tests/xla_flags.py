"""The flags of XLA with which the tests start other processes."""

import os


def with_devices(number: int | None) -> str:
  """Returns XLA_FLAGS of this process, but for the number of devices.

  Args:
    number: how many CPU devices to force; None forces none, as for most users.
  """
  flags = [flag for flag in os.getenv('XLA_FLAGS', '').split()
           if 'device_count' not in flag]
  if number is not None:
    flags.append(f'--xla_force_host_platform_device_count={number}')
  return ' '.join(flags)
