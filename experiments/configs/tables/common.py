"""Holds the default values of all tables, which compare methods on a set.

Each other file of this folder adapts these values to one set. A table is a grid
of runs: each method is trained with each fraction of strong images, each kind
of weak labels, each fraction of faulty labels, and each seed. All other
settings are in `base` and are the same for all methods.
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
    get_base: the function `get_config` of the set, which returns the config
      that all runs share.
    variant: 'table', or 'debug' for runs that take seconds.
    train_steps: number of steps of each run of 'table'; None uses the number in
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
      # Methods that only this table has, with the values that each changes.
      variants=dict(),
      reference='dii_dcr',  # The method that all others are compared with.
      strong_fractions=(0.1,),  # The shares of images with exact masks.
      # The kinds of weak labels. Each entry is one kind, or several kinds among
      # which the images are divided, such as 'box+polygon'.
      weak_kinds=('box+polygon',),
      # The shares of weak labels that are given a planted fault.
      fault_fractions=(0.3,),
      # The seeds of the networks and of the order of the images. The choice of
      # strong images and the weak labels are the same for all seeds.
      seeds=(0, 1, 2),
      base=base,
  ))
  config.update(changes)
  return config.lock()
