"""What every table has; a file per set beside this says what differs.

A table is a grid of cells: every method at every strong fraction, with every
kind and quality of weak labels, and with every seed. All else is `base`, the
same for all methods.
"""

from collections.abc import Callable

import ml_collections

from experiments.configs import common


def get_table(
    dataset: str,
    get_base: Callable[[str], ml_collections.ConfigDict],
    variant: str,
    *,
    train_steps: int | None = None,
    **changes,
) -> ml_collections.ConfigDict:
  """Returns the locked configuration of a table.

  Args:
    dataset: a key of `named_sets.SETS`.
    get_base: `get_config` of the set, which every run starts from.
    variant: 'table', or 'debug' for seconds per cell.
    train_steps: budget of a cell of 'table'; None is that of the set.
    **changes: of what is below.

  Raises:
    ValueError: if there is no such variant.
  """
  if variant not in ('table', 'debug'):
    raise ValueError(f'Unknown variant {variant!r}; known: debug.')
  base = get_base('debug' if variant == 'debug' else 'dii_dcr')
  base = base.copy_and_resolve_references().unlock()
  if train_steps is not None and variant == 'table':
    base.train_steps = train_steps
  config = ml_collections.ConfigDict(dict(
      dataset=dataset,
      source='',  # Folder of the original set; --source also sets it.
      image_size=64,  # Of the records, in pixels.
      methods=tuple(common.METHODS),  # Of `METHODS` and `variants`.
      variants=dict(),  # Methods of this table alone: name -> overrides.
      reference='dii_dcr',  # Each other method is compared with it.
      strong_fractions=(0.1,),  # Shares of exact masks.
      # A kind of the weak labels, or several that share them: 'box+polygon'.
      weak_kinds=('box+polygon',),
      fault_fractions=(0.3,),  # Shares of weak labels made faulty.
      seeds=(0, 1, 2),  # Of the networks and the order, not of the sets.
      base=base,
  ))
  config.update(changes)
  return config.lock()
