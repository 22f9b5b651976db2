"""Configures a table of all methods on CVC-EndoSceneStill, real polyps.

python -m experiments.sweep --config=experiments/configs/tables/endoscene.py \
    --source=FOLDER --workdir=runs/table_endoscene

The split is the published one. The runs are small enough for a CPU: images of
64 x 64 pixels, a small U-Net and 200 steps.

Variant: `debug`, whose runs take seconds.
"""

from experiments.configs import endoscene
from experiments.configs.tables import common


def get_config(variant: str = 'table'):
  """Returns the locked config of the table; `variant` may be 'debug'."""
  return common.get_table(
      'endoscene', endoscene.get_config, variant, train_steps=200)
