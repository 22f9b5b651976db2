"""Configures a table of all methods on the generated set `phantom`.

python -m experiments.sweep --config=experiments/configs/tables/phantom.py \
    --workdir=runs/table_phantom

Variant: `debug`, whose runs take seconds.
"""

from experiments.configs import phantom
from experiments.configs.tables import common


def get_config(variant: str = 'table'):
  """Returns the locked config of the table; `variant` may be 'debug'."""
  return common.get_table(
      'phantom', phantom.get_config, variant, weak_kinds=('polygon',))
