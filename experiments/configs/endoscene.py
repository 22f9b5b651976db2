"""Configures CVC-EndoSceneStill, real colonoscopy images with polyps.

The split is the published one. Only 10 % of the training images are used with
their exact masks.

python -m data_prep.prepare --dataset=endoscene --source=FOLDER \
    --image_size=96 --output=data/endoscene
python -m experiments.train --config=experiments/configs/endoscene.py \
    --workdir=runs/endoscene

Variants: a method of `common.METHODS` (default dii_dcr), a network of
`common.NETWORKS` (default unet_small), `compare`, `debug`; or several: `a,b`.
Cost and results: docs/results.md.
"""

from experiments.configs import common


def get_config(variant: str = 'dii_dcr'):
  """Returns the locked config of a variant; the module lists the variants."""
  config = common.get_base('data/endoscene')
  return common.with_variant(config, variant)
