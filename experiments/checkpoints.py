"""Checkpoints of a run: atomic, newest first, and only into the same model."""

import os
from typing import Any

import jax
import orbax.checkpoint as ocp

from experiments import binary


def _structure(state: Any) -> dict[str, list[Any]]:
  """Returns shape and dtype of every array of a state, by its path."""
  leaves = jax.tree_util.tree_leaves_with_path(state)
  return {
      jax.tree_util.keystr(path, simple=True, separator='/'): [
          list(leaf.shape),
          str(leaf.dtype),
      ]
      for path, leaf in leaves
  }


class Checkpoints:
  """The checkpoints of one run folder; Orbax writes them atomically."""

  def __init__(self, workdir: str, *, max_to_keep: int = 2):
    self._folder = os.path.join(os.path.abspath(workdir), 'checkpoints')
    self._manager = ocp.CheckpointManager(
        self._folder,
        options=ocp.CheckpointManagerOptions(max_to_keep=max_to_keep),
        item_names=('state', 'structure'),
    )

  def save(self, step: int, state: Any) -> None:
    """Saves in the background; a step that exists already is left alone."""
    if step in self._manager.all_steps():
      return
    self._manager.save(
        step,
        args=ocp.args.Composite(
            state=ocp.args.StandardSave(state),
            structure=ocp.args.JsonSave(_structure(state)),
        ),
    )

  def restore_latest(self, state: Any) -> Any | None:
    """Returns the newest state, or None if there is none.

    Args:
      state: a state of the run's model and set, arrays or shapes.

    Raises:
      binary.UserError: if the checkpoint is one of another model or set.
    """
    step = self._manager.latest_step()
    if step is None:
      return None
    saved = self._manager.restore(
        step, args=ocp.args.Composite(structure=ocp.args.JsonRestore())
    ).structure
    expected = _structure(state)
    for path in sorted(saved.keys() | expected.keys()):
      if saved.get(path) != expected.get(path):
        raise binary.UserError(
            f'Checkpoint {self._folder}/{step} is of another model or set: '
            f'{path} is {_describe(saved.get(path))} there, '
            f'{_describe(expected.get(path))} here. Use the run\'s own config, '
            'or another workdir.'
        )
    abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, state)
    return self._manager.restore(
        step, args=ocp.args.Composite(state=ocp.args.StandardRestore(abstract))
    ).state

  def close(self) -> None:
    """Waits for the last save."""
    self._manager.wait_until_finished()
    self._manager.close()


def _describe(entry):
  return 'absent' if entry is None else f'{entry[1]}{entry[0]}'
