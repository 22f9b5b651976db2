"""The methods on cardiac MRI with human scribbles: ACDC.

python -m experiments.sweep --config=experiments/configs/tables/acdc.py \
    --source=FOLDER --workdir=runs/table_acdc

This runs all methods of `configs.common`, small enough for a CPU: 64 pixels, a
small U-Net and 400 steps, because after 200 steps exact masks alone have not
found the ventricles. No fault is planted: the scribbles are as people drew
them. Variant: `debug`.
"""

from experiments.configs import acdc
from experiments.configs.tables import common


def get_config(variant: str = 'table'):
  """Returns the locked table of `variant`."""
  return common.get_table(
      'acdc', acdc.get_config, variant,
      weak_kinds=('scribble',), fault_fractions=(0.0,))
