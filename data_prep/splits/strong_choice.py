"""Chooses the images that keep their exact masks within a budget."""

from collections.abc import Mapping, Sequence, Set
import math
import types
from typing import NamedTuple

import numpy as np

from data_prep import manifest
from data_prep.drawing import annotation_kinds
from data_prep.shared import grammar

MINUTES_PER = types.MappingProxyType(
    {name: kind.minutes for name, kind in annotation_kinds.TABLE.items()}
    | {'none': 0.0})

# Tolerance for comparing minutes, since their sums are not exact.
_TINY = 1e-9


class Budget(NamedTuple):
  """The budget for annotation, either as a fraction or in minutes.

  Attributes:
    fraction: share of the training images that are strong, in (0, 1]; None if
      the budget is in minutes.
    minutes: minutes for annotating all training images, strong and weak; None
      if the budget is a fraction.
    minutes_per: minutes that one image takes, by kind of annotation. The
      defaults are placeholders: measure your own annotators and replace them.
  """

  fraction: float | None = None
  minutes: float | None = None
  minutes_per: Mapping[str, float] = MINUTES_PER


def choose_strong(
    rows: Sequence[manifest.Row],
    *,
    budget: Budget,
    seed: int,
    presence: Mapping[str, Set],
    weak_kind: str | None = None,
) -> set[str]:
  """Draws the training images that keep their exact masks.

  The other training images with exact masks become weak. A budget of minutes
  pays for all training images: t_mask minutes for each strong one, t_weak_kind
  minutes for each image that becomes weak, and, for each image that never had
  an exact mask, the minutes of its own kind of annotation (0 if it is
  unlabelled), in total t_others. The number of strong images is the largest for
  which

    num_strong * t_mask + num_weak * t_weak_kind + t_others <= minutes.

  The images are chosen in this order: as long as the chosen images do not show
  all classes, find the rarest missing class and, of the images that show it,
  choose the one with the most missing classes. Then choose images at random.
  With the same seed, a larger budget therefore keeps all images of a smaller
  one.

  Args:
    rows: rows of a manifest, in any order; rows outside train are ignored.
    budget: share of the training images, or minutes.
    seed: seed of the draw, not negative.
    presence: classes that each image shows, by id; images without an entry show
      none.
    weak_kind: kind of annotation that the other images get; needed only if the
      budget is in minutes.

  Returns:
    The ids of the chosen images, at least one.

  Raises:
    ValueError: if the budget is wrong, is too small for one strong image, or
      asks for more strong images than have an exact mask. The message is one
      line.
  """
  train = [row for row in rows if row.split == 'train']
  number = _num_strong(train, budget, weak_kind)
  exact = sorted(row.id for row in train if manifest.is_exact(row))
  exact = [exact[i] for i in np.random.default_rng([seed, 2]).permutation(
      len(exact))]
  shown = [frozenset(presence.get(i, ())) for i in exact]
  number_of = {c: sum(c in s for s in shown) for c in frozenset().union(*shown)}
  missing = set(number_of)
  first = []
  while missing:
    rarest = min(missing, key=lambda c: (number_of[c], repr(c)))
    first.append(max(
        (i for i, s in enumerate(shown) if rarest in s),
        key=lambda i: len(shown[i] & missing)))
    missing -= shown[first[-1]]
  return {exact[i] for i in [*dict.fromkeys([*first, *range(len(exact))])][
      :number]}


def _num_strong(train, budget, weak_kind):
  """Returns the number of strong images that a budget pays for, at least 1."""
  num_exact = sum(map(manifest.is_exact, train))
  if not num_exact:
    raise ValueError(
        f'None of {grammar.counted(len(train), "train image")} has an exact '
        'mask.')
  if (budget.fraction is None) == (budget.minutes is None):
    raise ValueError('Give either a fraction or minutes as the budget.')
  if budget.fraction is not None:
    if not 0 < budget.fraction <= 1:
      raise ValueError(f'{budget.fraction=} is not in (0, 1].')
    number = max(1, round(budget.fraction * len(train)))
    if number > num_exact:
      raise ValueError(
          f'The budget is {grammar.counted(number, "strong image")}, but only '
          f'{num_exact} of {grammar.counted(len(train), "train image")} '
          f'{grammar.verb(num_exact, "have")} an exact mask.')
    return number
  others = [row.annotation['kind'] for row in train
            if row.annotation is not None and not manifest.is_exact(row)]
  for kind in ('mask', weak_kind, *others):
    if not budget.minutes_per.get(kind, -1) >= 0:
      raise ValueError(
          f'No minutes for {kind=}; known: {", ".join(budget.minutes_per)}.')
  weak = budget.minutes_per[weak_kind]
  # Minutes that an exact mask takes in addition to a weak annotation.
  more = budget.minutes_per['mask'] - weak
  least = num_exact * weak + math.fsum(budget.minutes_per[k] for k in others)
  least += more if more > 0 else num_exact * more
  if not least <= budget.minutes + _TINY:
    raise ValueError(
        f'A strong image and the rest as {weak_kind} take {least:g} minutes, '
        f'but the budget is {budget.minutes:g}.')
  if more <= 0:
    return num_exact
  number = 1 + (budget.minutes - least) / more + _TINY
  return int(min(num_exact, number))
