"""Configures training on your own whole volumes.

python -m data_prep.prepare --volumes --source=FOLDER --output=data/volumes
python -m experiments.train --config=experiments/configs/volumes.py \
    --config.input.data_dir=data/volumes --workdir=runs/volumes

Variants: a method of `common.METHODS` (default dii_dcr), `compare`, `debug`; or
several: `a,b`. Batch sizes of 0, and options of the network that are (), are
those of plan.json.
"""

import ml_collections

from experiments.configs import common


def get_base(data_dir: str) -> ml_collections.ConfigDict:
  """Returns the default config for whole volumes, not yet locked.

  Args:
    data_dir: folder of the prepared set.
  """
  config = common.get_base(data_dir)
  config.input.update(
      strong_batch_size=0, weak_batch_size=0, eval_batch_size=0, num_workers=2)
  # The share of the patches that are drawn around a labelled voxel of an
  # object; the others are drawn uniformly. This is nnU-Net's share.
  config.input.foreground_share = 1 / 3
  # See `volume_augmentation.VolumeAugmentationOptions`. Mirroring exchanges
  # left and right: if they are different classes, the first value is False.
  config.augmentation = ml_collections.ConfigDict(dict(
      flip=(True, True, True),
      rotation_deg=20.0,
      log2_scale=0.25,
      shift=0.05,
      # In MR, a standard deviation of the body is 1/15 of the range.
      brightness=0.03,
      contrast=0.2,
      log2_gamma=0.3,
      noise=0.01,
      blur=0.0,
      log2_low_resolution=0.0,
  ))
  config.model.options = ml_collections.ConfigDict(dict(
      features=(), strides=(), kernels=(), dtype='float32',
      # Whether the coarser levels of the decoder learn, too, as in nnU-Net.
      deep_supervision=False))
  return config


def with_variant(
    config: ml_collections.ConfigDict, variant: str
) -> ml_collections.ConfigDict:
  """Applies variants as `common.with_variant` does, and locks the config."""
  sizes = config.input.copy_and_resolve_references()
  config = common.with_variant(config, variant)
  with config.unlocked():  # `debug` sets batch sizes of pictures.
    for name in ('strong_batch_size', 'weak_batch_size', 'eval_batch_size'):
      config.input[name] = sizes[name]
  return config


def get_config(variant: str = 'dii_dcr'):
  """Returns the locked config of a variant; the module lists the variants."""
  return with_variant(get_base('data/volumes'), variant)
