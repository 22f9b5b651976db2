"""Configures a table of all methods on ACDC, cardiac MRI with scribbles.

python -m experiments.sweep --config=experiments/configs/tables/acdc.py \
    --source=FOLDER --workdir=runs/table_acdc

The runs are small enough for a CPU: images of 64 x 64 pixels, a small U-Net and
400 steps. After only 200 steps, networks that learn from exact masks alone do
not find the ventricles yet. No faults are planted, since people drew the
scribbles.

Variant: `debug`, whose runs take seconds.
"""

from experiments.configs import acdc
from experiments.configs.tables import common


def get_config(variant: str = 'table'):
  """Returns the locked config of the table; `variant` may be 'debug'."""
  return common.get_table(
      'acdc', acdc.get_config, variant,
      weak_kinds=('scribble',), fault_fractions=(0.0,))
