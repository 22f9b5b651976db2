"""Finds, by words in file names, masks that lie next to their pictures."""

import collections
import re
from typing import NamedTuple

from data_prep.formats import folder_names
from data_prep.formats import parts as parts_lib
from data_prep.formats import sources


class Mask(NamedTuple):
  """A mask that lies next to its picture.

  Attributes:
    path: path of the mask.
    picture: path of its picture; None if the picture lies elsewhere, or several
      are possible.
    form: how the name of the mask is divided into picture and other words.
  """

  path: str
  picture: str | None
  form: folder_names.Form


def find(
    paths: list[str], chosen: set[str], report
) -> tuple[list[Mask], list[str]]:
  """Separates masks from pictures, for files outside of folders of masks.

  Args:
    paths: paths of the files.
    chosen: names or endings of masks that the user chooses, in lower case.
    report: receives problems.

  Returns:
    The masks, and the paths of the pictures.
  """
  by_folder, doubles = collections.defaultdict(dict), set()
  for path in paths:
    folder, _, name = sources.stem(path).rpartition('/')
    known = by_folder[folder].setdefault(name, path)
    if known != path:
      doubles.add(path)
      report.wrong('two files of one name', f'{path}, {known}',
                   'join or remove one', file=path)
  masks, tags, open_ = [], set(), []
  for folder, names in by_folder.items():
    siblings = _Siblings(folder, names, chosen)
    for name, path in names.items():
      found = siblings.find(name)
      if found:
        masks.append(Mask(path, *found))
        tags.add(found[1].tag)
      elif siblings.forms[name]:
        open_.append((path, siblings.forms[name][0]))
  known = {mask.path for mask in masks}
  # A file that may be a mask but has no picture in its folder is a mask in two
  # cases: the same ending marks masks elsewhere (then its picture is missing),
  # or its name begins with that of a picture (then `pairing` finds it).
  stems = {sources.stem(p).rsplit('/', 1)[-1] for p in paths}
  for path, form in open_:
    if form.plain and (form.tag in tags or any(
        start in stems for start, _ in folder_names.cuts(form.plain, '_-'))):
      masks.append(Mask(path, None, form))
      known.add(path)
  known |= doubles
  pictures = [p for p in paths if p not in known]
  return masks, pictures


def give_to_only_picture(
    known_masks: frozenset[str],
    within: set[str],
    beside: list[Mask],
    images: list[str],
    found: dict[str, list[parts_lib.Mask]],
    orphans: list[str],
    masks_are: str,
) -> None:
  """Pairs masks, whose names do not say so, with the only picture beside them.

  3D Slicer names a segmentation Segmentation.seg.nrrd by default, whatever the
  name of its image. A mask with no picture or several becomes an orphan.

  Args:
    known_masks: paths of files that are masks by their content.
    within: paths of files in folders of masks, which are paired elsewhere.
    beside: masks that are paired by their names; those whose picture is not
      known are removed if they are paired here.
    images: paths of all pictures.
    found: maps each picture to its masks; masks are added.
    orphans: paths of masks without a picture; paths are added.
    masks_are: kind of the masks.
  """
  named = {mask.path: mask for mask in beside}
  for path in sorted(known_masks - within):
    mask = named.get(path)
    if mask is not None and mask.picture is not None:
      continue
    folder = path.rpartition('/')[0]
    owners = [p for p in images if p.rpartition('/')[0] == folder]
    if len(owners) == 1:
      found[owners[0]].append(parts_lib.Mask(path, masks_are, tag='seg'))
      beside[:] = [m for m in beside if m.path != path]
    elif mask is None:
      orphans.append(path)


class _Siblings:
  """The files of one folder, some of which are masks of others.

  Attributes:
    forms: maps each name to the ways to read it as the name of a mask.
  """

  def __init__(self, folder, names, chosen):
    self.forms = {n: list(folder_names.mask_forms(n)) for n in names}
    self._folder = folder.rsplit('/', 1)[-1].lower()
    self._names = names
    self._chosen = chosen
    self._free = [n for n in names if n.lower() not in chosen]
    self._plain = [n for n in names if not self.forms[n]]
    self._starts = {start for n in self._plain
                    for start, _ in folder_names.cuts(n, '_-')}
    self._numbered = {
        n.rstrip('0123456789') for n in self._plain if n[-1:].isdecimal()}
    self._aliases = {}
    for name in names:
      for alias in folder_names.picture_aliases(name):
        self._aliases.setdefault(alias, name)

  def find(self, name):
    """Finds the picture that the mask of this name belongs to.

    Returns:
      The path of the picture, and the `Form` of the mask's name. The path is
      None if the picture lies elsewhere, or if several are possible. The whole
      result is None if the name does not belong to a mask.
    """
    if name.lower() in self._chosen:
      owners = self._free if len(self._free) == 1 else [
          n for n in self._free if folder_names.is_image_name(n)]
      if len(owners) == 1:
        return self._names[owners[0]], folder_names.Form('')
    for start, rest in folder_names.cuts(name):
      # If the user chooses liver, a_liver is a mask of the picture a.
      if rest.lower() in self._chosen and (
          start in self._names and not self.forms[name]):
        return self._names[start], folder_names.Form(start)
    for form in self.forms[name]:
      if self._aliases.get(form.plain, name) != name:
        return self._names[self._aliases[form.plain]], form
      if not form.plain and len(self._plain) == 1:
        return self._names[self._plain[0]], form
      if form.plain in self._starts and form.tag[-1:].isalpha():
        return None, form
      number = re.fullmatch(r'(.+)[ _-]\d+', form.plain)
      if number and number[1] in self._aliases and (
          form.plain.rstrip('0123456789') not in self._numbered):
        # a_1_mask and a_2_mask are the first and second mask of a picture a.
        return self._names[self._aliases[number[1]]], form
    # In the data set PH2, the mask IMD002_lesion.bmp lies in a folder
    # IMD002_lesion, and its picture lies in another folder.
    for form in self.forms[name]:
      if form.plain and self._folder.endswith(
          f'_{form.tag}') and self._folder.startswith(form.plain.lower()):
        return None, form
    return None
