"""The methods on real polyps: CVC-EndoSceneStill, published split.

python -m experiments.sweep --config=experiments/configs/tables/endoscene.py \
    --source=FOLDER --workdir=runs/table_endoscene

This runs all methods of `configs.common`, small enough for a CPU: 64 pixels, a
small U-Net and 200 steps. Variant: `debug`.
"""

from experiments.configs import endoscene
from experiments.configs.tables import common


def get_config(variant: str = 'table'):
  """Returns the locked table of `variant`."""
  return common.get_table(
      'endoscene', endoscene.get_config, variant, train_steps=200)
