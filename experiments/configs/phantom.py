"""Configures the generated set `phantom`, which needs no download.

python -m data_prep.prepare --dataset=phantom --output=data/phantom
python -m experiments.train --config=experiments/configs/phantom.py \
    --workdir=runs/phantom

Variants: a method of `common.METHODS` (default dii_dcr), a network of
`common.NETWORKS` (default unet_small), `compare` to train strong_only, uniform
and dii_dcr one after another, `debug` for a run that takes seconds; or several:
`a,b`.
Cost and results: docs/results.md.
"""

from experiments.configs import common


def get_config(variant: str = 'dii_dcr'):
  """Returns the locked config of a variant; the module lists the variants."""
  return common.with_variant(common.get_base('data/phantom'), variant)
