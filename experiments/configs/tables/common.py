"""The defaults of every table; the file of each set beside this changes them.

A table is a grid of cells: every method at every strong fraction, with every
kind and quality of weak labels, and with every seed. Everything else is in
`base`, which is the same for all methods.
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
    get_base: `get_config` of the set, from which every run starts.
    variant: 'table', or 'debug' for cells that take seconds.
    train_steps: number of steps of a cell of 'table'; None takes the number of
      the set's config.
    **changes: values that replace the defaults below.

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
      # The folder of the original dataset; --source also sets it.
      source='',
      image_size=64,  # The height and width of the records, in pixels.
      # The names of the methods, from `METHODS` and `variants`.
      methods=tuple(common.METHODS),
      # Methods of this table alone: name -> overrides.
      variants=dict(),
      reference='dii_dcr',  # The method that all others are compared with.
      strong_fractions=(0.1,),  # The shares of images with exact masks.
      # The kinds of weak labels. Each entry is one kind, or several kinds that
      # share the images, such as 'box+polygon'.
      weak_kinds=('box+polygon',),
      fault_fractions=(0.3,),  # The shares of weak labels that are made faulty.
      # The seeds of the networks and of the order of the images; the sets do
      # not depend on them.
      seeds=(0, 1, 2),
      base=base,
  ))
  config.update(changes)
  return config.lock()
