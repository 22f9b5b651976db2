"""Refuses losses of weak labels that have no meaning in patches of volumes.

A patch shows a part of its volume. A box that the patch cuts need not be
touched by its object on all sides, and a class that a tag names need not be in
the patch; only what a tag leaves out is absent from every patch.
"""

from collections.abc import Mapping, Sequence

from data_prep.shared import grammar
from hybridseg import types

from experiments.building import input_pipeline

_OF_WHOLE_BOXES = ('box', 'projection', 'tightness')
_TAG = 'tag'  # The name of the kind, and of its loss.


def check(
    loss_by_kind: Mapping[str, Sequence[tuple[float, str]]],
    dataset: input_pipeline.Dataset,
) -> list[str]:
  """Returns notices about the weak labels of a set of whole volumes.

  Args:
    loss_by_kind: `supervision.loss_by_kind` of the config.
    dataset: the set.

  Raises:
    ValueError: if a loss has no meaning in the patches of the set.
  """
  loss_by_kind = {name.lower(): x for name, x in loss_by_kind.items()}
  patch = dataset.plan.patch_size
  is_cut = lambda record: any(
      n > m for n, m in zip(record.volume.shape, patch, strict=True))
  tells = lambda record: (record['present'] == 0).any() or (
      not is_cut(record) and (record['present'] == 1).any())
  of_kinds = {}
  for record in dataset.splits['train_weak']:
    name = types.AnnotationKind(int(record['kind'])).name.lower()
    of_kinds.setdefault(name, []).append(record)
  size = ' x '.join(map(str, patch))
  for name, pairs in loss_by_kind.items():
    records = of_kinds.get(name, [])
    for _, loss in pairs:
      if loss in _OF_WHOLE_BOXES and any(map(is_cut, records)):
        raise ValueError(
            f'Loss {loss!r} of kind {name!r} needs whole boxes, and patches of '
            f"{size} voxels cut them: use 'outside', or a plan with larger "
            'patches.')
      if loss in _OF_WHOLE_BOXES and any(
          record.slab is not None for record in records):
        raise ValueError(
            f'Loss {loss!r} of kind {name!r} needs whole boxes, and slabs cut '
            "them: use 'outside', or prepare the set without "
            '--instances=slabs.')
      if loss == _TAG and records and not any(map(tells, records)):
        raise ValueError(
            f'Loss {loss!r} of kind {name!r} learns nothing: a patch of {size} '
            'voxels need not show what a tag names, and no tag leaves out a '
            'class.')
  tags = of_kinds.get(_TAG, [])
  if tags and _TAG not in [loss for _, loss in loss_by_kind.get(_TAG, ())]:
    number = grammar.counted(len(tags), 'volume')
    return [f'{number} with only a tag: no weak loss learns from them'
            + ("; supervision.loss_by_kind={'tag': ((1.0, 'tag'),)} does."
               if any(map(tells, tags)) else '.')]
  return []
