"""Keeps paths that are read from a file inside the folder they belong to.

Ids and paths are read from files, which may come from anybody. Code that builds
a path from them must check the path with this module before it opens it.
"""

import os
import pathlib

from data_prep.shared import pixels

FIX = 'rename it: no "." or ".." between slashes, and no slash at either end'


def is_name(name: str) -> bool:
  """Returns whether a name, used as a path below a folder, stays below it.

  The result is False for an absolute name. It is also False for a name with a
  part that is empty, '.' or '..', since two such names could lead to the same
  file. Links are checked by `inside`.

  Args:
    name: an id, or a path below some folder, with slashes.
  """
  return '\0' not in name and not {'', '.', '..'} & set(name.split('/'))


def leads_out(root: pathlib.Path, name: str) -> bool:
  """Returns whether a relative path leaves its root, by '..' or by a link.

  Args:
    root: folder that the path is relative to.
    name: the path. An absolute path was given on purpose, so the result is
      False.
  """
  if os.path.isabs(name):
    return False
  real_root = os.path.realpath(root)
  real = os.path.realpath(os.path.join(root, name))
  return os.path.commonpath([real, real_root]) != real_root


def inside(root: pathlib.Path, name: str) -> pathlib.Path:
  """Returns the path of `name` below `root`, or refuses it if it leads out.

  Args:
    root: a folder.
    name: path below it, with slashes; it need not exist.

  Raises:
    pixels.WrongFile: if the path is absolute, contains '..' or similar parts
      (see `is_name`), or leads out of the folder by a link.
  """
  if not is_name(name):
    raise pixels.WrongFile(
        'a name would lead out of its folder', repr(pixels.tail(name)), FIX)
  if leads_out(root, name):
    raise pixels.WrongFile(
        'a link would lead out of its folder', repr(pixels.tail(name)),
        'remove the link')
  return root / name


def new_file(root: pathlib.Path, name: str) -> pathlib.Path:
  """Returns a path to write below `root`, where no file exists yet.

  Missing folders above the file are made. An existing file is never
  overwritten: it may be a hard link to one of the user's pictures.

  Args:
    root: a folder that is being filled.
    name: path below it, with slashes.

  Raises:
    pixels.WrongFile: if the path leads out of the folder, or already exists.
    OSError: if a folder cannot be made.
  """
  path = inside(root, name)
  if os.path.lexists(path):
    raise pixels.WrongFile(
        'two things would be written as one file', repr(pixels.tail(name)),
        'give each image its own id')
  path.parent.mkdir(parents=True, exist_ok=True)
  return path
