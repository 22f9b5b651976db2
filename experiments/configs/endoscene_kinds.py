"""Real polyps with boxes, polygons and points, each used for what it is.

python -m data_prep.prepare --dataset=endoscene --source=FOLDER \
    --weak_kinds=box,polygon,points --image_size=96 \
    --output=data/endoscene_kinds
python -m experiments.train --config=experiments/configs/endoscene_kinds.py \
    --workdir=runs/endoscene_kinds

A box says where no polyp is and how far one reaches, a point labels a few
pixels, a polygon is drawn as it is: `config.supervision.loss_by_kind`. Which
loss suits which kind: experiments/results/loss_by_kind.md. Boxes must stay
upright, so images are not rotated.

Variants: a method of `common.METHODS` (default dii_dcr), a network of
`common.NETWORKS` (default unet_small), `compare`, `debug`; or several: `a,b`.
"""

from experiments.configs import common


def get_config(variant: str = 'dii_dcr'):
  """Returns the locked configuration of `variant`."""
  config = common.get_base('data/endoscene_kinds')
  config.augmentation.rotation_deg = 0.0
  config.supervision.loss_by_kind = dict(
      box=((1.0, 'box'),),
      points=((1.0, 'cross_entropy'), (0.1, 'gated_crf')),
  )
  config.supervision.alignment_loss = 'balanced_cross_entropy'
  return common.with_variant(config, variant)
