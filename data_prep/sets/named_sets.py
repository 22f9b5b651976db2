"""Lists the sets that are known by name.

To add a set, write a module for it and add it to `SETS`. The module has

  IMAGE_SIZE: default height and width of the records;
  LISTING: name of a file by which the folder of the original set is recognized;
    '' if the set is generated;
  KINDS: kinds of weak labels that the set can have; if there are several, the
    user chooses which of them are simulated;
  write(output, *, ...): function that writes the manifest below a folder and
    returns it. Its parameters are those of `named_sets.write` that it needs.

A set of whole volumes is in `WHOLE` instead. Its module has only `LISTING` and
`write(output, *, overwrite, ...)`, which prepares the set in a folder, or only
checks it if the folder is None.
"""

from collections.abc import Sequence
import inspect
import os

from data_prep import manifest
from data_prep.sets import acdc
from data_prep.sets import endoscene
from data_prep.sets import phantom
from data_prep.sets import phantom3d

SETS = {'phantom': phantom, 'endoscene': endoscene, 'acdc': acdc}
WHOLE = {'phantom3d': phantom3d}


def _module(name):
  return (SETS | WHOLE)[name]


def has_use_for(name: str, argument: str) -> bool:
  """Returns whether a named set's own `write` function takes an argument."""
  return argument in inspect.signature(_module(name).write).parameters


def is_generated(name: str) -> bool:
  """Returns whether a named set is generated, and reads no files."""
  return not _module(name).LISTING


def check_source(name: str, source: str | None) -> None:
  """Checks the folder of the original set.

  Args:
    name: name of the set.
    source: value of --source.

  Raises:
    ValueError: if the folder is missing, or not needed, or not that of the set;
      the message is one line.
  """
  listing = _module(name).LISTING
  if not listing:
    if source is not None:
      raise ValueError(f'--source is not for --dataset={name}: remove it')
  elif source is None:
    raise ValueError(f'--dataset={name} needs --source, the folder with '
                     f'{listing}, images and masks')
  elif not os.path.isdir(source):
    raise ValueError(f'--source={source}: no such folder')
  elif not os.path.isfile(os.path.join(source, listing)):
    raise ValueError(f'--source={source}: holds no {listing}; give the folder '
                     f'of {name}')


def default_text(argument: str, values: dict[str, object]) -> str:
  """Returns the end of a flag's help text, which lists the flag's defaults.

  Args:
    argument: argument of `write` that the flag sets. Each named set that uses
      it has its own default.
    values: maps each further use of the flag, such as '--source', to the
      default for that use. The defaults of the named sets are added to this
      dict.
  """
  for name, module in (SETS | WHOLE).items():
    if has_use_for(name, argument):
      value = inspect.signature(module.write).parameters[argument].default
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

  If `kinds`, `strong_fraction` or `fault_fraction` is None, the set's default
  is used.

  Args:
    name: key of the set in `SETS`.
    output: folder of the set, which must exist.
    source: folder of the original set; None for a generated set.
    image_size: height and width of generated pictures.
    seed: seed of all random choices.
    kinds: kinds of the simulated weak labels; each kind gets about the same
      number of images.
    strong_fraction: share of the training images that have exact masks.
    fault_fraction: share of the weak labels that get a planted fault.

  Returns:
    The manifest as written.

  Raises:
    OSError, LookupError, TypeError, ValueError, csv.Error: if the files in
      `source` are not as the module of the set describes them.
  """
  options = dict(
      source=source, image_size=image_size, kinds=kinds, seed=seed,
      strong_fraction=strong_fraction, fault_fraction=fault_fraction)
  return SETS[name].write(
      output, **{k: v for k, v in options.items()
                if v is not None and has_use_for(name, k)})
