"""Finds the picture that a mask belongs to, by the mask's name and folders."""

import collections
import re
from typing import NamedTuple

from data_prep.formats import folder_names
from data_prep.formats import parts as parts_lib
from data_prep.formats import sources


class Places(NamedTuple):
  """Decides which folders hold masks.

  Attributes:
    chosen: folders or endings of masks that the user chooses, in lower case.
    outer: folders that all files lie in, and that thus do not distinguish them.
  """

  chosen: frozenset[str]
  outer: frozenset[str]

  def hold_masks(self, folder: str) -> bool:
    """Returns whether a folder holds masks, by its name or as chosen."""
    return folder.lower() in self.chosen or (
        folder not in self.outer and folder_names.is_mask_folder(folder))


class Index:
  """The pictures of a source, indexed by their names.

  Attributes:
    images: set of the paths of all pictures.
    only: paths of masks that were paired with the only picture of a folder,
      since their names match no picture.
  """

  def __init__(self, images, channels, places, suffix):
    self.images = set(images)
    self.only = []
    self._places = places
    self._by_name = collections.defaultdict(list)
    self._below = collections.defaultdict(list)
    kept = {p: self._kept(p) for p in images}
    shared = 0
    if len(images) > 1:
      for level in zip(*kept.values(), strict=False):
        if len(set(level)) > 1:
          break
        shared += 1
    self._shared = set(next(iter(kept.values()), ())[:shared])
    self._folders = {p: k[shared:] for p, k in kept.items()}
    self._by_start = collections.defaultdict(list)
    self._numbered = set()  # Names that end in a number, without that number.
    for path in images:
      name = sources.stem(path).rsplit('/', 1)[-1]
      aliases = folder_names.picture_aliases(name)
      if path in channels:
        aliases.append(name[:-len('_0000')])
      if suffix and name.endswith(suffix):
        aliases.append(name[:-len(suffix)].rstrip('_-'))
      folder = path.rpartition('/')[0]
      for before, _ in folder_names.cuts(name, '_-'):
        self._by_start[folder, before].append(path)
      start = name.rstrip('0123456789')
      if start != name:
        self._numbered.add(start)
      for rank, alias in enumerate(aliases):
        self._by_name[alias].append((rank > 0, path))
      parts = path.split('/')
      for i in range(len(parts)):
        if len(self._below['/'.join(parts[:i])]) < 2:
          self._below['/'.join(parts[:i])].append(path)

  def _kept(self, path):
    return tuple(
        f for f in path.split('/')[:-1]
        if not self._places.hold_masks(f)
        and not folder_names.is_image_folder(f)
        and not folder_names.only_splits(f))

  def kept(self, path):
    """Returns the folders of a picture that distinguish it from the others."""
    return self._folders[path]

  def of_name(self, path):
    """Returns the other pictures with the file name of `path`."""
    name = sources.stem(path).rsplit('/', 1)[-1]
    return [p for is_alias, p in self._by_name[name]
            if p != path and not is_alias]

  def longest(self, name):
    """Returns the pictures with the longest name that `name` begins with."""
    for before, _ in reversed(folder_names.cuts(name)):
      if before and before in self._by_name:
        return [p for _, p in self._by_name[before]]
    return []

  def begin_with(self, path, plain):
    """Returns the possible pictures of a mask that lies next to pictures.

    Args:
      path: path of the mask.
      plain: name of the mask without the words that mark it as one.

    Returns:
      The pictures with the name `plain`. If only one of them lies in the same
      outermost folder as the mask, the others are left out. If none has that
      name, the pictures in the same folder whose names begin with `plain`.
    """
    exact = [p for _, p in self._by_name.get(plain, ())]
    if exact:
      near = [p for p in exact if path.split('/')[0] == p.split('/')[0]]
      return near if len(near) == 1 else exact
    folder = path.rpartition('/')[0]
    return sorted(self._by_start.get((folder, plain), ()))

  def find(self, path, masks_are):
    """Finds the picture of a mask that lies in a folder of masks.

    Args:
      path: path of the mask.
      masks_are: kind of the mask, if neither its folder nor its name gives one.

    Returns:
      The path of the picture and the `parts.Mask`; None, None if no picture or
      more than one fits.
    """
    *folders, name = sources.stem(path).split('/')
    places = [f for f in folders if self._places.hold_masks(f)]
    kind = next((sources.KIND_FOLDERS[f.lower()] for f in places
                 if f.lower() in sources.KIND_FOLDERS), masks_are)
    kept = tuple(f for f in self._kept(path) if f not in self._shared)
    place = '/'.join(places)
    annotator = folder_names.observer_of(places[-1])
    split = sources.split_of(path)
    forms = [folder_names.Form(name), *folder_names.mask_forms(name)]
    if any(f.tag.startswith('scribble') for f in forms):
      kind = folder_names.kind_of('scribble', kind)
    for form in forms:
      picture = self._best(form.plain, kept, split, folders)
      if picture:
        observer, inner = self._inner(kept, picture)
        return picture, parts_lib.Mask(
            path, kind, place, form.tag,
            form.annotator or annotator or observer, inner)
    for before, rest in reversed(folder_names.cuts(name)):
      picture = self._best(before, kept, split, folders) if before else None
      # If there is a picture a_1, a mask a_2 may belong to a missing picture
      # a_2, and not to a picture a.
      if picture and not (re.match(r'\d+(?:$|[ _.-])', rest)
                          and name[: len(before) + 1] in self._numbered):
        observer, inner = self._inner(kept, picture)
        return picture, parts_lib.Mask(
            path, kind, place, '', annotator or observer, inner or rest,
            not inner and folder_names.is_mask_word(rest))
    # Try masks/a/liver.png as a mask of images/a.png.
    if kept:
      picture = self._best(kept[-1], kept[:-1], split, folders)
      if picture:
        observer = folder_names.observer_of(name)
        return picture, parts_lib.Mask(
            path, kind, place, '', annotator or observer,
            '' if observer else name, True)
    picture = self._only_one(folders)
    if picture:
      self.only.append(path)
      return picture, parts_lib.Mask(
          path, kind, place, '', annotator, name, True)
    return None, None

  def _only_one(self, folders):
    """Returns the picture beside a folder of masks if it is the only one."""
    level = next(i for i, f in enumerate(folders)
                 if self._places.hold_masks(f))
    below = self._below['/'.join(folders[:level])]
    if len(below) != 1:
      return None
    is_case = (not folder_names.only_splits(folders[level - 1]) if level
               else '/' not in below[0])
    return below[0] if is_case else None

  def _inner(self, kept, picture):
    """Returns the observer and the structure that a mask's folders name.

    Folders in which the picture lies, too, do not count.
    """
    inner = [f for f in kept if f not in self._folders[picture]]
    observers = [f for f in inner if folder_names.observer_of(f)]
    return (folder_names.observer_of(observers[-1]) if observers else ''), (
        '/'.join(f for f in inner if f not in observers))

  def _best(self, name, kept, split, folders):
    """Returns the picture of a given name that fits a mask's folders best.

    Args:
      name: name of the picture.
      kept: folders of the mask that distinguish it from other masks.
      split: split that the folders of the mask name, or ''.
      folders: all folders of the mask.

    Returns:
      The path of the picture; None if none fits or several fit equally well.
    """
    scores = []
    for is_alias, path in self._by_name.get(name, ()):
      other, known = self._folders[path], sources.split_of(path)
      if (split and known and split != known) or not (
          _is_within(kept, other) or _is_within(other, kept)):
        continue
      common = {w for f in folders for w in folder_names.words(f)} & {
          w for f in path.split('/')[:-1] for w in folder_names.words(f)}
      scores.append(
          ((kept == other, not is_alias, split == known, len(common)), path))
    best = max((s for s, _ in scores), default=None)
    found = sorted({p for s, p in scores if s == best})
    return found[0] if len(found) == 1 else None


def _is_within(some, others):
  """Returns whether all folders `some` occur in `others`, in the same order."""
  rest = iter(others)
  return all(f in rest for f in some)
