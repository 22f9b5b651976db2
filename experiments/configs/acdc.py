"""Configures ACDC, cardiac MRI with scribbles that people have drawn.

python -m data_prep.prepare --dataset=acdc --source=FOLDER \
    --image_size=96 --output=data/acdc
python -m experiments.train --config=experiments/configs/acdc.py \
    --workdir=runs/acdc

There are four classes. The images of 10 % of the training patients have exact
masks. All other training images have scribbles, which label about 1 % of the
pixels. Their loss is therefore a cross entropy over the labelled pixels; a Dice
loss would also score pixels that nobody labelled.

Variants: a method of `common.METHODS` (default dii_dcr), a network of
`common.NETWORKS` (default unet_small), `compare`, `debug`; or several: `a,b`.
Cost and results: docs/results.md.
"""

from experiments.configs import common


def get_config(variant: str = 'dii_dcr'):
  """Returns the locked config of a variant; the module lists the variants."""
  config = common.get_base('data/acdc')
  config.supervision.weak_loss = 'cross_entropy'
  config.supervision.alignment_loss = 'balanced_cross_entropy'
  return common.with_variant(config, variant)
