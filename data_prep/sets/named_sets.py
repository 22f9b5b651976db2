"""Lists the sets known by name; a new one is a module and one line here.

Such a module has

  IMAGE_SIZE: default height and width of its records;
  LISTING: file that identifies the folder of the original, '' without one;
  KINDS: kinds of its weak labels; if there are several, they are simulated on
  request;
  write(output, *, ...): writes the manifest below a folder and returns it. Its
  parameters are those arguments of `named_sets.write` that it uses.
"""

from collections.abc import Sequence
import inspect
import os

from data_prep import manifest
from data_prep.sets import acdc
from data_prep.sets import endoscene
from data_prep.sets import phantom

SETS = {'phantom': phantom, 'endoscene': endoscene, 'acdc': acdc}


def has_use_for(name: str, argument: str) -> bool:
  """Returns whether a set uses an argument of `write`."""
  return argument in inspect.signature(SETS[name].write).parameters


def default_text(argument: str, values: dict[str, object]) -> str:
  """Returns the default of a flag in each use, as the end of its help.

  Args:
    argument: an argument of `write`; each set that uses it has its own default.
    values: the defaults in other uses, by use, as text.
  """
  for name in SETS:
    if has_use_for(name, argument):
      value = inspect.signature(SETS[name].write).parameters[argument].default
      if isinstance(value, (list, tuple)):
        value = ','.join(value)
      values[f'--dataset={name}'] = value
  return 'Default: ' + '; '.join(
      f'{value} with {use}' for use, value in values.items()) + '.'


def write(
    name: str,
    output: str | os.PathLike[str],
    *,
    source: str | os.PathLike[str] | None,
    image_size: int,
    seed: int,
    kinds: Sequence[str] | None = None,
    strong_fraction: float | None = None,
    fault_fraction: float | None = None,
) -> manifest.Manifest:
  """Writes manifest.jsonl and the generated files of a set below `output`.

  Args:
    name: a key of `SETS`.
    output: folder that exists.
    source: folder of the original; None for a generated set.
    image_size: height and width of generated pictures.
    seed: seed of every draw.
    kinds: kinds of simulated weak labels, which share them evenly; None, also
      below, takes the default of the set.
    strong_fraction: share of the training images with exact masks, or None.
    fault_fraction: share of the weak labels that get a planted fault, or None.

  Returns:
    The manifest as written.

  Raises:
    OSError, LookupError, TypeError, ValueError, csv.Error: if the files are not
    as the module of the set describes them.
  """
  options = dict(
      source=source, image_size=image_size, kinds=kinds, seed=seed,
      strong_fraction=strong_fraction, fault_fraction=fault_fraction)
  return SETS[name].write(
      output, **{k: v for k, v in options.items()
                if v is not None and has_use_for(name, k)})
