"""Configures the generated volumes `phantom3d`, which need no download.

python -m data_prep.prepare --dataset=phantom3d --output=data/phantom3d
python -m experiments.train --config=experiments/configs/phantom3d.py \
    --workdir=runs/phantom3d

Variants: as in `configs.volumes`.
"""

from experiments.configs import volumes


def get_config(variant: str = 'dii_dcr'):
  """Returns the locked config of a variant; the module lists the variants."""
  config = volumes.get_base('data/phantom3d')
  config.update(dict(
      train_steps=150, log_every_steps=10, eval_every_steps=75,
      checkpoint_every_steps=75,
      input=dict(strong_batch_size=2, weak_batch_size=2, eval_batch_size=2),
      model=dict(options=dict(features=(8, 16))),
      optimizer=dict(warmup_steps=15),
      co_regularization=dict(ramp_up_steps=50)))
  return volumes.with_variant(config, variant)
