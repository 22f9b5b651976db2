"""Checks that the values of a batch are valid before networks learn from them.

The training step refuses arrays of a wrong dtype while it is traced. The values
are not known at that time, so they are checked here, on the host, where the
batch is made.
"""

import jax.numpy as jnp
import numpy as np

from hybridseg import masking
from hybridseg import types


def check_batch(
    batch: types.HybridBatch, *, num_classes: int, num_weak: int
) -> None:
  """Refuses a batch with values that a training step would misinterpret.

  Call it on the host, before the batch is copied to a device.

  Args:
    batch: the batch, of NumPy arrays.
    num_classes: number of classes K.
    num_weak: number of weak instances N of the set.

  Raises:
    ValueError: if an image, a label map, a kind, a tag or an instance id holds
      a value outside its range, or if an instance id occurs twice. The message
      names the part of the batch, the value and the valid range.
  """
  for part, examples in (('strong', batch.strong), ('weak', batch.weak)):
    _check_examples(part, examples, num_classes)
  ids = np.asarray(batch.weak.instance_id)
  _check_values('weak.instance_id', ids, 0, num_weak - 1, but=(-1,))
  known = ids[ids >= 0]
  if len(set(known.tolist())) < len(known):
    raise ValueError(
        f'weak.instance_id holds an instance twice: {ids.tolist()}.')


def _check_examples(part, examples, num_classes):
  """Checks the fields that both strong and weak examples have."""
  image = np.asarray(examples.image)
  if jnp.issubdtype(image.dtype, jnp.floating):
    _check_values(f'{part}.image', image, 0, 1)
  elif image.dtype != np.uint8:
    raise ValueError(
        f'{part}.image is {image.dtype}: make it uint8, or float in [0, 1].')
  unlabelled = (types.UNLABELLED,)
  label = np.asarray(examples.label)
  masking.check_label_map(label, name=f'{part}.label')
  _check_values(f'{part}.label', label, 0, num_classes - 1, but=unlabelled)
  if examples.kind is not None:
    _check_values(
        f'{part}.kind', np.asarray(examples.kind), 0,
        max(types.AnnotationKind))
  if examples.present is not None:
    _check_values(
        f'{part}.present', np.asarray(examples.present), 0, 1, but=unlabelled)


def _check_values(name, values, low, high, but=()):
  is_good = ((values >= low) & (values <= high)) | np.isin(values, but)
  if not is_good.all():
    also = ''.join(f' or {x}' for x in but)
    raise ValueError(
        f'{name} holds {values[~is_good][0]}: want {low} to {high}{also}.')
