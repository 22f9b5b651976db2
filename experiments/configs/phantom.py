"""The embedded default: generated images of tissue, without any download.

python -m data_prep.prepare --dataset=phantom --output=data/phantom
python -m experiments.train --config=experiments/configs/phantom.py \
    --workdir=runs/phantom

Variants: a method of `common.METHODS` (default dii_dcr), a network of
`common.NETWORKS` (default unet_small), `compare` for strong-only, uniform
weights and DII + DCR side by side, `debug` for a run of seconds; or several:
`a,b`.
Cost and results: docs/results.md.
"""

from experiments.configs import common


def get_config(variant: str = 'dii_dcr'):
  """Returns the locked configuration of `variant`."""
  return common.with_variant(common.get_base('data/phantom'), variant)
