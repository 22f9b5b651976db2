"""Refuses configs and settings with which no run can be trained.

Each refusal is an error message of one line, raised before the run starts.
"""

import math
import os

from hybridseg import parallel
import jax
import ml_collections

from experiments import binary
from experiments.building import pieces
from experiments.configs import versions

# Maps settings of JAX to the values with which runs work. With jit disabled, a
# training step would take minutes.
_SETTINGS = {
    'jax_disable_jit': (False,),
    'jax_transfer_guard': (None, 'allow', 'log', 'log_explicit'),
    'jax_transfer_guard_host_to_device': (
        None, 'allow', 'log', 'log_explicit'),
}
_MOST = 2**31 - 1  # Steps are counted in int32.
# Maps config keys that hold a whole number to its smallest and largest value.
_COUNTS = {
    'seed': (0, _MOST),
    'train_steps': (1, _MOST),
    'log_every_steps': (1, _MOST),
    'eval_every_steps': (1, _MOST),
    'checkpoint_every_steps': (1, _MOST),
    'max_skipped_in_a_row': (1, _MOST),
    'optimizer.warmup_steps': (0, _MOST),
    'weighting.every_steps': (1, _MOST),
    'weighting.start_step': (0, _MOST),
    'co_regularization.ramp_up_steps': (0, _MOST),
    'input.num_workers': (0, 1024),
}
# Maps config keys that hold a real number to its smallest and largest value.
# The number must be finite even if the largest value here is infinite.
_RANGES = {
    'weighting.initial_indicator': (0, 1),
    'weighting.learning_rate': (0, math.inf),
    'co_regularization.scale': (0, math.inf),
    'co_regularization.decay': (0, 1),
    'supervision.strong_scale': (0, math.inf),
    'supervision.weak_scale': (0, math.inf),
    'model.encoder_rate': (0, math.inf),
    'optimizer.weight_decay': (0, math.inf),
}


def check_numbers(config: ml_collections.ConfigDict) -> None:
  """Refuses a config with numbers that no run can use, such as nan.

  Raises:
    binary.UserError: if the config has such a number, or another version than
      this code reads.
  """
  if config.version != versions.VERSION:
    raise binary.UserError(
        f'version is {config.version}: leave it at {versions.VERSION}, which '
        'says how the keys of this config are read.')
  ranges = _COUNTS | _RANGES | {
      f'augmentation.{name}': (0, math.inf)
      for name, value in config.augmentation.items()
      if not isinstance(value, (bool, tuple))}
  if 'foreground_share' in config.input:
    ranges['input.foreground_share'] = (0, 1)
  for name, (least, largest) in ranges.items():
    value = config
    for key in name.split('.'):
      value = value[key]
    if not (least <= value <= largest and math.isfinite(value)):
      raise binary.UserError(
          f'{name} is {value}: use {_wanted(name, value, least, largest)}.')
  for name, wanted in (('learning_rate', 'a positive number'),
                       ('clip_norm', 'a number > 0')):
    value = config.optimizer[name]
    if not 0 < value < math.inf:
      raise binary.UserError(f'optimizer.{name} is {value}: use {wanted}.')
  # Only the warm-up of the learning rate has to end within the run. The other
  # schedules, such as the ramp-up of co-regularization, may last longer.
  warmup, last = config.optimizer.warmup_steps, config.train_steps
  if warmup >= last:
    least = '0' if last == 1 else f'0 to {last - 1}'
    raise binary.UserError(
        f'optimizer.warmup_steps is {warmup}, but train_steps is {last}: use '
        f'{least}, or train longer.')


def _wanted(name, value, least, largest):
  if largest == math.inf:
    return f'a number >= {least}'
  if name in _COUNTS and value < least:
    return f'{least} or more'
  return f'a number from {least} to {largest}'


def check_jax() -> None:
  """Refuses settings of JAX with which no run works.

  Raises:
    binary.UserError: if JAX has such a setting, or finds no device.
  """
  for name, good in _SETTINGS.items():
    value = getattr(jax.config, name, None)
    if value not in good:
      raise binary.UserError(
          f'JAX is set to {name}={value}, under which nothing here can run: '
          f'unset the environment variable {name.upper()}.')
  try:
    jax.devices()
  except (AssertionError, RuntimeError) as e:  # JAX may raise either.
    wanted = os.environ.get('JAX_PLATFORMS', '')
    raise binary.UserError(
        f'JAX finds no device for JAX_PLATFORMS={wanted}: install the jax of '
        'that device, or unset JAX_PLATFORMS to use what is there.') from e


def check_batches(data: pieces.Data, mapping: parallel.Mapping) -> None:
  """Refuses batch sizes that cannot be split evenly over the devices.

  Raises:
    binary.UserError: if a batch size cannot be split.
  """
  for name, num_devices in (
      ('strong_batch_size', mapping.num_devices),
      ('weak_batch_size', mapping.num_devices),
      ('eval_batch_size', mapping.num_local_devices),
  ):
    # CutMix mixes weak images in pairs, so each device needs an even number.
    multiple = num_devices * (2 if name == 'weak_batch_size' else 1)
    size = getattr(data, name)
    if size <= 0 or size % multiple:
      raise binary.UserError(
          f'input.{name} is {size}: with {num_devices} device(s) use a '
          f'positive multiple of {multiple}.')
