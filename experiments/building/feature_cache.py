"""Computes the features of a network's frozen part once, for augmented views.

A view is an image after one fixed random augmentation. With
`model.cached_copies` = (S, W), a run sees only S views of each strong image and
W views of each weak image. Before the first step, the frozen part of the
network encodes all views that the run will use. The resulting features are kept
as float16: in memory up to `_MAX_IN_MEMORY_BYTES`, otherwise in an unnamed file
in the run's folder, which the system deletes when the process ends. The two
networks share the features. Images that CutMix has mixed are encoded in the
training step.

Which views a step uses depends only on (seed, step), and how a view is
augmented depends only on (seed, view). A resumed run therefore sees the same
views.
"""

from collections.abc import Callable
import functools
import math
import time

from data_prep.shared import progress
from data_prep.shared import scratch
from data_prep.shared import system_errors
from hybridseg import augmentation
from hybridseg import parallel
from hybridseg import types
import jax
import jax.numpy as jnp
import numpy as np

from experiments import binary
from experiments.building import input_pipeline
from experiments.building import pieces

_MAX_IN_MEMORY_BYTES = 4 << 30
_MAX_VIEWS = 2**31 - 1  # Views are numbered in int32.
# This number is folded into the run's random key, so that the augmentation of
# views is independent of the random numbers of the steps.
_OF_VIEWS = 0x76696577


def check(model: pieces.Model) -> None:
  """Checks the numbers of views that `model.cached_copies` allows.

  Raises:
    ValueError: if the numbers are invalid, or no part of the network is frozen.
  """
  found = tuple(model.cached_copies)
  # `True` is an int, but nobody means it as a number.
  if found and (len(found) != 2 or any(
      type(number) is not int or number < 1 for number in found)):
    raise ValueError(
        f'model.cached_copies is {found!s:.40}: use two whole numbers from 1, '
        'of views of each strong and of each weak image, or ().')
  if found and not model.options.get('frozen_until', 0):
    raise ValueError(
        f'model.cached_copies is {found}, but nothing of the network is '
        'frozen: set model.options.frozen_until, or cached_copies=().')


def augment_fn(
    augmenting: pieces.Augmentation,
) -> Callable[[jax.Array, types.Examples], types.Examples]:
  """Returns the function that augments the images of a training step.

  The function takes random keys and examples. If the number of views is
  limited, it ignores these keys and derives one from the number of each view.
  """
  augment = functools.partial(augmentation.augment, options=augmenting.options)
  if not augmenting.copies:
    return augment

  def of_views(keys, examples):
    del keys
    key = jax.random.fold_in(jax.random.key(augmenting.seed), _OF_VIEWS)
    keys = jax.vmap(lambda view: jax.random.fold_in(key, view))(examples.view)
    stored = examples.image
    augmented = augment(keys, examples._replace(image=types.pixels(stored)))
    if not isinstance(stored, types.Encoded):
      return augmented
    # Where only the features are used, the compiler removes the computation of
    # the augmented image.
    return augmented._replace(
        image=types.Encoded(augmented.image, stored.features))

  return of_views


class Views:
  """Training batches whose images are chosen from a limited number of views.

  After a call of `compute`, the batches also hold the features of the views.

  Attributes:
    augmentation: how the images are augmented.
  """

  def __init__(
      self,
      method: pieces.Method,
      dataset: input_pipeline.Dataset,
      batches: input_pipeline.TrainBatches,
  ):
    """Initializes the batches.

    Args:
      method: how the networks learn; its `augmentation.copies` is not ().
      dataset: set of the run.
      batches: batches of the set.

    Raises:
      binary.UserError: if there are more views than numbers in int32.
    """
    strong, weak = method.augmentation.copies
    self._records = {
        role: dataset.splits[f'train_{role}'] for role in ('strong', 'weak')}
    num_views = sum(
        len(records) * copies for records, copies in zip(
            self._records.values(), (strong, weak), strict=True))
    if num_views > _MAX_VIEWS:
      raise binary.UserError(
          f'model.cached_copies is {(strong, weak)!s:.40}, which is more than '
          f'{_MAX_VIEWS} views of the training images: use smaller numbers.')
    self._copies = {'strong': strong, 'weak': weak}
    self._first = {'strong': 0, 'weak': len(self._records['strong']) * strong}
    self.augmentation = method.augmentation
    self._computed = ('strong', 'weak') if method.uses_weak else ('strong',)
    self._batches = batches
    self._used = self._features = None

  def __getitem__(self, step: int) -> types.HybridBatch:
    views, batch = self._views(step), self._batches[step]
    return types.HybridBatch(**{
        role: self._encoded(role, getattr(batch, role), views[role])
        for role in views})

  def _encoded(self, role, examples, views):
    if self._features is not None and role in self._computed:
      slots = np.searchsorted(self._used, views)
      examples = examples._replace(image=types.Encoded(
          examples.image, tuple(x[slots] for x in self._features)))
    return examples._replace(view=views)

  def _views(self, step):
    """Returns the numbers of the views in a step's batch, by role.

    The role is 'strong' or 'weak'; the numbers of each role are int32 [B].
    """
    rng = np.random.default_rng([self.augmentation.seed, step])
    return {
        role: (self._first[role] + rows * self._copies[role] + rng.integers(
            self._copies[role], size=len(rows))).astype(np.int32)
        for role, rows in self._batches.rows(step).items()}

  def compute(
      self,
      encode_fn: Callable[[types.Examples], types.Encoded],
      steps: range,
      *,
      batch_size: int,
      folder: str,
  ) -> str:
    """Computes the features of all views that the given steps will use.

    Args:
      encode_fn: function that maps unaugmented examples, each with the number
        of a view, to the features of these views.
      steps: steps of the run.
      batch_size: number of views to encode at once.
      folder: folder in which the features are kept if they are too large for
        memory.

    Returns:
      A message with the number of views and the size of their features.

    Raises:
      binary.UserError: if the disk has no room for the features.
    """
    start = time.monotonic()
    views = np.unique(np.concatenate([
        self._views(step)[role] for step in steps
        for role in self._computed]))
    self._used = views  # Sorted; the features are in the same order.
    told = progress.Progress(len(views), 'views', what='features: ')
    for done in range(0, len(views), batch_size):
      part = views[done : done + batch_size]
      filled = np.pad(part, (0, batch_size - len(part)), mode='edge')
      found = jax.device_get(encode_fn(self._stored(filled)).features)
      if self._features is None:
        self._features = _make(
            [(len(views), *x.shape[1:]) for x in found], folder)
      for target, x in zip(self._features, found, strict=True):
        target[done : done + len(part)] = x[: len(part)]
      told(done + len(part))
    size = sum(x.nbytes for x in self._features) / 1e6
    where = 'on disk' if isinstance(self._features[0], np.memmap) else (
        'in memory')
    return (f'Features of {len(views)} views of {self._num_images(views)} '
            f'images, {size:.0f} MB {where}, computed in '
            f'{time.monotonic() - start:.0f} s.')

  def _num_images(self, views):
    return len({self._place(view) for view in views.tolist()})

  def _place(self, view):
    """Returns the role of the image of a view, and its row in the table."""
    role = 'weak' if view >= self._first['weak'] else 'strong'
    return role, (view - self._first[role]) // self._copies[role]

  def _stored(self, views):
    """Returns the unaugmented examples that belong to the given views."""
    places = [self._place(view) for view in views.tolist()]
    records = [self._records[role][row] for role, row in places]
    return types.Examples(
        image=np.stack([r['image'] for r in records]),
        label=np.stack([r['label'] for r in records]),
        instance_id=np.full(len(views), -1, np.int32), view=views)


def _make(shapes, folder):
  """Allocates float16 arrays, in memory if they fit, otherwise on disk."""
  size = sum(2 * math.prod(shape) for shape in shapes)
  if size <= _MAX_IN_MEMORY_BYTES:
    return tuple(np.empty(shape, np.float16) for shape in shapes)
  try:
    with system_errors.naming(folder):
      return tuple(scratch.make_array(shape, np.float16, folder)
                   for shape in shapes)
  except OSError as e:
    raise binary.UserError(
        f'--workdir: {size / 1e6:.0f} MB of features: '
        f'{system_errors.in_words(e)}') from e


def prepare(
    batches: input_pipeline.TrainBatches | Views,
    frozen_fn: Callable[[types.Params, jax.Array], types.Encoded] | None,
    params: types.Params,
    steps: range,
    *,
    batch_size: int,
    folder: str,
) -> None:
  """Computes the features of all views that the remaining steps of a run use.

  Args:
    batches: batches of the run; unless they are `Views`, nothing is computed.
    frozen_fn: function that takes parameters and images and returns the
      features of the network's frozen part.
    params: parameters of either network. The frozen part is the same in both.
    steps: the remaining steps.
    batch_size: number of views to encode at once.
    folder: folder of the run.

  Raises:
    binary.UserError: if the disk has no room for the features.
  """
  if not isinstance(batches, Views) or not steps:
    return
  augment = augment_fn(batches.augmentation)

  @jax.jit
  def encode(params, examples):
    found = frozen_fn(params, augment(None, examples).image)
    return found._replace(features=tuple(
        x.astype(jnp.float16) for x in found.features))

  told = batches.compute(
      functools.partial(encode, params), steps, batch_size=batch_size,
      folder=folder)
  if parallel.is_primary():
    print(told, flush=True)
