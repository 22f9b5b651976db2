"""Configures training on your own data, prepared by `data_prep.prepare`.

python -m data_prep.prepare --source=FOLDER --output=data/mine
python -m experiments.train --config=experiments/configs/custom.py \
    --config.input.data_dir=data/mine --workdir=runs/mine

Variants: a method of `common.METHODS` (default dii_dcr), a network of
`common.NETWORKS` (default unet_small), `compare`, `debug`; or several: `a,b`.
"""

from experiments.configs import common


def get_config(variant: str = 'dii_dcr'):
  """Returns the locked config of a variant; the module lists the variants."""
  return common.with_variant(common.get_base('data/mine'), variant)
