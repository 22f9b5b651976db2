"""Configures CVC-EndoSceneStill with three kinds of weak annotations.

Boxes, polygons and points each have a loss of their own.

python -m data_prep.prepare --dataset=endoscene --source=FOLDER \
    --weak_kinds=box,polygon,points --image_size=96 \
    --output=data/endoscene_kinds
python -m experiments.train --config=experiments/configs/endoscene_kinds.py \
    --workdir=runs/endoscene_kinds

A box shows where there is no polyp and how far a polyp extends, points label a
few pixels, and a polygon is learnt like a mask. These losses are set in
`config.supervision.loss_by_kind`; experiments/results/loss_by_kind.md compares
alternatives. The loss of boxes needs upright boxes, so images are not rotated.

Variants: a method of `common.METHODS` (default dii_dcr), a network of
`common.NETWORKS` (default unet_small), `compare`, `debug`; or several: `a,b`.
"""

from experiments.configs import common


def get_config(variant: str = 'dii_dcr'):
  """Returns the locked config of a variant; the module lists the variants."""
  config = common.get_base('data/endoscene_kinds')
  config.augmentation.rotation_deg = 0.0
  config.supervision.loss_by_kind = dict(
      box=((1.0, 'box'),),
      points=((1.0, 'cross_entropy'), (0.1, 'gated_crf')),
  )
  config.supervision.alignment_loss = 'balanced_cross_entropy'
  return common.with_variant(config, variant)
