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

from collections.abc import Callable, Mapping, Sequence
import functools
import math
import tempfile
import time

from data_prep.shared import progress
from hybridseg import augmentation
from hybridseg import parallel
from hybridseg import train_step as train_step_lib
from hybridseg import types
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from experiments.building import input_pipeline

_MAX_IN_MEMORY_BYTES = 4 << 30
# This number is folded into the run's random key, so that the augmentation of
# views is independent of the random numbers of the steps.
_OF_VIEWS = 0x76696577


def copies(model: ml_collections.ConfigDict) -> tuple[int, ...]:
  """Returns how many views a config allows per strong and per weak image.

  Args:
    model: model section of the config.

  Returns:
    The two numbers, or () if each step draws new views.

  Raises:
    ValueError: if the numbers are invalid, or no part of the network is frozen.
  """
  found = tuple(model.cached_copies)
  if found and (len(found) != 2 or min(found) < 1):
    raise ValueError(
        f'model.cached_copies is {found}: use two numbers from 1, of views of '
        'each strong and of each weak image, or ().')
  if found and not model.options.get('frozen_until', 0):
    raise ValueError(
        f'model.cached_copies is {found}, but nothing of the network is '
        'frozen: set model.options.frozen_until, or cached_copies=().')
  return found


def augment_fn(
    config: ml_collections.ConfigDict,
) -> Callable[[jax.Array, types.Examples], types.Examples]:
  """Returns the function that augments the images of a training step.

  The function takes random keys and examples. If the number of views is
  limited, it ignores these keys and derives one from the number of each view.
  """
  options = augmentation.AugmentationOptions(**config.augmentation)
  if not copies(config.model):
    return lambda keys, examples: augmentation.augment(
        keys, examples, options=options)

  def of_views(keys, examples):
    del keys
    key = jax.random.fold_in(jax.random.key(config.seed), _OF_VIEWS)
    keys = jax.vmap(lambda view: jax.random.fold_in(key, view))(examples.view)
    stored = examples.image
    augmented = augmentation.augment(
        keys, examples._replace(image=types.pixels(stored)), options=options)
    if not isinstance(stored, types.Encoded):
      return augmented
    # Where only the features are used, the compiler removes the computation of
    # the augmented image.
    return augmented._replace(
        image=types.Encoded(augmented.image, stored.features))

  return of_views


def views(
    config: ml_collections.ConfigDict,
    dataset: input_pipeline.Dataset,
    batches: Sequence[types.HybridBatch],
    rows: Sequence[Mapping[str, np.ndarray]],
) -> Sequence[types.HybridBatch]:
  """Wraps training batches in `Views` if the number of views is limited.

  Args:
    config: config of the run.
    dataset: set of the run.
    batches: batches from `input_pipeline.train_batches`.
    rows: rows from `input_pipeline.train_rows`, with the same arguments.

  Returns:
    A `Views`, or `batches` itself if the number of views is not limited.
  """
  if not copies(config.model):
    return batches
  return Views(config, dataset, batches, rows)


class Views:
  """Training batches whose images are chosen from a limited number of views.

  After a call of `compute`, the batches also hold the features of the views.
  """

  def __init__(
      self,
      config: ml_collections.ConfigDict,
      dataset: input_pipeline.Dataset,
      batches: Sequence[types.HybridBatch],
      rows: Sequence[Mapping[str, np.ndarray]],
  ):
    """Initializes the batches; the arguments are those of `views`."""
    strong, weak = copies(config.model)
    num_strong = len(dataset.splits['train_strong'])
    self._records = {
        'strong': dataset.splits['train_strong'],
        'weak': dataset.splits['train_weak']}
    self._copies = {'strong': strong, 'weak': weak}
    self._first = {'strong': 0, 'weak': num_strong * strong}
    self._seed = config.seed
    uses_weak = config.supervision.weak_scale or config.co_regularization.scale
    self._computed = ('strong', 'weak') if uses_weak else ('strong',)
    self._batches, self._rows = batches, rows
    self._slots = self._features = None

  def __getitem__(self, step: int) -> types.HybridBatch:
    views = self._views(step)
    return types.HybridBatch(**{
        role: self._encoded(
            role, getattr(self._batches[step], role), views[role])
        for role in views})

  def _encoded(self, role, examples, views):
    if self._features is not None and role in self._computed:
      slots = self._slots[views]
      examples = examples._replace(image=types.Encoded(
          examples.image, tuple(x[slots] for x in self._features)))
    return examples._replace(view=views)

  def _views(self, step):
    """Returns the numbers of the views in a step's batch, by role.

    The role is 'strong' or 'weak'; the numbers of each role are int32 [B].
    """
    rng = np.random.default_rng([self._seed, step])
    return {
        role: (self._first[role] + rows * self._copies[role] + rng.integers(
            self._copies[role], size=len(rows))).astype(np.int32)
        for role, rows in self._rows[step].items()}

  def compute(
      self,
      encode_fn: Callable[[types.Examples], types.Encoded],
      *,
      first: int,
      last: int,
      batch_size: int,
      folder: str,
  ) -> str:
    """Computes the features of all views that the given steps will use.

    Args:
      encode_fn: function that takes unaugmented examples, each with the number
        of a view, and returns the features of these views.
      first: first step.
      last: one past the last step.
      batch_size: number of views to encode at once.
      folder: folder in which the features are kept if they are too large for
        memory.

    Returns:
      A message with the number of views and the size of their features.
    """
    start = time.monotonic()
    views = np.unique(np.concatenate([
        self._views(step)[role] for step in range(first, last)
        for role in self._computed]))
    self._slots = np.full(views.max() + 1, -1, np.int64)
    self._slots[views] = np.arange(len(views))
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
    """Returns which image a view shows: the image's role and its row."""
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
  return tuple(
      np.memmap(tempfile.TemporaryFile(dir=folder), np.float16, 'w+',
                shape=shape)
      for shape in shapes)


def prepare(
    batches: Sequence[types.HybridBatch],
    config: ml_collections.ConfigDict,
    frozen_fn: Callable[[types.Params, jax.Array], types.Encoded] | None,
    state: train_step_lib.TrainState,
    *,
    workdir: str,
) -> None:
  """Computes the features of all views that the remaining steps of a run use.

  Args:
    batches: batches of the run; unless they are `Views`, nothing is computed.
    config: config of the run.
    frozen_fn: function that takes parameters and images and returns the
      features of the network's frozen part. That part is the same in both
      networks.
    state: state from which the run starts or resumes.
    workdir: folder of the run.
  """
  first = int(state.step)
  if not isinstance(batches, Views) or first >= config.train_steps:
    return
  augment = augment_fn(config)

  @jax.jit
  def encode(params, examples):
    found = frozen_fn(params, augment(None, examples).image)
    return found._replace(features=tuple(
        x.astype(jnp.float16) for x in found.features))

  told = batches.compute(
      functools.partial(encode, state.params[0]), first=first,
      last=config.train_steps, batch_size=config.input.eval_batch_size,
      folder=workdir)
  if parallel.is_primary():
    print(told, flush=True)
